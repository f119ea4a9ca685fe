"""Which fields lead from one thing to others, over which edges."""

from __future__ import annotations

from typing import Final

Hop = tuple[str, str, str, str, str | None, tuple[str, ...]]
"""The kind, the field, the edges that it follows and their direction, the kind that it leads to (None: any), and the
scopes that it needs beside that of this kind."""

NESTED: Final[tuple[Hop, ...]] = (
    ("Model", "versions", "VERSION_OF", "IN", "ModelVersion", ()),
    ("Model", "supersededBy", "SUPERSEDED_BY", "OUT", "Model", ()),
    ("Model", "supersedes", "SUPERSEDED_BY", "IN", "Model", ()),
    ("Model", "aliases", "ALIAS", "OUT", "ModelVersion", ()),
    ("Model", "stages", "STAGE", "OUT", "ModelVersion", ()),
    ("Model", "sharedWith", "SHARED_WITH", "OUT", "Workspace", ()),
    ("ModelVersion", "derivedFrom", "DERIVED_FROM", "OUT", "ModelVersion", ()),
    ("ModelVersion", "derivatives", "DERIVED_FROM", "IN", "ModelVersion", ()),
    ("ModelVersion", "trainedOn", "TRAINED_ON", "OUT", "DatasetVersion", ()),
    ("ModelVersion", "uses", "USES", "OUT", "Field", ()),
    ("ModelVersion", "builtFrom", "BUILT_FROM", "OUT", "CodeRevision", ()),
    ("ModelVersion", "evaluations", "EVALUATES", "IN", "Evaluation", ()),
    ("ModelVersion", "readBy", "READ", "IN", "Run", ()),
    ("ModelVersion", "deployments", "SERVES", "IN", "Deployment", ()),
    ("ModelVersion", "revisions", "SPECIFIES", "IN", "DeploymentRevision", ()),
    ("ModelVersion", "artifacts", "HAS_ARTIFACT", "OUT", "Artifact", ()),
    ("ModelVersion", "supersededBy", "SUPERSEDED_BY", "OUT", "ModelVersion", ()),
    ("ModelVersion", "supersedes", "SUPERSEDED_BY", "IN", "ModelVersion", ()),
    ("Dataset", "versions", "VERSION_OF", "IN", "DatasetVersion", ()),
    ("Dataset", "fields", "PART_OF", "IN", "Field", ()),
    ("Dataset", "sharedWith", "SHARED_WITH", "OUT", "Workspace", ()),
    ("Run", "reads", "READ", "OUT", "DatasetVersion", ()),
    ("Run", "readsModels", "READ", "OUT", "ModelVersion", ()),
    ("Run", "modelVersions", "PRODUCED_BY", "IN", "ModelVersion", ()),
    ("Run", "children", "PART_OF", "IN", "Run", ()),
    ("Run", "readsFields", "READ", "OUT", "Field", ()),
    ("Run", "datasetVersions", "PRODUCED_BY", "IN", "DatasetVersion", ()),
    ("Run", "evaluations", "PRODUCED_BY", "IN", "Evaluation", ()),
    ("Run", "builtFrom", "BUILT_FROM", "OUT", "CodeRevision", ()),
    ("Run", "artifacts", "HAS_ARTIFACT", "OUT", "Artifact", ()),
    ("Deployment", "serves", "SERVES", "OUT", "ModelVersion", ()),
    ("Deployment", "revisions", "REVISION_OF", "IN", "DeploymentRevision", ()),
    ("Evaluation", "evaluates", "EVALUATES", "OUT", "ModelVersion", ()),
    ("Evaluation", "evaluatedOn", "EVALUATED_ON", "OUT", "DatasetVersion", ()),
    ("Evaluation", "artifacts", "HAS_ARTIFACT", "OUT", "Artifact", ()),
    ("Workspace", "members", "GRANTS", "OUT", None, ("workspace:read",)),
    ("Workspace", "shared", "SHARED_WITH", "IN", None, ()),
    ("Principal", "teams", "MEMBER_OF", "OUT", "Team", ()),
    ("Principal", "owns", "OWNED_BY", "IN", None, ()),
    ("Principal", "workspaces", "GRANTS", "IN", "Workspace", ()),
    ("Principal", "mentionedIn", "MENTIONS", "IN", "Comment", ()),
    ("Principal", "watches", "WATCHES", "OUT", None, ("activity:read",)),
    ("Team", "members", "MEMBER_OF", "IN", "Principal", ()),
    ("Team", "owns", "OWNED_BY", "IN", None, ()),
    ("Team", "workspaces", "GRANTS", "IN", "Workspace", ()),
    ("Team", "mentionedIn", "MENTIONS", "IN", "Comment", ()),
    ("Comment", "mentions", "MENTIONS", "OUT", None, ("workspace:read",)),
    ("Artifact", "modelVersions", "HAS_ARTIFACT", "IN", "ModelVersion", ()),
    ("Artifact", "datasetVersions", "HAS_ARTIFACT", "IN", "DatasetVersion", ()),
    ("Artifact", "runs", "HAS_ARTIFACT", "IN", "Run", ()),
    ("Artifact", "evaluations", "HAS_ARTIFACT", "IN", "Evaluation", ()),
    ("CodeRevision", "modelVersions", "BUILT_FROM", "IN", "ModelVersion", ()),
    ("CodeRevision", "runs", "BUILT_FROM", "IN", "Run", ()),
    ("DatasetVersion", "derivedFrom", "DERIVED_FROM", "OUT", "DatasetVersion", ()),
    ("DatasetVersion", "derivatives", "DERIVED_FROM", "IN", "DatasetVersion", ()),
    ("DatasetVersion", "trainedVersions", "TRAINED_ON", "IN", "ModelVersion", ()),
    ("DatasetVersion", "readBy", "READ", "IN", "Run", ()),
    ("DatasetVersion", "evaluations", "EVALUATED_ON", "IN", "Evaluation", ()),
    ("DatasetVersion", "artifacts", "HAS_ARTIFACT", "OUT", "Artifact", ()),
    ("Field", "derivedFrom", "DERIVED_FROM", "OUT", "Field", ()),
    ("Field", "derivatives", "DERIVED_FROM", "IN", "Field", ()),
    ("Field", "usedBy", "USES", "IN", "ModelVersion", ()),
    ("Field", "readBy", "READ", "IN", "Run", ()),
    ("DeploymentRevision", "specifies", "SPECIFIES", "OUT", "ModelVersion", ()),
    ("Environment", "deployments", "IN_ENVIRONMENT", "IN", "Deployment", ()),
    ("ServingTarget", "deployments", "DEPLOYED_TO", "IN", "Deployment", ()),
    ("Experiment", "runs", "PART_OF", "IN", "Run", ()),
    ("Pipeline", "runs", "RUN_OF", "IN", "Run", ()),
    ("Node", "owners", "OWNED_BY", "OUT", None, ("workspace:read",)),
    ("Node", "comments", "ABOUT", "IN", "Comment", ()),
    ("Node", "watchers", "WATCHES", "IN", "Principal", ("activity:read",)),
)
"""Fields that give lists."""

