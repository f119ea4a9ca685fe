"""Mutations of webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Final

import strawberry

from graph import ontology
from resolvers.webhooks import deliveries, managing
from resolvers.webhooks.signing import LEAST, MOST, PREFIX
from schema.context import Info
from schema.enums import EventAction, NodeKind, WebhookFormat
from schema.mutations.declare import (
    REVISION_DOC,
    WORKSPACE_DOC,
    Noun,
    arguments,
    deletes,
    does,
    key,
    many,
    may,
    need,
    takes,
)
from schema.webhook import Webhook

WEBHOOK: Final = Noun(ontology.WEBHOOK, Webhook, "webhook", "webhook", "webhooks:/name")

_SECRET: Final = (
    f"The secret that what it sends is signed with: {PREFIX} and the base64 of {LEAST} to {MOST} random bytes; in "
    "MLflow's format any text. Unless given it gets one, which the answer has."
)
_KINDS: Final = "Only what happens to things of these kinds; everything unless given."
_ACTIONS: Final = "Only these actions; all unless given."
_TYPES: Final = "Only events of these types, such as lineal.model_version.created; all unless given."
_TAGS: Final = "Only what happens to things that have all of these tags, or whose container has."


@takes("A tag that something must have.")
class WithTagInput:
    name: str = need("The name of the tag.")
    value: str | None = may("Its value; any unless given.", None)


@takes("An address to send what happens in a workspace to.")
class CreateWebhookInput:
    name: str = need("Its name, unique among the webhooks of the workspace.")
    url: str = need("Where to send events: https://…")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    format: WebhookFormat = may("How to tell events.", WebhookFormat("CLOUDEVENTS"))
    kinds: list[NodeKind] = many(_KINDS)
    actions: list[EventAction] = many(_ACTIONS)
    types: list[str] = many(_TYPES)
    with_tags: list[WithTagInput] = many(_TAGS)
    description: str | None = may("What it is for, in words.", None)
    secret: str | None = may(_SECRET, None)
    idempotency_key: str | None = key()


@takes("What to change in a webhook. What is not given stays; an empty list or null takes everything.")
class UpdateWebhookInput:
    address: strawberry.ID = WEBHOOK.address
    name: str | None = may("Its new name.")
    url: str | None = may("Where to send events: https://… Null stays.")
    kinds: list[NodeKind] | None = may(_KINDS)
    actions: list[EventAction] | None = may(_ACTIONS)
    types: list[str] | None = may(_TYPES)
    with_tags: list[WithTagInput] | None = may(_TAGS)
    description: str | None = may("What it is for, in words; null takes it away.")
    revision: int | None = may(REVISION_DOC)


@takes("A webhook that shall send nothing for now.")
class PauseWebhookInput:
    address: strawberry.ID = WEBHOOK.address
    reason: str | None = may("Why, for others.", None)


@takes("A webhook that shall send again.")
class ResumeWebhookInput:
    address: strawberry.ID = WEBHOOK.address


@takes("A webhook that gets another secret.")
class RotateWebhookSecretInput:
    address: strawberry.ID = WEBHOOK.address
    secret: str | None = may(_SECRET, None)
    overlap_seconds: int = may(
        f"For how long CloudEvents are signed with the secret before as well, 0 to {managing.MAX_OVERLAP_SECONDS}.",
        managing.OVERLAP_SECONDS,
    )


@takes("A webhook to try.")
class TestWebhookInput:
    address: strawberry.ID = WEBHOOK.address
    type: str | None = may("In MLflow's format, the type of the event to send, such as model_version.created.", None)


@takes("Deliveries to send again.")
class ReplayDeliveriesInput:
    address: strawberry.ID = WEBHOOK.address
    sequences: list[str] = many(f"These, 1 to {deliveries.MAX_REPLAYED}, by their sequences.")
    dead: bool = may("All that are DEAD, the oldest 500 of them, in the place of those named.", False)


_ONCE = "The secret that what it sends is signed with. It is shown here, and nowhere else."


@strawberry.type(description="What createWebhook answers with.")
class CreateWebhookPayload:
    """A webhook with its secret."""

    webhook: Webhook | None = strawberry.field(description="The webhook, as it now is.")
    secret: str | None = strawberry.field(description=_ONCE)


@strawberry.type(description="What rotateWebhookSecret answers with.")
class RotateWebhookSecretPayload:
    """A webhook with its new secret."""

    webhook: Webhook | None = strawberry.field(description="The webhook, as it now is.")
    secret: str | None = strawberry.field(description=_ONCE)


@strawberry.type(description="What testWebhook answers with.")
class TestWebhookPayload:
    """What came of a test."""

    webhook: Webhook | None = strawberry.field(description="The webhook.")
    success: bool = strawberry.field(description="Whether the receiver took it: it answered 200 to 299.")
    status: int | None = strawberry.field(description="The status of its answer; null for none.")
    body: str | None = strawberry.field(description="The beginning of its answer.")
    error: str | None = strawberry.field(description="What was in the way.")
    seconds: float = strawberry.field(description="How long it took.")
    event: str = strawberry.field(description="The id of the event that was sent.")


Create = Annotated[CreateWebhookInput, strawberry.argument(description="The webhook to create.")]
Rotate = Annotated[RotateWebhookSecretInput, strawberry.argument(description="The webhook.")]
Test = Annotated[TestWebhookInput, strawberry.argument(description="The webhook.")]


async def _create(info: Info, input: Create) -> CreateWebhookPayload | None:
    given, once = arguments(input)
    made = await managing.create_webhook(info.context.op, once, **given)
    return CreateWebhookPayload(webhook=_shown(made.webhook), secret=made.secret)


async def _rotate(info: Info, input: Rotate) -> RotateWebhookSecretPayload | None:
    given, _ = arguments(input)
    made = await managing.rotate_secret(info.context.op, **given)
    return RotateWebhookSecretPayload(webhook=_shown(made.webhook), secret=made.secret)


def _shown(webhook: Any) -> Webhook:
    # A node is shown by the type of its kind.
    found: Webhook = webhook
    return found


async def _test(info: Info, input: Test) -> TestWebhookPayload | None:
    given, _ = arguments(input)
    tested = await managing.try_webhook(info.context.op, **given)
    webhook: Any = tested.webhook
    return TestWebhookPayload(
        webhook=webhook,
        success=tested.answer.taken,
        status=tested.answer.status,
        body=tested.answer.body or None,
        error=tested.answer.error or None,
        seconds=tested.answer.seconds,
        event=tested.message.id,
    )


@strawberry.type(description="Mutations of webhooks.")
class WebhookMutations:
    create_webhook = strawberry.mutation(
        resolver=_create,
        description="Sends what happens in a workspace to an address, from now on: what its maker may read of it.",
    )
    update_webhook = does(
        managing.update_webhook,
        UpdateWebhookInput,
        "Changes where a webhook sends, or what. From now on it tells what whoever changes it may read.",
        WEBHOOK.answer,
    )
    delete_webhook = deletes(managing.delete_webhook, WEBHOOK)
    pause_webhook = does(
        managing.pause_webhook, PauseWebhookInput, "Sends nothing for now; events wait.", WEBHOOK.answer
    )
    resume_webhook = does(
        managing.resume_webhook, ResumeWebhookInput, "Sends what waited, and what happens from now on.", WEBHOOK.answer
    )
    rotate_webhook_secret = strawberry.mutation(
        resolver=_rotate, description="Gives a webhook another secret; the one before may count for a while longer."
    )
    test_webhook = strawberry.mutation(
        resolver=_test, description="Sends something to try the receiver with, and answers with what it answered."
    )
    replay_deliveries = does(
        deliveries.replay, ReplayDeliveriesInput, "Sends deliveries again, whatever became of them.", WEBHOOK.answer
    )
