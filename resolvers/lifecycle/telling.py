"""Telling the people who answer for things what happened to what those came of.

A notice belongs to the workspace and the container of the thing that it concerns, so that whoever may read that may
read it. What it came of may be somewhere else, and not to be read there: a notice leads to it by an edge, which the
store hides from those who may not see it, and names it in words only where every reader of the notice may know it.
Where only those of the workspace may know it, the notice is in no container: sharing the thing later shares not that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from auth.roles import PUBLIC
from graph import ontology
from graph.address import Address
from graph.ids import new_id
from graph.naming import addresses
from graph.ontology import NOTICE
from graph.port import (
    EVERY_RIGHT,
    EVERYTHING,
    Hop,
    NewEdge,
    NewNode,
    Node,
    Transaction,
    batched,
)
from resolvers.lifecycle.descent import descendants
from resolvers.lifecycle.told import Told, told_to_serve
from resolvers.reading import all_links

_BATCH: Final = 500
_SHOWN: Final = 100
"""Versions that one notice names."""


@dataclass(slots=True)
class Concerned:
    """A model, and those of its versions that are affected; or a deployment, and whether it serves such or will."""

    thing: Node
    versions: list[Node] = field(default_factory=list)
    serves: bool = True


@dataclass(frozen=True, slots=True)
class News:
    """What happened: `cause` is what notices lead to, `about` the thing that it happened to.

    `named` says it with the name of that thing, `unnamed` without, as in: a data set was marked CONTAMINATED.
    """

    type: str
    cause: Node
    about: Node
    named: Callable[[str], str]
    unnamed: str


async def tell_downstream(tx: Transaction, news: News) -> Sequence[Told]:
    """Tell the owners and watchers of every model and every deployment that came of something.

    The answer is what managed deployments were told last to serve of it, whoever answers for them.

    It must be the last thing that a use case does: from here on it sees everything, and may write everything, for it
    tells people about what its caller may not see. The thing itself is told of too, where it is a model or a version.
    Bounded like a walk through lineage: what is beyond 20,000 nodes is not told.
    """
    tx.guard(EVERYTHING, EVERY_RIGHT)
    found = [node for node, _ in (await descendants(tx, news.about)).nodes]
    serving = await told_to_serve(tx, [node.id for node in found if node.kind == "ModelVersion"])
    concerned = await _concerned(tx, news.about, found, [each.deployment for each in serving])
    people = await _people(tx, concerned)
    told = [(each, ids) for each in concerned if (ids := people[each.thing.id])]
    if not told:
        return serving
    name = (await addresses(tx, [news.about]))[news.about.id]
    public = await _is_public(tx, news.about.workspace)
    near = set() if public else await _unshared(tx, news.about, [each.thing for each, _ in told])
    edges: list[NewEdge] = []
    for some in batched(told, _BATCH):
        nodes = []
        for each, ids in some:
            thing, id = each.thing, new_id(NOTICE.prefix)
            what = news.named(name) if public or thing.id in near else news.unnamed
            props = {"type": news.type, "text": f"{_sentence(what)} {_consequence(each, news.about)}"}
            container = None if thing.id in near else thing.container
            nodes.append(NewNode(NOTICE.name, id, thing.workspace, container, props, id))
            edges += [NewEdge("CONCERNS", id, thing.id), NewEdge("BECAUSE_OF", id, news.cause.id)]
            edges += [NewEdge("NOTIFIES", id, person) for person in ids]
        await tx.create(nodes)
    await tx.link(edges)
    return serving


async def _concerned(tx: Transaction, about: Node, found: Sequence[Node], told: Iterable[Node]) -> list[Concerned]:
    """The models and deployments of what was found to have come of something, by id, with those that were told to."""
    versions = [node for node in found if node.kind == "ModelVersion"]
    models = await tx.nodes(list(dict.fromkeys(node.container for node in versions)))
    concerned = {id: Concerned(model) for id, model in models.items()}
    for node in versions:
        if node.container in concerned:
            concerned[node.container].versions.append(node)
    concerned |= {node.id: Concerned(node, serves=False) for node in told}
    concerned |= {node.id: Concerned(node) for node in found if node.kind == "Deployment"}
    if about.kind == "Model" and about.id not in concerned:
        concerned[about.id] = Concerned(about)
    return [concerned[id] for id in sorted(concerned)]


async def _people(tx: Transaction, concerned: Sequence[Concerned]) -> dict[str, list[str]]:
    """Who owns or watches each of these things, or one of its versions that are affected, by the thing's id."""
    ids = [node.id for each in concerned for node in (each.thing, *each.versions)]
    found: dict[str, set[str]] = {id: set() for id in ids}
    for hop in (Hop("OWNED_BY", "OUT"), Hop("WATCHES", "IN")):
        for some in batched(ids, _BATCH):
            for id, links in (await all_links(tx, some, hop)).items():
                found[id] |= {link.node.id for link in links}
    return {
        each.thing.id: sorted(set().union(*(found[node.id] for node in (each.thing, *each.versions))))
        for each in concerned
    }


async def _is_public(tx: Transaction, workspace: str) -> bool:
    (place,) = await tx.resolve([Address(ontology.WORKSPACE.name, ontology.GLOBAL, workspace)])
    return place is not None and place.props.get("visibility") == PUBLIC


async def _unshared(tx: Transaction, about: Node, things: Sequence[Node]) -> set[str]:
    """The ids of those things that are in the workspace of something, and shared with no other."""
    near = [thing.id for thing in things if thing.workspace == about.workspace]
    shared: set[str] = set()
    for some in batched(near, _BATCH):
        shared |= {id for id, links in (await all_links(tx, some, Hop("SHARED_WITH", "OUT"))).items() if links}
    return set(near) - shared


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _consequence(each: Concerned, about: Node) -> str:
    if each.thing.kind == "Deployment":
        return f"This deployment {'serves' if each.serves else 'was told to serve'} what came of it."
    if each.thing.id == about.id:
        return "That is this model."
    others = [version for version in each.versions if version.id != about.id]
    if not others:
        return "That is a version of this model."
    return f"Versions of this model that came of it: {listed(sorted(int(v.props['number']) for v in others))}."


def listed(items: Iterable[object], shown: int = _SHOWN) -> str:
    """The first of these, and how many there are besides."""
    words = [str(item) for item in items]
    rest = len(words) - shown
    return ", ".join(words[:shown]) + (f" and {rest} more" if rest > 0 else "")