SINGLE: Final[tuple[Hop, ...]] = (
    ("DatasetVersion", "dataset", "VERSION_OF", "OUT", "Dataset", ()),
    ("DatasetVersion", "run", "PRODUCED_BY", "OUT", "Run", ()),
    ("Field", "dataset", "PART_OF", "OUT", "Dataset", ()),
    ("Deployment", "target", "DEPLOYED_TO", "OUT", "ServingTarget", ()),
    ("Deployment", "environment", "IN_ENVIRONMENT", "OUT", "Environment", ()),
    ("DeploymentRevision", "deployment", "REVISION_OF", "OUT", "Deployment", ()),
    ("Evaluation", "run", "PRODUCED_BY", "OUT", "Run", ()),
    ("ModelVersion", "model", "VERSION_OF", "OUT", "Model", ()),
    ("ModelVersion", "run", "PRODUCED_BY", "OUT", "Run", ()),
    ("Run", "experiment", "PART_OF", "OUT", "Experiment", ()),
    ("Run", "parent", "PART_OF", "OUT", "Run", ()),
    ("Run", "pipeline", "RUN_OF", "OUT", "Pipeline", ()),
)
"""Fields that give one thing."""

FILTERS: Final = tuple(hop for hop in (*NESTED, *SINGLE) if hop[0] != "Node" and hop[4])
"""Fields that filters have too, for conditions on what they lead to."""
