"""Every event arrives at least once, in order for each subject, whatever the receiver does; none waits for others."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from graph.port import Graph, Hop, NewEdge, NewNode, Node, Transaction
from lineal.observing import METER
from lineal.telemetry import Telemetry
from resolvers.webhooks import deliveries, managing, turn
from resolvers.webhooks.turn import Patience
from tests import building
from tests.webhooks.conftest import Post, awaited
from tests.webhooks.receiver import Answer, Got, Receiver, fine


async def models(graph: Graph, *names: str) -> list[Node]:
    return [(await building.model(graph, name))[0] for name in names]


async def burst(graph: Graph, nodes: list[Node], count: int) -> dict[str, list[str]]:
    """Tag these again and again; by subject, the values in the order in which they were given."""
    told: dict[str, list[str]] = {node.id: [] for node in nodes}
    for n in range(count):
        for node in nodes:
            await building.tag(graph, node.id, turn=str(n))
            told[node.id].append(str(n))
    return told


def turns(receiver: Receiver, node: Node) -> list[str]:
    """The values of the tag in what arrived about a node, the first time each, in the order in which it came."""
    bodies = receiver.taken(node.id)
    return [
        body["data"]["change"]["updated"]["after"]["tags.turn"]
        for body in bodies
        if body["type"].endswith("tags_changed")
    ]


async def test_what_happens_arrives_signed_as_cloudevents(post: Post, receiver: Receiver) -> None:
    made = await post.hook(receiver.url)
    async with post.delivering():
        (model,) = await models(post.graph, "bert")
        await awaited(lambda: receiver.got)
    (got,) = receiver.got
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert made.secret is not None
    assert got.signed_by(made.secret)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    event = got.json
    assert {name: event[name] for name in ("specversion", "source", "type", "subject", "linealcause")} == {
        "specversion": "1.0",
        "source": "https://lineal.example.org",
        "type": "lineal.model.created",
        "subject": model.id,
        "linealcause": "whole",
    }
    assert event["id"] == got.id
    assert event["data"]["address"] == "models:/bert"
    assert (event["data"]["kind"], event["data"]["by"]) == ("MODEL", building.BY)


async def test_each_subjects_events_arrive_in_order_and_all_of_them(post: Post, receiver: Receiver) -> None:
    nodes = await models(post.graph, "a", "b", "c")
    await post.hook(receiver.url)
    async with post.delivering():
        told = await burst(post.graph, nodes, 20)
        await awaited(lambda: all(len(turns(receiver, node)) == 20 for node in nodes), lambda: len(receiver.got))
    assert {node.id: turns(receiver, node) for node in nodes} == told


async def test_what_happened_before_a_webhook_was_made_is_not_for_it(post: Post, receiver: Receiver) -> None:
    await models(post.graph, "before")
    await post.hook(receiver.url)
    async with post.delivering():
        await models(post.graph, "after")
        await awaited(lambda: receiver.got)
    assert [body["data"]["name"] for body in receiver.taken()] == ["after"]


async def test_what_happened_while_nobody_delivered_arrives_later(post: Post, receiver: Receiver) -> None:
    await post.hook(receiver.url)
    nodes = await models(post.graph, "a", "b")
    async with post.delivering():
        await awaited(lambda: len(receiver.taken()) == 2)
    async with post.delivering("another"):
        await building.tag(post.graph, nodes[0].id, turn="1")
        await awaited(lambda: len(receiver.taken()) == 3)
    assert [body["data"]["name"] for body in receiver.taken()] == ["a", "b", "a"]


async def test_a_failed_event_is_tried_again_and_holds_back_its_own_subject_only(
    post: Post, receiver: Receiver
) -> None:
    bad, good = await models(post.graph, "bad", "good")
    broken = True

    async def respond(got: Got) -> Answer | None:
        return (503, {}, b"") if broken and got.json["subject"] == bad.id else await fine(got)

    receiver.respond = respond
    made = await post.hook(receiver.url)
    async with post.delivering():
        told = await burst(post.graph, [bad, good], 5)
        await awaited(lambda: turns(receiver, good) == told[good.id])
        assert turns(receiver, bad) == ["0"], "what is behind a failed one waits"
        broken = False
        await awaited(lambda: turns(receiver, bad) == told[bad.id])
        await awaited(lambda: _none_waits(post, made))
    (first,) = [each for each in await post.deliveries(made) if each.subject == bad.id and each.attempts > 1]
    assert {each.status for each in first.tries[:-1]} == {503}
    assert first.tries[-1].status == 200


async def _none_waits(post: Post, made: managing.Made) -> bool:
    return not await post.deliveries(made, deliveries.PENDING)


async def test_a_receiver_that_hangs_or_dies_delays_no_other(post: Post, receiver: Receiver) -> None:
    hanging = asyncio.Event()

    async def hang(got: Got) -> Answer | None:
        await hanging.wait()
        return await fine(got)

    async with Receiver(hang) as slow, Receiver() as dying:
        await post.hook(slow.url)
        await post.hook(dying.url)
        await dying.die()
        await post.hook(receiver.url)
        async with post.delivering():
            nodes = await models(post.graph, "a", "b", "c")
            began = time.monotonic()
            told = await burst(post.graph, nodes, 10)
            await awaited(lambda: all(turns(receiver, node) == told[node.id] for node in nodes))
            assert slow.got, "the other one was asked meanwhile"
            assert len({got.id for got in slow.got}) < 33
            assert time.monotonic() - began < 40
            hanging.set()
            await awaited(lambda: all(turns(slow, node) == told[node.id] for node in nodes))


async def test_an_answer_that_never_ends_is_cut_off(post: Post, receiver: Receiver) -> None:
    async def flood(_got: Got) -> Answer | None:
        return 200, {"content-length": str(10**9)}, b"x" * 100_000

    receiver.respond = flood
    made = await post.hook(receiver.url)
    async with post.delivering():
        await models(post.graph, "a")
        await awaited(lambda: _delivered(post, made, 1))


async def _delivered(post: Post, made: managing.Made, count: int) -> bool:
    return len(await post.deliveries(made, deliveries.DELIVERED)) == count


async def test_who_asks_to_be_left_alone_is(post: Post, receiver: Receiver) -> None:
    async def busy(_got: Got) -> Answer | None:
        return 429, {"retry-after": "3600"}, b""

    receiver.respond = busy
    made = await post.hook(receiver.url)
    async with post.delivering():
        await models(post.graph, "a")
        await awaited(lambda: _tried(post, made))
    (waiting,) = await post.deliveries(made)
    assert waiting.due - waiting.tries[-1].at > 3_500 * 1_000_000
    assert len(receiver.got) == 1


async def _tried(post: Post, made: managing.Made) -> bool:
    return any(each.attempts for each in await post.deliveries(made))


async def test_what_was_tried_for_too_long_is_dead_and_what_is_behind_it_goes_on(
    post: Post, receiver: Receiver
) -> None:
    (model,) = await models(post.graph, "a")

    async def respond(got: Got) -> Answer | None:
        change = got.json["data"]["change"]["updated"]["after"]
        return (400, {}, b"no") if change["tags.turn"] == "0" else await fine(got)

    receiver.respond = respond
    made = await post.hook(receiver.url)
    async with post.delivering(patience=Patience(delivery=0.2, webhook=60.0, first=0.05)):
        await burst(post.graph, [model], 2)
        await awaited(lambda: _delivered(post, made, 1))
    (dead,) = await post.deliveries(made, deliveries.DEAD)
    assert dead.tries[-1].status == 400
    assert dead.done is not None


async def test_a_dead_letter_is_sent_again_when_that_is_asked_for(post: Post, receiver: Receiver) -> None:
    async def refuse(_got: Got) -> Answer | None:
        return 500, {}, b""

    receiver.respond = refuse
    made = await post.hook(receiver.url)
    assert made.webhook is not None
    async with post.delivering(patience=Patience(delivery=0.1, webhook=60.0, first=0.05)):
        (model,) = await models(post.graph, "a")
        await awaited(lambda: _dead(post, made))
        receiver.respond = fine
        receiver.got.clear()
        async with post.op() as op:
            await deliveries.replay(op, address=made.webhook.id, dead=True)
        await awaited(lambda: _delivered(post, made, 1))
        assert [body["subject"] for body in receiver.taken()] == [model.id]
        (one,) = await post.deliveries(made)
        async with post.op() as op:
            await deliveries.replay(op, address=made.webhook.id, sequences=[one.sequence])
        await awaited(lambda: len(receiver.got) == 2)
    assert len({got.id for got in receiver.got}) == 1, "the same event has the same id"


async def _dead(post: Post, made: managing.Made) -> bool:
    return bool(await post.deliveries(made, deliveries.DEAD))


async def test_a_webhook_that_fails_for_long_is_paused_and_its_owners_are_told(post: Post, receiver: Receiver) -> None:
    async def refuse(_got: Got) -> Answer | None:
        return 500, {}, b""

    receiver.respond = refuse
    made = await post.hook(receiver.url)
    assert made.webhook is not None
    (owner,) = await building.create(post.graph, NewNode("Principal", "ann", ""))
    await building.link(post.graph, NewEdge("OWNED_BY", made.webhook.id, owner.id))
    async with post.delivering(patience=Patience(delivery=60.0, webhook=0.3, first=0.05)):
        await models(post.graph, "a")
        await awaited(lambda: _paused(post, made))
    node = await post.node(made.webhook.id)
    assert "answered 500" in node.props["reason"]
    async with post.graph.snapshot() as snapshot:
        (notice,) = (await snapshot.find("Notice")).items
        links = await snapshot.neighbours([notice.id], Hop("NOTIFIES", "OUT"))
    assert notice.props["type"] == "WEBHOOK"
    assert [link.node.name for link in links[notice.id].items] == ["ann"]
    receiver.respond = fine
    async with post.op() as op:
        await managing.resume_webhook(op, address=made.webhook.id)
    async with post.delivering():
        await awaited(lambda: _none_waits(post, made))
    assert "a" in [body["data"]["name"] for body in receiver.taken()]


async def _paused(post: Post, made: managing.Made) -> bool:
    assert made.webhook is not None
    return bool((await post.node(made.webhook.id)).props["state"] == "PAUSED")


async def test_a_receiver_that_is_gone_for_good_is_asked_no_more(post: Post, receiver: Receiver) -> None:
    async def gone(_got: Got) -> Answer | None:
        return 410, {}, b""

    receiver.respond = gone
    made = await post.hook(receiver.url)
    async with post.delivering():
        await models(post.graph, "a")
        await awaited(lambda: _paused(post, made))


async def test_what_happens_while_a_webhook_is_paused_arrives_when_it_is_resumed(
    post: Post, receiver: Receiver
) -> None:
    made = await post.hook(receiver.url)
    assert made.webhook is not None
    async with post.op() as op:
        await managing.pause_webhook(op, address=made.webhook.id, reason="moving")
    async with post.delivering():
        await models(post.graph, "a")
        await asyncio.sleep(1)
        assert receiver.got == []
        async with post.op() as op:
            await managing.resume_webhook(op, address=made.webhook.id)
        await awaited(lambda: receiver.got)


async def test_what_waited_while_a_webhook_was_paused_is_tried_anew_for_as_long(post: Post, receiver: Receiver) -> None:
    failing = 1

    async def respond(got: Got) -> Answer | None:
        nonlocal failing
        failing -= 1
        return (500, {}, b"") if failing >= 0 else await fine(got)

    receiver.respond = respond
    made = await post.hook(receiver.url)
    assert made.webhook is not None
    async with post.delivering(patience=Patience(delivery=60.0, webhook=60.0, first=600.0)):
        await models(post.graph, "a")
        await awaited(lambda: _tried(post, made))
    (one,) = await post.deliveries(made)
    old = replace(one, taken=one.taken - 3_600_000_000, due=one.taken)

    async def an_hour_later(tx: Transaction) -> None:
        await tx.keep([old.kept()])

    await post.graph.write(an_hour_later, by="ann", action="wait")
    async with post.op() as op:
        await managing.pause_webhook(op, address=made.webhook.id)
        await managing.resume_webhook(op, address=made.webhook.id)
    failing = 1
    async with post.delivering():
        await awaited(lambda: _none_waits(post, made))
    (one,) = await post.deliveries(made)
    assert (one.state, one.attempts) == (deliveries.DELIVERED, 3)


async def test_many_processes_share_the_work_and_each_event_is_sent_by_one(post: Post, receiver: Receiver) -> None:
    async with Receiver() as second:
        await post.hook(receiver.url)
        await post.hook(second.url)
        nodes = await models(post.graph, "a", "b")
        async with post.delivering("one"), post.delivering("two"), post.delivering("three"):
            told = await burst(post.graph, nodes, 10)
            for each in (receiver, second):
                await awaited(lambda each=each: all(turns(each, node) == told[node.id] for node in nodes))  # type: ignore[misc]
        for each in (receiver, second):
            ids = [got.id for got in each.got]
            assert len(ids) < 2 * len(set(ids)), "but for what is told again because somebody was too slow"


async def test_without_an_active_webhook_none_lags(sqlite_post: Post) -> None:
    telemetry = Telemetry()
    token = METER.set(telemetry)
    try:
        # As it was when the last one was deleted.
        telemetry.set("lineal_webhook_lag_changes", 5_000)
        telemetry.set("lineal_webhooks_waiting", 1)
        async with sqlite_post.delivering():
            for gauge in ("lineal_webhook_lag_changes", "lineal_webhooks_waiting"):
                await awaited(lambda gauge=gauge: telemetry.registry.get_sample_value(gauge) == 0)  # type: ignore[misc]
    finally:
        METER.reset(token)


async def test_a_process_that_is_cancelled_amid_a_burst_leaves_all_to_the_next(post: Post, receiver: Receiver) -> None:
    async def slowly(got: Got) -> Answer | None:
        await asyncio.sleep(0.01)
        return await fine(got)

    receiver.respond = slowly
    nodes = await models(post.graph, "a", "b", "c")
    await post.hook(receiver.url)
    writing = asyncio.create_task(burst(post.graph, nodes, 30))
    for n in range(4):
        async with post.delivering(f"process {n}"):
            await awaited(lambda n=n: len(receiver.got) >= 5 * (n + 1))  # type: ignore[misc]
    told = await writing
    async with post.delivering("the last"):
        await awaited(lambda: all(turns(receiver, node) == told[node.id] for node in nodes), lambda: len(receiver.got))


async def test_of_a_webhook_that_is_deleted_while_it_delivers_nothing_is_kept(post: Post, receiver: Receiver) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(got: Got) -> Answer | None:
        reached.set()
        await go_on.wait()
        return await fine(got)

    receiver.respond = hold
    made = await post.hook(receiver.url)
    assert made.webhook is not None
    id = made.webhook.id
    async with post.delivering():
        await models(post.graph, "a")
        await reached.wait()
        async with post.op() as op:
            await managing.delete_webhook(op, address=id)
        go_on.set()
        await models(post.graph, "b")
        await asyncio.sleep(1)
    async with post.graph.snapshot() as snapshot:
        assert await snapshot.kept([id], ["secret", "cursor", "health", *deliveries.STATES]) == {}
    assert {got.json["data"]["name"] for got in receiver.got} == {"a"}


async def test_history_is_bounded(sqlite_post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "REMEMBERED", 5)
    monkeypatch.setattr(turn, "CLEAR_EVERY", 4)
    made = await sqlite_post.hook(receiver.url)
    async with sqlite_post.delivering():
        await models(sqlite_post.graph, *(f"m{n}" for n in range(20)))
        await awaited(lambda: len(receiver.taken()) == 20)
        await awaited(lambda: _remembered(sqlite_post, made, 5))


async def _remembered(post: Post, made: managing.Made, count: int) -> bool:
    return len(await post.deliveries(made)) == count


async def test_what_may_not_be_told_any_more_is_a_dead_letter_and_never_sent(
    sqlite_post: Post, receiver: Receiver
) -> None:
    async def refuse(_got: Got) -> Answer | None:
        return 500, {}, b""

    receiver.respond = refuse
    made = await sqlite_post.hook(receiver.url)
    assert made.webhook is not None
    await models(sqlite_post.graph, "a")
    async with sqlite_post.delivering():
        await awaited(lambda: _tried(sqlite_post, made))
    async with sqlite_post.op() as op:
        await managing.update_webhook(op, address=made.webhook.id, kinds=["Run"])
    receiver.respond = fine
    asked = len(receiver.got)
    async with sqlite_post.delivering():
        await awaited(lambda: _dead(sqlite_post, made))
    assert len(receiver.got) == asked


async def test_a_defect_met_with_one_event_does_not_stop_the_others(
    sqlite_post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await models(sqlite_post.graph, "bad", "good")
    sent = managing.send

    async def broken(*given: Any) -> Any:
        if given[2].subject == bad.id:
            raise ValueError
        return await sent(*given)

    monkeypatch.setattr("resolvers.webhooks.turn.send", broken)
    made = await sqlite_post.hook(receiver.url)
    async with sqlite_post.delivering():
        await burst(sqlite_post.graph, [bad, good], 2)
        await awaited(lambda: _delivered(sqlite_post, made, 2))
    (waiting, _) = [each for each in await sqlite_post.deliveries(made) if each.subject == bad.id][::-1]
    assert "defect" in waiting.tries[-1].error
