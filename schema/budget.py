"""How much each client may ask for: a budget of cost that fills up again with time.

Before an operation runs, a part of what it may cost at most is set aside; afterwards what it really took is paid. A
client that has spent all waits. Budgets are of one process: behind several of them a client has as many.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_CLIENTS: Final = 10_000
"""Clients that are remembered; who asked longest ago is forgotten first."""

SET_ASIDE: Final = 10
"""An operation sets aside at most this part of a whole budget: it seldom takes what it may cost at most."""


@dataclass(slots=True)
class _Account:
    left: float
    at: float


class Budget:
    """Accounts of `minutely` units, which fill up again within a minute."""

    def __init__(self, minutely: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.minutely = minutely
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def reserve(self, client: str, cost: int) -> int:
        """Set aside what an operation may cost: how much that is. Raises Spent."""
        account = self._account(client)
        aside = min(cost, self.minutely // SET_ASIDE)
        if account.left < aside or account.left <= 0:
            missing = max(aside, 1) - account.left
            raise Spent(math.ceil(missing * 60 / self.minutely))
        account.left -= aside
        return aside

    def settle(self, client: str, aside: int, took: int) -> int:
        """Pay what an operation took, of what was set aside and more. Gives what is left, below 0 where it owes."""
        account = self._account(client)
        account.left = min(account.left + aside - took, float(self.minutely))
        return math.floor(account.left)

    def owed(self, client: str) -> float:
        """Seconds until a client owes nothing; 0 where it does not owe."""
        return max(0.0, -self._account(client).left * 60 / self.minutely)

    def _account(self, client: str) -> _Account:
        now = self._clock()
        account = self._accounts.setdefault(client, _Account(self.minutely, now))
        self._accounts.move_to_end(client)
        if len(self._accounts) > MOST_CLIENTS:
            self._accounts.popitem(last=False)
        account.left = min(account.left + (now - account.at) * self.minutely / 60, float(self.minutely))
        account.at = now
        return account


class Spent(Exception):
    """A client has to wait for so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds
