"""GraphQL over HTTP, by its specification and by what browsers do."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from graph.port import Graph
from schema.transport import GRAPHQL_TYPE, JSON_TYPE, PREFLIGHT, media_type
from schema.view import create_graphql_app
from tests import building as b
from tests.schema import graphql_js
from tests.services import free_port

TYPENAME = {"query": "{ __typename }"}


@asynccontextmanager
async def served(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> AsyncIterator[str]:
    """The address of an application that listens on a port of this machine."""
    config = uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="error", lifespan=lifespan)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{config.port}/graphql"
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def client(graph: Graph, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, in this process."""
    app = create_graphql_app(graph, **options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test/graphql") as http:
        yield http


async def test_every_audit_of_graphql_over_http_is_ok(sqlite_graph: Graph) -> None:
    async with served(create_graphql_app(sqlite_graph)) as url:
        results = await graphql_js.told("audits.mjs", url)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == 61


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("text/html", JSON_TYPE),
        ("application/*", JSON_TYPE),
        (JSON_TYPE, JSON_TYPE),
        (GRAPHQL_TYPE, GRAPHQL_TYPE),
        (f"{GRAPHQL_TYPE}; charset=utf-8, {JSON_TYPE}; charset=utf-8", GRAPHQL_TYPE),
        (f"{JSON_TYPE}, {GRAPHQL_TYPE}", GRAPHQL_TYPE),
        (f"{JSON_TYPE}, {GRAPHQL_TYPE};q=0.9", JSON_TYPE),
        (f"{JSON_TYPE};q=0.2, {GRAPHQL_TYPE.upper()};q=0.3", GRAPHQL_TYPE),
        (f"{GRAPHQL_TYPE};q=0", JSON_TYPE),
        (f"{GRAPHQL_TYPE};q=much", JSON_TYPE),
        (f"{GRAPHQL_TYPE};q=0, */*", JSON_TYPE),
        (", ;", JSON_TYPE),
    ],
)
def test_the_media_type_is_negotiated(accept: str | None, given: str) -> None:
    assert media_type(accept) == given


async def test_refusals_are_in_the_media_type_that_was_asked_for(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph) as http:
        for accept in (JSON_TYPE, GRAPHQL_TYPE):
            response = await http.put("", json=TYPENAME, headers={"accept": accept})
            assert response.status_code == 405
            assert response.headers["content-type"] == f"{accept}; charset=utf-8"
            assert set(response.json()) == {"errors"}


async def test_a_large_answer_is_compressed_for_those_who_can_read_that(sqlite_graph: Graph) -> None:
    for n in range(40):
        await b.model(sqlite_graph, f"model-{n}")
    body = {"query": "{ models { nodes { id name address } } }"}
    async with client(sqlite_graph) as http:
        plain = await http.post("", json=body, headers={"accept-encoding": "identity"})
        for encodings, compressed in (("gzip, br", True), ("br;q=1, gzip;q=0.1", True), ("gzip;q=0", False)):
            response = await http.post("", json=body, headers={"accept-encoding": encodings})
            assert ("content-encoding" in response.headers) is compressed
            assert response.content == plain.content
            assert response.headers["vary"] == "Accept, Accept-Encoding, Authorization"
        small = await http.post("", json=TYPENAME, headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in small.headers
        raw = await http.send(
            http.build_request("POST", "", json=body, headers={"accept-encoding": "gzip"}), stream=True
        )
        sent = b"".join([piece async for piece in raw.aiter_raw()])
    assert gzip.decompress(sent) == plain.content
    assert len(sent) == int(raw.headers["content-length"]) < len(plain.content) / 3


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_cannot_ask_by_get_without_a_preflight(sqlite_graph: Graph, site: str) -> None:
    async with client(sqlite_graph, origins=("https://app.example.org",)) as http:

        async def status(**headers: str) -> int:
            given = {"sec-fetch-site": site, **{name.replace("_", "-"): value for name, value in headers.items()}}
            return (await http.get("", params=TYPENAME, headers=given)).status_code

        assert await status() == 403
        assert await status(origin="https://evil.example.org") == 403
        assert await status(origin="https://app.example.org") == 200
        assert await status(authorization="Bearer x") == 200
        assert await status(**{PREFLIGHT: "1"}) == 200
        for own in ("same-origin", "none"):
            assert (await http.get("", params=TYPENAME, headers={"sec-fetch-site": own})).status_code == 200


async def test_a_form_cannot_post(sqlite_graph: Graph) -> None:
    async with client(sqlite_graph) as http:
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
            body = b"query=%7B__typename%7D"
            assert (await http.post("", content=body, headers={"content-type": kind})).status_code == 415
