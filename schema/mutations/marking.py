"""Mutations of marks."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.lifecycle import marking
from schema.enums import MarkType
from schema.lifecycle import Mark
from schema.mutations.declare import Noun, does, key, may, need, takes

MARK: Final = Noun(ontology.MARK, Mark, "mark", "mark", "marks:/mk_…")

_REASON: Final = (
    f"Why, 1 to {marking.MAX_REASON} characters. Those who are told hear it where they may read the data set."
)


@takes("A data set to mark.")
class MarkDatasetInput:
    address: strawberry.ID = need(
        "The data set, with all its versions, or one version: an id, or an address such as datasets:/name or "
        "datasets:/name/v2.",
        "dataset",
    )
    type: MarkType = may("What the mark says.", MarkType("CONTAMINATED"))
    reason: str = need(_REASON)
    idempotency_key: str | None = key()


@takes("A mark to take off.")
class UnmarkInput:
    address: strawberry.ID = MARK.address
    reason: str = need(_REASON)


@strawberry.type(description="Mutations of marks.")
class MarkMutations:
    mark_dataset = does(
        marking.mark_dataset,
        MarkDatasetInput,
        "Marks a data set, or a version of one, and tells the owners and watchers of every model that learned from it, "
        "at any depth, and of every deployment that serves one of those or was told to. Mark.affected lists them.",
        MARK.answer,
    )
    unmark = does(
        marking.unmark,
        UnmarkInput,
        "Takes a mark off, and tells those who were told of it. It stays in history.",
        MARK.answer,
    )
