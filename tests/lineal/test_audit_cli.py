"""lineal audit: verified, exported so that anybody can recompute it, sealed, and shortened."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from typer.testing import CliRunner, Result

from lineal.cli import app
from tests.auditing import Audited


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audited:
    """Five entries, of which the first three are sealed."""
    monkeypatch.setenv("LINEAL_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("LINEAL_GRAPH", f"sqlite:///{tmp_path / 'lineal.db'}")
    monkeypatch.setenv("LINEAL_AUDIT_CHECKPOINT_FILE", str(tmp_path / "checkpoints.jsonl"))
    audited = Audited(tmp_path)

    async def furnish() -> None:
        await audited.write(3)
        await audited.seal()
        await audited.write(2)

    asyncio.run(furnish())
    return audited


def audit(*arguments: str) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, ["audit", *arguments])


def test_a_whole_audit_passes_and_says_what_is_not_yet_sealed(audited: Audited) -> None:
    ended = audit("verify")
    assert ended.exit_code == 0, ended.output
    assert "2 entries since" in ended.output
    assert audit("checkpoint").output == "made a checkpoint\n"
    assert audit("checkpoint").output == "nothing happened since the last checkpoint\n"
    assert "not yet sealed: nothing" in audit("verify").output


def test_an_edited_entry_is_named_and_the_command_fails(audited: Audited) -> None:
    audited.tamper("UPDATE change SET by = 'nobody' WHERE seq = 2")
    ended = audit("verify")
    assert ended.exit_code == 1
    (finding,) = (line for line in ended.output.splitlines() if line.startswith("edited"))
    assert "2" in finding
    told = json.loads(audit("verify", "--format", "json").output)
    assert told["whole"] is False
    assert {(found["kind"], found["number"]) for found in told["findings"]} == {("edited", 2)}


def test_an_entry_whose_time_is_none_any_more_does_not_end_the_summary(audited: Audited) -> None:
    audited.tamper("UPDATE change SET at = 9223372036854775807 WHERE seq = 4")
    ended = audit("verify")
    assert ended.exit_code == 1
    assert ended.output.splitlines()[-1].startswith("verified: entries 5")


def test_checkpoints_elsewhere_that_cannot_be_reached_fail_the_command(audited: Audited) -> None:
    audited.file.path.rename(audited.folder / "unmounted")
    ended = audit("verify")
    assert ended.exit_code == 1
    assert "checkpoints.jsonl, is not there" in ended.output
    assert "is not whole" in str(audit("prune", "--before", "2020-01-01").exception)


def recomputed(lines: list[dict[str, Any]]) -> bool:
    """Whether the hashes are those that docs/audit.md tells how to make."""
    previous = "0" * 64
    for number, line in enumerate(lines, 1):
        data = hashlib.sha256(rfc8785.dumps(line["change"]["data"])).hexdigest()
        body = {"previous": previous, "workspace": line["workspace"], "number": number}
        whole = {**body, "change": {**line["change"], "data": data}}
        previous = hashlib.sha256(rfc8785.dumps(whole)).hexdigest()
        if line["hash"] != previous:
            return False
    return True


def test_an_outsider_can_recompute_the_export(audited: Audited, tmp_path: Path) -> None:
    assert audit("export", "--workspace", "default", str(tmp_path / "out.jsonl")).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 5
    assert recomputed(lines)
    lines[1]["change"]["by"] = "nobody"
    assert not recomputed(lines)


def test_what_a_checkpoint_covers_can_be_taken_off_and_the_rest_verifies(audited: Audited) -> None:
    refused = audit("prune", "--before", "2999-01-01")
    assert "in no checkpoint yet" in str(refused.exception)
    assert audit("checkpoint").exit_code == 0
    ended = audit("prune", "--before", "2999-01-01", "--format", "json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.output) == {"entries": 5}
    assert audit("verify").exit_code == 0
    left = [json.loads(line) for line in audit("export", "--workspace", "default").output.splitlines()]
    assert [line["number"] for line in left] == [6]
    assert left[-1]["change"]["action"] == "pruneAudit"


def test_a_chain_that_is_not_there_is_said_to_be_none(audited: Audited) -> None:
    ended = audit("export", "--workspace", "nowhere")
    assert "nowhere" in str(ended.exception)
