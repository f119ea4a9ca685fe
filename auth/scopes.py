"""The one table of scopes.

`@requiresScopes` in the SDL, `scopes_supported` in the protected-resource metadata, the kinds that a view
shows and a write may touch, and the table in docs/access.md all derive from it. GraphQL fields are named
by their schema coordinates, as `Type.field`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from auth.caller import ADMIN, Caller
from graph import ontology

SCOPES: Final[Mapping[str, str]] = {
    "model:read": "Read models, versions, experiments, runs, pipelines, evaluations and code revisions.",
    "dataset:read": "Read data sets, their versions and fields.",
    "deployment:read": "Read deployments, their revisions, environments and serving targets.",
    "workspace:read": "Read workspaces, teams and principals.",
    "artifact:read": "Read what is known of files, and their bytes.",
    "lineage:read": "Walk lineage: lineage, paths, upstream, downstream.",
    "metrics:read": "Read metrics and their series, and filter or order by them.",
    "activity:read": "Read changes, comments, the activity feed and one's notifications.",
    "audit:read": "Read the audit of workspaces that one owns.",
    "schema:read": "Read the schema by introspection.",
    "monitor:read": "Read the metrics of the server itself.",
    "model:write": "Write models, versions, experiments, runs, pipelines, evaluations.",
    "dataset:write": "Write data sets, their versions and fields.",
    "artifact:write": "Write what is known of files, and send their bytes.",
    "deployment:write": "Write deployments, environments and serving targets.",
    "lifecycle:approve": "Move versions between stages, and decide on approvals.",
    "lifecycle:override": "Let a version through although its gate says no.",
    "activity:write": "Comment, watch things, and mark notifications as read.",
    "workspace:admin": "Create and change workspaces, their members and what is shared with them.",
    "directory:write": "Provision principals and teams (SCIM 2.0).",
    "webhook:write": "Read and manage webhooks, and what became of their deliveries.",
    ADMIN: "Everything, in every workspace.",
}
"""Every scope, and what it opens."""

WRITTEN_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("Model", "ModelVersion", "Experiment", "Run", "Pipeline", "RunFacets", "Evaluation", "CodeRevision"),
        ("model:write",),
    ),
    **dict.fromkeys(("Dataset", "DatasetVersion", "Field", "DatasetFacets"), ("dataset:write",)),
    **dict.fromkeys(
        ("Deployment", "DeploymentRevision", "DeploymentEvent", "Environment", "ServingTarget"), ("deployment:write",)
    ),
    "StageScheme": ("workspace:admin",),
    "Gate": ("workspace:admin",),
    "StageMove": ("model:write",),
    "Approval": ("lifecycle:approve", "model:write", "deployment:write"),
    "Validation": ("model:write",),
    "Mark": ("dataset:write",),
    "Artifact": ("artifact:write", "model:write", "dataset:write"),
    "Upload": ("artifact:write",),
    "Comment": ("activity:write",),
    "Notice": ("activity:write",),
    "Webhook": ("webhook:write",),
    "Workspace": ("workspace:admin",),
    "Principal": ("directory:write", "activity:write"),
    "Team": ("directory:write", "workspace:admin"),
}
"""The scopes that let a kind be written: any of them does."""


@lru_cache(1_024)
def readable_kinds(scopes: frozenset[str]) -> frozenset[str]:
    """The kinds that these scopes open for reading."""
    return frozenset(k.name for k in ontology.NODE_KINDS.values() if ADMIN in scopes or k.scope in scopes)


@lru_cache(1_024)
def writable_kinds(scopes: frozenset[str]) -> frozenset[str]:
    """The kinds that these scopes let be written."""
    return frozenset(kind for kind, any_of in WRITTEN_BY.items() if ADMIN in scopes or not scopes.isdisjoint(any_of))


# ── What a field needs ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Requirement:
    """What opens something: any one of these alternatives, each of them a set of scopes that are all needed.

    Without an alternative nothing but `admin` opens it. As a list it is what @requiresScopes takes.
    """

    alternatives: frozenset[frozenset[str]]

    def __and__(self, other: Requirement) -> Requirement:
        """Both are needed. Alternatives that hold more than another one are left out."""
        pairs = {mine | theirs for mine in self.alternatives for theirs in other.alternatives}
        return Requirement(frozenset(pair for pair in pairs if not any(less < pair for less in pairs)))

    def __bool__(self) -> bool:
        """Whether anything is needed."""
        return frozenset() not in self.alternatives

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that it speaks of: whoever holds all of them fulfils it."""
        return frozenset().union(*self.alternatives)

    def lists(self) -> list[list[str]]:
        """The alternatives, the shortest first."""
        return sorted((sorted(each) for each in self.alternatives), key=lambda each: (len(each), each))

    def opened_by(self, caller: Caller) -> bool:
        """Whether the caller's scopes fulfil it."""
        return caller.admin or any(each <= caller.scopes for each in self.alternatives)

    def __str__(self) -> str:
        """The alternatives in words."""
        return " or ".join(" and ".join(each) for each in self.lists())


