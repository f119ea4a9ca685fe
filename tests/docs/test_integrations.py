"""docs/integrations.md tells what the code does: its payload and its command are taken, its file is read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import textwrap
import tomllib
from pathlib import Path
from typing import Final

import pytest

from graph.open import open_graph
from resolvers.inbound import wandb
from storage.tracking.kubeflow_config import read
from tests.openlineage.picturing import Picture, picture
from tests.running import LinealServer
from tests.services import free_port, missing

PAGE: Final = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
SECRET: Final = "a secret of both sides"


def block(begin: str) -> str:
    """The indented block that begins so."""
    lines = PAGE[PAGE.index(f"\n    {begin}" if not begin.startswith("{") else "\n        {\n") + 1 :].splitlines()
    ends = next(i for i, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:ends]))


def test_the_pages_payload_is_understood_once_its_variables_are_filled_in() -> None:
    values = {"artifact_metadata.run_id": "8x2k1m9q", "alias": "", "tag": ""}
    filled = re.sub(r"\$\{([^}]+)\}", lambda found: values.get(found[1], f"a-{found[1]}"), block("{"))
    told = wandb.told(json.loads(filled))
    assert (told.kind, told.name, told.run) == ("Model", "a-artifact_collection_name", "8x2k1m9q")
    assert told.first["wandb.metadata.lr"] == "a-artifact_metadata.lr"


def test_the_pages_file_of_servers_is_read() -> None:
    (config,) = read(tomllib.loads(block("[kubeflow.cluster]")))
    assert (config.namespace, config.secrets["token"].file) == (
        "team-vision",
        "/var/run/secrets/kubeflow/pipelines/token",
    )


@pytest.mark.services
def test_the_pages_command_makes_a_version(tmp_path: Path) -> None:
    for tool in ("bash", "curl", "openssl"):
        if shutil.which(tool) is None:
            missing(tool, f"install {tool}")
    with LinealServer(tmp_path, free_port(), (), wandb_secret=SECRET) as server:
        command = block("body=").replace("8321", str(server.port)).replace("curl", "curl -sf", 1)
        variables = {**os.environ, "LINEAL_WANDB_SECRET": SECRET}
        subprocess.run(["bash", "-ec", command], env=variables, check=True, timeout=60)

    async def seen() -> Picture:
        async with open_graph(f"sqlite:///{tmp_path / 'lineal.db'}") as graph:
            return await picture(graph)

    assert asyncio.run(seen()).nodes["ModelVersion", "churn", "1"]["uri"] == "wandb-artifact://_id/one"
