"""A tracking server that does what none should: it lies, drips, floods, redirects, and is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

RUN: Final = "a" * 32
GOOD: Final = {
    "run": {
        "info": {"run_id": RUN, "experiment_id": "7", "status": "FINISHED", "start_time": 1_000, "end_time": 2_000},
        "data": {"params": [{"key": "lr", "value": "0.1"}]},
    }
}


class Liar:
    """Serves `runs/get` with what `answer` does, and an experiment; `asked` are the paths it was asked for.

    `seen` are the headers of the last request.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.seen: dict[str, str] = {}
        self.answer: Callable[[BaseHTTPRequestHandler], None] = says(GOOD)
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
                liar.asked.append(path)
                liar.seen = {name.lower(): value for name, value in self.headers.items()}
                try:
                    if path == "experiments/get":
                        says({"experiment": {"name": "lies"}})(self)
                    else:
                        liar.answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def says(value: Any, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with JSON, or with bytes as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drips(handler: BaseHTTPRequestHandler) -> None:
    """Answers a byte at a time, for ever."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def floods(handler: BaseHTTPRequestHandler) -> None:
    """Answers without an end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 2**20)


def hangs(_handler: BaseHTTPRequestHandler) -> None:
    """Never answers; as long as a test may take."""
    time.sleep(30)
