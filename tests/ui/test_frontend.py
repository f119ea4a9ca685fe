"""The example frontend: its client is made from the schema, its types compile, and it works."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from tests.chromium import chromium, walk
from tests.chromium import node_modules as driver
from tests.running import LinealServer
from tests.services import Server, free_port
from tests.ui.building import ROOT, copied, node

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

EXAMPLE = ROOT / "examples" / "frontend"
CREATE = """
mutation ($model: ID!, $rate: String!) {
  createModelVersion(input: {model: $model, params: [{name: "rate", value: $rate}]}) { version { number } }
}
"""


class Frontend(Server):
    """The example, built and served in front of a Lineal."""

    name = "frontend"

    def __init__(self, place: Path, lineal: str) -> None:
        super().__init__(place)
        self._lineal = lineal

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        return ["node", "build.mjs", "--serve", str(self.port)], {"LINEAL": self._lineal}

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/").is_success
        except httpx.TransportError:
            return False


@contextmanager
def lineal(home: Path) -> Iterator[tuple[str, str]]:
    """A Lineal with two versions of one model; its address and a token."""
    server = LinealServer(home, free_port(), [])
    asyncio.run(server.furnish())
    token = LocalIssuer(Keyring(home / "keys")).token(scopes=["all"])
    with server:
        for rate in ("0.1", "0.2"):
            made = server.ask(token, query=CREATE, model="models:/bert", rate=rate).json()
            assert "errors" not in made, made
        yield server.url.removesuffix("/graphql"), token


def test_its_client_is_made_from_the_schema_and_it_shows_what_is_there(tmp_path: Path) -> None:
    driver(), chromium()
    place = copied(EXAMPLE, tmp_path)
    config = place / "codegen.yml"
    config.write_text(config.read_text().replace("../../schema", str(ROOT / "schema")))
    node(place, "node_modules/@graphql-codegen/cli/cjs/bin.js", "-c", "codegen.yml", HOME=str(tmp_path))
    node(place, "node_modules/typescript/bin/tsc", "--noEmit")
    walks = tmp_path / "walks"
    walks.mkdir()
    with lineal(tmp_path / "lineal") as (base, token), Frontend(place, base) as frontend:
        seen = walk(walks, "frontend", base=f"http://127.0.0.1:{frontend.port}", token=token)
    assert seen["models"] == "1 models"
    assert "rate" in seen["compared"]
    assert "0.1" in seen["compared"]
    assert "0.2" in seen["compared"]
    assert seen["lineage"] == "Lineage: 1 nodes"
    assert seen["serious"] == []


def test_a_client_of_another_schema_does_not_compile(tmp_path: Path) -> None:
    place = copied(EXAMPLE, tmp_path)
    schema = (ROOT / "schema" / "lineal.graphql").read_text().replace("\n  license: String\n", "\n  licence: String\n")
    (place / "schema.graphql").write_text(schema)
    config = place / "codegen.yml"
    config.write_text(config.read_text().replace("../../schema/lineal.graphql", "schema.graphql"))
    command = ["node", "node_modules/@graphql-codegen/cli/cjs/bin.js", "-c", "codegen.yml"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "license" in done.stdout + done.stderr
