"""How bytes are gathered that a server takes itself: in a file, until their digest is known."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from storage.port import Blob, Incoming

Run = Callable[..., Awaitable[None]]


class Gathered(Incoming):
    """Bytes in a file of `folder` (None: where the system has temporary files), until `store` has that in the store.

    `run` calls what waits in a thread, and says in Lineal's tree what goes wrong there.
    """

    def __init__(self, run: Run, folder: Path | None, store: Callable[[Path, Blob], None]) -> None:
        self._run = run
        self._folder = folder
        self._store = store
        self._file: IO[bytes] | None = None
        self._path = Path()
        self._hash = hashlib.sha256()
        self.size = 0

    def _open(self) -> IO[bytes]:
        if self._file is None:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder)
            self._file, self._path = os.fdopen(handle, "wb"), Path(name)
        return self._file

    async def write(self, data: bytes) -> None:
        self.size += len(data)

        def write() -> None:
            self._hash.update(data)
            self._open().write(data)

        await self._run(write)

    async def finish(self) -> Blob:
        def finish() -> None:
            with self._open() as file:
                file.flush()
                os.fsync(file.fileno())

        await self._run(finish)
        return Blob(self._hash.hexdigest(), self.size)

    async def keep(self, blob: Blob) -> None:
        await self._run(self._store, self._path, blob)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def close() -> None:
            if self._file is not None:
                self._file.close()
                self._path.unlink(missing_ok=True)

        await self._run(close)
