"""Addresses of an S3 store that open one thing for a while."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minio.credentials.providers import Provider

from storage.naming import attachment
from storage.port import Send
from storage.s3_options import S3Options
from storage.sigv4 import presigned

CHECKSUM: Final = "x-amz-checksum-sha256"


@dataclass(frozen=True, slots=True)
class Block:
    """So many bytes of a blob from `start`, and their SHA-256."""

    start: int
    size: int
    sha256: str


class Addresses:
    """Makes addresses, signed with whatever credentials there are at the moment. Raises Unavailable: there are none."""

    def __init__(self, options: S3Options, credentials: Provider, clock: Callable[[], float]) -> None:
        self._base = options.addresses()
        self._region = options.region
        self._credentials = credentials
        self._clock = clock

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
        url = self._signed("PUT", bucket, key, query or {}, signed, seconds)
        return Send(url, block.start, block.size, signed)

    def put_part(self, bucket: str, key: str, upload: str, number: int, *, seconds: int) -> str:
        """An address that a part of any size is sent to."""
        return self._signed("PUT", bucket, key, {"partNumber": str(number), "uploadId": upload}, {}, seconds)

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
        return presigned(
            method,
            url.geturl(),
            headers=headers,
            credentials=self._credentials.retrieve(),
            region=self._region,
            at=self._clock(),
            seconds=seconds,
        )
