"""Croissant and model cards become versions with what they came from, and what is wrong with them is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from graph.port import Direction, Graph
from graph.sqlite.store import SqliteGraph
from lineal.errors import LinealError
from resolvers.exporting.exporting import FORMATS, export
from resolvers.importing.importing import Taken, import_card, import_croissant
from resolvers.operation import Operation
from resolvers.reading import lineage, resolve
from resolvers.writing.importing import record_lineage
from tests.exporting.conftest import LOCAL, SHA256, Export, exported, family

__all__ = ["exported", "family"]


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Graph]:
    """Another store, with nothing in it."""
    async with SqliteGraph(tmp_path / "other.db") as graph:
        await graph.migrate()
        yield graph


async def croissant(graph: Graph, given: Any) -> Taken:
    """Take the metadata of a data set in."""
    async with Operation(graph) as op:
        data = given if isinstance(given, bytes) else orjson.dumps(given)
        return await import_croissant(op, data, workspace="default")


async def card(graph: Graph, text: str, version: str = "models:/tuned/1") -> Taken:
    """Take a model card in."""
    async with Operation(graph) as op:
        return await import_card(op, text.encode(), version=version)


async def edges_of(graph: Graph, of: str, *kinds: str) -> set[tuple[str, str, str]]:
    """The edges of a lineage: from, kind and discriminator, to, by names."""
    async with Operation(graph) as op:
        found = await lineage(op, [of], direction=Direction.UPSTREAM, edges=kinds or None)
        wholes = await (await op.snapshot()).nodes([node.container for node, _ in found.closure.nodes])
        names = {node.id: f"{wholes[node.container].name}/{node.name}" for node, _ in found.closure.nodes}
    return {(names[e.source], f"{e.kind} {e.discriminator}".strip(), names[e.target]) for e in found.closure.edges}


async def props(graph: Graph, address: str) -> dict[str, Any]:
    """What is known of a thing."""
    async with Operation(graph) as op:
        node = await resolve(op, address)
    assert node is not None, address
    return dict(node.props)


# ── Croissant ─────────────────────────────────────────────────────────────────────────────────────

TITANIC: Any = {
    "@context": {"@vocab": "https://schema.org/"},
    "@type": "sc:Dataset",
    "name": "Titanic",
    "conformsTo": "http://mlcommons.org/croissant/1.1",
    "description": "Who was aboard.",
    "license": "https://spdx.org/licenses/CC-BY-4.0.html",
    "version": "1.0.0",
    "datePublished": "2024-05-06",
    "isBasedOn": {"@type": "sc:Dataset", "name": "manifest"},
    "citeAs": "@misc{titanic}",
    "distribution": [
        {"@type": "cr:FileObject", "@id": "a", "name": "a.csv", "contentUrl": "a.csv", "sha256": SHA256},
        {"@type": "cr:FileObject", "@id": "b", "name": "b.csv", "contentSize": "12 B", "sha256": "cd" * 32},
        {"@type": "cr:FileSet", "@id": "rest", "includes": "*.txt"},
    ],
    "recordSet": [
        {
            "@type": "cr:RecordSet",
            "field": [
                {"@type": "cr:Field", "name": "age", "dataType": "sc:Float", "description": "In years."},
                {"@type": "cr:Field", "name": "name", "dataType": ["sc:Text", "sc:name"]},
            ],
        }
    ],
}


async def test_croissant_is_a_version_with_columns_checksums_and_what_it_is_based_on(empty: Graph) -> None:
    done = await croissant(empty, TITANIC)
    assert done.notes == ["Files without a sha256, and sets of files, are left out.", "Left out: citeAs."]
    assert await props(empty, "datasets:/Titanic") == {"description": "Who was aboard.", "license": "CC-BY-4.0"}
    assert (await props(empty, "datasets:/Titanic/1.0.0"))["madeAt"] == 1_714_953_600_000_000
    age = {"type": "sc:Float", "ordinal": 0, "description": "In years."}
    assert await props(empty, "fields:/Titanic/age") == age
    assert (await props(empty, "fields:/Titanic/name"))["type"] == "sc:Text sc:name"
    assert (await props(empty, f"artifacts:/sha256%3A{'cd' * 32}"))["sizeBytes"] == 12
    assert await edges_of(empty, "datasets:/Titanic") == {
        ("Titanic/1.0.0", "DERIVED_FROM", "manifest/unversioned"),
    }
    assert (await props(empty, "datasets:/manifest"))["external"] is True


@pytest.mark.parametrize("of", ["datasets:/clicks/v2", "datasets:/corpus/v1"])
async def test_croissant_that_was_exported_and_read_back_is_exported_the_same(
    family: Graph, exported: Export, empty: Graph, of: str
) -> None:
    first = orjson.loads(await exported(of, "croissant"))
    await croissant(empty, first)
    async with Operation(empty) as op:
        found = await lineage(op, [of], direction=Direction.UPSTREAM)
        done = await export(op, found, FORMATS["croissant"], direction=Direction.UPSTREAM)
    assert orjson.loads(done.data) == first | {"description": orjson.loads(done.data)["description"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"conformsTo": None}, "conformsTo"),
        ({"name": ""}, "name"),
        ({"name": {"en": "x"}}, "name"),
        ({"distribution": ["a.csv"]}, "distribution[0]"),
        ({"distribution": [{"name": "a", "sha256": "xyz"}]}, "distribution[0].sha256"),
        ({"recordSet": [{"field": [{"name": "ok"}, {}]}]}, "recordSet[0].field[1].@id"),
        ({"datePublished": "yesterday"}, "datePublished"),
        ({"isBasedOn": [{}]}, "isBasedOn[0]"),
    ],
)
async def test_croissant_that_is_wrong_is_named_by_its_place_and_not_written(
    empty: Graph, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(LinealError) as caught:
        await croissant(empty, TITANIC | change)
    assert caught.value.field == field, caught.value.message
    async with Operation(empty) as op:
        assert not (await (await op.snapshot()).find("Dataset")).items


# ── Model cards ───────────────────────────────────────────────────────────────────────────────────

CARD = """---
license: other
license_name: gemma
library_name: transformers
pipeline_tag: text-ranking
base_model: org/base
base_model_relation: finetune
datasets:
- clicks
language: en
model-index:
- name: tuned
  results:
  - task: {type: text-ranking}
    dataset: {type: beir, name: BEIR NQ}
    metrics:
    - {type: ndcg, value: 0.5}
    - {type: mrr, value: 1}
