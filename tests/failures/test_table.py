"""docs/operations.md says what still answers when something is away; each row is held to it, with the real thing away.

What a cell says is asked of a real process: `yes` at the first try, `503` with Retry-After. What the last column says
is held by a function for each row; a row without one fails.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lineal.errors import Unavailable
from tests.failures.stack import Api, Stack, standing
from tests.failures.taking import Taker
from tests.failures.telling import Teller
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.running import ROOT, LinealServer
from tests.services import Server, free_port
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET
from tests.storage.conftest import client_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

QUERY_SECONDS = 10
"""What one operation may take here: so long do those wait that come first when something is frozen."""
TIMEOUT = 2
"""What storage, targets and data elsewhere may take here."""
PATIENCE = 60.0

REGISTER = "mutation($n: String!) {registerModel(input: {name: $n}) {model {id}}}"
PIPELINES = "/apis/v2beta1"

READ = "{models {nodes {name}} datasets {nodes {name}}}"
FILES = '{modelVersion(address: "models:/m/1") {artifacts {edges {node {files(first: 1) {nodes {url}}}}}}}'
PHASE = '{deployment(address: "deployments:/d") {phase desiredRevision}}'
REGISTER_DATA = """mutation($t: ID!, $u: String!) {
  registerArtifact(input: {to: $t, uri: $u}) {artifact {id verification}}
}"""


def table() -> list[list[str]]:
    """The rows of the table."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    body = page.partition("| away | read |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]


ROWS = table()
COLUMNS = ("read", "write", "upload", "download", "JWTs", "opaque tokens", "/readyz")


@dataclass
class Place:
    """A process on everything that can be away, and what has been made there."""

    stack: Stack
    lineal: LinealServer
    api: Api
    target: PlatformServer
    hooks: Taker
    lineage: Taker
    traces: Taker
    lake: MinioServer
    tracker: Teller
    kubeflow: Teller
    fresh: dict[str, list[str]] = field(default_factory=lambda: {"ci": [], "opaque": []})
    """Tokens that were fetched and not shown yet, by client."""
    made: int = 0

    def unused(self, client: str) -> str:
        """A token that Lineal has not seen."""
        return self.fresh[client].pop() if self.fresh[client] else self.stack.token(client)

    def stock(self) -> None:
        """Fetch tokens while that can be done."""
        for client, tokens in self.fresh.items():
            while len(tokens) < 20:
                tokens.append(self.stack.token(client))

    def name(self) -> str:
        """A name that nothing has."""
        self.made += 1
        return f"made-{self.made}"

    def ask(self, query: str, **variables: Any) -> Any:
        """What is answered when all is well."""
        answer = self.api.ask(query, **variables)
        assert answer.status_code == 200, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    def with_token(self, client: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.unused(client)}"}
        return self.api.ask("{models {nodes {name}}}", headers)

    def probe(self, column: str) -> httpx.Response:
        """What is answered to one of each kind."""
        match column:
            case "read":
                return self.api.ask(READ)
            case "write":
                return self.api.ask(REGISTER, n=self.name())
            case "upload":
                return self.api.upload("models:/m/1", self.name(), str(self.made).encode())
            case "download":
                return self.api.ask(FILES)
            case "JWTs":
                return self.with_token("ci")
            case "opaque tokens":
                return self.with_token("opaque")
            case _:
                return self.api.http.get("/readyz")

    def left_alone(self, **labels: str) -> bool:
        """Whether something is, by its metric."""
        text = self.api.http.get("/metrics").text
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        return any(
            sample.value == 1
            for sample in samples
            if sample.name == "lineal_breaker_open" and labels.items() <= sample.labels.items()
        )


