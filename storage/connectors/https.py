"""Files of web servers: `https://`, with ranges (RFC 9110 §14), and folders by the index pages that servers make.

Not by fsspec: which addresses are connected to, which redirects are followed and how much is taken of an answer
is decided here, for each request.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from lineal.errors import InvalidArgument, LimitExceeded, NotFound, Unavailable
from lineal.observing import propagate
from storage.connectors.addresses import Resolve, checked_transport
from storage.connectors.backend import Backend, Entry, checksum, micros, speaking_to
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import MAX_URI, Place, parse

MAX_REDIRECTS: Final = 5
"""Redirects that are followed, each only to where the connector's prefixes allow."""
MAX_INDEX: Final = 4 * 2**20
"""Bytes of an index page."""
AT_ONCE: Final = 8
"""Files of an index page that are asked for at a time."""
MAX_DEPTH: Final = 50
"""Folders within folders."""
_LATER: Final = (408, 425, 429)
"""Errors of whoever asks that go by, as those of the server (500 and above) may."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
# Bounded repeats: an index page may be hostile.
_LINK: Final = re.compile(r"""<a\s[^<>]{0,400}?href\s{0,4}=\s{0,4}["']?([^"'\s<>]{1,4096})""", re.IGNORECASE)
_PAGE: Final = 100
_RANGE: Final = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")
_SHA256: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):")


