"""A server that speaks as Azure's blob storage does, for tests: npm's azurite.

Its exact packages are pinned in tests/azurite/package-lock.json and brought once by `npm ci`.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from tests.services import Server, cache_home, downloaded, missing

SOURCES: Final = Path(__file__).parent / "azurite"
ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of every azurite, from its documentation."""
_INSTALL: Final = "install Node.js 20 or newer, with npm"


def node_modules() -> Path:
    """The folder with its packages; npm brings them the first time."""
    files = {name: (SOURCES / name).read_text() for name in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    return downloaded(
        "azurite",
        cache_home() / f"azurite-{version}" / "node_modules",
        files,
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        _INSTALL,
    )


class AzuriteServer(Server):
    """An empty one that keeps what it gets in memory."""

    name: ClassVar[str] = "azurite"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.connection_string = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        )

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        node = shutil.which("node")
        if node is None:
            missing("azurite", _INSTALL)
        program = node_modules() / "azurite" / "dist" / "src" / "blob" / "main.js"
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence"]
        # The SDK may be newer than it.
        return [node, str(program), *place, "--silent", "--skipApiVersionCheck", "--disableTelemetry"], {}

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def put(self, container: str, files: dict[str, bytes]) -> None:
        """Make a container, if there is none, and put blobs there."""
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(self.connection_string) as service:
            client = service.get_container_client(container)
            with suppress(ResourceExistsError):
                client.create_container()
            for name, data in files.items():
                client.upload_blob(name, data, overwrite=True)
