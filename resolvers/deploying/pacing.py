"""How often what becomes of a deployment is written down: what comes and goes fills no history."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from typing import Final

from resolvers.deploying.judging import Verdict, other_serving
from resolvers.deploying.plans import Plan

MOST: Final = 10
"""Phases that a deployment may come to within a window, besides those that end a rollout."""
WINDOW_SECONDS: Final = 600.0
QUIET_SECONDS: Final = 60.0
"""Between two writes of what merely its platform says, or of how many replicas it has."""
UNDER_WAY: Final = frozenset({"PENDING", "ROLLING_OUT"})


class Pace:
    """Says what may be written now, by what this process wrote before."""

    def __init__(self) -> None:
        self._wrote: dict[str, deque[float]] = {}
        self._said: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def of(self, plan: Plan, verdict: Verdict) -> Verdict | None:
        """What of a verdict may be written, or None where it has to wait.

        What a rollout came to is always written, and an event. While one is under way, its times are, too, with an
        event as long as there are not too many.
        """
        if "state" in verdict.revision or verdict.rolls_back:
            return self._written(plan.deployment.id, verdict)
        under_way = plan.revision.props.get("state") in UNDER_WAY
        if not verdict.noteworthy and not other_serving(plan, verdict):
            return verdict if under_way or self._is_time(plan.deployment.id) else None
        if self._has_room(plan.deployment.id):
            return self._written(plan.deployment.id, verdict)
        self._left_out[plan.deployment.id] += 1
        return replace(verdict, noteworthy=False) if under_way else None

    def lets(self, id: str, *, merely_said: bool) -> bool:
        """Whether what is known of a target itself may be written now: whether it answers, or what it merely says."""
        return self._is_time(id) if merely_said else self._has_room(id)

    def _written(self, id: str, verdict: Verdict) -> Verdict:
        """A verdict that is written, with the number of those that were not before it."""
        return replace(verdict, left_out=self._left_out.pop(id, 0))

    def _is_time(self, id: str) -> bool:
        now = time.monotonic()
        if now - self._said.get(id, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._said[id] = now
        return True

    def _has_room(self, id: str) -> bool:
        wrote, now = self._wrote.setdefault(id, deque(maxlen=MOST)), time.monotonic()
        if len(wrote) == MOST and now - wrote[0] < WINDOW_SECONDS:
            return False
        wrote.append(now)
        return True
