"""Blobs of Azure and of Data Lake Storage: `abfs://container/path`, by adlfs."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from lineal.errors import InvalidArgument
from storage.connectors.backend import PAGE, Backend, Entry, micros, needs, speaking_to, within
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import Place

_STAYING: Final = {"permit_redirects": False}
"""What each call is told, since its library follows redirects to any host."""


class AzureBackend(Backend):
    """Containers of one account by adlfs, whose coroutines run on fsspec's own loop, each with a time limit."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        try:
            import adlfs
            from azure.core.exceptions import ResourceNotFoundError
            from fsspec.asyn import sync
        except ImportError:
            raise needs("adlfs", "abfs") from None
        options = config.options
        self._sync = sync
        self._missing = ResourceNotFoundError
        self.fs = adlfs.AzureBlobFileSystem(
            account_name=options.get("account_name"),
            account_host=options.get("account_host"),
            tenant_id=options.get("tenant_id"),
            client_id=options.get("client_id"),
            anon=options.get("anon"),
            account_key=config.secret("account_key"),
            connection_string=config.secret("connection_string"),
            sas_token=config.secret("sas_token"),
            client_secret=config.secret("client_secret"),
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._check_key()

    def _check_key(self) -> None:
        """Refuse an account key that no request could be signed with, which the library notices only then."""
        signing = self.fs.service_client.credential
        try:
            base64.b64decode(getattr(signing, "account_key", ""))
        except ValueError:
            where = "connection_string" if "connection_string" in self.config.secrets else "account_key"
            raise InvalidArgument(f"connector {self.config.name}: secrets.{where}: its key is not base64") from None

    def stat(self, place: Place) -> Entry | None:
        if not place.segments:
            return None
        blob = self.fs.service_client.get_blob_client(_container(place), place.path)
        with speaking_to(self.config, place):
            try:
                found = self._ask(blob.get_blob_properties, **_STAYING)
            except self._missing:
                return None
            return None if _is_folder(found) else _entry("", found)

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        beneath = f"{place.path}/" if place.segments else ""
        container = self.fs.service_client.get_container_client(_container(place))
        listed = container.list_blobs(
            name_starts_with=beneath, include=["metadata"], results_per_page=PAGE, **_STAYING
        ).by_page()
        while True:
            with speaking_to(self.config, place):
                try:
                    page = self._ask(_next, listed)
                except self._missing:
                    raise FileNotFoundError from None
            if page is None:
                return
            yield [
                _entry(path, blob)
                for blob in page
                if not _is_folder(blob) and (path := within(blob.name, beneath, blob.size))
            ]

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        blob = self.fs.service_client.get_blob_client(_container(place), place.path)
        with speaking_to(self.config, place):
            try:
                data, etag = self._ask(_download, blob, start, size)
            except self._missing:
                raise FileNotFoundError from None
            return data, etag

    def _ask(self, coroutine: Any, *arguments: Any, **named: Any) -> Any:
        return self._sync(self.fs.loop, coroutine, *arguments, timeout=self.config.timeout, **named)

    def close(self) -> None:
        self._ask(self.fs.service_client.close)


async def _next(pages: AsyncIterator[Any]) -> list[Any] | None:
    async for page in pages:
        return [blob async for blob in page]
    return None


async def _download(blob: Any, start: int, size: int) -> tuple[bytes, str]:
    stream = await blob.download_blob(offset=start, length=size, **_STAYING)
    return bytes(await stream.readall()), stream.properties.etag.strip('"')


def _container(place: Place) -> str:
    return place.authority.partition("@")[0]


def _is_folder(blob: Any) -> bool:
    """Accounts with a hierarchy have folders as blobs of their own."""
    return bool((blob.metadata or {}).get("hdi_isfolder")) and not blob.size


def _entry(path: str, blob: Any) -> Entry:
    md5 = blob.content_settings.content_md5
    checksum = f"md5:{bytes(md5).hex()}" if md5 else ""
    return Entry(path, blob.size, micros(blob.last_modified), blob.etag.strip('"'), checksum)
