"""The folder of the keys that Lineal makes for itself: each is made when it is first asked for.

The folder is open to its owner alone (0700), and so is each secret in it (0600). A file appears whole or not
at all; of two processes that make the same key at once, both use the one that came first.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from lineal.errors import PreconditionFailed, Unavailable

CURVE: Final = "Ed25519"
SECRET_BYTES: Final = 32

AUDIT: Final = "audit"
"""The name of the key that signs checkpoints of the audit."""
BYTES: Final = "bytes"
"""The name of the secret behind addresses of bytes in the local folder."""
HANDLE: Final = "handle"
"""The name of the secret behind the handles of restricted nodes."""
WEBHOOK: Final = "webhook"
"""The name of the secret that secrets of webhooks are sealed with."""


class Keyring:
    """Keys by name, in a folder that is made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ed25519(self, name: str) -> OKPKey:
        """The private signing key of this name: `name.pem` in PKCS #8, with its public half in `name.pub`.

        Raises PreconditionFailed (the file holds something else), Unavailable (it cannot be read or made).
        """
        path = self.folder / f"{name}.pem"
        key = read_key(path, self._kept(path, _new_pem))
        if not isinstance(key.private_key, Ed25519PrivateKey):
            raise PreconditionFailed(f"{path} holds no private key")
        with suppress(Unavailable):
            # The folder may be one where nothing can be written; nobody here needs the public half.
            self._kept(self.public(name), lambda: key.as_pem(private=False))
        return key

    def public(self, name: str) -> Path:
        """Where the public half of a signing key is, for those who check signatures elsewhere."""
        return self.folder / f"{name}.pub"

    def secret(self, name: str) -> bytes:
        """The 32 random bytes of this name, in `name.key`.

        Raises PreconditionFailed (the file holds another number of bytes), Unavailable (it cannot be read or made).
        """
        path = self.folder / f"{name}.key"
        found = self._kept(path, lambda: secrets.token_bytes(SECRET_BYTES))
        if len(found) != SECRET_BYTES:
            raise PreconditionFailed(f"{path} holds {len(found)} bytes instead of {SECRET_BYTES}")
        return found

    def _kept(self, path: Path, make: Callable[[], bytes]) -> bytes:
        """What is in the file, which is made when it is not there."""
        try:
            if not path.exists():
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _put(path, make())
            return path.read_bytes()
        except OSError as error:
            raise Unavailable(f"the key {path} cannot be read or made: {error.strerror}") from None


def read_key(path: Path, content: bytes) -> OKPKey:
    """The Ed25519 key, public or private, that a file holds as PEM. Raises PreconditionFailed: it holds none."""
    try:
        key = OKPKey.import_key(content)
        if key.curve_name == CURVE:
            return key
    except (ValueError, JoseError):  # from cryptography and from joserfc, for what is no such key
        pass
    raise PreconditionFailed(f"{path} holds no Ed25519 key in PEM")


def _new_pem() -> bytes:
    return OKPKey.generate_key(CURVE).as_pem(private=True)


def _put(path: Path, content: bytes) -> None:
    """Write a file with 0600 that appears whole, and stays as it is when somebody else was first. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            # A link, unlike a rename, never takes another file's place.
            os.link(file.name, path)
    with suppress(PermissionError):  # where folders cannot be opened, they cannot be synchronized either
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
