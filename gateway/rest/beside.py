"""What the OpenAPI document has beside REST's own routes: the feed of events, OpenLineage's events and hubs' webhooks.

They answer for themselves (gateway.events, gateway.openlineage.view, gateway.inbound); here is what they take and give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auth.scopes import OPEN, ROUTES, Requirement
from gateway import events, inbound
from gateway.openlineage import view
from gateway.openlineage.parsing import TYPES
from gateway.rest.json_schemas import REF, Json
from gateway.rest.routes import PATH
from resolvers.cloudevents import BATCH
from resolvers.events import PLACE
from resolvers.feed import MAX_EVENTS
from resolvers.inbound import huggingface, wandb

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Beside:
    """A route beside REST's own; `said` is what the document says of it, without what all operations have.

    `refuses` are the statuses of errors, as problem+json.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    said: Json
    refuses: Sequence[int]

    @property
    def needed(self) -> Requirement:
        """The scopes that open it; none where it says itself what does."""
        if "security" in self.said:
            return OPEN
        return ROUTES[f"{self.method} {self.path.removeprefix(view.WITHIN)}"]

    @property
    def status(self) -> int:
        """The status of its answer, where all is well."""
        return int(next(iter(self.said["responses"])))

    @property
    def below(self) -> str | None:
        """Its path below PATH; None where it is elsewhere."""
        return self.path.removeprefix(PATH) if self.path.startswith(f"{PATH}/") else None


def _object(description: str, properties: Mapping[str, Json], *required: str, closed: bool = False) -> Json:
    made: Json = {"type": "object", "description": description, "properties": dict(properties)}
    if required:
        made["required"] = list(required)
    return made | ({"additionalProperties": False} if closed else {})


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def _ref(name: str, description: str = "") -> Json:
    return {"$ref": REF + name, **({"description": description} if description else {})}


def _list(name: str, description: str) -> Json:
    return {"type": "array", "items": _ref(name), "description": description}


# ── The feed ──────────────────────────────────────────────────────────────────────────────────────

_CLOUD_EVENT: Final = _object(
    "What happened to one thing, as CloudEvents 1.0 (https://cloudevents.io) has it.",
    {
        "specversion": {"const": "1.0", "description": "The version of CloudEvents."},
        "id": _text("The same wherever and whenever the event is told."),
        "source": _text("The address of this server."),
        "type": _text("`lineal.<kind>.<action>`, such as lineal.model_version.created."),
        "subject": _text("The id of what it is about."),
        "time": _text("When it happened.", format="date-time"),
        "datacontenttype": {"const": JSON, "description": "What `data` is."},
        "sequence": _text("Its place among all events, which sorts as text does: what `after` takes."),
        "linealworkspace": _text("The workspace that it happened in, where it is in one."),
        "linealcause": _text("The use case that did it."),
        "data": {"type": "object", "description": "The thing, who did it, and what was done to it as `change`."},
    },
    *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "sequence", "linealcause", "data"),
    closed=True,
)


def _number(name: str, description: str, low: int, high: int, default: int) -> Json:
    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return {"name": name, "in": "query", "description": description, "schema": schema}


_AFTER: Final[Json] = {
    "name": "after",
    "in": "query",
    "description": "The `sequence` to go on from; what is given comes after it. 0 is the beginning.",
    "schema": {"type": "string", "pattern": f"^{PLACE}$", "default": "0"},
}
_FEED: Final = Beside(
    "GET",
    events.PATH,
    "events",
    "events",
    "What happened to what you may read, the earliest first, as CloudEvents. The `Link` header leads on, also from an "
    "empty page.",
    {
        "parameters": [
            _AFTER,
            _number("limit", "How many events at most.", 1, MAX_EVENTS, events.DEFAULT_LIMIT),
            _number("wait", "How many seconds to wait where there is nothing yet.", 0, events.MAX_WAIT, 0),
        ],
        "responses": {
            "200": {
                "description": "Events in order.",
                "headers": {"Link": {"$ref": "#/components/headers/Link"}},
                "content": {BATCH: {"schema": {"type": "array", "items": _ref("CloudEvent")}}},
            }
        },
    },
    (400, 401, 403, 405, 500, 503),
)

# ── OpenLineage ───────────────────────────────────────────────────────────────────────────────────

