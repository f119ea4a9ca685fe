"""Who may ask MLflow's face for what: scopes for each endpoint, workspaces, roles, and what is audited."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import Caller
from auth.scopes import MLFLOW
from gateway.mlflow.routes import ENDPOINTS
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import EntryFilter, Update
from tests import building
from tests.gateway.mlflow.conftest import API, CALLERS, Mlflow

GIVEN = {
    "name": "m", "version": "1", "new_name": "n", "key": "k", "value": "v", "alias": "a", "source": "s3://b/x",
    "stage": "Staging",
}  # fmt: skip
CASES = [(method, path, endpoint) for path, methods in ENDPOINTS.items() for method, endpoint in methods.items()]


def test_every_line_of_the_table_of_scopes_is_one_of_an_endpoint() -> None:
    asked = {endpoint.asks for _, _, endpoint in CASES}
    assert set(MLFLOW) - asked == {
        *("model-versions/get-artifact", "artifacts", "artifacts (write)", "server-info", "webhooks")
    }


@pytest.mark.parametrize(("method", "path", "endpoint"), CASES, ids=lambda value: str(value)[:40])
async def test_an_endpoint_opens_with_its_scopes_and_not_with_any_fewer(
    embedded: Mlflow, monkeypatch: pytest.MonkeyPatch, method: str, path: str, endpoint: Any
) -> None:
    await embedded.model("m", versions=1)
    await embedded.ask("POST", "registered-models/alias", name="m", alias="a", version="1")
    (way,) = endpoint.needs.lists()
    given = {**GIVEN, "name": "new"} if path == "registered-models/create" else GIVEN
    for missing in way:
        monkeypatch.setitem(CALLERS, "reader", Caller("corp:ann", frozenset(way) - {missing}))
        answer = await embedded.send(method, f"{API}/{path}", "reader", **given)
        assert answer.status_code == 403, missing
        assert answer.json()["error_code"] == "PERMISSION_DENIED"
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert f'scope="{" ".join(way)}"' in challenge
    monkeypatch.setitem(CALLERS, "reader", Caller("corp:ann", frozenset(way)))
    answer = await embedded.send(method, f"{API}/{path}", "reader", **given)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("method", "path", "endpoint"), CASES, ids=lambda value: str(value)[:40])
async def test_what_is_in_another_workspace_is_absent_from_every_endpoint(
    embedded: Mlflow, method: str, path: str, endpoint: Any
) -> None:
    made = await embedded.send("POST", f"/w/vision{API}/registered-models/create", "bob", name="m")
    assert made.status_code == 200
    version = {"name": "m", "source": "s3://b/x", "run_id": "secret-run"}
    assert (await embedded.send("POST", f"/w/vision{API}/model-versions/create", "bob", **version)).status_code == 200
    hidden = await embedded.send(method, f"/w/vision{API}/{path}", **GIVEN)
    absent = await embedded.send(method, f"/w/none{API}/{path}", **GIVEN)
    assert hidden.status_code == absent.status_code
    assert hidden.text.replace("vision", "none") == absent.text
    assert "secret-run" not in hidden.text
    assert hidden.status_code in {200, 404}
    assert hidden.status_code == 404 or path.endswith("/search"), hidden.text


async def test_whoever_may_only_read_a_workspace_writes_nothing_there(mlflow: Mlflow) -> None:
    await mlflow.model("m")
    await building.update(mlflow.graph, Update(DEFAULT_WORKSPACE_ID, {"visibility": "INTERNAL"}))
    assert (await mlflow.send("GET", f"{API}/registered-models/get", "bob", name="m")).status_code == 200
    answer = await mlflow.send("POST", f"{API}/registered-models/set-tag", "bob", name="m", key="k", value="v")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "needs the role CONTRIBUTOR" in answer.json()["message"]
    assert "www-authenticate" not in answer.headers


async def test_nobody_is_told_to_bring_a_token(embedded: Mlflow) -> None:
    answer = await embedded.send("GET", f"{API}/registered-models/get", "nobody", name="m")
    assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_who_was_deactivated_does_not_come_in(embedded: Mlflow) -> None:
    async with embedded.graph.snapshot() as snapshot:
        principal = (await snapshot.access("corp:ann")).principal
    assert principal is not None
    await building.update(embedded.graph, Update(principal.id, {"active": False}))
    for method, path in (("GET", "registered-models/get"), ("POST", "registered-models/create"), ("GET", "other")):
        status, code, _ = await embedded.refused(method, path, name="m")
        assert (status, code) == (401, "UNAUTHENTICATED")
    for path in ("/version", "/api/3.0/mlflow/server-info"):
        assert (await embedded.send("GET", path)).status_code == 401, path


async def test_refusals_and_what_an_admin_reads_are_in_the_audit(mlflow: Mlflow) -> None:
    await mlflow.model("m")
    await mlflow.refused("POST", "registered-models/create", "reader", name="n")
    answer = await mlflow.send("GET", f"{API}/registered-models/get", "admin", name="m")
    assert answer.status_code == 200
    while await mlflow.graph.sequence():
        pass
    async with mlflow.graph.snapshot() as snapshot:
        (refused,) = await snapshot.entries(EntryFilter(action="refused"))
        (read,) = await snapshot.entries(EntryFilter(action="read", by="corp:root"))
        (made,) = await snapshot.entries(EntryFilter(action="registerModel"))
    assert refused.workspace == read.workspace == made.workspace == "default"
    assert refused.change.data["noted"]["action"] == "mlflow registered-models/create"
    assert refused.change.data["noted"]["scopes"] == [["model:read", "model:write"]]
    assert read.change.data["noted"]["data"]["on"] == {"default": ["models:/m"]}
    assert (made.change.by, made.change.request) == ("corp:ann", "req-1")


async def test_whatever_an_admin_reads_is_in_the_audit_by_whichever_method(mlflow: Mlflow) -> None:
    await mlflow.model("m")
    asked = (
        ("GET", f"{API}/registered-models/get-latest-versions", "registered-models/get-latest-versions"),
        ("POST", f"{API}/registered-models/get-latest-versions", "registered-models/get-latest-versions"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts", "artifacts"),
    )
    for method, path, _ in asked:
        assert (await mlflow.send(method, path, "admin", name="m")).status_code == 200
    while await mlflow.graph.sequence():
        pass
    async with mlflow.graph.snapshot() as snapshot:
        reads = await snapshot.entries(EntryFilter(action="read", by="corp:root"))
    told = [entry.change.data["noted"]["data"] for entry in reversed(reads)]
    assert [data["asked"] for data in told] == [asks for *_, asks in asked]
    assert [list(data["on"]) for data in told] == [["default"]] * 3
