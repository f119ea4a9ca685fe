"""Signatures on what is sent, and the secrets that they are made with.

CloudEvents are signed as Standard Webhooks say (https://www.standardwebhooks.com): HMAC-SHA256 over
`<id>.<timestamp>.<body>`, by the bytes that the secret `whsec_<base64>` stands for; while a secret is being changed
there are two signatures. MLflow's format is signed by the UTF-8 bytes of the secret, whatever it is, once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from lineal.errors import InvalidArgument

PREFIX: Final = "whsec_"
MLFLOW: Final = "MLFLOW"
LEAST, MOST = 24, 64
"""Bytes of a secret, as the specification bounds them."""
MAX_TEXT: Final = 500


def new_secret() -> str:
    """A secret: 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def checked_secret(secret: str, format: str) -> str:
    """The secret. Raises InvalidArgument, which does not repeat it: it is none for this format."""
    if format == MLFLOW:
        if not 1 <= len(secret) <= MAX_TEXT or not secret.isprintable():
            raise InvalidArgument(f"secret: must be 1 to {MAX_TEXT} printable characters", field="secret")
        return secret
    try:
        raw = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        raw = b""
    if not LEAST <= len(raw) <= MOST:
        msg = f"secret: must be {PREFIX} and the base64 of {LEAST} to {MOST} random bytes; leave it out to get one"
        raise InvalidArgument(msg, field="secret")
    return secret


def headers(format: str, secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body: `secrets` has the present one first, then the one before while it counts.

    MLflow's own have no signature where there is no secret.
    """
    signed = f"{id}.{timestamp}.".encode() + body
    if format == MLFLOW:
        told = {"X-MLflow-Delivery-Id": id, "X-MLflow-Timestamp": str(timestamp)}
        return told | ({"X-MLflow-Signature": _signature(secrets[0].encode(), signed)} if secrets else {})
    keys = (base64.b64decode(secret.removeprefix(PREFIX)) for secret in secrets)
    signatures = " ".join(_signature(key, signed) for key in keys)
    return {"webhook-id": id, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def _signature(key: bytes, signed: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
