"""Leaving alone for a while what does not answer: a circuit breaker (M. Nygard, "Release It!").

closed ── FAILURES calls in a row without an answer ──▶ open ── REST seconds ──▶ half-open: one call tries
   ▲                                                      ▲                          │       │
   │                                                      └───────── none ───────────┘       │
   └───────────────────────── an answer, whatever it says ───────────────────────────────────┘

A leaf, as lineal.errors is.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lineal.errors import Unavailable
from lineal.observing import METER

FAILURES: Final = 5
"""Calls in a row without an answer, after which no more are made."""
REST: Final = 3.0
"""Seconds for which none is made, before one call tries again."""
SILENCE: Final = 4.0
"""Seconds after which a call that its caller gave up counts as one without an answer."""

_log = logging.getLogger("lineal.breaking")


class Resting(Unavailable):
    """It did not answer a moment ago, and was not asked again."""


class Breaker:
    """Stands before one thing that may be away: the `kind` is store, storage, issuer or target, the `name` which one.

    `is_away` says of an error whether there was no answer; every other error is one, whatever it refuses, and what is
    refused by what answers is never left alone. It is used from one event loop.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        is_away: Callable[[Exception], bool],
        *,
        failures: int = FAILURES,
        rest: float = REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = f"the {kind} {name}".rstrip()
        self._labels = (kind, name)
        self._is_away = is_away
        self._most = failures
        self._rest = rest
        self._clock = clock
        self._missed = 0
        self._until: float | None = None
        self._trying = False

    def is_open(self) -> bool:
        """Whether it is left alone, but for one call that may try."""
        return self._until is not None

    def refuses(self) -> bool:
        """Whether a call would be refused now: not once the next one may try."""
        return self._until is not None and (self._trying or self._clock() < self._until)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """One call. Raises Resting, with `retryAfter` in seconds: it is not made."""
        trial, began = self._admit(), self._clock()
        try:
            yield
        except asyncio.CancelledError:
            if self._clock() >= began + SILENCE:
                self._miss(trial=trial)
            raise
        except Exception as error:
            if self._is_away(error):
                self._miss(trial=trial)
            else:
                self._answered()
            raise
        else:
            self._answered()
        finally:
            if trial:
                self._trying = False

    def _admit(self) -> bool:
        """Whether this call is the one that tries. Raises Resting."""
        if self._until is None:
            return False
        if self.refuses():
            METER.get().add("lineal_breaker_refusals", 1, *self._labels)
            wait = max(1, math.ceil(self._until - self._clock()))
            raise Resting(f"{self.what} does not answer; come again in {wait} s", retryAfter=wait)
        self._trying = True
        return True

    def _miss(self, *, trial: bool) -> None:
        self._missed += 1
        if self._until is None and self._missed >= self._most:
            _log.warning("%s is left alone: %d calls in a row had no answer", self.what, self._missed)
            METER.get().ask("lineal_breaker_open", self.refuses, *self._labels)
            trial = True
        if trial:
            METER.get().add("lineal_breaker_openings", 1, *self._labels)
            self._until = self._clock() + self._rest

    def _answered(self) -> None:
        self._missed = 0
        if self._until is not None:
            self._until = None
            _log.warning("%s answers again", self.what)
