"""Real gateways before Lineal and another subgraph: joined both ways, and nobody is told more than Lineal tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import Graph, NewEdge, NewNode, Node, Transaction
from lineal.app import create_app
from lineal.parts import opened
from lineal.settings import Settings
from lineal.telemetry import Telemetry
from schema.executing import Operated
from schema.limits import Limits
from schema.subgraph import Flavour, committed
from tests import building as b
from tests.auth.issuer import RESOURCE, MiniIssuer
from tests.federation.servers import ApolloGateway, FeatureStore, HiveGateway, apollo_modules, composed, hive_modules
from tests.schema.test_over_http import served

SCOPES = "model:read dataset:read workspace:read deployment:read lineage:read"
MANY = 1_000


@dataclass
class Federation:
    """Lineal and the feature store, both listening, and the composed schema of either flavour."""

    home: Path
    issuer: MiniIssuer
    operations: list[Operated]
    versions: list[Node]
    hidden: Node
    lineal: str
    features: str

    def composed(self, flavour: Flavour) -> Path:
        """The schema for a gateway. What it hints at is nothing that Lineal could do better."""
        sdl = {"lineal": (self.lineal, committed(flavour)), "features": (self.features, FEATURES)}
        file, hints = composed(self.home, sdl)
        assert hints == []
        return file

    async def ask(self, url: str, query: str, scopes: str | None = SCOPES) -> dict[str, Any]:
        """What a gateway answers somebody with a token for these scopes."""
        headers = {} if scopes is None else {"authorization": f"Bearer {self.issuer.token(scope=scopes)}"}
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(url, json={"query": query}, headers=headers)
        found: dict[str, Any] = answer.json()
        return found


TOP = Path(__file__).parents[2]
FEATURES = TOP / "examples" / "federation" / "features.graphql"
THERE, BACK = re.findall(
    r"```graphql\n(\{.*?\n\})\n```", (TOP / "docs" / "federation.md").read_text(encoding="utf-8"), re.DOTALL
)
"""The queries of the page that explains federation."""
WALKS = Limits().walks


async def _furnish(graph: Graph) -> tuple[list[Node], Node]:
    """Alice owns the default workspace, which has a model of many versions, and sees nothing of `secret`."""
    (alice, _team) = await b.create(
        graph, NewNode("Principal", "corp:alice", "", props={"type": "USER"}), NewNode("Team", "search", "")
    )

    async def grant(tx: Transaction) -> None:
        await tx.link([NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, alice.id, "OWNER")])

    await graph.write(grant, by=b.BY, action="grantRole")
    await b.dataset(graph, "clicks", "v1")
    _, versions = await b.model(graph, "ranker", versions=MANY)
    await b.workspace(graph, "secret")
    _, (hidden,) = await b.model(graph, "basalt", versions=1, workspace="secret")
    return versions, hidden


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    """Both subgraphs, running."""
    apollo_modules()
    settings = Settings.load(
        graph=f"sqlite:///{tmp_path / 'lineal.db'}", keys=tmp_path / "keys", storage=str(tmp_path / "artifacts")
    )
    issuer, telemetry, operations = MiniIssuer(), Telemetry(), list[Operated]()
    count = telemetry.on_operation

    def counted(operation: Operated) -> None:
        operations.append(operation)
        count(operation)

    telemetry.on_operation = counted  # type: ignore[method-assign, assignment]
    async with opened(settings) as graph:
        versions, hidden = await _furnish(graph)
        views = [
            {
                "name": "clicks_7d",
                "team": "search",
                "source": {"workspace": "default", "name": "clicks"},
                "computedFrom": "datasets:/clicks/v1",
                "usedBy": [*(v.id for v in versions), hidden.id],
            }
        ]
        app = create_app(settings, graph, telemetry, issuer.authenticator())
        async with served(app, lifespan="on") as lineal:
            store = FeatureStore(tmp_path / "features", views)
            async with _running(store):
                yield Federation(tmp_path, issuer, operations, versions, hidden, lineal, store.url)


@asynccontextmanager
async def _running(server: Any) -> AsyncIterator[Any]:
    """A server of another program; Lineal, which is in this one, answers meanwhile."""
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.kill)


async def test_apollos_gateway_joins_both_ways(federation: Federation, tmp_path: Path) -> None:
    gateway = ApolloGateway(tmp_path / "apollo", federation.composed(Flavour.PLAIN))
    async with _running(gateway):
        await _joins(federation, gateway.url)
        await _batches(federation, gateway.url)
        denied = await federation.ask(
            gateway.url, "{ datasets { nodes { name } } models { nodes { name } } }", "model:read"
        )
        assert denied["data"] == {"datasets": None, "models": {"nodes": [{"name": "ranker"}]}}
        (error,) = denied["errors"]
        assert (error["extensions"]["code"], error["extensions"]["requiredScopes"]) == ("FORBIDDEN", [["dataset:read"]])
        # An entity of a kind that the token does not open is not there.
        half = await federation.ask(gateway.url, "{ featureViews { name source { name address } } }", "model:read")
        assert half["data"]["featureViews"] == [{"name": "clicks_7d", "source": None}]
        nobody = await federation.ask(gateway.url, "{ models { nodes { name } } }", None)
        assert "ranker" not in str(nobody)


async def _joins(federation: Federation, url: str) -> None:
    there = await federation.ask(url, THERE)
    assert "errors" not in there, there
    view = {
        "name": "clicks_7d",
        "keptBy": {"name": "search", "channel": "#search", "address": "teams:/search"},
        "source": {"name": "clicks", "address": "datasets:/clicks", "featureViews": [{"name": "clicks_7d"}]},
        "computedFrom": {"name": "v1", "dataset": {"name": "clicks"}},
    }
    nodes = there["data"]["modelVersions"]["nodes"]
    assert nodes == [{"number": n, "model": {"name": "ranker"}, "featureViews": [view]} for n in (1, 2)]


async def _batches(federation: Federation, url: str) -> None:
    """From the other side: a thousand versions in one question, of which one is hidden."""
    federation.operations.clear()
    back = await federation.ask(url, "{ featureViews { usedBy { id number address } } }")
    (view,) = back["data"]["featureViews"]
    shown = [version and version["number"] for version in view["usedBy"]]
    assert shown == [*range(1, MANY + 1), None]
    assert "basalt" not in str(back)
    (asked,) = federation.operations
    assert asked.statements <= 5
    await _walks(federation, url)


async def _walks(federation: Federation, url: str) -> None:
    """The page's question for the lineage of each of them: of those beyond the limit that alone is missing."""
    back = await federation.ask(url, BACK)
    (view,) = back["data"]["featureViews"]
    *versions, hidden = view["usedBy"]
    assert hidden is None
    assert [version["address"] for version in versions] == [f"models:/ranker/{n}" for n in range(1, MANY + 1)]
    walked = [version["downstream"] for version in versions]
    assert walked[:WALKS] == [
        {"complete": True, "nodes": [{"kind": "MODEL_VERSION", "node": {"name": str(n)}}]} for n in range(1, WALKS + 1)
    ]
    assert walked[WALKS:] == [None] * (MANY - WALKS)
    over = [error for error in back["errors"] if error["extensions"].get("limit") == "walks"]
    assert {(error["extensions"]["code"], error["path"][-1]) for error in over} == {("LIMIT_EXCEEDED", "downstream")}
    assert len(over) == MANY - WALKS
    # Of the hidden one, which is null, Hive Gateway has an error of its own.
    others = [error for error in back["errors"] if error not in over]
    assert [error["path"][:4] for error in others] in ([], [["featureViews", 0, "usedBy", MANY]])
    assert "basalt" not in str(back)


async def test_hive_gateway_holds_fields_to_their_scopes(federation: Federation, tmp_path: Path) -> None:
    hive_modules()
    signing: Any = federation.issuer.keys["rsa"][0]
    key = signing.as_pem(private=False).decode()
    gateway = HiveGateway(tmp_path / "hive", federation.composed(Flavour.SECURED), key, RESOURCE)
    async with _running(gateway):
        await _joins(federation, gateway.url)
        federation.operations.clear()
        query = "{ featureViews { name } datasets { nodes { name } } }"
        denied = await federation.ask(gateway.url, query, "model:read")
        assert denied["data"]["featureViews"] == [{"name": "clicks_7d"}]
        assert denied["data"]["datasets"] is None
        assert denied["errors"][0]["extensions"]["code"] == "UNAUTHORIZED_FIELD_OR_TYPE"
        # The gateway itself said so: Lineal was never asked.
        assert federation.operations == []
        allowed = await federation.ask(gateway.url, query)
        assert allowed["data"]["datasets"] == {"nodes": [{"name": "clicks"}]}
        await _batches(federation, gateway.url)
