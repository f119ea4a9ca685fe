"""What versions, runs and evaluations tell alike: what they came from, what they own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graph import validation
from graph.ontology import ARTIFACT, CODE_REVISION, NodeKind
from graph.port import EVERYTHING, MAX_PAGE, Hop, Node, Order, Paging
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.writing.common import (
    ArtifactFile,
    Code,
    MetricPoint,
    NamedValue,
    Parent,
    points,
    present,
    properties,
    rows,
)
from resolvers.writing.draft import Draft, Reference


def made_by(draft: Draft, made: str, run: str | None) -> Reference | None:
    """The run that made it."""
    maker = None if run is None else draft.want(run, "run", "Run")
    if maker is not None:
        draft.link("PRODUCED_BY", made, maker)
    return maker


def derived(draft: Draft, made: str, kind: NodeKind, parents: Sequence[Parent]) -> list[Reference]:
    """The versions that it was made from."""
    sources = [draft.want(parent["version"], f"parents[{i}].version", kind.name) for i, parent in enumerate(parents)]
    for parent, source in zip(parents, sources, strict=True):
        draft.link("DERIVED_FROM", made, source, parent.get("relation"))
    return sources


def built_from(draft: Draft, made: str, code: Code | None, workspace: str) -> None:
    """The commit that made it: known by repository and commit, registered when it is new."""
    if code is None:
        return
    for name in ("repository", "commit"):
        validation.name(code.get(name), field=f"code.{name}")
    props = properties(CODE_REVISION, present(code), "code")
    name = f"{code['repository']}@{code['commit']}"
    draft.link("BUILT_FROM", made, draft.known(CODE_REVISION, name, workspace, "code", props))


def files(draft: Draft, owner: str, artifacts: Sequence[ArtifactFile], workspace: str) -> list[Reference]:
    """Its artifacts: the same digest, or without one the same place, is the same artifact.

    Raises InvalidArgument: neither digest nor uri, or a name that comes twice.
    """
    names: set[str] = set()
    named = list[Reference]()
    for i, item in enumerate(artifacts):
        at = f"artifacts[{i}]"
        name = validation.name(item["name"], field=f"{at}.name")
        if name in names:
            raise InvalidArgument(f"{at}.name: {name!r} is given twice", field=f"{at}.name")
        names.add(name)
        props = properties(ARTIFACT, present({n: v for n, v in item.items() if n != "name"}), at)
        known_as = "digest" if "digest" in props else "uri"
        if known_as not in props:
            raise InvalidArgument(f"{at}: needs a digest or a uri, to know it by", field=at)
        artifact = draft.known(ARTIFACT, props[known_as], workspace, f"{at}.{known_as}", props)
        draft.link("HAS_ARTIFACT", owner, artifact, name)
        named.append(artifact)
    return named


def owned(
    draft: Draft,
    owner: str,
    *,
    tags: Sequence[NamedValue] = (),
    params: Sequence[NamedValue] = (),
    metrics: Sequence[MetricPoint] = (),
) -> None:
    """Its tags, parameters and metrics."""
    draft.own(
        owner,
        tags=rows(tags, "tags"),
        params=rows(params, "params"),
        points=points(metrics, draft.tx.now),
    )


def refuse_retired(references: Iterable[Reference]) -> None:
    """Raises PreconditionFailed: one of these versions, which shall be used, is retired."""
    for reference in references:
        if reference.node is not None:
            refuse_use(reference.node, reference.field, repr(str(reference.address)))


def refuse_use(version: Node, field: str, called: str | None = None) -> None:
    """Raises PreconditionFailed: a version that shall be used is retired; `called` is its name in the message."""
    if "retiredAt" in version.props:
        msg = f"{field}: {called or f'version {version.name}'} is retired; nothing may serve it or be made from it"
        raise PreconditionFailed(msg, field=field)


async def next_version(draft: Draft, model: Reference) -> int:
    """The next number of a model, taken under its lock: never given twice, and never again."""
    number = 1
    if model.node is not None:
        locked = (await draft.tx.lock([model.id]))[model.id]
        number = int(locked.props.get("lastNumber", 0)) + 1
    draft.set(model.id, {"lastNumber": number})
    draft.touch(model.id)
    return number


async def next_revision(draft: Draft, deployment: Reference) -> int:
    """The next revision number of a deployment that is there, taken under its lock."""
    await draft.tx.lock([deployment.id])
    hop = Hop("REVISION_OF", "IN", "DeploymentRevision")
    latest = Order("number", descending=True)
    last = await draft.tx.neighbours([deployment.id], hop, order=latest, paging=Paging(first=1))
    links = last[deployment.id].items
    return int(links[0].node.props["number"]) + 1 if links else 1


async def lead_to(draft: Draft, edge: str, source: Reference, targets: Mapping[str, Mapping[str, Any]]) -> bool:
    """Let the open edges of a kind from a node lead to exactly these, with these properties; whether that changes any.

    What is as it should be stays open, so that its `since` remains true.
    """
    await draft.tx.lock([source.id])
    view = draft.tx.view
    # What leads to something that the caller does not see ends too: else it would stay, and nobody would know.
    draft.tx.show(EVERYTHING)
    try:
        found = await draft.tx.neighbours([source.id], Hop(edge, "OUT"), paging=Paging(MAX_PAGE))
    finally:
        draft.tx.show(view)
    page = found[source.id]
    before = {link.node.id: dict(link.edge.props) for link in page.items}
    if page.has_next:
        draft.end(edge, source)
        before = {}
    ending = [id for id, props in before.items() if targets.get(id) != props]
    for id in ending:
        draft.end(edge, source, target=id)
    opening = {id: props for id, props in targets.items() if before.get(id) != props}
    for id, props in opening.items():
        draft.link(edge, source, id, props=props)
    return bool(ending or opening or page.has_next)
