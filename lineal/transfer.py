"""What pushes and pulls share: how many requests at once, and the connections to storage."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import urllib3

from lineal.errors import InvalidArgument
from storage.port import CHUNK

THREADS: Final = max(3, min(8, (os.cpu_count() or 1) + 1))
"""Requests at once. More than processors to read and check what comes only wait for each other."""
ROUNDS: Final = 8
"""Times in a row that storage refuses everything before giving up."""
BUSY: Final = frozenset({408, 409, 429})
"""Statuses of refusals that are over after a while: it was too slow, somebody else sends the same, it is too much."""
FIRST: Final = 32
"""Files of the first page, which everything waits for."""
PAGE: Final = 200
"""Files that are asked for at a time."""

BUFFER: Final = 2**18
"""Bytes that are read at a time."""
SECONDS: Final = 60.0
"""How long storage may be silent."""

Progress = Callable[[int], None]
"""Hears how many bytes more have gone or come."""


def connections(threads: int, ca: Path | None) -> urllib3.PoolManager:
    """Connections for so many threads; `ca` and errors as in `trusting`."""
    timeout = urllib3.Timeout(connect=10, read=SECONDS)
    tls = None if ca is None else trusting(ca)
    return urllib3.PoolManager(num_pools=8, maxsize=threads + 2, timeout=timeout, blocksize=CHUNK, ssl_context=tls)


def trusting(ca: Path | None) -> ssl.SSLContext:
    """TLS that trusts the certificates in a file beside the system's. Raises InvalidArgument: it cannot be read."""
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            problem = "is no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise InvalidArgument(f"s3.ca: {ca}: {problem}", field="s3.ca") from error
    return context


def refuses(status: int) -> bool:
    """Whether storage that answers so will not do it later, either."""
    return 400 <= status < 500 and status not in BUSY


class Ranges:
    """Reads ranges of what is at addresses, over connections that are kept. Close it in the end. `ca` as in `trusting`.

    The bytes go from the system into a buffer and are not copied again, which clients of a higher level do twice or
    more; beside SHA-256 that is most of what a pull costs.
    """

    def __init__(self, ca: Path | None) -> None:
        self._ca = ca
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None

    def read(self, url: str, start: int, size: int) -> Iterator[memoryview]:
        """So many bytes from `start`, or fewer where it breaks off; each piece is valid until the next is asked for.

        Raises BrokenError: storage gave none, or the way to it broke; InvalidArgument as in `trusting`.
        """
        parts, left = urlsplit(url), size
        connection = self._taken(parts.scheme, parts.netloc)
        try:
            # The signature is over the address as it was written.
            target, wanted = f"{parts.path}?{parts.query}", f"bytes={start}-{start + size - 1}"
            connection.http.request("GET", target, headers={"range": wanted})
            response = connection.http.getresponse()
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                raise BrokenError(f"storage answered {response.status}", refused=refuses(response.status))
            while left and (came := response.readinto(connection.buffer[:left])):
                left -= came
                yield connection.buffer[:came]
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(type(error).__name__) from error
        finally:
            # One that is not at the end of its answer cannot serve another request.
            if left:
                connection.http.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Let go of all connections."""
        while self._idle:
            self._idle.pop().http.close()

    def _taken(self, scheme: str, place: str) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.place == (scheme, place):
                return connection
            connection.http.close()
        if scheme == "https":
            self._tls = self._tls or trusting(self._ca)
            made: http.client.HTTPConnection = http.client.HTTPSConnection(place, timeout=SECONDS, context=self._tls)
        else:
            made = http.client.HTTPConnection(place, timeout=SECONDS)
        return _Connection((scheme, place), made, memoryview(bytearray(BUFFER)))


@dataclass(frozen=True, slots=True)
class _Connection:
    place: tuple[str, str]
    http: http.client.HTTPConnection
    buffer: memoryview


class BrokenError(Exception):
    """No bytes came, or not all of them; the message says why, without the address. `refused`: storage will not."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
