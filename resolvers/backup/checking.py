"""Graph, storage and audit are held against each other, and what can be mended is.

Nothing is mended that the audit does not tell of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from auth.verifying import Verification
from graph.ontology import ARTIFACT
from graph.port import EVERYTHING, All, Graph, Node, Not, Note, Order, Prop
from lineal.errors import Internal, LinealError
from resolvers.artifacts.collecting import collect
from resolvers.artifacts.common import blobs_of, find_manifest, made_since, pages
from resolvers.artifacts.losing import FAILED
from resolvers.artifacts.verifying import verify_managed
from resolvers.backup.taking import workspaces_of
from storage.copying import MISSING, problem
from storage.port import Blob, Storage


class Kind(StrEnum):
    """What can be found."""

    STRAY = "stray"
    """Something in the store leads to nothing."""
    DAMAGE = "damage"
    """The store itself is not sound."""
    AUDIT = "audit"
    """The audit is not what was recorded."""
    LOST = "lost"
    """Bytes of an artifact are not there, or are others, and nobody was told."""
    CLUTTER = "clutter"
    """Nothing needs it any more, and it waits to be cleared away: that is no fault."""
    STUCK = "stuck"
    """Storage cannot be cleared up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found, and whether it is mended now."""

    kind: Kind
    message: str
    mended: bool = False

    @property
    def wrong(self) -> bool:
        """Whether something is wrong that still is."""
        return self.kind is not Kind.CLUTTER and not self.mended


class Check:
    """One look at everything.

    `deep` reads every byte; `repair` mends what can be mended, recorded under the name `by`: it drops what leads to
    nothing, marks what is lost as FAILED, and clears away what nothing has needed for `grace` seconds.
    """

    def __init__(
        self, graph: Graph, storage: Storage, *, by: str, grace: float, deep: bool = False, repair: bool = False
    ) -> None:
        self._graph, self._storage = graph, storage
        self._by, self._grace, self._deep, self._repair = by, grace, deep, repair
        self.artifacts = 0
        """How many were looked at."""

    async def findings(self, verification: Verification) -> AsyncIterator[Finding]:
        """Everything that is found, the audit as `verification` finds it. Raises Unavailable."""
        async for finding in self._store():
            yield finding
        async for wrong in verification.findings():
            yield Finding(Kind.AUDIT, f"{wrong.kind}: {wrong.message}")
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            workspaces = await workspaces_of(snapshot)
        for workspace in workspaces:
            async for finding in self._artifacts(workspace):
                yield finding
            async for finding in self._clutter(workspace):
                yield finding

    async def _store(self) -> AsyncIterator[Finding]:
        found = await self._graph.strays()
        if found.counts and self._repair:
            # It is told first: nothing goes without a word.
            await self._graph.note([Note(self._by, "repairStore", {"dropped": dict(found.counts)})])
            await self._graph.drop_strays()
        for what, count in found.counts.items():
            yield Finding(Kind.STRAY, f"{count:,} {what}", mended=self._repair)
        for text in found.damage:
            yield Finding(Kind.DAMAGE, text)

    # ── Artifacts ─────────────────────────────────────────────────────────────────────────────────

    async def _artifacts(self, workspace: str) -> AsyncIterator[Finding]:
        """What the graph says that is there, and is not. What is FAILED was told already."""
        known: dict[Blob, str] = {}
        told = All((made_since(workspace, 0), Not(Prop("verification", "eq", FAILED))))
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            found = [a async for page in pages(snapshot, ARTIFACT.name, told, Order("createdAt")) for a in page]
        for artifact in found:
            self.artifacts += 1
            try:
                manifest = await find_manifest(self._storage, workspace, artifact.props["digest"])
            except Internal as error:
                yield Finding(Kind.LOST, f"{artifact.id}: {error.message}")
                continue
            if manifest is None:
                yield Finding(Kind.LOST, f"{artifact.id}: its manifest {MISSING}")
                continue
            wrong = await self._wrong(workspace, blobs_of(manifest), known)
            if wrong:
                bad = "; ".join(f"{f.path!r} {wrong[f.sha256]}" for f in manifest.files if f.sha256 in wrong)
                yield Finding(Kind.LOST, f"{artifact.id}: {bad}", mended=await self._mark(artifact))

    async def _wrong(self, workspace: str, blobs: list[Blob], known: dict[Blob, str]) -> Mapping[str, str]:
        """What is wrong with blobs, by digest; those that are right are left out."""
        new = [blob for blob in blobs if blob not in known]
        there = await self._storage.present(workspace, new)
        for blob in new:
            if blob.sha256 in there and not self._deep:
                known[blob] = ""
            else:
                known[blob] = await problem(self._storage, workspace, blob)
        return {blob.sha256: known[blob] for blob in blobs if known[blob]}

    async def _mark(self, artifact: Node) -> bool:
        """Have it told as FAILED, with all that has the same bytes."""
        return self._repair and await verify_managed(self._graph, self._storage, artifact, by=self._by) == FAILED

    async def _clutter(self, workspace: str) -> AsyncIterator[Finding]:
        try:
            due = await collect(
                self._graph, self._storage, workspace, by=self._by, grace=self._grace, dry_run=not self._repair
            )
        except LinealError as error:
            yield Finding(Kind.STUCK, f"storage of {workspace}: {error.message}")
            return
        counts = {
            f"blobs ({due.bytes_removed:,} bytes)": due.removed,
            "artifacts that nothing has": due.artifacts,
            "uploads past their time": due.expired,
        }
        if said := ", ".join(f"{count:,} {what}" for what, count in counts.items() if count):
            yield Finding(Kind.CLUTTER, f"storage of {workspace}: {said}", mended=self._repair)
