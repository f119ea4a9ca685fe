"""What the Relay compiler writes is run by its names, and nothing else is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from graph.port import Graph
from schema.documents import Documents, load
from schema.sdl import COMMITTED
from tests import building as b
from tests import npm, relay_compiler
from tests.schema.test_over_http import client

QUERY = """import { graphql } from 'relay-runtime';
export const MODELS = graphql`query modelsQuery($first: Int!) { models(first: $first) { nodes { id name } } }`;
"""


@pytest.mark.services
async def test_a_relay_apps_documents_are_trusted_by_the_manifest_of_its_build(
    sqlite_graph: Graph, tmp_path: Path
) -> None:
    modules = relay_compiler.node_modules()
    source, manifest = tmp_path / "src", tmp_path / "persisted.json"
    source.mkdir()
    (source / "models.js").write_text(QUERY)
    (tmp_path / "schema.graphql").write_text(COMMITTED.read_text(encoding="utf-8"), encoding="utf-8")
    manifest.write_text("{}")
    config: dict[str, Any] = {"src": "src", "language": "javascript", "schema": "schema.graphql"}
    (tmp_path / "relay.config.json").write_text(json.dumps({**config, "persistConfig": {"file": manifest.name}}))
    command = [npm.node(relay_compiler.NAME), str(modules / "relay-compiler" / "cli.js"), "relay.config.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = json.loads(manifest.read_text())
    model, _ = await b.model(sqlite_graph, "bert")
    async with client(sqlite_graph, documents=Documents(load([manifest]), only=True)) as http:
        answer = await http.post("", json={"documentId": name, "variables": {"first": 5}})
        assert answer.json() == {"data": {"models": {"nodes": [{"id": model.id, "name": "bert"}]}}}
        assert (await http.post("", json={"query": "{ __typename }"})).status_code == 403
