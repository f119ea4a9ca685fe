"""What a caller may be told of changes and of the audit, said once more: over a dump of the whole graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from graph.port import Change, Entry
from tests.tenancy.model import Eyes, marks, open_to

FILES: Final = frozenset({"path", "sha256", "size"})
"""What a note says of files."""
ADDRESSING: Final = ("MENTIONS", "NOTIFIES", "REVIEWER", "GRANTS", "MEMBER_OF")


class Telling:
    """What one caller is told of changes."""

    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes
        self.world = eyes.world
        self.admin = "admin" in eyes.caller.scopes

    # What is left of a change ─────────────────────────────────────────────────────────────────────

    def data(self, change: Change) -> dict[str, Any]:
        """What a change did, without what names something hidden."""
        if self.admin:
            return dict(change.data)
        seen = self.eyes.visible
        left: dict[str, Any] = {}
        for part, value in change.data.items():
            if part in {"created", "deleted"}:
                left[part] = [self._row(entry) for entry in value if entry[0] in seen]
            elif part in {"linked", "unlinked"}:
                left[part] = [entry for entry in value if entry[0] in seen and entry[2] in seen]
            elif part == "updated":
                said = {id: self._sides(id, sides) for id, sides in value.items() if id in seen}
                left[part] = {id: sides for id, sides in said.items() if any(sides.values())}
            elif part == "logged" and self.eyes.holds("metrics:read"):
                left[part] = {id: count for id, count in value.items() if id in seen}
            elif part == "noted":
                left[part] = self._noted(value)
        return {part: value for part, value in left.items() if value}

    def _row(self, entry: list[Any]) -> list[Any]:
        props = self._sides(entry[0], {"props": entry[3]})["props"] if len(entry) > 3 else {}
        return [*entry[:3], *([props] if props else [])]

    def _sides(self, id: str, sides: Mapping[str, Any]) -> dict[str, Any]:
        return {side: open_to(id, values, self.eyes.caller.scopes) for side, values in sides.items()}

    def _noted(self, note: Mapping[str, Any]) -> dict[str, Any]:
        inner = {"data": self._said(note["data"])} if "data" in note else {}
        return self._said(note) | inner

    def _said(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """A note without what names hidden things, and without files where the caller may not read these."""
        on: dict[str, Any] = {}
        shut: set[str] = set()
        if said.get("subject", "") not in {"", *self.eyes.visible}:
            shut |= {"subject", *FILES}
        if not self.eyes.holds("artifact:read"):
            shut |= FILES
        if "on" in said:
            readable = {place: ids for place, ids in said["on"].items() if place in self.eyes.readable}
            on["on"] = {place: [id for id in ids if id in self.eyes.visible] for place, ids in readable.items()}
            shut |= {"message", "sha256"} if on["on"] != said["on"] else set()
        return {name: part for name, part in said.items() if name not in shut} | on

    def part(self, change: Change, id: str) -> dict[str, Any]:
        """What a change did to one thing."""
        data = self.data(change)
        found = {part: data[part][id] for part in ("updated", "logged") if id in data.get(part, {})}
        found |= {part: True for part in ("created", "deleted") if any(entry[0] == id for entry in data.get(part, ()))}
        for part in ("linked", "unlinked"):
            if edges := [entry for entry in data.get(part, ()) if id in (entry[0], entry[2])]:
                found[part] = edges
        return found

    # Feeds ────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def activity(self) -> list[Change]:
        """The changes of something visible of which something may be told, the latest first."""
        changes = (c for c in reversed(self.world.changes) if self.admin or written(c.data) & self.eyes.visible)
        return [c for c in changes if self.data(c)]

    def about(self, change: Change, ids: Collection[str]) -> bool:
        """Whether a change did something to one of these or to their parts, or addressed them, and that is told."""
        return self._named(change.data, ids, gone=False) and self._named(self.data(change), ids, gone=True)

    def _named(self, data: Mapping[str, Any], ids: Collection[str], *, gone: bool) -> bool:
        """Whether it names these or their parts. What is deleted is of some whole, and nobody is told of which."""
        records, named = self.world.records, written(data)
        if gone and any(records[id].node.deleted_at is not None for id in named):
            return True
        return bool({place for id in named for place in (id, records[id].node.container)} & set(ids)) or bool(
            addressed(data) & set(ids)
        )

    def about_itself(self, change: Change, id: str) -> bool:
        """Whether a change did something to this, or addressed it."""
        return id in written(change.data) | addressed(change.data)

    def changes_of(self, id: str) -> list[tuple[Change, dict[str, Any]]]:
        """The changes of one visible thing, the latest first, with what they did to it."""
        changes = (c for c in reversed(self.world.changes) if id in written(c.data))
        return [(c, part) for c in changes if (part := self.part(c, id))]

    def notifications(self, *, unread: bool) -> list[tuple[Change, bool]]:
        """What the caller, who has a principal, is notified of, the latest first, and whether they read it."""
        eyes, me = self.eyes, self.eyes.me
        assert me is not None
        watched = (e for e in self.world.open if e.kind == "WATCHES" and e.source == me.id)
        # Watches hang on the principal: whoever may not see that is told of mentions and grants only.
        since = {e.target: e.since for e in watched if eyes.sees(e.target) and eyes.sees(me.id)}
        teams = {n.id for n in eyes.of_kind("Team") if n.name in eyes.caller.teams}
        own = {me.id, *eyes.near(me.id, "MEMBER_OF", "OUT"), *teams}
        inbox = me.props.get("inbox", {"through": 0, "also": []})
        found = []
        for change in self.activity:
            if change.by == eyes.caller.name or not self._named(change.data, {*since, *own}, gone=False):
                continue
            read = (change.seq or 0) <= inbox["through"] or change.seq in inbox["also"]
            if (self._addresses(change, own) or self._watched(change, since)) and not (unread and read):
                found.append((change, read))
        return found

    def _addresses(self, change: Change, own: set[str]) -> bool:
        return any(e[2] in own and e[0] in self.eyes.visible for e in change.data.get("linked", ()))

    def _watched(self, change: Change, since: Mapping[str, int]) -> bool:
        ids = written(self.data(change))
        whole = {self.world.records[id].node.container for id in ids if self.eyes.sees(id)}
        return any(since.get(id, change.at + 1) <= change.at for id in ids | whole)

    # The audit ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def chains(self) -> set[str]:
        """The workspaces whose audit the caller may read."""
        chains = {entry.workspace for entry in self.world.entries}
        if self.admin:
            return chains
        if self.eyes.caller.workspaces is None:
            return chains - {""}
        owned = {place for place, role in self.eyes.roles if role == "OWNER"}
        return owned | self.eyes.caller.workspaces

    @cached_property
    def entries(self) -> list[Entry]:
        """The entries of those chains, the latest first."""
        found = (e for e in self.world.entries if e.workspace in self.chains)
        return sorted(found, key=lambda e: (-(e.change.seq or 0), e.workspace))

    @cached_property
    def allowed(self) -> set[str]:
        """The marks that may be told of changes beside those of what is visible."""
        found: set[str] = set()
        if self.eyes.holds("activity:read"):
            found |= {mark for c in self.activity for mark in marks([c.id, c.by, c.request])}
        if self.eyes.holds("audit:read"):
            for entry in self.entries:
                c = entry.change
                origin = [c.origin.client, c.origin.token, c.origin.address]
                found |= marks([entry.workspace, c.id, c.by, c.request, *origin, self.data(c).get("noted")])
        if self.admin:
            found |= {mark for c in self.world.changes for mark in marks(dict(c.data))}
        return found


def written(data: Mapping[str, Any]) -> set[str]:
    """The ids of all that a change wrote: nodes, and the sources of edges."""
    return set(_written(data))


def _written(data: Mapping[str, Any]) -> Iterator[str]:
    for part in ("created", "deleted", "linked", "unlinked"):
        yield from (entry[0] for entry in data.get(part, ()))
    for part in ("updated", "logged"):
        yield from data.get(part, {})


def addressed(data: Mapping[str, Any]) -> set[str]:
    """The ids of all whom a change told something."""
    return {target for _, kind, target, *_ in data.get("linked", ()) if kind in ADDRESSING}
