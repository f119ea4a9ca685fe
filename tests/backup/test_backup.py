"""A backup has all of one moment, and brings all of it back, or nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from auth.keyring import AUDIT, Keyring
from graph.port import EntryFilter, Graph, Kept, NewNode, Node, Snapshot, Transaction
from graph.transfer import export_lines
from lineal.errors import Conflict, InvalidArgument, NotFound, PreconditionFailed, Unavailable
from resolvers.artifacts.collecting import collect
from resolvers.artifacts.common import manifest_name, signature_name
from resolvers.artifacts.owning import OWNER, take_over
from resolvers.artifacts.sweeping import holding_back
from resolvers.artifacts.verifying import VERIFIED, verify_managed
from resolvers.backup import taking
from resolvers.backup.folder import ASIDE, GRAPH, Backup, backup_of, backups, files_of
from resolvers.backup.folder import FILES as FILES_PART
from resolvers.backup.restoring import Restored, problems, refuse_unfinished, restore
from resolvers.backup.taking import take
from resolvers.bytes import Bytes
from resolvers.writing.versions import delete_model_version
from storage.local import LocalStorage
from storage.port import Incoming
from storage.writing import locked
from tests import building
from tests.artifacts.conftest import Registry
from tests.auditing import found
from tests.backup.conftest import backed_up, content, empty, sealed, told_content
from tests.graph.test_transfer import rich_graph
from tests.storage.storing import SECRET, blob_of

FILES = {"a.bin": b"first", "deep/b.bin": b"second"}
MORE = {"a.bin": b"first", "c.bin": b"third"}


async def furnish(registry: Registry, home: Path) -> None:
    """Something of everything that a store has, an artifact, and a file that was sent by path."""
    await rich_graph(registry.graph)
    await registry.push(FILES)
    await registry.set_workspace(description="ours")

    async def beside(tx: Transaction) -> None:
        await tx.keep([Kept("webhook", 2**62, "WAITING", {"z": 1, "a": [2**53 + 1]})])
        await tx.remember("key", "hash", ["mv_1"])

    await registry.graph.write(beside, by="ann", action="test")
    await registry.store.upload("default", b"by path")
    blob = blob_of(b"by path")
    await registry.storage.put("default", f"mlflow/f.x/{1:016d}.{blob.sha256}.{blob.size}", b"")
    await sealed(registry.graph, home)


async def wrong(folder: Path, backup: Backup) -> list[str]:
    return [text async for text in problems(folder, backup)]


async def actions(graph: Graph) -> list[str]:
    async with graph.snapshot() as snapshot:
        return [entry.change.action for entry in await snapshot.entries(EntryFilter(), limit=5)]


async def test_everything_of_the_moment_comes_back_into_another_store(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    await furnish(registry, tmp_path)
    before = await content(registry.graph)
    taken = await backed_up(registry, folder)
    assert told_content(taken.backup) == before
    assert taken.lost == []
    await registry.push(MORE, model="models:/later")
    assert await wrong(folder, taken.backup) == []
    async with empty(tmp_path / "other") as other:
        assert await restore(other.graph, other.storage, folder, taken.backup, by="ann") == Restored([], [])
        await refuse_unfinished(other.graph)
        assert (await content(other.graph))[0] == before[0]
        assert await found(other.graph, [Keyring(tmp_path / "keys").ed25519(AUDIT)]) == []
        assert (await actions(other.graph))[0] == "restoreBackup"
        async with other.graph.snapshot() as snapshot:
            artifacts = (await snapshot.find("Artifact")).items
            (kept,) = (await snapshot.kept(["webhook"], ["WAITING"]))["webhook"]
        assert kept.data == {"z": 1, "a": [2**53 + 1]}
        assert [await verify_managed(other.graph, other.storage, a, by="ann") for a in artifacts] == [VERIFIED]
        sent = blob_of(b"by path").sha256
        assert [sent in name async for name in other.storage.documents("default", "mlflow/")] == [True]
        assert b"".join([chunk async for chunk in other.storage.read("default", sent)]) == b"by path"

        async def recall(tx: Transaction) -> Any:
            return await tx.recall("key")

        assert (await other.graph.write(recall, by="ann", action="test")).hash == "hash"
        await building.create(other.graph, NewNode("Model", "after", "default"))
        assert await found(other.graph, [Keyring(tmp_path / "keys").ed25519(AUDIT)]) == []


@pytest.fixture
def stores(local: Any, s3: Any) -> tuple[Any, Any]:
    """A folder, and MinIO."""
    return local, s3


async def test_a_backup_of_the_embedded_store_comes_back_on_neo4j(
    sqlite_graph: Graph, neo4j_graph: Graph, stores: tuple[Any, Any], tmp_path: Path
) -> None:
    (local, s3), folder = stores, tmp_path / "backups"
    registry = Registry(sqlite_graph, local, Bytes(local.storage))
    await furnish(registry, tmp_path)
    taken = await backed_up(registry, folder)
    assert await restore(neo4j_graph, s3.storage, folder, taken.backup, by="ann") == Restored([], [])
    assert await content(neo4j_graph) == await content(sqlite_graph)
    await building.create(neo4j_graph, NewNode("Model", "after", "default"))
    while await neo4j_graph.sequence():
        pass
    assert await found(neo4j_graph, [Keyring(tmp_path / "keys").ed25519(AUDIT)]) == []


async def test_what_an_earlier_backup_has_is_not_copied_again(registry: Registry, folder: Path) -> None:
    await registry.push(FILES)
    assert (await backed_up(registry, folder)).copied == 2
    await registry.push(MORE, model="models:/other")
    second = await backed_up(registry, folder)
    assert (second.copied, second.bytes_copied) == (1, len(b"third"))
    assert [await wrong(folder, each) for each in backups(folder)] == [[], []]


async def test_bytes_that_only_older_backups_had_go_with_them(registry: Registry, folder: Path) -> None:
    version, _ = await registry.push(FILES)
    await backed_up(registry, folder)
    async with registry.operation() as op:
        await delete_model_version(op, address=version.id)
    await collect(registry.graph, registry.storage, "default", by="gc", grace=0.0)
    await collect(registry.graph, registry.storage, "default", by="gc", grace=0.0)
    await registry.push(MORE)
    latest = (await backed_up(registry, folder, keep=1)).backup
    assert [each.name for each in backups(folder)] == [latest.name]
    assert await wrong(folder, latest) == []
    async with files_of(folder) as files:
        assert {blob.sha256 async for blob in files.blobs("default")} == {blob_of(d).sha256 for d in MORE.values()}


async def test_nothing_is_cleared_away_while_a_backup_is_taken(registry: Registry) -> None:
    await registry.store.upload("default", b"needed by nothing")
    await registry.push(FILES)
    async with holding_back(registry.storage, ["default"]):
        with pytest.raises(Unavailable, match="a backup is being taken"):
            await collect(registry.graph, registry.storage, "default", by="gc", grace=0.0)
    assert await registry.holds(b"needed by nothing")
    assert (await collect(registry.graph, registry.storage, "default", by="gc", grace=0.0)).removed == 1


async def test_the_audit_of_a_backup_tells_of_nothing_that_came_after_its_graph(
    graph: Graph, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = await building.model(graph, "before")
    later: list[str] = []

    async def meanwhile(snapshot: Snapshot) -> AsyncIterator[bytes]:
        async for line in export_lines(snapshot):
            yield line
        model, _ = await building.model(graph, "later")
        later.append(model.id)

    monkeypatch.setattr(taking, "export_lines", meanwhile)
    async with LocalStorage(tmp_path / "bytes", SECRET) as storage:
        backup = (await take(graph, storage, folder, told={})).backup
    aside = (backup.path / ASIDE).read_text()
    assert before.id in aside
    assert later[0] not in aside


async def test_what_was_pushed_while_the_graph_was_read_is_there_with_its_bytes_or_not_at_all(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = await registry.push(FILES)
    later: list[Node] = []

    async def meanwhile(snapshot: Snapshot) -> AsyncIterator[bytes]:
        _, pushed = await registry.push({"late.bin": b"late"})
        later.append(pushed)
        async for line in export_lines(snapshot):
            yield line

    monkeypatch.setattr(taking, "export_lines", meanwhile)
    backup = (await backed_up(registry, folder)).backup
    known = {body["id"] for what, body in backup.lines(GRAPH) if what == "node" and body["kind"] == "Artifact"}
    kept = {body["digest"] for what, body in backup.lines(FILES_PART) if what == "manifest"}
    assert before.id in known
    assert kept == {node.props["digest"] for node in (before, *later) if node.id in known}
    assert await wrong(folder, backup) == []


async def test_two_backups_into_one_folder_do_not_go_on_at_once(registry: Registry, folder: Path) -> None:
    with locked(folder / "lock", alone=True), pytest.raises(Conflict, match="another backup"):
        await backed_up(registry, folder)
    (folder / "file").touch()
    with pytest.raises(InvalidArgument, match="must be a folder"):
        await backed_up(registry, folder / "file")
    with pytest.raises(NotFound, match="no backup"):
        backup_of(folder, None)


async def test_what_was_lost_already_is_named_once_and_the_rest_is_kept(registry: Registry, folder: Path) -> None:
    _, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    taken = await backed_up(registry, folder)
    assert taken.lost == [f"{artifact.id}: {blob_of(b'first').sha256} is not there"]
    assert await wrong(folder, taken.backup) == []
    await verify_managed(registry.graph, registry.storage, await registry.node(artifact.id), by="ann")
    assert (await backed_up(registry, folder)).lost == []


@pytest.fixture
async def whole(sqlite_graph: Graph, local: Any, folder: Path) -> Backup:
    """A backup of the embedded store."""
    registry = Registry(sqlite_graph, local, Bytes(local.storage))
    await registry.push(FILES)
    return (await backed_up(registry, folder)).backup


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


PARTS = (
    "*Z/graph.jsonl",
    "*Z/aside.jsonl",
    "*Z/files.jsonl",
    "files/*/blobs/*/*",
    "files/*/documents/manifests/*",
)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("harm", [flip, Path.unlink])
async def test_whatever_is_damaged_is_found_and_nothing_is_restored(
    whole: Backup, folder: Path, part: str, harm: Any
) -> None:
    harm(next(folder.glob(part)))  # noqa: ASYNC240 - nobody waits
    assert len(await wrong(folder, whole)) == 1
    async with empty(folder.parent / "other") as other:
        before = await content(other.graph)
        with pytest.raises(PreconditionFailed, match="is not whole"):
            await restore(other.graph, other.storage, folder, whole, by="ann")
        assert await content(other.graph) == before
        await refuse_unfinished(other.graph)


async def test_a_store_with_something_in_it_is_left_alone(whole: Backup, folder: Path, tmp_path: Path) -> None:
    async with empty(tmp_path / "other") as other:
        await building.create(other.graph, NewNode("Model", "mine", "default"))
        before = await content(other.graph)
        with pytest.raises(PreconditionFailed, match="needs an empty one"):
            await restore(other.graph, other.storage, folder, whole, by="ann")
        assert await content(other.graph) == before


async def test_a_restored_graph_leaves_the_storage_of_the_first_one_alone_until_it_takes_it_over(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    await registry.push(FILES)
    taken = await backed_up(registry, folder)
    _, later = await registry.push(MORE, model="models:/later")
    name = manifest_name(later.props["digest"])
    async with empty(tmp_path / "other") as other:
        (undone,) = (await restore(other.graph, registry.storage, folder, taken.backup, by="ann")).undone
        assert "belongs to another graph" in undone
        drill = Registry(other.graph, registry.store, Bytes(registry.storage))
        with pytest.raises(PreconditionFailed, match="belongs to another graph"):
            await collect(other.graph, registry.storage, "default", by="gc", grace=0.0)
        with pytest.raises(PreconditionFailed, match="belongs to another graph"):
            await drill.push({"x": b"of the drill"})
        assert await registry.holds(b"third")
        assert await registry.storage.get("default", name) is not None
        await registry.storage.discard("default", OWNER)
        with pytest.raises(PreconditionFailed, match="never sent anything"):
            await collect(other.graph, registry.storage, "default", by="gc", grace=0.0)
        await take_over(other.graph, registry.storage, "default")
        await collect(other.graph, registry.storage, "default", by="gc", grace=3_600.0)
        assert await registry.storage.get("default", name) is not None
        await asyncio.sleep(1.1)
        await collect(other.graph, registry.storage, "default", by="gc", grace=0.0)
        assert not await registry.holds(b"third")
        assert await registry.storage.get("default", name) is None
        await drill.push({"x": b"of the drill"})


async def test_a_restore_changes_nothing_in_the_storage_of_another_graph(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    _, artifact = await registry.push(FILES)
    storage, document = registry.storage, signature_name(artifact.props["digest"])
    await storage.put("default", document, b"signature of yesterday")
    taken = await backed_up(registry, folder)
    await storage.put("default", document, b"signature of today")
    await storage.discard("default", manifest_name(artifact.props["digest"]))
    await storage.remove("default", [blob_of(b"first").sha256])
    async with empty(tmp_path / "other") as other:
        (undone,) = (await restore(other.graph, storage, folder, taken.backup, by="ann")).undone
        assert "belongs to another graph" in undone
    assert await storage.get("default", document) == b"signature of today"
    assert await storage.get("default", manifest_name(artifact.props["digest"])) is None
    assert not await registry.holds(b"first")


def rot(folder: Path, data: bytes) -> None:
    flip(next(folder.glob(f"files/*/blobs/*/{blob_of(data).sha256}")))


async def test_bytes_that_rot_in_the_folder_are_copied_again_when_it_is_their_turn_or_by_a_deep_backup(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.push(FILES)
    await backed_up(registry, folder)
    rot(folder, b"first")
    taken = await take(registry.graph, registry.storage, folder, told={}, deep=True)
    assert (taken.healed, taken.copied, taken.lost) == (1, 1, [])
    assert await wrong(folder, taken.backup) == []
    rot(folder, b"second")
    flip(next(folder.glob("files/*/documents/manifests/*")))  # noqa: ASYNC240 - nobody waits
    monkeypatch.setattr(taking, "TURNS", 3)
    assert sum([(await backed_up(registry, folder)).healed for _ in range(3)]) == 1
    assert [await wrong(folder, each) for each in backups(folder)] == [[]] * 5


async def test_what_rots_in_the_folder_and_is_lost_in_storage_is_named(registry: Registry, folder: Path) -> None:
    _, artifact = await registry.push(FILES)
    await backed_up(registry, folder)
    rot(folder, b"first")
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    taken = await take(registry.graph, registry.storage, folder, told={}, deep=True)
    assert taken.lost == [f"{artifact.id}: {blob_of(b'first').sha256} is not there"]
    assert await wrong(folder, taken.backup) == []


@pytest.mark.parametrize("part", ["blob", "manifest"])
async def test_a_restore_despite_what_is_lost_brings_the_rest_and_says_so(
    registry: Registry, folder: Path, tmp_path: Path, part: str
) -> None:
    one, lost = await registry.push({"a.bin": b"first", "c.bin": b"third"})
    two, kept = await registry.push({"b.bin": b"second"}, model="models:/other")
    taken = await backed_up(registry, folder)
    if part == "blob":
        rot(folder, b"first")
    else:
        async with files_of(folder, write=True) as files:
            await files.put("default", manifest_name(lost.props["digest"]), b"{}")
    async with empty(tmp_path / "other") as other:
        with pytest.raises(PreconditionFailed, match="--despite-lost"):
            await restore(other.graph, other.storage, folder, taken.backup, by="ann")
        done = await restore(other.graph, other.storage, folder, taken.backup, by="ann", despite_lost=True)
        assert (done.undone, len(done.lost)) == ([], 1)
        await refuse_unfinished(other.graph)
        async with other.graph.snapshot() as snapshot:
            nodes = await snapshot.nodes([one.id, lost.id, two.id, kept.id])
        assert nodes[lost.id].props["verification"] == "FAILED"
        assert nodes[one.id].props["state"] == "FAILED"
        assert nodes[kept.id].props["verification"] != "FAILED"
        assert nodes[two.id].props["state"] == "READY"
        there = {blob.sha256 async for blob in other.storage.blobs("default")}
        assert (blob_of(b"first").sha256 in there) == (part == "manifest")
        assert {blob_of(b"second").sha256, blob_of(b"third").sha256} <= there
    async with empty(tmp_path / "same") as same:
        done = await restore(same.graph, registry.storage, folder, taken.backup, by="ann")
        assert (done.lost, len(done.undone)) == ([], 1)


class Full(LocalStorage):
    """A storage that has no room for blobs."""

    def incoming(self, workspace: str) -> Incoming:
        raise Unavailable(f"no space left for {workspace}")


async def test_a_restore_that_broke_off_is_gone_on_with_and_used_by_nobody_before(
    whole: Backup, folder: Path, tmp_path: Path
) -> None:
    async with empty(tmp_path / "other") as other, Full(tmp_path / "full", SECRET) as full:
        with pytest.raises(Unavailable, match="no space"):
            await restore(other.graph, full, folder, whole, by="ann")
        with pytest.raises(PreconditionFailed, match="not finished"):
            await refuse_unfinished(other.graph)
        copied = tmp_path / "copied"
        shutil.copytree(folder, copied)
        (copied / whole.name / "backup.json").write_bytes((whole.path / "backup.json").read_bytes() + b"\n")
        with pytest.raises(PreconditionFailed, match="another backup"):
            await restore(other.graph, other.storage, copied, backup_of(copied, None), by="ann")
        assert await restore(other.graph, other.storage, folder, whole, by="ann") == Restored([], [])
        await refuse_unfinished(other.graph)
        assert (await content(other.graph))[0] == told_content(whole)[0]
