"""Which version of its data a run means where it names none: for many reads at once, as the graph stands.

The one that was complete last before the run began; or else the first that came after, of a job that does not itself
depend on the reader's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graph.ontology import DATASET_VERSION, PIPELINE, RUN, UNVERSIONED
from graph.port import Hop, Link, Node, Not, Order, Page, Paging, Prop, Snapshot
from resolvers.openlineage.ways import Alike, Ways, targets
from resolvers.reading import all_links

VERSIONS: Final = Hop("VERSION_OF", "IN", DATASET_VERSION.name)
TIES: Final = 20
"""Versions that are looked at for the latest: those of one time go by name."""


@dataclass(frozen=True, slots=True)
class Question:
    """A read of a data set by a run that began at a time: `own` are the versions that the run made itself."""

    run: str
    job: str
    data: str
    began: int
    own: Collection[str]


Chosen = dict[tuple[str, str], str]
"""Versions by id, by the run and the data set."""


class Choosing:
    """Chooses versions, in one write."""

    def __init__(self, snapshot: Snapshot, alike: Alike, ways: Ways) -> None:
        self._snapshot = snapshot
        self._alike = alike
        self._ways = ways
        self._names: dict[str, str] = {}

    async def before(self, asked: Sequence[Question]) -> Chosen:
        """The versions that were complete last before the runs began, where there is one."""
        result: Chosen = {}
        named, names = await self._named([each.data for each in asked])
        there = await self._latest(asked, named)
        for each in asked:
            nodes = [node for name in named[each.data] for node in there[each.run, name]]
            if nodes:
                latest = max(_made(node) for node in nodes)
                last = [node for node in nodes if _made(node) == latest]
                result[each.run, each.data] = max(last, key=lambda n: (n.name, names[n.container])).id
        return result

    async def _latest(
        self, asked: Sequence[Question], named: Mapping[str, Collection[str]]
    ) -> dict[tuple[str, str], list[Node]]:
        """For each run and each name of its data the latest versions before it, but for its own."""
        if not asked:
            return {}
        wanted = [(each, name) for each in asked for name in sorted(named[each.data])]
        pages = await latest(self._snapshot, {name for _, name in wanted}, max(each.began for each in asked))
        found: dict[tuple[str, str], list[Node]] = {}
        later: dict[int, list[tuple[Question, str]]] = {}
        for each, name in wanted:
            # What the latest reader means is mostly what the others mean, too.
            page = pages[name]
            nodes = _usable(page, each)
            if not page.has_next or (nodes and _made(nodes[0]) > _made(page.items[-1].node)):
                found[each.run, name] = nodes
            else:
                later.setdefault(each.began, []).append((each, name))
        for began, some in later.items():
            pages = await latest(self._snapshot, {name for _, name in some}, began)
            found |= {(each.run, name): _usable(pages[name], each) for each, name in some}
        return found

    async def after(self, asked: Sequence[Question], known: Mapping[str, str]) -> Chosen:
        """The versions that came first after the runs began, of jobs that do not depend on theirs, where there is one.

        `known` are the runs that versions are about to lead to, by the ids of both.
        """
        if not asked:
            return {}
        result: Chosen = {}
        named, names = await self._named([each.data for each in asked])
        where = Not(Prop("madeAt", "lt", min(each.began for each in asked)))
        wanted = sorted(set().union(*(named[each.data] for each in asked)))
        later = await all_links(self._snapshot, wanted, VERSIONS, where)
        jobs = await self._jobs([link.node for links in later.values() for link in links], known)
        for each in asked:
            nodes = [link.node for name in named[each.data] for link in later.get(name, ())]
            there = [n for n in nodes if n.name != UNVERSIONED and n.id not in each.own and _not_before(n, each.began)]
            for node in sorted(there, key=lambda n: (*_in_time(n), names[n.container])):
                if not await self._depends(jobs.get(node.id, ()), each.job):
                    result[each.run, each.data] = node.id
                    break
        return result

    async def _jobs(self, versions: Sequence[Node], known: Mapping[str, str]) -> dict[str, set[str]]:
        """The jobs whose runs made these versions, by version."""
        ids = [node.id for node in versions]
        runs = await all_links(self._snapshot, ids, Hop("PRODUCED_BY", "OUT", RUN.name)) if ids else {}
        makers = {**{id: links[0].node.id for id, links in runs.items() if links}, **known}
        jobs = await targets(self._snapshot, sorted(set(makers.values())), Hop("RUN_OF", "OUT", PIPELINE.name))
        await self._ways.know(set().union(*jobs.values()))
        return {id: jobs.get(run, set()) for id, run in makers.items()}

    async def _depends(self, jobs: Iterable[str], job: str) -> bool:
        return any([each == job or job in await self._ways.upstream(each) for each in jobs])

    async def _named(self, data: Sequence[str]) -> tuple[dict[str, set[str]], dict[str, str]]:
        """For each data set all that are the same by another name, and what each of these is called."""
        named = await self._alike.of(data)
        wanted = set().union(*named.values())
        if missing := wanted - self._names.keys():
            self._names |= {id: node.name for id, node in (await self._snapshot.nodes(sorted(missing))).items()}
        return named, self._names


async def latest(snapshot: Snapshot, data: Collection[str], before: int) -> Mapping[str, Page[Link]]:
    """The versions of each data set that were complete before a time, the latest first: TIES of them."""
    order = Order("madeAt", descending=True)
    return await snapshot.neighbours(
        sorted(data), VERSIONS, Prop("madeAt", "lt", before), order=order, paging=Paging(TIES)
    )


def _usable(page: Page[Link], asked: Question) -> list[Node]:
    nodes = (link.node for link in page.items)
    return [node for node in nodes if _made(node) < asked.began and node.id not in asked.own]


def _made(node: Node) -> int:
    return int(node.props["madeAt"])


def _not_before(node: Node, time: int) -> bool:
    made = node.props.get("madeAt")
    return made is None or made >= time


def _in_time(node: Node) -> tuple[bool, int, str]:
    """By when it was complete, what is not last, then by name."""
    time = node.props.get("madeAt")
    return time is None, time or 0, node.name