class Patient(LinealServer):
    """A process that is there once it lives, whether it is ready or not."""

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self.kill()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home, port = tmp_path_factory.mktemp("away"), free_port()
    with ExitStack() as started:
        stack = started.enter_context(standing(home, port))
        target = started.enter_context(PlatformServer(home / "target", SECRET))
        hooks, lineage, traces = (started.enter_context(Taker(home / name)) for name in ("hooks", "ol", "otlp"))
        lake = started.enter_context(MinioServer(home / "lake"))
        lakes = client_of(lake)
        lakes.make_bucket("lake")
        lakes.fput_object("lake", "raw/a.csv", str(_written(home / "a.csv", "a,b\n1,2\n")))
        tracker, kubeflow = (started.enter_context(Teller(home / name)) for name in ("tracker", "kubeflow"))
        kubeflow.tell({f"{PIPELINES}/runs": {"runs": []}})
        for kind, more_keys in {"trackers": 'workspaces = "*"', "kubeflow": 'workspace = "default"\nevery = 1'}.items():
            url = (tracker if kind == "trackers" else kubeflow).url
            (home / f"{kind}.toml").write_text(
                f'[{kind}.lab]\nurl = "{url}"\n{more_keys}\ntimeout = {TIMEOUT}\noptions = {{ allow_private = true }}\n'
            )
        models = home / "models"
        models.mkdir()
        (home / "targets.toml").write_text(
            f'[targets.farm]\nplatform = "webhook"\nurl = "{target.url}/deployments"\nworkspaces = "*"\n'
            f'timeout = {TIMEOUT}\nsecrets = {{ key_env = "RIG_SECRET" }}\n'
            f'files = {{ mode = "folder", path = "{models}" }}\n'
        )
        (home / "connectors.toml").write_text(
            f'[connectors.lake]\nscheme = "s3"\nprefixes = ["s3://lake/raw"]\nworkspaces = "*"\ntimeout = {TIMEOUT}\n'
            f'options = {{ endpoint_url = "{lake.url}", region = "us-east-1", addressing = "path" }}\n'
            'secrets = { key_env = "LAKE_KEY", secret_env = "LAKE_SECRET" }\n'
        )
        more = {
            "s3": json.dumps({**json.loads(stack.settings["s3"]), "timeout": TIMEOUT}),
            "query_seconds": str(QUERY_SECONDS),
            "targets": str(home / "targets.toml"),
            "observe_seconds": "1",
            "connectors": str(home / "connectors.toml"),
            "trackers": str(home / "trackers.toml"),
            "kubeflow": str(home / "kubeflow.toml"),
            "webhook_private": "true",
            "openlineage_url": f"{lineage.url}/lineage",
            "openlineage_private": "true",
            "otlp_endpoint": traces.url,
        }
        patch = started.enter_context(pytest.MonkeyPatch.context())
        for name, value in {"RIG_SECRET": SECRET, "LAKE_KEY": ACCESS_KEY, "LAKE_SECRET": SECRET_KEY}.items():
            patch.setenv(name, value)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        lineal = stack.process("lineal", port, **more)
        started.enter_context(lineal)
        api = Api(f"http://127.0.0.1:{port}", stack.token())
        place = Place(stack, lineal, api, target, hooks, lineage, traces, lake, tracker, kubeflow)
        _furnish(place)
        yield place
        api.http.close()


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _furnish(place: Place) -> None:
    # A new Neo4j plans everything anew, which may take it longer than an operation has.
    for column in COLUMNS[:2]:
        comes_to(partial(answers, place, column))
    place.ask('mutation {createModelVersion(input: {model: "models:/m", createModel: true}) {version {id}}}')
    place.ask('mutation {createModelVersion(input: {model: "models:/served", createModel: true}) {version {id}}}')
    for version in ("models:/m/1", "models:/served/1"):
        # What the platform answers with is in a file of this name.
        uploaded = place.api.upload(version, "model", b"7", "answer")
        assert uploaded.status_code == 200, uploaded.text
    place.ask('mutation {registerDataset(input: {name: "d"}) {dataset {id}}}')
    hook = {"name": "h", "url": f"{place.hooks.url}/hook", "types": ["lineal.model.created"]}
    place.ask("mutation($i: CreateWebhookInput!) {createWebhook(input: $i) {webhook {id}}}", i=hook)


# ── Taking away ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def away(server: Server, *, frozen: bool) -> Iterator[None]:
    """Meanwhile it is gone, or does nothing; afterwards it is back."""
    if frozen:
        server.freeze()
    else:
        server.kill()
    try:
        yield
    finally:
        if frozen:
            server.thaw()
        else:
            server.start()


