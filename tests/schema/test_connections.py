"""Lists in pages: by cursor, bounded, counted only when asked."""

from __future__ import annotations

import pytest

from graph.port import Graph, NewEdge
from schema.connection import decode_cursor, encode_cursor
from tests import building as b
from tests.schema.conftest import Asked, Story

MODELS = """query($first: Int!, $after: String) { models(first: $first, after: $after) {
  edges { cursor node { name } } nodes { name } totalCount
  pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


async def test_pages_by_cursor_join_to_the_whole(sqlite_graph: Graph) -> None:
    ask = Asked(sqlite_graph)
    for name in ("delta", "alpha", "Charlie", "bravo", "echo"):
        await b.model(sqlite_graph, name)
    names, after = [], None
    while True:
        page = (await ask(MODELS, first=2, after=after))["models"]
        assert page["totalCount"] == 5
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert [edge["node"] for edge in page["edges"]] == page["nodes"]
        assert page["edges"][-1]["cursor"] == page["pageInfo"]["endCursor"]
        names += [node["name"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert names == ["alpha", "bravo", "Charlie", "delta", "echo"]


async def test_pages_of_neighbours_join_to_the_whole(sqlite_graph: Graph) -> None:
    ask = Asked(sqlite_graph)
    await b.model(sqlite_graph, "bert", versions=5)
    text = """query($after: String) { model(address: "models:/bert") { versions(first: 2, after: $after) {
      nodes { number } pageInfo { endCursor hasNextPage } } } }"""
    numbers, after, more = [], None, True
    while more:
        page = (await ask(text, after=after))["model"]["versions"]
        numbers += [node["number"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert numbers == [1, 2, 3, 4, 5]


async def test_an_empty_list_has_no_cursors(asked: Asked) -> None:
    page = (await asked(MODELS, first=10))["models"]
    assert page["nodes"] == []
    assert page["totalCount"] == 0
    assert page["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_the_total_of_no_neighbours_is_zero(asked: Asked) -> None:
    await b.model(asked.graph, "lonely")
    data = await asked('{ model(address: "models:/lonely") { versions { totalCount nodes { id } } } }')
    assert data["model"]["versions"] == {"totalCount": 0, "nodes": []}


@pytest.mark.parametrize("first", [0, -1, 501])
async def test_a_page_has_1_to_500_items(asked: Asked, first: int) -> None:
    error = await asked.refused(MODELS, first=first)
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "first")


@pytest.mark.parametrize("after", ["", "nonsense", "e30", "W10", "W1tdXQ", "é", "WzFd" * 500])
async def test_a_cursor_that_no_list_gave_is_refused(asked: Asked, after: str) -> None:
    error = await asked.refused(MODELS, first=1, after=after)
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "after")


async def test_a_cursor_of_another_list_is_refused(ask: Asked) -> None:
    versions = (await ask("{ modelVersions(first: 1) { pageInfo { endCursor } } }"))["modelVersions"]
    series = """query($after: String) { modelVersion(address: "models:/bert/1") {
      metrics { series(after: $after) { nodes { step } } } } }"""
    error = await ask.refused(series, after=versions["pageInfo"]["endCursor"])
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "after")


def test_cursors_keep_every_kind_of_value() -> None:
    cursor = (None, "naïve", 3, 0.5, float("inf"), "mv_1")
    assert decode_cursor(encode_cursor(cursor)) == cursor


async def test_all_lists_of_an_answer_together_are_bounded(sqlite_graph: Graph) -> None:
    from schema.limits import Limits

    await b.model(sqlite_graph, "bert", versions=6)
    ask = Asked(sqlite_graph, Limits(items=20))
    few = await ask("{ modelVersions { nodes { model { name } } } models { nodes { name } } }")
    assert len(few["modelVersions"]["nodes"]) == 6
    error = await ask.refused("{ models { nodes { versions { nodes { model { versions { nodes { id } } } } } } } }")
    assert (error["code"], error["limit"]) == ("LIMIT_EXCEEDED", "items")


async def test_a_total_is_counted_also_when_a_fragment_asks_for_it(ask: Asked) -> None:
    data = await ask("""{ models { ...f } modelVersions { ... on ModelVersionConnection { totalCount } } }
      fragment f on ModelConnection { pageInfo { hasNextPage } ...g } fragment g on ModelConnection { totalCount }""")
    assert (data["models"]["totalCount"], data["modelVersions"]["totalCount"]) == (1, 3)


async def test_a_cursor_of_another_list_is_no_place_in_a_history(ask: Asked) -> None:
    text = "query($after: String) { models { nodes { history(after: $after) { nodes { name } } } } }"
    error = await ask.refused(text, after=encode_cursor((1, "x")))
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "after")


async def test_names_of_edges_are_all_given_however_many_there_are(ask: Asked, story: Story) -> None:
    names = [f"alias-{n:03}" for n in range(510)]
    model, version = story.model.id, story.versions[1].id
    await b.link(ask.graph, *(NewEdge("ALIAS", model, version, name) for name in names))
    assert (await ask('{ modelVersion(address: "models:/bert/2") { aliases } }'))["modelVersion"]["aliases"] == names
