"""What is written of what platforms are seen to serve: phases, events, what is truly served, rollbacks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graph.address import Address
from graph.ontology import DEPLOYMENT_REVISION, MODEL_VERSION, NOTICE
from graph.port import EVERYTHING, EdgeMatch, Graph, Hop, Lease, NewEdge, Node, Snapshot, Transaction, Update
from resolvers.deploying.judging import MAX_MESSAGE, Known, Verdict, as_seen, judge, other_serving
from resolvers.deploying.pacing import Pace
from resolvers.deploying.plans import SPECIFIED, Plan
from resolvers.deploying.revising import note_event
from resolvers.deploying.sources import Share, by_version, is_whole, with_files
from resolvers.lifecycle.told import verified
from resolvers.reading import all_links
from resolvers.writing.draft import Draft
from serving.port import Desired, Observed

ACTION: Final = "reconcile"


@dataclass(slots=True)
class Look:
    """What is known of some deployments at one moment."""

    plans: Sequence[Plan]
    desired: Mapping[str, Desired]
    seen: Mapping[str, Observed] | None = None
    trouble: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    """What a target refused, by the id of the deployment."""
    hindered: Mapping[str, str] = field(default_factory=dict)
    """What stood in the way when the target was last to be told, by the id of the deployment."""
    places: Sequence[Node] = ()
    """What stands for the target in each workspace; `about` is what they are to say of it."""
    about: Mapping[str, str] = field(default_factory=dict)


class Settling:
    """Writes what follows from looks. `by` is the name that its writes are recorded under."""

    def __init__(self, graph: Graph, *, by: str) -> None:
        self._graph, self._by = graph, by
        self._pace = Pace()

    async def __call__(self, look: Look, lease: Lease, *, full: bool) -> dict[str, Verdict]:
        """What becomes of each deployment, written in one transaction; by its id."""
        now = time.time_ns() // 1_000
        known = await self._known(look)
        verdicts = {
            plan.deployment.id: judge(
                plan,
                look.desired[plan.deployment.id],
                None if look.seen is None else look.seen[plan.name],
                now,
                look.refused.get(plan.deployment.id, look.trouble),
                known=known[plan.deployment.id],
                hindered=look.hindered.get(plan.deployment.id, ""),
                full=full,
            )
            for plan in look.plans
        }
        changing = [plan for plan in look.plans if _changes(plan, verdicts[plan.deployment.id])]
        paced = {plan.deployment.id: self._pace.of(plan, verdicts[plan.deployment.id]) for plan in changing}
        writing = {id: verdict for id, verdict in paced.items() if verdict is not None}
        places = self._places(look)
        if writing or places:

            async def work(tx: Transaction) -> None:
                await tx.fence(lease)
                await tx.update(places)
                told = [plan for plan in changing if plan.deployment.id in writing]
                await self._write(tx, told, writing, look, lease)

            await self._graph.write(work, by=self._by, action=ACTION)
        return verdicts

    def _places(self, look: Look) -> list[Update]:
        """What is not known yet of the target itself, as far as it may be written now."""
        if look.seen is None and not look.trouble:
            return []
        now = {**look.about, "reachable": look.seen is not None, "message": look.trouble[:MAX_MESSAGE] or None}
        updates = list[Update]()
        for place in look.places:
            changed = {name: value for name, value in now.items() if place.props.get(name) != value}
            if changed and self._pace.lets(place.id, merely_said=changed.keys() == {"message"}):
                updates.append(Update(place.id, changed))
        return updates

    async def _known(self, look: Look) -> dict[str, Known]:
        """The versions that a platform may have of each deployment, by number; earlier ones are looked for."""
        known: dict[str, dict[int, list[Share]]] = {}
        unknown: dict[str, set[int]] = {}
        for plan in look.plans:
            mine = known.setdefault(plan.deployment.id, {})
            for share in (*plan.versions, *plan.serving):
                mine.setdefault(share.number, []).append(share)
            seen = () if look.seen is None else look.seen[plan.name].seen
            if numbers := {each.number for each in seen if each.number is not None} - mine.keys():
                unknown[plan.deployment.id] = numbers
        if unknown:
            async with self._graph.snapshot(EVERYTHING) as snapshot:
                for id, numbers in unknown.items():
                    model = _model(next(plan for plan in look.plans if plan.deployment.id == id))
                    if model is not None:
                        found = await _numbered(snapshot, model, numbers)
                        for share in await with_files(snapshot, [Share(node, None) for node in found]):
                            known[id].setdefault(share.number, []).append(share)
        return dict(known)

    async def _write(
        self, tx: Transaction, plans: Sequence[Plan], verdicts: Mapping[str, Verdict], look: Look, lease: Lease
    ) -> None:
        nodes = await tx.lock([node.id for plan in plans for node in (plan.deployment, plan.revision)])
        draft = Draft(tx)
        ends, links, updates = list[EdgeMatch](), list[NewEdge](), list[Update]()
        for plan in plans:
            node, verdict = nodes[plan.deployment.id], verdicts[plan.deployment.id]
            condemned = nodes[plan.revision.id].props.get("condemned", "")
            if node.props.get("desiredRevision") != plan.number or condemned != plan.condemned:
                # It was told something else since it was read, or condemned: that is looked at next.
                continue
            updates.append(Update(node.id, verdict.deployment))
            if verdict.revision:
                updates.append(Update(plan.revision.id, verdict.revision))
            if verdict.serving is not None:
                now, seen_now = by_version(plan.serving), by_version(verdict.serving)
                other = [id for id in now.keys() | seen_now.keys() if now.get(id) != seen_now.get(id)]
                ends += [EdgeMatch("SERVES", node.id, id) for id in other if id in now]
                links += [NewEdge("SERVES", node.id, id, props=seen_now[id]) for id in other if id in seen_now]
            if verdict.noteworthy:
                seen = as_seen(None if look.seen is None else look.seen.get(plan.name))
                about = {
                    "seen": seen,
                    "holder": lease.holder,
                    "epoch": lease.epoch,
                    "leftOut": verdict.left_out or None,
                }
                message = verdict.deployment.get("message")
                note_event(
                    draft,
                    node,
                    verdict.phase,
                    plan.number,
                    message,
                    **{n: v for n, v in about.items() if v is not None},
                )
            if verdict.rolls_back:
                updates += await _back(tx, draft, node, plan, verdict)
            if verdict.revision.get("state") == "FAILED":
                await _tell_owners(tx, draft, node, plan, verdict)
        await tx.update(updates)
        if ends:
            await tx.unlink(ends)
        await tx.link(links)
        await draft.save()


async def _back(tx: Transaction, draft: Draft, node: Node, plan: Plan, verdict: Verdict) -> list[Update]:
    """Add a revision that restores the last good one, or, of what is withheld, one that serves nothing where there is
    none. The updates of the deployment.
    """
    good = await _last_good(tx, node)
    if good is None and not plan.withheld:
        return []
    revision, restored = good or (plan.revision, [])
    cause = {"cause": "STOP"} if good is None else {"cause": "ROLL_BACK", "restores": int(revision.props["number"])}
    kept = ("resources", "settings") if good is None else ("resources", "settings", "canary")
    number = plan.number + 1
    reason = f"revision {plan.number} failed: {verdict.deployment.get('message')}"
    props = {
        "state": "PENDING",
        "reason": reason,
        **cause,
        **{name: revision.props[name] for name in kept if name in revision.props},
    }
    made = draft.create(DEPLOYMENT_REVISION, str(number), node.workspace, container=node.id, props=props)
    for each in restored:
        draft.link("SPECIFIES", made, each.version.id, props=each.props)
    note_event(draft, node, "PENDING", number, reason)
    return [Update(node.id, {"desiredRevision": number, "phase": "PENDING", "message": reason})]


async def _last_good(tx: Transaction, node: Node) -> tuple[Node, list[Share]] | None:
    """The last revision that was seen to be served as told, unless nothing may serve it any more."""
    place = verified(node)
    if place is None:
        return None
    (revision,) = await tx.resolve([place])
    assert revision is not None
    shares = [Share.of(link) for link in (await all_links(tx, [revision.id], SPECIFIED)).get(revision.id, [])]
    gone = not is_whole(shares) or any(each.version.props.get("retiredAt") is not None for each in shares)
    return None if gone else (revision, shares)


async def _tell_owners(tx: Transaction, draft: Draft, node: Node, plan: Plan, verdict: Verdict) -> None:
    """Tell who answers for a deployment that a rollout failed; its watchers hear of every change anyway."""
    owners = (await all_links(tx, [node.id], Hop("OWNED_BY", "OUT"))).get(node.id, [])
    if owners:
        good = "verifiedRevision" in plan.deployment.props
        after = f"; it {'goes back to what was served before' if good else 'is stopped'}" if verdict.rolls_back else ""
        text = f"Revision {plan.number} of {node.name} failed{after}: {verdict.revision.get('message')}"
        notice = draft.create(
            NOTICE, None, node.workspace, container=node.id, props={"type": "DEPLOYMENT", "text": text}
        )
        draft.link("CONCERNS", notice, node.id)
        for owner in owners:
            draft.link("NOTIFIES", notice, owner.node.id)


def _changes(plan: Plan, verdict: Verdict) -> bool:
    """Whether anything of a verdict is not in the graph yet."""
    deployment = any(plan.deployment.props.get(name) != value for name, value in verdict.deployment.items())
    revision = any(plan.revision.props.get(name) != value for name, value in verdict.revision.items())
    return deployment or revision or other_serving(plan, verdict) or verdict.rolls_back


def _model(plan: Plan) -> str | None:
    """The id of the model whose versions a deployment serves."""
    return next((each.version.container for each in (*plan.versions, *plan.serving)), None)


async def _numbered(snapshot: Snapshot, model: str, numbers: set[int]) -> list[Node]:
    nodes = await snapshot.nodes([model])
    if model not in nodes:
        return []
    owner = nodes[model]
    wanted = [Address(MODEL_VERSION.name, owner.workspace, owner.name, str(number)) for number in sorted(numbers)]
    return [node for node in await snapshot.resolve(wanted) if node is not None]
