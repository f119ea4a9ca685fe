"""What questions are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import Any, Final

from graph.ids import new_id
from graph.port import Node
from tests.tenancy.model import NEVER, Dump, Eyes

Cursors = Mapping[tuple[str, str], Mapping[str, str]]
"""Cursors that somebody was given who sees everything, by the ids of what they stand at: those of the whole list of a
kind in an order, and those of a search for a word."""

NO_CURSORS: Final[Cursors] = MappingProxyType({})


@dataclass
class Question:
    """A document with one root field, `it`; the scopes without which `it` is null, and those of what is inside.

    `check` looks at `it`. Where nothing is there for the caller `twin` asks the same of what nobody ever made,
    and `asked` and `absent` are what the two ask about; without a `check` the answer to both is null. `refusal` is
    the code of the error that everybody with these scopes gets.
    """

    text: str
    needs: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    check: Callable[[Any], None] | None = None
    asked: str = ""
    absent: str = ""
    refusal: str = ""

    @property
    def twin(self) -> str:
        """The same question about what is not there at all."""
        return self.text.replace(self.asked, self.absent)


class Questions:
    """Makes up questions for one caller: what all sorts of them share."""

    def __init__(self, rng: Random, eyes: Eyes, times: Sequence[int], cursors: Cursors = NO_CURSORS) -> None:
        self.rng = rng
        self.eyes = eyes
        self.world: Dump = eyes.world
        self.times = times
        self.cursors = cursors

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
