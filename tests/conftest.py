"""What every test can ask for: an empty store of either kind, and how many times to try things."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import neo4j
import pytest
from hypothesis import HealthCheck, settings
from neo4j._async_compat.network import _bolt_socket

from graph.port import Graph
from tests.services import Neo4jServer

HERE = Path(__file__).parent
SOAK = bool(os.environ.get("LINEAL_SOAK"))
"""Whether the full counts are asked for, as `make soak` does."""

_CHECKS = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile("small", max_examples=25, deadline=None, derandomize=True, suppress_health_check=_CHECKS)
settings.register_profile("soak", max_examples=200, deadline=None, suppress_health_check=_CHECKS)
settings.load_profile("soak" if SOAK else "small")


class _Closed(socket.socket):
    """A socket that closes without a warning when nobody has it any more.

    Neo4j's driver drops the one that it is connecting when it is cancelled, so that some other test fails of it.
    """

    def __del__(self) -> None:
        self.close()


_bolt_socket.socket = _Closed  # type: ignore[attr-defined]


def count(small: int, soak: int) -> int:
    """How many times to do something that can be done any number of times."""
    return soak if SOAK else small


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--third-on-neo4j`, as `make test` has it."""
    parser.addoption("--third-on-neo4j", action="store_true", help="of tests above the stores leave a third on Neo4j")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the tests above the stores leave a third to run on Neo4j, where that is asked for: all take very long.

    What a store must do is in tests/graph, which all runs on both; what is above uses no more than that. The third is
    always the same one, beside what is marked `each_store`; `make soak` and whoever runs pytest by hand have all.
    """
    if not config.getoption("third_on_neo4j"):
        return
    left_out = {item for item in items if _on_neo4j(item) and crc32(item.nodeid.encode()) % 3}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _on_neo4j(item: pytest.Item) -> bool:
    """Whether a test runs on Neo4j what is about something above it."""
    above = not item.path.is_relative_to(HERE / "graph")
    marked = item.get_closest_marker("each_store") is not None
    return above and not marked and isinstance(item, pytest.Function) and "neo4j" in item.name.partition("[")[2]


class Pristine:
    """A migrated, empty Neo4j database, and the way back to it.

    What a migration writes is kept here as plain nodes, and put back after everything is deleted, so
    that constraints and indexes need not be made again for each test.
    """

    def __init__(self, url: str) -> None:
        self._driver = neo4j.GraphDatabase.driver(url)
        self._nodes: list[dict[str, Any]] | None = None

    def restore(self) -> None:
        """Delete all nodes and put back those of a fresh migration."""
        self._run("MATCH (n) DETACH DELETE n")
        for node in self._nodes or ():
            labels = "".join(f":`{label}`" for label in node["labels"])
            self._run(f"CREATE (n{labels}) SET n = $props", props=node["props"])

    @property
    def known(self) -> bool:
        """Whether `remember` was called."""
        return self._nodes is not None

    def remember(self) -> None:
        """Take what is there for that of a fresh migration."""
        self._nodes = self._run("MATCH (n) RETURN labels(n) AS labels, properties(n) AS props")

    def _run(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._driver.session() as session:
            return session.run(query, parameters).data()

    def close(self) -> None:
        """Let go of the connection."""
        self._driver.close()


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """A Neo4j server for all tests that do not kill it."""
    with Neo4jServer(tmp_path_factory.mktemp("neo4j"), steady=True) as server:
        yield server


@pytest.fixture(scope="session")
def pristine(neo4j_server: Neo4jServer) -> Iterator[Pristine]:
    """What brings the shared Neo4j back to a fresh migration."""
    pristine = Pristine(neo4j_server.url)
    yield pristine
    pristine.close()


async def _neo4j(request: pytest.FixtureRequest, scheme: str = "bolt") -> AsyncIterator[Graph]:
    from graph.neo4j.store import Neo4jGraph

    server: Neo4jServer = request.getfixturevalue("neo4j_server")
    pristine: Pristine = request.getfixturevalue("pristine")
    pristine.restore()
    # The server's hints about statements are looked at where statements are tested: for each answer the driver then
    # takes down the whole stack, which made up most of what every other test took.
    hints = request.path.is_relative_to(HERE / "graph")
    async with Neo4jGraph(f"{scheme}://127.0.0.1:{server.port}", notifications=hints) as graph:
        if not pristine.known:
            await graph.migrate()
            pristine.remember()
        yield graph


async def _sqlite(path: Path) -> AsyncIterator[Graph]:
    from graph.sqlite.store import SqliteGraph

    async with SqliteGraph(path) as graph:
        await graph.migrate()
        yield graph


@pytest.fixture
async def sqlite_graph(tmp_path: Path) -> AsyncIterator[Graph]:
    """A migrated, empty SQLite store."""
    async for graph in _sqlite(tmp_path / "lineal.db"):
        yield graph


@pytest.fixture
async def neo4j_graph(request: pytest.FixtureRequest) -> AsyncIterator[Graph]:
    """A migrated, empty Neo4j store."""
    async for graph in _neo4j(request):
        yield graph


@pytest.fixture(params=["sqlite", "neo4j"])
async def graph(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Graph]:
    """A migrated, empty store: each test that asks for it runs on both.

    Where tests are parametrized for it "neo4j routed" is the second one as a driver finds it that routes.
    """
    match request.param:
        case "sqlite":
            opened = _sqlite(tmp_path / "lineal.db")
        case "neo4j routed":
            opened = _neo4j(request, "neo4j")
        case _:
            opened = _neo4j(request)
    async for graph in opened:
        yield graph


@pytest.fixture(params=["sqlite", "neo4j"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not open yet, for tests that open it from other processes too."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'lineal.db'}"
    server: Neo4jServer = request.getfixturevalue("neo4j_server")
    request.getfixturevalue("pristine").restore()
    return server.url
