"""A signature's bundle as bytes from anybody: of bounded size, and of exactly the form that its schemas demand.

See schemas/v1.0/bundle.schema.json and envelope.schema.json of ossf/model-signing-spec.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

MAX_BUNDLE: Final = 64 * 2**20
"""Bytes of a bundle: that of the largest manifest with paths of some 300 bytes."""
MAX_TEXT: Final = 256
"""Characters of a name or a fingerprint."""

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MEDIA_TYPES: Final = frozenset(
    {
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
    }
)

_MAX_CERTIFICATES: Final = 10
_MAX_ENTRIES: Final = 16


class Broken(Exception):
    """What is wrong with a bundle. It never leaves this package."""


class Method(StrEnum):
    """How a signature shows whose it is (spec §4.1)."""

    KEY = "KEY"
    CERTIFICATE = "CERTIFICATE"
    SIGSTORE = "SIGSTORE"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form is right; nothing of it is verified.

    A key has `hint`, its fingerprint as the bundle claims it, or `key`, the key itself (PEM or DER), as bundles
    from before model-signing 1.1 do. Otherwise `certificates` has the signer's first, then the chain's, in DER.
    """

    data: bytes
    method: Method
    hint: str
    key: bytes
    certificates: tuple[bytes, ...]
    payload: bytes
    signature: bytes


def parse(data: bytes) -> Bundle:
    """A bundle of these bytes. Raises Broken."""
    bundle = record(load(data, "bundle"), "bundle", {"mediaType", "verificationMaterial", "dsseEnvelope"})
    if bundle["mediaType"] not in MEDIA_TYPES:
        raise Broken("bundle.mediaType: is not that of a Sigstore bundle of version 0.1 to 0.3")
    payload, signature = _envelope(bundle["dsseEnvelope"])
    method, hint, key, certificates = _material(bundle["verificationMaterial"])
    return Bundle(data, method, hint, key, certificates, payload, signature)


def _envelope(value: Any) -> tuple[bytes, bytes]:
    envelope = record(value, "dsseEnvelope", {"payload", "payloadType", "signatures"})
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise Broken(f"dsseEnvelope.payloadType: is not {PAYLOAD_TYPE}")
    # DSSE allows many signatures, a Sigstore bundle exactly one (sigstore_bundle.proto).
    [signature] = sequence(envelope["signatures"], "dsseEnvelope.signatures", 1)
    signature = record(signature, "dsseEnvelope.signatures[0]", {"sig"}, {"keyid"})
    if signature.get("keyid") is not None:
        text(signature["keyid"], "dsseEnvelope.signatures[0].keyid", least=0)
    sig = _bytes(signature["sig"], "dsseEnvelope.signatures[0].sig")
    return _bytes(envelope["payload"], "dsseEnvelope.payload"), sig


def _material(value: Any) -> tuple[Method, str, bytes, tuple[bytes, ...]]:
    at = "verificationMaterial"
    material = record(value, at, set(), None)
    kinds = {"publicKey", "x509CertificateChain", "certificate"} & material.keys()
    if len(kinds) != 1:
        raise Broken(f"{at}: must have either publicKey, x509CertificateChain or certificate")
    entries = sequence(material.get("tlogEntries", []), f"{at}.tlogEntries", _MAX_ENTRIES, least=0)
    if "publicKey" in kinds:
        key = record(material["publicKey"], f"{at}.publicKey", set(), None)
        if not key.keys() & {"hint", "rawBytes"}:
            raise Broken(f"{at}.publicKey: lacks hint")
        hint = text(key["hint"], f"{at}.publicKey.hint") if key.get("hint") is not None else ""
        raw = _bytes(key["rawBytes"], f"{at}.publicKey.rawBytes") if key.get("rawBytes") is not None else b""
        return Method.KEY, hint, raw, ()
    if "certificate" in kinds:
        if not entries:
            raise Broken(f"{at}.tlogEntries: lacks the entry of the transparency log")
        return Method.SIGSTORE, "", b"", (_certificate(material["certificate"], f"{at}.certificate"),)
    chain = record(material["x509CertificateChain"], f"{at}.x509CertificateChain", {"certificates"}, None)
    certificates = sequence(chain["certificates"], f"{at}.x509CertificateChain.certificates", _MAX_CERTIFICATES)
    return Method.CERTIFICATE, "", b"", tuple(_certificate(each, f"{at}.x509CertificateChain") for each in certificates)


def _certificate(value: Any, at: str) -> bytes:
    return _bytes(record(value, at, {"rawBytes"}, None)["rawBytes"], f"{at}.rawBytes")


# ── JSON that has to be as it should ──────────────────────────────────────────────────────────────────


def load(data: bytes, at: str) -> Any:
    """JSON. Raises Broken."""
    if len(data) > MAX_BUNDLE:
        raise Broken(f"{at}: has more than {MAX_BUNDLE:,} bytes")
    try:
        return orjson.loads(data)
    except ValueError:
        raise Broken(f"{at}: is not JSON") from None


def record(value: Any, at: str, required: Collection[str], optional: Collection[str] | None = ()) -> dict[str, Any]:
    """An object with what it must have and no more than it may have, which with None is anything. Raises Broken."""
    if not isinstance(value, dict):
        raise Broken(f"{at}: is not an object")
    if missing := sorted(set(required) - value.keys()):
        raise Broken(f"{at}: lacks {missing[0]}")
    if optional is not None and (unknown := sorted(value.keys() - set(required) - set(optional))):
        raise Broken(f"{at}: has {unknown[0][:80]!r}, which does not belong there")
    return value


def sequence(value: Any, at: str, most: int, *, least: int = 1) -> list[Any]:
    """A list of so many items. Raises Broken."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise Broken(f"{at}: is not a list of {least} to {most:,} items" if most > 1 else f"{at}: is not a list of one")
    return value


def text(value: Any, at: str, *, least: int = 1, most: int = MAX_TEXT) -> str:
    """A text of so many characters. Raises Broken."""
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise Broken(f"{at}: is not a text of {least} to {most:,} characters")
    return value


def _bytes(value: Any, at: str) -> bytes:
    try:
        data = base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (ValueError, binascii.Error):
        data = b""
    if not data:
        raise Broken(f"{at}: is not Base64")
    return data
