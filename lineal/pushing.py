"""Files go to storage: what it lacks, several at a time, and on from where a push broke off."""

from __future__ import annotations

import hashlib
import http
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final

import urllib3

from lineal.errors import Conflict, LinealError, NotFound, PreconditionFailed, Unavailable
from lineal.patience import SECONDS, Patience
from lineal.remote import Remote
from lineal.transfer import FIRST, PAGE, ROUNDS, THREADS, Progress, connections, refuses
from storage.folder import Folder
from storage.port import CHUNK, Blob

BEGIN: Final = """mutation Begin($input: BeginUploadInput!) {
  beginUpload(input: $input) { upload { id state digest } }
}"""
MISSING: Final = """query Missing($upload: ID!, $first: Int!, $after: String) {
  upload(address: $upload) { state missing(first: $first, after: $after) {
    nodes { path size sha256 requests { url start size headers { name value } } } pageInfo { hasNextPage endCursor }
  } }
}"""
COMPLETE: Final = """mutation Complete($upload: ID!) {
  completeUpload(input: {upload: $upload}) { artifact { id digest verification } }
}"""
Begin = Callable[[], Any]
"""Begins an upload again, which is the same one then."""


@dataclass(slots=True)
class Sent:
    """What a push did: files and bytes in all, and what of them had to be sent."""

    files: int = 0
    bytes: int = 0
    bytes_sent: int = 0
    paths: set[str] = field(default_factory=set)
    upload: str = ""
    artifact: str = ""
    digest: str = ""

    @property
    def files_sent(self) -> int:
        """Files of which anything had to be sent."""
        return len(self.paths)

    @property
    def bytes_there(self) -> int:
        """Bytes that storage had already."""
        return self.bytes - self.bytes_sent


