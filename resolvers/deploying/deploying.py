"""Deploying: what a deployment shall serve from now on. Each call adds a revision, which never changes afterwards.

Nothing here talks to a platform: the reconciler does, and the caller never waits for one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Concatenate, Final, Generic, ParamSpec

from graph import ontology, validation
from graph.address import Address
from graph.ontology import DEPLOYMENT, MODEL_VERSION
from graph.port import Hop, Node, Order, Paging, Prop, Transaction
from lineal.errors import InvalidArgument, LimitExceeded, NotFound, PreconditionFailed
from resolvers.deploying.plans import REVISIONS, SPECIFIED, Plan, plans_of
from resolvers.deploying.revising import Call, Told, begin, close, revise, target_node
from resolvers.deploying.sources import Share, by_version, is_whole, with_files
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.command import Command
from resolvers.writing.common import Served
from resolvers.writing.draft import Draft, Reference
from serving.port import ROUNDING

P = ParamSpec("P")

MAX_SERVED: Final = 10
"""Versions that one deployment may be told to serve at a time."""
CANARY: Final = 0.1
"""The share of a canary, on platforms that split traffic."""


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

    Shares come to 1; a single version has all. Resources and settings that are None stay as they were told last. Raises
    InvalidArgument, NotFound, PreconditionFailed (a version that is not fit to be served, a gate that says no, another
    target than before, a name that another deployment had before), Conflict.
    """
    tx = call.tx
    for field, given in (("resources", resources), ("settings", settings)):
        if given is not None and not isinstance(given, Mapping):
            raise InvalidArgument(f"{field}: must be an object of them by name, not {given!r:.80}", field=field)
    draft = Draft(tx)
    wanted = [draft.want(each["version"], f"serves[{i}].version", MODEL_VERSION.name) for i, each in enumerate(serves)]
    await draft.find()
    served = await with_files(tx, _shares(wanted, [each.get("weight") for each in serves]))
    address = Address(DEPLOYMENT.name, workspace, validation.name(name))
    (found,) = await tx.resolve([address])
    props = {
        **({} if drift_policy is None else {"driftPolicy": drift_policy}),
        **({} if progress_seconds is None else {"progressSeconds": progress_seconds}),
    }
    if found is None:
        if target is None:
            raise InvalidArgument(f"target: the deployment {name!r} is new; say where it shall run", field="target")
        told = Told(served, "DEPLOY", reason, resources or {}, settings or {}, override=override)
        return await begin(call, address, told, target=target, environment=environment, props=props)
    if found.name != address.name:
        # Its platform still knows it by what is made of that name, so no other deployment can begin under it.
        msg = (
            f"name: {name!r} is what the deployment {found.name!r} was called before; deploy as {found.name!r} to "
            "replace what it serves, or under a name that none had"
        )
        raise PreconditionFailed(msg, field="name")
    before, now = await _present(tx, found.id)
    await _refuse_elsewhere(tx, found, target, environment)
    told = Told(
        served,
        "DEPLOY",
        reason,
        now.resources if resources is None else resources,
        now.settings if settings is None else settings,
        override=override,
    )
    if props:
        draft.set(found.id, props)
        await draft.save()
    return await revise(call, before.deployment, told, before)


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
    before, told = await _present(call.tx, deployment.id)
    node = before.deployment
    assert beside.node is not None
    number = int(beside.node.props["number"])
    mains = [each for each in told.served if each.number != told.canary]
    if any(main.version.id == beside.id for main in mains):
        raise InvalidArgument(f"version: {version!r} is served already; a canary is another version", field="version")
    if len(mains) != 1 or (len(told.served) > 1 and told.canary != number):
        n = len(told.served)
        msg = f"deployment: {node.name!r} serves {n} versions; a canary goes beside one: promote or roll back first"
        raise PreconditionFailed(msg, field="deployment")
    splits = call.op.targets.adapter((await target_node(call.tx, node)).name).splits
    share = (CANARY if splits else 0.0) if weight is None else weight
    if not 0 <= share < 1:
        raise InvalidArgument(f"weight: must be from 0 up to but not 1, not {share!r}", field="weight")
    tried = [each for each in told.served if each.version.id == beside.id] or await with_files(
        call.tx, [Share(beside.node, share)]
    )
    served = [replace(mains[0], weight=1 - share), replace(tried[0], weight=share)]
    return await revise(
        call,
        node,
        Told(served, "CANARY", reason, told.resources, told.settings, canary=number, override=override),
        before,
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
    before, told = await _present(call.tx, deployment.id)
    node = before.deployment
    tried = [each for each in told.served if each.number == told.canary]
    if not tried:
        msg = f"deployment: {node.name!r} has no canary to promote; it serves {len(told.served)} version(s)"
        raise PreconditionFailed(msg, field="deployment")
    served = [replace(tried[0], weight=1.0)]
    promoted = Told(served, "PROMOTE", reason, told.resources, told.settings, override=override)
    return await revise(call, node, promoted, before)


@deploying("rollBack")
async def roll_back(
    call: Call, *, address: str, to: int | None = None, reason: str | None = None, override: str | None = None
) -> str:
    """Have served again what was: the last revision before this that was seen to be served as told, or the one named.

    A canary is gone back to only where it is named. Gates are asked about marks on its data alone: it was let through
    before, and an incident does not wait. Raises NotFound, PreconditionFailed (there is none, a version of it was
    retired, or came from what was marked since), InvalidArgument.
    """
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    await draft.find()
    before, told = await _present(call.tx, deployment.id)
    node = before.deployment
    revision, served = await _restorable(call.tx, node, to, told)
    return await revise(
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
            override=override,
        ),
        before,
    )


