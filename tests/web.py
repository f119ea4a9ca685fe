"""A web server for tests, with TLS by an authority of its own, that does what it is told to."""

from __future__ import annotations

import datetime as dt
import html
import ssl
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.listening import Handler, Listening

NAMES = ("files.test", "other.test")
"""The names that its certificate is for."""


class WebServer(Listening):
    """Serves `files` (by path) with ranges and index pages, and `redirects` (path to address), on loopback.

    `statuses` are those of answers that are errors, by path;
    `requests` are the paths that it was asked for; `ca` is the file with the certificate of its authority.
    `ranges` says whether it knows ranges; `headers` are added to every answer; `drip` are bytes without an end.
    """

    def __init__(self, home: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.requests: list[str] = []
        self.seen_headers: list[dict[str, str]] = []
        self.ranges = True
        self.ca = home / "ca.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(home))
        super().__init__(_Handler, context)


class _Handler(Handler):
    owner: WebServer

    def _handle(self) -> None:
        web = self.owner
        web.requests.append(self.path)
        web.seen_headers.append(dict(self.headers))
        path = unquote(self.path.partition("?")[0])
        if path in web.statuses:
            self._answer(web.statuses[path], b"")
        elif path in web.redirects:
            self._answer(302, b"", Location=web.redirects[path])
        elif path in web.files:
            self._file(web.files[path])
        elif path.endswith("/") and any(name.startswith(path) for name in web.files):
            names = dict.fromkeys(_below(name, path) for name in web.files if name.startswith(path))
            links = "".join(f'<li><a href="{html.escape(quote(name))}">{html.escape(name)}</a>' for name in names)
            page = f'<html><a href="../">Up</a> <a href="?C=N;O=D">Name</a><ul>{links}</ul></html>'
            self._answer(200, page.encode(), **{"Content-Type": "text/html; charset=utf-8"})
        elif any(name.startswith(f"{path}/") for name in web.files):
            self._answer(301, b"", Location=f"{path}/")
        else:
            self._answer(404, b"")

    do_GET = _handle  # noqa: N815 - as the library wants it

    def _file(self, data: bytes) -> None:
        known = {"ETag": f'"{hash(data):x}"', "Last-Modified": formatdate(0, usegmt=True)}
        wanted = self.headers.get("Range", "")
        if not wanted or not self.owner.ranges:
            self._answer(200, data, **known)
            return
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        piece = data[int(start) : int(end) + 1]
        if not piece:
            self._answer(416, b"", **{"Content-Range": f"bytes */{len(data)}"}, **known)
            return
        given = f"bytes {start}-{int(start) + len(piece) - 1}/{len(data)}"
        self._answer(206, piece, **{"Content-Range": given}, **known)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.answer(status, body, {**headers, **self.owner.headers})


def _below(name: str, folder: str) -> str:
    first, slash, _ = name[len(folder) :].partition("/")
    return first + slash


def certificate(home: Path) -> Path:
    """A file with a key and a certificate for NAMES and 127.0.0.1; that of the authority is beside it, as ca.pem."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, word)]) for word in ("Tests", "files.test"))
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        certificate = (
            x509.CertificateBuilder(ca_name, subject, public, x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    (home / "ca.pem").write_bytes(signed(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)))
    own = signed(name, key.public_key(), x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]))
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "own.pem").write_bytes(plain + own)
    return home / "own.pem"
