"""POST /api/v1/lineage and /api/v1/lineage/batch: what producers send, what they get, and who may."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import Caller
from auth.challenges import Resource
from auth.recorder import Recorder
from gateway.openlineage.view import create_openlineage_routes
from graph.port import Graph, NewEdge, NewNode
from resolvers.operation import Operation
from tests import building
from tests.openlineage.inventing import at, data, event, facet, job, run_id
from tests.openlineage.picturing import picture

RESOURCE = Resource("https://lineal.test/graphql")
SCOPES = frozenset({"model:read", "model:write", "dataset:read", "dataset:write"})
START = event(
    at(0), eventType="START", run={"runId": run_id(1)}, job=job("etl"), inputs=[data("a")], outputs=[data("b")]
)
COMPLETE = event(at(5), eventType="COMPLETE", run={"runId": run_id(1)}, job=job("etl"))
ONE, BATCH = "/api/v1/lineage", "/api/v1/lineage/batch"


@dataclass
class Face:
    """A client of the routes, and the store behind them; `caller` is who asks."""

    http: httpx.AsyncClient
    graph: Graph
    caller: Caller = field(default_factory=lambda: Caller("corp:etl", SCOPES, workspaces=None))

    async def post(self, body: Any, path: str = ONE, **headers: str) -> httpx.Response:
        """The answer to a body: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, headers={"content-type": "application/json", **headers})

    async def runs(self, workspace: str = "default") -> set[str]:
        """The runs that are there."""
        return (await picture(self.graph, workspace)).of("Run")


@pytest.fixture
async def face(sqlite_graph: Graph) -> AsyncIterator[Face]:
    """On an empty store, for one who may do what is needed."""
    recorder = Recorder(sqlite_graph)
    faces: list[Face] = []

    def operation(request: Request) -> Operation:
        address = request.client.host if request.client else ""
        return Operation(sqlite_graph, caller=faces[0].caller, address=address, recorder=recorder)

    app = Starlette(routes=create_openlineage_routes(operation, resource=RESOURCE, max_body=50_000))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://lineal.test") as http, recorder:
        faces.append(Face(http, sqlite_graph))
        yield faces[0]


# ── What comes in ─────────────────────────────────────────────────────────────────────────────────


async def test_an_event_is_taken_with_201(face: Face) -> None:
    for body in (START, COMPLETE):
        answer = await face.post(body)
        assert (answer.status_code, answer.content) == (201, b"")
    found = await picture(face.graph)
    assert found.nodes["Run", run_id(1)]["state"] == "FINISHED"
    assert found.leads("READ") == {(run_id(1), "made-up#a/unversioned")}


async def test_a_packed_body_is_unpacked(face: Face) -> None:
    answer = await face.post(gzip.compress(json.dumps(START).encode()), **{"content-encoding": "gzip"})
    assert answer.status_code == 201
    assert await face.runs() == {run_id(1)}


async def test_a_batch_is_taken_with_204(face: Face) -> None:
    answer = await face.post([START, COMPLETE, event(at(1), dataset=data("c"))], BATCH)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await picture(face.graph)).of("Dataset") == {f"made-up#{name}" for name in "abc"}
    assert (await face.post([], BATCH)).status_code == 204


async def test_a_batch_tells_which_of_its_events_were_not_taken(face: Face) -> None:
    bad = {**START, "run": {"runId": "one"}}
    circle = {
        "fields": {"x": {"inputFields": [{"namespace": "made-up", "name": "b", "field": "x"}]}},
    }
    columns = event(at(1), dataset=data("c", columnLineage=circle))
    back = {"fields": {"x": {"inputFields": [{"namespace": "made-up", "name": "c", "field": "x"}]}}}
    answer = await face.post([bad, START, columns, event(at(1), dataset=data("b", columnLineage=back)), 7], BATCH)
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "partial_success"
    assert body["summary"] == {"received": 5, "successful": 2, "failed": 3, "retriable": 0, "non_retriable": 3}
    assert [failed["index"] for failed in body["failed_events"]] == [0, 3, 4]
    assert [failed["retriable"] for failed in body["failed_events"]] == [False] * 3
    reasons = [failed["reason"] for failed in body["failed_events"]]
    assert reasons[0].startswith("run.runId: must be a UUID")
    assert "cycle" in reasons[1]
    assert reasons[2] == "the event must be an object"


