"""How the files of versions come to where a target's servers read them, so that none is ever seen half done.

A place holds folders, each with the tag of the version whose files are in it, and single files. They come to a shared
folder by one renaming, after they are on the disk; to an object store file by file, and the mark that makes them whole
comes last. What is there already is not sent again. What is on its way is beneath `.lineal/`, which servers that look
for models pass over.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lineal.errors import InvalidArgument, LinealError, PreconditionFailed, Unavailable
from serving.port import GUARD, File, Source, tag_of
from serving.targets import TargetConfig
from storage.connectors.backend import speaking_to
from storage.connectors.config import ConnectorConfig
from storage.connectors.connector import opened
from storage.connectors.places import parse
from storage.manifest import path_problem
from storage.threads import Threads
from storage.writing import BlobWriter, put, to_disk

MARK: Final = ".lineal"
"""The file that says of which version a folder is, and the folder of what is on its way."""
ABANDONED: Final = 86_400.0
"""Seconds after which what is on its way, and does not move, is taken for given up."""

Rewrite = Callable[[str, Path], None]
"""Changes a file before it is placed: its path in the version, and where it is now. Called in a thread."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is placed: the files of a version, and what an adapter makes of them.

    `more` are small files beside those of the version, in place of those with the same path. `choose` gives the path
    at which a file of the version is placed, None to leave it out. A tag stands for the version alone: where an
    adapter makes several things of one version, it places them at paths that differ.
    """

    source: Source
    more: Mapping[str, bytes] = field(default_factory=dict)
    choose: Callable[[str], str | None] = lambda path: path
    rewrite: Rewrite | None = None

    @property
    def tag(self) -> str:
        """What the folder is marked with."""
        return tag_of(self.source)

    async def files(self) -> dict[str, File]:
        """The files of the version that are placed, by their paths there.

        Raises InvalidArgument (a path that leads outside), PreconditionFailed (two files for one path).
        """
        found: dict[str, File] = {}
        for file in await self.source.files():
            path = self.choose(check_path(file.path))
            if path is None or path in self.more:
                continue
            if check_path(path) in found or path.partition("/")[0] == MARK:
                raise PreconditionFailed(f"the version has two files for {path}, or one that is called {MARK}")
            found[path] = file
        return found


class Place(ABC):
    """Where a target's servers read files. Paths are relative, with `/`.

    Every method raises Unavailable when the place is away, and InvalidArgument for a path that leads outside. What
    changes something asks serving.port.GUARD before it does.
    """

    seen_as: str
    """The place as the servers see it: a path or a URI, without a slash at its end."""

    def address(self, path: str) -> str:
        """What is at a path, as the servers see it."""
        return f"{self.seen_as}/{path}"

    @abstractmethod
    async def tag(self, path: str) -> str:
        """The tag of the folder that is whole at a path, or empty."""

    @abstractmethod
    async def put(self, path: str, content: Content) -> None:
        """Have a folder with these files there. One that is there with the same tag stays as it is.

        Raises NotFound (a file of the version is gone), PreconditionFailed (the bytes are not those of the manifest,
        or stay elsewhere).
        """

    @abstractmethod
    async def put_file(self, path: str, content: Content) -> None:
        """Have the one file of a version there. One that is there stays as it is, so its path should have the tag.

        Raises as `put`; PreconditionFailed also where the version has more files, or none.
        """

    @abstractmethod
    async def write(self, path: str, data: bytes) -> None:
        """Have a small file there with these bytes."""

    @abstractmethod
    async def names(self, path: str = "") -> list[str]:
        """The names of what is in a folder, sorted; none where there is no folder."""

    @abstractmethod
    async def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it. What is not there is no error."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""


def place_of(config: TargetConfig) -> Place | None:
    """Where a target's files go, None where they are not placed. Nothing is connected to yet."""
    match config.files.mode:
        case "folder":
            return FolderPlace(Path(config.files.path), config.files.seen_as)
        case "object":
            return ObjectPlace(config)
    return None


async def keep_only(place: Place | None, folder: str, names: Collection[str]) -> None:
    """Remove from a folder all but these; nothing where files are not placed."""
    if place is not None:
        for each in await place.names(folder):
            if each not in names:
                await place.remove(f"{folder}/{each}")


async def small(source: Source, path: str, limit: int = 2**20) -> bytes | None:
    """A small file of a version, None where it has none of that path. Raises PreconditionFailed: it is too large."""
    file = next((each for each in await source.files() if each.path == path), None)
    if file is None:
        return None
    if file.size > limit:
        raise PreconditionFailed(f"{path} of the version has {file.size:,} bytes, and may have {limit:,}")
    return b"".join([chunk async for chunk in source.read(file)])


def check_path(path: str) -> str:
    """The path, when it stays beneath where it begins. Raises InvalidArgument."""
    if problem := path_problem(path):
        raise InvalidArgument(f"path: {problem}", field="path")
    return path


