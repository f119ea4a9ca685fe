"""One thing by address, its properties, and its neighbours to any depth."""

from __future__ import annotations

import time

from graph.port import EdgeMatch, Graph, NewEdge, Update
from schema.scalars import iso
from tests import building as b
from tests.schema.conftest import Asked, Story


async def test_the_story_of_a_model_is_one_query(ask: Asked) -> None:
    data = await ask("""{
      model(address: "models:/bert") {
        name task address kind workspace { name } tags { name value } owners { nodes { name __typename } }
        versions {
          nodes {
            number address aliases stage
            params { name value }
            run {
              name state startedAt params { name value } experiment { name } builtFrom { nodes { commit } }
              reads { edges { discriminator node { name dataset { name fields { nodes { name type } } } } } }
            }
            trainedOn { nodes { name } }
            artifacts { edges { discriminator node { name sizeBytes } } }
            derivedFrom { edges { discriminator node { number } } }
            deployments { edges { weight node { name environment { name } } } }
          }
        }
      }
    }""")
    model = data["model"]
    first, second, third = model.pop("versions")["nodes"]
    assert model == {
        "name": "bert",
        "task": "retrieval",
        "address": "models:/bert",
        "kind": "MODEL",
        "workspace": {"name": "default"},
        "tags": [{"name": "area", "value": "search"}],
        "owners": {"nodes": [{"name": "search-team", "__typename": "Team"}]},
    }
    assert first["address"] == "models:/bert/1"
    assert first["params"] == [{"name": "lr", "value": "0.2"}]
    assert first["artifacts"]["edges"] == [
        {"discriminator": "model.bin", "node": {"name": "weights", "sizeBytes": "7000000000"}}
    ]
    assert first["run"] == {
        "name": "training-7",
        "state": "FINISHED",
        "startedAt": "1970-01-01T00:00:05.000000Z",
        "params": [{"name": "epochs", "value": "3"}, {"name": "lr", "value": "0.1"}],
        "experiment": {"name": "tuning"},
        "builtFrom": {"nodes": [{"commit": "abc"}]},
        "reads": {
            "edges": [
                {
                    "discriminator": "train",
                    "node": {
                        "name": "v1",
                        "dataset": {"name": "nq", "fields": {"nodes": [{"name": "question", "type": "text"}]}},
                    },
                }
            ]
        },
    }
    assert second["trainedOn"] == {"nodes": [{"name": "v1"}]}
    assert second["run"] is None
    assert third["aliases"] == ["champion"]
    assert third["stage"] == "production"
    assert third["derivedFrom"]["edges"] == [{"discriminator": "finetune", "node": {"number": 1}}]
    assert third["deployments"]["edges"] == [
        {"weight": 0.5, "node": {"name": "search", "environment": {"name": "production"}}}
    ]


async def test_the_evolution_of_a_metric_over_all_versions_is_one_query(ask: Asked) -> None:
    data = await ask("""{
      model(address: "models:/bert") {
        versions(orderBy: {field: NUMBER}) { nodes { number metrics(names: ["auc"]) { value minimum maximum count } } }
      }
    }""")
    assert data["model"]["versions"]["nodes"] == [
        {"number": 1, "metrics": [{"value": 0.7, "minimum": 0.5, "maximum": 0.7, "count": 2}]},
        {"number": 2, "metrics": [{"value": 0.8, "minimum": 0.8, "maximum": 0.8, "count": 1}]},
        {"number": 3, "metrics": [{"value": "NaN", "minimum": "NaN", "maximum": "NaN", "count": 1}]},
    ]


async def test_nodes_are_found_by_id_in_order_with_null_for_what_is_absent(ask: Asked, story: Story) -> None:
    data = await ask(
        "query($id: ID!, $ids: [ID!]!) { node(id: $id) { name __typename } nodes(ids: $ids) { id } }",
        id=story.model.id,
        ids=[story.run.id, "nothing", story.model.id],
    )
    assert data["node"] == {"name": "bert", "__typename": "Model"}
    assert data["nodes"] == [{"id": story.run.id}, None, {"id": story.model.id}]


async def test_an_address_of_nothing_is_null(ask: Asked) -> None:
    assert await ask('{ model(address: "models:/none") { id } run(address: "runs:/none") { id } }') == {
        "model": None,
        "run": None,
    }


async def test_an_address_of_another_kind_is_refused_and_the_argument_named(ask: Asked) -> None:
    error = await ask.refused('{ model(address: "datasets:/nq") { id } }')
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "address")
    assert "Dataset" in error["message"]


async def test_a_data_set_without_a_version_is_no_data_set_version(ask: Asked) -> None:
    error = await ask.refused('{ datasetVersion(address: "datasets:/nq") { id } }')
    assert (error["code"], error["field"]) == ("INVALID_ARGUMENT", "address")


