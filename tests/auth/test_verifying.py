"""Verification of the audit: whatever somebody does to the store by its own means is found, and named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import neo4j
import orjson
import pytest
from joserfc.jwk import OKPKey

from auth.chains import Finding, Wrong
from auth.keyring import AUDIT, Keyring
from auth.pruning import vouch
from auth.retention import prune
from graph.neo4j.store import Neo4jGraph
from graph.port import Head, NewNode, Update
from graph.recording import entry_hash
from graph.sqlite.store import SqliteGraph
from lineal.auditing import Checkpointer
from lineal.errors import PreconditionFailed
from tests import building
from tests.auditing import Audited, chain, found

VISION = "vision"
Told = list[tuple[Wrong, str | None, int | None]]


def told(findings: list[Finding]) -> Told:
    """What was found, in short: the kind, the chain and the number of the entry."""
    return [(finding.kind, finding.workspace, finding.number) for finding in findings]


@pytest.fixture
async def audited(tmp_path: Path) -> Audited:
    """Two chains: one of ten entries, sealed at 4 and 8, and one of three, sealed at 3. Elsewhere knows both seals."""
    audited = Audited(tmp_path)
    async with SqliteGraph(audited.path) as graph:
        await graph.migrate()
        await building.workspace(graph, VISION)
    await audited.write(4)
    await audited.seal()
    await audited.write(2, VISION)
    await audited.write(4)
    await audited.seal()
    await audited.write(2)
    return audited


async def test_nothing_is_found_in_an_audit_that_nobody_touched(audited: Audited) -> None:
    assert await audited.verify() == []
    assert await audited.verify(file=False) == []


async def test_it_says_of_each_chain_what_is_not_yet_sealed(audited: Audited) -> None:
    default, vision = await audited.chains()
    entries = await audited.entries()
    assert (default.entries, default.unsealed, default.since) == (10, 2, entries[8].change.at)
    assert (vision.entries, vision.unsealed, vision.since) == (3, 0, None)


# ── Entries ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "edit",
    [
        "data = replace(data, 'model', 'madel')",
        "by = 'somebody else'",
        "at = at - 1",
        "action = 'nothing'",
        "request = 'another'",
        "client = 'another'",
        "token = 'another'",
        "address = '192.0.2.1'",
        "id = 'ch_01J00000000000000000000000'",
        "data = '{'",
        """data = '{"created":NaN}'""",
        """data = '{"created":1e999}'""",
        """data = '{"created":"\\ud800"}'""",
        """data = '{"a":' || replace(hex(zeroblob(9000)), '0', '[') || replace(hex(zeroblob(9000)), '0', ']') || '}'""",
        """data = '{"a":' || replace(hex(zeroblob(3000)), '0', '9') || '}'""",
        """data = replace(data, '{"created"', '{"created":[],"created"')""",
        """data = replace(data, '{"created"', '{ "created"')""",
        "data = CAST(x'7b22ff227d' AS TEXT)",
        "by = CAST(x'ff' AS TEXT)",
        "at = 9223372036854775807",
        """workspaces = '["\\ud800"]'""",
        """workspaces = '[{"a":1}]'""",
        "workspaces = '{'",
        "workspaces = '[1]'",
    ],
    ids=lambda edit: edit[:40],
)
@pytest.mark.parametrize("number", [3, 8, 10], ids=["within", "sealed", "last"])
async def test_an_edited_change_is_named(audited: Audited, edit: str, number: int) -> None:
    where = "seq = (SELECT seq FROM entry WHERE workspace = 'default' AND number = :number)"
    audited.tamper(f"UPDATE change SET {edit} WHERE {where}", number=number)
    assert (Wrong.EDITED, "default", number) in told(await audited.verify(file=False))
    assert {finding.number for finding in await audited.verify() if finding.workspace} == {number}


async def test_an_edited_hash_is_named(audited: Audited) -> None:
    audited.tamper("UPDATE entry SET hash = :hash WHERE workspace = 'default' AND number = 4", hash="f" * 64)
    assert (Wrong.EDITED, "default", 4) in told(await audited.verify())


async def test_an_entry_whose_change_was_moved_to_another_chain_is_named(audited: Audited) -> None:
    audited.tamper("UPDATE change SET workspaces = '[\"vision\"]' WHERE seq = 2")
    assert (Wrong.EDITED, "default", 1) in told(await audited.verify())


async def test_a_removed_entry_is_named(audited: Audited) -> None:
    (gone,) = (entry for entry in await audited.entries() if entry.number == 5)
    audited.tamper("DELETE FROM entry WHERE workspace = 'default' AND number = 5")
    findings = await audited.verify(file=False)
    assert told(findings) == [(Wrong.MISSING, "default", 5), (Wrong.UNCHAINED, None, None)]
    assert findings[1].change == gone.change.id


async def test_a_removed_change_is_named(audited: Audited) -> None:
    audited.tamper("DELETE FROM change WHERE seq = (SELECT seq FROM entry WHERE workspace = 'default' AND number = 5)")
    assert told(await audited.verify())[0] == (Wrong.MISSING, "default", 5)


async def test_several_removed_entries_are_named_as_one_gap(audited: Audited) -> None:
    audited.tamper("DELETE FROM entry WHERE workspace = 'default' AND number BETWEEN 2 AND 7")
    finding = (await audited.verify())[0]
    assert (finding.kind, finding.number, finding.until) == (Wrong.MISSING, 2, 7)


@pytest.mark.parametrize(("a", "b"), [(2, 3), (1, 4), (3, 6), (9, 10), (4, 8)])
async def test_two_entries_that_swapped_places_are_named(audited: Audited, a: int, b: int) -> None:
    audited.tamper(
        "UPDATE entry SET number = -number WHERE workspace = 'default' AND number IN (:a, :b)",
        "UPDATE entry SET number = :a + :b + number WHERE workspace = 'default' AND number < 0",
        a=a,
        b=b,
    )
    (finding,) = await audited.verify(file=False)
    assert (finding.kind, finding.number, finding.until) == (Wrong.SWAPPED, a, b)


async def test_two_entries_whose_changes_swapped_places_are_named(audited: Audited) -> None:
    one, other = (await audited.entries())[4:6]
    audited.tamper(
        "UPDATE change SET seq = 0 WHERE seq = :a", "UPDATE change SET seq = :a WHERE seq = :b",
        "UPDATE change SET seq = :b WHERE seq = 0", a=one.change.seq, b=other.change.seq,
    )  # fmt: skip
    (finding,) = await audited.verify(file=False)
    assert (finding.kind, finding.number, finding.until) == (Wrong.SWAPPED, one.number, other.number)


# ── The end, and what only checkpoints know ───────────────────────────────────────────────────────


def truncate(audited: Audited, last: int) -> None:
    """Make a chain end before it did, and leave no trace of it in the store."""
    audited.tamper(
        "DELETE FROM change WHERE seq IN (SELECT seq FROM entry WHERE workspace = 'default' AND number > :last)",
        "DELETE FROM entry WHERE workspace = 'default' AND number > :last",
        "UPDATE chain SET number = :last, hash = "
        "(SELECT hash FROM entry WHERE workspace = 'default' AND number = :last) WHERE workspace = 'default'",
        last=last,
    )


async def test_a_chain_that_was_cut_off_before_the_last_checkpoint_is_found(audited: Audited) -> None:
    truncate(audited, 6)
    finding = (await audited.verify())[0]
    assert (finding.kind, finding.workspace, finding.number, finding.until) == (Wrong.TRUNCATED, "default", 7, 8)


async def test_taking_the_checkpoints_off_too_is_found_by_the_file_elsewhere(audited: Audited) -> None:
    truncate(audited, 4)
    audited.tamper("DELETE FROM checkpoint WHERE number = 2")
    findings = await audited.verify()
    assert (Wrong.MISSING, 2) in {(finding.kind, finding.checkpoint) for finding in findings}
    assert (Wrong.TRUNCATED, "default", 5) in told(findings)


async def test_a_chain_that_was_cut_off_after_the_last_checkpoint_was_said_not_to_be_sealed(audited: Audited) -> None:
    default, _ = await audited.chains()
    assert default.ends - default.unsealed == 8
    truncate(audited, 8)
    assert await audited.verify() == []


async def test_an_end_that_is_gone_shows_when_anything_else_happened_later(audited: Audited) -> None:
    await audited.write(1, VISION)
    truncate(audited, 8)
    assert [finding.kind for finding in await audited.verify()] == [Wrong.MISSING]


async def test_an_end_that_is_gone_shows_by_the_head_that_was_left(audited: Audited) -> None:
    audited.tamper("DELETE FROM entry WHERE workspace = 'default' AND number > 9")
    findings = await audited.verify()
    assert told(findings)[0] == (Wrong.TRUNCATED, "default", 10)
    assert findings[1].kind is Wrong.UNCHAINED


async def test_a_chain_that_is_gone_whole_is_named(audited: Audited) -> None:
    audited.tamper("DELETE FROM entry WHERE workspace = 'vision'", "DELETE FROM chain WHERE workspace = 'vision'")
    assert (Wrong.TRUNCATED, VISION, 1) in told(await audited.verify(file=False))


def rechain(audited: Audited, edited: int) -> None:
    """Edit an entry, and make all hashes from it on right again, with the store's own formula."""
    from graph.sqlite.migrations import CHANGE, change_of

    audited.tamper(
        "UPDATE change SET by = 'innocent' WHERE seq = "
        "(SELECT seq FROM entry WHERE workspace = 'default' AND number = :edited)",
        edited=edited,
    )
    with closing(sqlite3.connect(audited.path)) as db:
        previous = "0" * 64
        rows = db.execute(
            f"SELECT e.number, {CHANGE} FROM entry e JOIN change c ON c.seq = e.seq "
            "WHERE e.workspace = 'default' ORDER BY e.number"
        ).fetchall()
        for number, *row in rows:
            previous = entry_hash(previous, "default", number, change_of(row))
            db.execute("UPDATE entry SET hash = ? WHERE workspace = 'default' AND number = ?", (previous, number))
        db.execute("UPDATE chain SET hash = ? WHERE workspace = 'default'", (previous,))
        db.commit()


