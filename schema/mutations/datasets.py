"""Mutations of data sets, their versions and their fields."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.writing import datasets
from schema.dataset import Dataset, DatasetVersion, Field
from schema.mutations.declare import (
    WORKSPACE_DOC,
    Answer,
    Noun,
    deletes,
    does,
    key,
    many,
    may,
    need,
    renames,
    takes,
    updates,
)
from schema.mutations.inputs import ArtifactInput, FieldParentInput, ParentInput, TagInput

DATASET: Final = Noun(ontology.DATASET, Dataset, "dataset", "data set", "datasets:/name")
VERSION: Final = Noun(ontology.DATASET_VERSION, DatasetVersion, "version", "data-set version", "datasets:/name/v2")
FIELD: Final = Noun(ontology.FIELD, Field, "field", "field", "fields:/dataset/name")

_DATASET: Final = "The data set: an id, or an address such as datasets:/name."
_CREATE: Final = "Register the data set if it is not known."


@takes("A data set to register.", ontology.DATASET)
class RegisterDatasetInput:
    name: str = need("Its name, unique among the data sets of the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    tags: list[TagInput] = many("Its tags.")
    idempotency_key: str | None = key()


@takes("A version of a data set, with where it came from.", ontology.DATASET_VERSION)
class RegisterDatasetVersionInput:
    dataset: strawberry.ID = need(_DATASET)
    create_dataset: bool = may(_CREATE, False)
    name: str = need("The version's name, unique in the data set: v2, 2026-01-31, a commit, …")
    run: strawberry.ID | None = may("The run that made it: an id, or an address such as runs:/name.")
    parents: list[ParentInput] = many("The data-set versions that it was made from.")
    tags: list[TagInput] = many("Its tags.")
    artifacts: list[ArtifactInput] = many("Its files.")
    idempotency_key: str | None = key()


@takes("A column or feature to register.", ontology.FIELD, flat=True)
class FieldInput:
    name: str = need("Its name, unique in the data set.")
    derived_from: list[FieldParentInput] = many("The fields that it was made from.")


@takes("Columns or features of a data set to register.")
class RegisterFieldsInput:
    dataset: strawberry.ID = need(_DATASET)
    create_dataset: bool = may(_CREATE, False)
    fields: list[FieldInput] = need(
        f"The fields, 1 to {datasets.MAX_FIELDS}. Without ordinals they go on from the highest there is."
    )
    idempotency_key: str | None = key()


@strawberry.type(description="Mutations of data sets, their versions and their fields.")
class DatasetMutations:
    register_dataset = does(datasets.register_dataset, RegisterDatasetInput, "Registers a data set.", DATASET.answer)
    update_dataset = updates(datasets.update_dataset, DATASET)
    rename_dataset = renames(datasets.rename_dataset, DATASET)
    delete_dataset = deletes(datasets.delete_dataset, DATASET, "versions and fields")
    register_dataset_version = does(
        datasets.register_dataset_version,
        RegisterDatasetVersionInput,
        "Registers a version of a data set, with what it was made from, in one transaction.",
        VERSION.answer,
    )
    update_dataset_version = updates(datasets.update_dataset_version, VERSION)
    rename_dataset_version = renames(datasets.rename_dataset_version, VERSION)
    delete_dataset_version = deletes(datasets.delete_dataset_version, VERSION)
    register_fields = does(
        datasets.register_fields,
        RegisterFieldsInput,
        "Registers columns or features of a data set, all or none.",
        Answer("fields", list[Field], "The fields, in the order they were given."),
    )
    update_field = updates(datasets.update_field, FIELD)
    rename_field = renames(datasets.rename_field, FIELD)
    delete_field = deletes(datasets.delete_field, FIELD)