async def receive(content: Content, path: str, file: File, folder: Path, threads: Threads) -> Path:
    """Write a file of a version to its path in a folder of one's own, as it is to be placed.

    Raises PreconditionFailed: these are not the bytes of the manifest.
    """
    target = folder / path
    writer = await threads.run(lambda: BlobWriter(folder, target, file.size, file.sha256))
    try:
        async for chunk in content.source.read(file):
            await threads.run(writer.write, chunk)
        await threads.run(writer.finish)
    except InvalidArgument as error:
        raise PreconditionFailed(f"{file.path} of the version: {error.message}") from None
    finally:
        await threads.run(writer.close)
    if content.rewrite is not None:
        await threads.run(content.rewrite, path, target)
    return target


class FolderPlace(Place):
    """A folder that the servers share."""

    def __init__(self, root: Path, seen_as: str) -> None:
        self.seen_as = seen_as.rstrip("/")
        self._root = root
        self._threads = Threads(4, "placing")

    async def tag(self, path: str) -> str:
        tag: str = await self._run("read", self._tag, path)
        return tag

    def _tag(self, path: str) -> str:
        try:
            return (self._at(path) / MARK).read_text("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    async def put(self, path: str, content: Content) -> None:
        if await self.tag(path) == content.tag:
            return
        files = await content.files()
        stage = await self._run("written to", self._stage)
        try:
            made = stage / "made"
            for to, file in files.items():
                with _told("written to"):
                    await receive(content, to, file, made, self._threads)
            more = {**content.more, MARK: content.tag.encode()}
            await self._run("written to", self._finish, made, more)
            GUARD.get()()
            await self._run("written to", self._move, made, path)
        finally:
            await self._threads.run(lambda: shutil.rmtree(stage, ignore_errors=True))

    async def put_file(self, path: str, content: Content) -> None:
        if await self._run("read", lambda: self._at(path).is_file()):
            return
        to, file = _only(await content.files())
        stage = await self._run("written to", self._stage)
        try:
            with _told("written to"):
                await receive(content, to, file, stage / "made", self._threads)
            await self._run("written to", self._finish, stage / "made", {})
            GUARD.get()()
            await self._run("written to", lambda: put(stage / "made" / to, self._at(path)))
        finally:
            await self._threads.run(lambda: shutil.rmtree(stage, ignore_errors=True))

    async def write(self, path: str, data: bytes) -> None:
        def write() -> None:
            stage = self._stage()
            try:
                self._finish(stage / "made", {"file": data})
                put(stage / "made" / "file", self._at(path))
            finally:
                shutil.rmtree(stage, ignore_errors=True)

        GUARD.get()()
        await self._run("written to", write)

    async def names(self, path: str = "") -> list[str]:
        def names() -> list[str]:
            try:
                folder = self._at(path) if path else self._root
                return sorted(each.name for each in folder.iterdir() if each.name != MARK)
            except (FileNotFoundError, NotADirectoryError):
                return []

        found: list[str] = await self._run("read", names)
        return found

    async def remove(self, path: str) -> None:
        def remove() -> None:
            target = self._at(path)
            if target.is_file():
                target.unlink(missing_ok=True)
            elif target.exists():
                shutil.rmtree(self._set_aside(target), ignore_errors=True)

        GUARD.get()()
        await self._run("written to", remove)

    def _at(self, path: str) -> Path:
        """Where a path is. Nothing on the way there may be a link, which could lead out of the folder."""
        place = self._root
        for part in check_path(path).split("/"):
            place /= part
            if place.is_symlink():
                raise PreconditionFailed(f"{path} in the folder of the files is a link, and would lead elsewhere")
        return place

    def _stage(self) -> Path:
        """A folder of one's own on the same file system; what others gave up on goes."""
        incoming = self._at(MARK)
        incoming.mkdir(parents=True, exist_ok=True)
        for each in incoming.iterdir():
            with suppress(OSError):
                if time.time() - each.stat().st_mtime > ABANDONED:
                    shutil.rmtree(each, ignore_errors=True)
        stage = Path(tempfile.mkdtemp(dir=incoming))
        (stage / "made").mkdir()
        return stage

    @staticmethod
    def _finish(made: Path, more: Mapping[str, bytes]) -> None:
        """Add the small files; have all on the disk, and readable by servers that run as somebody else."""
        for path, data in more.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_bytes(data)
        for each in [made, *made.rglob("*")]:
            each.chmod(0o755 if each.is_dir() else 0o644)
            to_disk(each)

    def _move(self, made: Path, path: str) -> None:
        """Put a finished folder where it belongs, whatever is there."""
        target = self._at(path)
        tag = (made / MARK).read_text("ascii")
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                made.rename(target)
            except OSError:
                if not target.exists():
                    raise
            else:
                break
            if self._tag(path) == tag:
                return
            with suppress(FileNotFoundError):
                shutil.rmtree(self._set_aside(target), ignore_errors=True)
        to_disk(target.parent)

    def _set_aside(self, target: Path) -> Path:
        """Take something out of sight at once, to be removed at leisure."""
        grave = self._stage() / target.name
        target.rename(grave)
        to_disk(target.parent)
        return grave.parent

    async def _run(self, what: str, work: Callable[..., Any], *arguments: Any) -> Any:
        with _told(what):
            return await self._threads.run(work, *arguments)

    async def close(self) -> None:
        self._threads.close()


class ObjectPlace(Place):
    """A prefix in an object store, by fsspec. It is connected to when it is first used."""

    def __init__(self, config: TargetConfig) -> None:
        files = config.files
        self._place = parse(files.uri)
        self.seen_as = self._place.uri.rstrip("/")
        self._config = ConnectorConfig(
            f"of target {config.name}",
            self._place.scheme,
            (self._place,),
            None,
            files.options,
            files.secrets,
            config.timeout,
        )
        self._threads = Threads(4, "placing")
        self._backend: Any = None

    async def tag(self, path: str) -> str:
        data: bytes = await self._run(self._read, f"{check_path(path)}/{MARK}")
        return data.decode("ascii", "replace").strip()

    def _read(self, path: str) -> bytes:
        try:
            return bytes(self._fs.cat_file(self._key(path)))
        except FileNotFoundError:
            return b""

    async def put(self, path: str, content: Content) -> None:
        there = await self.tag(path)
        if there == content.tag:
            return
        files = await content.files()
        if there:
            await self.remove(f"{path}/{MARK}")
        with tempfile.TemporaryDirectory(prefix="lineal-", ignore_cleanup_errors=True) as scratch:
            for to, file in files.items():
                made = await receive(content, to, file, Path(scratch), self._threads)
                GUARD.get()()
                await self._run(self._send, made, f"{path}/{to}")
        for to, data in content.more.items():
            await self.write(f"{path}/{to}", data)
        wanted = {*files, *content.more, MARK}
        GUARD.get()()
        await self._run(self._drop_others, path, wanted)
        await self.write(f"{path}/{MARK}", content.tag.encode())

    async def put_file(self, path: str, content: Content) -> None:
        if await self._run(lambda: self._fs.exists(self._key(check_path(path)))):
            return
        to, file = _only(await content.files())
        with tempfile.TemporaryDirectory(prefix="lineal-", ignore_cleanup_errors=True) as scratch:
            made = await receive(content, to, file, Path(scratch), self._threads)
            GUARD.get()()
            await self._run(self._send, made, path)

    async def write(self, path: str, data: bytes) -> None:
        GUARD.get()()
        await self._run(lambda: self._fs.pipe_file(self._key(check_path(path)), data))

    async def names(self, path: str = "") -> list[str]:
        def names() -> list[str]:
            try:
                found = self._fs.ls(self._key(check_path(path) if path else ""), detail=False)
            except FileNotFoundError:
                return []
            return sorted({each.rstrip("/").rpartition("/")[2] for each in found} - {MARK, ""})

        found: list[str] = await self._run(names)
        return found

    async def remove(self, path: str) -> None:
        def remove() -> None:
            # The mark first: what has none is not whole, whatever comes in between.
            for each in sorted(self._beneath(check_path(path)), key=lambda each: not each.endswith(f"/{MARK}")):
                with suppress(FileNotFoundError):
                    self._fs.rm_file(each)

        GUARD.get()()
        await self._run(remove)

    def _send(self, made: Path, path: str) -> None:
        self._fs.put_file(str(made), self._key(path))
        made.unlink()

    def _drop_others(self, path: str, wanted: set[str]) -> None:
        folder = self._key(path)
        for each in self._beneath(path):
            if each[len(folder) + 1 :] not in wanted:
                with suppress(FileNotFoundError):
                    self._fs.rm_file(each)

    def _beneath(self, path: str) -> list[str]:
        return [str(each) for each in self._fs.find(self._key(path))]

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._place.authority.partition("@")[0], self._place.path, path) if part)

    @property
    def _fs(self) -> Any:
        if self._backend is None:
            self._backend = opened(self._config)
        return self._backend.fs

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            with speaking_to(self._config, self._place):
                return work(*arguments)

        return await self._threads.run(run)

    async def close(self) -> None:
        if self._backend is not None:
            await self._threads.run(self._backend.close)
        self._threads.close()


def _only(files: Mapping[str, File]) -> tuple[str, File]:
    if len(files) != 1:
        raise PreconditionFailed(f"the version must have one such file, and has {len(files):,}")
    return next(iter(files.items()))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the file system as ours."""
    try:
        yield
    except LinealError:
        raise
    except OSError as error:
        raise Unavailable(f"the folder of the files cannot be {what}: {error.strerror}") from None
