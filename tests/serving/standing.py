"""Servers of HTTP and JSON that stand in for a platform's API, inside the tests' own process."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.services import free_port

Answer = tuple[int, Any]
"""A status, and what is sent as JSON."""


class StandIn(ABC):
    """A server on a port of its own, which it keeps when it is stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.lock = threading.RLock()
        """Held while a request is answered."""
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def handle(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Answer:
        """The answer to a request: its path in segments; its body as JSON, None where there is none."""

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._server is not None

    def start(self) -> None:
        """Answer requests."""
        stand_in = self

        class Handler(_Handler):
            owner = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it at once."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None


class _Handler(BaseHTTPRequestHandler):
    owner: StandIn

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        path = [unquote(each) for each in parts.path.strip("/").split("/")]
        with self.owner.lock:
            body = json.loads(content) if content else None
            status, answer = self.owner.handle(self.command, path, dict(parse_qsl(parts.query)), body)
            data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = _handle  # noqa: N815 - the names of http.server
    do_POST = _handle  # noqa: N815
    do_PUT = _handle  # noqa: N815
    do_PATCH = _handle  # noqa: N815
    do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
