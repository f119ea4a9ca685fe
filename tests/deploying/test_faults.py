"""Three Lineal processes on one Neo4j look after two platforms, and any of them is killed or stopped at any moment."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.neo4j.store import Neo4jGraph
from graph.port import Graph, Hop, Node, Prop
from lineal.errors import InvalidArgument, PreconditionFailed
from lineal.pushing import Push
from lineal.remote import Remote
from resolvers.deploying.plans import plans_of
from resolvers.leasing import LEASE_SECONDS
from resolvers.reading import all_links
from storage.folder import scan
from tests.conftest import Pristine, count
from tests.running import LinealServer
from tests.services import Neo4jServer, Server, free_port
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

_log = logging.getLogger(__name__)

PATIENCE: Final = 240.0
STEPS: Final = {
    "search": ("deploy", "canary", "promote", "rollBack", "deploy"),
    "ranker": ("deploy", "settings", "deploy", "rollBack", "stopDeployment"),
    "mailer": ("deploy", "stopDeployment", "deploy", "canary", "settings"),
    "pricer": ("deploy", "canary", "rollBack", "stopDeployment", "rollBack"),
}
"""What each deployment is told, one after the other: twenty rollouts."""
NAMES: Final = tuple(STEPS)
CREATE: Final = """mutation Create($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) { version { id } }
}"""
TELL: Final = """mutation Tell($input: {type}Input!) {{
  told: {field}(input: $input) {{ deployment {{ desiredRevision }} }}
}}"""
_HELD: Final = re.compile(r'^lineal_leases_held\{lease="target"\} (\S+)$', re.MULTILINE)
_REFUSED: Final = re.compile(r"target (\S+): the lease target \1 of \S+ \(epoch \d+\) does not hold any more")
"""What a process says when a write of its was refused by the lease's epoch; who goes by its own clock names none."""
STATE: Final = "query State($of: ID!) { deployment(address: $of) { phase platformName desiredRevision } }"


class Lineal(LinealServer):
    """One of several on a Neo4j, which share their keys and a folder."""

    def __init__(self, home: Path, graph: str, shared: Path) -> None:
        super().__init__(home, free_port(), (), targets=str(shared / "targets.toml"), observe_seconds="2")
        self.keys = shared / "keys"
        self._settings |= {
            "LINEAL_GRAPH": graph,
            "LINEAL_KEYS": str(self.keys),
            "LINEAL_STORAGE": str(shared / "storage"),
        }

    @property
    def remote(self) -> Remote:
        """Its API."""
        return Remote(self.url, LocalIssuer(Keyring(self.keys)).token)

    @property
    def targets(self) -> int:
        """How many targets it says that it holds the lease of."""
        metrics = httpx.get(self.url.removesuffix("/graphql") + "/metrics", timeout=PATIENCE).text
        found = _HELD.search(metrics)
        return int(float(found[1])) if found else 0

    @property
    def refused(self) -> Counter[str]:
        """How often the store refused what it was to write, for its lease was over, by the target."""
        return Counter(_REFUSED.findall((self.home / "console.log").read_text(encoding="utf-8")))


