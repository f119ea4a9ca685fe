"""Deploying: what a deployment shall serve from now on. Each call adds a revision, which never changes afterwards.

Nothing here talks to a platform: the reconciler does, and the caller never waits for one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, Generic, ParamSpec

from graph import ontology, validation
from graph.address import Address
from graph.ontology import DEPLOYMENT, DEPLOYMENT_EVENT, DEPLOYMENT_REVISION, MODEL_VERSION
from graph.port import Hop, Node, Order, Paging, Prop, Transaction
from lineal.errors import InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.deploying.plans import (
    REVISIONS,
    SPECIFIED,
    TARGET,
    plans_of,
    platform_name,
    weight_of,
)
from resolvers.deploying.sources import FILES, NoFiles, refuse_unfit
from resolvers.lifecycle.findings import kept as kept_of
from resolvers.lifecycle.gates import pass_gate
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.command import Command
from resolvers.writing.common import Served
from resolvers.writing.draft import Draft, Reference
from serving.port import ROUNDING, Desired
from serving.port import Served as ToServe

P = ParamSpec("P")

MAX_SERVED: Final = 10
"""Versions that one deployment may be told to serve at a time."""
MAX_REASON: Final = 2_000
CANARY: Final = 0.1
"""The share of a canary, on platforms that split traffic."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a deployment is told: versions with their shares, the main one first, and how."""

    served: Sequence[tuple[Node, float]]
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


class Deploying(Generic[P]):
    """A use case that needs the targets of this process, and wakes their reconciler once it is done."""

    def __init__(self, action: str, body: Callable[Concatenate[Call, P], Awaitable[str]]) -> None:
        self.action = action
        self._body = body
        self.__doc__ = body.__doc__

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> Node | None:
        """As Command.once."""
        woken: list[str] = []

        async def body(tx: Transaction, /, *args: P.args, **kwargs: P.kwargs) -> str:
            return await self._body(Call(tx, op, woken), *args, **kwargs)

        node = await Command(self.action, body).once(op, key, *args, **kwargs)
        for name in woken:
            op.targets.wake(name)
        return node


def deploying(action: str) -> Callable[[Callable[Concatenate[Call, P], Awaitable[str]]], Deploying[P]]:
    """Make a function of a call that returns an id into a use case. `action` is what its Change says."""
    return lambda body: Deploying(action, body)


@deploying("deploy")
async def deploy(
    call: Call,
    *,
    name: str,
    serves: Sequence[Served],
    workspace: str = ontology.DEFAULT_WORKSPACE,
    target: str | None = None,
    environment: str | None = None,
    resources: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    drift_policy: str | None = None,
    progress_seconds: int | None = None,
    reason: str | None = None,
    override: str | None = None,
) -> str:
    """Have versions of one model served under a name, on a configured target; the deployment is made when it is new.

    Shares come to 1; a single version has all. Raises InvalidArgument, NotFound, PreconditionFailed (a version that is
    not fit to be served, a gate that says no, another target than before), Conflict.
    """
    tx = call.tx
    draft = Draft(tx)
    wanted = [draft.want(each["version"], f"serves[{i}].version", MODEL_VERSION.name) for i, each in enumerate(serves)]
    await draft.find()
    served = _shares(wanted, [each.get("weight") for each in serves])
    address = Address(DEPLOYMENT.name, workspace, validation.name(name))
    (found,) = await tx.resolve([address])
    props = {
        **({} if drift_policy is None else {"driftPolicy": drift_policy}),
        **({} if progress_seconds is None else {"progressSeconds": progress_seconds}),
    }
    told = Told(served, "DEPLOY", reason, resources or {}, settings or {}, override=override)
    if found is None:
        if target is None:
            raise InvalidArgument(f"target: the deployment {name!r} is new; say where it shall run", field="target")
        return await _begin(call, address, told, target=target, environment=environment, props=props)
    _refuse_unmanaged(found)
    await _refuse_elsewhere(tx, found, target, environment)
    if props:
        draft.set(found.id, props)
        await draft.save()
    return await _revise(call, found, told)


