"""A real MinIO for tests, built from its sources."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services import Server, go_program

MINIO_VERSION: Final = "v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY: Final = "lineal-tests"
SECRET_KEY: Final = "not a secret anywhere else"
KMS_KEY: Final = "lineal-key"


def minio_binary() -> Path:
    """The server; Go downloads and builds it the first time."""
    return go_program("minio", "github.com/minio/minio", MINIO_VERSION)


class MinioServer(Server):
    """A MinIO with one drive, which can encrypt (SSE-S3, SSE-KMS), lock and keep versions.

    With `tls` it has a certificate of an authority of its own, whose file is `ca`.
    """

    name: ClassVar[str] = "minio"

    def __init__(self, home: Path, *, tls: bool = False) -> None:
        super().__init__(home)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.ca = home / "certs" / "CAs" / "ca.crt" if tls else None

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command = [str(minio_binary()), "server", "--quiet", f"--address=127.0.0.1:{self.port}"]
        certs = self.home / "certs"
        if self.ca is not None and not self.ca.exists():
            write_certificates(certs)
        environment = {
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_DOMAIN": "localhost",
            "MINIO_KMS_SECRET_KEY": f"{KMS_KEY}:{base64.b64encode(bytes(32)).decode()}",
        }
        return [*command, f"--certs-dir={certs}", str(self.home / "data")], environment

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/minio/health/ready", timeout=5, verify=False).is_success
        except httpx.TransportError:
            return False


def write_certificates(folder: Path) -> None:
    """A key and a certificate for 127.0.0.1 as MinIO wants them, and that of the authority that signed it."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lineal's tests")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    ca = _certificate(ca_name, ca_key.public_key(), ca_name, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = _certificate(name, key.public_key(), ca_name, ca_key, address)
    pem = serialization.Encoding.PEM
    (folder / "CAs").mkdir(parents=True)
    (folder / "CAs" / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "public.crt").write_bytes(own.public_bytes(pem))
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "private.key").write_bytes(plain)


def _certificate(
    name: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256())
