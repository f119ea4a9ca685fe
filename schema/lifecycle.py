"""Stage schemes, gates, moves between stages, approvals, validations and marks: what decides of versions and data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from graph import ontology
from resolvers.lifecycle.standing import UNDECIDED, expired
from schema.connection import Connection
from schema.declare import Prop, edge, noun, prop
from schema.marks import Affected, MarkMoment, affected, moment
from schema.node import Node
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.comment import Notice
    from schema.evaluation import Evaluation
    from schema.model import ModelVersion
    from schema.people import Principal


@noun(ontology.STAGE_SCHEME)
class StageScheme(Node):
    """A stage scheme."""

    stages: JSON = prop()
    moves: JSON | None = prop()


@noun(ontology.GATE)
class Gate(Node):
    """A gate."""

    stage: str | None = prop()
    alias: str | None = prop()
    environment: str | None = prop()
    conditions: JSON = prop()


@noun(ontology.STAGE_MOVE)
class StageMove(Node):
    """A move between stages."""

    alias: str | None = prop()
    from_stage: str | None = prop()
    to_stage: str | None = prop()
    reason: str | None = prop()
    overridden: bool = prop(absent=False)
    verdict: JSON | None = prop()
    version: ModelVersion | None = edge(ontology.MOVED, "OUT", "The version that moved.")


class _State(Prop):
    """The state of an approval: what is past its time has expired, whether anybody noticed or not."""

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        """The state as it is now."""
        state = super().get_result(source, info, args, kwargs)
        over = state in UNDECIDED and expired(source, time.time_ns() // 1_000)
        return "EXPIRED" if over else state


def _state() -> Any:
    return _State()


@noun(ontology.APPROVAL)
class Approval(Node):
    """An approval."""

    state: str | None = _state()
    stage: str | None = prop()
    alias: str | None = prop()
    environment: str | None = prop()
    needed: BigInt | None = prop()
    role: str | None = prop()
    reason: str | None = prop()
    expires_at: DateTime | None = prop()
    versions: Connection[ModelVersion] = edge(ontology.REQUESTS, "OUT", "The versions that approval is asked for.")
    reviewers: Connection[Node] = edge(ontology.REVIEWER, "OUT", "Who is asked to decide.")
    decisions: Connection[Principal] = edge(
        ontology.DECIDED_BY, "OUT", "Who decided; APPROVE or REJECT is the edge's discriminator."
    )


@noun(ontology.VALIDATION)
class Validation(Node):
    """A validation."""

    state: str | None = prop()
    suite: str | None = prop()
    settings: JSON | None = prop()
    attempts: BigInt | None = prop()
    max_attempts: BigInt | None = prop()
    timeout_seconds: BigInt | None = prop()
    worker: str | None = prop()
    epoch: BigInt | None = prop()
    leased_until: DateTime | None = prop()
    deadline: DateTime | None = prop()
    message: str | None = prop()
    validates: Connection[Node] = edge(
        ontology.VALIDATES, "OUT", "The version that is checked, and the data that it is checked on."
    )
    evaluation: Evaluation | None = edge(ontology.REPORTED, "OUT", "What came of it.")


@noun(ontology.MARK)
class Mark(Node):
    """A mark."""

    type: str = prop()
    reason: str | None = prop()
    lifted_reason: str | None = prop()
    marks: Connection[Node] = edge(ontology.MARKS, "OUT", "What is marked, while it is.")
    caused_notices: Connection[Notice] = edge(ontology.BECAUSE_OF, "IN", "What people were told because of it.")
    moment: MarkMoment | None = moment()
    affected: Affected | None = affected()