async def test_an_alias_is_looked_up_as_of_a_time(ask: Asked, sqlite_graph: Graph, story: Story) -> None:
    before = time.time_ns() // 1_000
    await b.unlink(sqlite_graph, EdgeMatch("ALIAS", story.model.id, discriminator="champion"))
    await b.link(sqlite_graph, NewEdge("ALIAS", story.model.id, story.versions[1].id, "champion"))
    data = await ask(
        """query($then: DateTime!) {
          then: modelVersion(address: "models:/bert@champion", asOf: $then) { number }
          now: modelVersion(address: "models:/bert@champion") { number }
          tooEarly: modelVersion(address: "models:/bert/1", asOf: "2000-01-01T00:00:00Z") { number }
        }""",
        then=iso(before),
    )
    assert data == {"then": {"number": 3}, "now": {"number": 2}, "tooEarly": None}


async def test_history_shows_aliases_and_stages_over_time_the_latest_first(
    ask: Asked, sqlite_graph: Graph, story: Story
) -> None:
    await b.unlink(sqlite_graph, EdgeMatch("ALIAS", story.model.id, discriminator="champion"))
    await b.link(sqlite_graph, NewEdge("ALIAS", story.model.id, story.versions[1].id, "champion"))
    whole = '{ model(address: "models:/bert") { history { nodes { kind name version { number } until } } } }'
    moments = (await ask(whole))["model"]["history"]["nodes"]
    shown = [(m["kind"], m["name"], m["version"]["number"], m["until"] is None) for m in moments]
    assert shown == [
        ("ALIAS", "champion", 2, True),
        ("ALIAS", "champion", 3, False),
        ("STAGE", "production", 3, True),
    ]
    named = await ask('{ model(address: "models:/bert") { history(name: "production") { nodes { kind } } } }')
    assert named["model"]["history"]["nodes"] == [{"kind": "STAGE"}]
    version = await ask('{ modelVersion(address: "models:/bert/3") { history { nodes { name version { number } } } } }')
    assert version["modelVersion"]["history"]["nodes"] == [
        {"name": "champion", "version": {"number": 3}},
        {"name": "production", "version": {"number": 3}},
    ]


async def test_pages_of_a_history_join_without_gaps(ask: Asked, sqlite_graph: Graph, story: Story) -> None:
    for number in (1, 2, 1):
        await b.unlink(sqlite_graph, EdgeMatch("ALIAS", story.model.id, discriminator="champion"))
        await b.link(sqlite_graph, NewEdge("ALIAS", story.model.id, story.versions[number].id, "champion"))
    text = """query($first: Int!, $after: String) { model(address: "models:/bert") {
      history(first: $first, after: $after) { nodes { kind since } pageInfo { endCursor hasNextPage } } } }"""
    whole = (await ask(text, first=50))["model"]["history"]["nodes"]
    joined, after = [], None
    while True:
        page = (await ask(text, first=2, after=after))["model"]["history"]
        joined += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert joined == whole
    assert len(whole) == 5


async def test_changes_tell_what_was_done_to_a_node_the_latest_first(
    ask: Asked, sqlite_graph: Graph, story: Story
) -> None:
    await b.update(sqlite_graph, Update(story.run.id, {"state": "FAILED"}))
    await b.sequenced(sqlite_graph)
    text = """query($after: String) { run(address: "runs:/training-7") {
      changes(first: 2, after: $after) { nodes { action by data } pageInfo { endCursor hasNextPage } } } }"""
    page = (await ask(text))["run"]["changes"]
    latest = page["nodes"][0]
    assert (latest["action"], latest["by"]) == ("update", b.BY)
    assert latest["data"]["updated"]["before"] == {"state": "FINISHED"}
    assert latest["data"]["updated"]["after"] == {"state": "FAILED"}
    assert page["pageInfo"]["hasNextPage"]
    older = (await ask(text, after=page["pageInfo"]["endCursor"]))["run"]["changes"]
    assert older["nodes"][-1]["action"] == "create"
    assert older["nodes"][-1]["data"] == {"created": True}
    assert not older["pageInfo"]["hasNextPage"]


async def test_a_series_is_read_in_pages(ask: Asked) -> None:
    text = """query($after: String) { modelVersion(address: "models:/bert/1") { metrics { name
      series(first: 1, after: $after) { nodes { value step time } pageInfo { endCursor hasNextPage } } } } }"""
    (metric,) = (await ask(text))["modelVersion"]["metrics"]
    assert metric["series"]["nodes"] == [{"value": 0.5, "step": "1", "time": "1970-01-01T00:00:00.001000Z"}]
    assert metric["series"]["pageInfo"]["hasNextPage"]
    (rest,) = (await ask(text, after=metric["series"]["pageInfo"]["endCursor"]))["modelVersion"]["metrics"]
    assert [point["value"] for point in rest["series"]["nodes"]] == [0.7]
    assert not rest["series"]["pageInfo"]["hasNextPage"]


