"""What is asked of an S3 store, in threads that wait: the `minio` package, and what it leaves out."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from minio import Minio, S3Error, xml
from minio.commonconfig import REPLACE, CopySource
from minio.datatypes import Object, Upload
from minio.deleteobjects import DeleteError, DeleteObject
from minio.sse import Sse
from minio.time import from_iso8601utc
from minio.xml import findall, findtext, getbytes, unmarshal

MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload"})
LOCKED: Final = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked", "MethodNotAllowed"})
"""What a store answers to whoever deletes a version that is locked, among other things."""
TAKEN: Final = "PreconditionFailed"
"""What a store answers to whoever puts together what is there already."""
RETAINED: Final = "x-amz-object-lock-retain-until-date"
NO_LOCK: Final = frozenset({"InvalidRequest", "ObjectLockConfigurationNotFoundError", "NotImplemented"})
"""What a store answers to whoever wants to retain what is in a bucket without object lock, among other things."""
SIGNED_SECONDS: Final = 600
"""For how long a request to remove something is signed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload that the store has."""

    number: int
    etag: str
    size: int
    sha256: str
    modified: datetime | None

    @classmethod
    def fromxml(cls, element: Element) -> Part:
        """From an answer."""
        digest = findtext(element, "ChecksumSHA256") or ""
        modified = findtext(element, "LastModified")
        return cls(
            int(findtext(element, "PartNumber", True) or 0),
            findtext(element, "ETag", True) or "",
            int(findtext(element, "Size", True) or 0),
            base64.b64decode(digest).hex(),
            from_iso8601utc(modified) if modified else None,
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    parts: list[Part]
    next: str

    @classmethod
    def fromxml(cls, element: Element) -> _Parts:
        more = (findtext(element, "IsTruncated") or "").lower() == "true"
        following = findtext(element, "NextPartNumberMarker") or ""
        return cls([Part.fromxml(tag) for tag in findall(element, "Part")], following if more else "")


@dataclass(frozen=True, slots=True)
class _Completed:
    code: str

    @classmethod
    def fromxml(cls, element: Element) -> _Completed:
        # An answer that took long may begin well and be an error all the same.
        failed = element.tag.rpartition("}")[2] == "Error"
        return cls((findtext(element, "Code") or "InternalError") if failed else "")


class RefusedError(Exception):
    """The store refused something in an answer that was none of an error by itself."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Encryption(Sse):
    """The headers of encryption for the package, which would have a class for each kind of it."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def headers(self) -> dict[str, str]:
        return dict(self._headers)


class Objects:
    """The objects of a store. Every method waits, and raises what the package raises."""

    def __init__(self, client: Minio, encryption: Mapping[str, str]) -> None:
        self.client = client
        self.http = client._http
        self._encryption = encryption

    # ── One object ────────────────────────────────────────────────────────────────────────────────

    def stat(self, bucket: str, key: str) -> Object | None:
        """What the store tells of an object, or None."""
        try:
            return self.client.stat_object(bucket, key)
        except S3Error as error:
            _check_missing(error)
            return None

    def retained(self, bucket: str, key: str) -> float:
        """Until when nobody can remove an object, in seconds since the epoch; 0 where anybody can."""
        found = self.stat(bucket, key)
        return 0.0 if found is None else retained_until(found)

    def locks(self, bucket: str) -> bool:
        """Whether objects of a bucket can be retained."""
        try:
            self.client.get_object_lock_config(bucket)
        except S3Error as error:
            if error.code not in NO_LOCK:
                raise
            return False
        return True

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write an object whole."""
        self.client.put_object(bucket, key, BytesIO(data), len(data), sse=self._sse)

    def put_file(self, bucket: str, key: str, path: Path) -> None:
        """Write a file as an object, in parts where it is large."""
        self.client.fput_object(bucket, key, str(path), sse=self._sse)

    def get(self, bucket: str, key: str) -> bytes | None:
        """An object whole, or None."""
        try:
            response = self.client.get_object(bucket, key)
        except S3Error as error:
            _check_missing(error)
            return None
        try:
            return bytes(response.read(decode_content=False))
        finally:
            response.close()

    def copy(self, bucket: str, key: str, to: str, storage_class: str) -> None:
        """Copy an object within its bucket; the store does it."""
        metadata: dict[str, Any] = {"x-amz-storage-class": storage_class} if storage_class else {}
        self.client.copy_object(
            bucket,
            to,
            CopySource(bucket, key),
            sse=self._sse,
            metadata={"content-type": "application/octet-stream", **metadata},
            metadata_directive=REPLACE,
        )

    @property
    def _sse(self) -> Sse | None:
        return _Encryption(self._encryption) if self._encryption else None

    # ── Many ──────────────────────────────────────────────────────────────────────────────────────

    def listed(self, bucket: str, prefix: str, after: str = "") -> Iterator[Object]:
        """Objects by key, as they come, page for page."""
        return iter(self.client.list_objects(bucket, prefix, recursive=True, start_after=after or None))

    def remove(self, bucket: str, keys: Sequence[str]) -> set[str]:
        """Remove objects with all their versions; the keys of those that are locked."""
        locked = set()
        for error in self._removed(bucket, keys):
            if error.code in MISSING:
                continue
            if error.code not in LOCKED or not self._is_locked(bucket, error.name or "", error.version_id):
                raise RefusedError(error.code)
            locked.add(error.name or "")
        return locked

    def versioned(self, bucket: str) -> bool:
        """Whether a bucket keeps, or has kept, several versions of an object."""
        return bool(self.client.get_bucket_versioning(bucket).status)

    def remove_until(self, bucket: str, key: str, until: float, *, versioned: bool) -> bool:
        """Remove an object with all its versions; whether none is locked. After `until` the store refuses that.

        A request whose signature goes by the time at which it is sent would be good whenever that is. These are signed
        for a time that ends at `until`, whenever they are made and sent.
        """
        versions = [each.version_id for each in self._versions(bucket, [key])] if versioned else [None]
        removed = True
        for version in versions:
            code = self._delete_until(bucket, key, version, until)
            if code in {"", *MISSING}:
                continue
            if code not in LOCKED or not self._is_locked(bucket, key, version):
                raise RefusedError(code)
            removed = False
        return removed

    def hide(self, bucket: str, key: str, until: float | None) -> None:
        """Have an object that is locked be there no more, though its bytes are kept. With `until` as `remove_until`."""
        # Of a bucket with locks, a removal that names no version adds a mark on top of all that there are.
        if until is None:
            self.client.remove_object(bucket, key)
        elif code := self._delete_until(bucket, key, None, until):
            raise RefusedError(code)

    def _delete_until(self, bucket: str, key: str, version: str | None, until: float) -> str:
        """Ask for a removal; the code of the store's refusal, or nothing."""
        url = self.client.get_presigned_url(
            "DELETE",
            bucket,
            key,
            expires=timedelta(seconds=SIGNED_SECONDS),
            request_date=datetime.fromtimestamp(int(until) - SIGNED_SECONDS, UTC),
            version_id=version,
        )
        answer = self.http.request("DELETE", url)
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return ""
        code = unmarshal(_Completed, answer.data.decode()).code if answer.data else ""
        return code or f"status {answer.status}"

    def _removed(self, bucket: str, keys: Sequence[str]) -> Iterator[DeleteError]:
        if not self.versioned(bucket):
            return iter(self.client.remove_objects(bucket, map(DeleteObject, keys)))
        return iter(self.client.remove_objects(bucket, self._versions(bucket, keys)))

    def _versions(self, bucket: str, keys: Iterable[str]) -> Iterator[DeleteObject]:
        for key in keys:
            for version in self.client.list_objects(bucket, key, include_version=True):
                if version.object_name == key:
                    yield DeleteObject(key, version.version_id)

    def _is_locked(self, bucket: str, key: str, version: str | None) -> bool:
        try:
            stat = self.client.stat_object(bucket, key, version_id=version)
        except S3Error:
            return False
        headers = stat.metadata or {}
        return RETAINED in headers or headers.get("x-amz-object-lock-legal-hold") == "ON"

    # ── In parts ──────────────────────────────────────────────────────────────────────────────────

    def uploads(self, bucket: str, key: str) -> list[Upload]:
        """The uploads of just this key that are in flight, the oldest first: the one that all clients share."""
        found = self.client._list_multipart_uploads(bucket, prefix=key).uploads
        mine = [upload for upload in found if upload.object_name == key and upload.upload_id]
        return sorted(mine, key=lambda upload: (str(upload.initiated_time), str(upload.upload_id)))

    def upload(self, bucket: str, key: str) -> str:
        """The upload of this key that all clients share; it is begun where there is none."""
        if not (uploads := self.uploads(bucket, key)):
            headers: dict[str, Any] = {"x-amz-checksum-algorithm": "SHA256", **self._encryption}
            mine = self.client._create_multipart_upload(bucket, key, headers)
            # Another one may have begun at the same moment: the oldest stays.
            uploads = self.uploads(bucket, key)
            if not uploads:
                return mine
            if uploads[0].upload_id != mine:
                self.abort(bucket, key, mine)
        return str(uploads[0].upload_id)

    def parts(self, bucket: str, key: str, upload: str) -> list[Part]:
        """The parts that the store has of an upload, by number."""
        parts, marker = list[Part](), "0"
        while marker:
            query: dict[str, Any] = {"uploadId": upload, "part-number-marker": marker, "max-parts": "1000"}
            answer = self.client._execute("GET", bucket, key, query_params=query)
            page = unmarshal(_Parts, answer.data.decode())
            parts += page.parts
            marker = page.next
        return parts

    def complete(self, bucket: str, key: str, upload: str, parts: Sequence[Part], *, over: bool = False) -> None:
        """Put an upload together, `over` what is there or where nothing is."""
        element = xml.Element("CompleteMultipartUpload")
        for part in parts:
            tag = xml.SubElement(element, "Part")
            xml.SubElement(tag, "PartNumber", str(part.number))
            xml.SubElement(tag, "ETag", part.etag)
            if part.sha256:
                xml.SubElement(tag, "ChecksumSHA256", base64.b64encode(bytes.fromhex(part.sha256)).decode())
        headers: dict[str, Any] = {"Content-Type": "application/xml", **({} if over else {"If-None-Match": "*"})}
        answer = self.client._execute("POST", bucket, key, getbytes(element), headers, {"uploadId": upload})
        code = unmarshal(_Completed, answer.data.decode()).code
        if code:
            raise RefusedError(code)

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Drop an upload. One that is not there is no error."""
        try:
            self.client._abort_multipart_upload(bucket, key, upload)
        except S3Error as error:
            _check_missing(error)


def retained_until(item: Object) -> float:
    """Until when an object that was looked at is retained, in seconds since the epoch; 0 where it is not."""
    until = (item.metadata or {}).get(RETAINED)
    return 0.0 if until is None else datetime.fromisoformat(str(until)).timestamp()


def _check_missing(error: S3Error) -> None:
    """What is not there is no error."""
    if error.code not in MISSING:
        raise error
