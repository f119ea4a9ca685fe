"""GraphQL over WebSocket: the protocol to the letter, and who may come in for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from strawberry.types import ExecutionResult

from auth.authenticator import Authenticator
from auth.caller import Caller
from auth.challenges import unavailable
from graph.port import Update
from schema.sockets import SocketRules, Sockets
from schema.streaming import Asked, Streams, Who
from tests import building as b
from tests.live.connecting import Site, Socket, held, site, socket_scope
from tests.live.following import SEQUENCES, reached


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    """An application on SQLite."""
    async with site(tmp_path, max_depth=6, max_operations_per_connection=3, cors_origins=["https://app.test"]) as here:
        yield here


async def test_a_query_a_mutation_and_a_subscription_are_answered_side_by_side(here: Site) -> None:
    async with here.connected() as socket:
        socket.subscribe(SEQUENCES, "live", after="0")
        socket.subscribe('mutation { registerModel(input: {name: "bert"}) { model { name } } }', "write")
        heard = [await socket.heard() for _ in range(4)]
        answers = [message for message in heard if message["id"] == "write"]
        assert answers == [
            {"id": "write", "type": "next", "payload": {"data": {"registerModel": {"model": {"name": "bert"}}}}},
            {"id": "write", "type": "complete"},
        ]
        (appeared, made) = (m["payload"]["data"]["events"] for m in heard if m["id"] == "live")
        assert appeared["subject"].startswith("pr_")
        assert made["subject"].startswith("mo_")
        socket.subscribe("{ models { nodes { name } } }", "read")
        assert (await socket.heard())["payload"] == {"data": {"models": {"nodes": [{"name": "bert"}]}}}
        assert await socket.heard() == {"id": "read", "type": "complete"}
        socket.tell("ping")
        assert await socket.heard() == {"type": "pong"}
        socket.tell("pong")
        socket.tell("complete", id="live")
        socket.tell("complete", id="unknown")
        await b.model(here.graph, "silent")
        socket.subscribe("{ __typename }", "live")
        assert [(await socket.heard())["type"] for _ in "12"] == ["next", "complete"], "its id is free again"


REFUSED = (
    ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
    ("{", "GRAPHQL_PARSE_FAILED"),
    ("{ models { nodes { versions { nodes { model { versions { nodes { id } } } } } } } }", "LIMIT_EXCEEDED"),
    ("subscription { events { nope } }", "GRAPHQL_VALIDATION_FAILED"),
    ("subscription { a: events { id } b: events { id } }", "GRAPHQL_VALIDATION_FAILED"),
    ('subscription { events(after: "nonsense") { id } }', "INVALID_ARGUMENT"),
    ('subscription { events(about: ["models:/none"]) { id } }', "NOT_FOUND"),
    ("subscription { events(about: []) { id } }", "INVALID_ARGUMENT"),
    ("subscription ($a: [ID!]!) { events(about: $a) { id } }", "INVALID_ARGUMENT"),
    ("", "INVALID_ARGUMENT"),
)


SEVERAL = (
    'mutation A { registerModel(input: {name: "bert"}) { model { id } } } query B { __typename }',
    "subscription A { events { id } } query B { __typename }",
)


async def test_what_cannot_be_run_is_answered_with_an_error_and_nothing_more(here: Site) -> None:
    async with here.connected() as socket:
        for query, code in REFUSED:
            socket.subscribe(query)
            answer = await socket.heard()
            assert (answer["id"], answer["type"]) == ("1", "error"), query
            assert {error["extensions"]["code"] for error in answer["payload"]} == {code}, query
            socket.tell("ping")
            assert (await socket.heard())["type"] == "pong", "the connection stays"
        socket.tell("subscribe", id="1", payload={"query": "{ __typename }", "operationName": "other"})
        assert (await socket.heard())["payload"][0]["extensions"]["field"] == "operationName"
        for query in SEVERAL:
            socket.subscribe(query)
            answer = await socket.heard()
            assert (answer["type"], answer["payload"][0]["extensions"]["field"]) == ("error", "operationName"), query


async def test_scopes_hold_for_subscriptions_as_for_all_else_and_refusals_are_audited(here: Site) -> None:
    async with here.connected("model:read") as socket:
        socket.subscribe(SEQUENCES)
        answer = await socket.heard()
        assert answer["payload"][0]["extensions"]["requiredScopes"] == [["activity:read"]]
    async with here.connected("model:read", "activity:read") as socket:
        socket.subscribe('subscription { events(downstreamOf: ["models:/none"]) { id } }')
        answer = await socket.heard()
        assert answer["payload"][0]["extensions"]["requiredScopes"] == [["lineage:read"]]
        socket.subscribe(
            'subscription { events(after: "0") { subject node { id changes { nodes { id } } upstream { complete } } } }'
        )
        model, _ = await b.model(here.graph, "bert")
        answer = await socket.heard()
        assert answer["payload"]["data"]["events"]["subject"] == model.id
        assert answer["payload"]["data"]["events"]["node"]["upstream"] is None
        assert [e["extensions"]["requiredScopes"] for e in answer["payload"]["errors"]] == [[["lineage:read"]]]
    async with here.graph.snapshot() as snapshot:
        noted = [entry.change.data.get("noted", {}) for entry in await snapshot.entries()]
    assert {("subscription events", "FORBIDDEN")} == {(n["action"], n["code"]) for n in noted if "scopes" in n}


UNINTRODUCED = (
    ("nonsense", 4400),
    ("5", 4400),
    ('{"type": "start"}', 4400),
    ("{}", 4400),
    ('{"type": "connection_init", "payload": 5}', 4400),
    ('{"type": "connection_init", "payload": {"authorization": 5}}', 4400),
    ('{"type": "connection_init"}', 4403),
    ('{"type": "connection_init", "payload": {"authorization": "Bearer nonsense"}}', 4403),
    ('{"type": "connection_init", "payload": {"authorization": "Basic x"}}', 4403),
    ('{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}', 4401),
)


async def test_whoever_does_not_say_who_they_are_as_they_should_is_sent_away(here: Site) -> None:
    for text, code in UNINTRODUCED:
        async with here.socket() as socket:
            assert (await socket.came())["subprotocol"] == "graphql-transport-ws"
            socket.text(text)
            assert await socket.closed() == code, text


BROKEN = (
    ('{"type": "connection_init"}', 4429),
    ('{"type": "subscribe"}', 4400),
    ('{"type": "subscribe", "id": "", "payload": {"query": "{ __typename }"}}', 4400),
    ('{"type": "subscribe", "id": "x", "payload": {"query": 5}}', 4400),
    ('{"type": "subscribe", "id": "x", "payload": {"query": "{ __typename }", "variables": []}}', 4400),
    ('{"type": "subscribe", "id": "live", "payload": {"query": "{ __typename }"}}', 4409),
    (" " * 5_000_000, 1009),
)


async def test_whoever_breaks_the_protocol_is_sent_away(here: Site) -> None:
    for text, code in BROKEN:
        async with here.connected() as socket:
            socket.subscribe(SEQUENCES, "live")
            socket.text(text)
            assert await socket.closed() == code, text[:100]
    async with here.connected() as socket:
        socket.say(type="websocket.receive", bytes=b"{}")
        assert await socket.closed() == 4400, "bytes are no message"


async def test_only_the_one_protocol_is_spoken(here: Site) -> None:
    async with here.socket(protocol="graphql-ws") as socket:
        assert (await socket.came())["subprotocol"] is None
        assert await socket.closed() == 4406


async def test_whoever_says_nothing_is_sent_away(here: Site) -> None:
    hasty = Sockets(here.streams, SocketRules(init_seconds=0.05))
    async with Socket(hasty, {**socket_scope(), "state": {"admit": None}}) as socket:
        socket.say(type="websocket.connect")
        await socket.came()
        assert await socket.closed() == 4408


async def test_only_so_many_may_be_about_to_say_who_they_are(here: Site) -> None:
    async def admitted(_authorization: str | None, _proof: str | None) -> Caller:
        return Caller("local:ann")

    narrow = Sockets(here.streams, SocketRules(strangers=1))
    scope = {**socket_scope(), "state": {"admit": admitted}}

    async def connect(socket: Socket) -> None:
        socket.say(type="websocket.connect")
        assert (await socket.came())["type"] == "websocket.accept"

    async with Socket(narrow, scope) as one:
        await connect(one)
        async with Socket(narrow, scope) as other:
            await connect(other)
            assert await other.closed() == 1013
        await one.init()
        async with Socket(narrow, scope) as silent:
            await connect(silent)
        async with Socket(narrow, scope) as third:
            await connect(third)
            await third.init()


async def test_one_client_has_only_so_many_connections(tmp_path: Path) -> None:
    async with (
        site(tmp_path, max_subscriptions_per_client=2) as here,
        here.connected() as one,
        here.connected(),
        here.connected(name="other"),
        here.socket() as more,
    ):
        await more.came()
        more.tell("connection_init", payload={"authorization": here.bearer()})
        assert await more.closed() == 1013
        one.leave()
        await reached(one.done)
        async with here.connected() as again:
            again.subscribe("{ __typename }")
            assert (await again.heard())["type"] == "next"


async def test_queries_over_a_socket_count_among_what_a_process_has_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(tmp_path, max_requests=1) as here, here.connected() as one, here.connected() as other:
        with held(monkeypatch) as gate:
            one.subscribe("{ __typename }", "a")
            await reached(lambda: here.app.state.load.requests == 1)
            for query in ("{ __typename }", SEQUENCES):
                other.subscribe(query, "b")
                refused = await other.heard()
                assert (refused["id"], refused["type"]) == ("b", "error")
                told = refused["payload"][0]["extensions"]
                assert (told["code"], told["retryAfter"]) == ("UNAVAILABLE", 1)
            async with here.events("{ __typename }") as source:
                assert await source.status() == 503
            gate.set()
            assert (await one.heard())["payload"] == {"data": {"__typename": "Query"}}
        assert (await one.heard())["type"] == "complete"
        other.subscribe(SEQUENCES, "b", after="0")
        assert (await other.heard())["type"] == "next"
        assert here.app.state.load.requests == 0, "what is open without end is not counted"


async def test_where_only_trusted_documents_run_that_holds_for_sockets_and_streams_too(tmp_path: Path) -> None:
    (tmp_path / "documents.json").write_text(orjson.dumps({"names": "{ models { nodes { name } } }"}).decode())
    async with site(tmp_path, documents=[tmp_path / "documents.json"], documents_only=True) as here:
        async with here.connected() as socket:
            socket.tell("subscribe", id="1", payload={"documentId": "names"})
            assert (await socket.heard())["payload"] == {"data": {"models": {"nodes": []}}}
            assert (await socket.heard())["type"] == "complete"
            socket.subscribe(SEQUENCES)
            answer = await socket.heard()
            assert (answer["type"], "documentId" in answer["payload"][0]["message"]) == ("error", True)
        async with here.events(SEQUENCES) as source:
            assert await source.status() == 403
        async with here.events(b'{"documentId": "names"}') as source:
            assert await source.status() == 200
            assert (await source.event())[1] == {"data": {"models": {"nodes": []}}}


ORIGINS = (
    ("http://127.0.0.1:8321", True),
    ("https://app.test", True),
    ("https://app.test:444", False),
    ("https://evil.test", False),
    ("null", False),
    (None, True),
)


async def test_pages_of_other_sites_may_not_connect_unless_they_are_named(here: Site) -> None:
    for origin, accepted in ORIGINS:
        async with here.socket(origin=origin) if origin else here.socket() as socket:
            assert (await socket.came())["type"] == ("websocket.accept" if accepted else "websocket.close"), origin


async def test_without_issuers_only_this_machines_names_are_answered_for(here: Site) -> None:
    async with here.socket(host="evil.test") as socket:
        assert (await socket.came())["status"] == 421


async def test_there_is_no_socket_anywhere_else(here: Site) -> None:
    for path in ("/", "/graphql/", "/metrics", "/api/v1/events"):
        async with here.socket(path=path) as socket:
            assert (await socket.came())["type"] == "websocket.close"


async def test_the_token_may_come_in_the_header_and_one_in_the_first_message_goes_before_it(here: Site) -> None:
    async with here.socket(authorization=here.bearer("model:read")) as socket:
        await socket.came()
        await socket.init()
        socket.subscribe("{ viewer { scopes } }")
        assert (await socket.heard())["payload"]["data"]["viewer"]["scopes"] == ["model:read"]
    async with here.socket(authorization="Bearer nonsense") as socket:
        await socket.came()
        await socket.init(Authorization=here.bearer("dataset:read"))
        socket.subscribe("{ viewer { scopes } }")
        assert (await socket.heard())["payload"]["data"]["viewer"]["scopes"] == ["dataset:read"]


async def test_when_the_token_expires_everything_ends_with_4403(here: Site) -> None:
    async with here.connected(expires_in=2) as socket:
        socket.subscribe(SEQUENCES, "live")
        socket.tell("ping")
        assert (await socket.heard())["type"] == "pong"
        assert await socket.closed() == 4403
        assert here.followers == 0


async def test_whoever_is_deactivated_may_not_connect_and_an_issuer_that_is_away_is_no_reason_to_give_up(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with here.connected(name="ann"):
        pass
    async with here.graph.snapshot() as snapshot:
        (ann,) = (await snapshot.find("Principal")).items
    await b.update(here.graph, Update(ann.id, {"active": False}))
    async with here.socket() as socket:
        await socket.came()
        socket.tell("connection_init", payload={"authorization": here.bearer(name="ann")})
        assert await socket.closed() == 4403

    async def away(*_: object) -> None:
        raise unavailable("the issuer is away")

    monkeypatch.setattr(Authenticator, "verified", away)
    async with here.socket() as socket:
        await socket.came()
        socket.tell("connection_init", payload={"authorization": here.bearer()})
        assert await socket.closed() == 1013


async def test_what_an_admin_reads_over_a_socket_is_in_the_audit(here: Site) -> None:
    async with here.connected("admin") as socket:
        socket.subscribe("{ models { nodes { name } } }", "read")
        assert [(await socket.heard())["type"] for _ in "12"] == ["next", "complete"]
        socket.subscribe(SEQUENCES, "live", after="0")
        assert (await socket.heard())["type"] == "next"
    async with here.graph.snapshot() as snapshot:
        noted = [entry.change.data.get("noted", {}) for entry in await snapshot.entries()]
    read = [note["data"]["fields"] for note in noted if note.get("action") == "adminRead"]
    assert read == [["events"], ["models"]]


async def test_one_connection_has_so_many_operations_and_one_process_so_many_subscriptions(tmp_path: Path) -> None:
    async with site(tmp_path, max_operations_per_connection=2, max_subscriptions=3) as here:
        async with here.connected() as one, here.connected() as two:
            for id in "abc":
                one.subscribe(SEQUENCES, id)
            refused = await one.heard()
            assert (refused["id"], refused["payload"][0]["extensions"]["limit"]) == ("c", "operations")
            await reached(lambda: here.followers == 2)
            two.subscribe(SEQUENCES, "a")
            await reached(lambda: here.followers == 3)
            two.subscribe(SEQUENCES, "b")
            refused = await two.heard()
            assert (refused["id"], refused["payload"][0]["extensions"]["limit"]) == ("b", "subscriptions")
            one.tell("complete", id="a")
            await reached(lambda: here.followers == 2)
            two.subscribe(SEQUENCES, "b", after="0")
            assert (await two.heard())["type"] == "next"
        await reached(lambda: here.followers == 0)


async def test_what_one_client_follows_leaves_room_for_others(tmp_path: Path) -> None:
    async with (
        site(tmp_path, max_subscriptions=3, max_subscriptions_per_client=2) as here,
        here.connected() as one,
        here.connected() as again,
        here.connected(name="other") as other,
    ):
        one.subscribe(SEQUENCES, "a")
        again.subscribe(SEQUENCES, "a")
        await reached(lambda: here.followers == 2)
        again.subscribe(SEQUENCES, "b")
        refused = await again.heard()
        assert "of one client" in refused["payload"][0]["message"]
        other.subscribe(SEQUENCES, "a", after="0")
        assert (await other.heard())["type"] == "next"
        one.tell("complete", id="a")
        await reached(lambda: here.followers == 2)
        again.subscribe(SEQUENCES, "b", after="0")
        assert (await again.heard())["type"] == "next"


async def test_an_operation_that_was_ended_counts_until_it_has_come_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, over = asyncio.Event(), asyncio.Event()

    async def slow(self: Streams, asked: Asked, who: Who) -> AsyncIterator[ExecutionResult]:
        try:
            await asyncio.sleep(60)
            yield ExecutionResult({}, None)
        finally:
            await go_on.wait()
            over.set()

    async with site(tmp_path, max_operations_per_connection=1) as here, here.connected() as one:
        with monkeypatch.context() as patched:
            patched.setattr(Streams, "results", slow)
            one.subscribe("{ __typename }", "a")
            one.tell("ping")
            assert await one.heard() == {"type": "pong"}
            one.tell("complete", id="a")
            one.subscribe("{ __typename }", "b")
            assert (await one.heard())["payload"][0]["extensions"]["limit"] == "operations"
        go_on.set()
        await over.wait()
        one.tell("ping")
        assert await one.heard() == {"type": "pong"}
        one.subscribe("{ __typename }", "b")
        assert (await one.heard())["payload"] == {"data": {"__typename": "Query"}}


async def test_extensions_are_as_over_http(here: Site) -> None:
    async with here.connected() as socket:
        socket.tell("subscribe", id="a", payload={"query": "{ __typename }", "extensions": {"cost": True}})
        answer = (await socket.heard())["payload"]
        assert answer["extensions"]["cost"].keys() == {"requested", "actual", "limit"}
        assert (await socket.heard())["type"] == "complete"
        socket.tell("subscribe", id="a", payload={"query": "{ __typename }", "extensions": {"bookmark": 7}})
        refused = await socket.heard()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "INVALID_ARGUMENT")


async def test_a_client_that_does_not_read_holds_up_no_other_and_gets_everything_later(here: Site) -> None:
    async with here.connected() as slow, here.connected() as quick:
        slow.subscribe(SEQUENCES, after="0")
        first = (await slow.heard())["payload"]["data"]["events"]
        slow.room.clear()
        quick.subscribe(SEQUENCES, after=first["sequence"])
        made = [(await b.model(here.graph, f"m{n}"))[0].id for n in range(20)]
        assert [(await quick.heard())["payload"]["data"]["events"]["subject"] for _ in made] == made
        slow.room.set()
        assert [(await slow.heard())["payload"]["data"]["events"]["subject"] for _ in made] == made


async def test_a_server_that_stops_closes_with_1012_so_that_clients_come_again(here: Site) -> None:
    async with here.connected() as socket:
        socket.subscribe(SEQUENCES)
        await reached(lambda: here.followers == 1)
        here.live.end()
        assert await socket.closed() == 1012


async def test_subscriptions_are_counted_when_they_end(here: Site) -> None:
    async with here.connected() as socket:
        socket.subscribe('subscription Everything { events(after: "0") { id } }')
        assert (await socket.heard())["type"] == "next"
        socket.tell("complete", id="1")
        await reached(lambda: here.followers == 0)
    said = here.telemetry.exposition().decode()
    assert 'lineal_operations_total{operation="Everything",outcome="ok",type="subscription"} 1.0' in said
