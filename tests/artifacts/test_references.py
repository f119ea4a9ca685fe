"""Data that stays where it is: registered by URI, listed in the background, and compared with what was there first."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graph.port import Hop, Node
from lineal.errors import AlreadyExists, InvalidArgument, NotFound, PreconditionFailed
from resolvers.artifacts import references
from resolvers.artifacts.downloads import files, links
from resolvers.artifacts.references import register_artifact, verify_referenced
from resolvers.artifacts.verifying import request_verification
from resolvers.bytes import Bytes
from resolvers.reading import all_links
from resolvers.writing.common import ArtifactFile
from resolvers.writing.datasets import register_dataset_version
from resolvers.writing.versions import create_model_version
from resolvers.writing.workspaces import create_workspace
from storage.connectors.backend import Entry
from storage.connectors.config import read
from storage.connectors.connector import Connectors
from storage.connectors.local import LocalBackend
from storage.connectors.places import Place
from tests.artifacts.conftest import Registry
from tests.artifacts.test_collecting import swept
from tests.storage.connectors.conftest import loopback
from tests.storage.connectors.test_refusals import of
from tests.web import WebServer

HARM = b"cos\nsystem\n(S'true'\ntR."


@pytest.fixture
def lake(registry: Registry, tmp_path: Path) -> Path:
    """A folder that the connector `lake` reaches, and one beside it that none does."""
    place = tmp_path / "lake"
    (place / "sales" / "year=2025").mkdir(parents=True)
    (place / "sales" / "year=2025" / "a.csv").write_text("id,price\n1,2.5\n2,3.5\n")
    (place / "sales" / "year=2026").mkdir()
    (place / "sales" / "year=2026" / "b.csv").write_text("id,price\n3,4.5\n")
    (tmp_path / "lakeside").mkdir()
    (tmp_path / "lakeside" / "secret.csv").write_text("key\nvalue\n")
    table = {"scheme": "file", "prefixes": [place.as_uri()], "workspaces": ["default"]}
    connectors = Connectors(read({"connectors": {"lake": table}}))
    registry.reach = Bytes(registry.storage, connectors=connectors)
    return place


async def version(registry: Registry, dataset: str = "datasets:/sales") -> Node:
    """A version of a data set."""
    async with registry.operation() as op:
        return await register_dataset_version(op, dataset=dataset, name="v1", create_dataset=True)


async def register(registry: Registry, owner: Node, uri: str, **more: str) -> Node:
    """Register a place."""
    async with registry.operation() as op:
        return await register_artifact(op, to=owner.id, uri=uri, **more)


async def looked(registry: Registry, artifact: Node) -> Node:
    """An artifact after somebody has looked at its place."""
    reach = registry.reach
    current = await registry.node(artifact.id)
    await verify_referenced(registry.graph, registry.storage, reach.connectors, current, by="keeper")
    return await registry.node(artifact.id)


async def fields(registry: Registry, owner: Node) -> dict[str, int]:
    """The places of the fields of a version's data set, by their names."""
    async with registry.operation() as op:
        links = await all_links(await op.snapshot(), [owner.container], Hop("PART_OF", "IN", "Field"))
    return {link.node.name: link.node.props["ordinal"] for link in links.get(owner.container, [])}


async def test_a_place_is_pending_until_it_was_listed(registry: Registry, lake: Path) -> None:
    artifact = await register(registry, await version(registry), f"{lake.as_uri()}/sales")
    assert artifact.props["verification"] == "PENDING"
    assert (artifact.props["storage"], artifact.props["connector"]) == ("REFERENCED", "lake")
    found = await looked(registry, artifact)
    assert found.props["verification"] == "VERIFIED"
    assert (found.props["fileCount"], found.props["sizeBytes"]) == (2, 36)


