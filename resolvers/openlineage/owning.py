"""Who answers for jobs and data sets, as far as Lineal knows whom producers name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from graph.address import Address
from graph.ontology import GLOBAL, PRINCIPAL, TEAM
from resolvers.writing.draft import Draft

KINDS: Final[Mapping[str, str]] = {
    "team": TEAM.name,
    "group": TEAM.name,
    "user": PRINCIPAL.name,
    "person": PRINCIPAL.name,
}
"""What a name with one of these words and a colon before it is the name of."""


def _addresses(name: str) -> list[Address]:
    """What a name may mean: a principal or a team of that name, or what its first word says."""
    word, _, rest = name.partition(":")
    found = [Address(kind, GLOBAL, name) for kind in (PRINCIPAL.name, TEAM.name)]
    return found + ([Address(KINDS[word.lower()], GLOBAL, rest)] if rest and word.lower() in KINDS else [])


async def settle(draft: Draft, changes: Iterable[tuple[str, set[str], set[str]]]) -> None:
    """Let nodes be owned by those who are named now, where these are known; of others only those named before go.

    `changes` are the id of a node, who was named before, and who is now.
    """
    wanted = [(id, before, now) for id, before, now in changes if before != now]
    names = sorted(set().union(*(before | now for _, before, now in wanted)))
    addresses = [(name, address) for name in names for address in _addresses(name)]
    found: dict[str, set[str]] = {name: set() for name in names}
    if addresses:
        nodes = await draft.tx.resolve([address for _, address in addresses])
        for (name, _), node in zip(addresses, nodes, strict=True):
            if node is not None:
                found[name].add(node.id)
    for id, before, now in wanted:
        ids = [set().union(*(found[name] for name in each)) for each in (before, now)]
        for owner in sorted(ids[0] - ids[1]):
            draft.end("OWNED_BY", id, target=owner)
        for owner in sorted(ids[1] - ids[0]):
            draft.link("OWNED_BY", id, owner)