async def test_a_chain_that_was_made_right_again_after_an_edit_is_found_by_the_checkpoint(audited: Audited) -> None:
    rechain(audited, 6)
    (finding,) = await audited.verify(file=False)
    assert (finding.kind, finding.workspace, finding.number, finding.until) == (Wrong.EDITED, "default", 5, 8)


async def test_between_two_checkpoints_the_very_entry_is_named(audited: Audited) -> None:
    await audited.write()
    await audited.seal()
    await audited.write()
    await audited.seal()
    rechain(audited, 12)
    (finding,) = await audited.verify(file=False)
    assert (finding.kind, finding.number, finding.until) == (Wrong.EDITED, 12, 12)


async def test_what_is_not_sealed_can_be_made_right_again_and_was_said_to_be_so(audited: Audited) -> None:
    rechain(audited, 9)
    assert await audited.verify() == []


# ── Changes and chains ────────────────────────────────────────────────────────────────────────────


async def test_a_change_that_was_put_in_beside_the_chains_is_named(audited: Audited) -> None:
    audited.tamper(
        "INSERT INTO change (id, at, by, action, request, data) VALUES ('ch_forged', 1, 'x', 'create', '', "
        '\'{"created":[["mo_1","Model","x"]]}\')'
    )
    (finding,) = await audited.verify()
    assert (finding.kind, finding.change) == (Wrong.UNCHAINED, "ch_forged")


