"""Secrets at rest: sealed with a key that is not where they are kept (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import base64
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lineal.errors import PreconditionFailed

_NONCE: Final = 12


class Sealer:
    """Seals texts with a key of 32 bytes. What was sealed for one thing opens for no other."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, text: str, about: str) -> str:
        """The text, sealed, in base64; `about` is the id of what it belongs to."""
        nonce = secrets.token_bytes(_NONCE)
        return base64.b64encode(nonce + self._aead.encrypt(nonce, text.encode(), about.encode())).decode()

    def open(self, sealed: str, about: str) -> str:
        """The text. Raises PreconditionFailed: it was sealed with another key, for another thing, or changed since."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._aead.decrypt(raw[:_NONCE], raw[_NONCE:], about.encode()).decode()
        except (InvalidTag, ValueError):
            raise PreconditionFailed(
                f"the secret of {about} was sealed with another key than this server has"
            ) from None
