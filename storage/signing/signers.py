"""Signing a manifest: by a key, by a key with its certificate, or by an identity that Sigstore vouches for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lineal.errors import InvalidArgument, LimitExceeded, Unavailable
from storage.manifest import File, Manifest
from storage.signing.bundle import MAX_BUNDLE, MAX_TEXT
from storage.signing.library import CURVES, module
from storage.signing.statement import GIT, SIGNATURE, ignores


class Signer(Protocol):
    """A signer of model_signing: what it gives has a bundle, which has JSON."""

    def sign(self, payload: Any) -> Any: ...


class _Bytes:
    """Bytes where model_signing takes a path: of a path it only ever reads the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_bytes(self) -> bytes:
        return self._data


def key_signer(key: bytes, password: bytes | None = None) -> Signer:
    """A private key (PEM, on P-256, P-384 or P-521), with its password when it has one. Raises InvalidArgument."""
    signer: Signer = module("model_signing._signing.sign_ec_key").Signer(_Bytes(_plain(key, password)))
    return signer


def certificate_signer(key: bytes, certificate: bytes, chain: Sequence[bytes], password: bytes | None = None) -> Signer:
    """A private key with its certificate and those of its issuers, one or more (all PEM). Raises InvalidArgument."""
    theirs = module("model_signing._signing.sign_certificate")
    plain = _Bytes(_plain(key, password))
    try:
        signer: Signer = theirs.Signer(plain, _Bytes(certificate), [_Bytes(each) for each in chain])
    except ValueError as error:
        raise InvalidArgument(f"certificate: {error}", field="certificate") from error
    return signer


def keyless_signer(token: str | None = None, *, trust: Path | None = None, browser: bool = True) -> Signer:
    """An identity that Sigstore's certificate authority vouches for, with a key that nobody keeps.

    `token` is an OpenID Connect token for the audience `sigstore`; without one the environment is asked (as in a
    workflow of GitHub or GitLab), and then a person, in a browser or with a code to copy. `trust` is a file with
    another client trust configuration than that of the public instance. Raises Unavailable: no network.
    """
    theirs = module("model_signing._signing.sign_sigstore")
    with _network():
        return _Keyless(
            theirs.Signer(identity_token=token, use_ambient_credentials=True, force_oob=not browser, trust_config=trust)
        )


class _Keyless:
    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sign(self, payload: Any) -> Any:
        with _network():
            return self._signer.sign(payload)


@contextmanager
def _network() -> Iterator[None]:
    """Errors of Sigstore's library, which come from four others beneath it, as ours."""
    try:
        yield
    except Exception as error:
        raise Unavailable(f"keyless signing failed, is Sigstore to be reached from here? {error}") from error


def sign(manifest: Manifest, signer: Signer, *, name: str = "model", ignore: Iterable[str] = ()) -> bytes:
    """A bundle that signs the files of a manifest, whose digests it takes as they are.

    What `GIT` names is left out, as the specification demands, and so are SIGNATURE where that is no folder, and what
    `ignore` names (paths of files or folders). `name` tells people what was signed; it proves nothing. Raises
    InvalidArgument (nothing is left to sign), LimitExceeded (too large), Unavailable (a keyless signer's network).
    """
    ignored = _ignored(manifest, ignore)
    # A folder's name may be no text at all.
    name = name.encode(errors="replace").decode()[:MAX_TEXT] or "model"
    payload = module("model_signing._signing.signing").Payload(_ready(covered(manifest, ignore), name, ignored))
    data: bytes = signer.sign(payload).bundle.to_json().encode()
    if len(data) > MAX_BUNDLE:
        raise LimitExceeded(f"the signature would have more than {MAX_BUNDLE:,} bytes: its files have too long paths")
    return data


def covered(manifest: Manifest, ignore: Iterable[str] = ()) -> list[File]:
    """The files of a manifest that `sign` signs."""
    ignored = frozenset(_ignored(manifest, ignore))
    return [file for file in manifest.files if not ignores(ignored, file.path)]


def _ignored(manifest: Manifest, ignore: Iterable[str]) -> list[str]:
    # Whoever checks by the letter of the specification would leave out all that is in such a folder.
    is_folder = any(file.path.startswith(f"{SIGNATURE}/") for file in manifest.files)
    return sorted({*GIT, *ignore} if is_folder else {*GIT, SIGNATURE, *ignore})


def _ready(files: Iterable[File], name: str, ignored: list[str]) -> Any:
    """The files as model_signing has them, in the order that the specification demands.

    Its own sorts by the parts of paths, and so puts `a/b` before `a-b`; §5.2.1 wants code points, as we have them.
    """
    theirs, digests = module("model_signing.manifest"), module("model_signing._hashing.hashing")
    items = [
        theirs.FileManifestItem(
            path=PurePosixPath(file.path), digest=digests.Digest("sha256", bytes.fromhex(file.sha256))
        )
        for file in files
    ]
    if not items:
        raise InvalidArgument("there is nothing to sign: the signature would leave out every file")

    class Ready(theirs.Manifest):  # type: ignore[misc, name-defined]
        def resource_descriptors(self) -> Iterator[Any]:
            return iter(sorted(super().resource_descriptors(), key=lambda each: each.identifier))

    kind = theirs.SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": ignored}
    )
    return Ready(name, items, kind)


def _plain(pem: bytes, password: bytes | None) -> bytes:
    """A private key without its password, in memory: model_signing takes a password for some signers only."""
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:
        problem = "has no password" if password else "needs its password"
        raise InvalidArgument(f"key: {problem}", field="password") from None
    except (ValueError, UnsupportedAlgorithm):
        problem = "is no private key in PEM, or the password is wrong"
        raise InvalidArgument(f"key: {problem}", field="key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise InvalidArgument("key: must be an elliptic curve's, P-256, P-384 or P-521", field="key")
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