async def test_a_change_that_is_hidden_from_who_asks_about_its_subject_is_named(audited: Audited) -> None:
    entry = (await audited.entries())[4]
    audited.tamper("DELETE FROM subject WHERE seq = :seq", seq=entry.change.seq)
    (finding,) = await audited.verify()
    assert (finding.kind, finding.number, finding.change) == (Wrong.UNINDEXED, 5, entry.change.id)
    assert entry.change.data["created"][0][0] in finding.message


async def test_a_change_that_is_told_of_what_it_is_not_about_is_named(audited: Audited) -> None:
    one, other = (await audited.entries())[4:6]
    audited.tamper(
        "INSERT INTO subject (node, seq, addressed) SELECT node, :seq, 0 FROM subject WHERE seq = :other",
        seq=one.change.seq,
        other=other.change.seq,
    )
    assert told(await audited.verify()) == [(Wrong.UNINDEXED, "default", 5)]


async def test_an_entry_that_is_gone_from_one_of_its_two_chains_is_named(audited: Audited) -> None:
    async with SqliteGraph(audited.path) as graph:
        (here,) = await building.create(graph, NewNode("Model", "here", "default"))
        (there,) = await building.create(graph, NewNode("Model", "there", VISION))
        await building.update(graph, *(Update(node.id, {"description": "in both"}) for node in (here, there)))
    both = (await audited.entries())[-1]
    assert both.change.workspaces == ("default", VISION)
    audited.tamper(
        "DELETE FROM entry WHERE workspace = 'vision' AND seq = :seq",
        "UPDATE chain SET number = number - 1, hash = (SELECT hash FROM entry e WHERE e.workspace = 'vision' "
        "ORDER BY number DESC LIMIT 1) WHERE workspace = 'vision'",
        seq=both.change.seq,
    )
    (finding,) = await audited.verify()
    assert (finding.kind, finding.workspace, finding.change) == (Wrong.UNCHAINED, VISION, both.change.id)


