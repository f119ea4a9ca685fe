"""What resolvers are given: the operation, its loaders, and how hidden things are called."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import strawberry
from graphql import DocumentNode, FragmentSpreadNode, SelectionNode

from auth.caller import Caller
from lineal.errors import LimitExceeded, LinealError
from lineal.observing import METER
from resolvers.live import Live
from resolvers.operation import Operation
from schema.budget import Budget, Spent
from schema.costs import HEAVY
from schema.gating import NOTHING_DENIED
from schema.limits import Limits
from schema.loaders import Loaders
from schema.parts import Parts

KIB: Final = 1_024
MAX_EXPORTS: Final = 4
"""Exports of one operation."""

_PROCESS_KEY = secrets.token_bytes(32)


class Context:
    """One GraphQL operation.

    `key` is the server's secret for handles; without one, handles last as long as the process.
    `operation` is the name and type of what runs, `document` it itself, once it was read and found right, and
    `verdict` what of it the caller is denied. `refusal` is why the whole operation is refused, by a limit that it
    went over while it ran, or before: then the answer is that error and nothing else. `budget` is what clients may ask
    for within a minute, `requested` what the operation may cost at most, and `bytes` those of its answer so far, about.
    `pays_statements` says that nobody else pays those of `op`, as others do of events that were read together.
    `follow` is what a subscription reads by, and `parts` what sends the answer where it may come in parts.
    """

    def __init__(
        self, op: Operation, limits: Limits = Limits(), *, key: bytes | None = None, budget: Budget | None = None
    ) -> None:
        self.op = op
        self.limits = limits
        self.caller = op.caller
        self.principal = op.by
        self.loaders = Loaders(op)
        self.operation: tuple[str | None, str | None] = (None, None)
        self.document: DocumentNode | None = None
        self.verdict = NOTHING_DENIED
        self.refusal: LinealError | None = None
        self.follow: tuple[Live, Callable[[], Operation]] | None = None
        self.parts: Parts | None = None
        self.budget = budget
        self.requested = 0
        self.bytes = 0
        self.pays_statements = True
        self._aside = 0
        self._spent = False
        self._left: int | None = None
        self._key = key or _PROCESS_KEY
        self._walks = 0
        self._items = 0
        self._read = 0
        self._exports = 0
        self._exporting = asyncio.Lock()
        self._selected: dict[tuple[str, tuple[int, ...]], bool] = {}

    def handle(self, id: str) -> str:
        """What a hidden node is called: the same for one principal, of no use to anyone else."""
        digest = hmac.digest(self._key, f"{self.principal}\0{id}".encode(), "sha256")
        return f"restricted_{digest.hex()[:32]}"

    @property
    def client(self) -> str:
        """Whose budget it is: that of a person with a program; of those whom nobody knows, that of an address."""
        return client_of(self.caller, self.op.address)

    def afford(self, cost: int) -> None:
        """Set aside what the operation may cost at most. Raises LimitExceeded: that is too much, or too much now."""
        self.requested = cost
        if cost > self.limits.cost:
            msg = (
                f"the operation may cost {cost}, and at most {self.limits.cost} is allowed; ask for fewer levels of "
                "lists, or for smaller pages"
            )
            raise LimitExceeded(msg, limit="cost", maximum=self.limits.cost, requested=cost)
        if self.budget is not None and not self.caller.trusted:
            try:
                self._aside = self.budget.reserve(self.client, cost)
            except Spent as spent:
                self._spent = True
                METER.get().add("lineal_budget_refusals")
                msg = (
                    f"the budget of {self.budget.minutely} a minute is spent; wait for {spent.seconds} seconds, "
                    "then ask again"
                )
                raise LimitExceeded(
                    msg, limit="budget", maximum=self.budget.minutely, retryAfter=spent.seconds
                ) from None

    @property
    def took(self) -> int:
        """What it cost so far: items of lists, statements, walks and what they came by, KiB of its answer."""
        statements = self.op.statements if self.pays_statements else 0
        return self._items + self._read + statements + HEAVY * self._walks + self.bytes // KIB

    def settle(self) -> None:
        """Pay what the operation took; what had to wait pays nothing."""
        if self.budget is not None and not self.caller.trusted and not self._spent:
            self._left = self.budget.settle(self.client, self._aside, self.took)

    @property
    def owed(self) -> float:
        """Seconds until the caller has paid what they owe."""
        if self.budget is None or self.caller.trusted:
            return 0.0
        return self.budget.owed(self.client)

    def cost(self) -> dict[str, int]:
        """What is told of what the operation cost."""
        left = {} if self._left is None else {"left": self._left}
        return {"requested": self.requested, "actual": self.took, "limit": self.limits.cost, **left}

    def walk(self) -> None:
        """Count a walk that a field of a node starts. Raises LimitExceeded, for that field: it is one too many."""
        if self._walks == self.limits.walks:
            msg = (
                f"the operation walks lineage from more than {self.limits.walks} nodes one by one, and this is one of "
                "the others; ask lineage(of: […]) for many at once"
            )
            raise LimitExceeded(msg, limit="walks", maximum=self.limits.walks)
        self._walks += 1

    def read(self, cost: int) -> None:
        """Count what is read, and is no item of the answer."""
        self._read += cost

    @asynccontextmanager
    async def exporting(self) -> AsyncIterator[None]:
        """Make an export, of which an operation makes one after the other. Raises LimitExceeded: too many."""
        self._exports += 1
        if self._exports > MAX_EXPORTS:
            msg = f"the operation asks for more than {MAX_EXPORTS} exports; ask for the others in another one"
            raise self._refuse(msg, "exports", MAX_EXPORTS)
        async with self._exporting:
            yield

    def hold(self, items: int) -> None:
        """Count what a list puts into the answer. Raises LimitExceeded: too many in one operation."""
        self._items += items
        if self._items > self.limits.items:
            msg = (
                f"the answer's lists hold more than {self.limits.items} items in all; "
                "ask for smaller pages or fewer levels"
            )
            raise self._refuse(msg, "items", self.limits.items)

    def weigh(self, size: int) -> None:
        """Count bytes of the answer; where they are too many the operation is refused, and nothing more begins."""
        self.bytes += size
        if self.bytes > self.limits.answer:
            msg = (
                f"the answer has more than {self.limits.answer} bytes; ask for smaller pages, for fewer long texts, "
                "or for less of it at a time"
            )
            self._refuse(msg, "answer", self.limits.answer)

    def check(self) -> None:
        """Raises LinealError: the operation was refused meanwhile."""
        if self.refusal is not None:
            raise self.refusal

    def _refuse(self, message: str, limit: str, maximum: int) -> LimitExceeded:
        refusal = self.refusal = LimitExceeded(message, limit=limit, maximum=maximum)
        return refusal

    def selects(self, info: Info, field: str) -> bool:
        """Whether the document asks for this field of what is being resolved."""
        raw = info._raw_info
        key = (field, tuple(map(id, raw.field_nodes)))
        if key not in self._selected:
            chosen = [n.selection_set.selections for n in raw.field_nodes if n.selection_set]
            self._selected[key] = _selects(chosen, field, raw.fragments)
        return self._selected[key]


def client_of(caller: Caller, address: str) -> str:
    """What a client is counted by: a person with a program; those whom nobody knows, by an address."""
    return f"{caller.client}\0{address if caller.anonymous else caller.name}"


Info: TypeAlias = strawberry.Info[Context, None]


def _selects(sets: list[tuple[SelectionNode, ...]], field: str, fragments: Collection[str]) -> bool:
    seen: set[str] = set()
    while sets:
        for node in sets.pop():
            if isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name not in seen:
                    seen.add(name)
                    sets.append(fragments[name].selection_set.selections)  # type: ignore[index]
            elif hasattr(node, "name"):
                if node.name.value == field:
                    return True
            else:
                sets.append(node.selection_set.selections)  # type: ignore[attr-defined]
    return False
