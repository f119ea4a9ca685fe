"""What several mutations take: tags, parameters, metrics, inputs, parents, code, artifacts."""

from __future__ import annotations

from typing import Final

import strawberry

from graph.ontology import ARTIFACT, CODE_REVISION
from schema.mutations.declare import may, need, takes
from schema.scalars import BigInt, DateTime, MetricValue

ADDRESS_DOC: Final = "an id, or an address such as"


@takes("A tag.")
class TagInput:
    name: str = need("Its name, 1 to 250 characters.")
    value: str = need("Its value.")


@takes("A parameter.")
class ParamInput:
    name: str = need("Its name, 1 to 250 characters.")
    value: str = need("Its value, as text.")


@takes("A value of a metric.")
class MetricInput:
    name: str = need("The metric's name, 1 to 250 characters.")
    value: MetricValue = need("The value.")
    step: BigInt | None = may("The step that it belongs to; 0 unless given.")
    time: DateTime | None = may("When it was measured; now unless given.")


@takes("A data set that a model version learned from.")
class TrainingDataInput:
    dataset: strawberry.ID = need(
        f"The data set or a version of it: {ADDRESS_DOC} datasets:/name or datasets:/name/v2. A data set named "
        "without a "
        "version means its version “unversioned”."
    )
    role: str | None = may("What for: train, validation, … It becomes the role of READ, or the split of TRAINED_ON.")
    create: bool = may("Register it if it is not known.", False)


@takes("Something that a run read.")
class RunReadInput:
    address: strawberry.ID = need(
        f"A data set, a version of one, a model version or a field: {ADDRESS_DOC} datasets:/name/v2 or models:/name/3."
    )
    role: str | None = may("What for: train, validation, base, … It becomes the role of READ.")
    create: bool = may("Register it if it is not known; model versions are never made so.", False)


@takes("A data set that a run made.")
class RunOutputInput:
    dataset: strawberry.ID = need(f"The data set or a version of it: {ADDRESS_DOC} datasets:/name/v2.")
    create: bool = may("Register it if it is not known.", False)


@takes("What a version was made from.")
class ParentInput:
    version: strawberry.ID = need(
        f"A version of the same kind of thing: {ADDRESS_DOC} models:/name/3 or datasets:/name/v2."
    )
    relation: str | None = may(
        "How: finetune, adapter, merge, quantized, copy, … It becomes the relation of DERIVED_FROM."
    )


@takes("What a field was made from.")
class FieldParentInput:
    field: strawberry.ID = need(f"Another field: {ADDRESS_DOC} fields:/dataset/name.")
    relation: str | None = may("How: copy, sum, normalised, … It becomes the relation of DERIVED_FROM.")


@takes("A commit of a repository. The same repository and commit is the same code revision.")
class CodeInput:
    repository: str = need(CODE_REVISION.by_name["repository"].doc)
    commit: str = need(CODE_REVISION.by_name["commit"].doc)
    branch: str | None = may(CODE_REVISION.by_name["branch"].doc)
    path: str | None = may(CODE_REVISION.by_name["path"].doc)


@takes("Files. The same digest, or without one the same uri, is the same artifact; one of them is needed.")
class ArtifactInput:
    name: str = need("Its name among the artifacts of its owner.")
    uri: str | None = may(ARTIFACT.by_name["uri"].doc)
    digest: str | None = may(ARTIFACT.by_name["digest"].doc)
    size_bytes: BigInt | None = may(ARTIFACT.by_name["sizeBytes"].doc)
    media_type: str | None = may(ARTIFACT.by_name["mediaType"].doc)


@takes("A model version that a deployment serves.")
class ServedInput:
    version: strawberry.ID = need(f"The model version: {ADDRESS_DOC} models:/name/3 or models:/name@champion.")
    weight: float | None = may("Its share of the traffic, from 0 to 1.")


@takes("Metrics of one part of the data.")
class SliceInput:
    name: str = need("Which part, as in country=DE: printable characters without { and }.")
    metrics: list[MetricInput] = need("Its metrics.")


@takes("The report of an evaluation. The same digest, or without one the same uri, is the same artifact.")
class ReportInput:
    uri: str | None = may(ARTIFACT.by_name["uri"].doc)
    digest: str | None = may(ARTIFACT.by_name["digest"].doc)
    size_bytes: BigInt | None = may(ARTIFACT.by_name["sizeBytes"].doc)
    media_type: str | None = may(ARTIFACT.by_name["mediaType"].doc)
