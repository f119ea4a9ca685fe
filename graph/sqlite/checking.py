"""What does not belong into a file: rows that lead to no node, and damage."""

from __future__ import annotations

from typing import Final

from graph.port import Strays
from graph.sqlite.reading import Reader
from graph.sqlite.writing import Writer

_GONE: Final = "NOT IN (SELECT k FROM node)"
STRAYS: Final = {
    "edges without an end": ("edge", f"src {_GONE} OR dst {_GONE}"),
    "tags of nothing": ("tag", f"owner {_GONE}"),
    "parameters of nothing": ("param", f"owner {_GONE}"),
    "metrics of nothing": ("metric", f"owner {_GONE}"),
    "points of nothing": (
        "chunk",
        "NOT EXISTS (SELECT 1 FROM metric m WHERE m.owner = chunk.owner AND m.name = chunk.name)",
    ),
    "former names of nothing": ("former", f"node {_GONE}"),
    "words of nothing": ("search", f"rowid {_GONE}"),
}
"""Rows that can go: what they are, their table, and how they are told."""
MAX_DAMAGE: Final = 20


def strays(reader: Reader) -> Strays:
    """See Graph.strays."""
    found = {
        what: reader.all("check", f"SELECT count(*) FROM {table} WHERE {told}")[0][0]
        for what, (table, told) in STRAYS.items()
    }
    damage = [text for (text,) in reader.all("check", f"PRAGMA integrity_check({MAX_DAMAGE})") if text != "ok"]
    lost = reader.all(
        "check",
        "SELECT n.id, n.container FROM node n WHERE NOT EXISTS (SELECT 1 FROM node c WHERE c.id = n.container) LIMIT ?",
        (MAX_DAMAGE,),
    )
    damage += [f"{id} belongs to {container}, which is not there" for id, container in lost]
    return Strays({what: count for what, count in found.items() if count}, damage)


def drop_strays(writer: Writer) -> None:
    """See Graph.drop_strays."""
    for table, told in STRAYS.values():
        writer.all("check", f"DELETE FROM {table} WHERE {told}")
