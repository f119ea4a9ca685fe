"""A workspace with people in it, a model with versions, and what can be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.directory import Directory
from auth.scopes import SCOPES
from graph.ids import new_id
from graph.port import Change, EntryFilter, Graph, Hop, Link, NewEdge, NewNode, Node, Point, Transaction, Update
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.gates import Checked, check_gate
from resolvers.operation import Operation
from resolvers.writing.command import Command, Procedure
from resolvers.writing.members import grant_role
from resolvers.writing.workspaces import create_workspace
from tests import building

PLACE = "vision"
ALL = frozenset(SCOPES) - {ADMIN}
USUAL = ALL - {"lifecycle:override"}


def person(name: str, scopes: frozenset[str] = USUAL, **more: Any) -> Caller:
    """Somebody with a token that opens everything but overrides."""
    return Caller(f"corp:{name}", scopes, **more)


ROOT = person("root")
"""Owns the workspace, and has nothing to do with its models."""
ANN, EVE = person("ann"), person("eve")
"""Contribute."""
BOB, DAN = person("bob"), person("dan")
"""Approve."""
BOT = person("bot", type="SERVICE")
"""A service account that approves, as far as roles go."""
ROLES = {ROOT: "OWNER", ANN: "CONTRIBUTOR", EVE: "CONTRIBUTOR", BOB: "APPROVER", DAN: "APPROVER", BOT: "APPROVER"}


class House:
    """Does things as different people, in a workspace of theirs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    async def do(self, who: Caller, use_case: Command[...] | Procedure[...], **given: Any) -> Node:
        """What a use case answers with. Raises what it raises."""
        async with Operation(self.graph, caller=who) as op:
            return await use_case(op, **given)

    async def admit(self, who: Caller, role: str | None = None) -> None:
        """Let somebody appear, and have a role."""
        await Directory(self.graph).admit(who)
        if role is not None:
            await self.do(ROOT, grant_role, workspace=PLACE, to=self.of(who), role=role)

    @staticmethod
    def of(who: Caller) -> str:
        """The address of somebody."""
        return f"principals:/{who.name.replace(':', '%3A')}"

    async def gate(self, *conditions: Mapping[str, Any], name: str = "gate", **target: str) -> Node:
        """A gate, of the stage Production unless it is told otherwise."""
        target = target or {"stage": "Production"}
        return await self.do(ROOT, declare_gate, name=name, workspace=PLACE, conditions=list(conditions), **target)

    async def check(self, who: Caller, version: Node | str, **target: str) -> Checked:
        """What gates say of a version, as somebody is told."""
        async with Operation(self.graph, caller=who) as op:
            id = version if isinstance(version, str) else version.id
            return await check_gate(op, id, **(target or {"stage": "Production"}))

    async def node(self, id: str) -> Node:
        """A node as it now is."""
        async with self.graph.snapshot() as snapshot:
            return (await snapshot.nodes([id]))[id]

    async def links(self, id: str, edge: str, direction: Any = "OUT") -> Sequence[Link]:
        """Open edges with what is at their other end."""
        async with self.graph.snapshot() as snapshot:
            return (await snapshot.neighbours([id], Hop(edge, direction)))[id].items

    async def stage(self, version: Node) -> str | None:
        """The stage that a version is in."""
        return next((link.edge.discriminator for link in await self.links(version.id, "STAGE", "IN")), None)

    async def moves(self, version: Node) -> list[Node]:
        """The moves of a version, the first one first."""
        links = await self.links(version.id, "MOVED", "IN")
        return sorted((link.node for link in links), key=lambda node: (node.created_at, node.id))

    async def audited(self, action: str) -> list[Change]:
        """The changes of an action."""
        while await self.graph.sequence():
            pass
        async with self.graph.snapshot() as snapshot:
            found = await snapshot.entries(EntryFilter(action=action))
        return list({entry.change.id: entry.change for entry in found}.values())


@pytest.fixture
async def house(graph: Graph) -> House:
    """The workspace, on both stores."""
    house = House(graph)
    await house.admit(ROOT)
    await house.do(ROOT, create_workspace, name=PLACE, properties={})
    for who, role in ROLES.items():
        if who is not ROOT:
            await house.admit(who, role)
    return house


class World:
    """A model `m` with three versions, a data set `nq` with two, and what is said of them; nothing is gated by it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.model: Node
        self.versions: Sequence[Node] = ()
        self.dataset: Node
        self.data: Sequence[Node] = ()

    async def begin(self) -> None:
        """Make the model and the data set."""
        self.model, self.versions = await building.model(self.graph, "m", versions=3, workspace=PLACE, lastNumber=3)
        self.dataset, self.data = await building.dataset(self.graph, "nq", "v1", "v2", workspace=PLACE)

    def version(self, number: int) -> Node:
        """A version by its number."""
        return self.versions[number - 1]

    async def evaluate(self, number: int, on: str | None = "v1", workspace: str = PLACE, **metrics: float) -> Node:
        """An evaluation; `__` in a metric's name stands for `{country=`, as in auc__DE."""
        (evaluation,) = await building.create(self.graph, NewNode("Evaluation", new_id("ev"), workspace))
        edges = [NewEdge("EVALUATES", evaluation.id, self.version(number).id)]
        if on is not None:
            edges.append(NewEdge("EVALUATED_ON", evaluation.id, next(d.id for d in self.data if d.name == on)))
        await building.link(self.graph, *edges)
        await self.log(evaluation.id, **metrics)
        return evaluation

    async def log(self, owner: str, **metrics: float) -> None:
        """Metrics of anything."""
        points = [Point(_slice(name), value, 0, 1_000) for name, value in metrics.items()]
        if points:
            await building.log(self.graph, owner, *points)

    async def file(self, number: int, name: str = "model", **props: Any) -> Node:
        """A file of a version."""
        (artifact,) = await building.create(self.graph, NewNode("Artifact", new_id("ar"), PLACE, props=props))
        await building.link(self.graph, NewEdge("HAS_ARTIFACT", self.version(number).id, artifact.id, name))
        return artifact

    async def set(self, node: Node, **props: Any) -> None:
        """Properties of anything."""
        await building.update(self.graph, Update(node.id, props))

    async def link(self, kind: str, source: Node, target: Node, name: str = "") -> None:
        """An edge."""
        await building.link(self.graph, NewEdge(kind, source.id, target.id, name))

    async def mark(self, node: Node, type: str) -> Node:
        """A mark on a data set or a version of one."""
        (mark,) = await building.create(self.graph, NewNode("Mark", new_id("mk"), node.workspace, props={"type": type}))
        await self.link("MARKS", mark, node)
        return mark

    async def chain(self, length: int, workspace: str = PLACE) -> list[Node]:
        """Version 1 is derived from a version of another model, and so on; the last is `length` hops away."""
        made = [self.version(1)]
        for n in range(length):
            _, (version,) = await building.model(self.graph, f"base-{n}", versions=1, workspace=workspace)
            await self.link("DERIVED_FROM", made[-1], version, "finetune")
            made.append(version)
        return made


def _slice(name: str) -> str:
    metric, separator, country = name.partition("__")
    return f"{metric}{{country={country}}}" if separator else metric


@pytest.fixture
async def world(graph: Graph, house: House) -> World:
    """The model and the data set, in the workspace."""
    world = World(graph)
    await world.begin()
    return world


async def write(graph: Graph, work: Any, by: str = building.BY) -> Any:
    """Do something in a transaction, as somebody."""

    async def done(tx: Transaction) -> Any:
        return await work(tx)

    return await graph.write(done, by=by, action="test")
