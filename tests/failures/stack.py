"""Everything that Lineal stands on, real and on this machine: Neo4j, MinIO and an issuer, and processes on them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from auth.scopes import SCOPES
from graph.neo4j.store import Neo4jGraph
from tests.conftest import SOAK
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.oidc import OidcProvider
from tests.running import LinealServer, resource_at
from tests.services import Neo4jServer
from tests.storage.conftest import client_of

BUCKET = "lineal"


@dataclass
class Stack:
    """The three, and what a process is told of them. `port` is where clients reach it, or what stands before it."""

    home: Path
    port: int
    neo4j: Neo4jServer = field(init=False)
    minio: MinioServer = field(init=False)
    issuer: OidcProvider = field(init=False)

    def __post_init__(self) -> None:
        self.neo4j = Neo4jServer(self.home / "neo4j", brief=not SOAK)
        self.minio = MinioServer(self.home / "minio")
        self.issuer = OidcProvider(self.home / "issuer", resource_at(self.port))

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a process on them."""
        s3 = {"endpoint": self.minio.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        return {
            "graph": self.neo4j.url,
            "storage": f"s3://{BUCKET}/artifacts",
            "s3": json.dumps(s3),
            "resource": resource_at(self.port),
            "keys": str(self.home / "keys"),
            "log_format": "json",
        }

    @property
    def issuers(self) -> list[dict[str, Any]]:
        """The issuer, as settings have it."""
        asked = {"client_id": "resource-server", "client_secret": "resource-server-secret"}
        return [{"name": "corp", "url": self.issuer.url, "introspection": asked}]

    def process(self, name: str, port: int, **more: str) -> LinealServer:
        """A process of this name on a port, not started yet; `more` are other settings."""
        return LinealServer(self.home / name, port, self.issuers, **{**self.settings, **more})

    def token(self, client: str = "ci") -> str:
        """A token that opens everything: a JWT of the client `ci`, an opaque one of `opaque`."""
        return self.issuer.token(" ".join(SCOPES), client=client)


@contextmanager
def standing(home: Path, port: int, *, migrated: bool = True) -> Iterator[Stack]:
    """All three, started; the store is `migrated`, and the bucket there."""
    stack = Stack(home, port)
    with ExitStack() as started:
        for server in (stack.neo4j, stack.minio, stack.issuer):
            started.enter_context(server)
        if migrated:
            asyncio.run(_migrate(stack.neo4j.url))
        client_of(stack.minio).make_bucket(BUCKET)
        yield stack


async def _migrate(url: str) -> None:
    async with Neo4jGraph(url) as graph:
        await graph.migrate()


class Api:
    """What a client asks of one address, with one token. Nothing is tried again."""

    def __init__(self, url: str, token: str, *, seconds: float = 60) -> None:
        self.http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=seconds)

    def ask(self, query: str, headers: Mapping[str, str] | None = None, **variables: Any) -> httpx.Response:
        """One GraphQL request."""
        return self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)

    def upload(self, to: str, name: str, data: bytes, path: str = "f.bin") -> httpx.Response:
        """Send a file to be the artifact of something: the first answer that refuses it, or the last."""
        file = {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        begun = self.http.post("/api/v1/uploads", json={"to": to, "name": name, "files": [file]})
        if begun.status_code != 201:
            return begun
        upload = begun.json()
        query = "query($u: ID!) {upload(address: $u) {missing(first: 9) {nodes {requests {url headers {name value}}}}}}"
        missing = self.ask(query, u=upload["id"])
        if "errors" in missing.json():
            return missing
        for each in missing.json()["data"]["upload"]["missing"]["nodes"]:
            for request in each["requests"]:
                headers = {header["name"]: header["value"] for header in request["headers"]}
                sent = httpx.put(request["url"], content=data, headers=headers, timeout=60)
                if not sent.is_success:
                    return sent
        return self.http.post(f"/api/v1/uploads/{upload['id']}/complete")
