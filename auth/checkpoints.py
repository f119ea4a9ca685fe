"""Checkpoints: signed statements of how far every chain of the audit went, and the file that has them elsewhere.

The body of a checkpoint is canonical JSON (RFC 8785):

    {"at":       microseconds since the epoch, UTC,
     "heads":    {workspace: [number, hash], …}, the last entry of every chain,
     "number":   from 1, without gaps,
     "previous": SHA-256, in lower-case hexadecimal, of the body of the checkpoint before; 64 zeros for the first}

Its signature is Ed25519 (RFC 8032) over the body in UTF-8, in base64url without padding; its key is named by
its JWK thumbprint (RFC 7638).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.jwk import OKPKey

from graph.port import Checkpoint, Head, Snapshot
from graph.recording import GENESIS, canonical
from lineal.errors import PreconditionFailed, Unavailable

if sys.platform != "win32":
    import fcntl

MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of a checkpoint in a file, at most: some 600,000 chains."""
_BLOCK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Statement:
    """What the body of a checkpoint says. `heads` are by workspace; `at` is in microseconds since the epoch."""

    number: int
    at: int
    previous: str
    heads: Mapping[str, Head]


def digest(checkpoint: Checkpoint) -> str:
    """What the checkpoint after this one names it by."""
    return hashlib.sha256(checkpoint.body.encode()).hexdigest()


def sign(key: OKPKey, heads: Sequence[Head], *, at: int, last: Checkpoint | None) -> Checkpoint:
    """The checkpoint after `last`, of these heads at this time."""
    number = last.number + 1 if last else 1
    body = canonical(
        {
            "at": at,
            "heads": {head.workspace: [head.number, head.hash] for head in heads},
            "number": number,
            "previous": digest(last) if last else GENESIS,
        }
    )
    return Checkpoint(number, body.decode(), key.thumbprint(), signature(key, body))


def is_signed(checkpoint: Checkpoint, key: OKPKey) -> bool:
    """Whether this key signed the body."""
    return is_signature(checkpoint.signature, key, checkpoint.body.encode())


def signature(key: OKPKey, body: bytes) -> str:
    """The Ed25519 signature of a body, in base64url without padding."""
    private = key.private_key
    assert isinstance(private, Ed25519PrivateKey)
    return base64.urlsafe_b64encode(private.sign(body)).rstrip(b"=").decode()


def is_signature(text: str, key: OKPKey, body: bytes) -> bool:
    """Whether a text is the signature of a body by this key."""
    public = key.public_key
    assert isinstance(public, Ed25519PublicKey)
    try:
        public.verify(base64.urlsafe_b64decode(text + "=="), body)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def statement(checkpoint: Checkpoint) -> Statement:
    """What a checkpoint says. Raises ValueError: its body is none, or has another number than the checkpoint."""
    try:
        body = orjson.loads(checkpoint.body)
        number, at, previous = int(body["number"]), int(body["at"]), str(body["previous"])
        heads = {str(name): Head(str(name), int(count), str(hash)) for name, (count, hash) in body["heads"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no body of a checkpoint: {error}") from None
    if number != checkpoint.number:
        raise ValueError(f"the body is that of checkpoint {number}")
    return Statement(number, at, previous, heads)


async def last_checkpoint(snapshot: Snapshot, since: int = 1) -> Checkpoint | None:
    """The newest checkpoint of the store, by doubling steps and then halving ones from number `since` on."""
    found: Checkpoint | None = None
    at, step, growing = since - 1, 1, True
    while step:
        if later := await snapshot.checkpoints(after=at + step - 1, limit=1):
            found = later[0]
            at = found.number
        growing = growing and bool(later)
        step = step * 2 if growing else step // 2
    return found or (await last_checkpoint(snapshot) if since > 1 else None)


def line(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a line of JSON."""
    named = {
        "number": checkpoint.number,
        "key": checkpoint.key,
        "signature": checkpoint.signature,
        "body": checkpoint.body,
    }
    return orjson.dumps(named) + b"\n"


def parsed(text: bytes) -> Checkpoint | None:
    """The checkpoint of a line, or None where it holds none: a write may have been cut off."""
    try:
        value = orjson.loads(text)
        return Checkpoint(int(value["number"]), str(value["body"]), str(value["key"]), str(value["signature"]))
    except (ValueError, KeyError, TypeError):
        return None


class CheckpointFile:
    """Checkpoints as lines of JSON, to be kept where those who could change the store cannot.

    The file is only ever appended to. A line that a crash cut off stays, and its checkpoint follows once more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> Checkpoint | None:
        """The last checkpoint in the file; None where there is none, or no file. Raises Unavailable."""
        with _translated(self.path):
            if not self.path.exists():
                return None
            with self.path.open("rb") as file:
                return _last(file)

    def append(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Add those that follow the last one in the file, and wait until the disk has them.

        They must go up by number without gaps, and begin with the file's last one where it has any. Of several
        processes that do so at once each line is written once. Raises PreconditionFailed (the file has others
        than these), Unavailable.
        """
        with _translated(self.path), self.path.open("a+b", buffering=0) as file:
            _lock(file)
            last = _last(file)
            overtaken = bool(last and checkpoints and checkpoints[-1].number < last.number)
            if last is not None and last not in checkpoints and not overtaken:
                msg = (
                    f"{self.path} ends with checkpoint {last.number}, which the store does not have: the store was set "
                    "back, or the file is that of another one; see `lineal audit verify --checkpoints`"
                )
                raise PreconditionFailed(msg)
            new = [c for c in checkpoints if last is None or c.number > last.number]
            if not new:
                return
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            text = b"".join(line(c) for c in new)
            if end and file.read(1) != b"\n":
                text = b"\n" + text
            while text:
                text = text[file.write(text) or 0 :]
            os.fsync(file.fileno())

    def read(self) -> Iterator[Checkpoint]:
        """The checkpoints in the file, in its order; lines that hold none are left out. Raises Unavailable.

        There are none where there is no file.
        """
        with _translated(self.path):
            if not self.path.exists():
                return
            file = self.path.open("rb")
        with _translated(self.path), file:
            while text := file.readline(MAX_LINE):
                if checkpoint := parsed(text):
                    yield checkpoint


def _last(file: BinaryIO) -> Checkpoint | None:
    """The last checkpoint in a file, from its end."""
    size, window = file.seek(0, os.SEEK_END), _BLOCK
    while True:
        start = max(size - window, 0)
        file.seek(start)
        lines = _read_all(file).split(b"\n")
        for text in reversed(lines[1:] if start else lines):
            if checkpoint := parsed(text):
                return checkpoint
        if not start:
            return None
        window *= 4


def _read_all(file: BinaryIO) -> bytes:
    return b"".join(iter(lambda: file.read(_BLOCK), b""))


def _lock(file: BinaryIO) -> None:
    """Keep other processes out until the file is closed, where the system can."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the checkpoints in {path} cannot be read or written: {error.strerror}") from None
