"""A small story in a store, and how to ask about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from strawberry.types import ExecutionResult

from auth.caller import LOCAL, Caller
from graph.port import Graph, NewEdge, NewNode, Node, Point
from schema.executing import Operated, execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests import building as b


@dataclass
class Asked:
    """Runs documents on a store, and keeps what each operation reported."""

    graph: Graph
    limits: Limits = field(default_factory=Limits)
    caller: Caller = LOCAL
    operations: list[Operated] = field(default_factory=list)

    async def answer(self, query: str, **variables: Any) -> ExecutionResult:
        """The whole answer, errors and all."""
        schema = build_schema(self.limits)
        return await execute(
            schema, self.graph, query, variables, caller=self.caller, on_operation=self.operations.append
        )

    async def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.answer(query, **variables)
        assert not result.errors, result.errors
        assert result.data is not None
        return result.data

    async def refused(self, query: str, **variables: Any) -> dict[str, Any]:
        """The extensions of the one error that the answer has, with its message."""
        result = await self.answer(query, **variables)
        assert result.errors is not None
        (error,) = result.errors
        return {**(error.extensions or {}), "message": error.message}


@dataclass
class Story:
    """bert/1 was made by a run on nq, bert/2 learned from nq, bert/3 is finetuned from bert/1 and served."""

    model: Node
    versions: list[Node]
    dataset: Node
    data: list[Node]
    run: Node
    deployment: Node


async def tell(graph: Graph) -> Story:
    """Write the story."""
    model, versions = await b.model(graph, "bert", versions=3, task="retrieval")
    dataset, data = await b.dataset(graph, "nq", "v1", "v2")
    run, deployment, environment, weights, code, team, experiment = await b.create(
        graph,
        NewNode("Run", "training-7", "default", props={"state": "FINISHED", "startedAt": 5_000_000}),
        NewNode("Deployment", "search", "default"),
        NewNode("Environment", "production", "default"),
        NewNode("Artifact", "weights", "default", props={"digest": "sha256:aa", "sizeBytes": 7_000_000_000}),
        NewNode("CodeRevision", "git@abc", "default", props={"repository": "git", "commit": "abc"}),
        NewNode("Team", "search-team", ""),
        NewNode("Experiment", "tuning", "default"),
    )
    (field_,) = await b.create(
        graph, NewNode("Field", "question", "default", dataset.id, {"ordinal": 0, "type": "text"})
    )
    await b.link(
        graph,
        NewEdge("PRODUCED_BY", versions[0].id, run.id),
        NewEdge("READ", run.id, data[0].id, "train"),
        NewEdge("TRAINED_ON", versions[1].id, data[0].id, "train"),
        NewEdge("DERIVED_FROM", versions[2].id, versions[0].id, "finetune"),
        NewEdge("SERVES", deployment.id, versions[2].id, props={"weight": 0.5}),
        NewEdge("IN_ENVIRONMENT", deployment.id, environment.id),
        NewEdge("ALIAS", model.id, versions[2].id, "champion"),
        NewEdge("STAGE", model.id, versions[2].id, "production"),
        NewEdge("HAS_ARTIFACT", versions[0].id, weights.id, "model.bin"),
        NewEdge("BUILT_FROM", run.id, code.id),
        NewEdge("OWNED_BY", model.id, team.id),
        NewEdge("PART_OF", run.id, experiment.id),
        NewEdge("PART_OF", field_.id, dataset.id),
    )
    await b.put_params(graph, run.id, lr="0.1", epochs="3")
    await b.put_params(graph, versions[0].id, lr="0.2")
    await b.tag(graph, model.id, area="search")
    await b.log(graph, versions[0].id, Point("auc", 0.5, 1, 1_000), Point("auc", 0.7, 2, 2_000))
    await b.log(graph, versions[1].id, Point("auc", 0.8, 1, 1_000))
    await b.log(graph, versions[2].id, Point("auc", float("nan"), 1, 1_000), Point("loss", float("inf"), 1, 1_000))
    return Story(model, versions, dataset, data, run, deployment)


@pytest.fixture
async def story(sqlite_graph: Graph) -> Story:
    """The story, in SQLite: that both stores answer alike is what their contract says."""
    return await tell(sqlite_graph)


@pytest.fixture
def ask(sqlite_graph: Graph, story: Story) -> Asked:
    """Asks about the story."""
    return Asked(sqlite_graph)


@pytest.fixture
def asked(sqlite_graph: Graph) -> Asked:
    """Asks an empty SQLite store: for what does not depend on the store."""
    return Asked(sqlite_graph)
