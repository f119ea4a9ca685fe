"""What every store does alike in a write.

`Writing` carries out the verbs of a Transaction over a store's primitives, so that both stores accept,
refuse and record the same. This module adds import, and the Change, to what `Editing` has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graph import ontology, validation
from graph.editing import Editing, ends_of
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Change, Chunk, Edge, Node, NodeRecord, Origin
from graph.recording import Stored, search_text
from graph.records import edge_line, node_line
from lineal.errors import Conflict, NotFound


class Writing(Editing):
    """All verbs of a Transaction, over a store's primitives."""

    async def load(
        self,
        records: Sequence[NodeRecord] = (),
        edges: Sequence[Edge] = (),
        chunks: Sequence[Chunk] = (),
        *,
        quietly: bool = False,
    ) -> int:
        self._permit_everything()
        new = await self._load_records(records, quietly=quietly) + await self._load_edges(edges)
        if chunks:
            await self._learn_all_kinds(c.owner for c in chunks)
            new += await self._insert_chunks(chunks)
        if new and not quietly:
            for name, items in (("nodes", records), ("edges", edges), ("chunks", chunks)):
                if items:
                    self.log.loaded[name] = self.log.loaded.get(name, 0) + len(items)
            owners = (*(r.node.id for r in records), *(e.source for e in edges), *(c.owner for c in chunks))
            self.log.touched.update(dict.fromkeys(owners))
        return new

    async def _load_records(self, records: Sequence[NodeRecord], *, quietly: bool) -> int:
        if not records:
            return 0
        there = await self._records_of([r.node.id for r in records])
        new = []
        for record in records:
            if (old := there.get(record.node.id)) is None or _is_untouched(old):
                new.append(record)
            elif node_line(old) != node_line(record):
                msg = f"id: {record.node.kind} {record.node.id} is here already, with other content"
                raise Conflict(msg, field="id", id=record.node.id)
        stored = [_stored(r) for r in new]
        # What was done in a deleted workspace would be of the one that has its name here.
        places = [s for s in stored if s.node.kind == ontology.WORKSPACE.name]
        keys = {_key_of(s.node): s for s in places} | {s.key: s for s in stored if s.key}
        for key, holder in (await self._holders(list(keys))).items():
            if holder == keys[key].node.id:
                continue
            raise await self._taken(keys[key], holder)
        if not quietly:
            await self._refuse_former([s.node for s in places if s.key and s.node.id not in there])
        await self._insert_nodes([s for s in stored if s.node.id not in there])
        await self._rewrite_nodes([s for s in stored if s.node.id in there])
        if former := [(key, r.node.id) for r in new for key in r.former]:
            await self._insert_former(former)
        self._born.update(r.node.id for r in new)
        self._kinds |= {r.node.id: r.node.kind for r in new}
        for table in ("tags", "params"):
            if rows := [(r.node.id, n, v) for r in new for n, v in getattr(r, table).items()]:
                await self._write_rows(table, rows)
        if metrics := [(r.node.id, m) for r in new for m in r.metrics]:
            await self._insert_metrics(metrics)
        return sum(r.node.id not in there or node_line(there[r.node.id]) != node_line(r) for r in new)

    async def _load_edges(self, edges: Sequence[Edge]) -> int:
        if not edges:
            return 0
        await self._learn_all_kinds(id for e in edges for id in (e.source, e.target))
        for edge in edges:
            validation.edge_kind(edge.kind, self._kinds[edge.source], self._kinds[edge.target])
        there = {(*ends_of(e), e.since): e for e in await self._recorded(edges)}
        new = []
        for edge in edges:
            if (old := there.get((*ends_of(edge), edge.since))) is None:
                new.append(edge)
            elif edge_line(old) != edge_line(edge):
                msg = f"{edge.kind} {edge.source} → {edge.target} is here already, with other content"
                raise Conflict(msg, field="kind")
        linked = self.log.linked
        await self._insert(new)
        self.log.linked = linked[: len(linked) - len(new)]
        return len(new)

    async def _learn_all_kinds(self, ids: Iterable[str]) -> None:
        """As _learn_kinds, but deleted nodes count as there: old edges lead to them."""
        unknown = list(dict.fromkeys(id for id in ids if id not in self._kinds))
        if not unknown:
            return
        found = await self._kinds_of(unknown)
        for id in unknown:
            if id not in found:
                raise NotFound(f"there is no node {id!r}", id=id)
        self._kinds |= found

    async def finish(self, id: str, action: str, request: str, origin: Origin) -> None:
        """Write the Change, if anything changed."""
        if data := self.log.data():
            change = Change(id, self.now, self.by, self.action or action, request, data, origin)
            await self._insert_change(change, self.log)


def _is_untouched(record: NodeRecord) -> bool:
    """Whether this is the default workspace as migrations make it."""
    node = record.node
    return node.id == DEFAULT_WORKSPACE_ID and node.revision == 1 and not node.props and not record.tags


def _stored(record: NodeRecord) -> Stored:
    node = record.node
    return Stored(node, _key_of(node) if node.deleted_at is None else "", search_text(node, record.tags), None)


def _key_of(node: Node) -> str:
    return ontology.key_of(ontology.NODE_KINDS[node.kind], node.workspace, node.container, node.name)
