"""What is told: everything that happened, in either format, and only what the webhook may tell."""

from __future__ import annotations

from typing import Any

import pytest

from auth.caller import ADMIN, Caller
from auth.scopes import SCOPES
from graph.ontology import NODE_KINDS
from graph.port import Change, EdgeMatch, Graph, NewEdge, NewNode, Point, Transaction, Update
from lineal.errors import Forbidden
from resolvers.cloudevents import cloudevent
from resolvers.events import ACTIONS, TYPES, Event, Filter, Position, handful, position, type_of
from resolvers.webhooks import mlflow
from tests import building
from tests.webhooks.conftest import Post, awaited
from tests.webhooks.receiver import Receiver

ALL = frozenset(SCOPES) - {ADMIN}


async def everything(graph: Graph) -> dict[str, str]:
    """Have each action happen once to a model of its own kind of story; ids by name."""
    model, (first, second) = await building.model(graph, "bert", versions=2)
    (deployment,) = await building.create(graph, NewNode("Deployment", "search", "default"))
    await building.link(graph, NewEdge("ALIAS", model.id, first.id, "champion"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id, first.id, "champion"))
    await building.link(graph, NewEdge("STAGE", model.id, first.id, "production"))
    await building.link(graph, NewEdge("SERVES", deployment.id, first.id))
    await building.update(graph, Update(model.id, {"task": "retrieval"}))
    await building.tag(graph, model.id, area="search")
    await building.log(graph, first.id, Point("auc", 0.5, 1, 1_000))
    await building.link(graph, NewEdge("DERIVED_FROM", second.id, first.id, "finetune"))
    await building.unlink(graph, EdgeMatch("DERIVED_FROM", second.id, first.id))
    await building.unlink(graph, EdgeMatch("SERVES", deployment.id))
    await building.remove(graph, second.id)
    return {"model": model.id, "first": first.id, "second": second.id, "deployment": deployment.id}


async def test_each_action_is_told_of_what_it_was_done_to(post: Post, receiver: Receiver) -> None:
    await post.hook(receiver.url)
    ids = await everything(post.graph)
    expected = [
        ("lineal.model.created", "model"),
        ("lineal.model_version.created", "first"),
        ("lineal.model_version.created", "second"),
        ("lineal.deployment.created", "deployment"),
        ("lineal.model.alias_changed", "model"),
        ("lineal.model.alias_changed", "model"),
        ("lineal.model.stage_changed", "model"),
        ("lineal.deployment.serving_changed", "deployment"),
        ("lineal.model.updated", "model"),
        ("lineal.model.tags_changed", "model"),
        ("lineal.model_version.metrics_logged", "first"),
        ("lineal.model_version.linked", "second"),
        ("lineal.model_version.unlinked", "second"),
        ("lineal.deployment.serving_changed", "deployment"),
        ("lineal.model_version.deleted", "second"),
    ]
    async with post.delivering():
        await awaited(lambda: len(receiver.got) >= len(expected), lambda: len(receiver.got))
    told = sorted(receiver.taken(), key=lambda event: event["sequence"])
    assert [(event["type"], event["subject"]) for event in told] == [(type_, ids[name]) for type_, name in expected]
    by_type = {event["type"]: event["data"]["change"] for event in told}
    assert by_type["lineal.model.updated"]["updated"] == {"before": {"task": None}, "after": {"task": "retrieval"}}
    assert by_type["lineal.model_version.metrics_logged"]["logged"] == 1
    assert by_type["lineal.model_version.deleted"]["deleted"] == {"number": 2}
    assert {event["type"] for event in told} <= TYPES


async def test_a_filter_takes_kinds_actions_types_and_tags_together(post: Post, receiver: Receiver) -> None:
    async with Receiver() as kinds, Receiver() as types, Receiver() as tagged:
        await post.hook(kinds.url, kinds=["ModelVersion"], actions=["CREATED"])
        await post.hook(types.url, types=["lineal.model.alias_changed"])
        await post.hook(tagged.url, with_tags=[{"name": "area", "value": "search"}])
        await post.hook(receiver.url)
        ids = await everything(post.graph)
        async with post.delivering():
            await awaited(lambda: len(receiver.got) == 15)
            await awaited(lambda: (len(kinds.got), len(types.got)) == (2, 2))
            await awaited(lambda: len(tagged.got) >= 7)
    assert {event["type"] for event in kinds.taken()} == {"lineal.model_version.created"}
    assert {event["type"] for event in types.taken()} == {"lineal.model.alias_changed"}
    # The deployment has no such tag, and neither has its container.
    assert {event["subject"] for event in tagged.taken()} <= {ids["model"], ids["first"]}
    assert "lineal.model_version.metrics_logged" in {event["type"] for event in tagged.taken()}


