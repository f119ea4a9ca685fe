"""The one way by which versions come to stages and get aliases, whoever asks for it and through what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph.ids import new_id
from graph.ontology import STAGE_MOVE
from graph.port import EVERYTHING, EdgeMatch, Hop, NewEdge, NewNode, Node, Transaction, Update
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.artifacts.common import workspace_property
from resolvers.artifacts.policy import check_signed
from resolvers.lifecycle.findings import Verdict
from resolvers.lifecycle.findings import kept as kept_of
from resolvers.lifecycle.gates import OVERRIDDEN, check_override, pass_gate
from resolvers.lifecycle.schemes import ARCHIVED, DEPRECATED, NONE, RETIRED, Schemes, Stage, is_for_deprecated
from resolvers.reading import all_links
from resolvers.writing.story import refuse_use

MAX_REASON: Final = 10_000
"""Characters in a reason."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A version that shall come to a stage (None: to none), or get an alias.

    `field` is the place in the input that a refusal names. `since` is since when it is true, if not from now on.
    """

    version: Node
    stage: str | None = None
    alias: str | None = None
    field: str = "stage"
    since: int | None = None


class Mover:
    """Moves versions in one transaction. `reason` is why, `override` why they shall pass whatever gates say.

    Without `replace` an alias that means another version, or a version that is in another stage, is refused by the
    store, as importers want it.
    """

    def __init__(
        self, tx: Transaction, *, reason: str | None = None, override: str | None = None, replace: bool = True
    ) -> None:
        for field, text in (("reason", reason), ("override", override)):
            if text is not None and len(text) > MAX_REASON:
                msg = f"{field}: has {len(text)} characters; at most {MAX_REASON} are allowed"
                raise InvalidArgument(msg, field=field)
        check_override(tx, override)
        self.tx = tx
        self.reason = reason
        self.override = override
        self.replace = replace
        self.schemes = Schemes(tx)
        self._signing: dict[str, bool] = {}
        self._moves: list[NewNode] = []
        self._ends: list[EdgeMatch] = []
        self._opens: list[NewEdge] = []
        self._moved: dict[str, dict[str, Any]] = {}
        self.deprecations: list[tuple[Node, str | None]] = []
        """The versions that the moves deprecated, each with the reason, and those that are not any more, without one;
        people are told by resolvers.lifecycle.deprecating.tell_deprecations."""

    async def __call__(self, wishes: Sequence[Wish]) -> None:
        """Do all of this. What is so already stays, and is no event.

        Raises InvalidArgument (a stage that the scheme does not have), PreconditionFailed (no such move, a gate, a
        signature that is missing), AlreadyExists, Forbidden, Conflict.
        """
        if not wishes:
            return
        # The versions too: no files come to them between the look at their signatures and the commit.
        await self.tx.lock(sorted({id for wish in wishes for id in (wish.version.container, wish.version.id)}))
        whole = self.tx.seeing(EVERYTHING)
        models = await whole.nodes(sorted({wish.version.container for wish in wishes}))
        stages = await all_links(whole, sorted({wish.version.id for wish in wishes}), Hop("STAGE", "IN", "Model"))
        aliases = await all_links(whole, sorted(models), Hop("ALIAS", "OUT", "ModelVersion"))
        for wish in wishes:
            model = models[wish.version.container]
            if wish.alias is not None:
                meant = {k.edge.discriminator: k.node.id for k in aliases.get(model.id, ())}
                await self._point(wish, model, wish.alias, meant.get(wish.alias))
            else:
                now = next((k.edge.discriminator for k in stages.get(wish.version.id, ())), None)
                await self._move(wish, model, now)
        await self._save()

    async def force(self, version: Node, stage: str) -> None:
        """Put a version into a stage whatever scheme and gates say, for what has rules of its own: retirement."""
        await self.tx.lock([version.container, version.id])
        links = await all_links(self.tx.seeing(EVERYTHING), [version.id], Hop("STAGE", "IN", "Model"))
        before = next((link.edge.discriminator for link in links.get(version.id, ())), None)
        if before == stage:
            return
        wish = Wish(version, stage)
        move = await self._event(wish, None, {"fromStage": before, "toStage": stage})
        if before is not None:
            self._ends.append(EdgeMatch("STAGE", version.container, version.id))
        self._open("STAGE", wish, stage, move)
        await self._save()

    async def _point(self, wish: Wish, model: Node, alias: str, meant: str | None) -> None:
        refuse_use(wish.version, wish.field)
        await self._check_signed(wish)
        if meant == wish.version.id:
            return
        verdict = await pass_gate(self.tx, wish.version, alias=alias, override=self.override, field=wish.field)
        move = None
        if verdict.gated or self.reason is not None:
            move = await self._event(wish, verdict, {"alias": alias})
        if self.replace:
            self._ends.append(EdgeMatch("ALIAS", model.id, discriminator=alias))
        self._open("ALIAS", wish, alias, move)

    async def _move(self, wish: Wish, model: Node, before: str | None) -> None:
        after = None
        if wish.stage is not None:
            stage = (await self.schemes.of(model)).stage(wish.stage, wish.field)
            after = stage.name
            if after != before:
                _refuse_retiring(wish, stage)
            if stage.live:
                refuse_use(wish.version, wish.field)
            await self._check_signed(wish)
        if before == after:
            return
        forced = await self._check_way(wish, model, before, after)
        verdict = None
        if after is not None:
            verdict = await pass_gate(self.tx, wish.version, stage=after, override=self.override, field=wish.field)
        move = await self._event(wish, verdict, {"fromStage": before, "toStage": after}, forced=forced)
        self._moved.setdefault(model.id, {})
        self._moved[wish.version.id] = await self._deprecation(wish.version, model, before, after)
        if before is not None and self.replace:
            self._ends.append(EdgeMatch("STAGE", model.id, wish.version.id))
        if after is not None:
            self._open("STAGE", wish, after, move)

    async def _deprecation(
        self, version: Node, model: Node, before: str | None, after: str | None
    ) -> dict[str, int | str | None]:
        """What a move sets of a version's deprecation."""
        since = version.props.get("deprecatedAt")
        if is_for_deprecated(after):
            if since is not None and since <= self.tx.now:
                return {}
            reason = self.reason or self.override or f"it came to the stage {DEPRECATED}"
            self.deprecations.append((version, reason))
            return {"deprecatedAt": self.tx.now, "deprecationReason": reason}
        stage = (await self.schemes.of(model)).find(after)
        if not is_for_deprecated(before) or since is None or (stage is not None and stage.mlflow == ARCHIVED):
            return {}
        self.deprecations.append((version, None))
        return {"deprecatedAt": None, "deprecationReason": None}

    async def _check_way(self, wish: Wish, model: Node, before: str | None, after: str | None) -> bool:
        """Whether a move is only possible because it is overridden. Raises PreconditionFailed."""
        scheme = await self.schemes.of(model)
        retired = "retiredAt" in wish.version.props and after != RETIRED
        if scheme.allows(before, after) and not retired:
            return False
        if self.override is not None:
            self.tx.action = OVERRIDDEN
            return True
        ways = [] if retired else scheme.ways(before)
        there = f"from there it goes to {', '.join(ways)}" if ways else "there is no way out of it"
        msg = (
            f"{wish.field}: a version moves from {before or NONE} to {after or NONE} only by an override: in the stage "
            f"scheme {scheme.name!r} {there}"
        )
        raise PreconditionFailed(msg, field=wish.field, stages=ways)

    async def _check_signed(self, wish: Wish) -> None:
        workspace = wish.version.workspace
        if workspace not in self._signing:
            policy = await workspace_property(self.tx.seeing(EVERYTHING), workspace, "signaturePolicy")
            self._signing[workspace] = policy == "REQUIRED"
        if self._signing[workspace]:
            await check_signed(self.tx, wish.version.id, workspace, wish.field)

    async def _event(self, wish: Wish, verdict: Verdict | None, facts: dict[str, Any], *, forced: bool = False) -> str:
        """What is kept of a move: its id."""
        version = wish.version
        kept = {} if verdict is None else kept_of(verdict)
        if forced:
            kept = {"overridden": True, "verdict": {"override": self.override, **kept.get("verdict", {})}}
        reason = self.reason or (self.override if kept.get("overridden") else None)
        props = {**facts, "reason": reason, **kept}
        id = new_id(STAGE_MOVE.prefix)
        self._moves.append(NewNode(STAGE_MOVE.name, id, version.workspace, version.container, props, id))
        self._opens.append(NewEdge("MOVED", id, version.id))
        return id

    def _open(self, kind: str, wish: Wish, name: str, move: str | None) -> None:
        props = {} if move is None else {"move": move}
        self._opens.append(NewEdge(kind, wish.version.container, wish.version.id, name, props, since=wish.since))

    async def _save(self) -> None:
        await self.tx.create(self._moves)
        if self._ends:
            await self.tx.unlink(self._ends)
        await self.tx.link(self._opens)
        await self.tx.update([Update(id, props, touch=True) for id, props in self._moved.items()])


