"""The parts that settings describe: the store, the storage, what runs in the background, whom to trust."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from auth.authenticator import Authenticator
from auth.caller import named
from auth.keyring import BYTES, WEBHOOK, Keyring
from auth.local import LocalIssuer
from auth.sealing import Sealer
from gateway.ui.pages import Pages, SignIn
from graph.open import READ_SECONDS, is_embedded, open_graph, sqlite_path
from graph.port import Graph, Node, Observer
from lineal import logging
from lineal.errors import Unavailable
from lineal.settings import Settings, data_home
from lineal.storages import S3_SCHEME
from lineal.telemetry import Telemetry
from resolvers.artifacts.common import REFERENCED
from resolvers.artifacts.keeping import Check, Keeper
from resolvers.artifacts.references import verify_referenced
from resolvers.artifacts.signatures import judge_again
from resolvers.artifacts.verifying import check_kept, verify_managed
from resolvers.backup.restoring import refuse_unfinished
from resolvers.bytes import Bytes
from resolvers.deploying.reconciling import Reconciler
from resolvers.deploying.targets import Targets
from resolvers.openlineage.emitting import Emitter, Receiver
from resolvers.openlineage.telling import Narrator
from resolvers.tracking.enriching import Enricher
from resolvers.tracking.trackers import Trackers
from resolvers.webhooks.delivering import Deliverer
from resolvers.webhooks.hooks import Webhooks
from resolvers.webhooks.sending import Sender
from resolvers.webhooks.turn import Patience
from serving.targets import load as load_targets
from storage.connectors.config import load
from storage.connectors.connector import Connectors
from storage.local import LocalStorage
from storage.port import Storage
from storage.s3 import S3Storage
from storage.tracking.config import load as load_trackers

LONG: Final = 24 * 3_600.0
"""Seconds that a command may read for which goes through all that there is."""

_log = logging.get("lineal.parts")


def store(settings: Settings, observer: Observer | None = None, *, seconds: float = 0.0) -> Graph:
    """The store of these settings, not yet open. Raises InvalidArgument.

    A snapshot of it may last for so many seconds where that is longer than operations may.
    """
    password = settings.graph_password
    return open_graph(
        settings.graph,
        user=settings.graph_user,
        password=None if password is None else password.get_secret_value(),
        database=settings.graph_database,
        ca=settings.graph_ca,
        observer=observer,
        seconds=max(seconds, settings.query_seconds, READ_SECONDS),
    )


def store_file(settings: Settings) -> Path | None:
    """The file of an embedded store; None where it is a server. Raises InvalidArgument: the URL is wrong."""
    return sqlite_path(settings.graph) if is_embedded(settings.graph) else None


def telemetry_of(settings: Settings) -> Telemetry:
    """The metrics of a process, which know the store by its name. Raises InvalidArgument: the URL is wrong."""
    return Telemetry("neo4j" if store_file(settings) is None else "sqlite")


def storage_of(settings: Settings) -> Storage:
    """Where these settings keep artifacts, not yet open. Raises InvalidArgument."""
    where = settings.storage
    if where is not None and where.startswith(S3_SCHEME):
        return S3Storage(settings.s3.options(where))
    if where is None:
        beside = sqlite_path(settings.graph) if is_embedded(settings.graph) else data_home() / "lineal"
        where = str(beside.with_name(f"{beside.name}.artifacts"))
    return LocalStorage(Path(where).expanduser(), Keyring(settings.keys).secret(BYTES))


def must_exist(settings: Settings) -> None:
    """Raises Unavailable: the store is an embedded one that is not there."""
    if (path := store_file(settings)) is not None and not path.exists():
        raise Unavailable(f"there is no store at {path}; name yours with --graph, or make one with lineal serve")


@asynccontextmanager
async def opened(
    settings: Settings, observer: Observer | None = None, *, create: bool = True, seconds: float = 0.0
) -> AsyncIterator[Graph]:
    """The store, open and at this code's version. An embedded one is brought there.

    Without `create` an embedded one must be there. `seconds` is as in `store`. Raises Unavailable,
    PreconditionFailed (not migrated, newer than the code, or restored by half).
    """
    if not create:
        must_exist(settings)
    async with store(settings, observer, seconds=seconds) as graph:
        if is_embedded(settings.graph):
            for name in await graph.migrate():
                _log.debug("migrated", migration=name)
        await graph.check_version()
        await refuse_unfinished(graph)
        yield graph


def connectors_of(settings: Settings) -> Connectors:
    """The connectors of these settings. Raises InvalidArgument."""
    return Connectors(load(settings.connectors) if settings.connectors else ())


def checking(graph: Graph, bytes_: Bytes) -> Check:
    """What looks at the bytes of one artifact, wherever they are.

    It raises PreconditionFailed (nobody keeps its bytes), and what those who look at them do.
    """
    by, storage = named("artifacts").name, bytes_.storage

    async def check(artifact: Node) -> str:
        check_kept(artifact, artifact.id)
        if artifact.props["storage"] == REFERENCED:
            return await verify_referenced(graph, storage, bytes_.connectors, artifact, by=by)
        await judge_again(graph, storage, artifact, bytes_.trusted, by=by)
        return await verify_managed(graph, storage, artifact, by=by)

    return check


def targets_of(settings: Settings) -> Targets:
    """The serving targets of these settings. Raises InvalidArgument."""
    return Targets(load_targets(settings.targets) if settings.targets else ())


def reconciler(settings: Settings, graph: Graph, storage: Storage, targets: Targets) -> Reconciler:
    """What drives serving targets to what deployments were told."""
    return Reconciler(
        graph,
        storage,
        targets,
        by=named("serving").name,
        holder=logging.accept_request_id(None),
        every=settings.observe_seconds,
        base=settings.base,
    )


def trackers_of(settings: Settings) -> Trackers:
    """The tracking servers of these settings. Raises InvalidArgument."""
    return Trackers(load_trackers(settings.trackers) if settings.trackers else ())


def enricher(settings: Settings, graph: Graph, trackers: Trackers) -> Enricher:
    """What looks up in tracking servers where versions came from."""
    return Enricher(
        graph,
        trackers,
        by=named("tracking").name,
        holder=logging.accept_request_id(None),
        hours=settings.tracking_hours,
    )


def keeper(settings: Settings, graph: Graph, bytes_: Bytes) -> Keeper:
    """What looks after artifacts in the background."""
    return Keeper(
        graph,
        bytes_.storage,
        checking(graph, bytes_),
        by=named("artifacts").name,
        holder=logging.accept_request_id(None),
        collect_hours=settings.artifact_collect_hours,
        grace_hours=settings.artifact_grace_hours,
        check_hours=settings.artifact_check_hours,
    )


def webhooks_of(settings: Settings) -> Webhooks:
    """What webhooks need. Raises InvalidArgument (the certificates), Unavailable, PreconditionFailed (the key)."""
    sender = Sender(private=settings.webhook_private, ca=settings.webhook_ca, seconds=settings.webhook_seconds)
    return Webhooks(Sealer(Keyring(settings.keys).secret(WEBHOOK)), sender, base=settings.base)


def deliverer(settings: Settings, graph: Graph, webhooks: Webhooks) -> Deliverer:
    """What delivers events to webhooks."""
    patience = Patience(settings.webhook_delivery_hours * 3_600, settings.webhook_pause_hours * 3_600)
    holder = logging.accept_request_id(None)
    return Deliverer(graph, webhooks, by=named("webhooks").name, holder=holder, patience=patience)


def openlineage_sender(settings: Settings) -> Sender:
    """What calls OpenLineage's receiver. Raises InvalidArgument: the certificates."""
    return Sender(
        private=settings.openlineage_private,
        ca=settings.openlineage_ca,
        whose="OpenLineage's receiver",
        setting="openlineage_ca",
    )


