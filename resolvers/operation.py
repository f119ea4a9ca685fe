"""One request: who asks, and the moment that it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from auth.caller import LOCAL, Caller
from auth.recorder import Recorder
from auth.roles import Role, check_active, rights_of, view_of
from graph.port import EVERYTHING, MAX_WALK, NOTHING, Access, Graph, Snapshot, Transaction, View, Work
from lineal.errors import Unavailable
from resolvers.bytes import Bytes
from resolvers.deploying.targets import Targets
from resolvers.openlineage.events import OWN
from resolvers.remembering import Memo
from resolvers.tracking.trackers import Trackers
from storage.port import Storage

if TYPE_CHECKING:
    from resolvers.webhooks.hooks import Webhooks

T = TypeVar("T")

NO_TRACKERS: Final = Trackers()


async def _nothing(_snapshot: Snapshot) -> None:
    """What is read where only the moment is wanted."""


class Operation:
    """Reads from one snapshot; after each write, from a fresh one.

    Use it with `async with`: leaving it gives the snapshot's connection back. `caller` is who asks: what they
    may see is looked up in the snapshot itself, so that a role taken away counts from the next request on, and
    what they may change in the transaction of the write. `address` is where they asked from, `request` the id
    that logs and changes share, `walk_limit` bounds the nodes that one walk visits. `recorder` takes what is
    audited although it changes nothing, `bytes` is where artifacts are kept, `targets` are the serving targets that
    Lineal acts on, `trackers` the tracking servers that it asks, `base` is the address of this server, as the
    caller knows it, `namespace` that of what is registered here where OpenLineage tells of it, `webhooks` what this
    process knows about webhooks, `memo` what it has read before, and `after` the store's bookmark of what is to be
    there when it reads.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        caller: Caller = LOCAL,
        request: str = "",
        address: str = "",
        walk_limit: int = MAX_WALK,
        recorder: Recorder | None = None,
        bytes: Bytes | None = None,
        targets: Targets | None = None,
        trackers: Trackers | None = None,
        base: str = "",
        namespace: str = OWN,
        webhooks: Webhooks | None = None,
        memo: Memo | None = None,
        after: str = "",
    ) -> None:
        self.graph = graph
        self.caller = caller
        self.request = request
        self.address = address
        self.walk_limit = walk_limit
        self.recorder = recorder
        self._bytes = bytes
        self.targets = targets or Targets()
        self.trackers = trackers or NO_TRACKERS
        self.base = base
        self.namespace = namespace
        self.webhooks = webhooks
        self.memo = memo
        self.after = after
        self.wrote = False
        self.statements = 0
        self.access = Access()
        self.view: View = EVERYTHING if caller.trusted else NOTHING
        self._stack = AsyncExitStack()
        self._snapshot: Snapshot | None = None
        self._opening = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def by(self) -> str:
        """The name that writes are recorded under."""
        return self.caller.name

    @property
    def bytes(self) -> Bytes:
        """Where artifacts are kept. Raises Unavailable: nowhere."""
        if self._bytes is None:
            raise Unavailable("no storage for artifacts is configured here")
        return self._bytes

    @property
    def storage(self) -> Storage:
        """The storage of artifacts. Raises Unavailable: there is none."""
        return self.bytes.storage

    async def snapshot(self) -> Snapshot:
        """The moment that this request reads; opened at the first call.

        Raises Unauthenticated: the caller has been deactivated.
        """
        async with self._opening:
            if self._snapshot is None:
                await self._open(_nothing)
            assert self._snapshot is not None
            return self._snapshot

    async def read(
        self,
        reads: Callable[[Snapshot], Awaitable[T]],
        *,
        quick: bool = False,
        key: Hashable | None = None,
        small: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """What these reads come to, which await nothing but the snapshot: in one go where the store can do that.

        `quick` says that they are a few looks by key. With a `key`, which has all that they depend on but the caller
        and the store, they are only done again when anything was written since this caller asked for them; what is not
        `small` is not remembered. Raises Unauthenticated, and what `reads` raises.
        """
        async with self._opening:
            if self._snapshot is None:
                return await self._open(reads, quick=quick, key=key, small=small)
            snapshot = self._snapshot
        return await snapshot.together(reads, quick=quick)

    async def _open(
        self,
        reads: Callable[[Snapshot], Awaitable[T]],
        *,
        quick: bool = False,
        key: Hashable | None = None,
        small: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Open the moment, see what the caller may see, and read first what these read, unless that is known."""
        memo = None if key is None else self.memo

        async def all_of_it(snapshot: Snapshot) -> T:
            state = None if memo is None else await snapshot.state()
            known: tuple[Access, View, T] | None = None
            if memo is not None and state is not None:
                known = memo.find((self.caller, key), state)
            if known is not None:
                self.access, self.view, _ = known
            elif not self.caller.trusted:
                self.access = await self._admitted(snapshot)
                self.view = view_of(self.caller, self.access)
            snapshot.show(self.view)
            self._snapshot = opened
            if known is not None:
                return known[2]
            result = await reads(snapshot)
            if memo is not None and state is not None and small(result):
                memo.keep((self.caller, key), state, (self.access, self.view, result))
            return result

        opened = await self._stack.enter_async_context(self.graph.snapshot(self.view, after=self.after))
        try:
            return await opened.together(all_of_it, quick=quick)
        finally:
            if self._snapshot is None:
                await self._stack.aclose()

    async def _admitted(self, snapshot: Snapshot) -> Access:
        """What the graph says of the caller. Raises Unauthenticated: they have been deactivated."""
        access = await snapshot.access(self.caller.name, sorted(self.caller.teams))
        check_active(self.caller, access)
        return access

    def on_refresh(self, listener: Callable[[], None]) -> None:
        """Call this when a write has made what was read before out of date."""
        self._listeners.append(listener)

    async def write(
        self, work: Work[T], action: str, *, needs: Role | None = Role.CONTRIBUTOR, in_one_go: bool = True
    ) -> T:
        """Run `work` in a transaction, held to what the caller may see and change, and read on from after it.

        `work` awaits nothing but its transaction, unless `in_one_go` is false. `needs` is the role that they must have
        in the workspaces of what is written; None leaves that to `work`. Raises Forbidden, Unauthenticated, and what
        `work` raises.
        """
        await self.close()

        async def held(tx: Transaction) -> T:
            if not self.caller.trusted:
                access = await self._admitted(tx)
                tx.guard(view_of(self.caller, access), rights_of(self.caller, access, needs))
            return await work(tx)

        result = await self.graph.write(
            held,
            by=self.by,
            action=action,
            request=self.request,
            origin=self.caller.origin(self.address),
            in_one_go=in_one_go,
        )
        self.wrote = True
        for listener in self._listeners:
            listener()
        return result

    async def bookmark(self) -> str:
        """The store's bookmark, where this wrote anything and processes need one; else ""."""
        return await self.graph.bookmark() if self.wrote else ""

    async def close(self) -> None:
        """Let go of the snapshot; a later read opens another."""
        async with self._opening:
            if self._snapshot is not None:
                self.statements += self._snapshot.statements
                self._snapshot = None
                await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
