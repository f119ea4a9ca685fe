"""Through GraphQL what is hidden is answered like what nobody ever made, by the very same statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.ids import new_id
from graph.port import Graph, NewEdge, NewNode
from schema.executing import execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests import building
from tests.graph.spying import Spy, spy_on_statements

Words = Mapping[str, str]

SCHEMA = build_schema(Limits())
ALL = frozenset(SCOPES) - {ADMIN}
ANN = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
"""She owns `default`, and does not see the workspace `secret`."""
ANN_WITHOUT_MODELS = Caller("corp:ann", ALL - {"model:read"}, workspaces=None)
"""She owns everything, and sees no model."""
EVERYTHING = Caller("corp:root", frozenset({ADMIN}))

ROOTS = (
    'node(id: "MODEL") { id name workspace { name } tags { name } }',
    'nodes(ids: ["OWN", "VERSION", "MODEL"]) { id name }',
    '_entities(representations: [{__typename: "Model", id: "MODEL"}]) { __typename ... on Model { id } }',
    '_entities(representations: [{__typename: "Model", workspace: {name: "secret"}, name: "NAME"}]) { __typename }',
    'lineage(of: ["VERSION"], direction: UPSTREAM) { nodes { id } complete }',
    'lineage(of: ["OWN", "VERSION"], direction: DOWNSTREAM) { nodes { id } complete }',
    'lineage(of: ["models:/secret:NAME/1"], direction: UPSTREAM) { nodes { id } }',
    'paths(from: "VERSION", to: "DATASET") { count paths { length } }',
    'paths(from: "DATASET", to: "VERSION") { count paths { length } }',
    'search(text: "NAME") { totalCount nodes { id name } }',
    'activity(about: ["MODEL"]) { nodes { id } pageInfo { endCursor } }',
    'audit(subject: "MODEL") { nodes { id } pageInfo { endCursor } }',
)
"""Documents of one root; OWN and DATASET are always seen, MODEL, VERSION and NAME are hidden, or never were."""

OF_MODELS = (
    'model(address: "models:/secret:NAME") { id versions { nodes { id } } }',
    'model(address: "MODEL") { id }',
    'modelVersion(address: "models:/secret:NAME@best") { id }',
    'model(address: "models:/secret:NAME", asOf: "2999-01-01T00:00:00Z") { id }',
    'compareVersions(versions: ["OWN", "VERSION"]) { versions { id } }',
    'checkGate(version: "VERSION", stage: "Production") { met conditions { detail } }',
    'models(where: {ids: ["MODEL"]}) { totalCount nodes { id } }',
    'models(where: {name: {eq: "NAME"}}) { totalCount nodes { id } }',
    'runs(where: {readsModels: {name: {eq: "1"}, ids: ["VERSION"]}}) { totalCount }',
    'runs(where: {readsModels: {model: {name: {eq: "NAME"}}}}) { totalCount }',
    'runs(where: {not: {readsModels: {ids: ["VERSION"]}}}) { totalCount }',
)
"""The same, where the scope that opens models is needed to ask at all."""

MUTATIONS = (
    'updateModel(input: {model: "MODEL", description: "x"}) { model { id } }',
    'deleteModel(input: {model: "MODEL"}) { __typename }',
    'renameModel(input: {model: "models:/secret:NAME", name: "x"}) { model { id } }',
    'setAlias(input: {model: "OWNMODEL", name: "best", version: "VERSION"}) { __typename }',
    'supersede(input: {node: "OWNMODEL", by: "MODEL"}) { node { id } }',
    'addComment(input: {about: "MODEL", text: "x"}) { comment { id } }',
    'watch(input: {node: "MODEL"}) { node { id } }',
    'setTags(input: {node: "MODEL", tags: [{name: "a", value: "b"}]}) { node { id } }',
    'requestValidation(input: {version: "VERSION", suite: "s"}) { validation { id } }',
    'deprecate(input: {node: "MODEL", reason: "x"}) { node { id } }',
    'deprecate(input: {node: "OWNMODEL", reason: "x", successor: "MODEL"}) { node { id } }',
    'retire(input: {version: "VERSION", reason: "x"}) { version { id } }',
    'enrichModelVersion(input: {version: "VERSION", runId: "r"}) { version { id } }',
    'recordEvaluation(input: {version: "VERSION"}) { evaluation { id } }',
    'setStage(input: {version: "VERSION", stage: "Production"}) { version { id } }',
    'requestApproval(input: {version: "VERSION", stage: "Production"}) { approval { id } }',
    'recordRun(input: {name: "r", inputs: [{address: "VERSION"}]}) { run { id } }',
)
"""Writes to something hidden, and to one's own with something hidden in it."""


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return spy_on_statements(monkeypatch)


