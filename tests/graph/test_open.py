"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph.neo4j.store import Neo4jGraph
from graph.open import is_embedded, open_graph, sqlite_path
from graph.sqlite.store import SqliteGraph
from lineal.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///lineal.db", "lineal.db"),
        ("sqlite:///data/lineal.db", "data/lineal.db"),
        ("sqlite:////var/lib/lineal.db", "/var/lib/lineal.db"),
        ("sqlite:////with%20blank.db", "/with blank.db"),
    ],
)
def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    graph = open_graph(url)
    assert isinstance(graph, SqliteGraph)
    assert graph.path == Path(path)
    assert is_embedded(url)


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/ada")
    assert sqlite_path("sqlite:///~/lineal.db") == Path("/srv/ada/lineal.db")


@pytest.mark.parametrize(
    "url", ["neo4j://a:7687", "neo4j+s://a", "neo4j+ssc://a", "bolt://a", "bolt+s://a", "bolt+ssc://a"]
)
def test_a_neo4j_url_names_a_server(url: str) -> None:
    assert isinstance(open_graph(url, user="u", password="p", ca=Path("ca.pem")), Neo4jGraph)
    assert not is_embedded(url)


@pytest.mark.parametrize("url", ["", "lineal.db", "postgres://x", "sqlite", "http://a"])
def test_what_is_no_url_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="is no URL of a store; it looks like sqlite:///"):
        open_graph(url)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://host/a.db", "sqlite:///a/", "sqlite:///:memory:", "sqlite:///a?b"]
)
def test_a_sqlite_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="names no file"):
        open_graph(url)


def test_a_password_does_not_belong_into_a_url() -> None:
    with pytest.raises(InvalidArgument, match="LINEAL_GRAPH_PASSWORD") as caught:
        open_graph("neo4j://ada:secret@host:7687")
    assert "secret" not in caught.value.message
