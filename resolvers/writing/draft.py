"""A write in the making: what is named by address is found in one statement, what is new is written in a few.

A use case first says what it names (`want`), has it found (`find`), says what shall be (`create`, `set`,
`link`, …) and then writes it (`save`). The number of statements does not grow with the number of things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as having
from typing import Any, Final

from graph import ontology, validation
from graph.address import Address, parse
from graph.ids import kind_of, new_id
from graph.ontology import CODE_REVISION, NODE_KINDS, UNVERSIONED, NodeKind
from graph.port import Birth, EdgeMatch, NewEdge, NewNode, Node, Point, Transaction, Update
from lineal.errors import InvalidArgument, NotFound
from resolvers.writing.tagging import put_tags

BELONGS: Final[Mapping[str, str]] = {
    kind.name: next(edge.name for edge in ontology.EDGE_KINDS.values() if (kind.name, kind.within) in edge.ends)
    for kind in NODE_KINDS.values()
    if kind.within
}
"""The edge from a part to what it is named within, by the part's kind."""

NUMBERED: Final = frozenset(kind.name for kind in NODE_KINDS.values() if "number" in kind.by_name)
"""Kinds whose name is a number that Lineal gives."""

HOMES: Final = ("Experiment", "Pipeline")
"""What a run's container is, the first that it has; without any it is its own."""


@dataclass(slots=True, eq=False)
class Reference:
    """Something named by an address or an id, at `field` of the input.

    After `Draft.find` it has its `id`, and `node` as the store has it, or None when this write makes it.
    """

    field: str
    address: Address
    kinds: tuple[str, ...]
    create: bool = False
    create_container: bool = False
    fill: bool = False
    """Whether what is there gets those of `props` that it lacks."""
    props: Mapping[str, Any] = having(default_factory=dict)
    birth: Birth | None = None
    """When and by whom it was made, where an importer says so."""
    new_id: str | None = None
    """The id that it gets where this write makes it, where an importer says so."""
    node: Node | None = None
    id: str = ""
    workspace: str = ""

    @property
    def kind(self) -> NodeKind:
        """The kind of what is named."""
        return NODE_KINDS[self.address.kind]


End = str | Reference
"""An end of an edge: an id, or what is named."""


def _id(end: End) -> str:
    return end if isinstance(end, str) else end.id


