"""Mutations are declared here, not coded: a use case, what it takes, and what it answers with.

    @takes("A model to register.", ontology.MODEL)
    class RegisterModelInput:
        name: str = need("Its name.")
        tags: list[TagInput] = many("Its tags.")

    MODEL = Noun(ontology.MODEL, Model, "model", "model", "models:/name")
    register_model = does(models.register_model, RegisterModelInput, "Registers a model.", MODEL.answer)
    update_model = updates(models.update_model, MODEL)

`takes` adds the properties of the kind that a client may set, described as the ontology does. A property
that is not given stays as it is, and null takes it away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, TypeVar

import strawberry
from strawberry.types.base import get_object_definition

from graph.ontology import NodeKind, Property, Type
from resolvers.deploying.deploying import Deploying
from resolvers.writing.command import MAX_KEY, BatchCommand, Command, Procedure
from resolvers.writing.deleting import Delete
from schema.context import Info
from schema.declare import strawberry_name
from schema.scalars import JSON, BigInt, DateTime

T = TypeVar("T", bound=type)

UseCase = Command[...] | BatchCommand[...] | Procedure[...] | Deploying[...]

_TYPES: Final[Mapping[Type, Any]] = {
    Type.STRING: str,
    Type.TEXT: str,
    Type.INT: BigInt,
    Type.FLOAT: float,
    Type.BOOL: bool,
    Type.TIME: DateTime,
    Type.STRINGS: list[str],
    Type.JSON: JSON,
}
_SMALL: Final = frozenset({"ordinal"})
"""Whole numbers that are Int where they are read, so also here."""

_PROPERTIES: Final[dict[type, frozenset[str]]] = {}
"""Which fields of an input are properties of its kind, by their names in the ontology."""

KEY_DOC: Final = (
    f"A text of your own making, 1 to {MAX_KEY} characters: the same key with the same input within seven days gives "
    "the first answer again and does nothing; with other input it is a CONFLICT."
)
REVISION_DOC: Final = "Only if it still has this revision; CONFLICT otherwise, naming both."
WORKSPACE_DOC: Final = "The workspace to put it in, by name."


# ── What a mutation takes ─────────────────────────────────────────────────────────────────────────


def need(description: str, name: str | None = None) -> Any:
    """A field that must be given."""
    return strawberry.field(description=description, name=name)


def may(description: str, default: Any = strawberry.UNSET) -> Any:
    """A field that may be left out; without a default it then counts as not given."""
    return strawberry.field(description=description, default=default)


def many(description: str) -> Any:
    """A list that may be left out."""
    return strawberry.field(description=description, default_factory=list)


def key() -> Any:
    """The idempotency key."""
    return may(KEY_DOC)


def takes(description: str, kind: NodeKind | None = None, *, flat: bool = False) -> Callable[[T], T]:
    """Makes a class an input, and adds the properties of a kind.

    They go to the use case together, as `properties`; `flat` ones beside the other fields, as the entries
    of a list have them.
    """

    def declare(cls: T) -> T:
        added = [p for p in kind.properties if not p.internal] if kind else []
        for prop in added:
            python_name = re.sub(r"(?=[A-Z])", "_", prop.name).lower()
            cls.__annotations__[python_name] = _type(prop)
            setattr(cls, python_name, need(prop.doc) if prop.required else may(prop.doc))
        made: T = strawberry.input(cls, description=description)
        _PROPERTIES[made] = frozenset() if flat else frozenset(p.name for p in added)
        return made

    return declare


def _type(prop: Property) -> Any:
    type_ = int if prop.name in _SMALL else _TYPES[prop.type]
    return type_ if prop.required else type_ | None


def given(value: Any, at: str) -> Any:
    """An input as plain data, with the names of GraphQL; what was not given is left out.

    `at` is its place. An input that has something to say differently says it in a method `plain`.
    """
    if (definition := get_object_definition(value)) is not None:
        pairs = ((f.graphql_name or strawberry_name(f.python_name), f.python_name) for f in definition.fields)
        items = {name: getattr(value, python_name) for name, python_name in pairs}
        result = {name: given(item, f"{at}.{name}") for name, item in items.items() if item is not strawberry.UNSET}
        return value.plain(result, at) if hasattr(value, "plain") else result
    if isinstance(value, list):
        return [given(item, f"{at}[{i}]") for i, item in enumerate(value)]
    return value.value if isinstance(value, Enum) else value


def arguments(value: Any) -> tuple[dict[str, Any], str | None]:
    """What a use case is called with, and the idempotency key."""
    definition = get_object_definition(value, strict=True)
    properties = _PROPERTIES[type(value)]
    result: dict[str, Any] = {"properties": {}} if properties else {}
    for field in definition.fields:
        item = getattr(value, field.python_name)
        name = strawberry_name(field.python_name)
        if item is strawberry.UNSET:
            continue
        if name in properties:
            result["properties"][name] = given(item, name)
        else:
            result[field.python_name] = given(item, name)
    return result, result.pop("idempotency_key", None)


# ── What it does, and answers ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Answer:
    """A field of a payload; what is not `plain` is null for callers who may not read it."""

    name: str
    type: Any
    description: str
    plain: bool = False


def does(use_case: UseCase, takes: type, description: str, answer: Answer) -> Any:
    """A mutation: calls the use case, and answers with what it wrote."""
    payload = _payload(takes, answer)

    async def resolve(info: Info, input: Any) -> Any:
        named, key = arguments(input)
        return payload(**{answer.name: await use_case.once(info.context.op, key, **named)})

    return _mutation(resolve, takes, payload, description)


DELETED: Final = (
    Answer("deleted_id", strawberry.ID, "The id that it had; ids are never used again.", plain=True),
    Answer("parts", int, "How many parts went with it: versions, fields, runs, revisions.", plain=True),
)


def takes_away(use_case: Delete, takes: type, description: str) -> Any:
    """A mutation that deletes: answers with the id, and how many parts went with it."""
    payload = _payload(takes, *DELETED)

    async def resolve(info: Info, input: Any) -> Any:
        deleted = await use_case(info.context.op, **arguments(input)[0])
        return payload(deleted_id=deleted.node.id, parts=deleted.parts)

    return _mutation(resolve, takes, payload, description)


def _payload(takes: type, *answers: Answer) -> Any:
    name = takes.__name__.removesuffix("Input") + "Payload"
    body: dict[str, Any] = {a.name: strawberry.field(description=a.description) for a in answers}
    body["__annotations__"] = {a.name: a.type if a.plain else a.type | None for a in answers}
    mutation = name[0].lower() + name.removesuffix("Payload")[1:]
    return strawberry.type(type(name, (), body), description=f"What {mutation} answers with.")


def _mutation(resolve: Any, takes: type, payload: type, description: str) -> Any:
    about = get_object_definition(takes, strict=True).description
    resolve.__annotations__ = {
        "info": Info,
        "input": Annotated[takes, strawberry.argument(description=about)],
        "return": payload | None,
    }
    return strawberry.mutation(resolver=resolve, description=description)


# ── What is done alike to every noun ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Noun:
    """Something that mutations change: its kind and type, the field that names it, and how an address of it looks."""

    kind: NodeKind
    type: Any
    field: str
    words: str
    example: str

    @property
    def address(self) -> Any:
        """The input field that names it; use cases call it `address`."""
        return need(f"The {self.words}: an id, or an address such as {self.example}.", self.field)

    @property
    def answer(self) -> Answer:
        """The payload's field with it in it."""
        return Answer(self.field, self.type, f"The {self.words}, as it now is.")