def _refuse_retiring(wish: Wish, stage: Stage) -> None:
    """Raises PreconditionFailed: by a mere move a version would seem retired that something still depends on."""
    if stage.final and stage.name == RETIRED and "retiredAt" not in wish.version.props:
        msg = f"{wish.field}: a version comes to {RETIRED} only by retire, which looks at what depends on it"
        raise PreconditionFailed(msg, field=wish.field)


async def archive_others(mover: Mover, version: Node, stage: str) -> None:
    """Move every other version out of the stage that this one comes to, into the one for archived ones.

    Raises PreconditionFailed: the scheme has none, or a move is not allowed.
    """
    tx = mover.tx
    whole = tx.seeing(EVERYTHING)
    model = (await whole.nodes([version.container]))[version.container]
    scheme = await mover.schemes.of(model)
    archive, goal = scheme.archive, scheme.stage(stage)
    if archive is None or archive == goal:
        msg = f"archiveExisting: the stage scheme {scheme.name!r} has no stage to archive versions of {goal.name!r} in"
        raise PreconditionFailed(msg, field="archiveExisting")
    links = (await all_links(whole, [model.id], Hop("STAGE", "OUT", "ModelVersion"))).get(model.id, [])
    others = [k.node for k in links if k.edge.discriminator == goal.name and k.node.id != version.id]
    reason = f"version {version.name} takes its place in {goal.name}"
    making_room = Mover(tx, reason=reason if mover.reason is None else f"{reason}: {mover.reason}")
    await making_room([Wish(other, archive.name, field="archiveExisting") for other in others])
    mover.deprecations += making_room.deprecations