# ── Checkpoints ───────────────────────────────────────────────────────────────────────────────────


async def test_a_checkpoint_with_other_heads_is_found(audited: Audited) -> None:
    audited.tamper("UPDATE checkpoint SET body = replace(body, '[4,', '[3,') WHERE number = 1")
    findings = await audited.verify(file=False)
    assert [(finding.kind, finding.checkpoint) for finding in findings] == [(Wrong.FORGED, 1), (Wrong.FORGED, 2)]


async def test_a_checkpoint_with_another_signature_is_found(audited: Audited) -> None:
    audited.tamper("UPDATE checkpoint SET signature = 'A' || substr(signature, 2) WHERE number = 2")
    assert [(finding.kind, finding.checkpoint) for finding in await audited.verify(file=False)] == [(Wrong.FORGED, 2)]


async def test_a_checkpoint_that_was_taken_out_is_found(audited: Audited) -> None:
    audited.tamper("DELETE FROM checkpoint WHERE number = 1")
    assert [(finding.kind, finding.checkpoint) for finding in await audited.verify(file=False)] == [(Wrong.MISSING, 1)]


async def test_checkpoints_under_a_key_that_is_not_trusted_vouch_for_nothing(audited: Audited, tmp_path: Path) -> None:
    other = Keyring(tmp_path / "other").ed25519(AUDIT)
    findings = await audited.verify(file=False, key=other)
    assert [(finding.kind, finding.checkpoint) for finding in findings] == [(Wrong.UNSIGNED, 1), (Wrong.UNSIGNED, 2)]


async def test_a_store_whose_checkpoints_were_made_anew_with_another_key_is_found(
    audited: Audited, tmp_path: Path
) -> None:
    audited.tamper("DELETE FROM checkpoint")
    rechain(audited, 2)
    async with SqliteGraph(audited.path) as graph:
        forger = Checkpointer(graph, Keyring(tmp_path / "other").ed25519(AUDIT), "forger")
        assert await forger.checkpoint()
    findings = await audited.verify()
    assert {(Wrong.UNSIGNED, 1), (Wrong.FORGED, 1), (Wrong.MISSING, 2)} <= {(f.kind, f.checkpoint) for f in findings}
    assert (Wrong.EDITED, "default", 1) in told(findings)


