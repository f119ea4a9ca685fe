"""lineal backup, restore and check: what they say to programs, and how they end."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from graph.port import NewNode
from graph.sqlite import migrations
from graph.sqlite.store import SqliteGraph
from lineal.cli import app
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed, Unavailable
from resolvers.artifacts.uploads import begin_upload, complete_upload
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from resolvers.writing.versions import create_model_version
from storage.local import LocalStorage
from storage.port import Blob
from tests import building
from tests.artifacts.conftest import described
from tests.storage.storing import SECRET, blob_of


def lineal(*arguments: str) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, [*arguments])


def told(*arguments: str, code: int = 0) -> Any:
    """What a command says to programs."""
    ended = lineal(*arguments, "--format", "json")
    assert ended.exit_code == code, ended.output
    return json.loads(ended.output)


@pytest.fixture
def blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blob:
    """The one blob of a store's only artifact."""
    monkeypatch.setenv("LINEAL_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("LINEAL_GRAPH", f"sqlite:///{tmp_path / 'lineal.db'}")
    monkeypatch.chdir(tmp_path)
    data = b"weights"

    async def furnish() -> None:
        async with (
            SqliteGraph(tmp_path / "lineal.db") as graph,
            LocalStorage(tmp_path / "lineal.db.artifacts", SECRET) as storage,
            Bytes(storage) as reach,
            storage.incoming("default") as incoming,
        ):
            await graph.migrate()
            async with Operation(graph, bytes=reach) as op:
                version = await create_model_version(op, model="models:/churn", create_model=True)
            async with Operation(graph, bytes=reach) as op:
                upload = await begin_upload(op, to=version.id, files=described({"w.bin": data}), name="model")
            await incoming.write(data)
            await incoming.keep(await incoming.finish())
            async with Operation(graph, bytes=reach) as op:
                await complete_upload(op, address=upload.id)

    asyncio.run(furnish())
    return blob_of(data)


def lose(blob: Blob, home: Path) -> None:
    next((home / "lineal.db.artifacts").rglob(blob.sha256)).unlink()


def test_a_backup_and_a_restore_say_what_they_did(blob: Blob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = told("backup", "kept")
    assert (taken["blobs"], taken["bytes"], taken["copied"], taken["lost"]) == (1, blob.size, 1, [])
    assert told("backup", "kept", "--verify") == {"backups": [{"backup": taken["backup"], "problems": []}]}
    new = f"sqlite:///{tmp_path / 'new.db'}"
    restored = told("restore", "kept", "--graph", new, "--storage", "new")
    assert restored == {"backup": taken["backup"], "graph": new, "undone": [], "lost": []}
    assert (tmp_path / "new.db").exists()
    assert told("check", "--graph", new, code=1)["wrong"] == 2
    monkeypatch.setenv("LINEAL_STORAGE", "new")
    assert told("check", "--deep", "--graph", new) == {"findings": [], "wrong": 0, "artifacts": 1}
    assert list((tmp_path / "new").rglob(blob.sha256))


def test_bytes_that_are_lost_end_backup_and_check_with_1(blob: Blob, tmp_path: Path) -> None:
    lose(blob, tmp_path)
    assert len(told("backup", "kept", code=1)["lost"]) == 1
    (finding,) = told("check", code=1)["findings"]
    assert (finding["kind"], finding["mended"]) == ("lost", False)
    (mended,) = told("check", "--repair")["findings"]
    assert (mended["kind"], mended["mended"]) == ("lost", True)
    assert told("check")["findings"] == []
    assert told("backup", "kept")["lost"] == []


def test_a_backup_that_is_damaged_is_named_and_not_restored(blob: Blob, tmp_path: Path) -> None:
    taken = told("backup", "kept")
    next((tmp_path / "kept" / "files").rglob(blob.sha256)).write_bytes(b"WEIGHTS")
    (found,) = told("backup", "kept", "--verify", "--moment", taken["backup"], code=1)["backups"]
    assert "has the digest" in found["problems"][0]
    refused = lineal("restore", "kept", "--graph", f"sqlite:///{tmp_path / 'new.db'}").exception
    assert isinstance(refused, PreconditionFailed)
    assert told("backup", "kept", "--deep")["healed"] == 1
    assert told("backup", "kept", "--verify")["backups"][0]["problems"] == []


def test_a_restore_despite_what_is_lost_names_it_and_ends_with_1(
    blob: Blob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told("backup", "kept")
    next((tmp_path / "kept" / "files").rglob(blob.sha256)).write_bytes(b"WEIGHTS")
    new = ("--graph", f"sqlite:///{tmp_path / 'new.db'}", "--storage", "new")
    (lost,) = told("restore", "kept", *new, "--despite-lost", code=1)["lost"]
    assert blob.sha256 in lost
    monkeypatch.setenv("LINEAL_STORAGE", "new")
    assert told("check", *new[:2])["wrong"] == 0


def test_a_restore_that_is_refused_leaves_an_empty_store(blob: Blob, tmp_path: Path) -> None:
    assert blob.size
    told("backup", "kept")
    new = ("--graph", f"sqlite:///{tmp_path / 'new.db'}", "--storage", "new")
    (tmp_path / "new").touch()
    assert isinstance(lineal("restore", "kept", *new).exception, InvalidArgument)
    (tmp_path / "new").unlink()
    shutil.move(tmp_path / "kept" / "files", tmp_path / "away")
    assert isinstance(lineal("restore", "kept", *new).exception, PreconditionFailed)
    assert lineal("export", *new[:2]).output.count('"node"') == 1
    assert not (tmp_path / "kept" / "files").exists()
    shutil.move(tmp_path / "away", tmp_path / "kept" / "files")
    assert lineal("restore", "kept", *new).exit_code == 0


def test_a_restore_that_is_refused_leaves_an_older_store_as_it_was(
    blob: Blob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert blob.size
    told("backup", "kept")
    path = tmp_path / "older.db"

    async def furnish() -> None:
        async with SqliteGraph(path) as graph:
            await graph.migrate()
            await building.create(graph, NewNode("Model", "mine", "default"))

    asyncio.run(furnish())
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, ("9999 something new", ())))
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    older = ("--graph", f"sqlite:///{path}")
    refused = lineal("restore", "kept", *older, "--storage", "new").exception
    assert isinstance(refused, PreconditionFailed)
    assert "needs an empty one" in refused.message
    assert told("migrate", "--dry-run", *older)["pending"] == ["9999 something new"]


def test_what_is_asked_for_wrongly_is_refused(blob: Blob, tmp_path: Path) -> None:
    assert blob.size
    assert isinstance(lineal("backup", "kept", "--moment", "x").exception, InvalidArgument)
    assert isinstance(lineal("backup", "kept", "--verify").exception, NotFound)
    assert isinstance(lineal("restore", "kept", "--moment", "x").exception, NotFound)
    assert isinstance(lineal("check", "--graph", "sqlite:///nowhere.db").exception, Unavailable)
    assert isinstance(lineal("migrate", "--dry-run", "--graph", "sqlite:///nowhere.db").exception, Unavailable)
    assert not (tmp_path / "nowhere.db").exists()


def test_a_dry_run_of_a_migration_changes_nothing(tmp_path: Path) -> None:
    async def furnish() -> None:
        async with SqliteGraph(tmp_path / "old.db"):
            pass

    asyncio.run(furnish())
    old = ("--graph", f"sqlite:///{tmp_path / 'old.db'}")
    pending = told("migrate", "--dry-run", *old)["pending"]
    assert pending[0].startswith("0001 ")
    assert "would apply 0001 " in lineal("migrate", "--dry-run", *old).output
    assert told("migrate", *old)["applied"] == pending
    assert told("migrate", "--dry-run", *old)["pending"] == []


def test_a_store_moves_to_another_file_and_stays_after_all(
    blob: Blob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert blob.size
    monkeypatch.setenv("LINEAL_STORAGE", "lineal.db.artifacts")
    new = f"sqlite:///{tmp_path / 'new.db'}"
    assert "has all of it" in lineal("move", new).output
    assert told("check", "--graph", new)["artifacts"] == 1

    async def write() -> None:
        async with SqliteGraph(tmp_path / "lineal.db") as graph:
            await building.create(graph, NewNode("Model", "late", "default"))

    with pytest.raises(Unavailable, match="read-only"):
        asyncio.run(write())
    assert lineal("move", "--undo", new).exit_code == 0
    asyncio.run(write())