def test_a_filter_holds_when_all_of_it_does() -> None:
    wanted = Filter(["Model"], ["CREATED"], ["lineal.model.created"], {"area": "search", "team": None})
    event = ("lineal.model.created", "Model", "CREATED")
    assert wanted.takes(*event, {"area": "search", "team": "x"})
    assert not wanted.takes(*event, {"area": "search"})
    assert not wanted.takes(*event, {"area": "other", "team": "x"})
    assert not wanted.takes("lineal.model.created", "Run", "CREATED", {"area": "search", "team": "x"})
    assert Filter().takes(*event, {})


def test_places_sort_as_text_and_as_numbers_alike() -> None:
    places = [Position(1, 0), Position(1, 10), Position(2), Position(10, 3), Position(10, 1_000_000)]
    assert [str(p) for p in places] == sorted(str(p) for p in places)
    assert [p.number for p in places] == sorted(p.number for p in places)
    assert [position(str(p)) for p in places] == places == [Position.at(p.number) for p in places]
    assert position("42") == Position(42)


def test_every_kind_and_action_has_a_type() -> None:
    assert len(TYPES) == len(NODE_KINDS) * len(ACTIONS)
    assert type_of("ModelVersion", "CREATED") == "lineal.model_version.created"


def test_what_one_event_tells_is_bounded() -> None:
    change = {"updated": {"before": {}, "after": {f"tags.t{n}": "x" * 8_000 for n in range(40)}}}
    event = Event(
        "ch.0", Position(1, 0), "UPDATED", "mo_1", "Model", "m", None, "default", None, 0, "ann", "x", "", change
    )
    data = cloudevent(event, "https://lineal.test")["data"]
    assert data["truncated"] is True
    assert "change" not in data


def test_changes_are_looked_at_by_the_handful() -> None:
    rows = [[f"mo_{n}", "Model", f"m{n}"] for n in range(3_000)]
    changes = [Change(f"ch_{n}", n, "x", "x", "", {"created": rows}, seq=n) for n in range(4)]
    assert handful(changes) == changes[:1]
    assert handful(changes[:1]) == changes[:1]
    assert handful([]) == []


# MLflow's format ──────────────────────────────────────────────────────────────────────────────────


async def _tell_mlflow(graph: Graph) -> None:
    model, (version, _) = await building.model(graph, "bert", versions=2, description="encodes")
    (run,) = await building.create(graph, NewNode("Run", "abc123", "default"))
    await building.link(graph, NewEdge("PRODUCED_BY", version.id, run.id))
    await building.tag(graph, version.id, a="1", b="2")
    await building.tag(graph, version.id, a=None)
    await building.tag(graph, model.id, own="x")
    await building.link(graph, NewEdge("ALIAS", model.id, version.id, "champion"))
    await building.unlink(graph, EdgeMatch("ALIAS", model.id, version.id, "champion"))


async def test_mlflow_is_told_in_its_own_words(post: Post, receiver: Receiver) -> None:
    await post.hook(receiver.url, format="MLFLOW", secret="mlflow's secret")
    await _tell_mlflow(post.graph)
    async with post.delivering():
        await awaited(lambda: len(receiver.got) == 8, lambda: [got.json for got in receiver.got])
    told: dict[str, list[Any]] = {}
    for got in receiver.got:
        body = got.json
        assert body.keys() == {"entity", "action", "timestamp", "data"}
        told.setdefault(f"{body['entity']}.{body['action']}", []).append(body["data"])
    version = {"name": "bert", "version": "1"}
    assert told["registered_model.created"] == [{"name": "bert", "tags": {"own": "x"}, "description": "encodes"}]
    assert [each["version"] for each in told["model_version.created"]] == ["1", "2"]
    assert told["model_version_tag.set"] == [
        {**version, "key": "a", "value": "1"},
        {**version, "key": "b", "value": "2"},
    ]
    assert told["model_version_tag.deleted"] == [{**version, "key": "a"}]
    assert told["model_version_alias.created"] == [{"name": "bert", "alias": "champion", "version": "1"}]
    assert told["model_version_alias.deleted"] == [{"name": "bert", "alias": "champion"}]
    assert told.keys() <= set(mlflow.EVENTS)


async def test_mlflow_is_told_where_a_version_comes_from_as_its_own_face_says(post: Post, receiver: Receiver) -> None:
    await post.hook(receiver.url, format="MLFLOW", types=["model_version.created"])
    model, _ = await building.model(post.graph, "bert")
    (run,) = await building.create(post.graph, NewNode("Run", "abc123", "default"))
    kept = {"uri": "s3://b/copied", "source": "models:/other/1", "runId": "0123456789abcdef0123456789abcdef"}
    for number, props in enumerate((kept, {"uri": "s3://b/x"}, {}), start=1):
        version = NewNode("ModelVersion", str(number), "default", container=model.id, props={**props, "number": number})
        await building.create(post.graph, version)

    async def produced(tx: Transaction) -> None:
        version = NewNode("ModelVersion", "4", "default", container=model.id, props={"number": 4})
        (made,) = await tx.create([version])
        await tx.link([NewEdge("PRODUCED_BY", made.id, run.id)])

    await post.graph.write(produced, by=building.BY, action="createModelVersion")
    async with post.delivering():
        await awaited(lambda: len(receiver.got) == 4, lambda: [got.json for got in receiver.got])
    told = {got.json["data"]["version"]: got.json["data"] for got in receiver.got}
    assert [(told[n]["source"], told[n]["run_id"]) for n in sorted(told)] == [
        ("models:/other/1", "0123456789abcdef0123456789abcdef"),
        ("s3://b/x", None),
        ("", None),
        ("", "abc123"),
    ]


