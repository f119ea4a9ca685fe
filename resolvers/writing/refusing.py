"""What recordLineage does not record: what Lineal itself brings about, and new uses of what is retired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from graph.ids import kind_of
from graph.ontology import ARTIFACT, DEPLOYMENT, DEPLOYMENT_REVISION, HAS_ARTIFACT, MODEL_VERSION
from graph.port import EVERYTHING, Hop, NewEdge, NewNode, Node, Transaction
from lineal.errors import AlreadyExists, PreconditionFailed
from resolvers.artifacts.losing import is_lost, is_ready
from resolvers.artifacts.policy import check_addition
from resolvers.reading import all_links
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.story import refuse_use

TOLD: Final = frozenset({"SERVES", "SPECIFIES", "REVISION_OF", "DEPLOYED_TO", "IN_ENVIRONMENT"})
"""Edges that say what a deployment serves, what it was told to serve, and where."""

USES: Final[Mapping[str, str]] = {"SERVES": "Deployment", "DERIVED_FROM": "ModelVersion", "READ": "Run"}
"""Edges by which a version is used, and the kind of what uses it."""


KNOWN_OF_FILES: Final = ("digest", "uri", "sizeBytes")
"""Properties of files that Lineal knows by itself, where it keeps or reads them."""


FOUND: Final = frozenset({"storage", "verification", "pickles", "signature"})
"""Properties by which it shows that Lineal looked at files."""


async def refuse_managed(
    draft: Draft, named: Sequence[Reference], edges: Sequence[NewEdge], places: Sequence[int]
) -> None:
    """Raises PreconditionFailed: a revision of a managed deployment, or an edge that says what it serves or where.

    What a managed deployment was told is what will be served: it comes through the gates of its environment, or not
    at all. `places` are the places in the input of these edges.
    """
    asked = list(_about(named, edges, places))
    whole = draft.tx.seeing(EVERYTHING)
    homes: dict[str, str | None] = {}
    for node in (await whole.nodes(sorted({id for id, _ in asked} - draft.created.keys()))).values() if asked else ():
        homes[node.id] = _home(node)
    for id, _ in asked:
        if id in draft.created:
            homes[id] = _home(draft.created[id])
    wanted = {home for home in homes.values() if home is not None} - draft.created.keys()
    found = await whole.nodes(sorted(wanted)) if wanted else {}
    for id, field in asked:
        deployment = found.get(homes.get(id) or "")
        if deployment is not None and deployment.props.get("managed"):
            msg = (
                f"{field}: {deployment.name!r} is brought about by Lineal, which records itself what it was told and "
                "what it serves; say what it serves with deploy"
            )
            raise PreconditionFailed(msg, field=field)


def _about(named: Sequence[Reference], edges: Sequence[NewEdge], places: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The deployments and revisions that this says something of, by id, each with its place in the input."""
    for reference in named:
        if reference.address.kind == DEPLOYMENT_REVISION.name:
            yield reference.id, reference.field
    for i, edge in zip(places, edges, strict=False):
        if edge.kind in TOLD:
            yield edge.source, f"edges[{i}].from"
            if kind_of(edge.target) is DEPLOYMENT:
                yield edge.target, f"edges[{i}].to"


def _home(node: Node | NewNode) -> str | None:
    return node.container if node.kind == DEPLOYMENT_REVISION.name else node.id


def refuse_kept_files(named: Sequence[Reference]) -> None:
    """Raises PreconditionFailed: of files that Lineal keeps or reads itself, something is said that it knows.

    What was found of them, that they are whole, signed and safe, would else be said of other files.
    """
    for reference in named:
        node = reference.node
        if node is None or node.kind != ARTIFACT.name or not FOUND & node.props.keys():
            continue
        for name in KNOWN_OF_FILES:
            if name in reference.props and reference.props[name] != node.props.get(name):
                field = f"{reference.field.removesuffix('.address')}.properties.{name}"
                msg = f"{field}: Lineal knows this of the files of {node.name!r} itself; register other files as others"
                raise PreconditionFailed(msg, field=field)


