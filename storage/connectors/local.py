"""Files of this machine: `file://`.

A path is resolved first and judged by where it really is; then it is opened segment by segment from the root of
its prefix without following a link, so that what is swapped in between is not opened.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lineal.errors import InvalidArgument, NotFound
from storage.connectors.backend import PAGE, Backend, Entry, speaking_to
from storage.connectors.places import Place

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class LocalBackend(Backend):
    """The folders of a connector's prefixes, which are resolved when they are read."""

    def stat(self, place: Place) -> Entry | None:
        with speaking_to(self.config, place), self._open(place) as file:
            found = os.fstat(file)
            return _entry("", found) if stat.S_ISREG(found.st_mode) else None

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        with speaking_to(self.config, place), self._open(place) as file:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise NotFound(f"{place.uri}: no file is there")
            data = b""
            while len(data) < size and (more := os.pread(file, size - len(data), start + len(data))):
                data += more
            # Only now: it may have been written to meanwhile.
            return data, _etag(os.fstat(file))

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        folders = [""]
        while folders:
            folder = folders.pop()
            page: list[Entry] = []
            at = place.joined(folder)
            with speaking_to(self.config, at), self._open(at) as opened:
                if not stat.S_ISDIR(os.fstat(opened).st_mode):
                    return
                with os.scandir(opened) as children:
                    for child in children:
                        path = f"{folder}/{child.name}".lstrip("/")
                        if not child.name.isprintable() and any(map(_is_surrogate, child.name)):
                            raise InvalidArgument(f"{place.uri}: a name is not UTF-8: {path!r}")
                        if child.is_dir(follow_symlinks=False):
                            folders.append(path)
                            continue
                        if entry := self._listed(place, path, child):
                            page.append(entry)
                        if len(page) == PAGE:
                            yield page
                            page = []
            yield page

    def _listed(self, place: Place, path: str, child: os.DirEntry[str]) -> Entry | None:
        """A file in a folder; None for what is no file, such as a socket, and for what has just gone."""
        if not child.is_symlink():
            with suppress(FileNotFoundError):
                found = child.stat(follow_symlinks=False)
                return _entry(path, found) if stat.S_ISREG(found.st_mode) else None
            return None
        at = place.joined(path)
        try:
            with speaking_to(self.config, at), self._open(at) as file:
                found = os.fstat(file)
        except NotFound:
            raise InvalidArgument(f"{place.uri}: {path} is a link that leads nowhere") from None
        if not stat.S_ISREG(found.st_mode):
            raise InvalidArgument(f"{place.uri}: {path} is a link to a folder, which is not followed")
        return _entry(path, found)

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _open(self, place: Place) -> Iterator[int]:
        """A descriptor of what is at a place. Raises NotFound, InvalidArgument: a link leads out of the prefix."""
        prefix = max((p for p in self.config.prefixes if place.is_within(p)), key=lambda p: len(p.segments))
        root = _resolved(prefix)
        wanted = _resolved(place)
        if not wanted.is_relative_to(root):
            raise InvalidArgument(f"{place.uri} is a link that leads out of what its connector allows")
        file = os.open(root, _FLAGS)
        try:
            for segment in wanted.relative_to(root).parts:
                inner = os.open(segment, _FLAGS, dir_fd=file)
                os.close(file)
                file = inner
            yield file
        except OSError as error:
            # A link or a socket where none was a moment ago.
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise NotFound(f"{place.uri}: no file is there") from None
            raise
        finally:
            os.close(file)


def _resolved(place: Place) -> Path:
    try:
        return Path("/", *place.segments).resolve(strict=True)
    except RuntimeError:
        # A link that leads to itself; of Python 3.13 it is an OSError.
        raise FileNotFoundError from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidArgument(f"{place.uri[:200]}…: this is longer than a path may be") from None
        raise


def _is_surrogate(char: str) -> bool:
    return unicodedata.category(char) == "Cs"


def _entry(path: str, found: os.stat_result) -> Entry:
    return Entry(path, found.st_size, found.st_mtime_ns // 1_000, _etag(found))


def _etag(found: os.stat_result) -> str:
    # Whoever writes can set back the time of the bytes, but not that of the last change to the file itself.
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ctime_ns:x}"
