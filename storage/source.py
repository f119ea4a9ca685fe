"""Files as those see them that look into files: named, sized, and read in bounded pieces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

from lineal.errors import LimitExceeded

MAX_READ: Final = 256 * 2**20
"""Bytes that one look into an artifact may read in all."""
MAX_READS: Final = 4_000
"""Reads that one look into an artifact may make."""


class Source(ABC):
    """Files that can be read at any place, from a thread that may wait.

    `files` gives the size in bytes of each by its path. What is read is counted: a look that would read more
    than MAX_READ bytes or more often than MAX_READS ends with LimitExceeded. So does one that is `stopped`.
    `ahead` has bytes by path and where they begin that were read before, by whoever has means to read many at once:
    they are not counted.
    """

    def __init__(self, files: Mapping[str, int]) -> None:
        self.files = files
        self.bytes_left = MAX_READ
        self.reads_left = MAX_READS
        self.stopped = False
        self.ahead: dict[tuple[str, int], bytes] = {}

    def stop(self) -> None:
        """Let the look end soon, with what it has found."""
        self.stopped = True

    def read(self, path: str, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; fewer only at the file's end.

        Raises LimitExceeded, NotFound, Unavailable.
        """
        size = max(0, min(size, self.files[path] - start))
        known = self.ahead.get((path, start))
        if known is not None and size <= len(known) and not self.stopped:
            return known[:size]
        self.bytes_left -= size
        self.reads_left -= 1
        if self.bytes_left < 0 or self.reads_left < 0 or self.stopped:
            raise LimitExceeded(f"{path}: looking into it takes too much reading")
        return self.fetch(path, start, size) if size else b""

    @abstractmethod
    def fetch(self, path: str, start: int, size: int) -> bytes:
        """Exactly these bytes, which are within the file."""
