"""Which file is at which path, for clients that send files to this server by path, as MLflow's do.

Bytes are blobs like all others. What is at a path is a document without content, whose name has it all:

    mlflow/d.<folder>/…/f.<file>/<microseconds>.<sha256>.<size>

Of several for one file the last one counts. What a document names is needed, and no sweep takes it away: it is
written before its bytes are put into their place, and then a sweep that is under way is waited for.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from lineal.errors import InvalidArgument
from storage.naming import MAX_DOCUMENT
from storage.port import Blob, Storage

PREFIX: Final = "mlflow/"

_PLAIN: Final = re.compile(r"[A-Za-z0-9.]")
_ESCAPED: Final = re.compile(r"-([0-9a-f]{2})")
_ENTRY: Final = re.compile(r"(\d{1,20})\.([0-9a-f]{64})\.(\d{1,20})")
_MAX_SEGMENT: Final = 120
_ENTRY_SIZE: Final = 110


def _encoded(segment: str) -> str:
    return "".join(c if _PLAIN.fullmatch(c) else "".join(f"-{b:02x}" for b in c.encode()) for c in segment)


def _decoded(segment: str) -> str:
    return _ESCAPED.sub(lambda m: chr(int(m[1], 16)), segment).encode("latin-1", "replace").decode("utf-8", "replace")


def folder_name(path: str) -> str:
    """What the documents of a folder begin with."""
    return PREFIX + "".join(f"d.{_encoded(part)}/" for part in path.split("/") if part)


def file_name(path: str) -> str:
    """What the documents of a file begin with. Raises InvalidArgument: it is too long."""
    folder, _, name = path.rpartition("/")
    begin = f"{folder_name(folder)}f.{_encoded(name)}/"
    if len(begin) > MAX_DOCUMENT - _ENTRY_SIZE or any(len(part) > _MAX_SEGMENT for part in begin.split("/")):
        raise InvalidArgument(f"path: {path!r:.200} is too long", field="path")
    return begin


def _path(folders: Sequence[str]) -> str:
    return "/".join(_decoded(part[2:]) for part in folders)


async def files(storage: Storage, workspace: str, begin: str = PREFIX) -> AsyncIterator[tuple[str, Blob, str]]:
    """The files whose documents begin so: path, blob, and the name of the document; the last of each file alone."""
    last: tuple[str, Blob, str] | None = None
    async for name in storage.documents(workspace, begin):
        *folders, entry = name.removeprefix(PREFIX).split("/")
        match = _ENTRY.fullmatch(entry)
        if match is None:
            continue
        path = _path(folders)
        if last is not None and last[0] != path:
            yield last
        last = path, Blob(match[2], int(match[3])), name
    if last is not None:
        yield last


def entry_name(path: str, blob: Blob) -> str:
    """The document that says from now on what is at a path. Raises InvalidArgument: it is too long."""
    return f"{file_name(path)}{time.time_ns() // 1_000:016d}.{blob.sha256}.{blob.size}"


async def needed(storage: Storage, workspace: str) -> AsyncIterator[str]:
    """The digests of all blobs that documents name, also those that others took the place of."""
    async for name in storage.documents(workspace, PREFIX):
        if match := _ENTRY.fullmatch(name.rpartition("/")[2]):
            yield match[2]
