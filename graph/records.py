"""Nodes, edges and series as lines of the export format, and back.

A line is an object with one member that says what it is, in canonical JSON (RFC 8785):

    {"lineal":{"format":1}}
    {"node":{"id":…,"kind":…,"name":…,"props":{…},"tags":{…},"params":{…},"metrics":[…],"former":[…],…}}
    {"edge":{"kind":…,"source":…,"target":…,"discriminator":…,"since":…,"until":…,"props":{…}}}
    {"points":{"owner":…,"name":…,"number":…,"points":[[value,step,time],…]}}
    {"end":{"lines":…}}

What is absent or empty is left out. Times are microseconds since the epoch, UTC. NaN and the infinities
are "NaN", "Infinity" and "-Infinity"; whole numbers past 2^53 are decimal strings, and inside free JSON,
where a string would be ambiguous, {"$int": "…"}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from graph import ontology, validation
from graph.editing import MAX_DISCRIMINATOR, check_row
from graph.ids import kind_of
from graph.ontology import Type
from graph.port import CHUNK, Chunk, Edge, Metric, Node, NodeRecord
from graph.recording import canonical
from graph.text import normalize
from lineal.errors import InvalidArgument

T = TypeVar("T")

FORMAT: Final = 1
SAFE: Final = 2**53 - 1
"""The largest whole number that every reader of JSON keeps (RFC 8259, section 6)."""
INTEGER: Final = "$int"
ESCAPE: Final = "$json"
NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_DECIMAL = re.compile(r"-?[1-9][0-9]{15,18}")


# ── To lines ──────────────────────────────────────────────────────────────────────────────────────


def header_line() -> bytes:
    """The first line of an export."""
    return _line("lineal", {"format": FORMAT})


def node_line(record: NodeRecord) -> bytes:
    """A node with all that it owns but its series."""
    node = record.node
    return _line(
        "node",
        {
            "id": node.id,
            "kind": node.kind,
            "workspace": node.workspace,
            "container": node.container if node.container != node.id else "",
            "name": node.name,
            "createdAt": _int(node.created_at),
            "createdBy": node.created_by,
            "updatedAt": _int(node.updated_at),
            "revision": _int(node.revision),
            "deletedAt": None if node.deleted_at is None else _int(node.deleted_at),
            "props": _props(ontology.NODE_KINDS[node.kind].by_name, node.props),
            "tags": dict(record.tags),
            "params": dict(record.params),
            "metrics": [_metric(m) for m in sorted(record.metrics, key=lambda m: m.name)],
            "former": sorted(record.former),
        },
    )


def edge_line(edge: Edge) -> bytes:
    """An edge, open or ended."""
    return _line(
        "edge",
        {
            "kind": edge.kind,
            "source": edge.source,
            "target": edge.target,
            "discriminator": edge.discriminator,
            "since": _int(edge.since),
            "until": None if edge.until is None else _int(edge.until),
            "props": _props({p.name: p for p in ontology.EDGE_KINDS[edge.kind].properties}, edge.props),
        },
    )


def chunk_line(chunk: Chunk) -> bytes:
    """Part of a metric's series."""
    points = [[_float(value), _int(step), _int(time)] for value, step, time in chunk.points]
    return _line("points", {"owner": chunk.owner, "name": chunk.name, "number": chunk.number, "points": points})


def end_line(lines: int) -> bytes:
    """The last line of an export, which says how many lines come before it: without it the file was cut off."""
    return _line("end", {"lines": lines})


def _line(what: str, body: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in body.items() if value is not None and value not in ("", {}, [])}
    return canonical({what: kept}) + b"\n"


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "value": _float(metric.value),
        "minimum": _float(metric.minimum),
        "maximum": _float(metric.maximum),
        "step": _int(metric.step),
        "time": _int(metric.time),
        "count": metric.count,
    }


def _props(known: Mapping[str, ontology.Property], props: Mapping[str, Any]) -> dict[str, Any]:
    written = {}
    for name, value in props.items():
        match known[name].type:
            case Type.INT | Type.TIME:
                written[name] = _int(value)
            case Type.JSON:
                written[name] = _free(value)
            case _:
                written[name] = value
    return written


