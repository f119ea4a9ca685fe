"""What a store has beside its graph, as lines: changes with their places in the chains, checkpoints, what is kept.

A line is a JSON object with one member that says what it is, names in order:

    {"checkpoint":{"body":…,"key":…,"number":…,"signature":…}}
    {"chain":{"hash":…,"number":…,"workspace":…,"anchor":[number,hash]}}
    {"change":{"action":…,"address":…,"at":…,"by":…,"client":…,"data":"…","entries":[[workspace,number,hash],…],…}}
    {"kept":{"data":{…},"number":…,"owner":…,"state":…}}
    {"key":{"at":…,"by":…,"hash":…,"ids":[…],"key":…}}

`data` of a change is the text that the store keeps, since the audit's hashes cover what is in it. Changes come the
latest first. The same store gives the same lines, and so does each that they were put back into.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson

from graph.port import (
    Aside,
    Change,
    Checkpoint,
    Entry,
    Graph,
    Head,
    Kept,
    Key,
    Origin,
    Snapshot,
)
from graph.recording import facts, read_data, write_data
from lineal.errors import InvalidArgument

PAGE: Final = 500
BATCH_BYTES: Final = 8 * 2**20
RESTORING: Final = "restore"
"""Whose what is kept says that a restore goes on, or broke off: no backup has it."""
SELF: Final = "graph"
"""Whose what is kept says which graph this is: no backup has it, for a copy is another one."""
FIRST: Final = -(2**63)
"""Below every number of what is kept."""


async def aside_lines(snapshot: Snapshot) -> AsyncIterator[bytes]:
    """All lines, read a page at a time.

    Where a snapshot is no true one, entries may come meanwhile: checkpoints are read first, then where the chains
    end, and what comes after that is left out.
    """
    number = 0
    while checkpoints := await snapshot.checkpoints(after=number, limit=PAGE):
        for checkpoint in checkpoints:
            yield _line("checkpoint", asdict(checkpoint))
            number = checkpoint.number
    anchors = {head.workspace: head for head in await snapshot.anchors()}
    heads = await snapshot.heads()
    for head in heads:
        anchor = anchors.get(head.workspace)
        more = {"anchor": [anchor.number, anchor.hash]} if anchor else {}
        yield _line("chain", {**asdict(head), **more})
    async for line in _changes(snapshot, {head.workspace: head.number for head in heads}):
        yield line
    kept_after = ("", FIRST)
    while kept := await snapshot.all_kept(kept_after, PAGE):
        for each in kept:
            if each.owner not in {RESTORING, SELF}:
                yield _line("kept", asdict(each))
            kept_after = each.owner, each.number
    key_after = ("", "")
    while keys := await snapshot.keys(key_after, PAGE):
        for key in keys:
            yield _line("key", asdict(key))
            key_after = key.by, key.key


async def _changes(snapshot: Snapshot, ends: Mapping[str, int]) -> AsyncIterator[bytes]:
    """Changes with the entries that they have in the chains up to these numbers."""
    after: tuple[int, str] | None = None
    waiting: list[Entry] = []
    while page := await snapshot.entries(after=after, limit=PAGE):
        after = page[-1].change.seq or 0, page[-1].workspace
        waiting += [entry for entry in page if entry.number <= ends.get(entry.workspace, 0)]
        groups = [list(group) for _, group in groupby(waiting, key=lambda entry: entry.change.seq)]
        # The last one may go on with the next page.
        waiting = groups.pop() if groups else []
        for group in groups:
            yield _change_line(group)
    if waiting:
        yield _change_line(waiting)


def _change_line(entries: Sequence[Entry]) -> bytes:
    change = entries[0].change
    places = [[entry.workspace, entry.number, entry.hash] for entry in entries]
    return _line("change", {**facts(change), "data": write_data(change.data), "entries": places})


def _line(what: str, body: Mapping[str, Any]) -> bytes:
    return orjson.dumps({what: body}, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


async def put_back(graph: Graph, path: Path, *, by: str) -> None:
    """Put all lines of a file into a store, some at a time; the same again changes nothing.

    The nodes that they are about must be there. Raises InvalidArgument: a line is none of these.
    """
    for part in _parts(path):
        await graph.write(lambda tx, part=part: tx.put_back(part), by=by, action="restore")  # type: ignore[misc]


def _parts(path: Path) -> Iterator[Aside]:
    found = _none()
    count = size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                _read(line, found)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidArgument(f"line {number}: is none that a backup has: {error}") from None
            count, size = count + 1, size + len(line)
            if count == PAGE or size > BATCH_BYTES:
                yield Aside(**found)
                found, count, size = _none(), 0, 0
    yield Aside(**found)


def _none() -> dict[str, list[Any]]:
    return {field.name: [] for field in fields(Aside)}


def _read(line: bytes, found: dict[str, list[Any]]) -> None:
    """Add what a line has. Raises ValueError, KeyError, TypeError, AttributeError: it is none."""
    ((what, body),) = orjson.loads(line).items()
    match what:
        case "checkpoint":
            found["checkpoints"].append(Checkpoint(**body))
        case "chain":
            anchor = body.pop("anchor", None)
            found["heads"].append(Head(**body))
            if anchor:
                found["anchors"].append(Head(body["workspace"], *anchor))
        case "change":
            entries = body.pop("entries")
            change = _change(body)
            found["entries"] += [Entry(workspace, number, hash, change) for workspace, number, hash in entries]
        case "kept":
            found["kept"].append(Kept(**body))
        case "key":
            found["keys"].append(Key(**body))
        case _:
            raise ValueError(what)


def _change(body: Mapping[str, Any]) -> Change:
    return Change(
        id=body["id"],
        at=body["at"],
        by=body["by"],
        action=body["action"],
        request=body["request"],
        data=read_data(body["data"]),
        origin=Origin(body["client"], body["token"], body["address"]),
        workspaces=tuple(body["workspaces"]),
        seq=body["seq"],
    )
