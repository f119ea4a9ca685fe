"""Data sets, their versions and their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from graph import validation
from graph.address import Address
from graph.ids import new_id
from graph.ontology import DATASET, DATASET_VERSION, FIELD
from graph.port import Hop, Order, Paging, Transaction
from lineal.errors import AlreadyExists, InvalidArgument
from resolvers.writing.command import batch_command, command
from resolvers.writing.common import NOTHING, ArtifactFile, FieldParent, NamedValue, Parent, present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import deleting
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.nodes import registering, renaming, updating
from resolvers.writing.story import derived, files, made_by, owned

MAX_FIELDS = 10_000

register_dataset = registering("registerDataset", DATASET)
update_dataset = updating("updateDataset", DATASET, "dataset")
rename_dataset = renaming("renameDataset", DATASET, "dataset")
delete_dataset = deleting("deleteDataset", DATASET, "dataset")
update_dataset_version = updating("updateDatasetVersion", DATASET_VERSION, "version")
rename_dataset_version = renaming("renameDatasetVersion", DATASET_VERSION, "version")
delete_dataset_version = deleting("deleteDatasetVersion", DATASET_VERSION, "version")
update_field = updating("updateField", FIELD, "field")
rename_field = renaming("renameField", FIELD, "field")
delete_field = deleting("deleteField", FIELD, "field")


class NewField(TypedDict):
    """A field to register, with the fields that it was derived from."""

    name: str
    type: NotRequired[str | None]
    ordinal: NotRequired[int | None]
    description: NotRequired[str | None]
    attributes: NotRequired[Mapping[str, Any] | None]
    derivedFrom: NotRequired[Sequence[FieldParent]]


@command("registerDatasetVersion")
async def register_dataset_version(
    tx: Transaction,
    *,
    dataset: str,
    name: str,
    create_dataset: bool = False,
    properties: Mapping[str, Any] = NOTHING,
    run: str | None = None,
    parents: Sequence[Parent] = (),
    tags: Sequence[NamedValue] = (),
    artifacts: Sequence[ArtifactFile] = (),
) -> str:
    """Register a version of a data set, with the run that made it and the versions that it was made from.

    Raises InvalidArgument, NotFound (each naming the place in the input), AlreadyExists, PreconditionFailed.
    """
    draft = Draft(tx)
    version = new_id(DATASET_VERSION.prefix)
    props = settable(DATASET_VERSION, present(properties))
    owner = draft.want(dataset, "dataset", "Dataset", create=create_dataset)
    made_by(draft, version, run)
    derived(draft, version, DATASET_VERSION, parents)
    await draft.find()
    files(draft, version, artifacts, owner.workspace)
    await draft.find()
    name = validation.name(name)
    draft.create(DATASET_VERSION, name, owner.workspace, container=owner.id, props=props, id=version)
    owned(draft, version, tags=tags)
    await draft.save()
    return version


@batch_command("registerFields")
async def register_fields(
    tx: Transaction, *, dataset: str, fields: Sequence[NewField], create_dataset: bool = False
) -> list[str]:
    """Register columns or features of a data set. Ordinals go on from the highest there is unless given.

    Raises InvalidArgument, NotFound, AlreadyExists (each naming the place in the input).
    """
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise InvalidArgument(f"fields: has {len(fields)} entries; 1 to {MAX_FIELDS} are allowed", field="fields")
    draft = Draft(tx)
    owner = draft.want(dataset, "dataset", "Dataset", create=create_dataset)
    ids = [new_id(FIELD.prefix) for _ in fields]
    for i, (id, item) in enumerate(zip(ids, fields, strict=True)):
        for j, parent in enumerate(item.get("derivedFrom", ())):
            source = draft.want(parent["field"], f"fields[{i}].derivedFrom[{j}].field", "Field")
            draft.link("DERIVED_FROM", id, source, parent.get("relation"))
    await draft.find()
    names = await _free_names(tx, owner, fields)
    ordinal = await _next_ordinal(tx, owner)
    for i, (id, item) in enumerate(zip(ids, fields, strict=True)):
        given = {n: v for n, v in item.items() if n not in {"name", "derivedFrom"}}
        props = settable(FIELD, present(given), f"fields[{i}]")
        ordinal = props.setdefault("ordinal", ordinal) + 1
        draft.create(FIELD, names[i], owner.workspace, container=owner.id, props=props, id=id)
    await draft.save()
    return ids


async def _free_names(tx: Transaction, dataset: Reference, fields: Sequence[NewField]) -> list[str]:
    """The fields' names. Raises AlreadyExists, InvalidArgument (one that comes twice)."""
    names = [validation.name(item["name"], field=f"fields[{i}].name") for i, item in enumerate(fields)]
    taken: dict[str, str] = {}
    if (place := dataset.node) is not None:
        found = await tx.resolve([Address("Field", place.workspace, place.name, name) for name in names])
        taken = {node.name: node.id for node in found if node is not None}
    seen: set[str] = set()
    for i, name in enumerate(names):
        at = f"fields[{i}].name"
        if name in taken:
            raise AlreadyExists(f"{at}: there is a field named {name!r} already", field=at, id=taken[name])
        if name in seen:
            raise InvalidArgument(f"{at}: {name!r} is given twice", field=at)
        seen.add(name)
    return names


async def _next_ordinal(tx: Transaction, dataset: Reference) -> int:
    if dataset.node is None:
        return 0
    hop = Hop("PART_OF", "IN", "Field")
    last = await tx.neighbours([dataset.id], hop, order=Order("ordinal", descending=True), paging=Paging(first=1))
    links = last[dataset.id].items
    return int(links[0].node.props.get("ordinal", -1)) + 1 if links else 0