async def test_the_public_half_of_the_key_is_enough(audited: Audited) -> None:
    public = OKPKey.import_key(Keyring(audited.folder / "keys").public(AUDIT).read_bytes())
    assert not public.is_private
    assert await audited.verify(key=public) == []


async def test_a_line_of_the_file_that_was_edited_is_found(audited: Audited) -> None:
    lines = audited.file.path.read_bytes().splitlines(keepends=True)
    forged = orjson.loads(lines[0])
    forged["body"] = forged["body"].replace("[4,", "[3,")
    audited.file.path.write_bytes(b"".join((orjson.dumps(forged) + b"\n", *lines[1:])))
    assert [finding.kind for finding in await audited.verify()] == [Wrong.FORGED, Wrong.FORGED, Wrong.FORGED]


async def test_a_line_of_the_file_that_is_gone_is_found_and_a_file_may_begin_late(audited: Audited) -> None:
    await audited.write()
    await audited.seal()
    lines = audited.file.path.read_bytes().splitlines(keepends=True)
    audited.file.path.write_bytes(lines[1] + lines[2])
    assert await audited.verify() == []
    audited.file.path.write_bytes(lines[0] + lines[2])
    assert [(finding.kind, finding.checkpoint) for finding in await audited.verify()] == [(Wrong.MISSING, 2)]


async def test_a_file_elsewhere_that_is_not_there_or_holds_nothing_is_found(audited: Audited) -> None:
    for break_it in (lambda: audited.file.path.write_bytes(b""), audited.file.path.unlink):
        break_it()
        async with SqliteGraph(audited.path) as graph:
            (finding,) = await found(graph, [audited.key], audited.file)
        assert finding.kind is Wrong.MISSING
        assert str(audited.file.path) in finding.message


# ── Retention ─────────────────────────────────────────────────────────────────────────────────────


async def pruned(audited: Audited, before: int) -> int:
    async with SqliteGraph(audited.path) as graph:
        return await prune(graph, before, by="keeper", key=audited.key, keys=[audited.key], file=audited.file)


async def sealed_at(audited: Audited, number: int) -> int:
    """When a checkpoint was made."""
    return int(orjson.loads((await audited.checkpoints())[number - 1].body)["at"])


async def test_what_is_left_after_pruning_is_whole_and_says_so(audited: Audited) -> None:
    assert await pruned(audited, await sealed_at(audited, 2)) == 8 + 3
    assert await audited.verify() == []
    entries = await audited.entries()
    assert [(entry.number, entry.change.action) for entry in entries[-1:]] == [(11, "pruneAudit")]
    assert entries[0].number == 9
    default, _ = await audited.chains()
    assert (default.begins, default.ends, default.entries) == (8, 11, 3)


async def test_pruning_again_takes_only_what_is_new(audited: Audited) -> None:
    await pruned(audited, await sealed_at(audited, 1))
    await audited.seal()
    assert await pruned(audited, await sealed_at(audited, 1)) == 0
    assert await pruned(audited, await sealed_at(audited, 2)) == 4 + 2
    assert await audited.verify() == []


async def test_pruning_what_no_checkpoint_covers_is_refused(audited: Audited) -> None:
    with pytest.raises(PreconditionFailed, match="in no checkpoint yet"):
        await pruned(audited, await sealed_at(audited, 2) + 10**12)
    assert len(await audited.entries()) == 10


async def test_pruning_everything_that_is_sealed_needs_no_later_checkpoint(audited: Audited) -> None:
    await audited.seal()
    assert await pruned(audited, await sealed_at(audited, 3) + 10**12) == 10 + 3


async def test_pruning_an_audit_that_is_not_whole_is_refused(audited: Audited) -> None:
    audited.tamper("UPDATE change SET by = 'x' WHERE seq = 3")
    with pytest.raises(PreconditionFailed, match="is not whole"):
        await pruned(audited, await sealed_at(audited, 2))
    assert len(await audited.entries()) == 10


