"""Writing what a webhook told: nodes that are missing are made, what is there stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graph.address import Address
from graph.ontology import CODE_REVISION, DATASET, DATASET_VERSION, MODEL, MODEL_VERSION, RUN, NodeKind
from graph.port import All, Paging, Prop, Row, Transaction
from resolvers.inbound.told import Told
from resolvers.operation import Operation
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.meanwhile import again_if_made_meanwhile
from resolvers.writing.refusing import refuse_retired_readers
from resolvers.writing.story import next_version

ACTION: Final = "recordWebhook"


async def record(op: Operation, workspace: str, told: Told) -> None:
    """Record it. The same again changes nothing. Raises NotFound (no such workspace), InvalidArgument,
    PreconditionFailed (a new version, by a run that read what is retired).
    """

    async def work(tx: Transaction) -> None:
        await (_model if told.kind == MODEL.name else _dataset)(tx, workspace, told)

    await again_if_made_meanwhile(lambda: op.write(work, ACTION))


async def _model(tx: Transaction, workspace: str, told: Told) -> None:
    draft = Draft(tx)
    model = draft.known(MODEL, told.name, workspace, "name", {})
    made_by = [(edge, draft.known(kind, name, workspace, edge, {})) for edge, kind, name in _origins(told)]
    data = [_unversioned(draft, workspace, name) for name in told.trained_on]
    await draft.find()
    if told.version:
        version = await _known(tx, model, told)
        if version is None:
            runs = {ref.id: "run" for edge, ref in made_by if edge == "PRODUCED_BY" and ref.node is not None}
            await refuse_retired_readers(tx, runs)
            number = await next_version(draft, model)
            properties = {"state": "READY", **told.properties}
            version = draft.create(MODEL_VERSION, str(number), model.workspace, container=model.id, props=properties)
            draft.own(version, tags={told.identity: told.version, **told.first, **told.tags})
            for edge, origin in made_by:
                draft.link(edge, version, origin)
            for each in data:
                draft.link("TRAINED_ON", version, each)
        else:
            # What only a new version leads to is not made for one that is there.
            draft = Draft(tx)
            await _mark(draft, version, told)
    await draft.save()


async def _dataset(tx: Transaction, workspace: str, told: Told) -> None:
    draft = Draft(tx)
    data = draft.known(DATASET, told.name, workspace, "name", {})
    await draft.find()
    if told.version:
        known = await _known(tx, data, told)
        if known is None:
            known = await _new_data(draft, workspace, told)
        if known is not None:
            draft = Draft(tx)
            await _mark(draft, known, told)
    await draft.save()


async def _new_data(draft: Draft, workspace: str, told: Told) -> str | None:
    """Have the version of a data set made; one that is there by all its names already is not, and is returned."""
    address = Address(DATASET_VERSION.name, workspace, told.name, told.part)
    if (await draft.tx.resolve([address]))[0] is not None:
        # So the version of another project is called.
        address = replace(address, part=told.version)
    version = draft.expect(
        Reference("version", address, (DATASET_VERSION.name,), True, True, props={"uri": told.properties["uri"]})
    )
    runs = [draft.known(RUN, told.run, workspace, "run", {})] if told.run else []
    await draft.find()
    if version.node is not None:
        return version.id
    draft.own(version.id, tags={told.identity: told.version, **told.first, **told.tags})
    for run in runs:
        draft.link("PRODUCED_BY", version, run)
    return None


def _origins(told: Told) -> list[tuple[str, NodeKind, str]]:
    found: list[tuple[str, NodeKind, str]] = []
    if told.run:
        found.append(("PRODUCED_BY", RUN, told.run))
    if told.repository:
        found.append(("BUILT_FROM", CODE_REVISION, f"{told.repository}@{told.version}"))
    return found


def _unversioned(draft: Draft, workspace: str, name: str) -> Reference:
    """A data set as a whole, made where it is not known."""
    address = Address(DATASET.name, workspace, name)
    return draft.expect(Reference("trained_on", address, (DATASET_VERSION.name,), True, True))


async def _known(tx: Transaction, of: Reference, told: Told) -> str | None:
    """The version of a model or a data set that is the one there, by its id here; None where there is none."""
    if of.node is None:
        return None
    # Under the lock of what it is of nobody else makes it meanwhile.
    await tx.lock([of.id])
    where = All((Prop("container", "eq", of.id), Row("tags", told.identity, "eq", told.version)))
    found = (await tx.find(f"{told.kind}Version", where, paging=Paging(1))).items
    return found[0].id if found else None


async def _mark(draft: Draft, version: str, told: Told) -> None:
    """Set those tags that are not as they were told."""
    there = (await draft.tx.rows([version], "tags", list(told.tags))).get(version, {}) if told.tags else {}
    draft.own(version, tags={name: value for name, value in told.tags.items() if there.get(name) != value})
