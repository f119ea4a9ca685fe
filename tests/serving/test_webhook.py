"""What a service of one's own is told: signed, and with addresses where files come by links."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lineal.errors import Unavailable
from serving.port import Desired, Served, tag_of
from tests.serving.rigs import SECRET, Source, adapter


class Receiver:
    """Keeps what it is told, and answers that it knows of nothing, or what the test says."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.requests.append((self.command, self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("Content-Length", str(len(receiver.answer)))
                self.end_headers()
                self.wfile.write(receiver.answer)

            do_GET = do_POST = _handle  # noqa: N815 - as the library wants them

            def log_message(self, *_: Any) -> None: ...

        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer = b'{"deployments": {}}'
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("RIG_SECRET", SECRET)
    receiver = Receiver()
    yield receiver
    receiver.close()


def hook(receiver: Receiver, **files: Any) -> Any:
    return adapter("webhook", url=receiver.url, secrets={"key_env": "RIG_SECRET"}, files=files)


def source() -> Source:
    made = Source({"model.bin": b"weights"})
    made.base = "https://lineal.example.org/bytes"
    return made


async def test_every_request_is_signed_as_standard_webhooks_say(receiver: Receiver) -> None:
    async with hook(receiver, mode="none") as webhook:
        await webhook.apply(Desired("ranker", 1, (Served(3, 1.0, source()),)))
    assert [(method, path) for method, path, *_ in receiver.requests] == [
        ("GET", "/hook?name=ranker"),
        ("POST", "/hook"),
    ]
    ids = set()
    for _, path, headers, body in receiver.requests:
        named = {name.lower(): value for name, value in headers.items()}
        signed = f"{named['webhook-id']}.{named['webhook-timestamp']}.".encode() + (body or path.encode())
        digest = hmac.digest(SECRET.encode(), signed, hashlib.sha256)
        assert named["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert abs(time.time() - int(named["webhook-timestamp"])) < 60
        assert "authorization" not in named
        ids.add(named["webhook-id"])
    assert len(ids) == 2


async def test_it_is_told_all_that_shall_be_served(receiver: Receiver) -> None:
    wanted = Desired(
        "ranker", 7, (Served(3, 0.9, source(), "mv_3"), Served(4, 0.1, Source({"a": b"1"}))), {"gpus": 1}, {"x": "y"}
    )
    async with hook(receiver, mode="none") as webhook:
        webhook.check(wanted)
        await webhook.apply(wanted)
    told = json.loads(receiver.requests[-1][3])
    first = wanted.served[0].source
    assert {key: told[key] for key in ("name", "revision", "resources", "settings")} == {
        "name": "ranker",
        "revision": 7,
        "resources": {"gpus": 1},
        "settings": {"x": "y"},
    }
    assert told["served"][0] == {
        "number": 3,
        "version": "mv_3",
        "weight": 0.9,
        "tag": tag_of(first),
        "digest": first.digest,
        "uri": "",
        "files": [],
    }
    assert [each["number"] for each in told["served"]] == [3, 4]


async def test_files_may_come_by_addresses(receiver: Receiver) -> None:
    async with hook(receiver, mode="link", seconds=60) as webhook:
        await webhook.apply(Desired("ranker", 1, (Served(3, 1.0, source()),)))
    (file,) = json.loads(receiver.requests[-1][3])["served"][0]["files"]
    assert (file["path"], file["size"]) == ("model.bin", 7)
    assert file["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert file["url"].startswith("https://lineal.example.org/bytes/model.bin?")
    assert "seconds=60" in file["url"]


async def test_settings_that_changed_are_told_though_the_versions_are_the_same(receiver: Receiver) -> None:
    served = (Served(3, 1.0, source()),)
    async with hook(receiver, mode="none") as webhook:
        await webhook.apply(Desired("ranker", 1, served))
        told = json.loads(receiver.requests[-1][3])
        seen = {"number": 3, "state": "READY", "weight": 1.0, "tag": told["served"][0]["tag"]}
        there = {"wanted": told["wanted"], "settled": True, "served": [seen]}
        receiver.answer = json.dumps({"deployments": {"ranker": there}}).encode()
        receiver.requests.clear()
        await webhook.apply(Desired("ranker", 2, served))
        assert [method for method, *_ in receiver.requests] == ["GET"]
        await webhook.apply(Desired("ranker", 3, served, settings={"x": "y"}))
        assert [method for method, *_ in receiver.requests] == ["GET", "GET", "POST"]


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b'{"deployments": []}',
        b'{"deployments": {"ranker": 1}}',
        b'{"deployments": {"ranker": {"served": [{"number": 1, "state": "FINE"}]}}}',
        b'{"deployments": {"ranker": {"served": [{"number": "one", "state": "READY"}]}}}',
        b'{"deployments": {"ranker": {"served": 3}}}',
    ],
)
async def test_an_answer_that_was_not_agreed_on_tells_nothing(receiver: Receiver, answer: bytes) -> None:
    receiver.answer = answer
    async with hook(receiver, mode="none") as webhook:
        with pytest.raises(Unavailable):
            await webhook.observe(["ranker"])
