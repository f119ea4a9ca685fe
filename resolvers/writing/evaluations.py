"""Evaluations: metrics of a model version on a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph import validation
from graph.ids import new_id
from graph.ontology import EVALUATION
from graph.port import Transaction
from resolvers.lifecycle.evaluating import Slice, measured, with_report
from resolvers.writing.command import command
from resolvers.writing.common import NOTHING, ArtifactFile, MetricPoint, NamedValue, Report, present
from resolvers.writing.common import properties as settable
from resolvers.writing.deleting import deleting
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import updating
from resolvers.writing.story import files, made_by, owned

update_evaluation = updating("updateEvaluation", EVALUATION, "evaluation")
delete_evaluation = deleting("deleteEvaluation", EVALUATION, "evaluation")


@command("recordEvaluation")
async def record_evaluation(
    tx: Transaction,
    *,
    version: str,
    name: str | None = None,
    dataset: str | None = None,
    create_dataset: bool = False,
    run: str | None = None,
    properties: Mapping[str, Any] = NOTHING,
    metrics: Sequence[MetricPoint] = (),
    slices: Sequence[Slice] = (),
    params: Sequence[NamedValue] = (),
    tags: Sequence[NamedValue] = (),
    artifacts: Sequence[ArtifactFile] = (),
    report: Report | None = None,
) -> str:
    """Record what a model version came to on a data set. It lives in the version's workspace.

    Its name is its own id unless given. `report` becomes its artifact of that name. Raises InvalidArgument, NotFound
    (each naming the place in the input), AlreadyExists.
    """
    draft = Draft(tx)
    evaluation = new_id(EVALUATION.prefix)
    props = settable(EVALUATION, present(properties))
    of = draft.want(version, "version", "ModelVersion")
    draft.link("EVALUATES", evaluation, of)
    if dataset is not None:
        on = draft.want(dataset, "dataset", "DatasetVersion", create=create_dataset)
        draft.link("EVALUATED_ON", evaluation, on)
    made_by(draft, evaluation, run)
    await draft.find()
    files(draft, evaluation, with_report(artifacts, report), of.workspace)
    await draft.find()
    name = None if name is None else validation.name(name)
    draft.create(EVALUATION, name, of.workspace, props=props, id=evaluation)
    owned(draft, evaluation, tags=tags, params=params, metrics=measured(metrics, slices))
    await draft.save()
    return evaluation
