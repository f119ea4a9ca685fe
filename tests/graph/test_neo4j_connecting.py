"""How the Neo4j store connects: addresses, TLS, time limits, and connections that break."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from neo4j.exceptions import Neo4jError

from graph import ontology
from graph.address import parse
from graph.neo4j.faults import as_lineal
from graph.neo4j.store import Neo4jGraph
from graph.port import Direction, Graph, NewNode, Node, Snapshot, Transaction, Walk
from lineal import breaking
from lineal.errors import InvalidArgument, Unavailable
from tests import building
from tests.graph.test_ladder import EDGES, RECORDS, TOP
from tests.services import Neo4jServer, free_port


async def test_a_store_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="away or too busy"):
        await Neo4jGraph(f"bolt://127.0.0.1:{free_port()}", timeout=2).open()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "bolt://:x"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="graph: "):
        await Neo4jGraph(url).open()


async def test_a_database_that_is_not_there_is_unavailable(neo4j_server: Neo4jServer) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        await Neo4jGraph(neo4j_server.url, database="nowhere").open()


async def test_a_store_that_is_closed_is_unavailable(neo4j_server: Neo4jServer) -> None:
    graph = Neo4jGraph(neo4j_server.url)
    await graph.close()
    with pytest.raises(Unavailable, match="not open"):
        await graph.check_version()


async def test_a_read_past_its_time_limit_says_so(neo4j_graph: Graph, neo4j_server: Neo4jServer) -> None:
    async with Neo4jGraph(neo4j_server.url, timeout=0.5) as hurried, hurried.snapshot() as snapshot:
        assert isinstance(snapshot, Snapshot)
        slow = "UNWIND range(1, 100000000) AS i WITH i WHERE i % 7 = 8 RETURN count(i) AS result"
        with pytest.raises(Unavailable, match="within the time limit"):
            await snapshot._ask("slow", slow, {})  # type: ignore[attr-defined]


def unplanned() -> Neo4jError:
    """What a server says that has just started, now and then; nothing that one can ask makes it say so."""
    message = "Could not compile query due to insanely frequent schema changes"
    return Neo4jError._hydrate_neo4j(code="Neo.DatabaseError.General.UnknownError", message=message)


async def test_what_the_server_gave_up_planning_is_written_on_another_try(neo4j_graph: Graph) -> None:
    tries: list[int] = []

    async def work(tx: Transaction) -> Node:
        (node,) = await tx.create([NewNode("Workspace", "late", ontology.GLOBAL)])
        tries.append(1)
        if len(tries) < 3:
            raise unplanned()
        return node

    made = await neo4j_graph.write(work, by="t", action="create")
    assert len(tries) == 3
    async with neo4j_graph.snapshot() as snapshot:
        assert await snapshot.resolve([parse("workspaces:/late")]) == [made]


def test_what_the_server_gave_up_planning_for_good_is_told_as_unavailable() -> None:
    assert isinstance(as_lineal(unplanned()), Unavailable)


async def test_waiting_for_a_connection_is_no_sign_that_the_store_is_away(
    neo4j_graph: Graph, neo4j_server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaking, "SILENCE", 0.1)
    async with Neo4jGraph(neo4j_server.url, connections=1) as narrow:

        async def read() -> None:
            async with narrow.snapshot() as snapshot:
                await snapshot.find("Model")

        async with narrow.snapshot() as holding:
            await holding.find("Model")
            given_up = await asyncio.gather(
                *(asyncio.wait_for(read(), 0.3) for _ in range(2 * breaking.FAILURES)), return_exceptions=True
            )
            assert {type(each) for each in given_up} == {TimeoutError}
            await holding.find("Model")
        await read()


async def test_who_waits_for_a_connection_too_long_is_told_to_come_again(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    async with (
        Neo4jGraph(neo4j_server.url, connections=1, timeout=0.5) as narrow,
        narrow.snapshot() as holding,
        narrow.snapshot() as waiting,
    ):
        await holding.find("Model")
        with pytest.raises(Unavailable, match="none of the 1 connections") as told:
            await waiting.find("Model")
        assert told.value.details["retryAfter"] == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that no authority knows, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("openssl is not installed: it makes the certificate for this test")
    return cert, key


class Relay:
    """Stands between a client and a server's port, with TLS where a certificate is given."""

    def __init__(self, port: int, certificate: tuple[Path, Path] | None = None) -> None:
        self._port = port
        self._certificate = certificate
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The host and port where it listens."""
        context = None
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context) as server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, up_writer]
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Break every connection that there is."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def test_tls_trusts_the_authority_given_or_any_where_asked_to(
    neo4j_server: Neo4jServer, certificate: tuple[Path, Path]
) -> None:
    async with Relay(neo4j_server.port, certificate).listening() as place:
        for graph in (
            Neo4jGraph(f"bolt+s://{place}", authority=certificate[0]),
            Neo4jGraph(f"bolt+ssc://{place}"),
        ):
            async with graph, graph.snapshot() as snapshot:
                assert await snapshot.nodes(["mv_none"]) == {}
        with pytest.raises(Unavailable):
            await Neo4jGraph(f"bolt+s://{place}").open()


async def test_an_authority_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises((InvalidArgument, Unavailable)):
        await Neo4jGraph("bolt+s://127.0.0.1:1", authority=tmp_path / "none.pem").open()


async def test_connections_that_died_unused_are_not_noticed_by_readers_or_writers(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    relay = Relay(neo4j_server.port)
    async with relay.listening() as place, Neo4jGraph(f"bolt://{place}") as graph:
        for name in ("one", "two"):
            relay.cut()
            model, _ = await building.model(graph, name)
            relay.cut()
            assert await building.node(graph, model.id) == model


async def test_a_connection_that_dies_in_the_middle_of_a_snapshot_ends_it(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    """What was read and what would be read anew need not be of one moment, so nothing is read anew."""
    model, (version,) = await building.model(neo4j_graph, "m", versions=1)
    relay = Relay(neo4j_server.port)
    async with relay.listening() as place, Neo4jGraph(f"bolt://{place}") as graph:
        async with graph.snapshot() as snapshot:
            await snapshot.nodes([model.id])
            relay.cut()
            with pytest.raises(Unavailable):
                await snapshot.nodes([version.id])
        assert await building.node(graph, model.id) == model


async def test_a_connection_that_dies_after_the_last_read_of_a_snapshot_is_not_noticed(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    model, _ = await building.model(neo4j_graph, "m")
    relay = Relay(neo4j_server.port)
    async with relay.listening() as place, Neo4jGraph(f"bolt://{place}") as graph, graph.snapshot() as snapshot:
        assert await snapshot.nodes([model.id]) == {model.id: model}
        relay.cut()


async def test_what_went_wrong_in_a_snapshot_is_told_though_its_connection_died(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    relay = Relay(neo4j_server.port)

    async def read() -> None:
        async with graph.snapshot() as snapshot:
            await snapshot.nodes(["mv_none"])
            relay.cut()
            raise KeyError

    async with relay.listening() as place, Neo4jGraph(f"bolt://{place}") as graph:
        with pytest.raises(KeyError):
            await read()


async def test_a_read_that_is_cancelled_gives_its_connection_back(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    await building.load(neo4j_graph, RECORDS, EDGES)
    async with Neo4jGraph(neo4j_server.url, connections=1, timeout=20) as narrow:

        async def read() -> None:
            async with narrow.snapshot() as snapshot:
                await snapshot.closure([TOP], Walk(Direction.UPSTREAM, 200))

        for steps in range(1, 6):
            task = asyncio.create_task(read())
            for _ in range(3 * steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await read()
