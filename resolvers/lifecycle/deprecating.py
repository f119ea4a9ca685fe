"""Deprecation, said of a thing outright or by moving a version to the stage for what is deprecated: who is told."""

from __future__ import annotations

from collections.abc import Iterable

from graph.port import EVERYTHING, Hop, Node, Transaction
from resolvers.lifecycle.schemes import is_for_deprecated
from resolvers.lifecycle.telling import News, tell_downstream
from resolvers.reading import all_links


async def tell_deprecations(tx: Transaction, said: Iterable[tuple[Node, str | None]]) -> None:
    """Tell the people downstream of each thing why it was deprecated, or, without a reason, that it is no more.

    It must be the last thing that a use case does: see `tell_downstream`.
    """
    for node, reason in said:
        await tell_downstream(tx, _news(node, reason))


def _news(node: Node, reason: str | None) -> News:
    word = "model" if node.kind == "Model" else "model version"
    if reason is None:
        plain = f"A {word} is deprecated no more."
        return News("DEPRECATION", node, node, lambda name: f"{name} is deprecated no more.", plain)
    return News("DEPRECATION", node, node, lambda name: f"{name} was deprecated: {reason}", f"A {word} was deprecated.")


async def stage_for_deprecated(tx: Transaction, id: str) -> str | None:
    """The stage that a version is in, where that is the one for what is deprecated."""
    links = await all_links(tx.seeing(EVERYTHING), [id], Hop("STAGE", "IN", "Model"))
    names = (link.edge.discriminator for link in links.get(id, ()))
    return next((name for name in names if is_for_deprecated(name)), None)