async def test_events_go_into_the_workspace_of_the_address(face: Face) -> None:
    await building.workspace(face.graph, "research")
    assert (await face.post(START, f"/w/research{ONE}")).status_code == 201
    assert (await face.post([COMPLETE], f"/w/research{BATCH}")).status_code == 204
    assert await face.runs("research") == {run_id(1)}
    assert await face.runs() == set()
    answer = await face.post([START], f"/w/nowhere{BATCH}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_what_producers_leave_out_or_set_to_null_is_left_out(face: Face) -> None:
    body = {
        "eventTime": "2026-03-01T00:00:00.123456789",
        "eventType": "complete",
        "run": {"runId": run_id(1).upper(), "facets": {"parent": None}},
        "job": {"namespace": "n", "name": "j", "facets": None},
        "inputs": None,
        "outputs": [{"namespace": "n", "name": "d", "facets": None, "outputFacets": None}],
    }
    assert (await face.post(body)).status_code == 201
    found = await picture(face.graph)
    assert found.nodes["Run", run_id(1)]["endedAt"] == 1_772_323_200_123_456
    assert found.of("Dataset") == {"n#d"}


async def test_names_that_look_alike_stay_apart(face: Face) -> None:
    pairs = [("a#b", "c"), ("a", "b#c"), ("a%23b", "c")]
    for namespace, name in pairs:
        answer = await face.post(event(at(1), dataset={"namespace": namespace, "name": name}))
        assert answer.status_code == 201, answer.text
    assert len((await picture(face.graph)).of("Dataset")) == len(pairs)


# ── What is refused ───────────────────────────────────────────────────────────────────────────────

RUN: dict[str, Any] = {"runId": run_id(1)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"eventTime": "yesterday"}, "eventTime"),
        ({"eventTime": "2026-13-01T00:00:00Z"}, "eventTime"),
        ({"eventTime": 5}, "eventTime"),
        ({"eventType": "DONE"}, "eventType"),
        ({"run": None, "job": None}, "run"),
        ({"run": 5}, "run"),
        ({"run": {}}, "run.runId"),
        ({"run": {"runId": "x"}}, "run.runId"),
        ({"run": {**RUN, "facets": 5}}, "run.facets"),
        ({"run": {**RUN, "facets": {"x": 5}}}, "run.facets.x"),
        ({"run": {**RUN, "facets": {"a\nb": facet()}}}, "run.facets.a\nb"),
        ({"run": {**RUN, "facets": {f"f{i}": facet() for i in range(201)}}}, "run.facets"),
        ({"run": {**RUN, "facets": {"parent": {"run": {}}}}}, "run.facets.parent.job"),
        ({"run": {**RUN, "facets": {"parent": {"run": {}, "job": job("j")}}}}, "run.facets.parent.run.runId"),
        (
            {"run": {**RUN, "facets": {"parent": {"run": RUN, "job": job("j"), "root": {}}}}},
            "run.facets.parent.root.run",
        ),
        ({"job": None}, "job"),
        ({"job": {"namespace": "n"}}, "job.name"),
        ({"job": {"namespace": "", "name": "j"}}, "job.namespace"),
        ({"job": {"namespace": "n", "name": "j" * 500}}, "job.name"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [5]}, "inputs[0]"),
        ({"outputs": [{"namespace": 5, "name": "d"}]}, "outputs[0].namespace"),
        ({"outputs": [{**data("d"), "outputFacets": []}]}, "outputs[0].outputFacets"),
    ],
)
async def test_a_bad_event_is_refused_with_the_place_at_fault(face: Face, change: dict[str, Any], field: str) -> None:
    answer = await face.post({**START, **change})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["field"]) == ("INVALID_ARGUMENT", field)
    assert problem["detail"].startswith(field)
    assert await face.runs() == set()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"a":' * 70 + b"1" + b"}" * 70, {}, 400),
        (b" " * 50_001, {}, 413),
        (gzip.compress(b" " * 50_001, mtime=0), {"content-encoding": "gzip"}, 413),
        (b"no gzip", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0) * 2, {"content-encoding": "gzip"}, 400),
        (b"{}", {"content-encoding": "br"}, 415),
        (b"{}", {"content-type": "text/plain"}, 415),
    ],
)
async def test_a_body_that_is_no_event_is_refused(
    face: Face, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await face.post(body, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_batch_that_is_no_list_or_too_long_is_refused(face: Face) -> None:
    assert (await face.post(START, BATCH)).json()["detail"] == "the body must be a list of events"
    assert (await face.post([1] * 10_001, BATCH)).status_code == 422
    assert (await face.post([1] * 9_000, BATCH)).status_code == 200


# ── Who may ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lacking", sorted(SCOPES))
@pytest.mark.parametrize("path", [ONE, BATCH])
async def test_each_scope_is_needed_and_the_refusal_is_audited(face: Face, lacking: str, path: str) -> None:
    face.caller = Caller("corp:etl", SCOPES - {lacking}, workspaces=None)
    answer = await face.post(START if path == ONE else [START], path)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="{" ".join(sorted(SCOPES))}"' in challenge
    async with face.graph.snapshot() as snapshot:
        (entry, *_) = await snapshot.entries()
    noted = entry.change.data["noted"]
    assert (entry.change.by, noted["action"], noted["code"]) == ("corp:etl", "openlineage", "FORBIDDEN")
    assert entry.change.origin.address == "192.0.2.7"
    assert await face.runs() == set()


async def test_nobody_is_asked_for_a_token(face: Face) -> None:
    face.caller = Caller("anonymous")
    answer = await face.post(START)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_whoever_was_deactivated_is_not_let_in(face: Face) -> None:
    await building.create(face.graph, NewNode("Principal", "corp:etl", "", props={"active": False}))
    answer = await face.post(START)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(("role", "status"), [(None, 404), ("VIEWER", 403), ("CONTRIBUTOR", 201)])
async def test_a_contributor_of_the_workspace_may(face: Face, role: str | None, status: int) -> None:
    place = await building.workspace(face.graph, "research")
    (person,) = await building.create(face.graph, NewNode("Principal", "corp:etl", ""))
    if role is not None:
        await building.link(face.graph, NewEdge("GRANTS", place.id, person.id, role))
    face.caller = Caller("corp:etl", SCOPES)
    answer = await face.post(START, f"/w/research{ONE}")
    assert answer.status_code == status, answer.text
    assert (answer.status_code == 201) == bool(await face.runs("research"))
    batch = await face.post([START], f"/w/research{BATCH}")
    assert batch.status_code == {201: 204}.get(status, status)


async def test_what_was_taken_is_one_change_in_the_name_of_whoever_sent_it(face: Face) -> None:
    await face.post(START)
    async with face.graph.snapshot() as snapshot:
        (change,) = await snapshot.changes()
    assert (change.by, change.action, change.origin.address) == ("corp:etl", "recordEvents", "192.0.2.7")
    assert {name for _, kind, name, *_ in change.data["created"] if kind == "Run"} == {run_id(1)}
