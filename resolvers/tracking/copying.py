"""Copying a whole MLflow registry: models, prompts, versions under their numbers, aliases, stages, and what made them.

Each version is one transaction, and what is here already as it is there is not touched: a copy that broke off goes on
where it was, and a copy that is made again changes nothing. What was made is told to have been made when MLflow says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graph.address import Address, parse
from graph.ontology import GLOBAL, MODEL_VERSION, WORKSPACE
from graph.port import EVERYTHING, EdgeMatch, Graph, Hop, Node, Transaction, Update, batched
from lineal.errors import LinealError, NotFound, Unavailable
from resolvers.lifecycle.moving import Mover, Wish
from resolvers.reading import all_links
from resolvers.tracking.queueing import DONE, FAILED, FOLLOWING, ended
from resolvers.tracking.recording import recorded, versions_of, write
from resolvers.tracking.stories import Story, fetch
from resolvers.tracking.telling import Telling
from resolvers.writing.importing import ImportedNode
from resolvers.writing.tagging import put_tags
from storage.threads import Threads
from storage.tracking.mlflow import MlflowServer
from storage.tracking.records import RegisteredModel, RegisteredVersion
from storage.tracking.server import Away

ACTION: Final = "importMlflow"
THREADS: Final = 8
"""Requests that are under way at a time."""
AHEAD: Final = 32
"""Versions whose stories are fetched together."""
MAX_STORIES: Final = 1_000
"""Stories of runs that are kept, for other versions of the same run."""

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is."""