@deploying("canary")
async def canary(
    call: Call,
    *,
    address: str,
    version: str,
    weight: float | None = None,
    reason: str | None = None,
    override: str | None = None,
) -> str:
    """Have another version served beside the one that is, with a share of the requests.

    On a target that does not split traffic it is loaded beside the other one, and answers to its own number alone:
    its share is 0. Raises as `deploy`; PreconditionFailed too: nothing is served yet, or there is a canary already.
    """
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    beside = draft.want(version, "version", MODEL_VERSION.name)
    await draft.find()
    node, told = await _present(call.tx, deployment)
    assert beside.node is not None
    number = int(beside.node.props["number"])
    mains = [node for node, _ in told.served if int(node.props["number"]) != told.canary]
    if any(main.id == beside.id for main in mains):
        raise InvalidArgument(f"version: {version!r} is served already; a canary is another version", field="version")
    if len(mains) != 1 or (len(told.served) > 1 and told.canary != number):
        n = len(told.served)
        msg = f"deployment: {node.name!r} serves {n} versions; a canary goes beside one: promote or roll back first"
        raise PreconditionFailed(msg, field="deployment")
    splits = call.op.targets.adapter((await _target(call.tx, node)).name).splits
    share = (CANARY if splits else 0.0) if weight is None else weight
    if not 0 <= share < 1:
        raise InvalidArgument(f"weight: must be from 0 up to but not 1, not {share!r}", field="weight")
    served = [(mains[0], 1 - share), (beside.node, share)]
    return await _revise(
        call,
        node,
        Told(served, "CANARY", reason, told.resources, told.settings, canary=number, override=override),
    )


@deploying("promote")
async def promote(
    call: Call,
    *,
    address: str,
    reason: str | None = None,
    override: str | None = None,
) -> str:
    """Have the canary serve all requests, the other version none. Raises as `deploy`; PreconditionFailed: no canary."""
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    await draft.find()
    node, told = await _present(call.tx, deployment)
    tried = [node for node, _ in told.served if int(node.props["number"]) == told.canary]
    if not tried:
        msg = f"deployment: {node.name!r} has no canary to promote; it serves {len(told.served)} version(s)"
        raise PreconditionFailed(msg, field="deployment")
    return await _revise(
        call, node, Told([(tried[0], 1.0)], "PROMOTE", reason, told.resources, told.settings, override=override)
    )


@deploying("rollBack")
async def roll_back(call: Call, *, address: str, to: int | None = None, reason: str | None = None) -> str:
    """Have served again what was: the last revision before this that was seen to be served as told, or the one named.

    No gate is asked: it was let through before, and an incident does not wait. Raises NotFound, PreconditionFailed
    (there is none, or a version of it was retired), InvalidArgument.
    """
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    await draft.find()
    node, told = await _present(call.tx, deployment)
    revision, served = await _restorable(call.tx, node, to, told)
    return await _revise(
        call,
        node,
        Told(
            served,
            "ROLL_BACK",
            reason,
            revision.props.get("resources", {}),
            revision.props.get("settings", {}),
            canary=revision.props.get("canary"),
            restores=int(revision.props["number"]),
        ),
    )


@deploying("stopDeployment")
async def stop_deployment(call: Call, *, address: str, reason: str | None = None) -> str:
    """Have nothing served any more; `deploy` or `rollBack` begins again. Raises NotFound, PreconditionFailed."""
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    await draft.find()
    node, told = await _present(call.tx, deployment)
    return await _revise(call, node, Told((), "STOP", reason, told.resources, told.settings))


# ── What is there ─────────────────────────────────────────────────────────────────────────────────


async def _present(tx: Transaction, reference: Reference) -> tuple[Node, Told]:
    """The deployment, locked, and what it was told last, the version with the largest share first."""
    node = (await tx.lock([reference.id]))[reference.id]
    _refuse_unmanaged(node)
    (plan,) = await plans_of(tx, [node])
    served = sorted(plan.versions, key=lambda each: (-each[1], each[0].id))
    props = plan.revision.props
    return node, Told(
        served,
        str(props.get("cause", "")),
        None,
        props.get("resources", {}),
        props.get("settings", {}),
        props.get("canary"),
        props.get("restores"),
    )


def _refuse_unmanaged(node: Node) -> None:
    if not node.props.get("managed"):
        msg = (
            f"deployment: {node.name!r} was only recorded, Lineal does not bring it about; change it with "
            "updateDeployment, or deploy under another name"
        )
        raise PreconditionFailed(msg, field="deployment")


async def _target(tx: Transaction, node: Node) -> Node:
    page = (await tx.neighbours([node.id], TARGET, paging=Paging(first=1)))[node.id]
    return page.items[0].node


