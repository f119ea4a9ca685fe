"""Mutations as clients send them: inputs, payloads, errors. What they do is tested with the use cases."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLObjectType

from graph.port import Graph
from schema.sdl import build_schema
from tests.schema.conftest import Asked

CREATE_VERSION = """
mutation ($input: CreateModelVersionInput!) {
  createModelVersion(input: $input) {
    version {
      address state frameworks parameterCount releasedAt stage aliases
      model { address }
      params { name value }
      metrics { name value step }
      trainedOn { edges { discriminator node { address dataset { name } } } }
      derivedFrom { edges { discriminator node { address } } }
      builtFrom { nodes { repository commit } }
      artifacts { edges { discriminator node { uri sizeBytes } } }
    }
  }
}
"""

RECORD_RUN = """
mutation ($input: RecordRunInput!) {
  recordRun(input: $input) {
    run {
      address state startedAt endedAt
      experiment { name } pipeline { name }
      reads { edges { discriminator node { address } } }
      datasetVersions { nodes { address } }
    }
  }
}
"""


@pytest.fixture
def write(graph: Graph) -> Asked:
    """Sends documents to an empty store of either kind."""
    return Asked(graph)


async def test_create_model_version_takes_the_whole_story_and_answers_with_it(write: Asked) -> None:
    await write('mutation { createModelVersion(input: {model: "models:/base", createModel: true}) { version { id } } }')
    answer = await write(
        CREATE_VERSION,
        input={
            "model": "models:/bert",
            "createModel": True,
            "frameworks": ["PyTorch"],
            "parameterCount": "110000000",
            "releasedAt": "2026-01-31T09:00:00+01:00",
            "inputs": [{"dataset": "datasets:/nq", "role": "train", "create": True}],
            "parents": [{"version": "models:/base/1", "relation": "finetune"}],
            "code": {"repository": "git", "commit": "abc"},
            "params": [{"name": "lr", "value": "0.1"}],
            "metrics": [{"name": "f1", "value": "NaN", "step": 3}],
            "aliases": ["champion"],
            "stage": "Production",
            "artifacts": [{"name": "weights", "uri": "s3://w", "sizeBytes": "5000000000"}],
        },
    )
    assert answer["createModelVersion"]["version"] == {
        "address": "models:/bert/1",
        "state": "READY",
        "frameworks": ["PyTorch"],
        "parameterCount": "110000000",
        "releasedAt": "2026-01-31T08:00:00.000000Z",
        "stage": "Production",
        "aliases": ["champion"],
        "model": {"address": "models:/bert"},
        "params": [{"name": "lr", "value": "0.1"}],
        "metrics": [{"name": "f1", "value": "NaN", "step": "3"}],
        "trainedOn": {
            "edges": [
                {"discriminator": "train", "node": {"address": "datasets:/nq/unversioned", "dataset": {"name": "nq"}}}
            ]
        },
        "derivedFrom": {"edges": [{"discriminator": "finetune", "node": {"address": "models:/base/1"}}]},
        "builtFrom": {"nodes": [{"repository": "git", "commit": "abc"}]},
        "artifacts": {"edges": [{"discriminator": "weights", "node": {"uri": "s3://w", "sizeBytes": "5000000000"}}]},
    }


async def test_record_run_takes_the_whole_story_and_answers_with_it(write: Asked) -> None:
    answer = await write(
        RECORD_RUN,
        input={
            "name": "train",
            "experiment": "experiments:/e",
            "createExperiment": True,
            "pipeline": "pipelines:/p",
            "createPipeline": True,
            "startedAt": "2026-01-31T08:00:00Z",
            "endedAt": "2026-01-31T09:00:00Z",
            "inputs": [{"address": "datasets:/raw/v1", "role": "train", "create": True}],
            "outputs": [{"dataset": "datasets:/clean/v1", "create": True}],
        },
    )
    assert answer["recordRun"]["run"] == {
        "address": "runs:/train",
        "state": "FINISHED",
        "startedAt": "2026-01-31T08:00:00.000000Z",
        "endedAt": "2026-01-31T09:00:00.000000Z",
        "experiment": {"name": "e"},
        "pipeline": {"name": "p"},
        "reads": {"edges": [{"discriminator": "train", "node": {"address": "datasets:/raw/v1"}}]},
        "datasetVersions": {"nodes": [{"address": "datasets:/clean/v1"}]},
    }


async def test_what_is_not_given_stays_and_null_takes_away(write: Asked) -> None:
    update = "mutation ($i: UpdateModelInput!) { updateModel(input: $i) { model { task description revision } } }"
    await write('mutation { registerModel(input: {name: "a", task: "t", description: "d"}) { model { id } } }')
    stays = await write(update, i={"model": "models:/a", "description": "e"})
    assert stays["updateModel"]["model"] == {"task": "t", "description": "e", "revision": 2}
    gone = await write(update, i={"model": "models:/a", "task": None, "revision": 2})
    assert gone["updateModel"]["model"] == {"task": None, "description": "e", "revision": 3}
    refusal = await write.refused(update, i={"model": "models:/a", "task": "x", "revision": 2})
    assert (refusal["code"], refusal["field"], refusal["expected"], refusal["actual"]) == ("CONFLICT", "revision", 2, 3)


async def test_a_deployment_keeps_its_place_unless_it_is_taken_away(write: Asked) -> None:
    update = """mutation ($i: UpdateDeploymentInput!) {
      updateDeployment(input: $i) { deployment { state environment { name } serves { nodes { address } } } } }"""
    await write('mutation { createModelVersion(input: {model: "models:/a", createModel: true}) { version { id } } }')
    await write(
        """mutation { recordDeployment(input: {
          name: "d", environment: "environments:/p", serves: [{version: "models:/a/1"}]
        }) { deployment { id } } }"""
    )
    kept = await write(update, i={"deployment": "deployments:/d", "state": "UP"})
    assert kept["updateDeployment"]["deployment"] == {
        "state": "UP",
        "environment": {"name": "p"},
        "serves": {"nodes": [{"address": "models:/a/1"}]},
    }
    gone = await write(update, i={"deployment": "deployments:/d", "environment": None, "serves": None})
    assert gone["updateDeployment"]["deployment"] == {"state": "UP", "environment": None, "serves": {"nodes": []}}


async def test_a_refusal_has_a_code_and_names_the_place_in_the_input(write: Asked) -> None:
    refusal = await write.refused(
        CREATE_VERSION, input={"model": "models:/a", "createModel": True, "inputs": [{"dataset": "datasets:/absent"}]}
    )
    assert (refusal["code"], refusal["field"]) == ("NOT_FOUND", "inputs[0].dataset")
    assert (await write("{ models { totalCount } }"))["models"]["totalCount"] == 0


async def test_an_idempotency_key_gives_the_first_answer_again(write: Asked) -> None:
    document = """mutation ($name: String!) {
      registerModel(input: {name: $name, idempotencyKey: "k"}) { model { id } } }"""
    first = await write(document, name="a")
    assert await write(document, name="a") == first
    refusal = await write.refused(document, name="b")
    assert (refusal["code"], refusal["field"]) == ("CONFLICT", "idempotencyKey")


async def test_each_mutation_of_a_document_reads_after_its_own_write(write: Asked) -> None:
    answer = await write(
        """mutation {
          registerModel(input: {name: "a"}) { model { versions { totalCount } } }
          first: createModelVersion(input: {model: "models:/a"}) { version { model { versions { totalCount } } } }
          second: createModelVersion(input: {model: "models:/a"}) { version { model { versions { totalCount } } } }
          renameModel(input: {model: "models:/a", name: "b"}) { model { address versions { nodes { address } } } }
          deleteModel(input: {model: "models:/b"}) { deletedId parts }
        }"""
    )
    assert answer["registerModel"]["model"]["versions"]["totalCount"] == 0
    assert answer["first"]["version"]["model"]["versions"]["totalCount"] == 1
    assert answer["second"]["version"]["model"]["versions"]["totalCount"] == 2
    versions = answer["renameModel"]["model"]["versions"]["nodes"]
    assert sorted(v["address"] for v in versions) == ["models:/b/1", "models:/b/2"]
    assert answer["deleteModel"]["parts"] == 2
    assert answer["deleteModel"]["deletedId"].startswith("mo_")


async def test_record_lineage_takes_nodes_of_all_kinds(write: Asked) -> None:
    document = """mutation ($i: RecordLineageInput!) {
      recordLineage(input: $i) { nodes { __typename address external ... on ModelVersion { releasedAt } } } }"""
    given: dict[str, Any] = {
        "nodes": [
            {"address": "models:/a", "external": True},
            {"address": "models:/a/2", "properties": {"releasedAt": "2026-01-31T08:00:00Z", "license": "MIT"}},
            {"address": "datasets:/nq", "tags": [{"name": "a", "value": "b"}]},
        ],
        "edges": [{"from": "models:/a/2", "kind": "TRAINED_ON", "to": "datasets:/nq", "discriminator": "train"}],
    }
    answer = await write(document, i=given)
    assert answer["recordLineage"]["nodes"] == [
        {"__typename": "Model", "address": "models:/a", "external": True},
        {
            "__typename": "ModelVersion",
            "address": "models:/a/2",
            "external": False,
            "releasedAt": "2026-01-31T08:00:00.000000Z",
        },
        {"__typename": "Dataset", "address": "datasets:/nq", "external": False},
    ]
    given["nodes"][1]["properties"]["releasedAt"] = "yesterday"
    refusal = await write.refused(document, i=given)
    assert (refusal["code"], refusal["field"]) == ("INVALID_ARGUMENT", "nodes[1].properties.releasedAt")


async def test_the_rest_of_the_nouns_in_one_document(write: Asked) -> None:
    answer = await write(
        """mutation {
          createWorkspace(input: {name: "vision"}) { workspace { name } }
          registerDataset(input: {name: "d", workspace: "vision"}) { dataset { address } }
          registerDatasetVersion(input: {dataset: "datasets:/vision:d", name: "v1", rowCount: 5})
            { version { rowCount } }
          registerFields(input: {dataset: "datasets:/vision:d", fields: [{name: "b", type: "int"}, {name: "a"}]})
            { fields { name type ordinal } }
          createExperiment(input: {name: "e"}) { experiment { address } }
          createPipeline(input: {name: "p"}) { pipeline { address } }
          recordRun(input: {name: "r", experiment: "experiments:/e"}) { run { state } }
          logMetrics(input: {run: "runs:/r", metrics: [{name: "loss", value: 1.5}]}) { run { metrics { name value } } }
          logParams(input: {run: "runs:/r", params: [{name: "lr", value: "1"}]}) { run { params { name value } } }
          updateRun(input: {run: "runs:/r", state: "FINISHED"}) { run { state } }
          createModelVersion(input: {model: "models:/a", createModel: true}) { version { number } }
          recordEvaluation(input: {version: "models:/a/1", name: "v"}) { evaluation { address } }
          setAlias(input: {model: "models:/a", name: "x", version: "models:/a/1"}) { version { aliases } }
          setStage(input: {version: "models:/a/1", stage: "Staging"}) { version { stage } }
          unstage: setStage(input: {version: "models:/a@x", stage: null}) { version { stage } }
          deleteAlias(input: {model: "models:/a", name: "x"}) { model { aliases { totalCount } } }
          setTags(input: {node: "models:/a", tags: [{name: "t", value: "v"}]}) { node { tags { name value } } }
          deleteTags(input: {node: "models:/a", names: ["t"]}) { node { tags { name } } }
          setOwners(input: {node: "models:/a", owners: ["teams:/x"], create: true})
            { node { owners { nodes { name } } } }
          supersede(input: {node: "models:/a", by: null}) { node { name } }
        }"""
    )
    assert answer["createWorkspace"]["workspace"]["name"] == "vision"
    assert answer["registerDataset"]["dataset"]["address"] == "datasets:/vision:d"
    assert answer["registerDatasetVersion"]["version"]["rowCount"] == "5"
    assert answer["registerFields"]["fields"] == [
        {"name": "b", "type": "int", "ordinal": 0},
        {"name": "a", "type": None, "ordinal": 1},
    ]
    assert answer["recordRun"]["run"]["state"] == "RUNNING"
    assert answer["logMetrics"]["run"]["metrics"] == [{"name": "loss", "value": 1.5}]
    assert answer["logParams"]["run"]["params"] == [{"name": "lr", "value": "1"}]
    assert answer["updateRun"]["run"]["state"] == "FINISHED"
    assert answer["setAlias"]["version"]["aliases"] == ["x"]
    assert answer["setStage"]["version"]["stage"] == "Staging"
    assert answer["unstage"]["version"]["stage"] is None
    assert answer["deleteAlias"]["model"]["aliases"]["totalCount"] == 0
    assert answer["setTags"]["node"]["tags"] == [{"name": "t", "value": "v"}]
    assert answer["deleteTags"]["node"]["tags"] == []
    assert answer["setOwners"]["node"]["owners"]["nodes"] == [{"name": "x"}]


def test_every_mutation_takes_one_input_and_answers_with_a_payload_of_its_own() -> None:
    mutation = build_schema()._schema.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        own = name[0].upper() + name[1:]
        assert list(field.args) == ["input"], name
        assert str(field.args["input"].type) == f"{own}Input!"
        assert isinstance(field.type, GraphQLObjectType)
        assert field.type.name == f"{own}Payload"
