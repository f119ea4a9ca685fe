"""The files of versions on their way to where a target's servers read them, beside all else that is done there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from serving.port import Adapter, Desired

AT_ONCE: Final = 16
"""Deployments of a target whose files are on their way at once."""
PATIENCE: Final = 0.5
"""Seconds that files are waited for: most are there already."""


class Bringing:
    """Brings files to one target, each deployment's by itself. `arrived` is called when some have come, or have not."""

    def __init__(self, adapter: Adapter, arrived: Callable[[], None]) -> None:
        self._adapter, self._arrived = adapter, arrived
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}

    async def begin(self, known: Mapping[str, Desired], wanted: Collection[str]) -> None:
        """Have the files of what is wanted on their way, by the id of the deployment, and wait for them a moment.

        What was begun for an earlier revision of what is known is given up.
        """
        await self._drop([id for id, (revision, _) in self._tasks.items() if _is_other(known.get(id), revision)])
        for id in wanted:
            if id not in self._tasks:
                self._tasks[id] = known[id].revision, asyncio.create_task(self._bring(known[id]))
        if coming := [self._tasks[id][1] for id in wanted]:
            await asyncio.wait(coming, timeout=PATIENCE)

    def there(self, id: str) -> bool:
        """Whether the files of a deployment that was begun with have come. Raises what bringing them raised."""
        _, task = self._tasks[id]
        if not task.done():
            return False
        del self._tasks[id]
        task.result()
        return True

    async def _bring(self, desired: Desired) -> None:
        async with self._room:
            try:
                await self._adapter.place(desired)
            finally:
                self._arrived()

    async def _drop(self, ids: Collection[str]) -> None:
        tasks = [self._tasks.pop(id)[1] for id in ids]
        for task in tasks:
            task.cancel()
        # Until nothing of them goes on: what they bring may be in the way of what comes next.
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Give all of them up."""
        await self._drop(list(self._tasks))


def _is_other(now: Desired | None, revision: int) -> bool:
    return now is not None and now.revision != revision