class HttpsBackend(Backend):
    """The hosts of a connector's prefixes."""

    def __init__(self, config: ConnectorConfig, resolve: Resolve) -> None:
        super().__init__(config)
        transport = checked_transport(
            private=config.options.get("allow_private", False), ca_file=config.options.get("ca_file"), resolve=resolve
        )
        bearer, password = config.secret("bearer"), config.secret("password")
        headers = {"Accept-Encoding": "identity", "User-Agent": "lineal"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="files")
        self._client = httpx.Client(
            transport=transport,
            # No proxy, which would connect to what nobody judged; no credentials but the connector's own.
            trust_env=False,
            auth=httpx.BasicAuth(config.options.get("user", ""), password) if password is not None else None,
            headers=headers,
            timeout=config.timeout,
            event_hooks={"request": [propagate]},
        )

    def stat(self, place: Place) -> Entry | None:
        # A GET of one byte, not a HEAD: an address that was signed for a GET opens nothing to a HEAD.
        with speaking_to(self.config, place), self._get(place, "bytes=0-0") as (answer, at):
            if at.folder:
                return None
            headers = answer.headers
            return Entry(
                "",
                _whole(answer, place),
                _modified(headers.get("last-modified", "")),
                _etag(answer),
                _checksum(headers.get("repr-digest", "")),
            )

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        with speaking_to(self.config, place), self._get(place, f"bytes={start}-{start + size - 1}") as (answer, _):
            if answer.status_code == 416:
                return b"", _etag(answer)
            if answer.status_code == 206:
                given = _RANGE.fullmatch(answer.headers.get("content-range", ""))
                if not given or given[1] is None or int(given[1]) != start:
                    raise InvalidArgument(f"{place.uri}: the server gave another range than it was asked for")
            elif start:
                raise InvalidArgument(f"{place.uri}: the server gives no ranges")
            return self._taken(answer, size), _etag(answer)

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        folders = [("", "")]
        count = 0
        while folders:
            folder = "".join(folders.pop())
            if folder.count("/") > MAX_DEPTH:
                raise LimitExceeded(f"{place.uri}: folders are within each other more than {MAX_DEPTH} times")
            files: list[str] = []
            for name in self._links(place.joined(folder.removesuffix("/"))):
                if not name.endswith("/"):
                    files.append(name)
                    continue
                # Not put together yet: there may be many, and each path may be long.
                folders.append((folder, name))
                count += 1
                if count > self.config.max_files:
                    msg = f"{place.uri} has more than the {self.config.max_files:,} folders of its connector"
                    raise LimitExceeded(msg)
            for begin in range(0, max(len(files), 1), _PAGE):
                paths = [folder + name for name in files[begin : begin + _PAGE]]
                found = zip(paths, self._threads.map(self.stat, map(place.child, paths)), strict=True)
                yield [replace(entry, path=path) for path, entry in found if entry]

    @contextmanager
    def _get(self, place: Place, wanted: str = "") -> Iterator[tuple[httpx.Response, Place]]:
        """An answer whose body is not yet read, and where it came from; `wanted` is the range."""
        at = place
        for _ in range(MAX_REDIRECTS + 1):
            with self._client.stream("GET", at.uri, headers={"Range": wanted} if wanted else {}) as answer:
                if answer.status_code in {200, 206, 416}:
                    yield answer, at
                    return
                if answer.status_code in {404, 410}:
                    raise NotFound(f"{place.uri}: nothing is there")
                if answer.status_code not in _REDIRECTS:
                    passing = answer.status_code >= 500 or answer.status_code in _LATER
                    error = Unavailable if passing else InvalidArgument
                    raise error(f"{place.uri}: the server answered {answer.status_code}")
                at = self._redirected(at, answer.headers.get("location", ""))
        raise InvalidArgument(f"{place.uri}: the server redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, at: Place, location: str) -> Place:
        with suppress(InvalidArgument, ValueError):
            to = parse(urljoin(at.uri, location) if location else "")
            if self.config.covers(to):
                return to
        raise InvalidArgument(f"{at.uri}: the server redirects to what its connector does not allow")

    def _taken(self, answer: httpx.Response, size: int) -> bytes:
        """The first bytes of an answer, and never more. How long that may take is up to the transport."""
        data = bytearray()
        for chunk in answer.iter_raw():
            data += chunk
            if len(data) >= size:
                break
        return bytes(data[:size])

    def _links(self, folder: Place) -> Sequence[str]:
        """The names right beneath a folder that its index page links to, each once; those of folders with a slash."""
        place = replace(folder, folder=True)
        with speaking_to(self.config, place), self._get(place) as (answer, at):
            if at != place or not answer.headers.get("content-type", "").startswith("text/html"):
                raise NotFound(f"{place.uri}: there is no index page, so nothing can be listed")
            text = self._taken(answer, MAX_INDEX + 1)
        if len(text) > MAX_INDEX:
            raise LimitExceeded(f"{place.uri}: the index page has more than {MAX_INDEX:,} bytes")
        names: dict[str, None] = {}
        room = MAX_URI - len(place.uri)
        for href in _LINK.findall(text.decode(errors="replace")):
            # What cannot be a place of a connector is not listed.
            with suppress(InvalidArgument, ValueError):
                name = linked(place, html.unescape(href))
                if 0 < len(name) <= room:
                    names[name] = None
        return list(names)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()


def linked(folder: Place, href: str) -> str:
    """The name right beneath a folder that a link leads to, with a slash if it is a folder; "" for any other link.

    That is as much work as the link is long, however long the folder's URI is: one that is relative is looked at
    beneath the host alone. Raises InvalidArgument, ValueError: it leads to no place.
    """
    host = Place(folder.scheme, folder.authority, (), folder=True)
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        above, to = folder, parse(urljoin(host.uri, href))
    else:
        above, to = host, parse(host.uri + href.removeprefix("./"))
    if to.query or not to.is_within(above) or len(to.segments) != len(above.segments) + 1:
        return ""
    return f"{to.name}/" if to.folder else to.name


def _whole(answer: httpx.Response, place: Place) -> int:
    """The size of the whole file, which an answer to a range says."""
    if answer.status_code == 200:
        size = answer.headers.get("content-length", "")
    else:
        given = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        size = given[3] if given else ""
    if not (size.isascii() and size.isdigit() and len(size) <= 18):
        raise InvalidArgument(f"{place.uri}: the server does not say how large the file is")
    return int(size)


def _modified(date: str) -> int | None:
    """What Last-Modified says, or None where it is no date of HTTP (RFC 9110 §8.8.2)."""
    with suppress(ValueError, OverflowError):
        when = parsedate_to_datetime(date)
        # "-0000" is a time whose zone nobody knows.
        return micros(when) if when.tzinfo else None
    return None


def _etag(answer: httpx.Response) -> str:
    return str(answer.headers.get("etag", ""))[:256]


def _checksum(digest: str) -> str:
    """The SHA-256 of the whole, from Repr-Digest (RFC 9530 §3)."""
    found = _SHA256.search(digest)
    return checksum("sha256", found[1]) if found else ""
