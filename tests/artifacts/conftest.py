"""A registry with storage: each test that asks for it runs on SQLite with a local folder, and on Neo4j with MinIO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from auth import caller
from graph.port import Graph, Node, Update
from resolvers.artifacts.uploads import begin_upload, complete_upload, missing
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.writing.versions import create_model_version
from storage.manifest import File, Manifest
from storage.port import Storage
from tests.storage.conftest import bucket, local, minio_client, minio_server, s3, small_parts
from tests.storage.storing import BASE, Store, blob_of, is_there, parts_of

__all__ = ["bucket", "local", "minio_client", "minio_server", "s3", "small_parts"]

Files = Mapping[str, bytes]


@dataclass
class Registry:
    """A graph and a storage, and a client that sends what it is told to."""

    graph: Graph
    store: Store
    reach: Bytes

    @property
    def storage(self) -> Storage:
        """The storage alone."""
        return self.store.storage

    def operation(self, by: str = "ann") -> Operation:
        """An operation of somebody who may do everything."""
        return Operation(self.graph, caller=caller.named(by), bytes=self.reach, base=BASE)

    async def version(self, model: str = "models:/bert", **more: Any) -> Node:
        """A version that waits for its files."""
        async with self.operation() as op:
            properties = {"state": "PENDING"}
            return await create_model_version(op, model=model, create_model=True, properties=properties, **more)

    async def begin(self, to: str, files: Files, name: str = "model") -> Node:
        """Begin to send files."""
        async with self.operation() as op:
            return await begin_upload(op, to=to, files=described(files), name=name)

    async def send(self, upload: Node, files: Files, *, most: int = 1_000) -> int:
        """Send what is missing, that many requests at most; how many it took."""
        by_digest = {blob_of(data).sha256: data for data in files.values()}
        count = 0
        async with self.operation() as op:
            after, more = None, True
            while more:
                page = await missing(op, upload, first=2, after=after)
                for item in page.items:
                    for send in item.sends:
                        if count == most:
                            return count
                        answer = await self.store.put(send, by_digest[item.file.sha256])
                        assert is_there(answer), answer.text
                        count += 1
                after, more = page.last, page.has_next
        return count

    async def complete(self, upload: Node) -> Node:
        """Complete an upload; the artifact."""
        async with self.operation() as op:
            return await complete_upload(op, address=upload.id)

    async def push(self, files: Files, model: str = "models:/bert", **more: Any) -> tuple[Node, Node]:
        """A new version with files: it as it then is, and its artifact."""
        version = await self.version(model, **more)
        upload = await self.begin(version.id, files)
        await self.send(upload, files)
        artifact = await self.complete(upload)
        return await self.node(version.id), artifact

    async def speak_of(self, files: Files, model: str = "models:/spoken-of") -> Node:
        """A version whose files are told by the digest that they will have, and not sent."""
        digest = Manifest.of(File(each["path"], each["size"], each["sha256"]) for each in described(files)).digest
        return await self.version(model, artifacts=[{"name": "model", "digest": digest}])

    async def node(self, address: str) -> Node:
        """A node as it is now."""
        async with self.operation() as op:
            found = await resolve(op, address)
        assert found is not None, address
        return found

    async def gone(self, address: str) -> bool:
        """Whether nothing is there."""
        async with self.operation() as op:
            return await resolve(op, address) is None

    async def set(self, id: str, **props: Any) -> None:
        """Set properties that only Lineal sets."""
        await self.graph.write(lambda tx: tx.update([Update(id, props)]), by="tester", action="test")

    async def set_workspace(self, name: str = "default", **props: Any) -> None:
        """Set properties of a workspace."""
        await self.set((await self.node(f"workspaces:/{name}")).id, **props)

    async def holds(self, data: bytes, workspace: str = "default") -> bool:
        """Whether these bytes are in storage."""
        blob = blob_of(data)
        return blob.sha256 in await self.storage.present(workspace, [blob])


def described(files: Files) -> list[Any]:
    """Files as an upload is told of them."""
    result = []
    for path, data in files.items():
        blob = blob_of(data)
        parts = parts_of(data) if blob.part_count > 1 else None
        result.append({"path": path, "size": blob.size, "sha256": blob.sha256, "parts": parts})
    return result


@pytest.fixture(params=["sqlite and folder", "neo4j and minio"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """A graph and a storage, both empty."""
    graph, store = ("sqlite_graph", "local") if request.param.startswith("sqlite") else ("neo4j_graph", "s3")
    chosen: Store = request.getfixturevalue(store)
    return Registry(request.getfixturevalue(graph), chosen, Bytes(chosen.storage))
