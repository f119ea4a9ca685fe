"""Who made a version or asks for it, and who stands behind them: none of them may approve it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from auth.roles import Role, is_active
from graph.address import Address
from graph.ontology import GLOBAL
from graph.port import MAX_PAGE, Change, Hop, Link, Node, Paging, Snapshot, batched
from lineal.errors import LimitExceeded

SERVICE: Final = "SERVICE"
MAX_PEOPLE: Final = 10_000
"""How many may stand behind a principal: of more it cannot be said who they are."""


async def parties_of(whole: Snapshot, version: Node, *, asked_by: str = "") -> frozenset[str]:
    """The names of all who count as authors of a version, or as the one who asks for it.

    They are who registered it, who recorded the runs that made it, who brought or changed its files, and who asks;
    of service accounts also the people who answer for them, or did at any time since the version was registered.
    `whole` must see everything.
    """
    made = await ever(whole, version.id, Hop("PRODUCED_BY", "OUT", "Run"))
    names = {version.created_by, asked_by, *(link.node.created_by for link in made)}
    names = (names | await _who_brought_files(whole, version)) - {""}
    return frozenset(names | await people_behind(whole, names, since=version.created_at))


async def _who_brought_files(whole: Snapshot, version: Node) -> set[str]:
    """The names of those who recorded files of a version, gave them to it or took them away, or said where they are."""
    files = [link.node for link in await ever(whole, version.id, Hop("HAS_ARTIFACT", "OUT", "Artifact"))]
    names = {file.created_by for file in files}
    ids = list(dict.fromkeys([version.id, *(file.id for file in files)]))
    for some in batched(ids, MAX_PAGE):
        for id, page in (await whole.changes_of(some, limit=MAX_PAGE)).items():
            changes = page
            while changes:
                names |= {change.by for change in changes if _is_of_files(change, id, version.id)}
                full = len(changes) == MAX_PAGE
                after = changes[-1].seq or 0
                changes = (await whole.changes_of([id], after=after, limit=MAX_PAGE)).get(id, []) if full else []
    return names


def _is_of_files(change: Change, id: str, version: str) -> bool:
    """Whether a change is of what this is: where it is, or which files a version has."""
    updated = change.data.get("updated", {}).get(id, {})
    linked = [*change.data.get("linked", ()), *change.data.get("unlinked", ())]
    return bool({"uri", "digest"} & updated.get("after", {}).keys()) or any(
        kind == "HAS_ARTIFACT" and source == version for source, kind, *_ in linked
    )


async def people_behind(whole: Snapshot, names: Collection[str], *, since: int) -> set[str]:
    """The names of those who answer for principals of these names, or did after a time, over any number of steps.

    Raises LimitExceeded: they are more than can be looked at.
    """
    found: set[str] = set()
    level = set(names)
    while level:
        principals = await whole.resolve([Address("Principal", GLOBAL, name) for name in sorted(level)])
        links = [
            link
            for node in principals
            if node is not None
            for link in await ever(whole, node.id, Hop("ACTS_FOR", "OUT", "Principal"))
            if link.edge.until is None or link.edge.until > since
        ]
        level = {link.node.name for link in links} - found - set(names)
        found |= level
        if len(found) > MAX_PEOPLE:
            raise LimitExceeded(f"more than {MAX_PEOPLE:,} people stand behind {', '.join(sorted(names)[:3])}")
    return found


async def is_person(whole: Snapshot, principal: Node) -> bool:
    """Whether a principal may decide for itself: it is no service account, and was not deactivated."""
    if principal.props.get("type") == SERVICE or not is_active(principal):
        return False
    return not await ever(whole, principal.id, Hop("ACTS_FOR", "OUT", "Principal"))


async def role_in(whole: Snapshot, workspace: str, name: str, teams: Iterable[str]) -> Role | None:
    """The role that a principal has in a workspace, granted to it or to a team of it; what a token adds counts not."""
    access = await whole.access(name, sorted(teams))
    return max((Role[role] for place, role in access.roles if place == workspace), default=None)


async def ever(whole: Snapshot, id: str, hop: Hop) -> list[Link]:
    """All edges of a hop, ended ones too."""
    links: list[Link] = []
    after, more = None, True
    while more:
        page = (await whole.history([id], hop, paging=Paging(MAX_PAGE, after)))[id]
        links += page.items
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return links
