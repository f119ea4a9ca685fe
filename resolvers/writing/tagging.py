"""Tags, and what follows from them: all that writes tags does it here."""

from __future__ import annotations

from collections.abc import Mapping

from graph.ids import kind_of
from graph.ontology import MODEL_VERSION
from graph.port import EdgeMatch, Transaction
from resolvers.openlineage import feast


async def put_tags(tx: Transaction, tags: Mapping[str, Mapping[str, str | None]]) -> None:
    """Set tags of nodes; None removes one.

    A model version takes the features of the feature service that its tag names, as far as they are known, and no
    more those of the one that it named before. Raises what Transaction.put_rows raises.
    """
    ids = [id for id, given in tags.items() if feast.TAG in given and kind_of(id) is MODEL_VERSION]
    versions = await tx.lock(ids) if ids else {}
    before = await tx.rows(ids, "tags") if ids else {}
    await tx.put_rows("tags", tags)
    was = await feast.named(tx, [(node, before.get(id, {}).get(feast.TAG)) for id, node in versions.items()])
    now = await feast.named(tx, [(node, tags[id][feast.TAG]) for id, node in versions.items()])
    if ends := [EdgeMatch(edge.kind, edge.source, edge.target) for edge in was if edge not in now]:
        await tx.unlink(ends)
    await tx.link(now)
