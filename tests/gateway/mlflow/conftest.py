"""MLflow's face on an empty store of either kind, asked by several callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import Caller
from auth.challenges import Resource
from auth.recorder import Recorder
from auth.scopes import SCOPES
from gateway.mlflow.artifacts import MlflowArtifactsRoute
from gateway.mlflow.routes import MlflowRoute
from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Graph, NewEdge, NewNode, Transaction
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from resolvers.remembering import Memo
from storage.local import LocalStorage
from storage.port import Storage
from tests import building

BASE = "https://lineal.test"
RESOURCE = Resource(f"{BASE}/graphql")
ALL = frozenset(SCOPES) - {"admin"}
CALLERS = {
    "ann": Caller("corp:ann", ALL),
    "bob": Caller("corp:bob", ALL),
    "reader": Caller("corp:ann", frozenset({"model:read"})),
    "writer": Caller("corp:ann", frozenset({"model:read", "model:write"})),
    "admin": Caller("corp:root", frozenset({"admin"})),
    "nobody": Caller("anonymous"),
}
API = "/api/2.0/mlflow"


@dataclass
class Mlflow:
    """A client of the face, and what is behind it: `ann` is an owner of `default`, `bob` of `vision`."""

    http: httpx.AsyncClient
    graph: Graph
    storage: Storage

    async def send(self, method: str, path: str, who: str = "ann", /, **values: Any) -> httpx.Response:
        """A request with these parameters, where its method has them."""
        given: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        return await self.http.request(method, path, headers={"who": who}, **given)

    async def ask(self, method: str, endpoint: str, **values: Any) -> Any:
        """The answer of an endpoint."""
        answer = await self.send(method, f"{API}/{endpoint}", **values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, endpoint: str, who: str = "ann", **values: Any) -> tuple[int, str, str]:
        """The status, the code and the message of a refusal."""
        answer = await self.send(method, f"{API}/{endpoint}", who, **values)
        error = answer.json()
        assert set(error) == {"error_code", "message"}, answer.text
        return answer.status_code, error["error_code"], error["message"]

    async def model(self, name: str = "m", versions: int = 0, **more: Any) -> None:
        """A model with versions."""
        await self.ask("POST", "registered-models/create", name=name, **more)
        for number in range(1, versions + 1):
            await self.ask("POST", "model-versions/create", name=name, source=f"s3://bucket/{name}/{number}")

    async def get(self, name: str = "m") -> Any:
        """A model."""
        return (await self.ask("GET", "registered-models/get", name=name))["registered_model"]

    async def version(self, number: int = 1, name: str = "m") -> Any:
        """A version."""
        return (await self.ask("GET", "model-versions/get", name=name, version=str(number)))["model_version"]


async def people(graph: Graph) -> None:
    """Two people, each an owner of a workspace of their own that the other does not see."""

    async def work(tx: Transaction) -> None:
        (vision,) = await tx.create([NewNode("Workspace", "vision", ontology.GLOBAL)])
        ann, bob = await tx.create([NewNode("Principal", f"corp:{n}", ontology.GLOBAL) for n in ("ann", "bob")])
        await tx.link(
            [NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, ann.id, "OWNER"), NewEdge("GRANTS", vision.id, bob.id, "OWNER")]
        )

    await graph.write(work, by=building.BY, action="people")


Serve = Callable[[Graph], Awaitable[Mlflow]]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Where files are kept."""
    return LocalStorage(tmp_path / "artifacts", bytes(32))


@pytest.fixture
async def serve(storage: Storage) -> AsyncIterator[Serve]:
    """Puts the face before a store."""
    opened: list[httpx.AsyncClient] = []
    async with storage:

        async def serve(graph: Graph) -> Mlflow:
            await people(graph)
            reach, recorder, memo = Bytes(storage), Recorder(graph), Memo()

            def operation(request: Request) -> Operation:
                caller = CALLERS[request.headers.get("who", "ann")]
                return Operation(
                    graph, caller=caller, request="req-1", recorder=recorder, bytes=reach, base=BASE, memo=memo
                )

            routes = [
                MlflowArtifactsRoute(operation, resource=RESOURCE),
                MlflowRoute(operation, resource=RESOURCE, max_body=300_000, seconds=300),
            ]
            http = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)), base_url=BASE)
            opened.append(http)
            return Mlflow(http, graph, storage)

        yield serve
        for http in opened:
            await http.aclose()


@pytest.fixture
async def mlflow(graph: Graph, serve: Serve) -> Mlflow:
    """The face on either store."""
    return await serve(graph)


@pytest.fixture
async def embedded(sqlite_graph: Graph, serve: Serve) -> Mlflow:
    """The face on SQLite, for what does not depend on the store."""
    return await serve(sqlite_graph)