def _int(value: int) -> int | str:
    return value if abs(value) <= SAFE else str(value)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _free(value: Any) -> Any:
    """Free JSON with its large whole numbers tagged, and what looks like a tag already escaped."""
    if isinstance(value, dict):
        inner = {k: _free(v) for k, v in value.items()}
        return {ESCAPE: inner} if len(value) == 1 and not value.keys().isdisjoint((INTEGER, ESCAPE)) else inner
    if isinstance(value, (list, tuple)):
        return [_free(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > SAFE:
        return {INTEGER: str(value)}
    return value


# ── From lines ────────────────────────────────────────────────────────────────────────────────────


def read_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """What a line is and its body. Raises InvalidArgument: no JSON object with one object in it."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"is not JSON: {error}") from None
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(body := next(iter(value.values())), dict):
        raise InvalidArgument('must be an object with one of "lineal", "node", "edge", "points" and "end" in it')
    return next(iter(value)), body


def read_header(body: dict[str, Any]) -> None:
    """Raises InvalidArgument: another format than this code reads."""
    if body.get("format") != FORMAT:
        raise InvalidArgument(f"lineal.format: this Lineal reads format {FORMAT}, not {body.get('format')!r}")


def read_end(body: dict[str, Any], lines: int) -> None:
    """Raises InvalidArgument: it counts another number of lines before it."""
    if body != {"lines": lines}:
        raise InvalidArgument(f"end.lines: {lines} lines come before it, not {body.get('lines')!r}: some are missing")


def read_node(body: dict[str, Any]) -> NodeRecord:
    """The node of a line. Raises InvalidArgument that names the member."""
    take = _Members("node", body)
    id = take("id", _text)
    kind = ontology.NODE_KINDS.get(take("kind", _text))
    if kind is None:
        raise InvalidArgument(
            f"node.kind: there is no node kind {body['kind']!r}; the kinds are {', '.join(ontology.NODE_KINDS)}"
        )
    if kind_of(id) is not kind:
        raise InvalidArgument(
            f"node.id: {id!r} is no id of a {kind.name}: {kind.prefix}_ and 26 digits and capitals (ULID)"
        )
    workspace = take("workspace", _text, "")
    if bool(workspace) == (kind.is_global and kind is not ontology.WORKSPACE):
        raise InvalidArgument(f"node.workspace: a {kind.name} belongs to {'no' if workspace else 'a'} workspace")
    check = validation.workspace_name if kind is ontology.WORKSPACE else validation.name
    name = take("name", _text)
    if check(name, field="node.name") != name:
        raise InvalidArgument(f"node.name: {name!r} is not in Unicode form NFC")
    container = take("container", _text, id)
    if bool(kind.within) == (container == id):
        needs = f"names its {kind.within}" if kind.within else "has no container"
        raise InvalidArgument(f"node.container: a {kind.name} {needs}")
    node = Node(
        id,
        kind.name,
        workspace,
        container,
        name,
        created_at=take("createdAt", _whole),
        created_by=take("createdBy", _text, ""),
        updated_at=take("updatedAt", _whole),
        revision=take("revision", _positive),
        deleted_at=take("deletedAt", _whole, None),
        props=_read_props(kind, {p.name: p for p in kind.properties}, take("props", _object, {}), "node.props"),
    )
    metrics: list[Any] = take("metrics", _list, [])
    record = NodeRecord(
        node,
        former=take("former", _texts, ()),
        tags=_read_rows("tags", take("tags", _object, {})),
        params=_read_rows("params", take("params", _object, {})),
        metrics=[_read_metric(i, m) for i, m in enumerate(metrics)],
    )
    take.done()
    _check_owned(kind, record)
    return record


def read_edge(body: dict[str, Any]) -> Edge:
    """The edge of a line; whether it may join its ends is for the caller.

    Raises InvalidArgument that names the member.
    """
    take = _Members("edge", body)
    kind = ontology.EDGE_KINDS.get(take("kind", _text))
    if kind is None:
        raise InvalidArgument(
            f"edge.kind: there is no edge kind {body['kind']!r}; the kinds are {', '.join(ontology.EDGE_KINDS)}"
        )
    discriminator = take("discriminator", _text, "")
    if discriminator and not kind.discriminator:
        raise InvalidArgument(f"edge.discriminator: {kind.name} has none")
    if len(discriminator) > MAX_DISCRIMINATOR or normalize(discriminator) != discriminator:
        raise InvalidArgument(f"edge.discriminator: must be at most {MAX_DISCRIMINATOR} characters in Unicode form NFC")
    known = {p.name: p for p in kind.properties}
    edge = Edge(
        kind.name,
        take("source", _text),
        take("target", _text),
        discriminator,
        since=take("since", _whole),
        until=take("until", _whole, None),
        props=_read_props(kind, known, take("props", _object, {}), "edge.props"),
    )
    take.done()
    if edge.until is not None and edge.until < edge.since:
        raise InvalidArgument(f"edge.until: {edge.until} is before since, {edge.since}")
    return edge


def read_chunk(body: dict[str, Any]) -> Chunk:
    """The part of a series in a line. Raises InvalidArgument that names the member."""
    take = _Members("points", body)
    owner, name = take("owner", _text), take("name", _text)
    number = take("number", _whole)
    rows = take("points", _list)
    take.done()
    if number < 0:
        raise InvalidArgument(f"points.number: chunks are numbered from 0, not {number}")
    if not 1 <= len(rows) <= CHUNK:
        raise InvalidArgument(f"points.points: a chunk has 1 to {CHUNK} points, not {len(rows)}")
    points = []
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 3:
            raise InvalidArgument(f"points.points[{i}]: must be [value, step, time], not {row!r:.80}")
        at = f"points.points[{i}]"
        points.append((_number(row[0], f"{at}[0]"), _whole(row[1], f"{at}[1]"), _whole(row[2], f"{at}[2]")))
    return Chunk(owner, name, number, points)


def _check_owned(kind: ontology.NodeKind, record: NodeRecord) -> None:
    if record.params and not kind.has_params:
        raise InvalidArgument(f"node.params: a {kind.name} has no parameters")
    if record.metrics and not kind.has_metrics:
        raise InvalidArgument(f"node.metrics: a {kind.name} has no metrics")
    if len({m.name for m in record.metrics}) != len(record.metrics):
        raise InvalidArgument("node.metrics: each name may be there once")


def _read_metric(index: int, body: Any) -> Metric:
    at = f"node.metrics[{index}]"
    take = _Members(at, _object(body, at))
    metric = Metric(
        take("name", _text),
        take("value", _number),
        take("minimum", _number),
        take("maximum", _number),
        take("step", _whole),
        take("time", _whole),
        take("count", _positive),
    )
    take.done()
    check_row("metrics", metric.name, "")
    return metric


def _read_rows(table: str, rows: dict[str, Any]) -> dict[str, str]:
    for name, value in rows.items():
        check_row(f"node.{table}", name, _text(value, f"node.{table}.{name}"))
    return rows


def _read_props(
    kind: ontology.NodeKind | ontology.EdgeKind, known: Mapping[str, ontology.Property], props: dict[str, Any], at: str
) -> dict[str, Any]:
    plain = {}
    for name, value in props.items():
        type = known[name].type if name in known else None
        if value is None:
            raise InvalidArgument(f"{at}.{name}: must be left out where there is no value, not null")
        if type in {Type.INT, Type.TIME}:
            plain[name] = _whole(value, f"{at}.{name}")
        else:
            plain[name] = _read_free(value, f"{at}.{name}") if type is Type.JSON else value
    return validation.properties(kind, plain, complete=True, field=at)


def _read_free(value: Any, at: str) -> Any:
    if isinstance(value, list):
        return [_read_free(v, at) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {INTEGER}:
        return _whole(value[INTEGER], at)
    if value.keys() == {ESCAPE}:
        value = _object(value[ESCAPE], at)
    return {k: _read_free(v, at) for k, v in value.items()}


class _Members:
    """The members of an object, taken one by one, so that what nobody took is found."""

    def __init__(self, at: str, body: dict[str, Any]) -> None:
        self.at = at
        self.body = body
        self.taken: set[str] = set()

    def __call__(self, name: str, read: Callable[[Any, str], T], *default: T | None) -> T:
        self.taken.add(name)
        if name not in self.body:
            if not default:
                raise InvalidArgument(f"{self.at}.{name}: is missing")
            return default[0]  # type: ignore[return-value]  # None where T allows it
        return read(self.body[name], f"{self.at}.{name}")

    def done(self) -> None:
        if unknown := sorted(self.body.keys() - self.taken):
            raise InvalidArgument(
                f"{self.at}.{unknown[0]}: there is no such member; there are {', '.join(sorted(self.taken))}"
            )


def _wrong(at: str, right: str, value: Any) -> InvalidArgument:
    return InvalidArgument(f"{at}: must be {right}, not {value!r:.80}")


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(at, "text without NUL", value)
    return value


def _texts(value: Any, at: str) -> Sequence[str]:
    return [_text(v, at) for v in _list(value, at)]


def _list(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(at, "a list", value)
    return value


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(at, "an object", value)
    return value


def _whole(value: Any, at: str) -> int:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise _wrong(at, "a whole number of 64 bits", value)
    return value


def _positive(value: Any, at: str) -> int:
    if (number := _whole(value, at)) < 1:
        raise _wrong(at, "a whole number from 1", value)
    return number


def _number(value: Any, at: str) -> float:
    if isinstance(value, str) and value in NOT_FINITE:
        return NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(at, 'a number, "NaN", "Infinity" or "-Infinity"', value)
    return float(value)
