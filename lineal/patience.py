"""How long something is tried again that is away for a while."""

from __future__ import annotations

import time
from typing import Final

SECONDS: Final = 180.0
"""How long a push or a pull goes on while nothing moves: a server that is restarted, or moved, is back by then."""
SHORT_SECONDS: Final = 8.0
"""How long a single question is asked again."""
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 10.0


class Patience:
    """Pauses that grow, until so many seconds are over since something moved last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.moved()

    def moved(self) -> None:
        """Something moved: begin anew."""
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    @property
    def waiting(self) -> bool:
        """Whether nothing has moved since the last pause."""
        return self._since is not None

    def pause(self) -> bool:
        """Wait a while, longer than the last time; False, at once, when the time is over."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        left = self._since + self._seconds - now
        if left <= 0:
            return False
        time.sleep(min(self._pause, LONGEST_PAUSE, left))
        self._pause *= 2
        return True
