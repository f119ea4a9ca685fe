"""Taking in what a file tells, all of it or nothing. Every face imports through these."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from graph.address import parse
from graph.ids import kind_of
from graph.ontology import NODE_KINDS
from graph.port import Transaction
from lineal.errors import LinealError
from resolvers.importing import cards, croissant, prov
from resolvers.importing.telling import Told, bounded
from resolvers.operation import Operation
from resolvers.writing.command import batch_command
from resolvers.writing.importing import ImportedNode, record

_PLACE: Final = re.compile(r"\b(nodes|edges)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Taken:
    """What was recorded, new or not: nodes and edges, and what was left out, each in one sentence."""

    nodes: int
    edges: int
    notes: Sequence[str]


async def import_prov(op: Operation, data: bytes, *, workspace: str) -> Taken:
    """Take in PROV-JSON; what Lineal did not write itself goes into this workspace.

    What is new gets the id that it has in the file. Raises InvalidArgument, LimitExceeded, Unavailable (needs the extra
    prov), and what recordLineage raises, each naming the place in the file.
    """
    told = prov.read(bounded(data), workspace)

    async def build(tx: Transaction) -> Told:
        await _keep_free_ids(tx, told)
        return told

    return await _take(op, build)


async def import_croissant(op: Operation, data: bytes, *, workspace: str) -> Taken:
    """Take in a data set as Croissant has it: one version, with columns and checksums. Raises as import_prov."""
    told = croissant.read(bounded(data), workspace)

    async def build(_tx: Transaction) -> Told:
        return told

    return await _take(op, build)


async def import_card(op: Operation, data: bytes, *, version: str) -> Taken:
    """Take in a model card as what is known of one model version (models:/name/3). Raises as import_prov.

    Base models and data sets that are not known are made as external ones.
    """
    card = cards.read(bounded(data), version)
    return await _take(op, card.tell)


async def _take(op: Operation, build: Callable[[Transaction], Awaitable[Told]]) -> Taken:
    built: list[Told] = []

    async def body(tx: Transaction) -> list[str]:
        built[:] = [await build(tx)]
        return await record(tx, nodes=list(built[0].nodes.values()), edges=built[0].edges)

    try:
        await batch_command("importLineage")(body).once(op, None)
    except LinealError as error:
        if not built:
            raise
        raise _placed(error, built[0]) from None
    return Taken(len(built[0].nodes), len(built[0].edges), built[0].notes)


def _placed(error: LinealError, told: Told) -> LinealError:
    """The error, with places in the file for those in what it told."""

    def place(match: re.Match[str]) -> str:
        places = told.node_places if match[1] == "nodes" else told.edge_places
        number = int(match[2])
        return places[number] if number < len(places) else match[0]

    error.message = _PLACE.sub(place, error.message)
    error.args = (error.message,)
    error.field = None if error.field is None else _PLACE.sub(place, error.field)
    return error


async def _keep_free_ids(tx: Transaction, told: Told) -> None:
    """What is new keeps its id, unless that is taken, was ever, or is not one of its kind."""
    wanted = [id for node in told.nodes.values() if (id := node.get("id"))]
    taken = await tx.seen(wanted) if wanted else set()
    for node in told.nodes.values():
        id = node.get("id")
        if id and (id in taken or not _is_of(id, node)):
            del node["id"]


def _is_of(id: str, node: ImportedNode) -> bool:
    kind = kind_of(id)
    return kind is not None and kind is NODE_KINDS[parse(node["address"]).kind]
