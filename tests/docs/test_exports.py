"""docs/exports.md can be followed: every command of it is run, and writes what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.following import TOP, follow

PAGE = (TOP / "docs" / "exports.md").read_text(encoding="utf-8")


@pytest.mark.timeout(1_200)
def test_the_pages_commands_export_the_lineage_of_nq(tmp_path: Path) -> None:
    told = follow(PAGE, tmp_path, {}, seconds=1_100)
    assert '"downstream":314' in told
    bom = json.loads((tmp_path / "nq.cdx.json").read_text("utf-8"))
    assert sum(each["type"] == "machine-learning-model" for each in bom["components"]) == 314
    assert len(bom["services"]) == 7
    spdx = json.loads((tmp_path / "nq.spdx3.json").read_text("utf-8"))["@graph"]
    assert sum(each["type"] == "ai_AIPackage" for each in spdx) == 314
    prov = (tmp_path / "nq.provn").read_text("utf-8")
    assert '[prov:type=\'lineal:DatasetVersion\', prov:label="NQ", lineal:address="datasets:/NQ/unversioned"])' in prov
    assert len(json.loads((tmp_path / "nq.prov.json").read_text("utf-8"))["entity"]) > 314
    assert (tmp_path / "README.md").read_text("utf-8").startswith("---\nlicense: mit\n")
    assert json.loads((tmp_path / "nq.croissant.json").read_text("utf-8"))["name"] == "NQ"
    for name in ("nq.openlineage.json", "nq.graphml", "nq.mmd", "nq.dot"):
        assert (tmp_path / name).stat().st_size > 10_000
