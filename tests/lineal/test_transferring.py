"""lineal push, pull, sign, verify and artifacts, against a Lineal that runs as a process of its own."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio
from typer.testing import CliRunner

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph.port import Graph, Node, Paging, Prop
from graph.sqlite.store import SqliteGraph
from lineal import parts, patience
from lineal.cli import app
from lineal.errors import InvalidArgument, LinealError, Unavailable
from lineal.pulling import Pull
from lineal.pushing import Push
from lineal.remote import Remote
from lineal.transfer import ROUNDS
from resolvers.artifacts.uploads import end
from resolvers.artifacts.verifying import verify_managed
from storage.port import Storage
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.running import LinealServer
from tests.services import free_port
from tests.storage.signing.making import key, private, public


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class Desk:
    """A server, and somebody on the same machine who has a folder and a command line."""

    def __init__(self, server: LinealServer, home: Path) -> None:
        self.server = server
        self.home = home
        self.environment = {
            "LINEAL_GRAPH": f"sqlite:///{server.home / 'lineal.db'}",
            "LINEAL_KEYS": str(server.home / "keys"),
            "LINEAL_PORT": str(server.port),
        }

    def run(self, *arguments: str, **environment: str) -> Done:
        """One command."""
        result = CliRunner().invoke(app, list(arguments), env={**self.environment, **environment})
        if isinstance(error := result.exception, LinealError):
            # The command line prints it and ends so: see lineal.cli.main.
            return Done(2 if isinstance(error, InvalidArgument) else 1, result.stdout, f"error: {error.message}\n")
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return Done(result.exit_code, result.stdout, result.stderr)

    def told(self, *arguments: str) -> dict[str, Any]:
        """What a command tells programs."""
        done = self.run(*arguments, "--format", "json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def refused(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The exit code and the one line of a command that is refused."""
        done = self.run(*arguments, **environment)
        assert done.returncode, done.stdout
        assert done.stderr.count("\n") == 1, done.stderr
        return done.returncode, done.stderr.strip().removeprefix("error: ")

    def write(self, **files: bytes) -> Path:
        """A folder `model` with these files; `__` in a name stands for a slash."""
        for name, data in files.items():
            place = self.home / "model" / name.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return self.home / "model"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinealServer]:
    """A Lineal on SQLite and a folder, without issuers."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    server.home.mkdir(exist_ok=True)
    with server:
        yield server


@pytest.fixture
def desk(server: LinealServer, nowhere: Path) -> Desk:
    """Somebody on the machine of the server, whose working directory has nothing in it."""
    return Desk(server, nowhere)


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """The name of a model that nobody else uses."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:12]