---

# Tuned

It ranks.
"""


async def test_a_card_is_a_version_with_its_base_its_data_and_its_results(empty: Graph) -> None:
    done = await card(empty, CARD)
    assert done.notes == ["Left out: language."]
    version = await props(empty, "models:/tuned/1")
    assert (version["license"], version["frameworks"]) == ("gemma", ["transformers"])
    assert version["description"] == "# Tuned\n\nIt ranks."
    assert (await props(empty, "models:/tuned"))["task"] == "text-ranking"
    assert await edges_of(empty, "models:/tuned/1") == {
        ("tuned/1", "DERIVED_FROM finetune", "org/base/1"),
        ("tuned/1", "TRAINED_ON", "clicks/unversioned"),
    }
    async with Operation(empty) as op:
        evaluation = await resolve(op, "evaluations:/tuned 1 on BEIR NQ")
        assert evaluation is not None
        metrics = (await (await op.snapshot()).metrics([evaluation.id]))[evaluation.id]
    assert {m.name: m.value for m in metrics} == {"ndcg": 0.5, "mrr": 1.0}
    assert (await card(empty, CARD)).nodes == done.nodes


async def test_a_base_model_is_the_only_version_it_has_here_and_else_must_be_named(empty: Graph) -> None:
    async with Operation(empty) as op:
        await record_lineage(op, nodes=[{"address": "models:/org%2Fbase"}, {"address": "models:/org%2Fbase/7"}])
    await card(empty, CARD)
    assert ("tuned/1", "DERIVED_FROM finetune", "org/base/7") in await edges_of(empty, "models:/tuned/1")
    async with Operation(empty) as op:
        await record_lineage(op, nodes=[{"address": "models:/org%2Fbase/8"}])
    with pytest.raises(LinealError) as caught:
        await card(empty, CARD, "models:/other/1")
    assert caught.value.field == "base_model[0]"
    assert "'org/base' has several versions here" in caught.value.message
    await card(empty, CARD.replace("org/base", "models:/org%2Fbase/8"), "models:/other/1")
    assert ("other/1", "DERIVED_FROM finetune", "org/base/8") in await edges_of(empty, "models:/other/1")


async def test_a_card_that_was_exported_is_read_back(family: Graph, exported: Export, empty: Graph) -> None:
    text = (await exported("models:/tuned/1", "model-card", caller=LOCAL)).decode()
    await card(empty, text)
    assert await edges_of(empty, "models:/tuned/1") == {
        ("tuned/1", "DERIVED_FROM finetune", "base/1"),
        ("tuned/1", "TRAINED_ON", "clicks/unversioned"),
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("# No metadata", "file"),
        ("---\na: [\n---\n", "file"),
        ("---\n- a\n---\n", "file"),
        ("---\na: &a [x]\nb: *a\n---\n", "file"),
        ("---\nbase_model: [1]\n---\n", "base_model[0]"),
        ("---\nlicense: [a, b]\n---\n", "license"),
        ("---\nmodel-index:\n- results:\n  - metrics: []\n---\n", "model-index[0].results[0].dataset"),
        (CARD.replace("value: 0.5", "value: high"), "model-index[0].results[0].metrics[0].value"),
        (CARD.replace("org/base", "datasets:/x"), "base_model[0]"),
    ],
)
async def test_a_card_that_is_wrong_is_named_by_its_place_and_not_written(empty: Graph, text: str, field: str) -> None:
    with pytest.raises(LinealError) as caught:
        await card(empty, text)
    assert caught.value.field == field, caught.value.message
    async with Operation(empty) as op:
        assert not (await (await op.snapshot()).find("Model")).items


@pytest.mark.parametrize("version", ["models:/tuned", "models:/tuned@champion", "datasets:/x/1", "tuned"])
async def test_a_card_is_of_a_version_by_its_number(empty: Graph, version: str) -> None:
    with pytest.raises(LinealError) as caught:
        await card(empty, CARD, version)
    assert caught.value.field == "version"
