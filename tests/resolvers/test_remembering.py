"""What was read before is given again only to the same caller, and only while nothing was written."""

from __future__ import annotations

import pytest

from auth.caller import Caller
from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EdgeMatch, Graph, NewEdge, NewNode, Snapshot, Transaction, Update
from graph.sqlite.store import SqliteGraph
from lineal.errors import NotFound, Unauthenticated
from resolvers.operation import Operation
from resolvers.registry.looking import model_named
from resolvers.remembering import Memo
from tests import building

ANN = Caller("corp:ann", frozenset({"model:read"}))
BOB = Caller("corp:bob", frozenset({"model:read"}))


class Asked:
    """Asks for a model of a store, and counts how often it was looked for."""

    def __init__(self, graph: Graph, memo: Memo) -> None:
        self.graph = graph
        self.memo = memo
        self.looks = 0

    async def __call__(self, caller: Caller = ANN, name: str = "m", *, small: bool = True) -> str:
        """What is said of it."""

        async def reads(snapshot: Snapshot) -> str:
            self.looks += 1
            node = await model_named(snapshot, "default", name)
            return str(node.props.get("description", ""))

        async with Operation(self.graph, caller=caller, memo=self.memo) as op:
            return await op.read(reads, quick=True, key=("model", name), small=lambda _: small)


async def furnish(graph: Graph) -> tuple[str, str]:
    """A model that Ann may see: its id, and hers."""

    async def work(tx: Transaction) -> tuple[str, str]:
        (model,) = await tx.create([NewNode("Model", "m", "default", props={"description": "one"})])
        (ann,) = await tx.create([NewNode("Principal", "corp:ann", ontology.GLOBAL)])
        await tx.link([NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, ann.id, "VIEWER")])
        return model.id, ann.id

    return await graph.write(work, by=building.BY, action="furnish")


@pytest.fixture
def asked(sqlite_graph: Graph) -> Asked:
    """One who asks for models of an embedded store."""
    return Asked(sqlite_graph, Memo())


async def test_what_is_asked_again_is_not_looked_for_again(asked: Asked) -> None:
    await furnish(asked.graph)
    assert [await asked() for _ in range(3)] == ["one"] * 3
    assert asked.looks == 1


async def test_after_any_write_it_is_looked_for_again_also_after_one_of_another_process(asked: Asked) -> None:
    id, _ = await furnish(asked.graph)
    await asked()
    await building.update(asked.graph, Update(id, {"description": "two"}))
    assert await asked() == "two"
    assert isinstance(asked.graph, SqliteGraph)
    async with SqliteGraph(asked.graph.path) as other:
        await building.update(other, Update(id, {"description": "three"}))
    assert [await asked() for _ in range(2)] == ["three"] * 2
    assert asked.looks == 3


async def test_a_role_that_is_taken_away_and_a_caller_who_is_deactivated_count_at_once(asked: Asked) -> None:
    _, ann = await furnish(asked.graph)
    await asked()

    async def take(tx: Transaction) -> None:
        await tx.unlink([EdgeMatch("GRANTS", DEFAULT_WORKSPACE_ID, ann)])

    await asked.graph.write(take, by=building.BY, action="take")
    with pytest.raises(NotFound):
        await asked()
    await building.update(asked.graph, Update(ann, {"active": False}))
    with pytest.raises(Unauthenticated):
        await asked()


async def test_what_one_caller_was_told_another_is_not(asked: Asked) -> None:
    await furnish(asked.graph)
    await asked()
    for caller in (BOB, Caller("corp:ann", frozenset())):
        with pytest.raises(NotFound):
            await asked(caller)


async def test_what_is_large_is_not_remembered(asked: Asked) -> None:
    await furnish(asked.graph)
    for _ in range(2):
        await asked(small=False)
    assert asked.looks == 2


async def test_a_connection_that_is_closed_is_not_taken_for_another(asked: Asked) -> None:
    await furnish(asked.graph)
    states = set()
    assert isinstance(asked.graph, SqliteGraph)
    for _ in range(3):
        async with asked.graph.snapshot() as snapshot:
            states.add(await snapshot.state())
        asked.graph._idle.pop().close()
    assert len(states) == 3


async def test_a_write_remembers_nothing_of_what_it_reads(asked: Asked) -> None:
    async def work(tx: Transaction) -> None:
        assert await tx.state() is None

    await asked.graph.write(work, by=building.BY, action="look")


async def test_a_store_that_cannot_tell_is_asked_each_time(neo4j_graph: Graph) -> None:
    asked = Asked(neo4j_graph, Memo())
    await furnish(asked.graph)
    assert [await asked() for _ in range(2)] == ["one"] * 2
    assert asked.looks == 2


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    memo = Memo(most=2)
    for key in "ab":
        memo.keep(key, 1, key)
    assert memo.find("a", 1) == "a"
    memo.keep("c", 1, "c")
    assert [memo.find(key, 1) for key in "abc"] == ["a", None, "c"]
    assert memo.find("a", 2) is None
