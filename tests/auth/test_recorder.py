"""The recorder: what changed nothing is in the audit, and floods of it are few entries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from auth.caller import Caller
from auth.recorder import MAX_KEYS, MAX_TARGETS, Recorder
from graph.port import Change, EntryFilter, Graph, Note
from graph.sqlite.store import SqliteGraph
from lineal.errors import Unavailable
from tests import building

ANN = Caller("corp:ann", client="web", token="t-1")


async def noted(graph: Graph) -> list[Change]:
    """All notes, the oldest first."""
    async with graph.snapshot() as snapshot:
        entries = await snapshot.entries(EntryFilter(noted=True), limit=500)
    return [entry.change for entry in reversed(entries)]


def said(change: Change) -> dict[str, Any]:
    """What a note says."""
    data: dict[str, Any] = change.data["noted"]
    return data


@pytest.fixture
async def recorder(sqlite_graph: Graph) -> AsyncIterator[Recorder]:
    async with Recorder(sqlite_graph) as recorder:
        yield recorder


async def refuse(
    recorder: Recorder,
    action: str = "mutation registerModel",
    caller: Caller = ANN,
    on: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    await recorder.refused(
        caller,
        action=action,
        code="FORBIDDEN",
        message="no",
        scopes=[["model:write"]],
        on=on,
        address="192.0.2.7",
        request="r",
    )


async def test_a_refusal_says_who_what_and_from_where_when_the_method_returns(
    sqlite_graph: Graph, recorder: Recorder
) -> None:
    await refuse(recorder)
    (change,) = await noted(sqlite_graph)
    assert (change.by, change.action, change.request) == ("corp:ann", "refused", "r")
    assert (change.origin.client, change.origin.token, change.origin.address) == ("web", "t-1", "192.0.2.7")
    assert said(change) == {
        "action": "mutation registerModel",
        "code": "FORBIDDEN",
        "message": "no",
        "scopes": [["model:write"]],
        "on": {},
        "count": 1,
    }


async def test_the_same_refusal_again_is_counted_and_written_at_the_end(sqlite_graph: Graph) -> None:
    async with Recorder(sqlite_graph) as recorder:
        for _ in range(50):
            await refuse(recorder)
        assert len(await noted(sqlite_graph)) == 1
    assert [said(change)["count"] for change in await noted(sqlite_graph)] == [1, 49]


async def test_what_was_counted_is_written_when_its_time_is_over(sqlite_graph: Graph) -> None:
    async with Recorder(sqlite_graph, seconds=0.2) as recorder:
        for _ in range(3):
            await refuse(recorder)
        while len(await noted(sqlite_graph)) < 2:  # noqa: ASYNC110 - the store has no event for it
            await asyncio.sleep(0.02)
    assert sum(said(change)["count"] for change in await noted(sqlite_graph)) == 3


async def test_other_callers_and_other_actions_are_told_apart(sqlite_graph: Graph, recorder: Recorder) -> None:
    await refuse(recorder)
    await refuse(recorder, action="query audit")
    await refuse(recorder, caller=Caller("corp:bob"))
    assert [(change.by, said(change)["action"]) for change in await noted(sqlite_graph)] == [
        ("corp:ann", "mutation registerModel"),
        ("corp:ann", "query audit"),
        ("corp:bob", "mutation registerModel"),
    ]


async def test_refusals_of_other_things_are_told_apart_in_the_chains_of_their_workspaces(
    sqlite_graph: Graph, recorder: Recorder
) -> None:
    await building.workspace(sqlite_graph, "vision")
    for model in ("a", "b", "b"):
        await refuse(recorder, on={"vision": [f"models:/vision:{model}"]})
    await recorder.close()
    changes = await noted(sqlite_graph)
    assert {change.workspaces for change in changes} == {("vision",)}
    assert [said(change)["on"]["vision"] for change in changes] == [
        ["models:/vision:a"], ["models:/vision:b"], ["models:/vision:b"],
    ]  # fmt: skip


async def test_one_caller_who_is_refused_many_things_takes_few_entries(sqlite_graph: Graph, recorder: Recorder) -> None:
    for number in range(MAX_TARGETS + 50):
        await refuse(recorder, on={"default": [f"models:/m{number}"]})
    await refuse(recorder, caller=Caller("corp:bob"), on={"default": ["models:/m1"]})
    await recorder.close()
    changes = await noted(sqlite_graph)
    assert len(changes) == MAX_TARGETS + 3
    assert sum(said(change)["count"] for change in changes) == MAX_TARGETS + 51
    assert [change.by for change in changes if not said(change)["on"]] == ["corp:ann", "corp:ann"]


async def test_a_flood_from_many_addresses_is_a_bounded_number_of_entries(
    sqlite_graph: Graph, recorder: Recorder
) -> None:
    flood = MAX_KEYS + 200
    await asyncio.gather(*(recorder.failed(reason="signature", address=f"2001:db8::{n:x}") for n in range(flood)))
    await recorder.close()
    async with sqlite_graph.snapshot() as snapshot:
        entries = [e for page in range(1) for e in await snapshot.entries(EntryFilter(noted=True), limit=5_000)]
    assert len(entries) <= MAX_KEYS + 2
    assert sum(said(entry.change)["count"] for entry in entries) == flood


async def test_no_credential_gets_into_the_audit(sqlite_graph: Graph, recorder: Recorder) -> None:
    secret = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
    await recorder.failed(reason="signature", address="192.0.2.7", detail=f"Bearer {secret} and {secret}")
    (change,) = await noted(sqlite_graph)
    assert "eyJ" not in str(change.data)
    assert "[removed]" in said(change)["detail"]


class Away(SqliteGraph):
    """A store whose audit cannot be written."""

    async def note(self, notes: Sequence[Note]) -> None:
        raise Unavailable("away")


async def test_a_store_that_is_away_fails_no_refusal_but_a_read(tmp_path: Path) -> None:
    async with Away(tmp_path / "away.db") as graph:
        await graph.migrate()
        recorder = Recorder(graph)
        await refuse(recorder)
        with pytest.raises(Unavailable):
            await recorder.read(ANN, action="readAudit", data={})
        await recorder.close()
