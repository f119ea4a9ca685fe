"""Questions for lists: whole ones and pages, by filters, in orders, after cursors that others were given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from graph.port import Node
from tests.tenancy.generating import ALIASES, COLOURS, PARAMETERS, RATES
from tests.tenancy.model import SCOPE_OF
from tests.tenancy.questions import Question, Questions, quoted
from tests.tenancy.relations import FILTERS

Predicate = Callable[[Node], bool]
Filter = tuple[str, tuple[str, ...], Predicate]
Sorted = Callable[[Iterable[Node]], list[Node]]

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
    "Environment": "environments",
    "ServingTarget": "servingTargets",
    "StageScheme": "stageSchemes",
    "Gate": "gates",
    "Approval": "approvals",
    "Webhook": "webhooks",
    "Artifact": "artifacts",
    "Upload": "uploads",
    "Validation": "validations",
    "Mark": "marks",
    "Principal": "principals",
    "Team": "teams",
}
ORDERS: Final[Mapping[str, Callable[[Node], Any]]] = {
    "NAME": lambda n: n.name.casefold(),
    "CREATED_AT": lambda n: n.created_at,
    "UPDATED_AT": lambda n: n.updated_at,
}
DEPTH: Final = 2
"""How many hops away conditions go."""


class Lists(Questions):
    """Questions for lists."""

    def listing(self) -> Question:
        """A whole list by a filter, in some order."""
        kind = self.rng.choice(list(LISTS))
        where, needs, holds = self._where(kind)
        order, in_order, more = self._order(kind)
        there = in_order(n for n in self.eyes.of_kind(kind) if holds(n))

        def check(it: Any) -> None:
            assert it["totalCount"] == len(there)
            assert [n["id"] for n in it["nodes"]] == [n.id for n in there]
            assert it["pageInfo"]["hasNextPage"] is False

        return Question(
            f"{{ it: {LISTS[kind]}(first: 500{where}, {order}) "
            "{ totalCount nodes { id name address createdBy tags { name value } } "
            "pageInfo { hasNextPage endCursor } } }",
            (SCOPE_OF[kind], *needs, *more),
            check=check,
        )

    def paged(self) -> Question:
        """A page of a list: its size, and whether there is more; often after somebody else's cursor."""
        kind, first = self.rng.choice(list(LISTS)), self.rng.randint(1, 4)
        order, in_order, more = self._order(kind)
        after, beyond = "", in_order(self.world.of_kind(kind))
        given = [place for place in self.cursors if place[0] in LISTS]
        if given and self.rng.random() < 0.7:
            kind, order = self.rng.choice(given)
            in_order, more = self.orders(kind)[order]
            beyond = in_order(self.world.of_kind(kind))
            place = self.rng.randrange(len(beyond))
            after = f", after: {quoted(self.cursors[kind, order][beyond[place].id])}"
            beyond = beyond[place + 1 :]
        where, needs, holds = self._where(kind)
        there = [n for n in beyond if n.id in self.eyes.visible and holds(n)]

        def check(it: Any) -> None:
            assert [edge["node"]["id"] for edge in it["edges"]] == [n.id for n in there[:first]]
            assert it["pageInfo"]["hasNextPage"] is (len(there) > first)

        return Question(
            f"{{ it: {LISTS[kind]}(first: {first}{where}, {order}{after}) "
            "{ edges { cursor node { id name description } } pageInfo { hasNextPage startCursor endCursor } } }",
            (SCOPE_OF[kind], *needs, *more),
            check=check,
        )

    # Orders ───────────────────────────────────────────────────────────────────────────────────────

    def _order(self, kind: str) -> tuple[str, Sorted, tuple[str, ...]]:
        order, (in_order, needs) = self.rng.choice(list(self.orders(kind).items()))
        return order, in_order, needs

    def orders(self, kind: str) -> dict[str, tuple[Sorted, tuple[str, ...]]]:
        """Orders as text, each with how it sorts and what it needs."""
        found: dict[str, tuple[Sorted, tuple[str, ...]]] = {}
        for direction in ("ASC", "DESC"):
            for field, value in ORDERS.items():
                found[f"orderBy: {{field: {field}, direction: {direction}}}"] = _sorted(value, direction == "DESC"), ()
            if kind in PARAMETERS:
                order = f'orderBy: {{metric: "auc", direction: {direction}}}'
                found[order] = _sorted(self._metric, direction == "DESC"), ("metrics:read",)
        return found

    def _metric(self, node: Node) -> float | None:
        value = next((m.value for m in self.world.records[node.id].metrics if m.name == "auc"), None)
        return None if value is None or math.isnan(value) else value

    # Filters ──────────────────────────────────────────────────────────────────────────────────────

    def _where(self, kind: str) -> Filter:
        """An argument, or none; what it needs; and whether a node fulfils it."""
        if self.rng.random() < 0.15:
            return "", (), lambda _: True
        text, needs, holds = self._filter(kind, DEPTH)
        return f", where: {{{text}}}", needs, holds

    def _filter(self, kind: str, depth: int) -> Filter:
        """A condition, perhaps made of two, or turned round."""
        text, needs, holds = self._condition(kind, depth)
        sort = self.rng.random()
        if sort < 0.2:
            return f"not: {{{text}}}", needs, lambda n: not holds(n)
        if sort < 0.35:
            other, more, too = self._condition(kind, depth)
            word, either = self.rng.choice((("or", any), ("and", all)))
            return f"{word}: [{{{text}}}, {{{other}}}]", (*needs, *more), lambda n: either((holds(n), too(n)))
        return text, needs, holds

    def _condition(self, kind: str, depth: int) -> Filter:
        hops = [hop for hop in FILTERS if hop[0] == kind]
        if hops and depth and self.rng.random() < 0.5:
            _, name, edge, direction, target, _ = self.rng.choice(hops)
            assert target is not None
            inner, needs, holds = self._filter(target, depth - 1)
            return f"{name}: {{{inner}}}", (SCOPE_OF[target], *needs), self._leads(edge, direction, target, holds)
        return self.rng.choice(list(self._own(kind)))

    def _leads(self, edge: str, direction: str, target: str, holds: Predicate) -> Predicate:
        """Whether there is a neighbour that fulfils it: only what the caller sees of them counts."""
        records, near = self.world.records, self.eyes.near
        return lambda node: any(holds(records[id].node) for id in near(node.id, edge, direction, target))

    def _own(self, kind: str) -> Iterator[Filter]:
        """Conditions on the thing itself."""
        rng, eyes, records = self.rng, self.eyes, self.world.records
        any_of_kind = self.world.of_kind(kind)
        one = rng.choice(any_of_kind)
        start = one.name[: rng.choice((1, 2, 3))].lower()
        yield f"name: {{prefix: {quoted(start)}}}", (), lambda n: n.name.casefold().startswith(start)
        yield f"name: {{eq: {quoted(one.name)}}}", (), lambda n: n.name == one.name
        some = {n.id for n in rng.choices(any_of_kind, k=4)}
        yield f"ids: [{', '.join(map(quoted, sorted(some)))}]", (), lambda n: n.id in some
        yield f"createdBy: {{eq: {quoted(one.created_by)}}}", (), lambda n: n.created_by == one.created_by
        colour = rng.choice(COLOURS)
        yield f'tags: [{{name: "colour", eq: "{colour}"}}]', (), lambda n: records[n.id].tags.get("colour") == colour
        if kind not in {"Workspace", "Principal", "Team"}:
            yield f"workspace: {{eq: {quoted(one.workspace)}}}", (), lambda n: n.workspace == one.workspace
            owner = rng.choice(self.world.of_kind("Principal", "Team"))
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
                lambda n: (value := self._metric(n)) is not None and value > 0.3,
            )
        served = self._leads("SERVES", "IN", "Deployment", lambda _: True)
        if kind == "ModelVersion":
            yield "hasLiveDeployment: true", ("deployment:read",), served
        if kind == "Model":
            versions = self._leads("VERSION_OF", "IN", "ModelVersion", served)
            yield "hasLiveDeployment: false", ("deployment:read",), lambda n: not versions(n)
            alias = rng.choice(ALIASES)
            yield f'alias: "{alias}"', ("model:read",), lambda n: self._has_alias(n, alias)

    def _has_alias(self, node: Node, alias: str) -> bool:
        edges = (e for e in self.world.open if e.kind == "ALIAS" and e.source == node.id and e.discriminator == alias)
        return any(self.eyes.sees(e.target) for e in edges)


def _sorted(value: Callable[[Node], Any], descending: bool) -> Sorted:
    """Sorts by a value; ties go by id, upwards, and what is absent comes last in both directions."""

    def in_order(nodes: Iterable[Node]) -> list[Node]:
        by_id = sorted(nodes, key=lambda n: n.id)
        there = [n for n in by_id if value(n) is not None]
        return sorted(there, key=value, reverse=descending) + [n for n in by_id if value(n) is None]

    return in_order
