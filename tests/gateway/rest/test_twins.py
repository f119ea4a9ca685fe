"""Two faces asked the same thing say the same thing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.rest.routes import NOUNS, UNROUTED
from graph.port import Graph, NewNode
from lineal import demo
from tests import building as b
from tests.conftest import _neo4j, _sqlite
from tests.gateway.rest.conftest import serving
from tests.gateway.rest.twins import PATIENT, SCHEMA, STORY, Twins, graphql, included, reads_alike
from tests.schema.conftest import tell

LINEAGE = """{ lineage(of: ["datasets:/NQ"], direction: DOWNSTREAM, depth: 50, kinds: [DEPLOYMENT]) {
  complete frontierCount nodes { distance restricted node { id kind address } }
  edges { kind source target discriminator since until weight }
  countsByKind { kind count } roots { id kind address } } }"""
PATHS = """{ paths(from: "datasets:/NQ", to: "deployments:/made-up-search", limit: 3) {
  count complete paths { length nodes { distance node { address } } hops { edges { kind source target } } } } }"""
SEARCH = '{ search(text: "bge", kinds: [MODEL], first: 5) { totalCount nodes { id name } } }'
COMPARED = """{ compareVersions(versions: ["models:/BAAI%2Fbge-m3/1", "models:/BAAI%2Fbge-base-en-v1.5/1"]) {
  versions { address } parameters { name values same } metrics { name same } inputs { edge discriminator same } } }"""
VIEWER = "{ viewer { name anonymous teams scopes roles { workspace role } } }"
ACTIVITY = "{ activity(first: 3) { nodes { id seq at by action request data } pageInfo { endCursor hasNextPage } } }"
AUDIT = '{ audit(action: "recordDeployment", first: 2) { nodes { number hash seq id action data } } }'


async def sequenced(graph: Graph) -> None:
    """Wait until every change has its place."""
    while await graph.sequence():
        pass


@pytest.fixture
async def demonstrated(graph: Graph) -> Graph:
    """The demo's data, in either store."""
    await demo.load(graph, demo.real_models(), lambda *_: None)
    await b.create(graph, NewNode("Principal", "ann", ""))
    await sequenced(graph)
    return graph


async def test_both_faces_read_the_same_of_the_demo(demonstrated: Graph) -> None:
    async with serving(demonstrated, PATIENT) as rest:
        assert await reads_alike(rest) > 100
        compared = {field for _, one, many in NOUNS.values() for field in (one, many) if field}

        async def same(document: str, path: str, *, paged: bool = False, listed: bool = False) -> Any:
            ((field, said),) = (await graphql(rest.graph, document)).items()
            compared.add(field)
            answer = await rest.get(path)
            shown = answer["items"] if paged or listed else answer
            wrong = included(said["nodes"] if paged else said, shown)
            assert not wrong, (path, wrong)
            return answer

        walk = await same(LINEAGE, "/lineage?of=datasets:/NQ&direction=DOWNSTREAM&depth=50&kinds=DEPLOYMENT")
        assert walk["nodes"]
        await same(PATHS, "/paths?from=datasets:/NQ&to=deployments:/made-up-search&limit=3")
        found = await same(SEARCH, "/search?text=bge&kinds=MODEL&limit=5&total=true", paged=True)
        assert found["total"] > 5
        versions = "&".join(f"versions=models:/{quote(n)}/1" for n in ("BAAI%2Fbge-m3", "BAAI%2Fbge-base-en-v1.5"))
        await same(COMPARED, f"/comparison?{versions}")
        await same(VIEWER, "/viewer")
        await same(ACTIVITY, "/activity?limit=3", paged=True)
        await same(AUDIT, "/audit?action=recordDeployment&limit=2", paged=True)
        await same("{ marked(first: 2) { nodes { since } } }", "/marked?limit=2", paged=True)
        await same("{ notifications(first: 2) { nodes { read } } }", "/notifications?limit=2", paged=True)
        node = (await rest.get("/models/BAAI%2Fbge-m3"))["id"]
        await same(f'{{ node(id: "{node}") {{ id kind address revision }} }}', f"/nodes/{node}")
        await same(f'{{ nodes(ids: ["{node}"]) {{ id kind address revision }} }}', f"/nodes?ids={node}", listed=True)
        version = "models:/BAAI%2Fbge-m3/1"
        check = f'{{ checkGate(version: "{version}", stage: "Production") {{ target name met }} }}'
        await same(check, f"/model-versions/{quote(version, safe='')}/gate-check?stage=Production")
        assert SCHEMA.query_type
        assert set(SCHEMA.query_type.fields) == compared | UNROUTED.keys()


async def test_both_faces_do_the_same(sqlite_graph: Graph, other: Graph) -> None:
    await tell(sqlite_graph)
    await tell(other)
    async with serving(other, PATIENT) as rest:
        twins = Twins(sqlite_graph, rest)
        for name, keep, given in STORY:
            await twins.write(name, keep, given)
        assert SCHEMA.mutation_type
        assert {name for name, *_ in STORY} == SCHEMA.mutation_type.fields.keys()
        assert twins.done > 85, twins.refused
        await sequenced(other)
        assert await reads_alike(rest, most=10) > 200


@pytest.fixture(params=["sqlite", "neo4j"])
async def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Graph]:
    """A second store, of either kind."""
    path = tmp_path_factory.mktemp("other") / "lineal.db"
    async for graph in _sqlite(path) if request.param == "sqlite" else _neo4j(request):
        yield graph
