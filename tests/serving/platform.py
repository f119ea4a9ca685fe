"""A small serving platform that speaks serving.webhook's words, as a process: `python -m tests.serving.platform`.

It keeps what it was told in a file, reads versions from folders (a file `answer` with a number, or with anything else
where it cannot come up), takes two looks to bring one up, and answers requests from those that are up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.services import Server

LOOKS: Final = 2
ROOT: Final = Path(__file__).parents[2]


class Platform:
    """What it was told, and what it does."""

    def __init__(self, kept: Path, key: str) -> None:
        self.lock = threading.Lock()
        self._kept = kept
        self._key = key.encode()
        self._ids: set[str] = set()
        self._deployments: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}

    def allows(self, headers: Any, content: bytes) -> bool:
        id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
        digest = hmac.digest(self._key, f"{id}.{timestamp}.".encode() + content, hashlib.sha256)
        signature = f"v1,{base64.b64encode(digest).decode()}"
        known = hmac.compare_digest(signature, headers.get("webhook-signature", ""))
        fresh = abs(time.time() - int(timestamp)) < 300 and id not in self._ids
        self._ids.add(id)
        return known and fresh

    def tell(self, body: dict[str, Any]) -> None:
        with self._kept.with_suffix(".told").open("a") as told:
            told.write(f"{body['name']} {body['revision']}\n")
        there = self._deployments.setdefault(body["name"], {"served": []})
        there["wanted"], there["target"], there["settled"] = body["wanted"], body["served"], False
        up = {(each["number"], each["tag"]): each for each in there["served"]}
        for each in body["served"]:
            if (each["number"], each["tag"]) not in up:
                version = {"number": each["number"], "tag": each["tag"], "uri": each["uri"]}
                there["served"].append({**version, "state": "LOADING", "weight": 0.0, "looks": 0})
        self._keep()

    def look(self, names: list[str]) -> dict[str, Any]:
        found = {}
        for name in names:
            if name in self._deployments:
                there = self._deployments[name]
                self._move(there)
                says = there.get("says", "")
                found[name] = {**there, "url": "", "message": says and f"{says}: {time.time()}"}
                if not there["served"] and there["settled"]:
                    del self._deployments[name]
        self._keep()
        return {"deployments": found}

    @staticmethod
    def _move(there: dict[str, Any]) -> None:
        for each in there["served"]:
            each["looks"] += 1
            if each["state"] == "LOADING" and each["looks"] >= LOOKS:
                answer = Path(each["uri"], "answer").read_text()
                each["state"] = "READY" if answer.isdigit() else "FAILED"
                each.update({"answer": int(answer)} if answer.isdigit() else {"message": f"cannot load {answer}"})
        wanted = {(each["number"], each["tag"]): each["weight"] for each in there["target"]}
        mine = [each for each in there["served"] if (each["number"], each["tag"]) in wanted]
        if not there["settled"] and all(each["state"] == "READY" for each in mine):
            there["served"] = [{**each, "weight": wanted[each["number"], each["tag"]]} for each in mine]
            there["settled"] = True

    def predict(self, name: str, number: int | None) -> int | None:
        served = [each for each in self._deployments.get(name, {}).get("served", []) if each["state"] == "READY"]
        if number is not None:
            return next((each["answer"] for each in served if each["number"] == number), None)
        weights = [each["weight"] for each in served]
        return random.choices(served, weights)[0]["answer"] if any(weights) else None

    def say(self, name: str, text: str) -> None:
        self._deployments[name]["says"] = text
        self._keep()

    def meddle(self, name: str) -> None:
        self._deployments[name]["served"].pop()
        self._keep()

    def _keep(self) -> None:
        new = self._kept.with_suffix(".new")
        new.write_text(json.dumps(self._deployments))
        new.replace(self._kept)


class _Handler(BaseHTTPRequestHandler):
    platform: Platform
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/deployments":
            if not self.platform.allows(self.headers, self.path.encode()):
                self._answer(401, {"message": "the signature is wrong"})
                return
            with self.platform.lock:
                self._answer(200, self.platform.look(parse_qs(parts.query).get("name", [])))
            return
        _, _, name, *number = parts.path.split("/")
        with self.platform.lock:
            answer = self.platform.predict(name, int(number[0]) if number else None)
        self._answer(404 if answer is None else 200, {"answer": answer})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/meddle/"):
            with self.platform.lock:
                self.platform.meddle(self.path.rpartition("/")[2])
        elif self.path.startswith("/say/"):
            with self.platform.lock:
                self.platform.say(self.path.rpartition("/")[2], body.decode())
        elif not self.platform.allows(self.headers, body):
            self._answer(401, {"message": "the signature is wrong"})
            return
        else:
            with self.platform.lock:
                self.platform.tell(json.loads(body))
        self._answer(202, {})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class PlatformServer(Server):
    """The platform as a process, which keeps what it was told in `home`; one that `forgets` comes up with nothing."""

    name: ClassVar[str] = "platform"

    def __init__(self, home: Path, key: str, *, forgets: bool = False) -> None:
        super().__init__(home)
        self.forgets = forgets
        self.url = f"http://127.0.0.1:{self.port}"
        self.kept = home / "deployments.json"
        self._key = key

    def told(self) -> list[tuple[str, int]]:
        """What it was told, in order: names and revisions."""
        file = self.kept.with_suffix(".told")
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, int(revision)) for name, _, revision in (line.partition(" ") for line in lines)]

    @property
    def asked(self) -> bool:
        """Whether a request waits for it that it did not read: for ever, while it is stopped."""
        fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(int(each[1][-4:], 16) == self.port and int(each[4][-8:], 16) > 0 for each in fields)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        if self.forgets:
            self.kept.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.serving.platform", str(self.port), str(self.kept), self._key]
        return command, {"PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/predict/none", timeout=5).status_code == 404
        except httpx.TransportError:
            return False


def main(port: str, kept: str, key: str) -> None:
    """Serve until it is ended."""
    _Handler.platform = Platform(Path(kept), key)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
