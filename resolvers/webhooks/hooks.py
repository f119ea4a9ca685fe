"""A webhook as it is read from the graph, and what this process needs to act on any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auth.caller import Caller
from auth.sealing import Sealer
from graph import ontology
from graph.ontology import WEBHOOK
from graph.port import Graph, Kept, Node, Snapshot
from lineal.errors import PreconditionFailed, Unavailable
from resolvers.events import Filter
from resolvers.operation import Operation
from resolvers.webhooks.sending import Sender

CLOUDEVENTS: Final = "CLOUDEVENTS"
ACTIVE: Final = "ACTIVE"
PAUSED: Final = "PAUSED"

SECRET: Final = -1
"""The number under which the secret of a webhook is kept, sealed."""
HEALTH: Final = -2
"""The number under which is kept since when it fails."""

TELLING: Final = frozenset({kind.scope for kind in ontology.NODE_KINDS.values()} | {ontology.METRICS_READ}) - {
    WEBHOOK.scope
}
"""The scopes that say what an event may tell. Of webhooks none tells: an address may be a secret."""


class Webhooks:
    """What a process knows about webhooks: the key that secrets are sealed with, how to send, and where it is itself.

    `base` is the URL of this server as its clients know it.
    """

    def __init__(self, sealer: Sealer, sender: Sender, *, base: str = "") -> None:
        self.sealer = sealer
        self.sender = sender
        self.base = base

    def sealed(self, id: str, secret: str | None, before: Kept | None = None, until: int = 0) -> Kept:
        """The secret of a webhook as it is kept; that of `before` counts besides until a time."""
        data: dict[str, Any] = {"secret": secret and self.sealer.seal(secret, id)}
        if before is not None and before.data["secret"]:
            data |= {"before": before.data["secret"], "until": until}
        return Kept(id, SECRET, "secret", data)

    def secrets(self, kept: Kept, now: int) -> list[str]:
        """The secrets that count at a time, the present one first. Raises PreconditionFailed: they cannot be opened."""
        found = [kept.data["secret"]] if kept.data["secret"] else []
        found += [kept.data["before"]] if kept.data.get("until", 0) > now else []
        return [self.sealer.open(sealed, kept.owner) for sealed in found]


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook: its node, and the secrets that count."""

    node: Node
    secrets: Sequence[str]

    @property
    def id(self) -> str:
        """Its id."""
        return self.node.id

    @property
    def url(self) -> str:
        """Where it sends to."""
        return str(self.node.props["url"])

    @property
    def format(self) -> str:
        """How it tells events."""
        return format_of(self.node.props)

    @property
    def filter(self) -> Filter:
        """What it takes."""
        props = self.node.props
        kinds, actions, types = (props.get(name, ()) for name in ("kinds", "actions", "types"))
        return Filter(kinds, actions, types, props.get("withTags", {}))

    def operation(self, graph: Graph) -> Operation:
        """What sees what the webhook may tell: its workspace and what is shared with it, by the scopes it was given."""
        scopes = frozenset(self.node.props.get("scopes", ())) & TELLING
        workspaces = frozenset({self.node.workspace})
        caller = Caller(self.id, scopes, type="SERVICE", workspaces=workspaces, bounded=True)
        return Operation(graph, caller=caller)


def format_of(props: Mapping[str, Any]) -> str:
    """The format that these properties say."""
    return str(props.get("format", CLOUDEVENTS))


def webhooks_of(op: Operation) -> Webhooks:
    """What the operation's process knows about webhooks. Raises Unavailable: nothing."""
    if op.webhooks is None:
        raise Unavailable("webhooks are not set up here")
    return op.webhooks


async def secret_of(snapshot: Snapshot, id: str) -> Kept | None:
    """The secret of a webhook as it is kept; None for one that came from elsewhere by an import."""
    found = await snapshot.kept([id], ["secret"], limit=1)
    return found[id][0] if found else None


async def read(snapshot: Snapshot, webhooks: Webhooks, id: str, now: int) -> Hook | None:
    """The webhook, None where there is none. Raises PreconditionFailed: its secret is not here, or cannot be opened."""
    node = (await snapshot.nodes([id])).get(id)
    if node is None:
        return None
    kept = await secret_of(snapshot, id)
    if kept is None:
        raise PreconditionFailed(f"the secret of {id} is not in this store: give it a new one by rotateWebhookSecret")
    return Hook(node, webhooks.secrets(kept, now))