async def _refuse_elsewhere(tx: Transaction, node: Node, target: str | None, environment: str | None) -> None:
    """Raises PreconditionFailed: a deployment stays where it is."""
    given = (("target", target, "DEPLOYED_TO"), ("environment", environment, "IN_ENVIRONMENT"))
    for field, name, edge in given:
        if name is None:
            continue
        page = (await tx.neighbours([node.id], Hop(edge, "OUT"), paging=Paging(first=1)))[node.id]
        now = page.items[0].node.name if page.items else None
        if now != name:
            msg = f"{field}: {node.name!r} is at {now!r} and stays there; deploy under another name, and stop this one"
            raise PreconditionFailed(msg, field=field)


async def _restorable(
    tx: Transaction, node: Node, to: int | None, now: Told
) -> tuple[Node, Sequence[tuple[Node, float]]]:
    """The revision to go back to, with its versions. Raises NotFound, PreconditionFailed.

    Unless one is named it is the last good one that tells something else; after a rollback, one that is older still.
    """
    if to is not None:
        where = Prop("number", "eq", to)
    else:
        where = Prop("number", "lt", now.restores or int(node.props["desiredRevision"]))
    latest = Order("number", descending=True)
    page = (await tx.neighbours([node.id], REVISIONS, where, order=latest, paging=Paging(first=200)))[node.id]
    revisions = [link.node for link in page.items]
    if to is not None and not revisions:
        raise NotFound(f"to: {node.name!r} has no revision {to}", field="to")
    specified = await all_links(tx, [revision.id for revision in revisions], SPECIFIED)
    told = _spec(now.served, now.resources, now.settings)
    for revision in revisions:
        served = [(link.node, weight_of(link)) for link in specified.get(revision.id, ())]
        good = revision.props.get("verifiedAt") is not None and served
        if to is not None and not good:
            msg = f"to: revision {to} of {node.name!r} was never seen to be served as told"
            raise PreconditionFailed(msg, field="to")
        props = revision.props
        if good and (to is not None or _spec(served, props.get("resources", {}), props.get("settings", {})) != told):
            return revision, served
    msg = f"deployment: {node.name!r} has no earlier revision that was seen to be served as told"
    raise PreconditionFailed(msg, field="deployment")


def _spec(served: Sequence[tuple[Node, float]], resources: Mapping[str, Any], settings: Mapping[str, Any]) -> object:
    """What a revision tells, to be compared."""
    return sorted((version.id, weight) for version, weight in served), dict(resources), dict(settings)


def _shares(wanted: Sequence[Reference], weights: Sequence[float | None]) -> list[tuple[Node, float]]:
    """Each version with its share, the largest first. Raises InvalidArgument, LimitExceeded."""
    if not wanted:
        raise InvalidArgument("serves: names no version; to have nothing served, stop the deployment", field="serves")
    if len(wanted) > MAX_SERVED:
        raise LimitExceeded(f"serves: has {len(wanted)} entries; at most {MAX_SERVED} are allowed", field="serves")
    served: dict[str, tuple[Node, float]] = {}
    for i, (reference, weight) in enumerate(zip(wanted, weights, strict=True)):
        assert reference.node is not None
        if reference.id in served:
            msg = f"{reference.field}: {str(reference.address)!r} is served already, in an entry before"
            raise InvalidArgument(msg, field=reference.field)
        share = (1.0 if len(wanted) == 1 else None) if weight is None else float(weight)
        if share is None or not 0 <= share <= 1:
            msg = f"serves[{i}].weight: must be from 0 to 1, not {weight!r}"
            raise InvalidArgument(msg, field=f"serves[{i}].weight")
        served[reference.id] = (reference.node, share)
    total = sum(share for _, share in served.values())
    if abs(total - 1) > ROUNDING:
        raise InvalidArgument(f"serves: the weights come to {total}; they are shares of 1", field="serves")
    return sorted(served.values(), key=lambda each: -each[1])


# ── A new revision ────────────────────────────────────────────────────────────────────────────────


async def _begin(
    call: Call, address: Address, told: Told, *, target: str, environment: str | None, props: Mapping[str, Any]
) -> str:
    """Make the deployment with its first revision."""
    workspace = address.workspace
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
    return await _revise(call, node, told)