@dataclass
class Hall:
    """All of the processes, and the harm that is done to them.

    `harms` were done, `amid` of them while a rollout was under way. `stale` times one that held a target was stopped
    with something to write of it, until another held it. `in_flight` is how many targets were held by those who were
    stopped for longer than a lease lasts: a call to each may have been under way. `awake` are those who may be asked.
    """

    lineals: list[Lineal]
    platforms: list[PlatformServer]
    graph: Graph
    harms: int = 0
    amid: int = 0
    stale: int = 0
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.awake = self.lineals

    async def harm(self, victim: Server) -> None:
        """Kill something soon and start it again, or stop it for a while."""
        await asyncio.sleep(random.uniform(0, 0.5))
        await self._note(victim)
        if random.random() < 0.5:
            victim.kill()
            await asyncio.sleep(random.uniform(0, 3))
            await asyncio.to_thread(victim.start)
        else:
            # The longest outlasts a lease.
            seconds = random.choice([0.5, 3, 14][: count(2, 3)])
            if isinstance(victim, Lineal) and seconds > LEASE_SECONDS:
                self.in_flight += await asyncio.to_thread(lambda: victim.targets)
            send(signal.SIGSTOP, victim)
            await asyncio.sleep(seconds)
            send(signal.SIGCONT, victim)

    async def outlast(self, target: str, platform: PlatformServer, tell: Callable[[], None]) -> None:
        """Stop those who hold the targets in the middle of a look, and let them go on when others hold these.

        What is told is told while they sleep, and the platform is stopped before they wake: so the look that they are
        stopped in has to write what becomes of that, and the store has to refuse it. A platform that forgets comes back
        empty, meanwhile, for others to fill.
        """
        holders = await asyncio.to_thread(self.held_by, self.lineals)
        send(signal.SIGSTOP, *holders)
        self.awake = [each for each in self.lineals if each not in holders]
        telling = asyncio.create_task(asyncio.to_thread(tell))
        # Whoever sleeps in the middle of a write may keep others from theirs.
        await asyncio.wait([telling], timeout=LEASE_SECONDS / 2)
        send(signal.SIGSTOP, platform)
        send(signal.SIGCONT, *holders)
        self.awake = self.lineals
        await telling
        await self._note(platform)
        await asyncio.to_thread(awaited, lambda: platform.asked, lambda: holders)
        holding = {each: held for each in self.lineals if (held := each.targets)}
        send(signal.SIGSTOP, *holding)
        before = self.refused[target]
        self.in_flight += sum(holding.values())
        await self._note(*holding)
        if platform.forgets:
            platform.kill()
            await asyncio.to_thread(platform.start)
        else:
            send(signal.SIGCONT, platform)
        await asyncio.to_thread(self.held_by, [each for each in self.lineals if each not in holding])
        send(signal.SIGCONT, *holding)
        self.stale += 1
        await asyncio.to_thread(awaited, lambda: self.refused[target] > before, lambda: f"{target} was written, stale")

    @property
    def refused(self) -> Counter[str]:
        """How often the store refused a stale holder's write, by the target."""
        return sum((each.refused for each in self.lineals), Counter())

    def held_by(self, lineals: Sequence[Lineal]) -> list[Lineal]:
        """Wait until these hold the targets; those of them that do."""
        held = dict[Lineal, int]()

        def all_held() -> bool:
            held.update({each: each.targets for each in lineals})
            return sum(held.values()) == len(self.platforms)

        awaited(all_held, lambda: held)
        return [each for each, targets in held.items() if targets]

    async def _note(self, *victims: Server) -> None:
        async with self.graph.snapshot() as snapshot:
            rollouts = await snapshot.find("DeploymentRevision", Prop("state", "in", ["PENDING", "ROLLING_OUT"]))
        self.harms += len(victims)
        self.amid += len(victims) if rollouts.items else 0

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask any of the Lineals until one answers."""
        end = time.monotonic() + PATIENCE
        while True:
            with Remote(random.choice(self.awake).url, LocalIssuer(Keyring(self.lineals[0].keys)).token) as remote:
                remote._client.timeout = httpx.Timeout(10)
                try:
                    return remote._ask(query, variables)
                except (InvalidArgument, PreconditionFailed):
                    raise
                except Exception:
                    if time.monotonic() > end:
                        raise
            time.sleep(0.2)

    def tell(self, field: str, input: dict[str, Any], turn: int) -> None:
        """Tell a deployment something, once, however often it has to be said."""
        self.ask(
            TELL.format(field=field, type=field[0].upper() + field[1:]),
            input={**input, "idempotencyKey": f"turn-{turn}"},
        )


@pytest.fixture
async def graph(neo4j_server: Neo4jServer, pristine: Pristine) -> Any:
    """The store that all share."""
    pristine.restore()
    async with Neo4jGraph(neo4j_server.url) as graph:
        await graph.migrate()
        yield graph


@pytest.fixture
def hall(graph: Graph, neo4j_server: Neo4jServer, tmp_path: Path) -> Iterator[Hall]:
    """All of it, running."""
    shared = tmp_path / "shared"
    (shared / "models").mkdir(parents=True)
    (shared / "secret").write_text(SECRET)
    # As there are servers that keep what they were told, and servers that do not.
    platforms = [PlatformServer(tmp_path / f"platform-{n}", SECRET, forgets=n == 0) for n in range(2)]
    tables = [
        f"""[targets.farm-{number}]