class Draft:
    """What one write names and what it is going to do."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.created: dict[str, NewNode] = {}
        self._pending: list[Reference] = []
        self._found: dict[Address, Node] = {}
        self._keys: dict[str, str] = {}
        self._set: dict[str, dict[str, Any]] = {}
        self._revisions: dict[str, int] = {}
        self._touched: set[str] = set()
        self._tags: dict[str, Mapping[str, str | None]] = {}
        self._params: dict[str, Mapping[str, str | None]] = {}
        self._points: dict[str, Sequence[Point]] = {}
        self._links: list[tuple[str, End, End, dict[str, Any]]] = []
        self._ends: list[tuple[str, End, End | None, str | None]] = []

    # What is named ────────────────────────────────────────────────────────────────────────────────

    def want(self, text: str, field: str, *kinds: str, create: bool = False) -> Reference:
        """Name something of one of these kinds; with `create`, what is unknown is made, its container too.

        Where a data-set version is meant, a data set stands for its unversioned version, which needs no
        `create` when the data set is known. Raises InvalidArgument: no address, or of another kind.
        """
        return self.expect(Reference(field, parse(text, field=field), kinds, create, create))

    def expect(self, reference: Reference) -> Reference:
        """Have this found too, as it is. Raises InvalidArgument: it is of another kind."""
        address, kinds = reference.address, reference.kinds
        if address.kind == "Dataset" and "Dataset" not in kinds and "DatasetVersion" in kinds:
            if not address.id:
                reference.address = _unversioned(address.workspace, address.name)
        elif address.kind not in kinds:
            msg = f"{reference.field}: {str(address)!r} names a {address.kind}; what belongs here is a {_either(kinds)}"
            raise InvalidArgument(msg, field=reference.field)
        self._pending.append(reference)
        return reference

    def known(self, kind: NodeKind, name: str, workspace: str, field: str, props: Mapping[str, Any]) -> Reference:
        """Name something by its exact name: found, or else made; what it lacks of these properties is filled in."""
        validation.name(name, field=field)
        address = Address(kind.name, workspace, name)
        return self.expect(Reference(field, address, (kind.name,), create=True, fill=True, props=props))

    async def find(self) -> None:
        """Find all that was named since the last call. Raises NotFound, naming the field of what is missing."""
        pending, self._pending = self._pending, []
        await self._resolve(pending)
        whole = [r for r in pending if (node := self._found.get(r.address)) and node.kind not in r.kinds]
        for reference in whole:
            node = self._found[reference.address]
            reference.address = _unversioned(node.workspace, node.name)
        await self._resolve(whole)
        for reference in sorted(pending, key=lambda r: (not r.create, r.kind.within is not None)):
            self._settle(reference)

    async def _resolve(self, references: Sequence[Reference]) -> None:
        addresses = dict.fromkeys(r.address for r in references)
        addresses |= dict.fromkeys(c for r in references if (c := _container(r.address)) is not None)
        wanted = [a for a in addresses if a not in self._found]
        if wanted:
            found = await self.tx.resolve(wanted)
            self._found |= {a: n for a, n in zip(wanted, found, strict=True) if n is not None}

    def _settle(self, reference: Reference) -> None:
        """Give a reference its id: of what is there, of what this write makes already, or of what it now makes."""
        address, kind = reference.address, reference.kind
        if (node := self._found.get(address)) is not None:
            reference.node, reference.id, reference.workspace = node, node.id, node.workspace
            if reference.fill:
                self.set(node.id, {n: v for n, v in reference.props.items() if n not in node.props and v is not None})
            return
        if address.id or address.alias is not None:
            raise _missing(reference)
        container, workspace = self._container(reference)
        name = address.part or address.name
        made = self._keys.get(ontology.key_of(kind, workspace, container, name))
        if made is None:
            if not reference.create and not (container and name == UNVERSIONED):
                raise _missing(reference)
            validation.name(name, field=reference.field)
            made = self.create(
                kind,
                name,
                workspace,
                container=container,
                props=reference.props,
                id=reference.new_id,
                birth=reference.birth,
            )
        reference.id, reference.workspace = made, workspace

    def _container(self, reference: Reference) -> tuple[str | None, str]:
        """The id of the container of a part that is not there, and the workspace of both."""
        address = _container(reference.address)
        if address is None:
            return None, reference.address.workspace
        if (node := self._found.get(address)) is not None:
            return node.id, node.workspace
        kind = NODE_KINDS[address.kind]
        made = self._keys.get(ontology.key_of(kind, address.workspace, None, address.name))
        if made is None:
            if not reference.create_container:
                raise _missing(reference)
            validation.name(address.name, field=reference.field)
            made = self.create(kind, address.name, address.workspace)
        return made, address.workspace

    # What shall be ────────────────────────────────────────────────────────────────────────────────

    def create(
        self,
        kind: NodeKind,
        name: str | None,
        workspace: str,
        *,
        container: str | None = None,
        props: Mapping[str, Any] | None = None,
        id: str | None = None,
        birth: Birth | None = None,
    ) -> str:
        """Make a node, with the edge to what it is named within; its id. Without a name it is named by its id."""
        id = id or new_id(kind.prefix)
        name = id if name is None else name
        given = {**_implied(kind, name), **(props or {})}
        self.created[id] = NewNode(kind.name, name, workspace, container, given, id, birth)
        self._keys[ontology.key_of(kind, workspace, container, name)] = id
        if kind.within and container:
            self.link(BELONGS[kind.name], id, container, since=None if birth is None else birth.at)
        return id

    def set(self, id: str, props: Mapping[str, Any], *, revision: int | None = None) -> None:
        """Set properties of a node, only if it still has that revision where one is given."""
        if new := self.created.get(id):
            self.created[id] = replace(new, props={**new.props, **props})
        elif props or revision is not None:
            self._set.setdefault(id, {}).update(props)
            if revision is not None:
                self._revisions[id] = revision

    def touch(self, id: str) -> None:
        """Let a node that is there count as updated now."""
        if id not in self.created:
            self._set.setdefault(id, {})
            self._touched.add(id)

    def own(
        self,
        id: str,
        *,
        tags: Mapping[str, str | None] | None = None,
        params: Mapping[str, str | None] | None = None,
        points: Sequence[Point] = (),
    ) -> None:
        """Set tags and parameters of a node (None removes one), and append to its metrics."""
        if tags:
            self._tags[id] = tags
        if params:
            self._params[id] = params
        if points:
            self._points[id] = points

    def link(
        self,
        kind: str,
        source: End,
        target: End,
        discriminator: str | None = "",
        *,
        props: Mapping[str, Any] | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        """Open an edge."""
        rest = {"discriminator": discriminator or "", "props": props or {}, "since": since, "until": until}
        self._links.append((kind, source, target, rest))

    def end(self, kind: str, source: End, *, target: End | None = None, discriminator: str | None = None) -> None:
        """End the open edges of this kind and source, and of this target and discriminator where given."""
        self._ends.append((kind, source, target, discriminator))

    def edges(self) -> list[NewEdge]:
        """The edges that shall be open, now that their ends are found."""
        return [NewEdge(kind, _id(source), _id(target), **rest) for kind, source, target, rest in self._links]

    async def save(self) -> None:
        """Write it all. Raises what the verbs of a Transaction raise."""
        edges = self.edges()
        self._give_homes(edges)
        await self.tx.create(list(self.created.values()))
        if self._set:
            await self.tx.update(
                [
                    Update(id, props, revision=self._revisions.get(id), touch=id in self._touched)
                    for id, props in self._set.items()
                ]
            )
        await self.tx.put_rows("params", self._params)
        await self.tx.log_metrics(self._points)
        if self._ends:
            await self.tx.unlink(
                [
                    EdgeMatch(kind, _id(source), None if target is None else _id(target), discriminator)
                    for kind, source, target, discriminator in self._ends
                ]
            )
        await self.tx.link(edges)
        await put_tags(self.tx, self._tags)

    def _give_homes(self, edges: Sequence[NewEdge]) -> None:
        """A new run's container is its experiment, else its pipeline."""
        homes: dict[str, dict[str, str]] = {}
        for edge in edges:
            if edge.until is None and edge.kind in {"PART_OF", "RUN_OF"} and (kind := kind_of(edge.target)):
                homes.setdefault(edge.source, {})[kind.name] = edge.target
        for id, of in homes.items():
            if (new := self.created.get(id)) and new.kind == "Run":
                home = next((of[kind] for kind in HOMES if kind in of), None)
                self.created[id] = replace(new, container=home)


def _unversioned(workspace: str, name: str) -> Address:
    return Address("DatasetVersion", workspace, name, UNVERSIONED)


def _container(address: Address) -> Address | None:
    """The address of what a part is named within."""
    within = NODE_KINDS[address.kind].within
    return Address(within, address.workspace, address.name) if within and not address.id else None


def _implied(kind: NodeKind, name: str) -> dict[str, Any]:
    """The properties that a name says: a version's number, a commit's repository."""
    if kind.name in NUMBERED and name.isdecimal():
        return {"number": int(name)}
    if kind is CODE_REVISION:
        repository, _, commit = name.rpartition("@")
        return {"repository": repository, "commit": commit} if repository else {}
    return {}


def _either(kinds: Sequence[str]) -> str:
    return " or ".join((", ".join(kinds[:-1]), kinds[-1])) if len(kinds) > 1 else kinds[0]


def _missing(reference: Reference) -> NotFound:
    msg = f"{reference.field}: there is no {reference.address.kind} {str(reference.address)!r}"
    return NotFound(msg, field=reference.field)
