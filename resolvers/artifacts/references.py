"""Artifacts and data that stay where they are: registered by URI, listed and read through connectors alone.

What was found when a place was first listed is its inventory, and stays its measure: what is found later and differs
is drift. An inventory is kept in pieces beside the artifacts, under the artifact's id, with an index of where each
piece begins.
"""

from __future__ import annotations

import asyncio
import tempfile
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from heapq import nsmallest
from itertools import islice
from typing import IO, Any, Final

import orjson

from graph import ontology, validation
from graph.ontology import ARTIFACT, MODEL_VERSION
from graph.port import EVERYTHING, Graph, Hop, Node, Transaction, Update
from lineal.errors import AlreadyExists, InvalidArgument, LimitExceeded, LinealError, PreconditionFailed, Unavailable
from resolvers.artifacts.common import OWNERS, REFERENCED, found, listed, workspace_property
from resolvers.artifacts.looking import artifact_props, check_pickles
from resolvers.artifacts.policy import check_addition
from resolvers.artifacts.uploads import contributor
from resolvers.operation import Operation
from resolvers.reading import all_links
from resolvers.writing.command import command, procedure
from resolvers.writing.common import properties
from resolvers.writing.draft import Draft
from storage.connectors.backend import Entry
from storage.connectors.connector import Connectors, Reference
from storage.connectors.inventory import Drift, Inventory, drift, entries, take
from storage.formats import Detected, Verdict, detect, order
from storage.port import Storage
from storage.schemas import read_schema
from storage.schemas.schema import Schema
from storage.source import Source

DEFAULT_NAME: Final = "data"
PIECE: Final = 4 * 2**20
"""Bytes of a piece of an inventory, about."""
LOOKED_AT: Final = 1_000
"""Files of a place that are looked into for formats, at most."""
LOOK_SECONDS: Final = 300.0
BROKEN: Final = 10
"""Files that may be broken before a schema is looked for no further."""
MAX_COLUMNS: Final = 1_000
"""Columns that become fields of a data set at once."""


# ── Register ──────────────────────────────────────────────────────────────────────────────────────


@procedure
async def register_artifact(
    op: Operation, *, to: str, uri: str, name: str = DEFAULT_NAME, media_type: str | None = None
) -> Node:
    """Register what is at a URI as an artifact of something; it is listed soon, and PENDING until then.

    Registering the same again gives the same artifact; it is listed anew, as if for the first time, if its inventory is
    gone. Raises InvalidArgument (the URI), NotFound (nothing is there, or no connector of the workspace allows it),
    AlreadyExists (another place has this name), Unavailable, Forbidden.
    """
    owner = await found(op, to, "to", *OWNERS)
    await contributor(op, owner, "to")
    reference = op.bytes.connectors.reference(uri, owner.workspace)
    await reference.stat()
    artifact = await _register(
        op,
        owner=owner.id,
        uri=reference.uri,
        connector=reference.config.name,
        name=validation.name(name, field="name"),
        media_type=media_type,
    )
    digest = artifact.props.get("inventory")
    if digest is None or await _is_whole(op.storage, artifact):
        return artifact
    return await _forget(op, artifact=artifact.id, digest=digest)


