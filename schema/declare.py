"""Fields that read the graph are declared here, not coded.

    @noun(ontology.MODEL)
    class Model(Node):
        task: str | None = prop()
        versions: Connection[ModelVersion] = edge(ontology.VERSION_OF, "IN", "Its versions.")

A property's description is the ontology's. The annotation of an edge says what is at its other end and
whether there are many: `Connection[X]` is a list with filter, order and paging, `X | None` at most one,
`list[str]` the edges' discriminators alone. Each of them is null for callers without the scopes to read what is
there. Sources are graph.port.Node, never instances of these classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import UNRESOLVED, StrawberryField

from graph import ontology, port
from resolvers.reading import resolve
from schema import filters
from schema.connection import AFTER_DOC, DEFAULT_FIRST, FIRST_DOC, Connection, Listing, paging
from schema.context import Context, Info
from schema.scalars import DateTime

T = TypeVar("T", bound=type)

NOUNS: Final[dict[str, type]] = {}
"""The GraphQL type of each kind, by the kind's name; Node, the interface, stands for any kind."""

_SHAPES: Final = {
    "many": re.compile(r"Connection\[(\w+)\]"),
    "names": re.compile(r"list\[(str)\]"),
    "name": re.compile(r"(str) \| None"),
    "one": re.compile(r"(\w+) \| None"),
}


def noun(kind: ontology.NodeKind) -> Callable[[T], T]:
    """Makes a class the GraphQL type of a kind."""

    def declare(cls: T) -> T:
        for name, field in vars(cls).items():
            if isinstance(field, Prop):
                field.description = kind.by_name[strawberry_name(name)].doc
        filters.RELATIONS[kind.name] = _prepare(cls)
        cls.is_type_of = classmethod(lambda _cls, source, _info: source.kind == kind.name)  # type: ignore[attr-defined]
        NOUNS[kind.name] = strawberry.type(cls, name=kind.name, description=kind.doc)
        return NOUNS[kind.name]  # type: ignore[return-value]

    return declare


def interface(description: str) -> Callable[[T], T]:
    """Makes a class the interface of all kinds."""

    def declare(cls: T) -> T:
        _prepare(cls)
        NOUNS["Node"] = strawberry.interface(cls, description=description)
        return NOUNS["Node"]  # type: ignore[return-value]

    return declare


def root(description: str) -> Callable[[T], T]:
    """Makes a class a root type."""

    def declare(cls: T) -> T:
        _prepare(cls)
        return strawberry.type(cls, description=description)

    return declare


def _prepare(cls: type) -> dict[str, tuple[port.Hop, str]]:
    """Tell the declared fields of a class what their annotations say; returns those that a filter can follow."""
    followed = {}
    for name, field in vars(cls).items():
        if isinstance(field, _Related):
            field.read(cls.__annotations__[name])
            if isinstance(field, EdgeField) and field.target:
                followed[name] = (field.hop, field.description or "")
    return followed


def strawberry_name(name: str) -> str:
    """A Python name as GraphQL and the ontology spell it."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(map(str.capitalize, rest))


class Prop(StrawberryField):
    """A property of a node or an edge."""

    absent: Any = None

    @cached_property
    def key(self) -> str:
        """The property's name in the ontology."""
        return strawberry_name(self.python_name)

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        """The value, or what stands for none."""
        return source.props.get(self.key, self.absent)


def prop(description: str | None = None, *, absent: Any = None) -> Any:
    """A property, with what to give where it is absent."""
    field = Prop(description=description)
    field.absent = absent
    return field


class _Related(StrawberryField):
    """A field whose annotation names a kind, `target` (None: any), and how many there are."""

    target: str | None = None
    shape: str = ""

    def read(self, annotation: str) -> None:
        """Take target and shape from the annotation."""
        for shape, pattern in _SHAPES.items():
            if match := pattern.fullmatch(annotation):
                self.shape = shape
                self.target = None if match[1] in {"Node", "str"} else match[1]
                return
        msg = f"a declared field is annotated Connection[X], X | None, list[str] or str | None, not {annotation}"
        raise TypeError(msg)

    @property
    def is_basic_field(self) -> bool:
        """Never: it takes arguments, or reads the store."""
        return False

    def resolve_type(self, *, type_definition: Any = None) -> Any:
        """The GraphQL type, once all nouns are known."""
        if self.shape in {"names", "name"}:
            return StrawberryAnnotation((list[str] if self.shape == "names" else str) | None).resolve()
        item = NOUNS.get(self.target or "Node")
        if item is None:
            return UNRESOLVED
        return StrawberryAnnotation((Connection[item] if self.shape == "many" else item) | None).resolve()  # type: ignore[valid-type]

    @property
    def arguments(self) -> list[StrawberryArgument]:
        """Filter, order and paging of a list."""
        if self.shape != "many":
            return []
        return [*(filters.arguments(self.target) if self.target else ()), *PAGING]

    @arguments.setter
    def arguments(self, value: list[StrawberryArgument]) -> None:
        self._arguments = value

    def asked(
        self, info: Info, first: int, *, after: str | None = None, where: Any = None, order_by: Any = None
    ) -> tuple[port.Paging, port.Where | None, port.Order]:
        """What a list's arguments ask for. Raises InvalidArgument, LimitExceeded."""
        part = paging(first, after, info.context.selects(info, "totalCount"))
        return part, filters.where_of(where), filters.order_of(self.target, order_by)


