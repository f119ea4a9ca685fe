"""The tracking servers that this process can ask, and which of them are away."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from lineal.errors import NotFound
from resolvers.tracking.stories import Story, fetch
from storage.connectors.addresses import Resolve, system
from storage.threads import Threads
from storage.tracking.config import TrackerConfig
from storage.tracking.mlflow import MlflowServer
from storage.tracking.server import Away

THREADS: Final = 8
"""Requests that are under way at a time."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds for which a server that was away is left alone: longer each time, and no longer than this."""


@dataclass(slots=True)
class _Pause:
    until: float
    seconds: float
    why: str


class Trackers:
    """Tracking servers as they are configured. Open with `async with`, or close them."""

    def __init__(self, configs: Iterable[TrackerConfig] = (), resolve: Resolve = system) -> None:
        self._servers = {config.name: MlflowServer(config, resolve) for config in configs}
        self._threads = Threads(THREADS, "tracker")
        self._away: dict[str, _Pause] = {}

    @property
    def workspaces(self) -> frozenset[str] | None:
        """The workspaces whose versions are looked up anywhere, None for all."""
        found: set[str] = set()
        for server in self._servers.values():
            if server.config.workspaces is None:
                return None
            found |= server.config.workspaces
        return frozenset(found)

    def serve(self, workspace: str) -> bool:
        """Whether versions of a workspace are looked up anywhere."""
        return any(server.config.serves(workspace) for server in self._servers.values())

    @property
    def pause(self) -> float:
        """Seconds until there is a server that may be asked; 0 when there is one now."""
        now = time.monotonic()
        return min((max(0.0, self._until(name) - now) for name in self._servers), default=LONGEST_PAUSE)

    async def story(self, workspace: str, run: str, logged: str) -> Story:
        """What made something, from the first server of a workspace that knows its run or logged model.

        Raises NotFound: none of them knows it. Unavailable: one that may know it cannot be asked, or what it answers
        cannot be taken.
        """
        away = ""
        for name, server in self._servers.items():
            if not server.config.serves(workspace):
                continue
            if self._until(name) > time.monotonic():
                away = self._away[name].why
                continue
            try:
                story = await self._threads.run(fetch, server, run, logged)
            except Away as error:
                away = error.message
                before = self._away.get(name)
                seconds = FIRST_PAUSE if before is None else min(before.seconds * 2, LONGEST_PAUSE)
                # Others that were under way meanwhile do not make it longer.
                if before is None or before.until <= time.monotonic():
                    self._away[name] = _Pause(time.monotonic() + seconds, seconds, away)
                continue
            self._away.pop(name, None)
            if story is not None:
                return story
        if away:
            raise Away(away)
        what = " or ".join(filter(None, (run and f"the run {run!r}", logged and f"the logged model {logged!r}")))
        raise NotFound(f"no tracking server of the workspace {workspace!r} knows {what}")

    def _until(self, name: str) -> float:
        return self._away[name].until if name in self._away else 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of all connections."""
        for server in self._servers.values():
            await self._threads.run(server.close)
        self._threads.close()
