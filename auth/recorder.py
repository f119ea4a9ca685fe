"""What is audited although it changed nothing: refusals, tokens that failed, reads by admins, downloads.

Each is an entry of the audit when its method returns. The same failure again within a minute is counted,
and written as one more entry with the count when the minute is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from auth.caller import ANONYMOUS, Caller
from graph.ontology import MAX_INT
from graph.port import Graph, Note, Origin
from lineal.errors import LinealError, Unavailable

REFUSED: Final = "refused"
FAILED: Final = "failed"
READ: Final = "read"
FETCHED: Final = "fetch"
OTHERS: Final = "others"
"""Who is named where too many failed within a minute to tell them apart."""

MINUTE: Final = 60.0
MAX_KEYS: Final = 1_000
"""Different failures that are told apart within a minute."""
MAX_TARGETS: Final = 100
"""Different things that one caller is refused in the same way, which are told apart within a minute."""
MAX_BATCH: Final = 500
"""Entries that are written in one transaction."""
PATIENCE: Final = 5.0
"""Seconds that a request waits for its entry, at most."""

MAX_NAME: Final = 256
MAX_TEXT: Final = 1_000
MAX_ITEMS: Final = 100
MAX_LEVELS: Final = 5

_CREDENTIAL: Final = re.compile(
    r"\b(Bearer|DPoP|Basic)\s+[^\s,;\"']{16,}|\beyJ[\w-]{5,}\.[\w-]*\.?[\w-]*", re.IGNORECASE
)
"""What follows a scheme of the Authorization header, and what looks like a JWT."""

_log = logging.getLogger("lineal.audit")

_Key = tuple[str, ...]


@dataclass(slots=True)
class _Window:
    """A minute of the same failure: the latest of it, and how many came since the last entry."""

    note: Note
    began: float
    repeats: int = 0


@dataclass(slots=True)
class _Waiting:
    """A note on its way into the audit. `key` is that of its window; None where each one is written."""

    note: Note
    key: _Key | None
    written: asyncio.Future[None]


class Recorder:
    """Writes notes into a graph's audit. Close it, or use `async with`, so that what was counted is written.

    The counts of all entries of a failure add up to how often it happened. Notes that come while others are
    being written go into the next transaction together. While the store is away failures are counted on, and
    written later; `seconds` is how long the same failure is only counted.
    """

    def __init__(self, graph: Graph, *, seconds: float = MINUTE) -> None:
        self._graph = graph
        self._seconds = seconds
        self._windows: dict[_Key, _Window] = {}
        """In the order in which they began."""
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def refused(
        self,
        caller: Caller,
        *,
        action: str,
        code: str,
        message: str,
        scopes: Sequence[Sequence[str]] = (),
        on: Mapping[str, Sequence[str]] = MappingProxyType({}),
        address: str = "",
        request: str = "",
    ) -> None:
        """Something was refused to a caller: `code` is that of the error, `scopes` what would have opened it.

        `on` is what they asked for, by workspace: the entry is in the chains of those. The same again is the same
        action and code on the same things, for the same caller; for nobody, from the same address. Of one caller
        MAX_TARGETS things are told apart.
        """
        data = {"action": action, "code": code, "message": message, "scopes": scopes, "on": on}
        note = _note(caller, REFUSED, data, list(on), address=address, request=request)
        who = note.origin.address if caller.anonymous else note.by
        base = (REFUSED, str(note.data["action"]), code, who)
        key = (*base, hashlib.sha256(repr(note.data["on"]).encode()).hexdigest())
        if key not in self._windows and sum(known[:4] == base for known in self._windows) >= MAX_TARGETS:
            key, note = (*base, OTHERS), replace(note, data={**note.data, "on": {}}, workspaces=("",))
        await self._failure(key, (REFUSED, code), note)

    async def failed(self, *, reason: str, address: str = "", request: str = "", detail: str = "") -> None:
        """A token was refused, so nobody knows who it was. `reason` is one of a small set of words.

        The same again is the same reason for the same address.
        """
        data = {"reason": reason, "address": address} | ({"detail": detail} if detail else {})
        note = _note(Caller(ANONYMOUS), FAILED, data, ("",), address=address, request=request)
        await self._failure((FAILED, reason, note.origin.address), (FAILED, reason), note)

    async def read(
        self,
        caller: Caller,
        *,
        action: str,
        data: Mapping[str, Any],
        workspaces: Sequence[str] = ("",),
        address: str = "",
        request: str = "",
    ) -> None:
        """Something worth knowing was read: by an admin, of the audit, or a file's bytes.

        Each read is an entry. Raises Unavailable: it could not be written, so what was read must not be given out.
        """
        note = _note(caller, READ, {"action": action, "data": data}, workspaces, address=address, request=request)
        try:
            await self._written(note, None)
        except TimeoutError:
            raise Unavailable(f"the audit could not be written within {PATIENCE:g} seconds") from None

    async def fetched(
        self, *, workspace: str, sha256: str, file: str = "", address: str = "", request: str = ""
    ) -> None:
        """The bytes of a file were given to whoever has its signed address: nobody said who that is.

        The same again is another file of the workspace for the same address: it is counted, and MAX_ITEMS digests
        are told with the count. A store that is away raises nothing.
        """
        key = (READ, FETCHED, workspace, _cut(address, MAX_NAME))
        window = self._windows.get(key)
        earlier = window.note.data["data"]["blobs"] if window and window.repeats else ()
        data = {"blobs": list(dict.fromkeys((*earlier, sha256))), "files": [file]}
        whole = {"action": FETCHED, "data": data}
        await self._failure(
            key, (READ, FETCHED), _note(Caller(ANONYMOUS), READ, whole, (workspace,), address=address, request=request)
        )

    async def close(self) -> None:
        """Write what was counted, and wait for what is being written: 5 seconds, at most."""
        self._disarm()
        for key, window in self._windows.items():
            if window.repeats:
                self._enqueue(replace(window.note, count=window.repeats), key)
        self._windows.clear()
        if self._writer is not None:
            _, late = await asyncio.wait([self._writer], timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.wait([self._writer])
        if self._windows or self._waiting:
            _log.warning("failures that were counted are not in the audit: %d", len(self._windows) + len(self._waiting))
        self._disarm()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _failure(self, key: _Key, common: _Key, note: Note) -> None:
        """Write a failure, or count it where it is known. A store that is away raises nothing."""
        if key not in self._windows and len(self._windows) >= MAX_KEYS:
            key, note = (*common, OTHERS), _common(note)
        if window := self._windows.get(key):
            window.note, window.repeats = note, window.repeats + 1
            return
        self._open(key, note)
        try:
            await self._written(note, key)
        except TimeoutError:
            _log.warning("a failure waits for its place in the audit")
        except LinealError:
            pass  # it was logged and is counted in its window

    def _open(self, key: _Key, note: Note) -> _Window:
        window = self._windows[key] = _Window(note, asyncio.get_running_loop().time())
        self._arm()
        return window

    def _arm(self) -> None:
        if self._timer is None and self._windows:
            first = next(iter(self._windows.values()))
            self._timer = asyncio.get_running_loop().call_at(first.began + self._seconds, self._turn)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _turn(self) -> None:
        """Write what was counted in the minutes that are over; those without repeats are forgotten."""
        now = asyncio.get_running_loop().time()
        over = [key for key, window in self._windows.items() if window.began + self._seconds <= now]
        for key in over:
            window = self._windows.pop(key)
            if window.repeats:
                self._windows[key] = _Window(window.note, now)
                self._enqueue(replace(window.note, count=window.repeats), key)
        self._timer = None
        self._arm()

    async def _written(self, note: Note, key: _Key | None) -> None:
        """Wait until the note is in the audit. Raises what the store raises, TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            # What is on its way stays on its way when the request is given up.
            await asyncio.shield(self._enqueue(note, key))

    def _enqueue(self, note: Note, key: _Key | None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(note, key, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return future

    async def _write(self) -> None:
        """Write what waits, as much as there is in each transaction."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            fault: BaseException | None = None
            try:
                await self._graph.note([waiting.note for waiting in batch])
            except LinealError as error:
                fault = error
                _log.warning("the audit cannot be written, failures are counted on: %s", error.message)
            except BaseException as error:
                fault = error
                raise
            finally:
                for waiting in batch:
                    self._settle(waiting, fault)

    def _settle(self, waiting: _Waiting, fault: BaseException | None) -> None:
        """Tell whoever waits. What was not written is counted again, to be written when its minute is over."""
        if fault is not None and waiting.key is not None:
            window = self._windows.get(waiting.key) or self._open(waiting.key, waiting.note)
            window.repeats += waiting.note.count
        if waiting.written.done():
            return
        if isinstance(fault, Exception):
            waiting.written.set_exception(fault)
            waiting.written.exception()  # it is no loss when nobody waits any more
        elif fault is not None:
            waiting.written.cancel()
        else:
            waiting.written.set_result(None)


def _note(
    caller: Caller, action: str, data: Mapping[str, Any], workspaces: Sequence[str], *, address: str, request: str
) -> Note:
    origin = caller.origin(address)
    return Note(
        _cut(caller.name, MAX_NAME),
        action,
        _sane(data),
        tuple(dict.fromkeys(workspaces)) or ("",),
        _cut(request, MAX_NAME),
        Origin(_cut(origin.client, MAX_NAME), _cut(origin.token, MAX_NAME), _cut(origin.address, MAX_NAME)),
    )


def _common(note: Note) -> Note:
    """What is said of one failure of many: what happened, and nothing that tells one from another."""
    data = {name: note.data[name] for name in ("code", "reason") if name in note.data}
    data |= {"action": FETCHED} if note.action == READ else {}
    return Note(OTHERS, note.action, data)


def _sane(value: Any, levels: int = MAX_LEVELS) -> Any:
    """What fits into an entry: JSON without credentials, of bounded length, width and depth."""
    match value:
        case None | bool():
            return value
        case int() if abs(value) <= MAX_INT:
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping() | list() | tuple() if not levels:
            return "…"
        case Mapping():
            return {_cut(str(k), MAX_NAME): _sane(v, levels - 1) for k, v in list(value.items())[:MAX_ITEMS]}
        case list() | tuple():
            return [_sane(item, levels - 1) for item in value[:MAX_ITEMS]]
        case _:
            return _cut(_CREDENTIAL.sub("[removed]", str(value)[: 2 * MAX_TEXT]), MAX_TEXT)


def _cut(text: str, length: int) -> str:
    """Text that every store can hold, cut to a length."""
    plain = text[: length + 1].encode("utf-8", "replace").decode().replace("\0", "")
    return plain if len(plain) <= length else plain[: length - 1] + "…"
