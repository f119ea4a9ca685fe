"""Which run made a version of a data set: of all that say so the one that began first.

A version that several runs name was there when the second came: they found it, or wrote nothing.
"""

from __future__ import annotations

from typing import Any

from graph.address import Address
from graph.ontology import RUN, UNVERSIONED
from graph.port import Hop, Node
from resolvers.openlineage.meaning import Made
from resolvers.reading import all_links
from resolvers.writing.draft import Draft, Reference

Claim = list[int | None]
"""When a run that says it made a version began, and how many rows and bytes it says there are."""


class Producers:
    """The runs that say they made versions, in one write. `changed` are the versions that others may have to look at.

    `orphans` are the names of runs that read a version that there is no more.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._claims: dict[str, dict[str, Claim | None]] = {}
        self._versions: dict[str, Reference] = {}
        self._runs: dict[str, str] = {}
        self._dropped: list[Address] = []
        self._times: dict[str, int] = {}
        self.changed: set[str] = set()
        self.orphans: set[str] = set()

    def there(self, version: Reference, time: int | None) -> None:
        """A version was complete at this time (None: nobody knows when); the earliest time counts."""
        self._versions[version.id] = version
        if time is not None:
            self._times[version.id] = min(time, self._times.get(version.id, time))

    def claim(self, version: Reference, run: str, id: str, began: int, made: Made) -> None:
        """A run says that it made a version."""
        self._versions[version.id] = version
        self._runs[run] = id
        self._claims.setdefault(version.id, {})[run] = [began, made.rows, made.size]

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
            made_at = self._made_at(version)
            self._draft.set(id, {**({} if claims == before else {"producers": claims}), **made_at})
            if winner is not None:
                _, rows, size = claims[winner]
                told = {"rowCount": rows, "sizeBytes": size}
                self._draft.set(id, {name: value for name, value in told.items() if value is not None})
            if id not in native and winner != old:
                if old is not None:
                    self._draft.end("PRODUCED_BY", id)
                if winner is not None:
                    winners[id] = winner
            if version.address.part != UNVERSIONED and (version.node is None or made_at or winner != old):
                self.changed.add(id)
        await self._link(winners)

    def _made_at(self, version: Reference) -> dict[str, int]:
        known = version.node.props.get("madeAt") if version.node is not None else None
        time = self._times.get(version.id)
        return {} if time is None or (known is not None and known <= time) else {"madeAt": time}

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
            if winner in self._runs:
                self._draft.link("PRODUCED_BY", id, self._runs[winner])


def _claims_of(node: Node | None) -> dict[str, Claim]:
    given: Any = node.props.get("producers", {}) if node is not None else {}
    return dict(given)


def _first(claims: dict[str, Claim]) -> str | None:
    """The run that began first, by name among equals."""
    return min(claims, key=lambda run: (claims[run][0] or 0, run), default=None)