async def story(graph: Graph) -> tuple[Words, Words]:
    """What stands for the words of the documents: where there is something hidden, and where there never was."""
    await building.workspace(graph, "secret")
    (ann,) = await building.create(graph, NewNode("Principal", ANN.name, "", props={"type": "USER"}))
    dataset, (data,) = await building.dataset(graph, "msmarco", "v1")
    own_model, (own,) = await building.model(graph, "quartz", versions=1)
    model, (version,) = await building.model(graph, "basalt", versions=1, workspace="secret")
    (run,) = await building.create(graph, NewNode("Run", "train", "default"))
    await building.tag(graph, model.id, team="nlp")
    await building.link(
        graph,
        NewEdge("ALIAS", model.id, version.id, "best"),
        NewEdge("TRAINED_ON", version.id, data.id, "TRAIN"),
        NewEdge("READ", run.id, version.id, "input"),
        NewEdge("WATCHES", ann.id, own_model.id),
    )
    await building.sequenced(graph)
    seen = {"OWNMODEL": own_model.id, "OWN": own.id, "DATASET": dataset.id}
    there = {**seen, "MODEL": model.id, "VERSION": version.id, "NAME": model.name}
    return there, {**seen, "MODEL": new_id("mo"), "VERSION": new_id("mv"), "NAME": "absent"}


async def told(graph: Graph, spy: Spy, caller: Caller, text: str, words: Words) -> tuple[Any, list[str]]:
    """The answer, with the words in place of what stands for them, and the texts of all statements."""
    for word, value in words.items():
        text = text.replace(f'"{word}"', f'"{value}"')
    text = text.replace("NAME", words["NAME"])
    spy.forget()
    result = await execute(SCHEMA, graph, text, caller=caller)
    errors = [{"message": e.message, "path": e.path, "extensions": e.extensions} for e in result.errors or ()]
    answer = orjson.dumps({"data": result.data, "errors": errors}).decode()
    for word, value in words.items():
        answer = answer.replace(value, word)
    return orjson.loads(answer), spy.forget()


async def test_what_is_in_a_hidden_workspace_is_absent(graph: Graph, spy: Spy) -> None:
    words = await story(graph)
    for root in (*ROOTS, *OF_MODELS):
        await same(graph, spy, ANN, root, words)


async def test_what_is_of_a_hidden_kind_is_absent(graph: Graph, spy: Spy) -> None:
    words = await story(graph)
    for root in ROOTS:
        if "OWN" not in root:
            await same(graph, spy, ANN_WITHOUT_MODELS, root, words)


async def test_a_write_to_what_is_hidden_is_refused_like_one_to_what_is_absent(graph: Graph, spy: Spy) -> None:
    hidden, absent = await story(graph)
    for root in MUTATIONS:
        answer, statements = await told(graph, spy, ANN, f"mutation {{ it: {root} }}", hidden)
        assert (answer, statements) == await told(graph, spy, ANN, f"mutation {{ it: {root} }}", absent), root
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"], root


async def same(graph: Graph, spy: Spy, caller: Caller, root: str, words: tuple[Words, Words]) -> None:
    """Ask of what is hidden and of what is absent, and compare; and see that it is found where it shows."""
    text, (hidden, absent) = f"{{ it: {root} }}", words
    answer, statements = await told(graph, spy, caller, text, hidden)
    assert (answer, statements) == await told(graph, spy, caller, text, absent), root
    assert statements, root
    assert answer != (await told(graph, spy, EVERYTHING, text, hidden))[0], root
