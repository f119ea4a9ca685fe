"""A server that speaks as Google Cloud Storage does, for tests: fake-gcs-server, built from its sources."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.services import Server, go_program

GCS_VERSION: Final = "v1.56.1"


def gcs_binary() -> Path:
    """The server; Go downloads and builds it the first time."""
    return go_program("gcs", "github.com/fsouza/fake-gcs-server", GCS_VERSION)


class GcsServer(Server):
    """An empty one that keeps what it gets in memory."""

    name: ClassVar[str] = "gcs"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        place = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-external-url", self.url]
        return [str(gcs_binary()), *place, "-backend", "memory"], {}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/storage/v1/b?project=p", timeout=5).is_success
        except httpx.TransportError:
            return False

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        """Make a bucket of it, if there is none, and put objects there."""
        httpx.post(f"{self.url}/storage/v1/b?project=p", json={"name": bucket})
        for name, data in files.items():
            asked = {"uploadType": "media", "name": name}
            url = f"{self.url}/upload/storage/v1/b/{bucket}/o"
            httpx.post(url, params=asked, content=data).raise_for_status()
