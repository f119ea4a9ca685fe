"""TorchServe's own: archives get the registry's name and number, and no archive leads anywhere else."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lineal.errors import PreconditionFailed
from serving import torchserve
from serving.port import Adapter, Desired, Served, fulfils
from serving.torchserve import MANIFEST, rename
from tests.serving.rigs import Rig, Source
from tests.serving.test_contract import seen, settle
from tests.serving.torchserve_rig import HANDLER, TorchServeRig, archive

only_torchserve = pytest.mark.parametrize("started", ["torchserve"], indirect=True)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as made:
        assert made.testzip() is None
        return {name: made.read(name) for name in made.namelist()}


def test_an_archive_gets_another_name_and_version_and_is_otherwise_the_same(tmp_path: Path) -> None:
    path = tmp_path / "model.mar"
    weights = os.urandom(3_000_000)
    path.write_bytes(archive(HANDLER, {"model.pt": weights, "deep/er/labels.json": b"{}"}))
    before = contents(path)
    rename(path, "ranker", "7")
    after = contents(path)
    model = json.loads(after.pop(MANIFEST))["model"]
    assert model == {"modelName": "ranker", "handler": "handler.py", "modelVersion": "7"}
    assert after == {name: data for name, data in before.items() if name != MANIFEST}
    assert [each.name for each in tmp_path.iterdir()] == ["model.mar"]


def made(files: Mapping[str, str], *, link: bool = False) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link and name != MANIFEST else 0o100644) << 16
            archive.writestr(info, text)
    return data.getvalue()


GOOD = json.dumps({"model": {"modelName": "m"}})


@pytest.mark.parametrize(
    "data",
    [
        b"not a zip",
        made({"handler.py": ""}),
        made({MANIFEST: "["}),
        made({MANIFEST: "[]"}),
        made({MANIFEST: '{"model": 1}'}),
        made({MANIFEST: GOOD, "../handler.py": ""}),
        made({MANIFEST: GOOD, "/etc/handler.py": ""}),
        made({MANIFEST: GOOD, "a\\..\\..\\handler.py": ""}),
        made({MANIFEST: GOOD, "C:/handler.py": ""}),
        made({MANIFEST: GOOD, "link": "/etc/passwd"}, link=True),
        made({MANIFEST: " " * (torchserve.MAX_MANIFEST + 1)}),
        archive(HANDLER, {"model.pt": bytes(100_000)})[:-40],
    ],
)
def test_what_is_no_archive_or_leads_outside_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.mar"
    path.write_bytes(data)
    with pytest.raises(PreconditionFailed, match=r"\.mar"):
        rename(path, "ranker", "7")
    assert path.read_bytes() == data
    assert [each.name for each in tmp_path.iterdir()] == ["model.mar"]


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.mar"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("model.pt", bytes(100_000))
        bomb.writestr(MANIFEST, GOOD)
    path.write_bytes(data.getvalue())
    monkeypatch.setattr(torchserve, "MAX_ENTRIES", 1)
    with pytest.raises(PreconditionFailed, match="too much"):
        rename(path, "ranker", "7")


@only_torchserve
@pytest.mark.parametrize("files", [{"model.pt": b"weights"}, {"a.mar": b"1", "b.mar": b"2"}])
async def test_a_version_without_its_one_archive_is_refused_saying_what_it_takes(
    rig: Rig, adapter: Adapter, name: str, files: dict[str, bytes]
) -> None:
    with pytest.raises(PreconditionFailed, match="torch-model-archiver"):
        await adapter.apply(Desired(name, 1, (Served(1, 1.0, Source(files)),)))
    assert rig.faults.changes == []


@only_torchserve
async def test_workers_are_as_many_as_wanted_and_can_be_changed(rig: Rig, adapter: Adapter, name: str) -> None:
    served = (Served(1, 1.0, rig.source(1)),)
    for revision, workers in enumerate((1, 2), 1):
        wanted = Desired(name, revision, served, resources={"workers": workers})
        await adapter.apply(wanted)
        there = await settle(rig, adapter, wanted)
        assert there.replicas == workers
        assert there.url.endswith(f"/predictions/{name}")


@only_torchserve
async def test_a_version_that_somebody_else_registered_is_not_taken_for_ours(
    rig: Rig, adapter: Adapter, name: str
) -> None:
    assert isinstance(rig, TorchServeRig)
    (rig.server.models / f"{name}.mar").write_bytes(archive(HANDLER.format(answer=9), version="1"))
    await rig.register(f"{name}.mar", name)
    (other,) = (await seen(adapter, name)).seen
    assert other.number is None
    wanted = Desired(name, 1, (Served(1, 1.0, rig.source(1)),))
    assert not fulfils(await seen(adapter, name), wanted)
    await settle(rig, adapter, wanted)
    assert await rig.predict(name) == 1


@only_torchserve
async def test_archives_that_are_served_no_longer_are_removed(rig: Rig, adapter: Adapter, name: str) -> None:
    assert isinstance(rig, TorchServeRig)
    for revision, number in enumerate((1, 2), 1):
        wanted = Desired(name, revision, (Served(number, 1.0, rig.source(number)),))
        await settle(rig, adapter, wanted)
        await adapter.apply(wanted)
    (left,) = [each.name for each in rig.server.models.iterdir() if each.name.startswith(name)]
    assert left.startswith(f"{name}.2.")