def refused(answer: httpx.Response) -> bool:
    """Whether an answer says UNAVAILABLE, and when to come again."""
    if answer.status_code == 200:
        codes = {error["extensions"]["code"] for error in answer.json().get("errors", ())}
        return codes == {Unavailable.code}
    return answer.status_code == Unavailable.status and int(answer.headers["retry-after"]) >= 1


def fine(answer: httpx.Response) -> bool:
    """Whether it is an answer."""
    return answer.is_success and "errors" not in answer.json()


def answers(place: Place, column: str) -> bool:
    """Whether what is of one kind is answered now."""
    return fine(place.probe(column))


def comes_to(what: Callable[[], Any], *, within: float = PATIENCE) -> None:
    """Wait until something is so."""
    end, seen = time.monotonic() + within, None
    while not (seen := what()):
        assert time.monotonic() < end, f"{what} came to {seen}"
        time.sleep(0.2)


def test_the_table_asks_for_what_is_asked_here() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (head,) = re.findall(r"^\| away \|.*$", page, re.MULTILINE)
    assert [cell.strip(" `") for cell in head.strip("|").split("|")] == ["away", *COLUMNS, "besides"]
    assert [row[0] for row in ROWS] == list(CASES)
    assert {cell for row in ROWS for cell in row[1:-1]} == {"yes", "503"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].replace(" ", "-"))
def test_what_the_row_says_is_so(place: Place, row: list[str]) -> None:
    what, *cells, _ = row
    place.stock()
    CASES[what](place, dict(zip(COLUMNS, cells, strict=True)))
    for column in COLUMNS:
        comes_to(partial(answers, place, column))
        place.stock()


def hold(place: Place, cells: dict[str, str], first: str = "") -> None:
    """Ask one of each kind. Of what is frozen the `first` ones asked for may wait and say so."""
    if first:
        with ThreadPoolExecutor(6) as pool:
            waited = list(pool.map(place.probe, [first] * 6))
        for answer in waited:
            assert not fine(answer), answer.text
            assert refused(answer) or "LIMIT_EXCEEDED" in answer.text, answer.text
    for column, expected in cells.items():
        began = time.monotonic()
        answer = place.probe(column)
        took = time.monotonic() - began
        assert (fine if expected == "yes" else refused)(answer), (column, answer.status_code, answer.text)
        # One may be the call that tries whether it is back.
        assert took < 2 * QUERY_SECONDS + 1, (column, took)


# ── The rows ──────────────────────────────────────────────────────────────────────────────────────


def _link(place: Place) -> str:
    (artifact,) = place.ask(FILES)["modelVersion"]["artifacts"]["edges"][:1]
    link: str = artifact["node"]["files"]["nodes"][0]["url"]
    return link


def neo4j(place: Place, cells: dict[str, str]) -> None:
    link, name = _link(place), place.name()
    with ThreadPoolExecutor(1) as pool:
        with away(place.stack.neo4j, frozen=False):
            under_way = pool.submit(place.api.ask, REGISTER, n=name)
            hold(place, cells)
            assert httpx.get(link).is_success
            assert place.api.http.get("/healthz").is_success
            assert place.left_alone(kind="store")
        done = under_way.result()
    comes_to(lambda: not place.left_alone(kind="store"))
    # It was begun before anybody knew, and went on until it was back, unless that took too long.
    assert fine(done) or refused(done), done.text
    names = [each["name"] for each in place.ask("{models {nodes {name}}}")["models"]["nodes"]]
    assert not fine(done) or name in names


def neo4j_frozen(place: Place, cells: dict[str, str]) -> None:
    link = _link(place)
    with away(place.stack.neo4j, frozen=True):
        hold(place, cells, first="read")
        assert httpx.get(link).is_success
        assert place.left_alone(kind="store")


