"""Connectors as the rest of Lineal uses them: a URI becomes a reference, which can be listed and read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeVar

from lineal.errors import Conflict, InvalidArgument, LimitExceeded, LinealError, NotFound, Unavailable
from storage.connectors import addresses
from storage.connectors.backend import Backend, Entry, Failed
from storage.connectors.config import OPTIONS, SECRETS, ConnectorConfig
from storage.connectors.places import Place, parse
from storage.source import Source

MAX_READ: Final = 64 * 2**20
"""Bytes of one read."""
THREADS: Final = 16
"""Requests to the store of one connector that are under way at a time."""

T = TypeVar("T")


class Connectors:
    """Every configured connector. Open with `async with`, or close it.

    Stores are connected to when they are first asked. `resolve` looks up the names of https.
    """

    def __init__(self, configs: Iterable[ConnectorConfig], resolve: addresses.Resolve = addresses.system) -> None:
        self.configs = tuple(configs)
        self._resolve = resolve
        self._backends: dict[str, Backend] = {}
        self._opening = threading.Lock()
        # To each its own: a store that does not answer keeps nobody waiting but those who ask it.
        self._threads = {
            config.name: ThreadPoolExecutor(THREADS, thread_name_prefix=f"connector-{config.name}")
            for config in self.configs
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of every connection."""
        for name, backend in self._backends.items():
            await self._run(name, backend.close)
        self._backends.clear()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def reference(self, uri: str, workspace: str) -> Reference:
        """What a URI names, for a workspace: the only way to have anything read.

        Where several connectors allow it, the one with the longest prefix is taken. Raises InvalidArgument: it is
        not such a URI; NotFound: no connector of this workspace allows it, whatever there is for others.
        """
        place = parse(uri)
        allowing = [config for config in self.configs if config.serves(workspace) and config.covers(place)]
        if not allowing:
            raise NotFound(f"no connector of this workspace allows {place.uri}", field="uri")
        return Reference(self, max(allowing, key=lambda config: config.covers(place)), place)

    def backend(self, config: ConnectorConfig) -> Backend:
        """The store of a connector, connected to. It is called in a thread that may wait.

        Raises InvalidArgument: its libraries are not installed, or cannot do with its options and secrets; Unavailable:
        a secret is missing.
        """
        with self._opening:
            if config.name not in self._backends:
                self._backends[config.name] = opened(config, self._resolve)
            return self._backends[config.name]

    async def ask(self, config: ConnectorConfig, question: Callable[[Backend], T]) -> T:
        """What the store of a connector answers, in a thread that may wait. Raises as `backend` and `question`."""
        return await self._run(config.name, lambda: question(self.backend(config)))

    async def _run(self, name: str, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads[name], work)


class Reference:
    """A file or a folder that stays where it is, and that a workspace may have read.

    Every method raises NotFound, Unavailable, and InvalidArgument where the connector's libraries are not installed or
    the store will not give something, which is named.
    """

    def __init__(self, connectors: Connectors, config: ConnectorConfig, place: Place) -> None:
        self._connectors = connectors
        self.config = config
        self.place = place

    @property
    def uri(self) -> str:
        """Its URI in its normal form."""
        return self.place.uri

    async def stat(self) -> Entry | None:
        """The file that it is, with `path` "", or None where it is a folder. A file wins where a store has both.

        Raises LimitExceeded past the connector's `listing_timeout`: no file of the folder was found by then.
        """
        entry = await self._file()
        if entry is None:
            async for page in self._pages():
                if page:
                    return None
            raise NotFound(f"{self.uri}: nothing is there")
        return entry

    async def walk(self) -> AsyncIterator[Sequence[Entry]]:
        """The files of a folder in pages of at most about a thousand, in the store's own order; of a file, itself.

        Not more than a page is held, however many there are. Raises LimitExceeded past the connector's `max_files`
        and `listing_timeout`.
        """
        entry = await self._file()
        if entry is not None:
            yield [entry]
            return
        count = 0
        async for page in self._pages():
            count += len(page)
            if count > self.config.max_files:
                raise LimitExceeded(f"{self.uri} has more than the {self.config.max_files:,} files of its connector")
            yield page
        if not count:
            raise NotFound(f"{self.uri}: nothing is there")

    async def _file(self) -> Entry | None:
        return None if self.place.folder else await self._ask(lambda backend: backend.stat(self.place))

    async def _pages(self) -> AsyncIterator[Sequence[Entry]]:
        seconds = self.config.listing_timeout
        end = time.monotonic() + seconds
        pages = await self._ask(lambda backend: backend.pages(self.place))
        while (page := await self._ask(lambda _: next(pages, None))) is not None:
            if time.monotonic() > end:
                msg = (
                    f"{self.uri}: listing it takes more than the {seconds:,g} seconds of its connector; register "
                    "folders of it, each for itself, or let the connector take longer (listing_timeout)"
                )
                raise LimitExceeded(msg)
            yield page

    async def read(self, path: str, start: int, size: int) -> bytes:
        """Bytes of the file at `path` beneath, or of itself with "": fewer than `size` only at its end.

        Raises InvalidArgument: the path is not one; LimitExceeded: more than MAX_READ.
        """
        if not 0 <= size <= MAX_READ or start < 0:
            raise LimitExceeded(f"at most {MAX_READ:,} bytes are read at once")
        data, _ = await self._ask(lambda backend: _read(backend, self.place.child(path), start, size))
        return data

    async def source(self, files: Iterable[Entry]) -> Source:
        """These files of it for those who look into files from a thread; the file that it is has its own name there.

        A read of it raises Conflict where the file is no more what it was when it was listed. Left out are those whose
        names are not read, as they could be taken for something else in a URI.
        """
        backend = await self._ask(lambda backend: backend)
        listed: dict[str, tuple[Place, Entry]] = {}
        for entry in files:
            with suppress(InvalidArgument):
                listed[entry.path or self.place.name] = self.place.child(entry.path), entry
        return _ReferenceSource(backend, listed)

    async def _ask(self, question: Callable[[Backend], T]) -> T:
        return await self._connectors.ask(self.config, question)


