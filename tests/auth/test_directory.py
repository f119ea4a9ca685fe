"""Principals appear with their first token, once, and at no cost afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from auth.caller import ANONYMOUS, LOCAL, Caller
from auth.directory import Directory
from graph.port import Graph, NewNode, Node, Origin, Statement
from lineal.errors import Unauthenticated
from tests import building as b

ANN = Caller(
    "corp:ann",
    frozenset({"model:read"}),
    issuer="https://issuer.example",
    subject="ann",
    client="notebook",
    token="jti-1",
    display_name="Ann",
)


async def principal(graph: Graph, name: str = ANN.name) -> Node | None:
    """The principal of this name."""
    async with graph.snapshot() as snapshot:
        return (await snapshot.access(name)).principal


async def test_a_principal_appears_with_its_first_token(graph: Graph) -> None:
    await Directory(graph).admit(ANN, "req-7", "192.0.2.7")
    node = await principal(graph)
    assert node is not None
    assert (node.kind, node.name, node.created_by) == ("Principal", "corp:ann", "corp:ann")
    assert node.props["type"] == "USER"
    assert node.props["displayName"] == "Ann"
    assert node.props["directory"] == {"issuer": "https://issuer.example", "subject": "ann", "client": "notebook"}
    (change,) = await b.sequenced(graph, node.id)
    assert (change.action, change.by, change.request) == ("principalAppeared", "corp:ann", "req-7")
    assert change.origin == Origin("notebook", "jti-1", "192.0.2.7")


async def test_a_service_account_appears_as_one(sqlite_graph: Graph) -> None:
    await Directory(sqlite_graph).admit(Caller("corp:ci", type="SERVICE"))
    node = await principal(sqlite_graph, "corp:ci")
    assert node is not None
    assert node.props == {"type": "SERVICE", "directory": {}}


@pytest.mark.parametrize("caller", [LOCAL, Caller(ANONYMOUS)], ids=["trusted", "anonymous"])
async def test_who_has_no_token_does_not_appear(sqlite_graph: Graph, caller: Caller) -> None:
    await Directory(sqlite_graph).admit(caller)
    assert await principal(sqlite_graph, caller.name) is None


async def test_in_many_processes_at_once_it_appears_once(graph: Graph) -> None:
    await asyncio.gather(*(Directory(graph).admit(ANN) for _ in range(8)))
    node = await principal(graph)
    assert node is not None
    assert [c.action for c in await b.sequenced(graph, node.id)] == ["principalAppeared"]


async def test_who_was_seen_costs_the_store_nothing(sqlite_graph: Graph) -> None:
    sent: list[Statement] = []
    directory = Directory(sqlite_graph)
    sqlite_graph._observer = sent.append  # type: ignore[attr-defined]
    await directory.admit(ANN)
    assert sent
    sent.clear()
    await directory.admit(replace(ANN, token="jti-2", display_name="Another name"))
    assert sent == []


async def test_only_so_many_names_are_remembered(sqlite_graph: Graph) -> None:
    directory = Directory(sqlite_graph, remembered=2)
    for name in ("a", "b", "a", "c"):
        await directory.admit(Caller(f"corp:{name}"))
    assert list(directory._known) == ["corp:a", "corp:c"]


async def test_a_later_token_may_bring_another_display_name(graph: Graph) -> None:
    await Directory(graph).admit(ANN)
    await Directory(graph).admit(replace(ANN, display_name=""))
    assert (await principal(graph) or LOST).props["displayName"] == "Ann"
    await Directory(graph).admit(replace(ANN, display_name="Ann B."))
    assert (await principal(graph) or LOST).props["displayName"] == "Ann B."


@pytest.mark.parametrize("kept", [{"userName": "ann"}, {"active": False}], ids=["provisioned", "deactivated"])
async def test_who_is_kept_by_a_directory_is_not_renamed_by_a_token(
    sqlite_graph: Graph, kept: dict[str, object]
) -> None:
    await b.create(sqlite_graph, NewNode("Principal", ANN.name, "", props={"displayName": "A.", **kept}))
    await Directory(sqlite_graph).admit(ANN)
    assert (await principal(sqlite_graph) or LOST).props["displayName"] == "A."


async def test_a_display_name_is_one_short_line(sqlite_graph: Graph) -> None:
    await Directory(sqlite_graph).admit(replace(ANN, display_name="A\0n\nn\ud800" + "!" * 1_000))
    assert (await principal(sqlite_graph) or LOST).props["displayName"] == "Ann" + "!" * 197


@pytest.mark.parametrize("name", ["corp:" + "x" * 600, "corp:\0"], ids=["long", "unprintable"])
async def test_a_subject_that_cannot_be_a_name_is_refused(sqlite_graph: Graph, name: str) -> None:
    with pytest.raises(Unauthenticated, match="subject"):
        await Directory(sqlite_graph).admit(Caller(name))


LOST = Node("", "")
