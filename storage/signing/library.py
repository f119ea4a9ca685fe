"""The `model-signing` package, imported when it is needed: it takes a second, and not everybody has it.

Its public functions take a folder and hash it. What they are made of takes digests that are ready: the manifest and
payload of `model_signing.manifest` and `model_signing._signing.signing`, and the signers beside it.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from lineal.errors import InvalidArgument

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
"""The elliptic curves of keys (algorithm-registry.md of ossf/model-signing-spec)."""


def module(name: str) -> ModuleType:
    """A module of the package or of what it is made of. Raises InvalidArgument: it is not installed."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        msg = f"signatures need model-signing, and {error.name} is not installed: pip install 'lineal[signing]'"
        raise InvalidArgument(msg) from error


def encoded(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's pre-authentication encoding."""
    pae: bytes = module("model_signing._signing.sign_sigstore_pb").pae(payload)
    return pae


def fits(key: ec.EllipticCurvePublicKey, signature: bytes, payload: bytes) -> bool:
    """Whether it is this key's signature of this payload: ECDSA with the hash that belongs to the curve."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    algorithm = module("model_signing._signing.sign_ec_key").get_ec_key_hash(key)
    try:
        key.verify(signature, encoded(payload), ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True