async def test_search_finds_by_words_and_counts(ask: Asked) -> None:
    data = await ask('{ search(text: "ber", kinds: [MODEL]) { totalCount nodes { name kind } } }')
    assert data["search"] == {"totalCount": 1, "nodes": [{"name": "bert", "kind": "MODEL"}]}


async def test_versions_are_compared_side_by_side_with_own_rows_before_those_of_the_run(ask: Asked) -> None:
    data = await ask("""{ compareVersions(versions: ["models:/bert/1", "models:/bert/2"]) {
      versions { number }
      parameters { name values same }
      metrics { name values { value series { nodes { step } } } same }
      inputs { edge discriminator container { name } values { nodes { name } } same }
      artifacts { name values { digest } same }
    } }""")
    assert data["compareVersions"] == {
        "versions": [{"number": 1}, {"number": 2}],
        "parameters": [
            {"name": "epochs", "values": ["3", None], "same": False},
            {"name": "lr", "values": ["0.2", None], "same": False},
        ],
        "metrics": [
            {
                "name": "auc",
                "values": [
                    {"value": 0.7, "series": {"nodes": [{"step": "1"}, {"step": "2"}]}},
                    {"value": 0.8, "series": {"nodes": [{"step": "1"}]}},
                ],
                "same": False,
            }
        ],
        "inputs": [
            {
                "edge": "READ",
                "discriminator": "train",
                "container": {"name": "nq"},
                "values": [{"nodes": [{"name": "v1"}]}, {"nodes": []}],
                "same": False,
            },
            {
                "edge": "TRAINED_ON",
                "discriminator": "train",
                "container": {"name": "nq"},
                "values": [{"nodes": []}, {"nodes": [{"name": "v1"}]}],
                "same": False,
            },
        ],
        "artifacts": [{"name": "model.bin", "values": [{"digest": "sha256:aa"}, None], "same": False}],
    }


async def test_challengers_are_compared_with_the_champion_on_the_same_data(ask: Asked) -> None:
    for number, auc in ((1, 0.5), (2, 0.75)):
        await ask(
            """mutation($version: ID!, $auc: MetricValue!) { recordEvaluation(input: {
              version: $version, dataset: "datasets:/nq/v1", metrics: [{name: "auc", value: $auc}],
              slices: [{name: "country=DE", metrics: [{name: "auc", value: 0}]}]
            }) { evaluation { slices { name metrics { name value series { nodes { value } } } } } } }""",
            version=f"models:/bert/{number}",
            auc=auc,
        )
    data = await ask("""{ compareVersions(versions: ["models:/bert/1", "models:/bert/2"]) {
      evaluations { dataset { address } metrics {
        name slice same values { name value } deltas { absolute relative }
      } }
    } }""")
    zero = {"absolute": 0.0, "relative": None}
    assert data["compareVersions"]["evaluations"] == [
        {
            "dataset": {"address": "datasets:/nq/v1"},
            "metrics": [
                {
                    "name": "auc",
                    "slice": None,
                    "same": False,
                    "values": [{"name": "auc", "value": 0.5}, {"name": "auc", "value": 0.75}],
                    "deltas": [{"absolute": 0.0, "relative": 0.0}, {"absolute": 0.25, "relative": 0.5}],
                },
                {
                    "name": "auc",
                    "slice": "country=DE",
                    "same": True,
                    "values": [{"name": "auc", "value": 0.0}] * 2,
                    "deltas": [zero, zero],
                },
            ],
        }
    ]
    slices = await ask(
        "{ evaluations(first: 1) { nodes { slices { name metrics { name series { nodes { value } } } } } } }"
    )
    (evaluation,) = slices["evaluations"]["nodes"]
    assert evaluation["slices"] == [
        {"name": "country=DE", "metrics": [{"name": "auc", "series": {"nodes": [{"value": 0.0}]}}]}
    ]


async def test_a_comparison_takes_two_to_twenty_different_versions(ask: Asked) -> None:
    text = "query($versions: [ID!]!) { compareVersions(versions: $versions) { versions { id } } }"
    one = await ask.refused(text, versions=["models:/bert/1"])
    twice = await ask.refused(text, versions=["models:/bert/3", "models:/bert@champion"])
    absent = await ask.refused(text, versions=["models:/bert/1", "models:/bert/9"])
    assert [one["code"], twice["code"], absent["code"]] == ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "NOT_FOUND"]
    assert absent["missing"] == ["models:/bert/9"]