async def _revise(call: Call, node: Node, told: Told) -> str:
    """Add a revision, and leave the rest to the reconciler."""
    tx, op = call.tx, call.op
    if told.reason is not None and len(told.reason) > MAX_REASON:
        raise LimitExceeded(
            f"reason: has {len(told.reason)} characters; at most {MAX_REASON:,} are allowed", field="reason"
        )
    node = (await tx.lock([node.id]))[node.id]
    target = await _target(tx, node)
    environment = await _environment(tx, node)
    op.targets.config(target.name, node.workspace, environment)
    await _refuse_unfit(tx, told)
    op.targets.adapter(target.name).check(_desired(node, told))
    verdict = await _pass_gates(tx, node, environment, told)
    number = int(node.props.get("desiredRevision", 0)) + 1
    draft = Draft(tx)
    if number > 1:
        page = (await tx.neighbours([node.id], REVISIONS, Prop("number", "eq", number - 1)))[node.id]
        for link in page.items:
            if link.node.props.get("state") in {"PENDING", "ROLLING_OUT"}:
                draft.set(link.node.id, {"state": "REPLACED"})
    props = {
        "cause": told.cause,
        "state": "PENDING",
        "reason": told.reason,
        "resources": dict(told.resources) or None,
        "settings": dict(told.settings) or None,
        "canary": told.canary,
        "restores": told.restores if told.cause == "ROLL_BACK" else None,
        **verdict,
    }
    revision = draft.create(
        DEPLOYMENT_REVISION,
        str(number),
        node.workspace,
        container=node.id,
        props={name: value for name, value in props.items() if value is not None},
    )
    for version, weight in told.served:
        draft.link("SPECIFIES", revision, version.id, props={"weight": weight})
    draft.set(node.id, {"desiredRevision": number, "phase": "PENDING", "message": None})
    note_event(draft, node, "PENDING", number, told.reason)
    await draft.save()
    call.woken.append(target.name)
    return node.id


def note_event(draft: Draft, deployment: Node, phase: str, revision: int, message: str | None, **more: Any) -> None:
    """Record that a deployment came to a phase."""
    props = {"phase": phase, "revisionNumber": revision, "message": message, **more}
    known = {name: value for name, value in props.items() if value is not None}
    event = draft.create(DEPLOYMENT_EVENT, None, deployment.workspace, container=deployment.id, props=known)
    draft.link("EVENT_OF", event, deployment.id)


def _desired(node: Node, told: Told) -> Desired:
    """As the adapter checks it, which looks at no files."""
    served = tuple(ToServe(int(version.props["number"]), weight, NoFiles()) for version, weight in told.served)
    return Desired(str(node.props["platformName"]), 1, served, told.resources, told.settings)


async def _environment(tx: Transaction, node: Node) -> str | None:
    page = (await tx.neighbours([node.id], Hop("IN_ENVIRONMENT", "OUT"), paging=Paging(first=1)))[node.id]
    return page.items[0].node.name if page.items else None


async def _refuse_unfit(tx: Transaction, told: Told) -> None:
    """Raises PreconditionFailed: a version that nobody may serve, or versions of several models."""
    models = {version.container for version, _ in told.served}
    if len(models) > 1:
        msg = "serves: the versions are of several models; one deployment serves versions of one"
        raise PreconditionFailed(msg, field="serves")
    links = await all_links(tx, [version.id for version, _ in told.served], FILES)
    for i, (version, _) in enumerate(told.served):
        field = f"serves[{i}].version"
        if version.props.get("state", "READY") != "READY":
            raise PreconditionFailed(f"{field}: it is {version.props['state']}, not READY", field=field)
        if version.props.get("retiredAt") is not None:
            raise PreconditionFailed(f"{field}: it was retired, nothing may serve it any more", field=field)
        refuse_unfit(version, links.get(version.id, ()), field)


async def _pass_gates(tx: Transaction, node: Node, environment: str | None, told: Told) -> dict[str, Any]:
    """What the environment's gates say of the versions, to be kept with the revision. Raises what `pass_gate` raises.

    What has that share of the requests already, or is restored, was let through before, and is not asked for again.
    """
    if environment is None or told.cause == "ROLL_BACK":
        return {}
    kept: dict[str, Any] = {}
    present = {
        version.id: weight
        for plan in await plans_of(tx, [node])
        if plan.revision.props.get("state") == "VERIFIED"
        for version, weight in plan.versions
    }
    for i, (version, weight) in enumerate(told.served):
        if weight <= present.get(version.id, -1.0):
            continue
        verdict = await pass_gate(
            tx,
            version,
            environment=environment,
            workspace=node.workspace,
            override=told.override,
            field=f"serves[{i}].version",
        )
        for name, value in kept_of(verdict).items():
            if name == "verdict":
                kept.setdefault(name, {})[version.id] = value
            else:
                kept[name] = value
    return kept
