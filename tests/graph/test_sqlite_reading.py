"""What the embedded store does to find something does not grow with what it does not find."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from graph import ontology
from graph.ids import new_id
from graph.port import EVERYTHING, All, Node, NodeRecord, Order, Paging, Prop, Row, Where
from graph.sqlite.reading import Reader
from graph.sqlite.store import SqliteGraph
from tests import building

STEPS = 100
"""Instructions of SQLite's machine between two looks."""


def team(number: int, rare: int) -> NodeRecord:
    props = {"externalId": "rare"} if number < rare else {}
    node = Node(new_id("te"), "Team", ontology.GLOBAL, "", f"team-{number}", number, "ann", number, 1, None, props)
    tags = {"build": "rare" if number < rare else f"{number}", "kind": "team"}
    return NodeRecord(node, [], tags, {"rate": "0.1"}, [])


async def steps(home: Path, teams: int, where: Where, *, rare: int = 3) -> tuple[int, int]:
    """How many teams are found among so many, and how many hundred instructions that takes."""
    path = home / f"{teams}.db"
    async with SqliteGraph(path) as graph:
        await graph.migrate()
        await building.load(graph, [team(number, rare) for number in range(teams)])
    with closing(sqlite3.connect(path)) as db:
        counted: Iterator[int] = iter(range(10**9))
        db.set_progress_handler(lambda: next(counted) < 0, STEPS)
        found = Reader(db, EVERYTHING, None).find("Team", where, Order("createdAt"), Paging(50))
        return len(found.items), next(counted)


@pytest.mark.parametrize(
    "where",
    [
        Row("tags", "build", "eq", "rare"),
        Row("tags", "build", "in", ["rare", "rarer"]),
        All((Row("tags", "kind", "eq", "team"), Row("tags", "build", "eq", "rare"))),
        All((Prop("name", "prefix", "team"), Row("tags", "build", "eq", "rare"))),
        Prop("externalId", "eq", "rare"),
        Prop("externalId", "in", ["rare", "rarer"]),
        Prop("externalId", "gte", "r"),
    ],
    ids=[
        "a tag",
        "one of two tags",
        "a rare tag beside a common one",
        "a tag beside something else",
        "a property",
        "one of two values of a property",
        "a property from a value on",
    ],
)
async def test_what_few_have_is_found_without_a_look_at_the_others(tmp_path: Path, where: Where) -> None:
    few, little = await steps(tmp_path, 300, where)
    many, much = await steps(tmp_path, 3_000, where)
    assert few == many == 3
    assert much < 3 * little + 20


async def test_what_nobody_has_is_not_looked_for_in_each(tmp_path: Path) -> None:
    found, work = await steps(tmp_path, 2_000, Row("params", "rate", "eq", "0.2"))
    assert (found, work) == (0, work)
    assert work < 20


async def test_what_most_have_is_read_off_in_order_and_no_further_than_the_page(tmp_path: Path) -> None:
    common = Row("params", "rate", "eq", "0.1")
    first, little = await steps(tmp_path, 1_500, common)
    same, much = await steps(tmp_path, 5_000, common)
    assert first == same == 50
    assert much < 2 * little
