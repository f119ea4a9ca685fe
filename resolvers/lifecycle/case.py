"""A version before a gate: what is known of it, each thing looked up once and with everything in view."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from graph.address import Address
from graph.port import EVERYTHING, Hop, Link, Metric, Node, Snapshot, batched
from resolvers.comparing import PRODUCER
from resolvers.lifecycle.descent import Ancestors, ancestors
from resolvers.lifecycle.parties import ever
from resolvers.lifecycle.schemes import Schemes
from resolvers.lifecycle.targets import Target
from resolvers.reading import all_links

BATCH: Final = 1_000
"""Nodes whose marks or properties are asked for at a time."""


class Measurement(NamedTuple):
    """An evaluation, and the versions of data sets that it was measured on."""

    evaluation: Node
    data: Sequence[Node]

    def on(self, dataset: Node) -> bool:
        """Whether it is on this version of a data set, or on any version of this data set."""
        return any(dataset.id in {node.id, node.container} for node in self.data)


class Champion(NamedTuple):
    """What a version is compared with: what its name is of, the version that came to it last, if any ever did."""

    target: Target
    version: Node | None
    ever: bool


class Case:
    """A version, and what it is to come to. `now` is the time at which it is judged, in microseconds."""

    def __init__(self, snapshot: Snapshot, version: Node, target: Target, now: int) -> None:
        self.whole = snapshot.seeing(EVERYTHING)
        self.version = version
        self.target = target
        self.now = now
        self._ancestors: Ancestors | None = None
        self._files: list[Link] | None = None
        self._evaluations: dict[str, list[Measurement]] = {}
        self._figures: dict[str, dict[str, Metric]] = {}

    async def ancestors(self) -> Ancestors:
        """The version and what it came from, as widely as `descent.ancestors` says."""
        if self._ancestors is None:
            self._ancestors = (await ancestors(self.whole, [self.version.id]))[self.version.id]
        return self._ancestors

    async def files(self) -> list[Link]:
        """The artifacts of the version."""
        if self._files is None:
            hop = Hop("HAS_ARTIFACT", "OUT", "Artifact")
            self._files = (await all_links(self.whole, [self.version.id], hop)).get(self.version.id, [])
        return self._files

    async def evaluations(self, version: Node, dataset: Node | None = None) -> list[Measurement]:
        """The evaluations of a version, the latest first, of these on a data set or a version of one.

        Those of other workspaces do not count: who may write there has no say about this version.
        """
        if version.id not in self._evaluations:
            found = (await all_links(self.whole, [version.id], Hop("EVALUATES", "IN", "Evaluation"))).get(
                version.id, []
            )
            near = [link.node for link in found if link.node.workspace == version.workspace]
            nodes = sorted(near, key=lambda n: (n.created_at, n.id), reverse=True)
            hop = Hop("EVALUATED_ON", "OUT", "DatasetVersion")
            data = await all_links(self.whole, [node.id for node in nodes], hop) if nodes else {}
            self._evaluations[version.id] = [
                Measurement(node, [link.node for link in data.get(node.id, ())]) for node in nodes
            ]
        return [m for m in self._evaluations[version.id] if dataset is None or m.on(dataset)]

    async def of_failed_validation(self, evaluation: Node) -> bool:
        """Whether an evaluation is what a validation reported that failed."""
        links = (await all_links(self.whole, [evaluation.id], Hop("REPORTED", "IN", "Validation"))).get(
            evaluation.id, []
        )
        return any(link.node.props["state"] == "FAILED" for link in links)

    async def figures(self, owner: str) -> dict[str, Metric]:
        """The metrics of an evaluation, a version or a run, by name."""
        if owner not in self._figures:
            found = await self.whole.metrics([owner])
            self._figures[owner] = {metric.name: metric for metric in found.get(owner, ())}
        return self._figures[owner]

    async def own_figures(self, version: Node) -> dict[str, Metric]:
        """The metrics of a version, beside those of the run that made it; its own win."""
        page = (await self.whole.neighbours([version.id], PRODUCER)).get(version.id)
        made = await self.figures(page.items[0].node.id) if page and page.items else {}
        return {**made, **await self.figures(version.id)}

    async def champion(self, reference: str) -> Champion:
        """What a name in a comparison means: a stage that the model has or had, or else an alias of it.

        The stage comes first: whoever may give an alias would else say what is compared.
        """
        model = (await self.nodes([self.version.container]))[self.version.container]
        stage = (await Schemes(self.whole).of(model)).find(reference)
        folded = reference.casefold()
        links = await ever(self.whole, model.id, Hop("STAGE", "OUT", "ModelVersion"))
        links = [link for link in links if link.edge.discriminator.casefold() == folded]
        target = Target("stage", reference if stage is None else stage.name)
        if stage is None and not links:
            links = await ever(self.whole, model.id, Hop("ALIAS", "OUT", "ModelVersion"))
            links = [link for link in links if link.edge.discriminator == reference]
            target = Target("alias", reference)
        now = [link for link in links if link.edge.until is None]
        latest = max(now, key=lambda link: (link.edge.since, link.node.id), default=None)
        return Champion(target, None if latest is None else latest.node, bool(links))

    async def resolved(self, addresses: Sequence[Address]) -> list[Node | None]:
        """What is at these addresses."""
        return await self.whole.resolve(addresses)

    async def nodes(self, ids: Collection[str]) -> dict[str, Node]:
        """Nodes by id, however many."""
        found: dict[str, Node] = {}
        for batch in batched(sorted(ids), BATCH):
            found |= await self.whole.nodes(batch)
        return found

    async def marks(self, ids: Collection[str]) -> dict[str, list[Node]]:
        """The marks that are on data sets and versions of them, by the id of what is marked."""
        found: dict[str, list[Node]] = {}
        for batch in batched(sorted(ids), BATCH):
            links = await all_links(self.whole, batch, Hop("MARKS", "IN", "Mark"))
            found |= {id: [link.node for link in on] for id, on in links.items() if on}
        return found
