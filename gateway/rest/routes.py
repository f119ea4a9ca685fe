"""The table of routes: what GraphQL can do, as resources.

A line has a method, a path, the root field that it asks, and the status of its answer. `{model}` in a path is the
argument, or the field of the input, of that name; `{member=to}` is called `member` here and `to` there. What is in a
noun's lists is at `/nouns/{noun}/list`, derived from the noun's type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, get_named_type

PATH: Final = "/api/v1"

GET: Final = "GET"
POST: Final = "POST"
PUT: Final = "PUT"
PATCH: Final = "PATCH"
DELETE: Final = "DELETE"

CREATED: Final = 201
ACCEPTED: Final = 202

NOUNS: Final[Mapping[str, tuple[str, str, str]]] = {
    "workspaces": ("Workspace", "workspace", "workspaces"),
    "models": ("Model", "model", "models"),
    "model-versions": ("ModelVersion", "modelVersion", "modelVersions"),
    "datasets": ("Dataset", "dataset", "datasets"),
    "dataset-versions": ("DatasetVersion", "datasetVersion", "datasetVersions"),
    "fields": ("Field", "field", "fields"),
    "experiments": ("Experiment", "experiment", "experiments"),
    "runs": ("Run", "run", "runs"),
    "pipelines": ("Pipeline", "pipeline", "pipelines"),
    "evaluations": ("Evaluation", "evaluation", "evaluations"),
    "artifacts": ("Artifact", "artifact", "artifacts"),
    "uploads": ("Upload", "upload", "uploads"),
    "deployments": ("Deployment", "deployment", "deployments"),
    "environments": ("Environment", "", "environments"),
    "serving-targets": ("ServingTarget", "", "servingTargets"),
    "stage-schemes": ("StageScheme", "stageScheme", "stageSchemes"),
    "gates": ("Gate", "gate", "gates"),
    "approvals": ("Approval", "approval", "approvals"),
    "validations": ("Validation", "validation", "validations"),
    "marks": ("Mark", "mark", "marks"),
    "webhooks": ("Webhook", "webhook", "webhooks"),
    "principals": ("Principal", "principal", "principals"),
    "teams": ("Team", "team", "teams"),
}
"""The collections, each with the kind that is in it, and the root fields that give one by its address, and a list."""

PARAMETERS: Final[Mapping[str, str]] = {
    "model-versions": "version",
    "dataset-versions": "version",
    "stage-schemes": "scheme",
}
"""What a part of a path is called after these collections; after others it is the singular."""

NODES: Final = "nodes"

_READ: Final = """
GET    /nodes                                         nodes
GET    /nodes/{node=id}                               node
GET    /nodes/{node=id}/upstream                      node.upstream
GET    /nodes/{node=id}/downstream                    node.downstream
GET    /models/{model}/versions/{version} modelVersion address=models:/{model}/{version} as=modelVersionByNumber
GET    /models/{model}/aliases/{name} modelVersion address=models:/{model}@{name} as=modelVersionByAlias
GET    /datasets/{dataset}/versions/{version} datasetVersion address=datasets:/{dataset}/{version} as=dataVersionByName
GET    /datasets/{dataset}/fields/{field} field address=fields:/{dataset}/{field} as=fieldByName
GET    /model-versions/{version=address}/metrics/{name=names}/series modelVersion.metrics.series
GET    /runs/{run=address}/metrics/{name=names}/series run.metrics.series
GET    /evaluations/{evaluation=address}/metrics/{name=names}/series evaluation.metrics.series
GET    /model-versions/{version}/gate-check           checkGate
GET    /marks/{mark=address}/affected                 mark.affected
GET    /marks/{mark=address}/affected/models          mark.affected.models
GET    /marks/{mark=address}/affected/deployments     mark.affected.deployments
GET    /marked                                        marked
GET    /lineage                                       lineage
GET    /paths                                         paths
GET    /search                                        search
GET    /comparison                                    compareVersions
GET    /viewer                                        viewer
GET    /activity                                      activity
GET    /notifications                                 notifications
GET    /audit                                         audit
"""

_WRITE: Final = """
POST   /workspaces                                    createWorkspace 201
PATCH  /workspaces/{workspace}                        updateWorkspace
DELETE /workspaces/{workspace}                        deleteWorkspace
PUT    /workspaces/{workspace}/quota                  setQuota
PUT    /workspaces/{workspace}/members/{member=to}    grantRole
DELETE /workspaces/{workspace}/members/{member=from}  revokeRole
POST   /models                                        registerModel 201
PATCH  /models/{model}                                updateModel
DELETE /models/{model}                                deleteModel
PUT    /models/{model}/name                           renameModel
POST   /models/{model}/versions                       createModelVersion 201
PUT    /models/{model}/aliases/{name}                 setAlias
DELETE /models/{model}/aliases/{name}                 deleteAlias
PATCH  /model-versions/{version}                      updateModelVersion
DELETE /model-versions/{version}                      deleteModelVersion
PUT    /model-versions/{version}/stage                setStage
POST   /model-versions/{version}/retire               retire
POST   /model-versions/{version}/enrich               enrichModelVersion 202
POST   /model-versions/{version}/evaluations          recordEvaluation 201
POST   /model-versions/{version}/approvals            requestApproval 201
POST   /model-versions/{version}/validations          requestValidation 201
POST   /datasets                                      registerDataset 201
PATCH  /datasets/{dataset}                            updateDataset
DELETE /datasets/{dataset}                            deleteDataset
PUT    /datasets/{dataset}/name                       renameDataset
POST   /datasets/{dataset}/versions                   registerDatasetVersion 201
POST   /datasets/{dataset}/fields                     registerFields
POST   /datasets/{dataset}/marks                      markDataset 201
PATCH  /dataset-versions/{version}                    updateDatasetVersion
DELETE /dataset-versions/{version}                    deleteDatasetVersion
PUT    /dataset-versions/{version}/name               renameDatasetVersion
POST   /dataset-versions/{version=dataset}/marks      markDataset 201 as=markDatasetVersion
POST   /marks/{mark}/lift                             unmark
PATCH  /fields/{field}                                updateField
DELETE /fields/{field}                                deleteField
PUT    /fields/{field}/name                           renameField
POST   /experiments                                   createExperiment 201
PATCH  /experiments/{experiment}                      updateExperiment
DELETE /experiments/{experiment}                      deleteExperiment
PUT    /experiments/{experiment}/name                 renameExperiment
POST   /pipelines                                     createPipeline 201
PATCH  /pipelines/{pipeline}                          updatePipeline
DELETE /pipelines/{pipeline}                          deletePipeline
PUT    /pipelines/{pipeline}/name                     renamePipeline
POST   /runs                                          recordRun 201
PATCH  /runs/{run}                                    updateRun
DELETE /runs/{run}                                    deleteRun
PUT    /runs/{run}/name                               renameRun
POST   /runs/{run}/metrics                            logMetrics
POST   /runs/{run}/params                             logParams
PATCH  /evaluations/{evaluation}                      updateEvaluation
DELETE /evaluations/{evaluation}                      deleteEvaluation
POST   /deployments                                   deploy 202
POST   /recorded-deployments                          recordDeployment 201
PATCH  /deployments/{deployment}                      updateDeployment
DELETE /deployments/{deployment}                      deleteDeployment
PUT    /deployments/{deployment}/name                 renameDeployment
POST   /deployments/{deployment}/canary               canary 202
POST   /deployments/{deployment}/promote              promote 202
POST   /deployments/{deployment}/rollback             rollBack 202
POST   /deployments/{deployment}/stop                 stopDeployment 202
POST   /stage-schemes                                 declareStageScheme
DELETE /stage-schemes/{scheme}                        deleteStageScheme
POST   /gates                                         declareGate
PATCH  /gates/{gate}                                  updateGate
DELETE /gates/{gate}                                  deleteGate
POST   /approvals/{approval}/approve                  approve
POST   /approvals/{approval}/reject                   reject
POST   /approvals/{approval}/withdraw                 withdrawApproval
POST   /validation-leases                             leaseValidation
POST   /validations/{validation}/heartbeat            heartbeatValidation
POST   /validations/{validation}/report               reportValidation
POST   /validations/{validation}/cancel               cancelValidation
POST   /artifacts                                     registerArtifact 201
PUT    /artifacts/{artifact}/signature                attachSignature
POST   /artifacts/{artifact}/verify                   verifyArtifact
POST   /uploads                                       beginUpload 201
POST   /uploads/{upload}/complete                     completeUpload
POST   /uploads/{upload}/abort                        abortUpload
POST   /webhooks                                      createWebhook 201
PATCH  /webhooks/{webhook}                            updateWebhook
DELETE /webhooks/{webhook}                            deleteWebhook
PUT    /webhooks/{webhook}/secret                     rotateWebhookSecret
POST   /webhooks/{webhook}/pause                      pauseWebhook
POST   /webhooks/{webhook}/resume                     resumeWebhook
POST   /webhooks/{webhook}/test                       testWebhook
POST   /webhooks/{webhook}/replay                     replayDeliveries
POST   /principals                                    registerPrincipal 201
POST   /principals/{principal}/deactivate             deactivatePrincipal
POST   /principals/{principal}/reactivate             reactivatePrincipal
PUT    /principals/{principal}/acts-for               setActsFor
POST   /teams                                         createTeam 201
DELETE /teams/{team}                                  deleteTeam
PUT    /teams/{team}/name                             renameTeam
POST   /teams/{team}/members                          addTeamMembers
DELETE /teams/{team}/members                          removeTeamMembers
POST   /nodes/{node}/tags                             setTags
DELETE /nodes/{node}/tags                             deleteTags
PUT    /nodes/{node}/owners                           setOwners
PUT    /nodes/{node}/successor                        supersede
PUT    /nodes/{node}/deprecation                      deprecate
DELETE /nodes/{node}/deprecation                      undeprecate
PUT    /nodes/{node}/shared-with/{workspace}          shareWith
DELETE /nodes/{node}/shared-with                      unshare
PUT    /nodes/{node}/watch                            watch
DELETE /nodes/{node}/watch                            unwatch
POST   /nodes/{node=about}/comments                   addComment 201
PATCH  /comments/{comment}                            updateComment
DELETE /comments/{comment}                            deleteComment
POST   /notifications/read                            markNotificationsRead
POST   /lineage-records                               recordLineage
"""

UNROUTED: Final[Mapping[str, str]] = {
    "_entities": "asked by federating gateways; GET /nodes gives things by their ids",
    "_service": "asked by federating gateways",
    "exportLineage": "GET /lineage gives it where `format` says so",
    "sequence": "where subscriptions begin; GET /events begins where it is told, and each page names the next",
}
"""Root fields without a route, each with the reason."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table.

    `fields` leads from the root to what is answered: the root field, and those below it. `inputs` says which
    argument, or field of the input, each part of the path is. `address` is put together from parts of the path.
    `called` is its name, where it has one that is not that of its fields.
    """

    method: str
    path: str
    fields: tuple[str, ...]
    status: int = 200
    inputs: tuple[tuple[str, str], ...] = ()
    address: str = ""
    called: str = ""

    @property
    def writes(self) -> bool:
        """Whether it is a mutation."""
        return self.method != GET

    @property
    def name(self) -> str:
        """What generated clients call it: unlike that of any other route."""
        return self.called or "Of".join(
            name if n == 0 else name[:1].upper() + name[1:] for n, name in enumerate(reversed(self.fields))
        )


def singular(collection: str) -> str:
    """What one thing of a collection is called in a path."""
    return PARAMETERS.get(collection) or (NOUNS[collection][1] if collection in NOUNS else collection[:-1])


def kebab(name: str) -> str:
    """A field's name as a part of a path."""
    return re.sub(r"(?=[A-Z])", "-", name).lower()


