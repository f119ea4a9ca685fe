"""The ontology: every kind of node and edge, declared once.

Constraints and indexes of both stores, validation on write and import, the GraphQL enums, the export
format and docs/logical-model.md are all derived from the tables in this file.

An edge points from what exists because of something to that something, so *upstream* is along the
arrows and *downstream* against them. PROV terms are those of W3C PROV-O
(https://www.w3.org/TR/prov-o/).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from graph.text import fold, normalize

DEFAULT_WORKSPACE: Final = "default"
GLOBAL: Final = ""
"""The workspace of what belongs to no workspace: principals and teams. Everyone sees it."""

UNVERSIONED: Final = "unversioned"
"""The name of the one version of a data set that was named without a version."""

MAX_NAME: Final = 500
MAX_STRING: Final = 8_000
MAX_TEXT: Final = 65_536
MAX_FACETS: Final = 4_194_304
MAX_CONTENTS: Final = 4_194_304
"""Bytes of all facets of one thing."""
MAX_TAG: Final = 100_000
"""Characters of a tag's value: prompts are tags, too."""
MAX_INT: Final = 2**63 - 1
MAX_NUMBER: Final = 2**31 - 1
"""The largest number that a version may have: GraphQL's Int ends there."""


class Type(Enum):
    """What a property may hold, as Python sees it."""

    STRING = "string"
    TEXT = "text"
    INT = "integer"
    FLOAT = "number"
    BOOL = "boolean"
    TIME = "time"
    """Microseconds since the epoch, UTC, as an int."""
    STRINGS = "list of strings"
    JSON = "JSON object"


class Lineage(Enum):
    """Whether a walk through lineage takes an edge."""

    YES = "yes"
    ON_REQUEST = "on request"
    NO = "no"


class Exclusive(Enum):
    """Of which edges at most one may be open at a time."""

    NO = "any number"
    PER_SOURCE = "one for each source and kind of target"
    PER_SOURCE_AND_NAME = "one for each source and discriminator"
    PER_TARGET = "one for each target"
    PER_PAIR = "one for each source and target"


Prov = Literal["entity", "activity", "agent"]
"""What a kind of node is in PROV. No thing is both an entity and an activity (PROV-CONSTRAINTS, section 5.4)."""

PROV_ENDS: Final[Mapping[str, tuple[Prov, Prov]]] = {
    "used": ("activity", "entity"),
    "wasGeneratedBy": ("entity", "activity"),
    "wasDerivedFrom": ("entity", "entity"),
    "specializationOf": ("entity", "entity"),
    "hadMember": ("entity", "entity"),
    "wasAttributedTo": ("entity", "agent"),
    "wasAssociatedWith": ("activity", "agent"),
    "actedOnBehalfOf": ("agent", "agent"),
}
"""What the terms that edges have may join (PROV-DM, section 5)."""

PROV_ANY: Final = "wasInfluencedBy"
"""The term that may join anything (PROV-DM, section 5.3.5)."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a node or an edge.

    `internal` ones are written by Lineal alone, and `private` ones are for Lineal alone, too: no field and no export
    shows them, and changes tell them to admins alone. `scope` is what one needs beside that of the kind; no export shows
    what has one. `filterable` ones get an index in both stores.
    """

    name: str
    type: Type
    doc: str
    filterable: bool = False
    required: bool = False
    internal: bool = False
    private: bool = False
    scope: str | None = None
    values: tuple[str, ...] = ()
    least: int = -MAX_INT
    most: int = MAX_INT
    size: int = MAX_TEXT
    """How many bytes JSON may have."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A kind of node.

    `prefix` begins its ids, `scheme` its addresses. `within` is the kind of its container when the
    natural key is unique only inside that container; otherwise the key is unique in the workspace,
    or everywhere for `is_global`. `parts` are the kinds that it stands for as a root of lineage. `prov` is what it is
    in PROV.
    """

    name: str
    prefix: str
    scheme: str
    scope: str
    doc: str
    properties: tuple[Property, ...] = ()
    within: str | None = None
    is_global: bool = False
    parts: tuple[str, ...] = ()
    orders: tuple[str, ...] = ("name", "createdAt", "updatedAt")
    has_params: bool = False
    has_metrics: bool = False
    prov: Prov = "entity"
    by_name: Mapping[str, Property] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "properties", (*COMMON, *self.properties))
        object.__setattr__(self, "by_name", {p.name: p for p in self.properties})

    @property
    def constant(self) -> str:
        """The name as an enum value: MODEL_VERSION for ModelVersion."""
        return constant(self.name)

    def is_indexed(self, prop: Property) -> bool:
        """Whether stores keep an index of this property: lists filter or order by it."""
        return prop.filterable or prop.name in self.orders


@dataclass(frozen=True, slots=True)
class EdgeKind:
    """A kind of edge, with the pairs of node kinds that it may join.

    An edge's identity is (source, kind, target, discriminator, since): recording it twice changes
    nothing. A `blocks` edge refuses the delete of its target while it is open. `prov` are the PROV terms that say most
    of it, for whatever ends they may have.
    """

    name: str
    ends: tuple[tuple[str, str], ...]
    doc: str
    lineage: Lineage = Lineage.NO
    prov: tuple[str, ...] = ()
    discriminator: str | None = None
    properties: tuple[Property, ...] = ()
    exclusive: Exclusive = Exclusive.NO
    blocks: bool = True

    def open_key(self, source: str, target: str, target_kind: str, discriminator: str) -> str | None:
        """What no two open edges may share, or None where any number may be open."""
        match self.exclusive:
            case Exclusive.PER_SOURCE:
                return f"{self.name}|{source}|{target_kind}"
            case Exclusive.PER_SOURCE_AND_NAME:
                return f"{self.name}|{source}|{discriminator}"
            case Exclusive.PER_TARGET:
                return f"{self.name}|{target}"
            case Exclusive.PER_PAIR:
                return f"{self.name}|{source}|{target}"
            case Exclusive.NO:
                return None


