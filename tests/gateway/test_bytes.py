"""Bytes of the local folder over HTTP: what clients send, and what they get (RFC 9110)."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from auth.recorder import Recorder
from gateway.bytes import create_bytes_route
from graph.port import EntryFilter, Graph
from storage.local import LocalStorage
from storage.port import Blob, Send
from tests import building
from tests.services import free_port
from tests.storage.storing import MIB, SECRET, Clock, Store, blob_of, flipped, local_client, sha256, some

DATA = some(1000)
ETAG = f'"{sha256(DATA)}"'


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Store]:
    clock = Clock()
    async with LocalStorage(tmp_path, SECRET, clock=clock) as storage, local_client(storage) as http:
        yield Store(storage, http, clock)


@pytest.fixture
async def link(local: Store) -> str:
    """An address of DATA."""
    await local.upload("vision", DATA)
    return await local.link("vision", sha256(DATA), filename="model.bin")


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer that has this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert body["detail"]
    return body


# ── In ────────────────────────────────────────────────────────────────────────────────────────────


async def send_of(local: Store, data: bytes = DATA) -> Send:
    """The one request that sends these bytes."""
    (send,) = await local.sends("vision", data)
    return send


async def test_what_is_new_is_created_and_what_is_there_is_not(local: Store) -> None:
    send = await send_of(local)
    answer = await local.put(send, DATA)
    assert (answer.status_code, answer.headers["etag"], answer.content) == (201, ETAG, b"")
    assert (await local.put(send, DATA)).status_code == 204


async def test_wrong_bytes_are_told_apart_by_their_digest(local: Store) -> None:
    answer = await local.put(await send_of(local), flipped(DATA, 500))
    detail = problem(answer, 400, "INVALID_ARGUMENT")["detail"]
    assert sha256(DATA) in detail
    assert sha256(flipped(DATA, 500)) in detail


async def test_the_number_of_bytes_is_told_and_is_right(local: Store) -> None:
    send = await send_of(local)
    problem(await local.http.put(send.url, content=DATA[:-1]), 400, "INVALID_ARGUMENT")
    problem(await local.http.put(send.url, content=DATA + b"x"), 413, "LIMIT_EXCEEDED")

    async def unknown() -> AsyncIterator[bytes]:
        yield DATA

    problem(await local.http.put(send.url, content=unknown()), 411, "INVALID_ARGUMENT")
    for length in "-1", "1e3", "", "٣":
        headers = [(b"content-length", length.encode())]
        answer = await local.http.put(send.url, content=DATA, headers=headers)
        problem(answer, 411, "INVALID_ARGUMENT")


@pytest.mark.parametrize("body", [DATA[:500], DATA + b"more"])
async def test_a_body_that_is_not_as_long_as_it_said_is_refused(local: Store, body: bytes) -> None:
    """A server between may not have counted."""
    headers = {"content-length": str(len(DATA))}
    problem(await local.http.put((await send_of(local)).url, content=body, headers=headers), 400, "INVALID_ARGUMENT")
    assert not await local.has("vision", blob_of(DATA))


async def test_encoded_bytes_are_refused(local: Store) -> None:
    send = await send_of(local)
    answer = await local.http.put(send.url, content=DATA, headers={"content-encoding": "gzip"})
    problem(answer, 400, "INVALID_ARGUMENT")


async def test_who_sends_nothing_for_long_is_not_waited_for(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    app = Starlette(routes=[create_bytes_route(local.storage, idle_seconds=0.01)])
    send = await send_of(local)

    async def stalled() -> AsyncIterator[bytes]:
        yield DATA[:10]
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        answer = await http.put(send.url, content=stalled(), headers=dict(send.headers))
    problem(answer, 503, "UNAVAILABLE")


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", ["", "?token=", "?token=x.y", "?token=%00", "?other=1", "?token=%ED%A0%80.x"])
async def test_without_its_token_an_address_opens_nothing(local: Store, link: str, query: str) -> None:
    bare = link.partition("?")[0]
    problem(await local.http.get(bare + query), 403, "FORBIDDEN")
    problem(await local.http.put(bare + query, content=DATA), 403, "FORBIDDEN")
    assert (await local.http.head(bare + query)).status_code == 403


async def test_a_token_opens_no_other_path(local: Store, link: str) -> None:
    other = await local.upload("vision", some(10))
    problem(await local.http.get(link.replace(sha256(DATA), other.sha256)), 403, "FORBIDDEN")
    assert (await local.http.get(link.replace(sha256(DATA), "..%2F" + sha256(DATA)))).status_code in {403, 404}


async def test_an_expired_address_says_so(local: Store) -> None:
    send = await send_of(local)
    await local.put(send, DATA)
    link = await local.link("vision", sha256(DATA), seconds=60)
    local.clock.offset = 61
    assert "expired" in problem(await local.http.get(link), 403, "FORBIDDEN")["detail"]
    # Well before its end: the machine's own clock goes on meanwhile.
    local.clock.offset = 300
    assert (await local.put(send, DATA)).status_code == 204
    local.clock.offset = 601
    problem(await local.put(send, DATA), 403, "FORBIDDEN")


async def test_the_token_is_not_in_the_path_which_is_logged(link: str) -> None:
    assert httpx.URL(link).path == f"/bytes/{sha256(DATA)}"


async def test_what_was_removed_is_not_found(local: Store, link: str) -> None:
    await local.storage.remove("vision", [sha256(DATA)])
    problem(await local.http.get(link), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_else_can_be_done_and_no_other_site_is_let_in(local: Store, link: str, method: str) -> None:
    origin = {"origin": "https://elsewhere.example", "access-control-request-method": "PUT"}
    answer = await local.http.request(method, link, headers=origin)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# ── Out ───────────────────────────────────────────────────────────────────────────────────────────


async def test_all_of_it_is_given_to_be_saved_and_never_shown(local: Store, link: str) -> None:
    answer = await local.http.get(link, headers={"origin": "https://elsewhere.example"})
    assert (answer.status_code, answer.content) == (200, DATA)
    assert {name: answer.headers.get(name) for name in SHOWN} == SHOWN
    assert not [name for name in answer.headers if name.startswith("access-control-")]


SHOWN = {
    "accept-ranges": "bytes",
    "cache-control": "private, no-transform",
    "content-disposition": "attachment; filename=\"model.bin\"; filename*=UTF-8''model.bin",
    "content-length": "1000",
    "content-security-policy": "default-src 'none'; sandbox",
    "content-type": "application/octet-stream",
    "cross-origin-resource-policy": "same-origin",
    "etag": ETAG,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def test_head_tells_what_get_would_without_the_bytes(local: Store, link: str) -> None:
    answer = await local.http.head(link, headers={"range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: answer.headers.get(name) for name in SHOWN} == SHOWN


@pytest.mark.parametrize(
    ("range", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-999", 0, 999),
        ("bytes=0-", 0, 999),
        ("bytes=999-", 999, 999),
        ("bytes=10-20", 10, 20),
        ("bytes=900-99999999999999999999", 900, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-1000", 0, 999),
        ("bytes=-5000", 0, 999),
        ("BYTES=5-6", 5, 6),
    ],
)
async def test_one_range_is_given(local: Store, link: str, range: str, first: int, last: int) -> None:
    answer = await local.http.get(link, headers={"range": range})
    assert (answer.status_code, answer.content) == (206, DATA[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/1000"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("range", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"])
async def test_a_range_of_none_of_its_bytes_is_refused_with_its_size(local: Store, link: str, range: str) -> None:
    answer = await local.http.get(link, headers={"range": range})
    problem(answer, 416, "INVALID_ARGUMENT")
    assert answer.headers["content-range"] == "bytes */1000"


@pytest.mark.parametrize(
    "range", ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1 - 2", "items=0-1", "bytes=0-1,5-6"]
)
async def test_what_is_no_single_range_is_ignored(local: Store, link: str, range: str) -> None:
    answer = await local.http.get(link, headers={"range": range})
    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 206), (f"W/{ETAG}", 200), ('"other"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)],
)
async def test_a_range_of_another_representation_gives_all_of_this_one(
    local: Store, link: str, condition: str, status: int
) -> None:
    answer = await local.http.get(link, headers={"range": "bytes=0-1", "if-range": condition})
    assert answer.status_code == status
    assert answer.content == (DATA[:2] if status == 206 else DATA)


@pytest.mark.parametrize("tags", [ETAG, f"W/{ETAG}", "*", f'"other", {ETAG}'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_client_has_is_not_given_again(local: Store, link: str, tags: str, method: str) -> None:
    answer = await local.http.request(method, link, headers={"if-none-match": tags, "range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG


async def test_what_is_not_what_the_client_expects_is_not_given(local: Store, link: str) -> None:
    assert (await local.http.get(link, headers={"if-match": '"other"'})).status_code == 412
    assert (await local.http.get(link, headers={"if-match": f"W/{ETAG}"})).status_code == 412
    for tags in ETAG, "*", f'"other", {ETAG}':
        assert (await local.http.get(link, headers={"if-match": tags})).status_code == 200


async def test_an_empty_file_is_given_whole_and_has_no_ranges(local: Store) -> None:
    await local.upload("vision", b"")
    link = await local.link("vision", sha256(b""))
    answer = await local.http.get(link)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    assert (await local.http.get(link, headers={"range": "bytes=0-0"})).status_code == 416


@pytest.mark.parametrize(
    ("filename", "plain", "exact"),
    [
        ("weights/layer 1.bin", "layer 1.bin", "layer%201.bin"),
        ('a"b\\c;d.bin', "c_d.bin", "c%3Bd.bin"),
        ("größe.bin", "gr__e.bin", "gr%C3%B6%C3%9Fe.bin"),
        ("a\r\nset-cookie: x", "a__set-cookie_ x", "a%0D%0Aset-cookie%3A%20x"),
        ("模型.gguf", "__.gguf", "%E6%A8%A1%E5%9E%8B.gguf"),
        ("", "download", "download"),
    ],
)
async def test_a_name_to_save_it_under_cannot_break_out_of_its_header(
    local: Store, filename: str, plain: str, exact: str
) -> None:
    await local.upload("vision", DATA)
    answer = await local.http.get(await local.link("vision", sha256(DATA), filename=filename))
    assert answer.headers["content-disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
    assert "set-cookie" not in answer.headers


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_request_takes_in_memory_does_not_grow_with_its_bytes(local: Store) -> None:
    assert isinstance(local.storage, LocalStorage)
    app, piece, pieces = Starlette(routes=[create_bytes_route(local.storage)]), some(65536), 2048
    digest = hashlib.sha256()
    for _ in range(pieces):
        digest.update(piece)
    blob = Blob(digest.hexdigest(), pieces * len(piece))
    (send,) = await local.storage.sends("vision", blob, seconds=600)
    tracemalloc.start()
    try:
        body = ({"type": "http.request", "body": piece, "more_body": i < pieces} for i in range(1, pieces + 1))
        assert await asked(app, "PUT", send.url, body, blob.size) == (201, 0)
        link = await local.link("vision", blob.sha256)
        nothing = iter([{"type": "http.request", "body": b"", "more_body": False}])
        assert await asked(app, "GET", link, nothing, 0) == (200, blob.size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


async def asked(app: Starlette, method: str, url: str, body: Iterator[Any], length: int) -> tuple[int, int]:
    """The status and the number of bytes of an answer, none of which is kept."""
    path, _, query = url.removeprefix("http://lineal.test").partition("?")
    headers = [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
    status = size = 0

    async def receive() -> Any:
        # Whoever asks for more than there is waits for a client that stays.
        return next(body, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal status, size
        status = message.get("status", status)
        size += len(message.get("body", b""))

    await app(scope, receive, send)
    return status, size


# ── On a real server ──────────────────────────────────────────────────────────────────────────────


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def served(local: Store) -> AsyncIterator[str]:
    """The address of a server with these routes."""
    assert isinstance(local.storage, LocalStorage)
    port = free_port()
    app = Starlette(routes=[create_bytes_route(local.storage)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


async def test_a_client_that_hangs_up_leaves_nothing_and_can_come_again(local: Store, served: str) -> None:
    assert isinstance(local.storage, LocalStorage)
    data = some(4 * MIB)
    send = await send_of(local, data)
    path = send.url.removeprefix("http://lineal.test")
    host, _, port = served.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode())
    writer.write(data[: 2 * MIB])
    await writer.drain()
    incoming = local.storage.root / "vision" / "incoming"
    await until(lambda: any(incoming.glob("*")))
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: not any(incoming.glob("*")))
    assert not await local.has("vision", blob_of(data))
    async with httpx.AsyncClient() as http:
        assert (await http.put(served + path, content=data)).status_code == 201


async def test_a_refusal_is_heard_though_the_body_was_not_read(local: Store, served: str) -> None:
    data = some(4 * MIB)
    path = (await send_of(local, data)).url.removeprefix("http://lineal.test")
    async with httpx.AsyncClient() as http:
        problem(await http.put(f"{served}{path}x", content=data), 403, "FORBIDDEN")
        assert (await http.put(served + path, content=data)).status_code == 201
        link = await local.link("vision", sha256(data))
        assert (await http.get(link.replace("http://lineal.test", served))).content == data


# ── The audit ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_fetched_and_what_was_refused_is_in_the_audit(sqlite_graph: Graph, tmp_path: Path) -> None:
    await building.workspace(sqlite_graph, "vision")
    other = some(500)
    async with LocalStorage(tmp_path / "bytes", SECRET) as storage, Recorder(sqlite_graph) as recorder:
        app = Starlette(routes=[create_bytes_route(storage, recorder)])
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://lineal") as http:
            store = Store(storage, http, Clock())
            for data in (DATA, other):
                await store.upload("vision", data)
                address = await storage.link(
                    "vision", sha256(data), filename="model.bin", seconds=60, base="http://lineal"
                )
                for headers in ({}, {"range": "bytes=0-9"}):
                    assert (await http.get(address, headers=headers)).is_success
                assert (await http.head(address)).status_code == 200
                assert (await http.get(address, headers={"if-none-match": f'"{sha256(data)}"'})).status_code == 304
            for _ in range(3):
                assert (await http.get(f"/bytes/{sha256(DATA)}?token=forged")).status_code == 403
    async with sqlite_graph.snapshot() as snapshot:
        entries = (await snapshot.entries(EntryFilter(noted=True)))[::-1]
    told = [(e.workspace, e.change.action, e.change.data["noted"]) for e in entries]
    files = ["model.bin"]
    assert [note for place, action, note in told if (place, action) == ("vision", "read")] == [
        {"action": "fetch", "data": {"blobs": [sha256(DATA)], "files": files}, "count": 1},
        {"action": "fetch", "data": {"blobs": [sha256(DATA), sha256(other)], "files": files}, "count": 3},
    ]
    failed = [note for _, action, note in told if action == "failed"]
    assert [(note["reason"], note["count"]) for note in failed] == [("bytes", 1), ("bytes", 2)]
    assert {e.change.origin.address for e in entries} == {"192.0.2.7"}
