"""Three Lineal processes on one Neo4j look after two platforms, and any of them is killed or stopped at any moment."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.neo4j.store import Neo4jGraph
from graph.port import Graph, Hop, Node
from lineal.errors import InvalidArgument, PreconditionFailed
from lineal.pushing import Push
from lineal.remote import Remote
from resolvers.deploying.plans import plans_of
from resolvers.reading import all_links
from storage.folder import scan
from tests.conftest import Pristine, count
from tests.running import LinealServer
from tests.services import Neo4jServer, Server, free_port
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

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


@dataclass
class Hall:
    """All of the processes, and the one who does them harm."""

    lineals: list[Lineal]
    platforms: list[PlatformServer]
    stops: int = 0
    problems: list[BaseException] = field(default_factory=list)

    def harm(self) -> None:
        """Kill something and start it again, or stop it for a while."""
        victim: Server = random.choice([*self.lineals, *self.platforms])
        if random.random() < 0.5:
            victim.kill()
            time.sleep(random.uniform(0, 3))
            victim.start()
        else:
            assert victim._process is not None
            victim._process.send_signal(signal.SIGSTOP)
            self.stops += 1
            # The longest outlasts a lease.
            time.sleep(random.choice([0.5, 3, 14][: count(2, 3)]))
            victim._process.send_signal(signal.SIGCONT)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask any of the Lineals until one answers."""
        end = time.monotonic() + PATIENCE
        while True:
            with Remote(random.choice(self.lineals).url, LocalIssuer(Keyring(self.lineals[0].keys)).token) as remote:
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
    platforms = [PlatformServer(tmp_path / f"platform-{number}", SECRET) for number in range(2)]
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
        yield Hall(lineals, platforms)


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
    versions = {number: pushed(hall, tmp_path, number) for number in range(1, 4)}
    last = await asyncio.to_thread(troubled, hall, versions, rollouts, harms)
    states = await asyncio.to_thread(settled, hall, *NAMES)
    wanted = await told_last(graph)
    for name, state in states.items():
        platform = hall.platforms[NAMES.index(name) % 2]
        async with httpx.AsyncClient() as client:
            for number in versions:
                answer = await client.get(f"{platform.url}/predict/{state['platformName']}/{number}", timeout=30)
                assert answer.json()["answer"] == (number if number in wanted[name] else None), name
        if last[name] != "rollBack":
            # What is restored may be what is served still; all else is new to the platform.
            assert (state["platformName"], state["desiredRevision"]) in platform.told()
    await assert_history(graph, wanted)
    for platform in hall.platforms:
        assert overtaken(platform.told()) <= hall.stops, "who lost a lease made more than the one call it was making"


def troubled(hall: Hall, versions: dict[int, str], rollouts: int, harms: int) -> dict[str, str]:
    """Tell deployments this and that while harm is done; what each was told last."""
    over = threading.Event()

    def harm() -> None:
        try:
            for _ in range(harms):
                hall.harm()
                if over.wait(random.uniform(0, 1)):
                    break
        except BaseException as error:  # noqa: BLE001 - it is raised where the test can see it
            hall.problems.append(error)

    thread = threading.Thread(target=harm)
    thread.start()
    last: dict[str, str] = {}
    for turn in range(rollouts):
        name = NAMES[turn % len(NAMES)]
        last[name] = STEPS[name][turn // len(NAMES)]
        if turn // len(NAMES) == 1 or last[name] == "rollBack":
            # There must be something good to go back to.
            settled(hall, name)
        tell(hall, name, last[name], turn, versions)
        time.sleep(random.uniform(0, 2))
    thread.join()
    over.set()
    assert hall.problems == []
    return last


def tell(hall: Hall, name: str, step: str, turn: int, versions: dict[int, str]) -> None:
    """Tell a deployment one thing; a canary is never the version that is served."""
    number = 1 + turn // len(NAMES) % 3
    if step in {"deploy", "settings"}:
        told: dict[str, Any] = {"name": name, "target": f"farm-{NAMES.index(name) % 2}", "settings": {"turn": turn}}
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
    return {plan.deployment.name: {version.props["number"] for version, _ in plan.versions} for plan in plans}


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