def constant(name: str) -> str:
    """A kind's name as an enum value: MODEL_VERSION for ModelVersion."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def _p(name: str, type: Type, doc: str, **kw: Any) -> Property:
    return Property(name, type, doc, **kw)


COMMON: Final = (
    _p("description", Type.TEXT, "What it is, in words. Markdown is kept as it is."),
    _p("external", Type.BOOL, "Named by something here, but not registered here.", filterable=True),
    _p("attributes", Type.JSON, "Anything else, as free JSON. It cannot be filtered by."),
)

MODEL_READ, DATASET_READ = "model:read", "dataset:read"
DEPLOYMENT_READ, WORKSPACE_READ, ARTIFACT_READ = "deployment:read", "workspace:read", "artifact:read"
ACTIVITY_READ, METRICS_READ, WEBHOOK_WRITE = "activity:read", "metrics:read", "webhook:write"

STORAGES: Final = ("MANAGED", "REFERENCED")
VERIFICATIONS: Final = ("PENDING", "VERIFIED", "FAILED", "DRIFTED")
PICKLES: Final = ("NONE", "SAFE", "SUSPICIOUS", "DANGEROUS", "UNSCANNED")
SIGNATURES: Final = ("VALID", "UNTRUSTED", "INVALID")
UPLOAD_STATES: Final = ("OPEN", "COMPLETE", "ABORTED", "EXPIRED")
VERSION_STATES: Final = ("PENDING", "READY", "FAILED")
ENRICHMENT_STATES: Final = ("QUEUED", "FOLLOWING", "DONE", "FAILED")
RUN_STATES: Final = ("SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED")
RUN_ENDED: Final = ("FINISHED", "FAILED", "KILLED")
VISIBILITIES: Final = ("PUBLIC", "INTERNAL", "PRIVATE")
ROLES: Final = ("VIEWER", "CONTRIBUTOR", "APPROVER", "OWNER")
MARK_TYPES: Final = ("CONTAMINATED", "FORBIDDEN")
NOTICE_TYPES: Final = ("CONTAMINATION", "DEPRECATION", "RETIREMENT", "APPROVAL", "VALIDATION", "DEPLOYMENT", "WEBHOOK")
APPROVAL_STATES: Final = ("OPEN", "APPROVED", "REJECTED", "WITHDRAWN", "EXPIRED", "USED")
VALIDATION_STATES: Final = ("QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED")
PHASES: Final = ("PENDING", "ROLLING_OUT", "READY", "DRIFTED", "UNREACHABLE", "FAILED", "STOPPED")
REVISION_STATES: Final = ("PENDING", "ROLLING_OUT", "VERIFIED", "FAILED", "REPLACED")
REVISION_CAUSES: Final = ("DEPLOY", "CANARY", "PROMOTE", "ROLL_BACK", "STOP", "RECORDED")
DRIFT_POLICIES: Final = ("REPAIR", "REPORT")
WEBHOOK_FORMATS: Final = ("CLOUDEVENTS", "MLFLOW")
WEBHOOK_STATES: Final = ("ACTIVE", "PAUSED")

# The tables read best as tables.
# fmt: off
WORKSPACE = NodeKind(
    "Workspace", "ws", "workspaces", WORKSPACE_READ,
    "A team's own part of the registry. Its name is part of every address and never changes.",
    (
        _p("visibility", Type.STRING, "Who may read it besides its members: nobody (PRIVATE, also when absent), every principal (INTERNAL), or, where a setting allows it, everybody (PUBLIC).", filterable=True, values=VISIBILITIES),
        _p("quotaBytes", Type.INT, "Bytes that its artifacts may take in storage; as many as there is room for when absent.", internal=True, least=0),
        _p("picklePolicy", Type.STRING, "Which pickles are let in: all (ALLOW, also when absent), none that is DANGEROUS (REFUSE_DANGEROUS), or none that is not SAFE (REFUSE_UNSAFE).", values=("ALLOW", "REFUSE_DANGEROUS", "REFUSE_UNSAFE")),
        _p("signaturePolicy", Type.STRING, "Whether aliases and stages take versions with a VALID signature only (REQUIRED) or any (OPTIONAL, also when absent).", values=("OPTIONAL", "REQUIRED")),
        _p("retentionDays", Type.INT, "Days for which nobody can remove the bytes of a new artifact; none when absent.", least=0, most=36_500),
        _p("stageScheme", Type.STRING, "The stage scheme that its models follow unless they say otherwise, by name; the standard one when absent."),
        _p("lineage", Type.STRING, "Whether walks of those who may not read it go through it (TRANSPARENT, also when absent) or stop before it (OPAQUE).", values=("TRANSPARENT", "OPAQUE")),
    ),
    is_global=True,
)
MODEL = NodeKind(
    "Model", "mo", "models", MODEL_READ,
    "A named family of versions that solve one task.",
    (
        _p("task", Type.STRING, "What it is for: text-classification, embedding, …", filterable=True),
        _p("stageScheme", Type.STRING, "The stage scheme that its versions follow, by name; that of the workspace when absent."),
        _p("deprecatedAt", Type.TIME, "From when it is not to be used any more; its versions neither.", filterable=True, internal=True),
        _p("deprecationReason", Type.TEXT, "Why.", internal=True),
        _p("lastNumber", Type.INT, "The highest version number ever given; numbers are never used again.", internal=True, private=True, least=0, most=MAX_NUMBER),
    ),
    parts=("ModelVersion",),
)
MODEL_VERSION = NodeKind(
    "ModelVersion", "mv", "models", MODEL_READ,
    "One trained state of a model: parameters, metrics, artifacts, and where it came from.",
    (
        _p("number", Type.INT, "Its number in the model, from 1, in order of registration.", filterable=True, required=True, internal=True, least=1, most=MAX_NUMBER),
        _p("state", Type.STRING, "PENDING until its artifacts are complete, then READY, or FAILED.", filterable=True, values=VERSION_STATES),
        _p("frameworks", Type.STRINGS, "The libraries that can load it: PyTorch, scikit-learn, …"),
        _p("formats", Type.STRINGS, "The formats of its files: safetensors, onnx, …"),
        _p("signature", Type.JSON, "What it takes and gives: inputs and outputs, each a list of names, types and shapes.", size=MAX_CONTENTS),
        _p("license", Type.STRING, "SPDX identifier, or the words its author used.", filterable=True),
        _p("parameterCount", Type.INT, "How many learned parameters it has.", filterable=True, least=0),
        _p("sizeBytes", Type.INT, "Size in bytes, loaded.", filterable=True, least=0),
        _p("releasedAt", Type.TIME, "When its author published it.", filterable=True),
        _p("uri", Type.STRING, "Where its files are, when they are kept elsewhere."),
        _p("source", Type.STRING, "The address that it was registered from, as it was given; that of its files may be another one."),
        _p("runId", Type.STRING, "The run of a tracker that made it, by its id there.", filterable=True),
        _p("runLink", Type.STRING, "The page of that run."),
        _p("loggedModel", Type.STRING, "The logged model of a tracker that it is, by its id there.", filterable=True),
        _p("deprecatedAt", Type.TIME, "From when it is not to be used any more.", filterable=True, internal=True),
        _p("deprecationReason", Type.TEXT, "Why.", internal=True),
        _p("retiredAt", Type.TIME, "When it was retired: nothing may serve it or be made from it any more.", filterable=True, internal=True),
        _p("enrichment", Type.STRING, "How far it is looked up in tracking servers: QUEUED, FOLLOWING while its run goes on, DONE, or FAILED.", filterable=True, internal=True, values=ENRICHMENT_STATES),
        _p("enrichmentMessage", Type.TEXT, "Why nothing could be had, or what was left out.", internal=True),
        _p("enrichedAt", Type.TIME, "When all was had from there.", internal=True),
        _p("enrichmentSince", Type.TIME, "Since when it is tried without an end.", internal=True, private=True),
        _p("enrichmentDue", Type.TIME, "When it is looked up next.", internal=True),
        _p("lostAt", Type.TIME, "Since when it is FAILED because bytes of its artifacts were found wrong or gone; READY again when they are there.", internal=True, private=True),
    ),
    within="Model",
    orders=("number", "name", "createdAt", "updatedAt", "releasedAt", "parameterCount", "enrichmentDue"),
    has_params=True,
    has_metrics=True,
)
DATASET = NodeKind(
    "Dataset", "ds", "datasets", DATASET_READ,
    "A named body of data: a table, a folder, a stream, a published corpus.",
    (
        _p("uri", Type.STRING, "Where the data is.", filterable=True),
        _p("license", Type.STRING, "SPDX identifier, or the words its publisher used.", filterable=True),
    ),
    parts=("DatasetVersion", "Field"),
)
DATASET_VERSION = NodeKind(
    "DatasetVersion", "dv", "datasets", DATASET_READ,
    "The data as it was at one time. A data set named without a version has one called “unversioned”.",
    (
        _p("uri", Type.STRING, "Where this version is.", filterable=True),
        _p("digest", Type.STRING, "Checksum of the content, algorithm first: sha256:…", filterable=True),
        _p("rowCount", Type.INT, "How many rows it has.", filterable=True, least=0),
        _p("sizeBytes", Type.INT, "Size in bytes.", filterable=True, least=0),
        _p("madeAt", Type.TIME, "When the data was complete.", filterable=True),
        _p("producers", Type.JSON, "The runs that say they made it, each with when it began: the first one is believed.", internal=True, private=True),
        _p("registered", Type.STRING, "The model version that it is, by id, where it is a model.", internal=True, private=True),
    ),
    within="Dataset",
    orders=("name", "createdAt", "updatedAt", "madeAt"),
)
FIELD = NodeKind(
    "Field", "fi", "fields", DATASET_READ,
    "A column of a data set, or a feature.",
    (
        _p("type", Type.STRING, "Data type in the source's own words: int64, varchar(20), …", filterable=True),
        _p("ordinal", Type.INT, "Its place among the fields, from 0.", least=0, most=MAX_NUMBER),
    ),
    within="Dataset",
    orders=("ordinal", "name", "createdAt", "updatedAt"),
)
EXPERIMENT = NodeKind(
    "Experiment", "ex", "experiments", MODEL_READ,
    "Runs that belong to one question.",
    parts=("Run",),
)
RUN = NodeKind(
    "Run", "ru", "runs", MODEL_READ,
    "One execution: a training, an evaluation, a transformation of data. Its name is unique in the workspace: its own id unless given.",
    (
        _p("state", Type.STRING, "SCHEDULED, RUNNING, FINISHED, FAILED or KILLED.", filterable=True, values=RUN_STATES),
        _p("startedAt", Type.TIME, "When it began.", filterable=True),
        _p("endedAt", Type.TIME, "When it ended.", filterable=True),
        _p("uri", Type.STRING, "Its page in the tracker that ran it."),
    ),
    orders=("startedAt", "endedAt", "name", "createdAt", "updatedAt"),
    has_params=True,
    has_metrics=True,
    prov="activity",
)
PIPELINE = NodeKind(
    "Pipeline", "pi", "pipelines", MODEL_READ,
    "A job that runs again and again, in an orchestrator.",
    (_p("uri", Type.STRING, "Where it is defined."),),
    parts=("Run",),
)


def _facets(scope: str) -> tuple[Property, ...]:
    """What was said of something; `scope` opens what it names beside that."""
    return (
        _p("facets", Type.JSON, "What was said, by the names of the facets; what is none of these alone (of a run that of its data, of a data set that of each job) has its path before the name.", internal=True, scope=scope, size=MAX_FACETS),
        _p("stamps", Type.JSON, "Of each facet when it was said last, and a digest of what: the latest one counts.", internal=True, private=True, size=MAX_FACETS),
        _p("times", Type.JSON, "When a run began and ended, as its events say.", internal=True, private=True),
    )


RUN_FACETS = NodeKind(
    "RunFacets", "rf", "run-facets", MODEL_READ,
    "What producers of OpenLineage said of a run or a job: its facets, as they stand after all events.",
    _facets(DATASET_READ),
)
DATASET_FACETS = NodeKind(
    "DatasetFacets", "df", "dataset-facets", DATASET_READ,
    "What producers of OpenLineage said of a data set: its facets, as they stand after all events.",
    _facets(MODEL_READ),
)
EVALUATION = NodeKind(
    "Evaluation", "ev", "evaluations", MODEL_READ,
    "Metrics of a model version on a data-set version.",
    has_params=True,
    has_metrics=True,
)
DEPLOYMENT = NodeKind(
    "Deployment", "de", "deployments", DEPLOYMENT_READ,
    "A place where model versions answer requests.",
    (
        _p("state", Type.STRING, "What it is doing, in the words of its platform.", filterable=True),
        _p("uri", Type.STRING, "Where it answers."),
        _p("managed", Type.BOOL, "Whether Lineal itself brings it about and watches it; else it is only recorded.", filterable=True, internal=True),
        _p("phase", Type.STRING, "How far what is served is what it was told: PENDING, ROLLING_OUT, READY, DRIFTED (something else is served), UNREACHABLE (its platform does not answer), FAILED, STOPPED.", filterable=True, internal=True, values=PHASES),
        _p("message", Type.TEXT, "What its platform says, or what went wrong.", internal=True),
        _p("desiredRevision", Type.INT, "The number of the revision that it was told last.", internal=True, least=0, most=MAX_NUMBER),
        _p("verifiedRevision", Type.INT, "The number of the last revision that was seen to be served as told.", internal=True, least=0, most=MAX_NUMBER),
        _p("replicas", Type.INT, "How many replicas serve it, where the platform tells.", internal=True, least=0, most=MAX_NUMBER),
        _p("driftPolicy", Type.STRING, "What is done about a change behind Lineal's back: it is undone (REPAIR, also when absent) or only told (REPORT).", values=DRIFT_POLICIES),
        _p("progressSeconds", Type.INT, "How long a rollout may take before it has failed; 600 when absent.", least=1, most=86_400),
        _p("platformName", Type.STRING, "What its platform knows it by.", internal=True),
    ),
    prov="activity",
)
DEPLOYMENT_REVISION = NodeKind(
    "DeploymentRevision", "dr", "deployments", DEPLOYMENT_READ,
    "What a deployment was told to serve, and how, at one time. It never changes, but for what came of it.",
    (
        _p("number", Type.INT, "Its number in the deployment, from 1.", filterable=True, required=True, internal=True, least=1, most=MAX_NUMBER),
        _p("cause", Type.STRING, "What made it: DEPLOY, CANARY, PROMOTE, ROLL_BACK, STOP, or RECORDED by somebody else who brought it about.", filterable=True, internal=True, values=REVISION_CAUSES),
        _p("reason", Type.TEXT, "Why, in the words of whoever asked; of an automatic rollback what went wrong.", internal=True),
        _p("state", Type.STRING, "What came of it: PENDING, ROLLING_OUT, VERIFIED (it was seen to be served as told), FAILED, or REPLACED before either.", filterable=True, internal=True, values=REVISION_STATES),
        _p("message", Type.TEXT, "Why it failed.", internal=True),
        _p("condemned", Type.TEXT, "Why it shall not be served after all, where that came up before it was: data was marked that a version of it came from.", internal=True, private=True),
        _p("canary", Type.INT, "The number of the version that is tried beside the other one.", internal=True, least=1, most=MAX_NUMBER),
        _p("restores", Type.INT, "The number of the revision that it goes back to.", internal=True, least=1, most=MAX_NUMBER),
        _p("startedAt", Type.TIME, "When its platform was first told; later by as long as the platform could not be reached since.", internal=True),
        _p("pausedAt", Type.TIME, "Since when its platform cannot be reached, while it rolls out.", internal=True, private=True),
        _p("verifiedAt", Type.TIME, "When it was first seen to be served as told.", internal=True),
        _p("resources", Type.JSON, "Replicas, memory and the like, in the words of the platform.", internal=True),
        _p("settings", Type.JSON, "Anything else that the platform takes.", internal=True),
        _p("overridden", Type.BOOL, "Whether it was let through although its gate said no.", filterable=True, internal=True),
        _p("verdict", Type.JSON, "What its gate said, condition by condition, with the figures.", internal=True, scope=METRICS_READ),
    ),
    within="Deployment",
    orders=("number", "createdAt", "updatedAt"),
)
DEPLOYMENT_EVENT = NodeKind(
    "DeploymentEvent", "dt", "deployment-events", DEPLOYMENT_READ,
    "Something that happened to a deployment: a phase that it came to, with what was seen.",
    (
        _p("phase", Type.STRING, "The phase that it came to.", filterable=True, required=True, internal=True, values=PHASES),
        _p("message", Type.TEXT, "What was seen, or what went wrong.", internal=True),
        _p("revisionNumber", Type.INT, "The number of the revision that it was about.", internal=True, least=0, most=MAX_NUMBER),
        _p("seen", Type.JSON, "What the platform served: numbers of versions, their states, shares and replicas.", internal=True),
        _p("holder", Type.STRING, "The process that saw it.", internal=True),
        _p("epoch", Type.INT, "The epoch of the lease under which it acted.", internal=True, least=0),
        _p("leftOut", Type.INT, "How many looks since the event before saw it in a phase that was not kept, because it came and went too often.", internal=True, least=0, most=MAX_NUMBER),
    ),
    orders=("createdAt", "name", "updatedAt"),
    prov="activity",
)
ENVIRONMENT = NodeKind(
    "Environment", "en", "environments", DEPLOYMENT_READ,
    "Where deployments live: staging, production, a region.",
)
SERVING_TARGET = NodeKind(
    "ServingTarget", "st", "targets", DEPLOYMENT_READ,
    "A serving platform that deployments are made on.",
    (
        _p("platform", Type.STRING, "tensorflow-serving, torchserve, …", filterable=True),
        _p("uri", Type.STRING, "Its management address."),
        _p("managed", Type.BOOL, "Whether Lineal is configured to act on it.", filterable=True, internal=True),
        _p("reachable", Type.BOOL, "Whether it answered when it was last asked.", filterable=True, internal=True),
        _p("message", Type.TEXT, "What went wrong when it was last asked.", internal=True),
    ),
)
ARTIFACT = NodeKind(
    "Artifact", "ar", "artifacts", ARTIFACT_READ,
    "Files, known by digest or by where they are.",
    (
        _p("uri", Type.STRING, "Where the bytes are.", filterable=True),
        _p("digest", Type.STRING, "Checksum, algorithm first: sha256:… Of files that Lineal keeps it is that of their manifest.", filterable=True),
        _p("sizeBytes", Type.INT, "Size in bytes.", filterable=True, least=0),
        _p("mediaType", Type.STRING, "RFC 6838 media type.", filterable=True),
        _p("storage", Type.STRING, "Who keeps the bytes: Lineal (MANAGED), or what a connector reads (REFERENCED). Absent where they were only spoken of.", filterable=True, internal=True, values=STORAGES),
        _p("connector", Type.STRING, "The connector that reads them, of those that are REFERENCED.", filterable=True, internal=True),
        _p("fileCount", Type.INT, "How many files they are.", internal=True, least=0),
        _p("verification", Type.STRING, "Whether the bytes were found as they were told: PENDING, VERIFIED, FAILED, or DRIFTED since.", filterable=True, internal=True, values=VERIFICATIONS),
        _p("verifiedAt", Type.TIME, "When they were last looked at.", filterable=True, internal=True),
        _p("problem", Type.TEXT, "What was found wrong, naming the file.", internal=True),
        _p("inventory", Type.STRING, "The digest of the list of files of what is REFERENCED.", internal=True),
        _p("partitions", Type.JSON, "The keys of a partitioned folder (Hive style), each with how many values it has.", internal=True),
        _p("frameworks", Type.STRINGS, "The libraries that can load it, as its files say.", internal=True),
        _p("formats", Type.STRINGS, "The formats of its files: safetensors, onnx, …", internal=True),
        _p("contents", Type.JSON, "What else its files say: versions of libraries, inputs, outputs, parameters, and what could not be read.", internal=True, size=MAX_CONTENTS),
        _p("pickles", Type.STRING, "What its pickles would do when loaded: nothing to fear (SAFE), something unknown (SUSPICIOUS), harm (DANGEROUS); NONE has none, and UNSCANNED could not be read whole.", filterable=True, internal=True, values=PICKLES),
        _p("imports", Type.STRINGS, "What its pickles import when loaded: module.name.", internal=True),
        _p("signature", Type.STRING, "Its signature (OpenSSF Model Signing): VALID, by one who is trusted; UNTRUSTED, right but by somebody else; INVALID. Absent without any.", filterable=True, internal=True, values=SIGNATURES),
        _p("signedBy", Type.STRING, "Who signed it: a key's fingerprint, a certificate's subject, or an identity.", filterable=True, internal=True),
        _p("unsigned", Type.STRINGS, "Files that its signature leaves out, up to 100: these may be anything. It is not VALID where its maker chose to leave some out.", internal=True),
        _p("cold", Type.BOOL, "Whether its bytes were moved to where they are kept cold.", filterable=True, internal=True),
        _p("retainUntil", Type.TIME, "Until when nobody can remove its bytes.", internal=True),
        _p("orphanedAt", Type.TIME, "Since when nothing has it, where that was noticed.", internal=True),
    ),
)
UPLOAD = NodeKind(
    "Upload", "up", "uploads", ARTIFACT_READ,
    "Files on their way into storage, for one thing that they will belong to.",
    (
        _p("state", Type.STRING, "OPEN while bytes may be sent; COMPLETE, ABORTED or EXPIRED.", filterable=True, internal=True, values=UPLOAD_STATES),
        _p("digest", Type.STRING, "The digest of the manifest: what the artifact will be known by.", filterable=True, internal=True),
        _p("artifactName", Type.STRING, "The name of the artifact among those of its owner.", internal=True),
        _p("fileCount", Type.INT, "How many files there are.", internal=True, least=0),
        _p("sizeBytes", Type.INT, "Bytes of all files.", internal=True, least=0),
        _p("expiresAt", Type.TIME, "When it expires unless it is completed or begun again.", filterable=True, internal=True),
        _p("closedAt", Type.TIME, "When it was completed, aborted or expired.", internal=True, private=True),
        _p("newBytes", Type.INT, "Bytes that storage lacked of it when the quota let it in. Absent where there was none.", internal=True, private=True, least=0),
    ),
    prov="activity",
)
CODE_REVISION = NodeKind(
    "CodeRevision", "cr", "code", MODEL_READ,
    "A commit of a repository. Its name is repository@commit.",
    (
        _p("repository", Type.STRING, "The repository.", filterable=True, required=True),
        _p("commit", Type.STRING, "The commit's hash or revision.", filterable=True, required=True),
        _p("branch", Type.STRING, "The branch it was taken from."),
        _p("path", Type.STRING, "The path inside the repository."),
    ),
)
PRINCIPAL = NodeKind(
    "Principal", "pr", "principals", WORKSPACE_READ,
    "A person or a service account. Its name is the issuer's short name and the subject of its tokens.",
    (
        _p("type", Type.STRING, "USER or SERVICE.", filterable=True, values=("USER", "SERVICE")),
        _p("displayName", Type.STRING, "What people call it.", filterable=True),
        _p("userName", Type.STRING, "What it signs in with, in small letters; absent where no directory provisions it.", filterable=True),
        _p("active", Type.BOOL, "False once it was deactivated: then no token of it opens anything.", filterable=True),
        _p("externalId", Type.STRING, "Its id in the directory that provisions it.", filterable=True),
        _p("directory", Type.JSON, "What the directory that provisions it said of it (SCIM 2.0).", internal=True, private=True),
        _p("inbox", Type.JSON, "Which of its notifications it has read.", internal=True, private=True),
    ),
    is_global=True,
    prov="agent",
)
TEAM = NodeKind(
    "Team", "te", "teams", WORKSPACE_READ,
    "Principals that own and decide together.",
    (
        _p("externalId", Type.STRING, "Its id in the directory that provisions it.", filterable=True),
        _p("directory", Type.JSON, "What the directory that provisions it said of it (SCIM 2.0).", internal=True, private=True),
    ),
    is_global=True,
    prov="agent",
)
NOTICE = NodeKind(
    "Notice", "no", "notices", ACTIVITY_READ,
    "Something that the people who answer for a thing were told. It belongs to the workspace of that, and to its container where all who read that may read it.",
    (
        _p("type", Type.STRING, "What it is about: CONTAMINATION, DEPRECATION, RETIREMENT, APPROVAL, VALIDATION, DEPLOYMENT or WEBHOOK.", filterable=True, required=True, internal=True, values=NOTICE_TYPES),
        _p("text", Type.TEXT, "What they were told.", required=True, internal=True),
    ),
    orders=("createdAt", "name", "updatedAt"),
)
COMMENT = NodeKind(
    "Comment", "co", "comments", ACTIVITY_READ,
    "What somebody said about something. It belongs to the workspace and the container of that.",
    (_p("text", Type.TEXT, "What was said, in Markdown. @name mentions a principal or a team.", required=True),),
)

STAGE_SCHEME = NodeKind(
    "StageScheme", "ss", "schemes", MODEL_READ,
    "The stages that versions move through, declared as data.",
    (
        _p("stages", Type.JSON, "The stages: {stages: [{name, mlflow, live, final}]}. `mlflow` is the stage of MLflow's four that it counts as; a version in a `live` one counts as in production, and none that is retired comes to one, by no override either; out of a `final` one there is no way but with an override.", required=True),
        _p("moves", Type.JSON, "The moves that are allowed: {moves: [{from, to}]}, null for none; all when absent."),
    ),
)
GATE = NodeKind(
    "Gate", "ga", "gates", MODEL_READ,
    "What must hold before a version comes to a stage, gets an alias, or is deployed to an environment.",
    (
        _p("stage", Type.STRING, "The stage that it guards.", filterable=True),
        _p("alias", Type.STRING, "The alias that it guards.", filterable=True),
        _p("environment", Type.STRING, "The environment that it guards, by name.", filterable=True),
        _p("conditions", Type.JSON, "What must hold: {conditions: [{type, …}]}; see docs/lifecycle.md.", required=True),
    ),
)
STAGE_MOVE = NodeKind(
    "StageMove", "sm", "stage-moves", MODEL_READ,
    "A version moved from one stage to another, or got an alias that is guarded by a gate.",
    (
        _p("alias", Type.STRING, "The alias that it got, of a move that is of no stage.", filterable=True, internal=True),
        _p("fromStage", Type.STRING, "The stage that it was in; absent for none.", filterable=True, internal=True),
        _p("toStage", Type.STRING, "The stage that it came to; absent for none.", filterable=True, internal=True),
        _p("reason", Type.TEXT, "Why, in the words of whoever moved it.", internal=True),
        _p("overridden", Type.BOOL, "Whether it was let through although its gate said no.", filterable=True, internal=True),
        _p("verdict", Type.JSON, "What its gate said, condition by condition, with the figures.", internal=True, scope=METRICS_READ),
    ),
    orders=("createdAt", "name", "updatedAt"),
    prov="activity",
)
APPROVAL = NodeKind(
    "Approval", "ap", "approvals", MODEL_READ,
    "A request that a version may come to a stage, get an alias, or be deployed to an environment, and what became of it.",
    (
        _p("state", Type.STRING, "OPEN until it is decided: APPROVED, REJECTED, WITHDRAWN, EXPIRED; USED once what it was for was done.", filterable=True, internal=True, values=APPROVAL_STATES),
        _p("stage", Type.STRING, "The stage that it is for.", filterable=True, internal=True),
        _p("alias", Type.STRING, "The alias that it is for.", filterable=True, internal=True),
        _p("environment", Type.STRING, "The environment that it is for, by name.", filterable=True, internal=True),
        _p("needed", Type.INT, "How many people must approve.", internal=True, least=1, most=100),
        _p("role", Type.STRING, "The role that they need.", internal=True, values=ROLES),
        _p("reason", Type.TEXT, "Why it is asked for.", internal=True),
        _p("expiresAt", Type.TIME, "Until when it may be decided and used.", filterable=True, internal=True),
        _p("basis", Type.STRING, "What was to be approved, as a digest: what the gates asked for, and the files of the version. Once either is another, it no longer counts.", internal=True, private=True),
    ),
    orders=("createdAt", "name", "updatedAt"),
)
VALIDATION = NodeKind(
    "Validation", "va", "validations", MODEL_READ,
    "A check of a version that a worker takes, runs and reports on.",
    (
        _p("state", Type.STRING, "QUEUED, RUNNING while a worker has it, SUCCEEDED, FAILED or CANCELLED.", filterable=True, internal=True, values=VALIDATION_STATES),
        _p("suite", Type.STRING, "What is to be run: workers say which suites they take.", filterable=True, internal=True),
        _p("settings", Type.JSON, "What the worker is given beside it.", internal=True),
        _p("attempts", Type.INT, "How often it was begun.", internal=True, least=0),
        _p("maxAttempts", Type.INT, "How often it is begun at most.", internal=True, least=1, most=100),
        _p("timeoutSeconds", Type.INT, "How long one attempt may take.", internal=True, least=1, most=604_800),
        _p("worker", Type.STRING, "Who has it.", internal=True),
        _p("epoch", Type.INT, "Counts who had it: a report of an earlier attempt is refused.", internal=True, least=0),
        _p("leasedUntil", Type.TIME, "When it goes to another worker unless this one is heard of.", filterable=True, internal=True),
        _p("deadline", Type.TIME, "When the attempt has taken too long.", internal=True),
        _p("message", Type.TEXT, "What the worker said in the end.", internal=True),
    ),
    orders=("createdAt", "name", "updatedAt"),
    prov="activity",
)
MARK = NodeKind(
    "Mark", "mk", "marks", DATASET_READ,
    "A data set, or a version of one, is contaminated or forbidden, as long as the mark is on it.",
    (
        _p("type", Type.STRING, "CONTAMINATED or FORBIDDEN.", filterable=True, required=True, internal=True, values=MARK_TYPES),
        _p("reason", Type.TEXT, "Why.", internal=True),
        _p("liftedReason", Type.TEXT, "Why it was taken off.", internal=True),
    ),
    orders=("createdAt", "name", "updatedAt"),
)

WEBHOOK = NodeKind(
    "Webhook", "wh", "webhooks", WEBHOOK_WRITE,
    "An address that is told of what happens in the workspace. Only who manages webhooks sees them: an address may be a secret.",
    (
        _p("url", Type.STRING, "Where events are sent: https://…", required=True),
        _p("format", Type.STRING, "How they are told: as CloudEvents 1.0 (CLOUDEVENTS, also when absent), or as MLflow's registry tells them (MLFLOW).", filterable=True, values=WEBHOOK_FORMATS),
        _p("kinds", Type.STRINGS, "Only what happens to things of these kinds; all when absent."),
        _p("actions", Type.STRINGS, "Only these actions, such as CREATED; all when absent."),
        _p("types", Type.STRINGS, "Only events of these types, such as lineal.model_version.created; all when absent."),
        _p("withTags", Type.JSON, "Only what happens to things that have these tags, or whose container has: {name: value}, null for any value."),
        _p("state", Type.STRING, "ACTIVE, or PAUSED: then events wait until it is resumed.", filterable=True, internal=True, values=WEBHOOK_STATES),
        _p("reason", Type.TEXT, "Why it is paused.", internal=True),
        _p("scopes", Type.STRINGS, "What its events may tell: the read scopes of whoever set it last.", internal=True),
        _p("resumedAt", Type.TIME, "When it was last resumed.", internal=True, private=True),
        _p("rotatedAt", Type.TIME, "When its secret was last changed.", internal=True),
        _p("replayedAt", Type.TIME, "When deliveries of it were last asked for again.", internal=True),
    ),
)

NODE_KINDS: Final[Mapping[str, NodeKind]] = {
    kind.name: kind
    for kind in (
        WORKSPACE, MODEL, MODEL_VERSION, DATASET, DATASET_VERSION, FIELD, EXPERIMENT, RUN, PIPELINE, RUN_FACETS,
        DATASET_FACETS, EVALUATION,
        DEPLOYMENT, DEPLOYMENT_REVISION, DEPLOYMENT_EVENT, ENVIRONMENT, SERVING_TARGET, ARTIFACT, UPLOAD, CODE_REVISION,
        STAGE_SCHEME, GATE, STAGE_MOVE, APPROVAL, VALIDATION, MARK, PRINCIPAL, TEAM, COMMENT, NOTICE,
        WEBHOOK,
    )
}

KIND_OF_PREFIX: Final[Mapping[str, NodeKind]] = {kind.prefix: kind for kind in NODE_KINDS.values()}


def _pairs(sources: Iterable[NodeKind], targets: Iterable[NodeKind]) -> tuple[tuple[str, str], ...]:
    targets = tuple(targets)
    return tuple((source.name, target.name) for source in sources for target in targets)


_SERVED: Final = (
    _p("weight", Type.FLOAT, "Share of the traffic, from 0 to 1."),
    _p("digest", Type.STRING, "The files that it is served with, by their digest, where Lineal keeps them.", internal=True),
    _p("uri", Type.STRING, "Where the files are that it is served with, where they stay elsewhere.", internal=True),
)
_MOVE: Final = (_p("move", Type.STRING, "The move that brought it about, by id.", internal=True),)

VERSION_OF = EdgeKind(
    "VERSION_OF", (("ModelVersion", "Model"), ("DatasetVersion", "Dataset")),
    "A version belongs to its model or data set.", prov=("specializationOf",), exclusive=Exclusive.PER_SOURCE,
)
PART_OF = EdgeKind(
    "PART_OF", (("Run", "Experiment"), ("Run", "Run"), ("Field", "Dataset")),
    "A run belongs to an experiment or to the run that started it, a field to its data set.",
    exclusive=Exclusive.PER_SOURCE,
)
RUN_OF = EdgeKind(
    "RUN_OF", (("Run", "Pipeline"),), "A run is one execution of a pipeline.", exclusive=Exclusive.PER_SOURCE,
)
CONSUMES = EdgeKind(
    "CONSUMES", (("Pipeline", "Dataset"),), "A job takes data from there, as far as its producers say.", blocks=False,
)
PRODUCES = EdgeKind(
    "PRODUCES", (("Pipeline", "Dataset"),), "A job puts data there, as far as its producers say.", blocks=False,
)
SAME_AS = EdgeKind(
    "SAME_AS", (("Dataset", "Dataset"),), "Another name of the same data: whoever reads the one reads what was put into the other.",
    blocks=False,
)
FACETS_OF = EdgeKind(
    "FACETS_OF", (("RunFacets", "Run"), ("RunFacets", "Pipeline"), ("DatasetFacets", "Dataset")),
    "What the facets are of.", exclusive=Exclusive.PER_SOURCE, blocks=False,
)
READ = EdgeKind(
    "READ", (("Run", "DatasetVersion"), ("Run", "ModelVersion"), ("Run", "Field")),
    "A run read it.", Lineage.YES, ("used",), discriminator="role",
)
PRODUCED_BY = EdgeKind(
    "PRODUCED_BY", (("ModelVersion", "Run"), ("DatasetVersion", "Run"), ("Evaluation", "Run")),
    "A run made it.", Lineage.YES, ("wasGeneratedBy",), exclusive=Exclusive.PER_SOURCE,
)
DERIVED_FROM = EdgeKind(
    "DERIVED_FROM",
    (("ModelVersion", "ModelVersion"), ("DatasetVersion", "DatasetVersion"), ("Field", "Field")),
    "Made from another of its kind: finetune, adapter, merge, quantized, copy, …",
    Lineage.YES, ("wasDerivedFrom",), discriminator="relation",
)
TRAINED_ON = EdgeKind(
    "TRAINED_ON", (("ModelVersion", "DatasetVersion"),),
    "A version learned from this data, where no run is known.", Lineage.YES, ("wasInfluencedBy",), discriminator="split",
)
USES = EdgeKind(
    "USES", (("ModelVersion", "Field"),), "A version takes this feature as input.", Lineage.YES, ("wasInfluencedBy",),
)
BUILT_FROM = EdgeKind(
    "BUILT_FROM", (("Run", "CodeRevision"), ("ModelVersion", "CodeRevision")),
    "Made by this code.", Lineage.YES, ("used", "wasDerivedFrom"),
)
EVALUATES = EdgeKind(
    "EVALUATES", (("Evaluation", "ModelVersion"),), "Whose metrics these are.", Lineage.ON_REQUEST, ("wasDerivedFrom",),
)
EVALUATED_ON = EdgeKind(
    "EVALUATED_ON", (("Evaluation", "DatasetVersion"),), "What the metrics were measured on.", Lineage.ON_REQUEST, ("wasDerivedFrom",),
)
SERVES = EdgeKind(
    "SERVES", (("Deployment", "ModelVersion"),), "Open while the deployment serves this version.",
    Lineage.YES, ("used",), properties=_SERVED,
)
REVISION_OF = EdgeKind(
    "REVISION_OF", (("DeploymentRevision", "Deployment"),), "A revision belongs to its deployment.",
    prov=("specializationOf",), exclusive=Exclusive.PER_SOURCE,
)
SPECIFIES = EdgeKind(
    "SPECIFIES", (("DeploymentRevision", "ModelVersion"),), "A revision asked for this version.",
    prov=("specializationOf",), properties=_SERVED, blocks=False,
)
EVENT_OF = EdgeKind(
    "EVENT_OF", (("DeploymentEvent", "Deployment"),), "What it happened to.", exclusive=Exclusive.PER_SOURCE, blocks=False,
)
DEPLOYED_TO = EdgeKind(
    "DEPLOYED_TO", (("Deployment", "ServingTarget"),), "The platform it runs on.", exclusive=Exclusive.PER_SOURCE,
)
IN_ENVIRONMENT = EdgeKind(
    "IN_ENVIRONMENT", (("Deployment", "Environment"),), "The environment it belongs to.", exclusive=Exclusive.PER_SOURCE,
)
HAS_ARTIFACT = EdgeKind(
    "HAS_ARTIFACT", _pairs((MODEL_VERSION, DATASET_VERSION, RUN, EVALUATION), (ARTIFACT,)),
    "Files that belong to it.", prov=("hadMember",), discriminator="name",
)
UPLOAD_TO = EdgeKind(
    "UPLOAD_TO", _pairs((UPLOAD,), (MODEL_VERSION, DATASET_VERSION, RUN, EVALUATION)),
    "What the files will belong to.", exclusive=Exclusive.PER_SOURCE, blocks=False,
)
ALIAS = EdgeKind(
    "ALIAS", (("Model", "ModelVersion"),), "A name that points to one version of the model at a time.",
    discriminator="name", properties=_MOVE, exclusive=Exclusive.PER_SOURCE_AND_NAME, blocks=False,
)
STAGE = EdgeKind(
    "STAGE", (("Model", "ModelVersion"),), "The stage that a version is in.",
    discriminator="name", properties=_MOVE, exclusive=Exclusive.PER_TARGET, blocks=False,
)
MOVED = EdgeKind(
    "MOVED", (("StageMove", "ModelVersion"),), "The version that moved.", exclusive=Exclusive.PER_SOURCE, blocks=False,
)
REQUESTS = EdgeKind(
    "REQUESTS", (("Approval", "ModelVersion"),), "The version that approval is asked for.", blocks=False,
)
REVIEWER = EdgeKind(
    "REVIEWER", (("Approval", "Principal"), ("Approval", "Team")), "Who is asked to decide.", blocks=False,
)
DECIDED_BY = EdgeKind(
    "DECIDED_BY", (("Approval", "Principal"),), "Who decided, and how: APPROVE or REJECT.",
    discriminator="decision",
    properties=(
        _p("comment", Type.TEXT, "What was said with it.", internal=True),
        _p("teams", Type.STRINGS, "The teams that the token of whoever decided said they are in.", internal=True),
    ),
    exclusive=Exclusive.PER_PAIR, blocks=False,
)
VALIDATES = EdgeKind(
    "VALIDATES", (("Validation", "ModelVersion"), ("Validation", "DatasetVersion")),
    "The version that is checked, and the data that it is checked on.", blocks=False,
)
REPORTED = EdgeKind(
    "REPORTED", (("Validation", "Evaluation"),), "What came of it.", blocks=False,
)
MARKS = EdgeKind(
    "MARKS", (("Mark", "Dataset"), ("Mark", "DatasetVersion")), "What is marked, while it is.",
    exclusive=Exclusive.PER_SOURCE, blocks=False,
)
ACTS_FOR = EdgeKind(
    "ACTS_FOR", (("Principal", "Principal"),), "The people who answer for a service account: what it does counts as done by them where two people are asked for.",
    prov=("actedOnBehalfOf",), blocks=False,
)
SUPERSEDED_BY = EdgeKind(
    "SUPERSEDED_BY", (("Model", "Model"), ("ModelVersion", "ModelVersion")), "Use that one instead.", blocks=False,
)
OWNED_BY = EdgeKind(
    "OWNED_BY", _pairs((k for k in NODE_KINDS.values() if not k.is_global), (PRINCIPAL, TEAM)),
    "Who answers for it.", prov=("wasAttributedTo", "wasAssociatedWith"),
)
MEMBER_OF = EdgeKind("MEMBER_OF", (("Principal", "Team"),), "Who belongs to a team.", blocks=False)
GRANTS = EdgeKind(
    "GRANTS", (("Workspace", "Principal"), ("Workspace", "Team")),
    "Who has a role in a workspace: VIEWER, CONTRIBUTOR, APPROVER or OWNER.",
    discriminator="role", exclusive=Exclusive.PER_PAIR, blocks=False,
)
SHARED_WITH = EdgeKind(
    "SHARED_WITH", (("Model", "Workspace"), ("Dataset", "Workspace")),
    "Whoever may read that workspace may read this model or data set too.", blocks=False,
)
ABOUT = EdgeKind(
    "ABOUT", _pairs((COMMENT,), NODE_KINDS.values()), "What a comment is about; about a comment, it is a reply.",
    exclusive=Exclusive.PER_SOURCE, blocks=False,
)
MENTIONS = EdgeKind("MENTIONS", _pairs((COMMENT,), (PRINCIPAL, TEAM)), "Who is mentioned in a comment.", blocks=False)
CONCERNS = EdgeKind(
    "CONCERNS", _pairs((NOTICE,), NODE_KINDS.values()), "What a notice is about.",
    exclusive=Exclusive.PER_SOURCE, blocks=False,
)
BECAUSE_OF = EdgeKind(
    "BECAUSE_OF", _pairs((NOTICE,), (MARK, MODEL, MODEL_VERSION)), "What happened somewhere else that made it a notice: a mark, a version that was retired.",
    exclusive=Exclusive.PER_SOURCE, blocks=False,
)
NOTIFIES = EdgeKind("NOTIFIES", _pairs((NOTICE,), (PRINCIPAL, TEAM)), "Who was told.", blocks=False)
WATCHES = EdgeKind(
    "WATCHES", _pairs((PRINCIPAL,), NODE_KINDS.values()),
    "Who is notified of what happens to it; of a model, a data set or another container, to its parts too.", blocks=False,
)

# fmt: on
EDGE_KINDS: Final[Mapping[str, EdgeKind]] = {
    kind.name: kind
    for kind in (
        VERSION_OF,
        PART_OF,
        RUN_OF,
        CONSUMES,
        PRODUCES,
        SAME_AS,
        FACETS_OF,
        READ,
        PRODUCED_BY,
        DERIVED_FROM,
        TRAINED_ON,
        USES,
        BUILT_FROM,
        EVALUATES,
        EVALUATED_ON,
        SERVES,
        REVISION_OF,
        SPECIFIES,
        EVENT_OF,
        DEPLOYED_TO,
        IN_ENVIRONMENT,
        HAS_ARTIFACT,
        UPLOAD_TO,
        ALIAS,
        STAGE,
        MOVED,
        REQUESTS,
        REVIEWER,
        DECIDED_BY,
        VALIDATES,
        REPORTED,
        MARKS,
        ACTS_FOR,
        SUPERSEDED_BY,
        OWNED_BY,
        MEMBER_OF,
        GRANTS,
        SHARED_WITH,
        ABOUT,
        MENTIONS,
        CONCERNS,
        BECAUSE_OF,
        NOTIFIES,
        WATCHES,
    )
}

LINEAGE_EDGES: Final = tuple(k.name for k in EDGE_KINDS.values() if k.lineage is Lineage.YES)
"""What a walk takes unless asked otherwise."""

WALKABLE_EDGES: Final = tuple(k.name for k in EDGE_KINDS.values() if k.lineage is not Lineage.NO)
"""What a walk may take: the only edges among which a cycle is refused."""

BLOCKING_EDGES: Final = tuple(k.name for k in EDGE_KINDS.values() if k.blocks)
"""The edges that refuse the delete of their target."""

CONTAINING_EDGES: Final = (VERSION_OF.name, PART_OF.name, RUN_OF.name)
"""The edges from a part to what stands for it as a root of lineage."""


def prov_term(edge: EdgeKind, source: NodeKind, target: NodeKind) -> str:
    """The PROV term of an edge between two kinds: the one that says most of what may join them."""
    return next((term for term in edge.prov if PROV_ENDS.get(term) == (source.prov, target.prov)), PROV_ANY)


def key_of(kind: NodeKind, workspace: str, container: str | None, name: str) -> str:
    """The natural key: unique among what is not deleted.

    A part's key names its container by id, so that renaming the container leaves it alone.
    """
    scope = container if kind.within else GLOBAL if kind.is_global else workspace
    return f"{kind.name}/{scope}/{normalize(name)}"


def sort_key(name: str) -> str:
    """What lists order names by: folded, so that both stores agree.

    Folding can make one character eighteen; what an index entry of a store has room for is kept.
    """
    return fold(name)[:MAX_NAME]
