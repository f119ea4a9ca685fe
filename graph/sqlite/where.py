"""Conditions, orders and cursors as SQL. Values are always parameters; names come from the ontology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from graph import ontology
from graph.cursors import parts
from graph.port import All, Any_, Cursor, Hop, Linked, Not, Order, Prop, Row, View, Where
from graph.sqlite.migrations import OPEN, index_of
from graph.text import fold, normalize
from lineal.errors import InvalidArgument

COLUMNS = {
    "id": "id",
    "name": "name",
    "workspace": "workspace",
    "container": "container",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "createdBy": "created_by",
}
COMPARISONS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_GLOB = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
TABLES = {"tags": "tag", "params": "param", "metrics": "metric"}


class Compiler:
    """Builds the pieces of one statement, and gathers its parameters.

    What meets a condition of `rare` is looked up first; every other is looked at with the nodes that are come to.
    """

    def __init__(self, view: View, rare: Sequence[Where | None] = ()) -> None:
        self.params: dict[str, Any] = {}
        self._view = view
        self._rare = rare
        self._aliases = 0

    def add(self, value: Any) -> str:
        """A placeholder for this value."""
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f":{name}"

    def array(self, values: Any) -> str:
        """A table of these values, in a column `value`, with their place in `key`."""
        return f"json_each({self.add(orjson.dumps(list(values)).decode())})"

    def visible(self, n: str) -> str:
        """Whether the view shows the node. The signs keep the planner from beginning with an index of these columns."""
        view = self._view
        tests = []
        if view.kinds is not None:
            tests.append(f"+{n}.kind {self._among(view.kinds)}")
        if view.workspaces is not None:
            shared = f" OR +{n}.container {self._among(view.shared)}" if view.shared else ""
            tests.append(f"({n}.workspace {self._among({ontology.GLOBAL, *view.workspaces})}{shared})")
        return " AND ".join(tests) or "1"

    def stops(self, n: str) -> str:
        """Whether walks stop before the node: a hidden one of an opaque workspace."""
        if not self._view.opaque:
            return "0"
        return f"({n}.workspace {self._among(self._view.opaque)} AND NOT ({self.visible(n)}))"

    def _among(self, names: Iterable[str]) -> str:
        return f"IN (SELECT value FROM {self.array(sorted(names))})"

    def live(self, e: str, as_of: int | None = None) -> str:
        """Whether the edge is open, or was at that time."""
        if as_of is None:
            return f"{e}.until = {OPEN}"
        at = self.add(as_of)
        return f"({e}.since <= {at} AND {e}.until > {at})"

    def exists(self, n: str, as_of: int | None = None) -> str:
        """Whether the node is there, or was at that time."""
        if as_of is None:
            return f"{n}.deleted_at IS NULL"
        at = self.add(as_of)
        return f"({n}.created_at <= {at} AND ({n}.deleted_at IS NULL OR {n}.deleted_at > {at}))"

    def where(self, kind: str | None, where: Where | None, n: str = "n") -> str:
        """Whether the node matches. Raises InvalidArgument: the kind has no such property."""
        match where:
            case None:
                return "1"
            case Prop() | Row() if any(where is rare for rare in self._rare):
                return f"{n}.k IN ({self.meeting(kind, where)})"
            case Prop():
                return self._prop(kind, where, n)
            case Row():
                return f"EXISTS (SELECT 1 FROM {self._rows(where)} AND owner = {n}.k)"
            case Linked():
                return self._linked(where, n)
            case All(of):
                return " AND ".join(f"({self.where(kind, w, n)})" for w in of) or "1"
            case Any_(of):
                return " OR ".join(f"({self.where(kind, w, n)})" for w in of) or "0"
            case Not(of):
                return f"NOT coalesce(({self.where(kind, of, n)}), 0)"

    def _prop(self, kind: str | None, where: Prop, n: str) -> str:
        expression = property_expression(kind, where.name, n)
        value = normalize(where.value) if isinstance(where.value, str) else where.value
        if where.name == "name" and where.op not in {"eq", "in", "like", "ilike"}:
            expression, value = f"{n}.sort", fold(where.value)
        if where.op == "has":
            prop = ontology.NODE_KINDS[kind or ""].by_name[where.name]
            return f"EXISTS (SELECT 1 FROM json_each({n}.props, '$.{prop.name}') WHERE value = {self.add(value)})"
        return self._compare(expression, where.op, value)

    def _compare(self, expression: str, op: str | None, value: Any) -> str:
        match op:
            case None:
                return "1"
            case "eq" if value is None:
                return f"{expression} IS NULL"
            case "in":
                return f"{expression} IN (SELECT value FROM {self.array(value)})"
            case "contains":
                return f"instr({expression}, {self.add(value)}) > 0"
            case "like":
                # LIKE itself does not tell small letters from capitals here.
                return f"{expression} GLOB {self.add(_as_glob(value))}"
            case "ilike":
                return f"{expression} LIKE {self.add(value)}"
            case "prefix":
                at = self.add(value)
                return f"({expression} >= {at} AND substr({expression}, 1, length({at})) = {at})"
            case _:
                return f"{expression} {COMPARISONS[op]} {self.add(value)}"

    def meeting(self, kind: str | None, where: Row | Prop) -> str | None:
        """The keys of what meets this, read off an index; None where no index tells."""
        if isinstance(where, Row):
            return f"SELECT owner FROM {self._rows(where)}"
        of = ontology.NODE_KINDS[kind or ""]
        prop = of.by_name.get(where.name)
        compared = where.op == "in" or (where.op in COMPARISONS and where.value is not None)
        if not compared or prop is None or (index := index_of(of, prop)) is None:
            return None
        matching = f"m.kind = '{of.name}' AND {self.exists('m')} AND {self._prop(kind, where, 'm')}"
        return f"SELECT m.k FROM node m INDEXED BY {index} WHERE {matching}"

    def _rows(self, where: Row) -> str:
        """The table of such rows, with the condition that they meet; each has its `owner`."""
        column = where.field if where.table == "metrics" else "value"
        test = self._compare(column, where.op, where.value)
        return f"{TABLES[where.table]} WHERE name = {self.add(where.name)} AND {test}"

    def _linked(self, where: Linked, n: str) -> str:
        self._aliases += 1
        e, m = f"e{self._aliases}", f"m{self._aliases}"
        near, far = ends(where.hop)
        tests = [
            f"{e}.{near} = {n}.k",
            f"{e}.kind = '{edge_name(where.hop)}'",
            self.live(e),
            self.exists(m),
            self.visible(m),
        ]
        if where.hop.kind:
            tests.append(f"{m}.kind = '{kind_name(where.hop.kind)}'")
        if where.discriminator is not None:
            tests.append(f"{e}.disc = {self.add(where.discriminator)}")
        tests.append(f"({self.where(where.hop.kind, where.where, m)})")
        return f"EXISTS (SELECT 1 FROM edge {e} JOIN node {m} ON {m}.k = {e}.{far} WHERE {' AND '.join(tests)})"

    def order(self, kind: str | None, order: Order, n: str = "n") -> str:
        """What the order compares. Raises InvalidArgument: the kind cannot be ordered so."""
        if order.metric is not None:
            return f"(SELECT value FROM metric WHERE owner = {n}.k AND name = {self.add(order.metric)})"
        if order.by == "containerName":
            return f"(SELECT sort FROM node WHERE id = {n}.container)"
        return f"{n}.sort" if order.by == "name" else property_expression(kind, order.by, n)

    def sorted(self, values: Sequence[str], order: Order, *ties: str) -> str:
        """An ORDER BY over what `order` returned for each of its keys: what is absent last, then the ties."""
        parts = []
        for value, key in zip(values, order.keys, strict=True):
            absent = () if always_there(key) else (f"{value} IS NULL",)
            parts += [*absent, f"{value} {'DESC' if key.descending else 'ASC'}"]
        return ", ".join((*parts, *ties))

    def after(self, cursor: Cursor | None, values: Sequence[str], order: Order, *ties: str) -> str:
        """Whether an item comes after the cursor in that order."""
        if cursor is None:
            return "1"
        places, rest = parts(cursor, [False] * len(values), len(ties))
        test = f"({', '.join(ties)}) > ({', '.join(self.add(v) for v in rest)})"
        for value, key, place in reversed(list(zip(values, order.keys, places, strict=True))):
            if place is None:
                test = f"({value} IS NULL AND {test})"
                continue
            at = self.add(place)
            side = "<" if key.descending else ">"
            absent = "" if always_there(key) else f" OR {value} IS NULL"
            test = f"(({value} {side}= {at} AND ({value} {side} {at} OR {test})){absent})"
        return test


def _as_glob(pattern: str) -> str:
    """A pattern of LIKE as one of GLOB, which tells small letters from capitals."""
    return "".join(_GLOB.get(char, char) for char in pattern)


def always_there(order: Order) -> bool:
    """Whether every node has what this order compares, so that an index gives the order."""
    return order.metric is None and order.by in {"name", "createdAt", "updatedAt", "number", "containerName"}


def property_expression(kind: str | None, name: str, n: str) -> str:
    """The SQL of a property. Raises InvalidArgument: the kind has no such property."""
    if name in COLUMNS:
        return f"{n}.{COLUMNS[name]}"
    known = ontology.NODE_KINDS[kind].by_name if kind else {}
    if name not in known:
        msg = f"{name}: {kind or 'a node'} has no such property; it has {', '.join((*COLUMNS, *known))}"
        raise InvalidArgument(msg, field=name)
    return f"json_extract({n}.props, '$.{known[name].name}')"


def ends(hop: Hop) -> tuple[str, str]:
    """The columns of an edge at this side of the hop and at the other."""
    return ("src", "dst") if hop.direction == "OUT" else ("dst", "src")


def edge_name(hop: Hop) -> str:
    """The hop's edge kind, as a literal. Raises KeyError: not of the ontology."""
    return ontology.EDGE_KINDS[hop.edge].name


def kind_name(kind: str) -> str:
    """A node kind, as a literal. Raises KeyError: not of the ontology."""
    return ontology.NODE_KINDS[kind].name
