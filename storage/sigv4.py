"""AWS Signature Version 4 in the query of an address, with headers signed in.

By "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the reference of Amazon S3's API.
What the `minio` package signs leaves all headers but the host open; here a store can be made to insist on the number
of bytes and their checksum.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from minio.credentials.credentials import Credentials

ALGORITHM: Final = "AWS4-HMAC-SHA256"
PAYLOAD: Final = "UNSIGNED-PAYLOAD"
"""What stands for the body's digest: it is not known when the address is made, but where a checksum is signed in."""
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
) -> str:
    """The address with its signature, good for so many seconds from `at` (seconds since the epoch).

    The request must have just these headers beside `host`. The path of `url` is percent-encoded already.
    """
    parts = urlsplit(url)
    when = datetime.fromtimestamp(at, UTC)
    scope = f"{when:%Y%m%d}/{region}/s3/aws4_request"
    signed = {"host": parts.netloc, **{name.lower(): _folded(value) for name, value in headers.items()}}
    names = ";".join(sorted(signed))
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", f"{when:%Y%m%dT%H%M%SZ}"),
        ("X-Amz-Expires", str(min(seconds, MAX_SECONDS))),
        ("X-Amz-SignedHeaders", names),
    ]
    if credentials.session_token:
        query.append(("X-Amz-Security-Token", credentials.session_token))
    canonical_query = "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in query))
    canonical_headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join([method, parts.path or "/", canonical_query, canonical_headers, names, PAYLOAD])
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([ALGORITHM, f"{when:%Y%m%dT%H%M%SZ}", scope, digest])
    key = f"AWS4{credentials.secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), hashlib.sha256)
    signature = hmac.digest(key, text.encode(), hashlib.sha256).hex()
    return urlunsplit((parts.scheme, parts.netloc, parts.path, f"{canonical_query}&X-Amz-Signature={signature}", ""))


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _folded(value: str) -> str:
    return re.sub(" +", " ", value.strip())
