"""An operation that takes too long is stopped down to the statement that the store is at."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import neo4j
import pytest

from graph.neo4j.running import Runner
from graph.neo4j.store import GRACE_SECONDS, Neo4jGraph
from graph.port import Graph, Statement
from graph.sqlite.reading import Reader
from graph.sqlite.store import THREADS, SqliteGraph
from lineal.errors import Unavailable
from schema.limits import Limits
from tests import building as b
from tests.live.following import reached
from tests.schema.conftest import Asked
from tests.services import Neo4jServer

DEADLINE = 0.5
QUERY = "{ models { nodes { name } } }"
ON_SQLITE = """WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 200000000)
  SELECT count(*) FROM counted"""
"""Takes SQLite half a minute and more."""
ON_NEO4J = "UNWIND range(1, 1000000000000) AS endless RETURN count(endless * 2) AS t, 0 AS result"
"""Takes Neo4j hours."""


async def _stopped(asked: Asked) -> None:
    """An operation that comes to the slow statement is told of its deadline, and soon."""
    error = await asked.refused(QUERY)
    assert (error["code"], error["limit"], error["maximum"]) == ("LIMIT_EXCEEDED", "seconds", asked.limits.seconds)
    assert asked.operations[-1].seconds < asked.limits.seconds + GRACE_SECONDS


@pytest.mark.parametrize("late", [0.0, 2 * DEADLINE], ids=["while it runs", "before it begins"])
async def test_sqlite_stops_a_statement_at_the_deadline_and_has_its_threads_free_at_once(
    sqlite_graph: Graph, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    assert isinstance(sqlite_graph, SqliteGraph)
    await b.model(sqlite_graph, "bert")
    read, slow, heard = Reader.all, True, list[Statement]()

    def all_(self: Reader, verb: str, sql: str, params: Any = ()) -> list[Any]:
        if not slow or verb != "find":
            return read(self, verb, sql, params)
        time.sleep(late)
        return read(self, verb, ON_SQLITE)

    monkeypatch.setattr(Reader, "all", all_)
    monkeypatch.setattr(sqlite_graph, "_observer", heard.append)
    asked = Asked(sqlite_graph, Limits(seconds=DEADLINE))
    await asyncio.gather(*(_stopped(asked) for _ in range(THREADS)))
    # The statements themselves were broken off; nobody waits for their threads or connections.
    assert [each.failed for each in heard if each.text == ON_SQLITE] == [True] * THREADS
    assert sqlite_graph.load.connections == 0
    slow = False
    assert await asked(QUERY) == {"models": {"nodes": [{"name": "bert"}]}}


def _running(server: Neo4jServer) -> list[str]:
    """The slow statements that the server is at."""
    with neo4j.GraphDatabase.driver(server.url) as driver, driver.session() as session:
        found = session.run("SHOW TRANSACTIONS YIELD currentQuery").value()
    return [text for text in found if text and "endless" in text]


@pytest.fixture
def slow_on_neo4j(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look for nodes takes hours."""
    once = Runner._once

    async def run(self: Runner, verb: str, text: str, params: Any) -> list[Any]:
        return await once(self, verb, ON_NEO4J if verb == "find" else text, params)

    monkeypatch.setattr(Runner, "_once", run)


async def _gone(server: Neo4jServer) -> None:
    await reached(lambda: not _running(server))


@pytest.mark.usefixtures("slow_on_neo4j")
async def test_neo4j_stops_a_statement_at_the_deadline(neo4j_graph: Graph, neo4j_server: Neo4jServer) -> None:
    asking = asyncio.create_task(_stopped(Asked(neo4j_graph, Limits(seconds=2 * DEADLINE))))
    await reached(lambda: bool(_running(neo4j_server)))
    await asking
    await _gone(neo4j_server)


@pytest.mark.usefixtures("slow_on_neo4j")
async def test_neo4j_itself_stops_a_statement_that_lasts_longer_than_a_snapshot_may(
    neo4j_graph: Graph, neo4j_server: Neo4jServer
) -> None:
    async with Neo4jGraph(neo4j_server.url, longest=DEADLINE) as graph, graph.snapshot() as snapshot:
        with pytest.raises(Unavailable, match="within the time limit"):
            await snapshot.find("Model")
    await _gone(neo4j_server)
