"""AWS Signature Version 4: in the query of an address with headers signed in, and in the headers of a request.

By "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the reference of Amazon S3's API, and
by "Create a signed AWS API request" in the guide to AWS' identities.
What the `minio` package signs leaves all headers but the host open; here a store can be made to insist on the number
of bytes and their checksum.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from minio.credentials.credentials import Credentials

ALGORITHM: Final = "AWS4-HMAC-SHA256"
PAYLOAD: Final = "UNSIGNED-PAYLOAD"
"""What stands for the body's digest: it is not known when the address is made, but where a checksum is signed in."""
IMPOSSIBLE: Final = "\x7f"
"""A value that no header of HTTP can have: servers refuse control characters (RFC 9110, section 5.5)."""
MAX_SECONDS: Final = 7 * 24 * 3600
"""How long an address can be good."""


def presigned(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    credentials: Credentials,
    region: str,
    at: float,
    seconds: int,
    absent: Iterable[str] = (),
) -> str:
    """The address with its signature, good for so many seconds from `at` (seconds since the epoch).

    The request must have just these headers beside `host`. The path of `url` is percent-encoded already. A store that
    takes other headers as well can be kept from it by name, in small letters, if it is MinIO: what is `absent` is
    signed with a value that no header can have. MinIO finds that in the query, where it looks for a signed header that
    the request has not.
    """
    parts = urlsplit(url)
    when = datetime.fromtimestamp(at, UTC)
    scope = f"{when:%Y%m%d}/{region}/s3/aws4_request"
    signed = {"host": parts.netloc, **{name.lower(): _folded(value) for name, value in headers.items()}}
    left_out = dict.fromkeys(absent, IMPOSSIBLE)
    signed |= left_out
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        *left_out.items(),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", f"{when:%Y%m%dT%H%M%SZ}"),
        ("X-Amz-Expires", str(min(seconds, MAX_SECONDS))),
        ("X-Amz-SignedHeaders", ";".join(sorted(signed))),
    ]
    if credentials.session_token:
        query.append(("X-Amz-Security-Token", credentials.session_token))
    request = _canonical(method, parts.path, query, signed, PAYLOAD)
    signature = _signature(request, credentials.secret_key, scope, when)
    found = f"{_canonical_query(query)}&X-Amz-Signature={signature}"
    return urlunsplit((parts.scheme, parts.netloc, parts.path, found, ""))


def signed_headers(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    at: float,
) -> dict[str, str]:
    """The headers of a request to a service of AWS, with its signature, made at `at` (seconds since the epoch).

    The request must have these headers as they are, and this body.
    """
    parts = urlsplit(url)
    when = datetime.fromtimestamp(at, UTC)
    scope = f"{when:%Y%m%d}/{region}/{service}/aws4_request"
    sent = {**headers, "X-Amz-Date": f"{when:%Y%m%dT%H%M%SZ}"}
    if credentials.session_token:
        sent["X-Amz-Security-Token"] = credentials.session_token
    signed = {"host": parts.netloc, **{name.lower(): _folded(value) for name, value in sent.items()}}
    query = parse_qsl(parts.query, keep_blank_values=True)
    request = _canonical(method, parts.path, query, signed, hashlib.sha256(body).hexdigest())
    signature = _signature(request, credentials.secret_key, scope, when)
    sent["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(sorted(signed))}, Signature={signature}"
    )
    return sent


def _canonical(
    method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str], payload: str
) -> str:
    """The request as it is signed; names of headers in small letters."""
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    return "\n".join([method, path or "/", _canonical_query(query), lines, ";".join(sorted(headers)), payload])


def _canonical_query(query: Iterable[tuple[str, str]]) -> str:
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, value in query)
    )


def _signature(request: str, secret: str, scope: str, when: datetime) -> str:
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([ALGORITHM, f"{when:%Y%m%dT%H%M%SZ}", scope, digest])
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), hashlib.sha256)
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _folded(value: str) -> str:
    return re.sub(" +", " ", value.strip())
