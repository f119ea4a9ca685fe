"""Folders partitioned as Hive does it: `year=2026/month=11/part-0.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_VALUES: Final = 10_000
"""Different values of a key that are told apart."""
MAX_KEYS: Final = 32
"""Keys of a partitioned folder."""


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """A key, and how many different values it has: at least that many where it is not `exact`."""

    name: str
    values: int
    exact: bool


class Partitions:
    """Finds out whether files are partitioned, from their paths in order.

    They are if every file has the same keys. Files and folders whose names begin with `_` or `.` do not count:
    engines keep their own notes there.
    """

    def __init__(self) -> None:
        self.count = 0
        """Partitions that have files, if all paths came in order."""
        self._names: tuple[str, ...] | None = None
        self._values: list[set[str]] = []
        self._last: Sequence[str] = ()

    def add(self, path: str) -> None:
        """One more file."""
        *folders, name = path.split("/")
        if self._names == () or name[0:1] in {"_", "."} or any(folder[0:1] in {"_", "."} for folder in folders):
            return
        pairs = [folder.partition("=") for folder in folders]
        names = tuple(key for key, _, _ in pairs) if all(key and sign for key, sign, _ in pairs) else ()
        if self._names is None and 0 < len(names) <= MAX_KEYS:
            self._names = names
            self._values = [set() for _ in names]
        if names != self._names:
            # Not partitioned, and nothing that follows makes it so.
            self._names = ()
            return
        if folders != self._last:
            self._last = folders
            self.count += 1
            for seen, (_, _, value) in zip(self._values, pairs, strict=True):
                if len(seen) < MAX_VALUES:
                    seen.add(value)

    @property
    def keys(self) -> tuple[PartitionKey, ...]:
        """The keys from the outermost on; none where the folder is not partitioned."""
        pairs = zip(self._names or (), self._values, strict=False)
        return tuple(PartitionKey(name, len(seen), len(seen) < MAX_VALUES) for name, seen in pairs)