async def test_a_partitioned_folder_is_known_as_one(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert artifact.props["partitions"] == {"count": 2, "keys": {"year": {"values": 2, "exact": True}}}


async def test_columns_become_fields_of_the_data_set(registry: Registry, lake: Path) -> None:
    owner = await version(registry)
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert artifact.props["formats"] == ["csv"]
    assert await fields(registry, owner) == {"id": 0, "price": 1}


async def test_nothing_changed_is_verified_again(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    async with registry.operation() as op:
        assert (await request_verification(op, address=artifact.id)).props["verification"] == "PENDING"
    assert (await looked(registry, artifact)).props["verification"] == "VERIFIED"


async def test_drift_is_found_and_names_what_changed(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    (lake / "sales" / "year=2025" / "a.csv").write_text("id,price\n1,2.5\n2,99\n")
    (lake / "sales" / "year=2026" / "b.csv").unlink()
    (lake / "sales" / "new.csv").write_text("x\n")
    found = await looked(registry, artifact)
    assert found.props["verification"] == "DRIFTED"
    assert found.props["problem"] == ("1 changed: 'year=2025/a.csv'; 1 removed: 'year=2026/b.csv'; 1 added: 'new.csv'")


async def test_what_drifted_back_is_verified(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    (lake / "sales" / "new.csv").write_text("x\n")
    assert (await looked(registry, artifact)).props["verification"] == "DRIFTED"
    (lake / "sales" / "new.csv").unlink()
    again = await looked(registry, artifact)
    assert (again.props["verification"], again.props.get("problem")) == ("VERIFIED", None)


async def test_a_place_that_went_away_has_failed(registry: Registry, lake: Path) -> None:
    artifact = await register(registry, await version(registry), f"{lake.as_uri()}/sales/year=2025/a.csv")
    (lake / "sales" / "year=2025" / "a.csv").unlink()
    found = await looked(registry, artifact)
    assert found.props["verification"] == "FAILED"
    assert "nothing is there" in found.props["problem"]


async def test_a_place_that_is_not_listed_in_time_has_failed_and_says_what_to_do(
    registry: Registry, lake: Path
) -> None:
    artifact = await register(registry, await version(registry), f"{lake.as_uri()}/sales")
    config = registry.reach.connectors.configs[0]
    registry.reach = Bytes(registry.storage, connectors=Connectors([replace(config, listing_timeout=1e-9)]))
    found = await looked(registry, artifact)
    assert found.props["verification"] == "FAILED"
    assert "or let the connector take longer (listing_timeout)" in found.props["problem"]


async def test_its_files_are_listed_in_pages_without_addresses(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    async with registry.operation() as op:
        first = await files(op, artifact, first=1)
        assert ([each.file.path for each in first.items], first.has_next) == (["year=2025/a.csv"], True)
        second = await files(op, artifact, first=1, after="year=2025/a.csv")
        assert ([each.file.path for each in second.items], second.has_next) == (["year=2026/b.csv"], False)
        chosen = await files(op, artifact, first=9, prefix="year=2026/")
        assert [each.file.path for each in chosen.items] == ["year=2026/b.csv"]


@pytest.mark.parametrize("header", ["a\x01b,c", "x" * 501 + ",c"])
async def test_a_column_that_can_be_no_field_does_not_keep_others_from_being_one(
    registry: Registry, lake: Path, header: str
) -> None:
    (lake / "sales" / "year=2025" / "a.csv").write_text(f"{header}\n1,2.5\n2,3.5\n")
    owner = await version(registry)
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert artifact.props["verification"] == "VERIFIED"
    async with registry.operation() as op:
        fields = await all_links(await op.snapshot(), [owner.container], Hop("PART_OF", "IN", "Field"))
    assert [link.node.name for link in fields[owner.container]] == ["c"]


@pytest.mark.parametrize("name", ["run#1.csv", "what?.csv", "a\\b.csv", "run#1.pkl"])
async def test_a_name_that_no_uri_can_have_is_listed_and_leaves_pickles_unscanned(
    registry: Registry, lake: Path, name: str
) -> None:
    (lake / "sales" / "year=2025" / name).write_bytes(HARM)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert (artifact.props["verification"], artifact.props["fileCount"]) == ("VERIFIED", 3)
    assert (artifact.props["pickles"], artifact.props["formats"]) == ("UNSCANNED", ["csv"])
    assert "1 of 3 files were not looked at" in artifact.props["contents"]["notes"]


@pytest.mark.parametrize("folder", ["when=2026%2F11", "share=100%25", "path=a%5Cb"])
async def test_what_engines_encode_in_the_names_of_folders_is_looked_into(
    registry: Registry, lake: Path, folder: str
) -> None:
    (lake / "encoded" / folder).mkdir(parents=True)
    (lake / "encoded" / folder / "a.csv").write_text("id,price\n1,2.5\n")
    owner = await version(registry)
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/encoded"))
    assert (artifact.props["pickles"], artifact.props["formats"]) == ("NONE", ["csv"])
    assert await fields(registry, owner) == {"id": 0, "price": 1}


async def test_the_schema_is_that_of_the_first_file_that_has_one(registry: Registry, lake: Path) -> None:
    (lake / "sales" / "a-broken.parquet").write_bytes(b"PAR1" + b"\xff" * 99 + b"PAR1")
    (lake / "sales" / "b-empty.csv").write_bytes(b"")
    owner = await version(registry)
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert await fields(registry, owner) == {"id": 0, "price": 1}
    assert any("a-broken.parquet" in note for note in artifact.props["contents"]["notes"])


async def test_notes_of_engines_do_not_keep_a_place_from_having_its_schema(
    registry: Registry, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "LOOKED_AT", 3)
    (lake / "sales" / "_delta_log").mkdir()
    for number in range(3):
        (lake / "sales" / "_delta_log" / f"{number:020}.json").write_text("{}")
        (lake / "sales" / f"a-empty-{number}.csv").write_text("")
    owner = await version(registry)
    await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert await fields(registry, owner) == {"id": 0, "price": 1}


@pytest.mark.parametrize(("broken", "found"), [(references.BROKEN, {"id": 0, "price": 1}), (references.BROKEN + 1, {})])
async def test_some_files_that_are_broken_are_passed_over(
    registry: Registry, lake: Path, broken: int, found: dict[str, int]
) -> None:
    for number in range(broken):
        (lake / "sales" / f"a-{number}.parquet").write_bytes(b"PAR1" + b"\xff" * 99 + b"PAR1")
    owner = await version(registry)
    await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert await fields(registry, owner) == found


async def test_the_first_columns_of_many_become_fields_and_a_note_says_so(registry: Registry, lake: Path) -> None:
    names = [f"c{number}" for number in range(references.MAX_COLUMNS + 500)]
    (lake / "wide.csv").write_text(",".join(names) + "\n")
    owner = await version(registry)
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/wide.csv"))
    assert await fields(registry, owner) == {name: place for place, name in enumerate(names[: references.MAX_COLUMNS])}
    contents = artifact.props["contents"]
    assert len(contents["columns"]) == len(names)
    assert "1,000 of 1,500 columns become fields of a data set: the first ones" in contents["notes"]


async def test_a_link_that_leads_nowhere_fails_a_place(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    (lake / "sales" / "loop").symlink_to("loop")
    found = await looked(registry, artifact)
    assert found.props["verification"] == "FAILED"
    assert found.props["problem"].endswith("loop is a link that leads nowhere")


@pytest.fixture
def web(registry: Registry, tmp_path: Path) -> Iterator[WebServer]:
    """A web server that a connector reaches."""
    with WebServer(tmp_path) as server:
        registry.reach = Bytes(registry.storage, connectors=Connectors([of(server)], loopback))
        yield server


async def test_a_server_without_ranges_has_what_lies_beyond_the_beginning_of_files_unscanned(
    registry: Registry, web: WebServer
) -> None:
    web.ranges = False
    web.files["/raw/a.csv"] = b"id,price\n1,2.5\n"
    web.files["/raw/large.pkl"] = pickle.dumps(list(range(10**6)))
    web.files["/raw/large.parquet"] = b"PAR1" + bytes(10**6) + b"PAR1"
    place = f"https://files.test:{web.port}/raw/"
    artifact = await looked(registry, await register(registry, await version(registry), place))
    assert (artifact.props["verification"], artifact.props["pickles"]) == ("VERIFIED", "UNSCANNED")
    assert any("the server gives no ranges" in note for note in artifact.props["contents"]["notes"])
    assert "csv" in artifact.props["formats"]


async def test_what_a_server_refuses_fails_a_place(registry: Registry, web: WebServer) -> None:
    web.files["/raw/a.csv"] = web.files["/raw/b.csv"] = b"id,price\n1,2.5\n"
    place = f"https://files.test:{web.port}/raw/"
    artifact = await looked(registry, await register(registry, await version(registry), place))
    web.statuses["/raw/b.csv"] = 403
    found = await looked(registry, artifact)
    assert (found.props["verification"], found.props["problem"]) == ("FAILED", f"{place}b.csv: the server answered 403")


@pytest.mark.parametrize("name", [b"caf\xe9/a.csv", b"caf\xe9.csv"])
async def test_a_name_that_is_not_utf8_fails_a_place(registry: Registry, lake: Path, name: bytes) -> None:
    artifact = await register(registry, await version(registry), f"{lake.as_uri()}/sales")
    path = lake / "sales" / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("id\n1\n")
    found = await looked(registry, artifact)
    assert found.props["verification"] == "FAILED"
    assert "a name is not UTF-8: 'caf\\udce9" in found.props["problem"]


async def test_pickles_beside_data_are_scanned(registry: Registry, lake: Path) -> None:
    (lake / "sales" / "zz.pkl").write_bytes(HARM)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert (artifact.props["pickles"], artifact.props["formats"]) == ("DANGEROUS", ["pickle", "csv"])


@pytest.mark.parametrize(
    ("name", "policy", "state"),
    [
        ("harm.pkl", "ALLOW", "VERIFIED"),
        ("harm.pkl", "REFUSE_DANGEROUS", "FAILED"),
        ("harm.pkl", "REFUSE_UNSAFE", "FAILED"),
        ("data.pkl", "REFUSE_UNSAFE", "VERIFIED"),
        ("unscanned#1.pkl", "REFUSE_DANGEROUS", "VERIFIED"),
        ("unscanned#1.pkl", "REFUSE_UNSAFE", "FAILED"),
    ],
)
async def test_the_policy_on_pickles_holds_for_what_stays_where_it_is(
    registry: Registry, lake: Path, name: str, policy: str, state: str
) -> None:
    await registry.set_workspace(picklePolicy=policy)
    (lake / "sales" / name).write_bytes(HARM if name == "harm.pkl" else pickle.dumps([1.5]))
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert artifact.props["verification"] == state
    assert ("does not let in" in artifact.props.get("problem", "")) == (state == "FAILED")


async def test_a_pickle_that_was_another_while_it_was_looked_into_is_unscanned(
    registry: Registry, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_UNSAFE")
    model, look = lake / "sales" / "model.pkl", references._look
    good = pickle.dumps("as long as the other")
    model.write_bytes(b"cos\nsystem\n(S'true" + b" " * (len(good) - len(HARM)) + b"'\ntR.")

    async def swapped(*given: Any) -> Any:
        model.rename(lake / "harm.pkl")
        model.write_bytes(good)
        try:
            return await look(*given)
        finally:
            (lake / "harm.pkl").rename(model)

    monkeypatch.setattr(references, "_look", swapped)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert (artifact.props["verification"], artifact.props["pickles"]) == ("FAILED", "UNSCANNED")
    assert artifact.props["contents"]["notes"] == ["model.pkl: it is not what it was when it was listed"]


async def test_a_place_that_the_policy_refused_is_let_in_when_its_pickles_are_gone(
    registry: Registry, lake: Path
) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_DANGEROUS")
    (lake / "sales" / "zz.pkl").write_bytes(HARM)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert (artifact.props["verification"], artifact.props["pickles"]) == ("FAILED", "DANGEROUS")
    assert "posix.system" in artifact.props["problem"] or "os.system" in artifact.props["problem"]
    assert (await looked(registry, artifact)).props["verification"] == "FAILED"
    (lake / "sales" / "zz.pkl").unlink()
    again = await looked(registry, artifact)
    assert (again.props["verification"], again.props["pickles"]) == ("VERIFIED", "NONE")


async def inventories(registry: Registry) -> list[str]:
    """The names of the pieces of inventories that are kept."""
    return [name async for name in registry.storage.documents("default", "inventories/")]


async def test_no_inventory_is_kept_of_a_place_that_the_policy_refused(registry: Registry, lake: Path) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_DANGEROUS")
    (lake / "sales" / "zz.pkl").write_bytes(HARM)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert artifact.props["verification"] == "FAILED"
    assert await inventories(registry) == []


async def test_an_inventory_that_its_artifact_does_not_have_is_cleared_away(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    kept = await inventories(registry)
    other = references.inventory_name(artifact.id, "sha256:" + "0" * 64, "0")
    await registry.storage.put("default", other, b"")
    assert (await swept(registry, 3_600.0)).documents == 0
    assert (await swept(registry)).documents == 1
    assert await inventories(registry) == kept


async def test_sizes_that_come_to_more_than_can_be_kept_fail_a_place(
    registry: Registry, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = LocalBackend.pages

    def huge(backend: LocalBackend, place: Place) -> Iterator[list[Entry]]:
        return ([replace(entry, size=2**62) for entry in page] for page in pages(backend, place))

    monkeypatch.setattr(LocalBackend, "pages", huge)
    monkeypatch.setattr(LocalBackend, "read", lambda _backend, _place, _start, size: (bytes(size), ""))
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert artifact.props["verification"] == "FAILED"
    assert artifact.props["problem"].startswith("sizeBytes:")


async def test_pickles_are_found_among_many_files_and_what_is_left_is_unscanned(
    registry: Registry, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "LOOKED_AT", 5)
    for number in range(9):
        (lake / "sales" / f"a{number}.csv").write_text("id\n1\n")
    (lake / "sales" / "zz.pkl").write_bytes(HARM)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert artifact.props["pickles"] == "DANGEROUS"
    (lake / "sales" / "zz.pkl").unlink()
    owner = await version(registry, "datasets:/b")
    artifact = await looked(registry, await register(registry, owner, f"{lake.as_uri()}/sales"))
    assert (artifact.props["pickles"], artifact.props["formats"]) == ("UNSCANNED", ["csv"])
    assert "6 of 11 files were not looked at" in artifact.props["contents"]["notes"]


async def test_a_look_that_took_too_long_leaves_pickles_unscanned(
    registry: Registry, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "LOOK_SECONDS", 0)
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    assert (artifact.props["verification"], artifact.props["pickles"]) == ("VERIFIED", "UNSCANNED")
    assert "looking into it took more than 0 seconds" in artifact.props["contents"]["notes"]


async def test_registering_again_gives_the_same_artifact(registry: Registry, lake: Path) -> None:
    owner = await version(registry)
    one = await register(registry, owner, f"{lake.as_uri()}/sales")
    assert (await register(registry, owner, f"{lake.as_uri()}/sales")).id == one.id


async def test_another_place_under_the_same_name_is_refused(registry: Registry, lake: Path) -> None:
    owner = await version(registry)
    await register(registry, owner, f"{lake.as_uri()}/sales")
    with pytest.raises(AlreadyExists) as refusal:
        await register(registry, owner, f"{lake.as_uri()}/sales/year=2025")
    assert refusal.value.field == "name"


async def test_a_place_and_the_folder_of_its_name_are_two_and_are_not_taken_for_each_other(
    registry: Registry, web: WebServer
) -> None:
    web.files = {"/raw/x": b"a file", "/raw/x/a.csv": b"id,price\n1,2.5\n"}
    owner, place = await version(registry), f"https://files.test:{web.port}/raw/x"
    artifact = await register(registry, owner, place)
    with pytest.raises(AlreadyExists, match=f"has {place} already") as refusal:
        await register(registry, owner, f"{place}/")
    assert refusal.value.field == "uri"
    assert (await register(registry, owner, place)).id == artifact.id


async def test_an_inventory_that_was_lost_is_told_and_made_anew_by_registering_its_place_again(
    registry: Registry, lake: Path
) -> None:
    owner, place = await version(registry), f"{lake.as_uri()}/sales"
    artifact = await looked(registry, await register(registry, owner, place))
    for name in await inventories(registry):
        await registry.storage.discard("default", name)
    async with registry.operation() as op:
        with pytest.raises(PreconditionFailed, match=r"the inventory of .* is gone; register its place again"):
            await files(op, artifact, first=9)
    (lake / "sales" / "new.csv").write_text("x\n")
    lost = await looked(registry, artifact)
    assert lost.props["verification"] == "FAILED"
    assert lost.props["problem"].endswith("is gone; register its place again")
    again = await register(registry, owner, place)
    assert (again.id, again.props["verification"]) == (artifact.id, "PENDING")
    found = await looked(registry, again)
    assert (found.props["verification"], found.props["fileCount"]) == ("VERIFIED", 3)


async def test_registering_again_does_not_measure_anew_what_has_its_inventory(registry: Registry, lake: Path) -> None:
    owner, place = await version(registry), f"{lake.as_uri()}/sales"
    artifact = await looked(registry, await register(registry, owner, place))
    (lake / "sales" / "new.csv").write_text("x\n")
    assert (await register(registry, owner, place)).props["verification"] == "VERIFIED"
    assert (await looked(registry, artifact)).props["verification"] == "DRIFTED"


@pytest.mark.parametrize("path", ["side/secret.csv", "/../lakeside/secret.csv", "/%2e%2e/lakeside/secret.csv"])
async def test_what_no_connector_allows_is_never_read(registry: Registry, lake: Path, path: str) -> None:
    with pytest.raises((NotFound, InvalidArgument)) as refusal:
        await register(registry, await version(registry), lake.as_uri() + path)
    assert refusal.value.field == "uri"


async def test_a_connector_serves_the_workspaces_that_it_names_alone(registry: Registry, lake: Path) -> None:
    async with registry.operation() as op:
        await create_workspace(op, name="other")
    owner = await version(registry, "datasets:/other:sales")
    with pytest.raises(NotFound, match="no connector of this workspace allows"):
        await register(registry, owner, f"{lake.as_uri()}/sales")


async def test_no_address_is_given_for_what_lineal_does_not_keep(registry: Registry, lake: Path) -> None:
    artifact = await looked(registry, await register(registry, await version(registry), f"{lake.as_uri()}/sales"))
    async with registry.operation() as op:
        page = await files(op, artifact, first=9)
        assert [each.file.sha256 for each in page.items] == ["", ""]
        with pytest.raises((NotFound, InvalidArgument)):
            await links(op, page.items)


async def test_nothing_unsigned_is_added_by_reference_to_a_version_that_an_alias_leads_to(
    registry: Registry, lake: Path
) -> None:
    made = await registry.version(aliases=["champion"])
    await registry.set_workspace(signaturePolicy="REQUIRED")
    with pytest.raises(PreconditionFailed, match="signaturePolicy REQUIRED"):
        await register(registry, made, f"{lake.as_uri()}/sales")


async def spoken_of(registry: Registry, uri: str, owner: Node) -> None:
    """Somebody speaks of an artifact by the name that a place is going to have."""
    async with registry.operation() as op:
        artifacts: list[ArtifactFile] = [{"name": "data", "uri": f"{uri}#{owner.id}"}]
        await create_model_version(op, model="models:/other", create_model=True, artifacts=artifacts)


async def test_a_place_that_was_spoken_of_is_looked_at_once_it_is_registered(registry: Registry, lake: Path) -> None:
    owner, uri = await version(registry), f"{lake.as_uri()}/sales"
    await spoken_of(registry, uri, owner)
    artifact = await register(registry, owner, uri)
    told = {name: artifact.props.get(name) for name in ("uri", "storage", "connector", "verification")}
    assert told == {"uri": uri, "storage": "REFERENCED", "connector": "lake", "verification": "PENDING"}
    assert (await looked(registry, artifact)).props["verification"] == "VERIFIED"


async def test_speaking_of_a_place_first_adds_nothing_unsigned_to_a_version_that_an_alias_leads_to(
    registry: Registry, lake: Path
) -> None:
    made, uri = await registry.version(aliases=["champion"]), f"{lake.as_uri()}/sales"
    await registry.set_workspace(signaturePolicy="REQUIRED")
    await spoken_of(registry, uri, made)
    with pytest.raises(PreconditionFailed, match="signaturePolicy REQUIRED"):
        await register(registry, made, uri)


async def test_what_was_registered_before_signatures_were_asked_for_stays_registered(
    registry: Registry, lake: Path
) -> None:
    made, uri = await registry.version(aliases=["champion"]), f"{lake.as_uri()}/sales"
    artifact = await looked(registry, await register(registry, made, uri))
    await registry.set_workspace(signaturePolicy="REQUIRED")
    again = await register(registry, made, uri)
    assert (again.id, again.props["verification"]) == (artifact.id, "VERIFIED")
    with pytest.raises(PreconditionFailed, match="signaturePolicy REQUIRED"):
        await register(registry, made, uri, name="again")
