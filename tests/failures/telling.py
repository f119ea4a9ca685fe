"""A server that tells what a file says, as a process: `python -m tests.failures.telling PORT FILE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.running import ROOT
from tests.services import Server


class Teller(Server):
    """Answers with JSON by path: 404 where there is none."""

    name: ClassVar[str] = "teller"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self._answers: dict[str, Any] = {}
        self._file = home.with_suffix(".json")
        self.tell({"/": {}})

    def tell(self, answers: Mapping[str, Any]) -> None:
        """Have these, by path, besides the others, from the next request on."""
        self._answers |= answers
        self._file.write_text(json.dumps(self._answers))

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-m", "tests.failures.telling", str(self.port), str(self._file)]
        return command, {"PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=5).is_success
        except httpx.TransportError:
            return False


class _Handler(BaseHTTPRequestHandler):
    file: ClassVar[Path]

    def do_GET(self) -> None:
        answer = json.loads(self.file.read_text()).get(self.path.partition("?")[0])
        body = json.dumps(answer or {}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def main(port: str, file: str) -> None:
    """Serve until it is ended."""
    _Handler.file = Path(file)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
