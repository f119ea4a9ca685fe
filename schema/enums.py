"""Enums, derived from the ontology: their Python values are the ontology's own names."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import strawberry

from graph import ontology, port
from resolvers import events
from resolvers.exporting.exporting import FORMATS
from resolvers.webhooks import deliveries


def described(name: str, description: str, members: Iterable[tuple[str, Any, str]]) -> Any:
    """A GraphQL enum of (name, value, description)."""
    values = {key: strawberry.enum_value(value, description=doc) for key, value, doc in members}
    functional: Any = Enum
    return strawberry.enum(functional(name, values, module=__name__), description=description)


if TYPE_CHECKING:

    class NodeKind(Enum):
        """A kind of node."""

    class EdgeKind(Enum):
        """A kind of edge."""

    class OrderDirection(Enum):
        """Which end comes first; the value says whether it descends."""

    class LineageDirection(Enum):
        """Which way a walk goes; the value is the port's direction."""

    class MetricFigure(Enum):
        """Which figure of a metric is compared."""

    class WorkspaceRole(Enum):
        """A role in a workspace."""

    class MarkType(Enum):
        """What a mark says."""

    class PrincipalType(Enum):
        """Whether a principal is a person."""

    class EventAction(Enum):
        """What happened to a thing."""

    class WebhookFormat(Enum):
        """How events are told."""

    class DeliveryState(Enum):
        """What became of a delivery."""

    class ExportFormat(Enum):
        """A form of an export; the value is its name."""

else:
    NodeKind = described(
        "NodeKind", "A kind of node.", ((kind.constant, kind.name, kind.doc) for kind in ontology.NODE_KINDS.values())
    )
    EdgeKind = described(
        "EdgeKind",
        "A kind of edge. It points from what exists because of something to that something.",
        ((kind.name, kind.name, kind.doc) for kind in ontology.EDGE_KINDS.values()),
    )
    OrderDirection = described(
        "OrderDirection",
        "Which end of an order comes first. What is absent comes last both ways.",
        (("ASC", False, "The smallest first."), ("DESC", True, "The largest first.")),
    )
    LineageDirection = described(
        "LineageDirection",
        "Which way a walk through lineage goes.",
        (
            ("UPSTREAM", port.Direction.UPSTREAM, "Along the arrows: what something came from."),
            ("DOWNSTREAM", port.Direction.DOWNSTREAM, "Against the arrows: what came of something."),
        ),
    )
    MetricFigure = described(
        "MetricFigure",
        "Which figure of a metric.",
        (
            ("VALUE", "value", "The last value."),
            ("MINIMUM", "minimum", "The smallest value."),
            ("MAXIMUM", "maximum", "The largest value."),
        ),
    )
    WorkspaceRole = described(
        "WorkspaceRole",
        "What somebody is in a workspace; each role may do what those before it may.",
        (
            ("VIEWER", "VIEWER", "Reads."),
            ("CONTRIBUTOR", "CONTRIBUTOR", "Writes."),
            ("APPROVER", "APPROVER", "Moves versions between stages."),
            ("OWNER", "OWNER", "Gives roles, shares, administers, and reads the audit."),
        ),
    )
    MarkType = described(
        "MarkType",
        "What a mark says of a data set.",
        (
            ("CONTAMINATED", "CONTAMINATED", "What is in it must not have been learned from: test data, for one."),
            ("FORBIDDEN", "FORBIDDEN", "It may not be used: its licence, or the law, says no."),
        ),
    )
    PrincipalType = described(
        "PrincipalType",
        "Whether a principal is a person or a service account.",
        (("USER", "USER", "A person."), ("SERVICE", "SERVICE", "A service account.")),
    )
    EventAction = described(
        "EventAction",
        "What happened to a thing, as events tell it.",
        ((action, action, doc) for action, doc in events.ACTIONS.items()),
    )
    WebhookFormat = described(
        "WebhookFormat",
        "How a webhook tells events.",
        (
            ("CLOUDEVENTS", "CLOUDEVENTS", "As CloudEvents 1.0, signed as Standard Webhooks say."),
            ("MLFLOW", "MLFLOW", "As MLflow's registry tells and signs them; only what MLflow has events for."),
        ),
    )
    DeliveryState = described(
        "DeliveryState",
        "What became of a delivery.",
        ((state, state, doc) for state, doc in deliveries.STATES.items()),
    )
    ExportFormat = described(
        "ExportFormat",
        "A form that lineage is exported in.",
        ((name.upper().replace("-", "_"), name, f"{form.doc}.") for name, form in FORMATS.items()),
    )


@cache
def order_field(kind: str) -> Any:
    """What lists of a kind can be ordered by, as the ontology says."""
    node = ontology.NODE_KINDS[kind]
    return described(
        f"{kind}OrderField",
        f"What lists of {kind} can be ordered by.",
        ((ontology.constant(name), name, _order_doc(node, name)) for name in node.orders),
    )


_ORDER_DOCS = {
    "name": "By name, without regard to case.",
    "createdAt": "By when it was registered.",
    "updatedAt": "By when it last changed.",
}


def _order_doc(kind: ontology.NodeKind, name: str) -> str:
    return _ORDER_DOCS.get(name) or f"By {name}: {kind.by_name[name].doc}"
