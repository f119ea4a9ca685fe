"""Whose signature it is, and whether they are trusted: by key, by certificate, by Sigstore (spec §8.2)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from lineal.errors import InvalidArgument, Unavailable
from storage.signing.bundle import Broken, Bundle, Method
from storage.signing.library import CURVES, fits, module

_FULCIO_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""Where Sigstore's certificates name the OpenID Connect issuer, as a DER UTF8String."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as an OpenID Connect issuer knows them: an e-mail address or a workflow's URL, and the issuer's URL."""

    identity: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whose signatures are trusted: public keys (PEM), certificate authorities (PEM), identities at Sigstore.

    `sigstore` is the JSON of a client trust configuration, for an instance of one's own; without it, the public
    instance's roots are those that Sigstore's package brings or has cached. Nothing is fetched.
    """

    keys: Sequence[bytes] = ()
    authorities: Sequence[bytes] = ()
    identities: Sequence[Identity] = ()
    sigstore: str | None = None


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who signed as far as is known, and why that is not enough; with no `doubt` they are trusted.

    `fingerprint` is the SHA-256 of the public key's PEM, as `hint` in bundles, or that of the certificate's DER.
    """

    signer: str
    issuer: str
    fingerprint: str
    doubt: str = ""


def vouch(bundle: Bundle, trusted: Trusted, at: datetime) -> Voucher:
    """Check the envelope's signature, and whether its maker is trusted at this time.

    Raises Broken (the signature is not by the key that the bundle names), InvalidArgument (`trusted` is wrong).
    """
    match bundle.method:
        case Method.KEY:
            return _by_key(bundle, [public_key(pem) for pem in trusted.keys])
        case Method.CERTIFICATE:
            return _by_certificate(bundle, _authorities(trusted), at)
        case Method.SIGSTORE:
            return _by_sigstore(bundle, trusted)


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """A public key in PEM, on P-256, P-384 or P-521. Raises InvalidArgument."""
    try:
        return _supported(serialization.load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm, Broken):
        msg = "keys: must be public keys in PEM, on P-256, P-384 or P-521"
        raise InvalidArgument(msg, field="keys") from None


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """What bundles call a key: the SHA-256 of its PEM, in hexadecimal."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _supported(key: Any) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise Broken("it is signed with a kind of key that is not supported")
    return key


def _require(key: ec.EllipticCurvePublicKey, bundle: Bundle) -> None:
    if not fits(key, bundle.signature, bundle.payload):
        raise Broken("the signature is not that of the statement: one of the two was changed")


# ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────


def _by_key(bundle: Bundle, keys: Sequence[ec.EllipticCurvePublicKey]) -> Voucher:
    # The hint is outside of what is signed, and others make it in other ways: it says whom to blame, not whom to trust.
    for key in keys:
        if fits(key, bundle.signature, bundle.payload):
            return Voucher(fingerprint(key), "", fingerprint(key))
    named = bundle.hint.lower()
    if bundle.key:
        key = _supported(_loaded(bundle.key))
        _require(key, bundle)
        named = fingerprint(key)
    elif named in {fingerprint(key) for key in keys}:
        raise Broken("the signature is not that of the statement: one of the two was changed")
    return Voucher(named, "", named, f"the key {named!r} is not among those that are trusted")


def _loaded(raw: bytes) -> Any:
    """The key of an older bundle, which has it in PEM or in DER."""
    try:
        if raw.startswith(b"-----BEGIN"):
            return serialization.load_pem_public_key(raw)
        return serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise Broken("verificationMaterial.publicKey.rawBytes: is no key") from None


# ── Certificates ──────────────────────────────────────────────────────────────────────────────────────


def _authorities(trusted: Trusted) -> list[x509.Certificate]:
    try:
        return [each for pem in trusted.authorities for each in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        raise InvalidArgument("authorities: must be certificates in PEM", field="authorities") from None


def _by_certificate(bundle: Bundle, authorities: Sequence[x509.Certificate], at: datetime) -> Voucher:
    leaf, *chain = (x509.load_der_x509_certificate(der) for der in bundle.certificates)
    _require(_supported(leaf.public_key()), bundle)
    doubt = _doubt(leaf, chain, authorities, at)
    digest = leaf.fingerprint(hashes.SHA256()).hex()
    return Voucher(leaf.subject.rfc4514_string() or digest, leaf.issuer.rfc4514_string(), digest, doubt)


def _doubt(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], at: datetime
) -> str:
    if not _may_sign(leaf):
        return "its certificate is not one for signatures: it has neither digitalSignature nor codeSigning"
    # As the model-signing package does, but at a time of ours: it takes that at which the certificate began.
    crypto = module("OpenSSL.crypto")
    store = crypto.X509Store()
    for each in authorities:
        store.add_cert(crypto.X509.from_cryptography(each))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(at)
    others = [crypto.X509.from_cryptography(each) for each in chain]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), others).verify_certificate()
    except crypto.X509StoreContextError as error:
        return f"its certificate is not trusted: {error}"
    return ""


def _may_sign(leaf: x509.Certificate) -> bool:
    """Whether its key usage allows signatures, or else its extended key usage allows signing code."""
    try:
        if leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in usage


# ── Sigstore ──────────────────────────────────────────────────────────────────────────────────────────


def _by_sigstore(bundle: Bundle, trusted: Trusted) -> Voucher:
    leaf = x509.load_der_x509_certificate(bundle.certificates[0])
    _require(_supported(leaf.public_key()), bundle)
    who = _identity(leaf)
    doubt = f"{who.identity!r} of {who.issuer!r} is not among those who are trusted"
    if who in trusted.identities:
        doubt = _sigstore_doubt(bundle, who, trusted.sigstore)
    return Voucher(who.identity, who.issuer, leaf.fingerprint(hashes.SHA256()).hex(), doubt)


def _identity(leaf: x509.Certificate) -> Identity:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    ]
    if len(found) != 1:
        raise Broken("verificationMaterial.certificate: names no single identity")
    issuer = leaf.extensions.get_extension_for_oid(_FULCIO_ISSUER).value
    assert isinstance(issuer, x509.UnrecognizedExtension)
    # A DER UTF8String: its tag, its length in one byte or in two, its text.
    text = issuer.value[2:] if issuer.value[1] < 0x80 else issuer.value[3:]
    return Identity(found[0], text.decode())


def _sigstore_doubt(bundle: Bundle, who: Identity, configuration: str | None) -> str:
    models, verify, errors = (module(f"sigstore.{name}") for name in ("models", "verify", "errors"))
    verifier = verify.Verifier(trusted_root=_root(configuration))
    policy = verify.policy.Identity(identity=who.identity, issuer=who.issuer)
    try:
        _, payload = verifier.verify_dsse(models.Bundle.from_json(bundle.data), policy)
    except errors.Error as error:
        return f"Sigstore does not vouch for it: {error}"
    if payload != bundle.payload:
        raise Broken("the bundle can be read in two ways")
    return ""


def _root(configuration: str | None) -> Any:
    config = module("sigstore.models").ClientTrustConfig
    # It warns that it fetches nothing, each time, and that is what is wanted.
    logging.getLogger("sigstore._internal.tuf").setLevel(logging.ERROR)
    try:
        return (
            config.production(offline=True) if configuration is None else config.from_json(configuration)
        ).trusted_root
    except ValueError:
        msg = "sigstore: must be the JSON of a client trust configuration"
        raise InvalidArgument(msg, field="sigstore") from None
    except OSError as error:
        raise Unavailable(f"Sigstore's roots of trust cannot be read: {error.strerror}") from error
