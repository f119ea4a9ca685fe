"""How a use case runs: in one transaction, once for each idempotency key, answered from after its commit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from auth.roles import Role
from graph.port import Node, Transaction
from graph.recording import canonical
from lineal.errors import AlreadyExists, Conflict, Forbidden, InvalidArgument, NotFound
from resolvers.operation import Operation

P = ParamSpec("P")
T = TypeVar("T")

Needs = Role | None | Callable[..., Role | None]
"""The role that a use case needs in the workspaces of what it writes, perhaps by what it is given.

None: no role at all; what the caller sees, and what the use case itself looks at, decide.
"""

APPROVING: Final = "lifecycle:approve"
"""The scope that whoever acts as an approver needs."""

OVERRIDING: Final = "lifecycle:override"
"""The scope that whoever lets a version through needs where its gate says no."""

MAX_KEY: Final = 255
"""Characters in an idempotency key."""


class Command(Generic[P]):
    """A use case that writes one node, or changes it, and answers with the node as it then is.

    Its body gets the transaction and keyword arguments, and returns the node's id, or None where there was nothing to
    do. The answer is None then, and where the caller may write such a node but not read it.
    """

    def __init__(
        self,
        action: str,
        body: Callable[Concatenate[Transaction, P], Awaitable[str | None]],
        needs: Needs = Role.CONTRIBUTOR,
    ) -> None:
        self.action = action
        self._body = body
        self._needs = needs
        self.__doc__ = body.__doc__

    async def __call__(self, op: Operation, *args: P.args, **kwargs: P.kwargs) -> Node:
        """Do it, for a caller who may read the answer. Raises Forbidden, after it was done: they may not."""
        return _shown(await self.once(op, None, *args, **kwargs))

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> Node | None:
        """Do it, unless this principal did it under this key before: then give the same answer again.

        Raises Conflict: the key was used with other input. NotFound: what it made has been deleted.
        Forbidden: the caller lacks the role or the scope, or has lost it since.
        """
        id = await self.id_of(op, key, *args, **kwargs)
        return None if id is None else (await _read_back(op, [id]))[0]

    async def id_of(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """As `once`, for those who read the answer in their own way, or not at all: its id."""

        async def work(tx: Transaction) -> list[str]:
            id = await self._body(tx, *args, **kwargs)
            return [] if id is None else [id]

        ids = await _run(op, self.action, key, kwargs, work, _ids, needs=self._needs)
        return ids[0] if ids else None

    async def reading(
        self,
        op: Operation,
        key: str | None,
        read: Callable[[Transaction, str], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As `once`, for those who read of what it makes in the same transaction: what `read` comes to."""

        async def work(tx: Transaction) -> list[str]:
            id = await self._body(tx, *args, **kwargs)
            return [] if id is None else [id]

        async def finish(tx: Transaction, ids: list[str]) -> T:
            return await read(tx, ids[0])

        return await _run(op, self.action, key, kwargs, work, finish, needs=self._needs)

    async def within(self, tx: Transaction, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Do it as a part of another use case, whose role and key count."""
        return await self._body(tx, *args, **kwargs)


class BatchCommand(Generic[P]):
    """A use case that writes many nodes, and answers with them in the order they were given."""

    def __init__(
        self,
        action: str,
        body: Callable[Concatenate[Transaction, P], Awaitable[list[str]]],
        needs: Needs = Role.CONTRIBUTOR,
    ) -> None:
        self.action = action
        self._body = body
        self._needs = needs
        self.__doc__ = body.__doc__

    async def __call__(self, op: Operation, *args: P.args, **kwargs: P.kwargs) -> list[Node]:
        """Do it, for a caller who may read the answer. Raises Forbidden, after it was done: they may not."""
        return [_shown(node) for node in await self.once(op, None, *args, **kwargs)]

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> list[Node | None]:
        """As Command.once."""

        async def work(tx: Transaction) -> list[str]:
            return await self._body(tx, *args, **kwargs)

        return await _read_back(op, await _run(op, self.action, key, kwargs, work, _ids, needs=self._needs))


class Procedure(Generic[P]):
    """A use case that is more than one transaction, and may be done again without harm; it answers with one node."""

    def __init__(self, body: Callable[Concatenate[Operation, P], Awaitable[Node]]) -> None:
        self._body = body
        self.__doc__ = body.__doc__

    async def __call__(self, op: Operation, *args: P.args, **kwargs: P.kwargs) -> Node:
        """Do it."""
        return await self._body(op, *args, **kwargs)

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> Node | None:
        """Do it; a key is not needed, so there is none."""
        assert key is None
        return await self._body(op, *args, **kwargs)


def procedure(body: Callable[Concatenate[Operation, P], Awaitable[Node]]) -> Procedure[P]:
    """Make a function of an operation that returns a node into a use case."""
    return Procedure(body)


def _shown(node: Node | None) -> Node:
    if node is None:
        raise Forbidden("it was done; you may not read the answer")
    return node


def command(
    action: str, needs: Needs = Role.CONTRIBUTOR
) -> Callable[[Callable[Concatenate[Transaction, P], Awaitable[str | None]]], Command[P]]:
    """Make a function of a transaction that returns an id into a use case. `action` is what its Change says."""
    return lambda body: Command(action, body, needs)


def batch_command(
    action: str, needs: Needs = Role.CONTRIBUTOR
) -> Callable[[Callable[Concatenate[Transaction, P], Awaitable[list[str]]]], BatchCommand[P]]:
    """Make a function of a transaction that returns ids into a use case. `action` is what its Change says."""
    return lambda body: BatchCommand(action, body, needs)


async def _run(  # noqa: PLR0917
    op: Operation,
    action: str,
    key: str | None,
    given: Mapping[str, Any],
    body: Callable[[Transaction], Awaitable[list[str]]],
    finish: Callable[[Transaction, list[str]], Awaitable[T]],
    *,
    needs: Needs,
) -> T:
    """What `finish` comes to, in the transaction in which `body` did it, unless it was done under this key before."""
    role = needs(**given) if callable(needs) else needs
    if role is Role.APPROVER and not op.caller.holds(APPROVING):
        raise Forbidden(f"{action}: to set a stage needs the scope {APPROVING}", scopes=[[APPROVING]])
    done = body if key is None else _remembering(action, key, given, body, role)

    async def work(tx: Transaction) -> T:
        return await finish(tx, await done(tx))

    try:
        return await op.write(work, action, needs=role)
    except AlreadyExists:
        # What was not there when it was looked up may have been made by somebody else before it was written:
        # then a second look finds it. If the name is really taken, the second try says so too.
        return await op.write(work, action, needs=role)


async def _ids(_tx: Transaction, ids: list[str]) -> list[str]:
    return ids


async def _read_back(op: Operation, ids: Sequence[str]) -> list[Node | None]:
    """What was written, as it now is; None for what the caller may not read. Raises NotFound: deleted since."""
    snapshot = await op.snapshot()
    found = await snapshot.nodes(ids)
    if missing := [id for id in ids if id not in found]:
        for id in await snapshot.seen(missing):
            raise NotFound(f"{id} was written, and has been deleted since", id=id)
    return [found.get(id) for id in ids]


def _remembering(
    action: str,
    key: str,
    given: Mapping[str, Any],
    body: Callable[[Transaction], Awaitable[list[str]]],
    role: Role | None,
) -> Callable[[Transaction], Awaitable[list[str]]]:
    """The body, but what was done under this key before is not done again, only answered, to who may do it still."""
    if not key.strip() or len(key) > MAX_KEY:
        msg = f"idempotencyKey: must be text of 1 to {MAX_KEY} characters, not {len(key)}"
        raise InvalidArgument(msg, field="idempotencyKey")
    digest = hashlib.sha256(canonical({"action": action, "input": _plain(given)})).hexdigest()

    async def work(tx: Transaction) -> list[str]:
        if (before := await tx.recall(key)) is None:
            ids = await body(tx)
            await tx.remember(key, digest, ids)
            return ids
        if before.hash != digest:
            msg = f"idempotencyKey: {key!r} was used with other input before; a new input needs a new key"
            raise Conflict(msg, field="idempotencyKey")
        if role is not None:
            # No verb is run that would ask for the role. What does not show is answered with by nobody.
            await tx.lock(list(await tx.nodes(before.ids)))
        return list(before.ids)

    return work


def _plain(value: Any) -> Any:
    """Input as canonical JSON can have it: figures that JSON has no numbers for become text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
