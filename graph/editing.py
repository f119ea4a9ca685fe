"""The verbs of a write: validate, carry out by primitives, record, refuse cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Any, Final, Literal

from graph import ontology, validation
from graph.guarding import HIDDEN, Guarding
from graph.ids import new_id
from graph.naming import addresses
from graph.port import Birth, Edge, EdgeMatch, NewEdge, NewNode, Node, Point, Update
from graph.recording import ChangeLog, EdgeEnds, Series, Stored, merge_metric, search_text
from graph.text import normalize
from lineal.errors import Conflict, InvalidArgument, LimitExceeded, PreconditionFailed

MAX_DISCRIMINATOR = 255
MAX_ROW_NAME = 250
MAX_ROWS = 10_000
"""Tags, parameters or points in one call."""

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

FIXED_NAMES = {"ModelVersion": "its number", "DeploymentRevision": "its number", "Workspace": "part of every address"}


class Editing(Guarding):
    """Creates, changes, links and removes, the same on every store."""

    def __init__(self, by: str) -> None:
        super().__init__()
        self.by = by
        self.action = ""
        self.log = ChangeLog()
        self._tails: set[str] = set()
        self._heads: set[str] = set()

    # Nodes ────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, nodes: Sequence[NewNode]) -> list[Node]:
        if not nodes:
            return []
        await self._check_workspaces(nodes)
        ids = [new.id or new_id(ontology.NODE_KINDS[new.kind].prefix) for new in nodes]
        self._kinds |= {id: new.kind for id, new in zip(ids, nodes, strict=True)}
        await self._learn_kinds(new.container for new in nodes if new.container)
        stored = [self._prepare(new, id) for new, id in zip(nodes, ids, strict=True)]
        self._permit_new([item.node for item in stored])
        taken: dict[str, str] = {}
        for item in stored:
            assert item.key
            if item.key in taken:
                raise await self._taken(item, taken[item.key])
            taken[item.key] = item.node.id
        holders = await self._holders(list(taken))
        for item in stored:
            if item.key in holders:
                raise await self._taken(item, holders[item.key or ""])
        await self._refuse_former([item.node for item in stored])
        await self._insert_nodes(stored)
        self._note_born([item.node for item in stored])
        self.log.created += [_told_node(s.node) for s in stored]
        return [item.node for item in stored]

    def _prepare(self, new: NewNode, id: str) -> Stored:
        kind = ontology.NODE_KINDS[new.kind]
        name = validation.workspace_name(new.name) if kind is ontology.WORKSPACE else validation.name(new.name)
        if kind.within and self._kinds.get(new.container or "") != kind.within:
            msg = f"container: a {kind.name} needs a {kind.within} as its container, not {new.container!r}"
            raise InvalidArgument(msg, field="container")
        props = validation.properties(kind, {k: v for k, v in new.props.items() if v is not None}, complete=True)
        workspace = name if kind is ontology.WORKSPACE else ontology.GLOBAL if kind.is_global else new.workspace
        birth = self._birth(new)
        node = Node(
            id,
            kind.name,
            workspace,
            new.container or id,
            name,
            birth.at,
            birth.by,
            birth.updated,
            1,
            None,
            props,
        )
        return Stored(node, ontology.key_of(kind, workspace, new.container, name), search_text(node, {}))

    def _birth(self, new: NewNode) -> Birth:
        """Now and by whoever writes, or as an importer tells it. Raises Forbidden, InvalidArgument (in the future)."""
        if (birth := new.birth) is None:
            return Birth(self.now, self.by, self.now)
        self._permit_everything()
        if not birth.at <= birth.updated <= self.now:
            msg = f"birth: {new.kind} {new.name!r} was made and changed in the past, in this order"
            raise InvalidArgument(msg, field="birth")
        return birth

    async def update(self, updates: Sequence[Update]) -> list[Node]:
        current = await self.lock([u.id for u in updates])
        rewritten: dict[str, Stored] = {}
        for change in updates:
            before = rewritten[change.id].node if change.id in rewritten else current[change.id]
            if (stored := self._updated(before, change)) is not None:
                previous = rewritten.get(change.id)
                rewritten[change.id] = _after(previous, stored)
        if not rewritten:
            return [current[u.id] for u in updates]
        renamed = {s.key: s for s in rewritten.values() if s.key}
        for key, holder in (await self._holders(list(renamed))).items():
            if holder != renamed[key].node.id:
                raise await self._taken(renamed[key], holder)
        tags = await self._rows_of([id for id, s in rewritten.items() if s.search is not None], "tags")
        await self._rewrite_nodes(
            [
                s if s.search is None else replace(s, search=search_text(s.node, tags.get(id, {})))
                for id, s in rewritten.items()
            ]
        )
        return [rewritten[u.id].node if u.id in rewritten else current[u.id] for u in updates]

    def _updated(self, node: Node, change: Update) -> Stored | None:
        """The node with the update in it, and noted; None when it is as it should be already."""
        kind = ontology.NODE_KINDS[node.kind]
        if change.revision is not None and change.revision != node.revision:
            msg = (
                f"revision: {node.kind} {node.name!r} has revision {node.revision}, not {change.revision}: "
                "it changed since it was read; read it again"
            )
            raise Conflict(msg, field="revision", expected=change.revision, actual=node.revision)
        props = validation.properties(kind, change.props)
        for name, value in props.items():
            if value is None and kind.by_name[name].required:
                raise InvalidArgument(f"{name}: {kind.name} needs it", field=name)
        after: dict[str, Any] = {n: v for n, v in props.items() if node.props.get(n) != v}
        before: dict[str, Any] = {n: node.props.get(n) for n in after}
        name, key, former = node.name, None, None
        if change.name is not None and (name := validation.name(change.name)) != node.name:
            if reason := FIXED_NAMES.get(kind.name):
                raise InvalidArgument(f"name: a {kind.name}'s name is {reason} and cannot be changed", field="name")
            scope = node.container if kind.within else None
            key = ontology.key_of(kind, node.workspace, scope, name)
            former = ontology.key_of(kind, node.workspace, scope, node.name)
            after["name"], before["name"] = name, node.name
        if not after:
            return Stored(replace(node, updated_at=self.now)) if change.touch else None
        merged = {n: v for n, v in {**node.props, **props}.items() if v is not None}
        self.log.note(node.id, before, after)
        # A counter of Lineal's own must not make a client's update conflict.
        if all(n in kind.by_name and kind.by_name[n].internal for n in after):
            return Stored(replace(node, props=merged, updated_at=self.now if change.touch else node.updated_at))
        node = replace(node, name=name, props=merged, revision=node.revision + 1, updated_at=self.now)
        return Stored(node, key, "" if key or "description" in after else None, former)

    async def remove(self, ids: Sequence[str]) -> None:
        current = await self.lock(ids)
        await self._end(await self._open_edges_of(list(current)))
        gone = [replace(n, deleted_at=self.now, updated_at=self.now, revision=n.revision + 1) for n in current.values()]
        await self._rewrite_nodes([Stored(node, key="", search="") for node in gone])
        self.log.deleted += [_told_node(n) for n in gone]

    # Edges ────────────────────────────────────────────────────────────────────────────────────────

    async def link(self, edges: Sequence[NewEdge]) -> list[Edge]:
        if not edges:
            return []
        await self._learn_kinds(id for e in edges for id in (e.source, e.target))
        # Locked before `now` is looked at: a lock may have had to wait, and moves it on.
        if tails := sorted({e.source for e in edges} - self._born):
            await self.lock(tails)
        wanted = [self._edge(new) for new in edges]
        answer = await self._already(wanted)
        fresh: dict[tuple[Any, ...], Edge] = {}
        for edge in wanted:
            ends = ends_of(edge)
            if edge.until is None:
                if ends in answer:
                    continue
                fresh.setdefault(ends, edge)
            elif (*ends, edge.since) not in answer:
                fresh.setdefault((*ends, edge.since), edge)
        await self._insert(list(fresh.values()))
        answer |= fresh
        changed, told = {}, []
        for new, edge in zip(edges, wanted, strict=True):
            there = answer[ends_of(edge) if edge.until is None else (*ends_of(edge), edge.since)]
            if new.props and dict(there.props) != dict(edge.props):
                changed[ends_of(there)] = answer[ends_of(edge)] = replace(there, props=edge.props)
                told.append(_told_edge(there, before=there.props, after=edge.props))
        if changed:
            await self._rewrite_edges(list(changed.values()))
            self.log.linked += told
        return [answer[ends_of(e) if e.until is None else (*ends_of(e), e.since)] for e in wanted]

    def _edge(self, new: NewEdge) -> Edge:
        kind = validation.edge_kind(new.kind, self._kinds[new.source], self._kinds[new.target])
        problem = ""
        if new.discriminator and not kind.discriminator:
            problem = f"{kind.name} has none"
        elif len(new.discriminator) > MAX_DISCRIMINATOR:
            problem = f"at most {MAX_DISCRIMINATOR} characters, not {len(new.discriminator)}"
        elif not new.discriminator and kind.exclusive in {
            ontology.Exclusive.PER_SOURCE_AND_NAME,
            ontology.Exclusive.PER_TARGET,
        }:
            problem = "must not be empty"
        if problem:
            name = kind.discriminator or "discriminator"
            raise InvalidArgument(f"{name}: {kind.name} {new.source} → {new.target}: {problem}", field=name)
        since = self.now if new.since is None else new.since
        if since > self.now:
            raise InvalidArgument(f"since: {kind.name} {new.source} → {new.target} begins in the future", field="since")
        if new.until is not None and not since <= new.until <= self.now:
            msg = f"until: {kind.name} {new.source} → {new.target} must end after it begins, and not in the future"
            raise InvalidArgument(msg, field="until")
        props = validation.properties(kind, {k: v for k, v in new.props.items() if v is not None})
        if new.source == new.target:
            raise PreconditionFailed(
                f"{kind.name} cannot lead from {new.source} to itself: that is a cycle", path=[new.source]
            )
        return Edge(kind.name, new.source, new.target, normalize(new.discriminator), since, new.until, props)

    async def _already(self, wanted: Sequence[Edge]) -> dict[tuple[Any, ...], Edge]:
        """What is there of these: open edges by their ends, ended ones by ends and since."""
        found: dict[tuple[Any, ...], Edge] = {}
        if ends := list({ends_of(e) for e in wanted if e.until is None and not self._untouched(e)}):
            found |= {ends_of(e): e for e in await self._open_edges(ends)}
        if ended := [e for e in wanted if e.until is not None]:
            found |= {(*ends_of(e), e.since): e for e in await self._recorded(ended)}
        return found

    def _untouched(self, edge: Edge) -> bool:
        """Whether the source was born in this transaction and has no edges yet, so that there is nothing to look up."""
        return edge.source in self._born and edge.source not in self._tails

    async def _insert(self, edges: Sequence[Edge]) -> None:
        """Write edges that are not there, if they keep exclusive ones apart and close no cycle."""
        if not edges:
            return
        keyed: list[tuple[Edge, str | None]] = []
        holders: dict[str, Edge] = {}
        for edge in edges:
            kind = ontology.EDGE_KINDS[edge.kind]
            key = None
            if edge.until is None:
                key = kind.open_key(edge.source, edge.target, self._kinds[edge.target], edge.discriminator)
            if key:
                if key in holders:
                    raise await self._occupied(edge, holders[key])
                holders[key] = edge
            keyed.append((edge, key))
        for key, holder in (await self._held([k for k, e in holders.items() if not self._untouched(e)])).items():
            raise await self._occupied(holders[key], holder)
        await self._insert_edges(keyed)
        await self._refuse_cycles([e for e in edges if e.until is None and e.kind in ontology.WALKABLE_EDGES])
        self._tails.update(e.source for e in edges)
        self._heads.update(e.target for e in edges)
        self.log.linked += [_told_edge(e, after={**e.props, **self._times(e)}) for e in edges]

    def _times(self, edge: Edge) -> dict[str, int]:
        """When an edge was true, where that is not from now on."""
        times = {"since": edge.since, "until": edge.until}
        return {name: at for name, at in times.items() if at not in {None, self.now}}

    async def _refuse_cycles(self, edges: Sequence[Edge]) -> None:
        """Only an edge whose source something may lead to already can close a cycle with what is there."""
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for edge in edges:
            sorter.add(edge.source, edge.target)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1]
            raise await self._cyclic(cycle[::-1]) from None
        risky = [e for e in edges if e.source not in self._born or e.source in self._heads]
        if not risky:
            return
        await self._lock_lineage()
        if path := await self._cycle(risky):
            raise await self._cyclic([path[-1], *path])

    async def _cyclic(self, path: Sequence[str]) -> PreconditionFailed:
        names = await addresses(self, (await self.nodes(list(dict.fromkeys(path)))).values())
        shown = [names.get(id, HIDDEN) for id in path]
        if len(shown) > 12:
            shown = [*shown[:6], f"… {len(shown) - 11} more …", *shown[-5:]]
        msg = f"lineage cannot have a cycle: {' → '.join(shown)}"
        return PreconditionFailed(msg, path=[id for id in path if id in names])

    async def unlink(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        if sources := sorted({m.source for m in matches if m.source} - self._born):
            await self.lock(sources)
        return await self._end(await self._writable(await self._matching(matches)))

    async def _end(self, edges: Sequence[Edge]) -> list[Edge]:
        if not edges:
            return []
        await self._end_edges(edges)
        self.log.unlinked += [_told_edge(e, before=e.props) for e in edges]
        return [replace(e, until=self.now) for e in edges]

    # What nodes own ───────────────────────────────────────────────────────────────────────────────

    async def put_rows(self, table: Literal["tags", "params"], rows: Mapping[str, Mapping[str, str | None]]) -> None:
        if not any(rows.values()):
            return
        if (count := sum(map(len, rows.values()))) > MAX_ROWS:
            raise LimitExceeded(f"{table}: {count} in one call; at most {MAX_ROWS} are allowed", field=table)
        owners = await self.lock(list(rows))
        for id, values in rows.items():
            kind = ontology.NODE_KINDS[owners[id].kind]
            if table == "params" and not kind.has_params:
                raise InvalidArgument(f"params: a {kind.name} has no parameters", field="params")
            for name, value in values.items():
                check_row(table, name, value)
        there = await self._rows_of(list(rows), table)
        writes: list[tuple[str, str, str | None]] = []
        changed: dict[str, Node] = {}
        for id, values in rows.items():
            current = there.get(id, {})
            if after := {n: v for n, v in values.items() if current.get(n) != v}:
                before = {n: current.get(n) for n in after}
                writes += [(id, name, value) for name, value in after.items()]
                self.log.note(
                    id, {f"{table}.{n}": v for n, v in before.items()}, {f"{table}.{n}": v for n, v in after.items()}
                )
                fresh = id in self._born
                changed[id] = (
                    owners[id] if fresh else replace(owners[id], revision=owners[id].revision + 1, updated_at=self.now)
                )
        if not writes:
            return
        await self._write_rows(table, writes)
        tags = await self._rows_of(list(changed), "tags") if table == "tags" else {}
        await self._rewrite_nodes(
            [
                Stored(node, search=search_text(node, tags.get(id, {})) if table == "tags" else None)
                for id, node in changed.items()
            ]
        )

    async def log_metrics(self, points: Mapping[str, Sequence[Point]]) -> None:
        points = {id: values for id, values in points.items() if values}
        if not points:
            return
        if (count := sum(map(len, points.values()))) > MAX_ROWS:
            raise LimitExceeded(f"metrics: {count} points in one call; at most {MAX_ROWS} are allowed", field="metrics")
        owners = await self.lock(list(points))
        for id, values in points.items():
            if not ontology.NODE_KINDS[owners[id].kind].has_metrics:
                raise InvalidArgument(f"metrics: a {owners[id].kind} has no metrics", field="metrics")
            for point in values:
                check_row("metrics", point.name, "")
                if abs(point.step) > ontology.MAX_INT or abs(point.time) > ontology.MAX_INT:
                    raise InvalidArgument(f"metrics: step and time of {point.name!r} must fit 64 bits", field="metrics")
        there = await self._metrics_of(list(points))
        series = []
        for id, values in points.items():
            current = {m.name: m for m in there.get(id, ())}
            named: dict[str, list[Point]] = {}
            for point in values:
                named.setdefault(point.name, []).append(point)
            for name, mine in named.items():
                old = current.get(name)
                series.append(Series(id, merge_metric(old, name, mine), old.count if old else 0, mine))
            self.log.logged[id] = self.log.logged.get(id, 0) + len(values)
        await self._append(series)


def _after(previous: Stored | None, stored: Stored) -> Stored:
    """What two updates of one node come to."""
    if previous is None:
        return stored
    search = stored.search if stored.search is not None else previous.search
    return Stored(stored.node, stored.key or previous.key, search, stored.former or previous.former)


def ends_of(edge: Edge) -> EdgeEnds:
    """An edge without its times."""
    return (edge.kind, edge.source, edge.target, edge.discriminator)


def _told_node(node: Node) -> list[Any]:
    """A node that was made or deleted, as a Change tells it."""
    return [node.id, node.kind, node.name, *([dict(node.props)] if node.props else [])]


def _told_edge(edge: Edge, before: Mapping[str, Any] = NOTHING, after: Mapping[str, Any] = NOTHING) -> list[Any]:
    """An edge as a Change tells it, its source first."""
    sides = {side: dict(props) for side, props in (("before", before), ("after", after)) if props}
    return [edge.source, edge.kind, edge.target, edge.discriminator, *([sides] if sides else [])]


def check_row(table: str, name: str, value: str | None) -> None:
    """Raises InvalidArgument: no name or value that a tag, parameter or metric may have."""
    if not name.strip() or len(name) > MAX_ROW_NAME or "\0" in name:
        raise InvalidArgument(f"{table}: a name is 1 to {MAX_ROW_NAME} characters, not {name!r:.80}", field=table)
    longest = ontology.MAX_TAG if table == "tags" else ontology.MAX_STRING
    if value is not None and (len(value) > longest or "\0" in value):
        raise InvalidArgument(f"{table}.{name}: must be text of at most {longest} characters", field=f"{table}.{name}")