async def test_prompts_are_told_as_prompts(post: Post, receiver: Receiver) -> None:
    await post.hook(receiver.url, format="MLFLOW")
    prompt, (version,) = await building.model(post.graph, "greet", versions=1)
    await building.tag(post.graph, prompt.id, **{mlflow.IS_PROMPT: "true"})
    await building.tag(post.graph, version.id, **{mlflow.TEMPLATE: "Hello, {{name}}"})
    await building.link(post.graph, NewEdge("ALIAS", prompt.id, version.id, "live"))
    async with post.delivering():
        await awaited(lambda: len(receiver.got) == 5, lambda: [got.json for got in receiver.got])
    told = {f"{got.json['entity']}.{got.json['action']}": got.json["data"] for got in receiver.got}
    assert told.keys() == {
        "prompt.created",
        "prompt_version.created",
        "prompt_tag.set",
        "prompt_version_tag.set",
        "prompt_alias.created",
    }
    assert told["prompt_version.created"]["template"] == "Hello, {{name}}"


@pytest.mark.parametrize("type_", mlflow.EVENTS)
def test_there_is_an_example_of_each_of_mlflows_events(type_: str) -> None:
    body = mlflow.example(type_, 0)
    assert f"{body['entity']}.{body['action']}" == type_
    assert body["data"]["name"] == "example_model"
    assert ("version" in body["data"]) is (
        type_ in {"model_version_alias.created", "prompt_alias.created"}
        or "_version." in type_
        or "version_tag" in type_
    )


# What may be told ─────────────────────────────────────────────────────────────────────────────────


async def test_a_webhook_tells_of_its_workspace_and_what_is_shared_with_it_alone(
    post: Post, receiver: Receiver
) -> None:
    await building.create(
        post.graph,
        *(NewNode("Workspace", name, "", props={"visibility": "PUBLIC"}) for name in ("vision", "speech")),
    )
    async with post.graph.snapshot() as snapshot:
        places = {node.name: node for node in (await snapshot.find("Workspace")).items}
    await post.hook(receiver.url, workspace="vision")
    hidden, _ = await building.model(post.graph, "hidden", workspace="speech")
    shared, _ = await building.model(post.graph, "shared", workspace="speech")
    await building.create(post.graph, NewNode("Principal", "ann", ""))
    await building.link(post.graph, NewEdge("SHARED_WITH", shared.id, places["vision"].id))
    await building.tag(post.graph, hidden.id, a="1")
    await building.tag(post.graph, shared.id, a="1")
    mine, _ = await building.model(post.graph, "mine", workspace="vision")
    async with post.delivering():
        await awaited(lambda: mine.id in [event["subject"] for event in receiver.taken()])
    assert {event["subject"] for event in receiver.taken()} <= {shared.id, mine.id}
    assert shared.id in {event["subject"] for event in receiver.taken()}


async def test_a_webhook_tells_no_more_than_its_maker_may_read(post: Post, receiver: Receiver) -> None:
    maker = Caller("ann", ALL - {"deployment:read", "metrics:read"}, workspaces=frozenset({"default"}))
    post.caller = maker
    await post.hook(receiver.url)
    ids = await everything(post.graph)
    last, _ = await building.model(post.graph, "last")
    async with post.delivering():
        await awaited(lambda: last.id in [event["subject"] for event in receiver.taken()])
    assert ids["deployment"] not in {event["subject"] for event in receiver.taken()}
    assert "lineal.model_version.metrics_logged" not in {event["type"] for event in receiver.taken()}
    assert ids["deployment"] not in b"".join(got.body for got in receiver.got).decode()


@pytest.mark.parametrize("lacking", ["webhook:write", "activity:read"])
async def test_who_may_not_read_activity_or_write_webhooks_makes_none(
    sqlite_post: Post, receiver: Receiver, lacking: str
) -> None:
    sqlite_post.caller = Caller("ann", ALL - {lacking}, workspaces=frozenset({"default"}))
    with pytest.raises(Forbidden):
        await sqlite_post.hook(receiver.url)


async def test_a_contributor_makes_no_webhook(sqlite_post: Post, receiver: Receiver) -> None:
    (ann,) = await building.create(sqlite_post.graph, NewNode("Principal", "ann", ""))
    async with sqlite_post.graph.snapshot() as snapshot:
        (place,) = (await snapshot.find("Workspace")).items
    await building.link(sqlite_post.graph, NewEdge("GRANTS", place.id, ann.id, "CONTRIBUTOR"))
    sqlite_post.caller = Caller("ann", ALL)
    with pytest.raises(Forbidden, match="OWNER"):
        await sqlite_post.hook(receiver.url)
