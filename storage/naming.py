"""Names that come from others, made safe for folders, keys and headers."""

from __future__ import annotations

import hashlib
import re
from typing import Final
from urllib.parse import quote, unquote

from lineal.errors import InvalidArgument

MAX_DOCUMENT: Final = 512
"""Characters of a document's name."""

_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_MAX_FOLDER: Final = 200
_SEGMENT: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9.-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def folder_of(workspace: str) -> str:
    """The one folder of a workspace: its name in small ASCII letters and digits, all else percent-encoded.

    No two names give the same folder, not even where the file system takes capitals for small letters, and none
    gives `.`, `..` or a path. A name that would be too long is its SHA-256 after `%%`, which no encoding begins with.
    """
    data = workspace.encode("utf-8", "surrogatepass")
    encoded = "".join(chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in data)
    if not encoded or len(encoded) > _MAX_FOLDER:
        return f"%%{hashlib.sha256(data).hexdigest()}"
    return encoded


def file_of(segment: str) -> str:
    """What one part of a document's name is called in a file system that may not tell capitals apart."""
    return "".join(f"%{ord(char):02x}" if char.isupper() else char for char in segment)


def segment_of(file: str) -> str:
    """What `file_of` was given."""
    return unquote(file)


def is_document(name: str) -> bool:
    """Whether a document can have this name: what file systems and others leave in its place has none of these."""
    return len(name) <= MAX_DOCUMENT and all(_SEGMENT.fullmatch(segment) for segment in name.split("/"))


def check_document(name: str, *, prefix: bool = False) -> str:
    """The name, when it can be that of a document, or the beginning of one. Raises InvalidArgument."""
    if not is_document(name.removesuffix("/") if prefix else name) and not (prefix and not name):
        msg = f"name: {name!r:.80} must have letters, digits, `-` and `.` in parts between `/`, none beginning with `.`"
        raise InvalidArgument(msg, field="name")
    return name


def is_digest(sha256: str) -> bool:
    """Whether this is a SHA-256 as Lineal writes it: 64 small hexadecimal digits."""
    return _DIGEST.fullmatch(sha256) is not None


def check_digest(sha256: str) -> str:
    """The digest, when it is one. Raises InvalidArgument."""
    if not is_digest(sha256):
        raise InvalidArgument(f"sha256: must be 64 small hexadecimal digits, not {sha256!r:.80}", field="sha256")
    return sha256


def attachment(filename: str) -> str:
    """A Content-Disposition that lets a browser save and never show (RFC 6266, with the name as in RFC 8187).

    Of a path the last part is taken.
    """
    name = filename.replace("\\", "/").rstrip("/").rpartition("/")[2] or "download"
    # Two parameters: what only understands the older one still gets something that is a file's name.
    plain = re.sub(r"[^A-Za-z0-9 ._()+,=@#-]", "_", name)
    exact = quote(name.encode("utf-8", "replace"), safe="!#$&+^`|~")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
