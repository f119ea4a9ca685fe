"""A store of bytes as its clients see it: the port on one side, signed addresses on the other."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from starlette.applications import Starlette

from gateway.bytes import create_bytes_route
from storage.local import LocalStorage
from storage.port import Blob, Send, Storage

BASE = "http://lineal.test"
SECRET = bytes(range(32))
MIB = 2**20

T = TypeVar("T")


class Clock:
    """The time, and as much before or after it as a test likes, in seconds."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class Store:
    """A store, and a client that goes where it is sent."""

    storage: Storage
    http: httpx.AsyncClient
    clock: Clock
    sent: list[Send] = field(default_factory=list)
    """The requests that sent something."""

    async def sends(self, workspace: str, data: bytes, *, seconds: int = 600) -> list[Send]:
        """What it takes to send these bytes."""
        blob = blob_of(data)
        return await self.storage.sends(workspace, blob, parts_of(data), seconds=seconds, base=BASE)

    async def put(self, send: Send, data: bytes) -> httpx.Response:
        """Send one part of these bytes."""
        self.sent.append(send)
        return await self.http.put(send.url, content=data[send.start :][: send.size], headers=dict(send.headers))

    async def upload(self, workspace: str, data: bytes, *, seconds: int = 600) -> Blob:
        """Send these bytes as far as they are not there, and put them together."""
        for send in await self.sends(workspace, data, seconds=seconds):
            answer = await self.put(send, data)
            assert is_there(answer), answer.text
        await self.storage.seal(workspace, blob_of(data))
        return blob_of(data)

    async def link(self, workspace: str, sha256: str, *, filename: str = "model.bin", seconds: int = 600) -> str:
        """An address of a blob."""
        return await self.storage.link(workspace, sha256, filename=filename, seconds=seconds, base=BASE)

    async def has(self, workspace: str, *blobs: Blob) -> bool:
        """Whether all of these are there."""
        return await self.storage.present(workspace, blobs) == {blob.sha256 for blob in blobs}

    async def read(self, workspace: str, sha256: str, start: int = 0, size: int | None = None) -> bytes:
        """Bytes of a blob, read by the server itself."""
        return b"".join([chunk async for chunk in self.storage.read(workspace, sha256, start, size)])


def local_client(storage: LocalStorage) -> httpx.AsyncClient:
    """A client of the addresses of a local folder."""
    transport = httpx.ASGITransport(Starlette(routes=[create_bytes_route(storage)]))
    return httpx.AsyncClient(transport=transport, base_url=BASE)


def sha256(data: bytes) -> str:
    """A digest as the port has it."""
    return hashlib.sha256(data).hexdigest()


def blob_of(data: bytes) -> Blob:
    """The name and size of these bytes."""
    return Blob(sha256(data), len(data))


def parts_of(data: bytes) -> list[str]:
    """The digests of the parts that these bytes are sent in; none where they are sent whole."""
    blob = blob_of(data)
    return [sha256(data[start : start + size]) for start, size in blob.parts()] if blob.part_count > 1 else []


def some(size: int, seed: object = 0) -> bytes:
    """Bytes like no others."""
    return random.Random(f"{size} {seed}").randbytes(size)


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit turned."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def listed(items: AsyncIterator[T]) -> list[T]:
    """All of them."""
    return [item async for item in items]


def is_there(answer: httpx.Response) -> bool:
    """Whether a store that answers so to what is sent has it, now or since somebody else sent it."""
    return answer.is_success or answer.status_code == httpx.codes.PRECONDITION_FAILED
