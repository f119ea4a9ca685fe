"""Mutations of approvals."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.lifecycle import approving
from schema.lifecycle import Approval
from schema.mutations.declare import Noun, does, key, many, may, need, takes
from schema.mutations.models import VERSION
from schema.scalars import DateTime

APPROVAL: Final = Noun(ontology.APPROVAL, Approval, "approval", "approval", "its id")

_COMMENT: Final = "What is said with it."


@takes("What a version may come to, once others approve: one stage, one alias or one environment.")
class RequestApprovalInput:
    version: strawberry.ID = VERSION.address
    stage: str | None = may("The stage.", None)
    alias: str | None = may("The alias.", None)
    environment: str | None = may("The environment, by name.", None)
    workspace: str | None = may("The workspace of the environment, where it is another than the version's.", None)
    reviewers: list[strawberry.ID] = many(
        f"Who is told of it, at most {approving.MAX_REVIEWERS}: ids, or addresses such as principals:/ann or "
        "teams:/search."
    )
    reason: str | None = may("Why it is asked for.", None)
    expires_at: DateTime | None = may(
        f"Until when it may be decided and used: {approving.DAYS} days from now unless given, at most "
        f"{approving.MAX_DAYS}.",
        None,
    )
    idempotency_key: str | None = key()


@takes("An approval to give.")
class ApproveInput:
    address: strawberry.ID = need("The approval that was asked for: its id.", "approval")
    comment: str | None = may(_COMMENT, None)


@takes("An approval to refuse.")
class RejectInput:
    address: strawberry.ID = need("The approval that was asked for: its id.", "approval")
    comment: str | None = may(_COMMENT, None)


@takes("An approval to ask for no more.")
class WithdrawApprovalInput:
    address: strawberry.ID = need("The approval that you asked for: its id.", "approval")


@strawberry.type(description="Mutations of approvals.")
class ApprovalMutations:
    request_approval = does(
        approving.request_approval,
        RequestApprovalInput,
        "Asks for approval that a version may come to a stage, get an alias, or be deployed to an environment. One "
        "approval opens one move.",
        APPROVAL.answer,
    )
    approve = does(
        approving.approve,
        ApproveInput,
        "Approves what somebody else made and asks for. No service account does, and nobody for themselves.",
        APPROVAL.answer,
    )
    reject = does(approving.reject, RejectInput, "Refuses what somebody asks for, which ends it.", APPROVAL.answer)
    withdraw_approval = does(
        approving.withdraw_approval, WithdrawApprovalInput, "Takes back what you asked for.", APPROVAL.answer
    )
