"""What a workspace asks of the files of a version before a name may point to it."""

from __future__ import annotations

from graph.port import EVERYTHING, Hop, Paging, Transaction
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


async def check_addition(tx: Transaction, version: str, workspace: str, signature: str | None, field: str) -> None:
    """Whether files with this signature may be added to a version that is there. Raises as check_signed."""
    if signature == "VALID":
        return
    view = tx.view
    tx.show(EVERYTHING)
    try:
        if await workspace_property(tx, workspace, "signaturePolicy") != "REQUIRED":
            return
        hops = (Hop("ALIAS", "IN", "Model"), Hop("STAGE", "IN", "Model"))
        named = [(await tx.neighbours([version], hop, paging=Paging(1)))[version].items for hop in hops]
    finally:
        tx.show(view)
    if any(named):
        msg = (
            f"{field}: the workspace {workspace!r} asks for a VALID signature on the files of what aliases and stages "
            "lead to (signaturePolicy REQUIRED), and some lead to this version: add them before, or to a new version"
        )
        raise PreconditionFailed(msg, field=field)
