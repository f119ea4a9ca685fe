"""A receiver of whatever is posted, as a process that can be killed: `python -m tests.failures.taking PORT FILE`."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx

from tests.running import ROOT
from tests.services import Server


class Taker(Server):
    """Takes what is posted, and keeps the bodies in a file, one a line."""

    name: ClassVar[str] = "taker"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self._taken = home / "taken"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-m", "tests.failures.taking", str(self.port), str(self._taken)]
        return command, {"PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=5).is_success
        except httpx.TransportError:
            return False

    def taken(self) -> list[bytes]:
        """What came, in order."""
        return self._taken.read_bytes().splitlines() if self._taken.exists() else []


class _Handler(BaseHTTPRequestHandler):
    taken: ClassVar[Path]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.taken.open("ab") as file:
            file.write(body.replace(b"\n", b" ") + b"\n")
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def main(port: str, taken: str) -> None:
    """Serve until it is ended."""
    _Handler.taken = Path(taken)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
