"""What pushes and pulls share: how many requests at once, and the connections to storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import urllib3

from storage.port import CHUNK

THREADS: Final = 6
"""Requests at once."""
ROUNDS: Final = 8
"""Times in a row that nothing could be moved before giving up."""
PAGE: Final = 200
"""Files that are asked for at a time."""

Progress = Callable[[int], None]
"""Hears how many bytes more have gone or come."""


def connections(threads: int) -> urllib3.PoolManager:
    """Connections for so many threads."""
    timeout = urllib3.Timeout(connect=10, read=60)
    return urllib3.PoolManager(num_pools=8, maxsize=threads + 2, timeout=timeout, blocksize=CHUNK)
