"""Places that data can be at: URIs, taken apart and written in one way, so that prefixes can be compared.

A URI is refused rather than repaired wherever two programs could read it differently: that is how a prefix is
escaped. Buckets, hosts and containers are compared as a whole, paths by whole segments.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import quote, unquote

from lineal.errors import InvalidArgument

SCHEMES: Final = ("s3", "gs", "hdfs", "webhdfs", "abfs", "https", "file")
"""The schemes of connectors."""
MAX_URI: Final = 4_096
"""Characters of a URI."""

_ALIASES: Final = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_CONTAINER: Final = re.compile(r"[a-z0-9$][a-z0-9-]{1,62}(@[a-z0-9][a-z0-9.-]{0,252})?")
_HOST: Final = re.compile(
    r"(?P<host>[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_URI: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?"
)
_DOTS: Final = re.compile(r"\.{1,2}(;.*)?")
_HIDING: Final = re.compile(r"%(2e|2f|5c|25|7f|[01][0-9a-f])", re.IGNORECASE)
_LEADING_OUT: Final = re.compile(r"(^|%2f|%5c)(\.|%2e){1,2}(;|%3b|%2f|%5c|$)", re.IGNORECASE)
"""What would lead out of a folder if somebody decoded a name of a store that has it as it is."""
_BARE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE: Final = "!$&'()*+,;=:@-._~"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: what a URI says, in its normal form.

    `authority` is the bucket, container or host with port; `segments` are those of the path, percent-encoded in
    https and as they are elsewhere; `folder` says that the URI ends with a slash.
    """

    scheme: str
    authority: str
    segments: tuple[str, ...]
    folder: bool = False
    query: str = ""

    @property
    def path(self) -> str:
        """The path without the slash that it begins with."""
        return "/".join(self.segments)

    @property
    def name(self) -> str:
        """The last segment."""
        return self.segments[-1] if self.segments else self.authority

    @property
    def uri(self) -> str:
        """The URI in its normal form."""
        path = f"/{self.path}" if self.segments else ""
        return (
            f"{self.scheme}://{self.authority}{path}{'/' if self.folder else ''}{'?' if self.query else ''}{self.query}"
        )

    def is_within(self, prefix: Place) -> bool:
        """Whether this is the prefix, or beneath it, by whole segments."""
        return (self.scheme, self.authority) == (prefix.scheme, prefix.authority) and (
            self.segments[: len(prefix.segments)] == prefix.segments
        )

    def child(self, path: str) -> Self:
        """What is at a relative path beneath, as it is listed; "" is the place itself. Raises InvalidArgument."""
        if not path:
            return self
        segments = tuple(_segment(segment, self.scheme, "path", _LEADING_OUT) for segment in path.split("/"))
        return replace(self, segments=self.segments + segments, folder=False, query="")

    def joined(self, path: str) -> Self:
        """What is at a relative path that the store itself gave; "" is the place itself."""
        return replace(self, segments=(*self.segments, *path.split("/")) if path else self.segments)


def parse(uri: str, field: str = "uri") -> Place:
    """The place that a URI names. Raises InvalidArgument, with `field`."""
    if not 0 < len(uri) <= MAX_URI:
        raise InvalidArgument(f"{field}: must have 1 to {MAX_URI:,} characters", field=field)
    if "\\" in uri or any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in uri):
        raise InvalidArgument(f"{field}: must have neither backslashes nor control characters", field=field)
    found = _URI.fullmatch(uri)
    scheme = found["scheme"].lower() if found else ""
    scheme = _ALIASES.get(scheme, scheme)
    if found is None or scheme not in SCHEMES:
        expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InvalidArgument(f"{field}: must be a URI without a fragment, with one of {expected}", field=field)
    query = found["query"] or ""
    if found["query"] is not None and (scheme != "https" or not query or not query.isascii() or " " in query):
        raise InvalidArgument(f"{field}: must have no query", field=field)
    path = (found["path"] or "")[1:]
    folder = path.endswith("/") or (found["path"] == "/" and scheme in {"https", "file"})
    segments = path.removesuffix("/").split("/") if path else []
    return Place(
        scheme,
        _authority(scheme, found["authority"], field),
        tuple(_segment(segment, scheme, field) for segment in segments),
        folder=folder and bool(segments or scheme == "https"),
        query=query,
    )


def _authority(scheme: str, given: str, field: str) -> str:
    if scheme == "file":
        if given:
            raise InvalidArgument(f"{field}: a file is on this machine, so file:// is followed by a path", field=field)
        return ""
    if scheme in {"s3", "gs"}:
        if not _BUCKET.fullmatch(given):
            raise InvalidArgument(f"{field}: {scheme}:// must be followed by the name of a bucket", field=field)
        return given
    if scheme == "abfs":
        if not _CONTAINER.fullmatch(given):
            msg = f"{field}: abfs:// must be followed by CONTAINER or CONTAINER@ACCOUNT-HOST"
            raise InvalidArgument(msg, field=field)
        return given
    return _host(scheme, given.lower(), field)


def _host(scheme: str, given: str, field: str) -> str:
    found = _HOST.fullmatch(given)
    if found is None or not 0 < int(found["port"] or "443") < 2**16:
        msg = f"{field}: {scheme}:// must be followed by a host name in ASCII, and a port if need be, without a user"
        raise InvalidArgument(msg, field=field)
    host, port = found["host"], found["port"]
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise InvalidArgument(f"{field}: {host} is not an address", field=field) from None
    if port is None or (scheme == "https" and int(port) == 443):
        return host
    return f"{host}:{int(port)}"


def _segment(segment: str, scheme: str, field: str, hiding: re.Pattern[str] = _HIDING) -> str:
    """`hiding` is what must not be percent-encoded where the scheme has names as they are."""
    if scheme != "https":
        _judge(segment, scheme, field, hiding)
        return segment
    _judge(segment, scheme, field, _HIDING)
    try:
        normal = quote(unquote(segment, errors="strict"), safe=_SAFE)
    except UnicodeDecodeError:
        raise InvalidArgument(f"{field}: the path must be UTF-8", field=field) from None
    # What need not be encoded shows only now, as in `..%3B`.
    _judge(normal, scheme, field, _HIDING)
    return normal


def _judge(segment: str, scheme: str, field: str, hiding: re.Pattern[str]) -> None:
    if problem := _problem(segment, scheme, hiding):
        raise InvalidArgument(f"{field}: the path {problem}", field=field)


def _problem(segment: str, scheme: str, hiding: re.Pattern[str]) -> str:
    if not segment:
        return "must have no empty segment"
    if _DOTS.fullmatch(segment):
        return "must have no segment `.` or `..`"
    if hiding.search(segment):
        return "must not have a dot, a slash, a backslash, a percent or a control character percent-encoded"
    if any(char in "\\?#" or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in segment):
        return "must have no `?`, `#`, backslash or control character"
    if scheme == "https" and _BARE.search(segment):
        return "has a percent sign that encodes nothing"
    return ""
