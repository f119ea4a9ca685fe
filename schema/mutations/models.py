"""Mutations of models and their versions."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.tracking import asking
from resolvers.writing import models, versions
from schema.model import Model, ModelVersion
from schema.mutations.declare import WORKSPACE_DOC, Noun, deletes, does, key, many, may, need, renames, takes, updates
from schema.mutations.inputs import (
    ArtifactInput,
    CodeInput,
    MetricInput,
    ParamInput,
    ParentInput,
    TagInput,
    TrainingDataInput,
)

MODEL: Final = Noun(ontology.MODEL, Model, "model", "model", "models:/name")
VERSION: Final = Noun(
    ontology.MODEL_VERSION, ModelVersion, "version", "model version", "models:/name/3 or models:/name@champion"
)


@takes("A model to register.", ontology.MODEL)
class RegisterModelInput:
    name: str = need("Its name, unique among the models of the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    tags: list[TagInput] = many("Its tags.")
    idempotency_key: str | None = key()


@takes("A model version, with all that is known of where it came from.", ontology.MODEL_VERSION)
class CreateModelVersionInput:
    model: strawberry.ID = need("Its model: an id, or an address such as models:/name.")
    create_model: bool = may("Register the model if it is not known.", False)
    run: strawberry.ID | None = may("The run that made it: an id, or an address such as runs:/name.")
    inputs: list[TrainingDataInput] = many(
        "The data it learned from. With a run this becomes what the run read (READ), without one what the version was "
        "trained on (TRAINED_ON)."
    )
    parents: list[ParentInput] = many("The model versions that it was made from.")
    uses: list[strawberry.ID] = many("The fields it takes as features: ids, or addresses such as fields:/dataset/name.")
    code: CodeInput | None = may("The commit that it was built from.")
    params: list[ParamInput] = many("Its parameters.")
    metrics: list[MetricInput] = many("Its metrics.")
    tags: list[TagInput] = many("Its tags.")
    aliases: list[str] = many("Aliases of the model that point to it from now on.")
    stage: str | None = may("The stage that it is in, one of the model's stage scheme, whatever the case.")
    reason: str | None = may("Why it comes to its stage and gets its aliases, for the history.")
    artifacts: list[ArtifactInput] = many("Its files.")
    idempotency_key: str | None = key()


@takes("A model version to look up in the tracking servers of its workspace.")
class EnrichModelVersionInput:
    address: strawberry.ID = VERSION.address
    run_id: str | None = may("The id of the run that made it, where it does not say so itself.", None)
    logged_model: str | None = may("The id of the logged model that it is made of, likewise.", None)


@strawberry.type(description="Mutations of models and their versions.")
class ModelMutations:
    register_model = does(models.register_model, RegisterModelInput, "Registers a model.", MODEL.answer)
    update_model = updates(models.update_model, MODEL)
    rename_model = renames(models.rename_model, MODEL)
    delete_model = deletes(models.delete_model, MODEL, "versions")
    create_model_version = does(
        versions.create_model_version,
        CreateModelVersionInput,
        "Registers a version of a model under the next number, with its whole story, in one transaction.",
        VERSION.answer,
    )
    enrich_model_version = does(
        asking.enrich_model_version,
        EnrichModelVersionInput,
        "Has a version looked up in the tracking servers of its workspace once more, soon; `enrichment` says how far "
        "that is.",
        VERSION.answer,
    )
    update_model_version = updates(versions.update_model_version, VERSION)
    delete_model_version = deletes(versions.delete_model_version, VERSION)
