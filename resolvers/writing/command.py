"""How a use case runs: in one transaction, once for each idempotency key, answered from after its commit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, Final, Generic, ParamSpec

from graph.port import Node, Transaction
from graph.recording import canonical
from lineal.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from resolvers.operation import Operation

P = ParamSpec("P")

MAX_KEY: Final = 255
"""Characters in an idempotency key."""


class Command(Generic[P]):
    """A use case that writes one node, or changes it, and answers with the node as it then is.

    Its body gets the transaction and keyword arguments, and returns the node's id.
    """

    def __init__(self, action: str, body: Callable[Concatenate[Transaction, P], Awaitable[str]]) -> None:
        self.action = action
        self._body = body
        self.__doc__ = body.__doc__

    async def __call__(self, op: Operation, *args: P.args, **kwargs: P.kwargs) -> Node:
        """Do it."""
        return await self.once(op, None, *args, **kwargs)

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> Node:
        """Do it, unless this principal did it under this key before: then give the same answer again.

        Raises Conflict: the key was used with other input. NotFound: what it made has been deleted.
        """

        async def work(tx: Transaction) -> list[str]:
            return [await self._body(tx, *args, **kwargs)]

        (node,) = await _run(op, self.action, key, kwargs, work)
        return node


class BatchCommand(Generic[P]):
    """A use case that writes many nodes, and answers with them in the order they were given."""

    def __init__(self, action: str, body: Callable[Concatenate[Transaction, P], Awaitable[list[str]]]) -> None:
        self.action = action
        self._body = body
        self.__doc__ = body.__doc__

    async def __call__(self, op: Operation, *args: P.args, **kwargs: P.kwargs) -> list[Node]:
        """Do it."""
        return await self.once(op, None, *args, **kwargs)

    async def once(self, op: Operation, key: str | None, *args: P.args, **kwargs: P.kwargs) -> list[Node]:
        """As Command.once."""

        async def work(tx: Transaction) -> list[str]:
            return await self._body(tx, *args, **kwargs)

        return await _run(op, self.action, key, kwargs, work)


def command(action: str) -> Callable[[Callable[Concatenate[Transaction, P], Awaitable[str]]], Command[P]]:
    """Make a function of a transaction that returns an id into a use case. `action` is what its Change says."""
    return lambda body: Command(action, body)


def batch_command(
    action: str,
) -> Callable[[Callable[Concatenate[Transaction, P], Awaitable[list[str]]]], BatchCommand[P]]:
    """Make a function of a transaction that returns ids into a use case. `action` is what its Change says."""
    return lambda body: BatchCommand(action, body)


async def _run(
    op: Operation,
    action: str,
    key: str | None,
    given: Mapping[str, Any],
    body: Callable[[Transaction], Awaitable[list[str]]],
) -> list[Node]:
    work = body if key is None else _remembering(action, key, given, body)
    try:
        ids = await op.write(work, action)
    except AlreadyExists:
        # What was not there when it was looked up may have been made by somebody else before it was written:
        # then a second look finds it. If the name is really taken, the second try says so too.
        ids = await op.write(work, action)
    found = await (await op.snapshot()).nodes(ids)
    for id in ids:
        if id not in found:
            raise NotFound(f"{id} was written, and has been deleted since", id=id)
    return [found[id] for id in ids]


def _remembering(
    action: str, key: str, given: Mapping[str, Any], body: Callable[[Transaction], Awaitable[list[str]]]
) -> Callable[[Transaction], Awaitable[list[str]]]:
    """The body, but what was done under this key before is not done again."""
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
