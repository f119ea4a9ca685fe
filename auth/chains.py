"""One chain of the audit against its hashes and against what checkpoints said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from joserfc.jwk import OKPKey

from auth.pruning import is_pruning
from graph.port import Change, Entry, Head
from graph.recording import GENESIS, entry_hash

MAX_SUSPECTS: Final = 100
"""Entries of a chain that are tried in each other's places, at most."""


class Wrong(StrEnum):
    """What can be found wrong with an audit."""

    EDITED = "edited"
    """An entry is not what its hash, or a checkpoint, says."""
    SWAPPED = "swapped"
    """Entries stand in each other's places."""
    MISSING = "missing"
    """Something that must have been there is not: an entry, its change, a chain, a checkpoint."""
    TRUNCATED = "truncated"
    """The end of a chain is not there."""
    UNCHAINED = "unchained"
    """A change is in no chain, or not in one that it says it is in."""
    UNINDEXED = "unindexed"
    """A change is not found by what it is about, or by what it is not about."""
    UNVOUCHED = "unvouched"
    """Older entries were taken off a chain, and no checkpoint or no signed entry tells of it."""
    UNSIGNED = "unsigned"
    """A checkpoint is not signed by one of the keys that are trusted."""
    FORGED = "forged"
    """A checkpoint is not what was signed, or does not follow the one before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    `number` is that of the first entry concerned in the chain of `workspace`, `until` that of the last one.
    """

    kind: Wrong
    message: str
    workspace: str | None = None
    number: int | None = None
    until: int | None = None
    change: str | None = None
    checkpoint: int | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """How a chain stands: `entries` are those that were read, from after the anchor `begins` to the last, `ends`.

    `unsealed` of them come after the last checkpoint: nobody outside would notice if those were rewritten.
    `since` is when the first of those happened, in microseconds since the epoch.
    """

    workspace: str
    begins: int
    ends: int
    entries: int
    unsealed: int
    since: int | None


class Seal(NamedTuple):
    """What a checkpoint says of a chain: which entry was its last, and that entry's hash."""

    number: int
    hash: str
    checkpoint: int


