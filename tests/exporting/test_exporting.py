"""Each form is what its standard says, has all of the lineage, and says what is not in it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from prov.model import ProvDocument
from spdx_python_model.bindings import v3_0_1 as spdx3

from graph import ontology
from graph.address import parse
from graph.port import Direction, Graph, NewNode, Update
from lineal.errors import InvalidArgument
from resolvers.exporting.exporting import FORMATS, export
from resolvers.exporting.licences import expression
from resolvers.exporting.spdx import COMPLETE
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.writing.lifecycle import set_owners
from tests import building
from tests.environments import run
from tests.exporting.conftest import ANN, HOSTILE, LOCAL, SHA256, Export
from tests.mlcroissant import mlcroissant_python

Read = Callable[..., Awaitable[Any]]
TUNED = "models:/tuned/1"


def test_every_edge_has_a_prov_term_that_may_join_its_ends() -> None:
    for edge in ontology.EDGE_KINDS.values():
        for pair in edge.ends:
            source, target = (ontology.NODE_KINDS[kind] for kind in pair)
            term = ontology.prov_term(edge, source, target)
            assert term == ontology.PROV_ANY or ontology.PROV_ENDS[term] == (source.prov, target.prov)
    terms = {
        name: ontology.prov_term(e, *(ontology.NODE_KINDS[k] for k in e.ends[0])) for name, e in _walkable().items()
    }
    assert terms == {
        "READ": "used",
        "PRODUCED_BY": "wasGeneratedBy",
        "DERIVED_FROM": "wasDerivedFrom",
        "TRAINED_ON": "wasInfluencedBy",
        "USES": "wasInfluencedBy",
        "BUILT_FROM": "used",
        "EVALUATES": "wasDerivedFrom",
        "EVALUATED_ON": "wasDerivedFrom",
        "SERVES": "used",
    }


def _walkable() -> dict[str, ontology.EdgeKind]:
    return {name: ontology.EDGE_KINDS[name] for name in ontology.WALKABLE_EDGES}


# ── PROV ──────────────────────────────────────────────────────────────────────────────────────────


async def test_prov_json_read_by_prov_has_every_node_and_edge(exported: Export) -> None:
    data = await exported("deployments:/live", "prov-json", caller=LOCAL)
    document = ProvDocument.deserialize(content=data.decode(), format="json")
    named, edges = {}, set()
    for record in document.get_records():
        said = {str(name): value for name, value in record.attributes}
        whole = str(said.get("prov:type")) in {"lineal:Model", "lineal:Dataset"}
        if record.is_element() and "lineal:address" in said and not whole:
            named[str(record.identifier)] = (said["lineal:address"], type(record).__name__)
    for record in document.get_records():
        said = {str(name): value for name, value in record.attributes}
        if record.is_relation() and "lineal:since" in said:
            source, target = (str(value) for _, value in record.formal_attributes[:2])
            kind, how = str(said["prov:type"]).removeprefix("lineal:"), said.get("lineal:discriminator", "")
            edges.add((named[source][0], kind, named[target][0], how, type(record).__name__))
    assert set(named.values()) == {
        ("deployments:/live", "ProvActivity"),
        (TUNED, "ProvEntity"),
        ("models:/base/1", "ProvEntity"),
        ("models:/secret:basalt/1", "ProvEntity"),
        ("runs:/training", "ProvActivity"),
        ("datasets:/clicks/v2", "ProvEntity"),
        ("datasets:/corpus/v1", "ProvEntity"),
        ("code:/repo%40abc", "ProvEntity"),
    }
    assert edges == {
        ("deployments:/live", "SERVES", TUNED, "", "ProvUsage"),
        (TUNED, "PRODUCED_BY", "runs:/training", "", "ProvGeneration"),
        (TUNED, "DERIVED_FROM", "models:/base/1", "finetune", "ProvDerivation"),
        ("models:/base/1", "DERIVED_FROM", "models:/secret:basalt/1", "merge", "ProvDerivation"),
        ("models:/base/1", "TRAINED_ON", "datasets:/corpus/v1", "train", "ProvInfluence"),
        ("runs:/training", "READ", "datasets:/clicks/v2", "train", "ProvUsage"),
        ("runs:/training", "BUILT_FROM", "code:/repo%40abc", "", "ProvUsage"),
    }


async def test_prov_n_names_things_with_their_namespace(exported: Export) -> None:
    text = (await exported(TUNED, "prov-n", caller=LOCAL)).decode()
    assert "prefix node <urn:lineal:node:>" in text
    assert "activity(node:ru_" in text
    assert "1970-01-01T00:00:01" in text


# ── Bills of materials ────────────────────────────────────────────────────────────────────────────


async def test_cyclonedx_is_right_by_its_strict_schema(exported: Export) -> None:
    for of, upstream in ((TUNED, True), ("datasets:/clicks", False), ("deployments:/live", True)):
        bom = (await exported(of, "cyclonedx", upstream=upstream)).decode()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    wrong = bom.replace('"machine-learning-model"', '"a model"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(wrong) is not None


async def test_a_bill_names_the_data_of_the_run_the_base_and_what_was_measured(read: Read) -> None:
    bom = await read(TUNED, "cyclonedx", caller=LOCAL)
    by_name = {each["name"]: each for each in bom["components"]}
    tuned, refs = by_name["tuned"], {each["bom-ref"]: each["name"] for each in bom["components"]}
    card = tuned["modelCard"]
    assert [refs[each["ref"]] for each in card["modelParameters"]["datasets"]] == ["clicks"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "auc", "value": "0.91", "slice": "clicks"}]
    assert [each["name"] for each in tuned["pedigree"]["ancestors"]] == ["base"]
    assert "architectureFamily" not in card["modelParameters"]
    said = [(each["name"], each["value"]) for each in tuned["properties"]]
    assert [value for name, value in said if name == "lineal:framework"] == ["PyTorch", "Transformers"]
    assert ("lineal:parameterCount", "560000000") in said
    assert by_name["corpus"]["hashes"] == [{"alg": "SHA-256", "content": SHA256}]
    assert by_name["base"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    (needs,) = [each["dependsOn"] for each in bom["dependencies"] if each["ref"] == tuned["bom-ref"]]
    assert {refs[each] for each in needs} == {"base", "clicks", "repo@abc"}
    assert [each["aggregate"] for each in bom["compositions"]] == ["complete"]
    (workflow,) = bom["formulation"][0]["workflows"]
    assert workflow["timeStart"] == "1970-01-01T00:00:01Z"


async def test_spdx_is_read_by_its_bindings(exported: Export) -> None:
    # The bindings let every reference be a text, too: what is not found stays one.
    spdx: Any = spdx3
    objects = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(await exported("deployments:/live", "spdx", caller=LOCAL)), objects)
    (document,) = objects.foreach_type(spdx.SpdxDocument)
    assert {each.rsplit("/", 1)[1] for each in document.profileConformance} >= {"ai", "dataset", "build"}
    (tuned,) = [each for each in objects.foreach_type(spdx.ai_AIPackage) if each.name == "tuned"]
    assert [(each.key, each.value) for each in tuned.ai_hyperparameter] == [("lr", "3e-5")]
    related = {
        (each.from_.name, each.relationshipType.rsplit("/", 1)[1], other if isinstance(other, str) else other.name)
        for each in objects.foreach_type(spdx.Relationship)
        for other in each.to
    }
    assert related >= {
        ("live", "dependsOn", "tuned"),
        ("tuned", "descendantOf", "base"),
        ("base", "trainedOn", "corpus"),
        ("training", "hasInput", "clicks"),
        ("training", "hasOutput", "tuned"),
        ("tuned", "hasConcludedLicense", spdx.expandedlicensing_IndividualLicensingInfo.NoAssertionLicense),
    }
    assert not objects.link()


async def test_spdx_tells_what_the_profiles_ask_for_as_far_as_it_is_known(read: Read, family: Graph) -> None:
    async with Operation(family) as op:
        await set_owners(op, address="models:/tuned", owners=["principals:/corp%3Aann"], create=True)
        await set_owners(op, address="datasets:/clicks", owners=["principals:/corp%3Aann"])
    graph = (await read(TUNED, "spdx", caller=LOCAL))["@graph"]
    by_name = {each["name"]: each for each in graph if "name" in each}
    tuned, base, clicks, ann = (by_name[name] for name in ("tuned", "base", "clicks", "corp:ann"))
    assert tuned["suppliedBy"] == ann["spdxId"]
    # It was built when the run that made it ended, not when it was registered, and was never released.
    assert (tuned["builtTime"], tuned.get("releaseTime")) == ("1970-01-01T00:00:09Z", None)
    assert tuned["ai_informationAboutApplication"] == "Libraries that load it: PyTorch, Transformers."
    assert "ai_typeOfModel" not in tuned
    assert base["releaseTime"] == "2024-05-01T00:00:00Z"
    assert clicks["software_downloadLocation"] == "https://data.example.org/clicks.parquet"
    assert clicks["originatedBy"] == [ann["spdxId"]]
    (document,) = [each for each in graph if each["type"] == "SpdxDocument"]
    lacking = "Of 3 ai_AIPackage nobody told suppliedBy of 2, downloadLocation of 3, releaseTime of 2."
    assert lacking in document["comment"]


async def test_spdx_tells_one_declared_and_one_concluded_licence_of_each_model(read: Read) -> None:
    graph = (await read(TUNED, "spdx", caller=LOCAL))["@graph"]
    models = sorted(each["spdxId"] for each in graph if each["type"] == "ai_AIPackage")
    for type_ in ("hasDeclaredLicense", "hasConcludedLicense"):
        assert sorted(each["from"] for each in graph if each.get("relationshipType") == type_) == models


async def test_what_was_walked_downstream_is_not_called_complete(read: Read) -> None:
    bom = await read("datasets:/clicks", "cyclonedx", upstream=False)
    # The model came from a base, too, which is not downstream of the data.
    assert [each["aggregate"] for each in bom["compositions"]] == ["incomplete"]
    graph = (await read("datasets:/clicks", "spdx", upstream=False))["@graph"]
    edges = [each for each in graph if each.get("spdxId", "").startswith("urn:lineal:edge:")]
    assert {each["completeness"] for each in edges} == {"incomplete", "noAssertion"}


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("mit", "MIT"),
        ("Apache-2.0 or mit", "Apache-2.0 OR MIT"),
        ("my own", None),
        ("MIT AND ISC OR MIT", None),
        ("", None),
    ],
)
def test_only_what_is_one_becomes_an_spdx_expression(words: str, known: str | None) -> None:
    assert expression(words) == known


# ── Cards ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_model_card_has_the_metadata_that_the_hub_reads(exported: Export) -> None:
    text = (await exported(TUNED, "model-card", caller=LOCAL)).decode()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "transformers",
        "base_model": "base",
        "base_model_relation": "finetune",
        "datasets": ["clicks"],
        "metrics": ["auc"],
        "model-index": [
            {
                "name": "tuned",
                "results": [
                    {
                        "task": {"type": "other"},
                        "dataset": {"type": "clicks", "name": "clicks"},
                        "metrics": [{"type": "auc", "value": 0.91, "name": "auc"}],
                    }
                ],
            }
        ],
    }
    assert "## Made by\n\n- training (`runs:/training`)\n- repo@abc (`code:/repo%40abc`)\n" in body
    assert "## Further back in its lineage" in body
    assert "- `lr`: `3e-5`" in body


async def test_forms_of_one_thing_refuse_others_by_name(exported: Export) -> None:
    with pytest.raises(InvalidArgument, match="of: a model card is of one ModelVersion, and there is no ModelVersion"):
        await exported("datasets:/corpus", "model-card")
    with pytest.raises(InvalidArgument, match="direction: a model card"):
        await exported(TUNED, "model-card", upstream=False)
    with pytest.raises(InvalidArgument, match="of: Croissant is of one DatasetVersion"):
        await exported(TUNED, "croissant")
    with pytest.raises(InvalidArgument, match="format: must be one of prov-json, prov-n"):
        await exported(TUNED, "pdf")


@pytest.mark.services
async def test_croissant_is_right_by_mlcroissant(exported: Export, tmp_path: Path) -> None:
    python = mlcroissant_python()
    script = "import sys, json, mlcroissant as m; print(json.dumps(m.Dataset(jsonld=sys.argv[1]).metadata.to_json()))"
    for of in ("datasets:/clicks/v2", "datasets:/corpus/v1"):
        path = tmp_path / "croissant.json"
        path.write_bytes(await exported(of, "croissant"))
        found = json.loads(run(python, script, path, cwd=tmp_path).splitlines()[-1])
        assert found["conformsTo"] == "http://mlcommons.org/croissant/1.0"


async def test_croissant_has_columns_and_checksums(read: Read) -> None:
    clicks = await read("datasets:/clicks/v2", "croissant")
    (file,) = clicks["distribution"]
    assert (file["sha256"], file["contentUrl"]) == (SHA256, clicks["url"])
    (field,) = clicks["recordSet"][0]["field"]
    assert field["source"] == {"fileObject": {"@id": file["@id"]}, "extract": {"column": "when"}}
    assert (field["name"], field["dataType"]) == ("when", "sc:Date")
    assert (clicks["version"], clicks["url"]) == ("v2", "https://data.example.org/clicks.parquet")


# ── Pictures ──────────────────────────────────────────────────────────────────────────────────────


async def test_graphml_read_by_networkx_is_the_same_graph(exported: Export) -> None:
    data = await exported("deployments:/live", "graphml", caller=LOCAL)
    graph = nx.parse_graphml(data.decode(), force_multigraph=True)
    named = {id: each["address"] for id, each in graph.nodes(data=True)}
    assert {(named[a], each["kind"], named[b]) for a, b, each in graph.edges(data=True)} == {
        ("deployments:/live", "SERVES", TUNED),
        (TUNED, "PRODUCED_BY", "runs:/training"),
        (TUNED, "DERIVED_FROM", "models:/base/1"),
        ("models:/base/1", "DERIVED_FROM", "models:/secret:basalt/1"),
        ("models:/base/1", "TRAINED_ON", "datasets:/corpus/v1"),
        ("runs:/training", "READ", "datasets:/clicks/v2"),
        ("runs:/training", "BUILT_FROM", "code:/repo%40abc"),
    }
    assert graph.graph["complete"] is True
    assert b"/>" not in data.partition(b"<graph ")[2], "an empty attribute"


async def test_names_stay_names_in_every_picture(exported: Export) -> None:
    of = "models:/x%22] --> <b>&`#`\\/1"
    graph = nx.parse_graphml((await exported(of, "graphml")).decode())
    assert f"models:/{HOSTILE}/1" in {each["label"] for _, each in graph.nodes(data=True)}
    (line,) = [each for each in (await exported(of, "dot")).decode().splitlines() if "<b>" in each]
    assert 'label="models:/x\\"] --> <b>&`#`\\\\/1"' in line
    (line,) = [each for each in (await exported(of, "mermaid")).decode().splitlines() if "models:/x" in each]
    assert line.split("[", 1)[1] == '"models:/x#34;] --#62; #60;b#62;#38;#96;#35;#96;#92;/1"]'


# ── Honesty ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "croissant"])
async def test_what_may_not_be_read_is_said_and_not_told(exported: Export, name: str) -> None:
    text = (await exported(TUNED, name)).decode()
    assert "restricted" in text
    for secret in ("basalt", "secret"):
        assert secret not in text


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in {"croissant", "openlineage"}])
async def test_what_was_cut_off_is_said(exported: Export, name: str) -> None:
    assert (
        "ot complete: 2 of the walked nodes have more behind them." in (await exported(TUNED, name, depth=1)).decode()
    )


@pytest.mark.parametrize(
    ("only", "note"),
    [
        ({"edges": ["DERIVED_FROM"]}, "Only edges of the kinds asked for were walked."),
        (
            {"kinds": ["ModelVersion", "DatasetVersion"]},
            "Only nodes of the kinds asked for are here, and edges between two of these.",
        ),
    ],
    ids=["edges", "kinds"],
)
@pytest.mark.parametrize("name", FORMATS)
async def test_what_was_not_asked_for_is_said_and_nothing_is_called_complete(
    family: Graph, name: str, only: dict[str, Any], note: str
) -> None:
    of = "datasets:/clicks/v2" if name == "croissant" else TUNED
    async with Operation(family, caller=ANN) as op:
        found = await lineage(op, [of], direction=Direction.UPSTREAM, **only)
        done = await export(op, found, FORMATS[name], direction=Direction.UPSTREAM)
    assert not done.of.complete
    assert note in done.of.notes
    text = done.data.decode()
    # OpenLineage has no word for it.
    assert note in text or name == "openlineage"
    assert '"aggregate": "complete"' not in text
    assert not re.search(r'"urn:lineal:edge:[^}]*"completeness": "complete"', text)
    assert COMPLETE not in text
    if name in {"prov-json", "prov-n", "cyclonedx"}:
        assert re.search(r"lineal:complete\W+(\w+\W+){0,2}false", text)
    if name == "graphml":
        assert nx.parse_graphml(text).graph["complete"] is False


async def test_all_edges_that_carry_lineage_are_no_fewer_when_they_are_named(exported: Export) -> None:
    named = await exported(TUNED, "spdx", edges=ontology.LINEAGE_EDGES)
    assert "Only edges" not in named.decode()


@pytest.mark.parametrize("name", ["graphml", "prov-json", "prov-n"])
async def test_what_lineal_keeps_to_itself_is_in_no_export(exported: Export, family: Graph, name: str) -> None:
    async with family.snapshot() as snapshot:
        (version,) = await snapshot.resolve([parse("datasets:/corpus/v1")])
    assert version is not None
    await building.update(family, Update(version.id, {"producers": {"a hidden run": [1]}, "rowCount": 7}))
    told = (await exported("datasets:/corpus/v1", name)).decode()
    assert "rowCount" in told
    assert "a hidden run" not in told


async def test_what_needs_another_scope_than_its_kind_is_in_no_export(exported: Export, family: Graph) -> None:
    props = {"verdict": {"figures": {"auc": 0.987}}, "reason": "it is good"}
    (move,) = await building.create(family, NewNode("StageMove", "up", "default", props=props))
    told = (await exported(move.id, "graphml")).decode()
    assert "it is good" in told
    assert "0.987" not in told


async def test_metrics_need_their_scope(exported: Export) -> None:
    blind = ANN.__class__(ANN.name, ANN.scopes - {"metrics:read"}, workspaces=ANN.workspaces)
    text = (await exported(TUNED, "model-card", caller=blind)).decode()
    assert "0.91" not in text
    assert "Metrics are not here: to read them needs the scope metrics:read." in text
