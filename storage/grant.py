"""What an address of the local folder opens, and the signature that makes it true.

A token is the grant in JSON and its HMAC-SHA-256 (RFC 2104), each in base64url, with a dot between. The secret is
used for nothing else, and the text that is signed begins with what it is for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final, Literal

import orjson

from lineal.errors import Forbidden, InvalidArgument

_PURPOSE: Final = b"lineal bytes 1\0"
_MIN_SECRET: Final = 32


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to GET a blob, or to PUT `length` bytes of it from `start`, whose SHA-256 is `checksum`.

    `size` is that of the whole blob in bytes. `expires` is in seconds since the epoch.
    """

    method: Literal["GET", "PUT"]
    workspace: str
    sha256: str
    expires: int
    filename: str = ""
    size: int = 0
    start: int = 0
    length: int = 0
    checksum: str = ""


class Grants:
    """Makes tokens of grants, and grants of tokens. Raises InvalidArgument: the secret is too short."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < _MIN_SECRET:
            raise InvalidArgument(f"the secret behind signed addresses must have at least {_MIN_SECRET} bytes")
        self._secret = secret
        self.clock = clock

    def token(self, grant: Grant) -> str:
        """The token of a grant: letters, digits, `-`, `_` and a dot."""
        text = _encoded(orjson.dumps(astuple(grant)))
        return f"{text}.{self._mac(text)}"

    def grant(self, token: str) -> Grant:
        """The grant of a token. Raises Forbidden: it is not one of ours, or its time is over."""
        text, _, mac = token.partition(".")
        # What is compared is the text as it came, for several texts can stand for the same bytes in base64.
        if not hmac.compare_digest(self._mac(text).encode(), mac.encode("utf-8", "replace")):
            raise Forbidden("this address is not one that was given out")
        grant = Grant(*orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
        if grant.expires <= self.clock():
            raise Forbidden("this address has expired; ask for another one")
        return grant

    def _mac(self, text: str) -> str:
        return _encoded(hmac.digest(self._secret, _PURPOSE + text.encode("utf-8", "replace"), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
