"""A graph without ids and times of recording: what two graphs that say the same have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graph.ontology import DEFAULT_WORKSPACE, NODE_KINDS
from graph.port import Graph

Name = tuple[str, ...]
"""A kind, and the name; of a part the name of its container before."""


@dataclass
class Picture:
    """Nodes with their properties, tags and parameters, and open edges, by names."""

    nodes: dict[Name, dict[str, Any]] = field(default_factory=dict)
    edges: set[tuple[Name, str, Name, str]] = field(default_factory=set)

    def of(self, *kinds: str) -> set[str]:
        """The names of the nodes of these kinds."""
        return {name[-1] for name in self.nodes if name[0] in kinds}

    def leads(self, kind: str, *ends: str) -> set[tuple[str, str]]:
        """The ends of the edges of a kind: names, of parts with that of the container and a slash before."""
        found = ((source, target) for source, edge, target, _ in self.edges if edge == kind)
        kinds = set(ends)
        return {
            ("/".join(source[1:]), "/".join(target[1:]))
            for source, target in found
            if not kinds or {source[0], target[0]} <= kinds
        }


async def picture(graph: Graph, workspace: str = DEFAULT_WORKSPACE) -> Picture:
    """What is in a workspace of a graph."""
    result = Picture()
    names: dict[str, Name] = {}
    async with graph.snapshot() as snapshot:
        records, after = [], ""
        while page := await snapshot.records(after, 500):
            records += [r for r in page if r.node.deleted_at is None and r.node.workspace == workspace]
            after = page[-1].node.id
        whole = {record.node.id: record.node.name for record in records}
        for record in records:
            node = record.node
            if node.kind == "Workspace":
                continue
            within = (whole[node.container],) if NODE_KINDS[node.kind].within else ()
            names[node.id] = (node.kind, *within, node.name)
            result.nodes[names[node.id]] = {
                **node.props,
                "tags": dict(record.tags),
                "params": dict(record.params),
            }
        for start in range(0, len(names), 200):
            for edge in await snapshot.edges_from(list(names)[start : start + 200]):
                if edge.until is None:
                    ends = names[edge.source], edge.kind, names[edge.target], edge.discriminator
                    result.edges.add(ends)
    return result
