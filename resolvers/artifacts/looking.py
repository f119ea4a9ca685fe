"""What an artifact's own files say of it, read from storage in bounded pieces and without executing any."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from lineal.errors import LimitExceeded, LinealError, NotFound, PreconditionFailed
from storage.formats import Detected, Value, Verdict, detect, harmless, order
from storage.formats.reading import HEAD, MAX_ZIP_END
from storage.manifest import Manifest
from storage.port import Storage
from storage.source import Source

SECONDS: Final = 20.0
"""How long one look may take, and READ_SECONDS more where it waits for a read."""
READ_SECONDS: Final = 10.0
AHEAD_SECONDS: Final = 10.0
"""How long of that the beginnings and ends of files are read, before they are looked into."""
ENDS: Final = 512
"""Files whose ends are read ahead: 34 MiB in all."""
AT_ONCE: Final = 16
MAX_IMPORTS: Final = 1_000
"""Imports of pickles that are kept."""


class StoredSource(Source):
    """The files of a manifest, read from storage by a thread that waits for the event loop."""

    def __init__(self, storage: Storage, workspace: str, manifest: Manifest, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({file.path: file.size for file in manifest.files})
        self._storage, self._workspace, self._manifest, self._loop = storage, workspace, manifest, loop

    async def read_ahead(self) -> None:
        """Read the beginnings of files, and the ends of some, many at a time: that is all which is wanted of most.

        Those come first that are looked at first. What is not read in time is left.
        """
        first = sorted(self.files, key=order)
        wanted = {(path, 0): min(HEAD, self.files[path]) for path in first}
        for path in [path for path in first if not harmless(path)][:ENDS]:
            size = min(MAX_ZIP_END, self.files[path])
            wanted[path, self.files[path] - size] = size
        waiting = asyncio.Semaphore(AT_ONCE)

        async def read(path: str, start: int) -> None:
            async with waiting:
                self.ahead[path, start] = await self._read(path, start, wanted[path, start])

        with suppress(TimeoutError):
            async with asyncio.timeout(AHEAD_SECONDS):
                await asyncio.gather(*(read(path, start) for path, start in wanted))

    def fetch(self, path: str, start: int, size: int) -> bytes:
        """These bytes. Raises what the storage raises, LimitExceeded (it took too long)."""
        future = asyncio.run_coroutine_threadsafe(self._read(path, start, size), self._loop)
        try:
            return future.result(READ_SECONDS)
        except TimeoutError:
            future.cancel()
            raise LimitExceeded(f"{path}: reading it took more than {READ_SECONDS:g} seconds") from None

    async def _read(self, path: str, start: int, size: int) -> bytes:
        sha256 = self._manifest.by_path[path].sha256
        data = bytearray()
        async for chunk in self._storage.read(self._workspace, sha256, start, size):
            data += chunk
        if len(data) != size:
            raise NotFound(f"{path}: ended before its size")
        return bytes(data)


async def look(storage: Storage, workspace: str, manifest: Manifest) -> Detected:
    """What the files say. Whatever goes wrong on the way is a note, never an error."""
    loop = asyncio.get_running_loop()
    source = StoredSource(storage, workspace, manifest, loop)
    # Whoever looks notices at the next read or step, and tells what was found until then.
    stop = loop.call_later(SECONDS, source.stop)
    try:
        async with asyncio.timeout(SECONDS + READ_SECONDS):
            await source.read_ahead()
            return await asyncio.to_thread(detect, source)
    except TimeoutError:
        return Detected(pickles=Verdict.UNSCANNED, notes=(f"looking into it took more than {SECONDS:g} seconds",))
    except LinealError as error:
        return Detected(pickles=Verdict.UNSCANNED, notes=(error.message,))
    finally:
        stop.cancel()
        source.stop()  # so that the thread ends


def check_pickles(policy: str | None, found: Detected) -> None:
    """Raises PreconditionFailed: the workspace's policy does not let these pickles in, naming what they import."""
    refused = {
        "REFUSE_DANGEROUS": {Verdict.DANGEROUS},
        "REFUSE_UNSAFE": {Verdict.DANGEROUS, Verdict.SUSPICIOUS, Verdict.UNSCANNED},
    }
    if found.pickles in refused.get(policy or "", ()):
        unsafe = (each for each in found.imports if each.severity != Verdict.SAFE)
        named = dict.fromkeys(f"{each.name} in {each.file!r}" for each in unsafe)
        msg = (
            f"the pickles in it are {found.pickles}, which the workspace's picklePolicy {policy} does not let in: "
            f"{listed_words(list(named)) or 'they could not be read whole'}"
        )
        raise PreconditionFailed(msg, pickles=found.pickles.value, imports=list(named)[:100])


def listed_words(words: list[str], most: int = 10) -> str:
    """The first of some words, and how many more there are."""
    return ", ".join(words[:most]) + (f" and {len(words) - most:,} more" if len(words) > most else "")


def artifact_props(found: Detected) -> dict[str, Any]:
    """What an artifact's node says of its contents."""
    return {
        "frameworks": list(found.frameworks),
        "formats": list(found.formats),
        "contents": contents(found),
        "pickles": found.pickles.value,
        "imports": list(dict.fromkeys(each.name for each in found.imports))[:MAX_IMPORTS],
    }


def contents(found: Detected) -> dict[str, Any]:
    """What has no property of its own, as JSON."""
    return {
        "versions": dict(found.versions),
        "parameterCount": found.parameter_count,
        "inputs": [_value(each) for each in found.inputs],
        "outputs": [_value(each) for each in found.outputs],
        "baseModels": list(found.base_models),
        "datasets": list(found.datasets),
        "license": found.licence,
        "facts": dict(found.facts),
        "notes": list(found.notes),
    }


def version_props(found: Detected, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a model version takes over from its files, where nobody has said it."""
    signature = {"inputs": [_value(each) for each in found.inputs], "outputs": [_value(each) for each in found.outputs]}
    told = {
        "frameworks": list(found.frameworks) or None,
        "formats": list(found.formats) or None,
        "parameterCount": found.parameter_count,
        "signature": signature if found.inputs or found.outputs else None,
        "license": found.licence,
    }
    return {name: value for name, value in told.items() if value is not None and name not in known}


def _value(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "type": value.type, "shape": shape}
