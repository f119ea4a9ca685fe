"""Lineage as W3C PROV: PROV-JSON (w3.org/submissions/prov-json) and PROV-N (w3.org/TR/prov-n), by the library `prov`.

Which PROV term a kind of node or edge has is in graph/ontology.py. What Lineal alone knows stands in attributes of
its own namespace, so that nothing of the graph is lost.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from graph.naming import address_of
from graph.ontology import EDGE_KINDS, NODE_KINDS, prov_term
from graph.port import Edge
from graph.text import iso
from lineal.errors import Unavailable
from resolvers.exporting.provenance import Provenance, Thing

LINEAL: Final = "urn:lineal:prov:"
"""The namespace of what PROV has no term for."""
NODE: Final = "urn:lineal:node:"
"""The namespace of nodes: their ids are the same in every export, whoever serves it."""


def library() -> Any:
    """The module prov.model. Raises Unavailable: the extra `prov` is not installed."""
    try:
        from prov import model
    except ModuleNotFoundError:
        raise Unavailable("PROV needs the extra prov: pip install 'lineal[prov]'") from None
    return model


def prov_json(of: Provenance) -> str:
    """PROV-JSON."""
    return str(_document(of).serialize(format="json", indent=1)) + "\n"


def prov_n(of: Provenance) -> str:
    """PROV-N."""
    return str(_document(of).get_provn()) + "\n"


def _document(of: Provenance) -> Any:
    document = library().ProvDocument()
    lineal, node = document.add_namespace("lineal", LINEAL), document.add_namespace("node", NODE)
    writer = _Writer(document, lineal, node)
    writer.whole(of)
    for thing in of.things:
        writer.thing(thing)
    for edge in of.edges:
        writer.edge(edge, of)
    return document


class _Writer:
    """Puts things and edges into a document, in terms of two namespaces."""

    def __init__(self, document: Any, lineal: Any, node: Any) -> None:
        self._document = document
        self._lineal = lineal
        self._node = node
        self._known: set[str] = set()

    def whole(self, of: Provenance) -> None:
        """The lineage as an entity of its own: what it is of, and what is not in it."""
        facts = {"direction": of.direction.name, "complete": of.complete, "time": iso(of.moment)}
        said = [(self._lineal[name], value) for name, value in facts.items()]
        said += [(self._lineal["note"], note) for note in of.notes]
        self._document.entity(
            self._lineal["lineage"], [("prov:type", self._lineal["Lineage"]), ("prov:label", of.name), *said]
        )

    def thing(self, thing: Thing) -> None:
        """A node as entity, activity or agent, with what it is a version of and who answers for it."""
        name = self._node[thing.id]
        self._put(thing.kind.prov, name, self._facts(thing), thing)
        if thing.restricted:
            return
        if thing.container is not None:
            home = self._of(thing.container)
            if thing.node.kind in {"ModelVersion", "DatasetVersion"}:
                self._document.specializationOf(name, home)
        for owner in thing.owners:
            agent = self._of(owner)
            if thing.kind.prov == "activity":
                self._document.wasAssociatedWith(name, agent)
            else:
                self._document.wasAttributedTo(name, agent)

    def _of(self, node: Any) -> Any:
        """A node beside the lineage, which others refer to."""
        name = self._node[node.id]
        if node.id not in self._known:
            self._known.add(node.id)
            facts = [("prov:type", self._lineal[node.kind]), ("prov:label", node.name)]
            facts.append((self._lineal["address"], address_of(node)))
            kind = NODE_KINDS[node.kind]
            if kind.prov != "agent":
                # Of people there is the name alone.
                said = Thing(node.id, node, "", 0).properties()
                facts += [(self._lineal[f"property-{name}"], _literal(v)) for name, v in said]
            getattr(self._document, kind.prov)(name, other_attributes=facts)
        return name

    def _put(self, what: str, name: Any, facts: list[tuple[Any, Any]], thing: Thing) -> None:
        if what == "activity":
            start, end = thing.time("startedAt"), thing.time("endedAt")
            self._document.activity(name, start, end, facts)
        else:
            getattr(self._document, what)(name, facts)

    def _facts(self, thing: Thing) -> list[tuple[Any, Any]]:
        facts = [("prov:type", self._lineal[thing.node.kind]), ("prov:label", f"{thing.title} {thing.part}".strip())]
        flags = [
            (self._lineal[name], True)
            for name, is_so in (("restricted", thing.restricted), ("frontier", thing.more))
            if is_so
        ]
        if thing.restricted:
            return facts + flags
        more = {"tags": thing.tags, "params": thing.params, "metrics": _metrics(thing), "aliases": list(thing.aliases)}
        own = [(self._lineal[f"property-{name}"], _literal(value)) for name, value in thing.properties()]
        own += [(self._lineal[name], _literal(value)) for name, value in more.items() if value]
        return [*facts, *flags, (self._lineal["address"], thing.address), *own]

    def edge(self, edge: Edge, of: Provenance) -> None:
        """An edge as the relation that says most of it."""
        ends = (of.by_id[edge.source], of.by_id[edge.target])
        term = prov_term(EDGE_KINDS[edge.kind], ends[0].kind, ends[1].kind)
        facts = [("prov:type", self._lineal[edge.kind]), (self._lineal["since"], iso(edge.since))]
        facts += [] if edge.until is None else [(self._lineal["until"], iso(edge.until))]
        facts += [(self._lineal["discriminator"], edge.discriminator)] if edge.discriminator else []
        facts += [(self._lineal[f"property-{name}"], float(value)) for name, value in edge.props.items()]
        relation = getattr(self._document, "influence" if term == "wasInfluencedBy" else term)
        relation(self._node[edge.source], self._node[edge.target], other_attributes=facts)


def _metrics(thing: Thing) -> list[dict[str, Any]]:
    return [{"name": m.name, "value": repr(m.value), "step": m.step, "time": m.time} for m in thing.metrics]


def _literal(value: Any) -> Any:
    """A value of PROV: a literal, or JSON text."""
    return value if isinstance(value, str | int | float | bool) else orjson.dumps(value, default=dict).decode()