@dataclass(slots=True)
class Copied:
    """What a copy looked at, what of it was new or changed, and what could not be done, in words."""

    models: int = 0
    prompts: int = 0
    versions: int = 0
    written: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a registry had when it was looked at last, as far as it may be taken away: by the number of the version."""

    aliases: Mapping[str, str]
    tags: frozenset[str]
    versions: Mapping[str, tuple[str, frozenset[str]]]
    """The stage, and the names of tags."""


@dataclass(frozen=True, slots=True)
class _There:
    """A model as it is here, with its versions by number and their tags by id."""

    model: Node | None = None
    versions: Mapping[str, Node] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    """Names of stages, by the number of the version."""


class Copier:
    """Copies one server's registry into a workspace.

    `by` is the name that its writes are recorded under. Close it in the end.
    """

    def __init__(
        self, graph: Graph, server: MlflowServer, *, workspace: str, by: str, progress: Progress = lambda *_: None
    ) -> None:
        self._graph, self._server, self._workspace, self._by = graph, server, workspace, by
        self._progress = progress
        self._threads = Threads(THREADS, "mlflow")
        self._stories: dict[tuple[str, str], asyncio.Future[Story | str]] = {}
        self._seen: dict[str, _Seen] = {}
        self._latest = 0
        """When, by the server's clock, something was changed last that was seen."""

    async def all(self) -> Copied:
        """Copy everything. Raises NotFound (the workspace), Unavailable: copy again, and it goes on from there."""
        await self._check_workspace()
        done = Copied()
        listed = self._threads.each(each for page in self._server.models() for each in page)
        # A server that knows nothing of prompts lists those among the models, too.
        models = {model.name: model async for model in listed}
        for i, model in enumerate(models.values()):
            self._progress("copying", i, len(models))
            await self._model(model, done)
        self._progress("copying", len(models), len(models))
        for name in self._seen.keys() - models.keys():
            del self._seen[name]
            done.problems.append(f"model {name!r} is gone there; it stays here")
        return done

    async def changes(self) -> Copied:
        """Copy what the server says was changed since; tags and aliases, of which it does not say so, come with `all`.

        Raises Unavailable.
        """
        done = Copied()
        for name in sorted(await self._threads.run(self._server.changed, self._latest)):
            if (model := await self._threads.run(self._server.model, name)) is not None:
                await self._model(model, done)
        return done

    def close(self) -> None:
        """Let go of threads and connections."""
        self._server.close()
        self._threads.close()

    # One model ────────────────────────────────────────────────────────────────────────────────────

    async def _model(self, model: RegisteredModel, done: Copied) -> None:
        self._latest = max(self._latest, model.updated or 0)
        done.prompts += model.prompt
        done.models += not model.prompt
        try:
            versions = await self._threads.run(self._versions, model)
            there = await self._there(model.name)
            await self._write_model(model, there, done)
            await self._write_versions(versions, there, done)
            await self._point(model, versions, done)
        except Unavailable:
            raise
        except LinealError as error:
            done.problems.append(f"model {model.name!r}: {error.message}")

    def _versions(self, model: RegisteredModel) -> Sequence[RegisteredVersion]:
        return [each for page in self._server.versions(model) for each in page]

    async def _write_model(self, model: RegisteredModel, there: _There, done: Copied) -> None:
        telling = Telling(self._workspace)
        telling.model(model)
        gone = self._seen[model.name].tags - model.tags.keys() if model.name in self._seen else frozenset()
        if there.model is not None and _is_so(there.model, telling.nodes[0], there.tags) and not gone:
            return

        async def work(tx: Transaction) -> int:
            now = Telling(self._workspace, now=tx.now)
            address = now.model(model)
            await write(tx, now)
            await _untag(tx, parse(address), gone)
            return now.left_out

        left_out = await self._graph.write(work, by=self._by, action=ACTION)
        done.written += 1
        if left_out:
            done.problems.append(f"model {model.name!r}: {left_out} values are larger than Lineal takes")

    async def _write_versions(self, versions: Sequence[RegisteredVersion], there: _There, done: Copied) -> None:
        wanted = []
        for version in versions:
            done.versions += 1
            self._latest = max(self._latest, version.updated or 0)
            node = there.versions.get(version.number)
            if node is not None and _is_other(version, node):
                done.problems.append(f"version {version.number} of {version.model!r} here is another one; it is left")
            elif node is None or not self._is_done(version, node, there.tags):
                wanted.append(version)
        for some in batched(wanted, AHEAD):
            # The runs are asked for meanwhile: that is what most of the time goes into.
            stories = [asyncio.ensure_future(self._story(version)) for version in some]
            try:
                for version, story in zip(some, stories, strict=True):
                    await self._write_version(version, await story, done)
            finally:
                for each in stories:
                    each.cancel()
                await asyncio.gather(*stories, return_exceptions=True)

    def _is_done(self, version: RegisteredVersion, node: Node, tags: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether a version is here as it is there, with what made it."""
        telling = Telling(self._workspace)
        telling.version(version)
        known = not (version.run or version.logged_model) or node.props.get("enrichment") in {DONE, FAILED}
        return known and _is_so(node, telling.nodes[0], tags) and not self._untagged(version)

    def _untagged(self, version: RegisteredVersion) -> frozenset[str]:
        """Names of tags that a version had there and has not any more."""
        seen = self._seen.get(version.model)
        before = seen.versions.get(version.number) if seen is not None else None
        return frozenset() if before is None else before[1] - version.tags.keys()

    async def _write_version(self, version: RegisteredVersion, story: Story | str | None, done: Copied) -> None:
        what = f"version {version.number} of {version.model!r}"
        told = story if isinstance(story, Story) else None

        async def do(refused: Sequence[str]) -> None:
            async def work(tx: Transaction) -> list[str]:
                known = await versions_of(tx, self._workspace, told)
                telling = Telling(self._workspace, now=tx.now, known=known)
                address = parse(telling.version(version))
                if told is not None:
                    telling.story(str(address), told, version.created, without=len(refused))
                notes = [*(await write(tx, telling)), *refused]
                await _untag(tx, address, self._untagged(version))
                if story is not None:
                    (node,) = await tx.resolve([address])
                    assert node is not None
                    await tx.update([Update(node.id, _enrichment(story, notes, tx.now))])
                return notes

            notes = await self._graph.write(work, by=self._by, action=ACTION)
            done.problems += [f"{what}: {note}" for note in notes]

        try:
            await recorded(do)
        except Unavailable:
            raise
        except LinealError as error:
            done.problems.append(f"{what}: {error.message}")
            return
        done.written += 1
        if isinstance(story, str):
            done.problems.append(f"{what}: {story}")

    async def _story(self, version: RegisteredVersion) -> Story | str | None:
        """What made a version; why that cannot be had, in words; None where it names nothing. Raises Unavailable."""
        key = (version.run, version.logged_model)
        if not any(key):
            return None
        if key not in self._stories:
            if len(self._stories) >= MAX_STORIES:
                del self._stories[next(iter(self._stories))]
            self._stories[key] = asyncio.ensure_future(self._fetched(*key))
        try:
            story = await asyncio.shield(self._stories[key])
        except BaseException:
            self._stories.pop(key, None)
            raise
        if isinstance(story, str) or story.goes_on:
            self._stories.pop(key, None)
        return story

    async def _fetched(self, run: str, logged: str) -> Story | str:
        try:
            story = await self._threads.run(fetch, self._server, run, logged)
        except Away:
            raise
        except Unavailable as error:
            return error.message
        return f"the server knows no run {run!r}" if story is None else story

    # Aliases and stages ───────────────────────────────────────────────────────────────────────────

    async def _point(self, model: RegisteredModel, versions: Sequence[RegisteredVersion], done: Copied) -> None:
        """Let aliases and stages be as they are there; those that were taken away there are here, too."""
        there = await self._there(model.name)
        assert there.model is not None
        before = self._seen.get(model.name)
        wishes: list[Wish] = []
        for alias, number in model.aliases.items():
            if (node := there.versions.get(number)) is not None and there.aliases.get(alias) != number:
                wishes.append(Wish(node, alias=alias, field=f"alias {alias!r}"))
        for version in versions:
            node, now = there.versions.get(version.number), there.stages.get(version.number)
            left = before is not None and before.versions.get(version.number, ("",))[0] == now and not version.stage
            if node is None or (now or "") == version.stage or not (version.stage or (left and now)):
                continue
            since = None if now or version.updated is None else version.updated
            wishes.append(Wish(node, version.stage or None, field=f"stage of version {version.number}", since=since))
        for wish in wishes:
            await self._wish(wish, model.name, done)
        for alias, number in (before.aliases if before is not None else {}).items():
            if alias not in model.aliases and there.aliases.get(alias) == number:
                await self._end(EdgeMatch("ALIAS", there.model.id, discriminator=alias))
                done.written += 1
        for number in before.versions.keys() - {version.number for version in versions} if before else ():
            done.problems.append(f"version {number} of {model.name!r} is gone there; it stays here")
        self._seen[model.name] = _Seen(
            dict(model.aliases),
            frozenset(model.tags),
            {version.number: (version.stage, frozenset(version.tags)) for version in versions},
        )

    async def _wish(self, wish: Wish, model: str, done: Copied) -> None:
        async def work(tx: Transaction) -> None:
            version = (await tx.nodes([wish.version.id])).get(wish.version.id)
            if version is not None:
                since = None if wish.since is None else min(wish.since, tx.now)
                await Mover(tx)([Wish(version, wish.stage, wish.alias, wish.field, since)])

        try:
            await self._graph.write(work, by=self._by, action=ACTION)
        except Unavailable:
            raise
        except LinealError as error:
            done.problems.append(f"model {model!r}: {error.message}")
        else:
            done.written += 1

    async def _end(self, match: EdgeMatch) -> None:
        async def work(tx: Transaction) -> None:
            await tx.unlink([match])

        await self._graph.write(work, by=self._by, action=ACTION)

    # What is here ─────────────────────────────────────────────────────────────────────────────────

    async def _check_workspace(self) -> None:
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            (found,) = await snapshot.resolve([Address(WORKSPACE.name, GLOBAL, self._workspace)])
        if found is None:
            raise NotFound(f"workspace: there is no workspace {self._workspace!r}", field="workspace")

    async def _there(self, name: str) -> _There:
        telling = Telling(self._workspace)
        address = parse(telling.model(RegisteredModel(name)))
        async with self._graph.snapshot(EVERYTHING) as snapshot:
            (model,) = await snapshot.resolve([address])
            if model is None:
                return _There()
            links = await all_links(snapshot, [model.id], Hop("VERSION_OF", "IN", MODEL_VERSION.name))
            versions = {link.node.name: link.node for link in links.get(model.id, ())}
            ids = [model.id, *(node.id for node in versions.values())]
            pointed = {
                kind: (await all_links(snapshot, [model.id], Hop(kind, "OUT", MODEL_VERSION.name))).get(model.id, [])
                for kind in ("ALIAS", "STAGE")
            }
            return _There(
                model,
                versions,
                await snapshot.rows(ids, "tags"),
                {link.edge.discriminator: link.node.name for link in pointed["ALIAS"]},
                {link.node.name: link.edge.discriminator for link in pointed["STAGE"]},
            )


def _is_other(version: RegisteredVersion, node: Node) -> bool:
    """Whether a version that is here is not the one there, and has its number by chance."""
    told = Telling(node.workspace)
    told.version(version)
    props = told.nodes[0].get("properties") or {}
    same = all(node.props.get(name) == props.get(name) for name in ("source", "runId"))
    return node.created_at != version.created and not same


def _is_so(node: Node, told: ImportedNode, tags: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a node has all that is told of it."""
    mine = tags.get(node.id, {})
    return all(node.props.get(name) == value for name, value in (told.get("properties") or {}).items()) and all(
        mine.get(tag["name"]) == tag["value"] for tag in told.get("tags", ())
    )


def _enrichment(story: Story | str, notes: Sequence[str], now: int) -> dict[str, object]:
    """What a version says of how it was looked up."""
    if isinstance(story, str):
        return ended(FAILED, story)
    message = "; ".join(notes) or None
    if story.goes_on:
        return ended(FOLLOWING, message)
    return ended(DONE, message, enrichedAt=now)


async def _untag(tx: Transaction, address: Address, names: frozenset[str]) -> None:
    (node,) = await tx.resolve([address]) if names else (None,)
    if node is not None:
        await put_tags(tx, {node.id: dict.fromkeys(names)})
