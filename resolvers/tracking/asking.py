"""Asking that a version be looked up in tracking servers, again or for the first time."""

from __future__ import annotations

from graph.ontology import MODEL_VERSION
from graph.port import Node, Transaction, Update
from lineal.errors import NotFound, PreconditionFailed
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.tracking.queueing import queued
from resolvers.writing.command import command, procedure
from resolvers.writing.common import present, properties
from resolvers.writing.nodes import find


@procedure
async def enrich_model_version(
    op: Operation, *, address: str, run_id: str | None = None, logged_model: str | None = None
) -> Node:
    """Have a version looked up once more, soon and in the background; its `enrichment` says how far that is.

    `run_id` and `logged_model` say what made it, where it does not say so itself or says otherwise. Raises NotFound,
    InvalidArgument, PreconditionFailed (no tracking server is configured for its workspace, or it names nothing that
    could be looked up), Forbidden.
    """
    node = await resolve(op, address, kinds={MODEL_VERSION.name}, field="version")
    if node is None:
        raise NotFound(f"version: there is no ModelVersion {address!r}", field="version")
    if not op.trackers.serve(node.workspace):
        msg = f"version: no tracking server is configured for the workspace {node.workspace!r}"
        raise PreconditionFailed(msg, field="version")
    return await _queue(op, version=node.id, run_id=run_id, logged_model=logged_model)


@command("requestEnrichment")
async def _queue(tx: Transaction, *, version: str, run_id: str | None, logged_model: str | None) -> str:
    id = await find(tx, version, "version", MODEL_VERSION.name)
    node = (await tx.lock([id]))[id]
    given = properties(MODEL_VERSION, present({"runId": run_id, "loggedModel": logged_model}))
    if not (props := queued({**node.props, **given}, tx.now)):
        msg = "version: it names no run and no logged model that could be looked up: give runId"
        raise PreconditionFailed(msg, field="version")
    await tx.update([Update(id, {**given, **props})])
    return id
