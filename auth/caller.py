"""Who asks: what a verified token says, and nothing that only the graph knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from graph.port import Origin

ADMIN: Final = "admin"
"""The scope that stands for every other, and for the owner's role in every workspace."""

ANONYMOUS: Final = "anonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    `name` is the name of their Principal node: the issuer's short name and the subject, `corp:248289761001`.
    `teams` are the names of the teams that the token's claims map to. `workspaces` are those that the token
    itself makes its holder an owner of (None: all), which only tokens signed by Lineal can say. `bounded` says that
    the token opens no other workspace, whatever its holder may see and do there. `expires` is in seconds since
    the epoch. `trusted` is whoever runs Lineal's own commands on its own machine: they need no node in the
    graph, and everything is open to them.
    """

    name: str
    scopes: frozenset[str] = frozenset()
    issuer: str = ""
    subject: str = ""
    client: str = ""
    token: str = ""
    type: Literal["USER", "SERVICE"] = "USER"
    display_name: str = ""
    teams: frozenset[str] = frozenset()
    workspaces: frozenset[str] | None = frozenset()
    bounded: bool = False
    expires: int = 0
    trusted: bool = False

    @property
    def anonymous(self) -> bool:
        """Whether nobody said who they are."""
        return self.name == ANONYMOUS

    @property
    def admin(self) -> bool:
        """Whether everything is open to them."""
        return self.trusted or ADMIN in self.scopes

    def holds(self, scope: str) -> bool:
        """Whether a scope is theirs, by itself or because they hold `admin`."""
        return self.admin or scope in self.scopes

    def origin(self, address: str = "") -> Origin:
        """What is recorded of them beside their name, with the network address that they asked from."""
        return Origin(self.client, self.token, address)


def named(name: str) -> Caller:
    """Whoever runs Lineal's own commands, under another name."""
    return Caller(name, frozenset({ADMIN}), type="SERVICE", workspaces=None, trusted=True)


LOCAL: Final = named("local")
"""Whoever runs Lineal's own commands: they have the store's file or password anyway."""
