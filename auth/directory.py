"""Principals that appear with their first token."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from auth.caller import Caller
from auth.roles import check_active, is_active
from graph import ontology
from graph.ontology import PRINCIPAL
from graph.port import Graph, NewNode, Node, Prop, Snapshot, Transaction, Update
from graph.text import fold
from lineal.errors import AlreadyExists, InvalidArgument, Unauthenticated

REMEMBERED: Final = 10_000
"""Names that one process remembers."""

MAX_DISPLAY_NAME: Final = 200


class Directory:
    """Makes sure that whoever asks has a Principal node.

    The names seen are remembered, so that a caller costs the store one look in the life of a process, and
    one write in the life of the store. A name that a later token gives is taken over as often.
    """

    def __init__(self, graph: Graph, *, remembered: int = REMEMBERED) -> None:
        self._graph = graph
        self._known: OrderedDict[str, None] = OrderedDict()
        self._remembered = remembered

    async def admit(self, caller: Caller, request: str = "", address: str = "") -> None:
        """Let a caller appear, if this is their first token. `request` and `address` go into the audit.

        Raises Unauthenticated (the subject cannot be a name, or is that of another principal but for its case),
        Unavailable.
        """
        if caller.name in self._known:
            self._known.move_to_end(caller.name)
            return
        if caller.trusted or caller.anonymous:
            return
        async with self._graph.snapshot() as snapshot:
            principal = (await snapshot.access(caller.name)).principal
        if principal is None or _renamed(caller, principal.props):
            await self._appear(caller, request, address)
        self._known[caller.name] = None
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)

    async def check(self, caller: Caller) -> None:
        """Raises Unauthenticated: the caller has been deactivated; Unavailable."""
        if caller.trusted or caller.anonymous:
            return
        async with self._graph.snapshot() as snapshot:
            check_active(caller, await snapshot.access(caller.name))

    async def _appear(self, caller: Caller, request: str, address: str) -> None:
        facts = {"issuer": caller.issuer, "subject": caller.subject, "client": caller.client}
        props = {
            "type": caller.type,
            "displayName": _display_name(caller),
            "directory": {name: fact for name, fact in facts.items() if fact},
        }

        async def work(tx: Transaction) -> None:
            principal = (await tx.access(caller.name)).principal
            if principal is None:
                await _refuse_other_case(tx, caller.name)
                await tx.create([NewNode("Principal", caller.name, ontology.GLOBAL, props=props)])
            elif _renamed(caller, principal.props):
                await tx.update([Update(principal.id, {"displayName": _display_name(caller)})])

        try:
            await self._graph.write(
                work, by=caller.name, action="principalAppeared", request=request, origin=caller.origin(address)
            )
        except AlreadyExists:
            # Another process let them appear between the look and the write.
            return
        except InvalidArgument:
            raise Unauthenticated("the token's subject cannot be the name of a principal") from None


async def named_alike(snapshot: Snapshot, name: str) -> list[Node]:
    """The principals that have this name, whatever the case."""
    page = await snapshot.find(PRINCIPAL.name, Prop("name", "prefix", name))
    # By name, folded: those that go on after it come behind.
    return [node for node in page.items if fold(node.name) == fold(name)]


async def _refuse_other_case(tx: Transaction, name: str) -> None:
    """Raises Unauthenticated: in another case it is whom a directory named by a user name, which knows no case, or
    somebody who has left: as a principal of its own it would be in when they are out.
    """
    for node in await named_alike(tx, name):
        if not is_active(node) or ("userName" in node.props and "externalId" not in node.props):
            raise Unauthenticated(f"the token's subject names {node.name!r}, but in another case")


def _renamed(caller: Caller, props: Any) -> bool:
    """Whether the token gives another display name. What a directory provisions (SCIM) names itself."""
    name = _display_name(caller)
    provisioned = "userName" in props
    return (
        name is not None and not provisioned and props.get("active") is not False and props.get("displayName") != name
    )


def _display_name(caller: Caller) -> str | None:
    """The name that the token gives, without what does not belong into a line of text."""
    return "".join(c for c in caller.display_name if c.isprintable())[:MAX_DISPLAY_NAME] or None
