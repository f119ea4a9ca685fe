"""Objects of S3 and of what speaks like it: `s3://bucket/key`, by s3fs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

from lineal.errors import InvalidArgument
from storage.connectors.backend import Backend, Entry, checksum, micros, needs, speaking_to, within
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import Place

try:
    import s3fs
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore.session import Session
    from fsspec.asyn import sync
except ImportError:
    raise needs("s3fs", "s3") from None

_CHECKSUMS: Final = ("SHA256", "SHA1", "CRC64NVME", "CRC32C", "CRC32")


class S3Backend(Backend):
    """Buckets by s3fs, whose coroutines run on fsspec's own loop, each with a time limit."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        options = config.options
        profile = options.get("profile")
        if profile is not None and profile not in Session().available_profiles:
            raise InvalidArgument(f"connector {config.name}: options.profile: there is no such profile on this machine")
        client = {"region_name": options.get("region"), "verify": options.get("ca_file")}
        self.fs = s3fs.S3FileSystem(
            anon=options.get("anon", False),
            key=config.secret("key"),
            secret=config.secret("secret"),
            token=config.secret("token"),
            endpoint_url=options.get("endpoint_url"),
            profile=profile,
            requester_pays=options.get("requester_pays", False),
            client_kwargs={name: value for name, value in client.items() if value is not None},
            config_kwargs={
                "connect_timeout": config.timeout,
                "read_timeout": config.timeout,
                "http_session_cls": _Staying,
                "s3": {"addressing_style": options.get("addressing", "auto")},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def stat(self, place: Place) -> Entry | None:
        if not place.segments:
            return None
        with speaking_to(self.config, place):
            try:
                found = self._call("head_object", Bucket=place.authority, Key=place.path, ChecksumMode="ENABLED")
            except FileNotFoundError:
                return None
        # One with a dash is of the parts' checksums, and says nothing of the bytes without the parts' sizes.
        sums = ((name, found.get(f"Checksum{name}") or "-") for name in _CHECKSUMS)
        known = next((checksum(name.lower(), value) for name, value in sums if "-" not in value), "")
        etag = found["ETag"].strip('"')
        return Entry("", found["ContentLength"], micros(found["LastModified"]), etag, known)

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        beneath = f"{place.path}/" if place.segments else ""
        asked: dict[str, Any] = {"Bucket": place.authority, "Prefix": beneath}
        for _ in itertools.count():
            with speaking_to(self.config, place):
                page = self._call("list_objects_v2", **asked)
            yield [
                Entry(path, each["Size"], micros(each["LastModified"]), each["ETag"].strip('"'))
                for each in page.get("Contents", ())
                if (path := within(each["Key"], beneath, each["Size"]))
            ]
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        with speaking_to(self.config, place):
            found: tuple[bytes, str] = sync(self.fs.loop, self._get, place, start, size, timeout=self.config.timeout)
        return found

    async def _get(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        # Not by _cat_file, which does not tell the etag.
        wanted = f"bytes={start}-{start + size - 1}"
        found = await self.fs._call_s3("get_object", Bucket=place.authority, Key=place.path, Range=wanted)
        async with found["Body"] as body:
            return bytes(await body.read()), found["ETag"].strip('"')

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = sync(self.fs.loop, self.fs._call_s3, method, timeout=self.config.timeout, **arguments)
        return found

    def close(self) -> None:
        if self.fs._s3 is not None:
            self.fs.close_session(self.fs.loop, self.fs._s3)


class _Staying(AIOHTTPSession):  # type: ignore[misc]
    """Follows no redirect: an answer that is one is an error."""

    async def _get_session(self, proxy_url: str | None) -> _Still:
        return _Still(await super()._get_session(proxy_url))


class _Still:
    """A session of aiohttp that follows no redirect."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **named: Any) -> Any:
        return await self._session.request(method, **named, allow_redirects=False)