class Push:
    """Sends a folder, or one file, to be the artifact of something. `on_bytes` hears of every byte that goes.

    While storage is away and nothing goes, it tries again for `patience` seconds.
    """

    def __init__(
        self,
        remote: Remote,
        folder: Folder,
        *,
        threads: int = THREADS,
        on_bytes: Progress = lambda _: None,
        patience: float = SECONDS,
    ) -> None:
        self._patience = patience
        self._remote, self._folder, self._threads, self._on_bytes = remote, folder, threads, on_bytes
        self._http = connections(threads, remote.ca)

    def run(self, to: str, name: str) -> Sent:
        """Send what is missing until nothing is, and complete the upload, as the artifact `name` of `to`.

        Raises what the server refuses, PreconditionFailed (a file is not what it was), Unavailable (storage is away).
        """
        manifest, files = self._folder.manifest, described(self._folder)
        begin = partial(self._remote.ask, BEGIN, input={"to": to, "name": name, "files": files})
        begun = begin()["beginUpload"]["upload"]
        sent = Sent(len(manifest.files), manifest.size, upload=begun["id"], digest=begun["digest"])
        idle, patience = 0, Patience(self._patience)
        while True:
            before = sent.bytes_sent
            problem = self._send_all(begun["id"], begin, sent)
            if problem is None:
                try:
                    made = self._remote.ask(COMPLETE, upload=begun["id"])["completeUpload"]["artifact"]
                except PreconditionFailed as error:
                    if not error.details.get("missing"):
                        raise
                    problem = error
                except Conflict as error:
                    # It expired meanwhile: whoever asks what is missing of it begins it again.
                    problem = error
                else:
                    sent.artifact = made["id"] if made else ""
                    return sent
            idle += 1
            if sent.bytes_sent != before:
                idle = 0
                patience.moved()
            # What storage refuses, it refuses in three minutes too.
            refused = not isinstance(problem, Unavailable) or refuses(problem.details.get("status", 0))
            if (refused and idle >= ROUNDS) or not patience.pause():
                raise problem

    def _send_all(self, upload: str, begin: Begin, sent: Sent) -> LinealError | None:
        """Send everything that is missing; what went wrong last, where anything did."""
        problem: LinealError | None = None
        waiting: dict[Future[int], str] = {}
        with ThreadPoolExecutor(self._threads) as pool, ThreadPoolExecutor(1) as ahead:
            pages = self._missing(upload, begin)
            following = ahead.submit(next, pages, None)
            try:
                while problem is None and (page := following.result()) is not None:
                    # The server looks for what else is missing while this is sent.
                    following = ahead.submit(next, pages, None)
                    waiting |= {
                        pool.submit(self._send, file, request): file["path"]
                        for file in page
                        for request in file["requests"]
                    }
                    problem = _await(waiting, self._threads, sent)
                problem = _await(waiting, 0, sent) or problem
            except BaseException:
                for each in waiting:
                    each.cancel()
                raise
        return problem

    def _missing(self, upload: str, begin: Begin) -> Iterator[Sequence[Mapping[str, Any]]]:
        """What is missing of an upload, which is begun again where it has expired. Raises NotFound, Conflict."""
        after, more, first = None, True, FIRST
        while more:
            found = self._remote.ask(MISSING, upload=upload, first=first, after=after)["upload"]
            first = PAGE
            if found is None:
                raise NotFound("the upload is gone; push again")
            if found["state"] == "EXPIRED":
                begin()
                continue
            if found["state"] == "ABORTED":
                raise Conflict(f"the upload {upload} is ABORTED: somebody gave it up; push again to begin anew")
            page = found["missing"]
            yield page["nodes"]
            more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]

    def _send(self, file: Mapping[str, Any], request: Mapping[str, Any]) -> int:
        """One request; the bytes that it took. Raises PreconditionFailed, Unavailable."""
        path, start, size = file["path"], int(request["start"]), int(request["size"])
        headers = {each["name"]: each["value"] for each in request["headers"]}
        with self._open(path) as source:
            source.seek(start)
            body = _Slice(source, size, self._on_bytes)
            try:
                response = self._http.request("PUT", request["url"], body=body, headers=headers, retries=False)
            except (urllib3.exceptions.HTTPError, EOFError) as error:
                self._on_bytes(-body.taken)
                self._refuse_changed(file, start, size)
                raise Unavailable(f"storage did not take {path!r}: {type(error).__name__}") from None
        # It may have been sent by somebody else meanwhile.
        if response.status < 300 or response.status == http.HTTPStatus.PRECONDITION_FAILED:
            return size
        self._on_bytes(-body.taken)
        if response.status == 400:
            self._refuse_changed(file, start, size)
        told = response.data[:300].decode("utf-8", "replace")
        raise Unavailable(f"storage answered {response.status} to {path!r}: {told}", status=response.status)

    def _refuse_changed(self, file: Mapping[str, Any], start: int, size: int) -> None:
        """Raises PreconditionFailed: these bytes of a file are not those that were read first."""
        blob = Blob(file["sha256"], int(file["size"]))
        digests = blob.part_digests(self._folder.parts.get(blob.sha256, ()))
        digest, left = hashlib.sha256(), size
        with self._open(file["path"]) as source:
            source.seek(start)
            while left and (data := source.read(min(CHUNK, left))):
                digest.update(data)
                left -= len(data)
        if left or digest.hexdigest() != digests[start // blob.part_size]:
            raise PreconditionFailed(f"{file['path']!r} changed while it was sent; push again when nobody writes to it")

    def _open(self, path: str) -> BinaryIO:
        try:
            return (self._folder.root / path).open("rb")
        except OSError as error:
            raise PreconditionFailed(f"{path!r} cannot be read any more: {error.strerror}") from None


def described(folder: Folder) -> list[dict[str, Any]]:
    """The files of a folder as `beginUpload` takes them."""
    return [
        {"path": f.path, "size": str(f.size), "sha256": f.sha256, "parts": list(folder.parts.get(f.sha256, ())) or None}
        for f in folder.manifest.files
    ]


def _await(waiting: dict[Future[int], str], most: int, sent: Sent) -> LinealError | None:
    """Wait until so many requests are left; what went wrong last, where storage did not take something."""
    problem: LinealError | None = None
    while len(waiting) > most:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for each in done:
            path = waiting.pop(each)
            try:
                sent.bytes_sent += each.result()
                sent.paths.add(path)
            except (Unavailable, Conflict) as error:
                problem = error
    return problem


class _Slice(io.RawIOBase):
    """Some bytes of a file, as the body of a request. Raises EOFError: the file is shorter."""

    def __init__(self, source: BinaryIO, size: int, on_bytes: Progress) -> None:
        self._source, self._left, self._on_bytes = source, size, on_bytes
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._source.read(wanted) if wanted else b""
        if len(data) < wanted:
            raise EOFError
        self._left -= len(data)
        self.taken += len(data)
        self._on_bytes(len(data))
        return data
