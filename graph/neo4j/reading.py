"""The reading verbs, each one statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

from graph import ontology
from graph.address import Address
from graph.cursors import ranked
from graph.neo4j import seeing, walking
from graph.neo4j.auditing import Auditing
from graph.neo4j.codec import (
    METRIC_FIGURES,
    SATELLITES,
    edge_of,
    edge_row,
    identity,
    metric_of,
    node_of,
    number_of,
    ordered,
    plain,
    record_of,
    whole_edge_of,
    whole_edge_row,
)
from graph.neo4j.faults import translated
from graph.neo4j.running import CURRENT, Runner
from graph.neo4j.where import Compiler, always_there, hop_pattern, live, place_of, sorted_by
from graph.port import (
    Access,
    Chunk,
    Closure,
    Cursor,
    Edge,
    Hop,
    Link,
    Metric,
    Node,
    NodeRecord,
    Order,
    Page,
    Paging,
    Paths,
    Snapshot,
    View,
    Walk,
    Where,
)
from graph.text import fold, normalize, query_tokens

NODE = "p {.*, search: null}"
"""What `node_of` reads, from a map `p` of a node's properties; the tokens of a search stay where they are."""

METRIC = f"[{', '.join(f'x.{name}' for name in METRIC_FIGURES)}]"
"""What `metric_of` reads."""

RECORD = f"""[n {{.*, search: null}}, COLLECT {{ MATCH (f:Former {{id: n.id}}) RETURN f.key }},
    COLLECT {{ MATCH (n)-[:HAS_TAG]->(x) RETURN [x.name, x.value] }},
    COLLECT {{ MATCH (n)-[:HAS_PARAM]->(x) RETURN [x.name, x.value] }},
    COLLECT {{ MATCH (n)-[:HAS_METRIC]->(x) RETURN {METRIC} }}]"""


@dataclass(frozen=True, slots=True)
class _Links:
    """Which links a verb is after: `match` begins at `s` and binds `r` and `n`, `value` is what they are ordered by."""

    verb: str
    hop: Hop
    match: str
    value: str
    order: Order
    ties: tuple[str, str]


