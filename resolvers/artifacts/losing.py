"""Bytes that are wrong or gone: all that has them is told in one write, and is well again when they are there again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graph.address import Address
from graph.guarding import HIDDEN
from graph.ontology import ARTIFACT, UPLOAD
from graph.port import EVERYTHING, All, Graph, Hop, Node, Order, Prop, Snapshot, Transaction, Update
from lineal.errors import PreconditionFailed, Unavailable
from resolvers.artifacts.common import (
    MANAGED,
    OPEN_TIME,
    blobs_of,
    is_wrong,
    listed,
    made_since,
    opened_since,
    order_since,
    pages,
    right_manifest,
)
from resolvers.reading import all_links
from storage.manifest import Manifest
from storage.port import Blob, Storage

FAILED: Final = "FAILED"
_READY: Final = (None, "READY")
"""States of a version that is taken for whole: one that says nothing is."""
_SAID: Final = 10


@dataclass(slots=True)
class Having:
    """What has some blobs: manifests by digest, and the uploads that are OPEN with one of these."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    uploads: set[str] = field(default_factory=set)

    def add(self, other: Having) -> None:
        """What that one has, too."""
        self.manifests |= other.manifests
        self.uploads |= other.uploads


async def having(graph: Graph, storage: Storage, workspace: str, digests: Collection[str], since: int = 0) -> Having:
    """What has any of these blobs, of what was begun or made since then (microseconds). Uploads are read first."""
    found = Having()

    async def look(nodes: Sequence[Node]) -> None:
        for node in nodes:
            manifest = await right_manifest(storage, workspace, node.props["digest"])
            if manifest is not None and any(file.sha256 in digests for file in manifest.files):
                found.manifests[manifest.digest] = manifest
                if node.kind == UPLOAD.name:
                    found.uploads.add(node.id)

    async with graph.snapshot(EVERYTHING) as snapshot:
        async for uploads in pages(snapshot, UPLOAD.name, opened_since(workspace, since), Order("createdAt")):
            await look(uploads)
    async with graph.snapshot(EVERYTHING) as snapshot:
        async for artifacts in pages(snapshot, ARTIFACT.name, made_since(workspace, since), order_since(since)):
            await look(artifacts)
    return found


async def tell(tx: Transaction, workspace: str, wrong: Mapping[str, str], found: Having) -> None:
    """Say what is wrong with some blobs, by digest, to all that has them.

    Artifacts are FAILED, and so are their model versions that were READY. An upload that is OPEN looks again whether
    its bytes are there. Raises Unavailable: something was made of them at this moment, and nothing is said.
    """
    there = await tx.nodes(sorted(found.uploads))
    uploads = await tx.lock(sorted(there)) if there else {}
    artifacts = await _artifacts(tx, workspace, found.manifests)
    if any(u.props["state"] == "COMPLETE" and u.props["digest"] not in artifacts for u in uploads.values()):
        raise Unavailable("an upload was completed meanwhile; verify again", retry=True)
    await tx.update(
        [Update(id, {"expiresAt": tx.now + OPEN_TIME}) for id, u in uploads.items() if u.props["state"] == "OPEN"]
    )
    await fail(tx, workspace, {digest: problem_of(found.manifests[digest], wrong) for digest in artifacts})


async def fail(tx: Transaction, workspace: str, problems: Mapping[str, str]) -> None:
    """Artifacts, by the digests of their manifests, are FAILED, and so are their model versions that were READY."""
    artifacts = await _artifacts(tx, workspace, problems)
    ids = sorted(node.id for node in artifacts.values())
    if ids:
        await tx.lock(ids)
    updates = []
    for digest, node in artifacts.items():
        updates.append(Update(node.id, {"verification": FAILED, "problem": problems[digest], "verifiedAt": tx.now}))
    owners = await all_links(tx, ids, Hop("HAS_ARTIFACT", "IN", "ModelVersion")) if ids else {}
    versions = sorted({link.node.id for links in owners.values() for link in links})
    for id, version in (await tx.lock(versions) if versions else {}).items():
        if version.props.get("state") == "READY":
            updates.append(Update(id, {"state": FAILED, "lostAt": tx.now}))
    await tx.update(updates)


async def _artifacts(tx: Transaction, workspace: str, digests: Collection[str]) -> dict[str, Node]:
    known = [Address(ARTIFACT.name, workspace, digest) for digest in sorted(digests)]
    return {node.props["digest"]: node for node in await tx.resolve(known) if node is not None}


