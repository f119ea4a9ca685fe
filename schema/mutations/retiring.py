"""Mutations of the end of models and versions."""

from __future__ import annotations

from typing import Final

import strawberry

from resolvers.lifecycle import retiring
from resolvers.lifecycle.marking import MAX_REASON
from schema.mutations.declare import Answer, does, key, may, need, takes
from schema.mutations.models import VERSION
from schema.node import Node
from schema.scalars import DateTime

_OLD: Final = (
    "The model, with all its versions, or one version: an id, or an address such as models:/name or models:/name/3."
)
_ANSWER: Final = Answer("node", Node, "The model or version, as it now is.")
_REASON: Final = f"Why, 1 to {MAX_REASON} characters."


@takes("What is not to be used any more.")
class DeprecateInput:
    address: strawberry.ID = need(_OLD, "node")
    reason: str = need(_REASON)
    since: DateTime | None = may("From when, in the future perhaps; now unless given.", None)
    successor: strawberry.ID | None = may("What to use instead, of the same kind: an id or an address.", None)
    idempotency_key: str | None = key()


@takes("A deprecation to take back.")
class UndeprecateInput:
    address: strawberry.ID = need(_OLD, "node")


@takes("A version to retire.")
class RetireInput:
    version: strawberry.ID = VERSION.address
    reason: str = need(_REASON)
    force: bool = may("Retire it although deployments serve it, or versions depend on it.", False)
    idempotency_key: str | None = key()


@strawberry.type(description="Mutations of the end of models and versions.")
class RetirementMutations:
    deprecate = does(
        retiring.deprecate,
        DeprecateInput,
        "Says that a model or a version is not to be used any more, from when, and what instead; the owners and "
        "watchers of it and of what came of it are told.",
        _ANSWER,
    )
    undeprecate = does(retiring.undeprecate, UndeprecateInput, "Takes a deprecation back.", _ANSWER)
    retire = does(
        retiring.retire,
        RetireInput,
        "Retires a version: it comes to the stage Retired, its aliases are taken away, and nothing may serve it or be "
        "made from it any more. Refused while live deployments serve it, or versions made from it are neither "
        "deprecated nor retired, naming them, unless forced.",
        VERSION.answer,
    )
