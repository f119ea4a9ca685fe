"""The same story on Neo4j: what GraphQL asks of a store means the same there."""

from __future__ import annotations

from graph.port import Graph
from tests.schema.conftest import Asked, tell
from tests.schema.test_filters import FILTERS, numbers_of

STORY = """{
  model(address: "models:/bert") {
    name address workspace { name } tags { name value } owners { nodes { name __typename } }
    history { nodes { kind name version { number } } }
    versions {
      totalCount
      nodes {
        number address aliases stage params { name value } metrics { name value series { nodes { value step } } }
        run { name startedAt params { name value } reads { edges { discriminator node { dataset { name } } } } }
        derivedFrom { edges { discriminator node { number } } }
        deployments { edges { weight node { name environment { name } } } }
      }
    }
  }
  lineage(of: ["datasets:/nq"], direction: DOWNSTREAM) {
    nodes { kind distance } edges { kind discriminator weight } complete countsByKind { kind count }
  }
  paths(from: "datasets:/nq", to: "deployments:/search") { count complete paths { length nodes { kind } } }
  search(text: "ber") { totalCount nodes { name } }
  compareVersions(versions: ["models:/bert/1", "models:/bert/2"]) {
    parameters { name values } metrics { name values { value } } inputs { edge container { name } same }
  }
}"""


async def test_both_stores_tell_the_same_story(sqlite_graph: Graph, neo4j_graph: Graph) -> None:
    answers = []
    for graph in (sqlite_graph, neo4j_graph):
        await tell(graph)
        data = await Asked(graph)(STORY)
        # Nodes at one distance come by id, and the ids of the two stores are not the same.
        data["lineage"]["nodes"].sort(key=lambda node: (node["distance"], node["kind"]))
        data["lineage"]["edges"].sort(key=lambda edge: edge["kind"])
        answers.append(data)
    assert answers[0] == answers[1]


async def test_filters_select_the_same(neo4j_graph: Graph) -> None:
    await tell(neo4j_graph)
    ask = Asked(neo4j_graph)
    for where, numbers in FILTERS:
        assert await numbers_of(ask, where) == numbers, where