@command("registerArtifact")
async def _register(tx: Transaction, *, owner: str, uri: str, connector: str, name: str, media_type: str | None) -> str:
    node = (await tx.lock([owner]))[owner]
    draft = Draft(tx)
    artifact = draft.known(ARTIFACT, reference_name(uri, owner), node.workspace, "uri", {})
    await draft.find()
    links = (await all_links(tx, [owner], Hop("HAS_ARTIFACT", "OUT", ARTIFACT.name))).get(owner, [])
    linked = next((link.node for link in links if link.edge.discriminator == name), None)
    if linked is not None and linked.id != artifact.id:
        msg = f"name: {owner} has another artifact called {name!r}; choose another name, or make a new version"
        raise AlreadyExists(msg, field="name")
    # Anybody may speak of an artifact by this name, which registers nothing.
    registered = artifact.node is not None and artifact.node.props.get("storage") == REFERENCED
    if artifact.node is not None and registered and artifact.node.props["uri"] != uri:
        msg = (
            f"uri: {owner} has {artifact.node.props['uri']} already; what differs by a slash alone needs another owner"
        )
        raise AlreadyExists(msg, field="uri")
    if node.kind == MODEL_VERSION.name and (linked is None or not registered):
        await check_addition(tx, owner, node.workspace, None, "to")
    if not registered:
        given = {} if media_type is None else properties(ARTIFACT, {"mediaType": media_type})
        props = {"uri": uri, "storage": REFERENCED, "connector": connector, "verification": "PENDING"}
        draft.set(artifact.id, {**props, **given})
    draft.link("HAS_ARTIFACT", owner, artifact, name)
    await draft.save()
    return artifact.id


@command("registerArtifact")
async def _forget(tx: Transaction, *, artifact: str, digest: str) -> str:
    """Take away an inventory that is gone: what is found next is the measure."""
    node = (await tx.lock([artifact]))[artifact]
    if node.props.get("inventory") == digest:
        await tx.update([Update(artifact, {"inventory": None, "verification": "PENDING"})])
    return artifact


def reference_name(uri: str, owner: str) -> str:
    """The name of the artifact at a URI: one for each thing that has it, since each was made at another time.

    A slash at the end makes no other name.
    """
    name = f"{uri.rstrip('/')}#{owner}"
    if len(name) > ontology.MAX_NAME:
        msg = f"uri: is too long; at most {ontology.MAX_NAME - len(owner) - 1} characters are allowed"
        raise InvalidArgument(msg, field="uri")
    return name


# ── Look ──────────────────────────────────────────────────────────────────────────────────────────


async def verify_referenced(graph: Graph, storage: Storage, connectors: Connectors, artifact: Node, *, by: str) -> str:
    """List what an artifact refers to, and compare it with what was there first; what it is now.

    Raises Unavailable: the store is away, and nothing is known.
    """
    try:
        reference = connectors.reference(artifact.props["uri"], artifact.workspace)
        # The list goes through a temporary file: there may be millions.
        with tempfile.TemporaryFile() as lines:
            inventory = await take(reference.walk(), lines)
            lines.seek(0)
            if artifact.props.get("inventory") is None:
                contents, schema = await _look(reference, lines, inventory.count)
                async with graph.snapshot(EVERYTHING) as snapshot:
                    policy = await workspace_property(snapshot, artifact.workspace, "picklePolicy")
                props = _first(inventory, contents, schema, policy)
                if "inventory" in props:
                    await _keep(storage, artifact, inventory.digest, lines)
            else:
                schema, props = None, await _later(storage, artifact, inventory, lines)
    except Unavailable:
        raise
    except LinealError as error:
        schema, props = None, _failed(error)
    try:
        await _tell(graph, artifact.id, props, by, schema)
    except (InvalidArgument, LimitExceeded) as error:
        # A store may tell of more than can be kept, such as sizes that come to more than 2^63.
        props = _failed(error)
        await _tell(graph, artifact.id, props, by)
    return str(props["verification"])


def _failed(error: LinealError) -> dict[str, Any]:
    return {"verification": "FAILED", "problem": error.message}


