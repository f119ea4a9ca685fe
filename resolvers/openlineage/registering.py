"""Models among data sets: what a run made of a data set of the type MODEL is a version of a model.

The data set stays what producers know it by; each version of it that a run made is registered once, as the next
version of the model, and who reads the one has read the other. Which number it gets depends on what came first, and
nothing else does. A version that somebody deleted stays so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph.address import Address
from graph.ontology import DATASET_VERSION, MODEL, MODEL_VERSION, RUN
from graph.port import EdgeMatch, Hop, Link, NewEdge, Node, Point, Transaction
from resolvers.artifacts.losing import becomes_ready, lacking
from resolvers.openlineage import feast, meaning
from resolvers.openlineage.choosing import VERSIONS
from resolvers.openlineage.merging import Said
from resolvers.openlineage.reading_versions import READERS
from resolvers.reading import all_links
from resolvers.writing.common import present
from resolvers.writing.draft import Draft
from resolvers.writing.importing import new_points
from resolvers.writing.refusing import refuse_retired_uses
from resolvers.writing.story import next_version

ROLE: Final = "model"
"""The role in which a run reads a model version that it read as a data set."""


@dataclass(slots=True)
class _Model:
    """A version of a data set that is a model, the run that made it, and what that says of it."""

    data: Node
    run: str
    said: Said
    key: str
    version: str = ""


class Registering:
    """The model versions of one write. `models` are the keys of data sets that are models."""

    def __init__(self, tx: Transaction, workspace: str, models: Collection[str]) -> None:
        self._tx = tx
        self._workspace = workspace
        self._models = models
        self._runs: dict[str, Said] = {}

    def know(self, runs: Mapping[str, Said]) -> None:
        """Runs that something new is known of, by name."""
        self._runs.update(runs)

    async def know_all(self, data: Collection[str]) -> None:
        """These data sets turned out to be models: whoever made or read them is concerned."""
        links = await all_links(self._tx, sorted(data), VERSIONS) if data else {}
        versions = sorted({link.node.id for found in links.values() for link in found})
        names: set[str] = set()
        for hop in (READERS, Hop("PRODUCED_BY", "OUT", RUN.name)):
            near = await all_links(self._tx, versions, hop) if versions else {}
            names.update(link.node.name for found in near.values() for link in found)
        await self._load(names)

    async def _load(self, names: Collection[str]) -> None:
        new = sorted(set(names) - self._runs.keys())
        kept = [Address("RunFacets", self._workspace, f"run/{name}") for name in new]
        for name, node in zip(new, await self._tx.resolve(kept) if new else (), strict=True):
            if node is not None:
                self._runs[name] = Said.of(node)

    async def run(self, points: Mapping[tuple[str, str], Collection[Point]]) -> None:
        """Register what is not registered, and let what is have what is said of it and lead where it came from.

        `points` are values of metrics, by run and data set.
        """
        if not self._runs:
            return
        made = await self._made()
        there = await self._registered(each.data for each in made)
        made = [each for each in made if not each.version or each.version in there]
        if made:
            await self._register(made, there)
            given = {m.version: found for m in made if (found := points.get((m.run, m.key)))}
            await self._tx.log_metrics(await new_points(self._tx, given, ()))
            await self._load_readers(made)
        await self._lead()

    async def _made(self) -> list[_Model]:
        """The models that these runs made, of all who say so the run that is believed."""
        asked = [
            (name, said, key, Address(DATASET_VERSION.name, self._workspace, key, made.version or name))
            for name, said in self._runs.items()
            for key, made in meaning.makes(said).items()
            if key in self._models
        ]
        found = await self._tx.resolve([address for *_, address in asked]) if asked else []
        nodes = [node.id for node in found if node is not None]
        makers = await all_links(self._tx, nodes, Hop("PRODUCED_BY", "OUT", RUN.name)) if nodes else {}
        return [
            _Model(node, name, said, key, _version(node))
            for (name, said, key, _), node in zip(asked, found, strict=True)
            if node is not None and name in {link.node.name for link in makers[node.id]}
        ]

    async def _registered(self, data: Iterable[Node]) -> Mapping[str, Node]:
        """The model versions that these versions of data sets are, but those that were deleted."""
        ids = sorted({version for node in data if (version := _version(node))})
        return await self._tx.nodes(ids) if ids else {}

    async def _register(self, made: Sequence[_Model], there: Mapping[str, Node]) -> None:
        draft = Draft(self._tx)
        owners = {}
        runs = {}
        for each in made:
            said = meaning.model(each.said, each.key)
            name = said.model or each.key
            field = "lineal_modelVersion.model"
            owners[each.data.id] = draft.known(MODEL, name, self._workspace, field, present({"task": said.task}))
            runs[each.run] = draft.want(str(Address(RUN.name, self._workspace, each.run)), "run", RUN.name)
        await draft.find()
        lacks = await lacking(
            self._tx,
            {m.version for m in made if m.version in there and becomes_ready(there[m.version], _props(m))},
        )
        numbers: dict[str, int] = {}
        for each in sorted(made, key=lambda m: (m.said.started or 0, m.run, m.key)):
            props = _props(each)
            if each.version in lacks:
                del props["state"]
            if each.version in there:
                now = there[each.version].props
                if changed := {name: value for name, value in props.items() if now.get(name) != value}:
                    draft.set(each.version, changed)
                continue
            owner = owners[each.data.id]
            numbers[owner.id] = numbers[owner.id] + 1 if owner.id in numbers else await next_version(draft, owner)
            number = numbers[owner.id]
            draft.set(owner.id, {"lastNumber": number})
            each.version = draft.create(
                MODEL_VERSION, str(number), self._workspace, container=owner.id, props=present(props)
            )
            draft.link("PRODUCED_BY", each.version, runs[each.run])
            draft.set(each.data.id, {"registered": each.version})
        await draft.save()

    async def _load_readers(self, made: Sequence[_Model]) -> None:
        links = await all_links(self._tx, [each.data.id for each in made], READERS)
        await self._load({link.node.name for found in links.values() for link in found})

    async def _lead(self) -> None:
        """Let runs read the model versions whose data they read, and what they made come of these."""
        names = sorted(self._runs)
        found = await self._tx.resolve([Address(RUN.name, self._workspace, name) for name in names])
        runs = {node.id: name for name, node in zip(names, found, strict=True) if node is not None}
        data = await all_links(self._tx, sorted(runs), Hop("READ", "OUT", DATASET_VERSION.name))
        read = await self._registered(link.node for links in data.values() for link in links)
        wanted = {id: {v for link in data[id] if (v := _version(link.node)) in read} for id in runs}
        if not self._models and not any(wanted.values()):
            return
        there = await all_links(self._tx, sorted(runs), Hop("READ", "OUT", MODEL_VERSION.name))
        ends, opens = [], []
        for id in runs:
            open_ = {link.node.id for link in there[id] if link.edge.discriminator == ROLE}
            ends += [EdgeMatch("READ", id, version, ROLE) for version in sorted(open_ - wanted[id])]
            opens += [NewEdge("READ", id, version, ROLE) for version in sorted(wanted[id] - open_)]
        outputs = await all_links(self._tx, sorted(runs), Hop("PRODUCED_BY", "IN", DATASET_VERSION.name))
        made = await self._registered(link.node for links in outputs.values() for link in links)
        models = {
            version: (id, link.node)
            for id, links in outputs.items()
            for link in links
            if (version := _version(link.node)) in made
        }
        parents = await all_links(self._tx, sorted(models), Hop("DERIVED_FROM", "OUT")) if models else {}
        containers = await self._tx.nodes(sorted({node.container for _, node in models.values()})) if models else {}
        for version, (id, node) in models.items():
            how = meaning.model(self._runs[runs[id]], containers[node.container].name).relation
            open_ = {link.node.id for link in parents[version] if link.edge.discriminator == how}
            ends += [EdgeMatch("DERIVED_FROM", version, parent, how) for parent in sorted(open_ - wanted[id])]
            opens += [NewEdge("DERIVED_FROM", version, parent, how) for parent in sorted(wanted[id] - open_)]
        await refuse_retired_uses(Draft(self._tx), opens, range(len(opens)))
        opens += await self._uses(models, data)
        if ends:
            await self._tx.unlink(ends)
        await self._tx.link(opens)

    async def _uses(self, models: Mapping[str, tuple[str, Node]], data: Mapping[str, Sequence[Link]]) -> list[NewEdge]:
        """A model that learned from a feature service of Feast takes its features."""
        found: list[NewEdge] = []
        for version, (run, _) in models.items():
            ids = sorted({link.node.container for link in data[run]})
            near = await all_links(self._tx, ids, Hop("FACETS_OF", "IN")) if ids else {}
            facets = {id: links[0].node.props.get("facets", {}) for id, links in near.items() if links}
            nodes = await self._tx.nodes([id for id, said in facets.items() if feast.SERVICE in said])
            found += await feast.uses(self._tx, [(version, service) for service in nodes])
        return found


def _version(data: Node) -> str:
    """The model version that a version of a data set was registered as, whether it is there or not; "" if as none."""
    return str(data.props.get("registered", ""))


def _props(each: _Model) -> dict[str, Any]:
    """The properties of a version: it is there once its run completed."""
    said = meaning.model(each.said, each.key)
    ended = each.said.ended
    state = "PENDING" if ended is None else "READY" if ended[1] == "FINISHED" else "FAILED"
    return {**dict.fromkeys(("frameworks", "formats", "license", "uri")), **said.props, "state": state}
