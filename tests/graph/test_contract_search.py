"""Contract of both stores: what a search finds, and in which order."""

from __future__ import annotations

import pytest

from graph.port import Graph, NewNode, Paging, Update, View
from tests import building


async def found(graph: Graph, text: str, *kinds: str, view: View = View()) -> list[str]:
    async with graph.snapshot(view) as snapshot:
        return [n.name for n in (await snapshot.search(text, kinds or None)).items]


async def test_the_exact_name_comes_first_then_its_prefix_then_by_name_and_id(graph: Graph) -> None:
    names = ["bert tiny", "Bert", "a bert", "bert-base", "roberta", "z", "gbert"]
    made = await building.create(graph, *(NewNode("Model", n, "default") for n in names))
    await building.update(graph, Update(made[5].id, {"description": "A small BERT."}))
    again, _ = await building.dataset(graph, "BERT")
    exact = [name for _, name in sorted([(made[1].id, "Bert"), (again.id, "BERT")])]
    assert await found(graph, "bert") == [*exact, "bert tiny", "bert-base", "a bert", "z"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("multi base", ["multilingual-e5-base"]),
        ("base multi", ["multilingual-e5-base"]),
        ("e5", ["multilingual-e5-base"]),
        ("lingual", []),
        ("multi missing", []),
        ("MULTI", ["multilingual-e5-base"]),
        ("trec", ["TRECCovid"]),
        ("covid", ["TRECCovid"]),
        ("TRECCOVID", ["TRECCovid"]),
        ("élan", ["Élan vital"]),
        ("E\u0301LAN", ["Élan vital"]),
        ("strasse", ["Große Straße"]),
        ("straße", ["Große Straße"]),
        ("字", ["字節"]),
        ("ﬁsh", ["fish"]),
        ("", []),
        ("  - / ", []),
        ("*", []),
        ('"', []),
        ("fish OR elan", []),
        ("fish*", ["fish"]),
        ("fi*sh", []),
        ("name:fish", []),
        ("fish AND", []),
        ("NOT", []),
        ("fish~", ["fish"]),
        ("(fish", ["fish"]),
    ],
    ids=repr,
)
async def test_every_word_of_the_text_begins_a_word_of_the_node(graph: Graph, text: str, expected: list[str]) -> None:
    names = ["multilingual-e5-base", "TRECCovid", "Élan vital", "Große Straße", "字節", "fish"]
    await building.create(graph, *(NewNode("Model", n, "default") for n in names))
    assert await found(graph, text) == expected


async def test_descriptions_and_tags_are_searched_as_they_are_now(graph: Graph) -> None:
    (model,) = await building.create(graph, NewNode("Model", "m", "default", props={"description": "first words"}))
    await building.tag(graph, model.id, owner="quartz")
    for text, there in [("first", True), ("quartz", True), ("owner", True), ("second", False)]:
        assert await found(graph, text) == ["m"] * there
    await building.update(graph, Update(model.id, {"description": "second words"}))
    await building.tag(graph, model.id, owner=None)
    for text, there in [("first", False), ("quartz", False), ("owner", False), ("second", True), ("words", True)]:
        assert await found(graph, text) == ["m"] * there
    await building.update(graph, Update(model.id, {"description": None}, name="renamed"))
    assert [await found(graph, t) for t in ("second", "m", "renamed")] == [[], [], ["renamed"]]


async def test_kinds_and_views_bound_a_search_and_what_is_deleted_is_not_found(graph: Graph) -> None:
    await building.workspace(graph, "secret")
    await building.model(graph, "quartz a")
    await building.dataset(graph, "quartz b")
    await building.model(graph, "quartz hidden", workspace="secret")
    gone, _ = await building.model(graph, "quartz gone")
    await building.remove(graph, gone.id)
    assert await found(graph, "quartz") == ["quartz a", "quartz b", "quartz hidden"]
    assert await found(graph, "quartz", "Dataset") == ["quartz b"]
    assert await found(graph, "quartz", "Model", view=View(frozenset({"default"}))) == ["quartz a"]


async def test_pages_of_a_search_visit_everything_once(graph: Graph) -> None:
    names = [f"quartz {n:02}" for n in range(11)] + ["quartz", "my quartz"]
    await building.create(graph, *(NewNode("Model", n, "default") for n in names))
    async with graph.snapshot() as snapshot:
        everything = await snapshot.search("quartz", paging=Paging(50, count=True))
        assert everything.total == 13
        seen: list[str] = []
        page = await snapshot.search("quartz", paging=Paging(3))
        while True:
            seen += [n.id for n in page.items]
            if not page.has_next:
                break
            page = await snapshot.search("quartz", paging=Paging(3, page.cursors[-1]))
    assert seen == [n.id for n in everything.items]
    assert [everything.items[0].name, everything.items[-1].name] == ["quartz", "my quartz"]


async def test_a_store_can_search_for_very_many_and_very_long_words(graph: Graph) -> None:
    await building.create(graph, NewNode("Model", "w" * 400, "default"))
    assert await found(graph, "w" * 400) == ["w" * 400]
    assert await found(graph, " ".join(f"word{n}" for n in range(500))) == []


async def test_a_version_is_found_by_what_it_says_and_tags_say_and_not_by_its_number(graph: Graph) -> None:
    _, (_, second, third) = await building.model(graph, "m", versions=3)
    await building.update(graph, Update(second.id, {"description": "The 3 best."}))
    await building.tag(graph, third.id, build="nightly")
    assert await found(graph, "3") == ["2"]
    assert await found(graph, "nightly") == ["3"]
