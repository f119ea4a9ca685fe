"""Constraints, indexes and the nodes that every store has; (:Meta {name: 'schema'}) has the version."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Final, NamedTuple

from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.neo4j.codec import node_props
from graph.neo4j.running import Runner
from graph.neo4j.sequencing import chain_all
from graph.ontology import Exclusive, Type
from graph.port import NewerStore, Node
from graph.recording import Stored, search_text
from lineal.errors import PreconditionFailed

USABLE_TEXT: Final = "SHOW INDEXES YIELD name, state WHERE state <> 'FAILED' RETURN collect(name)"
_NAMED: Final = re.compile(r"CREATE (?:CONSTRAINT|\w+ INDEX) (\w+) ")

VERSION_TEXT: Final = "OPTIONAL MATCH (m:Meta {name: 'schema'}) RETURN m.version"

_DEFAULT = Node(
    DEFAULT_WORKSPACE_ID, "Workspace", ontology.DEFAULT_WORKSPACE, DEFAULT_WORKSPACE_ID, ontology.DEFAULT_WORKSPACE,
    0, "lineal", 0, 1,
)  # fmt: skip

MARK_TEXT: Final = "MERGE (m:Meta {name: 'schema'}) SET m.version = $version RETURN true"


BATCH: Final = 2_000

Take = Callable[[Runner], Awaitable[bool]]
"""Part of a step, in a transaction of its own: it is run until it returns false."""


class Step(NamedTuple):
    """One step of filling a store. It may be broken off and begun again."""

    name: str
    parts: tuple[Take, ...]


async def _begin(runner: Runner) -> bool:
    text = """
        MERGE (n:Entity:Workspace {id: $id}) SET n += $props
        MERGE (c:Meta {name: 'changes'}) ON CREATE SET c.seq = 0
        MERGE (l:Meta {name: 'lineage'})
        RETURN true"""
    key = ontology.key_of(ontology.WORKSPACE, ontology.GLOBAL, None, _DEFAULT.name)
    props = node_props(Stored(_DEFAULT, key, search_text(_DEFAULT, {})))
    there = {name: value for name, value in props.items() if value is not None}
    await runner.run("migrate", text, {"id": DEFAULT_WORKSPACE_ID, "props": there})
    return False


async def _find_workspaces(runner: Runner) -> bool:
    """Give changes the workspaces of their subjects. An import before has no subjects: it belongs to ""."""
    text = """
        MATCH (c:Change) WHERE c.workspaces IS NULL WITH c LIMIT $batch
        CALL (c) {
            MATCH (c)-[r:ABOUT]->(n:Entity) CREATE (c)-[:SUBJECT]->(n) DELETE r
            RETURN collect(DISTINCT n.workspace) AS found
        }
        SET c.workspaces = CASE WHEN found = [] THEN [''] ELSE found END,
            c.client = '', c.token = '', c.address = '', c.hash = null
        RETURN count(*)"""
    (count,) = await runner.run("migrate", text, {"batch": BATCH})
    return bool(count)


STEPS: Final = (
    Step("0001 the default workspace, and the heads of changes and lineage", (_begin,)),
    Step("0002 chains of audit for each workspace", (_find_workspaces, chain_all)),
    # Nothing to fill: its constraint and its index are made with all others.
    Step("0003 what background work keeps", ()),
)
VERSION: Final = len(STEPS)

UNIQUE: Final = (
    ("Entity", ("id",)), ("Entity", ("key",)), ("Tag", ("owner", "name")), ("Param", ("owner", "name")),
    ("Metric", ("owner", "name")), ("Chunk", ("owner", "name", "number")), ("Former", ("key",)), ("Change", ("id",)),
    ("Change", ("seq",)), ("Entry", ("workspace", "number")), ("Chain", ("workspace",)), ("Checkpoint", ("number",)),
    ("Idempotency", ("principal", "key")), ("Kept", ("owner", "number")), ("Lease", ("name",)), ("Meta", ("name",)),
)  # fmt: skip

INDEXED: Final = (
    ("Tag", ("name", "head")), ("Param", ("name", "head")), ("Metric", ("name", "value")), ("Former", ("id",)),
    ("Idempotency", ("at",)), ("Entry", ("seq",)), ("Change", ("by",)), ("Change", ("request",)), ("Change", ("at",)),
    ("Entity", ("container",)), ("Kept", ("owner", "state", "number")),
)  # fmt: skip


def pending(found: int | None) -> list[str]:
    """The names of the steps that are missing. Raises NewerStore."""
    if (found or 0) > VERSION:
        msg = (
            f"the store is at version {found}, this Lineal knows {VERSION}: "
            "it was written by a newer Lineal; upgrade this one"
        )
        raise NewerStore(msg, store=found, code=VERSION)
    return [step.name for step in STEPS[found or 0 :]]


def check(found: int | None) -> int:
    """The version of the store. Raises PreconditionFailed: it is not migrated, or newer than the code."""
    if pending(found):
        msg = f"the store is at version {found or 0}, this Lineal needs {VERSION}: run `lineal migrate`"
        raise PreconditionFailed(msg, store=found or 0, code=VERSION)
    return VERSION


def schema() -> Iterator[str]:
    """The statements that make every constraint and index that is not there, as the ontology has them now."""
    for label, names in UNIQUE:
        yield _constraint(label, names)
    for kind in ontology.EDGE_KINDS.values():
        if kind.exclusive is not Exclusive.NO:
            yield (
                f"CREATE CONSTRAINT {kind.name.lower()}_open IF NOT EXISTS "
                f"FOR ()-[r:{kind.name}]-() REQUIRE r.openKey IS UNIQUE"
            )
    for label, names in INDEXED:
        yield _index("RANGE", label, names)
    for node in ontology.NODE_KINDS.values():
        yield from _indexes_of(node)
    yield (
        "CREATE FULLTEXT INDEX entity_search IF NOT EXISTS FOR (n:Entity) ON EACH [n.search] "
        "OPTIONS { indexConfig: { `fulltext.analyzer`: 'whitespace' } }"
    )
    yield "CALL db.awaitIndexes(600)"


def unindexed(usable: Collection[str]) -> list[str]:
    """The names of those that are not among these; a constraint has an index of its name."""
    names = [found[1] for text in schema() if (found := _NAMED.match(text))]
    return [name for name in names if name not in usable]


def _indexes_of(kind: ontology.NodeKind) -> Iterator[str]:
    """Orders that need no look at absent values come with the id, so that the index gives whole pages in order."""
    for name in ("sort", "createdAt", "updatedAt"):
        yield _index("RANGE", kind.name, (name, "id"))
    if kind.within:
        yield _index("RANGE", kind.name, ("container", "name"))
    for prop in kind.properties:
        if prop.type is Type.STRING and not prop.values:
            if prop.filterable:
                # A range index refuses texts of more than 8,167 bytes.
                yield _index("TEXT", kind.name, (prop.name,))
        elif kind.is_indexed(prop):
            yield _index("RANGE", kind.name, (prop.name, "id") if prop.required else (prop.name,))


def _constraint(label: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(f"n.{name}" for name in names)
    return f"CREATE CONSTRAINT {_name(label, names)} IF NOT EXISTS FOR (n:{label}) REQUIRE ({shown}) IS UNIQUE"


def _index(type: str, label: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(f"n.{name}" for name in names)
    return f"CREATE {type} INDEX {_name(label, names)} IF NOT EXISTS FOR (n:{label}) ON ({shown})"


def _name(label: str, names: tuple[str, ...]) -> str:
    return "_".join((label, *names)).lower()