platform = "webhook"
url = "{platform.url}/deployments"
workspaces = "*"
timeout = 3
secrets = {{ key_file = "{shared / "secret"}" }}
files = {{ mode = "folder", path = "{shared / "models"}" }}
"""
        for number, platform in enumerate(platforms)
    ]
    (shared / "targets.toml").write_text("".join(tables))
    lineals = [Lineal(tmp_path / f"lineal-{number}", neo4j_server.url, shared) for number in range(3)]
    with ExitStack() as stack:
        for server in (*platforms, *lineals):
            stack.enter_context(server)
        yield Hall(lineals, platforms, graph)


def pushed(hall: Hall, home: Path, number: int) -> str:
    """The id of a version that answers with this number."""
    folder = home / f"model-{number}"
    folder.mkdir()
    (folder / "answer").write_text(str(number))
    with hall.lineals[0].remote as remote:
        wanted = {"model": "models:/ranker", "createModel": True, "state": "PENDING"}
        version = remote.ask(CREATE, input=wanted)["createModelVersion"]["version"]["id"]
        Push(remote, scan(folder)).run(version, "model")
    return str(version)


def awaited(condition: Callable[[], bool], why: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.5)


async def test_whatever_is_killed_or_stopped_what_is_told_comes_true(hall: Hall, graph: Graph, tmp_path: Path) -> None:
    rollouts, harms = count(8, 20), count(4, 50)
    versions = {number: await asyncio.to_thread(pushed, hall, tmp_path, number) for number in range(1, 4)}
    last = await troubled(hall, versions, rollouts, harms)
    states = await asyncio.to_thread(settled, hall, *NAMES)
    wanted = await told_last(graph)
    # What a platform forgot last may not have been seen yet.
    right = {name: {number: number if number in wanted[name] else None for number in versions} for name in NAMES}
    await asyncio.to_thread(awaited, lambda: answers(hall, states, versions) == right, lambda: right)
    await asyncio.to_thread(settled, hall, *NAMES)
    for name, state in states.items():
        if last[name] != "rollBack":
            # What is restored may be what is served still; all else is new to the platform.
            assert (state["platformName"], state["desiredRevision"]) in platform_of(hall, name).told()
    await assert_history(graph, wanted)
    late = sum(overtaken(platform.told()) for platform in hall.platforms)
    refused = hall.refused.total()
    _log.info("%s harms, %s amid rollouts; %s stale holders, %s refused", hall.harms, hall.amid, hall.stale, refused)
    _log.info("%s calls of stale holders came late, of %s that may have been under way", late, hall.in_flight)
    assert late <= hall.in_flight, "who lost a lease made more than the one call it was making"
    assert hall.harms >= harms
    assert hall.amid > hall.harms / 2
    await assert_no_lease_is_stuck(hall)


async def troubled(hall: Hall, versions: dict[int, str], rollouts: int, harms: int) -> dict[str, str]:
    """Tell deployments this and that, and do harm as soon as each was told; what each was told last."""
    share = Counter(islice(cycle(turn for turn in range(rollouts) if turn not in outlasting(rollouts)), harms))
    last: dict[str, str] = {}
    for turn in range(rollouts):
        name = NAMES[turn % len(NAMES)]
        last[name] = STEPS[name][turn // len(NAMES)]
        if turn // len(NAMES) == 1 or last[name] == "rollBack":
            # There must be something good to go back to.
            await asyncio.to_thread(settled, hall, name)
        telling = partial(tell, hall, name, last[name], turn, versions)
        if turn in outlasting(rollouts):
            await calm(hall, platform_of(hall, name))
            await hall.outlast(target_of(name), platform_of(hall, name), telling)
        else:
            await asyncio.to_thread(telling)
            victims: list[Server] = random.sample([*hall.lineals, *hall.platforms], share[turn])
            await asyncio.gather(*map(hall.harm, victims))
    return last


async def calm(hall: Hall, platform: PlatformServer) -> None:
    """Wait until nothing is left to do on a platform, and that was seen in a look, of which there is one in 2 s."""
    names = [name for name in NAMES if platform_of(hall, name) is platform]
    await asyncio.to_thread(hall.held_by, hall.lineals)
    await asyncio.to_thread(settled, hall, *names)
    await asyncio.sleep(3)
    await asyncio.to_thread(settled, hall, *names)


def outlasting(rollouts: int) -> range:
    """The rollouts during which whoever holds the targets is stopped until others do."""
    return range(4, rollouts, 5)


def answers(
    hall: Hall, states: Mapping[str, Mapping[str, Any]], versions: Iterable[int]
) -> dict[str, dict[int, int | None]]:
    """What each version of each deployment answers."""
    found: dict[str, dict[int, int | None]] = {}
    for name, state in states.items():
        url = f"{platform_of(hall, name).url}/predict/{state['platformName']}"
        found[name] = {n: httpx.get(f"{url}/{n}", timeout=30).json()["answer"] for n in versions}
    return found


def target_of(name: str) -> str:
    """The target that a deployment is on."""
    return f"farm-{NAMES.index(name) % 2}"


def platform_of(hall: Hall, name: str) -> PlatformServer:
    """The platform that a deployment is on."""
    return hall.platforms[NAMES.index(name) % len(hall.platforms)]


async def assert_no_lease_is_stuck(hall: Hall) -> None:
    """Each is somebody else's within its time once all who could hold it are dead."""
    for lineal in hall.lineals:
        lineal.kill()
    for number in range(len(hall.platforms)):
        end = time.monotonic() + LEASE_SECONDS + 5
        while await hall.graph.claim(f"target farm-{number}", "heir", LEASE_SECONDS) is None:
            assert time.monotonic() < end, number
            await asyncio.sleep(0.5)


