"""Which jobs depend on which, and which data sets are the same by other names, as one write sees it.

Each is read once, for many at a time: a batch asks the same again and again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from graph.port import Hop, Snapshot
from resolvers.reading import all_links

UP: Final = (Hop("CONSUMES", "OUT"), Hop("PRODUCES", "IN"))
"""From a job to the data sets that it takes from, and from these to the jobs that put into them."""
DOWN: Final = (Hop("PRODUCES", "OUT"), Hop("CONSUMES", "IN"))


class Alike:
    """Which data sets are the same by another name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._groups: dict[str, set[str]] = {}

    async def of(self, data: Iterable[str]) -> dict[str, set[str]]:
        """For each data set all that are the same, itself too."""
        ids = list(data)
        if missing := set(ids) - self._groups.keys():
            self._groups |= await self._read(missing)
        return {id: self._groups[id] for id in ids}

    async def _read(self, data: Collection[str]) -> dict[str, set[str]]:
        near: dict[str, set[str]] = {id: set() for id in data}
        front = sorted(data)
        while front:
            for hop in (Hop("SAME_AS", "OUT"), Hop("SAME_AS", "IN")):
                for id, others in (await targets(self._snapshot, front, hop)).items():
                    near[id] |= others
            front = sorted(set().union(*near.values()) - near.keys())
            near |= {id: set() for id in front}
        groups: dict[str, set[str]] = {}
        for id in near:
            if id not in groups:
                group, more = {id}, near[id]
                while more - group:
                    group |= more
                    more = set().union(*(near[other] for other in group))
                groups |= dict.fromkeys(group, group)
        return groups


class Ways:
    """Which jobs depend on which: by what they take from data sets, and put into them."""

    def __init__(self, snapshot: Snapshot, alike: Alike) -> None:
        self._snapshot = snapshot
        self._alike = alike
        self._near: dict[tuple[Hop, Hop], dict[str, set[str]]] = {UP: {}, DOWN: {}}

    async def know(self, jobs: Collection[str]) -> None:
        """Read at once what `upstream` of these is going to ask for."""
        await self._load(jobs, UP)

    async def upstream(self, job: str) -> set[str]:
        """The jobs that a job depends on; itself only where it depends on itself."""
        await self._load([job], UP)
        return self._reach(job, UP)

    async def loops(self, jobs: Collection[str]) -> set[str]:
        """The jobs that one of these depends on and that depend on it: itself too, where there are any."""
        await self._load(jobs, UP)
        above = {job: found for job in jobs if job in (found := self._reach(job, UP))}
        await self._load(list(above), DOWN)
        return set().union(*(found & self._reach(job, DOWN) for job, found in above.items()))

    async def _load(self, jobs: Collection[str], way: tuple[Hop, Hop]) -> None:
        """Read what there is on the way from these jobs, all of them a step at a time."""
        near, (there, back) = self._near[way], way
        front = sorted(set(jobs) - near.keys())
        while front:
            data = await targets(self._snapshot, front, there)
            named = await self._alike.of(set().union(*data.values()))
            others = await targets(self._snapshot, sorted(set().union(*named.values())), back)
            for job in front:
                near[job] = {other for id in data[job] for name in named[id] for other in others.get(name, ())}
            front = sorted(set().union(*(near[job] for job in front)) - near.keys())

    def _reach(self, job: str, way: tuple[Hop, Hop]) -> set[str]:
        near, seen, front = self._near[way], set[str](), [job]
        while front:
            new = set().union(*(near[each] for each in front)) - seen
            seen |= new
            front = list(new)
        return seen


async def targets(snapshot: Snapshot, ids: Sequence[str], hop: Hop) -> dict[str, set[str]]:
    """What is at the other end of each node's edges."""
    links = await all_links(snapshot, ids, hop) if ids else {}
    return {id: {link.node.id for link in found} for id, found in links.items()}
