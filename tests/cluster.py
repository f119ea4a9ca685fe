"""A stand-in for a cluster of Neo4j, which its Enterprise edition alone has: three addresses of one real server.

What goes to any of them goes on to the server, a message at a time, and so do its answers; a member says itself
only what a cluster's members say besides: the routing table, that another one leads, and what was there before it
fell behind. Bolt is spoken in version 5.4 (https://neo4j.com/docs/bolt/current/bolt/message/).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from enum import IntEnum
from typing import Any, Final, NamedTuple

from neo4j._codec.packstream import v1

PACKSTREAM: Final[Any] = v1
"""How values are written, without types."""
MAGIC: Final = b"\x60\x60\xb0\x17"
VERSION: Final = b"\x00\x00\x04\x05"
TTL: Final = 300
"""Seconds for which a routing table is good: longer than any test, so that only a fault makes the driver ask again."""


class Tag(IntEnum):
    """What a message is: the second byte of it."""

    GOODBYE = 0x02
    RESET = 0x0F
    RUN = 0x10
    BEGIN = 0x11
    COMMIT = 0x12
    DISCARD = 0x2F
    PULL = 0x3F
    ROUTE = 0x66
    SUCCESS = 0x70
    RECORD = 0x71
    IGNORED = 0x7E
    FAILURE = 0x7F


class Begun(NamedTuple):
    """How a transaction began: `mode` is "r" or "w"."""

    mode: str
    bookmarks: frozenset[str]


class Cluster:
    """One member that leads and two that are read from. `url` is where a client begins."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.members = [Member(self) for _ in range(3)]
        self.leader = self.members[0]
        self.tables = 0
        """How often the routing table was given out."""
        self.refuses_at = Tag.RUN
        """Where in a write a member says that it does not lead."""
        self.bookmarks = frozenset[str]()
        """What was committed."""
        self.answered = dict[tuple[bytes, bytes], list[bytes]]()
        """What a statement and a request for its records were last answered."""

    @property
    def url(self) -> str:
        return f"neo4j://{self.members[-1].address}"

    @property
    def readers(self) -> list[Member]:
        """All that do not lead."""
        return [each for each in self.members if each is not self.leader]

    def fall_behind(self) -> None:
        """From here on readers have what there is now, and more only for who brings a bookmark of it."""
        for reader in self.readers:
            reader.copy = self.bookmarks

    def table(self) -> dict[str, Any]:
        """Who does what."""
        self.tables += 1
        roles = {"WRITE": [self.leader], "READ": self.readers, "ROUTE": self.members}
        servers = [{"role": role, "addresses": [each.address for each in those]} for role, those in roles.items()]
        return {"rt": {"ttl": TTL, "db": "neo4j", "servers": servers}}


@asynccontextmanager
async def clustered(port: int) -> AsyncIterator[Cluster]:
    """A cluster before the server on a port."""
    cluster = Cluster(port)
    async with AsyncExitStack() as listening:
        for member in cluster.members:
            await member.listen()
            listening.callback(member.die)
        yield cluster


class Member:
    """One address. `begun` has the transactions that came to it, and `refused` counts those that needed a leader."""

    def __init__(self, cluster: Cluster) -> None:
        self.begun = list[Begun]()
        self.refused = 0
        self.address = ""
        self.copy: frozenset[str] | None = None
        """The bookmarks that it has, where it fell behind."""
        self.cluster = cluster
        self._writers = set[asyncio.StreamWriter]()

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def die(self) -> None:
        """Take no more connections, and break those that there are."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.cluster.upstream)
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await reader.readexactly(20)
                up_writer.write(MAGIC + VERSION + bytes(12))
                writer.write(await up_reader.readexactly(4))
                connection = _Connection(self, up_reader, up_writer)
                while True:
                    for answer in await connection.answers(await _received(reader)):
                        writer.write(_framed(answer))
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            for end in (writer, up_writer):
                end.close()


class _Connection:
    """A client's way to the server through a member."""

    def __init__(self, member: Member, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._member = member
        self._reader = reader
        self._writer = writer
        self._failed = False
        self._writing = False
        self._behind = False
        self._statement = b""

    async def answers(self, message: bytes) -> list[bytes]:
        """What a message is answered: records, and then how it ended."""
        tag, cluster = message[1], self._member.cluster
        if tag == Tag.RESET:
            self._failed = False
        if self._failed:
            return [_packed(Tag.IGNORED)]
        match tag:
            case Tag.ROUTE:
                return [_packed(Tag.SUCCESS, cluster.table())]
            case Tag.BEGIN:
                self._begin(message)
            case Tag.RUN:
                self._statement = message
        if tag == cluster.refuses_at and self._writing and self._member is not cluster.leader:
            self._member.refused += 1
            return [self._refusal("Neo.ClientError.Cluster.NotALeader", "Another member leads.")]
        if tag not in {Tag.RUN, Tag.PULL, Tag.DISCARD}:
            return await self._forwarded(message)
        asked = (self._statement, message)
        if not self._behind:
            cluster.answered[asked] = await self._forwarded(message)
        elif asked not in cluster.answered:
            return [self._refusal("Neo.DatabaseError.General.UnknownError", "Nobody asked that before.")]
        return cluster.answered[asked]

    def _begin(self, message: bytes) -> None:
        told = _unpacked(message)
        begun = Begun(told.get("mode", "w"), frozenset(told.get("bookmarks", ())))
        self._member.begun.append(begun)
        self._writing = begun.mode == "w"
        self._behind = self._member.copy is not None and begun.bookmarks <= self._member.copy

    def _refusal(self, code: str, message: str) -> bytes:
        self._failed = True
        return _packed(Tag.FAILURE, {"code": code, "message": message})

    async def _forwarded(self, message: bytes) -> list[bytes]:
        self._writer.write(_framed(message))
        if message[1] == Tag.GOODBYE:
            return []
        answers = [await _received(self._reader)]
        while answers[-1][1] == Tag.RECORD:
            answers.append(await _received(self._reader))
        if (message[1], answers[-1][1]) == (Tag.COMMIT, Tag.SUCCESS):
            self._member.cluster.bookmarks |= {_unpacked(answers[-1])["bookmark"]}
        return answers


async def _received(reader: asyncio.StreamReader) -> bytes:
    """The next message, put together from its chunks. Raises IncompleteReadError: the line is closed."""
    message = b""
    while (size := int.from_bytes(await reader.readexactly(2))) or not message:
        message += await reader.readexactly(size)
    return message


def _framed(message: bytes) -> bytes:
    """A message in chunks, as it crosses the wire."""
    chunks = (message[start : start + 0xFFFF] for start in range(0, len(message), 0xFFFF))
    return b"".join(len(chunk).to_bytes(2) + chunk for chunk in chunks) + bytes(2)


def _packed(tag: Tag, *fields: Mapping[str, Any]) -> bytes:
    buffer = PACKSTREAM.PackableBuffer()
    PACKSTREAM.Packer(buffer).pack_struct(bytes([tag]), fields)
    return bytes(buffer.data)


def _unpacked(message: bytes) -> dict[str, Any]:
    """The one field that a message has."""
    return dict(PACKSTREAM.Unpacker(PACKSTREAM.UnpackableBuffer(message[2:])).unpack())
