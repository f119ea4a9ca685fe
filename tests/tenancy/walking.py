"""Questions for lineage and paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

from graph import ontology
from graph.port import Edge
from tests.tenancy.model import LINEAGE, NEVER, WALKABLE, Eyes
from tests.tenancy.questions import Question, Questions, enums, moment, quoted

WALK: Final = """{
    roots { id } nodes { id kind distance restricted node { id name } }
    edges { kind source target discriminator weight } complete frontier frontierCount countsByKind { kind count }
}"""


EXPORTS: Final = ("PROV_JSON", "PROV_N", "CYCLONEDX", "SPDX", "OPENLINEAGE", "GRAPHML", "MERMAID", "DOT")
"""The forms that a lineage of anything has."""

GRAPHML: Final = "{http://graphml.graphdrawing.org/xmlns}"


class Walks(Questions):
    """Questions for lineage and paths."""

    def lineage(self) -> Question:
        """All that some things came from, or that came of them."""
        roots = [self._walkable().id for _ in range(self.rng.choice((1, 1, 2)))]
        args, walk, at = self._walk()
        listed = ", ".join(map(quoted, roots))
        text = f"{{ it: lineage(of: [{listed}], {args}) {WALK} }}"
        hidden = [id for id in roots if not self._sees_at(id, at)]
        if hidden:
            return Question(text, ("lineage:read",), asked=hidden[0], absent=self._absent(hidden[0]))
        return Question(text, ("lineage:read",), check=lambda it: self._check_walk(it, roots, walk))

    def walked_from_node(self) -> Question:
        """The same, from a field of a node."""
        node = self._walkable()
        args, walk, _ = self._walk()
        field, direction = ("downstream", "DOWNSTREAM") if walk["downstream"] else ("upstream", "UPSTREAM")
        args = args.replace(f"direction: {direction}, ", "")
        text = f"{{ it: node(id: {quoted(node.id)}) {{ id walk: {field}({args}) {WALK} }} }}"
        if not self.eyes.sees(node.id):
            return Question(text, inner=("lineage:read",), asked=node.id, absent=self._absent(node.id))

        def check(it: Any) -> None:
            if self.eyes.holds("lineage:read"):
                self._check_walk(it["walk"], [node.id], walk)
            else:
                assert it["walk"] is None

        return Question(text, inner=("lineage:read",), check=check)

    def exported(self) -> Question:
        """The same, in a form that other tools read."""
        root = self._walkable()
        args, walk, at = self._walk()
        form = self.rng.choice(("GRAPHML", "GRAPHML", *EXPORTS))
        text = f"{{ it: exportLineage(of: {quoted(root.id)}, {args}, format: {form}) {{ content }} }}"
        if not self._sees_at(root.id, at):
            return Question(text, ("lineage:read",), asked=root.id, absent=self._absent(root.id))

        def check(it: Any) -> None:
            assert it["content"]
            if form == "GRAPHML":
                self._check_graphml(it["content"], [root.id], walk)

        return Question(text, ("lineage:read",), check=check)

    def _check_graphml(self, content: str, roots: Sequence[str], walk: dict[str, Any]) -> None:
        expected, names = self.eyes.walk(roots, **walk), Handles(self.eyes)
        graph = ET.fromstring(content)
        shown = [node.attrib["id"] for node in graph.iter(f"{GRAPHML}node")]
        for own, (id, _) in zip(shown, expected.nodes, strict=True):
            names.check(own, id)
        edges = [(edge.attrib["source"], edge.attrib["target"]) for edge in graph.iter(f"{GRAPHML}edge")]
        for (source, target), edge in zip(edges, expected.edges, strict=True):
            names.check(source, edge.source)
            names.check(target, edge.target)

    def _walk(self) -> tuple[str, dict[str, Any], int]:
        """The arguments of a walk, as text and for the model."""
        downstream = self.rng.random() < 0.5
        depth = self.rng.choice((1, 2, 20, 20))
        edges = self.rng.choice((None, None, WALKABLE, ("READ", "PRODUCED_BY"), ("DERIVED_FROM",)))
        kinds = self.rng.choice((None, None, None, {"ModelVersion"}, {"Run", "DatasetVersion"}, {"Deployment"}))
        limit = self.rng.choice((1_000, 1_000, 1, 3))
        at = self.rng.choice((NEVER, NEVER, NEVER, *self.times))
        args = f"direction: {'DOWNSTREAM' if downstream else 'UPSTREAM'}, depth: {depth}, limit: {limit}"
        args += enums("edges", edges) + enums("kinds", kinds and [ontology.constant(k) for k in sorted(kinds)])
        args += "" if at == NEVER else f", asOf: {quoted(moment(at))}"
        walk = {"downstream": downstream, "depth": depth, "edges": edges or LINEAGE, "kinds": kinds, "limit": limit}
        return args, {**walk, "at": at}, at

    def _check_walk(self, it: Any, roots: Sequence[str], walk: dict[str, Any]) -> None:
        expected = self.eyes.walk(roots, **walk)
        assert [r["id"] for r in it["roots"]] == list(dict.fromkeys(roots))
        assert [n["distance"] for n in it["nodes"]] == [distance for _, distance in expected.nodes]
        names = Handles(self.eyes)
        for shown, (id, _) in zip(it["nodes"], expected.nodes, strict=True):
            names.check_node(shown, id)
        assert len(it["edges"]) == len(expected.edges)
        for shown, edge in zip(it["edges"], expected.edges, strict=True):
            names.check_edge(shown, edge)
        assert it["complete"] is (not expected.frontier)
        assert it["frontierCount"] == len(it["frontier"]) == len(expected.frontier)
        for shown, id in zip(it["frontier"], expected.frontier, strict=True):
            names.check(shown, id)
        counts = {ontology.constant(kind): count for kind, count in expected.counts.items()}
        assert {c["kind"]: c["count"] for c in it["countsByKind"]} == counts

    def paths(self) -> Question:
        """The ways from one thing to another."""
        source, target = self._walkable(), self._walkable()
        downstream = self.rng.random() < 0.5
        if self.rng.random() < 0.7:
            # Of two things at random hardly any lead to each other.
            reached = [id for id, _ in self.eyes.walk([source.id], downstream=downstream).nodes]
            target = self.world.records[self.rng.choice(reached or [target.id])].node
        way = "DOWNSTREAM" if downstream else "UPSTREAM"
        node = "nodes { id kind distance restricted node { id name } }"
        hops = "hops { edges { kind source target discriminator weight } }"
        text = (
            f"{{ it: paths(from: {quoted(source.id)}, to: {quoted(target.id)}, direction: {way}, limit: 5) "
            f"{{ count complete paths {{ length {node} {hops} }} }} }}"
        )
        hidden = [n.id for n in (source, target) if not self.eyes.sees(n.id)]
        if hidden:
            return Question(text, ("lineage:read",), asked=hidden[0], absent=self._absent(hidden[0]))

        def check(it: Any) -> None:
            expected, complete = self.eyes.paths(source.id, target.id, downstream=downstream)
            assert it["complete"] is complete
            assert it["count"] == (str(len(expected)) if complete else None)
            names = Handles(self.eyes)
            for shown, path in zip(it["paths"], expected[:5], strict=True):
                assert shown["length"] == len(path) - 1
                for one, id in zip(shown["nodes"], path, strict=True):
                    names.check_node(one, id)
                for hop in shown["hops"]:
                    assert hop["edges"]

        return Question(text, ("lineage:read",), check=check)


class Handles:
    """What hidden nodes are called in one answer: something restricted, the same all through it, and one for each."""

    def __init__(self, eyes: Eyes) -> None:
        self._eyes = eyes
        self._names: dict[str, str] = {}

    def check(self, shown: str, id: str) -> None:
        """The name that a node goes by."""
        if id in self._eyes.visible:
            assert shown == id
            return
        assert shown.startswith("restricted_")
        assert self._names.setdefault(id, shown) == shown
        assert len(set(self._names.values())) == len(self._names)

    def check_node(self, shown: Any, id: str) -> None:
        """A node of lineage."""
        node = self._eyes.world.records[id].node
        seen = id in self._eyes.visible
        self.check(shown["id"], id)
        assert shown["kind"] == ontology.constant(node.kind)
        assert shown["restricted"] is (not seen)
        assert shown["node"] == ({"id": id, "name": node.name} if seen else None)

    def check_edge(self, shown: Any, edge: Edge) -> None:
        """An edge of lineage: what it says belongs to its source."""
        assert shown["kind"] == edge.kind
        self.check(shown["source"], edge.source)
        self.check(shown["target"], edge.target)
        told = edge.source in self._eyes.visible
        assert shown["discriminator"] == (edge.discriminator or None if told else None)
        assert shown["weight"] == (edge.props.get("weight") if told else None)
