"""Deliveries: an event on its way to a webhook, and what became of it.

Each is kept under the webhook's id at the place of its event: PENDING until the receiver has it (DELIVERED) or it was
tried for too long (DEAD). Of those that are over the latest are remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from auth.roles import Role
from graph.ontology import WEBHOOK
from graph.port import Kept, Node, Transaction, Update
from lineal.errors import InvalidArgument
from resolvers.events import Position, position
from resolvers.operation import Operation
from resolvers.webhooks.formats import Message
from resolvers.webhooks.managing import check_owner
from resolvers.webhooks.sending import Answer
from resolvers.writing.command import Command, procedure
from resolvers.writing.nodes import find

PENDING: Final = "PENDING"
DELIVERED: Final = "DELIVERED"
DEAD: Final = "DEAD"
STATES: Final[Mapping[str, str]] = {
    PENDING: "It waits to be sent, or to be sent again.",
    DELIVERED: "The receiver answered that it has it.",
    DEAD: "It was tried for too long, or may not be told any more. It is sent again when that is asked for.",
}

MAX_TRIES: Final = 10
"""Tries of one delivery that are remembered, the latest ones."""
REMEMBERED: Final = 1_000
"""Deliveries of one webhook that are remembered when they are over."""
MAX_REPLAYED: Final = 500
"""Deliveries that are asked for again in one call."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try: when (microseconds), the status or what was in the way, and the seconds that it took."""

    at: int
    status: int | None
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way. `taken` is when it was taken on, `due` when it is tried next, `tries` what was tried."""

    webhook: str
    number: int
    state: str
    event: str
    type: str
    subject: str
    taken: int
    due: int
    attempts: int = 0
    done: int | None = None
    tries: Sequence[Try] = ()

    @property
    def sequence(self) -> str:
        """The place of its event among all events: what names it among the webhook's deliveries."""
        return str(Position.at(self.number))

    def tried(self, state: str, at: int, answer: Answer, due: int = 0) -> Delivery:
        """The delivery after one more try."""
        tries = [*self.tries, Try(at, answer.status, answer.error, round(answer.seconds, 3))][-MAX_TRIES:]
        done = None if state == PENDING else at
        return replace(self, state=state, attempts=self.attempts + 1, due=due, done=done, tries=tries)

    def ended(self, at: int, error: str) -> Delivery:
        """The delivery where it is not even tried any more."""
        tries = [*self.tries, Try(at, None, error, 0.0)][-MAX_TRIES:]
        return replace(self, state=DEAD, done=at, tries=tries)

    def kept(self) -> Kept:
        """It as it is kept."""
        data = {
            "event": self.event,
            "type": self.type,
            "subject": self.subject,
            "taken": self.taken,
            "due": self.due,
            "attempts": self.attempts,
            "done": self.done,
            "tries": [[each.at, each.status, each.error, each.seconds] for each in self.tries],
        }
        return Kept(self.webhook, self.number, self.state, data)

    @classmethod
    def of(cls, kept: Kept) -> Delivery:
        """What is kept."""
        data: dict[str, Any] = {**kept.data, "tries": [Try(*each) for each in kept.data["tries"]]}
        return cls(kept.owner, kept.number, kept.state, **data)


def taken(webhook: str, message: Message, now: int) -> Delivery:
    """A message that was just taken on."""
    return Delivery(webhook, message.number, PENDING, message.id, message.type, message.subject, now, now)


async def deliveries(
    op: Operation, node: Node, *, state: str | None = None, after: int | None = None, limit: int = 50
) -> list[Delivery]:
    """The deliveries of a webhook, the latest event first, below a place; for owners of its workspace.

    Raises Forbidden.
    """
    check_owner(op, node)
    states = list(STATES) if state is None else [state]
    found = await (await op.snapshot()).kept([node.id], states, after=after, descending=True, limit=limit)
    return [Delivery.of(kept) for kept in found.get(node.id, ())]


@procedure
async def replay(op: Operation, *, address: str, sequences: Sequence[str] = (), dead: bool = False) -> Node:
    """Send deliveries again, as soon as may be: these, by their sequences, or the dead ones, the oldest 500 of them.

    Raises NotFound, InvalidArgument (none are named, or more than 500), Forbidden.
    """
    if dead is bool(sequences) or len(sequences) > MAX_REPLAYED:
        msg = f"sequences: name 1 to {MAX_REPLAYED} deliveries, or none and say dead: true"
        raise InvalidArgument(msg, field="sequences")
    numbers = {position(text, f"sequences[{i}]").number for i, text in enumerate(sequences)}

    async def body(tx: Transaction, /, **_: Any) -> str:
        id = await find(tx, address, "webhook", WEBHOOK.name)
        await tx.lock([id])
        found = await _asked_for(tx, id, sorted(numbers))
        again = [replace(each, state=PENDING, taken=tx.now, due=tx.now, attempts=0, done=None) for each in found]
        await tx.keep([each.kept() for each in again])
        await tx.update([Update(id, {"replayedAt": tx.now})])
        return id

    return await Command("replayDeliveries", body, Role.OWNER)(op)


async def _asked_for(tx: Transaction, id: str, numbers: Sequence[int]) -> list[Delivery]:
    """The deliveries of these numbers, or the dead ones without any. Raises InvalidArgument: one is not there."""
    if not numbers:
        kept = (await tx.kept([id], [DEAD], limit=MAX_REPLAYED)).get(id, [])
        return [Delivery.of(each) for each in kept]
    found = []
    for number in numbers:
        there = (await tx.kept([id], list(STATES), after=number - 1, limit=1)).get(id, [])
        if not there or there[0].number != number:
            msg = f"sequences: the webhook has no delivery {Position.at(number)}; older ones are forgotten"
            raise InvalidArgument(msg, field="sequences")
        found.append(Delivery.of(there[0]))
    return found