async def refuse_other_files(draft: Draft, edges: Sequence[NewEdge], places: Sequence[int]) -> None:
    """Raises AlreadyExists: something comes to have other files under a name that is taken there; PreconditionFailed:
    the workspace asks for a signature on the files of a version that some names lead to, and these have none.
    """
    had = _given_files(edges, places)
    there = sorted({edge.source for edge, _ in had} - draft.created.keys())
    owners = await draft.tx.lock(there) if there else {}
    whole = draft.tx.seeing(EVERYTHING)
    links = await all_links(whole, there, Hop(HAS_ARTIFACT.name, "OUT", ARTIFACT.name)) if there else {}
    files = await whole.nodes([edge.target for edge, _ in had]) if there else {}
    taken = {(id, link.edge.discriminator): link.node.id for id in there for link in links.get(id, ())}
    known = {(id, link.node.id) for id in there for link in links.get(id, ())}
    for edge, i in had:
        owner = owners.get(edge.source)
        if edge.discriminator and taken.setdefault((edge.source, edge.discriminator), edge.target) != edge.target:
            field = f"edges[{i}].discriminator"
            msg = f"{field}: {edge.source} has other files called {edge.discriminator!r}; choose another name"
            raise AlreadyExists(msg, field=field)
        if owner is not None and owner.kind == MODEL_VERSION.name and (owner.id, edge.target) not in known:
            signature = files[edge.target].props.get("signature") if edge.target in files else None
            await check_addition(draft.tx, owner.id, owner.workspace, signature, f"edges[{i}].to")


async def refuse_lost_files(tx: Transaction, edges: Sequence[NewEdge], places: Sequence[int]) -> None:
    """Raises PreconditionFailed: a model version that is READY, now that all is saved, comes to have lost files.

    The files are locked: who finds them wrong at this moment sees the version, or is seen here.
    """
    had = [(edge, f"edges[{i}].to") for edge, i in _given_files(edges, places) if kind_of(edge.source) is MODEL_VERSION]
    files = await tx.lock(sorted({edge.target for edge, _ in had})) if had else {}
    lost = [(edge, field) for edge, field in had if is_lost(files[edge.target])]
    versions = await tx.nodes(sorted({edge.source for edge, _ in lost})) if lost else {}
    for edge, field in lost:
        if is_ready(versions[edge.source].props):
            msg = f"{field}: {edge.source} is READY, and bytes of {edge.target} were found wrong or gone"
            raise PreconditionFailed(msg, field=field)


def _given_files(edges: Sequence[NewEdge], places: Sequence[int]) -> list[tuple[NewEdge, int]]:
    """The edges by which something has files from now on, each with its place in the input."""
    opened = [(edge, i) for i, edge in zip(places, edges, strict=False) if edge.until is None]
    return [(edge, i) for edge, i in opened if edge.kind == HAS_ARTIFACT.name]


async def refuse_retired_uses(draft: Draft, edges: Sequence[NewEdge], places: Sequence[int]) -> None:
    """Raises PreconditionFailed: something new would serve or read a retired version, or be made from one.

    What was so before it was retired, by force, may be recorded again.
    """
    opened = [(i, edge) for i, edge in zip(places, edges, strict=False) if edge.until is None]
    uses = [(i, edge) for i, edge in opened if edge.kind in USES]
    used = sorted({edge.target for _, edge in uses} - draft.created.keys())
    whole = draft.tx.seeing(EVERYTHING)
    found = await whole.nodes(used) if used else {}
    retired = sorted(id for id, node in found.items() if "retiredAt" in node.props)
    known = {
        (kind, link.node.id, id)
        for kind, user in USES.items()
        for id, links in (await all_links(whole, retired, Hop(kind, "IN", user)) if retired else {}).items()
        for link in links
    }
    for i, edge in uses:
        if edge.target in retired and (edge.kind, edge.source, edge.target) not in known:
            refuse_use(found[edge.target], f"edges[{i}].to")
    made = [(i, edge) for i, edge in opened if edge.kind == "PRODUCED_BY" and kind_of(edge.source) is MODEL_VERSION]
    runs = sorted({edge.target for _, edge in made} - draft.created.keys())
    makes = await all_links(whole, runs, Hop("PRODUCED_BY", "IN", MODEL_VERSION.name)) if runs else {}
    there = {(link.node.id, run) for run, links in makes.items() for link in links}
    new = {edge.target: f"edges[{i}].to" for i, edge in made if (edge.source, edge.target) not in there}
    await refuse_retired_readers(draft.tx, {run: field for run, field in new.items() if run in runs})


async def refuse_retired_readers(tx: Transaction, runs: Mapping[str, str]) -> None:
    """Raises PreconditionFailed: one of these runs, by which something new is made, read what is retired now.

    Each is given with its place in the input.
    """
    read = await all_links(tx.seeing(EVERYTHING), sorted(runs), Hop("READ", "OUT", MODEL_VERSION.name)) if runs else {}
    for run, links in read.items():
        for link in links:
            refuse_use(link.node, runs[run], f"version {link.node.name}, which the run read,")