def problem_of(manifest: Manifest, wrong: Mapping[str, str]) -> str:
    """What is wrong with blobs, said of the files of a manifest."""
    bad = [file for file in manifest.files if file.sha256 in wrong]
    more = f" (and {len(bad) - _SAID:,} more: {listed([f.path for f in bad[_SAID:]])})" if len(bad) > _SAID else ""
    return "; ".join(f"{file.path!r} {wrong[file.sha256]}" for file in bad[:_SAID]) + more


async def doubted(
    snapshot: Snapshot, storage: Storage, workspace: str, blobs: Collection[Blob]
) -> tuple[list[Node], list[Node]]:
    """The artifacts that are FAILED and have any of these blobs, and those of them whose bytes are all there.

    Bytes that were found wrong, and were not removed yet, are not.
    """
    digests, found, whole = {blob.sha256 for blob in blobs}, list[Node](), list[Node]()
    failed = All((made_since(workspace, 0), Prop("verification", "eq", FAILED)))
    async for artifacts in pages(snapshot, ARTIFACT.name, failed, Order("createdAt")):
        for artifact in artifacts:
            manifest = await right_manifest(storage, workspace, artifact.props["digest"])
            if manifest is None or digests.isdisjoint(file.sha256 for file in manifest.files):
                continue
            found.append(artifact)
            needed = blobs_of(manifest)
            there = len(await storage.present(workspace, needed)) == len(needed)
            if there and not any([await is_wrong(storage, workspace, blob) for blob in needed]):
                whole.append(artifact)
    return found, whole


async def others_failed(tx: Transaction, version: str, but: Collection[str]) -> bool:
    """Whether a version has FAILED artifacts beside these."""
    links = (await all_links(tx, [version], Hop("HAS_ARTIFACT", "OUT", ARTIFACT.name))).get(version, [])
    return any(is_lost(link.node) for link in links if link.node.id not in but)


async def lift(tx: Transaction, healed: Sequence[str]) -> None:
    """Model versions are READY again that were lost with bytes of these artifacts, where all of theirs are well now."""
    links = await all_links(tx, healed, Hop("HAS_ARTIFACT", "IN", "ModelVersion"))
    lost = sorted({k.node.id for owned in links.values() for k in owned if k.node.props.get("lostAt")})
    updates = list[Update]()
    for id, version in (await tx.lock(lost) if lost else {}).items():
        props: Mapping[str, Any] = version.props
        if props.get("state") == FAILED and props.get("lostAt") and not await others_failed(tx, id, healed):
            updates.append(Update(id, {"state": "READY", "lostAt": None}))
    await tx.update(updates)


def is_lost(artifact: Node) -> bool:
    """Whether bytes of an artifact that Lineal keeps were found wrong or gone, and not found right since."""
    # It is PENDING, and has its problem, while it waits to be read again.
    return artifact.props.get("storage") == MANAGED and "problem" in artifact.props


def is_ready(props: Mapping[str, Any]) -> bool:
    """Whether a version with these properties is taken for whole."""
    return props.get("state") in _READY


def becomes_ready(version: Node, props: Mapping[str, Any]) -> bool:
    """Whether a version that was not comes to be taken for whole by getting these properties."""
    return "state" in props and is_ready(props) and not is_ready(version.props)


async def lacking(tx: Transaction, versions: Collection[str]) -> dict[str, Node]:
    """Which of these model versions cannot be READY, and why: an upload that is OPEN, or an artifact that is lost."""
    found = dict[str, Node]()
    whole = tx.seeing(EVERYTHING)
    for hop in (Hop("UPLOAD_TO", "IN", UPLOAD.name), Hop("HAS_ARTIFACT", "OUT", ARTIFACT.name)):
        for id, links in (await all_links(whole, sorted(versions), hop) if versions else {}).items():
            for link in links:
                if link.node.props.get("state") == "OPEN" or is_lost(link.node):
                    found[id] = link.node
    return found


async def refuse_lacking(tx: Transaction, versions: Mapping[str, str]) -> None:
    """Raises PreconditionFailed: one of these model versions, each with its place in the input, cannot be READY."""
    for id, node in (await lacking(tx, versions)).items():
        what = node.id if tx.view.shows(node) else HIDDEN
        why = f"the upload {what} is OPEN" if node.kind == UPLOAD.name else f"bytes of {what} were found wrong or gone"
        raise PreconditionFailed(f"{versions[id]}: {id} cannot be READY: {why}", field=versions[id])
