"""One webhook's turn: whoever holds its lease takes on what happened, and delivers it.

Events of one subject are sent one after the other, a failed one holding back those behind it; of different subjects a
few at once. What is taken on is written down with how far that is, before anything is sent, and what became of it
afterwards: whoever goes on after a crash sends again what was not written down, and passes over nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graph.port import EVERYTHING, Graph, Kept, Snapshot, Transaction
from lineal.errors import LinealError, PreconditionFailed
from lineal.observing import METER
from resolvers import following
from resolvers.events import Position, handful
from resolvers.leasing import Held
from resolvers.webhooks.deliveries import DEAD, DELIVERED, PENDING, REMEMBERED, Delivery, taken
from resolvers.webhooks.formats import Message, messages
from resolvers.webhooks.hooks import ACTIVE, HEALTH, Hook, Webhooks, read
from resolvers.webhooks.managing import pause_for, send
from resolvers.webhooks.sending import GONE, Answer

_OUTCOMES: Final = {DELIVERED: "delivered", PENDING: "again", DEAD: "dead"}

AT_ONCE: Final = 4
"""Deliveries of one webhook that are under way at a time."""
BATCH: Final = 200
"""Changes that are looked at in one go."""
MAX_PENDING: Final = 5_000
"""Deliveries that wait; beyond these nothing more is taken on."""
FAR: Final = 1_000
"""How far it comes without taking anything on before that is written down."""
LOOK_SECONDS: Final = 2.0
"""How long until it is looked again whether the webhook was changed, or something asked for again."""
LINGER_SECONDS: Final = 1.0
"""How long a turn goes on with nothing to do."""
FRESH_SECONDS: Final = 30.0
"""How long a message is believed; one that waited longer is made anew, with what may be told then."""
MAX_FRESH: Final = 200
"""Messages that are remembered so; others are made anew."""
WITHHELD: Final = "there is nothing of it to be told any more"
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 900.0
CLEAR_EVERY: Final = 200
"""Deliveries after which old ones are forgotten."""

_log = logging.getLogger("lineal.webhooks")


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds a delivery is tried, until when a failing webhook is paused, and the first pause of all."""

    delivery: float = 86_400.0
    webhook: float = 3 * 86_400.0
    first: float = FIRST_PAUSE