def emitter(settings: Settings, graph: Graph, sender: Sender) -> Emitter | None:
    """What sends OpenLineage events; None where they are sent nowhere."""
    if settings.openlineage_url is None:
        return None
    token = settings.openlineage_token.get_secret_value() if settings.openlineage_token else ""
    return Emitter(
        graph,
        Narrator(settings.openlineage_namespace, settings.base),
        sender,
        Receiver(settings.openlineage_url, token),
        by=named("openlineage").name,
        holder=logging.accept_request_id(None),
    )


def pages_of(settings: Settings) -> Pages:
    """What the pages for people must know of these settings."""
    sign_in = [
        SignIn(each.name, each.url, each.browser_client_id, each.browser_scopes, each.browser_origins)
        for each in settings.issuers
        if each.browser_client_id
    ]
    return Pages(
        settings.identifier,
        sign_in,
        local=not settings.issuers,
        anonymous=settings.anonymous,
        embed=settings.embed_origins,
    )


def authenticator_of(settings: Settings) -> Authenticator:
    """Who these settings trust to say who asks. Raises Unavailable, PreconditionFailed (our own key cannot be used)."""
    own = None if settings.issuers else LocalIssuer(Keyring(settings.keys))
    return Authenticator(settings.trusted, own, patient=settings.start_without_issuers)
