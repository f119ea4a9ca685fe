"""What pushes and pulls share: how many requests at once, and the connections to storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import urllib3

from storage.port import CHUNK

THREADS: Final = max(3, min(8, (os.cpu_count() or 1) + 1))
"""Requests at once. More than processors to read and check what comes only wait for each other."""
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
