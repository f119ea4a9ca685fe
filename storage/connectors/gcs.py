"""Objects of Google Cloud Storage: `gs://bucket/key`, by gcsfs."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from lineal.errors import InvalidArgument, Unavailable
from storage.connectors.backend import PAGE, Backend, Entry, checksum, micros, needs, speaking_to, within
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import Place

_FIELDS: Final = "name,size,updated,generation,md5Hash,crc32c"
_ENDPOINT: Final = "https://storage.googleapis.com"


class GcsBackend(Backend):
    """Buckets by gcsfs, whose coroutines run on fsspec's own loop, each with a time limit."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        try:
            import gcsfs.core
            from fsspec.asyn import sync
        except ImportError:
            raise needs("gcsfs", "gs") from None
        options = config.options
        endpoint = options.get("endpoint_url", _ENDPOINT)
        host = urlsplit(endpoint).netloc

        async def stay(request: Any, send: Any) -> Any:
            """Refuse redirects to other hosts."""
            if host not in {request.url.authority, f"{request.url.host}:{request.url.port}"}:
                raise Unavailable(f"connector {config.name}: its store wanted to send the request elsewhere")
            return await send(request)

        self._sync = sync
        # Not gcsfs.GCSFileSystem, which first asks by gRPC what kind of bucket it is.
        self.fs = gcsfs.core.GCSFileSystem(
            project=options.get("project", ""),
            token="anon" if options.get("anon") else _credentials(config),
            endpoint_url=endpoint,
            requester_pays=options.get("requester_pays", False),
            requests_timeout=config.timeout,
            session_kwargs={"middlewares": (stay,)},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def stat(self, place: Place) -> Entry | None:
        if not place.segments:
            return None
        with speaking_to(self.config, place):
            try:
                found = self._get(f"b/{place.authority}/o/{quote(place.path, safe='')}", fields=_FIELDS)
            except FileNotFoundError:
                return None
            return _entry("", found)

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        beneath = f"{place.path}/" if place.segments else ""
        asked = {"prefix": beneath, "maxResults": PAGE, "fields": f"nextPageToken,items({_FIELDS})"}
        more = True
        while more:
            with speaking_to(self.config, place):
                page = self._get(f"b/{place.authority}/o", **asked)
                entries = [
                    _entry(path, each)
                    for each in page.get("items", ())
                    if (path := within(each["name"], beneath, int(each["size"])))
                ]
            yield entries
            more = "nextPageToken" in page
            asked["pageToken"] = page.get("nextPageToken")

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        # Not by _cat_file, which does not tell the generation.
        url = self.fs.url(f"{place.authority}/{place.path}")
        wanted = {"Range": f"bytes={start}-{start + size - 1}"}
        with speaking_to(self.config, place):
            headers, data = self._sync(
                self.fs.loop, self.fs._call, "GET", url, headers=wanted, timeout=self.config.timeout
            )
            return bytes(data), headers.get("x-goog-generation", "")

    def _get(self, path: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._sync(
            self.fs.loop, self.fs._call, "GET", path, json_out=True, timeout=self.config.timeout, **arguments
        )
        return found

    def close(self) -> None:
        if self.fs.session is not None:
            self._sync(self.fs.loop, self.fs.session.close)


def _credentials(config: ConnectorConfig) -> Any:
    """The key of a service account as JSON, or what gcsfs finds by itself on this machine. Raises InvalidArgument."""
    text = config.secret("token")
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    # A text gcsfs would take for an access token, and send it to Google in an address.
    if not isinstance(found, dict):
        raise InvalidArgument(f"connector {config.name}: secrets.token is not the JSON of a service account")
    return found


def _entry(path: str, found: dict[str, Any]) -> Entry:
    return Entry(
        path,
        int(found["size"]),
        micros(dt.datetime.fromisoformat(found["updated"])),
        str(found["generation"]),
        # Objects that were composed of others have no MD5.
        checksum("md5", found.get("md5Hash")) or checksum("crc32c", found.get("crc32c")),
    )
