"""Model versions side by side, as GraphQL shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from resolvers.comparing import Compared, Comparison, Input, Measured, OwnMetric, compare_evaluations, deltas
from schema.context import Info
from schema.enums import EdgeKind
from schema.rows import Metric, Owned
from schema.scalars import MetricValue

if TYPE_CHECKING:
    from schema.artifact import Artifact
    from schema.dataset import DatasetVersion
    from schema.model import ModelVersion
    from schema.node import Node

_VALUES = "In the order of the versions; null where one has none."
_DELTAS = "How each differs from the first version's; null where one of the two has none."
_SAME = "Whether all versions have the same."


@strawberry.type(description="A parameter in each of the versions.")
class ComparedParam:
    """A row of parameters."""

    name: str = strawberry.field(description="The parameter's name.")
    values: list[str | None] = strawberry.field(description=f"Its values. {_VALUES}")
    same: bool = strawberry.field(description=_SAME)


def _metrics(root: Compared[OwnMetric]) -> Any:
    return [None if own is None else Owned(own.owner, own.metric) for own in root.values]


@strawberry.type(description="How a metric differs from that of the first version, the champion.")
class MetricDelta:
    """A difference."""

    absolute: MetricValue = strawberry.field(description="The value less the champion's.")
    relative: MetricValue | None = strawberry.field(
        description="The same as a share of the champion's, 0.1 for a tenth more; null where the champion's is zero or "
        "no finite number."
    )


def _deltas(root: Compared[OwnMetric] | Measured) -> Any:
    return deltas(root.values)


@strawberry.type(description="A metric in each of the versions.")
class ComparedMetric:
    """A row of metrics."""

    name: str = strawberry.field(description="The metric's name.")
    values: list[Metric | None] = strawberry.field(resolver=_metrics, description=f"The metrics. {_VALUES}")
    same: bool = strawberry.field(description="Whether the last value is the same in all versions.")
    deltas: list[MetricDelta | None] = strawberry.field(resolver=_deltas, description=_DELTAS)


def _measured(root: Measured) -> Any:
    return [None if own is None else Owned(own.owner, own.metric, root.name) for own in root.values]


@strawberry.type(description="A metric of evaluations on the same data, in each of the versions.")
class ComparedEvaluationMetric:
    """A row of metrics of evaluations."""

    name: str = strawberry.field(description="The metric's name.")
    slice: str | None = strawberry.field(description="The part of the data, as in country=DE; null for all of it.")
    values: list[Metric | None] = strawberry.field(resolver=_measured, description=f"The metrics. {_VALUES}")
    same: bool = strawberry.field(description="Whether the last value is the same in all versions.")
    deltas: list[MetricDelta | None] = strawberry.field(resolver=_deltas, description=_DELTAS)


@strawberry.type(description="What the versions came to on the same data.")
class ComparedEvaluation:
    """Evaluations on one data-set version."""

    dataset: Annotated[DatasetVersion, strawberry.lazy("schema.dataset")] | None = strawberry.field(
        description="The data-set version."
    )
    metrics: list[ComparedEvaluationMetric] | None = strawberry.field(
        description="Their metrics, by name and slice; of several evaluations the latest that has one."
    )


@strawberry.type(description="A file in each of the versions.")
class ComparedArtifact:
    """A row of artifacts."""

    name: str = strawberry.field(description="The file's name.")
    values: list[Annotated[Artifact, strawberry.lazy("schema.artifact")] | None] | None = strawberry.field(
        description=f"The files. {_VALUES}"
    )
    same: bool = strawberry.field(description="Whether the digest is the same in all versions.")


@strawberry.type(description="What went into one version.")
class ComparedInputs:
    """A cell of inputs."""

    nodes: list[Annotated[Node, strawberry.lazy("schema.node")]] = strawberry.field(
        description="The data-set versions, model versions or fields."
    )


def _inputs(root: Input) -> Any:
    return [ComparedInputs(nodes=list(nodes)) for nodes in root.nodes]  # type: ignore[arg-type]


@strawberry.type(description="What one data set or model gave to each of the versions, in one role.")
class ComparedInput:
    """A row of inputs."""

    edge: EdgeKind = strawberry.field(description="How it went in: READ by the run, TRAINED_ON, USES or DERIVED_FROM.")
    discriminator: str = strawberry.field(description="The role, split or relation; empty where there is none.")
    container: Annotated[Node, strawberry.lazy("schema.node")] = strawberry.field(description="The data set or model.")
    values: list[ComparedInputs] = strawberry.field(
        resolver=_inputs, description="What went in, in the order of the versions."
    )
    same: bool = strawberry.field(description=_SAME)


async def _evaluations(root: Comparison, info: Info) -> Any:
    return await compare_evaluations(info.context.op, root.versions)


@strawberry.type(description="Model versions side by side. What a version says itself overrides what its run says.")
class VersionComparison:
    """A comparison."""

    versions: list[Annotated[ModelVersion, strawberry.lazy("schema.model")]] | None = strawberry.field(
        description="The versions, in the order asked."
    )
    parameters: list[ComparedParam] = strawberry.field(description="Their parameters, by name.")
    metrics: list[ComparedMetric] | None = strawberry.field(description="Their metrics, by name.")
    evaluations: list[ComparedEvaluation] = strawberry.field(
        resolver=_evaluations,
        description="What they came to on each data-set version that one of them was evaluated on, champion and "
        "challengers side by side; of each its latest 500 evaluations.",
    )
    inputs: list[ComparedInput] = strawberry.field(description="What went into them.")
    artifacts: list[ComparedArtifact] | None = strawberry.field(description="Their files, by name.")