def needs(*scopes: str) -> Requirement:
    """All of these scopes are needed."""
    return Requirement(frozenset({frozenset(scopes)}))


OPEN: Final = needs()
"""Nothing is needed."""


def every(requirements: Iterable[Requirement]) -> Requirement:
    """All of these are needed."""
    result = OPEN
    for requirement in requirements:
        result &= requirement
    return result


def reading(kinds: Iterable[str]) -> Requirement:
    """What is needed to read all of these kinds."""
    return needs(*{ontology.NODE_KINDS[kind].scope for kind in kinds})


def writing(*kinds: str) -> Requirement:
    """What is needed to write one of these kinds: whoever writes must be able to read what they name."""
    return Requirement(
        frozenset(frozenset({ontology.NODE_KINDS[kind].scope, scope}) for kind in kinds for scope in WRITTEN_BY[kind])
    )


def _all(requirement: Requirement, names: str) -> dict[str, Requirement]:
    return {f"Mutation.{name}": requirement for name in names.split()}


_ANYTHING: Final = writing(*(kind for kind in WRITTEN_BY if kind not in {"Principal", "Team", "Comment"}))

FIELDS: Final[Mapping[str, Requirement]] = {
    **{f"{k.name}.{p.name}": needs(p.scope) for k in ontology.NODE_KINDS.values() for p in k.properties if p.scope},
    "Query.__schema": needs("schema:read"),
    "Query.__type": needs("schema:read"),
    "Query._service": needs("schema:read"),
    "Query.lineage": needs("lineage:read"),
    "Query.exportLineage": needs("lineage:read"),
    "Query.paths": needs("lineage:read"),
    "Query.compareVersions": needs("model:read"),
    "Query.checkGate": needs("model:read"),
    "GateCondition.figures": needs("metrics:read"),
    "VersionComparison.artifacts": needs("artifact:read"),
    "ComparedEvaluation.dataset": needs("dataset:read"),
    "*.upstream": needs("lineage:read"),
    "*.downstream": needs("lineage:read"),
    "*.metrics": needs("metrics:read"),
    "Evaluation.slices": needs("metrics:read"),
    "Mark.affected": needs("lineage:read"),
    "Affected.lineage": needs("lineage:read"),
    "Query.marked": needs("dataset:read"),
    "*.markHistory": needs("dataset:read"),
    "Mark.moment": needs("dataset:read"),
    "MarkMoment.of": needs("dataset:read"),
    "*.history": needs("model:read"),
    "*.changes": needs("activity:read"),
    "Upload.missing": needs("artifact:write"),
    "Artifact.files": needs("artifact:read"),
    "Artifact.signatureBundle": needs("artifact:read"),
    "*.watchers": needs("activity:read"),
    "*.watches": needs("activity:read"),
    "Query.activity": needs("activity:read"),
    "Query.notifications": needs("activity:read"),
    "Query.sequence": needs("activity:read"),
    "Subscription.events": needs("activity:read"),
    "Query.audit": needs("audit:read"),
    "Webhook.deliveries": needs("webhook:write"),
    **_all(writing("Workspace"), "grantRole revokeRole"),
    **_all(writing("Model", "Dataset") & needs("workspace:read"), "shareWith unshare"),
    **_all(needs("workspace:read", "directory:write"), "registerPrincipal deactivatePrincipal reactivatePrincipal"),
    **_all(needs("workspace:read", "directory:write"), "setActsFor"),
    **_all(needs("workspace:read", "directory:write"), "createTeam renameTeam deleteTeam"),
    **_all(needs("workspace:read", "directory:write"), "addTeamMembers removeTeamMembers"),
    **_all(writing("Comment"), "addComment updateComment deleteComment"),
    **_all(needs("workspace:read", "activity:write"), "watch unwatch markNotificationsRead"),
    **_all(writing("Upload"), "registerArtifact beginUpload completeUpload abortUpload verifyArtifact attachSignature"),
    **_all(needs(ADMIN), "setQuota"),
    **_all(writing("Workspace"), "createWorkspace updateWorkspace deleteWorkspace"),
    **_all(writing("Model"), "registerModel updateModel renameModel deleteModel setAlias deleteAlias"),
    **_all(writing("ModelVersion"), "createModelVersion updateModelVersion deleteModelVersion enrichModelVersion"),
    **_all(writing("Dataset"), "registerDataset updateDataset renameDataset deleteDataset"),
    **_all(
        writing("DatasetVersion"),
        "registerDatasetVersion updateDatasetVersion renameDatasetVersion deleteDatasetVersion",
    ),
    **_all(writing("Field"), "registerFields updateField renameField deleteField"),
    **_all(writing("Experiment"), "createExperiment updateExperiment renameExperiment deleteExperiment"),
    **_all(writing("Pipeline"), "createPipeline updatePipeline renamePipeline deletePipeline"),
    **_all(writing("Run"), "recordRun updateRun renameRun deleteRun logMetrics logParams"),
    **_all(writing("Evaluation"), "recordEvaluation updateEvaluation deleteEvaluation"),
    **_all(writing("Deployment") & needs("model:read"), "deploy canary promote rollBack stopDeployment"),
    **_all(writing("Validation") & needs("dataset:read"), "requestValidation leaseValidation reportValidation"),
    **_all(writing("Validation"), "heartbeatValidation cancelValidation"),
    **_all(writing("Mark"), "markDataset unmark"),
    **_all(writing("Model", "ModelVersion"), "deprecate undeprecate"),
    **_all(writing("Model") & needs("lifecycle:approve"), "retire"),
    **_all(writing("Deployment"), "recordDeployment updateDeployment renameDeployment deleteDeployment"),
    **_all(writing("Model") & needs("lifecycle:approve"), "setStage"),
    **_all(writing("StageScheme"), "declareStageScheme deleteStageScheme"),
    **_all(writing("Gate"), "declareGate updateGate deleteGate"),
    **_all(writing("Approval"), "requestApproval withdrawApproval"),
    **_all(needs("model:read", "lifecycle:approve"), "approve reject"),
    **_all(writing("Model", "ModelVersion"), "supersede"),
    **_all(writing("Webhook") & needs("activity:read"), "createWebhook updateWebhook"),
    **_all(writing("Webhook"), "deleteWebhook pauseWebhook resumeWebhook rotateWebhookSecret"),
    **_all(writing("Webhook"), "testWebhook replayDeliveries"),
    **_all(_ANYTHING, "setTags deleteTags setOwners recordLineage"),
}
"""What a field needs beside the read scopes of the kinds that it returns.

Of mutations of anything this is the least that is needed: the store refuses the kinds that the caller may not
write. `*` stands for any type.
"""

