"""Whether the audit is what was recorded: its chains, its checkpoints, and those that are held elsewhere.

Everything is read once, in order, and what has to be remembered is on disk: memory does not grow with the
number of entries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from joserfc.jwk import OKPKey

from auth.chains import Chain, ChainCheck, Finding, Wrong, chain_name, numbered
from auth.checkpoints import CheckpointFile, digest, is_signed, statement
from auth.ledger import Ledger
from graph.port import Change, Checkpoint, Entry, Snapshot
from graph.recording import addressed, subjects

PAGE: Final = 1_000
CHECKPOINTS: Final = 100
"""Checkpoints that are read at once: each names every chain."""
MAX_NAMED: Final = 3
"""Things that a change is not found by, which are named, at most."""
MAX_UNCHAINED: Final = 1_000
"""Changes without an entry that are named, at most."""


class Verification:
    """One verification of a store's audit. After its findings are read, the rest says what was verified."""

    def __init__(self, snapshot: Snapshot, keys: Sequence[OKPKey], file: CheckpointFile | None = None) -> None:
        self.chains: list[Chain] = []
        self.checkpoints = 0
        """The number of the store's last checkpoint."""
        self.elsewhere = 0
        """The number of the last checkpoint in the file."""
        self._snapshot = snapshot
        self._keys: Mapping[str, OKPKey] = {key.thumbprint(): key for key in keys}
        self._file = file

    async def findings(self) -> AsyncIterator[Finding]:
        """Everything that is wrong. Raises Unavailable."""
        with closing(Ledger()) as ledger:
            async for finding in self._check_checkpoints(ledger):
                yield finding
            for finding in self._check_file(ledger):
                yield finding
            heads = {head.workspace: head for head in await self._snapshot.heads()}
            anchors = {head.workspace: head for head in await self._snapshot.anchors()}
            checks = []
            for workspace in sorted({*heads, *anchors, *ledger.sealed()}):
                check = ChainCheck(
                    workspace, heads.get(workspace), anchors.get(workspace), ledger.seals(workspace), self._keys
                )
                async for finding in self._check_chain(check, ledger):
                    yield finding
                self.chains.append(check.state)
                checks.append(check)
            async for finding in self._check_changes(checks, ledger):
                yield finding

    # ── Checkpoints ───────────────────────────────────────────────────────────────────────────────

    async def _check_checkpoints(self, ledger: Ledger) -> AsyncIterator[Finding]:
        last: Checkpoint | None = None
        while found := await self._snapshot.checkpoints(after=self.checkpoints, limit=CHECKPOINTS):
            for checkpoint in found:
                for finding in self._check_checkpoint(checkpoint, last, ledger):
                    yield finding
                ledger.keep(checkpoint)
                last = checkpoint
                self.checkpoints = checkpoint.number

    def _check_file(self, ledger: Ledger) -> Iterator[Finding]:
        """Those of the file must be there, signed, follow each other, and be in the store."""
        last: Checkpoint | None = None
        for checkpoint in self._file.read() if self._file else ():
            if checkpoint == last:
                continue
            begins = last is None
            yield from self._check_checkpoint(checkpoint, last, ledger, follows=not begins)
            last, self.elsewhere = checkpoint, checkpoint.number
            same = ledger.kept(checkpoint)
            if same is None:
                text = f"checkpoint {checkpoint.number} is in the file and not in the store"
                yield Finding(Wrong.MISSING, text, checkpoint=checkpoint.number)
            elif not same:
                text = f"checkpoint {checkpoint.number} is another one in the store than in the file"
                yield Finding(Wrong.FORGED, text, checkpoint=checkpoint.number)
        if self._file and last is None:
            what = "holds no checkpoint" if self._file.path.exists() else "is not there"
            text = f"the file of the checkpoints that are held elsewhere, {self._file.path}, {what}"
            yield Finding(Wrong.MISSING, text)

    def _check_checkpoint(
        self, checkpoint: Checkpoint, last: Checkpoint | None, ledger: Ledger, *, follows: bool = True
    ) -> Iterator[Finding]:
        """What its signature is worth, and whether it follows the last one. Its heads count only if it is signed."""
        number = checkpoint.number
        before = last.number if last else 0
        if follows and number > before + 1:
            text = f"{numbered(('checkpoint', 'checkpoints'), before + 1, number - 1)} not there"
            yield Finding(Wrong.MISSING, text, checkpoint=before + 1)
        key = self._keys.get(checkpoint.key)
        if key is None:
            text = f"checkpoint {number} is signed by the key {checkpoint.key}, which is not trusted"
            yield Finding(Wrong.UNSIGNED, text, checkpoint=number)
            return
        if not is_signed(checkpoint, key):
            yield Finding(Wrong.FORGED, f"checkpoint {number} is not what was signed", checkpoint=number)
            return
        try:
            said = statement(checkpoint)
        except ValueError as error:
            yield Finding(Wrong.FORGED, f"checkpoint {number} is signed, but says nothing: {error}", checkpoint=number)
            return
        if last is not None and number == before + 1 and said.previous != digest(last):
            text = f"checkpoint {number} does not follow the checkpoint {before} that is there"
            yield Finding(Wrong.FORGED, text, checkpoint=number)
        ledger.seal(said)

    # ── Chains ────────────────────────────────────────────────────────────────────────────────────

    async def _check_chain(self, check: ChainCheck, ledger: Ledger) -> AsyncIterator[Finding]:
        async for page in self._pages(check.workspace, check.anchor.number):
            index = await self._snapshot.subjects([e.change.seq for e in page if e.change.seq is not None])
            for entry in page:
                for finding in check.take(entry):
                    yield finding
                if check.sound:
                    for finding in _check_index(entry, index.get(entry.change.seq or 0, {})):
                        yield finding
                ledger.place(check.workspace, entry.change)
        for finding in check.end():
            yield finding

    async def _entries(self, workspace: str, after: int) -> AsyncIterator[Entry]:
        """The entries of a chain by number."""
        async for page in self._pages(workspace, after):
            for entry in page:
                yield entry

    async def _pages(self, workspace: str, after: int) -> AsyncIterator[Sequence[Entry]]:
        while page := await self._snapshot.chain(workspace, after=after, limit=PAGE):
            yield page
            after = page[-1].number

    # ── Changes ───────────────────────────────────────────────────────────────────────────────────

    async def _check_changes(self, checks: Sequence[ChainCheck], ledger: Ledger) -> AsyncIterator[Finding]:
        """That every change is in all of its chains.

        Where a snapshot is no true one, entries may have come since the first of them was read: those that
        were written by then are all there once the chains have been read on.
        """
        latest = ledger.latest()
        suspects = [change async for change in self._unchained(ledger)]
        for check in checks:
            async for entry in self._entries(check.workspace, check.last.number):
                ledger.place(check.workspace, entry.change)
        for change in suspects:
            if change.seq is not None and not ledger.is_chained(change.seq):
                ledger.count(change.seq)
                yield Finding(Wrong.UNCHAINED, f"change {change.id} is in no chain", change=change.id)
        begins = {check.workspace: check.first_seq or latest for check in checks if check.anchor.number}
        for first, last in ledger.gaps(max(begins.values(), default=0), latest):
            text = f"{numbered(('the change of place', 'the changes of places'), first, last)} in no chain"
            yield Finding(Wrong.MISSING, f"order of all changes: {text}")
        for id, workspace in ledger.unplaced(begins):
            text = f"{chain_name(workspace)}: change {id} says that it is in it, and is not"
            yield Finding(Wrong.UNCHAINED, text, workspace, change=id)

    async def _unchained(self, ledger: Ledger) -> AsyncIterator[Change]:
        """Changes without an entry, as far as chains were read."""
        after = count = 0
        while page := await self._snapshot.changes(after=after, limit=PAGE):
            for change in page:
                assert change.seq is not None
                after = change.seq
                if not ledger.is_chained(after) and count < MAX_UNCHAINED:
                    count += 1
                    yield change


def _check_index(entry: Entry, index: Mapping[str, bool]) -> Iterator[Finding]:
    """That a change is found by what it is about: else somebody could hide it from whoever asks about that."""
    change = entry.change
    if entry.workspace != next(iter(change.workspaces), None):
        return  # it is told once, in the first of its chains
    about = dict.fromkeys(subjects(change.data), False) | dict.fromkeys(addressed(change.data), True)
    if wrong := sorted(id for id, _ in {*about.items()} ^ {*index.items()}):
        named = ", ".join(list(dict.fromkeys(wrong))[:MAX_NAMED])
        text = f"entry {entry.number} (change {change.id}) is not found as it should be by {named}"
        text = f"{chain_name(entry.workspace)}: {text}"
        yield Finding(Wrong.UNINDEXED, text, entry.workspace, entry.number, entry.number, change.id)
