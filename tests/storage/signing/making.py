"""Keys, certificates and manifests to sign with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.manifest import File, Manifest

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def private(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    how = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, how)


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def manifest(**files: str) -> Manifest:
    """A manifest of files with these contents; `__` in a name stands for `/`."""
    return manifest_of({name.replace("__", "/"): content.encode() for name, content in files.items()})


def manifest_of(files: dict[str, bytes]) -> Manifest:
    return Manifest.of(File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items())


@dataclass
class Issued:
    """A certificate with its key."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(form.Encoding.PEM)


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
    signs: bool = True,
    purpose: x509.ObjectIdentifier | None = None,
) -> Issued:
    """A certificate of this name, by an issuer or by itself: for signatures, for authorities, or for a purpose."""
    own = key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=signs and not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        key_agreement=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]) if purpose else usage, critical=True)
    )
    return Issued(own, builder.sign(issuer.key if issuer else own, hashes.SHA256()))
