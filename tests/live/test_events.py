"""Subscriptions: what happens, once and in order, from any place on, and as far as whoever asks may see it then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from graphql.execution.collect_fields import CollectedFields

from auth.caller import ADMIN, Caller
from auth.recorder import Recorder
from graph.open import open_graph
from graph.port import EdgeMatch, Graph, Head, NewEdge, NewNode, Node, Snapshot, Transaction, Update, View
from lineal.errors import Conflict, InvalidArgument, NotFound, PreconditionFailed, Unavailable
from resolvers import events, streaming
from resolvers import live as reading
from resolvers.events import Position, events_of, position
from resolvers.operation import Operation
from resolvers.streaming import Stream, Wanted
from schema.limits import Limits
from schema.streaming import Streams
from tests import building as b
from tests.live import following
from tests.live.following import ALL, SECONDS, Following, reached, subjects

FILTERED = """subscription ($after: String, $about: [ID!], $downstreamOf: [ID!], $kinds: [NodeKind!],
    $actions: [EventAction!], $workspaces: [String!], $changed: [String!]) {
    events(after: $after, about: $about, downstreamOf: $downstreamOf, kinds: $kinds, actions: $actions,
        workspaces: $workspaces, changed: $changed) { sequence subject action node { name } } }"""


@pytest.fixture
async def live(graph: Graph) -> AsyncIterator[Following]:
    """A process on either store."""
    async with Following(graph) as following:
        yield following


async def _only(live: Following, start: str, **filters: Any) -> list[tuple[str, str]]:
    """What a filter lets through of all that happened since `start`: subjects and actions."""
    end = await live.now()
    names = {"downstreamOf": "downstream_of"}
    wanted = Wanted(**{names.get(name, name): value for name, value in filters.items()})
    async with live.live.following("a client"), _followed(live, wanted, start) as (stream, told):
        await _come(stream, end)
    return [(event.subject, event.action) for event in told]


async def test_who_goes_on_after_a_sequence_misses_nothing_and_sees_nothing_twice(live: Following) -> None:
    for name in "abc":
        await b.model(live.graph, name, versions=2)
    await live.now()
    whole = await live.follow(after="0").take(9)
    assert [e["sequence"] for e in whole] == sorted({e["sequence"] for e in whole})
    assert {e["action"] for e in whole} == {"CREATED"}
    for n, event in enumerate(whole[:-1]):
        assert await live.follow(after=event["sequence"]).take(len(whole) - n - 1) == whole[n + 1 :]


async def test_what_happens_is_told_when_it_happens_and_what_was_before_is_not(live: Following) -> None:
    await b.model(live.graph, "before")
    await live.now()
    follower = live.follow()
    coming = asyncio.create_task(follower.event())
    await reached(lambda: live.live.tip >= 0)
    for n in range(3):
        model, _ = await b.model(live.graph, f"later-{n}")
        assert (await coming)["subject"] == model.id
        coming = asyncio.create_task(follower.event())
    coming.cancel()
    await asyncio.wait([coming])


async def test_an_event_says_what_who_when_and_gives_the_thing_with_all_that_hangs_on_it(live: Following) -> None:
    start = await live.now()
    model, (version,) = await b.model(live.graph, "bert", versions=1, task="retrieval")
    follower = live.follow(
        """subscription ($after: String) { events(after: $after) {
            id sequence type action kind subject name address workspace at by cause request change
            node { id name ... on Model { task versions { nodes { name } } } } } }""",
        after=start,
    )
    event, other = await follower.take(2)
    assert event == {
        "id": event["id"],
        "sequence": event["sequence"],
        "type": "lineal.model.created",
        "action": "CREATED",
        "kind": "MODEL",
        "subject": model.id,
        "name": "bert",
        "address": "models:/bert",
        "workspace": "default",
        "at": event["at"],
        "by": b.BY,
        "cause": "whole",
        "request": None,
        "change": {"created": {"task": "retrieval"}},
        "node": {"id": model.id, "name": "bert", "task": "retrieval", "versions": {"nodes": [{"name": "1"}]}},
    }
    assert other["subject"] == version.id
    assert other["change"]["linked"][0][:3] == [version.id, "VERSION_OF", model.id]


async def test_filters_by_kind_action_workspace_and_property_must_all_hold(live: Following) -> None:
    await b.workspace(live.graph, "vision")
    start = await live.now()
    model, (version,) = await b.model(live.graph, "bert", versions=1)
    seen, _ = await b.model(live.graph, "resnet", workspace="vision")
    (deployment,) = await b.create(live.graph, NewNode("Deployment", "search", "default", props={"phase": "PENDING"}))
    await b.update(live.graph, Update(deployment.id, {"phase": "READY"}))
    await b.update(live.graph, Update(deployment.id, {"message": "fine"}))
    await b.tag(live.graph, model.id, team="search")
    created, updated = "CREATED", "UPDATED"
    assert await _only(live, start, kinds=["ModelVersion"]) == [(version.id, created)]
    assert await _only(live, start, actions=["TAGS_CHANGED"]) == [(model.id, "TAGS_CHANGED")]
    assert await _only(live, start, workspaces=["vision"]) == [(seen.id, created)]
    states = [(deployment.id, created), (deployment.id, updated)]
    assert await _only(live, start, kinds=["Deployment"], changed=["phase"]) == states
    assert await _only(live, start, changed=["tags.team"]) == [(model.id, "TAGS_CHANGED")]
    assert await _only(live, start, kinds=["Deployment"], actions=[created], workspaces=["vision"]) == []


async def test_a_model_stands_for_its_versions_also_for_those_that_are_gone(live: Following) -> None:
    model, (first, second) = await b.model(live.graph, "bert", versions=2)
    _, (other,) = await b.model(live.graph, "other", versions=1)
    start = await live.now()
    await b.update(live.graph, Update(first.id, {"description": "x"}), Update(other.id, {"description": "x"}))
    await b.link(live.graph, NewEdge("ALIAS", model.id, first.id, "champion"))
    await b.remove(live.graph, second.id)
    await b.remove(live.graph, other.id)
    told = await _only(live, start, about=["models:/bert"])
    assert told == [(first.id, "UPDATED"), (model.id, "ALIAS_CHANGED"), (second.id, "DELETED")]


async def test_downstream_of_a_data_set_grows_and_shrinks_as_lineage_does(live: Following) -> None:
    _, (v1,) = await b.dataset(live.graph, "nq", "v1")
    model, (old, unrelated) = await b.model(live.graph, "bert", versions=2)
    (deployment,) = await b.create(live.graph, NewNode("Deployment", "search", "default"))
    await b.link(live.graph, NewEdge("TRAINED_ON", old.id, v1.id, "train"))
    await live.now()
    follower = live.follow(FILTERED, downstreamOf=["datasets:/nq"], after=await live.now())
    told: list[tuple[str, str]] = []

    async def until(subject: str) -> None:
        told.extend((event["subject"], event["action"]) for event in await follower.until(subject))

    await b.update(live.graph, Update(unrelated.id, {"description": "x"}))
    await b.update(live.graph, Update(old.id, {"description": "x"}))
    await until(old.id)
    # It is served from now on, and a version comes of it that did not exist; another data-set version is learned from.
    await b.link(live.graph, NewEdge("SERVES", deployment.id, old.id, props={"weight": 1.0}))
    await until(deployment.id)
    await b.link(live.graph, NewEdge("DERIVED_FROM", unrelated.id, old.id, "finetune"))
    await until(unrelated.id)
    await b.update(live.graph, Update(unrelated.id, {"description": "y"}))
    await until(unrelated.id)
    await b.link(live.graph, NewEdge("ALIAS", model.id, unrelated.id, "champion"))
    await until(model.id)
    # What does not come of it any more is told of for the last time when that ends.
    await b.unlink(live.graph, EdgeMatch("DERIVED_FROM", unrelated.id, old.id))
    await until(unrelated.id)
    await b.update(live.graph, Update(unrelated.id, {"description": "z"}))
    await b.update(live.graph, Update(v1.id, {"description": "z"}))
    await until(v1.id)
    assert told == [
        (old.id, "UPDATED"),
        (deployment.id, "SERVING_CHANGED"),
        (unrelated.id, "LINKED"),
        (unrelated.id, "UPDATED"),
        (model.id, "ALIAS_CHANGED"),
        (unrelated.id, "UNLINKED"),
        (v1.id, "UPDATED"),
    ]


async def test_who_comes_back_is_told_what_was_downstream_while_they_were_away(live: Following) -> None:
    _, (v1,) = await b.dataset(live.graph, "nq", "v1")
    _, (version,) = await b.model(live.graph, "bert", versions=1)
    (deployment,) = await b.create(live.graph, NewNode("Deployment", "search", "default", props={"phase": "READY"}))
    await b.link(live.graph, NewEdge("TRAINED_ON", version.id, v1.id, "train"))
    await b.link(live.graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": 1.0}))
    start = await live.now()
    await b.update(live.graph, Update(deployment.id, {"phase": "FAILED"}))
    await b.unlink(live.graph, EdgeMatch("SERVES", deployment.id, version.id))
    await b.update(live.graph, Update(deployment.id, {"message": "gone"}))
    await b.unlink(live.graph, EdgeMatch("TRAINED_ON", version.id, v1.id))
    told = [(deployment.id, "UPDATED"), (deployment.id, "SERVING_CHANGED"), (version.id, "UNLINKED")]
    assert await _only(live, start, downstreamOf=["datasets:/nq"]) == told
    assert await _only(live, start, downstreamOf=["datasets:/nq"], kinds=["Deployment"]) == told[:2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kinds", [None, ["Deployment", "DeploymentRevision"]])
async def test_who_comes_back_is_told_just_what_those_were_who_stayed(
    live: Following, seed: int, kinds: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "TURNS", 3)
    monkeypatch.setattr(streaming, "ROUND", 4)
    random = Random(seed)
    data, parts = await b.dataset(live.graph, "nq", "v1", "v2")
    model, versions = await b.model(live.graph, "bert", versions=3)
    names = ("search", "chat")
    deployments = await b.create(live.graph, *(NewNode("Deployment", name, "default") for name in names))
    world = {"data": [data], "part": parts, "model": [model], "version": versions, "deployments": deployments}
    world |= {what: [] for what in ("link", "unlink", "revision", "remove", "update")}
    for version, deployment in zip(versions, deployments, strict=False):
        await b.link(live.graph, NewEdge("TRAINED_ON", version.id, parts[0].id, "train"))
        await b.link(live.graph, NewEdge("SERVES", deployment.id, version.id, props={"weight": 1.0}))
    wanted = Wanted(downstream_of=[data.id], kinds=kinds)
    cursors = [await live.now()]
    async with live.live.following("a client"), _followed(live, wanted, cursors[0]) as (stayed, told):
        for n in range(40):
            await _something(live.graph, random, n, world)
            cursors.append(await live.now())
            live.live.wake()
            await _come(stayed, cursors[-1])
        places = [*map(position, cursors), *(event.position for event in told)]
        for place in places:
            async with _followed(live, wanted, str(place)) as (back, again):
                await _come(back, cursors[-1])
            assert _named(again) == _named([event for event in told if event.position > place]), str(place)
    assert told


async def _come(stream: Stream, end: str) -> None:
    await reached(lambda: stream.at >= position(end))


def _named(events: list[events.Event]) -> list[tuple[str, str, str]]:
    return [(str(event.position), event.kind, event.action) for event in events]


@asynccontextmanager
async def _followed(live: Following, wanted: Wanted, start: str) -> AsyncIterator[tuple[Stream, list[events.Event]]]:
    """A stream after a place that is read as it comes, and what it told."""
    async with Operation(live.graph) as op:
        stream = await Stream.opened(op, live.live, lambda: Operation(live.graph), wanted, position(start))
    told: list[events.Event] = []

    async def take() -> None:
        async for round in stream:
            async with round as (_, found):
                told.extend(found)

    taking = asyncio.create_task(take())
    try:
        yield stream, told
    finally:
        taking.cancel()
        await asyncio.wait([taking])


async def _something(graph: Graph, random: Random, n: int, world: dict[str, list[Node]]) -> None:
    """Do something to what may come of the data."""
    parts, versions, deployments = world["part"], world["version"], world["deployments"]
    (data,), (model,) = world["data"], world["model"]
    what = random.choice(
        ("link", "link", "link", "unlink", "version", "part", "revision", "remove", "update", "update")
    )
    served = {"weight": 1.0}

    async def work(tx: Transaction) -> list[Node]:
        version, older = random.sample(versions, 2)
        deployment, part = random.choice(deployments), random.choice(parts)
        made: list[Node] = []
        if what in {"link", "unlink"}:
            edge = random.choice(
                (
                    NewEdge("TRAINED_ON", version.id, part.id, "train"),
                    NewEdge("DERIVED_FROM", version.id, older.id, "finetune"),
                    NewEdge("SERVES", deployment.id, version.id, props=served),
                )
            )
            if what == "link":
                await tx.link([edge])
            else:
                await tx.unlink([EdgeMatch(edge.kind, edge.source)])
        elif what == "version":
            made = await tx.create([NewNode("ModelVersion", f"n{n}", "default", model.id, {"number": n + 10})])
            await tx.link([NewEdge("VERSION_OF", made[0].id, model.id)])
            await tx.link([NewEdge("DERIVED_FROM", made[0].id, older.id, "finetune")])
            await tx.link([NewEdge("SERVES", deployment.id, made[0].id, props=served)] if n % 2 else [])
        elif what == "part":
            made = await tx.create([NewNode("DatasetVersion", f"n{n}", "default", data.id)])
            await tx.link([NewEdge("VERSION_OF", made[0].id, data.id)])
            await tx.link([NewEdge("DERIVED_FROM", part.id, made[0].id, "copy")] if n % 2 else [])
        elif what == "revision":
            made = await tx.create([NewNode("DeploymentRevision", str(n), "default", deployment.id, {"number": n + 1})])
            await tx.link([NewEdge("REVISION_OF", made[0].id, deployment.id)])
        elif what == "remove":
            await tx.remove([random.choice([*world["revision"], version, part]).id])
        else:
            await tx.update([Update(one.id, {"description": f"n{n}"}) for one in (version, deployment, part)])
        return made

    # What would close a cycle, or is gone already, is refused.
    with suppress(Conflict, NotFound, PreconditionFailed):
        world[what] += await graph.write(work, by=b.BY, action="something")


async def test_what_was_deleted_is_followed_to_its_end_by_who_comes_back(live: Following) -> None:
    await b.create(live.graph, NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}))
    model, (first, second) = await b.model(live.graph, "bert", versions=2)
    hidden, _ = await b.model(live.graph, "hidden", workspace="secret")
    _, (v1,) = await b.dataset(live.graph, "nq", "v1")
    await b.link(live.graph, NewEdge("TRAINED_ON", first.id, v1.id, "train"))
    start = await live.now()
    await b.update(live.graph, Update(first.id, {"description": "x"}))
    await b.remove(live.graph, first.id)
    await b.remove(live.graph, v1.id)
    await b.remove(live.graph, second.id, model.id)
    await b.remove(live.graph, hidden.id)
    end = await live.now()
    told = [(first.id, "UPDATED"), (first.id, "DELETED")]
    assert await _only(live, start, about=[first.id]) == told
    assert await _only(live, start, about=["models:/bert/1"]) == told
    assert await _only(live, start, downstreamOf=[v1.id]) == [*told, (v1.id, "DELETED")]
    assert (await _only(live, start, about=["models:/bert"]))[-1] == (model.id, "DELETED")
    assert (await live.follow(FILTERED, about=[first.id], after=end).refused())["code"] == "NOT_FOUND"
    ann = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
    refused = await live.follow(FILTERED, ann, about=["models:/secret:hidden"], after=start).refused()
    absent = await live.follow(FILTERED, ann, about=["models:/secret:absent"], after=start).refused()
    assert refused["message"].replace("hidden", "absent") == absent["message"]
    assert (refused["code"], refused["message"].count("hidden")) == ("NOT_FOUND", 1)


async def test_what_is_gone_is_told_of_its_workspace_whatever_else_was_done_at_once(live: Following) -> None:
    await b.workspace(live.graph, "vision")
    start = await live.now()
    one, other = await b.create(live.graph, *(NewNode("Model", "bert", place) for place in ("default", "vision")))
    await b.update(live.graph, Update(other.id, {"description": "x"}))
    await b.remove(live.graph, one.id, other.id)
    told = [(other.id, "CREATED"), (other.id, "UPDATED"), (other.id, "DELETED")]
    assert await _only(live, start, workspaces=["vision"]) == told
    assert await _only(live, start, workspaces=["default"]) == [(one.id, "CREATED"), (one.id, "DELETED")]
    async with Operation(live.graph, caller=Caller("corp:ann", ALL, workspaces=frozenset({"vision"}))) as op:
        changes = await (await op.snapshot()).changes(after=position(start).seq)
        assert [event.workspace for event in await events_of(op, changes)] == ["vision"] * 3


async def test_a_place_beyond_all_events_is_refused_unless_they_come_soon(
    live: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = await b.model(live.graph, "bert")
    tip = position(await live.now()).seq
    coming = asyncio.create_task(live.follow(after=f"{tip + 1}").event())
    monkeypatch.setattr(events, "LAG_SECONDS", SECONDS)
    await asyncio.sleep(0.05)
    await b.update(live.graph, Update(made.id, {"description": "x"}))
    await b.update(live.graph, Update(made.id, {"description": "y"}))
    assert position((await coming)["sequence"]).seq == tip + 2
    monkeypatch.setattr(events, "LAG_SECONDS", 0.0)
    refused = await live.follow(after="99999").refused()
    assert (refused["code"], refused["field"]) == ("INVALID_ARGUMENT", "after")
    assert "is beyond all events of this store" in refused["message"]


async def test_what_was_taken_off_the_audit_is_not_passed_over_in_silence(
    live: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LAG_SECONDS", 0.0)
    made = [(await b.model(live.graph, name))[0] for name in "abc"]
    end = await live.now()
    whole = await live.follow(after="0").take(3)
    async with live.graph.snapshot() as snapshot:
        chain = await snapshot.chain("default")
    place = {entry.change.seq: entry for entry in chain}

    async def prune(seq: int) -> None:
        entry = place[seq]
        await live.graph.prune([Head("default", entry.number, entry.hash)], by="root")
        await live.now()

    second = position(whole[1]["sequence"]).seq
    async with Operation(live.graph) as op:
        behind = await Stream.opened(
            op, live.live, lambda: Operation(live.graph), Wanted(), position(whole[0]["sequence"])
        )
    await prune(second)
    async with live.live.following("a client"):
        with pytest.raises(InvalidArgument, match="was taken off the audit"):
            await (await anext(behind)).__aenter__()
    refused = await live.follow(after=whole[0]["sequence"]).refused()
    assert (refused["code"], refused["field"]) == ("INVALID_ARGUMENT", "after")
    assert "was taken off the audit" in refused["message"]
    for after in ("0", str(Position(second))):
        assert subjects(await live.follow(after=after).take(1)) == [made[2].id]
    # Of a store where nothing happened for long nothing is left, and who is up to date misses nothing.
    await prune(position(end).seq)
    follower = live.follow(after=end)
    await b.update(live.graph, Update(made[0].id, {"description": "x"}))
    assert subjects(await follower.take(1)) == [made[0].id]
    assert "was taken off" in (await live.follow(after=str(Position(second))).refused())["message"]


async def test_what_is_hidden_is_not_told_by_any_filter(live: Following) -> None:
    await b.create(live.graph, NewNode("Workspace", "secret", "", props={"visibility": "PRIVATE"}))
    _, (v1,) = await b.dataset(live.graph, "nq", "v1")
    hidden, (inner,) = await b.model(live.graph, "hidden", versions=1, workspace="secret")
    mine, (version,) = await b.model(live.graph, "mine", versions=1)
    ann = Caller("corp:ann", ALL, workspaces=frozenset({"default"}))
    start = await live.now()
    await b.link(live.graph, NewEdge("TRAINED_ON", inner.id, v1.id, "train"))
    await b.link(live.graph, NewEdge("DERIVED_FROM", version.id, inner.id, "finetune"))
    await b.update(live.graph, Update(hidden.id, {"description": "x"}), Update(mine.id, {"description": "x"}))
    await b.update(live.graph, Update(version.id, {"description": "x"}))
    events = [
        await live.follow(FILTERED, ann, after=start, **chosen).until(version.id)
        for chosen in ({}, {"workspaces": ["secret", "default"]}, {"downstreamOf": ["datasets:/nq"]})
    ]
    assert [subjects(each) for each in events] == [[mine.id, version.id]] * 2 + [[version.id]]
    refused = await live.follow(FILTERED, ann, about=["models:/secret:hidden"]).refused()
    absent = await live.follow(FILTERED, ann, about=["models:/secret:absent"]).refused()
    assert refused["message"].replace("hidden", "absent") == absent["message"]
    assert refused["code"] == "NOT_FOUND"


async def test_a_role_that_is_taken_away_ends_what_it_showed_and_nothing_is_told_late(live: Following) -> None:
    (place,) = await b.create(live.graph, NewNode("Workspace", "vision", "", props={"visibility": "PRIVATE"}))
    (ann,) = await b.create(live.graph, NewNode("Principal", "corp:ann", ""))
    await b.link(live.graph, NewEdge("GRANTS", place.id, ann.id, "VIEWER"))
    follower = live.follow(caller=Caller("corp:ann", ALL, workspaces=frozenset()), after=await live.now())
    first, _ = await b.model(live.graph, "first", workspace="vision")
    assert await follower.until(first.id)
    await b.unlink(live.graph, EdgeMatch("GRANTS", place.id, ann.id))
    await b.model(live.graph, "second", workspace="vision")
    await live.now()
    (team,) = await b.create(live.graph, NewNode("Team", "public", ""))
    assert subjects(await follower.until(team.id))[-1:] == [team.id]
    await b.link(live.graph, NewEdge("GRANTS", place.id, ann.id, "VIEWER"))
    third, _ = await b.model(live.graph, "third", workspace="vision")
    assert third.id in subjects(await follower.until(third.id))


async def test_whoever_is_deactivated_is_told_that_and_nothing_more(live: Following) -> None:
    (ann,) = await b.create(live.graph, NewNode("Principal", "corp:ann", ""))
    follower = live.follow(caller=Caller("corp:ann", ALL, workspaces=None), after=await live.now())
    model, _ = await b.model(live.graph, "first")
    assert await follower.until(model.id)
    await b.update(live.graph, Update(ann.id, {"active": False}))
    assert (await follower.refused())["code"] == "UNAUTHENTICATED"
    assert (await live.follow(caller=Caller("corp:ann", ALL, workspaces=None)).refused())["code"] == "UNAUTHENTICATED"


async def test_a_slow_reader_reads_on_from_the_store_and_nothing_waits_for_it_in_memory(
    live: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_KEPT", 5)
    monkeypatch.setattr(reading, "BATCH", 10)
    monkeypatch.setattr(streaming, "BATCH", 10)
    monkeypatch.setattr(streaming, "ROUND", 3)
    start = await live.now()
    slow, quick = live.follow(after=start), live.follow(after=start)
    made = []
    for n in range(30):
        model, _ = await b.model(live.graph, f"m{n}")
        made.append(model.id)
        if n % 7 == 0:
            assert await quick.until(model.id)
    assert await slow.event()
    assert len(live.live._kept) <= 5
    assert subjects(await slow.take(29)) == made[1:]


async def test_one_large_change_is_told_in_pieces(live: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ROUND", 4)
    monkeypatch.setattr(reading, "MAX_KEPT_SUBJECTS", 3)
    start = await live.now()
    made = await b.create(live.graph, *(NewNode("Model", f"m{n}", "default") for n in range(10)))
    assert subjects(await live.follow(after=start).take(10)) == [node.id for node in made]


async def test_a_store_that_is_away_for_a_while_makes_nobody_miss_anything(
    live: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.streaming.BACK_OFF_SECONDS", 0.01)
    start = await live.now()
    follower = live.follow(after=start)
    first, _ = await b.model(live.graph, "first")
    assert await follower.until(first.id)
    away = 2

    async def failing(*args: Any) -> Any:
        nonlocal away
        if away:
            away -= 1
            raise Unavailable("away")
        return await events_of(*args)

    monkeypatch.setattr(streaming, "events_of", failing)
    second, _ = await b.model(live.graph, "second")
    assert subjects(await follower.take(1)) == [second.id]
    assert away == 0


@asynccontextmanager
async def _behind(live: Following, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[View]]:
    """Whoever follows is read to by a member of the store that has nothing of what happens meanwhile.

    Gives the views that it was asked for.
    """
    asked: list[View] = []
    async with live.graph.snapshot() as then:
        # The moment is that of the first read.
        await then.changes(limit=1)

        @asynccontextmanager
        async def snapshot(view: View, **_: Any) -> AsyncIterator[Snapshot]:
            asked.append(view)
            yield then

        member = copy(live.graph)
        with monkeypatch.context() as patched:
            patched.setattr(member, "snapshot", snapshot)
            patched.setattr(live, "graph", member)
            yield asked


async def test_who_stays_misses_nothing_where_they_are_read_to_by_a_member_that_is_behind(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.streaming.BACK_OFF_SECONDS", 0.01)
    async with Following(sqlite_graph) as live:
        follower = live.follow(after=await live.now())
        first, _ = await b.model(sqlite_graph, "first")
        assert await follower.until(first.id)
        async with _behind(live, monkeypatch) as asked:
            coming = asyncio.create_task(follower.take(3))
            made = [(await b.model(sqlite_graph, name))[0].id for name in "abc"]
            await reached(lambda: len(asked) > 2)
        assert subjects(await coming) == made


async def test_who_comes_back_misses_nothing_where_they_are_read_to_by_a_member_that_is_behind(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.streaming.BACK_OFF_SECONDS", 0.01)
    async with Following(sqlite_graph) as live:
        await b.model(sqlite_graph, "first")
        start = await live.now()
        async with _behind(live, monkeypatch) as asked:
            made = [(await b.model(sqlite_graph, name))[0].id for name in "abc"]
            while await sqlite_graph.sequence():
                pass
            coming = asyncio.create_task(live.follow(after=start).take(3))
            await reached(lambda: len(asked) > 4)
        assert subjects(await coming) == made


@pytest.mark.each_store
async def test_processes_that_share_a_store_tell_alike(store_url: str) -> None:
    async with open_graph(store_url) as one, open_graph(store_url) as other:
        await one.migrate()
        async with Following(one) as here, Following(other) as there:
            start = await here.now()
            followers = [here.follow(after=start), there.follow(after=start)]
            made = []
            for n in range(6):
                model, _ = await b.model(one if n % 2 else other, f"m{n}")
                made.append(model.id)
            told = [await follower.take(6) for follower in followers]
            assert told[0] == told[1]
            assert subjects(told[0]) == made
            assert await there.follow(after=told[0][2]["sequence"]).take(3) == told[0][3:], "who changes servers"


async def test_the_reader_goes_on_after_trouble(live: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BACK_OFF_SECONDS", 0.01)
    follower = live.follow(after=await live.now())
    first, _ = await b.model(live.graph, "first")
    assert await follower.until(first.id)
    troubles, look = [Unavailable("away"), RuntimeError("a defect")], live.live._look

    async def troubled() -> None:
        if troubles:
            raise troubles.pop()
        await look()

    monkeypatch.setattr(live.live, "_look", troubled)
    second, _ = await b.model(live.graph, "second")
    assert subjects([await follower.event()]) == [second.id]
    assert not troubles


async def test_what_only_the_audit_has_leaves_a_gap_that_holds_nothing_up(live: Following) -> None:
    follower = live.follow(after=await live.now())
    made = []
    async with Recorder(live.graph) as recorder:
        for n in range(3):
            await recorder.read(Caller("corp:root", frozenset({ADMIN})), action="adminRead", data={})
            model, _ = await b.model(live.graph, f"m{n}")
            made.append(model.id)
            assert subjects([await follower.event()]) == [model.id]
    places = [event["sequence"].split(".")[0] for event in await live.follow(after="0").take(3)]
    assert len(made) == 3
    assert int(places[2]) - int(places[0]) >= 4, "there are gaps"


async def test_nothing_is_read_while_nobody_follows(live: Following) -> None:
    follower = live.follow(after=await live.now())
    model, _ = await b.model(live.graph, "bert")
    assert await follower.until(model.id)
    assert live.live.followers == 1
    await follower.results.aclose()
    assert (live.live.followers, live.live.tip, live.live._reader) == (0, -1, None)


async def test_each_event_has_the_limits_of_an_operation_and_one_that_is_over_them_ends_nothing(
    sqlite_graph: Graph,
) -> None:
    query = """subscription ($after: String) { events(after: $after) {
        subject node { ... on Model { versions { nodes { name } } } } } }"""
    async with Following(sqlite_graph, Limits(items=3)) as live:
        follower = live.follow(query, after=await live.now())
        await b.model(live.graph, "large", versions=4)
        result = await follower.result()
        assert (result.data, [e.extensions["limit"] for e in result.errors or () if e.extensions]) == (None, ["items"])
        assert len(await follower.take(4)) == 4
        live.streams.schema.limits = replace(live.limits, seconds=0.0)
        await b.model(live.graph, "small", versions=1)
        result = await follower.result()
        assert (result.data, [e.extensions["limit"] for e in result.errors or () if e.extensions]) == (
            None,
            ["seconds"],
        )
        assert (await live.follow(query).refused())["limit"] == "seconds", "nor is there more time to open one"
        live.streams.schema.limits = live.limits


async def test_answers_to_many_events_are_held_no_more_at_a_time_than_one_may_be_large(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    class Watched(Streams):
        async def _told_all(self, *args: Any) -> Any:
            told = await super()._told_all(*args)
            held.append(len(told))
            return told

    monkeypatch.setattr(following, "Streams", Watched)
    query = "subscription ($after: String) { events(after: $after) { sequence node { description } } }"
    props = {"description": "x" * 900}
    await b.create(sqlite_graph, *(NewNode("Model", f"m{n}", "default", props=props) for n in range(20)))
    async with Following(sqlite_graph, Limits(answer=5_000)) as live:
        await live.now()
        events = await live.follow(query, after="0").take(20)
    assert len({event["sequence"] for event in events}) == 20
    assert max(held) == 6
    assert sum(held) == 20


async def test_what_was_told_leaves_nothing_in_memory(live: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "ROUND", 10)
    start = await live.now()
    for n in range(60):
        await b.model(live.graph, f"m{n}")
    await live.now()
    follower = live.follow(after=start)
    collected = []
    for _ in range(2):
        await follower.take(30)
        gc.collect()
        collected.append(sum(type(each) is CollectedFields for each in gc.get_objects()))
    assert collected[1] == collected[0]


async def test_what_cannot_be_audited_is_not_told(sqlite_graph: Graph) -> None:
    class Away(Recorder):
        async def read(self, *_: Any, **__: Any) -> None:
            raise Unavailable("the audit is away")

    async with Following(sqlite_graph, recorder=Away(sqlite_graph)) as live:
        admin = Caller("corp:root", frozenset({ADMIN}), workspaces=None)
        assert (await live.follow(caller=admin).refused())["code"] == "UNAVAILABLE"


async def test_a_defect_is_masked_and_ends_the_subscription(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def defective(*_: Any) -> Any:
        raise RuntimeError("bolt://user:password@host")

    async with Following(sqlite_graph) as live:
        follower = live.follow(after=await live.now())
        model, _ = await b.model(live.graph, "bert")
        assert await follower.until(model.id)
        monkeypatch.setattr(streaming, "events_of", defective)
        await b.model(live.graph, "other")
        refused = await follower.refused()
        assert (refused["code"], refused["message"]) == ("INTERNAL", "internal error")
        assert [each.codes for each in live.operated if each.type == "subscription"] == [["INTERNAL"]]


async def test_more_than_can_be_looked_after_cannot_be_followed_downstream(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "MAX_LINEAGE", 3)
    _, (v1,) = await b.dataset(sqlite_graph, "nq", "v1")
    _, versions = await b.model(sqlite_graph, "bert", versions=3)
    await b.link(sqlite_graph, *(NewEdge("TRAINED_ON", version.id, v1.id, "train") for version in versions))
    async with Following(sqlite_graph) as live:
        refused = await live.follow(FILTERED, downstreamOf=["datasets:/nq"]).refused()
    assert (refused["code"], refused["field"]) == ("LIMIT_EXCEEDED", "downstreamOf")


@pytest.mark.parametrize(
    ("filters", "field"),
    [({"kinds": []}, "kinds"), ({"changed": ["x"] * 101}, "changed"), ({"actions": []}, "actions")],
)
async def test_a_filter_that_says_nothing_or_too_much_is_refused(
    sqlite_graph: Graph, filters: dict[str, Any], field: str
) -> None:
    async with Following(sqlite_graph) as live:
        refused = await live.follow(FILTERED, **filters).refused()
    assert (refused["code"], refused["field"]) == ("INVALID_ARGUMENT", field)
