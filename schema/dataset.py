"""Dataset, DatasetVersion and Field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection, Page
from schema.declare import edge, noun, prop
from schema.marks import MarkMoment, mark_history
from schema.node import Node
from schema.scalars import BigInt, DateTime

if TYPE_CHECKING:
    from schema.artifact import Artifact
    from schema.evaluation import Evaluation
    from schema.facets import DatasetFacets
    from schema.lifecycle import Mark, Validation
    from schema.model import ModelVersion
    from schema.pipeline import Pipeline
    from schema.run import Run
    from schema.upload import Upload
    from schema.workspace import Workspace


@noun(ontology.DATASET)
class Dataset(Node):
    """A data set."""

    uri: str | None = prop()
    license: str | None = prop()
    versions: Connection[DatasetVersion] = edge(ontology.VERSION_OF, "IN", "Its versions.")
    fields: Connection[Field] = edge(ontology.PART_OF, "IN", "Its columns or features.")
    consumed_by: Connection[Pipeline] = edge(ontology.CONSUMES, "IN", "The pipelines that take data from it.")
    produced_by: Connection[Pipeline] = edge(ontology.PRODUCES, "IN", "The pipelines that put data into it.")
    same_as: Connection[Dataset] = edge(ontology.SAME_AS, "OUT", "Other names that it says it has.")
    known_as: Connection[Dataset] = edge(ontology.SAME_AS, "IN", "Data sets that say it is another name of theirs.")
    open_lineage: DatasetFacets | None = edge(
        ontology.FACETS_OF, "IN", "What producers of OpenLineage said of it, facet by facet."
    )
    marks: Connection[Mark] = edge(ontology.MARKS, "IN", "The marks that are on it.")
    mark_history: Page[MarkMoment] | None = mark_history()
    shared_with: Connection[Workspace] = edge(ontology.SHARED_WITH, "OUT", "The other workspaces that may read it.")


@noun(ontology.DATASET_VERSION)
class DatasetVersion(Node):
    """A version of a data set."""

    uri: str | None = prop()
    digest: str | None = prop()
    row_count: BigInt | None = prop()
    size_bytes: BigInt | None = prop()
    made_at: DateTime | None = prop()
    dataset: Dataset | None = edge(ontology.VERSION_OF, "OUT", "The data set that it is a version of.")
    run: Run | None = edge(ontology.PRODUCED_BY, "OUT", "The run that made it.")
    derived_from: Connection[DatasetVersion] = edge(
        ontology.DERIVED_FROM, "OUT", "The versions that it was made from; how is the edge's discriminator."
    )
    derivatives: Connection[DatasetVersion] = edge(
        ontology.DERIVED_FROM, "IN", "The versions made from it; how is the edge's discriminator."
    )
    trained_versions: Connection[ModelVersion] = edge(
        ontology.TRAINED_ON, "IN", "The model versions that learned from it, as far as no run is known."
    )
    read_by: Connection[Run] = edge(ontology.READ, "IN", "The runs that read it; the role is the edge's discriminator.")
    evaluations: Connection[Evaluation] = edge(ontology.EVALUATED_ON, "IN", "The evaluations that measured on it.")
    validations: Connection[Validation] = edge(ontology.VALIDATES, "IN", "The validations on it.")
    marks: Connection[Mark] = edge(ontology.MARKS, "IN", "The marks that are on it.")
    mark_history: Page[MarkMoment] | None = mark_history()
    uploads: Connection[Upload] = edge(ontology.UPLOAD_TO, "IN", "Files on their way to it.")
    artifacts: Connection[Artifact] = edge(
        ontology.HAS_ARTIFACT, "OUT", "Its files; the name is the edge's discriminator."
    )


@noun(ontology.FIELD)
class Field(Node):
    """A column or feature."""

    type: str | None = prop()
    ordinal: int | None = prop()
    dataset: Dataset | None = edge(ontology.PART_OF, "OUT", "The data set that it is a field of.")
    derived_from: Connection[Field] = edge(
        ontology.DERIVED_FROM, "OUT", "The fields that it was made from; how is the edge's discriminator."
    )
    derivatives: Connection[Field] = edge(
        ontology.DERIVED_FROM, "IN", "The fields made from it; how is the edge's discriminator."
    )
    used_by: Connection[ModelVersion] = edge(ontology.USES, "IN", "The model versions that take it as input.")
    read_by: Connection[Run] = edge(ontology.READ, "IN", "The runs that read it; the role is the edge's discriminator.")
