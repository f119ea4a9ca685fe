"""MLflow's registry REST: models and versions as its clients ask for them, on both stores."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from graph.port import Hop
from lineal.errors import InvalidArgument
from resolvers.lifecycle.declaring import declare_gate
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.writing.datasets import register_dataset_version
from resolvers.writing.evaluations import record_evaluation
from resolvers.writing.importing import record_lineage
from resolvers.writing.lifecycle import set_alias
from resolvers.writing.models import register_model
from resolvers.writing.runs import record_run
from resolvers.writing.versions import create_model_version
from tests.gateway.mlflow.conftest import API, Mlflow


async def test_a_model_is_made_read_changed_renamed_and_deleted(mlflow: Mlflow) -> None:
    await mlflow.model("m", description="d", tags=[{"key": "b", "value": "2"}, {"key": "a", "value": "1"}])
    made = await mlflow.get()
    assert (made["name"], made["description"], made["user_id"]) == ("m", "d", "corp:ann")
    assert made["tags"] == [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
    assert made["creation_timestamp"] == made["last_updated_timestamp"]
    await mlflow.ask("PATCH", "registered-models/update", name="m", description="e")
    await mlflow.ask("POST", "registered-models/rename", name="m", new_name="n")
    assert (await mlflow.get("n"))["description"] == "e"
    assert await mlflow.refused("GET", "registered-models/get", name="m") == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "Registered Model with name=m not found",
    )
    await mlflow.ask("DELETE", "registered-models/delete", name="n")
    await mlflow.model("n")


async def test_an_old_name_is_gone_for_every_endpoint_although_addresses_fall_back_to_it(mlflow: Mlflow) -> None:
    await mlflow.model("old", versions=1)
    await mlflow.ask("POST", "registered-models/rename", name="old", new_name="new")
    for method, endpoint, more in (
        ("GET", "model-versions/get", {"version": "1"}),
        ("POST", "registered-models/set-tag", {"key": "k", "value": "v"}),
        ("POST", "registered-models/alias", {"alias": "a", "version": "1"}),
        ("POST", "model-versions/create", {"source": "s3://b/x"}),
        ("DELETE", "model-versions/delete", {"version": "1"}),
    ):
        assert (await mlflow.refused(method, endpoint, name="old", **more))[0] == 404, endpoint
    async with Operation(mlflow.graph) as op:
        assert await resolve(op, "models:/old/1") is not None
    assert (await mlflow.ask("GET", "model-versions/search", filter="name = 'old'"))["model_versions"] == []


async def test_versions_count_up_and_never_come_again(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=2)
    await mlflow.ask("DELETE", "model-versions/delete", name="m", version="2")
    made = await mlflow.ask("POST", "model-versions/create", name="m", source="s3://b/x", description="d", run_id="r")
    version = made["model_version"]
    assert (version["version"], version["run_id"], version["source"]) == ("3", "r", "s3://b/x")
    assert (version["status"], version["current_stage"]) == ("READY", "None")
    assert (await mlflow.refused("GET", "model-versions/get", name="m", version="2"))[2] == (
        "Model Version (name=m, version=2) not found"
    )


async def test_what_happens_to_its_versions_updates_a_model_but_their_description_does_not(mlflow: Mlflow) -> None:
    async def updated() -> int:
        return int((await mlflow.get())["last_updated_timestamp"])

    await mlflow.model("m", versions=2)
    before = await updated()
    await mlflow.ask("PATCH", "model-versions/update", name="m", version="1", description="x")
    assert await updated() == before
    for method, endpoint, more in (
        ("POST", "model-versions/transition-stage", {"version": "1", "stage": "Staging"}),
        ("DELETE", "model-versions/delete", {"version": "2"}),
        ("POST", "model-versions/create", {"source": "s3://b/x"}),
    ):
        await mlflow.ask(method, endpoint, name="m", **more)
        now = await updated()
        assert now > before, endpoint
        before = now


async def test_a_model_shows_the_newest_version_of_each_stage(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=5)
    for number, stage in ((1, "Production"), (2, "production"), (3, "Archived")):
        await mlflow.ask("POST", "model-versions/transition-stage", name="m", version=str(number), stage=stage)

    def shown(versions: Any) -> list[tuple[str, str]]:
        return [(v["version"], v["current_stage"]) for v in versions]

    every = [("2", "Production"), ("3", "Archived"), ("5", "None")]
    assert shown((await mlflow.get())["latest_versions"]) == every
    found = await mlflow.ask("GET", "registered-models/search", filter="name = 'm'")
    assert shown(found["registered_models"][0]["latest_versions"]) == every
    for method in ("GET", "POST"):
        latest = await mlflow.ask(method, "registered-models/get-latest-versions", name="m", stages=["PRODUCTION"])
        assert shown(latest["model_versions"]) == [("2", "Production")]
    found = await mlflow.ask("GET", "registered-models/search")
    assert shown(found["registered_models"][0]["latest_versions"]) == every


async def test_a_stage_makes_room_by_archiving_what_was_in_it(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=2)
    moved = {"name": "m", "stage": "Production", "archive_existing_versions": True}
    await mlflow.ask("POST", "model-versions/transition-stage", version="1", **moved)
    await mlflow.ask("POST", "model-versions/transition-stage", version="2", **moved)
    assert [(await mlflow.version(n))["current_stage"] for n in (1, 2)] == ["Archived", "Production"]
    status, code, message = await mlflow.refused(
        "POST", "model-versions/transition-stage", name="m", version="1", stage="None", archive_existing_versions=True
    )
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert "'None' is not an Active stage" in message


async def test_a_gate_that_says_no_is_an_error_that_clients_do_not_try_again(mlflow: Mlflow) -> None:
    async with Operation(mlflow.graph) as op:
        await declare_gate(op, name="signed", stage="Production", conditions=[{"type": "signed"}])
    await mlflow.model("m", versions=1)
    status, code, _ = await mlflow.refused(
        "POST", "model-versions/transition-stage", name="m", version="1", stage="Production"
    )
    assert (status, code) == (400, "INVALID_STATE")
    assert (await mlflow.version())["current_stage"] == "None"


async def test_aliases_point_to_versions_and_move(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=2)
    for number in ("1", "2"):
        await mlflow.ask("POST", "registered-models/alias", name="m", alias="champion", version=number)
    assert (await mlflow.get())["aliases"] == [{"alias": "champion", "version": "2"}]
    assert (await mlflow.version(2))["aliases"] == ["champion"]
    for alias in ("champion", "latest"):
        found = await mlflow.ask("GET", "registered-models/alias", name="m", alias=alias)
        assert found["model_version"]["version"] == "2"
    for _ in range(2):
        await mlflow.ask("DELETE", "registered-models/alias", name="m", alias="champion")
    assert await mlflow.refused("GET", "registered-models/alias", name="m", alias="champion") == (
        400,
        "INVALID_PARAMETER_VALUE",
        "Registered model alias champion not found.",
    )


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v7", "V007"])
async def test_what_clients_take_for_a_version_is_no_alias_on_any_face(embedded: Mlflow, alias: str) -> None:
    await embedded.model("m", versions=1)
    assert (await embedded.refused("POST", "registered-models/alias", name="m", alias=alias, version="1"))[0] == 400
    async with Operation(embedded.graph) as op:
        with pytest.raises(InvalidArgument, match=r"^name: .* is reserved"):
            await set_alias(op, model="models:/m", name=alias, version="models:/m/1")
        with pytest.raises(InvalidArgument, match=r"^aliases\[0\]: .* is reserved"):
            await create_model_version(op, model="models:/m", aliases=[alias])


async def test_an_alias_that_another_face_gave_is_read_and_taken_away_whatever_its_form(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=2)
    async with Operation(mlflow.graph) as op:
        await set_alias(op, model="models:/m", name="prod.v1", version="models:/m/1")
    found = await mlflow.ask("GET", "registered-models/alias", name="m", alias="prod.v1")
    assert found["model_version"]["version"] == "1"
    await mlflow.ask("DELETE", "registered-models/alias", name="m", alias="prod.v1")
    assert not (await mlflow.get())["aliases"]
    for method in ("GET", "DELETE"):
        for name in ("m", "nothing"):
            refused = await mlflow.refused(method, "registered-models/alias", name=name, alias="prod.v1")
            assert refused[2].startswith("Invalid alias name: 'prod.v1'.")


async def test_an_alias_called_latest_that_an_import_brought_means_the_same_on_every_face(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=2)
    source = {"name": "m", "source": "models:/m@latest"}
    assert (await mlflow.ask("POST", "model-versions/create", **source))["model_version"]["source"] == "models:/m/2"
    async with Operation(mlflow.graph) as op:
        await record_lineage(
            op, edges=[{"kind": "ALIAS", "from": "models:/m", "to": "models:/m/1", "discriminator": "latest"}]
        )
    async with Operation(mlflow.graph) as op:
        meant = await resolve(op, "models:/m@latest")
    assert meant is not None
    found = await mlflow.ask("GET", "registered-models/alias", name="m", alias="latest")
    assert found["model_version"]["version"] == meant.name == "1"
    assert (await mlflow.ask("POST", "model-versions/create", **source))["model_version"]["source"] == "models:/m/1"


async def test_tags_of_models_and_versions_are_set_and_taken_away(mlflow: Mlflow) -> None:
    await mlflow.model("m", versions=1)
    for place, more in (("registered-models", {}), ("model-versions", {"version": "1"})):
        for value in ("1", "ü" * 100_000):
            await mlflow.ask("POST", f"{place}/set-tag", name="m", key="k/1", value=value, **more)
        read = mlflow.version() if more else mlflow.get()
        assert (await read)["tags"] == [{"key": "k/1", "value": "ü" * 100_000}]
        for _ in range(2):
            await mlflow.ask("DELETE", f"{place}/delete-tag", name="m", key="k/1", **more)
        assert not (await (mlflow.version() if more else mlflow.get()))["tags"]


async def test_a_copy_is_derived_from_its_original_and_has_its_files(mlflow: Mlflow) -> None:
    await mlflow.model("m")
    await mlflow.ask("POST", "model-versions/create", name="m", source="s3://b/x", run_id="r")
    await mlflow.ask("POST", "registered-models/alias", name="m", alias="champion", version="1")
    await mlflow.model("copy")
    for source in ("models:/m/1", "models:/m@champion", "models:/m/None"):
        made = await mlflow.ask("POST", "model-versions/create", name="copy", source=source)
        version = made["model_version"]
        assert (version["source"], version["run_id"]) == ("models:/m/1", "r")
        found = await mlflow.ask("GET", "model-versions/get-download-uri", name="copy", version=version["version"])
        assert found == {"artifact_uri": "s3://b/x"}
    async with Operation(mlflow.graph) as op:
        copy = await resolve(op, "models:/copy/1")
        assert copy is not None
        hop = Hop("DERIVED_FROM", "OUT", "ModelVersion")
        (link,) = (await (await op.snapshot()).neighbours([copy.id], hop))[copy.id].items
    assert (link.edge.discriminator, link.node.props["uri"]) == ("copy", "s3://b/x")
    assert (await mlflow.refused("POST", "model-versions/create", name="copy", source="models:/m/9"))[0] == 404
    wrong = await mlflow.refused("POST", "model-versions/create", name="copy", source="models:/m/1", run_id="other")
    assert "must match" in wrong[2]


async def test_a_version_shows_its_parameters_and_metrics_to_those_who_may_read_them(mlflow: Mlflow) -> None:
    async with Operation(mlflow.graph) as op:
        await create_model_version(
            op,
            model="models:/m",
            create_model=True,
            params=[{"name": "depth", "value": "3"}],
            metrics=[{"name": "f1", "value": 0.5}, {"name": "loss", "value": float("nan")}],
            properties={"uri": "gs://b/x"},
        )
    version = await mlflow.version()
    assert version["model_params"] == [{"name": "depth", "value": "3"}]
    assert [(m["key"], m["value"]) for m in version["model_metrics"]] == [("f1", 0.5), ("loss", "NaN")]
    assert version["source"] == "gs://b/x"
    answer = await mlflow.send("GET", f"{API}/model-versions/get", "reader", name="m", version="1")
    assert "model_metrics" not in answer.json()["model_version"]


async def test_a_metric_says_what_measured_what_on_what(mlflow: Mlflow) -> None:
    async with Operation(mlflow.graph) as op:
        await record_run(op, experiment="experiments:/e", name="r1", create_experiment=True)
        await register_dataset_version(op, dataset="datasets:/flats", name="d1", create_dataset=True)
        version = await create_model_version(
            op,
            model="models:/m",
            create_model=True,
            run="runs:/r1",
            metrics=[{"name": "loss", "value": 0.25, "step": 3}],
            properties={"loggedModel": "m-1"},
        )
        await record_evaluation(
            op,
            version=version.id,
            dataset="datasets:/flats/d1",
            run="runs:/r1",
            metrics=[{"name": "rmse", "value": 0.5}],
        )
    loss, rmse = (await mlflow.version())["model_metrics"]
    assert (loss["key"], loss["step"], loss["model_id"], loss["run_id"]) == ("loss", 3, "m-1", "r1")
    assert loss.keys() == {"key", "value", "timestamp", "step", "model_id", "run_id"}
    told = {"key": "rmse", "value": 0.5, "step": 0, "model_id": "m-1", "run_id": "r1"}
    assert rmse == {**told, "dataset_name": "flats", "dataset_digest": "d1", "timestamp": rmse["timestamp"]}


async def test_names_that_mlflow_does_not_have_are_written_percent_encoded(mlflow: Mlflow) -> None:
    async with Operation(mlflow.graph) as op:
        await register_model(op, name="BAAI/bge:m3")
        await create_model_version(op, model="models:/BAAI%2Fbge%3Am3", properties={"uri": "s3://b/x"})
    for name in ("BAAI/bge:m3", "BAAI%2Fbge%3Am3"):
        assert (await mlflow.get(name))["name"] == "BAAI%2Fbge%3Am3"
        assert (await mlflow.version(1, name))["name"] == "BAAI%2Fbge%3Am3"
        found = await mlflow.ask("GET", "registered-models/search", filter=f"name = '{name}'")
        assert len(found["registered_models"]) == 1
        found = await mlflow.ask("GET", "model-versions/search", filter=f"name = '{name}'")
        assert len(found["model_versions"]) == 1
    status, _, message = await mlflow.refused("GET", "registered-models/get", name="a/b")
    assert (status, message) == (400, "Invalid model name 'a/b'. Names cannot contain '/' or ':'.")


async def test_prompts_are_models_that_searches_leave_out_unless_asked(mlflow: Mlflow) -> None:
    tag = {"key": "mlflow.prompt.is_prompt", "value": "true"}
    await mlflow.model("m", versions=1)
    await mlflow.model("p", tags=[tag])
    await mlflow.ask("POST", "model-versions/create", name="p", source="dummy-source", tags=[tag])
    wrong = await mlflow.refused("POST", "model-versions/create", name="p", source="s3://b/x", tags=[tag])
    assert wrong[2] == "Invalid prompt source: 's3://b/x'. Prompt sources must use an MLflow placeholder."
    for filter, names in (
        ("", ["m"]),
        ("tags.`mlflow.prompt.is_prompt` != 'true'", ["m"]),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", ["p"]),
    ):
        found = await mlflow.ask("GET", "registered-models/search", filter=filter)
        assert [model["name"] for model in found["registered_models"]] == names
        found = await mlflow.ask("GET", "model-versions/search", filter=filter)
        assert [version["name"] for version in found["model_versions"]] == names
    assert (await mlflow.refused("POST", "registered-models/create", name="p", tags=[tag]))[2] == (
        "Prompt (name=p) already exists."
    )
    status, code, message = await mlflow.refused("POST", "registered-models/create", name="p")
    assert (status, code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert message.startswith("Tried to create a registered model with name 'p', but the name is already taken")


async def test_pages_follow_each_other_without_gap_or_repeat_whatever_the_order(mlflow: Mlflow) -> None:
    for name in ("b", "a", "c"):
        await mlflow.model(name, versions=2)
    for place, key, orders in (
        ("registered-models", "name", (["name"], ["name DESC"], ["timestamp DESC"], ["creation_timestamp"])),
        ("model-versions", "source", ([], ["name DESC", "version_number"], ["version_number DESC"], ["name"])),
    ):
        for order_by in orders:
            asked = {"order_by": order_by, "max_results": 1_000}
            whole = await mlflow.ask("GET", f"{place}/search", **asked)
            items = [item[key] for item in whole[place.replace("-", "_")]]
            assert len(items) == (3 if key == "name" else 6)
            read, token = [], ""
            while True:
                page = await mlflow.ask("GET", f"{place}/search", **{**asked, "max_results": 2}, page_token=token)
                read += [item[key] for item in page[place.replace("-", "_")]]
                if not (token := page.get("next_page_token", "")):
                    break
            assert read == items, (place, order_by)


@pytest.mark.parametrize(
    "token",
    [
        "!!!",
        base64.b64encode(b"nothing").decode(),
        base64.b64encode(b'{"offset": 5}').decode(),
        base64.b64encode(json.dumps({"after": ["x", 7]}).encode()).decode(),
        base64.b64encode(json.dumps({"after": [2**63, "x"]}).encode()).decode(),
        base64.b64encode(b"[]").decode(),
    ],
)
async def test_a_token_that_was_not_given_out_is_refused(embedded: Mlflow, token: str) -> None:
    for order_by in (["name"], ["timestamp"]):
        status, code, message = await embedded.refused(
            "GET", "registered-models/search", page_token=token, order_by=order_by
        )
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert message.startswith("Invalid page token")


async def test_the_same_key_does_it_once(embedded: Mlflow) -> None:
    await embedded.model("m")
    for _ in range(2):
        answer = await embedded.http.post(
            f"{API}/model-versions/create", json={"name": "m", "source": "s3://b/x"}, headers={"idempotency-key": "k"}
        )
        assert answer.json()["model_version"]["version"] == "1"


async def test_the_same_key_answers_with_what_it_made_whatever_it_is_called_by_now(embedded: Mlflow) -> None:
    async def sent(method: str, endpoint: str, key: str, **values: Any) -> Any:
        answer = await embedded.http.request(method, f"{API}/{endpoint}", json=values, headers={"idempotency-key": key})
        return answer.json()

    first = await sent("POST", "registered-models/create", "k", name="m", description="d")
    changed = await sent("PATCH", "registered-models/update", "l", name="m", description="e")
    await embedded.ask("POST", "registered-models/rename", name="m", new_name="n")
    for _ in range(2):
        again = await sent("POST", "registered-models/create", "k", name="m", description="d")
        assert again["registered_model"]["name"] == "n"
        assert again["registered_model"]["creation_timestamp"] == first["registered_model"]["creation_timestamp"]
        again = await sent("PATCH", "registered-models/update", "l", name="m", description="e")
        assert again["registered_model"] == {**changed["registered_model"], "name": "n"} | {
            "last_updated_timestamp": again["registered_model"]["last_updated_timestamp"]
        }
        # Another one by the name that it had.
        await embedded.http.post(f"{API}/registered-models/create", json={"name": "m"})


async def test_what_a_key_made_and_is_deleted_is_not_there_for_the_same_again(embedded: Mlflow) -> None:
    asked = (
        ("registered-models/create", {"name": "m"}),
        ("registered-models/rename", {"name": "m", "new_name": "n"}),
        ("model-versions/create", {"name": "n", "source": "s3://b/x"}),
        ("model-versions/transition-stage", {"name": "n", "version": "1", "stage": "Staging"}),
    )
    for endpoint, values in asked:
        answer = await embedded.http.post(f"{API}/{endpoint}", json=values, headers={"idempotency-key": endpoint})
        assert answer.status_code == 200
    await embedded.ask("DELETE", "registered-models/delete", name="n")
    for endpoint, values in asked:
        answer = await embedded.http.post(f"{API}/{endpoint}", json=values, headers={"idempotency-key": endpoint})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


async def test_a_key_that_cannot_be_kept_is_refused_and_reads_need_none(embedded: Mlflow) -> None:
    await embedded.model("m", versions=1)
    headers = {"idempotency-key": "k"}
    for endpoint, more in (("model-versions/delete", {"version": "1"}), ("registered-models/delete", {})):
        body = {"name": "m", **more}
        answer = await embedded.http.request("DELETE", f"{API}/{endpoint}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert answer.json()["message"] == "Idempotency-Key: this endpoint keeps no keys"
    answer = await embedded.http.get(f"{API}/model-versions/get", params={"name": "m", "version": "1"}, headers=headers)
    assert answer.status_code == 200


async def test_a_workspace_is_named_by_the_address_or_by_a_header(mlflow: Mlflow) -> None:
    made = await mlflow.send("POST", f"/w/vision{API}/registered-models/create", "bob", name="m")
    assert made.status_code == 200
    assert (await mlflow.send("GET", f"/w/vision{API}/registered-models/get", "bob", name="m")).status_code == 200
    headers = {"who": "bob", "x-mlflow-workspace": "vision"}
    answer = await mlflow.http.get(f"{API}/registered-models/get", params={"name": "m"}, headers=headers)
    assert answer.status_code == 200
    assert (await mlflow.send("GET", f"{API}/registered-models/get", "bob", name="m")).status_code == 404


async def test_the_browser_s_paths_and_what_tells_of_the_server_answer(embedded: Mlflow) -> None:
    await embedded.model("m")
    answer = await embedded.send("GET", "/ajax-api/2.0/mlflow/registered-models/get", name="m")
    assert answer.status_code == 200
    assert (await embedded.send("GET", "/version")).text == "3.17.2"
    assert (await embedded.send("GET", "/api/3.0/mlflow/server-info")).json()["workspaces_enabled"] is True
    for method, path in (
        ("GET", f"{API}/experiments/search"),
        ("PUT", f"{API}/registered-models/get"),
        ("GET", "/api/3.0/mlflow/other"),
    ):
        answer = await embedded.send(method, path)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"{}", {}, 400, "Content-Type header is missing"),
        (b"{}", {"content-type": "text/plain"}, 400, "Content-Type must be one of"),
        (b"[]", {"content-type": "application/json"}, 400, "must be one JSON object"),
        (b"{", {"content-type": "application/json"}, 400, "Missing value for required parameter 'name'"),
        (b'"{}"', {"content-type": "application/json"}, 400, "Missing value for required parameter 'name'"),
        (b"x" * 300_001, {"content-type": "application/json"}, 400, "larger than the 300000 bytes"),
    ],
)
async def test_a_request_that_is_none_is_refused(
    embedded: Mlflow, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = await embedded.http.post(f"{API}/registered-models/create", content=content, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["message"]
