"""What a caller may be told, said once more: over a dump of the whole graph, without the product's own rules.

Scopes decide which kinds one sees, workspaces which nodes of them. Lineage goes through what is hidden,
and stops before the hidden nodes of opaque workspaces.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx

from auth.caller import Caller
from graph.port import Change, Edge, Entry, Graph, Node, NodeRecord
from tests import building
from tests.graph import oracle

SCOPE_OF = {
    **dict.fromkeys(
        ("Model", "ModelVersion", "Experiment", "Run", "Pipeline", "Evaluation", "CodeRevision"), "model:read"
    ),
    **dict.fromkeys(("StageScheme", "Gate", "StageMove", "Approval"), "model:read"),
    **dict.fromkeys(("Dataset", "DatasetVersion", "Field"), "dataset:read"),
    **dict.fromkeys(("Deployment", "DeploymentRevision", "Environment", "ServingTarget"), "deployment:read"),
    **dict.fromkeys(("Workspace", "Principal", "Team"), "workspace:read"),
    **dict.fromkeys(("Artifact", "Upload"), "artifact:read"),
    "Validation": "model:read",
    "Mark": "dataset:read",
    **dict.fromkeys(("Comment", "Notice"), "activity:read"),
    "Webhook": "webhook:write",
}
OWN = {
    "pr": {"directory", "inbox"},
    "te": {"directory"},
    "mo": {"lastNumber"},
    "mv": {"enrichmentSince", "lostAt"},
    "dv": {"producers", "registered"},
    "dr": {"condemned", "pausedAt"},
    "up": {"closedAt", "newBytes"},
    "ap": {"basis"},
}
"""What Lineal keeps to itself and tells to admins alone, by the beginnings of ids."""
BESIDE = {"sm": {"verdict": "metrics:read"}, "dr": {"verdict": "metrics:read"}}
"""What needs one more scope than its kind, by the beginnings of ids."""
LINEAGE = ("READ", "PRODUCED_BY", "DERIVED_FROM", "TRAINED_ON", "USES", "BUILT_FROM", "SERVES")
WALKABLE = (*LINEAGE, "EVALUATES", "EVALUATED_ON")
NEVER = 2**62

MARK = re.compile(r"z[0-9a-f]{14}|\b[a-z]{2}_[0-9A-HJKMNP-TV-Z]{26}\b")
"""What tells one thing from all others, in names, texts and values, and ids."""


def marks(value: Any) -> set[str]:
    """The marks in anything that can be JSON."""
    return set(MARK.findall(value if isinstance(value, str) else json.dumps(value, default=str)))


@dataclass
class Dump:
    """A whole graph: its nodes with what they own, its edges, its changes, its audit."""

    records: dict[str, NodeRecord] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, deleted ones too."""
        return [record.node for record in self.records.values()]

    def of_kind(self, *kinds: str) -> list[Node]:
        """What is there of these kinds, by id."""
        found = (n for n in self.nodes if n.kind in kinds and n.deleted_at is None)
        return sorted(found, key=lambda n: n.id)

    @cached_property
    def open(self) -> list[Edge]:
        """The edges that hold now."""
        return [e for e in self.edges if e.until is None]

    @cached_property
    def ends(self) -> dict[tuple[str, str, str], list[str]]:
        """What the open edges of a node lead to, by node, kind and direction."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for e in self.open:
            found.setdefault((e.source, e.kind, "OUT"), []).append(e.target)
            found.setdefault((e.target, e.kind, "IN"), []).append(e.source)
        return found

    @cached_property
    def plain(self) -> list[dict[str, Any]]:
        """The edges as the oracle of lineage takes them."""
        names = ("kind", "source", "target", "discriminator", "since", "until")
        return [{name: getattr(e, name) for name in names} for e in self.edges]

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Node]:
        """What is there by kind and name."""
        return {(n.kind, n.name): n for n in self.nodes if n.deleted_at is None}

    @cached_property
    def marks_of(self) -> dict[str, set[str]]:
        """All marks of each node, of what it was before too; those of its metrics are apart."""
        found = {
            id: marks([id, r.node.name, open_to(id, r.node.props), list(r.former), dict(r.tags), dict(r.params)])
            for id, r in self.records.items()
        }
        for change in self.changes:
            for id, sides in change.data.get("updated", {}).items():
                found[id] |= marks([open_to(id, values) for values in sides.values()])
        return found

    @cached_property
    def metric_marks(self) -> dict[str, set[str]]:
        """The marks of each node's metrics."""
        return {id: marks([m.name for m in r.metrics]) for id, r in self.records.items()}

    @cached_property
    def beside(self) -> list[tuple[str, str, set[str]]]:
        """The marks of what needs one more scope: of which node, and which scope."""
        return [
            (id, scope, marks(r.node.props.get(name)))
            for id, r in self.records.items()
            for name, scope in BESIDE.get(id[:2], {}).items()
        ]


