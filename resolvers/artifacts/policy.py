"""What a workspace asks of the files of a version before a name may point to it."""

from __future__ import annotations

from graph.port import EVERYTHING, Hop, Transaction
from lineal.errors import PreconditionFailed
from resolvers.artifacts.common import workspace_property
from resolvers.reading import all_links


async def check_signed(tx: Transaction, version: str, workspace: str, field: str = "version") -> None:
    """Whether an alias or a stage may lead to a version, which may be one that this write makes.

    Raises PreconditionFailed: the workspace's signaturePolicy is REQUIRED, and some files have no VALID signature.
    """
    view = tx.view
    # The rule holds for callers too who may not read what it is about.
    tx.show(EVERYTHING)
    try:
        if await workspace_property(tx, workspace, "signaturePolicy") != "REQUIRED":
            return
        links = (await all_links(tx, [version], Hop("HAS_ARTIFACT", "OUT", "Artifact"))).get(version, [])
    finally:
        tx.show(view)
    if not links or any(link.node.props.get("signature") != "VALID" for link in links):
        msg = (
            f"{field}: the workspace {workspace!r} asks for a VALID signature on the files of what aliases and stages "
            "lead to (signaturePolicy REQUIRED), which this version has not; see lineal sign"
        )
        raise PreconditionFailed(msg, field=field)
