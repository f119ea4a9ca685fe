"""A small server of the models of train.py, which Lineal deploys to: `python server.py PORT KEY-FILE`.

It speaks what serving/webhook.py says, and needs nothing but Python. What it was told is kept in memory: started anew
it serves nothing, until Lineal sees that and tells it again.

    GET /predict/NAME?size=80            the price, by the version that the weights choose
    GET /predict/NAME/2?size=80          the same, by version 2
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAX_BODY = 2**20
MAX_AGE = 300.0
"""Seconds that a signed request is good for."""


class Served:
    """What the server was told, and the models that it has loaded for that."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.models: dict[tuple[str, int], dict[str, float]] = {}
        self.problems: dict[tuple[str, int], str] = {}

    def tell(self, body: dict[str, Any]) -> None:
        """Load what is new, then let go of what is old."""
        name, wanted = body["name"], {each["number"] for each in body["served"]}
        for each in body["served"]:
            key = (name, each["number"])
            self.problems.pop(key, None)
            try:
                model = json.loads((Path(each["uri"]) / "model.json").read_text(encoding="utf-8"))
                self.models[key] = {part: float(model[part]) for part in ("slope", "intercept")}
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.problems[key] = f"model.json cannot be loaded: {type(error).__name__}"
        if not any(key in self.problems for key in ((name, number) for number in wanted)):
            for key in [key for key in self.models if key[0] == name and key[1] not in wanted]:
                del self.models[key]
            self.told[name] = body

    def look(self, names: list[str]) -> dict[str, Any]:
        """What is served under these names, as Lineal asks it."""
        return {"deployments": {name: self._one(name) for name in names if name in self.told or self._failed(name)}}

    def _failed(self, name: str) -> list[tuple[int, str]]:
        return [(number, why) for (of, number), why in self.problems.items() if of == name]

    def _one(self, name: str) -> dict[str, Any]:
        told = self.told.get(name, {"wanted": "", "served": []})
        versions = [
            {"number": each["number"], "state": "READY", "weight": each["weight"], "tag": each["tag"], "replicas": 1}
            for each in told["served"]
        ]
        failed = [{"number": number, "state": "FAILED", "message": why} for number, why in self._failed(name)]
        return {
            "wanted": told["wanted"],
            "settled": not failed,
            "url": "",
            "message": "",
            "served": [*versions, *failed],
        }

    def predict(self, name: str, number: int | None, size: float) -> dict[str, float] | None:
        """The price, and which version says so."""
        served = self.told.get(name, {}).get("served", [])
        if number is None and any(each["weight"] for each in served):
            number = random.choices([e["number"] for e in served], [e["weight"] for e in served])[0]  # noqa: S311
        model = self.models.get((name, number or 0))
        if model is None:
            return None
        return {"version": number or 0, "price": round(model["slope"] * size + model["intercept"], 2)}


class Handler(BaseHTTPRequestHandler):
    """The server's one kind of request handler."""

    served = Served()
    key = b""

    def do_GET(self) -> None:
        """Tell what is served, or predict."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/deployments":
            if self._signed(self.path.encode()):
                self._answer(200, self.served.look(query.get("name", [])))
            return
        match parts.path.strip("/").split("/"):
            case ["predict", name, *number] if "size" in query:
                found = self.served.predict(name, int(number[0]) if number else None, float(query["size"][0]))
                self._answer(404 if found is None else 200, found or {"message": "nothing is served under this name"})
            case _:
                self._answer(404, {"message": "there is nothing here"})

    def do_POST(self) -> None:
        """Be told what to serve."""
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY:
            self._answer(413, {"message": "too much"})
            return
        body = self.rfile.read(length)
        if self._signed(body):
            self.served.tell(json.loads(body))
            self._answer(202, {})

    def _signed(self, content: bytes) -> bool:
        """Whether Lineal sent this, and just now; else the request is answered."""
        id, stamp = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        digest = hmac.digest(self.key, f"{id}.{stamp}.".encode() + content, hashlib.sha256)
        right = f"v1,{base64.b64encode(digest).decode()}"
        given = self.headers.get("webhook-signature", "")
        fresh = stamp.isdecimal() and abs(time.time() - int(stamp)) < MAX_AGE
        if hmac.compare_digest(right, given) and fresh:
            return True
        self._answer(401, {"message": "the signature is wrong or old"})
        return False

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main(port: str, key: str) -> None:
    """Serve until it is ended."""
    Handler.key = Path(key).read_text(encoding="utf-8").strip().encode()
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
