"""A receiver of webhooks: a real server on this machine that keeps what it got, and answers as it is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Got:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """The id of what was delivered, in either format."""
        return self.headers.get("webhook-id") or self.headers["x-mlflow-delivery-id"]

    def signed_by(self, secret: str) -> bool:
        """Whether one of its signatures is made with a secret of Standard Webhooks."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return expected in self.headers["webhook-signature"].split(" ")


Answer = tuple[int, dict[str, str], bytes]
Respond = Callable[[Got], Awaitable[Answer | None]]
"""Says what to answer; None: nothing, the connection is broken off."""


async def fine(_got: Got) -> Answer | None:
    """Take everything."""
    return 200, {}, b"thanks"


@dataclass
class Receiver:
    """Use it with `async with`. `respond` may be set anew at any time; `port` of 0 takes any free one."""

    respond: Respond = fine
    port: int = 0
    got: list[Got] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def taken(self, *ids: str) -> list[Any]:
        """The bodies of what came, the first time each; only those about these subjects where given."""
        found = {got.id: got.json for got in reversed(self.got)}
        ordered = [found[id] for id in dict.fromkeys(got.id for got in self.got)]
        return [each for each in ordered if not ids or each["subject"] in ids]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def die(self) -> None:
        """Break everything off, and listen no more."""
        assert self._server is not None
        self._server.close()
        for talk in list(self._talks):
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        got = Got(head[0].split(" ")[1], headers, body)
        self.got.append(got)
        answer = await self.respond(got)
        if answer is None:
            return False
        status, more, content = answer
        lines = [f"HTTP/1.1 {status} X", *(f"{n}: {v}" for n, v in {"content-length": len(content), **more}.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)
        await writer.drain()
        return True
