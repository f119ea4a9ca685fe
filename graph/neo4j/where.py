"""Conditions, orders and cursors as Cypher. Values are always parameters; names come from the ontology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graph import ontology
from graph.cursors import parts
from graph.neo4j.codec import HEAD, SATELLITES, ordered, plain
from graph.port import All, Any_, Cursor, Hop, Linked, Not, Order, Prop, Row, View, Where
from graph.text import fold, normalize
from lineal.errors import InvalidArgument

COLUMNS = ("id", "name", "workspace", "container", "createdAt", "updatedAt", "createdBy")
COMPARISONS = {
    "eq": "=", "in": "IN", "contains": "CONTAINS", "prefix": "STARTS WITH",
    "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "=~", "ilike": "=~",
}  # fmt: skip
ALWAYS_THERE = ("name", "createdAt", "updatedAt", "number")


class Compiler:
    """Builds the pieces of one statement, and gathers its parameters.

    The pieces read the variable `at`, the time that is looked at.
    """

    def __init__(self, view: View) -> None:
        self.params: dict[str, Any] = {}
        self._view = view
        self._names = 0

    def add(self, value: Any) -> str:
        """A placeholder for this value."""
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"${name}"

    def name(self, letter: str) -> str:
        """A variable that the statement does not have yet."""
        self._names += 1
        return f"{letter}{self._names}"

    def visible(self, n: str) -> str:
        """Whether the view shows the node."""
        view = self._view
        tests = []
        if view.kinds is not None:
            tests.append(f"{n}.kind IN {self.add(sorted(view.kinds))}")
        if view.workspaces is not None:
            seen = f"{n}.workspace IN {self.add([ontology.GLOBAL, *sorted(view.workspaces)])}"
            shared = f"{n}.container IN {self.add(sorted(view.shared))}" if view.shared else ""
            tests.append(f"({seen} OR {shared})" if shared else seen)
        return " AND ".join(tests) or "true"

    def stops(self, n: str) -> str:
        """Whether walks stop before the node, a hidden one of an opaque workspace; empty where they do before none."""
        if not self._view.opaque:
            return ""
        return f"({n}.workspace IN {self.add(sorted(self._view.opaque))} AND NOT ({self.visible(n)}))"

    def shown(self, n: str) -> str:
        """Whether the node is there at the time, and the view shows it."""
        return f"{exists(n)} AND {self.visible(n)}"

    def matching(self, kind: str | None, where: Where | None, n: str = "n") -> tuple[str, str]:
        """The condition as more of a MATCH pattern and a test.

        Tags, parameters and metrics that must be there become part of the pattern, so that the
        planner may begin with their index. Raises InvalidArgument: the kind has no such property.
        """
        pattern, tests = "", [self.shown(n)]
        taken: set[tuple[str, str]] = set()
        for part in _conjuncts(where):
            # One MATCH takes a relationship once, so a second condition on the same row needs its own.
            if isinstance(part, Row) and (part.table, part.name) not in taken:
                taken.add((part.table, part.name))
                more, test = self._row(part, n)
                pattern += f", {more}"
                tests.append(test)
            else:
                tests.append(f"({self.where(kind, part, n)})")
        return pattern, " AND ".join(tests)

    def where(self, kind: str | None, where: Where | None, n: str) -> str:
        """Whether the node matches; null counts as false."""
        match where:
            case None:
                return "true"
            case Prop():
                return self._prop(kind, where, n)
            case Row():
                pattern, test = self._row(where, n)
                return f"EXISTS {{ MATCH {pattern} WHERE {test} }}"
            case Linked():
                return self._linked(where, n)
            case All(of):
                return " AND ".join(f"({self.where(kind, w, n)})" for w in of) or "true"
            case Any_(of):
                return " OR ".join(f"({self.where(kind, w, n)})" for w in of) or "false"
            case Not(of):
                test = self.where(kind, of, n)
                # Within coalesce the planner takes seconds for what nests three deep.
                return f"NOT ({test})" if _is_never_null(of) else f"NOT coalesce(({test}), false)"

    def _prop(self, kind: str | None, where: Prop, n: str) -> str:
        expression = property_expression(kind, where.name, n)
        value = _normalized(where.value)
        if where.op == "has":
            return f"{self.add(value)} IN {expression}"
        if where.op == "eq" and value is None:
            return f"{expression} IS NULL"
        if where.op in {"like", "ilike"}:
            return f"{expression} =~ {self.add(_as_regex(value, where.op))}"
        test = f"{expression} {COMPARISONS[where.op]} {self.add(value)}"
        if where.name != "name":
            return test
        match where.op:
            case "eq":
                return f"{n}.sort = {self.add(ordered(ontology.sort_key(value)))} AND {test}"
            case "in":
                return f"{n}.sort IN {self.add([ordered(ontology.sort_key(v)) for v in value])} AND {test}"
            case _:
                return f"{n}.sort {COMPARISONS[where.op]} {self.add(ordered(fold(where.value)))}"

    def _row(self, where: Row, n: str) -> tuple[str, str]:
        hop, label = SATELLITES[where.table]
        x = self.name("x")
        field = where.field if where.table == "metrics" else "value"
        tests = [f"{x}.name = {self.add(where.name)}"]
        if where.op is not None:
            value = _as_regex(where.value, where.op) if where.op in {"like", "ilike"} else where.value
            tests.append(f"{x}.{field} {COMPARISONS[where.op]} {self.add(value)}")
            if where.table != "metrics" and where.op in {"eq", "in", "prefix"}:
                head = [v[:HEAD] for v in where.value] if where.op == "in" else where.value[:HEAD]
                tests.append(f"{x}.head {COMPARISONS[where.op]} {self.add(head)}")
        return f"({n})-[:{hop}]->({x}:{label})", " AND ".join(tests)

    def _linked(self, where: Linked, n: str) -> str:
        r, m = self.name("r"), self.name("m")
        tests = [live(r), self.shown(m)]
        if where.discriminator is not None:
            tests.append(f"{r}.disc = {self.add(where.discriminator)}")
        tests.append(f"({self.where(where.hop.kind, where.where, m)})")
        return f"EXISTS {{ MATCH {hop_pattern(where.hop, n, r, m)} WHERE {' AND '.join(tests)} }}"

    def order(self, kind: str | None, order: Order, n: str = "n") -> str:
        """What the order compares; NaN is null. Raises InvalidArgument: the kind cannot be ordered so."""
        if order.by == "containerName":
            return f"head(COLLECT {{ MATCH (c:Entity {{id: {n}.container}}) RETURN c.sort }})"
        if order.metric is None:
            return f"{n}.sort" if by_name(order) else property_expression(kind, order.by, n)
        hop, label = SATELLITES["metrics"]
        x = self.name("x")
        named = f"({n})-[:{hop}]->({x}:{label} {{name: {self.add(order.metric)}}})"
        return f"head(COLLECT {{ MATCH {named} WHERE NOT isNaN({x}.value) RETURN {x}.value }})"

    def after(self, cursor: Cursor | None, values: Sequence[str], order: Order, ties: Sequence[str]) -> str:
        """Whether an item comes after the cursor in that order.

        Shaped so that an index keeps giving the order: a plain OR at the top would lose that.
        """
        if cursor is None:
            return "true"
        places, rest = parts(cursor, [by_name(key) for key in order.keys], len(ties))
        test = self.lexically(ties, rest)
        for value, key, place in reversed(list(zip(values, order.keys, places, strict=True))):
            if place is None:
                test = f"({value} IS NULL AND {test})"
                continue
            at = self.add(ordered(place) if by_name(key) else place)
            side = "<" if key.descending else ">"
            beyond = f"{value} {side}= {at} AND ({value} {side} {at} OR {test})"
            test = beyond if always_there(key) else f"({value} IS NULL OR ({beyond}))"
        return test

    def lexically(self, columns: Sequence[str], values: Sequence[Any]) -> str:
        """Whether the columns, one after the other, come after these values."""
        test = "false"
        for column, value in reversed(list(zip(columns, values, strict=True))):
            at = self.add(value)
            test = f"({column} > {at} OR ({column} = {at} AND {test}))" if test != "false" else f"{column} > {at}"
        return test


def always_there(order: Order) -> bool:
    """Whether every node has what this order compares, so that an index gives the order."""
    return order.metric is None and order.by in ALWAYS_THERE


def by_name(order: Order) -> bool:
    """Whether the order is that of folded names."""
    return order.metric is None and order.by in {"name", "containerName"}


def place_of(order: Order, value: Any) -> Any:
    """What a cursor says of an item's place, from what `Compiler.order` came to."""
    return plain(value) if by_name(order) else value


