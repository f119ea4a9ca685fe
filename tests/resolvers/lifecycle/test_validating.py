"""Validations: queued, leased to one worker at a time, tried again, reported, cancelled."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from auth import caller
from auth.caller import Caller
from auth.scopes import SCOPES
from graph.open import open_graph
from graph.port import Graph, NewEdge, NewNode, Node, Update
from lineal.errors import Conflict, Forbidden, InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.lifecycle.validating import (
    cancel_validation,
    heartbeat_validation,
    lease_validation,
    report_validation,
    request_validation,
)
from resolvers.operation import Operation
from resolvers.writing.datasets import register_dataset_version
from resolvers.writing.models import delete_model
from resolvers.writing.versions import create_model_version
from tests import building
from tests.graph.test_faults import ROOT
from tests.resolvers.conftest import Desk, refused

WORKER = Caller("corp:worker", frozenset(SCOPES) - {"admin"})


@pytest.fixture
async def op(desk: Desk) -> Operation:
    """An operation on a store with a model that has a version, and a data set that has two."""
    await create_model_version(desk.op, model="models:/bert", create_model=True)
    for name in ("v1", "v2"):
        await register_dataset_version(desk.op, dataset="datasets:/nq", create_dataset=True, name=name)
    return desk.op


async def ask(op: Operation, **more: Any) -> Node:
    """A validation of bert in the suite s."""
    return await request_validation(op, version="models:/bert/1", **{"suite": "s", **more})


async def lease(op: Operation, *suites: str, worker: str = "w", seconds: int = 60) -> Node | None:
    return await lease_validation.once(op, None, suites=suites or ("s",), worker=worker, seconds=seconds)


async def taken(op: Operation, **more: Any) -> Node:
    """One that a worker has."""
    await ask(op, **more)
    node = await lease(op)
    assert node is not None
    return node


async def silence(graph: Graph, node: Node) -> None:
    """Let the lease be over, as if time had passed."""
    await building.update(graph, Update(node.id, {"leasedUntil": 1}))


async def test_a_request_waits_with_what_it_was_given(desk: Desk, op: Operation) -> None:
    made = await ask(op, datasets=["datasets:/nq/v1", "datasets:/nq/v2"], settings={"k": [1]}, timeout_seconds=5)
    kept = {name: made.props[name] for name in ("state", "suite", "settings", "timeoutSeconds", "maxAttempts")}
    assert kept == {"state": "QUEUED", "suite": "s", "settings": {"k": [1]}, "timeoutSeconds": 5, "maxAttempts": 3}
    assert (made.workspace, made.container) == ("default", (await desk.at("models:/bert")).id)
    assert sorted(await desk.leads(made.id, "VALIDATES")) == ["1", "v1", "v2"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"version": "models:/bert/9"}, "version"),
        ({"version": "models:/bert"}, "version"),
        ({"datasets": ["datasets:/absent/v1"]}, "datasets[0]"),
        ({"datasets": ["datasets:/nq/v1"] * 101}, "datasets"),
        ({"suite": " "}, "suite"),
        ({"timeout_seconds": 0}, "timeoutSeconds"),
        ({"timeout_seconds": 604_801}, "timeoutSeconds"),
        ({"max_attempts": 101}, "maxAttempts"),
        ({"settings": {"big": "x" * 70_000}}, "settings"),
    ],
)
async def test_a_request_that_cannot_be_is_refused(desk: Desk, op: Operation, given: Any, field: str) -> None:
    with pytest.raises((InvalidArgument, NotFound, LimitExceeded)) as error:
        await request_validation(op, **{"version": "models:/bert/1", "suite": "s", **given})
    assert refused(error) == field
    assert await desk.count("Validation") == 0


async def test_the_oldest_of_the_suites_goes_to_the_worker_that_asks(op: Operation) -> None:
    first, _, third = [await ask(op, suite=suite) for suite in ("s", "other", "s")]
    got = await lease(op, "x", "s")
    assert got is not None
    assert got.id == first.id
    assert (got.props["state"], got.props["worker"], got.props["attempts"], got.props["epoch"]) == (
        "RUNNING",
        "w",
        1,
        1,
    )
    got = await lease(op)
    assert got is not None
    assert got.id == third.id
    assert await lease(op) is None


async def test_what_one_worker_has_no_other_gets_until_it_is_silent_for_too_long(graph: Graph, op: Operation) -> None:
    node = await taken(op)
    assert await lease(op, worker="other") is None
    await silence(graph, node)
    again = await lease(op, worker="other")
    assert again is not None
    assert (again.id, again.props["worker"]) == (node.id, "other")
    assert (again.props["attempts"], again.props["epoch"]) == (2, 2)


async def test_a_heartbeat_keeps_it_but_never_longer_than_an_attempt_may_take(op: Operation) -> None:
    node = await taken(op, timeout_seconds=1_000)
    longer = await heartbeat_validation(op, address=node.id, epoch=1, seconds=900)
    assert node.props["leasedUntil"] < longer.props["leasedUntil"] < longer.props["deadline"]
    longest = await heartbeat_validation(op, address=node.id, epoch=1, seconds=3_600)
    assert longest.props["leasedUntil"] == longest.props["deadline"] == node.props["deadline"]


async def test_a_worker_of_an_earlier_attempt_is_not_heard(desk: Desk, graph: Graph, op: Operation) -> None:
    node = await taken(op)
    await silence(graph, node)
    await lease(op, worker="other")
    stale: Any = {"address": node.id, "epoch": 1}
    for late in (
        heartbeat_validation(op, **stale),
        report_validation(op, **stale, success=True, metrics=[{"name": "auc", "value": 1.0}]),
        report_validation(op, **stale, success=False, retry=True),
    ):
        with pytest.raises(Conflict) as error:
            await late
        assert refused(error) == "epoch"
    assert await desk.count("Evaluation") == 0
    assert (await desk.at(node.id)).props["worker"] == "other"


async def test_a_worker_that_was_silent_is_heard_as_long_as_no_other_has_it(graph: Graph, op: Operation) -> None:
    node = await taken(op)
    await silence(graph, node)
    done = await report_validation(op, address=node.id, epoch=1, success=True)
    assert done.props["state"] == "SUCCEEDED"


async def test_an_attempt_that_took_too_long_can_only_fail(desk: Desk, graph: Graph, op: Operation) -> None:
    node = await taken(op)
    await building.update(graph, Update(node.id, {"deadline": 1, "leasedUntil": 1}))
    for late in (
        heartbeat_validation(op, address=node.id, epoch=1),
        report_validation(op, address=node.id, epoch=1, success=True),
    ):
        with pytest.raises(Conflict, match="took longer than 3600 seconds"):
            await late
    await report_validation(op, address=node.id, epoch=1, success=False, retry=True)
    assert (await desk.at(node.id)).props["state"] == "QUEUED"


async def test_what_has_no_attempts_left_has_failed(desk: Desk, graph: Graph, op: Operation) -> None:
    node = await taken(op, max_attempts=2)
    for _ in range(2):
        await silence(graph, node)
        got = await lease(op)
    assert got is None
    failed = await desk.at(node.id)
    assert failed.props["state"] == "FAILED"
    assert "the last of 2 attempts" in failed.props["message"]


async def test_an_attempt_that_could_not_be_made_is_made_again_while_attempts_are_left(op: Operation) -> None:
    node = await taken(op, max_attempts=2)
    waits = await report_validation(op, address=node.id, epoch=1, success=False, retry=True, message="no disk")
    assert (waits.props["state"], waits.props["message"]) == ("QUEUED", "no disk")
    assert await lease(op) is not None
    over = await report_validation(op, address=node.id, epoch=2, success=False, retry=True)
    assert over.props["state"] == "FAILED"


async def test_a_report_records_an_evaluation_of_the_version_on_the_data(desk: Desk, op: Operation) -> None:
    node = await taken(op, datasets=["datasets:/nq/v1", "datasets:/nq/v2"])
    done = await report_validation(
        op,
        address=node.id,
        epoch=1,
        success=True,
        message="as it should be",
        metrics=[{"name": "auc", "value": 0.9}],
        slices=[{"name": "country=DE", "metrics": [{"name": "auc", "value": 0.8}]}],
        params=[{"name": "threshold", "value": "0.5"}],
        report={"uri": "s3://b/report.html"},
    )
    assert (done.props["state"], done.props["message"]) == ("SUCCEEDED", "as it should be")
    (evaluation,) = [link.node for link in await desk.links(node.id, "REPORTED")]
    assert await desk.leads(evaluation.id, "EVALUATES") == {"1": ""}
    assert sorted(await desk.leads(evaluation.id, "EVALUATED_ON")) == ["v1", "v2"]
    assert {n: m.value for n, m in (await desk.metrics(evaluation.id)).items()} == {"auc": 0.9, "auc{country=DE}": 0.8}
    assert await desk.own(evaluation.id, "params") == {"threshold": "0.5"}
    assert await desk.leads(evaluation.id, "HAS_ARTIFACT") == {"s3://b/report.html": "report"}


async def test_an_attempt_that_is_given_back_does_not_count(desk: Desk, op: Operation) -> None:
    node = await taken(op, max_attempts=1)
    for epoch in (1, 2):
        back = await report_validation(op, address=node.id, epoch=epoch, success=False, retry=True, uncounted=True)
        assert (back.props["state"], back.props["attempts"]) == ("QUEUED", 0)
        again = await lease(op)
        assert again is not None
        assert again.props["epoch"] == epoch + 1
    with pytest.raises(InvalidArgument) as error:
        await report_validation(op, address=node.id, epoch=3, success=False, uncounted=True)
    assert error.value.field == "uncounted"
    over = await report_validation(op, address=node.id, epoch=3, success=False, retry=True)
    assert over.props["state"] == "FAILED"


@pytest.mark.parametrize(("metrics", "evaluations"), [([], 0), ([{"name": "auc", "value": 0.1}], 1)])
async def test_a_failure_keeps_what_was_measured(desk: Desk, op: Operation, metrics: Any, evaluations: int) -> None:
    node = await taken(op)
    await report_validation(op, address=node.id, epoch=1, success=False, message="too low", metrics=metrics)
    assert (await desk.at(node.id)).props["state"] == "FAILED"
    assert await desk.count("Evaluation") == evaluations
    assert await lease(op) is None


@pytest.mark.parametrize("given", [{"success": True}, {"success": False, "metrics": [{"name": "a", "value": 1.0}]}])
async def test_a_retry_neither_succeeds_nor_measures(op: Operation, given: Any) -> None:
    node = await taken(op)
    with pytest.raises(InvalidArgument) as error:
        await report_validation(op, address=node.id, epoch=1, retry=True, **given)
    assert refused(error) == "retry"


async def test_a_report_that_is_refused_leaves_the_attempt_as_it_is(desk: Desk, op: Operation) -> None:
    node = await taken(op)
    with pytest.raises(InvalidArgument) as error:
        await report_validation(op, address=node.id, epoch=1, success=True, metrics=[{"name": "a{b}", "value": 1.0}])
    assert refused(error) == "metrics[0].name"
    assert (await desk.at(node.id)).props["state"] == "RUNNING"
    assert await desk.count("Evaluation") == 0


async def test_the_same_report_under_a_key_is_made_once(desk: Desk, op: Operation) -> None:
    first = await taken(op)
    for _ in range(2):
        done = await report_validation.once(op, "r", address=first.id, epoch=1, success=True)
        assert done is not None
        assert done.props["state"] == "SUCCEEDED"
    assert await desk.count("Evaluation") == 1


async def test_what_is_cancelled_is_not_run_and_its_worker_hears_of_it(op: Operation) -> None:
    running, waiting = await taken(op), await ask(op)
    for node in (running, waiting):
        cancelled = await cancel_validation(op, address=node.id, reason="not needed")
        assert (cancelled.props["state"], cancelled.props["message"]) == ("CANCELLED", "not needed")
    assert await lease(op) is None
    with pytest.raises(Conflict, match="CANCELLED"):
        await heartbeat_validation(op, address=running.id, epoch=1)
    with pytest.raises(PreconditionFailed, match="CANCELLED already"):
        await cancel_validation(op, address=waiting.id)


async def test_a_validation_of_a_version_that_is_gone_fails_at_the_next_lease(desk: Desk, op: Operation) -> None:
    node = await ask(op)
    await delete_model(op, address="models:/bert")
    assert await lease(op) is None
    gone = await desk.at(node.id)
    assert (gone.props["state"], gone.props["message"]) == ("FAILED", "its version is gone")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"suites": []}, "suites"),
        ({"suites": ["s"] * 101}, "suites"),
        ({"suites": [""]}, "suites[0]"),
        ({"worker": ""}, "worker"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 3_601}, "seconds"),
    ],
)
async def test_a_lease_that_cannot_be_is_refused(op: Operation, given: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await lease_validation.once(op, None, **{"suites": ["s"], "worker": "w", **given})
    assert refused(error) == field


async def test_a_worker_gets_only_what_it_may_report_on(graph: Graph, op: Operation) -> None:
    elsewhere, principal = await building.create(
        graph,
        NewNode("Workspace", "vision", "", props={"visibility": "PUBLIC"}),
        NewNode("Principal", WORKER.name, ""),
    )
    _, (_,) = await building.model(graph, "resnet", versions=1, workspace="vision")
    other = await request_validation(op, version="models:/vision:resnet/1", suite="s")
    async with Operation(graph, caller=WORKER) as worker:
        with pytest.raises(Forbidden):
            await request_validation(worker, version="models:/vision:resnet/1", suite="s")
        assert await lease(worker) is None
        with pytest.raises(Forbidden):
            await cancel_validation(worker, address=other.id)
        await building.link(graph, NewEdge("GRANTS", elsewhere.id, principal.id, "CONTRIBUTOR"))
        got = await lease(worker)
        assert got is not None
        assert got.id == other.id
        done = await report_validation(worker, address=got.id, epoch=1, success=True)
        assert done.props["state"] == "SUCCEEDED"


async def test_nobody_reports_on_data_that_they_may_not_see(desk: Desk, graph: Graph, op: Operation) -> None:
    vision, _, principal = await building.create(
        graph,
        NewNode("Workspace", "vision", ""),
        NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}),
        NewNode("Principal", WORKER.name, ""),
    )
    await building.link(graph, NewEdge("GRANTS", vision.id, principal.id, "CONTRIBUTOR"))
    _, (_,) = await building.model(graph, "resnet", versions=1, workspace="vision")
    await building.dataset(graph, "patients", "v1", workspace="secret")
    await request_validation(
        op, version="models:/vision:resnet/1", suite="s", datasets=["datasets:/secret:patients/v1"]
    )
    async with Operation(graph, caller=WORKER) as worker:
        got = await lease(worker)
        assert got is not None
        with pytest.raises(PreconditionFailed, match="you may not see"):
            await report_validation(worker, address=got.id, epoch=1, success=True)
    assert await desk.count("Evaluation") == 0


async def test_of_many_workers_in_two_processes_no_two_get_the_same(store_url: str) -> None:
    async with open_graph(store_url) as graph:
        await graph.migrate()
        await building.model(graph, "bert", versions=1)
        async with Operation(graph, caller=caller.named("ann")) as op:
            made = [(await ask(op)).id for _ in range(30)]
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.resolvers.lifecycle.leasing", store_url, name, "4"),
                cwd=ROOT,
                stdin=PIPE,
                stdout=PIPE,
            )
            for name in ("one", "two")
        ]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        got = [id.decode() for out, _ in answers for id in out.split()]
        assert sorted(got) == sorted(made)
        async with graph.snapshot() as snapshot:
            attempts = {node.props["attempts"] for node in (await snapshot.nodes(made)).values()}
        assert attempts == {1}
