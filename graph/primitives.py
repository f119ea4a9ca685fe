"""What a store brings to a write: some twenty small primitives, and no rules of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

from graph.port import Change, Chunk, Edge, EdgeMatch, Metric, Node, NodeRecord, Transaction
from graph.recording import ChangeLog, EdgeEnds, Series, Stored


class Primitives(Transaction):
    """A transaction's primitives. They check nothing: whoever calls them has."""

    @abstractmethod
    async def _locked(self, ids: Sequence[str]) -> dict[str, Node]:
        """Keep others from writing these nodes until the commit, and read them anew, whatever the view.

        What is absent is missing.
        """

    @abstractmethod
    async def _rows_of(self, ids: Sequence[str], table: Literal["tags", "params"]) -> dict[str, dict[str, str]]:
        """The tags or parameters of each owner, whatever the view; owners without any are missing."""

    @abstractmethod
    async def _metrics_of(self, ids: Sequence[str]) -> dict[str, list[Metric]]:
        """The metrics of each owner, whatever the view; owners without any are missing."""

    @abstractmethod
    async def _holders(self, keys: Sequence[str]) -> dict[str, str]:
        """Who has these keys: {key: id}."""

    @abstractmethod
    async def _former_workspaces(self, names: Sequence[str]) -> set[str]:
        """Those of these names that a workspace has or had. Lets no other transaction make one until this one ends."""

    @abstractmethod
    async def _insert_nodes(self, nodes: Sequence[Stored]) -> None:
        """Write nodes that are not there."""

    @abstractmethod
    async def _insert_former(self, former: Sequence[tuple[str, str]]) -> None:
        """Keep old keys for addresses: (key, id)."""

    @abstractmethod
    async def _rewrite_nodes(self, nodes: Sequence[Stored]) -> None:
        """Write nodes that are there: name, properties, revision, times, and what else is not None."""

    @abstractmethod
    async def _lock_lineage(self) -> None:
        """Let no other transaction check for cycles until this one ends."""

    @abstractmethod
    async def _open_edges(self, ends: Sequence[EdgeEnds]) -> list[Edge]:
        """Those of these edges that are open."""

    @abstractmethod
    async def _held(self, open_keys: Sequence[str]) -> dict[str, Edge]:
        """The open edges that hold these open keys."""

    @abstractmethod
    async def _recorded(self, edges: Sequence[Edge]) -> list[Edge]:
        """Those of these edges whose identity (with `since`) is there, as they are there."""

    @abstractmethod
    async def _matching(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        """Open edges that match."""

    @abstractmethod
    async def _open_edges_of(self, ids: Sequence[str]) -> list[Edge]:
        """Open edges from or to these nodes."""

    @abstractmethod
    async def _insert_edges(self, edges: Sequence[tuple[Edge, str | None]]) -> None:
        """Write edges with their open keys."""

    @abstractmethod
    async def _rewrite_edges(self, edges: Sequence[Edge]) -> None:
        """Write the properties of open edges."""

    @abstractmethod
    async def _end_edges(self, edges: Sequence[Edge]) -> None:
        """End open edges now; one that began in this very moment was never there, and goes."""

    @abstractmethod
    async def _cycle(self, edges: Sequence[Edge]) -> list[str] | None:
        """A way from the target of one of these edges along open walkable edges to its source: ids, target first."""

    @abstractmethod
    async def _write_rows(self, table: Literal["tags", "params"], rows: Sequence[tuple[str, str, str | None]]) -> None:
        """Set (owner, name, value); None removes."""

    @abstractmethod
    async def _append(self, series: Sequence[Series]) -> None:
        """Append points and write what their metrics come to."""

    @abstractmethod
    async def _kinds_of(self, ids: Sequence[str]) -> dict[str, str]:
        """The kinds of these nodes, deleted ones too, whatever the view."""

    @abstractmethod
    async def _records_of(self, ids: Sequence[str]) -> dict[str, NodeRecord]:
        """Whole nodes, deleted ones too, whatever the view."""

    @abstractmethod
    async def _insert_metrics(self, metrics: Sequence[tuple[str, Metric]]) -> None:
        """Write (owner, metric) as they are."""

    @abstractmethod
    async def _insert_chunks(self, chunks: Sequence[Chunk]) -> int:
        """Write chunks as they are; returns how many were not there. Raises Conflict (other content)."""

    @abstractmethod
    async def _insert_change(self, change: Change, log: ChangeLog) -> None:
        """Write the change with its workspaces: those of the log's subjects and of what was loaded, else "".

        The store that sequences in the write gives it its `seq` and its places in the chains, too.
        """