ROUTES: Final[Mapping[str, Requirement]] = {
    "GET /api/v1/events": needs("activity:read"),
    "POST /api/v1/lineage": writing("Run") & writing("DatasetVersion"),
    "POST /api/v1/lineage/batch": writing("Run") & writing("DatasetVersion"),
}
"""What a route of another face needs, by its method and path."""

MLFLOW: Final[Mapping[str, Requirement]] = {
    "registered-models/create": writing("Model"),
    "registered-models/get": needs("model:read"),
    "registered-models/update": writing("Model"),
    "registered-models/rename": writing("Model"),
    "registered-models/delete": writing("Model"),
    "registered-models/search": needs("model:read"),
    "registered-models/get-latest-versions": needs("model:read"),
    "registered-models/set-tag": writing("Model"),
    "registered-models/delete-tag": writing("Model"),
    "registered-models/alias": needs("model:read"),
    "registered-models/alias (write)": writing("Model"),
    "model-versions/create": writing("ModelVersion"),
    "model-versions/get": needs("model:read"),
    "model-versions/update": writing("ModelVersion"),
    "model-versions/transition-stage": writing("Model") & needs("lifecycle:approve"),
    "model-versions/delete": writing("ModelVersion"),
    "model-versions/search": needs("model:read"),
    "model-versions/get-download-uri": needs("model:read"),
    "model-versions/get-artifact": needs("model:read", "artifact:read"),
    "model-versions/set-tag": writing("ModelVersion"),
    "model-versions/delete-tag": writing("ModelVersion"),
    "artifacts": needs("artifact:read"),
    "artifacts (write)": writing("Upload"),
    "webhooks": writing("Webhook"),
    "server-info": OPEN,
}
"""What the endpoints of MLflow's registry need; one that reads and writes by its method has two lines."""

