"""Between what the port speaks of and what Neo4j keeps.

A node is flat: (:Entity:<Kind> {id, kind, workspace, container, key, name, sort, createdAt, createdBy,
updatedAt, revision, deletedAt, search, …}) with the kind's own properties beside these, JSON ones as
text. An edge keeps `since`, `until`, `disc`, `openKey` and its own properties.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from graph import ontology
from graph.port import Change, Checkpoint, Edge, Head, Metric, Node, NodeRecord, Origin
from graph.recording import Stored, read_data, write_data

OPEN: Final = 2**63 - 1
"""What `until` holds while an edge is open, so that one comparison tells whether it is live."""

HEAD: Final = 200
"""How many characters of a tag's or parameter's value are indexed: an index entry has at most 8,167 bytes."""

EDGE_PROPS: Final = tuple(dict.fromkeys(p.name for kind in ontology.EDGE_KINDS.values() for p in kind.properties))
"""The properties that some kind of edge has."""

METRIC_FIGURES: Final = ("name", "value", "minimum", "maximum", "step", "time", "count")

_HIGH: Final = re.compile("[\ue000-\U0010ffff]")
_PAIR: Final = re.compile("[\ue000-\ue10f][\ue800-\uf7ff]")

SATELLITES: Final = {"tags": ("HAS_TAG", "Tag"), "params": ("HAS_PARAM", "Param"), "metrics": ("HAS_METRIC", "Metric")}
"""The relationship and the label of what nodes own."""


def ordered(text: str) -> str:
    """A text whose order is that of its code points wherever Neo4j compares it.

    Neo4j 5 compares a stored text with a parameter by UTF-16 units, but sorts and seeks by code points;
    the two differ only past the surrogates. Each character there becomes two of the private use area,
    from ranges that do not meet, so that parts of a text are still parts of it.
    """
    return _HIGH.sub(lambda match: chr(0xE000 + (ord(match[0]) >> 12)) + chr(0xE800 + (ord(match[0]) & 0xFFF)), text)


def plain(text: str) -> str:
    """The text that `ordered` was given."""
    return _PAIR.sub(lambda match: chr((ord(match[0][0]) - 0xE000 << 12) + ord(match[0][1]) - 0xE800), text)


def edge_row(r: str, far: str) -> str:
    """An edge as a Cypher list, without the end where it was met: what `edge_of` reads."""
    props = "".join(f", {r}.{name}" for name in EDGE_PROPS)
    return f"[type({r}), {far}.id, {r}.disc, {r}.since, {r}.until{props}]"


def whole_edge_row(r: str) -> str:
    """An edge as a Cypher list with its source first: what `whole_edge_of` reads."""
    props = "".join(f", {r}.{name}" for name in EDGE_PROPS)
    return f"[startNode({r}).id, type({r}), endNode({r}).id, {r}.disc, {r}.since, {r}.until{props}]"


def node_of(stored: Mapping[str, Any]) -> Node:
    """A node from its flat properties."""
    kind = ontology.NODE_KINDS[stored["kind"]]
    props = {
        name: json.loads(value) if prop.type is ontology.Type.JSON else value
        for name, prop in kind.by_name.items()
        if (value := stored.get(name)) is not None
    }
    return Node(
        stored["id"],
        kind.name,
        stored["workspace"],
        stored["container"],
        stored["name"],
        stored["createdAt"],
        stored["createdBy"],
        stored["updatedAt"],
        stored["revision"],
        stored.get("deletedAt"),
        props,
    )


def node_props(item: Stored) -> dict[str, Any]:
    """What to set on a node, None for what it must not have; `key` and `search` only where they change."""
    node = item.node
    kind = ontology.NODE_KINDS[node.kind]
    props: dict[str, Any] = dict.fromkeys(kind.by_name)
    for name, value in node.props.items():
        props[name] = json.dumps(value) if kind.by_name[name].type is ontology.Type.JSON else value
    props |= {
        "id": node.id,
        "kind": node.kind,
        "workspace": node.workspace,
        "container": node.container,
        "name": node.name,
        "sort": ordered(ontology.sort_key(node.name)),
        "createdAt": node.created_at,
        "createdBy": node.created_by,
        "updatedAt": node.updated_at,
        "revision": node.revision,
        "deletedAt": node.deleted_at,
    }
    if item.key is not None:
        props["key"] = item.key or None
    if item.search is not None:
        props["search"] = item.search
    return props


def edge_of(source: str, row: Sequence[Any], *, moment: int = OPEN - 1, incoming: bool = False) -> Edge:
    """An edge met at `source` (at its target when `incoming`); it is open when it ends after the moment."""
    kind, far, disc, since, until, *values = row
    props = {name: value for name, value in zip(EDGE_PROPS, values, strict=True) if value is not None}
    start, end = (far, source) if incoming else (source, far)
    return Edge(kind, start, end, disc, since, None if until > moment else until, props)


def whole_edge_of(row: Sequence[Any]) -> Edge:
    """An edge from a `whole_edge_row`."""
    return edge_of(row[0], row[1:])


def edge_props(edge: Edge, open_key: str | None) -> dict[str, Any]:
    """What to set on a relationship."""
    until = OPEN if edge.until is None else edge.until
    return {**edge.props, "disc": edge.discriminator, "since": edge.since, "until": until, "openKey": open_key}


def identity(edge: Edge) -> tuple[str, str, str, str, int]:
    """What edges are ordered by."""
    return (edge.source, edge.kind, edge.target, edge.discriminator, edge.since)


def number_of(value: float) -> float:
    """The number, NaN always as the same object, so that records that hold one compare equal."""
    return math.nan if math.isnan(value) else value


def metric_of(row: Sequence[Any]) -> Metric:
    """A metric from its figures in the order of METRIC_FIGURES."""
    name, value, minimum, maximum, step, time, count = row
    return Metric(name, number_of(value), number_of(minimum), number_of(maximum), step, time, count)


def metric_figures(metric: Metric) -> dict[str, Any]:
    """What to set on a metric."""
    return {name: getattr(metric, name) for name in METRIC_FIGURES}


def record_of(row: Sequence[Any]) -> NodeRecord:
    """A node with what it owns."""
    node, former, tags, params, metrics = row
    return NodeRecord(
        node_of(node),
        sorted(former),
        dict(sorted(tags)),
        dict(sorted(params)),
        [metric_of(m) for m in sorted(metrics, key=lambda m: str(m[0]))],
    )


CHANGE: Final = "[c.id, c.at, c.by, c.action, c.request, c.data, c.client, c.token, c.address, c.workspaces, c.seq]"
"""A change as a Cypher list: what `change_of` reads."""


def change_of(row: Sequence[Any]) -> Change:
    """A change from a CHANGE. Somebody may have written there what is none, which must not hide the rest."""
    id, at, by, action, request, data, client, token, address, workspaces, seq = row
    named = [each for each in workspaces if isinstance(each, str)] if isinstance(workspaces, list) else []
    origin = Origin(client, token, address)
    return Change(id, at, by, action, request, read_data(data), origin, tuple(sorted(named)), seq)


def head_of(row: Sequence[Any]) -> Head:
    """The end or the anchor of a chain. What is no number is 0, and what is no text is empty: no chain ends so."""
    workspace, number, hash = row
    return Head(_text(workspace), _number(number), _text(hash))


def checkpoint_of(row: Sequence[Any]) -> Checkpoint:
    """A checkpoint, of which nothing is signed where what should be text is none."""
    number, body, key, signature = row
    return Checkpoint(_number(number), _text(body), _text(key), _text(signature))


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def change_props(change: Change) -> dict[str, Any]:
    """What to set on a change before it is sequenced."""
    return {
        "id": change.id,
        "at": change.at,
        "by": change.by,
        "action": change.action,
        "request": change.request,
        "data": write_data(change.data),
        "client": change.origin.client,
        "token": change.origin.token,
        "address": change.origin.address,
        "workspaces": list(change.workspaces),
    }
