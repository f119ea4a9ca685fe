"""The demo: 968 real embedding models, and which of them learned from a data set that went bad.

The facts are those of lineal/data/mteb-models.jsonl, untidy as they are: base models that are no models of
the set are kept and marked external, whatever they are called. Only the deployments are made up, and each
says so in its name, its description and a tag.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from importlib import resources
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from auth.caller import named
from auth.keyring import Keyring
from auth.local import LocalIssuer
from auth.scopes import SCOPES
from graph.address import Address
from graph.naming import addresses
from graph.ontology import DEFAULT_WORKSPACE
from graph.port import MAX_DEPTH, MAX_LINEAGE, Closure, Direction, Edge, Graph
from lineal import rendering, server
from lineal.cli import output
from lineal.cli.output import Advance, Format
from lineal.errors import AlreadyExists, Internal
from lineal.parts import opened
from lineal.settings import Settings
from resolvers import reading
from resolvers.operation import Operation
from resolvers.writing.common import NamedValue
from resolvers.writing.deployments import record_deployment
from resolvers.writing.importing import ImportedEdge, ImportedNode, record_lineage
from resolvers.writing.workspaces import update_workspace
from schema.executing import execute
from schema.sdl import build_schema

DATASET: Final = "NQ"
DATASET_ADDRESS: Final = f"datasets:/{DATASET}"
BATCH: Final = 1_000
BY: Final = "demo"

QUERY: Final = """\
query Contaminated($of: ID! = "datasets:/NQ") {
  direct: lineage(of: [$of], direction: DOWNSTREAM, depth: 1, kinds: [MODEL_VERSION]) {
    countsByKind { kind count }
  }
  all: lineage(of: [$of], direction: DOWNSTREAM, depth: 200, kinds: [MODEL_VERSION], limit: 20000) {
    complete
    countsByKind { kind count }
    nodes { distance node { address } }
  }
  impact: lineage(of: [$of], direction: DOWNSTREAM, depth: 200, kinds: [DEPLOYMENT], limit: 20000) {
    complete
    nodes { distance node { name ... on Deployment { environment { name } } } }
  }
}
"""

DEPLOYMENTS: Final[Sequence[tuple[str, str, tuple[tuple[str, float], ...]]]] = (
    ("made-up-search", "production", (("BAAI/bge-m3", 1.0),)),
    ("made-up-search-canary", "staging", (("BAAI/bge-base-en-v1.5", 0.9), ("sentence-transformers/LaBSE", 0.1))),
    ("made-up-helpdesk", "production", (("Alibaba-NLP/gte-multilingual-base", 1.0),)),
    ("made-up-korean-search", "production", (("nlpai-lab/KURE-v1", 1.0),)),
    ("made-up-vietnamese-search", "staging", (("AITeamVN/Vietnamese_Embedding", 1.0),)),
    ("made-up-similarity", "production", (("alphabrothers/alpha-sts-v0", 1.0),)),
    ("made-up-clinic", "staging", (("abhinand/MedEmbed-small-v0.1", 1.0),)),
    ("made-up-translation-memory", "production", (("sentence-transformers/LaBSE", 1.0),)),
)
"""Name, environment, and the models served with their shares: the last has nothing to do with NQ."""

CLICKS: Final = (
    "{models(first:5){nodes{name versions{nodes{parameterCount license}}}}}",
    '{search(text:"bge m3"){totalCount nodes{address kind}}}',
)

SCOPES_ASKED: Final = tuple(scope for scope in SCOPES if scope.endswith(":read"))
"""The scopes of the token that the demo prints."""
TOKEN_SECONDS: Final = 24 * 3600

DISCLAIMER: Final = "Made up for the demo of Lineal: nobody runs this."


@contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    """Where the demo's store goes: a file to keep, or one that is gone afterwards. Raises AlreadyExists.

    The keys of a store that is gone afterwards go with it; a kept one has those of this user.
    """
    if keep is not None:
        if keep.exists():
            msg = f"--keep: {keep} is there already; the demo loads into a new file"
            raise AlreadyExists(msg, field="keep")
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="lineal-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "demo.db"


async def run(settings: Settings, *, serve: bool, format: Format, program: str) -> None:
    """Load, ask, tell, and serve if asked to."""
    told = format is Format.TEXT
    async with opened(settings) as graph:
        models = real_models()
        if told:
            output.lines([f"Loading {len(models)} real embedding models and what is known of where they came from …"])
        with output.progress() as advance:
            await load(graph, models, advance)
        figures, answer = await ask(graph)
        if told:
            output.lines(_story(figures, answer))
            output.tree(await _short_tree(graph))
        else:
            output.as_json(figures)
    if serve:
        await server.serve(settings, ready=lambda url: output.lines(_next(url, settings, program)) if told else None)
    elif told:
        output.lines(["", f"To look around: {program} demo"])


def real_models() -> list[dict[str, Any]]:
    """The models, each after those of the set that it was adapted from."""
    text = resources.files("lineal").joinpath("data/mteb-models.jsonl").read_text(encoding="utf-8")
    models = {model["name"]: model for model in map(json.loads, text.splitlines())}
    order = TopologicalSorter({name: model.get("adaptedFrom", ()) for name, model in models.items()}).static_order()
    return [models[name] for name in order if name in models]


async def load(graph: Graph, models: Sequence[dict[str, Any]], advance: Advance) -> None:
    """Put models, data sets and their lineage into the graph, a batch at a time, then what is made up."""
    known = {model["name"] for model in models}
    batch = _Batch()
    for done, model in enumerate(models, 1):
        _add(batch, model, known)
        if batch.size >= BATCH or done == len(models):
            await _write(graph, batch.nodes, batch.edges)
            advance("models", done, len(models))
            batch = _Batch()
    later = [_edge(_model(m["name"]), "SUPERSEDED_BY", _model(m["supersededBy"])) for m in models if _has_successor(m)]
    await _write(graph, (), later)
    async with Operation(graph, caller=named(BY)) as op:
        await update_workspace(op, workspace=DEFAULT_WORKSPACE, properties={"visibility": "PUBLIC"})
        for name, environment, served in DEPLOYMENTS:
            await record_deployment(
                op,
                name=name,
                environment=str(Address("Environment", DEFAULT_WORKSPACE, environment)),
                serves=[{"version": _version(model), "weight": weight} for model, weight in served],
                properties={"description": DISCLAIMER},
                tags=[{"name": "made-up", "value": "true"}],
            )


class _Batch:
    """Nodes and edges of one call; each node once."""

    def __init__(self) -> None:
        self.named: dict[str, ImportedNode] = {}
        self.edges: list[ImportedEdge] = []

    @property
    def nodes(self) -> list[ImportedNode]:
        return list(self.named.values())

    @property
    def size(self) -> int:
        return len(self.named) + len(self.edges)


def _add(batch: _Batch, model: dict[str, Any], known: set[str]) -> None:
    """A model with its only version, its code, its bases and its data sets."""
    name, version = model["name"], _version(model["name"])
    tags: list[NamedValue] = (
        [{"name": "modality", "value": ", ".join(model["modalities"])}] if "modalities" in model else []
    )
    whole: dict[str, Any] = {"task": "embedding"}
    if "supersededBy" in model and not _has_successor(model):
        whole["attributes"] = {"supersededBy": model["supersededBy"]}
    batch.named[_model(name)] = {"address": _model(name), "properties": whole, "tags": tags, "external": False}
    batch.named[version] = {"address": version, "properties": _properties(model), "external": False}
    code = str(Address("CodeRevision", DEFAULT_WORKSPACE, f"{name}@{model['revision']}"))
    batch.named[code] = {"address": code, "properties": {"repository": name, "commit": model["revision"]}}
    batch.edges.append(_edge(version, "BUILT_FROM", code))
    for base in model.get("adaptedFrom", ()):
        if base not in known:
            batch.named.setdefault(_model(base), {"address": _model(base), "external": True})
            batch.named.setdefault(_version(base), {"address": _version(base), "external": True})
        batch.edges.append(_edge(version, "DERIVED_FROM", _version(base), "finetune"))
    for dataset in model.get("trainingDatasets", ()):
        for address in (_dataset(dataset), _dataset(dataset, "unversioned")):
            batch.named.setdefault(address, {"address": address})
        batch.edges.append(_edge(version, "TRAINED_ON", _dataset(dataset, "unversioned")))


def _properties(model: dict[str, Any]) -> dict[str, Any]:
    """What is known of a version, by the ontology's names."""
    properties: dict[str, Any] = {"state": "READY", "frameworks": model.get("frameworks")}
    if model.get("license") != "not specified":
        properties["license"] = model.get("license")
    if "parameters" in model:
        properties["parameterCount"] = int(model["parameters"])
    if "memoryMb" in model:
        properties["sizeBytes"] = int(model["memoryMb"] * 2**20)
    if "releaseDate" in model:
        released = datetime.fromisoformat(model["releaseDate"]).replace(tzinfo=UTC)
        properties["releasedAt"] = int(released.timestamp()) * 1_000_000
    more = {name: model[name] for name in ("embeddingDimension", "maxTokens", "openWeights") if name in model}
    return {**properties, "attributes": more or None}