def storage(place: Place, cells: dict[str, str]) -> None:
    link = _link(place)
    with away(place.stack.minio, frozen=False):
        hold(place, cells)
        with pytest.raises(httpx.TransportError):
            httpx.get(link)
        for _ in range(5):
            assert refused(place.probe("upload"))
        assert place.left_alone(kind="storage")
    comes_to(lambda: httpx.get(link).is_success)


def storage_frozen(place: Place, cells: dict[str, str]) -> None:
    with away(place.stack.minio, frozen=True):
        hold(place, cells, first="upload")
        comes_to(lambda: refused(place.probe("upload")) and place.left_alone(kind="storage"))


def issuer(place: Place, cells: dict[str, str]) -> None:
    with away(place.stack.issuer, frozen=False):
        hold(place, cells)
        for _ in range(3):
            assert refused(place.with_token("opaque"))
        assert place.left_alone(kind="issuer", name="corp")
        with pytest.raises(pytest.fail.Exception, match="the keys of corp cannot be had"):
            place.stack.process("late", free_port()).start()
        patient = Patient(
            place.stack.home / "patient", free_port(), place.stack.issuers,
            **place.stack.settings, start_without_issuers="true",
        )  # fmt: skip
        patient.start()
        assert not LinealServer.answers(patient)
    with closing(patient):
        comes_to(partial(LinealServer.answers, patient))
    # Keys of now: the issuer made others as it came back.
    place.fresh = {client: [] for client in place.fresh}
    place.api.http.headers["authorization"] = f"Bearer {place.stack.token()}"
    comes_to(lambda: fine(place.probe("read")))
    place.stock()


def issuer_frozen(place: Place, cells: dict[str, str]) -> None:
    with away(place.stack.issuer, frozen=True):
        hold(place, cells, first="opaque tokens")
        assert place.left_alone(kind="issuer", name="corp")


def _deploy(place: Place) -> int:
    told = 'name: "d", target: "farm", serves: [{version: "models:/served/1"}]'
    made = place.ask(f"mutation {{deploy(input: {{{told}}}) {{deployment {{desiredRevision}}}}}}")
    number: int = made["deploy"]["deployment"]["desiredRevision"]
    return number


def _phase(place: Place) -> tuple[str, int]:
    found = place.ask(PHASE)["deployment"]
    return found["phase"], found["desiredRevision"]


def _target(place: Place, cells: dict[str, str], *, frozen: bool) -> None:
    revision = _deploy(place)
    comes_to(lambda: _phase(place) == ("READY", revision))
    with away(place.target, frozen=frozen):
        comes_to(lambda: _phase(place)[0] == "UNREACHABLE")
        hold(place, cells)
        revision = _deploy(place)
        comes_to(lambda: place.left_alone(kind="target", name="farm"))
    comes_to(lambda: _phase(place) == ("READY", revision))


def target(place: Place, cells: dict[str, str]) -> None:
    _target(place, cells, frozen=False)


def target_frozen(place: Place, cells: dict[str, str]) -> None:
    _target(place, cells, frozen=True)


def _told(taker: Taker, names: list[str]) -> set[str]:
    """Which of these names came."""
    return {name for body in taker.taken() for name in names if f'"{name}"'.encode() in body}


def _waits(place: Place, cells: dict[str, str], taker: Taker, make: Callable[[str], object]) -> None:
    names = [f"waits-{place.name()}" for _ in range(3)]
    with away(taker, frozen=False):
        hold(place, cells)
        for name in names:
            make(name)
        time.sleep(2)
        assert not _told(taker, names)
    comes_to(lambda: _told(taker, names) == set(names))


def hooks(place: Place, cells: dict[str, str]) -> None:
    _waits(place, cells, place.hooks, lambda name: place.ask(REGISTER, n=name))


def openlineage(place: Place, cells: dict[str, str]) -> None:
    version = "mutation($m: ID!) {createModelVersion(input: {model: $m, createModel: true}) {version {id}}}"
    _waits(place, cells, place.lineage, lambda name: place.ask(version, m=f"models:/{name}"))


def traces(place: Place, cells: dict[str, str]) -> None:
    comes_to(place.traces.taken)
    with away(place.traces, frozen=False):
        hold(place, cells)
    before = len(place.traces.taken())
    comes_to(lambda: fine(place.probe("read")) and len(place.traces.taken()) > before)


