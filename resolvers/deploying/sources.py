"""The files of model versions, as serving platforms get them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from graph.ontology import ARTIFACT, MODEL_VERSION
from graph.port import Hop, Link, Node, Snapshot
from lineal.errors import PreconditionFailed
from resolvers.artifacts.common import MANAGED, REFERENCED, load_manifest
from resolvers.reading import all_links
from serving.port import ROUNDING, File
from storage.port import Storage

FILES: Final = Hop("HAS_ARTIFACT", "OUT", ARTIFACT.name)
DEFAULT: Final = "model"
"""What the files are called that are served, where a version has several: as `lineal push` calls them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Files that Lineal keeps; `base` is this server's address, which addresses of the local folder begin with."""

    storage: Storage
    workspace: str
    digest: str
    base: str
    uri: str = ""

    async def files(self) -> Sequence[File]:
        """All of them by path. Raises NotFound, Unavailable."""
        manifest = await load_manifest(self.storage, self.workspace, self.digest)
        return [File(file.path, file.size, file.sha256) for file in manifest.files]

    def read(self, file: File) -> AsyncIterator[bytes]:
        """The bytes of one. Raises NotFound, Unavailable."""
        return self.storage.read(self.workspace, file.sha256)

    async def link(self, file: File, seconds: int) -> str:
        """An address that gives one of them. Raises NotFound, Unavailable."""
        name = file.path.rpartition("/")[2]
        return await self.storage.link(self.workspace, file.sha256, filename=name, seconds=seconds, base=self.base)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Files that Lineal does not keep: the platform has to have them from where they are."""

    uri: str = ""
    digest: str = ""

    async def files(self) -> Sequence[File]:
        """Raises PreconditionFailed: Lineal has none."""
        raise self._refusal()

    def read(self, file: File) -> AsyncIterator[bytes]:  # noqa: ARG002
        """Raises PreconditionFailed, as `files`."""
        raise self._refusal()

    async def link(self, file: File, seconds: int) -> str:  # noqa: ARG002
        """Raises PreconditionFailed, as `files`."""
        raise self._refusal()

    def _refusal(self) -> PreconditionFailed:
        there = f"; they stay at {self.uri}" if self.uri else ""
        msg = f"the version has no files that Lineal keeps{there}: push them, or take a target that needs none"
        return PreconditionFailed(msg)


@dataclass(frozen=True, slots=True)
class Share:
    """A version that is to be served, or is: its share of the requests where it is known, and which files it has then.

    Those are what it had when it was told: a version that gets others is served with them once that is told again.
    """

    version: Node
    weight: float | None
    digest: str = ""
    uri: str = ""

    @classmethod
    def of(cls, link: Link) -> Share:
        """As an edge that leads to the version says."""
        props: Mapping[str, Any] = link.edge.props
        return cls(link.node, props.get("weight"), props.get("digest", ""), props.get("uri", ""))

    @property
    def number(self) -> int:
        """The number of the version."""
        return int(self.version.props["number"])

    @property
    def props(self) -> dict[str, Any]:
        """As an edge that leads to the version says it."""
        facts = {"weight": self.weight, "digest": self.digest or None, "uri": self.uri or None}
        return {name: value for name, value in facts.items() if value is not None}

    def source(self, storage: Storage, base: str) -> Kept | Elsewhere:
        """The files themselves."""
        if self.digest:
            return Kept(storage, self.version.workspace, self.digest, base)
        return Elsewhere(self.uri)


def by_version(shares: Sequence[Share]) -> dict[str, dict[str, Any]]:
    """What edges to these versions say, by their ids: to be compared."""
    return {share.version.id: share.props for share in shares}


def is_whole(shares: Sequence[Share]) -> bool:
    """Whether these are all that something was told to serve: a version of it may have been deleted since."""
    return abs(sum(share.weight or 0.0 for share in shares) - 1) <= ROUNDING


async def with_files(snapshot: Snapshot, shares: Sequence[Share]) -> list[Share]:
    """The same with the files that these versions have now; in one statement."""
    links = await all_links(snapshot, [share.version.id for share in shares], FILES) if shares else {}
    return [_with_files(share, links.get(share.version.id, ())) for share in shares]


def _with_files(share: Share, links: Sequence[Link]) -> Share:
    named = {link.edge.discriminator: link.node for link in links}
    usable = {name: node for name, node in named.items() if node.props.get("storage") in {MANAGED, REFERENCED}}
    found = usable.get(DEFAULT) or (next(iter(usable.values())) if len(usable) == 1 else None)
    if found is not None and found.props["storage"] == MANAGED:
        return replace(share, digest=str(found.props["digest"]), uri="")
    return replace(share, digest="", uri=str((found or share.version).props.get("uri", "")))


def refuse_unfit(version: Node, links: Sequence[Link], field: str) -> None:
    """Raises PreconditionFailed: its files were found wrong, or are several artifacts that nothing tells apart."""
    assert version.kind == MODEL_VERSION.name
    wrong = [link.edge.discriminator for link in links if link.node.props.get("verification") == "FAILED"]
    if wrong:
        raise PreconditionFailed(f"{field}: the files {', '.join(map(repr, wrong))} were found wrong", field=field)
    kept = {link.edge.discriminator for link in links if link.node.props.get("storage")}
    if len(kept) > 1 and DEFAULT not in kept:
        names = ", ".join(sorted(map(repr, kept)))
        msg = f"{field}: it has several artifacts, {names}; the one that is served is called {DEFAULT!r}"
        raise PreconditionFailed(msg, field=field)