_FACETS: Final[Json] = {
    "type": ["object", "null"],
    "description": "Facets by name; those that Lineal does not know are kept as they are.",
    "additionalProperties": {"type": ["object", "null"]},
}
_NAMED: Final = {
    "namespace": _text("Where it is known by its name.", minLength=1),
    "name": _text("Its name there.", minLength=1),
    "facets": _FACETS,
}
_SAID_OF_DATA: Final = {
    "inputs": _list("OpenLineageDataset", "The data sets that are read."),
    "outputs": _list("OpenLineageDataset", "The data sets that are written."),
}
_TIME: Final = _text("When it happened; without a zone it is UTC.", format="date-time")
SCHEMAS: Final[Mapping[str, Json]] = {
    "CloudEvent": _CLOUD_EVENT,
    "OpenLineageJob": _object("A job: a Pipeline.", _NAMED, "namespace", "name"),
    "OpenLineageDataset": _object(
        "A data set.", _NAMED | {"inputFacets": _FACETS, "outputFacets": _FACETS}, "namespace", "name"
    ),
    "OpenLineageRun": _object(
        "A run of a job.", {"runId": _text("Its id, a UUID.", format="uuid"), "facets": _FACETS}, "runId"
    ),
    "OpenLineageEvent": {
        "description": "An event of OpenLineage 2-0-2 (https://openlineage.io): of a run, of a job, or of a data set.",
        "anyOf": [
            _object(
                "What a run did.",
                {
                    "eventTime": _TIME,
                    "eventType": _text("What became of the run.", enum=list(TYPES)),
                    "run": _ref("OpenLineageRun", "The run."),
                    "job": _ref("OpenLineageJob", "The job that it is a run of."),
                    **_SAID_OF_DATA,
                },
                *("eventTime", "run", "job"),
            ),
            _object(
                "What a job reads and writes.",
                {"eventTime": _TIME, "job": _ref("OpenLineageJob", "The job."), **_SAID_OF_DATA},
                *("eventTime", "job"),
            ),
            _object(
                "What a data set is.",
                {"eventTime": _TIME, "dataset": _ref("OpenLineageDataset", "The data set.")},
                *("eventTime", "dataset"),
            ),
        ],
    },
    "OpenLineageFailures": _object(
        "What of a batch was not taken.",
        {
            "status": {"const": "partial_success", "description": "That some events were not taken."},
            "summary": {
                "type": "object",
                "description": "How many there were, and what became of them.",
                "additionalProperties": {"type": "integer"},
            },
            "failed_events": {
                "type": "array",
                "description": "Each event that was not taken.",
                "items": _object(
                    "An event that was not taken.",
                    {
                        "index": {"type": "integer", "description": "Its place in the batch, from 0."},
                        "reason": _text("What is wrong with it."),
                        "retriable": {"type": "boolean", "description": "Whether it may be taken later."},
                    },
                    *("index", "reason", "retriable"),
                    closed=True,
                ),
            },
        },
        *("status", "summary", "failed_events"),
        closed=True,
    ),
}
"""The components that these refer to."""

_EVENT: Final[Json] = {
    "eventTime": "2026-03-01T04:05:06Z",
    "eventType": "COMPLETE",
    "run": {"runId": "0198c1fb-30e4-7c9b-a1b1-9a7c1e1f7a2d"},
    "job": {"namespace": "warehouse", "name": "orders_daily"},
    "inputs": [{"namespace": "postgres://db:5432", "name": "public.orders"}],
    "outputs": [{"namespace": "postgres://db:5432", "name": "public.orders_daily"}],
}
_WORKSPACE: Final[Json] = {
    "name": "workspace",
    "in": "path",
    "required": True,
    "description": "The name of the workspace that the events go into.",
    "schema": {"type": "string", "minLength": 1},
    "example": "default",
}
_REFUSED: Final = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 500, 503)


_TAKEN: Final[Json] = {"201": {"description": "It was taken."}}
_ALL_TAKEN: Final[Json] = {
    "204": {"description": "All were taken."},
    "200": {
        "description": "Some were not taken.",
        "content": {JSON: {"schema": _ref("OpenLineageFailures")}},
    },
}


def _taking(path: str, name: str, *, many: bool = False) -> Beside:
    within = path.startswith(view.WITHIN)
    one = _ref("OpenLineageEvent")
    body: Json = {"type": "array", "items": one, "maxItems": view.MAX_EVENTS} if many else one
    content = {JSON: {"schema": body, "example": [_EVENT] if many else _EVENT}}
    said: Json = {
        "parameters": [_WORKSPACE] if within else [],
        "requestBody": {"required": True, "content": content},
        "responses": _ALL_TAKEN if many else _TAKEN,
    }
    what = "a list of OpenLineage's events, of which a wrong one harms no other" if many else "an event of OpenLineage"
    summary = f"Takes {what}, into {'this' if within else 'the default'} workspace."
    return Beside("POST", path, name, "lineage", summary, said, _REFUSED)


# ── Webhooks of hubs ──────────────────────────────────────────────────────────────────────────────


def _hook(path: str, name: str, hub: str, *, header: str, opens: str, example: Json) -> Beside:
    body: Json = {"type": "object", "description": f"What {hub} sends; what is not known of it is ignored."}
    given = {"name": header, "in": "header", "required": True, "description": opens, "schema": {"type": "string"}}
    said: Json = {
        # No token: the secret that the header has, or signs with, is what opens it.
        "security": [],
        "parameters": [given],
        "requestBody": {"required": True, "content": {JSON: {"schema": body, "example": example}}},
        "responses": {"204": {"description": "It was taken, also where there was nothing to record."}},
    }
    summary = f"Takes a webhook of {hub}, where a secret for it is configured."
    return Beside("POST", path, name, "hooks", summary, said, (400, 401, 404, 405, 413, 500, 503))


_WANDB: Final = _hook(
    inbound.WANDB,
    "recordWandbWebhook",
    "Weights & Biases",
    header=wandb.SIGNATURE,
    opens="HMAC-SHA256 of the body by the secret, in base64.",
    example={"artifact_version": "wandb-artifact://_id/one", "artifact_collection_name": "churn"},
)
_HUGGING_FACE: Final = _hook(
    inbound.HUGGING_FACE,
    "recordHuggingFaceWebhook",
    "the Hugging Face Hub",
    header=huggingface.HEADER,
    opens="The secret.",
    example={"event": {"action": "create", "scope": "repo"}, "repo": {"type": "model", "name": "acme/churn"}},
)

BESIDE: Final[Sequence[Beside]] = (
    _FEED,
    _WANDB,
    _HUGGING_FACE,
    _taking(view.PATH, "recordEvent"),
    _taking(view.BATCH, "recordEvents", many=True),
    _taking(view.WITHIN + view.PATH, "recordEventIn"),
    _taking(view.WITHIN + view.BATCH, "recordEventsIn", many=True),
)
"""Every such route."""