def argument(name: str, type_: Any, description: str, default: Any = strawberry.UNSET) -> StrawberryArgument:
    """An argument of a declared field."""
    return StrawberryArgument(name, None, StrawberryAnnotation(type_), description=description, default=default)


PAGING: Final = (
    argument("first", int, FIRST_DOC, DEFAULT_FIRST),
    argument("after", str | None, AFTER_DOC),
)


class EdgeField(_Related):
    """What is at the other end of the edges of a kind."""

    edge: ontology.EdgeKind
    direction: Literal["OUT", "IN"]

    @cached_property
    def hop(self) -> port.Hop:
        """The step to take."""
        return port.Hop(self.edge.name, self.direction, self.target)

    def leads_to(self, kind: str) -> bool:
        """Whether it can give nodes of this kind."""
        return self.target in {None, kind}

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        """A connection, a node, or names, through a loader."""
        if self.shape == "many":
            return self._many(source, info, kwargs)
        if self.shape == "one":
            return self._one(source, info.context)
        return self._names(source, info.context)

    async def _names(self, source: port.Node, context: Context) -> list[str] | str | None:
        names = await context.loaders.discriminators(self.hop).load(source.id)
        context.hold(len(names))
        return names if self.shape == "names" else next(iter(names), None)

    async def _one(self, source: port.Node, context: Context) -> port.Node | None:
        order = filters.order_of(self.target, None)
        page = await context.loaders.links(self.hop, None, order, port.Paging(first=1)).load(source.id)
        context.hold(len(page.items))
        return page.items[0].node if page.items else None

    async def _many(self, source: port.Node, info: Info, arguments: dict[str, Any]) -> Listing:
        asked, condition, order = self.asked(info, **arguments)
        page = await info.context.loaders.links(self.hop, condition, order, asked).load(source.id)
        info.context.hold(len(page.items))
        return Listing(page, asked)


def edge(kind: ontology.EdgeKind, direction: Literal["OUT", "IN"], description: str) -> Any:
    """What the edges of a kind lead to: OUT along the arrows, IN against them."""
    field = EdgeField(description=description)
    field.edge, field.direction = kind, direction
    return field


class ListField(_Related):
    """All nodes of a kind, at the root."""

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        """A connection."""
        return self._list(info, kwargs)

    async def _list(self, info: Info, arguments: dict[str, Any]) -> Listing:
        assert self.target is not None
        asked, condition, order = self.asked(info, **arguments)
        snapshot = await info.context.op.snapshot()
        page = await snapshot.find(self.target, condition, order=order, paging=asked)
        info.context.hold(len(page.items))
        return Listing(page, asked)


def listing(description: str) -> Any:
    """All nodes of the kind that the annotation names."""
    return ListField(description=description)


class AddressField(_Related):
    """One node of a kind by address, at the root."""

    @property
    def arguments(self) -> list[StrawberryArgument]:
        """The address, and the time it is looked up at."""
        return list(ADDRESS)

    @arguments.setter
    def arguments(self, value: list[StrawberryArgument]) -> None:
        self._arguments = value

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        """The node or None."""
        assert self.target is not None
        return resolve(info.context.op, kwargs["address"], kinds={self.target}, as_of=kwargs.get("as_of"))


ADDRESS: Final = (
    argument("address", strawberry.ID, "An id, or an address such as models:/name/3 or models:/name@champion."),
    argument(
        "as_of",
        DateTime | None,
        "Look the address up as it was at this time: it decides which version an alias meant, and whether the thing "
        "existed. Its properties, and what hangs on it, are today's.",
    ),
)


def by_address(description: str) -> Any:
    """One node of the kind that the annotation names."""
    return AddressField(description=description)
