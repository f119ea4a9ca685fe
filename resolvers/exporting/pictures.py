"""Lineage as graphs: Mermaid, Graphviz DOT, GraphML. Arrows are those of the graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson

from graph.text import iso
from resolvers.exporting.provenance import Provenance, Thing

_MEANT: Final = re.compile(r'[&<>"#`\\;\x00-\x1f\x7f]')
"""Characters that Mermaid, or the HTML that it makes, takes for more than themselves."""

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot have (section 2.2)."""


def mermaid(of: Provenance) -> str:
    """A Mermaid flowchart."""
    return "".join(f"{line}\n" for line in _mermaid(of))


def _mermaid(of: Provenance) -> Iterator[str]:
    yield "flowchart LR"
    for note in of.notes:
        yield f"    %% {note}"
    places = {thing.id: f"n{i}" for i, thing in enumerate(of.things)}
    for thing in of.things:
        text = _MEANT.sub(lambda found: f"#{ord(found[0])};", label(thing))
        yield f'    {places[thing.id]}["{text}"]'
    for edge in of.edges:
        yield f"    {places[edge.source]} -->|{edge.kind}| {places[edge.target]}"


def dot(of: Provenance) -> str:
    """A Graphviz digraph (graphviz.org/doc/info/lang.html)."""
    return "".join(f"{line}\n" for line in _dot(of))


def _dot(of: Provenance) -> Iterator[str]:
    yield "digraph lineage {"
    yield "  rankdir=LR;"
    yield "  node [shape=box];"
    if of.notes:
        yield f"  label={_quoted(' '.join(of.notes))};"
    for thing in of.things:
        style = ", style=dashed" if thing.restricted else ""
        yield f"  {_quoted(thing.id)} [label={_quoted(label(thing))}, tooltip={_quoted(thing.node.kind)}{style}];"
    for edge in of.edges:
        yield f"  {_quoted(edge.source)} -> {_quoted(edge.target)} [label={_quoted(edge.kind)}];"
    yield "}"


def _quoted(text: str) -> str:
    """A string of DOT. A backslash begins an escape in labels, and a line break ends none."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
    return '"' + escaped.replace("\0", "") + '"'


def label(thing: Thing) -> str:
    """What a node is called in a picture: its address, or what may be said of it."""
    return thing.title if thing.restricted else thing.address


# ── GraphML ───────────────────────────────────────────────────────────────────────────────────────

_TYPES: Final[Mapping[type, str]] = {bool: "boolean", int: "long", float: "double"}


class _Keys:
    """The attributes that a GraphML document declares: each name has one type wherever it is used."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def put(self, on: Any, of: str, values: Mapping[str, Any]) -> None:
        """Give an element of the sort `of` these attributes."""
        for name, value in values.items():
            plain = value if isinstance(value, str | bool | int | float) else orjson.dumps(value, default=dict).decode()
            type_ = _TYPES.get(type(plain), "string")
            id, declared = self._known.setdefault((of, name), (f"d{len(self._known)}", type_))
            assert declared == type_
            text = str(plain).lower() if isinstance(plain, bool) else str(plain)
            ET.SubElement(on, "data", key=id).text = _NO_XML.sub("\ufffd", text)

    def declared(self) -> Iterator[Any]:
        """The declarations."""
        for (of, name), (id, type_) in self._known.items():
            yield ET.Element("key", {"id": id, "for": of, "attr.name": name, "attr.type": type_})


def graphml(of: Provenance) -> bytes:
    """GraphML (graphml.graphdrawing.org): all properties as attributes, lists and objects as JSON text."""
    root = ET.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    graph, keys = ET.Element("graph", id="lineage", edgedefault="directed"), _Keys()
    facts = {
        "direction": of.direction.name,
        "complete": of.complete,
        **({"notes": " ".join(of.notes)} if of.notes else {}),
        "time": iso(of.moment),
    }
    keys.put(graph, "graph", facts)
    for thing in of.things:
        node = ET.SubElement(graph, "node", id=thing.id)
        keys.put(node, "node", _facts(thing))
    for number, edge in enumerate(of.edges):
        ends = {"id": f"e{number}", "source": edge.source, "target": edge.target}
        about: dict[str, Any] = {"kind": edge.kind, "since": iso(edge.since)}
        about |= {"discriminator": edge.discriminator} if edge.discriminator else {}
        about |= {} if edge.until is None else {"until": iso(edge.until)}
        keys.put(ET.SubElement(graph, "edge", ends), "edge", about | dict(edge.props))
    root.extend([*keys.declared(), graph])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _facts(thing: Thing) -> dict[str, Any]:
    facts = {
        "label": label(thing),
        "kind": thing.node.kind,
        "distance": thing.distance,
        "restricted": thing.restricted,
        "frontier": thing.more,
    }
    if thing.restricted:
        return facts
    more = {"tags": thing.tags, "params": thing.params, "metrics": {m.name: repr(m.value) for m in thing.metrics}}
    own = {f"property.{name}": value for name, value in thing.properties()}
    return {**facts, "address": thing.address, **own, **{name: each for name, each in more.items() if each}}
