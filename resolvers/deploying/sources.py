"""The files of model versions, as serving platforms get them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from graph.ontology import ARTIFACT, MODEL_VERSION
from graph.port import Hop, Link, Node, Snapshot
from lineal.errors import PreconditionFailed
from resolvers.artifacts.common import MANAGED, REFERENCED, load_manifest
from resolvers.reading import all_links
from serving.port import File
from storage.port import Storage

FILES: Final = Hop("HAS_ARTIFACT", "OUT", ARTIFACT.name)
DEFAULT: Final = "model"
"""What the files are called that are served, where a version has several: as `lineal push` calls them."""


@dataclass(frozen=True, slots=True)
class ArtifactSource:
    """The files of one artifact; `base` is this server's address, which addresses of the local folder begin with."""

    storage: Storage
    workspace: str
    digest: str
    uri: str
    base: str

    async def files(self) -> Sequence[File]:
        """All of them by path. Raises NotFound, Unavailable, PreconditionFailed."""
        if not self.digest:
            raise PreconditionFailed(
                f"the files stay at {self.uri}, and are not kept by Lineal: the target cannot have them"
            )
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
class NoFiles:
    """A version without files that Lineal keeps or reads: the platform has to have it from elsewhere."""

    digest: str = ""
    uri: str = ""

    async def files(self) -> Sequence[File]:
        """Raises PreconditionFailed: there are none."""
        raise _nothing()

    def read(self, file: File) -> AsyncIterator[bytes]:  # noqa: ARG002
        """Raises PreconditionFailed, as `files`."""
        raise _nothing()

    async def link(self, file: File, seconds: int) -> str:  # noqa: ARG002
        """Raises PreconditionFailed, as `files`."""
        raise _nothing()


def _nothing() -> PreconditionFailed:
    return PreconditionFailed("the version has no files that Lineal keeps: push them, or take a target that needs none")


Source = ArtifactSource | NoFiles


async def sources_of(snapshot: Snapshot, versions: Sequence[Node], storage: Storage, base: str) -> dict[str, Source]:
    """The files of each of these versions, by its id; in one statement."""
    links = await all_links(snapshot, [version.id for version in versions], FILES)
    return {version.id: _source(version, links.get(version.id, ()), storage, base) for version in versions}


def _source(version: Node, links: Sequence[Link], storage: Storage, base: str) -> Source:
    named = {link.edge.discriminator: link.node for link in links}
    usable = {name: node for name, node in named.items() if node.props.get("storage") in {MANAGED, REFERENCED}}
    found = usable.get(DEFAULT) or (next(iter(usable.values())) if len(usable) == 1 else None)
    if found is None:
        return NoFiles(uri=str(version.props.get("uri", "")))
    managed = found.props["storage"] == MANAGED
    digest = str(found.props["digest"]) if managed else ""
    return ArtifactSource(storage, found.workspace, digest, "" if managed else str(found.props["uri"]), base)


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
