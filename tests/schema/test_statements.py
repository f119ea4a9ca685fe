"""Statements are counted: one for each level of nesting and edge, whatever the size of the answer."""

from __future__ import annotations

from typing import Any

from graph.port import Graph, NewEdge, NewNode, Point, Transaction
from tests import building as b
from tests.schema.conftest import Asked

DEEP = """{ models(orderBy: {field: NAME}) { nodes { name versions { edges { node {
  number params { name } metrics { value } tags { name } aliases address
  run { name params { value } reads { nodes { dataset { name } } } experiment { name } }
  trainedOn { nodes { name dataset { name fields { nodes { name } } } } }
  derivedFrom { nodes { number run { name } } }
  deployments { nodes { name environment { name } } } } } } } } }"""
QUESTIONS = 18
"""models; versions; params, metrics, tags, aliases, addresses of these; run, trainedOn, derivedFrom, deployments;
params, reads, experiment of the run, dataset of the trainedOn, run of the parents, environment; and the
data sets of the reads. The fields below are one more level, shared loaders make some of these one."""


async def _family(graph: Graph, name: str, size: int) -> None:
    """A model of `size` versions, each with a run, a data set, a parent and a deployment."""

    async def work(tx: Transaction) -> None:
        model, environment, experiment = await tx.create(
            [NewNode(kind, f"{name}-{kind}", "default") for kind in ("Model", "Environment", "Experiment")]
        )
        new = []
        for n in range(1, size + 1):
            new += [
                NewNode("ModelVersion", str(n), "default", model.id, {"number": n}),
                NewNode("Run", f"{name}-run-{n}", "default"),
                NewNode("Dataset", f"{name}-data-{n}", "default"),
                NewNode("Deployment", f"{name}-deployment-{n}", "default"),
            ]
        made = await tx.create(new)
        data = await tx.create([NewNode("DatasetVersion", "v1", "default", d.id) for d in made[2::4]])
        edges = []
        for n, version in enumerate(made[0::4]):
            run, deployment = made[n * 4 + 1], made[n * 4 + 3]
            edges += [
                NewEdge("VERSION_OF", version.id, model.id),
                NewEdge("VERSION_OF", data[n].id, made[n * 4 + 2].id),
                NewEdge("PRODUCED_BY", version.id, run.id),
                NewEdge("PART_OF", run.id, experiment.id),
                NewEdge("READ", run.id, data[n].id, "train"),
                NewEdge("TRAINED_ON", version.id, data[n].id),
                NewEdge("SERVES", deployment.id, version.id),
                NewEdge("IN_ENVIRONMENT", deployment.id, environment.id),
            ]
            if n:
                edges.append(NewEdge("DERIVED_FROM", version.id, made[(n - 1) * 4].id))
        await tx.link(edges)
        await tx.put_rows("params", {node.id: {"lr": "1"} for node in made[0::4]})
        await tx.log_metrics({node.id: [Point("auc", 0.5, 1, 1)] for node in made[0::4]})

    await graph.write(work, by=b.BY, action="family")


async def _statements(graph: Graph, query: str, **variables: Any) -> int:
    ask = Asked(graph)
    await ask(query, **variables)
    return ask.operations[0].statements


async def test_the_size_of_an_answer_does_not_change_its_statements(graph: Graph) -> None:
    await _family(graph, "small", 2)
    small = await _statements(graph, DEEP)
    await _family(graph, "large", 40)
    await _family(graph, "larger", 45)
    assert await _statements(graph, DEEP) == small
    assert small <= QUESTIONS + 2


async def test_each_level_and_edge_is_one_statement(graph: Graph) -> None:
    await _family(graph, "small", 3)
    for query, statements in (
        ('{ model(address: "models:/small-Model") { name } }', 1),
        ('{ model(address: "models:/small-Model") { versions { nodes { number } } } }', 2),
        ('{ model(address: "models:/small-Model") { versions { nodes { run { name } } } } }', 3),
        ('{ model(address: "models:/small-Model") { versions { nodes { run { name } metrics { value } } } } }', 4),
        ("{ models { nodes { name } } }", 1),
        ("{ __typename }", 0),
    ):
        assert await _statements(graph, query) == statements, query


async def test_the_lineage_of_every_node_of_a_list_is_one_statement_on_neo4j(neo4j_graph: Graph) -> None:
    query = "{ modelVersions { nodes { upstream { complete nodes { node { name } } } downstream { complete } } } }"
    for name, size in (("small", 2), ("large", 20)):
        await _family(neo4j_graph, name, size)
        assert await _statements(neo4j_graph, query) == 3


async def test_lineage_is_two_statements_on_neo4j_whatever_its_size(neo4j_graph: Graph) -> None:
    query = """{ lineage(of: ["models:/small-Model"], direction: UPSTREAM) { roots { name } nodes { node { name } }
      edges { kind } frontier countsByKind { count } complete } }"""
    await _family(neo4j_graph, "small", 20)
    assert await _statements(neo4j_graph, query) == 2


async def test_aliased_lists_with_the_same_arguments_share_a_statement(sqlite_graph: Graph) -> None:
    await _family(sqlite_graph, "small", 3)
    once = await _statements(sqlite_graph, "{ models { nodes { a: versions { nodes { number } } } } }")
    both = "{ models { nodes { a: versions { nodes { number } } b: versions { nodes { name } } } } }"
    twice = await _statements(sqlite_graph, both)
    assert once == twice


async def test_changes_and_histories_of_many_nodes_are_read_together(sqlite_graph: Graph) -> None:
    query = "{ models { nodes { changes { nodes { seq } } history { nodes { name } } } } }"
    await _family(sqlite_graph, "small", 1)
    one = await _statements(sqlite_graph, query)
    await _family(sqlite_graph, "large", 1)
    await _family(sqlite_graph, "larger", 1)
    assert await _statements(sqlite_graph, query) == one == 4