def open_to(id: str, props: Mapping[str, Any], scopes: Collection[str] = ()) -> dict[str, Any]:
    """The properties of a node that whoever sees it and holds these scopes may be told."""
    beside = BESIDE.get(id[:2], {})
    shut = OWN.get(id[:2], set()) | {name for name, scope in beside.items() if scope not in scopes}
    return {name: value for name, value in props.items() if name not in shut}


async def dump(graph: Graph) -> Dump:
    """Everything that a store has."""
    result = Dump(changes=await building.sequenced(graph))
    async with graph.snapshot() as snapshot:
        after = ""
        while page := await snapshot.records(after, 500):
            after = page[-1].node.id
            result.records |= {r.node.id: r for r in page}
            result.edges += await snapshot.edges_from([r.node.id for r in page])
        for head in await snapshot.heads():
            result.entries += await snapshot.chain(head.workspace, limit=head.number)
    return result


@dataclass
class Walked:
    """A lineage as it should be, with real ids."""

    nodes: list[tuple[str, int]]
    edges: list[Edge]
    frontier: list[str]
    counts: dict[str, int]


class Eyes:
    """One caller's sight of a dump."""

    def __init__(self, world: Dump, caller: Caller) -> None:
        self.world = world
        self.caller = caller
        self.me = world.by_name.get(("Principal", caller.name))

    def holds(self, *scopes: str) -> bool:
        """Whether the caller's token has all of these."""
        return "admin" in self.caller.scopes or set(scopes) <= self.caller.scopes

    @property
    def deactivated(self) -> bool:
        """Whether nothing is open to the caller any more."""
        return self.me is not None and self.me.props.get("active") is False

    @cached_property
    def readable(self) -> frozenset[str]:
        """The workspaces that the caller reads."""
        places = self.world.of_kind("Workspace")
        if self.caller.bounded:
            return self.caller.workspaces or frozenset()
        if "admin" in self.caller.scopes or self.caller.workspaces is None:
            return frozenset(n.name for n in places)
        open_to = ("PUBLIC",) if self.caller.name == "anonymous" else ("PUBLIC", "INTERNAL")
        found = {n.name for n in places if n.props.get("visibility") in open_to}
        if self.caller.name == "anonymous":
            return frozenset(found)
        return frozenset(found | {place for place, _ in self.roles} | self.caller.workspaces)

    @cached_property
    def roles(self) -> set[tuple[str, str]]:
        """Workspaces with the roles that the caller and their teams were given there, as far as their token counts."""
        if self.caller.bounded:
            return set()
        me = self.me.id if self.me else ""
        mine = {me} | {e.target for e in self.world.open if e.kind == "MEMBER_OF" and e.source == me}
        mine |= {n.id for n in self.world.of_kind("Team") if n.name in self.caller.teams}
        grants = (e for e in self.world.open if e.kind == "GRANTS" and e.target in mine)
        return {(self.world.records[e.source].node.name, e.discriminator) for e in grants}

    @cached_property
    def shared(self) -> set[str]:
        """The containers that are shared with a workspace that the caller reads."""
        by_id = self.world.records
        return {
            e.source for e in self.world.open if e.kind == "SHARED_WITH" and by_id[e.target].node.name in self.readable
        }

    @cached_property
    def visible(self) -> set[str]:
        """The ids of all that the caller may see, deleted ones too."""
        return {n.id for n in self.world.nodes if self._sees(n)}

    def _sees(self, node: Node) -> bool:
        if self.deactivated or not self.holds(SCOPE_OF[node.kind]):
            return False
        if self.caller.name == "anonymous" and node.kind in ("Principal", "Team"):
            return False
        return not node.workspace or node.workspace in self.readable or node.container in self.shared

    def sees(self, id: str) -> bool:
        """Whether it is there, and to be seen."""
        return id in self.visible and self.world.records[id].node.deleted_at is None

    def of_kind(self, *kinds: str) -> list[Node]:
        """What the caller sees of these kinds."""
        return [n for n in self.world.of_kind(*kinds) if n.id in self.visible]

    def near(self, id: str, edge: str, direction: str, kind: str | None = None) -> list[str]:
        """The visible nodes at the other end of a node's open edges, once for each edge, by id."""
        ends = self.world.ends.get((id, edge, direction), ())
        return sorted(end for end in ends if self.sees(end) and kind in (None, self.world.records[end].node.kind))

    @cached_property
    def allowed(self) -> set[str]:
        """Every mark that the caller may be shown, whatever they ask."""
        own = [sorted(self.caller.teams), sorted(self.caller.workspaces or ()), sorted(self.roles)]
        found = marks([self.caller.name, *own])
        for id in self.visible:
            node = self.world.records[id].node
            found |= self.world.marks_of[id] | marks([node.workspace, node.created_by])
            # A part's address names the container.
            found |= marks(self.world.records[node.container].node.name) if node.container in self.visible else set()
            if self.holds("metrics:read"):
                found |= self.world.metric_marks[id]
        for id, scope, more in self.world.beside:
            found |= more if id in self.visible and self.holds(scope) else set()
        for edge in self.world.edges:
            if edge.source in self.visible:
                found |= marks(edge.discriminator)
        return found

    # Lineage ──────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def walls(self) -> set[str]:
        """What walks stop before: the hidden nodes of opaque workspaces."""
        places = self.world.of_kind("Workspace")
        opaque = {n.name for n in places if n.props.get("lineage") == "OPAQUE"} - self.readable
        return {n.id for n in self.world.nodes if n.workspace in opaque and n.id not in self.visible}

    def starts(self, roots: Iterable[str], at: int) -> tuple[set[str], set[str]]:
        """Where a walk from these roots begins, and the containers among them with parts behind walls."""
        alive = {n.id: n.kind for n in self.world.nodes if existed(n, at)}
        found, walled = set(), set()
        for root in roots:
            parts = oracle.expand(alive, [e for e in self.world.plain if e["source"] in alive], [root], at)
            found |= parts - self.walls
            walled |= {root} if parts & self.walls else set()
        return found, walled

    def passable(self, kinds: Iterable[str], at: int) -> list[dict[str, Any]]:
        """The edges that a walk may take."""
        kinds = set(kinds)
        return [
            e
            for e in self.world.plain
            if e["kind"] in kinds and oracle.live(e, at) and not {e["source"], e["target"]} & self.walls
        ]

    def walk(
        self,
        roots: Iterable[str],
        *,
        downstream: bool,
        edges: Iterable[str] = LINEAGE,
        depth: int = 20,
        kinds: set[str] | None = None,
        limit: int = 1_000,
        at: int = NEVER,
    ) -> Walked:
        """What a lineage should answer."""
        edges = set(edges)
        starts, walled = self.starts(roots, at)
        graph = oracle.walkable(self.passable(edges, at), edges, at, downstream)
        graph.add_nodes_from(starts)
        distance = nx.multi_source_dijkstra_path_length(graph, starts, cutoff=depth) if starts else {}
        reached = sorted(distance, key=lambda own: (distance[own], own))
        kind = {n.id: n.kind for n in self.world.nodes}
        asked = [id for id in reached if kinds is None or kind[id] in kinds]
        shown = asked[:limit]
        walked = reached[: reached.index(shown[-1]) + 1] if len(asked) > limit else reached
        inside = set(walked)
        near, far = ("target", "source") if downstream else ("source", "target")
        before_walls = {
            e[near]
            for e in self.world.plain
            if e["kind"] in edges and oracle.live(e, at) and e[far] in self.walls and e[near] in inside
        }
        onward = {id for id in walked if set(graph[id]) - inside} | before_walls | walled | (starts - inside)
        between = [
            e
            for e in self.world.edges
            if e.kind in edges and e.since <= at < (e.until or NEVER + 1) and {e.source, e.target} <= set(shown)
        ]
        return Walked(
            [(id, int(distance[id])) for id in shown],
            sorted(between, key=lambda e: (e.source, e.kind, e.target, e.discriminator, e.since)),
            sorted(onward),
            dict(Counter(kind[id] for id in walked)),
        )

    def paths(
        self, source: str, target: str, *, downstream: bool, edges: Iterable[str] = LINEAGE, at: int = NEVER
    ) -> tuple[list[list[str]], bool]:
        """All paths between two things, in order, and whether none can be missing."""
        starts, ends = self.starts([source], at)[0], self.starts([target], at)[0]
        found = oracle.paths(self.passable(edges, at), starts, ends, downstream=downstream, kinds=set(edges), at=at)
        whole = self.walk([source], downstream=downstream, edges=edges, depth=200, limit=20_000, at=at)
        return found, not whole.frontier


def existed(node: Node, at: int) -> bool:
    """Whether a node was there at a time."""
    return (at == NEVER or node.created_at <= at) and (node.deleted_at is None or at < node.deleted_at)
