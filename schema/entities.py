"""Federation 2: what gateways ask a subgraph for, `_entities` and `_service`.

See https://www.apollographql.com/docs/graphos/schema-design/federated-schemas/reference/subgraph-spec. What is hidden
and what never was are both null, as with `node`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, NewType, Union

import strawberry
from strawberry.types.scalar import ScalarDefinition

from graph import ontology, port
from graph.address import Address, parse
from lineal.errors import InvalidArgument
from resolvers.reading import bounded
from schema.context import Info
from schema.kinds import TYPES

MAX_REPRESENTATIONS: Final = 5_000
MAX_TEXT: Final = 4_096

Representation = NewType("Representation", object)

REPRESENTATION: Final[ScalarDefinition] = strawberry.scalar(
    name="_Any",
    description="How a gateway names an entity: an object with __typename and the fields of one of its keys.",
    serialize=lambda value: value,
    parse_value=lambda value: value,
)

Entity = Annotated[
    Union[TYPES],  # type: ignore[valid-type]  # noqa: UP007 - it is made of a tuple
    strawberry.union("_Entity", description="Whatever a gateway can name by a key: anything in the graph."),
]


def by_name(kind: ontology.NodeKind) -> bool:
    """Whether a workspace and a name, or a name alone where it belongs to none, say which one of a kind is meant."""
    return kind.within is None


@strawberry.type(name="_Service", description="This service, as gateways see it.")
class Service:
    """A subgraph."""

    sdl: str = strawberry.field(description="The schema as a Federation 2 subgraph, without directives for security.")


async def _entities(
    info: Info,
    representations: Annotated[
        list[Representation],
        strawberry.argument(description=f"Which ones, at most {MAX_REPRESENTATIONS}, each by one of its keys."),
    ],
) -> list[Any]:
    bounded(len(representations), 0, MAX_REPRESENTATIONS, field="representations")
    asked = [_read(place, each) for place, each in enumerate(representations)]
    loaders = info.context.loaders
    ids = [each.id for each in asked if isinstance(each, Address) and each.id]
    named = [each for each in asked if isinstance(each, Address) and not each.id]
    found, resolved = await asyncio.gather(loaders.nodes().load_many(ids), loaders.named().load_many(named))
    by_id, by_address = dict(zip(ids, found, strict=True)), dict(zip(named, resolved, strict=True))
    info.context.hold(len(asked))
    return [each if isinstance(each, InvalidArgument) else _of_kind(each, by_id, by_address) for each in asked]


def _of_kind(
    asked: Address, by_id: dict[str, port.Node | None], by_address: dict[Address, port.Node | None]
) -> port.Node | None:
    node = by_id[asked.id] if asked.id else by_address[asked]
    return node if node is not None and node.kind == asked.kind else None


def _read(place: int, given: Any) -> Address | InvalidArgument:
    """Whom a representation means; what is wrong with it is the answer of this one alone."""
    field = f"representations[{place}]"
    parts: dict[str, Any] = given if isinstance(given, dict) else {}
    kind = ontology.NODE_KINDS.get(_text(parts.get("__typename")))
    if kind is None:
        return _wrong(field, "must be an object with the __typename of an entity of this subgraph")
    if id := _text(parts.get("id")):
        return Address(kind.name, "", "", id=id)
    within = parts.get("workspace")
    workspace = _text(within.get("name")) if isinstance(within, dict) else ""
    name = _text(parts.get("name"))
    if by_name(kind) and name and (kind.is_global or workspace):
        return Address(kind.name, ontology.GLOBAL if kind.is_global else workspace, name)
    if not by_name(kind) and (address := _text(parts.get("address"))):
        return _part(kind, address, f"{field}.address")
    return _wrong(field, f"must have the fields of a key of {kind.name}: {' or '.join(keys(kind))}")


def _part(kind: ontology.NodeKind, text: str, field: str) -> Address | InvalidArgument:
    """Whom the address of a part means. An alias moves from one to another, and is no key of either."""
    try:
        address = parse(text, field=field)
    except InvalidArgument as error:
        return error
    if address.kind != kind.name or address.part is None:
        return _wrong(field, f"must be the address of a {kind.name}, as its field address has it")
    return address


def keys(kind: ontology.NodeKind) -> Sequence[str]:
    """The keys of an entity, as @key has them: what is within something is known by its address."""
    if not by_name(kind):
        return ("id", "address")
    return ("id", "name" if kind.is_global else "workspace { name } name")


def _text(value: Any) -> str:
    """Text of a length that something may have; nothing otherwise."""
    return value if isinstance(value, str) and len(value) <= MAX_TEXT else ""


def _wrong(field: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {what}", field=field)


def _service() -> Service:
    from schema.subgraph import Flavour, print_subgraph

    return Service(sdl=print_subgraph(Flavour.PLAIN))


def entities() -> Any:
    """The field that gives entities by their keys."""
    return strawberry.field(
        name="_entities",
        resolver=_entities,
        description="For federating gateways: entities by their keys, in the order asked; null where there is none.",
    )


def service() -> Any:
    """The field that gives the subgraph's schema."""
    return strawberry.field(
        name="_service", resolver=_service, description="For federating gateways: this schema as a subgraph."
    )
