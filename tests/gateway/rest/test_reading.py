"""What is given: one thing by its address, lists in parts, and the fields that are asked for."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from auth.caller import Caller
from graph.port import Graph, NewNode
from tests import building as b
from tests.gateway.rest.conftest import Client, serving
from tests.schema.conftest import Story, tell


async def test_a_thing_is_given_with_its_plain_fields_and_the_addresses_of_its_neighbours(
    rest: Client, story: Story
) -> None:
    version = await rest.get("/models/bert/versions/1")
    assert version["address"] == "models:/bert/1"
    assert version["number"] == 1
    assert version["params"] == [{"name": "lr", "value": "0.2"}]
    assert version["metrics"][0]["value"] == 0.7
    assert version["model"] == {"id": story.model.id, "kind": "MODEL", "address": "models:/bert"}
    assert version["run"]["address"] == "runs:/training-7"
    assert "trainedOn" not in version
    assert "upstream" not in version


@pytest.mark.parametrize(
    "path",
    [
        "/models/bert",
        "/models/default:bert",
        "/models/models%3A%2Fbert",
        "/models/models%3A%2Fdefault%3Abert",
        "/models/%62ert",
    ],
)
async def test_one_thing_has_many_addresses(rest: Client, story: Story, path: str) -> None:
    assert (await rest.get(path))["id"] == story.model.id


async def test_a_version_is_found_by_number_alias_address_and_id(rest: Client, story: Story) -> None:
    third = story.versions[2].id
    for path in (
        "/models/bert/versions/3",
        "/models/default:bert/versions/3",
        "/models/bert/aliases/champion",
        "/model-versions/bert%2F3",
        "/model-versions/bert@champion",
        "/model-versions/models%3A%2Fbert%2F3",
        f"/model-versions/{third}",
    ):
        assert (await rest.get(path))["id"] == third, path
    assert (await rest.get("/datasets/nq/versions/v2"))["id"] == story.data[1].id
    assert (await rest.get("/datasets/nq/fields/question"))["name"] == "question"
    assert (await rest.get(f"/nodes/{third}"))["kind"] == "MODEL_VERSION"


async def test_names_of_odd_letters_are_percent_encoded(rest: Client) -> None:
    await b.model(rest.graph, "BAAI/bge-m3", versions=1)
    await b.model(rest.graph, "100%:a@b")
    for path in ("/models/BAAI%2Fbge-m3", "/models/BAAI%252Fbge-m3", "/models/models%3A%2FBAAI%252Fbge-m3"):
        assert (await rest.get(path))["name"] == "BAAI/bge-m3", path
    assert (await rest.get("/models/BAAI%2Fbge-m3/versions/1"))["address"] == "models:/BAAI%2Fbge-m3/1"
    assert (await rest.get("/models/100%2525%253Aa@b"))["name"] == "100%:a@b"


async def test_a_thing_of_everybody_may_have_colons_in_its_name(rest: Client) -> None:
    await b.create(rest.graph, NewNode("Principal", "corp:248289761001", ""))
    assert (await rest.get("/principals/corp:248289761001"))["name"] == "corp:248289761001"


async def test_a_part_of_a_container_that_is_named_by_its_id_is_found_elsewhere(rest: Client, story: Story) -> None:
    problem = await rest.refused("GET", f"/models/{story.model.id}/versions/1", 400)
    assert problem["field"] == "model"


async def test_absent_things_are_not_found(rest: Client) -> None:
    for path in (
        "/models/nope",
        "/models/bert/versions/9",
        "/models/nope/versions",
        "/nodes/mo_00000000000000000000000000",
    ):
        assert (await rest.refused("GET", path, 404))["code"] == "NOT_FOUND"
    for path in ("/nope", "/models/bert/nope", "/models/", "/models//versions", "/models/{}", "/{}", ""):
        assert (await rest.refused("GET", f"/{path.lstrip('/')}", 404))["code"] == "NOT_FOUND"


async def test_a_list_comes_in_parts_and_says_where_the_next_is(rest: Client) -> None:
    seen, path = [], "/models/bert/versions?limit=2&order=-number&fields=number&total=true"
    while path:
        answer = await rest.send("GET", path)
        page = answer.json()
        assert page["total"] == 3
        seen += [item["number"] for item in page["items"]]
        link = answer.links.get("next", {}).get("url", "")
        assert ("cursor=" + (page["nextCursor"] or "") in link) == bool(link)
        path = link.partition("/api/v1")[2]
    assert seen == [3, 2, 1]


async def test_neighbours_are_listed_with_the_edge_that_led_to_them(rest: Client) -> None:
    (champion,) = (await rest.get("/models/bert/aliases"))["items"]
    assert champion["number"] == 3
    assert champion["edge"]["discriminator"] == "champion"
    assert champion["edge"]["until"] is None
    (deployment,) = (await rest.get("/model-versions/bert@champion/deployments"))["items"]
    assert deployment["edge"]["weight"] == 0.5


async def test_lists_are_filtered_by_plain_parameters(rest: Client) -> None:
    async def named(query: str) -> list[str]:
        return [item["name"] for item in (await rest.get(f"/{query}"))["items"]]

    await b.model(rest.graph, "berta", task="other")
    assert await named("models?name=bert") == ["bert"]
    assert await named("models?name=bert&name=berta") == ["bert", "berta"]
    assert await named("models?name.prefix=berta") == ["berta"]
    assert await named("models?name.contains=ert&task=retrieval") == ["bert"]
    assert await named("models?tags[area]=search") == ["bert"]
    assert await named("models?tags[area]=search&name=berta") == []
    assert await named('models?where={"or":[{"name":{"eq":"berta"}},{"task":{"eq":"retrieval"}}]}') == ["bert", "berta"]
    assert await named('models?where={"not":{"name":{"eq":"berta"}}}&name.prefix=b') == ["bert"]
    assert await named("models?createdAt.gte=2200-01-01T00:00:00Z") == []
    assert await named("model-versions?number.gte=2&number.lt=3") == ["2"]
    assert await named("runs?params[lr]=0.1&params[epochs]=3&state=FINISHED") == ["training-7"]
    assert await named("models?external=true") == []


async def test_lists_are_ordered_by_a_property_or_a_metric(rest: Client) -> None:
    async def numbers(order: str) -> list[int]:
        return [item["number"] for item in (await rest.get(f"/model-versions?order={order}&fields=number"))["items"]]

    assert await numbers("number") == [1, 2, 3]
    assert await numbers("-number") == [3, 2, 1]
    assert (await numbers("-metrics.auc"))[:2] == [2, 1]


async def test_fields_says_what_is_given_at_any_depth(rest: Client) -> None:
    asked = "number,trainedOn.nodes.dataset.name,model.address"
    version = await rest.get(f"/models/bert/versions/2?fields={asked}")
    assert version == {
        "number": 2,
        "trainedOn": {"nodes": [{"dataset": {"name": "nq"}}]},
        "model": {"address": "models:/bert"},
    }


async def test_a_field_asked_for_by_its_name_alone_is_given_as_such_a_thing_is(rest: Client) -> None:
    version = await rest.get("/models/bert/versions/2?fields=trainedOn,model")
    assert version["model"]["task"] == "retrieval"
    assert version["trainedOn"]["nodes"][0]["address"] == "datasets:/nq/v1"
    assert version["trainedOn"]["pageInfo"]["hasNextPage"] is False


async def test_of_things_of_any_kind_the_fields_of_one_kind_can_be_asked_for(rest: Client) -> None:
    path = "/lineage?of=datasets:/nq&direction=DOWNSTREAM&kinds=MODEL_VERSION&kinds=RUN"
    walk = await rest.get(f"{path}&fields=complete,nodes.distance,nodes.node.Run:state,nodes.node.ModelVersion:number")
    assert walk["complete"] is True
    assert {"distance": 1, "node": {"state": "FINISHED"}} in walk["nodes"]
    assert [hit["node"]["number"] for hit in walk["nodes"] if "number" in hit["node"]] == [2, 1, 3]


async def test_values_that_look_like_such_names_stay_as_they_are(rest: Client) -> None:
    await rest.ask("PATCH", "/models/bert", {"attributes": {"Model__x": 1, "Model:y": 2}})
    model = await rest.get("/models/bert?fields=attributes")
    assert model == {"attributes": {"Model__x": 1, "Model:y": 2}}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("nmae", "Model has no field 'nmae'"),
        ("versions.nodes.nmae", "ModelVersion has no field 'nmae', in 'versions.nodes.nmae'"),
        ("name.first", "'name' is a plain value"),
        ("", "must be names"),
        ("name,,id", "must be names"),
        ("a b", "must be names"),
        ("__typename", "must be names"),
        ("Run:state", "before the colon"),
        (".".join(["versions.nodes.model"] * 8), "at most 20 levels"),
        ("name," * 1_000, "at most 4096 characters"),
    ],
)
async def test_wrong_fields_are_refused_naming_what_is_wrong(rest: Client, fields: str, told: str) -> None:
    problem = await rest.refused("GET", f"/models/bert?fields={fields}", 400)
    assert problem["field"] == "fields"
    assert told in problem["detail"]


async def test_fields_is_bounded_by_the_limits_of_graphql(rest: Client) -> None:
    asked = "versions.nodes.derivedFrom.nodes.derivatives.nodes.derivedFrom.nodes"
    assert (await rest.get(f"/models/bert?fields={asked}.name"))["versions"]
    problem = await rest.refused("GET", f"/models/bert?fields={asked}.derivatives.nodes.derivedFrom.nodes.name", 422)
    assert problem["code"] == "LIMIT_EXCEEDED"
    assert "the operation may cost" in problem["detail"]
    problem = await rest.refused("GET", "/models?limit=501", 400)
    assert problem["field"] == "limit"


async def test_walks_paths_search_and_comparisons_are_given(rest: Client, story: Story) -> None:
    walk = await rest.get(f"/nodes/{story.versions[2].id}/upstream?depth=1")
    assert walk["complete"] is False
    assert [hit["node"]["address"] for hit in walk["nodes"]] == ["models:/bert/3", "models:/bert/1"]
    paths = await rest.get("/paths?from=datasets:/nq/v1&to=models:/bert/3")
    assert paths["complete"] is True
    assert (await rest.get("/search?text=ber&kinds=MODEL"))["items"][0]["address"] == "models:/bert"
    compared = await rest.get("/comparison?versions=models:/bert/1&versions=models:/bert/2")
    assert [part["name"] for part in compared["parameters"]] == ["epochs", "lr"]
    series = await rest.get("/model-versions/bert%2F1/metrics/auc/series")
    assert [point["value"] for point in series["items"]] == [0.5, 0.7]
    await rest.refused("GET", "/model-versions/bert%2F1/metrics/nope/series", 404)
    both = await rest.get(f"/nodes?ids={story.model.id}&ids=mo_00000000000000000000000000")
    assert [item and item["name"] for item in both["items"]] == ["bert", None]


async def test_things_are_looked_up_as_they_were(rest: Client) -> None:
    await rest.refused("GET", "/models/bert?asOf=1999-01-01T00:00:00Z", 404)


async def test_what_the_scopes_do_not_open_is_left_out(rest: Client) -> None:
    rest.caller = Caller("ann", frozenset({"model:read"}), workspaces=None)
    version = await rest.get("/models/bert/versions/1")
    assert "metrics" not in version
    assert "workspace" not in version
    assert version["run"]["address"] == "runs:/training-7"


async def test_what_the_scopes_do_not_open_is_refused_when_it_is_asked_for(rest: Client) -> None:
    rest.caller = Caller("ann", frozenset({"model:read"}), workspaces=None)
    problem = await rest.refused("GET", "/models/bert/versions/1?fields=number,metrics", 403)
    assert problem["details"]["requiredScopes"] == [["metrics:read"]]


async def test_head_is_get_without_a_body(rest: Client) -> None:
    asked, headed = await rest.send("GET", "/models/bert"), await rest.send("HEAD", "/models/bert")
    assert headed.content == b""
    assert headed.headers["content-length"] == asked.headers["content-length"]
    assert headed.headers["etag"] == asked.headers["etag"]


async def test_an_answer_that_the_client_has_is_not_given_again(rest: Client) -> None:
    known = (await rest.send("GET", "/models/bert/versions/1")).headers["etag"]
    for wanted in (known, f'"0", W/{known}', "*"):
        answer = await rest.send("GET", "/models/bert/versions/1", headers={"if-none-match": wanted})
        assert answer.status_code == 304
        assert answer.headers["etag"] == known
        assert answer.content == b""
    await rest.ask("PUT", "/models/bert/aliases/new", {"version": "models:/bert/1"})
    answer = await rest.send("GET", "/models/bert/versions/1", headers={"if-none-match": known})
    assert answer.json()["aliases"] == ["new"]


async def test_a_server_that_does_not_tell_the_path_as_sent_still_finds_things(rest: Client) -> None:
    app = rest.http._transport.app  # type: ignore[attr-defined]

    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        await app({name: value for name, value in scope.items() if name != "raw_path"}, receive, send)

    rest.http._transport = httpx.ASGITransport(without)
    assert (await rest.get("/models/bert/versions/3"))["number"] == 3


async def test_both_stores_give_the_same(graph: Graph) -> None:
    await tell(graph)
    async with serving(graph) as rest:
        assert (await rest.get("/models/bert/aliases/champion"))["number"] == 3
        page = await rest.get("/models/bert/versions?limit=1&order=number&fields=number")
        assert page["items"][0]["number"] == 1
