"""Who watches a store hears of each statement: its text without values, and how the store would go about it."""

from __future__ import annotations

import pytest

from graph.port import WATCHED, Graph, Paging, Prop, Statement, Watched
from tests import building


# A plan is asked for without parameters, which the server remarks on.
@pytest.mark.filterwarnings("ignore::neo4j.warnings.Neo4jWarning")
async def test_a_statement_is_told_by_its_text_without_values_and_can_be_explained(graph: Graph) -> None:
    heard: list[Statement] = []
    graph._observer = heard.append  # type: ignore[attr-defined]
    await building.model(graph, "a-name-of-ours", versions=1)
    async with graph.snapshot() as snapshot:
        await snapshot.find("Model", Prop("name", "eq", "a-name-of-ours"), paging=Paging(3))
    assert {"find"} < {statement.verb for statement in heard}
    for statement in heard:
        assert statement.text
        assert "a-name-of-ours" not in statement.text
    plans = {statement.verb: await graph.explain(statement.text) for statement in heard}
    # What only puts rows in has no plan on SQLite.
    assert plans["find"]
    assert sum(map(bool, plans.values())) > 2, plans
    async with graph.snapshot() as snapshot:
        page = await snapshot.find("Model", None)
    assert len(page.items) == 1, "nothing that is explained is run"


async def test_statements_are_told_where_they_were_asked_for(graph: Graph) -> None:
    watched = Watched()

    def noted(statement: Statement) -> None:
        if (mine := WATCHED.get()) is not None:
            mine.saw(statement)

    graph._observer = noted  # type: ignore[attr-defined]
    token = WATCHED.set(watched)
    await building.model(graph, "mine", versions=1)
    written = watched.statements
    async with graph.snapshot() as snapshot:
        await snapshot.find("Model", None)
    WATCHED.reset(token)
    await building.model(graph, "another's", versions=1)
    assert 0 < written < watched.statements
    assert watched.statements == written + 1
    assert watched.slowest is not None


async def test_a_store_says_how_busy_it_is(graph: Graph) -> None:
    assert (graph.load.connections, graph.load.waiting) == (0, 0)
    async with graph.snapshot(), graph.snapshot():
        assert graph.load.connections == 2
    assert graph.load.connections == 0
