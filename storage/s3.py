"""Bytes in MinIO or S3, which clients send there and fetch from there by themselves.

    <prefix>/<workspace>/blobs/<aa>/<sha256>        what is whole
    <prefix>/<workspace>/cold/<aa>/<sha256>         the same, kept cold
    <prefix>/<workspace>/sending/<sha256>           an empty mark: it may be on its way in parts
    <prefix>/<workspace>/unnamed/<token>            see storage.s3_unnamed
    <prefix>/<workspace>/documents/<name>

The marks are there because MinIO lists multipart uploads by whole keys only.
"""

from __future__ import annotations

import heapq
import itertools
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

from minio import S3Error
from minio.datatypes import Object
from minio.error import MinioException
from minio.helpers import MIN_PART_SIZE
from minio.retention import Retention
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from lineal.breaking import Breaker
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed, Unavailable
from storage.incoming import Gathered
from storage.naming import check_digest, check_document, is_digest, is_document
from storage.port import CHUNK, TOO_LATE, Blob, Incoming, Send, Storage, Stored
from storage.s3_addresses import COPIED, UNSIGNED, Addresses, Block
from storage.s3_objects import MISSING, NO_LOCK, TAKEN, Objects, RefusedError, retained_until
from storage.s3_options import COLD, HOT, Place, S3Options
from storage.s3_unnamed import S3Unnamed
from storage.sigv4 import presigned
from storage.threads import Threads

LIST_FROM: Final = 16
"""So many blobs on one page of a listing are looked for by it, fewer one by one."""
PAGE: Final = 1_000
"""Keys that a listing gives in one answer."""

T = TypeVar("T")
R = TypeVar("R")


