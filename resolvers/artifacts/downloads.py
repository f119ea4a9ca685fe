"""Artifacts as those see them who fetch them: their files, and addresses that give bytes, each of them audited."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from auth.recorder import MAX_ITEMS
from graph.port import Node, batched
from lineal.errors import NotFound, PreconditionFailed
from resolvers.artifacts.common import MANAGED, REFERENCED, load_manifest
from resolvers.artifacts.references import referenced_files
from resolvers.operation import Operation
from storage.manifest import File, Manifest

LINK_SECONDS: Final = 3_600
"""How long an address gives bytes, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Filed:
    """A file of an artifact; without a digest where Lineal does not keep it."""

    artifact: Node
    file: File


@dataclass(frozen=True, slots=True)
class FilePage:
    """Part of an artifact's files, by path."""

    items: Sequence[Filed]
    has_next: bool


async def manifest_of(op: Operation, artifact: Node) -> Manifest | None:
    """What an artifact that Lineal keeps is made of; None for what is kept elsewhere."""
    if artifact.props.get("storage") != MANAGED:
        return None
    return await load_manifest(op.storage, artifact.workspace, artifact.props["digest"])


async def files(op: Operation, artifact: Node, *, first: int, after: str = "", prefix: str = "") -> FilePage:
    """Part of an artifact's files in order of their paths, from after a path, and of those that begin so."""
    if artifact.props.get("storage") == REFERENCED:
        found, more = await referenced_files(op.storage, artifact, first=first, after=after, prefix=prefix)
        return FilePage([Filed(artifact, File(path, size, "")) for path, size in found], more)
    manifest = await manifest_of(op, artifact)
    if manifest is None:
        return FilePage((), has_next=False)
    paths = [file.path for file in manifest.files]
    at = bisect_right(paths, after) if after else 0
    rest = [file for file in manifest.files[at:] if file.path.startswith(prefix)]
    return FilePage([Filed(artifact, file) for file in rest[:first]], len(rest) > first)


async def links(op: Operation, filed: Sequence[Filed], *, seconds: int = LINK_SECONDS) -> list[str]:
    """Addresses that give the bytes of these files for so many seconds; who asks is in the audit before they have them.

    Raises PreconditionFailed (the files were found to be others than told), NotFound (the bytes of one are lost),
    Unavailable (the audit, the storage).
    """
    for each in filed:
        if each.artifact.props.get("verification") == "FAILED":
            msg = f"{each.artifact.id}: its bytes are not what was told: {each.artifact.props.get('problem')}"
            raise PreconditionFailed(msg)
    if op.recorder is not None:
        for artifact, of in _noted(filed):
            data = {"artifact": artifact.id, "files": [each.file.path for each in of], "count": len(of)}
            await op.recorder.read(
                op.caller,
                action="download",
                data=data,
                workspaces=[artifact.workspace],
                address=op.address,
                request=op.request,
            )
    return [await _link(op, each, min(seconds, LINK_SECONDS)) for each in filed]


async def _link(op: Operation, filed: Filed, seconds: int) -> str:
    path, sha256, workspace = filed.file.path, filed.file.sha256, filed.artifact.workspace
    try:
        return await op.storage.link(workspace, sha256, filename=path.rpartition("/")[2], seconds=seconds, base=op.base)
    except NotFound as error:
        raise NotFound(f"{filed.artifact.id}: the bytes of {path!r} are lost: {error.message}") from error


def _noted(filed: Sequence[Filed]) -> Iterator[tuple[Node, Sequence[Filed]]]:
    """The files of each artifact, no more at a time than one entry of the audit names."""
    by_artifact: dict[str, list[Filed]] = {}
    for each in filed:
        by_artifact.setdefault(each.artifact.id, []).append(each)
    for of in by_artifact.values():
        for some in batched(of, MAX_ITEMS):
            yield some[0].artifact, some