def _first(inventory: Inventory, contents: Detected, schema: Schema | None, policy: str | None) -> dict[str, Any]:
    """What an artifact says of a place that was listed for the first time, and that this policy on pickles lets in.

    One that it does not let in stays without an inventory: it is looked into again whenever it is listed.
    """
    try:
        check_pickles(policy, contents)
    except PreconditionFailed as error:
        return artifact_props(contents) | _failed(error)
    keys = {key.name: {"values": key.values, "exact": key.exact} for key in inventory.keys}
    props = artifact_props(contents)
    if schema is not None:
        columns = [{"name": c.name, "type": c.type, "nullable": c.nullable} for c in schema.columns]
        props["formats"] = list(dict.fromkeys([*props["formats"], schema.format]))
        props["contents"] = {**props["contents"], "columns": columns, "rows": schema.rows}
    return props | {
        "inventory": inventory.digest,
        "fileCount": inventory.count,
        "sizeBytes": inventory.size,
        "partitions": {"keys": keys, "count": inventory.partitions} if keys else None,
        "verification": "VERIFIED",
        "problem": None,
    }


async def _later(storage: Storage, artifact: Node, inventory: Inventory, lines: IO[bytes]) -> dict[str, Any]:
    """What an artifact says of a place that was listed before."""
    if artifact.props["inventory"] != inventory.digest:
        with tempfile.TemporaryFile() as old:
            async for piece in _pieces(storage, artifact):
                old.write(piece)
            old.seek(0)
            differs = await asyncio.to_thread(drift, old, lines)
        if differs:
            return {"verification": "DRIFTED", "problem": in_words(differs)}
    return {"verification": "VERIFIED", "problem": None}


async def _look(reference: Reference, lines: IO[bytes], count: int) -> tuple[Detected, Schema | None]:
    """What some of the `count` files of an inventory say: their formats, and the columns of the first that has any."""
    first = await asyncio.to_thread(lambda: list(islice(filter(_may_have_columns, entries(lines)), LOOKED_AT)))
    data = await reference.source(first)
    lines.seek(0)
    chosen = await asyncio.to_thread(nsmallest, LOOKED_AT, entries(lines), key=lambda entry: order(entry.path))
    models = await reference.source(chosen)
    notes: list[str] = []

    def stop() -> None:
        # The thread then ends with what it has found.
        data.stopped = models.stopped = True

    timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, stop)
    try:
        schema = await asyncio.to_thread(_columns, data, notes)
        contents = await asyncio.to_thread(detect, models)
    finally:
        timer.cancel()
        late = models.stopped
        stop()
    if late:
        notes.append(f"looking into it took more than {LOOK_SECONDS:g} seconds")
    if left := count - len(models.files):
        notes.append(f"{left:,} of {count:,} files were not looked at")
    if schema is not None and (columns := len(schema.columns)) > MAX_COLUMNS:
        notes.append(f"{MAX_COLUMNS:,} of {columns:,} columns become fields of a data set: the first ones")
    if late or left:
        contents = replace(contents, pickles=max(contents.pickles, Verdict.UNSCANNED, key=lambda one: one.rank))
    return replace(contents, notes=list(dict.fromkeys([*contents.notes, *notes]))), schema


def _may_have_columns(entry: Entry) -> bool:
    # Engines keep their own notes in files whose names begin so, and make empty ones.
    return entry.size > 0 and not any(part.startswith(("_", ".")) for part in entry.path.split("/"))


def _columns(source: Source, notes: list[str]) -> Schema | None:
    for path in source.files:
        try:
            if (schema := read_schema(source, path)) is not None:
                return schema
        except Unavailable:
            raise
        except LinealError as error:
            notes.append(error.message)
            if source.stopped or len(notes) > BROKEN:
                break
    return None


def in_words(found: Drift) -> str:
    """What differs, with the first paths of each kind."""
    kinds = (("changed", found.changed), ("removed", found.removed), ("added", found.added))
    return "; ".join(f"{kind.count:,} {word}: {listed(kind.examples, 5)}" for word, kind in kinds if kind.count)


async def _tell(graph: Graph, id: str, props: dict[str, Any], by: str, schema: Schema | None = None) -> None:
    async def work(tx: Transaction) -> None:
        if id not in await tx.nodes([id]):
            return
        await tx.lock([id])
        await tx.update([Update(id, {**props, "verifiedAt": tx.now})])
        if schema is not None and "inventory" in props:
            await _fields(tx, id, schema)

    await graph.write(work, by=by, action="verifyArtifact")