class Reading(Auditing):
    """The verbs of a Snapshot over one Runner. A node is believed as it was read first."""

    def __init__(self, runner: Runner, view: View) -> None:
        self._runner = runner
        self._view = view
        self._known: dict[str, Node] = {}

    @property
    def statements(self) -> int:  # type: ignore[override]
        """How many statements were sent."""
        return self._runner.statements

    @property
    def view(self) -> View:  # type: ignore[override]
        """What shows."""
        return self._view

    def show(self, view: View) -> None:
        self._view = view
        self._known = {id: node for id, node in self._known.items() if view.shows(node)}

    def seeing(self, view: View) -> Snapshot:
        other = copy(self)
        other.show(view)
        return other

    async def access(self, principal: str, teams: Sequence[str] = ()) -> Access:
        body, params = seeing.access_text(principal, teams)
        return seeing.access_of(await self._ask("access", body, params))

    async def workspaces(self, ids: Sequence[str]) -> dict[str, str]:
        q = Compiler(self._view)
        body = seeing.workspaces_text(q, ids)
        return dict(await self._ask("workspaces", body, q.params))

    def _believe(self, stored: Mapping[str, Any]) -> Node:
        """The node as this snapshot read it first."""
        id = stored["id"]
        return self._known[id] if id in self._known else self._known.setdefault(id, node_of(stored))

    async def _ask(self, verb: str, body: str, params: Mapping[str, Any], as_of: int | None = None) -> Any:
        with translated():
            return await self._runner.ask(verb, body, params, as_of)

    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        moment = self._runner.moment or 0
        there = (n for id in ids if (n := self._known.get(id)) and (n.deleted_at is None or n.deleted_at > moment))
        known = {n.id: n for n in there}
        if missing := [id for id in dict.fromkeys(ids) if id not in self._known]:
            q = Compiler(self._view)
            body = (
                f"UNWIND {q.add(missing)} AS i MATCH (n:Entity {{id: i}}) WHERE {q.shown('n')} "
                f"WITH properties(n) AS p RETURN collect({NODE}) AS result"
            )
            for stored in await self._ask("nodes", body, q.params):
                known[stored["id"]] = self._believe(stored)
        return {id: known[id] for id in ids if id in known}

    async def resolve(self, addresses: Sequence[Address], *, as_of: int | None = None) -> list[Node | None]:
        if not addresses:
            return []
        q = Compiler(self._view)
        wanted = q.add([_wanted(place, address) for place, address in enumerate(addresses)])
        there = q.shown("n")
        gone = _tombstones({w["kind"] for w in q.params[wanted[1:]]}, there) if as_of is not None else ""
        body = f"""
            UNWIND {wanted} AS w
            CALL (w, at) {{
                MATCH (n:Entity {{id: w.id}}) RETURN n, 0 AS rank
                UNION MATCH (n:Entity {{key: w.key}}) WHERE {there} RETURN n, 1 AS rank
                UNION MATCH (f:Former {{key: w.key}}) MATCH (n:Entity {{id: f.id}}) WHERE {there}
                RETURN n, 2 AS rank
                {gone}
            }}
            WITH w, at, n ORDER BY rank WITH w, at, head(collect(n)) AS h
            CALL (w, at, h) {{
                WITH w, h WHERE w.part IS NULL AND w.alias IS NULL RETURN h AS n, 0 AS rank
                UNION WITH w, at, h MATCH (h)-[r:ALIAS {{disc: w.alias}}]->(n) WHERE {live("r")} RETURN n, 0 AS rank
                UNION WITH w, h MATCH (n:Entity {{key: w.part + '/' + h.id + '/' + w.partName}}) RETURN n, 0 AS rank
                {_tombstoned_parts() if as_of is not None else ""}
            }}
            WITH w, at, n, rank WHERE {there}
            WITH w, n ORDER BY rank WITH w, head(collect(n)) AS n
            WITH w, properties(n) AS p RETURN collect([w.place, {NODE}]) AS result"""
        found: list[Node | None] = [None] * len(addresses)
        for place, stored in await self._ask("resolve", body, q.params, as_of):
            found[place] = self._believe(stored)
        return found

    async def find(
        self, kind: str, where: Where | None = None, *, order: Order = Order(), paging: Paging = Paging()
    ) -> Page[Node]:
        q = Compiler(self._view)
        label = ontology.NODE_KINDS[kind].name
        values = [q.order(kind, key) for key in order.keys]
        names = [f"v{i}" for i in range(len(values))]
        listed = ", ".join(names)
        pattern, tests = q.matching(kind, where)
        match = f"MATCH (n:{label}){pattern} WHERE {tests}"
        here, later = _after(q, paging.after, values, names, order, ("n.id",))
        body = f"""
            {match} AND n.id IS NOT NULL{here}
            WITH n, {", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))} {later}
            WITH n, {listed} ORDER BY {sorted_by(names, order, ("n.id",))} LIMIT {q.add(paging.first + 1)}
            WITH {listed}, properties(n) AS p
            WITH collect([[{listed}], {NODE}]) AS rows
            RETURN [rows, {f"COUNT {{ {match} }}" if paging.count else "null"}] AS result"""
        rows, total = await self._ask("find", body, q.params)
        found = [(self._believe(p), (*map(place_of, order.keys, places), p["id"])) for places, p in rows]
        return page(found, paging, total)

    async def neighbours(
        self,
        ids: Sequence[str],
        hop: Hop,
        where: Where | None = None,
        *,
        order: Order = Order(),
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        q = Compiler(self._view)
        value = q.order(hop.kind, order)
        more, tests = q.matching(hop.kind, where)
        match = f"MATCH {hop_pattern(hop, 's', 'r', 'n')}{more} WHERE {live('r')} AND {tests}"
        asked = _Links("neighbours", hop, match, value, order, ("n.id", "r.disc"))
        return await self._links(
            q, ids, asked, paging, lambda v, link: (place_of(order, v), link.node.id, link.edge.discriminator)
        )

    async def history(
        self,
        ids: Sequence[str],
        hop: Hop,
        *,
        discriminator: str | None = None,
        at: int | None = None,
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        q = Compiler(self._view)
        named = "" if discriminator is None else f" AND r.disc = {q.add(discriminator)}"
        if at is not None:
            then = q.add(at)
            named += f" AND r.since <= {then} AND r.until > {then}"
        match = f"MATCH {hop_pattern(hop, 's', 'r', 'n')} WHERE r.since <= at AND {q.visible('n')}{named}"
        asked = _Links("history", hop, match, "r.since", Order("createdAt", descending=True), ("r.disc", "n.id"))
        return await self._links(q, ids, asked, paging, lambda v, link: (v, link.edge.discriminator, link.node.id))

    async def _links(
        self, q: Compiler, ids: Sequence[str], asked: _Links, paging: Paging, cursor: Callable[[Any, Link], Cursor]
    ) -> dict[str, Page[Link]]:
        """A page of links for each id."""
        if not ids:
            return {}
        body = f"""
            UNWIND {q.add(list(dict.fromkeys(ids)))} AS i
            MATCH (s:Entity {{id: i}}) WHERE {q.visible("s")}
            CALL (s, at) {{
                {asked.match}
                WITH r, n, {asked.value} AS v WHERE {q.after(paging.after, ["v"], asked.order, asked.ties)}
                WITH r, n, v ORDER BY {sorted_by(["v"], asked.order, asked.ties)} LIMIT {q.add(paging.first + 1)}
                WITH r, n, v, properties(n) AS p
                RETURN collect([v, {edge_row("r", "n")}, {NODE}]) AS rows
            }}
            RETURN collect([i, rows, {f"COUNT {{ {asked.match} }}" if paging.count else "null"}]) AS result"""
        found: dict[str, Page[Link]] = {id: Page(total=0 if paging.count else None) for id in ids}
        result = await self._ask(asked.verb, body, q.params)
        moment = self._runner.moment or CURRENT
        for id, rows, total in result:
            links = []
            for v, row, stored in rows:
                edge = edge_of(id, row, moment=moment, incoming=asked.hop.direction == "IN")
                link = Link(edge, self._believe(stored))
                links.append((link, cursor(v, link)))
            found[id] = page(links, paging, total)
        return found

    async def rows(
        self, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        return await self._rows(self._view, ids, table, names)

    async def _rows(
        self, view: View, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        found = await self._owned(Compiler(view), ids, table, "[x.name, x.value]", names)
        return {id: dict(sorted(items)) for id, items in found.items()}

    async def metrics(self, ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, list[Metric]]:
        return await self._metrics(self._view, ids, names)

    async def _metrics(
        self, view: View, ids: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, list[Metric]]:
        found = await self._owned(Compiler(view), ids, "metrics", METRIC, names)
        return {id: [metric_of(m) for m in sorted(items, key=lambda m: str(m[0]))] for id, items in found.items()}

    async def _owned(
        self, q: Compiler, ids: Sequence[str], table: str, row: str, names: Sequence[str] | None
    ) -> dict[str, list[Any]]:
        """What each owner has in a table; owners without any are missing."""
        if not ids:
            return {}
        hop, label = SATELLITES[table]
        named = "" if names is None else f" WHERE x.name IN {q.add(list(names))}"
        body = f"""
            UNWIND {q.add(list(dict.fromkeys(ids)))} AS i MATCH (n:Entity {{id: i}}) WHERE {q.visible("n")}
            MATCH (n)-[:{hop}]->(x:{label}){named}
            WITH i, collect({row}) AS items RETURN collect([i, items]) AS result"""
        there = dict(await self._ask(table, body, q.params))
        return {id: there[id] for id in ids if id in there}

    async def points(
        self, ids: Sequence[str], names: Sequence[str] | None = None, *, after: int = -1, chunks: int = 10
    ) -> list[Chunk]:
        if not ids:
            return []
        q = Compiler(self._view)
        named = "" if names is None else f" AND c.name IN {q.add(list(names))}"
        body = f"""
            UNWIND {q.add(list(dict.fromkeys(ids)))} AS i MATCH (n:Entity {{id: i}}) WHERE {q.visible("n")}
            MATCH (c:Chunk {{owner: i}}) WHERE c.number > {q.add(after)} AND c.number <= {q.add(after + chunks)}{named}
            RETURN collect([i, c.name, c.number, c.values, c.steps, c.times]) AS result"""
        rows = await self._ask("points", body, q.params)
        return [
            Chunk(id, name, number, [(number_of(v), s, t) for v, s, t in zip(*series, strict=True)])
            for id, name, number, *series in sorted(rows, key=lambda row: row[:3])
        ]

    async def closures(self, groups: Sequence[Sequence[str]], walk: Walk) -> list[Closure]:
        q = Compiler(self._view)
        body = walking.closures_text(q, groups, walk)
        results = await self._ask("closure", body, q.params, walk.as_of)
        moment = self._runner.moment or CURRENT
        return [walking.closure_of(result, walk, moment, self._believe) for _, result in sorted(results)]

    async def paths(self, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> Paths:
        q = Compiler(self._view)
        body = walking.paths_text(q, sources, targets, walk)
        result = await self._ask("paths", body, q.params, walk.as_of)
        return walking.paths_of(result, walk, self._runner.moment or CURRENT, self._believe)

    async def search(self, text: str, kinds: Sequence[str] | None = None, *, paging: Paging = Paging()) -> Page[Node]:
        words = query_tokens(text)
        if not words or kinds == []:
            return Page(total=0 if paging.count else None)
        q = Compiler(self._view)
        query, name = q.add(" AND ".join(f"{word}*" for word in words)), q.add(ordered(fold(text.strip())))
        kind = "" if kinds is None else f" AND n.kind IN {q.add(list(kinds))}"
        match = f"""CALL db.index.fulltext.queryNodes('entity_search', {query}) YIELD node AS n
            WHERE {q.shown("n")}{kind}"""
        ranks = ("exact", "begins", "n.sort", "n.id")
        after = ""
        if paging.after is not None:
            exact, begins, sort, id = ranked(paging.after)
            after = f"WHERE {q.lexically(ranks, (exact, begins, ordered(sort), id))}"
        body = f"""
            {match}
            WITH n, CASE WHEN n.sort = {name} THEN 0 ELSE 1 END AS exact,
                CASE WHEN n.sort STARTS WITH {name} THEN 0 ELSE 1 END AS begins
            {after}
            WITH n, exact, begins ORDER BY {", ".join(ranks)} LIMIT {q.add(paging.first + 1)}
            WITH exact, begins, properties(n) AS p
            WITH collect([exact, begins, p.sort, {NODE}]) AS rows
            RETURN [rows, {f"COUNT {{ {match} RETURN n }}" if paging.count else "null"}] AS result"""
        rows, total = await self._ask("search", body, q.params)
        found = [(self._believe(p), (exact, begins, plain(sort), p["id"])) for exact, begins, sort, p in rows]
        return page(found, paging, total)

    async def records(self, after: str, limit: int) -> list[NodeRecord]:
        body = (
            f"MATCH (n:Entity) WHERE n.id > $after WITH n ORDER BY n.id LIMIT $limit RETURN collect({RECORD}) AS result"
        )
        rows = await self._ask("records", body, {"after": after, "limit": limit})
        return sorted((record_of(row) for row in rows), key=lambda r: r.node.id)

    async def edges_from(self, ids: Sequence[str]) -> list[Edge]:
        body = f"""
            UNWIND $ids AS i MATCH (a:Entity {{id: i}})-[r:{"|".join(ontology.EDGE_KINDS)}]->()
            RETURN collect({whole_edge_row("r")}) AS result"""
        rows = await self._ask("edges_from", body, {"ids": list(dict.fromkeys(ids))})
        return sorted((whole_edge_of(row) for row in rows), key=identity)


def page(items: Sequence[tuple[Any, Cursor]], paging: Paging, total: int | None) -> Page[Any]:
    """A page of what was read one item further than asked for."""
    shown = items[: paging.first]
    return Page([i for i, _ in shown], [c for _, c in shown], len(items) > paging.first, total)


def _after(  # noqa: PLR0917
    q: Compiler, cursor: Cursor | None, values: Sequence[str], names: Sequence[str], order: Order, ties: Sequence[str]
) -> tuple[str, str]:
    """The cursor's test, beside the MATCH where an index can help with it, or else behind the values."""
    if always_there(order):
        return f" AND {values[0]} IS NOT NULL AND {q.after(cursor, values, order, ties)}", ""
    return "", f"WHERE {q.after(cursor, names, order, ties)}"


def _wanted(place: int, address: Address) -> dict[str, Any]:
    """An address as the parts that `resolve` looks up."""
    if address.id:
        return {"place": place, "id": address.id, "kind": address.kind}
    kind = ontology.NODE_KINDS[address.kind]
    whole = ontology.NODE_KINDS[kind.within] if kind.within else kind
    part, name = None if address.part is None else normalize(address.part), normalize(address.name)
    return {
        "place": place, "kind": whole.name, "name": name,
        "workspace": name if whole is ontology.WORKSPACE else address.workspace,
        "sort": ordered(ontology.sort_key(address.name)),
        "key": ontology.key_of(whole, address.workspace, None, address.name),
        "part": None if part is None else kind.name, "partName": part, "alias": address.alias,
    }  # fmt: skip


def _tombstones(kinds: set[str], there: str) -> str:
    """Nodes that had the name at that time and are deleted since: their key is free, their name is kept."""
    return "".join(
        f"""UNION WITH w, at MATCH (n:{ontology.NODE_KINDS[kind].name}) WHERE n.sort = w.sort AND n.id IS NOT NULL
            AND n.name = w.name AND n.kind = w.kind AND n.workspace = w.workspace AND n.deletedAt > at AND {there}
            RETURN n, 3 AS rank """
        for kind in sorted(kinds)
    )


def _tombstoned_parts() -> str:
    """The same for the parts of a container."""
    return "".join(
        f"""UNION WITH w, at, h MATCH (n:{kind.name} {{container: h.id, name: w.partName}})
            WHERE n.kind = w.part AND n.deletedAt > at RETURN n, 1 AS rank """
        for kind in ontology.NODE_KINDS.values()
        if kind.within
    )