@deploying("stopDeployment")
async def stop_deployment(call: Call, *, address: str, reason: str | None = None) -> str:
    """Have nothing served any more; `deploy` or `rollBack` begins again.

    Where the target is not configured any more, it is STOPPED at once, and says that nobody told its platform. Raises
    NotFound, PreconditionFailed, LimitExceeded.
    """
    draft = Draft(call.tx)
    deployment = draft.want(address, "deployment", DEPLOYMENT.name)
    await draft.find()
    before, _ = await _present(call.tx, deployment.id)
    return await close(call, before, reason)


# ── What is there ─────────────────────────────────────────────────────────────────────────────────


async def _present(tx: Transaction, id: str) -> tuple[Plan, Told]:
    """The deployment, locked, and what it was told last. Raises PreconditionFailed: Lineal does not bring it about."""
    node = (await tx.lock([id]))[id]
    _refuse_unmanaged(node)
    (plan,) = await plans_of(tx, [node])
    props = plan.revision.props
    return plan, Told(
        plan.versions,
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


async def _restorable(tx: Transaction, node: Node, to: int | None, now: Told) -> tuple[Node, Sequence[Share]]:
    """The revision to go back to, with its versions. Raises NotFound, PreconditionFailed.

    Unless one is named it is the last good one that tells something else, and no canary, which was a trial; after a
    rollback, one that is older still.
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
        served = [Share.of(link) for link in specified.get(revision.id, ())]
        good = revision.props.get("verifiedAt") is not None and is_whole(served)
        if to is not None and not good:
            msg = (
                f"to: revision {to} of {node.name!r} cannot be served again: it was never seen to be served as told, "
                "serves nothing, or a version of it was deleted"
            )
            raise PreconditionFailed(msg, field="to")
        props = revision.props
        tells = _spec(served, props.get("resources", {}), props.get("settings", {}))
        if good and (to is not None or ("canary" not in props and tells != told)):
            return revision, served
    msg = f"deployment: {node.name!r} has no earlier revision that was seen to be served as told"
    raise PreconditionFailed(msg, field="deployment")


def _spec(served: Sequence[Share], resources: Mapping[str, Any], settings: Mapping[str, Any]) -> object:
    """What a revision tells, to be compared."""
    return by_version(served), dict(resources), dict(settings)


def _shares(wanted: Sequence[Reference], weights: Sequence[float | None]) -> list[Share]:
    """Each version with its share. Raises InvalidArgument, LimitExceeded."""
    if not wanted:
        raise InvalidArgument("serves: names no version; to have nothing served, stop the deployment", field="serves")
    if len(wanted) > MAX_SERVED:
        raise LimitExceeded(f"serves: has {len(wanted)} entries; at most {MAX_SERVED} are allowed", field="serves")
    served: dict[str, Share] = {}
    total = 0.0
    for i, (reference, weight) in enumerate(zip(wanted, weights, strict=True)):
        assert reference.node is not None
        if reference.id in served:
            msg = f"{reference.field}: {str(reference.address)!r} is served already, in an entry before"
            raise InvalidArgument(msg, field=reference.field)
        share = (1.0 if len(wanted) == 1 else None) if weight is None else float(weight)
        if share is None or not 0 <= share <= 1:
            msg = f"serves[{i}].weight: must be from 0 to 1, not {weight!r}"
            raise InvalidArgument(msg, field=f"serves[{i}].weight")
        served[reference.id] = Share(reference.node, share)
        total += share
    if abs(total - 1) > ROUNDING:
        raise InvalidArgument(f"serves: the weights come to {total}; they are shares of 1", field="serves")
    return list(served.values())
