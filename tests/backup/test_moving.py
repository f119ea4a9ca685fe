"""An embedded store moves while reads of it go on, and nobody's write is lost on the way."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from auth.keyring import AUDIT, Keyring
from auth.local import LocalIssuer
from graph.aside import SELF
from graph.port import WRITES, Graph, NewNode, Note, Update
from graph.sqlite.store import SqliteGraph
from lineal.errors import Conflict, PreconditionFailed, Unavailable
from resolvers.artifacts.collecting import collect
from resolvers.artifacts.common import manifest_name
from resolvers.artifacts.owning import OWNER
from resolvers.backup.moving import move, stay
from resolvers.backup.restoring import refuse_unfinished
from resolvers.bytes import Bytes
from resolvers.leasing import holding
from storage.local import LocalStorage
from tests import building
from tests.artifacts.conftest import Registry
from tests.auditing import found
from tests.backup.conftest import content, sealed
from tests.graph.test_transfer import rich_graph
from tests.running import ROOT, LinealServer
from tests.services import Neo4jServer, free_port
from tests.storage.storing import SECRET, Store

NEW = NewNode("Model", "new", "default")


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[SqliteGraph]:
    async with SqliteGraph(tmp_path / "other.db") as graph:
        await graph.migrate()
        yield graph


async def test_everything_moves_and_the_old_store_is_read_only_from_then_on(
    sqlite_graph: Graph, other: Graph, tmp_path: Path
) -> None:
    await rich_graph(sqlite_graph)
    await sealed(sqlite_graph, tmp_path)
    before = await content(sqlite_graph)
    await move(sqlite_graph, other, "sqlite:///other.db", by="ann")
    await refuse_unfinished(other)
    assert await content(sqlite_graph) == before
    assert (await content(other))[0] == before[0]
    await building.create(other, NEW)
    assert await found(other, [Keyring(tmp_path / "keys").ed25519(AUDIT)]) == []
    with pytest.raises(Unavailable, match=r"moved, to sqlite:///other\.db"):
        await building.create(sqlite_graph, NEW)
    async with LocalStorage(tmp_path / "bytes", SECRET) as storage:
        with pytest.raises(Conflict, match="not moved to elsewhere"):
            await stay(sqlite_graph, storage, "elsewhere")
        await stay(sqlite_graph, storage, "sqlite:///other.db")
    await building.create(sqlite_graph, NEW)


async def cleared(registry: Registry) -> None:
    await asyncio.sleep(0.05)
    await collect(registry.graph, registry.storage, "default", by="gc", grace=0.001)


@pytest.mark.parametrize("known", [True, False])
async def test_of_a_store_that_moved_the_new_one_alone_clears_the_storage_until_it_is_given_up(
    sqlite_graph: Graph, other: Graph, local: Store, known: bool
) -> None:
    old, new = (Registry(graph, local, Bytes(local.storage)) for graph in (sqlite_graph, other))
    await old.push({"a": b"before"})
    if not known:
        # As Lineal left it before graphs had names.
        await local.storage.discard("default", OWNER)
        await sqlite_graph.write(lambda tx: tx.keep((), drop={SELF: None}), by="", action="x")
    await move(sqlite_graph, other, "other", by="ann")
    _, artifact = await new.push({"a": b"later"})
    with pytest.raises(Unavailable, match="moved, to other"):
        await cleared(old)
    await cleared(new)
    assert await local.storage.get("default", manifest_name(artifact.props["digest"])) is not None
    assert await new.holds(b"later")
    await stay(sqlite_graph, local.storage, "other")
    with pytest.raises(PreconditionFailed, match="belongs to another graph"):
        await cleared(new)
    await cleared(old)
    assert await old.holds(b"before")
    assert not await old.holds(b"later")


async def test_while_writes_are_held_nothing_writes_and_reads_go_on(sqlite_graph: SqliteGraph) -> None:
    model, _ = await building.model(sqlite_graph, "bert")
    before = await content(sqlite_graph)
    async with SqliteGraph(sqlite_graph.path) as process, holding(sqlite_graph, WRITES, "elsewhere") as held:
        assert held is not None
        for graph in (sqlite_graph, process):
            for write in (
                building.create(graph, NEW),
                graph.write(lambda tx: tx.update([Update(model.id, name="b")]), by="ann", action="x", in_one_go=True),
                graph.note([Note("ann", "read", {})]),
                graph.prune([], by="ann"),
            ):
                with pytest.raises(Unavailable, match="read-only") as refused:
                    await write
                assert refused.value.details == {"retry": True, "retryAfter": 10}
            assert await content(graph) == before
            assert await building.node(graph, model.id) == model
    await building.create(sqlite_graph, NEW)


async def test_a_move_into_a_store_with_something_in_it_moves_nothing(sqlite_graph: Graph, other: Graph) -> None:
    await building.model(sqlite_graph, "mine")
    await building.model(other, "theirs")
    with pytest.raises(PreconditionFailed, match="needs an empty one"):
        await move(sqlite_graph, other, "other", by="ann")
    await building.create(sqlite_graph, NEW)


async def test_a_move_that_broke_off_moved_nothing_and_can_be_gone_on_with(sqlite_graph: Graph, other: Graph) -> None:
    await rich_graph(sqlite_graph)
    before = await content(sqlite_graph)

    def broken(what: str, done: int, _total: int) -> None:
        if what == "loading" and done:
            raise Unavailable("the new store is away")

    with pytest.raises(Unavailable, match="away"):
        await move(sqlite_graph, other, "other", by="ann", progress=broken)
    with pytest.raises(PreconditionFailed, match="not finished"):
        await refuse_unfinished(other)
    await sqlite_graph.note([Note("ann", "read", {})])
    await move(sqlite_graph, other, "other", by="ann")
    await refuse_unfinished(other)
    assert (await content(other))[0] == before[0]


async def test_only_one_moves_a_store_at_a_time(sqlite_graph: Graph, other: Graph) -> None:
    async with holding(sqlite_graph, WRITES, "elsewhere"):
        with pytest.raises(Conflict, match="somebody else"):
            await move(sqlite_graph, other, "other", by="ann")


async def test_every_face_says_when_to_try_again_and_reads_are_answered(tmp_path: Path) -> None:
    server = LinealServer(tmp_path, free_port(), ())
    await server.furnish()
    with server:
        issuer = LocalIssuer(Keyring(tmp_path / "keys"))
        headers = {"authorization": f"Bearer {issuer.token(scopes=['model:read', 'model:write'])}"}
        # Whoever was never there before is written down first, and would have to wait.
        assert (await asyncio.to_thread(server.ask, headers["authorization"][7:])).is_success
        create = 'mutation { registerModel(input: {name: "m"}) { model { id } } }'
        async with (
            SqliteGraph(tmp_path / "lineal.db") as graph,
            holding(graph, WRITES, "elsewhere"),
            httpx.AsyncClient(base_url=server.url.removesuffix("/graphql"), headers=headers) as client,
        ):
            told = await client.post("/graphql", json={"query": create})
            assert told.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert told.headers["retry-after"] == "10"
            rest = await client.post("/api/v1/models", json={"name": "m"})
            assert (rest.status_code, rest.headers["retry-after"]) == (503, "10")
            mlflow = await client.post("/api/2.0/mlflow/registered-models/create", json={"name": "m"})
            assert (mlflow.status_code, "retry-after" in mlflow.headers) == (503, True)
            read = await client.post("/graphql", json={"query": "{ models { nodes { name } } }"})
            assert read.json()["data"] == {"models": {"nodes": [{"name": "bert"}]}}
        assert (await asyncio.to_thread(server.ask, headers["authorization"][7:], query=create)).json()["data"]


async def test_a_served_store_moves_to_neo4j(tmp_path: Path, neo4j_graph: Graph, neo4j_server: Neo4jServer) -> None:
    server = LinealServer(tmp_path, free_port(), ())
    await server.furnish()
    with server:
        _, served = server.prepare()
        command = [sys.executable, "-m", "lineal", "move", neo4j_server.url]
        token = LocalIssuer(Keyring(tmp_path / "keys")).token(scopes=["model:read"])
        assert (await asyncio.to_thread(server.ask, token)).is_success
        moving = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env={**os.environ, **served})
        answers: list[httpx.Response] = []
        while moving.returncode is None or not answers:
            answers.append(await asyncio.to_thread(server.ask, token))
        assert moving.returncode == 0
        for answer in answers:
            assert answer.json()["data"] == {"models": {"nodes": [{"name": "bert"}]}}
    async with SqliteGraph(tmp_path / "lineal.db") as old:
        assert (await content(neo4j_graph))[0] == (await content(old))[0]
        with pytest.raises(Unavailable, match="moved, to bolt"):
            await building.create(old, NEW)
