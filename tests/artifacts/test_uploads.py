"""Files are told by their manifest, sent to storage directly, and become an artifact when every byte is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from graph.port import Hop, Node
from lineal.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from resolvers import bytes as reaching
from resolvers.artifacts import uploads
from resolvers.artifacts.common import SEND_SECONDS
from resolvers.artifacts.quotas import added, usage
from resolvers.artifacts.uploads import abort_upload, begin_upload, missing
from resolvers.artifacts.verifying import verify_managed
from resolvers.reading import all_links
from resolvers.writing.importing import ImportedNode, record_lineage
from resolvers.writing.versions import update_model_version
from storage.port import PART, Blob, Stored
from tests.artifacts.conftest import Registry, described
from tests.storage.storing import blob_of, some

FILES = {"config.json": b"{}", "weights/a.bin": b"aaa", "weights/b.bin": b"b" * 1000, "weights/copy.bin": b"aaa"}


async def test_a_version_is_pending_until_its_files_are_there_and_then_it_is_ready(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    assert upload.props["state"] == "OPEN"
    assert (await registry.node(version.id)).props["state"] == "PENDING"
    assert await registry.send(upload, FILES) == 3  # two files have the same bytes
    artifact = await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "READY"
    assert artifact.props["storage"] == "MANAGED"
    assert artifact.props["verification"] == "VERIFIED"
    assert (artifact.props["fileCount"], artifact.props["sizeBytes"]) == (4, 1008)
    assert artifact.name == artifact.props["digest"] == upload.props["digest"]
    assert (await registry.node(upload.id)).props["state"] == "COMPLETE"


async def test_the_artifact_is_linked_under_its_name(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        links = await all_links(await op.snapshot(), [version.id], Hop("HAS_ARTIFACT", "OUT"))
    assert [(link.node.id, link.edge.discriminator) for link in links[version.id]] == [(artifact.id, "model")]


async def test_the_same_files_are_the_same_artifact_and_nothing_is_sent_again(registry: Registry) -> None:
    _, first = await registry.push(FILES)
    second = await registry.version()
    upload = await registry.begin(second.id, FILES)
    assert await registry.send(upload, FILES) == 0
    assert (await registry.complete(upload)).id == first.id


async def test_one_changed_file_sends_one_file(registry: Registry) -> None:
    await registry.push(FILES)
    changed = {**FILES, "config.json": b'{"x": 1}'}
    upload = await registry.begin((await registry.version()).id, changed)
    assert await registry.send(upload, changed) == 1


async def test_beginning_again_goes_on_with_the_same_upload(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES, most=1)
    again = await registry.begin(version.id, FILES)
    assert again.id == upload.id
    assert await registry.send(again, FILES) == 2
    await registry.complete(again)


async def test_completing_again_gives_the_same_artifact(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    artifact = await registry.complete(upload)
    assert (await registry.complete(upload)).id == artifact.id
    assert (await registry.begin(version.id, FILES)).props["state"] == "COMPLETE"


async def test_completing_without_all_bytes_is_refused_and_names_the_files(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES, most=2)
    with pytest.raises(PreconditionFailed, match="of 4 files are not there") as refusal:
        await registry.complete(upload)
    assert refusal.value.details["missing"]
    assert (await registry.node(version.id)).props["state"] == "PENDING"


async def test_a_large_file_goes_in_parts_and_is_verified_as_a_whole(registry: Registry, small_parts: int) -> None:
    files = {"big.bin": some(2 * small_parts + 3)}
    version = await registry.version()
    upload = await registry.begin(version.id, files)
    assert await registry.send(upload, files, most=1) == 1
    again = await registry.begin(version.id, files)
    assert await registry.send(again, files) == 2  # what was sent before is left out
    artifact = await registry.complete(again)
    assert artifact.props["verification"] in {"VERIFIED", "PENDING"}
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_a_page_of_what_is_missing_has_bounded_requests_however_large_its_files_are(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "REQUESTS", 10)
    sizes = [5 * PART, 5 * PART, 5 * PART, 11 * PART]
    digests = [blob_of(str(number).encode()).sha256 for number in range(len(sizes))]
    files: list[Any] = [
        {"path": digest, "size": size, "sha256": digest, "parts": [digest] * (size // PART)}
        for digest, size in zip(digests, sizes, strict=True)
    ]
    pages, after, more = [], None, True
    async with registry.operation() as op:
        upload = await begin_upload(op, to=(await registry.version()).id, files=files)
        while more:
            page = await missing(op, upload, first=50, after=after)
            pages.append(page.items)
            after, more = page.last, page.has_next
    assert sorted(item.file.sha256 for items in pages for item in items) == sorted(digests)
    counts = [[len(item.sends) for item in items] for items in pages]
    assert all(sum(count) <= 10 or count == [11] for count in counts)
    assert len(counts) < len(sizes)


async def test_while_large_files_are_put_together_completing_says_so_and_that_it_goes_on(
    registry: Registry, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"big.bin": some(2 * small_parts + 3), "bigger.bin": some(3 * small_parts)}
    version = await registry.version()
    upload = await registry.begin(version.id, files)
    await registry.send(upload, files)
    seal, go = registry.storage.seal, asyncio.Event()

    async def slow(workspace: str, blob: Blob) -> bool:
        await go.wait()
        return await seal(workspace, blob)

    with monkeypatch.context() as patch:
        patch.setattr(reaching, "PATIENCE", 0.1)
        patch.setattr(registry.storage, "seal", slow)
        with pytest.raises(Unavailable, match="still being put together") as error:
            await registry.complete(upload)
        assert error.value.details["moving"]
        go.set()
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_storage_that_is_away_while_a_large_file_is_put_together_is_unavailable(
    registry: Registry, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"big.bin": some(2 * small_parts + 3)}
    upload = await registry.begin((await registry.version()).id, files)
    await registry.send(upload, files)

    async def away(*_: object) -> bool:
        raise Unavailable("storage is away")

    monkeypatch.setattr(registry.storage, "seal", away)
    with pytest.raises(Unavailable, match="storage is away"):
        await registry.complete(upload)


async def test_a_large_file_needs_the_digests_of_its_parts(registry: Registry, small_parts: int) -> None:
    files = described({"big.bin": some(2 * small_parts)})
    files[0]["parts"] = files[0]["parts"][:1]
    version = await registry.version()
    with pytest.raises(InvalidArgument) as refusal:
        async with registry.operation() as op:
            await begin_upload(op, to=version.id, files=files)
    assert refusal.value.field == "files[0].parts"


async def test_a_version_is_ready_when_the_last_of_its_uploads_is_complete(registry: Registry) -> None:
    version = await registry.version()
    model = await registry.begin(version.id, FILES)
    tokenizer = await registry.begin(version.id, {"vocab.txt": b"words"}, "tokenizer")
    await registry.send(model, FILES)
    await registry.complete(model)
    assert (await registry.node(version.id)).props["state"] == "PENDING"
    await registry.send(tokenizer, {"vocab.txt": b"words"})
    await registry.complete(tokenizer)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_a_version_is_called_ready_by_nobody_while_an_upload_of_it_is_open(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    for state in ("READY", None):
        with pytest.raises(PreconditionFailed, match=f"{upload.id} is OPEN") as refusal:
            await say(registry, version, state)
        assert refusal.value.field == "state"
        node: ImportedNode = {"address": "models:/bert/1", "properties": {"state": state}}
        with pytest.raises(PreconditionFailed, match=f"{upload.id} is OPEN") as refusal:
            async with registry.operation() as op:
                await record_lineage(op, nodes=[{"address": "models:/other"}, node])
        assert refusal.value.field == "nodes[1].properties.state"
    assert (await registry.node(version.id)).props["state"] == "PENDING"
    await registry.send(upload, FILES)
    await registry.complete(upload)
    await registry.begin(version.id, {"c": b"third"}, name="more")
    assert (await say(registry, version, "READY")).props["state"] == "READY"


async def test_a_version_whose_upload_was_given_up_may_be_called_ready(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    assert (await say(registry, version, "READY")).props["state"] == "READY"


async def say(registry: Registry, version: Node, state: str | None) -> Node:
    """Say what the state of a version is."""
    async with registry.operation() as op:
        return await update_model_version(op, address=version.id, properties={"state": state})


async def test_a_version_that_failed_with_one_of_its_uploads_is_ready_when_what_it_has_is_pushed_again(
    registry: Registry,
) -> None:
    version = await registry.version()
    model = await registry.begin(version.id, FILES)
    tokenizer = await registry.begin(version.id, {"vocab.txt": b"words"}, "tokenizer")
    await registry.send(model, FILES)
    await registry.complete(model)
    async with registry.operation() as op:
        await abort_upload(op, address=tokenizer.id)
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    again = await registry.begin(version.id, FILES)
    assert await registry.send(again, FILES) == 0
    await registry.complete(again)
    assert (await registry.node(version.id)).props["state"] == "READY"


@pytest.mark.parametrize("healed", [True, False])
async def test_a_version_that_lost_bytes_and_has_an_upload_given_up_is_ready_where_they_came_back_meanwhile(
    registry: Registry, healed: bool
) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(FILES["config.json"]).sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    upload = await registry.begin(version.id, FILES)
    if healed:
        await registry.push(FILES, "models:/other")
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    assert (await registry.node(version.id)).props["state"] == ("READY" if healed else "FAILED")


async def test_what_a_version_is_made_of_never_changes(registry: Registry) -> None:
    version, _ = await registry.push(FILES)
    with pytest.raises(AlreadyExists, match="never change"):
        await registry.begin(version.id, {"config.json": b"other"})


async def test_of_two_uploads_under_one_name_the_second_to_complete_is_refused(registry: Registry) -> None:
    version = await registry.version()
    other = {"config.json": b"other"}
    one, two = await registry.begin(version.id, FILES), await registry.begin(version.id, other)
    await registry.send(one, FILES)
    await registry.send(two, other)
    await registry.complete(one)
    with pytest.raises(AlreadyExists):
        await registry.complete(two)


async def test_an_aborted_upload_is_closed_and_its_version_has_failed(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    async with registry.operation() as op:
        await abort_upload(op, address=upload.id)
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    with pytest.raises(Conflict, match="ABORTED"):
        await registry.complete(await registry.node(upload.id))
    again = await registry.begin(version.id, FILES)
    assert again.props["state"] == "OPEN"
    assert (await registry.node(version.id)).props["state"] == "PENDING"


async def test_a_complete_upload_cannot_be_aborted(registry: Registry) -> None:
    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    await registry.complete(upload)
    with pytest.raises(Conflict):
        async with registry.operation() as op:
            await abort_upload(op, address=upload.id)


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ({}, "files"),
        ({"../x": b""}, "files[0].path"),
        ({"/x": b""}, "files[0].path"),
        ({"a//b": b""}, "files[0].path"),
        ({"a\\b": b""}, "files[0].path"),
        ({"a\nb": b""}, "files[0].path"),
        ({"e\u0301": b""}, "files[0].path"),
        ({"x" * 1025: b""}, "files[0].path"),
        ({"a": b"", "a/b": b""}, "files"),
    ],
)
async def test_paths_that_no_folder_could_hold_are_refused(
    registry: Registry, files: dict[str, bytes], field: str
) -> None:
    version = await registry.version()
    with pytest.raises(InvalidArgument) as refusal:
        await registry.begin(version.id, files)
    assert refusal.value.field == field


async def test_an_upload_for_what_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(NotFound):
        await registry.begin("models:/nothing/1", FILES)


async def test_a_quota_is_held_and_what_is_there_already_costs_nothing(registry: Registry) -> None:
    await registry.push(FILES)
    await registry.set_workspace(quotaBytes=2_000)
    await registry.push(FILES)
    with pytest.raises(LimitExceeded, match="may keep 2,000 bytes") as refusal:
        await registry.begin((await registry.version()).id, {"big": b"x" * 1_500})
    assert refusal.value.details["maximum"] == 2_000
    assert not await registry.holds(b"x" * 1_500)


async def test_what_open_uploads_have_announced_counts_against_the_quota(registry: Registry) -> None:
    await registry.set_workspace(quotaBytes=1_000)
    first = await registry.begin((await registry.version()).id, {"a": some(900, 1)})
    with pytest.raises(LimitExceeded, match="beside 900 that other uploads have announced"):
        await registry.begin((await registry.version()).id, {"b": some(900, 2)})
    await registry.begin((await registry.version()).id, {"c": some(100, 3)})
    await registry.send(first, {"a": some(900, 1)})
    assert (await registry.begin((await registry.version()).id, {"a": some(900, 1)})).props["state"] == "OPEN"
    await registry.complete(first)
    with pytest.raises(LimitExceeded):
        await registry.begin((await registry.version()).id, {"d": b"d"})


async def test_what_closed_uploads_may_still_send_counts_against_the_quota(registry: Registry) -> None:
    await registry.set_workspace(quotaBytes=1_000)
    first = await registry.begin((await registry.version()).id, {"a": some(900, 1)})
    async with registry.operation() as op:
        sends = (await missing(op, first, first=1, after=None)).items[0].sends
        await abort_upload(op, address=first.id)
    with pytest.raises(LimitExceeded, match="beside 900 that other uploads have announced"):
        await registry.begin((await registry.version()).id, {"b": some(900, 2)})
    for send in sends:
        assert (await registry.store.put(send, some(900, 1))).is_success
    assert (await usage(registry.storage, "default", fresh=True)).size == 900
    # Once its addresses are of no use any more, nothing is kept free for it.
    await registry.set(first.id, closedAt=time.time_ns() // 1_000 - 2 * SEND_SECONDS * 1_000_000)
    with pytest.raises(LimitExceeded, match="it keeps 900, and 900 more do not fit"):
        await registry.begin((await registry.version()).id, {"b": some(900, 2)})


async def test_of_uploads_that_begin_at_once_no_more_are_let_in_than_fit(registry: Registry) -> None:
    await registry.set_workspace(quotaBytes=2_000)
    files = [{"x": some(900, i)} for i in range(5)]
    versions = [await registry.version(f"models:/m{i}") for i in range(5)]
    begun = await asyncio.gather(
        *(registry.begin(version.id, each) for version, each in zip(versions, files, strict=True)),
        return_exceptions=True,
    )
    for upload, each in zip(begun, files, strict=True):
        if isinstance(upload, BaseException):
            assert isinstance(upload, LimitExceeded)
        else:
            await registry.send(upload, each)
            await registry.complete(upload)
    assert (await usage(registry.storage, "default", fresh=True)).size <= 2_000


async def test_a_quota_that_became_smaller_is_held_when_an_upload_is_completed(registry: Registry) -> None:
    await registry.set_workspace(quotaBytes=2_000)
    files = {"x": some(900)}
    upload = await registry.begin((await registry.version()).id, files)
    await registry.send(upload, files)
    await registry.set_workspace(quotaBytes=500)
    with pytest.raises(LimitExceeded, match="may keep 500 bytes, and keeps 900 with this"):
        await registry.complete(upload)
    await registry.set_workspace(quotaBytes=1_000)
    await registry.complete(upload)


async def test_what_is_counted_while_usage_is_measured_is_not_forgotten(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.push({"x": b"four"})
    assert (await usage(registry.storage, "default")).size == 4
    real = registry.storage.blobs

    async def blobs(workspace: str) -> AsyncIterator[Stored]:
        async for blob in real(workspace):
            yield blob
        await added(registry.storage, workspace, blob_of(b"another"))

    monkeypatch.setattr(registry.storage, "blobs", blobs)
    await usage(registry.storage, "default", fresh=True)
    assert (await usage(registry.storage, "default")).size == 4 + len(b"another")


async def test_empty_files_are_files(registry: Registry) -> None:
    version, artifact = await registry.push({"empty": b"", "dir/also-empty": b""})
    assert version.props["state"] == "READY"
    assert artifact.props["sizeBytes"] == 0


async def test_two_that_complete_at_once_make_one_artifact(registry: Registry) -> None:

    version = await registry.version()
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    made = await asyncio.gather(*(registry.complete(upload) for _ in range(3)))
    assert len({node.id for node in made}) == 1
