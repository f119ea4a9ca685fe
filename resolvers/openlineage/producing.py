"""Which run made a version of a data set: of all that say so the one that began first.

A version that several runs name was there when the second came: they found it, or wrote nothing.
"""

from __future__ import annotations

from typing import Any, Final

from graph.address import Address
from graph.ontology import RUN, UNVERSIONED
from graph.port import Hop, Node
from resolvers.openlineage.meaning import Made
from resolvers.openlineage.merging import Said
from resolvers.reading import all_links
from resolvers.writing.common import present
from resolvers.writing.draft import Draft, Reference

Claim = list[int | None]
"""When a run that says it made a version began and completed, and how many rows and bytes it says there are."""

SEEN: Final = ""
"""In the place of a run: when an event that is of no run says that the version was there."""


class Producers:
    """The runs that say they made versions, in one write. `changed` are the versions that others may have to look at.

    `makers` are the runs that versions which were there before must lead to, once nobody reads these who does not,
    and `orphans` the names of runs that read a version that there is no more.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._claims: dict[str, dict[str, Claim | None]] = {}
        self._versions: dict[str, Reference] = {}
        self._runs: dict[str, str] = {}
        self._dropped: list[Address] = []
        self.changed: set[str] = set()
        self.makers: dict[str, str] = {}
        self.orphans: set[str] = set()

    def seen(self, version: Reference, time: int | None) -> None:
        """A version was there at this time (None: nobody says when); the earliest time counts."""
        self._versions[version.id] = version
        if time is not None:
            times = [t[1] for t in (_claims_of(version.node).get(SEEN), [None, time]) if t is not None]
            self._claims.setdefault(version.id, {})[SEEN] = [None, min(t for t in times if t is not None), None, None]

    def claim(self, version: Reference, run: str, id: str, said: Said, made: Made) -> None:
        """A run says that it made a version."""
        self._versions[version.id] = version
        self._runs[run] = id
        claim = [said.started, said.times.get("complete"), made.rows, made.size]
        self._claims.setdefault(version.id, {})[run] = claim

    def withdraw(self, version: Reference, run: str) -> None:
        """A run does not say so any more."""
        self._versions[version.id] = version
        self._claims.setdefault(version.id, {})[run] = None

    def drop(self, version: Address) -> None:
        """A version of a run's own is not one: the run says now which it made."""
        self._dropped.append(version)

    async def settle(self) -> None:
        """Say what changes in the draft. What is dropped goes at once."""
        await self._drop()
        native = await self._made_by_others()
        winners: dict[str, str] = {}
        for id, version in self._versions.items():
            before = _claims_of(version.node)
            now = {**before, **self._claims.get(id, {})}
            claims = {run: claim for run, claim in now.items() if claim is not None}
            winner, old = _first(claims), _first(before)
            props = _props(claims, winner) if id not in native and claims != before else {}
            self._draft.set(id, props if version.node is not None else present(props))
            if id not in native and winner != old:
                if old is not None:
                    self._draft.end("PRODUCED_BY", id)
                if winner is not None:
                    winners[id] = winner
            if version.address.part != UNVERSIONED and (version.node is None or props):
                self.changed.add(id)
        await self._link(winners)

    async def _drop(self) -> None:
        tx = self._draft.tx
        found = [node.id for node in (await tx.resolve(self._dropped) if self._dropped else ()) if node is not None]
        if found:
            for links in (await all_links(tx, found, Hop("READ", "IN", RUN.name))).values():
                self.orphans.update(link.node.name for link in links)
            await tx.remove(found)

    async def _made_by_others(self) -> set[str]:
        """The versions that somebody else told the run of."""
        ids = [id for id in self._claims if (node := self._versions[id].node) is not None and not _claims_of(node)]
        hop = Hop("PRODUCED_BY", "OUT", RUN.name)
        return {id for id, links in (await all_links(self._draft.tx, ids, hop) if ids else {}).items() if links}

    async def _link(self, winners: dict[str, str]) -> None:
        missing = sorted(set(winners.values()) - self._runs.keys())
        if missing:
            workspace = self._versions[next(iter(winners))].workspace
            found = await self._draft.tx.resolve([Address(RUN.name, workspace, name) for name in missing])
            self._runs |= {node.name: node.id for node in found if node is not None}
        for id, winner in winners.items():
            if winner not in self._runs:
                continue
            if self._versions[id].node is None:
                self._draft.link("PRODUCED_BY", id, self._runs[winner])
            else:
                self.makers[id] = self._runs[winner]


def _claims_of(node: Node | None) -> dict[str, Claim]:
    given: Any = node.props.get("producers", {}) if node is not None else {}
    return dict(given)


def _first(claims: dict[str, Claim]) -> str | None:
    """The run that began first, by name among equals."""
    return min(claims.keys() - {SEEN}, key=lambda run: (claims[run][0] or 0, run), default=None)


def _props(claims: dict[str, Claim], winner: str | None) -> dict[str, Any]:
    """The properties of a version. Whoever made it says when it was complete, or else whoever saw it."""
    _, _, rows, size = claims[winner] if winner is not None else (None,) * 4
    runs = claims.keys() - {SEEN} or claims.keys()
    made_at = min((time for run in runs if (time := claims[run][1]) is not None), default=None)
    return {"producers": claims or None, "rowCount": rows, "sizeBytes": size, "madeAt": made_at}
