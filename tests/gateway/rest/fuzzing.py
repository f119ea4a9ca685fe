"""What Schemathesis needs to go deep: a document that it can draw from, and names of things that are there."""

from __future__ import annotations

import copy
import re
from collections import defaultdict, deque
from random import Random
from typing import Any, Final

from gateway.rest.addresses import kind_at
from gateway.rest.json_schemas import REF
from gateway.rest.routes import NOUNS, singular
from graph.ids import kind_of

IDS: Final = re.compile(r"\b[a-z]{2}_[0-9A-HJKMNP-TV-Z]{26}\b")
PLAIN: Final = "Plain"
KEPT: Final = 40
"""Ids of a kind that are remembered."""
LIKELY: Final = 0.75
FIELDS: Final = ("id", "kind,address,revision", "name,createdAt,tags", "nonsense", "workspace.models.nodes.name")
WORDS: Final = {
    "workspace": ("default", "vision", "none"),
    "stage": ("Staging", "Production"),
    "url": ("https://example.org/hook",),
    "uri": ("https://example.org/file", "s3://bucket/key"),
    "digest": ("sha256:" + "0" * 64,),
    "suite": ("quality",),
}
"""What stands in fields of inputs, and is no address."""
"""How often something that is there is named, where something drawn at random would stand."""

KINDS: Final = {singular(collection): kind.name for collection in NOUNS if (kind := kind_at(collection))}
"""What parts of paths, and fields of inputs, name: by their names."""


def bounded(document: dict[str, Any]) -> dict[str, Any]:
    """The document with filters that go one neighbour deep: each kind's leads to nearly all others', without end.

    Filters that go deeper are asked at random in tests/tenancy.
    """
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    filters = {name for name, schema in schemas.items() if name.endswith("Filter") and "and" in schema["properties"]}
    for name in filters:
        plain = {key: part for key, part in schemas[name]["properties"].items() if not _named(part) & filters}
        schemas[name + PLAIN] = {**schemas[name], "properties": plain}
    for name in filters:
        schemas[name] = _led(schemas[name], filters)
    # Nearly all texts are no names of fields, and are refused at once.
    document["components"]["parameters"]["fields"]["schema"] = {"enum": list(FIELDS)}
    return document


def _named(schema: Any) -> set[str]:
    """The components that a schema refers to."""
    if isinstance(schema, dict):
        own = {schema["$ref"].removeprefix(REF)} if "$ref" in schema else set()
        return own.union(*map(_named, schema.values()))
    return set().union(*map(_named, schema)) if isinstance(schema, list) else set()


def _led(schema: Any, filters: set[str]) -> Any:
    """The schema, with references that lead to the plain filters."""
    if isinstance(schema, list):
        return [_led(each, filters) for each in schema]
    if not isinstance(schema, dict):
        return schema
    led = {key: _led(value, filters) for key, value in schema.items()}
    if led.get("$ref", "").removeprefix(REF) in filters:
        led["$ref"] += PLAIN
    return led


class Names:
    """The ids that answers had, by kind; `never` are those that are left alone."""

    def __init__(self, seed: int, never: frozenset[str] = frozenset()) -> None:
        self._rng = Random(seed)
        self._never = never
        self._known: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._cursors: deque[str] = deque(maxlen=KEPT)

    def learn(self, text: str) -> None:
        """Remember the ids in an answer."""
        self._cursors.extend(re.findall(r'"nextCursor":"([^"]+)"', text[-10_000:]))
        for id in dict.fromkeys(IDS.findall(text[:100_000])):
            kind = kind_of(id)
            if kind is not None and id not in self._never and id not in self._known[kind.name]:
                self._known[kind.name].append(id)

    def put(self, case: Any) -> None:
        """Let a request be about what is there, mostly."""
        for name in case.path_parameters or {}:
            case.path_parameters[name] = self._instead(name, case.path_parameters[name])
        if "cursor" in (case.query or {}) and self._cursors and self._likely():
            case.query["cursor"] = self._rng.choice(self._cursors)
        if isinstance(case.body, dict):
            for name, value in case.body.items():
                case.body[name] = self._within(name, value)

    def _within(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._within(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._within(name, inner) for inner in value]
        if not isinstance(value, str) or not self._likely():
            return value
        if name in WORDS:
            return self._rng.choice(WORDS[name])
        return f"thing-{self._rng.randrange(KEPT)}" if name == "name" else self._instead(name, value)

    def _likely(self) -> bool:
        return self._rng.random() < LIKELY

    def _instead(self, name: str, value: Any) -> Any:
        """What stands in a part of the path, in the place of what was drawn."""
        kind = KINDS.get(name) or KINDS.get(name.removesuffix("s"))
        if name in {"node", "by", "of", "to", "address"}:
            kind = self._rng.choice([kind for kind, known in self._known.items() if known] or [""])
        known = self._known.get(kind or "")
        return self._rng.choice(known) if known and self._likely() else value