def _has_successor(model: dict[str, Any]) -> bool:
    """Whether it says which model takes its place, and does not name itself, as one of them does."""
    return "supersededBy" in model and bool(model["supersededBy"] != model["name"])


def _model(name: str) -> str:
    return str(Address("Model", DEFAULT_WORKSPACE, name))


def _version(model: str) -> str:
    return str(Address("ModelVersion", DEFAULT_WORKSPACE, model, "1"))


def _dataset(name: str, version: str | None = None) -> str:
    return str(Address("DatasetVersion" if version else "Dataset", DEFAULT_WORKSPACE, name, version))


def _edge(source: str, kind: str, target: str, discriminator: str | None = None) -> ImportedEdge:
    return {"from": source, "kind": kind, "to": target, "discriminator": discriminator}


async def _write(graph: Graph, nodes: Sequence[ImportedNode], edges: Sequence[ImportedEdge]) -> None:
    async with Operation(graph, caller=named(BY)) as op:
        await record_lineage(op, nodes=nodes, edges=edges)


async def ask(graph: Graph) -> tuple[dict[str, Any], dict[str, Any]]:
    """The flagship question, through the GraphQL schema: its figures, and the whole answer."""
    result = await execute(build_schema(), graph, QUERY)
    if result.errors or result.data is None:
        raise Internal(f"the demo's question failed: {result.errors}")
    answer: dict[str, Any] = result.data
    direct, downstream = (_versions(answer[part]) for part in ("direct", "all"))
    figures = {
        "dataset": DATASET,
        "direct": direct,
        "downstream": downstream,
        "missedByOneHop": downstream - direct,
        "deployments": len(answer["impact"]["nodes"]),
        "complete": answer["all"]["complete"] and answer["impact"]["complete"],
    }
    return figures, answer


