"""What clients send to an S3 store in parts, before anybody knows its digest.

    <prefix>/<workspace>/unnamed/<token>    an empty mark, and once all parts are there, what they come to

It is read once to learn its digest, and then copied to its place by the store itself.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from minio import S3Error

from lineal.errors import NotFound, PreconditionFailed
from storage.port import CHUNK, Arriving, Blob, Unnamed
from storage.s3_addresses import Addresses
from storage.s3_objects import Objects, Part, RefusedError
from storage.s3_options import HOT, S3Options

WRONG: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidRequest", "MalformedXML"})
"""What a store answers to whoever puts parts together that are others, too small, or not there."""

_UPLOAD: Final = re.compile(r"([0-9a-f]{32})-(.{1,1000})", re.DOTALL)

Run = Callable[..., Awaitable[Any]]
IsThere = Callable[[str, Blob], bool]


class S3Unnamed(Unnamed):
    """Uploads of an S3 store. `run` calls what waits in a thread, and says in Lineal's tree what goes wrong there."""

    def __init__(self, options: S3Options, objects: Objects, addresses: Addresses, run: Run, is_there: IsThere) -> None:
        self._options = options
        self._objects = objects
        self._addresses = addresses
        self._run = run
        self._is_there = is_there

    async def begin(self, workspace: str, count: int, *, seconds: int) -> tuple[str, list[str]]:
        def begin() -> tuple[str, list[str]]:
            place, token = self._options.place(workspace), secrets.token_hex(16)
            key, headers = place.unnamed + token, dict[str, Any](self._options.encryption_headers)
            self._objects.put(place.bucket, key, b"")
            upload = self._objects.client._create_multipart_upload(place.bucket, key, headers)
            urls = [
                self._addresses.put_part(place.bucket, key, upload, number, seconds=seconds)
                for number in range(1, count + 1)
            ]
            return f"{token}-{upload}", urls

        begun: tuple[str, list[str]] = await self._run(begin)
        return begun

    def sent(self, workspace: str, upload: str, tags: Mapping[int, str]) -> Arriving:
        bucket, key, id = self._known(workspace, upload)

        def finish() -> Blob:
            parts = [Part(number, tags[number], 0, "", None) for number in sorted(tags)]
            try:
                self._objects.complete(bucket, key, id, parts, over=True)
            except (S3Error, RefusedError) as error:
                if error.code not in WRONG:
                    raise
                raise PreconditionFailed(
                    "parts: they are not as they were sent, or too small", field="parts"
                ) from error
            digest, size = hashlib.sha256(), 0
            response = self._objects.client.get_object(bucket, key)
            try:
                for chunk in response.stream(CHUNK, decode_content=False):
                    digest.update(chunk)
                    size += len(chunk)
            finally:
                response.close()
            return Blob(digest.hexdigest(), size)

        def keep(blob: Blob) -> None:
            if not self._is_there(workspace, blob):
                self._objects.copy(bucket, key, self._options.place(workspace).blob(HOT, blob.sha256), "")

        def close() -> None:
            self._objects.abort(bucket, key, id)
            self._objects.remove(bucket, [key])

        return _Sent(self._run, finish, keep, close)

    async def drop(self, workspace: str, upload: str) -> None:
        async with self.sent(workspace, upload, {}):
            pass

    def _known(self, workspace: str, upload: str) -> tuple[str, str, str]:
        """The bucket, key and id of an upload. Raises NotFound: there can be none like this."""
        match = _UPLOAD.fullmatch(upload)
        if match is None:
            raise NotFound("upload_id: there is no such upload", field="upload_id")
        place = self._options.place(workspace)
        return place.bucket, place.unnamed + match[1], match[2]


class _Sent(Arriving):
    """One upload whose parts were sent."""

    def __init__(
        self, run: Run, finish: Callable[[], Blob], keep: Callable[[Blob], None], close: Callable[[], None]
    ) -> None:
        self._run = run
        self._finish = finish
        self._keep = keep
        self._close = close

    async def finish(self) -> Blob:
        blob: Blob = await self._run(self._finish)
        return blob

    async def keep(self, blob: Blob) -> None:
        await self._run(self._keep, blob)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(self._close)
