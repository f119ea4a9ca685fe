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
    """Brings files to one target, each deployment's by itself.

    `arrived` is called when some have come, or have not, while nobody waited for them.
    """

    def __init__(self, adapter: Adapter, arrived: Callable[[], None]) -> None:
        self._adapter, self._arrived = adapter, arrived
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self._awaited: Collection[str] = ()

    async def begin(self, known: Mapping[str, Desired], wanted: Collection[str]) -> None:
        """Have the files of what is wanted on their way, by the id of the deployment, and wait for them a moment.

        What was begun for an earlier revision of what is known is given up, and not waited for: it may be in the
        middle of a large file. What comes in its place begins once nothing of it goes on.
        """
        for id, (revision, task) in self._tasks.items():
            if id in known and known[id].revision != revision:
                _give_up(task)
        for id in wanted:
            before = self._tasks.get(id)
            if before is None or before[0] != known[id].revision:
                task = asyncio.create_task(self._bring(id, known[id], before and before[1]))
                self._tasks[id] = known[id].revision, task
        if coming := [self._tasks[id][1] for id in wanted]:
            self._awaited = wanted
            try:
                await asyncio.wait(coming, timeout=PATIENCE)
            finally:
                self._awaited = ()

    def there(self, id: str) -> bool:
        """Whether the files of a deployment that was begun with have come. Raises what bringing them raised."""
        _, task = self._tasks[id]
        if not task.done():
            return False
        del self._tasks[id]
        task.result()
        return True

    async def _bring(self, id: str, desired: Desired, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await _ended(before)
        async with self._room:
            try:
                await self._adapter.place(desired)
            finally:
                # Who waits looks next anyway, and would look again and again for as long as a rollout takes.
                if id not in self._awaited:
                    self._arrived()

    async def close(self) -> None:
        """Give all of them up, and wait until nothing of them goes on."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            _give_up(task)
        await asyncio.gather(*tasks, return_exceptions=True)


def _give_up(task: asyncio.Task[None]) -> None:
    # Once: a second time would end its wait for what cannot be ended.
    if not task.cancelling():
        task.cancel()


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait until a task that was given up is over, even if whoever waits is given up too."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
