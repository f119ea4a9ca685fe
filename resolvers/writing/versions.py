"""Model versions: the whole story of one, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from auth.roles import Role
from graph.ids import new_id
from graph.ontology import MODEL_VERSION
from graph.port import Node, Transaction, Update
from lineal.errors import PreconditionFailed
from resolvers.artifacts.losing import becomes_ready, is_lost, is_ready, refuse_lacking
from resolvers.lifecycle.moving import Mover, Wish
from resolvers.tracking.queueing import queued
from resolvers.writing.command import command
from resolvers.writing.common import (
    NOTHING,
    ArtifactFile,
    Code,
    Input,
    MetricPoint,
    NamedValue,
    Parent,
    new_alias,
    present,
)
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import deleting
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.nodes import find
from resolvers.writing.refusing import refuse_retired_readers
from resolvers.writing.story import built_from, derived, files, made_by, next_version, owned, refuse_retired


@command("updateModelVersion")
async def update_model_version(
    tx: Transaction, *, address: str, properties: Mapping[str, Any] = NOTHING, revision: int | None = None
) -> str:
    """Set these properties; None removes one. With `revision`, only if the version still has it.

    Raises NotFound, Conflict (names both revisions), InvalidArgument, PreconditionFailed (it cannot be READY: an
    upload of it is OPEN, or bytes of its artifacts were found wrong or gone).
    """
    id = await find(tx, address, "version", MODEL_VERSION.name)
    props = settable(MODEL_VERSION, properties)
    if "state" in props and becomes_ready((await tx.lock([id]))[id], props):
        await refuse_lacking(tx, {id: "state"})
        props["lostAt"] = None
    await tx.update([Update(id, props, revision=revision)])
    return id


async def _touch_model(tx: Transaction, version: Node) -> None:
    """What happens to its versions happens to a model."""
    await tx.update([Update(version.container, touch=True)])


delete_model_version = deleting("deleteModelVersion", MODEL_VERSION, "version", first=_touch_model)


def _needed(*, stage: str | None = None, **_: Any) -> Role:
    """Whoever puts a version into a stage approves it."""
    return Role.CONTRIBUTOR if stage is None else Role.APPROVER


@command("createModelVersion", needs=_needed)
async def create_model_version(
    tx: Transaction,
    *,
    model: str,
    create_model: bool = False,
    properties: Mapping[str, Any] = NOTHING,
    run: str | None = None,
    inputs: Sequence[Input] = (),
    parents: Sequence[Parent] = (),
    uses: Sequence[str] = (),
    code: Code | None = None,
    params: Sequence[NamedValue] = (),
    metrics: Sequence[MetricPoint] = (),
    tags: Sequence[NamedValue] = (),
    aliases: Sequence[str] = (),
    stage: str | None = None,
    reason: str | None = None,
    artifacts: Sequence[ArtifactFile] = (),
) -> str:
    """Register a version of a model, with the next number, and all that is known of where it came from.

    `inputs` become what the run read; without a run, what the version was trained on. `uses` are fields.
    `reason` is why it comes to its stage and gets its aliases. The state is READY unless given. With `runId` or
    `loggedModel` among its properties it is looked up in the tracking servers of its workspace, later. Raises
    InvalidArgument, NotFound (each naming the place in the input), AlreadyExists, PreconditionFailed (a cycle, a
    parent, or what the run read, that is retired, it is READY and bytes of its artifacts were found wrong or gone, or
    a gate of the stage or an alias says no).
    """
    draft = Draft(tx)
    version = new_id(MODEL_VERSION.prefix)
    props = {"state": "READY", **settable(MODEL_VERSION, present(properties))}
    props |= queued(props, tx.now)
    owner = draft.want(model, "model", "Model", create=create_model)
    maker = made_by(draft, version, run)
    _learned_from(draft, version, run, inputs)
    sources = derived(draft, version, MODEL_VERSION, parents)
    for i, field in enumerate(uses):
        draft.link("USES", version, draft.want(field, f"uses[{i}]", "Field"))
    await draft.find()
    refuse_retired(sources)
    await refuse_retired_readers(tx, {} if maker is None else {maker.id: "run"})
    built_from(draft, version, code, owner.workspace)
    told = files(draft, version, artifacts, owner.workspace)
    await draft.find()
    if is_ready(props):
        _refuse_lost(told)
    number = await next_version(draft, owner)
    draft.create(MODEL_VERSION, str(number), owner.workspace, container=owner.id, props=props, id=version)
    owned(draft, version, tags=tags, params=params, metrics=metrics)
    names = dict.fromkeys(new_alias(alias, f"aliases[{i}]") for i, alias in enumerate(aliases))
    await draft.save()
    if names or stage is not None:
        made = (await tx.nodes([version]))[version]
        wishes = [Wish(made, alias=name, field="aliases") for name in names]
        if stage is not None:
            wishes.append(Wish(made, stage))
        await Mover(tx, reason=reason)(wishes)
    return version


def _refuse_lost(artifacts: Sequence[Reference]) -> None:
    for artifact in artifacts:
        if artifact.node is not None and is_lost(artifact.node):
            msg = f"{artifact.field}: a version cannot be READY: bytes of {artifact.id} were found wrong or gone"
            raise PreconditionFailed(msg, field=artifact.field)


def _learned_from(draft: Draft, version: str, run: str | None, inputs: Sequence[Input]) -> None:
    reader = None if run is None else draft.want(run, "run", "Run")
    for i, item in enumerate(inputs):
        read = draft.want(item["dataset"], f"inputs[{i}].dataset", "DatasetVersion", create=item.get("create", False))
        if reader is None:
            draft.link("TRAINED_ON", version, read, item.get("role"))
        else:
            draft.link("READ", reader, read, item.get("role"))