class ChainCheck:
    """Takes the entries of a chain in their order, and tells what is wrong with them.

    `head` and `anchor` are what the store says of the chain (None: nothing); `seals` what checkpoints say, by
    number; `keys`, by thumbprint, those that may have signed that older entries were taken off. Only a bounded
    part of the chain is kept.
    """

    def __init__(
        self,
        workspace: str,
        head: Head | None,
        anchor: Head | None,
        seals: Iterator[Seal],
        keys: Mapping[str, OKPKey],
    ) -> None:
        self.workspace = workspace
        self._keys = keys
        self.last = self.anchor = anchor or Head(workspace, 0, GENESIS)
        self.first_seq: int | None = None
        self.sound = False
        """Whether the last entry that was taken is what its hash was made of."""
        self._head = head
        self._seals = seals
        self._seal = next(seals, None)
        self._sealed = 0
        self._rewritten: Seal | None = None
        self._previous: str | None = self.anchor.hash
        self._suspects: dict[int, tuple[Entry, str]] = {}
        self._vouched = self._told = not self.anchor.number
        self._entries = self._unsealed = 0
        self._since: int | None = None

    @property
    def state(self) -> Chain:
        """How the chain stands after all that was taken."""
        return Chain(self.workspace, self.anchor.number, self.last.number, self._entries, self._unsealed, self._since)

    def take(self, entry: Entry) -> Iterator[Finding]:
        """The next entry."""
        yield from self._up_to(entry.number)
        previous, change = self._previous, entry.change
        if self.first_seq is None:
            self.first_seq = change.seq
        self.sound = previous is not None and _hash(previous, self.workspace, entry.number, change) == entry.hash
        if previous is not None and not self.sound:
            if len(self._suspects) < MAX_SUSPECTS:
                self._suspects[entry.number] = entry, previous
            else:
                yield self._edited(entry)
        if self.workspace not in change.workspaces:
            yield self._wrong(Wrong.EDITED, "says that it belongs to other chains", entry.number, change=change.id)
        if change.action == "pruneAudit":
            self._told |= is_pruning(change.data.get("noted"), self.anchor, self._keys)
        self._entries += 1
        self._unsealed += 1
        if self._unsealed == 1:
            self._since = change.at
        self._previous, self.last = entry.hash, Head(self.workspace, entry.number, entry.hash)
        yield from self._compare(self.last)

    def end(self) -> Iterator[Finding]:
        """There are no more entries."""
        if not self._entries:
            yield from self._compare(self.anchor)
        yield from self._resolved()
        if not self._vouched:
            text = f"its entries up to {self.anchor.number} were taken off, and no checkpoint knows the last of them"
            yield self._wrong(Wrong.UNVOUCHED, text, self.anchor.number)
        if not self._told:
            text = f"its entries up to {self.anchor.number} were taken off, and no entry tells of it that is signed"
            yield self._wrong(Wrong.UNVOUCHED, text, self.anchor.number)
        known, by = (self._head.number if self._head else 0), "its head"
        checkpoint = None
        for seal in self._remaining():
            if seal.number > known:
                known, by, checkpoint = seal.number, f"checkpoint {seal.checkpoint}", seal.checkpoint
        if known > self.last.number:
            there = f"it ends with entry {self.last.number}" if self.last.number else "nothing of it is there"
            text = f"{there}, but {by} knows entry {known}"
            yield self._wrong(Wrong.TRUNCATED, text, self.last.number + 1, until=known, checkpoint=checkpoint)

    def _up_to(self, number: int) -> Iterator[Finding]:
        """Everything that must be settled before the entry of this number is taken."""
        if not self._entries:
            yield from self._compare(self.anchor)
        first = self.last.number + 1
        if number > first:
            text = f"{chain_name(self.workspace)}: {numbered(('entry', 'entries'), first, number - 1)} not there"
            yield Finding(Wrong.MISSING, text, self.workspace, first, number - 1)
            self._previous = None
            while self._seal is not None and self._seal.number < number:
                # What a checkpoint said of the last of them lets the next one be checked all the same.
                self._previous = self._seal.hash if self._seal.number == number - 1 else None
                self._seal = next(self._seals, None)

    def _compare(self, at: Head) -> Iterator[Finding]:
        """What checkpoints, and the store itself, say of the entry that the chain has come to."""
        while self._seal is not None and self._seal.number <= at.number:
            seal, self._seal = self._seal, next(self._seals, None)
            if seal.number < at.number:
                continue
            if seal.hash == at.hash:
                self._vouched |= at == self.anchor
                self._sealed, self._unsealed, self._since = at.number, 0, None
            elif at.number not in self._suspects and self._rewritten is None:
                self._rewritten = seal
                text = f"is not the one that checkpoint {seal.checkpoint} knows"
                if (first := self._sealed + 1) < at.number:
                    text += f": it, or one since entry {first}, was rewritten, with all that follow"
                yield self._wrong(Wrong.EDITED, text, first, until=at.number, checkpoint=seal.checkpoint, at=at.number)
        head = self._head
        if head is not None and at.number == head.number and at.hash != head.hash and at.number not in self._suspects:
            yield self._wrong(Wrong.EDITED, "is not the one that the chain's head knows", at.number)

    def _remaining(self) -> Iterator[Seal]:
        while self._seal is not None:
            yield self._seal
            self._seal = next(self._seals, None)

    def _resolved(self) -> Iterator[Finding]:
        """The entries whose hash is wrong: which of them were swapped, and which follow those and are right."""
        belongs: dict[int, int] = {}
        right: dict[int, str] = {}
        for place, (entry, previous) in self._suspects.items():
            before = right.get(place - 1, previous)
            others = (other for other in self._suspects if other != place)
            for other in (place, *others):
                if hash := self._fit(before, entry, self._suspects[other][0]):
                    belongs[place], right[place] = other, hash
                    break
        for place, (entry, _) in self._suspects.items():
            home = belongs.get(place)
            if home is None:
                yield self._edited(entry)
            elif home > place or (home != place and belongs.get(home) != place):
                text = f"has swapped places with entry {home}"
                yield self._wrong(Wrong.SWAPPED, text, place, until=home, change=entry.change.id)

    def _fit(self, before: str, entry: Entry, other: Entry) -> str | None:
        """The hash of what `other` holds in the place of `entry`, if it belongs there.

        Either may have moved with its hash, without it, or without its place in the order of all changes too.
        """
        for change in (other.change, replace(other.change, seq=entry.change.seq)):
            hash = _hash(before, self.workspace, entry.number, change)
            if hash in {entry.hash, other.hash}:
                return hash
        return None

    def _edited(self, entry: Entry) -> Finding:
        return self._wrong(Wrong.EDITED, "is not what its hash was made of", entry.number, change=entry.change.id)

    def _wrong(
        self,
        kind: Wrong,
        text: str,
        number: int,
        *,
        at: int | None = None,
        until: int | None = None,
        change: str | None = None,
        checkpoint: int | None = None,
    ) -> Finding:
        """A finding about the entry `at` (that of `number`, unless given), or about the chain as a whole."""
        message = f"{chain_name(self.workspace)}: "
        if kind not in {Wrong.TRUNCATED, Wrong.UNVOUCHED}:
            message += f"entry {at or number} " + (f"(change {change}) " if change else "")
        return Finding(kind, message + text, self.workspace, number, until, change, checkpoint)


def _hash(previous: str, workspace: str, number: int, change: Change) -> str | None:
    """The hash of an entry; None of what somebody put there that no entry can be made of."""
    try:
        return entry_hash(previous, workspace, number, change)
    except (ValueError, TypeError, RecursionError):
        return None


def chain_name(workspace: str) -> str:
    """How people call the chain of a workspace."""
    return f"chain of workspace {workspace!r}" if workspace else "chain of what is in no workspace"


def numbered(names: tuple[str, str], first: int, last: int) -> str:
    """One thing or a range of them, as the beginning of a sentence: names in singular and plural."""
    one, many = names
    return f"{one} {first} is" if first == last else f"{many} {first} to {last} are"
