"""The audit's chains in tests: read whole, and checked by the documented format alone."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785

from graph.port import Entry, Graph, Head, NewNode
from tests import building

BEGINNING = "0" * 64
"""What stands for the hash before the first entry of a chain."""


def hash_of(previous: str, entry: Entry) -> str:
    """The hash that an entry must have, from the documented format alone."""
    change = entry.change
    body: Any = {
        "previous": previous,
        "workspace": entry.workspace,
        "number": entry.number,
        "change": {
            "id": change.id,
            "at": change.at,
            "by": change.by,
            "client": change.origin.client,
            "token": change.origin.token,
            "address": change.origin.address,
            "action": change.action,
            "request": change.request,
            "seq": change.seq,
            "workspaces": sorted(change.workspaces),
            "data": hashlib.sha256(rfc8785.dumps(change.data)).hexdigest(),
        },
    }
    return hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def broken(entries: list[Entry], *, number: int = 0, hash: str = BEGINNING) -> list[int]:
    """The places where a chain is not whole: a number that is missing, or a hash that does not follow."""
    found = []
    for entry in entries:
        number += 1
        if entry.number != number or entry.hash != hash_of(hash, entry):
            found.append(number)
        number, hash = entry.number, entry.hash
    return found


async def chains(graph: Graph) -> dict[str, list[Entry]]:
    """Every chain from its first entry, once nothing waits."""
    while await graph.sequence():
        pass
    found: dict[str, list[Entry]] = {}
    async with graph.snapshot() as snapshot:
        for head in await snapshot.heads():
            entries = found[head.workspace] = list[Entry]()
            while page := await snapshot.chain(head.workspace, after=entries[-1].number if entries else 0):
                entries += page
    return found


async def heads(graph: Graph) -> dict[str, Head]:
    """The head of every chain."""
    async with graph.snapshot() as snapshot:
        return {head.workspace: head for head in await snapshot.heads()}


async def create_in(graph: Graph, *workspaces: str, name: str = "m") -> None:
    """One write that creates a model in each of these workspaces."""
    await building.create(graph, *(NewNode("Model", name, workspace) for workspace in workspaces))
