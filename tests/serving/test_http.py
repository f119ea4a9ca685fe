"""The client of all adapters by HTTP goes where it is told, for so long, and says what went wrong without secrets."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lineal.errors import PreconditionFailed, Unavailable
from serving import http
from serving.http import Http
from serving.targets import TargetConfig, read
from tests.web import WebServer

TOKEN = "the-token"

Answers = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server that answers as the test says, and keeps the requests."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append((self.path, dict(self.headers)))
                site.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: Answers = lambda handler: said(handler, 200, b"{}")
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


def said(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def target(url: str, **more: Any) -> TargetConfig:
    table = {
        "platform": "torchserve",
        "workspaces": "*",
        "files": {"mode": "folder", "path": "/m"},
        "url": url,
        "secrets": {"token_env": "T_TOKEN"},
        **more,
    }
    (config,) = read({"targets": {"t": table}})
    return config


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
async def client(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    client = Http(target(site.url))
    yield client
    await client.close()


async def test_each_call_presents_the_token_of_the_moment(
    site: Site, client: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.call("GET", "/a", params={"b": "c d"})
    monkeypatch.setenv("T_TOKEN", "another")
    await client.call("GET", "/a")
    assert [path for path, _ in site.requests] == ["/a?b=c+d", "/a"]
    assert [headers["Authorization"] for _, headers in site.requests] == ["Bearer the-token", "Bearer another"]


async def test_a_secret_that_is_missing_is_told_before_anything_is_asked(
    site: Site, client: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("T_TOKEN")
    with pytest.raises(Unavailable, match="T_TOKEN"):
        await client.call("GET", "/")
    assert site.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, PreconditionFailed), (401, PreconditionFailed), (404, PreconditionFailed), (409, PreconditionFailed),
     (408, Unavailable), (429, Unavailable), (500, Unavailable), (502, Unavailable), (503, Unavailable)],
)  # fmt: skip
async def test_a_refusal_is_told_with_the_reason(site: Site, client: Http, status: int, kind: type[Exception]) -> None:
    site.answer = lambda handler: said(handler, status, b'{"error": {"message": "the\\n model  is odd"}}')
    with pytest.raises(kind, match=f"{status}.*the model is odd"):
        await client.call("GET", "/a?b=1")
    assert (await client.call("GET", "/", accept=[status])).status == status


async def test_what_a_platform_says_is_shown_without_secrets_and_cut_short(site: Site, client: Http) -> None:
    words = b"token the-token, https://store.example.org/a/b?X-Amz-Signature=abc&d=e " + b"x" * 5000
    site.answer = lambda handler: said(handler, 400, words)
    with pytest.raises(PreconditionFailed) as told:
        await client.call("GET", "/")
    assert TOKEN not in told.value.message
    assert "abc" not in told.value.message
    assert "https://store.example.org/a/b" in told.value.message
    assert len(told.value.message) < 500


async def test_redirects_are_not_followed(site: Site, client: Http) -> None:
    site.answer = lambda handler: said(handler, 307, b"", Location=f"{site.url}/elsewhere")
    with pytest.raises(PreconditionFailed, match="elsewhere"):
        await client.call("GET", "/")
    assert len(site.requests) == 1


async def test_an_answer_that_is_too_large_is_not_taken(
    site: Site, client: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER", 1000)
    site.answer = lambda handler: said(handler, 200, b" " * 100_000)
    with pytest.raises(Unavailable, match="1,000 bytes"):
        await client.call("GET", "/")


async def test_an_answer_that_is_no_json_is_told(site: Site, client: Http) -> None:
    site.answer = lambda handler: said(handler, 200, b"<html>")
    with pytest.raises(Unavailable, match="not JSON"):
        (await client.call("GET", "/")).json()


async def test_an_answer_that_drips_ends_with_the_timeout(site: Site, client: Http) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not site.release.wait(0.05):
            handler.wfile.write(b" ")

    site.answer = drip
    with pytest.raises(Unavailable, match=r"within 0\.5 s"):
        await client.call("GET", "/", within=0.5)
    site.release.set()


async def test_a_server_that_is_not_there_is_unavailable(client: Http, site: Site) -> None:
    site.close()
    with pytest.raises(Unavailable, match="away"):
        await client.call("GET", "/")


async def test_only_the_configured_authority_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with WebServer(tmp_path) as web:
        web.files["/a"] = b"{}"
        url = f"https://127.0.0.1:{web.port}"
        trusting, other = Http(target(url, ca_file=str(web.ca))), Http(target(url))
        try:
            with pytest.raises(Unavailable):
                await other.call("GET", "/a")
            assert web.requests == []
        finally:
            await trusting.close()
            await other.close()