async def _fields(tx: Transaction, artifact: str, schema: Schema) -> None:
    """Register the columns as fields of the data sets whose versions have the artifact; known ones stay as they are."""
    owners = (await all_links(tx, [artifact], Hop("HAS_ARTIFACT", "IN", "DatasetVersion"))).get(artifact, [])
    for dataset in dict.fromkeys(link.node.container for link in owners):
        known = await all_links(tx, [dataset], Hop("PART_OF", "IN", "Field"))
        names = {link.node.name for link in known.get(dataset, [])}
        workspace = (await tx.nodes([dataset]))[dataset].workspace
        draft = Draft(tx)
        for ordinal, column in enumerate(schema.columns[:MAX_COLUMNS]):
            # A column may be called anything, a field may not.
            with suppress(InvalidArgument):
                name = validation.name(column.name.strip())
                if name not in names:
                    props = {"type": column.type or "unknown", "ordinal": ordinal}
                    draft.create(ontology.FIELD, name, workspace, container=dataset, props=props)
                    names.add(name)
        await draft.save()


# ── Inventories ───────────────────────────────────────────────────────────────────────────────────


def inventory_name(artifact: str, digest: str, piece: str) -> str:
    """The document with a piece of an inventory, or with its index."""
    return f"inventories/{artifact.replace('_', '-')}/{digest.removeprefix('sha256:')}/{piece}"


async def _keep(storage: Storage, artifact: Node, digest: str, lines: IO[bytes]) -> None:
    lines.seek(0)
    firsts = []
    while piece := lines.readlines(PIECE):
        firsts.append(orjson.loads(piece[0])["path"])
        name = inventory_name(artifact.id, digest, str(len(firsts) - 1))
        await storage.put(artifact.workspace, name, b"".join(piece))
    await storage.put(artifact.workspace, inventory_name(artifact.id, digest, "index"), orjson.dumps(firsts))


async def _index(storage: Storage, artifact: Node) -> list[str]:
    if artifact.props.get("inventory") is None:
        return []
    return list(orjson.loads(await _piece(storage, artifact, "index")))


async def _is_whole(storage: Storage, artifact: Node) -> bool:
    """Whether all of an artifact's inventory is there."""
    begins = inventory_name(artifact.id, artifact.props["inventory"], "")
    names = [name async for name in storage.documents(artifact.workspace, begins)]
    return f"{begins}index" in names and len(names) == 1 + len(await _index(storage, artifact))


async def _piece(storage: Storage, artifact: Node, piece: str) -> bytes:
    data = await storage.get(artifact.workspace, inventory_name(artifact.id, artifact.props["inventory"], piece))
    if data is None:
        raise PreconditionFailed(f"the inventory of {artifact.id} is gone; register its place again")
    return data


async def _pieces(storage: Storage, artifact: Node) -> AsyncIterator[bytes]:
    for number in range(len(await _index(storage, artifact))):
        yield await _piece(storage, artifact, str(number))


async def referenced_files(
    storage: Storage, artifact: Node, *, first: int, after: str = "", prefix: str = ""
) -> tuple[list[tuple[str, int]], bool]:
    """Paths and sizes in an inventory in order of the paths, from after a path, and whether there are more."""
    firsts = await _index(storage, artifact)
    begin = max(after, prefix)
    number = max(bisect_right(firsts, begin) - 1, 0)
    found: list[tuple[str, int]] = []
    for at in range(number, len(firsts)):
        for line in (await _piece(storage, artifact, str(at))).splitlines():
            entry = orjson.loads(line)
            path = entry["path"]
            if path > after or (path == after == ""):
                if path.startswith(prefix):
                    found.append((path, entry["size"]))
                elif path > prefix:
                    return found, False
            if len(found) > first:
                return found[:first], True
    return found, False
