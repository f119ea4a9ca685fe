"""What happens here goes out as OpenLineage events: each one right by the specification, at least once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from starlette.applications import Starlette

from gateway.openlineage.parsing import parse
from gateway.openlineage.published import NAMES, create_schema_routes
from graph.address import Address
from graph.port import EdgeMatch, Graph, NewEdge, NewNode
from resolvers.openlineage.emitting import Emitter, Receiver
from resolvers.openlineage.recording import record
from resolvers.openlineage.telling import Narrator
from resolvers.operation import Operation
from resolvers.webhooks.sending import Sender
from resolvers.writing.common import FieldParent
from resolvers.writing.datasets import register_fields
from resolvers.writing.deployments import record_deployment, update_deployment
from resolvers.writing.runs import record_run, update_run
from resolvers.writing.versions import create_model_version
from tests import building
from tests.building import sequencing
from tests.openlineage.conftest import BASE
from tests.openlineage.inventing import at, data, event, job, run_id
from tests.webhooks.conftest import awaited
from tests.webhooks.receiver import Answer, Got
from tests.webhooks.receiver import Receiver as Listening


@dataclass
class Out:
    """A store whose changes go out, and what they go to."""

    graph: Graph
    receiver: Listening

    def op(self) -> Operation:
        """An operation."""
        return Operation(self.graph)

    @asynccontextmanager
    async def emitting(self, holder: str = "one") -> AsyncIterator[None]:
        """Send meanwhile, as one process of many does."""
        async with Sender(private=True, seconds=1.0) as sender:
            receiver = Receiver(self.receiver.url, "let-me-in")
            narrator = Narrator("lineal", BASE)
            emitter = Emitter(self.graph, narrator, sender, receiver, by="openlineage", holder=holder, first_pause=0.05)
            task = asyncio.create_task(emitter.run())
            try:
                await awaited(self._began)
                yield
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def _began(self) -> bool:
        async with self.graph.snapshot() as snapshot:
            return bool(await snapshot.kept(["openlineage"], ["cursor"]))

    def told(self, name: str) -> list[dict[str, Any]]:
        """The events of a job by its name, in the order that they came in."""
        return [got.json for got in self.receiver.got if got.json["job"]["name"] == name]

    async def heard(self, name: str, type_: str = "COMPLETE") -> dict[str, Any]:
        """The last event of a job, once there is one of this type."""
        await awaited(lambda: any(e["eventType"] == type_ for e in self.told(name)), lambda: self.told(name))
        return self.told(name)[-1]


@pytest.fixture
async def out(graph: Graph) -> AsyncIterator[Out]:
    """On either store."""
    async with sequencing(graph), Listening() as receiver:
        yield Out(graph, receiver)


async def test_a_training_goes_out_with_what_it_read_and_made(out: Out, right: Callable[[Any], None]) -> None:
    async with out.emitting(), out.op() as op:
        await register_fields(
            op,
            dataset="datasets:/corpus",
            create_dataset=True,
            fields=[{"name": "text", "type": "string"}, {"name": "label", "type": "int"}],
        )
        field: FieldParent = {"field": str(Address("Field", "default", "corpus", "text")), "relation": "embed"}
        await register_fields(
            op,
            dataset="datasets:/features",
            create_dataset=True,
            fields=[{"name": "x", "type": "float", "derivedFrom": [field]}],
        )
        parent = await record_run(op, name="sweep", experiment="experiments:/search", create_experiment=True)
        run = await record_run(
            op,
            name="train-1",
            pipeline="pipelines:/train",
            create_pipeline=True,
            parent=parent.id,
            inputs=[{"address": "datasets:/corpus", "role": "train", "create": True}],
            outputs=[{"dataset": "datasets:/features/v1", "create": True}],
            code={"repository": "https://git.test/a.git", "commit": "abc", "branch": "main"},
            params=[{"name": "lr", "value": "0.1"}],
            metrics=[{"name": "loss", "value": 0.5, "step": 3}, {"name": "bad", "value": float("nan")}],
        )
        version = await create_model_version(
            op,
            model="models:/ranker",
            create_model=True,
            run=run.id,
            properties={"frameworks": ["PyTorch"], "license": "MIT", "description": "Ranks."},
            metrics=[{"name": "ndcg", "value": 0.9}],
        )
        assert version.props["number"] == 1
        await update_run(op, address=run.id, properties={"state": "FINISHED"})
        told = await out.heard("train")
    types = [e["eventType"] for e in out.told("train")]
    assert (types[0], types[-1]) == ("START", "COMPLETE")
    assert told["job"]["namespace"] == "lineal"
    assert {n: f for n, f in told["job"]["facets"]["sourceCodeLocation"].items() if n[0] != "_"} == {
        "type": "git",
        "url": "https://git.test/a.git",
        "repoUrl": "https://git.test/a.git",
        "version": "abc",
        "branch": "main",
    }
    facets = told["run"]["facets"]
    assert facets["executionParameters"]["parameters"] == [{"key": "lr", "name": "lr", "value": "0.1"}]
    assert [(m["name"], m["value"], m["step"]) for m in facets["lineal_metrics"]["metrics"]] == [("loss", 0.5, 3)]
    (above,) = out.told("search")
    assert facets["parent"]["run"] == {"runId": above["run"]["runId"]}
    assert facets["parent"]["job"] == {"namespace": "lineal", "name": "search"}
    assert [item["name"] for item in told["inputs"]] == ["corpus"]
    features, model = sorted(told["outputs"], key=lambda item: str(item["name"]))
    assert features["facets"]["version"]["datasetVersion"] == "v1"
    assert features["facets"]["schema"]["fields"] == [{"name": "x", "type": "float"}]
    (column,) = features["facets"]["columnLineage"]["fields"]["x"]["inputFields"]
    assert (column["name"], column["field"], column["transformations"]) == (
        "corpus",
        "text",
        [{"type": "DIRECT", "subtype": "embed"}],
    )
    assert model["name"] == "models/ranker"
    assert model["facets"]["datasetType"]["datasetType"] == "MODEL"
    said = model["facets"]["lineal_modelVersion"]
    assert (said["model"], said["version"], said["frameworks"], said["license"]) == ("ranker", 1, ["PyTorch"], "MIT")
    assert [m["name"] for m in model["outputFacets"]["lineal_metrics"]["metrics"]] == ["ndcg"]
    assert {got.headers["authorization"] for got in out.receiver.got} == {"Bearer let-me-in"}
    for got in out.receiver.got:
        right(got.json)


async def test_versions_without_a_run_and_deployments_go_out_too(out: Out, right: Callable[[Any], None]) -> None:
    async with out.emitting(), out.op() as op:
        first = await create_model_version(op, model="models:/base", create_model=True)
        second = await create_model_version(
            op,
            model="models:/tuned",
            create_model=True,
            parents=[{"version": first.id, "relation": "finetune"}],
            inputs=[{"dataset": "datasets:/corpus/v1", "create": True}],
        )
        await record_deployment(op, name="live", serves=[{"version": second.id, "weight": 1.0}])
        registration = await out.heard("models/tuned")
        deployment = await out.heard("deployments/live")
        await update_deployment(op, address="deployments:/live", serves=[{"version": first.id}])
        await awaited(lambda: len(out.told("deployments/live")) == 2, lambda: out.told("deployments/live"))
        # It serves something else: that is another run.
        assert len({told["run"]["runId"] for told in out.told("deployments/live")}) == 2
    assert {item["name"] for item in registration["inputs"]} == {"corpus", "models/base"}
    assert [item["name"] for item in registration["outputs"]] == ["models/tuned"]
    assert [item["name"] for item in deployment["inputs"]] == ["models/tuned"]
    assert deployment["inputs"][0]["facets"]["version"]["datasetVersion"] == "1"
    assert deployment["outputs"][0]["facets"]["datasetType"]["datasetType"] == "DEPLOYMENT"
    for got in out.receiver.got:
        right(got.json)


async def test_what_is_known_later_of_where_something_came_from_goes_out_too(out: Out) -> None:
    async with out.emitting(), out.op() as op:
        base = await create_model_version(op, model="models:/base", create_model=True)
        tuned = await create_model_version(op, model="models:/tuned", create_model=True)
        run = await record_run(op, name="train", properties={"endedAt": 1})
        made = await create_model_version(op, model="models:/made", create_model=True, run=run.id)
        _, (corpus,) = await building.dataset(out.graph, "corpus", "v1")
        props = {"repository": "https://git.test/a.git", "commit": "abc"}
        (code,) = await building.create(out.graph, NewNode("CodeRevision", "a@abc", "default", props=props))
        for name, edge in (
            ("models/tuned", NewEdge("TRAINED_ON", tuned.id, corpus.id)),
            ("models/tuned", NewEdge("DERIVED_FROM", tuned.id, base.id)),
            ("models/tuned", NewEdge("BUILT_FROM", tuned.id, code.id)),
            ("runs/train", NewEdge("DERIVED_FROM", made.id, base.id)),
            ("runs/train", NewEdge("BUILT_FROM", run.id, code.id)),
        ):
            await _more(out, name, building.link(out.graph, edge))
        last = [out.told(each)[-1] for each in ("models/tuned", "runs/train")]
        await _more(out, "models/tuned", building.unlink(out.graph, EdgeMatch("TRAINED_ON", tuned.id)))
        told = out.told("models/tuned")
    inputs = [{item["name"] for item in event["inputs"]} for event in last]
    assert inputs == [{"corpus", "models/base"}, {"models/base"}]
    assert [event["eventType"] for event in last] == ["COMPLETE", "OTHER"]
    assert {event["job"]["facets"]["sourceCodeLocation"]["version"] for event in last} == {"abc"}
    assert [item["name"] for item in told[-1]["inputs"]] == ["models/base"]
    assert len({event["run"]["runId"] for event in told}) == 1


async def _more(out: Out, name: str, doing: Awaitable[Any]) -> None:
    """Do something that is told of in one more event of a job."""
    count = len(out.told(name))
    await doing
    await awaited(lambda: len(out.told(name)) > count, lambda: out.told(name))


async def test_what_came_with_openlineage_does_not_go_out_again(out: Out) -> None:
    async with out.emitting(), out.op() as op:
        said = event(at(1), eventType="COMPLETE", run={"runId": run_id(1)}, job=job("theirs"), outputs=[data("t")])
        await record(op, "default", [parse(said)])
        await record_run(op, name="ours", inputs=[{"address": "datasets:/made-up#t/" + run_id(1)}])
        told = await out.heard("runs/ours", "START")
    assert not out.told("theirs")
    # It is named as it came.
    (item,) = told["inputs"]
    assert (item["namespace"], item["name"]) == ("made-up", "t")


async def test_a_receiver_that_fails_or_dies_gets_everything_in_order(out: Out) -> None:
    answers = iter([500, None, 429, 200, 401, 200, 400])

    async def respond(_got: Got) -> Answer | None:
        status = next(answers, 200)
        return None if status is None else (status, {}, b"no")

    out.receiver.respond = respond
    async with out.emitting(), out.op() as op:
        for number in range(4):
            await record_run(op, name=f"r{number}")
        await out.heard("runs/r3", "START")
    names = [got.json["job"]["name"] for got in out.receiver.got]
    assert list(dict.fromkeys(names)) == [f"runs/r{number}" for number in range(4)]
    # The third was refused as bad, and is not sent again.
    assert [names.count(f"runs/r{number}") for number in range(4)] == [4, 2, 1, 1]


async def test_another_process_goes_on_where_one_ended(out: Out) -> None:
    async with out.op() as op:
        await record_run(op, name="before")
        async with out.emitting("one"):
            await record_run(op, name="first")
            await out.heard("runs/first", "START")
        await record_run(op, name="meanwhile")
        async with out.emitting("two"):
            await record_run(op, name="last")
            await out.heard("runs/last", "START")
    names = [got.json["job"]["name"] for got in out.receiver.got]
    assert list(dict.fromkeys(names)) == ["runs/first", "runs/meanwhile", "runs/last"]


async def test_the_schemas_of_our_own_facets_are_served_and_refuse_what_is_wrong(
    right: Callable[[dict[str, Any]], None],
) -> None:
    app = Starlette(routes=create_schema_routes(BASE))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http:
        for name in NAMES:
            answer = await http.get(f"/openlineage/facets/1-0-0/{name}")
            assert answer.json()["$id"] == f"{BASE}/openlineage/facets/1-0-0/{name}"
            Draft202012Validator.check_schema(answer.json())
    narrator = Narrator("lineal", BASE)
    facets = narrator.facets(lineal_metrics={"metrics": [{"name": "loss"}]})
    bad = narrator.event(0, "OTHER", run={"runId": run_id(1), "facets": facets}, job=job("j"), inputs=[], outputs=[])
    with pytest.raises(ValidationError, match="'value' is a required property"):
        right(bad)
