"""Writing what a tracking server knows of a version: all of it in one transaction, and again without doubling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from graph.address import parse
from graph.ontology import EDGE_KINDS, MODEL_VERSION, Exclusive
from graph.port import All, Hop, Paging, Prop, Transaction
from lineal.errors import PreconditionFailed
from resolvers.reading import all_links
from resolvers.tracking.stories import Story
from resolvers.tracking.telling import Telling
from resolvers.writing.importing import ImportedEdge, record

MAX_KNOWN: Final = 500
"""Versions that are made of the logged models that one run read or made."""


async def versions_of(tx: Transaction, workspace: str, story: Story | None) -> dict[str, list[str]]:
    """The versions of a workspace, by the logged models of a story that they are made of."""
    if story is None or story.run is None:
        return {}
    wanted = {*story.run.inputs, *story.run.outputs, *([story.logged.id] if story.logged is not None else [])}
    if not wanted:
        return {}
    where = All((Prop("loggedModel", "in", sorted(wanted)[:MAX_KNOWN]), Prop("workspace", "eq", workspace)))
    found: dict[str, list[str]] = {}
    for node in (await tx.find(MODEL_VERSION.name, where, paging=Paging(MAX_KNOWN))).items:
        found.setdefault(node.props["loggedModel"], []).append(node.id)
    return found


async def write(tx: Transaction, telling: Telling) -> list[str]:
    """Record what is told. What is there and says otherwise stays: what was left out because of that, in words."""
    edges, kept = await _free(tx, telling.edges)
    await record(tx, nodes=telling.nodes, edges=edges)
    if telling.left_out:
        kept.append(f"{telling.left_out} values are more, or larger, than Lineal takes")
    return kept


async def _free(tx: Transaction, edges: Sequence[ImportedEdge]) -> tuple[list[ImportedEdge], list[str]]:
    """These edges without those whose place another one has: a version that another run made, and the like."""
    single = [edge for edge in edges if EDGE_KINDS[edge["kind"]].exclusive is Exclusive.PER_SOURCE]
    ends = list(dict.fromkeys(end for edge in single for end in (edge["from"], edge["to"])))
    found = dict(zip(ends, await tx.resolve([parse(end) for end in ends]), strict=True)) if ends else {}
    there: dict[tuple[str, str, str], str] = {}
    for kind in dict.fromkeys(edge["kind"] for edge in single):
        sources = [n.id for e in single if e["kind"] == kind and (n := found[e["from"]]) is not None]
        links = await all_links(tx, list(dict.fromkeys(sources)), Hop(kind, "OUT")) if sources else {}
        there |= {(id, kind, link.node.kind): link.node.id for id, each in links.items() for link in each}
    wrong: list[str] = []
    kept: list[ImportedEdge] = []
    for edge in edges:
        source, target = found.get(edge["from"]), found.get(edge["to"])
        holder = None if source is None else there.get((source.id, edge["kind"], parse(edge["to"]).kind))
        if edge in single and holder is not None and (target is None or target.id != holder):
            wrong.append(f"{edge['kind']} of {edge['from']} stays as it is and does not lead to {edge['to']}")
        else:
            kept.append(edge)
    return kept, wrong


async def recorded(do: Callable[[Sequence[str]], Awaitable[None]]) -> None:
    """Do it, and again without what would close a circle; it is given why, each time that it was refused before.

    What a run read may have come of what it made, as far as Lineal knows: first the models that it read are left out,
    then the data.
    """
    refused: list[str] = []
    for _ in range(2):
        try:
            return await do(refused)
        except PreconditionFailed as error:
            refused.append(error.message)
    return await do(refused)