def sorted_by(values: Sequence[str], order: Order, ties: Sequence[str]) -> str:
    """An ORDER BY: what is absent last, then the ties."""
    parts = []
    for value, key in zip(values, order.keys, strict=True):
        absent = [f"{value} IS NULL"] if key.descending and not always_there(key) else []
        parts += [*absent, f"{value} DESC" if key.descending else value]
    return ", ".join([*parts, *ties])


def _as_regex(pattern: str, op: str) -> str:
    """A pattern of LIKE as a regular expression of Java, as Cypher takes it."""
    parts = {"%": ".*", "_": "."}
    text = "".join(parts.get(char) or (char if char.isalnum() else f"\\{char}") for char in pattern)
    return f"{'(?is)' if op == 'ilike' else '(?s)'}{text}"


def exists(n: str) -> str:
    """Whether the node is there at the time.

    Nearly every node was born before, which the planner does not know: the sum keeps it from beginning
    with the index of that, in the place of the one that gives the order.
    """
    return f"{n}.createdAt + 0 <= at AND ({n}.deletedAt IS NULL OR {n}.deletedAt > at)"


def live(r: str) -> str:
    """Whether the edge is live at the time."""
    return f"{r}.since <= at AND {r}.until > at"


def property_expression(kind: str | None, name: str, n: str) -> str:
    """The Cypher of a property. Raises InvalidArgument: the kind has no such property."""
    known = ontology.NODE_KINDS[kind].by_name if kind else {}
    if name not in COLUMNS and name not in known:
        msg = f"{name}: {kind or 'a node'} has no such property; it has {', '.join((*COLUMNS, *known))}"
        raise InvalidArgument(msg, field=name)
    return f"{n}.{name}"


def hop_pattern(hop: Hop, near: str, r: str, far: str) -> str:
    """The hop as a pattern. Raises KeyError: not of the ontology."""
    edge = ontology.EDGE_KINDS[hop.edge].name
    label = f":{ontology.NODE_KINDS[hop.kind].name}" if hop.kind else ""
    arrows = ("-", "->") if hop.direction == "OUT" else ("<-", "-")
    return f"({near}){arrows[0]}[{r}:{edge}]{arrows[1]}({far}{label})"


def _conjuncts(where: Where | None) -> list[Where]:
    """What must all hold for the condition to hold."""
    match where:
        case None:
            return []
        case All(of):
            return [part for inner in of for part in _conjuncts(inner)]
        case _:
            return [where]


def _is_never_null(where: Where | None) -> bool:
    """Whether a condition is always true or false."""
    match where:
        case All(of) | Any_(of):
            return all(map(_is_never_null, of))
        case _:
            return not isinstance(where, Prop)


def _normalized(value: Any) -> Any:
    if isinstance(value, str):
        return normalize(value)
    return [_normalized(v) for v in value] if isinstance(value, (list, tuple, set, frozenset)) else value