def send(number: signal.Signals, *servers: Server) -> None:
    """Send a signal to running servers."""
    for server in servers:
        assert server._process is not None
        server._process.send_signal(number)


def tell(hall: Hall, name: str, step: str, turn: int, versions: dict[int, str]) -> None:
    """Tell a deployment one thing; a canary is never the version that is served."""
    number = 1 + turn // len(NAMES) % 3
    if step in {"deploy", "settings"}:
        told: dict[str, Any] = {"name": name, "target": target_of(name), "settings": {"turn": turn}}
        number = 1 if step == "settings" else number
        hall.tell("deploy", {**told, "serves": [{"version": versions[number]}]}, turn)
    else:
        beside = {"version": versions[number]} if step == "canary" else {}
        hall.tell(step, {"deployment": f"deployments:/{name}", **beside}, turn)


def state_of(hall: Hall, name: str) -> dict[str, Any]:
    """How a deployment stands."""
    return dict(hall.ask(STATE, of=f"deployments:/{name}")["deployment"])


def settled(hall: Hall, *names: str) -> dict[str, dict[str, Any]]:
    """How these deployments stand once each is as it was told to be."""
    states: dict[str, dict[str, Any]] = {}

    def done() -> bool:
        states.update({name: state_of(hall, name) for name in names})
        return all(state["phase"] in {"READY", "STOPPED"} for state in states.values())

    awaited(done, lambda: states)
    return states


async def told_last(graph: Graph) -> dict[str, set[int]]:
    """The numbers of the versions that each deployment was told last."""
    async with graph.snapshot() as snapshot:
        plans = await plans_of(snapshot, (await snapshot.find("Deployment")).items)
    assert all(plan.number == plan.deployment.props["desiredRevision"] for plan in plans)
    return {plan.deployment.name: {each.number for each in plan.versions} for plan in plans}


async def assert_history(graph: Graph, wanted: dict[str, set[int]]) -> None:
    """What is served is what was told, every revision came to an end that is an event, and epochs never go back."""
    async with graph.snapshot() as snapshot:
        deployments = {node.name: node for node in (await snapshot.find("Deployment")).items}
        ids = [node.id for node in deployments.values()]
        events = await all_links(snapshot, ids, Hop("EVENT_OF", "IN", "DeploymentEvent"))
        revisions = await all_links(snapshot, ids, Hop("REVISION_OF", "IN", "DeploymentRevision"))
        serving = await all_links(snapshot, ids, Hop("SERVES", "OUT", "ModelVersion"))
    for name, numbers in wanted.items():
        id = deployments[name].id
        assert {link.node.props["number"] for link in serving.get(id, [])} == numbers
        happened = sorted((link.node for link in events[id]), key=lambda node: (node.created_at, node.id))
        told = {link.node.props["number"]: link.node.props["state"] for link in revisions[id]}
        assert set(told.values()) <= {"VERIFIED", "REPLACED", "FAILED"}
        done = {node.props["revisionNumber"] for node in happened if node.props["phase"] in {"READY", "STOPPED"}}
        assert {revision for revision, state in told.items() if state == "VERIFIED"} <= done
        assert {node.props["revisionNumber"] for node in happened if node.props["phase"] == "PENDING"} == set(told)
        epochs = [node.props["epoch"] for node in happened if "epoch" in node.props]
        assert epochs == sorted(epochs), _shown(happened)


def _shown(events: list[Node]) -> list[tuple[Any, ...]]:
    return [(e.props["phase"], e.props["revisionNumber"], e.props.get("holder"), e.props.get("epoch")) for e in events]


def overtaken(told: list[tuple[str, int]]) -> int:
    """How often something older was told after something newer."""
    newest: dict[str, int] = {}
    found = 0
    for name, revision in told:
        found += revision < newest.get(name, 0)
        newest[name] = max(revision, newest.get(name, 0))
    return found
