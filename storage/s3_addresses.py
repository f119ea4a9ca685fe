"""Addresses of an S3 store that open one thing for a while."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from minio.credentials.providers import Provider

from storage.naming import attachment
from storage.port import Send
from storage.s3_options import S3Options
from storage.sigv4 import presigned

CHECKSUM: Final = "x-amz-checksum-sha256"
COPIED: Final = "x-amz-copy-source"
"""The header by which whoever sends something asks the store to copy what is elsewhere in the place of it."""
ALGORITHM: Final = "x-amz-checksum-algorithm"
"""The header by which whoever sends something says which of its checksums the store is to look at."""
UNSIGNED: Final = (
    ALGORITHM,
    "x-amz-content-sha256",
    COPIED,
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-trailer",
    "x-minio-source-etag",
    "x-minio-source-mtime",
    "x-minio-source-replication-request",
)
"""What MinIO takes from whoever has an address, though nobody signed it, and that changes what is kept.

These are the headers that its PutObjectHandler and PutObjectPartHandler read, and what they call for options and
checksums, without those that can only have a request refused.
"""
PLAIN: Final[Mapping[str, str]] = {
    "content-encoding": "",
    "x-amz-bucket-replication-status": "",
    "x-amz-storage-class": "STANDARD",
    "x-amz-tagging": "",
}
"""Those that it keeps with an object that is sent whole, from the query too: they are signed with what says nothing."""


@dataclass(frozen=True, slots=True)
class Block:
    """So many bytes of a blob from `start`, and their SHA-256."""

    start: int
    size: int
    sha256: str


class Addresses:
    """Makes addresses, signed with whatever credentials there are at the moment. Raises Unavailable: there are none.

    Amazon's S3 refuses headers of its own that were not signed; MinIO takes them, from whoever has an address. That
    there are none, or that they say nothing, is signed in there: docs/adr/0017.
    """

    def __init__(self, options: S3Options, credentials: Provider, clock: Callable[[], float]) -> None:
        self._base = options.addresses()
        self._region = options.region
        self._lock = options.lock
        self._credentials = credentials
        self._clock = clock
        self.lax: dict[str, bool] = {}
        """The buckets of a store that takes headers nobody signed, and whether they have object lock."""

    def put(
        self,
        bucket: str,
        key: str,
        block: Block,
        *,
        seconds: int,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Send:
        """The request that sends a block, whose size and checksum the store insists on."""
        checksum = base64.b64encode(bytes.fromhex(block.sha256)).decode()
        signed = {"content-length": str(block.size), CHECKSUM: checksum, **(headers or {})}
        if query is None:
            # An address is good for one time: whoever has it changes nothing of what is there by then.
            signed |= {"if-none-match": "*", **self._plain(bucket, seconds)}
        url = self._signed("PUT", bucket, key, query or {}, signed, seconds)
        return Send(url, block.start, block.size, signed)

    def put_part(self, bucket: str, key: str, upload: str, number: int, *, seconds: int) -> str:
        """An address that a part of any size is sent to."""
        return self._signed("PUT", bucket, key, {"partNumber": str(number), "uploadId": upload}, {}, seconds)

    def _plain(self, bucket: str, seconds: int) -> Mapping[str, str]:
        """The headers that say how an object is kept, where whoever sends it could say so: not locked for ever."""
        if bucket not in self.lax:
            return {}
        if not self.lax[bucket]:
            return PLAIN
        # A store takes no date that is over, and neither an address: both end at once.
        until = datetime.fromtimestamp(self._clock() + seconds, UTC)
        return {
            **PLAIN,
            "x-amz-object-lock-legal-hold": "OFF",
            "x-amz-object-lock-mode": self._lock,
            "x-amz-object-lock-retain-until-date": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        }

    def get(self, bucket: str, key: str, *, filename: str, seconds: int) -> str:
        """An address to save an object from."""
        query = {
            "response-cache-control": "private, no-transform",
            "response-content-disposition": attachment(filename),
            "response-content-type": "application/octet-stream",
        }
        return self._signed("GET", bucket, key, query, {}, seconds)

    def _signed(  # noqa: PLR0917
        self, method: str, bucket: str, key: str, query: Mapping[str, Any], headers: Mapping[str, str], seconds: int
    ) -> str:
        url = self._base.build(
            method=method, region=self._region, bucket_name=bucket, object_name=key, query_params=dict(query)
        )
        guarded = method == "PUT" and bucket in self.lax
        return presigned(
            method,
            url.geturl(),
            headers=headers,
            credentials=self._credentials.retrieve(),
            region=self._region,
            at=self._clock(),
            seconds=seconds,
            absent=[name for name in UNSIGNED if name not in headers] if guarded else (),
        )
