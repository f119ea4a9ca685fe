"""The composition root: the only place that knows which store is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from auth.authenticator import Authenticator
from auth.caller import Caller, named
from auth.challenges import Resource
from auth.directory import Directory
from auth.dpop import ALGORITHMS
from auth.keyring import BYTES, HANDLE, WEBHOOK, Keyring
from auth.local import LocalIssuer
from auth.recorder import Recorder
from auth.sealing import Sealer
from gateway.bytes import create_bytes_route
from gateway.events import PATH as EVENTS_PATH
from gateway.events import create_events_route
from gateway.inbound import PATHS as INBOUND_PATHS
from gateway.inbound import create_inbound_routes
from gateway.mlflow.artifacts import MlflowArtifactsRoute
from gateway.mlflow.routes import HEALTH, MlflowRoute
from gateway.mlflow.webhooks import MlflowWebhooksRoute
from gateway.openlineage.published import create_schema_routes
from gateway.openlineage.view import BATCH, PATH, create_openlineage_routes
from gateway.scim import create_scim_app
from gateway.ui.pages import GRAPHIQL, LINEAGE, START, Pages, SignIn, create_ui_routes
from graph.open import READ_SECONDS, is_embedded, open_graph, sqlite_path
from graph.port import Graph, Lease, NewerStore, Node, Observer
from lineal import logging
from lineal.access import Access, address, metadata_paths, metadata_routes
from lineal.auditing import checkpointer
from lineal.balancing import Balanced, Load
from lineal.errors import LinealError, Unavailable
from lineal.http import LoopbackHost, Observed, cors, problem_of, refused
from lineal.hubs import hubs_of, poller
from lineal.observing import METER, working
from lineal.rest import create_rest
from lineal.settings import Settings, data_home, is_loopback
from lineal.slow import SlowLog
from lineal.storages import S3_SCHEME
from lineal.telemetry import Telemetry
from resolvers.artifacts.common import REFERENCED
from resolvers.artifacts.keeping import Check, Keeper
from resolvers.artifacts.references import verify_referenced
from resolvers.artifacts.signatures import judge_again
from resolvers.artifacts.verifying import verify_managed
from resolvers.backup.restoring import refuse_unfinished
from resolvers.bytes import Bytes
from resolvers.deploying.reconciling import Reconciler
from resolvers.deploying.targets import Targets
from resolvers.lifecycle.expiring import expiring
from resolvers.live import Live
from resolvers.openlineage.emitting import Emitter, Receiver
from resolvers.openlineage.telling import Narrator
from resolvers.operation import Operation
from resolvers.remembering import Memo
from resolvers.tracking.enriching import Enricher
from resolvers.tracking.trackers import Trackers
from resolvers.webhooks.delivering import Deliverer
from resolvers.webhooks.hooks import Webhooks
from resolvers.webhooks.sending import Sender
from resolvers.webhooks.turn import Patience
from schema.budget import Budget
from schema.context import Context
from schema.documents import Documents
from schema.documents import load as load_documents
from schema.sdl import build_schema
from schema.sockets import SocketRules, Sockets
from schema.streaming import Streams
from schema.view import create_graphql_app
from serving.targets import load as load_targets
from storage.connectors.config import load
from storage.connectors.connector import Connectors
from storage.local import LocalStorage
from storage.port import Storage
from storage.s3 import S3Storage
from storage.tracking.config import load as load_trackers

LEASE: Final = "sequencer"
LEASE_SECONDS: Final = 10.0
SEQUENCE_EVERY: Final = 0.05
BACK_OFF: Final = 1.0
READY_SECONDS: Final = 5.0
LONG: Final = 24 * 3_600.0
"""Seconds that a command may read for which goes through all that there is."""

PAGES: Final = (GRAPHIQL, LINEAGE)
PATHS: Final = (
    "/graphql",
    "/healthz",
    "/health",
    "/readyz",
    "/metrics",
    *PAGES,
    EVENTS_PATH,
    PATH,
    BATCH,
    *INBOUND_PATHS,
)

_log = logging.get("lineal.app")


def store(settings: Settings, observer: Observer | None = None, *, seconds: float = READ_SECONDS) -> Graph:
    """The store of these settings, not yet open; no snapshot of it may last longer. Raises InvalidArgument."""
    password = settings.graph_password
    return open_graph(
        settings.graph,
        user=settings.graph_user,
        password=None if password is None else password.get_secret_value(),
        database=settings.graph_database,
        ca=settings.graph_ca,
        observer=observer,
        seconds=seconds,
    )


def store_file(settings: Settings) -> Path | None:
    """The file of an embedded store; None where it is a server. Raises InvalidArgument: the URL is wrong."""
    return sqlite_path(settings.graph) if is_embedded(settings.graph) else None


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
    settings: Settings, observer: Observer | None = None, *, create: bool = True, seconds: float = READ_SECONDS
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


class Sequencer:
    """Gives changes their store-wide order, in one process of all that share the store."""

    def __init__(self, graph: Graph, telemetry: Telemetry, holder: str) -> None:
        self._graph = graph
        self._telemetry = telemetry
        self._holder = holder
        self._lease: Lease | None = None
        self._renewed = 0.0

    async def run(self) -> None:
        """Until cancelled: hold the lease, and sequence what waits."""
        try:
            while True:
                try:
                    with working("sequencer"):
                        await self._step()
                except LinealError as error:
                    _log.warning("changes wait for their order", reason=error.message)
                    self._lease = None
                    await asyncio.sleep(BACK_OFF)
                else:
                    await asyncio.sleep(SEQUENCE_EVERY if self._lease else BACK_OFF)
        finally:
            if self._lease is not None:
                with suppress(LinealError):
                    await self._graph.release(self._lease)

    async def _step(self) -> None:
        """Sequence what waits, if the lease is held. It is claimed again at half its time."""
        now = asyncio.get_running_loop().time()
        if self._lease is None or now > self._renewed + LEASE_SECONDS / 2:
            self._lease = await self._graph.claim(LEASE, self._holder, LEASE_SECONDS)
            self._renewed = now
        if self._lease is not None:
            self._telemetry.add("lineal_changes_sequenced", await self._graph.sequence(self._lease))


def connectors_of(settings: Settings) -> Connectors:
    """The connectors of these settings. Raises InvalidArgument."""
    return Connectors(load(settings.connectors) if settings.connectors else ())


def checking(graph: Graph, bytes_: Bytes) -> Check:
    """What looks at the bytes of one artifact, wherever they are."""
    by, storage = named("artifacts").name, bytes_.storage

    async def check(artifact: Node) -> str:
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


def create_app(
    settings: Settings, graph: Graph, telemetry: Telemetry, authenticator: Authenticator | None = None
) -> Starlette:
    """The ASGI application on an open store.

    The `authenticator` is that of the settings unless one is given, and is closed with the application.
    """
    authenticator = authenticator or authenticator_of(settings)
    recorder = Recorder(graph)
    storage = storage_of(settings)
    bytes_ = Bytes(storage, trusted=settings.signers.trusted(), connectors=connectors_of(settings))
    targets, trackers, webhooks = targets_of(settings), trackers_of(settings), webhooks_of(settings)
    polling = poller(settings, graph)
    sender = Sender(
        private=settings.openlineage_private,
        ca=settings.openlineage_ca,
        whose="OpenLineage's receiver",
        setting="openlineage_ca",
    )
    resource = Resource(
        settings.identifier,
        servers=[issuer.url for issuer in settings.issuers],
        proofs=ALGORITHMS if settings.issuers else (),
        documentation=settings.documentation or "",
    )

    base, memo, load = settings.base, Memo(), Load(settings.max_requests)
    live = Live(graph, most=settings.max_subscriptions)
    telemetry.slow = SlowLog(graph, settings.slow_seconds) if settings.slow_seconds else None
    telemetry.ask("lineal_subscriptions", lambda: live.followers)
    telemetry.ask("lineal_tasks", lambda: len(asyncio.all_tasks()))
    telemetry.ask("lineal_store_connections", lambda: graph.load.connections)
    for keys in authenticator.keys:
        telemetry.ask("lineal_issuer_keys_timestamp_seconds", partial(getattr, keys, "fetched"), keys.issuer.name)
        telemetry.ask("lineal_issuer_failing_seconds", partial(getattr, keys, "failing"), keys.issuer.name)
    telemetry.ask("lineal_store_waiting", lambda: graph.load.waiting)

    def operation_for(caller: Caller, request: str, address: str) -> Operation:
        op = Operation(
            graph,
            caller=caller,
            request=request,
            address=address,
            walk_limit=settings.max_walk,
            recorder=recorder,
            bytes=bytes_,
            targets=targets,
            trackers=trackers,
            base=base,
            namespace=settings.openlineage_namespace,
            webhooks=webhooks,
            memo=memo,
        )
        op.on_refresh(live.wake)
        return op

    def operation(request: Request, caller: Caller | None = None) -> Operation:
        op = operation_for(caller or request.state.caller, request.state.request_id, address(request.scope))
        op.after = getattr(request.state, "bookmark", "")
        return op

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        METER.set(telemetry)
        async with authenticator, recorder, storage, bytes_, targets, trackers, webhooks.sender, sender:
            background = [
                checkpointer(settings, graph, logging.accept_request_id(None)).run(),
                keeper(settings, graph, bytes_).run(),
                reconciler(settings, graph, storage, targets).run(),
                expiring(graph, by=named("approvals").name),
                deliverer(settings, graph, webhooks).run(),
                enricher(settings, graph, trackers).run(),
                polling.run(),
            ]
            if (emitting := emitter(settings, graph, sender)) is not None:
                background.append(emitting.run())
            if not is_embedded(settings.graph):
                background.append(Sequencer(graph, telemetry, logging.accept_request_id(None)).run())
            async with _meanwhile(background):
                yield
            if telemetry.slow is not None:
                await telemetry.slow.close()

    handles = Keyring(settings.keys).secret(HANDLE)
    schema = build_schema(settings.limits, open_schema=settings.introspection == "open")
    budget = Budget(settings.budget_per_minute) if settings.budget_per_minute else None
    documents = Documents(
        load_documents(settings.documents), only=settings.documents_only, taught=settings.documents_taught
    )
    streams = Streams(
        schema,
        live,
        operation_for,
        lambda op: Context(op, settings.limits, key=handles, budget=budget),
        on_operation=telemetry.on_operation,
        document=lambda asked: documents.text(asked)[0],
    )
    rules = SocketRules((*settings.cors_origins, settings.base), per_connection=settings.max_operations_per_connection)
    rest = create_rest(
        schema,
        operation,
        resource=resource,
        on_operation=telemetry.on_operation,
        key=handles,
        budget=budget,
    )
    view = create_graphql_app(
        graph,
        limits=settings.limits,
        on_operation=telemetry.on_operation,
        new_operation=operation,
        key=handles,
        open_schema=settings.introspection == "open",
        resource=resource,
        streams=streams,
        sockets=Sockets(streams, rules),
        origins=settings.cors_origins,
        budget=budget,
        documents=documents,
    )
    app = Starlette(
        routes=[
            # Clients of MLflow ask the most, and each path before theirs is one more to compare.
            MlflowWebhooksRoute(operation, resource=resource, seconds=settings.limits.seconds),
            MlflowArtifactsRoute(operation, resource=resource),
            MlflowRoute(operation, resource=resource, max_body=settings.limits.body, seconds=settings.limits.seconds),
            Route("/graphql", view),
            WebSocketRoute("/graphql", view),
            *_probes(graph, authenticator, telemetry, load),
            *HEALTH,
            *metadata_routes(resource),
            *([create_bytes_route(storage, recorder)] if isinstance(storage, LocalStorage) else []),
            *create_openlineage_routes(operation, resource=resource),
            *create_schema_routes(settings.base),
            *create_inbound_routes(lambda request, hub: operation(request, named(hub.name)), **hubs_of(settings)),
            create_events_route(operation, resource=resource, base=settings.base),
            create_scim_app(operation, resource=resource, issuer=settings.provisioned_issuer),
            *(create_ui_routes(pages_of(settings)) if settings.graphiql else []),
            rest,
        ],
        middleware=[
            Middleware(Observed, telemetry=telemetry, paths=(*PATHS, *metadata_paths(resource))),
            Middleware(Balanced, load=load, bookmark=graph.bookmark, always=(*PROBES, HEALTH[0].path)),
            # With issuers it is tokens that keep strangers out, and clients use whatever name a proxy has.
            *([] if settings.issuers else [Middleware(LoopbackHost, recorder=recorder)]),
            # Before it asks, a browser asks whether it may: without a token.
            *([cors(settings.cors_origins)] if settings.cors_origins else []),
            Middleware(
                Access,
                authenticator=authenticator,
                resource=resource,
                loopback=is_loopback(settings.host),
                anonymous=frozenset(settings.anonymous_scopes) if settings.anonymous else None,
                recorder=recorder,
                directory=Directory(graph),
                pages=(START,) if settings.graphiql and not settings.issuers else (),
            ),
        ],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
    app.state.live = live
    app.state.load = load
    return app


PROBES: Final = ("/healthz", "/readyz", "/metrics")


def _probes(graph: Graph, authenticator: Authenticator, telemetry: Telemetry, load: Load) -> list[Route]:
    """What those ask who watch the process."""

    async def healthz(_request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        if load.draining:
            return problem_of(Unavailable("this process is about to end"))
        newer: dict[str, str] = {}
        try:
            async with asyncio.timeout(READY_SECONDS):
                await graph.check_version()
        except NewerStore:
            # Were they not ready any more, all processes would go at once when the first of the next version comes.
            newer = {"store": "newer"}
        except TimeoutError:
            return problem_of(Unavailable(f"the store did not answer within {READY_SECONDS:g} seconds"))
        except LinealError as error:
            return problem_of(Unavailable(error.message))
        for keys in authenticator.keys:
            keys.renew()
        if missing := [keys.issuer.name for keys in authenticator.keys if not keys.usable]:
            return problem_of(Unavailable(f"the keys of the issuer {', '.join(missing)} cannot be had"))
        away = [keys.issuer.name for keys in authenticator.keys if keys.problem]
        return _json({"status": "ready", **newer, **({"unreachable": away} if away else {})})

    async def metrics(request: Request) -> Response:
        content, media_type = telemetry.negotiated(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": media_type})

    return [Route(path, answer) for path, answer in zip(PROBES, (healthz, readyz, metrics), strict=True)]


@asynccontextmanager
async def _meanwhile(background: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """These run meanwhile, and are ended afterwards."""
    tasks = [asyncio.create_task(each) for each in background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
