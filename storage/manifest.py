"""What an artifact is made of: the sorted names of its files, their sizes, and the SHA-256 of each.

The shape is that of `resources` in the predicate of OpenSSF Model Signing (spec/v1.0.md of
ossf/model-signing-spec), so that whoever signs an artifact hashes nothing again.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson
import rfc8785

from lineal.errors import InvalidArgument, LimitExceeded
from storage.naming import is_digest

MAX_FILES: Final = 10_000
"""Files of one artifact. What has more stays where it is, and is registered by reference."""
MAX_PATH: Final = 1_024
"""Bytes of a file's path, in UTF-8: what an object's key may have in S3."""
MAX_FILE: Final = 5 * 2**40
"""Bytes of one file: what an object may have in S3."""


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One file of an artifact: its path with `/`, its size in bytes, its SHA-256 in small hexadecimal digits."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of an artifact, sorted by path in code-point order."""

    files: Sequence[File]

    @cached_property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @cached_property
    def canonical(self) -> bytes:
        """The manifest as it is kept: canonical JSON (RFC 8785)."""
        return rfc8785.dumps({"resources": [_resource(file) for file in self.files]})

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the canonical manifest, `sha256:` first: it stands for names and contents alike."""
        return "sha256:" + hashlib.sha256(self.canonical).hexdigest()

    @cached_property
    def root(self) -> str:
        """The subject's digest of OpenSSF Model Signing: the SHA-256 of the files' digests in order, in hexadecimal."""
        return hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in self.files)).hexdigest()

    @cached_property
    def by_path(self) -> dict[str, File]:
        """The files by their paths."""
        return {file.path: file for file in self.files}

    @classmethod
    def of(cls, files: Iterable[File], at: str = "files") -> Manifest:
        """A manifest of these files. Raises InvalidArgument (naming the place in `at`), LimitExceeded."""
        given = list(files)
        if not given:
            raise InvalidArgument(f"{at}: an artifact has at least one file", field=at)
        if len(given) > MAX_FILES:
            msg = f"{at}: an artifact has at most {MAX_FILES:,} files, not {len(given):,}; register more by reference"
            raise LimitExceeded(msg, field=at)
        for i, file in enumerate(given):
            _check(file, f"{at}[{i}]")
        sorted_files = sorted(given)
        _check_names([file.path for file in sorted_files], at)
        return cls(sorted_files)

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """What `canonical` gave. Raises InvalidArgument: it is not a manifest."""
        try:
            resources = orjson.loads(data)["resources"]
            return cls.of(File(each["name"], each["size"], each["digest"]) for each in resources)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgument("this is not a manifest") from error


def _resource(file: File) -> dict[str, Any]:
    return {"name": file.path, "size": file.size, "algorithm": "sha256", "digest": file.sha256}


def _check(file: File, at: str) -> None:
    if problem := path_problem(file.path):
        raise InvalidArgument(f"{at}.path: {problem}", field=f"{at}.path")
    if not 0 <= file.size <= MAX_FILE:
        msg = f"{at}.size: a file has from 0 to {MAX_FILE:,} bytes, not {file.size:,}"
        raise InvalidArgument(msg, field=f"{at}.size")
    if not is_digest(file.sha256):
        msg = f"{at}.sha256: must be 64 small hexadecimal digits, not {file.sha256[:80]!r}"
        raise InvalidArgument(msg, field=f"{at}.sha256")


def path_problem(path: str) -> str:
    """Why this cannot be the path of a file in an artifact, or nothing."""
    if not path or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
        return f"must have 1 to {MAX_PATH} bytes"
    if any(part in {"", ".", ".."} for part in path.split("/")):
        return f"{path!r} must be relative, without empty parts, `.` and `..`"
    if "\\" in path or any(unicodedata.category(char) in {"Cc", "Cs"} for char in path):
        return f"{path!r} must have neither backslashes nor control characters"
    if unicodedata.normalize("NFC", path) != path:
        return f"{path!r} must be in Unicode's normal form C"
    return ""


def _check_names(paths: Sequence[str], at: str) -> None:
    """No path twice, and none that is a file and a folder at once."""
    known = set(paths)
    if len(known) != len(paths):
        twice = next(path for path, other in itertools.pairwise(paths) if path == other)
        raise InvalidArgument(f"{at}: {twice!r} is there twice", field=at)
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            if (folder := "/".join(parts[:end])) in known:
                raise InvalidArgument(f"{at}: {folder!r} is a file and a folder", field=at)