def read(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ── Push and pull ─────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_pushed_and_pulled_as_it_is(desk: Desk, model: str) -> None:
    folder = desk.write(a=b"first", sub__deeper__b=b"second", _hidden=b"", **{"with space": b"x", "ünï": b"y"})
    pushed = desk.told("push", "model", model, "--alias", "champion")
    assert pushed["version"] == f"models:/{model}/1"
    assert (pushed["files"], pushed["bytes"], pushed["bytesSent"]) == (5, 13, 13)
    pulled = desk.told("pull", f"models:/{model}@champion", "copy")
    assert (pulled["filesReceived"], pulled["bytesReceived"], pulled["digest"]) == (4, 13, pushed["digest"])
    assert read(desk.home / "copy") == read(folder)


def test_pushing_the_same_again_is_the_same_version_and_sends_nothing(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    first = desk.told("push", "model", model)
    again = desk.told("push", "model", model)
    assert (again["version"], again["filesSent"], again["bytesSent"]) == (first["version"], 0, 0)
    assert again["bytesThere"] == 5


def test_the_same_files_under_another_name_are_another_version(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    first = desk.told("push", "model", model, "--name", "weights")
    other = desk.told("push", "model", model, "--name", "copy")
    assert (first["version"], other["version"]) == (f"models:/{model}/1", f"models:/{model}/2")
    assert other["bytesSent"] == 0
    assert desk.told("pull", first["version"], "copy")["files"] == 1


def closing(desk: Desk, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Have every upload that is open closed once something was sent."""
    send, closed = Push._send, list[str]()

    async def close() -> None:
        async with SqliteGraph(desk.server.home / "lineal.db") as graph:
            async with graph.snapshot() as snapshot:
                found = await snapshot.find("Upload", Prop("state", "eq", "OPEN"), paging=Paging(50))
            for upload in found.items:
                await graph.write(partial(end, id=upload.id, state=state), by="tester", action="test")

    def sent(self: Push, *request: Any) -> int:
        size = send(self, *request)
        if not closed:
            closed.append(state)
            asyncio.run(close())
        return size

    monkeypatch.setattr(Push, "_send", sent)


def test_a_push_goes_on_with_an_upload_that_expires_meanwhile(
    desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(a=model.encode(), b=b"of " + model.encode())
    closing(desk, monkeypatch, "EXPIRED")
    pushed = desk.told("push", "model", model, "--threads", "1")
    assert (pushed["filesSent"], pushed["bytesSent"]) == (2, 27)
    assert desk.told("pull", f"models:/{model}/1", "copy")["digest"] == pushed["digest"]


def test_a_push_ends_that_somebody_else_gives_up(desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write(a=model.encode())
    closing(desk, monkeypatch, "ABORTED")
    code, line = desk.refused("push", "model", model)
    assert (code, "is ABORTED" in line) == (1, True)


def test_a_push_says_that_its_version_is_not_ready(desk: Desk, model: str) -> None:
    data = model.encode()
    desk.write(a=data)
    assert desk.told("push", "model", model)["state"] == "READY"
    next(path for path in desk.server.home.rglob(hashlib.sha256(data).hexdigest()) if path.is_file()).unlink()
    desk.run("artifacts", "verify")
    desk.write(a=b"another")
    done = desk.run("push", "model", f"models:/{model}/1", "--name", "third")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert f"models:/{model}/1 is FAILED: something else that belongs to it" in done.stderr


def test_a_new_version_may_be_asked_for_and_sends_nothing_either(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    desk.told("push", "model", model)
    new = desk.told("push", "model", model, "--new")
    assert (new["version"], new["bytesSent"]) == (f"models:/{model}/2", 0)


def test_one_changed_file_sends_one_file(desk: Desk, model: str) -> None:
    desk.write(a=b"first", b=b"second")
    desk.told("push", "model", model)
    desk.write(b=b"third")
    pushed = desk.told("push", "model", model)
    assert (pushed["version"], pushed["filesSent"], pushed["bytesSent"]) == (f"models:/{model}/2", 1, 5)


def test_one_file_is_pushed_under_its_name(desk: Desk, model: str) -> None:
    desk.write(weights=b"1 2 3")
    desk.told("push", "model/weights", model)
    desk.told("pull", f"models:/{model}/1", "copy")
    assert read(desk.home / "copy") == {"weights": b"1 2 3"}


def test_where_a_version_came_from_is_told_with_it(desk: Desk, model: str) -> None:
    desk.write(a=b"base")
    base = desk.told("push", "model", f"{model}-base")["version"]
    desk.write(a=b"tuned")
    tuned = desk.told("push", "model", model, "--derived-from", base, "--tag", "team=nlp")["version"]
    assert f"models:/{model}-base/1" in desk.run("lineage", tuned).stdout


def test_what_is_there_gets_files(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    desk.told("push", "model", model)
    desk.write(a=b"words")
    more = desk.told("push", "model", f"models:/{model}/1", "--name", "tokenizer")
    assert more["version"] == f"models:/{model}/1"
    assert desk.refused("pull", f"models:/{model}/1", "copy")[1].endswith("say which")
    desk.told("pull", f"models:/{model}/1", "copy", "--name", "tokenizer")
    assert read(desk.home / "copy") == {"a": b"words"}


def test_pulling_again_fetches_nothing_and_puts_right_what_is_not(desk: Desk, model: str) -> None:
    desk.write(a=b"first", b=b"second")
    desk.told("push", "model", model)
    desk.told("pull", f"models:/{model}/1", "copy")
    assert desk.told("pull", f"models:/{model}/1", "copy")["bytesReceived"] == 0
    (desk.home / "copy" / "b").write_bytes(b"secomd")
    (desk.home / "copy" / "mine").write_bytes(b"stays")
    assert desk.told("pull", f"models:/{model}/1", "copy")["bytesReceived"] == 6
    assert read(desk.home / "copy") == {"a": b"first", "b": b"second", "mine": b"stays"}


def test_no_name_of_a_file_is_in_the_way_of_what_a_pull_keeps_for_itself(desk: Desk, model: str) -> None:
    files = {".lineal-partial/w.bin": b"weights", f".lineal-partial-{'0' * 64}": b"a digest", "a": b"first"}
    for path, data in files.items():
        (desk.home / "model" / path).parent.mkdir(exist_ok=True, parents=True)
        (desk.home / "model" / path).write_bytes(data)
    desk.told("push", "model", model)
    assert desk.told("pull", f"models:/{model}/1", "copy")["filesReceived"] == 3
    assert read(desk.home / "copy") == files


def test_no_link_leads_a_pull_out_of_its_folder(desk: Desk, model: str) -> None:
    desk.write(sub__a=b"first")
    desk.told("push", "model", model)
    (desk.home / "elsewhere").mkdir()
    (desk.home / "copy").mkdir()
    (desk.home / "copy" / "sub").symlink_to(desk.home / "elsewhere")
    code, line = desk.refused("pull", f"models:/{model}/1", "copy")
    assert (code, "a link is in the way" in line) == (1, True)
    assert read(desk.home / "elsewhere") == {}


def test_a_pull_names_the_file_whose_bytes_are_lost(desk: Desk, model: str) -> None:
    data = model.encode()
    desk.write(a=data, b=b"second")
    desk.told("push", "model", model)
    next(path for path in desk.server.home.rglob(hashlib.sha256(data).hexdigest()) if path.is_file()).unlink()
    code, line = desk.refused("pull", f"models:/{model}/1", "copy")
    assert (code, "'a'" in line) == (1, True)


def test_a_pull_names_the_file_that_is_in_the_place_of_a_folder(desk: Desk, model: str) -> None:
    desk.write(sub__inner=b"first")
    desk.told("push", "model", model)
    (desk.home / "copy").mkdir()
    (desk.home / "copy" / "sub").write_bytes(b"mine")
    code, line = desk.refused("pull", f"models:/{model}/1", "copy")
    assert (code, line) == (1, f"{Path('copy/sub')} is a file, where a folder has to go")
    assert read(desk.home / "copy") == {"sub": b"mine"}


def test_a_pull_names_the_file_that_cannot_be_written(desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENAMETOOLONG, "File name too long")

    desk.write(sub__inner=b"first")
    desk.told("push", "model", model)
    monkeypatch.setattr(Path, "replace", refuse)
    code, line = desk.refused("pull", f"models:/{model}/1", "copy")
    assert (code, line) == (1, f"{Path('copy/sub/inner')}: cannot be written: File name too long")


def test_a_pull_says_where_two_files_are_one_to_a_system_that_tells_no_capitals(
    desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(README=b"one", readme=b"another")
    desk.told("push", "model", model)
    place = Pull._place
    monkeypatch.setattr(Pull, "_place", lambda self, path: place(self, path.lower()))
    code, line = desk.refused("pull", f"models:/{model}/1", "copy")
    assert (code, line) == (
        1,
        "'README' and 'readme' are one file in copy; pull into a folder that tells capitals apart",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["push", "nothing", "m"], 1, "nothing"),
        (["push", "model", "m", "--trained-on", "datasets:/unknown"], 1, "inputs[0].dataset"),
        (["push", "model", "m", "--derived-from", "models:/unknown/1"], 1, "parents[0].version"),
        (["push", "model", "m", "--tag", "team"], 2, "--tag"),
        (["push", "model", "models:/unknown/7"], 1, "there is no"),
        (["push", "model", "models:/there/1", "--alias", "a"], 2, "--alias"),
        (["push", "model", "models:/there/1", "--derived-from", "models:/base/1"], 2, "--derived-from"),
        (["push", "model", "models:/there/1", "--trained-on", "datasets:/d"], 2, "--trained-on"),
        (["push", "model", "datasets:/d/v1", "--run", "runs:/r"], 2, "--run"),
        (["push", "model", "models:/there/1", "--tag", "a=b"], 2, "--tag"),
        (["push", "model", "models:/there/1", "--description", "words"], 2, "--description"),
        (["push", "model", "models:/there/1", "--new"], 2, "--new"),
        (["pull", "models:/unknown/1", "copy"], 1, "there is no"),
        (["pull", "workspaces:/default", "copy"], 2, "Workspace"),
        (["pull", "nonsense", "copy"], 2, "address"),
        (["artifacts", "verify", "artifacts:/unknown"], 1, "there is no artifact"),
        (["artifacts", "gc", "--workspace", "unknown"], 1, "unknown"),
        (["artifacts", "gc", "--grace", "soon"], 2, "grace: 'soon' is no time span"),
    ],
)
def test_what_cannot_be_is_one_clear_line(desk: Desk, arguments: list[str], code: int, said: str) -> None:
    desk.write(a=b"first")
    ended, line = desk.refused(*arguments)
    assert (ended, said in line) == (code, True), line


def test_a_link_that_leads_out_is_not_pushed(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    (desk.home / "model" / "out").symlink_to("/etc/hostname")
    assert "leads out" in desk.refused("push", "model", model)[1]


# ── Where, and who ────────────────────────────────────────────────────────────────────────────────


def test_another_host_needs_a_token(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    code, line = desk.refused("push", "model", model, LINEAL_URL="https://lineal.example.org")
    assert (code, line) == (1, "LINEAL_TOKEN must hold a token for https://lineal.example.org/graphql")


def test_a_token_that_is_wrong_is_refused_and_not_shown(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    code, line = desk.refused("push", "model", model, LINEAL_TOKEN="not-a-token-at-all")
    assert (code, "not-a-token" in line) == (1, False)


def test_a_token_without_the_scope_is_told_which(desk: Desk, model: str) -> None:
    desk.write(a=b"first")
    narrow = desk.run("token", "--scope", "model:read model:write artifact:read").stdout.strip()
    _, line = desk.refused("push", "model", model, LINEAL_TOKEN=narrow)
    assert "artifact:write" in line


@pytest.mark.parametrize("url", ["lineal.example.org", "ftp://lineal.example.org", "http://"])
def test_what_is_no_url_is_refused(desk: Desk, url: str) -> None:
    desk.write(a=b"first")
    code, line = desk.refused("push", "model", "m", LINEAL_URL=url)
    assert (code, line.startswith("LINEAL_URL:")) == (2, True)


def test_a_server_that_is_away_is_named(desk: Desk) -> None:
    desk.write(a=b"first")
    url = f"http://127.0.0.1:{free_port()}"
    code, line = desk.refused("push", "model", "m", "--patience", "1", LINEAL_URL=url)
    assert (code, line.startswith(f"no answer from {url}/graphql")) == (1, True)


def test_who_pushes_and_pulls_waits_for_a_server_that_is_away_for_a_while(tmp_path: Path, nowhere: Path) -> None:
    server = LinealServer(tmp_path / "lineal", free_port(), ())
    server.home.mkdir()
    desk = Desk(server, nowhere)
    desk.write(a=b"first")
    with server, ThreadPoolExecutor(1) as pool:
        server.kill()
        for arguments in (["push", "model", "m"], ["pull", "models:/m/1", "copy"]):
            waiting = pool.submit(desk.run, *arguments)
            time.sleep(10)  # longer than any single question is asked again
            assert not waiting.done()
            server.start()
            done = waiting.result()
            assert done.returncode == 0, done.stderr
            assert "trying again for 180 s" in done.stderr
            server.kill()
    assert read(desk.home / "copy") == {"a": b"first"}


@pytest.mark.parametrize(("status", "goes_on"), [(403, False), (408, True), (409, True), (429, True), (503, True)])
def test_a_push_goes_on_while_storage_is_busy_and_gives_up_where_it_refuses(
    desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch, status: int, goes_on: bool
) -> None:
    send, answers = urllib3.PoolManager.request, [status] * 2 * ROUNDS

    def busy(http: urllib3.PoolManager, method: str, *asked: Any, **more: Any) -> urllib3.BaseHTTPResponse:
        return urllib3.HTTPResponse(b"no", status=answers.pop()) if answers else send(http, method, *asked, **more)

    monkeypatch.setattr(urllib3.PoolManager, "request", busy)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)
    desk.write(a=os.urandom(10))
    done = desk.run("push", "model", model)
    assert (done.returncode, len(answers)) == ((0, 0) if goes_on else (1, ROUNDS)), done.stderr


def test_who_is_on_the_machine_of_the_server_trusts_the_storage_that_it_trusts(tmp_path: Path, nowhere: Path) -> None:
    with MinioServer(tmp_path / "minio", tls=True) as minio:
        trusting = urllib3.PoolManager(ca_certs=str(minio.ca))
        host = minio.url.removeprefix("https://")
        Minio(host, ACCESS_KEY, SECRET_KEY, region="us-east-1", http_client=trusting).make_bucket("models")
        s3 = {"endpoint": minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "ca": str(minio.ca)}
        server = LinealServer(tmp_path / "lineal", free_port(), (), storage="s3://models", s3=json.dumps(s3))
        server.home.mkdir()
        desk = Desk(server, nowhere)
        folder = desk.write(a=b"first")
        with server:
            assert "SSLError" in desk.refused("push", "model", "m", "--patience", "1")[1]
            desk.environment["LINEAL_S3"] = json.dumps(s3)
            desk.told("push", "model", "m")
            desk.told("pull", "models:/m/1", "copy")
            assert read(desk.home / "copy") == read(folder)
            (desk.home / "copy" / "a").unlink()
            desk.environment["LINEAL_S3"] = json.dumps({**s3, "ca": "unknown.pem"})
            assert desk.refused("pull", "models:/m/1", "copy") == (2, "s3.ca: unknown.pem: No such file or directory")


# ── Signatures ────────────────────────────────────────────────────────────────────────────────────


def test_a_version_is_signed_and_verified_without_its_files(desk: Desk, model: str) -> None:
    mine = key()
    (desk.home / "key.pem").write_bytes(private(mine))
    (desk.home / "key.pub").write_bytes(public(mine))
    (desk.home / "other.pub").write_bytes(public(key()))
    desk.write(a=b"first")
    desk.told("push", "model", model)
    version = f"models:/{model}/1"
    assert desk.refused("verify", version, "--key", "key.pub")[1] == f"the files of {version} are not signed"
    signed = desk.told("sign", version, "--key", "key.pem")
    assert signed["signature"] == "UNTRUSTED"  # this server trusts nobody
    assert desk.run("verify", version, "--key", "key.pub").stdout.startswith("VALID: signed by ")
    assert desk.run("verify", version, "--key", "other.pub").returncode == 1


# ── Artifacts ─────────────────────────────────────────────────────────────────────────────────────


def test_usage_counts_what_is_kept(desk: Desk, model: str) -> None:
    before = desk.told("artifacts", "usage", "--workspace", "default")["workspaces"][0]
    desk.write(a=os.urandom(1_000))
    desk.told("push", "model", model)
    (after,) = desk.told("artifacts", "usage", "--workspace", "default")["workspaces"]
    assert (after["bytes"] - before["bytes"], after["blobs"] - before["blobs"]) == (1_000, 1)
    assert after["quotaBytes"] is None


def test_what_a_deleted_workspace_keeps_is_counted_and_cleared_away(desk: Desk) -> None:
    issuer = LocalIssuer(Keyring(desk.server.home / "keys"))
    with Remote(f"http://127.0.0.1:{desk.server.port}/graphql", issuer.token) as remote:
        remote.ask('mutation { createWorkspace(input: {name: "team"}) { workspace { id } } }')
        desk.write(a=os.urandom(70))
        desk.told("push", "model", "models:/team:m")
        for what in (
            'deleteModelVersion(input: {version: "models:/team:m/1"})',
            'deleteModel(input: {model: "models:/team:m"})',
            'deleteWorkspace(input: {workspace: "team"})',
        ):
            remote.ask(f"mutation {{ {what} {{ deletedId }} }}")
    (kept,) = desk.told("artifacts", "usage", "--workspace", "team")["workspaces"]
    assert (kept["bytes"], kept["blobs"], kept["quotaBytes"]) == (70, 1, None)
    assert "team" in [each["workspace"] for each in desk.told("artifacts", "usage")["workspaces"]]
    assert desk.told("artifacts", "gc", "--grace", "1h")["team"]["too_young"] == 1
    assert desk.told("artifacts", "gc", "--grace", "0m", "--workspace", "team")["team"]["removed"] == 1
    assert "team" not in [each["workspace"] for each in desk.told("artifacts", "usage")["workspaces"]]
    assert "team" not in desk.told("artifacts", "gc", "--grace", "1h")


def test_altered_bytes_are_found_and_named(desk: Desk, model: str) -> None:
    data = os.urandom(100)
    desk.write(a=data)
    artifact = desk.told("push", "model", model)["artifact"]
    assert desk.told("artifacts", "verify", artifact) == {"verified": 1, "problems": []}
    sha256 = hashlib.sha256(data).hexdigest()
    (blob,) = desk.server.home.rglob(sha256)
    blob.chmod(0o600)
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "'a'" in desk.run("pull", f"models:/{model}/1", "copy").stderr
    done = desk.run("artifacts", "verify", artifact)
    assert (done.returncode, "FAILED" in done.stdout, "'a' has the digest" in done.stdout) == (1, True, True)
    assert "not what was told" in desk.refused("pull", f"models:/{model}/1", "copy")[1]


def test_an_artifact_that_cannot_be_read_again_is_named_and_keeps_none_from_being_read(
    desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for _ in range(3):
        desk.write(a=os.urandom(10))
        made.append(desk.told("push", "model", model)["artifact"])

    async def one_is_away(graph: Graph, storage: Storage, artifact: Node, *, by: str) -> str:
        if artifact.id == made[1]:
            raise Unavailable("the storage is away")
        return await verify_managed(graph, storage, artifact, by=by)

    monkeypatch.setattr(parts, "verify_managed", one_is_away)
    done = desk.run("artifacts", "verify", *made, "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["verified"]) == (1, 2)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["id"], problem["state"], problem["problem"]) == (made[1], "UNKNOWN", "the storage is away")
    done = desk.run("artifacts", "verify", *made)
    assert done.stdout.splitlines() == [
        f"{made[1]}: UNKNOWN: the storage is away",
        "2 of 3 artifacts are as they were told",
    ]


def test_an_artifact_that_was_only_spoken_of_cannot_be_read_again(desk: Desk, model: str) -> None:
    create = """mutation Create($input: CreateModelVersionInput!) {
      createModelVersion(input: $input) { version { artifacts { edges { node { id } } } } }
    }"""
    with Remote(desk.server.url, LocalIssuer(Keyring(desk.server.home / "keys")).token) as remote:
        spoken_of = [{"name": "model", "digest": f"sha256:{hashlib.sha256(model.encode()).hexdigest()}"}]
        made = remote.ask(create, input={"model": f"models:/{model}", "createModel": True, "artifacts": spoken_of})
    (edge,) = made["createModelVersion"]["version"]["artifacts"]["edges"]
    done = desk.run("artifacts", "verify", edge["node"]["id"])
    assert (done.returncode, "was only spoken of" in done.stdout) == (1, True)


def test_what_nothing_needs_is_cleared_away(desk: Desk, model: str) -> None:
    desk.write(a=os.urandom(50))
    desk.told("push", "model", model)
    done = desk.told("artifacts", "gc", "--dry-run", "--grace", "1m", "--workspace", "default")["default"]
    assert (done["removed"], done["kept"] > 0) == (0, True)
    done = desk.told("artifacts", "gc", "--workspace", "default")["default"]
    assert done["removed"] == 0


def test_what_goes_on_at_the_server_is_waited_for_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[str]()

    def asked(moving: bool) -> dict[str, Any]:
        answers = iter([Unavailable("not yet", moving=moving)] * 5)

        def ask(*_: object) -> dict[str, Any]:
            for error in answers:
                raise error
            return {"done": True}

        with Remote("http://127.0.0.1", str, patience=0.1, on_wait=waits.append) as remote:
            monkeypatch.setattr(remote, "_ask", ask)
            return remote.ask("")

    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.05)
    assert asked(moving=True) == {"done": True}
    assert waits == ["not yet"]
    with pytest.raises(Unavailable):
        asked(moving=False)


def test_an_address_that_is_no_longer_good_is_asked_for_again(
    desk: Desk, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lineal import pulling

    desk.told("push", str(desk.write(a=b"first", b=b"second")), model)
    pages = pulling.Pull._pages

    def stale(pull: pulling.Pull, artifact: str) -> Any:
        for page in pages(pull, artifact):
            yield [{**each, "url": f"{each['url']}x"} for each in page]

    monkeypatch.setattr(pulling.Pull, "_pages", stale)
    assert desk.told("pull", f"models:/{model}/1", "copy")["filesReceived"] == 2
    assert read(desk.home / "copy") == {"a": b"first", "b": b"second"}
