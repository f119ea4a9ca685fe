"""An audit in a file of its own for tests to seal, to tamper with, and to verify."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc.jwk import OKPKey

from auth.chains import Chain, Finding
from auth.checkpoints import CheckpointFile
from auth.keyring import AUDIT, Keyring
from auth.verifying import Verification
from graph.port import Checkpoint, Entry, Graph, NewNode
from graph.sqlite.store import SqliteGraph
from lineal.auditing import Checkpointer
from tests import building


async def found(graph: Graph, keys: Sequence[OKPKey], file: CheckpointFile | None = None) -> list[Finding]:
    """What a verification of a store finds."""
    async with graph.snapshot() as snapshot:
        return [finding async for finding in Verification(snapshot, keys, file).findings()]


async def chain(graph: Graph, workspace: str) -> list[Entry]:
    """All entries of a chain."""
    async with graph.snapshot() as snapshot:
        return await snapshot.chain(workspace)


@dataclass
class Audited:
    """A SQLite store in a folder, with its key, and a file of checkpoints."""

    folder: Path
    _count: int = field(default=0)

    @property
    def path(self) -> Path:
        return self.folder / "lineal.db"

    @property
    def key(self) -> OKPKey:
        return Keyring(self.folder / "keys").ed25519(AUDIT)

    @property
    def file(self) -> CheckpointFile:
        return CheckpointFile(self.folder / "checkpoints.jsonl")

    async def write(self, count: int = 1, workspace: str = "default") -> None:
        """That many entries in the chain of a workspace."""
        async with SqliteGraph(self.path) as graph:
            await graph.migrate()
            for _ in range(count):
                self._count += 1
                await building.create(graph, NewNode("Model", f"model-{self._count}", workspace))

    async def seal(self, *, file: bool = True) -> None:
        """A checkpoint; without `file` the one elsewhere does not hear of it."""
        async with SqliteGraph(self.path) as graph:
            assert await Checkpointer(graph, self.key, "test", file=self.file if file else None).checkpoint()

    async def verify(self, *, file: bool = True, key: OKPKey | None = None) -> list[Finding]:
        """What verification finds, with the checkpoints elsewhere or without them."""
        async with SqliteGraph(self.path) as graph:
            return await found(graph, [key or self.key], self.file if file and self.file.path.exists() else None)

    async def chains(self) -> list[Chain]:
        """How the chains stand."""
        async with SqliteGraph(self.path) as graph, graph.snapshot() as snapshot:
            verification = Verification(snapshot, [self.key])
            async for _ in verification.findings():
                pass
            return verification.chains

    async def entries(self, workspace: str = "default") -> list[Entry]:
        """All entries of a chain."""
        async with SqliteGraph(self.path) as graph:
            return await chain(graph, workspace)

    async def checkpoints(self) -> list[Checkpoint]:
        """All checkpoints of the store."""
        async with SqliteGraph(self.path) as graph, graph.snapshot() as snapshot:
            return await snapshot.checkpoints()

    def tamper(self, *statements: str, **values: Any) -> None:
        """What somebody with the file could do, by SQL."""
        with closing(sqlite3.connect(self.path)) as db:
            for text in statements:
                db.execute(text, values)
            db.commit()
