"""A balancer as small as one can be: each connection goes to the next process that says it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import httpx

EVERY: Final = 0.2
"""Seconds between two looks at whether processes are ready."""
LOOK_SECONDS: Final = 2.0


class Balancer:
    """Listens on `port`, and hands connections on to `ports` in turn. One that refuses a connection is passed over."""

    def __init__(self, port: int, ports: Sequence[int]) -> None:
        self.port = port
        self.ready: list[int] = []
        self._ports = ports
        self._turn = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._looks = [asyncio.create_task(self._look(port)) for port in self._ports]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for look in self._looks:
            look.cancel()
        await asyncio.wait(self._looks)
        self._server.close()

    async def _look(self, port: int) -> None:
        async with httpx.AsyncClient(timeout=LOOK_SECONDS) as client:
            while True:
                ready = False
                with suppress(httpx.TransportError):
                    ready = (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
                if ready and port not in self.ready:
                    self.ready.append(port)
                elif not ready and port in self.ready:
                    self.ready.remove(port)
                await asyncio.sleep(EVERY)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Where none is ready any will do: it says itself what is away.
        ports = self.ready or self._ports
        self._turn += 1
        for i in range(len(ports)):
            with suppress(OSError):
                up = await asyncio.open_connection("127.0.0.1", ports[(self._turn + i) % len(ports)])
                await asyncio.gather(_pump(reader, up[1]), _pump(up[0], writer))
                return
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
