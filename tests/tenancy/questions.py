"""What questions are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from graph.ids import new_id
from graph.port import Node
from tests.tenancy.model import NEVER, Dump, Eyes

NESTED: Final[tuple[tuple[str, str, str, str, str | None, tuple[str, ...]], ...]] = (
    ("Model", "versions", "VERSION_OF", "IN", "ModelVersion", ()),
    ("Model", "supersededBy", "SUPERSEDED_BY", "OUT", "Model", ()),
    ("Model", "supersedes", "SUPERSEDED_BY", "IN", "Model", ()),
    ("Model", "aliases", "ALIAS", "OUT", "ModelVersion", ()),
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
    ("Dataset", "versions", "VERSION_OF", "IN", "DatasetVersion", ()),
    ("Dataset", "fields", "PART_OF", "IN", "Field", ()),
    ("Run", "reads", "READ", "OUT", "DatasetVersion", ()),
    ("Run", "readsModels", "READ", "OUT", "ModelVersion", ()),
    ("Run", "modelVersions", "PRODUCED_BY", "IN", "ModelVersion", ()),
    ("Run", "children", "PART_OF", "IN", "Run", ()),
    ("Deployment", "serves", "SERVES", "OUT", "ModelVersion", ()),
    ("Deployment", "revisions", "REVISION_OF", "IN", "DeploymentRevision", ()),
    ("Evaluation", "evaluates", "EVALUATES", "OUT", "ModelVersion", ()),
    ("Evaluation", "evaluatedOn", "EVALUATED_ON", "OUT", "DatasetVersion", ()),
    ("Workspace", "members", "GRANTS", "OUT", None, ("workspace:read",)),
    ("Workspace", "shared", "SHARED_WITH", "IN", None, ()),
    ("Principal", "teams", "MEMBER_OF", "OUT", "Team", ()),
    ("Principal", "owns", "OWNED_BY", "IN", None, ()),
    ("Principal", "workspaces", "GRANTS", "IN", "Workspace", ()),
    ("Principal", "mentionedIn", "MENTIONS", "IN", "Comment", ()),
    ("Principal", "watches", "WATCHES", "OUT", None, ("activity:read",)),
    ("Team", "members", "MEMBER_OF", "IN", "Principal", ()),
    ("Team", "owns", "OWNED_BY", "IN", None, ()),
    ("Comment", "mentions", "MENTIONS", "OUT", None, ("workspace:read",)),
    ("Node", "owners", "OWNED_BY", "OUT", None, ("workspace:read",)),
    ("Node", "comments", "ABOUT", "IN", "Comment", ()),
    ("Node", "watchers", "WATCHES", "IN", "Principal", ("activity:read",)),
)


@dataclass
class Question:
    """A document with one root field, `it`; the scopes without which `it` is null, and those of what is inside.

    `check` looks at `it`. Where nothing is there for the caller `twin` asks the same of what nobody ever made,
    and `asked` and `absent` are what the two ask about.
    """

    text: str
    needs: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    check: Callable[[Any], None] | None = None
    asked: str = ""
    absent: str = ""

    @property
    def twin(self) -> str:
        """The same question about what is not there at all."""
        return self.text.replace(self.asked, self.absent)


class Questions:
    """Makes up questions for one caller: what all sorts of them share."""

    def __init__(self, rng: Random, eyes: Eyes, times: Sequence[int]) -> None:
        self.rng = rng
        self.eyes = eyes
        self.world: Dump = eyes.world
        self.times = times

    # What is asked about ──────────────────────────────────────────────────────────────────────────

    def _id(self) -> Node:
        """Anything, deleted things too; half of the time something that the caller sees."""
        seen = sorted(self.eyes.visible)
        if seen and self.rng.random() < 0.5:
            return self.world.records[self.rng.choice(seen)].node
        return self.rng.choice(self.world.nodes)

    def _walkable(self) -> Node:
        kinds = ("Model", "ModelVersion", "Dataset", "DatasetVersion", "Run", "Experiment", "Deployment", "Evaluation")
        seen = self.eyes.of_kind(*kinds)
        return self.rng.choice(seen if seen and self.rng.random() < 0.85 else self.world.of_kind(*kinds))

    def _sees_at(self, id: str, at: int) -> bool:
        node = self.world.records[id].node
        return id in self.eyes.visible and (at == NEVER or node.created_at <= at) and node.deleted_at is None

    def _absent(self, id: str) -> str:
        return new_id(id[:2])

    def _mark(self) -> str:
        return f"z{self.rng.getrandbits(56):014x}"


def quoted(text: str) -> str:
    """Text as GraphQL has it."""
    return json.dumps(text)


def enums(name: str, values: Collection[str] | None) -> str:
    """An argument that lists enum members, or nothing."""
    return f", {name}: [{', '.join(values)}]" if values else ""


def moment(microseconds: int) -> str:
    """A time as GraphQL has it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).isoformat()