def updates(use_case: UseCase, noun: Noun) -> Any:
    """The mutation that changes a noun's properties."""
    doc = f"What to change in a {noun.words}. What is not given stays; null takes away."
    takes = _about(noun, "Update", doc, noun.kind)
    return does(use_case, takes, f"Changes properties of a {noun.words}.", noun.answer)


def renames(use_case: UseCase, noun: Noun) -> Any:
    """The mutation that renames a noun."""
    doc = "The new name. Addresses with the old one still lead here, until something else takes that name."
    takes = _about(noun, "Rename", f"A new name for a {noun.words}.", name=(str, need(doc)))
    return does(use_case, takes, f"Gives a {noun.words} another name.", noun.answer)


def deletes(use_case: Delete, noun: Noun, parts: str = "") -> Any:
    """The mutation that deletes a noun with its parts."""
    takes = _about(noun, "Delete", f"A {noun.words} to delete.")
    with_parts = f" with its {parts}" if parts else ""
    description = (
        f"Deletes a {noun.words}{with_parts}: names become free, history stays. Refused while anything else needs "
        "it, naming up to ten such things."
    )
    return takes_away(use_case, takes, description)


def _about(noun: Noun, verb: str, description: str, kind: NodeKind | None = None, **more: tuple[Any, Any]) -> type:
    """The input of a mutation that is about one thing that is there."""
    fields: dict[str, tuple[Any, Any]] = {
        "address": (strawberry.ID, noun.address),
        **more,
        "revision": (int | None, may(REVISION_DOC)),
    }
    body: dict[str, Any] = {name: field for name, (_, field) in fields.items()}
    body["__annotations__"] = {name: type_ for name, (type_, _) in fields.items()}
    return takes(description, kind)(type(f"{verb}{noun.kind.name}Input", (), body))
