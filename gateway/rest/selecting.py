"""What of a thing is in an answer: by itself its plain fields, or what `fields` asks for.

Plain are scalars, enums, and the small values that a thing has: tags, parameters, metrics. Of a single neighbour it
is the id and address; lists, walks and what has to be fetched from elsewhere are only given when asked for by name.
What the caller's scopes do not open is left out, unless it is asked for: then it is refused, as in GraphQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)

from auth.caller import ADMIN
from auth.scopes import OPEN, Requirement
from lineal.errors import InvalidArgument

MAX_FIELDS: Final = 4_096
MAX_DEPTH: Final = 20
NODE: Final = "Node"

NEIGHBOUR: Final = ("id", "kind", "address")
"""What is given of a thing that another one names."""

_WITH_ARGUMENTS: Final = frozenset({"tags", "params", "metrics", "frontier"})
"""Fields that are plain although they take arguments."""
_LATER: Final = frozenset({"Lineage", "Affected"})
"""Types that take a walk: not in what is given of a thing by itself."""
_FETCHED: Final = frozenset({("Artifact", "signatureBundle")})
"""Fields that are read from the storage of artifacts."""

Needs = Mapping[tuple[str, str], Requirement]
Selection = dict[str, "Selection"]
Composite = GraphQLObjectType | GraphQLInterfaceType

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(:[A-Za-z][A-Za-z0-9]*)?")


class Selector:
    """Selections of the types of one schema, of which fields need what `needs` says."""

    def __init__(self, schema: GraphQLSchema, needs: Needs) -> None:
        self.schema = schema
        self.needs = needs
        node = schema.type_map[NODE]
        assert isinstance(node, GraphQLInterfaceType)
        self.kinds = {type_.name for type_ in schema.get_possible_types(node)}
        self.default = lru_cache(4_096)(self._default)

    def is_node(self, type_: Any) -> bool:
        """Whether things of this type have an identity of their own."""
        return type_.name == NODE or type_.name in self.kinds

    def plain(self, type_: Composite) -> Iterable[str]:
        """The fields that are given of a thing by itself, whoever asks."""
        for name, field in type_.fields.items():
            given: Any = get_named_type(field.type)
            if (type_.name, name) in _FETCHED or given.name.endswith(("Connection", "Page")):
                continue
            if field.args and name not in _WITH_ARGUMENTS:
                continue
            if not (self.is_node(type_) and given.name in _LATER):
                yield name

    def _default(self, name: str, scopes: frozenset[str], above: tuple[str, ...] = ()) -> str:
        """The text of what is given of a thing by itself to one who holds these scopes."""
        type_: Any = self.schema.type_map[name]
        parts = []
        for field in self.plain(type_):
            needed = self.needs.get((name, field), OPEN)
            if not (ADMIN in scopes or any(each <= scopes for each in needed.alternatives)):
                continue
            given: Any = get_named_type(type_.fields[field].type)
            if is_leaf_type(given):
                parts.append(field)
            elif self.is_node(given):
                parts.append(f"{field} {{ {' '.join(NEIGHBOUR)} }}")
            elif given.name not in above and (below := self.default(given.name, scopes, (*above, name))):
                parts.append(f"{field} {{ {below} }}")
        return " ".join(parts)

    def chosen(self, name: str, selection: Selection, scopes: frozenset[str], at: str = "") -> str:
        """The text of what `fields` asks for. Raises InvalidArgument, naming what there is not."""
        type_: Any = self.schema.type_map[name]
        parts = []
        for asked, below in selection.items():
            kind, _, field = asked.rpartition(":")
            here = f"{at}.{asked}" if at else asked
            owner: Any = self._narrowed(type_, kind, here) if kind else type_
            found: GraphQLField | None = owner.fields.get(field)
            if found is None:
                raise _wrong(f"{owner.name} has no field {field!r}, in {here!r:.200}")
            text = f"{kind}__{field}: {field}" if kind else field
            given: Any = get_named_type(found.type)
            if is_leaf_type(given):
                if below:
                    raise _wrong(f"{here!r:.200} is a plain value, and has no field {next(iter(below))!r}")
            else:
                inner = self.chosen(given.name, below, scopes, here) if below else self._whole(given, scopes)
                text += f" {{ {inner} }}"
            parts.append(f"... on {kind} {{ {text} }}" if kind else text)
        return " ".join(parts)

    def _whole(self, type_: Any, scopes: frozenset[str]) -> str:
        """What is given of something that was asked for by its name alone."""
        if not type_.name.endswith(("Connection", "Page")):
            return self.default(type_.name, scopes)
        item = get_named_type(type_.fields["nodes"].type).name
        return f"nodes {{ {self.default(item, scopes)} }} pageInfo {{ hasNextPage endCursor }}"

    def _narrowed(self, type_: Composite, kind: str, here: str) -> Any:
        if type_.name != NODE or kind not in self.kinds:
            raise _wrong(f"{here!r:.200}: before the colon stands the kind of a thing that may be of any kind")
        return self.schema.type_map[kind]


def selection(text: str) -> Selection:
    """What `fields` says, as a tree. Raises InvalidArgument."""
    if len(text) > MAX_FIELDS:
        raise _wrong(f"must have at most {MAX_FIELDS} characters")
    tree: Selection = {}
    for path in text.split(","):
        names = path.strip().split(".")
        if len(names) > MAX_DEPTH:
            raise _wrong(f"must go at most {MAX_DEPTH} levels deep")
        level = tree
        for name in names:
            if not _NAME.fullmatch(name):
                raise _wrong(
                    f"must be names of fields with dots and commas, as in name,versions.nodes.number, not {path!r:.80}"
                )
            level = level.setdefault(name, {})
    return tree


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(f"fields: {message}", field="fields")


def unqualified(value: Any, asked: Selection) -> None:
    """Give what was asked of one kind its own name, in an answer to this selection."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        for name, below in asked.items():
            kind, _, field = name.rpartition(":")
            if kind and (alias := f"{kind}__{field}") in item:
                item[field] = item.pop(alias)
            if below and field in item:
                unqualified(item[field], below)