class _ReferenceSource(Source):
    def __init__(self, backend: Backend, listed: Mapping[str, tuple[Place, Entry]]) -> None:
        super().__init__({path: entry.size for path, (_, entry) in listed.items()})
        self._backend = backend
        self._listed = listed

    def fetch(self, path: str, start: int, size: int) -> bytes:
        place, entry = self._listed[path]
        data = b""
        while len(data) < size:
            wanted = min(size - len(data), MAX_READ)
            piece, etag = _read(self._backend, place, start + len(data), wanted)
            # What is listed again afterwards may look as if it had never been another.
            if len(piece) < wanted or (entry.etag and etag != entry.etag):
                raise Conflict(f"{path}: it is not what it was when it was listed")
            data += piece
        return data


def _read(backend: Backend, place: Place, start: int, size: int) -> tuple[bytes, str]:
    if not size:
        return b"", ""
    try:
        data, etag = backend.read(place, start, size)
    except Failed:
        # Stores refuse a range beyond the end each in its own way.
        entry = backend.stat(place)
        if entry is None or start < entry.size:
            raise
        return b"", entry.etag
    if len(data) > size:
        raise Unavailable(f"{place.uri}: its store gave more than it was asked for")
    return data, etag


def opened(config: ConnectorConfig, resolve: addresses.Resolve = addresses.system) -> Backend:
    """The store of a connector, connected to. Raises InvalidArgument, Unavailable, as `Connectors.backend`."""
    try:
        return _backend(config, resolve)
    except LinealError:
        raise
    except OSError as error:
        # What a library asks for while it opens, such as a token, may be there the next time.
        raise Unavailable(f"connector {config.name}: it cannot be opened now ({type(error).__name__})") from None
    except Exception as error:  # noqa: BLE001 - each library has its own tree, and several
        # Theirs is not shown, nor kept as the cause: it may hold a secret.
        given = [f"options.{name}" for name in config.options] + [f"secrets.{name}" for name in config.secrets]
        takes = [f"options.{name}" for name in OPTIONS[config.scheme]]
        takes += [f"secrets.{name}" for name in SECRETS[config.scheme]]
        msg = f"it cannot be opened with {', '.join(given)}" if given else f"it needs some of {', '.join(takes)}"
        raise InvalidArgument(f"connector {config.name}: {msg} ({type(error).__name__})") from None


def _backend(config: ConnectorConfig, resolve: addresses.Resolve) -> Backend:
    # Late, so that a connector needs the libraries of its own scheme only.
    match config.scheme:
        case "file":
            from storage.connectors.local import LocalBackend

            return LocalBackend(config)
        case "s3":
            from storage.connectors.s3 import S3Backend

            return S3Backend(config)
        case "gs":
            from storage.connectors.gcs import GcsBackend

            return GcsBackend(config)
        case "abfs":
            from storage.connectors.azure import AzureBackend

            return AzureBackend(config)
        case "https":
            from storage.connectors.https import HttpsBackend

            return HttpsBackend(config, resolve)
        case _:
            from storage.connectors.hdfs import HdfsBackend

            return HdfsBackend(config)
