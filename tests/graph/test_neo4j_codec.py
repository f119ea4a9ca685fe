"""What somebody wrote into Neo4j, which has no types of columns, can be read all the same, and verified."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc.jwk import OKPKey

from auth.chains import ChainCheck, Wrong
from auth.checkpoints import digest, is_signed, statement
from graph.neo4j.codec import change_of, checkpoint_of, head_of
from graph.port import Head


@pytest.mark.parametrize("workspaces", [None, 5, "vision", [None, 5]])
def test_a_change_whose_workspaces_are_none_is_in_no_workspace(workspaces: Any) -> None:
    assert change_of(["ch_1", 1, "ann", "x", "", "{}", "", "", "", workspaces, 2]).workspaces == ()


def test_the_workspaces_of_a_change_are_in_order() -> None:
    assert change_of(["ch_1", 1, "ann", "x", "", "{}", "", "", "", ["b", "a"], 2]).workspaces == ("a", "b")


@pytest.mark.parametrize("number", ["x", None, 1.5, True, [1]])
def test_a_head_that_is_none_is_found_out(number: Any) -> None:
    head = head_of(["vision", number, None])
    assert head == Head("vision", 0, "")
    assert [each.kind for each in ChainCheck("vision", head, None, iter(()), {}).end()] == [Wrong.EDITED]


@pytest.mark.parametrize("row", [[1, "{}", "k", None], [1, 5, "k", "s"], [None, None, None, None], [1, "{}", 5, 5]])
def test_a_checkpoint_that_is_none_is_not_signed_and_says_nothing(row: list[Any]) -> None:
    checkpoint = checkpoint_of(row)
    assert len(digest(checkpoint)) == 64
    assert not is_signed(checkpoint, OKPKey.generate_key("Ed25519"))
    with pytest.raises(ValueError, match=r"."):
        statement(checkpoint)