class Turn:
    """The deliveries of one webhook, while the lease is held. `by` is the name that writes are recorded under."""

    def __init__(self, graph: Graph, webhooks: Webhooks, id: str, held: Held, *, by: str, patience: Patience) -> None:
        self._graph, self._webhooks, self._id, self._held = graph, webhooks, id, held
        self._by, self._patience = by, patience
        self.woken = asyncio.Event()
        """What is set when something may have happened."""
        self.seq: int | None = None
        """How far it came, once that is known."""
        self._written = -1
        self._pending: dict[int, Delivery] = {}
        self._running: dict[asyncio.Task[Delivery], int] = {}
        self._fresh: dict[int, tuple[float, Message]] = {}
        self._failing: int | None = None
        self._asked = -1
        self._gone = False
        self._ended = 0

    async def run(self) -> None:
        """Until there is nothing to do. Raises Conflict: the lease is lost."""
        try:
            idle = time.monotonic()
            while (hook := await self._look()) is not None:
                busy = await self._deliver(hook)
                if busy or self._running:
                    idle = time.monotonic()
                elif not self._pending and time.monotonic() > idle + LINGER_SECONDS:
                    break
                else:
                    await self._wait()
            await self._clear()
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    # ── What there is to do ───────────────────────────────────────────────────────────────────────

    async def _look(self) -> Hook | None:
        """Read the webhook and what waits, and take on what happened; None when there is nothing to be sent to."""
        self._held.check()
        self.woken.clear()
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            try:
                hook = await read(snapshot, self._webhooks, self._id, _now())
            except PreconditionFailed as error:
                await self._pause(error.message)
                return None
            if hook is None or hook.node.props.get("state") != ACTIVE:
                return None
            asked = hook.node.props.get("replayedAt", 0)
            if asked != self._asked:
                # Nobody else writes what waits but who asks for it again.
                await self._read(snapshot)
                self._asked = asked
            if self.seq is None:
                self.seq = self._written = (await following.cursors(snapshot, [self._id])).get(self._id, -1)
            if self.seq < 0:
                # From its own birth on. One whose birth is not told of (yet) begins before what comes next.
                born = await snapshot.changes(subject=self._id, limit=1)
                self.seq = born[0].seq or 0 if born else await following.tip(snapshot)
        await self._take(hook)
        return hook

    async def _read(self, snapshot: Snapshot) -> None:
        """Read what waits, and since when it fails. What is under way is known better."""
        kept = await snapshot.kept([self._id], [PENDING], limit=MAX_PENDING)
        health = await snapshot.kept([self._id], ["health"], limit=1)
        self._failing = health[self._id][0].data["since"] if health else None
        running = {number: self._pending[number] for number in self._running.values()}
        self._pending = {each.number: Delivery.of(each) for each in kept.get(self._id, ())} | running

    async def _take(self, hook: Hook) -> None:
        """Take on the next events, and write them down with how far that is."""
        assert self.seq is not None
        found = list[Message]()
        if len(self._pending) < MAX_PENDING:
            self.seq, found = await some_of(self._graph, hook, self.seq, self._webhooks.base)
        if not found and self.seq < self._written + FAR and self._written >= 0:
            return
        now = _now()
        new = [taken(self._id, message, now) for message in found]
        await self._keep([*(each.kept() for each in new), following.cursor(self._id, self.seq)])
        self._written = self.seq
        self._pending |= {each.number: each for each in new}
        old = time.monotonic() - FRESH_SECONDS
        self._fresh = {number: each for number, each in self._fresh.items() if each[0] > old}
        room = max(0, MAX_FRESH - len(self._fresh))
        self._fresh |= {message.number: (time.monotonic(), message) for message in found[:room]}

    # ── Doing it ──────────────────────────────────────────────────────────────────────────────────

    async def _deliver(self, hook: Hook) -> bool:
        """Deliver what is due, for a while; whether anything was."""
        until = time.monotonic() + LOOK_SECONDS
        busy = False
        while time.monotonic() < until and not self._gone:
            self._start(hook)
            if not self._running:
                break
            busy = True
            wait = max(0.0, until - time.monotonic())
            done, _ = await asyncio.wait(self._running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if done:
                await self._settle(done)
        return busy

    def _start(self, hook: Hook) -> None:
        """Begin with the first delivery of each subject that has none under way, where it is due."""
        running = set(self._running.values())
        seen = {self._pending[number].subject for number in running}
        now = _now()
        for number in sorted(self._pending):
            if len(self._running) >= AT_ONCE:
                return
            each = self._pending[number]
            if each.subject in seen:
                continue
            seen.add(each.subject)
            if each.due <= now:
                self._held.check()
                self._running[asyncio.create_task(self._attempt(hook, each))] = number

    async def _attempt(self, hook: Hook, each: Delivery) -> Delivery:
        """Send it, and say what became of it."""
        try:
            message = await self._message(hook, each)
            if message is None:
                return each.ended(_now(), WITHHELD)
            answer = await send(self._webhooks, hook, message)
        except LinealError as error:
            return each.tried(PENDING, _now(), Answer(None, 0.0, error.message), self._due(each, 0.0))
        except Exception:  # noqa: BLE001 - as is said here
            # What cannot be sent because of a defect must not stop what can.
            _log.exception("webhook %s: event %s: a defect", self._id, each.event)
            answer = Answer(None, 0.0, "a defect of Lineal's; its log says more")
        now = _now()
        if answer.taken:
            return each.tried(DELIVERED, now, answer)
        self._gone = self._gone or answer.status == GONE
        # While it was paused nothing was tried.
        since = max(each.taken, hook.node.props.get("resumedAt", 0))
        if now > since + self._patience.delivery * 1e6:
            return each.tried(DEAD, now, answer)
        return each.tried(PENDING, now, answer, self._due(each, answer.retry_after))

    async def _message(self, hook: Hook, each: Delivery) -> Message | None:
        """The message of a delivery: what may be told of it now."""
        at, message = self._fresh.pop(each.number, (0.0, None))
        if message is not None and time.monotonic() < at + FRESH_SECONDS:
            return message
        seq = Position.at(each.number).seq
        async with hook.operation(self._graph) as op:
            changes = await following.some((await op.snapshot()).seeing(EVERYTHING), [seq])
            found = await messages(op, hook, changes, self._webhooks.base)
        return next((message for message in found if message.number == each.number), None)

    def _due(self, each: Delivery, asked: float) -> int:
        """When to try again: later each time, and not before the receiver asks for it."""
        longest = min(LONGEST_PAUSE, self._patience.first * 2**each.attempts)
        pause = max(asked, random.uniform(longest / 2, longest))  # noqa: S311 - it spreads tries, it hides nothing
        return _now() + int(pause * 1e6)

    async def _settle(self, done: Iterable[asyncio.Task[Delivery]]) -> None:
        """Write down what became of these."""
        became = [task.result() for task in done]
        for task in done:
            del self._running[task]
        for each in became:
            METER.get().add("lineal_webhook_tries", 1, _OUTCOMES[each.state])
            if each.state == DELIVERED:
                METER.get().observe("lineal_webhook_delivery_seconds", max(0.0, (_now() - each.taken) / 1e6))
            if each.state == PENDING:
                self._pending[each.number] = each
            else:
                self._pending.pop(each.number, None)
                self._ended += 1
        put = [each.kept() for each in became]
        drop: dict[str, list[int] | None] = {}
        if any(each.state == DELIVERED for each in became):
            drop = {self._id: [HEALTH]} if self._failing is not None else {}
            self._failing = None
        elif self._failing is None and any(each.tries[-1].error != WITHHELD for each in became):
            self._failing = _now()
            put.append(Kept(self._id, HEALTH, "health", {"since": self._failing}))
        await self._keep(put, drop)
        if self._gone:
            await self._pause(f"the receiver answered {GONE}: there is nothing any more at its address")
        elif self._failing is not None and _now() > self._failing + self._patience.webhook * 1e6:
            hours = self._patience.webhook / 3_600
            await self._pause(f"nothing could be delivered for {hours:.3g} hours; the last try: {_why(became[-1])}")
        if self._ended >= CLEAR_EVERY:
            await self._clear()

    async def _wait(self) -> None:
        """Until something is due, or may have happened."""
        due = min((each.due for each in self._pending.values()), default=0)
        seconds = min(LOOK_SECONDS, max(0.05, (due - _now()) / 1e6)) if due else LINGER_SECONDS / 4
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            pass

    # ── What is written ───────────────────────────────────────────────────────────────────────────

    async def _keep(self, put: list[Kept], drop: dict[str, list[int] | None] | None = None) -> None:
        async def work(tx: Transaction) -> None:
            await tx.fence(self._held.lease)
            # Of a webhook that was deleted meanwhile nothing is kept.
            await tx.lock([self._id])
            await tx.keep(put, drop=drop or {})

        await self._graph.write(work, by=self._by, action="deliver")

    async def _pause(self, reason: str) -> None:
        _log.warning("webhook %s is paused: %s", self._id, reason)

        async def work(tx: Transaction) -> None:
            await tx.fence(self._held.lease)
            node = (await tx.lock([self._id]))[self._id]
            if node.props.get("state") == ACTIVE:
                await pause_for(tx, node, reason)

        await self._graph.write(work, by=self._by, action="pauseWebhook")

    async def _clear(self) -> None:
        """Forget the oldest deliveries that are over."""
        if not self._ended:
            return
        self._ended = 0
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            over = await snapshot.kept([self._id], [DELIVERED, DEAD], descending=True, limit=REMEMBERED + BATCH * 5)
        if old := [each.number for each in over.get(self._id, ())[REMEMBERED:]]:
            await self._keep([], {self._id: old})


async def some_of(graph: Graph, hook: Hook, after: int, source: str) -> tuple[int, list[Message]]:
    """The messages of the next changes that a webhook takes, and how far that is."""
    async with hook.operation(graph) as op:
        snapshot = await op.snapshot()
        end = await following.tip(snapshot)
        read = await snapshot.changes(after=after, limit=BATCH)
        changes = handful(read)
        whole = len(read) < BATCH and changes == read
        end = max(after, end, *(c.seq or 0 for c in changes)) if whole else changes[-1].seq or 0
        # What happened before it was made is not for it, in whatever order that was written down.
        found = await messages(op, hook, [c for c in changes if c.at >= hook.node.created_at], source)
    return end, found


def _why(each: Delivery) -> str:
    last = each.tries[-1]
    return last.error or f"it answered {last.status}"


def _now() -> int:
    return time.time_ns() // 1_000
