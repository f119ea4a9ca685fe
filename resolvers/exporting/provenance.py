"""What is exported: a lineage with all that its nodes have, as one reader may see it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from graph.ontology import NODE_KINDS, UNVERSIONED, NodeKind, Type
from graph.port import Direction, Edge, Metric, Node
from graph.text import iso
from lineal.errors import InvalidArgument
from resolvers.artifacts.downloads import Filed

SHA256: Final = "sha256:"
MAKES: Final = "PRODUCED_BY"
READS: Final = "READ"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """An evaluation of a model version: what was measured, and on which data (None: not told, or hidden)."""

    node: Node
    metrics: Sequence[Metric]
    dataset: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A node with what it has. Of one that may not be read nothing is known but its kind: its `id` is a handle then.

    `title` is what people call it, `part` its version there (empty: none), `more` whether the walk was cut off at it.
    `files` are those of its artifacts, each by its path; `homes` are what a run is of, `parent` is the run that started
    it, and `serves` says what a deployment serves now, beside the lineage too.
    """

    id: str
    node: Node
    address: str
    distance: int
    more: bool = False
    container: Node | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()
    aliases: Sequence[str] = ()
    owners: Sequence[Node] = ()
    artifacts: Sequence[Node] = ()
    files: Sequence[Filed] = ()
    fields: Sequence[Node] = ()
    evaluations: Sequence[Evaluated] = ()
    homes: Sequence[Node] = ()
    parent: Thing | None = None
    serves: Sequence[Edge] = ()

    @property
    def kind(self) -> NodeKind:
        """Its kind."""
        return NODE_KINDS[self.node.kind]

    @property
    def restricted(self) -> bool:
        """Whether it is there, but not to be read."""
        return not self.node.visible

    @property
    def title(self) -> str:
        """What people call it: what it is a version or a part of, or itself."""
        if self.restricted:
            return f"restricted {self.node.kind}"
        if self.container is None:
            return self.node.name
        return f"{self.container.name}.{self.node.name}" if self.node.kind == "Field" else self.container.name

    @property
    def part(self) -> str:
        """Its version, where it is one that has a name of its own."""
        versioned = self.container is not None and self.node.kind != "Field"
        return self.node.name if versioned and self.node.name != UNVERSIONED else ""

    @property
    def license(self) -> str:
        """Its licence or that of what it is a version of; empty where none is known."""
        return str(self.get("license") or (self.container.props.get("license") if self.container else None) or "")

    @property
    def description(self) -> str:
        """What it is, in its own words or those of what it is a version of."""
        return str(self.get("description") or (self.container.props.get("description") if self.container else "") or "")

    def get(self, name: str) -> Any:
        """A property; None where it is absent."""
        return self.node.props.get(name)

    def time(self, name: str) -> str | None:
        """A property that is a time, as ISO 8601."""
        value = self.get(name)
        return None if value is None else iso(value)

    def properties(self) -> Iterator[tuple[str, Any]]:
        """What the scope of its kind opens, by name: times as ISO 8601, all else as the ontology has it."""
        for prop in self.kind.properties:
            if not (prop.private or prop.scope) and (value := self.get(prop.name)) is not None:
                yield prop.name, iso(value) if prop.type is Type.TIME else value

    @property
    def sha256(self) -> str | None:
        """Its SHA-256 in hexadecimal, where its digest is one."""
        return digest_of(self.get("digest"))


@dataclass(frozen=True)
class Provenance:
    """A lineage with what its nodes have.

    `roots` are what was asked about, as handles or ids; `things` what the walk found, nearest first; `edges` lie
    between two of these and name them by their ids or handles. `notes` say what is not in it, each in one sentence.
    `moment` is the time that it is of (microseconds), `complete` whether nothing was cut off or left out,
    `filtered` whether only some kinds of nodes or of edges were asked for, `base` the address of the server,
    `namespace` that of what is registered here, where OpenLineage tells of it.
    """

    roots: Sequence[Thing]
    things: Sequence[Thing]
    edges: Sequence[Edge]
    direction: Direction
    complete: bool
    filtered: bool
    notes: Sequence[str]
    moment: int
    base: str
    namespace: str

    @cached_property
    def by_id(self) -> Mapping[str, Thing]:
        """The things by their ids or handles."""
        return {thing.id: thing for thing in self.things}

    @cached_property
    def outward(self) -> Mapping[str, Sequence[Edge]]:
        """The edges from each thing: to what it exists because of."""
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.source, []).append(edge)
        return found

    def of_kind(self, *kinds: str) -> list[Thing]:
        """The things of these kinds."""
        return [thing for thing in self.things if thing.node.kind in kinds]

    def because_of(self, thing: Thing, *kinds: str) -> list[tuple[Edge, Thing]]:
        """What a thing exists because of, by edges of these kinds or any, in the edges' order."""
        near = self.outward.get(thing.id, ())
        return [(edge, self.by_id[edge.target]) for edge in near if not kinds or edge.kind in kinds]

    def knows(self, thing: Thing) -> bool:
        """Whether all that a thing exists because of is here; a walk downstream has come to it by some ways alone."""
        return self.direction is Direction.UPSTREAM and not (self.filtered or thing.more or thing.restricted)

    def sources(self, thing: Thing) -> list[tuple[Edge, Thing]]:
        """What a thing came from: directly, and through the run that made it."""
        near = [pair for pair in self.because_of(thing) if pair[0].kind != MAKES]
        for _, run in self.because_of(thing, MAKES):
            near += self.because_of(run)
        return list({other.id: (edge, other) for edge, other in reversed(near)}.values())[::-1]

    def only(self, kind: str, form: str) -> Thing:
        """The one thing of a kind that was asked about. Raises InvalidArgument: there is none, or there are several."""
        found = [thing for thing in self.of_kind(kind) if thing.distance == 0 and not thing.restricted]
        if len(found) != 1:
            named = ", ".join(thing.address for thing in found[:10]) or ", ".join(root.address for root in self.roots)
            what = "several: name one of" if found else f"no {kind}:"
            raise InvalidArgument(f"of: {form} is of one {kind}, and there is {what} {named}", field="of")
        return found[0]

    @property
    def created(self) -> str:
        """The time that it is of, as ISO 8601 to the second."""
        return second(self.moment)

    @property
    def name(self) -> str:
        """What it is, in words."""
        way = "upstream" if self.direction is Direction.UPSTREAM else "downstream"
        return f"lineage of {', '.join(root.address for root in self.roots)} ({way})"


def digest_of(digest: str | None) -> str | None:
    """The hexadecimal digits of a digest that is a SHA-256; None of another one."""
    return digest.removeprefix(SHA256) if digest and digest.startswith(SHA256) and len(digest) == 71 else None


def second(micros: int) -> str:
    """A time as ISO 8601 to the second, as standards have it that know no fractions."""
    return dt.datetime.fromtimestamp(micros // 1_000_000, dt.UTC).isoformat().replace("+00:00", "Z")
