"""What is at a place at one time: a line of JSON for each file, sorted by path; and what differs between two times.

However many files there are, only RUN of them are held in memory: more are sorted in runs that are merged.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, Final

import orjson

from lineal.errors import InvalidArgument
from storage.connectors.backend import Entry
from storage.connectors.partitions import PartitionKey, Partitions

RUN: Final = 100_000
"""Entries that are sorted in memory."""
EXAMPLES: Final = 20
"""Paths of each kind that a Drift names."""
_MAX_LINE: Final = 2**16


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an inventory says as a whole.

    `size` is in bytes; `digest` is `sha256:` and the SHA-256 of its lines; `keys` are there, and `partitions` above
    0, where the folder is partitioned.
    """

    count: int
    size: int
    digest: str
    keys: tuple[PartitionKey, ...]
    partitions: int


@dataclass(frozen=True, slots=True)
class Change:
    """Files that differ in one way: how many, and the first EXAMPLES of their paths."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs between two inventories of a place."""

    added: Change
    removed: Change
    changed: Change

    def __bool__(self) -> bool:
        return bool(self.added.count or self.removed.count or self.changed.count)


async def take(pages: AsyncIterator[Sequence[Entry]], out: IO[bytes]) -> Inventory:
    """Write the inventory of the files in `pages`, which may come in any order.

    A path that comes twice, as it may where files move while they are listed, is kept once.
    """
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        held: list[Entry] = []
        async for page in pages:
            held += page
            if len(held) >= RUN:
                runs.append(await asyncio.to_thread(_spill, held, stack))
                held = []
        held.sort(key=_path)
        merged = heapq.merge(held, *map(entries, runs), key=_path)
        return await asyncio.to_thread(_write, merged, out)


def entries(lines: IO[bytes]) -> Iterator[Entry]:
    """The entries of an inventory. Raises InvalidArgument: it is not one."""
    before = None
    while line := lines.readline(_MAX_LINE):
        try:
            found: dict[str, Any] = orjson.loads(line)
            entry = Entry(
                found["path"], found["size"], found["modified"], found.get("etag", ""), found.get("checksum", "")
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument("this is not an inventory") from error
        if before is not None and entry.path < before:
            raise InvalidArgument("this is not an inventory: its paths are not in order")
        before = entry.path
        yield entry


def drift(old: IO[bytes], new: IO[bytes]) -> Drift:
    """What was added, removed and changed from one inventory to another. Raises InvalidArgument: one is not one.

    A file is changed if its size, etag or checksum is another; where they have none of those in common, if it was
    modified at another time. What only one of the two inventories says is no change.
    """
    added, removed, changed = _Changes(), _Changes(), _Changes()
    before, after = entries(old), entries(new)
    left, right = next(before, None), next(after, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.path < right.path):
            assert left is not None
            removed.add(left.path)
            left = next(before, None)
        elif left is None or right.path < left.path:
            added.add(right.path)
            right = next(after, None)
        else:
            if _differ(left, right):
                changed.add(right.path)
            left, right = next(before, None), next(after, None)
    return Drift(added.all, removed.all, changed.all)


class _Changes:
    def __init__(self) -> None:
        self._count = 0
        self._examples: list[str] = []

    def add(self, path: str) -> None:
        self._count += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(path)

    @property
    def all(self) -> Change:
        return Change(self._count, tuple(self._examples))


def _differ(old: Entry, new: Entry) -> bool:
    if old.size != new.size:
        return True
    # What one of the two does not say cannot differ: a store may begin or cease to give it.
    told = [(a, b) for a, b in ((old.etag, new.etag), (old.checksum, new.checksum)) if a and b]
    if told:
        return any(a != b for a, b in told)
    return None not in {old.modified, new.modified} and old.modified != new.modified


def _path(entry: Entry) -> str:
    return entry.path


def _spill(held: list[Entry], stack: ExitStack) -> IO[bytes]:
    run = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    held.sort(key=_path)
    run.writelines(_line(entry) for entry in held)
    run.seek(0)
    return run


def _write(found: Iterable[Entry], out: IO[bytes]) -> Inventory:
    count = size = 0
    digest = hashlib.sha256()
    partitions = Partitions()
    before = None
    for entry in found:
        if entry.path == before:
            continue
        before = entry.path
        line = _line(entry)
        out.write(line)
        digest.update(line)
        partitions.add(entry.path)
        count += 1
        size += entry.size
    return Inventory(
        count, size, f"sha256:{digest.hexdigest()}", partitions.keys, partitions.count if partitions.keys else 0
    )


def _line(entry: Entry) -> bytes:
    told: dict[str, Any] = {"path": entry.path, "size": entry.size, "modified": entry.modified}
    told |= {name: value for name, value in (("etag", entry.etag), ("checksum", entry.checksum)) if value}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
