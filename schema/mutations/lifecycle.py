"""Mutations of aliases, stages, tags, owners and successors."""

from __future__ import annotations

from typing import Final

import strawberry

from resolvers.writing import lifecycle
from schema.mutations.declare import Answer, does, may, need, takes
from schema.mutations.inputs import TagInput
from schema.mutations.models import MODEL, VERSION
from schema.node import Node

_MODEL: Final = "The model: an id, or an address such as models:/name."
_NODE: Final = "Anything: an id, or an address such as models:/name/3."
_REASON: Final = "Why, for the history."
_OVERRIDE: Final = (
    "Why it shall be done although a gate says no, or the stage scheme has no such move. It stands out in history and "
    "audit."
)
_ANSWER: Final = Answer("node", Node, "What it was done to, as it now is.")


@takes("Where an alias shall point.")
class SetAliasInput:
    model: strawberry.ID = need(_MODEL)
    name: str = need("The alias, as in models:/name@champion.")
    version: strawberry.ID = need("The version of that model: an id, or an address such as models:/name/3.")
    reason: str | None = may(_REASON, None)
    override: str | None = may(_OVERRIDE, None)


@takes("An alias to take away.")
class DeleteAliasInput:
    model: strawberry.ID = need(_MODEL)
    name: str = need("The alias.")


@takes("The stage that a model version shall be in.")
class SetStageInput:
    version: strawberry.ID = VERSION.address
    stage: str | None = need(
        "The stage, one of the model's stage scheme, whatever the case: Staging, Production, Archived or "
        "Deprecated unless another scheme holds; null takes it out. What comes to Deprecated is deprecated, what "
        "leaves it is not any more. To Retired it comes by retire alone."
    )
    reason: str | None = may(_REASON, None)
    override: str | None = may(_OVERRIDE, None)
    archive_existing: bool = may(
        "Move other versions of the model out of that stage, to the stage where the scheme archives them.", False
    )


@takes("Tags to set.")
class SetTagsInput:
    address: strawberry.ID = need(_NODE, "node")
    tags: list[TagInput] = need("The tags. Others that it has stay.")


@takes("Tags to take away.")
class DeleteTagsInput:
    address: strawberry.ID = need(_NODE, "node")
    names: list[str] = need("Their names; those that it does not have are no error.")


@takes("Who shall answer for something.")
class SetOwnersInput:
    address: strawberry.ID = need("Anything but a workspace, a principal or a team: an id or an address.", "node")
    owners: list[strawberry.ID] = need(
        f"All its owners, at most {lifecycle.MAX_OWNERS}: ids, or addresses such as principals:/ann or teams:/search."
    )
    create: bool = may("Make principals and teams that are not known.", False)


@takes("What to use instead of a model or a model version.")
class SupersedeInput:
    address: strawberry.ID = need("The old one: an id, or an address such as models:/name or models:/name/3.", "node")
    by: strawberry.ID | None = need("The one to use instead, of the same kind; null takes that back.")


@strawberry.type(description="Mutations of aliases, stages, tags, owners and successors.")
class LifecycleMutations:
    set_alias = does(
        lifecycle.set_alias,
        SetAliasInput,
        "Lets an alias of a model point to one of its versions, from this moment on; history keeps where it "
        "pointed before.",
        VERSION.answer,
    )
    delete_alias = does(lifecycle.delete_alias, DeleteAliasInput, "Takes an alias of a model away.", MODEL.answer)
    set_stage = does(
        lifecycle.set_stage,
        SetStageInput,
        "Puts a model version into a stage, out of the one it is in.",
        VERSION.answer,
    )
    set_tags = does(lifecycle.set_tags, SetTagsInput, "Sets tags of anything.", _ANSWER)
    delete_tags = does(lifecycle.delete_tags, DeleteTagsInput, "Takes tags of anything away.", _ANSWER)
    set_owners = does(
        lifecycle.set_owners, SetOwnersInput, "Lets exactly these principals and teams answer for something.", _ANSWER
    )
    supersede = does(
        lifecycle.supersede, SupersedeInput, "Says what to use instead of a model or a model version.", _ANSWER
    )
