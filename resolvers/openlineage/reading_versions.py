"""Which version of a data set a run read, where it does not say.

The one that was complete last before the run began. Where none was, the first that came after, of a job that does not
itself depend on this one: producers often note the time in minutes, and call jobs that follow each other begun at
once. Where there is none either, the version called “unversioned”.

The answer depends on what is known of both, so it is looked at again whenever a version becomes known, or known to be
complete at another time, or two jobs come to depend on each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graph.address import Address
from graph.ontology import DATASET, DATASET_VERSION, PIPELINE, RUN, UNVERSIONED
from graph.port import (
    Any_,
    EdgeMatch,
    Hop,
    Link,
    NewEdge,
    Node,
    Prop,
    Transaction,
    Where,
)
from resolvers.openlineage import meaning
from resolvers.openlineage.choosing import VERSIONS, Choosing, Question, latest
from resolvers.openlineage.merging import Said
from resolvers.openlineage.ways import Alike, Ways, targets
from resolvers.reading import all_links

READERS: Final = Hop("READ", "IN", RUN.name)


@dataclass(slots=True)
class _Reader:
    """A run whose reads are looked at: all of them, or those of data sets in `only`."""

    name: str
    said: Said
    gone: set[tuple[str, str, str]]
    only: Collection[str] | None
    run: str = ""
    job: str = ""


class Reads:
    """The reads of some runs, in one write. `near` are the data sets that nobody else can change meanwhile."""

    def __init__(self, tx: Transaction, workspace: str, near: Collection[str]) -> None:
        self._tx = tx
        self._workspace = workspace
        self._near = set(near)
        self._readers: dict[str, _Reader] = {}
        self._alike = Alike(tx)
        self._ways = Ways(tx, self._alike)
        self._choosing = Choosing(tx, self._alike, self._ways)
        self._makers: Mapping[str, str] = {}
        self._renamed: Collection[str] = ()

    def know(self, name: str, said: Said, gone: set[tuple[str, str, str]]) -> None:
        """A run that something new was said of; `gone` are the derivations that it does not tell of any more."""
        self._readers[name] = _Reader(name, said, gone, None)

    async def concern(self, versions: Collection[str]) -> None:
        """These versions are new, or were complete at another time: look at the reads of those who might mean them."""
        found = await self._tx.nodes(sorted(versions)) if versions else {}
        if not found:
            return
        data = await self._widened({node.container for node in found.values()})
        times = [node.props["madeAt"] for node in found.values() if "madeAt" in node.props]
        after: list[Where] = [Prop("madeAt", "eq", None)]
        before: list[Link] = []
        if times:
            first = min(times)
            after.append(Prop("madeAt", "gte", first))
            earlier = await latest(self._tx, data, first)
            before = [link for page in earlier.values() for link in page.items]
        later = await self._all(data, Any_(tuple(after)))
        await self._concern_readers([link.node.id for links in later.values() for link in links], None)
        if before:
            await self._concern_readers([link.node.id for link in before], Prop("startedAt", "gt", min(times)))

    async def _concern_readers(self, versions: Sequence[str], where: Where | None) -> None:
        found = await self._all(versions, where, READERS) if versions else {}
        await self.concern_runs({link.node.name for links in found.values() for link in links}, self._near)

    async def concern_runs(self, names: Iterable[str], only: Collection[str] | None) -> None:
        """Look at the reads of these runs, as far as they came with events: of all data, or of that in `only`."""
        asked = set(names)
        if only is None:
            for name in asked & self._readers.keys():
                self._readers[name].only = None
        new = sorted(asked - self._readers.keys())
        addresses = [Address("RunFacets", self._workspace, f"run/{name}") for name in new]
        for name, kept in zip(new, await self._tx.resolve(addresses) if new else (), strict=True):
            if kept is not None:
                self._readers[name] = _Reader(name, Said.of(kept), set(), only)

    async def _widened(self, data: Collection[str]) -> list[str]:
        """These data sets and all that are the same, which are near then."""
        named = await self._alike.of({*self._near, *data})
        # It is the same set that readers are held to, those that were found before too.
        self._near.update(*named.values())
        return sorted(set().union(*(named[id] for id in data)))

    async def concern_names(self, data: Collection[str]) -> None:
        """These data sets are the same as others now, or are not any more."""
        ids = await self._widened(data) if data else []
        self._renamed = set(data)
        found = await self._all(ids, None) if ids else {}
        await self._concern_readers([link.node.id for links in found.values() for link in links], None)
        around = [await targets(self._tx, ids, Hop(edge, "IN")) for edge in ("CONSUMES", "PRODUCES")]
        await self.concern_loops(set().union(*(jobs for near in around for jobs in near.values())))

    async def concern_loops(self, jobs: Collection[str]) -> None:
        """These jobs take from data sets, or put into them, that they did not before."""
        if around := await self._ways.loops(jobs):
            runs = await all_links(self._tx, sorted(around), Hop("RUN_OF", "IN", RUN.name))
            await self.concern_runs({link.node.name for links in runs.values() for link in links}, None)

    @property
    def known(self) -> dict[str, Said]:
        """The runs that are looked at, with what was said of them."""
        return {name: reader.said for name, reader in self._readers.items()}

    # What they read ───────────────────────────────────────────────────────────────────────────────

    async def settle(self, makers: Mapping[str, str]) -> None:
        """Let each of these runs lead to what it read, and what it made to what that came from.

        `makers` are the runs that versions are to lead to, by the ids of both.
        """
        self._makers = makers
        readers = [reader for reader in self._readers.values() if meaning.named_reads(reader.said)]
        made = [NewEdge("PRODUCED_BY", version, run) for version, run in makers.items()]
        found = await self._resolve(readers) if readers else {}
        for reader in readers:
            reader.run = found[RUN.name, reader.name, None].id
            job = found.get((PIPELINE.name, meaning.job_of(reader.said) or "", None))
            reader.job = job.id if job is not None else ""
        wanted = await self._wanted(readers, found)
        ends, opens = await self._reads(readers, wanted, found)
        await self._derived(readers, wanted, found, (ends, opens))
        if ends:
            await self._tx.unlink(ends)
        await self._tx.link([*made, *opens])

    async def _resolve(self, readers: Sequence[_Reader]) -> dict[tuple[str, str, str | None], Node]:
        named: dict[tuple[str, str, str | None], None] = {}
        for reader in readers:
            named[RUN.name, reader.name, None] = None
            if job := meaning.job_of(reader.said):
                named[PIPELINE.name, job, None] = None
            for key, version in meaning.named_reads(reader.said).items():
                named[DATASET.name, key, None] = None
                named[DATASET_VERSION.name, key, version or UNVERSIONED] = None
            for key, made in meaning.makes(reader.said).items():
                named[DATASET_VERSION.name, key, made.version or reader.name] = None
        found = await self._tx.resolve([Address(kind, self._workspace, name, part) for kind, name, part in named])
        return {each: node for each, node in zip(named, found, strict=True) if node is not None}

    async def _wanted(
        self, readers: Sequence[_Reader], found: Mapping[tuple[str, str, str | None], Node]
    ) -> dict[str, dict[str, str]]:
        """The version that each run read of each data set, by their ids."""
        result: dict[str, dict[str, str]] = {}
        asked: list[Question] = []
        for reader in readers:
            mine = result[reader.name] = {}
            own = {
                node.id
                for key, made in meaning.makes(reader.said).items()
                if (node := found.get((DATASET_VERSION.name, key, made.version or reader.name))) is not None
            }
            for key, version in meaning.reads(reader.said).items():
                data = found.get((DATASET.name, key, None))
                node = found.get((DATASET_VERSION.name, key, version or UNVERSIONED))
                if data is None or node is None or (reader.only is not None and data.id not in reader.only):
                    continue
                mine[data.id] = node.id
                if version is None:
                    asked.append(Question(reader.name, reader.job, data.id, reader.said.started or 0, own))
        chosen = await self._choosing.before(asked)
        rest = [each for each in asked if (each.run, each.data) not in chosen]
        chosen |= await self._choosing.after(rest, self._makers)
        for (run, data_id), version_id in chosen.items():
            result[run][data_id] = version_id
        return result

    async def _all(self, ids: Sequence[str], where: Where | None, hop: Hop = VERSIONS) -> Mapping[str, Sequence[Link]]:
        """All versions of each data set, or else what is at the end of a hop, that match."""
        return await all_links(self._tx, ids, hop, where)

    # What is written ──────────────────────────────────────────────────────────────────────────────

    async def _reads(
        self,
        readers: Sequence[_Reader],
        wanted: Mapping[str, Mapping[str, str]],
        found: Mapping[tuple[str, str, str | None], Node],
    ) -> tuple[list[EdgeMatch], list[NewEdge]]:
        """The reads to end and to open: of each data set that a run names, it reads one version, in no other role."""
        hop = Hop("READ", "OUT", DATASET_VERSION.name)
        there = await all_links(self._tx, [reader.run for reader in readers], hop) if readers else {}
        ends, opens = [], []
        for reader in readers:
            mine = wanted[reader.name]
            named = await self._alike.of(mine)
            places = set().union(*named.values())
            # What it made itself it does not read, whatever was thought before that was known.
            inner = meaning.named_reads(reader.said).keys() - meaning.reads(reader.said).keys()
            places |= {node.id for key in inner if (node := found.get((DATASET.name, key, None))) is not None}
            open_ = {link.node.id: link.node for link in there[reader.run] if not link.edge.discriminator}
            for id, node in open_.items():
                if (node.container in places or node.container in self._renamed) and id not in mine.values():
                    ends.append(EdgeMatch("READ", reader.run, id, ""))
            opens += [NewEdge("READ", reader.run, id) for id in mine.values() if id not in open_]
        return ends, opens

    async def _derived(
        self,
        readers: Sequence[_Reader],
        wanted: Mapping[str, Mapping[str, str]],
        found: Mapping[tuple[str, str, str | None], Node],
        into: tuple[list[EdgeMatch], list[NewEdge]],
    ) -> None:
        """What was made leads to what was read, where the run says which came from which."""
        asked: list[tuple[str, str, str, str | None]] = []
        for reader in readers:
            made = meaning.makes(reader.said)
            inner = meaning.inner_derivations(reader.said)
            for key, source, how in sorted(meaning.derivations(reader.said) | inner | reader.gone):
                data = found.get((DATASET.name, source, None))
                own = made.get(key)
                node = found.get((DATASET_VERSION.name, key, (own.version if own else None) or reader.name))
                target = None if data is None else wanted[reader.name].get(data.id)
                if (key, source, how) in inner:
                    taken = found.get((DATASET_VERSION.name, source, reader.name))
                    target = None if taken is None else taken.id
                if data is not None and node is not None and target is not None:
                    asked.append((node.id, data.id, how, None if (key, source, how) in reader.gone else target))
        there = await all_links(self._tx, sorted({a[0] for a in asked}), Hop("DERIVED_FROM", "OUT")) if asked else {}
        ends, opens = into
        for id, data_id, how, target in asked:
            open_ = [
                link.node.id for link in there[id] if link.node.container == data_id and link.edge.discriminator == how
            ]
            ends += [EdgeMatch("DERIVED_FROM", id, other, how) for other in open_ if other != target]
            if target is not None and target not in open_:
                opens.append(NewEdge("DERIVED_FROM", id, target, how))
