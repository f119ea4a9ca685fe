"""Mutations of experiments, pipelines, runs and evaluations."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.lifecycle.evaluating import MAX_SLICES
from resolvers.writing import evaluations, runs
from schema.evaluation import Evaluation
from schema.experiment import Experiment
from schema.mutations.declare import (
    REVISION_DOC,
    WORKSPACE_DOC,
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
from schema.mutations.inputs import (
    ArtifactInput,
    CodeInput,
    MetricInput,
    ParamInput,
    ReportInput,
    RunOutputInput,
    RunReadInput,
    SliceInput,
    TagInput,
)
from schema.pipeline import Pipeline
from schema.run import Run

EXPERIMENT: Final = Noun(ontology.EXPERIMENT, Experiment, "experiment", "experiment", "experiments:/name")
PIPELINE: Final = Noun(ontology.PIPELINE, Pipeline, "pipeline", "pipeline", "pipelines:/name")
RUN: Final = Noun(ontology.RUN, Run, "run", "run", "runs:/name")
EVALUATION: Final = Noun(ontology.EVALUATION, Evaluation, "evaluation", "evaluation", "evaluations:/name")


@takes("An experiment to create.", ontology.EXPERIMENT)
class CreateExperimentInput:
    name: str = need("Its name, unique among the experiments of the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    tags: list[TagInput] = many("Its tags.")
    idempotency_key: str | None = key()


@takes("A pipeline to create.", ontology.PIPELINE)
class CreatePipelineInput:
    name: str = need("Its name, unique among the pipelines of the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    tags: list[TagInput] = many("Its tags.")
    idempotency_key: str | None = key()


@takes(
    "A run, with what it read and made. With an end it is FINISHED unless a state is given; any other is "
    "RUNNING, since "
    "now unless a start is given.",
    ontology.RUN,
)
class RecordRunInput:
    name: str | None = may("Its name, unique among the runs of the workspace; its own id unless given.")
    workspace: str | None = may(f"{WORKSPACE_DOC} That of its experiment, pipeline or parent unless given.")
    experiment: strawberry.ID | None = may(
        "The experiment it belongs to: an id, or an address such as experiments:/name."
    )
    create_experiment: bool = may("Create the experiment if it is not known.", False)
    pipeline: strawberry.ID | None = may("The pipeline that it executes: an id, or an address such as pipelines:/name.")
    create_pipeline: bool = may("Create the pipeline if it is not known.", False)
    parent: strawberry.ID | None = may("The run that started it: an id, or an address such as runs:/name.")
    inputs: list[RunReadInput] = many("What it read.")
    outputs: list[RunOutputInput] = many("The data sets that it made. Model versions name their run themselves.")
    code: CodeInput | None = may("The commit that it ran.")
    params: list[ParamInput] = many("Its parameters.")
    metrics: list[MetricInput] = many("Its metrics.")
    tags: list[TagInput] = many("Its tags.")
    artifacts: list[ArtifactInput] = many("Its files.")
    idempotency_key: str | None = key()


@takes(
    "What to change in a run. What is not given stays; null takes away. A run that ends gets its end now unless one is "
    "given.",
    ontology.RUN,
)
class UpdateRunInput:
    address: strawberry.ID = RUN.address
    reopen: bool = may("Let a run that has begun or ended go back to an earlier state.", False)
    revision: int | None = may(REVISION_DOC)


@takes("Values of metrics to append to those of a run.")
class LogMetricsInput:
    address: strawberry.ID = RUN.address
    metrics: list[MetricInput] = need("The values, in any order.")
    idempotency_key: str | None = key()


@takes("Parameters to add to those of a run.")
class LogParamsInput:
    address: strawberry.ID = RUN.address
    params: list[ParamInput] = need("The parameters.")


@takes("What a model version came to on a data set.", ontology.EVALUATION)
class RecordEvaluationInput:
    version: strawberry.ID = need("Whose metrics these are: an id, or an address such as models:/name/3.")
    name: str | None = may(
        "Its name, unique among the evaluations of the version's workspace; its own id unless given."
    )
    dataset: strawberry.ID | None = may(
        "What it was measured on, a data set or a version of it: an id, or an address such as datasets:/name/v2."
    )
    create_dataset: bool = may("Register the data set if it is not known.", False)
    run: strawberry.ID | None = may("The run that measured it: an id, or an address such as runs:/name.")
    metrics: list[MetricInput] = many("Its metrics.")
    slices: list[SliceInput] = many(f"Its metrics on parts of the data, at most {MAX_SLICES} parts.")
    params: list[ParamInput] = many("Its parameters.")
    tags: list[TagInput] = many("Its tags.")
    artifacts: list[ArtifactInput] = many("Its files.")
    report: ReportInput | None = may("Its report; it becomes the artifact called report.")
    idempotency_key: str | None = key()


@strawberry.type(description="Mutations of experiments, pipelines, runs and evaluations.")
class RunMutations:
    create_experiment = does(runs.create_experiment, CreateExperimentInput, "Creates an experiment.", EXPERIMENT.answer)
    update_experiment = updates(runs.update_experiment, EXPERIMENT)
    rename_experiment = renames(runs.rename_experiment, EXPERIMENT)
    delete_experiment = deletes(runs.delete_experiment, EXPERIMENT, "runs")
    create_pipeline = does(runs.create_pipeline, CreatePipelineInput, "Creates a pipeline.", PIPELINE.answer)
    update_pipeline = updates(runs.update_pipeline, PIPELINE)
    rename_pipeline = renames(runs.rename_pipeline, PIPELINE)
    delete_pipeline = deletes(runs.delete_pipeline, PIPELINE, "runs, as far as they belong to no experiment")
    record_run = does(
        runs.record_run, RecordRunInput, "Records a run with its whole story, in one transaction.", RUN.answer
    )
    update_run = does(
        runs.update_run, UpdateRunInput, "Changes properties of a run: its state, as it goes on.", RUN.answer
    )
    rename_run = renames(runs.rename_run, RUN)
    delete_run = deletes(runs.delete_run, RUN)
    log_metrics = does(
        runs.log_metrics,
        LogMetricsInput,
        "Appends to the metrics of a run while it goes on; what arrives after its end is taken too.",
        RUN.answer,
    )
    log_params = does(
        runs.log_params,
        LogParamsInput,
        "Adds parameters to a run. One that has another value already is a CONFLICT.",
        RUN.answer,
    )
    record_evaluation = does(
        evaluations.record_evaluation,
        RecordEvaluationInput,
        "Records what a model version came to on a data set, in one transaction.",
        EVALUATION.answer,
    )
    update_evaluation = updates(evaluations.update_evaluation, EVALUATION)
    delete_evaluation = deletes(evaluations.delete_evaluation, EVALUATION)