INPUTS: Final[Mapping[str, Requirement]] = {
    "*Order.metric": needs("metrics:read"),
    "*Filter.owner": needs("workspace:read"),
    "*Filter.hasLiveDeployment": needs("deployment:read"),
    "*Filter.alias": needs("model:read"),
    "*Filter.stage": needs("model:read"),
    "*Filter.workspace": OPEN,
    "ModelVersionFilter.framework": OPEN,
    "CreateModelVersionInput.stage": needs("lifecycle:approve"),
    "SetStageInput.override": needs("lifecycle:override"),
    "SetAliasInput.override": needs("lifecycle:override", "lifecycle:approve"),
}
"""What an input's field needs when it is given; other fields of filters need what the field of their name needs.

The name of a workspace is open: it is part of every address.
"""

OPEN_TYPES: Final = frozenset(
    {
        *("Viewer", "ViewerRole", "Notification", "AuditEntry", "Event"),
        *("PageInfo", "Tag", "Param", "Metric", "MetricPoint", "EvaluationSlice", "Change", "Moment", "KindCount"),
        *("Lineage", "LineageNode", "LineageEdge", "LineagePath", "LineageHop", "Paths", "LineageExport"),
        *("GateVerdict", "GateCondition", "GateFigure"),
        *("VersionComparison", "ComparedParam", "ComparedMetric", "ComparedArtifact", "ComparedInput"),
        *("MarkMoment", "Affected"),
        *("ArtifactFile", "MissingFile", "SendRequest", "Header"),
        *("ComparedInputs", "ComparedEvaluation", "ComparedEvaluationMetric", "MetricDelta"),
        *("Delivery", "DeliveryTry", "_Service"),
    }
)
"""Types whose plain fields are as open as what led to them; so are those of kinds, payloads, pages and connections."""

OPEN_FIELDS: Final = frozenset(
    {
        *("Query.node", "Query.nodes", "Query.search", "Query.viewer", "Query._entities"),
        "Metric.series",
        *("Lineage.roots", "LineageNode.node", "ComparedInput.container", "ComparedInputs.nodes"),
        *("GateCondition.nodes", "Event.node"),
        *("*Payload.node", "*Payload.nodes"),
    }
)
"""Fields that are open although they give more than a plain value.

Where they give nodes of several kinds, the store shows those of the kinds that the caller may read.
"""
