"""The example frontend: its client is made from the schema, its types compile, and it works."""

from __future__ import annotations

import asyncio
import json
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
SEED = """
mutation {
  createModelVersion(input: {model: "models:/seed", createModel: true}) { version { number } }
  registerDatasetVersion(input: {dataset: "datasets:/clicks", name: "v1", createDataset: true}) { version { name } }
}
"""
CREATE = """
mutation ($rate: String!) {
  createModelVersion(input: {model: "models:/bert", params: [{name: "rate", value: $rate}],
    parents: [{version: "models:/seed/1", relation: "finetune"}], inputs: [{dataset: "datasets:/clicks/v1"}]}) {
    version { number } } }
"""


class Frontend(Server):
    """The example, built and served in front of a Lineal, which it asks for documents by their names."""

    name = "frontend"

    def __init__(self, place: Path, lineal: str) -> None:
        super().__init__(place)
        self._lineal = lineal

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        return ["node", "build.mjs", "--trusted", "--serve", str(self.port)], {"LINEAL": self._lineal}

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/").is_success
        except httpx.TransportError:
            return False


@contextmanager
def lineal(home: Path, manifest: Path) -> Iterator[tuple[LinealServer, str]]:
    """A Lineal with two versions of one model, which runs the documents of a manifest alone; and a token."""
    server = LinealServer(home, free_port(), [])
    asyncio.run(server.furnish())
    token = LocalIssuer(Keyring(home / "keys")).token(scopes=["all"])
    with server:
        for query, given in ((SEED, {}), (CREATE, {"rate": "0.1"}), (CREATE, {"rate": "0.2"})):
            made = server.ask(token, query=query, **given).json()
            assert "errors" not in made, made
    documents = json.dumps([str(manifest)])
    with LinealServer(home, server.port, [], documents=documents, documents_only="true") as trusting:
        yield trusting, token


def test_its_client_is_made_from_the_schema_and_it_shows_what_is_there(tmp_path: Path) -> None:
    driver(), chromium()
    place = copied(EXAMPLE, tmp_path)
    config = place / "codegen.yml"
    config.write_text(config.read_text().replace("../../schema", str(ROOT / "schema")))
    node(place, "node_modules/@graphql-codegen/cli/cjs/bin.js", "-c", "codegen.yml", HOME=str(tmp_path))
    node(place, "node_modules/typescript/bin/tsc", "--noEmit")
    walks = tmp_path / "walks"
    walks.mkdir()
    manifest = place / "src" / "gql" / "persisted-documents.json"
    with lineal(tmp_path / "lineal", manifest) as (server, token):
        assert server.ask(token, query="{ models { totalCount } }").status_code == 403
        with Frontend(place, server.url.removesuffix("/graphql")) as frontend:
            seen = walk(walks, "frontend", base=f"http://127.0.0.1:{frontend.port}", token=token)
    assert seen["models"] == "2 models"
    assert "rate" in seen["compared"]
    assert "0.1" in seen["compared"]
    assert "0.2" in seen["compared"]
    assert seen["lineage"] == "Lineage: 3 nodes"
    *causes, itself = sorted(seen["nodes"], key=lambda address: "bert" in address)
    assert sorted(causes) == ["datasets:/clicks/v1", "models:/seed/1"]
    assert itself in {"models:/bert/1", "models:/bert/2"}
    assert sorted(seen["edges"]) == ["DERIVED_FROM", "TRAINED_ON"]
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
