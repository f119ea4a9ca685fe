"""Who may send and fetch bytes, by scopes and roles; what is hidden is answered like what is absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from auth.caller import ADMIN, Caller
from auth.recorder import Recorder
from auth.scopes import SCOPES
from graph.ids import new_id
from graph.port import EntryFilter, NewEdge, NewNode, Node
from lineal.pushing import BEGIN as PUSH
from lineal.pushing import described as described_folder
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from resolvers.writing.sharing import share_with
from schema.context import Context
from schema.executing import run
from schema.limits import Limits
from schema.sdl import build_schema
from storage.connectors.config import read
from storage.connectors.connector import Connectors
from storage.connectors.local import LocalBackend
from storage.folder import Folder
from storage.manifest import MAX_FILES, File, Manifest
from storage.port import WHOLE, Blob
from tests import building
from tests.artifacts.conftest import Files, Registry, described
from tests.graph.spying import Spy, spy_on_statements
from tests.live.connecting import site
from tests.storage.storing import BASE, blob_of

SCHEMA = build_schema(Limits())
ALL = frozenset(SCOPES) - {ADMIN}
FILES = {"a.bin": b"first", "b.bin": b"second"}

LOOK = "query ($id: ID!) { artifact(address: $id) { digest files { nodes { path sha256 url } } signatureBundle } }"
MISSING = "query ($id: ID!) { upload(address: $id) { state missing { nodes { path requests { url } } } } }"
BEGIN = """mutation ($to: ID!, $files: [UploadFileInput!]!) {
  beginUpload(input: {to: $to, files: $files}) { upload { id missing { nodes { path } } } }
}"""
COMPLETE = "mutation ($id: ID!) { completeUpload(input: {upload: $id}) { artifact { id } } }"
ABORT = "mutation ($id: ID!) { abortUpload(input: {upload: $id}) { upload { state } } }"
VERIFY = "mutation ($id: ID!) { verifyArtifact(input: {artifact: $id}) { artifact { verification } } }"
ATTACH = 'mutation ($id: ID!) { attachSignature(input: {artifact: $id, bundle: "{}"}) { artifact { id } } }'
REGISTER = """mutation ($id: ID!, $uri: String! = "s3://lake/x") {
  registerArtifact(input: {to: $id, uri: $uri}) { artifact { id } }
}"""
QUOTA = 'mutation { setQuota(input: {workspace: "default", bytes: "1"}) { workspace { name } } }'


def caller(role: str = "", *, without: str = "", name: str = "corp:ann") -> Caller:
    """Somebody with all scopes but some; with a role where `building` granted it."""
    return Caller(f"{name}{role}", ALL - set(without.split()), workspaces=frozenset())


async def people(registry: Registry) -> None:
    """Somebody with each role in the workspace `default`."""
    place = await registry.node("workspaces:/default")
    for role in ("VIEWER", "CONTRIBUTOR", "OWNER"):
        (node,) = await building.create(
            registry.graph, NewNode("Principal", f"corp:ann{role}", "", props={"type": "USER"})
        )
        await building.link(registry.graph, NewEdge("GRANTS", place.id, node.id, role))


async def ask(registry: Registry, by: Caller, text: str, **variables: Any) -> Any:
    """The data, or the code of the first error."""
    async with Recorder(registry.graph) as recorder:
        op = Operation(registry.graph, caller=by, bytes=registry.reach, base=BASE, recorder=recorder)
        result = await run(SCHEMA, Context(op), text, variables)
    if result.errors:
        return (result.errors[0].extensions or {})["code"]
    return result.data


async def begun(registry: Registry, files: Files = FILES) -> tuple[Node, Node]:
    """A version and an upload of which nothing was sent."""
    version = await registry.version()
    return version, await registry.begin(version.id, files)


async def test_a_viewer_fetches_and_sends_nothing(registry: Registry) -> None:
    await people(registry)
    _, artifact = await registry.push(FILES, model="models:/other")
    version, upload = await begun(registry)
    viewer = caller("VIEWER")
    data = await ask(registry, viewer, LOOK, id=artifact.id)
    assert [node["path"] for node in data["artifact"]["files"]["nodes"]] == ["a.bin", "b.bin"]
    assert all(node["url"] for node in data["artifact"]["files"]["nodes"])
    assert await ask(registry, viewer, MISSING, id=upload.id) == "FORBIDDEN"
    assert await ask(registry, viewer, BEGIN, to=version.id, files=graphql(FILES)) == "FORBIDDEN"
    for text, id in ((COMPLETE, upload.id), (ABORT, upload.id), (VERIFY, artifact.id), (ATTACH, artifact.id)):
        assert await ask(registry, viewer, text, id=id) == "FORBIDDEN", text


async def test_whoever_may_not_write_there_learns_nothing_of_what_a_connector_reaches(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people(registry)
    await building.workspace(registry.graph, "mine")
    version, lake = await registry.version(), tmp_path / "lake"
    lake.mkdir()
    (lake / "there.csv").touch()
    async with registry.operation() as op:
        await share_with(op, address="models:/bert", workspace="mine")
    table = {"scheme": "file", "prefixes": [lake.as_uri()], "workspaces": ["default"]}
    registry.reach = Bytes(registry.storage, connectors=Connectors(read({"connectors": {"lake": table}})))
    touched = list[str]()
    monkeypatch.setattr(LocalBackend, "stat", lambda _, place: touched.append(place.uri))
    stranger = Caller("corp:bob", ALL, workspaces=frozenset({"mine"}))
    for by in (caller("VIEWER"), stranger, caller("CONTRIBUTOR", without="model:write")):
        for name in ("there.csv", "nothing.csv"):
            assert await ask(registry, by, REGISTER, id=version.id, uri=f"{lake.as_uri()}/{name}") == "FORBIDDEN"
    assert not touched


async def test_a_contributor_sends(registry: Registry) -> None:
    await people(registry)
    version = await registry.version()
    data = await ask(registry, caller("CONTRIBUTOR"), BEGIN, to=version.id, files=graphql(FILES))
    assert len(data["beginUpload"]["upload"]["missing"]["nodes"]) == 2


@pytest.mark.parametrize(
    ("without", "text", "field"),
    [
        ("artifact:read", LOOK, "artifact"),
        ("artifact:write", COMPLETE, "completeUpload"),
        ("artifact:write", ABORT, "abortUpload"),
        ("artifact:read", VERIFY, "verifyArtifact"),
    ],
)
async def test_each_of_the_scopes_is_needed(registry: Registry, without: str, text: str, field: str) -> None:
    await people(registry)
    _, artifact = await registry.push(FILES)
    assert await ask(registry, caller("OWNER", without=without), text, id=artifact.id) == "FORBIDDEN", field


async def test_what_is_missing_needs_the_scope_to_write(registry: Registry) -> None:
    await people(registry)
    _, upload = await begun(registry)
    assert await ask(registry, caller("OWNER", without="artifact:write"), MISSING, id=upload.id) == "FORBIDDEN"


async def test_an_owner_sets_no_quota(registry: Registry) -> None:
    await people(registry)
    assert await ask(registry, caller("OWNER"), QUOTA) == "FORBIDDEN"
    data = await ask(registry, Caller("corp:root", frozenset({ADMIN})), QUOTA)
    assert data["setQuota"]["workspace"]["name"] == "default"


async def test_what_is_hidden_is_answered_like_what_is_absent_by_the_same_statements(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, artifact = await registry.push(FILES, model="models:/other")
    _, upload = await begun(registry)
    stranger = caller("nobody")
    spy = spy_on_statements(monkeypatch)
    hidden = {"ar": artifact.id, "up": upload.id, "mv": version.id}
    of_uploads, of_artifacts = ((MISSING, "up"), (COMPLETE, "up"), (ABORT, "up")), ((VERIFY, "ar"), (ATTACH, "ar"))
    for text, kind in ((LOOK, "ar"), *of_uploads, *of_artifacts, (REGISTER, "mv")):
        answers = [await told(registry, spy, stranger, text, id) for id in (hidden[kind], new_id(kind))]
        assert answers[0] == answers[1], text


async def told(registry: Registry, spy: Spy, by: Caller, text: str, id: str) -> tuple[Any, list[str]]:
    """The answer without the id, and the texts of all statements."""
    spy.forget()
    op = Operation(registry.graph, caller=by, bytes=registry.reach, base=BASE)
    result = await run(SCHEMA, Context(op), text, {"id": id})
    errors = [(error.message.replace(id, "ID"), error.path, error.extensions) for error in result.errors or ()]
    return (result.data, errors), spy.forget()


async def test_the_same_bytes_elsewhere_tell_nothing(registry: Registry) -> None:
    await registry.push(FILES)
    await building.workspace(registry.graph, "mine")
    version = await registry.version("models:/mine:bert")
    owner = Caller("corp:bob", ALL, workspaces=frozenset({"mine"}))
    data = await ask(registry, owner, BEGIN, to=version.id, files=graphql(FILES))
    assert len(data["beginUpload"]["upload"]["missing"]["nodes"]) == 2


async def test_every_address_that_was_given_out_is_in_the_audit_however_it_was_asked_for(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    text = """query ($id: ID!) { artifact(address: $id) {
      files(prefix: "a") { nodes { one: url two: url(seconds: 5) ...F } } more: files(prefix: "b") { nodes { ...F } }
    } } fragment F on ArtifactFile { url }"""
    owner = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
    data = await ask(registry, owner, text, id=artifact.id)
    assert data["artifact"]["files"]["nodes"][0]["one"]
    await registry.graph.sequence()
    async with registry.graph.snapshot() as snapshot:
        entries = await snapshot.entries(EntryFilter(action="read"))
    noted = [path for entry in entries for path in entry.change.data["noted"]["data"]["files"]]
    assert sorted(noted) == ["a.bin", "a.bin", "b.bin"]  # once for each time that it opens
    assert {entry.change.by for entry in entries} == {"corp:ann"}


async def test_looking_at_files_without_asking_for_addresses_is_no_download(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    text = "query ($id: ID!) { artifact(address: $id) { files { nodes { path size } } } }"
    await ask(registry, Caller("corp:ann", ALL, workspaces=frozenset({"default"})), text, id=artifact.id)
    await registry.graph.sequence()
    async with registry.graph.snapshot() as snapshot:
        assert not await snapshot.entries(EntryFilter(action="read"))


def request_of(*files: File) -> bytes:
    """The request by which a push tells of its files."""
    parts = {file.sha256: ("e" * 64,) * Blob(file.sha256, file.size).part_count for file in files if file.size > WHOLE}
    folder = described_folder(Folder(Path(), Manifest(files), parts))
    return orjson.dumps(
        {"query": PUSH, "variables": {"input": {"to": "models:/m/1", "name": "model", "files": folder}}}
    )


MANY = [File(f"{i:05}" + "p" * 245, WHOLE, f"{i:064x}") for i in range(MAX_FILES)]
LARGE = [File(f"{i}", 256 * 2**30, f"{i:064x}") for i in range(14)]


@pytest.mark.parametrize("files", [MANY, LARGE], ids=["many", "large"])
def test_a_request_can_tell_of_as_many_files_as_is_promised(files: list[File]) -> None:
    assert len(request_of(*files)) <= Limits().body


async def test_what_a_request_cannot_tell_of_is_refused_by_the_setting_that_bounds_it(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        headers = {"content-type": "application/json", "authorization": server.bearer()}
        client = httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://127.0.0.1:8321")
        async with client:
            answer = await client.post("/graphql", content=request_of(*LARGE, *LARGE[:3]), headers=headers)
    assert answer.status_code == 413
    assert "max_body_bytes" in answer.json()["errors"][0]["message"]


def graphql(files: Files) -> list[Any]:
    """Files as GraphQL takes them."""
    return [{**each, "size": str(each["size"])} for each in described(files)]


async def test_more_files_than_an_artifact_may_have_are_refused(registry: Registry) -> None:
    version = await registry.version()
    blob = blob_of(b"")
    files = [{"path": f"f{i}", "size": "0", "sha256": blob.sha256} for i in range(MAX_FILES + 1)]
    owner = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
    assert await ask(registry, owner, BEGIN, to=version.id, files=files) == "LIMIT_EXCEEDED"
