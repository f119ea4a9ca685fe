"""What an operation reaches bytes through: the storage, and what goes on longer than a request."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from lineal.errors import Conflict, Unavailable
from storage.connectors.connector import Connectors
from storage.port import Blob, Storage
from storage.signing import Trusted

PATIENCE: Final = 15.0
"""Seconds that a request waits for a blob to be put together."""


class Bytes:
    """The storage of one process, whose signatures it trusts, and the connectors to what is elsewhere.

    Putting a large blob together may take longer than a request: it goes on, and whoever asks again joins it.
    """

    def __init__(self, storage: Storage, *, trusted: Trusted = Trusted(), connectors: Connectors | None = None) -> None:
        self.storage = storage
        self.connectors = connectors or Connectors(())
        self.trusted = trusted
        self._sealing: dict[tuple[str, str], asyncio.Task[bool]] = {}

    async def seal(self, workspace: str, blob: Blob) -> bool:
        """As Storage.seal. Raises Unavailable too: it takes long, and a later call will find it done.

        It is `moving` where it goes on here; else others send, or put together, the same.
        """
        key = (workspace, blob.sha256)
        task = self._sealing.get(key)
        if task is None:
            task = self._sealing[key] = asyncio.create_task(self.storage.seal(workspace, blob))
            task.add_done_callback(lambda _: self._sealing.pop(key, None))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except (TimeoutError, Conflict) as error:
            msg = f"the parts of {blob.sha256} are still being put together; ask again in a moment"
            raise Unavailable(msg, retry=True, moving=isinstance(error, TimeoutError)) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End what still goes on; it is done again when somebody asks."""
        await self.connectors.close()
        tasks = list(self._sealing.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
