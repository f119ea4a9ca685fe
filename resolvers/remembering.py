"""What was read a moment ago, for as long as nothing is written: registries are asked the same again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

MOST: Final = 256
"""Answers that one process remembers."""


class Memo:
    """Answers, each with the state of the store that it was read from; those not asked for the longest go first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        # Reads are carried out in the event loop, and in the threads of a store.
        self._lock = threading.Lock()

    def find(self, key: Hashable, state: Hashable) -> Any:
        """What was remembered of this state of the store, or None."""
        with self._lock:
            known = self._known.get(key)
            if known is None or known[0] != state:
                return None
            self._known.move_to_end(key)
            return known[1]

    def keep(self, key: Hashable, state: Hashable, value: Any) -> None:
        """Remember it in place of what was known before."""
        with self._lock:
            self._known[key] = (state, value)
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
