"""From a URL to a store: the one place of this room that knows which there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from graph.port import Graph, Observer
from lineal.errors import InvalidArgument

READ_SECONDS: Final = 30.0
NEO4J_SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")


def open_graph(
    url: str,
    *,
    user: str | None = None,
    password: str | None = None,
    database: str = "neo4j",
    ca: Path | None = None,
    observer: Observer | None = None,
    seconds: float = READ_SECONDS,
) -> Graph:
    """The store at this URL; open it before use.

    `sqlite:///name.db` is a file in the working directory, `sqlite:////var/lib/lineal.db` one at that
    place, `sqlite:///~/lineal.db` one in the home directory; the folder is made where it is missing.
    `neo4j://host:7687` and `bolt://host:7687` are servers (with `+s` over TLS); `user`, `password`,
    `database`, `ca` (a file of trusted certificates) and `seconds` (how long a snapshot may last) are for those alone.
    Raises InvalidArgument.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme == "sqlite":
        return _sqlite(sqlite_path(url), observer)
    if separator and scheme in NEO4J_SCHEMES:
        options = {"user": user, "password": password, "database": database, "authority": ca, "observer": observer}
        return _neo4j(url, {**options, "longest": seconds})
    msg = (
        f"graph: {url!r} is no URL of a store; it looks like sqlite:///lineal.db, sqlite:////var/lib/lineal.db, "
        "neo4j://host:7687 or neo4j+s://host:7687"
    )
    raise InvalidArgument(msg, field="graph")


def is_embedded(url: str) -> bool:
    """Whether the store is a file of this machine, that Lineal looks after by itself."""
    return url.startswith("sqlite://")


def sqlite_path(url: str) -> Path:
    """The file that a sqlite URL names. Raises InvalidArgument: it names none, or a host."""
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or parts.query or parts.fragment or not path or path.endswith("/") or path == ":memory:":
        msg = f"graph: {url!r} names no file; it looks like sqlite:///lineal.db or sqlite:////var/lib/lineal.db"
        raise InvalidArgument(msg, field="graph")
    return Path(path).expanduser()


def _sqlite(path: Path, observer: Observer | None) -> Graph:
    from graph.sqlite.store import SqliteGraph

    return SqliteGraph(path, observer=observer)


def _neo4j(url: str, options: Mapping[str, Any]) -> Graph:
    from graph.neo4j.store import Neo4jGraph

    parts = urlsplit(url)
    if parts.username or parts.password:
        msg = "graph: a URL shows up in logs; give user and password as LINEAL_GRAPH_USER and LINEAL_GRAPH_PASSWORD"
        raise InvalidArgument(msg, field="graph")
    return Neo4jGraph(url, **options)