def _line(text: str) -> Route:
    method, path, field, *rest = text.split()
    said = dict(word.split("=", 1) for word in rest if "=" in word)
    status = next((int(word) for word in rest if word.isdigit()), 200)
    inputs = []
    for name in re.findall(r"\{([^}]+)\}", path):
        shown, _, given = name.partition("=")
        inputs.append((shown, "" if "address" in said else given or shown))
    address, called = said.get("address", ""), said.get("as", "")
    return Route(method, re.sub(r"=[^}]+", "", path), tuple(field.split(".")), status, tuple(inputs), address, called)


def lists_of(schema: GraphQLSchema, type_: str) -> Iterator[str]:
    """The fields of a type that are lists in parts."""
    found = schema.type_map[type_]
    assert isinstance(found, (GraphQLObjectType, GraphQLInterfaceType))
    for name, field in found.fields.items():
        if get_named_type(field.type).name.endswith(("Connection", "Page")):
            yield name


def _nouns(schema: GraphQLSchema) -> Iterator[Route]:
    common = set(lists_of(schema, "Node"))
    for collection, (kind, one, many) in NOUNS.items():
        yield Route(GET, f"/{collection}", (many,))
        if not one:
            continue
        name = singular(collection)
        at = f"/{collection}/{{{name}}}"
        yield Route(GET, at, (one,), inputs=((name, "address"),))
        for field in lists_of(schema, kind):
            if field not in common:
                yield Route(GET, f"{at}/{kebab(field)}", (one, field), inputs=((name, "address"),))
    for field in lists_of(schema, "Node"):
        yield Route(GET, f"/{NODES}/{{node}}/{kebab(field)}", ("node", field), inputs=(("node", "id"),))


def routes(schema: GraphQLSchema) -> list[Route]:
    """Every route, by path."""
    lines: Iterable[str] = (line for line in (_READ + _WRITE).splitlines() if line)
    found = [*map(_line, lines), *_nouns(schema)]
    return sorted(found, key=lambda route: (route.path, route.method))
