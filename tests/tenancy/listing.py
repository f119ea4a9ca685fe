"""Questions for lists: whole ones and pages, by filters and in orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from graph.port import Node
from tests.tenancy.generating import ALIASES, COLOURS, PARAMETERS, RATES
from tests.tenancy.model import SCOPE_OF
from tests.tenancy.questions import NESTED, Question, Questions, quoted

Predicate = Callable[[Node], bool]
Filter = tuple[str, tuple[str, ...], Predicate]

LISTS: Final = {
    "Workspace": "workspaces",
    "Model": "models",
    "ModelVersion": "modelVersions",
    "Dataset": "datasets",
    "DatasetVersion": "datasetVersions",
    "Field": "fields",
    "Experiment": "experiments",
    "Run": "runs",
    "Pipeline": "pipelines",
    "Evaluation": "evaluations",
    "Deployment": "deployments",
}


class Lists(Questions):
    """Questions for lists."""

    def listing(self) -> Question:
        """A whole list by a filter, in some order."""
        kind = self.rng.choice(list(LISTS))
        where, needs, holds = self._filter(kind)
        order, by, more = self._order(kind)
        there = sorted((n for n in self.eyes.of_kind(kind) if holds(n)), key=by)

        def check(it: Any) -> None:
            assert it["totalCount"] == len(there)
            assert [n["id"] for n in it["nodes"]] == [n.id for n in there]
            assert it["pageInfo"]["hasNextPage"] is False

        return Question(
            f"{{ it: {LISTS[kind]}(first: 500{where}{order}) "
            "{ totalCount nodes { id name address createdBy tags { name value } } "
            "pageInfo { hasNextPage endCursor } } }",
            (SCOPE_OF[kind], *needs, *more),
            check=check,
        )

    def paged(self) -> Question:
        """A page of a list: its size, and whether there is more."""
        kind = self.rng.choice(list(LISTS))
        first = self.rng.randint(1, 4)
        where, needs, holds = self._filter(kind)
        order, by, more = self._order(kind)
        there = sorted((n for n in self.eyes.of_kind(kind) if holds(n)), key=by)

        def check(it: Any) -> None:
            assert [edge["node"]["id"] for edge in it["edges"]] == [n.id for n in there[:first]]
            assert it["pageInfo"]["hasNextPage"] is (len(there) > first)

        return Question(
            f"{{ it: {LISTS[kind]}(first: {first}{where}{order}) "
            "{ edges { cursor node { id name description } } pageInfo { hasNextPage startCursor endCursor } } }",
            (SCOPE_OF[kind], *needs, *more),
            check=check,
        )

    def _order(self, kind: str) -> tuple[str, Callable[[Node], Any], tuple[str, ...]]:
        sort = self.rng.random()
        if kind in PARAMETERS and sort < 0.2:
            return ', orderBy: {metric: "auc"}', self._by_metric, ("metrics:read",)
        if sort < 0.5:
            return ", orderBy: {field: CREATED_AT}", lambda n: (n.created_at, n.id), ()
        return ", orderBy: {field: NAME}", lambda n: (n.name.casefold(), n.id), ()

    def _by_metric(self, node: Node) -> Any:
        value = self._metric(node)
        absent = value is None or math.isnan(value)
        return absent, 0.0 if absent else value, node.id

    def _metric(self, node: Node) -> float | None:
        return next((m.value for m in self.world.records[node.id].metrics if m.name == "auc"), None)

    def _filter(self, kind: str) -> Filter:
        """A condition as text, what it needs, and whether a node fulfils it."""
        text, needs, holds = self.rng.choice(list(self._filters(kind)))
        if not text:
            return "", needs, holds
        if self.rng.random() < 0.25:
            return f", where: {{not: {{{text}}}}}", needs, lambda n: not holds(n)
        return f", where: {{{text}}}", needs, holds

    def _filters(self, kind: str) -> Iterator[Filter]:
        rng, eyes, world = self.rng, self.eyes, self.world
        any_of_kind = world.of_kind(kind)
        one = rng.choice(any_of_kind)
        yield "", (), lambda _: True
        yield "", (), lambda _: True
        start = one.name[:3]
        yield f"name: {{prefix: {quoted(start)}}}", (), lambda n: n.name.startswith(start)
        yield f"name: {{eq: {quoted(one.name)}}}", (), lambda n: n.name == one.name
        some = {n.id for n in rng.choices(any_of_kind, k=4)}
        yield f"ids: [{', '.join(map(quoted, some))}]", (), lambda n: n.id in some
        yield f"createdBy: {{eq: {quoted(one.created_by)}}}", (), lambda n: n.created_by == one.created_by
        colour = rng.choice(COLOURS)
        records = world.records
        yield (
            f'tags: [{{name: "colour", eq: "{colour}"}}]',
            (),
            lambda n: records[n.id].tags.get("colour") == colour,
        )
        if kind != "Workspace":
            yield f"workspace: {{eq: {quoted(one.workspace)}}}", (), lambda n: n.workspace == one.workspace
            owner = rng.choice(world.of_kind("Principal", "Team"))
            yield (
                f"owner: {{eq: {quoted(owner.name)}}}",
                ("workspace:read",),
                lambda n: owner.id in eyes.near(n.id, "OWNED_BY", "OUT"),
            )
        if kind in PARAMETERS:
            rate = rng.choice(RATES)
            yield f'params: [{{name: "lr", eq: "{rate}"}}]', (), lambda n: records[n.id].params.get("lr") == rate
            yield (
                'metrics: [{name: "auc", gt: 0.3}]',
                ("metrics:read",),
                lambda n: (value := self._metric(n)) is not None and not math.isnan(value) and value > 0.3,
            )
        yield from self._related(kind)

    def _related(self, kind: str) -> Iterator[Filter]:
        """Conditions on neighbours: only what the caller sees of them counts."""
        eyes = self.eyes
        for whole, name, edge, direction, target, _ in NESTED:
            if whole == kind and target and target not in {"Principal", "Comment"} and kind != "Workspace":
                yield f'{name}: {{name: {{prefix: ""}}}}', (SCOPE_OF[target],), self._leads(edge, direction, target)
        if kind == "ModelVersion":
            yield (
                "hasLiveDeployment: true",
                ("deployment:read",),
                lambda n: bool(eyes.near(n.id, "SERVES", "IN", "Deployment")),
            )
        if kind == "Model":
            alias = self.rng.choice(ALIASES)
            yield f'alias: "{alias}"', (), lambda n: self._has_alias(n, alias)

    def _leads(self, edge: str, direction: str, target: str) -> Predicate:
        return lambda node: bool(self.eyes.near(node.id, edge, direction, target))

    def _has_alias(self, node: Node, alias: str) -> bool:
        edges = (e for e in self.world.open if e.kind == "ALIAS" and e.source == node.id and e.discriminator == alias)
        return any(self.eyes.sees(e.target) for e in edges)