async def test_taking_the_beginning_off_by_other_means_is_found(audited: Audited) -> None:
    audited.tamper("DELETE FROM entry WHERE workspace = 'default' AND number <= 4")
    assert told(await audited.verify())[0] == (Wrong.MISSING, "default", 1)


async def test_a_beginning_that_no_entry_tells_of_is_found(audited: Audited) -> None:
    audited.tamper(
        "UPDATE chain SET anchor = 4, anchor_hash = "
        "(SELECT hash FROM entry WHERE workspace = 'default' AND number = 4) WHERE workspace = 'default'",
        "DELETE FROM entry WHERE workspace = 'default' AND number <= 4",
    )
    assert (Wrong.UNVOUCHED, "default", 4) in told(await audited.verify())


async def test_a_beginning_that_no_checkpoint_knows_is_found(audited: Audited) -> None:
    async with SqliteGraph(audited.path) as graph, graph.snapshot() as snapshot:
        (end,) = await snapshot.chain("default", after=4, limit=1)
    async with SqliteGraph(audited.path) as graph:
        head = Head("default", end.number, end.hash)
        await graph.prune([head], by="impatient", notes={"default": vouch(audited.key, head)})
    assert told(await audited.verify(file=False)) == [(Wrong.UNVOUCHED, "default", 5)]


async def test_a_pruning_that_was_forged_without_the_key_is_found(audited: Audited, tmp_path: Path) -> None:
    end = (await audited.entries())[7]
    head = Head("default", end.number, end.hash)
    other = Keyring(tmp_path / "other").ed25519(AUDIT)
    for note in ({}, vouch(other, head), {**vouch(other, head), "key": audited.key.thumbprint()}):
        copy = Audited(tmp_path / f"copy-{len(note)}-{note.get('key', '')[:5]}")
        shutil.copytree(audited.folder, copy.folder, ignore=shutil.ignore_patterns("copy-*", "other"))
        async with SqliteGraph(copy.path) as graph:
            assert await graph.prune([head], by="mallory", notes={"default": note}) == 8
        assert told(await copy.verify()) == [(Wrong.UNVOUCHED, "default", 8)]


async def test_a_signed_pruning_vouches_for_no_other_beginning(audited: Audited) -> None:
    await pruned(audited, await sealed_at(audited, 1))
    signed = (await audited.entries())[-1].change.data["noted"]
    end = (await audited.entries())[3]
    async with SqliteGraph(audited.path) as graph:
        head = Head("default", end.number, end.hash)
        note = {name: signed[name] for name in ("key", "signature")}
        assert await graph.prune([head], by="mallory", notes={"default": note}) == 4
    assert told(await audited.verify()) == [(Wrong.UNVOUCHED, "default", 8)]


async def test_pruning_with_a_key_that_nobody_trusts_is_refused(audited: Audited, tmp_path: Path) -> None:
    other = Keyring(tmp_path / "other").ed25519(AUDIT)
    async with SqliteGraph(audited.path) as graph:
        with pytest.raises(PreconditionFailed, match="not among those that are trusted"):
            await prune(graph, 0, by="keeper", key=other, keys=[audited.key], file=audited.file)


# ── Neo4j ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_edited_entry_on_neo4j_is_named(neo4j_graph: Neo4jGraph, tmp_path: Path) -> None:
    key = Keyring(tmp_path).ed25519(AUDIT)
    for name in "abc":
        await building.create(neo4j_graph, NewNode("Model", name, "default"))
    assert await neo4j_graph.sequence() == 3
    assert await Checkpointer(neo4j_graph, key, "test").checkpoint()
    assert await found(neo4j_graph, [key]) == []
    entry = (await chain(neo4j_graph, "default"))[1]
    with neo4j.GraphDatabase.driver(neo4j_graph.url) as driver:
        driver.execute_query("MATCH (c:Change {id: $id}) SET c.by = 'somebody else'", id=entry.change.id)
    (finding,) = await found(neo4j_graph, [key])
    assert (finding.kind, finding.workspace, finding.number, finding.change) == (
        Wrong.EDITED, "default", 2, entry.change.id,
    )  # fmt: skip
