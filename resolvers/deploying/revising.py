"""A new revision of a deployment: what may be told, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from graph import ontology, validation
from graph.address import Address
from graph.ontology import DEPLOYMENT, DEPLOYMENT_EVENT, DEPLOYMENT_REVISION
from graph.port import EVERYTHING, Hop, Node, Paging, Transaction
from lineal.errors import InvalidArgument, LimitExceeded, LinealError, PreconditionFailed
from resolvers.deploying.plans import TARGET, Plan, platform_name
from resolvers.deploying.sources import FILES, Elsewhere, Share, refuse_unfit
from resolvers.lifecycle.findings import kept as kept_of
from resolvers.lifecycle.gates import pass_gate
from resolvers.lifecycle.standing import gated_environments
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.draft import Draft
from resolvers.writing.story import refuse_use
from serving.port import Desired
from serving.port import Served as ToServe

MAX_REASON: Final = 2_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a deployment is told: versions with their shares, in the order in which they were given, and how."""

    served: Sequence[Share]
    cause: str
    reason: str | None
    resources: Mapping[str, Any]
    settings: Mapping[str, Any]
    canary: int | None = None
    restores: int | None = None
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a use case: its transaction, whose it is, and the targets to wake once it is committed."""

    tx: Transaction
    op: Operation
    woken: list[str]


async def begin(
    call: Call, address: Address, told: Told, *, target: str, environment: str | None, props: Mapping[str, Any]
) -> str:
    """Make the deployment with its first revision."""
    workspace = address.workspace
    environment = None if environment is None else validation.plain_name(environment, field="environment")
    config = call.op.targets.config(target, workspace, environment)
    draft = Draft(call.tx)
    about = {"platform": config.platform, "uri": config.url, "managed": True}
    place = draft.known(ontology.SERVING_TARGET, target, workspace, "target", about)
    where = (
        None if environment is None else draft.known(ontology.ENVIRONMENT, environment, workspace, "environment", {})
    )
    await draft.find()
    managed = {"managed": True, "platformName": platform_name(workspace, address.name)}
    id = draft.create(DEPLOYMENT, address.name, workspace, props={**props, **managed})
    draft.link("DEPLOYED_TO", id, place)
    if where is not None:
        draft.link("IN_ENVIRONMENT", id, where)
    await draft.save()
    node = (await call.tx.lock([id]))[id]
    return await revise(call, node, told, None)


async def revise(call: Call, node: Node, told: Told, before: Plan | None) -> str:
    """Add a revision to what was told before, and leave the rest to the reconciler."""
    tx, op = call.tx, call.op
    node = (await tx.lock([node.id]))[node.id]
    target = await target_node(tx, node)
    environment = await _environment(tx, node)
    op.targets.config(target.name, node.workspace, environment)
    with _located(told):
        await _refuse_unfit(tx, told)
        op.targets.adapter(target.name).check(_desired(node, told))
        verdict = await _pass_gates(tx, node, environment, told, before)
    draft = Draft(tx)
    number = _add(draft, node, told, before, {"state": "PENDING", **verdict})
    draft.set(node.id, {"desiredRevision": number, "phase": "PENDING", "message": None})
    note_event(draft, node, "PENDING", number, told.reason)
    await draft.save()
    call.woken.append(target.name)
    return node.id


async def close(call: Call, plan: Plan, reason: str | None) -> str:
    """Stop a deployment. Where its target is not configured any more, that is only written down, and so it says."""
    tx, op, node = call.tx, call.op, plan.deployment
    target = await target_node(tx, node)
    props = plan.revision.props
    told = Told((), "STOP", reason, props.get("resources", {}), props.get("settings", {}))
    draft = Draft(tx)
    if op.targets.acts_on(target.name, node.workspace):
        number = _add(draft, node, told, plan, {"state": "PENDING"})
        phase, message = "PENDING", None
        call.woken.append(target.name)
    else:
        phase, message = "STOPPED", f"the target {target.name!r} is not configured here: nobody told it to stop serving"
        number = _add(draft, node, told, plan, {"state": "FAILED", "message": message})
        draft.end("SERVES", node.id)
    draft.set(node.id, {"desiredRevision": number, "phase": phase, "message": message})
    note_event(draft, node, phase, number, message or reason)
    await draft.save()
    return node.id


def _add(draft: Draft, node: Node, told: Told, before: Plan | None, props: Mapping[str, Any]) -> int:
    """Add the revision itself, in the place of one that is under way; its number."""
    if told.reason is not None and len(told.reason) > MAX_REASON:
        msg = f"reason: has {len(told.reason)} characters; at most {MAX_REASON:,} are allowed"
        raise LimitExceeded(msg, field="reason")
    if before is not None and before.revision.props.get("state") in {"PENDING", "ROLLING_OUT"}:
        draft.set(before.revision.id, {"state": "REPLACED"})
    number = int(node.props.get("desiredRevision", 0)) + 1
    facts = {
        "cause": told.cause,
        "reason": told.reason,
        "resources": dict(told.resources) or None,
        "settings": dict(told.settings) or None,
        "canary": told.canary,
        "restores": told.restores if told.cause == "ROLL_BACK" else None,
        **props,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    revision = draft.create(DEPLOYMENT_REVISION, str(number), node.workspace, container=node.id, props=known)
    for each in told.served:
        draft.link("SPECIFIES", revision, each.version.id, props=each.props)
    return number


@contextmanager
def _located(told: Told) -> Iterator[None]:
    """Refusals name a version by its place in what is told: of what was not given as a list, by what was given."""
    try:
        yield
    except LinealError as error:
        field = error.field or ""
        if told.cause == "DEPLOY" or not field.startswith("serves"):
            raise
        tried = told.cause == "CANARY"
        given = "weight" if tried and field.endswith("weight") else "version" if tried else "deployment"
        message = f"{given}: {error.message.removeprefix(f'{field}: ')}"
        raise type(error)(message, field=given, **error.details) from None


def note_event(draft: Draft, deployment: Node, phase: str, revision: int, message: str | None, **more: Any) -> None:
    """Record that a deployment came to a phase."""
    props = {"phase": phase, "revisionNumber": revision, "message": message, **more}
    known = {name: value for name, value in props.items() if value is not None}
    event = draft.create(DEPLOYMENT_EVENT, None, deployment.workspace, container=deployment.id, props=known)
    draft.link("EVENT_OF", event, deployment.id)


def _desired(node: Node, told: Told) -> Desired:
    """As the adapter checks it, which looks at no files."""
    served = tuple(ToServe(each.number, each.weight or 0.0, Elsewhere()) for each in told.served)
    return Desired(str(node.props["platformName"]), 1, served, told.resources, told.settings)


async def _environment(tx: Transaction, node: Node) -> str | None:
    page = (await tx.neighbours([node.id], Hop("IN_ENVIRONMENT", "OUT"), paging=Paging(first=1)))[node.id]
    return page.items[0].node.name if page.items else None


async def _refuse_unfit(tx: Transaction, told: Told) -> None:
    """Raises PreconditionFailed: a version that nobody may serve, or versions of several models."""
    versions = [each.version for each in told.served]
    models = {version.container for version in versions}
    if len(models) > 1:
        msg = "serves: the versions are of several models; one deployment serves versions of one"
        raise PreconditionFailed(msg, field="serves")
    links = await all_links(tx, [version.id for version in versions], FILES)
    for i, version in enumerate(versions):
        field = f"serves[{i}].version"
        if version.props.get("state", "READY") != "READY":
            raise PreconditionFailed(f"{field}: it is {version.props['state']}, not READY", field=field)
        refuse_use(version, field)
        refuse_unfit(version, links.get(version.id, ()), field)


async def _pass_gates(
    tx: Transaction, node: Node, environment: str | None, told: Told, before: Plan | None
) -> dict[str, Any]:
    """What the environment's gates say of the versions, to be kept with the revision. Raises what `pass_gate` raises.

    What was let through before is not asked for again; of what is restored only marks on its data are, which may have
    come since.
    """
    if environment is None:
        if told.cause != "ROLL_BACK":
            await _refuse_nowhere(tx, node, told)
        return {}
    kept: dict[str, Any] = {}
    for i, each in enumerate(told.served):
        if before is not None and _let_through(each, told, before):
            continue
        verdict = await pass_gate(
            tx,
            each.version,
            environment=environment,
            workspace=node.workspace,
            override=told.override,
            field=f"serves[{i}].version",
            again=told.cause == "ROLL_BACK",
        )
        for name, value in kept_of(verdict).items():
            if name == "verdict":
                kept.setdefault(name, {})[each.version.id] = value
            else:
                kept[name] = value
    return kept


def _let_through(share: Share, told: Told, before: Plan) -> bool:
    """Whether just this is served: the version with its files, resources and settings, and no canary that gets more."""
    now = before.revision.props
    same = (now.get("resources", {}), now.get("settings", {})) == (dict(told.resources), dict(told.settings))
    if now.get("state") != "VERIFIED" or not same:
        return False
    tried = now.get("canary")
    return any(
        (present.digest, present.uri) == (share.digest, share.uri)
        and (present.number != tried or (share.weight or 0.0) <= (present.weight or 0.0))
        for present in before.versions
        if present.version.id == share.version.id
    )


async def _refuse_nowhere(tx: Transaction, node: Node, told: Told) -> None:
    """Raises InvalidArgument: it belongs to no environment, and some are guarded where it or a version of it is."""
    for workspace in sorted({node.workspace, *(each.version.workspace for each in told.served)}):
        if gated := await gated_environments(tx.seeing(EVERYTHING), workspace):
            names = ", ".join(repr(name) for name in gated)
            msg = (
                f"environment: the deployment {node.name!r} belongs to none, and in the workspace {workspace!r} there "
                f"are gates before {names}; deploy under a new name, and say which one it belongs to"
            )
            raise InvalidArgument(msg, field="environment")


async def target_node(tx: Transaction, node: Node) -> Node:
    """The serving target of a deployment."""
    page = (await tx.neighbours([node.id], TARGET, paging=Paging(first=1)))[node.id]
    return page.items[0].node
