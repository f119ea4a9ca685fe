"""A lineage that has something of everything, and exports of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from auth.caller import LOCAL, Caller
from auth.scopes import SCOPES
from graph.port import Direction, Graph, NewEdge
from resolvers.exporting.exporting import export, format_of
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.writing.importing import ImportedNode, record_lineage
from tests import building
from tests.storage.conftest import bucket, local, minio_client, minio_server, s3, store

ANN = Caller("corp:ann", frozenset(SCOPES) - {"admin"}, workspaces=frozenset({"default"}))
"""She owns `default`, and sees nothing of `secret`."""
HOSTILE = 'x"] --> <b>&`#`\\'
"""A name that means something in every language of pictures."""
SHA256 = "ab" * 32

WHOLES = ("datasets:/corpus", "datasets:/clicks", "models:/base", "models:/tuned", "models:/x%22] --> <b>&`#`\\")

Export = Callable[..., Awaitable[bytes]]


def _handle(_id: str) -> str:
    return "restricted_7"


@pytest.fixture
async def family(sqlite_graph: Graph) -> Graph:
    """A model that a run trained, from a base that learned from a corpus and from something hidden."""
    async with Operation(sqlite_graph) as op:
        await record_lineage(
            op,
            nodes=[
                *[ImportedNode(address=each) for each in WHOLES],
                {"address": "datasets:/corpus/v1", "properties": {"digest": f"sha256:{SHA256}", "sizeBytes": 12}},
                {
                    "address": "datasets:/clicks/v2",
                    "properties": {"uri": "https://data.example.org/clicks.parquet", "digest": f"sha256:{SHA256}"},
                },
                {"address": "fields:/clicks/when", "properties": {"type": "timestamp", "ordinal": 0}},
                {
                    "address": "models:/base/1",
                    "properties": {"license": "apache-2.0", "releasedAt": 1_714_521_600_000_000},
                },
                {
                    "address": "models:/tuned/1",
                    "properties": {
                        "description": "It ranks.",
                        "frameworks": ["PyTorch", "Transformers"],
                        "parameterCount": 560_000_000,
                    },
                    "params": [{"name": "lr", "value": "3e-5"}],
                    "tags": [{"name": "team", "value": "search"}],
                },
                {
                    "address": "runs:/training",
                    "properties": {"state": "FINISHED", "startedAt": 1_000_000, "endedAt": 9_000_000},
                    "params": [{"name": "epochs", "value": "3"}],
                    "metrics": [{"name": "loss", "value": float("nan"), "step": 2, "time": 8_000_000}],
                },
                {"address": "evaluations:/e", "metrics": [{"name": "auc", "value": 0.91}]},
                {"address": "code:/repo%40abc", "properties": {"repository": "repo", "commit": "abc"}},
                {"address": "models:/x%22] --> <b>&`#`\\/1"},
                {"address": "deployments:/live"},
            ],
            edges=[
                {"from": "models:/base/1", "kind": "TRAINED_ON", "to": "datasets:/corpus/v1", "discriminator": "train"},
                {
                    "from": "models:/tuned/1",
                    "kind": "DERIVED_FROM",
                    "to": "models:/base/1",
                    "discriminator": "finetune",
                },
                {"from": "models:/tuned/1", "kind": "PRODUCED_BY", "to": "runs:/training"},
                {"from": "runs:/training", "kind": "READ", "to": "datasets:/clicks/v2", "discriminator": "train"},
                {"from": "runs:/training", "kind": "BUILT_FROM", "to": "code:/repo%40abc"},
                {"from": "evaluations:/e", "kind": "EVALUATES", "to": "models:/tuned/1"},
                {"from": "evaluations:/e", "kind": "EVALUATED_ON", "to": "datasets:/clicks/v2"},
                {"from": "models:/x%22] --> <b>&`#`\\/1", "kind": "DERIVED_FROM", "to": "models:/base/1"},
                {"from": "deployments:/live", "kind": "SERVES", "to": "models:/tuned/1", "properties": {"weight": 1.0}},
            ],
        )
        snapshot = await op.snapshot()
        (base,) = [node for node in (await snapshot.find("ModelVersion")).items if node.props.get("license")]
    await building.workspace(sqlite_graph, "secret")
    _, (hidden,) = await building.model(sqlite_graph, "basalt", versions=1, workspace="secret")
    await building.link(sqlite_graph, NewEdge("DERIVED_FROM", base.id, hidden.id, "merge"))
    return sqlite_graph


@pytest.fixture
def exported(family: Graph) -> Export:
    """Exports of it, as the owner of `default` has them unless somebody else is named."""

    async def run(of: str, name: str, *, caller: Caller = ANN, upstream: bool = True, **how: Any) -> bytes:
        direction = Direction.UPSTREAM if upstream else Direction.DOWNSTREAM
        async with Operation(family, caller=caller) as op:
            found = await lineage(op, [of], direction=direction, **how)
            form = format_of(name)
            done = await export(op, found, form, direction=direction, handle=_handle)
            return done.data

    return run


@pytest.fixture
def read(exported: Export) -> Callable[..., Awaitable[Any]]:
    """The same, read as JSON."""

    async def run(of: str, name: str, **how: Any) -> Any:
        return orjson.loads(await exported(of, name, **how))

    return run


__all__ = ["ANN", "HOSTILE", "LOCAL", "SHA256", "bucket", "local", "minio_client", "minio_server", "s3", "store"]
