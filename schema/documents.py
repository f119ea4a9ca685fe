"""Documents that clients ask for by a name: trusted ones from a manifest, and those that clients taught (APQ).

A manifest is what a client's build writes: the `persisted-documents.json` of graphql-codegen's client preset and the
file of the Relay compiler's `persistConfig`, which are objects of names and texts, or an Apollo persisted-query
manifest.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from cross_web import HTTPException

from lineal.errors import InvalidArgument

MAX_MANIFEST: Final = 64 * 2**20
"""Bytes of the largest manifest."""
MAX_TAUGHT: Final = 32_768
"""Characters of the longest document that a client can teach."""

PREFIX: Final = "sha256:"
APOLLO: Final = "apollo-persisted-query-manifest"

NOT_FOUND: Final = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
NOT_SUPPORTED: Final = ("PersistedQueryNotSupported", "PERSISTED_QUERY_NOT_SUPPORTED")
"""What Apollo's clients understand, as messages and codes."""


class Unknown(HTTPException):
    """A hash that says nothing here; the client is told so in words of its own."""

    def __init__(self, said: tuple[str, str]) -> None:
        super().__init__(400, said[0])
        self.code = said[1]


class Documents:
    """What is known by name. With `only` nothing else runs; clients can teach up to `taught` documents."""

    def __init__(self, trusted: Mapping[str, str] | None = None, *, only: bool = False, taught: int = 0) -> None:
        self._trusted = {id.removeprefix(PREFIX): text for id, text in (trusted or {}).items()}
        self._only = only
        self._most = taught
        self._taught: OrderedDict[str, str] = OrderedDict()

    def text(self, data: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The document that a request asks for, and whether it is a trusted one.

        Raises HTTPException: 400 for what is no name, 404 for one that says nothing here, 403 for a text where only
        names are taken.
        """
        id, query = data.get("documentId"), data.get("query")
        persisted = (data.get("extensions") or {}).get("persistedQuery")
        if id is not None:
            if query is not None or not isinstance(id, str):
                raise HTTPException(400, "documentId: must be the name of a document, instead of query")
            if (text := self._trusted.get(id.removeprefix(PREFIX))) is None:
                raise HTTPException(404, "documentId: no document of this name is known here")
            return text, True
        if persisted is not None:
            hash = _hash(persisted)
            if query is None and hash in self._trusted:
                return self._trusted[hash], True
            if not self._only:
                return self._by_hash(hash, query), False
        if self._only and query is not None:
            raise HTTPException(403, "query: only documents that are known here run; send documentId")
        return query, False

    def _by_hash(self, hash: str, query: str | None) -> str:
        if not self._most:
            raise Unknown(NOT_SUPPORTED)
        if query is None:
            if hash not in self._taught:
                raise Unknown(NOT_FOUND)
            self._taught.move_to_end(hash)
            return self._taught[hash]
        if hashlib.sha256(query.encode()).hexdigest() != hash:
            raise HTTPException(400, "extensions.persistedQuery.sha256Hash: is not that of the query")
        if len(query) <= MAX_TAUGHT:
            self._taught[hash] = query
            if len(self._taught) > self._most:
                self._taught.popitem(last=False)
        return query


def _hash(persisted: Any) -> str:
    hash = persisted.get("sha256Hash") if isinstance(persisted, dict) and persisted.get("version") == 1 else None
    if not isinstance(hash, str):
        raise HTTPException(400, "extensions.persistedQuery: must have version 1 and a sha256Hash")
    return hash


def load(paths: Iterable[Path]) -> dict[str, str]:
    """The documents of manifests, by name. Raises InvalidArgument, which names the file and what is wrong with it."""
    found: dict[str, str] = {}
    for path in paths:
        for id, text in _read(path).items():
            if found.setdefault(id, text) != text:
                raise _wrong(path, f"{id!r:.100} is another document than in the manifests before it")
    return found


def _read(path: Path) -> Mapping[str, str]:
    try:
        if path.stat().st_size > MAX_MANIFEST:
            raise _wrong(path, f"is larger than {MAX_MANIFEST} bytes")
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise _wrong(path, f"is not JSON: {error}") from None
    if isinstance(data, dict) and data.get("format") == APOLLO:
        operations = data.get("operations")
        listed = operations if isinstance(operations, list) else []
        data = {each.get("id", ""): each.get("body") for each in listed if isinstance(each, dict)}
    if not isinstance(data, dict) or not data or not all(id and isinstance(text, str) for id, text in data.items()):
        raise _wrong(path, "must be an object of names and documents, or an Apollo persisted-query manifest")
    return data


def _wrong(path: Path, what: str) -> InvalidArgument:
    return InvalidArgument(f"documents: {path}: {what}", field="documents")
