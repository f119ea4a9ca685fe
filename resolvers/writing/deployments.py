"""Deployments as records: what serves which versions, where, and what it was told to serve before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph import ontology, validation
from graph.ontology import DEPLOYMENT, DEPLOYMENT_REVISION
from graph.port import Node, Transaction
from lineal.errors import InvalidArgument, LimitExceeded, PreconditionFailed
from resolvers.writing.command import command
from resolvers.writing.common import NOTHING, UNSET, NamedValue, Served, Unset, present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import deleting
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.nodes import renaming
from resolvers.writing.story import lead_to, next_revision, owned, refuse_retired

MAX_SERVED = 100
"""Versions that one deployment may serve at a time."""

ROUNDING = 1e-9

rename_deployment = renaming("renameDeployment", DEPLOYMENT, "deployment")


async def _stopped(_tx: Transaction, node: Node) -> None:
    """Raises PreconditionFailed: Lineal would lose sight of what its platform goes on serving."""
    if node.props.get("managed") and node.props.get("phase") != "STOPPED":
        msg = f"deployment: {node.name!r} is {node.props.get('phase')}; stop it first, so that nothing goes on serving"
        raise PreconditionFailed(msg, field="deployment")


delete_deployment = deleting("deleteDeployment", DEPLOYMENT, "deployment", first=_stopped)


@command("recordDeployment")
async def record_deployment(
    tx: Transaction,
    *,
    name: str,
    workspace: str = ontology.DEFAULT_WORKSPACE,
    environment: str | None = None,
    target: str | None = None,
    serves: Sequence[Served] = (),
    properties: Mapping[str, Any] = NOTHING,
    tags: Sequence[NamedValue] = (),
) -> str:
    """Record a deployment, with its first revision when it serves something.

    Environment and target are made when they are unknown. Raises InvalidArgument, NotFound (each naming
    the place in the input), AlreadyExists, PreconditionFailed (a version is retired).
    """
    draft = Draft(tx)
    props = settable(DEPLOYMENT, present(properties))
    id = draft.create(DEPLOYMENT, validation.name(name), workspace, props=props)
    for edge, text, field, kind in _places(environment, target):
        if text is not None:
            draft.link(edge, id, draft.want(text, field, kind, create=True))
    served = _served(draft, serves)
    await draft.find()
    _refuse_twice(served)
    refuse_retired(version for version, _ in served)
    if served:
        for version, weight in served:
            draft.link("SERVES", id, version, props=weight)
        _specify(draft, id, workspace, 1, served)
    owned(draft, id, tags=tags)
    await draft.save()
    return id


@command("updateDeployment")
async def update_deployment(
    tx: Transaction,
    *,
    address: str,
    properties: Mapping[str, Any] = NOTHING,
    revision: int | None = None,
    environment: str | Unset | None = UNSET,
    target: str | Unset | None = UNSET,
    serves: Sequence[Served] | Unset | None = UNSET,
) -> str:
    """Change a deployment. `serves` replaces all that it serves, and adds a revision if that is a change.

    None takes environment or target away. Raises NotFound, Conflict, InvalidArgument, PreconditionFailed (a
    version was retired; Lineal itself brings the deployment about: then only its properties can be changed so).
    """
    draft = Draft(tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    places = {
        edge: None if text is None else draft.want(text, field, kind, create=True)
        for edge, text, field, kind in _places(environment, target)
    }
    served = _served(draft, () if serves is UNSET or serves is None else serves)
    await draft.find()
    assert deployment.node is not None
    if deployment.node.props.get("managed") and not (serves is UNSET and environment is UNSET and target is UNSET):
        msg = f"deployment: {deployment.node.name!r} is brought about by Lineal; say what it serves with deploy"
        raise PreconditionFailed(msg, field="deployment")
    draft.set(deployment.id, settable(DEPLOYMENT, properties), revision=revision)
    for edge, place in places.items():
        await lead_to(draft, edge, deployment, {} if place is None else {place.id: {}})
    if serves is not UNSET:
        _refuse_twice(served)
        refuse_retired(version for version, _ in served)
        if await lead_to(draft, "SERVES", deployment, {version.id: props for version, props in served}):
            _specify(draft, deployment.id, deployment.workspace, await next_revision(draft, deployment), served)
    await draft.save()
    return deployment.id


def _places(environment: str | Unset | None, target: str | Unset | None) -> list[tuple[str, str | None, str, str]]:
    """Where it runs, as far as that is given: edge, address, field, kind."""
    given = (
        ("IN_ENVIRONMENT", environment, "environment", "Environment"),
        ("DEPLOYED_TO", target, "target", "ServingTarget"),
    )
    return [(edge, text, field, kind) for edge, text, field, kind in given if not isinstance(text, Unset)]


def _served(draft: Draft, serves: Sequence[Served]) -> list[tuple[Reference, dict[str, Any]]]:
    """Each version with the properties of its edge. Raises InvalidArgument: a share that cannot be."""
    if len(serves) > MAX_SERVED:
        raise LimitExceeded(f"serves: has {len(serves)} entries; at most {MAX_SERVED} are allowed", field="serves")
    served, total = [], 0.0
    for i, item in enumerate(serves):
        weight = item.get("weight")
        if weight is not None and not 0 <= weight <= 1:
            msg = f"serves[{i}].weight: must be from 0 to 1, not {weight!r}"
            raise InvalidArgument(msg, field=f"serves[{i}].weight")
        total += weight or 0
        version = draft.want(item["version"], f"serves[{i}].version", "ModelVersion")
        served.append((version, {} if weight is None else {"weight": float(weight)}))
    if total > 1 + ROUNDING:
        raise InvalidArgument(f"serves: the weights come to {total}; they are shares of 1", field="serves")
    return served


def _refuse_twice(served: Sequence[tuple[Reference, Mapping[str, Any]]]) -> None:
    seen: set[str] = set()
    for version, _ in served:
        if version.id in seen:
            msg = f"{version.field}: {str(version.address)!r} is served already, in an entry before"
            raise InvalidArgument(msg, field=version.field)
        seen.add(version.id)


def _specify(
    draft: Draft, deployment: str, workspace: str, number: int, served: Sequence[tuple[Reference, dict[str, Any]]]
) -> None:
    revision = draft.create(DEPLOYMENT_REVISION, str(number), workspace, container=deployment)
    for version, props in served:
        draft.link("SPECIFIES", revision, version, props=props)
