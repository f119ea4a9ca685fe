"""What a verification has to remember of all chains and checkpoints: on disk, so that no audit is too long for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

from auth.chains import Seal
from auth.checkpoints import Statement, digest
from graph.port import Change, Checkpoint

_TABLES: Final = """
CREATE TABLE checkpoint (number INTEGER PRIMARY KEY, digest TEXT);
CREATE TABLE seal (
    workspace TEXT, number INTEGER, hash TEXT, checkpoint INTEGER, PRIMARY KEY (workspace, number, hash)
) WITHOUT ROWID;
CREATE TABLE chained (seq INTEGER PRIMARY KEY);
CREATE TABLE place (seq INTEGER, workspace TEXT, id TEXT, there INTEGER, PRIMARY KEY (seq, workspace)) WITHOUT ROWID;
"""


class Ledger:
    """A temporary database without a name, which is gone when it is closed."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        self._heads: dict[str, tuple[int, str]] = {}

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Remember a checkpoint of the store, to compare others with."""
        self._db.execute("INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", (checkpoint.number, digest(checkpoint)))

    def kept(self, checkpoint: Checkpoint) -> bool | None:
        """Whether the store has this very checkpoint; None when it has none of its number."""
        found = self._db.execute("SELECT digest FROM checkpoint WHERE number = ?", (checkpoint.number,)).fetchone()
        return None if found is None else found[0] == digest(checkpoint)

    def seal(self, statement: Statement) -> None:
        """Remember the heads that a checkpoint vouches for; the first one to do so is named."""
        moved = [h for h in statement.heads.values() if self._heads.get(h.workspace) != (h.number, h.hash)]
        self._heads |= {head.workspace: (head.number, head.hash) for head in moved}
        rows = [(head.workspace, head.number, head.hash, statement.number) for head in moved]
        self._db.executemany("INSERT OR IGNORE INTO seal VALUES (?, ?, ?, ?)", rows)

    def sealed(self) -> list[str]:
        """The workspaces whose chains some checkpoint knows."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT workspace FROM seal ORDER BY 1")]

    def seals(self, workspace: str) -> Iterator[Seal]:
        """What checkpoints say of one chain, by number."""
        text = "SELECT number, hash, checkpoint FROM seal WHERE workspace = ? ORDER BY number, checkpoint"
        return (Seal(*row) for row in self._db.execute(text, (workspace,)))

    def place(self, workspace: str, change: Change) -> None:
        """Remember that a change has an entry in this chain."""
        if change.seq is None:
            return
        self.count(change.seq)
        if len(change.workspaces) > 1:
            rows = [(change.seq, name, change.id) for name in change.workspaces]
            self._db.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?, 0)", rows)
            self._db.execute("UPDATE place SET there = 1 WHERE seq = ? AND workspace = ?", (change.seq, workspace))

    def count(self, seq: int) -> None:
        """Remember that nothing is wrong with this place in the order of all changes, or that it was told."""
        self._db.execute("INSERT OR IGNORE INTO chained VALUES (?)", (seq,))

    def unplaced(self, begins: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """(change, workspace) of the changes that say they are in a chain and are not.

        `begins` are the places in the order of all changes where chains begin that older entries were taken off.
        """
        for seq, workspace, id in self._db.execute(
            "SELECT seq, workspace, id FROM place WHERE NOT there ORDER BY 1, 2"
        ):
            if seq >= begins.get(workspace, 0):
                yield id, workspace

    def is_chained(self, seq: int) -> bool:
        """Whether a change has an entry in any chain."""
        return self._db.execute("SELECT 1 FROM chained WHERE seq = ?", (seq,)).fetchone() is not None

    def latest(self) -> int:
        """The last place in the order of all changes that some entry has."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM chained").fetchone()[0])

    def gaps(self, after: int, until: int) -> Iterator[tuple[int, int]]:
        """Places in the order of all changes that no entry has: the first and last of each gap between two places."""
        text = (
            "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq, 1, ?1) OVER (ORDER BY seq) AS before "
            "FROM chained WHERE seq > ?1 AND seq <= ?2) WHERE seq > before + 1"
        )
        yield from self._db.execute(text, (after, until))