class S3Storage(Storage):
    """A store in the buckets of these options."""

    def __init__(self, options: S3Options, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.name = f"s3://{options.places[0]}"
        self._clock = clock
        self._breaker = Breaker("storage", "", _is_away)
        self._threads = Threads(options.threads, "s3")
        self._many = ThreadPoolExecutor(options.threads, "s3-many")
        self._http = options.http()
        self._credentials = options.credentials(self._http)
        self._objects = Objects(options.client(self._http, self._credentials), options.encryption_headers)
        self._addresses = Addresses(options, self._credentials, clock)
        self.unnamed = S3Unnamed(options, self._objects, self._addresses, self._run, self._is_there)

    async def open(self) -> None:
        await self._run(self._open)

    def _open(self) -> None:
        for place in self.options.places:
            client = self._objects.client
            if not client.bucket_exists(place.bucket):
                raise InvalidArgument(f"there is no bucket {place.bucket} in the store {self.options.endpoint}")
            # What is begun and dropped shows that writing is allowed, and leaves nothing that a lock could keep.
            key = f"{place.marks}probe"
            headers: dict[str, Any] = dict(self.options.encryption_headers)
            upload = client._create_multipart_upload(place.bucket, key, headers)
            try:
                lax = self._takes_unsigned(place, key, upload)
            finally:
                self._objects.abort(place.bucket, key, upload)
            if lax:
                self._addresses.lax[place.bucket] = self._locks(place.bucket)

    def _takes_unsigned(self, place: Place, key: str, upload: str) -> bool:
        """Whether the store takes headers that nobody signed, unless it is kept from it.

        Raises Unavailable: it takes nothing that is sent to an address; InvalidArgument: it cannot be kept from it.
        """
        url = self._objects.client._base_url.build(
            method="PUT",
            region=self.options.region,
            bucket_name=place.bucket,
            object_name=key,
            query_params={"partNumber": "1", "uploadId": upload},
        )

        def sent(absent: Sequence[str] = (), **headers: str) -> int:
            address = presigned(
                "PUT",
                url.geturl(),
                headers={},
                credentials=self._credentials.retrieve(),
                region=self.options.region,
                at=self._clock(),
                seconds=60,
                absent=absent,
            )
            return self._http.request("PUT", address, body=b"probe", headers=headers).status

        unsigned = {COPIED: f"/{place.bucket}/{key}"}
        if (status := sent()) != HTTPStatus.OK:
            raise Unavailable(f"{self.name}: the store answered {status} to what was sent to an address of it")
        if sent(**unsigned) == HTTPStatus.FORBIDDEN:
            return False
        if sent(UNSIGNED) != HTTPStatus.OK or sent(UNSIGNED, **unsigned) != HTTPStatus.FORBIDDEN:
            msg = (
                f"the store {self.options.endpoint} takes headers that were not signed, so that whoever may send one "
                "object can have another one copied in its place, and it cannot be kept from it, as MinIO can"
            )
            raise InvalidArgument(msg)
        return True

    def _locks(self, bucket: str) -> bool:
        try:
            return self._objects.locks(bucket)
        except S3Error as error:
            if error.code != "AccessDenied":
                raise
            msg = (
                f"the bucket {bucket} does not tell Lineal about its object lock (s3:GetBucketObjectLockConfiguration)"
            )
            raise InvalidArgument(msg) from error

    async def close(self) -> None:
        self._threads.close()
        self._many.shutdown(wait=False)
        self._http.clear()

    # ── Blobs in ──────────────────────────────────────────────────────────────────────────────────

    async def present(self, workspace: str, blobs: Sequence[Blob]) -> set[str]:
        wanted = {check_digest(blob.sha256): blob.size for blob in blobs}

        def look() -> set[str]:
            # Where nothing is kept cold, which one question tells, that need not be asked for each.
            place = self.options.place(workspace)
            some = next(self._objects.listed(place.bucket, f"{place.prefix}{COLD}/"), None) if wanted else None
            places = (HOT,) if some is None else (HOT, COLD)
            sizes, left = self._listed_sizes(workspace, sorted(wanted))
            if COLD in places:
                left = sorted(wanted.keys() - sizes.keys())
            found = self._all(lambda sha256: self._find(workspace, sha256, places), left)
            sizes |= {stored.sha256: stored.size for stored in found if stored is not None}
            return {sha256 for sha256, size in sizes.items() if wanted[sha256] == size}

        return await self._run(look)

    def _listed_sizes(self, workspace: str, digests: Sequence[str]) -> tuple[dict[str, int], Sequence[str]]:
        """The sizes of those that are listed, and those that the listing did not get to; they are sorted.

        A page of a listing tells of a thousand keys at the price of a few questions for one. It goes on while each
        tells of enough.
        """
        sizes, wanted, told = dict[str, int](), set(digests), 0
        if len(digests) < LIST_FROM:
            return sizes, digests
        place = self.options.place(workspace)
        after = place.blob(HOT, digests[0])[:-1]
        items = self._objects.listed(place.bucket, f"{place.prefix}{HOT}/", after)
        while page := list(itertools.islice(items, PAGE)):
            sizes |= {sha256: item.size or 0 for item in page if (sha256 := _digest(item)) in wanted}
            # By the whole key: what others have put there has no digest for a name.
            last = str(page[-1].object_name)
            before, told = told, bisect_right(digests, last, key=lambda sha256: place.blob(HOT, sha256))
            if told == len(digests) or (len(page) == PAGE and told - before < LIST_FROM):
                return sizes, digests[told:]
        return sizes, []

    async def find(self, workspace: str, sha256: str) -> Stored | None:
        return await self._run(self._find, workspace, sha256)

    async def sends(
        self,
        workspace: str,
        blob: Blob,
        parts: Sequence[str] = (),
        *,
        seconds: int,
        base: str = "",  # noqa: ARG002
        absent: bool = False,
    ) -> list[Send]:
        digests = blob.part_digests(parts)
        if not absent and await self._run(self._is_there, workspace, blob):
            return []
        return await self._run(self._sends, workspace, blob, digests, seconds)

    def _sends(self, workspace: str, blob: Blob, digests: Sequence[str], seconds: int) -> list[Send]:
        place = self.options.place(workspace)
        key = place.blob(HOT, blob.sha256)
        if blob.part_count == 1:
            whole = Block(0, blob.size, blob.sha256)
            return [
                self._addresses.put(place.bucket, key, whole, seconds=seconds, headers=self.options.encryption_headers)
            ]
        if self._is_whole(workspace, blob):
            return []
        self._objects.put(place.bucket, place.mark(blob.sha256), b"")
        upload = self._objects.upload(place.bucket, key)
        there = {part.number: (part.size, part.sha256) for part in self._objects.parts(place.bucket, key, upload)}
        blocks = (Block(start, size, digest) for (start, size), digest in zip(blob.parts(), digests, strict=True))
        return [
            self._addresses.put(
                place.bucket, key, block, seconds=seconds, query={"partNumber": str(i), "uploadId": upload}
            )
            for i, block in enumerate(blocks, 1)
            if there.get(i) != (block.size, block.sha256)
        ]

    async def seal(self, workspace: str, blob: Blob) -> bool:
        await self._run(self._seal, workspace, blob)
        return blob.part_count == 1

    def _is_whole(self, workspace: str, blob: Blob) -> bool:
        """Whether it is there. Raises PreconditionFailed: what is there by its digest has another size."""
        found = self._find(workspace, blob.sha256)
        if found is not None and found.size != blob.size:
            msg = f"the blob {blob.sha256} is there with {found.size:,} bytes, and has not {blob.size:,}"
            raise PreconditionFailed(msg)
        return found is not None

    def _seal(self, workspace: str, blob: Blob) -> None:
        if self._is_whole(workspace, blob):
            return
        place = self.options.place(workspace)
        key = place.blob(HOT, blob.sha256)
        uploads = self._objects.uploads(place.bucket, key) if blob.part_count > 1 else []
        if not uploads:
            # Another one may have put it together since this one looked.
            if self._is_whole(workspace, blob):
                return
            raise PreconditionFailed(f"nothing was sent of the blob {blob.sha256}")
        upload = str(uploads[0].upload_id)
        try:
            parts = self._objects.parts(place.bucket, key, upload)
            expected = [(number, size) for number, (_, size) in enumerate(blob.parts(), 1)]
            missing = len(set(expected) - {(part.number, part.size) for part in parts})
            if missing or len(parts) != len(expected):
                msg = f"{missing} of {len(expected)} parts of the blob {blob.sha256} were not sent"
                raise PreconditionFailed(msg)
            self._objects.complete(place.bucket, key, upload, parts)
        except (S3Error, RefusedError) as error:
            # Another one put it together, or sent a part again, since this one looked.
            if error.code not in {*MISSING, "InvalidPart", TAKEN}:
                raise
            if not self._is_whole(workspace, blob):
                raise PreconditionFailed(f"the parts of the blob {blob.sha256} are being sent") from error
        for other in self._objects.uploads(place.bucket, key):
            self._objects.abort(place.bucket, key, str(other.upload_id))
        self._objects.remove(place.bucket, [place.mark(blob.sha256)])

    def incoming(self, workspace: str) -> Incoming:
        def keep(path: Path, blob: Blob) -> None:
            if not self._is_there(workspace, blob):
                self._put_file(self.options.place(workspace), blob, path)

        return Gathered(self._run, None, keep)

    def _put_file(self, place: Place, blob: Blob, path: Path) -> None:
        key, mark = place.blob(HOT, blob.sha256), place.mark(blob.sha256)
        # The package sends in parts what is larger, and what it began is left where this process ends before it.
        if blob.size <= MIN_PART_SIZE:
            self._objects.put_file(place.bucket, key, path)
            return
        self._objects.put(place.bucket, mark, b"")
        self._objects.put_file(place.bucket, key, path)
        # A client may be sending the same in parts, by the same mark.
        if not self._objects.uploads(place.bucket, key):
            self._objects.remove(place.bucket, [mark])

    # ── Blobs out ─────────────────────────────────────────────────────────────────────────────────

    async def link(self, workspace: str, sha256: str, *, filename: str, seconds: int, base: str = "") -> str:  # noqa: ARG002
        def link() -> str:
            bucket, key, _ = self._known(workspace, sha256)
            return self._addresses.get(bucket, key, filename=filename, seconds=seconds)

        return await self._run(link)

    async def read(self, workspace: str, sha256: str, start: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        response, left, chunk = await self._run(self._opened, workspace, sha256, start, size)
        try:
            while chunk:
                yield chunk
                chunk = await self._run(_read, response, left) if response and left else b""
                left -= len(chunk)
            if left:
                raise Unavailable(f"{self.name}: a blob ended before its size")
        finally:
            # One that is at its end has given its connection back; no other can serve another request.
            if response and left:
                await self._run(response.close)

    def _opened(
        self, workspace: str, sha256: str, start: int, size: int | None
    ) -> tuple[BaseHTTPResponse | None, int, bytes]:
        """An answer that gives bytes of a blob, how many more, and the first of them, which often are all of them.

        Raises NotFound.
        """
        response, left = self._asked(workspace, sha256, start, size)
        chunk = _read(response, left) if response else b""
        return response, left - len(chunk), chunk

    def _asked(self, workspace: str, sha256: str, start: int, size: int | None) -> tuple[BaseHTTPResponse | None, int]:
        get, place = self._objects.client.get_object, self.options.place(workspace)
        if size:
            # Where it is to be expected, one question is enough; it may be cold, or end before `start`.
            with suppress(S3Error):
                response = get(place.bucket, place.blob(HOT, sha256), start, size)
                return response, int(response.headers["content-length"])
        bucket, key, length = self._known(workspace, sha256)
        left = length - start if size is None else min(size, length - start)
        return (get(bucket, key, start, left), left) if left > 0 else (None, 0)

    # ── Blobs as a whole ──────────────────────────────────────────────────────────────────────────

    async def blobs(self, workspace: str) -> AsyncIterator[Stored]:
        with self._translated():
            async for stored in self._threads.each(self._blobs(workspace)):
                yield stored

    def _blobs(self, workspace: str) -> Iterator[Stored]:
        place = self.options.place(workspace)
        hot, cold = (self._objects.listed(place.bucket, f"{place.prefix}{where}/") for where in (HOT, COLD))
        both = heapq.merge(
            ((_digest(item), False, item) for item in hot),
            ((_digest(item), True, item) for item in cold),
            key=lambda entry: entry[:2],
        )
        for sha256, same in itertools.groupby(both, key=lambda entry: entry[0]):
            _, is_cold, item = next(iter(same))
            if is_digest(sha256):
                yield _stored(sha256, item, cold=is_cold)

    async def remove(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> set[str]:
        place = self.options.place(workspace)
        keys = [place.blob(where, sha256) for sha256 in digests for where in (HOT, COLD)]
        locked = await self._run(self._remove, place.bucket, keys, until)
        return {key.rpartition("/")[2] for key in locked}

    def _remove(self, bucket: str, keys: Sequence[str], until: float | None) -> set[str]:
        """Remove objects; the keys of those that are locked. Raises Unavailable: it is later than `until`."""
        if until is None:
            batches = [keys[i : i + PAGE] for i in range(0, len(keys), PAGE)]
            return set().union(*self._all(lambda batch: self._objects.remove(bucket, batch), batches))
        versioned = self._objects.versioned(bucket)

        def remove(key: str) -> bool:
            if self._clock() > until:
                raise Unavailable(TOO_LATE, retry=True)
            return self._objects.remove_until(bucket, key, until, versioned=versioned)

        gone = self._all(remove, keys)
        return {key for key, removed in zip(keys, gone, strict=True) if not removed}

    async def hide(self, workspace: str, digests: Sequence[str], *, until: float) -> None:
        place = self.options.place(workspace)
        keys = [place.blob(where, sha256) for sha256 in digests for where in (HOT, COLD)]
        await self._run(self._all, lambda key: self._objects.hide(place.bucket, key, until), keys)

    async def quiet(self, workspace: str) -> bool:  # noqa: ARG002
        # The store itself refuses what comes too late.
        return True

    async def abandon(self, workspace: str, before: int, keep: Callable[[str], bool] = lambda _: False) -> int:
        return await self._run(self._abandon, workspace, before, keep)

    def _abandon(self, workspace: str, before: int, keep: Callable[[str], bool]) -> int:
        place, dropped, marks = self.options.place(workspace), 0, list[str]()
        for mark in self._objects.listed(place.bucket, place.marks):
            sha256 = _digest(mark)
            if not is_digest(sha256) or (keep(sha256) and self._find(workspace, sha256) is None):
                continue
            idle = self._drop_idle(place.bucket, place.blob(HOT, sha256), before)
            dropped += idle is True
            if idle is not False and _micros(mark.last_modified) < before:
                marks.append(str(mark.object_name))
        for item in self._objects.listed(place.bucket, place.unnamed):
            idle = self._drop_idle(place.bucket, str(item.object_name), before)
            dropped += idle is True
            if idle is not False and _micros(item.last_modified) < before:
                marks.append(str(item.object_name))
        self._objects.remove(place.bucket, marks)
        return dropped

    def _drop_idle(self, bucket: str, key: str, before: int) -> bool | None:
        """Whether all uploads of a key were idle, and are dropped; None when there were none."""
        idle: bool | None = None
        for upload in self._objects.uploads(bucket, key):
            id = str(upload.upload_id)
            times = [upload.initiated_time, *(part.modified for part in self._objects.parts(bucket, key, id))]
            if max(map(_micros, times)) >= before:
                return False
            self._objects.abort(bucket, key, id)
            idle = True
        return idle

    async def chill(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:
        await self._run(self._move_all, workspace, digests, HOT, COLD, self.options.cold_class, until)

    async def warm(self, workspace: str, digests: Sequence[str], *, until: float | None = None) -> None:
        await self._run(self._move_all, workspace, digests, COLD, HOT, "", until)

    def _move_all(  # noqa: PLR0917
        self,
        workspace: str,
        digests: Sequence[str],
        here: str,
        there: str,
        storage_class: str,
        until: float | None,
    ) -> None:
        place = self.options.place(workspace)

        def move(sha256: str) -> None:
            key, to = place.blob(here, sha256), place.blob(there, sha256)
            found = self._objects.stat(place.bucket, key)
            if found is None or _is_retained(found, self._clock()):
                return
            copied = self._objects.stat(place.bucket, to)
            if copied is None or copied.size != found.size:
                self._objects.copy(place.bucket, key, to, storage_class)
            if until is None:
                self._objects.remove(place.bucket, [key])
            elif self._clock() < until:
                self._objects.remove_until(place.bucket, key, until, versioned=versioned)

        versioned = until is not None and self._objects.versioned(place.bucket)
        self._all(move, digests)

    async def retain(self, workspace: str, digests: Sequence[str], until: int) -> None:
        kept = Retention(self.options.lock, datetime.fromtimestamp(until / 1e6, UTC))

        def retain(sha256: str) -> None:
            bucket, key, _ = self._known(workspace, sha256)
            if self._objects.retained(bucket, key) >= until / 1e6:
                return
            try:
                self._objects.client.set_object_retention(bucket, key, kept)
            except S3Error as error:
                # Another one may have kept it for longer since this one looked: a store lets nobody shorten that.
                if self._objects.retained(bucket, key) >= until / 1e6:
                    return
                if error.code not in NO_LOCK or self._objects.locks(bucket):
                    raise
                msg = f"the bucket {bucket} cannot keep objects from being removed: it has no object lock"
                raise PreconditionFailed(msg) from error

        await self._run(self._all, retain, digests)

    # ── Documents ─────────────────────────────────────────────────────────────────────────────────

    async def put(self, workspace: str, name: str, data: bytes) -> None:
        place = self.options.place(workspace)
        await self._run(self._objects.put, place.bucket, place.document(name), data)

    async def get(self, workspace: str, name: str) -> bytes | None:
        place = self.options.place(workspace)
        return await self._run(self._objects.get, place.bucket, place.document(name))

    async def written(self, workspace: str, name: str) -> int:
        place = self.options.place(workspace)
        found = await self._run(self._objects.stat, place.bucket, place.document(name))
        return 0 if found is None else _micros(found.last_modified)

    async def documents(self, workspace: str, prefix: str) -> AsyncIterator[str]:
        place = self.options.place(workspace)
        beginning = place.documents + check_document(prefix, prefix=True)
        with self._translated():
            async for item in self._threads.each(self._objects.listed(place.bucket, beginning)):
                if is_document(name := str(item.object_name).removeprefix(place.documents)):
                    yield name

    async def discard(self, workspace: str, name: str, *, until: float | None = None) -> None:
        place = self.options.place(workspace)
        await self._run(self._discard, place.bucket, place.document(name), until)

    def _discard(self, bucket: str, key: str, until: float | None) -> None:
        if self._remove(bucket, [key], until):
            self._objects.hide(bucket, key, until)

    # ── Looking for one ───────────────────────────────────────────────────────────────────────────

    def _find(self, workspace: str, sha256: str, places: Sequence[str] = (HOT, COLD)) -> Stored | None:
        place = self.options.place(workspace)
        for where in places:
            if (found := self._objects.stat(place.bucket, place.blob(where, sha256))) is not None:
                return _stored(sha256, found, cold=where == COLD)
        return None

    def _known(self, workspace: str, sha256: str) -> tuple[str, str, int]:
        """The bucket, key and size of a blob. Raises NotFound."""
        # Twice, for it may have been moved back while this looked in the second place.
        found = self._find(workspace, sha256) or self._find(workspace, sha256)
        if found is None:
            raise NotFound(f"there is no blob {sha256}")
        place = self.options.place(workspace)
        return place.bucket, place.blob(COLD if found.cold else HOT, sha256), found.size

    def _is_there(self, workspace: str, blob: Blob) -> bool:
        found = self._find(workspace, blob.sha256)
        return found is not None and found.size == blob.size

    # ── Calls ─────────────────────────────────────────────────────────────────────────────────────

    def _all(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The function for each item, many at once; the first error ends it, once nothing is on its way any more."""
        calls = [self._many.submit(function, item) for item in items]
        try:
            return [call.result() for call in calls]
        finally:
            for call in calls:
                call.cancel()
            wait(calls)

    async def _run(self, function: Callable[..., R], *arguments: Any) -> R:
        with self._translated(), self._breaker():
            return await self._threads.run(function, *arguments)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the store or the way to it refuses is Unavailable, and says no more than a code.

        Where no answer came, it is `unsure`: the store may have been reached, and may still do what it was asked for.
        """
        try:
            yield
        except (S3Error, RefusedError) as error:
            if error.code in MISSING:
                raise NotFound("it is not in the store") from error
            raise Unavailable(f"{self.name}: the store answered {error.code}") from error
        except (MinioException, HTTPError, OSError) as error:
            msg = f"{self.name}: the store cannot be reached ({type(error).__name__})"
            raise Unavailable(msg, unsure=True) from error


def _is_away(error: Exception) -> bool:
    """Whether the store did not answer: what it refuses is an answer, with any code."""
    return isinstance(error, (MinioException, HTTPError, OSError)) and not isinstance(error, S3Error)


def _read(response: BaseHTTPResponse, left: int) -> bytes:
    """The next bytes as they are kept, whatever is said of how they are encoded."""
    return response.read(min(CHUNK, left), decode_content=False)


def _digest(item: Object) -> str:
    return str(item.object_name).rpartition("/")[2]


def _stored(sha256: str, item: Object, *, cold: bool) -> Stored:
    modified = _micros(item.last_modified)
    return Stored(sha256, item.size or 0, modified, cold, f"{item.etag}-{modified}")


def _micros(when: datetime | None) -> int:
    return 0 if when is None else int(when.timestamp() * 1_000_000)


def _is_retained(item: Object, now: float) -> bool:
    headers = item.metadata or {}
    if headers.get("x-amz-object-lock-legal-hold") == "ON":
        return True
    return retained_until(item) > now
