"""What can go wrong between an adapter and its platform, one call at a time."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

from tests.listening import Handler, Listening

_LAST = {"Connection": "close"}


class Fault(Enum):
    LOST = "the call is lost before it has an effect"
    UNHEARD = "the call has its effect, and its answer is lost"
    HANG = "the call has no effect, and is never answered"
    TOLD = "the call has no effect, and the refusal repeats all that it said"


@dataclass(frozen=True)
class Call:
    """A call that an adapter made: `changes` says whether it is one that changes something there."""

    what: str
    changes: bool


class Faults:
    """Keeps count of the calls, and has one of them fail.

    A stand-in asks `next` at each call, and does what it says. It may be asked from any thread.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.fired = False
        """Whether the fault that was armed last has happened."""
        self._armed: tuple[int, Fault, bool] | None = None
        self._looked: set[str] = set()
        """The calls that changed nothing since the last one that did, or since the fault was armed."""
        self._lock = threading.Lock()
        self._release = threading.Event()

    def arm(self, n: int, fault: Fault, *, changing: bool = True) -> None:
        """Have the n-th call from now fail, counted from 1 among those that change something, or that do not.

        Of those that do not, the same again counts only after a change: how often one looks is a matter of time.
        """
        with self._lock:
            self.fired = False
            self._looked = set()
            self._armed = (n, fault, changing)

    def clear(self) -> None:
        """No more faults, and calls that hang end."""
        with self._lock:
            self._armed = None
            self.calls.clear()
            self._release.set()
            self._release = threading.Event()

    @property
    def changes(self) -> list[str]:
        """The calls that would change something."""
        with self._lock:
            return [call.what for call in self.calls if call.changes]

    def next(self, what: str, *, changes: bool) -> Fault | None:
        """Take note of a call; the fault that it shall meet."""
        with self._lock:
            self.calls.append(Call(what, changes))
            again = what in self._looked
            self._looked = set() if changes else {*self._looked, what}
            if self._armed is None or self._armed[2] is not changes or again:
                return None
            n, fault, _ = self._armed
            self._armed = (n - 1, fault, changes) if n > 1 else None
            self.fired = n == 1
            return fault if n == 1 else None

    def hang(self) -> None:
        """Wait until `clear`."""
        self._release.wait(120)


class Proxy(Listening):
    """Stands between a client of HTTP and its server, and lets calls fail as `faults` says."""

    def __init__(self, port: int, faults: Faults, changes: Callable[[str, str], bool]) -> None:
        """`changes` is asked by method and path; by the action in the path's place where a header names one (AWS)."""
        self.upstream = port
        self.faults = faults
        self.changes = changes
        super().__init__(_Handler)
        self.url = f"http://127.0.0.1:{self.port}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.clear()
        super().__exit__(kind, error, trace)


class _Handler(Handler):
    owner: Proxy

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.headers.get("X-Amz-Target") or self.path.partition("?")[0]
        faults = self.owner.faults
        fault = faults.next(f"{self.command} {self.path}", changes=self.owner.changes(self.command, path))
        self.close_connection = True
        match fault:
            case Fault.LOST:
                return
            case Fault.HANG:
                faults.hang()
                return
            case Fault.TOLD:
                told = {"message": f"bad {self.path} {dict(self.headers)} {body.decode(errors='replace')}"}
                self.answer(400, json.dumps(told).encode(), {"Content-Type": "application/json", **_LAST})
                return
        with suppress(OSError, http.client.HTTPException):
            status, data, headers = self._forward(body)
            if fault is not Fault.UNHEARD:
                self.answer(status, data, {**headers, **_LAST})

    def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        upstream = http.client.HTTPConnection("127.0.0.1", self.owner.upstream, timeout=120)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}
            }
            upstream.request(self.command, self.path, body or None, {**headers, "Connection": "close"})
            answer = upstream.getresponse()
            kept = ("Content-Type", "Content-Encoding", "Location", "Retry-After")
            return answer.status, answer.read(), {name: answer.headers[name] for name in kept if name in answer.headers}
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - as the library wants them
