"""One process that moves files as Lineal's client does, or as the plain `minio` client does, and says how long it took.

    python -m bench.moving push|pull FOLDER ADDRESS THREADS                 LINEAL_URL, LINEAL_KEYS …
    python -m bench.moving plain-push|plain-pull FOLDER BUCKET THREADS      MINIO: its host and port
    python -m bench.moving checked-push|checked-pull FOLDER BUCKET THREADS  as well

ADDRESS is a model version. A checked way is the plain one with what it takes to know that the files are right: the
SHA-256 of each before it goes, or after it came. The answer is a JSON object: seconds in all, seconds of the transfer
alone, bytes sent.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from minio import Minio

from lineal.kept import kept
from lineal.pulling import Pull
from lineal.pushing import Push
from lineal.remote import Remote
from lineal.settings import Settings
from storage.folder import scan
from tests.minio import ACCESS_KEY, SECRET_KEY

PART = 64 * 2**20
"""Bytes of the parts of a large file; the client's own choice of 5 MiB is slower."""


def push(folder: Path, address: str, threads: int) -> dict[str, float]:
    """Read every file for its digest, and send what is missing."""
    began = time.perf_counter()
    with Remote.of(Settings.load()) as remote:
        scanned = scan(folder)
        read = time.perf_counter()
        sent = Push(remote, scanned, threads=threads).run(address, "model")
    ended = time.perf_counter()
    return {"seconds": ended - began, "transfer": ended - read, "bytes": sent.bytes_sent, "files": sent.files_sent}


def pull(folder: Path, address: str, threads: int) -> dict[str, float]:
    """Fetch every file, and check it."""
    began = time.perf_counter()
    with Remote.of(Settings.load()) as remote:
        _, artifact = kept(remote, address, None)
        received = Pull(remote, folder, threads=threads).run(artifact["id"], artifact["digest"])
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "transfer": seconds, "bytes": received.bytes_received}


def checked_push(folder: Path, bucket: str, threads: int) -> dict[str, float]:
    """Read every file for its digest, and put it."""
    return _with_digests(folder, threads, lambda: plain_push(folder, bucket, threads), first=True)


def checked_pull(folder: Path, bucket: str, threads: int) -> dict[str, float]:
    """Get every object into a file, and read that for its digest."""
    return _with_digests(folder, threads, lambda: plain_pull(folder, bucket, threads), first=False)


def _with_digests(folder: Path, threads: int, move: Callable[[], dict[str, float]], *, first: bool) -> dict[str, float]:
    began = time.perf_counter()
    told = {} if first else move()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_digest, (path for path in folder.rglob("*") if path.is_file())))
    told = told or move()
    return {**told, "seconds": time.perf_counter() - began}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_push(folder: Path, bucket: str, threads: int) -> dict[str, float]:
    """Put every file, or the parts of a single one, in so many threads."""
    client, files = _client(), sorted(path for path in folder.rglob("*") if path.is_file())
    began = time.perf_counter()
    each = threads if len(files) == 1 else 1
    with ThreadPoolExecutor(threads) as pool:
        list(
            pool.map(
                lambda path: client.fput_object(
                    bucket, path.name, str(path), part_size=PART, num_parallel_uploads=each
                ),
                files,
            )
        )
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "transfer": seconds, "bytes": sum(path.stat().st_size for path in files)}


def plain_pull(folder: Path, bucket: str, threads: int) -> dict[str, float]:
    """Get every object into a file."""
    client = _client()
    began = time.perf_counter()
    names = [str(item.object_name) for item in client.list_objects(bucket)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda name: client.fget_object(bucket, name, str(folder / name)), names))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "transfer": seconds, "bytes": sum((folder / name).stat().st_size for name in names)}


def _client() -> Minio:
    return Minio(os.environ["MINIO"], ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")


WAYS = {
    "push": push,
    "pull": pull,
    "plain-push": plain_push,
    "plain-pull": plain_pull,
    "checked-push": checked_push,
    "checked-pull": checked_pull,
}

if __name__ == "__main__":
    way, place, where, count = sys.argv[1:]
    sys.stdout.write(orjson.dumps(WAYS[way](Path(place), where, int(count))).decode())
