"""What a connector asks of a store, whatever its scheme: what is at a place, what is beneath, and its bytes.

Backends are called from threads that may wait, by several at a time.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lineal.errors import InvalidArgument, LinealError, NotFound, Unavailable
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import Place

PAGE: Final = 1_000
"""Entries of a page."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file at a place.

    `path` is relative to the place, "" for the place itself; `modified` is in microseconds since the epoch, None
    where the store does not say; `etag` differs whenever the bytes do (an ETag, a generation); `checksum` is the
    store's own, as `algorithm:hexadecimal`. Both may be "".
    """

    path: str
    size: int
    modified: int | None = None
    etag: str = ""
    checksum: str = ""


class Failed(Unavailable):
    """A store, or its library, answered with an error that says nothing more."""


class Backend(ABC):
    """A store as a connector sees it. Every method raises NotFound, Unavailable, and InvalidArgument where it would not
    do for any later call either, naming the file or folder that is to blame.
    """

    def __init__(self, config: ConnectorConfig) -> None:
        self.config = config

    @abstractmethod
    def stat(self, place: Place) -> Entry | None:
        """The file at a place with its checksum, or None where there is none: nothing, or a folder."""

    @abstractmethod
    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        """The files beneath a place, as many at a time as the store gives; none where it is no folder.

        A page comes for each folder at the latest, and may be empty: those who list stop between pages.
        """

    @abstractmethod
    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        """Bytes of a file, fewer than `size` only at its end; and the etag of the file that they are of."""

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection."""


def within(name: str, beneath: str, size: int) -> str:
    """The path of an object in a folder, "/" for one with the folder's own name; "" for what only makes a folder.

    Consoles make folders by empty objects whose names end with a slash.
    """
    return "" if name.endswith("/") and not size else name[len(beneath) :] or "/"


def micros(when: dt.datetime | None) -> int | None:
    """Microseconds since the epoch."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return None if when is None else (when - epoch) // dt.timedelta(microseconds=1)


def checksum(algorithm: str, encoded: str | None) -> str:
    """A checksum in base64, as stores give them, as `algorithm:hexadecimal`; "" for none or what is not base64."""
    try:
        return f"{algorithm}:{base64.b64decode(encoded, validate=True).hex()}" if encoded else ""
    except (binascii.Error, ValueError):
        return ""


@contextmanager
def speaking_to(config: ConnectorConfig, place: Place) -> Iterator[None]:
    """Errors of a store's library as ours. Theirs are not shown: they may hold addresses with signatures in them."""
    try:
        yield
    except LinealError:
        raise
    except FileNotFoundError:
        raise NotFound(f"{place.uri}: nothing is there") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        msg = f"{place.uri}: connector {config.name} may not read it ({type(error).__name__})"
        raise InvalidArgument(msg) from None
    except Exception as error:  # noqa: BLE001 - each library has its own tree, and several
        raise Failed(f"{place.uri}: connector {config.name} failed ({type(error).__name__})") from None


def needs(library: str, scheme: str) -> InvalidArgument:
    """What to install where a library is missing."""
    return InvalidArgument(f"connectors of {scheme}:// need {library}: pip install 'lineal[connectors]'")