def data(place: Place, cells: dict[str, str]) -> None:
    ask = partial(place.api.ask, REGISTER_DATA, t="datasets:/d/v1", u="s3://lake/raw/a.csv")
    place.ask('mutation {registerDatasetVersion(input: {dataset: "datasets:/d", name: "v1"}) {version {id}}}')
    with away(place.lake, frozen=False):
        hold(place, cells)
        assert refused(ask())
    made = ask().json()["data"]["registerArtifact"]["artifact"]
    assert made["verification"] == "PENDING"
    asked = f'{{artifact(address: "{made["id"]}") {{verification}}}}'
    comes_to(lambda: place.ask(asked)["artifact"]["verification"] == "VERIFIED")


def tracker(place: Place, cells: dict[str, str]) -> None:
    run, model = "a" * 32, f"models:/{place.name()}"
    info = {"run_id": run, "experiment_id": "7", "status": "FINISHED", "start_time": 1_000, "end_time": 2_000}
    place.tracker.tell(
        {
            "/api/2.0/mlflow/runs/get": {"run": {"info": info, "data": {"params": [{"key": "lr", "value": "0.1"}]}}},
            "/api/2.0/mlflow/experiments/get": {"experiment": {"name": "away"}},
        }
    )
    made = f'model: "{model}", createModel: true, runId: "{run}"'
    asked = f'{{modelVersion(address: "{model}/1") {{enrichment enrichmentMessage}}}}'
    with away(place.tracker, frozen=False):
        hold(place, cells)
        place.ask(f"mutation {{createModelVersion(input: {{{made}}}) {{version {{id}}}}}}")
        comes_to(lambda: place.ask(asked)["modelVersion"]["enrichmentMessage"])
        assert place.ask(asked)["modelVersion"]["enrichment"] == "QUEUED"
    comes_to(lambda: place.ask(asked)["modelVersion"]["enrichment"] == "DONE")


def kubeflow(place: Place, cells: dict[str, str]) -> None:
    id = str(uuid4())
    run = {"run_id": id, "display_name": "iris", "state": "SUCCEEDED", "created_at": "2026-01-01T00:00:00Z"}
    asked = f'{{runs(where: {{name: {{eq: "{id}"}}}}) {{nodes {{name}}}}}}'
    with away(place.kubeflow, frozen=False):
        hold(place, cells)
        place.kubeflow.tell({f"{PIPELINES}/runs": {"runs": [run]}, f"{PIPELINES}/runs/{id}": run})
        assert place.ask(asked)["runs"]["nodes"] == []
    comes_to(lambda: place.ask(asked)["runs"]["nodes"])


def process(place: Place, cells: dict[str, str]) -> None:
    api, names = place.api, [f"taken-over-{place.name()}"]
    with place.stack.process("other", free_port(), webhook_private="true") as other:
        place.api = Api(f"http://127.0.0.1:{other.port}", place.stack.token())
        place.lineal.kill()
        try:
            with pytest.raises(httpx.TransportError):
                api.http.get("/healthz")
            hold(place, cells)
            # Its order, and its delivery, are work that the other one had.
            place.ask(REGISTER, n=names[0])
            comes_to(lambda: _told(place.hooks, names) == set(names))
        finally:
            place.api.http.close()
            place.api = api
            place.lineal.start()


CASES: dict[str, Callable[[Place, dict[str, str]], None]] = {
    "Neo4j": neo4j,
    "Neo4j, frozen": neo4j_frozen,
    "object storage": storage,
    "object storage, frozen": storage_frozen,
    "the issuer": issuer,
    "the issuer, frozen": issuer_frozen,
    "a serving target": target,
    "a serving target, frozen": target_frozen,
    "a receiver of webhooks": hooks,
    "the receiver of OpenLineage": openlineage,
    "the receiver of traces": traces,
    "data elsewhere": data,
    "a tracking server": tracker,
    "Kubeflow": kubeflow,
    "a process of several": process,
}
"""What holds the last column of each row, and the cells before it."""