def _versions(lineage: dict[str, Any]) -> int:
    return sum(row["count"] for row in lineage["countsByKind"] if row["kind"] == "MODEL_VERSION")


def _story(figures: dict[str, Any], answer: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"Data set {DATASET} is found contaminated. Which models learned from it, directly or through a base model,"
    yield "how many would a one-hop look have missed, and which deployments serve them? One GraphQL query:"
    yield ""
    yield from (f"    {line}" for line in QUERY.splitlines())
    yield ""
    doubt = "" if figures["complete"] else " AT LEAST: the answer is not complete"
    yield f"  {figures['downstream']:>4} model versions learned from {DATASET}{doubt}"
    yield f"  {figures['direct']:>4} of them directly"
    yield f"  {figures['missedByOneHop']:>4} through a base model: a one-hop look misses these"
    yield f"  {figures['deployments']:>4} deployments serve one of them (these are made up, all else is real):"
    for item in answer["impact"]["nodes"]:
        node = item["node"]
        yield f"         {node['name']} in {node['environment']['name']}, {item['distance']} hops away"
    yield ""
    yield f"How {DATASET} reaches them, by a shortest way each:"
    yield ""


async def _short_tree(graph: Graph) -> list[rendering.Line]:
    """The part of the downstream lineage that lies on a shortest way to a deployment."""
    async with Operation(graph, caller=named(BY)) as op:
        found = await reading.lineage(
            op, [DATASET_ADDRESS], direction=Direction.DOWNSTREAM, depth=MAX_DEPTH, limit=MAX_LINEAGE
        )
        closure = _towards(found.closure, "Deployment")
        names = await addresses(await op.snapshot(), [*found.roots, *(node for node, _ in closure.nodes)])
        return list(rendering.tree(rendering.Picture(found.roots, closure, Direction.DOWNSTREAM, names)))


def _towards(closure: Closure, kind: str) -> Closure:
    distance = {node.id: d for node, d in closure.nodes}
    back: dict[str, Edge] = {}
    for edge in closure.edges:
        if distance[edge.source] == distance[edge.target] + 1:
            back.setdefault(edge.source, edge)
    kept = {node.id for node, _ in closure.nodes if node.kind == kind}
    waiting = list(kept)
    edges = []
    while waiting:
        if step := back.get(waiting.pop()):
            edges.append(step)
            if step.target not in kept:
                kept.add(step.target)
                waiting.append(step.target)
    return Closure([(n, d) for n, d in closure.nodes if n.id in kept], edges, closure.frontier, closure.counts)


def _next(url: str, settings: Settings, program: str) -> Iterator[str]:
    graph = settings.graph
    token = LocalIssuer(Keyring(settings.keys)).token(name=BY, scopes=SCOPES_ASKED, seconds=TOKEN_SECONDS)
    body = json.dumps({"query": " ".join(QUERY.split())}).replace("'", "\\u0027")
    yield ""
    yield "Ask it yourself:"
    yield ""
    yield f"curl -s {url}/graphql -H 'authorization: Bearer {token}' -H 'content-type: application/json' -d '{body}'"
    yield ""
    yield "See it drawn, and ask on (this address has the same token in it, for this browser alone):"
    yield ""
    yield f"  {url}/graphiql#token={token}"
    yield ""
    yield "Where to click next (the demo's workspace is public, so that these need no token):"
    yield ""
    yield from (f"  {url}/graphql?{urlencode({'query': query})}" for query in CLICKS)
    yield f"  {url}/lineage?{urlencode({'of': DATASET_ADDRESS, 'direction': 'DOWNSTREAM'})}"
    yield f"  {url}/metrics"
    yield f"  {program} lineage BAAI/bge-m3 --downstream --graph {graph}"
    yield f"  {program} lineage models:/alphabrothers%2Falpha-sts-v0/1 --kinds DatasetVersion --graph {graph}"
    yield f"  {program} paths {DATASET} made-up-similarity --graph {graph}"
    yield ""
    yield "Serving until Ctrl-C."
