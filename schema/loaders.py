"""Loaders: what sibling fields ask for goes to the store as one statement.

DataLoader is strawberry's own; the PyPI package called dataloader is an unrelated library. Loaders live
for one operation, and forget everything when a write has opened a new snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Literal, TypeVar

from strawberry.dataloader import DataLoader

from graph import naming
from graph.address import Address
from graph.port import Change, Chunk, Hop, Link, Metric, Node, Order, Page, Paging, Walk, Where
from resolvers.artifacts.downloads import Filed, links
from resolvers.operation import Operation
from resolvers.reading import Lineage, all_links, lineages

K = TypeVar("K")
V = TypeVar("V")

Load = Callable[[list[K]], Awaitable[Sequence[V]]]


class Loaders:
    """One loader for each question and its arguments; the keys are ids."""

    def __init__(self, op: Operation) -> None:
        self._op = op
        self._loaders: dict[Hashable, DataLoader[Any, Any]] = {}
        op.on_refresh(self._loaders.clear)

    def _loader(self, question: Hashable, load: Load[K, V]) -> DataLoader[K, V]:
        if question not in self._loaders:
            self._loaders[question] = DataLoader(load, cache_key_fn=_cache_key)
        return self._loaders[question]

    def nodes(self) -> DataLoader[str, Node | None]:
        """Nodes by id."""

        async def load(ids: list[str]) -> list[Node | None]:
            found = await (await self._op.snapshot()).nodes(ids)
            return [found.get(id) for id in ids]

        return self._loader("nodes", load)

    def links_to(self, seconds: int) -> DataLoader[Filed, str]:
        """Addresses that give the bytes of files, for so many seconds; what is asked together is audited together."""

        async def load(files: list[Filed]) -> Sequence[str]:
            return await links(self._op, files, seconds=seconds)

        return self._loader(("links_to", seconds), load)

    def named(self) -> DataLoader[Address, Node | None]:
        """Nodes by address."""

        async def load(addresses: list[Address]) -> list[Node | None]:
            return await (await self._op.snapshot()).resolve(addresses)

        return self._loader("named", load)

    def addresses(self) -> DataLoader[Node, str]:
        """Addresses of nodes."""

        async def load(nodes: list[Node]) -> list[str]:
            named = await naming.addresses(await self._op.snapshot(), nodes)
            return [named[node.id] for node in nodes]

        return self._loader("addresses", load)

    def links(self, hop: Hop, where: Where | None, order: Order, paging: Paging) -> DataLoader[str, Page[Link]]:
        """A page of neighbours for each id."""

        async def load(ids: list[str]) -> list[Page[Link]]:
            pages = await (await self._op.snapshot()).neighbours(ids, hop, where, order=order, paging=paging)
            return [pages.get(id) or Page(total=0 if paging.count else None) for id in ids]

        return self._loader((hop, where, order, paging), load)

    def lineages(self, walk: Walk) -> DataLoader[Node, Lineage]:
        """The lineage of each node."""

        async def load(nodes: list[Node]) -> list[Lineage]:
            return await lineages(self._op, nodes, walk)

        return self._loader(("lineages", walk), load)

    def discriminators(self, hop: Hop) -> DataLoader[str, list[str]]:
        """The discriminators of all edges of a hop, in order."""

        async def load(ids: list[str]) -> list[list[str]]:
            links = await all_links(await self._op.snapshot(), ids, hop)
            return [sorted({link.edge.discriminator for link in links.get(id, ())}) for id in ids]

        return self._loader(("discriminators", hop), load)

    def history(
        self, hop: Hop, discriminator: str | None, at: int | None, paging: Paging
    ) -> DataLoader[str, Page[Link]]:
        """A page of all edges, ended ones too, for each id."""

        async def load(ids: list[str]) -> list[Page[Link]]:
            snapshot = await self._op.snapshot()
            pages = await snapshot.history(ids, hop, discriminator=discriminator, at=at, paging=paging)
            return [pages.get(id) or Page() for id in ids]

        return self._loader(("history", hop, discriminator, at, paging), load)

    def rows(self, table: Literal["tags", "params"], names: tuple[str, ...] | None) -> DataLoader[str, dict[str, str]]:
        """Tags or parameters of each id."""

        async def load(ids: list[str]) -> list[dict[str, str]]:
            rows = await (await self._op.snapshot()).rows(ids, table, names)
            return [rows.get(id, {}) for id in ids]

        return self._loader((table, names), load)

    def metrics(self, names: tuple[str, ...] | None) -> DataLoader[str, list[Metric]]:
        """Metrics of each id."""

        async def load(ids: list[str]) -> list[list[Metric]]:
            metrics = await (await self._op.snapshot()).metrics(ids, names)
            return [metrics.get(id, []) for id in ids]

        return self._loader(("metrics", names), load)

    def points(self, after: int, chunks: int) -> DataLoader[tuple[str, str], list[Chunk]]:
        """Chunks of the series of each (owner, metric)."""

        async def load(keys: list[tuple[str, str]]) -> list[list[Chunk]]:
            owners, names = ({key[part]: None for key in keys} for part in (0, 1))
            snapshot = await self._op.snapshot()
            found = await snapshot.points(list(owners), list(names), after=after, chunks=chunks)
            series: dict[tuple[str, str], list[Chunk]] = {}
            for chunk in found:
                series.setdefault((chunk.owner, chunk.name), []).append(chunk)
            return [series.get(key, []) for key in keys]

        return self._loader(("points", after, chunks), load)

    def changes(self, after: int, limit: int) -> DataLoader[str, list[Change]]:
        """The newest changes of each id with `seq` below `after` (0: from the newest)."""

        async def load(ids: list[str]) -> list[list[Change]]:
            snapshot = await self._op.snapshot()
            found = await snapshot.changes_of(ids, after=after, limit=limit)
            return [found.get(id, []) for id in ids]

        return self._loader(("changes", after, limit), load)


def _cache_key(key: Any) -> Hashable:
    return key.id if isinstance(key, Node) else key
