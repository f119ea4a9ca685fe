"""Graphs with the shape of real model families, in any size, the same for the same seed.

A family grows from one data set by preferential attachment: a new version is trained on the data or
derived from a version that others derived from before, so that fan-out is heavy-tailed; depth goes to
16, and 3.5 % of the versions have more than one parent, as the base-model links of public model hubs have.
Every version also learns from a few of the public data sets that all families share.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graph.port import Edge, Node, NodeRecord

MAX_DEPTH = 16
CORPORA = 700
SECOND_PARENT = 0.035
BORN = 1_700_000_000_000_000
"""When everything was made: microseconds since the epoch."""


@dataclass(slots=True)
class Graph:
    """Nodes and edges as `load` takes them. `roots` has a data-set version for each family, by name."""

    records: list[NodeRecord] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    roots: dict[str, str] = field(default_factory=dict)


class Grower:
    """Adds families to a graph."""

    def __init__(self, seed: int = 1) -> None:
        self.graph = Graph()
        self._random = random.Random(seed)
        self._count = 0
        self._corpora: list[str] = []

    def family(self, name: str, size: int) -> str:
        """Grow a family whose data-set version has exactly `size` nodes downstream, itself included; returns its id."""
        dataset = self._node("Dataset", "ds", f"{name}-data")
        root = self._node("DatasetVersion", "dv", "unversioned", dataset)
        self._edge("VERSION_OF", root, dataset)
        self.graph.roots[name] = root
        bowl = [root]
        depth = {root: 0}
        model, number, left = "", 0, size - 1
        while left:
            if not model or self._random.random() < 0.25:
                model, number = self._node("Model", "mo", f"{name}-model-{self._count}"), 0
            number += 1
            parent = self._random.choice(bowl)
            version = self._node(
                "ModelVersion", "mv", str(number), model,
                number=number, state="READY", frameworks=["PyTorch"], license="mit", parameterCount=self._count * 1_000,
            )  # fmt: skip
            self._edge("VERSION_OF", version, model)
            left -= 1
            through_run = left > 1 and depth[parent] + 2 <= MAX_DEPTH and self._random.random() < 0.5
            if through_run:
                left -= 1
            self._attach(version, parent, root, depth, through_run)
            if depth[version] < MAX_DEPTH - 2:
                bowl += (version, parent)
            if self._random.random() < SECOND_PARENT and len(bowl) > 2:
                other = self._random.choice(bowl)
                if other not in {root, version, parent} and depth[other] < depth[version]:
                    self._edge("DERIVED_FROM", version, other, "merge")
            if left and self._random.random() < 0.05:
                left -= 1
                deployment = self._node("Deployment", "de", f"{name}-serving-{self._count}", state="AVAILABLE")
                self._edge("SERVES", deployment, version, weight=1.0)
        return root

    def _attach(self, version: str, parent: str, root: str, depth: dict[str, int], through_run: bool) -> None:
        if through_run:
            run = self._node("Run", "ru", f"run-{self._count}", state="FINISHED", startedAt=BORN)
            depth[run], depth[version] = depth[parent] + 1, depth[parent] + 2
            self._edge("READ", run, parent, "train" if parent == root else "base")
            self._edge("PRODUCED_BY", version, run)
        else:
            run = ""
            depth[version] = depth[parent] + 1
            self._edge(
                *(
                    ("TRAINED_ON", version, parent, "train")
                    if parent == root
                    else ("DERIVED_FROM", version, parent, "finetune")
                )
            )
        reader, kind = (run, "READ") if through_run else (version, "TRAINED_ON")
        for corpus in {self._corpus() for _ in range(self._random.choice((2, 3, 4, 4, 5)))}:
            self._edge(kind, reader, corpus, "train")

    def _corpus(self) -> str:
        """One of the public data sets that everybody learns from, the first ones far more often."""
        place = min(int(self._random.paretovariate(0.7)) - 1, CORPORA - 1)
        while len(self._corpora) <= place:
            dataset = self._node("Dataset", "ds", f"corpus-{len(self._corpora)}")
            self._corpora.append(self._node("DatasetVersion", "dv", "unversioned", dataset))
            self._edge("VERSION_OF", self._corpora[-1], dataset)
        return self._corpora[place]

    def code(self, share: float) -> None:
        """Give a share of the versions a commit; commits are shared by about eight versions each."""
        versions = [r.node.id for r in self.graph.records if r.node.kind == "ModelVersion"]
        chosen = self._random.sample(versions, int(len(versions) * share))
        for i in range(0, len(chosen), 8):
            commit = self._node("CodeRevision", "cr", f"repo@{i:x}", repository="repo", commit=f"{i:x}")
            for version in chosen[i : i + 8]:
                self._edge("BUILT_FROM", version, commit)

    def model(self, versions: int, tags: int) -> None:
        """Add a model whose versions have so many tags each, and learned from a few of the public data sets."""
        model = self._node("Model", "mo", f"model-{self._count}")
        for number in range(1, versions + 1):
            version = self._node("ModelVersion", "mv", str(number), model, number=number, state="READY")
            self.tag(len(self.graph.records) - 1, {f"tag-{i}": f"value-{self._count}" for i in range(tags)})
            self._edge("VERSION_OF", version, model)
            for corpus in {self._corpus() for _ in range(4)}:
                self._edge("TRAINED_ON", version, corpus, "train")

    def tag(self, place: int, tags: Mapping[str, str]) -> None:
        """Give these tags to the node at this place of the records."""
        self.graph.records[place] = replace(self.graph.records[place], tags=tags)

    def forget(self) -> None:
        """Begin with an empty graph, whose edges may lead to what was there."""
        self.graph.records, self.graph.edges = [], []

    def _node(self, kind: str, prefix: str, name: str, container: str | None = None, **props: object) -> str:
        self._count += 1
        id = f"{prefix}_{self._count:026d}"
        node = Node(id, kind, "default", container or id, name, BORN, "bench", BORN, 1, None, props)
        self.graph.records.append(NodeRecord(node, [], {}, {}, []))
        return id

    def _edge(self, kind: str, source: str, target: str, discriminator: str = "", **props: object) -> None:
        self.graph.edges.append(Edge(kind, source, target, discriminator, BORN, None, props))


def grown(nodes: int, planted: Sequence[tuple[str, int]], seed: int = 1) -> Graph:
    """A graph of about this many nodes: the planted families first, then ones of heavy-tailed sizes."""
    grower = Grower(seed)
    for name, size in planted:
        grower.family(name, size)
    many = sizes(seed)
    while (missing := int(nodes * 0.97) - len(grower.graph.records)) > 20:
        grower.family(f"family-{len(grower.graph.roots)}", max(3, min(next(many), missing)))
    grower.code(0.4)
    return grower.graph


def sizes(seed: int) -> Iterator[int]:
    """Heavy-tailed sizes of families, without end."""
    source = random.Random(seed + 1)
    while True:
        yield min(20_000, int(10 * source.paretovariate(0.9)))
