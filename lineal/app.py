"""The application: everything that settings describe, joined on an open store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute

from auth.authenticator import Authenticator
from auth.caller import Caller, named
from auth.challenges import Resource
from auth.directory import Directory
from auth.dpop import ALGORITHMS
from auth.keyring import HANDLE, Keyring
from auth.recorder import Recorder
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
from gateway.ui.pages import GRAPHIQL, LINEAGE, START, create_ui_routes
from graph.open import is_embedded
from graph.port import Graph
from lineal import logging
from lineal.access import Access, address, metadata_paths, metadata_routes
from lineal.auditing import checkpointer
from lineal.balancing import Balanced, Load
from lineal.http import LoopbackHost, Observed, cors, refused
from lineal.hubs import hubs_of, poller
from lineal.observing import METER
from lineal.parts import (
    authenticator_of,
    connectors_of,
    deliverer,
    emitter,
    enricher,
    keeper,
    openlineage_sender,
    pages_of,
    reconciler,
    storage_of,
    targets_of,
    trackers_of,
    webhooks_of,
)
from lineal.probes import PROBES, probes
from lineal.rest import create_rest
from lineal.sequencing import Sequencer
from lineal.settings import Settings, is_loopback
from lineal.slow import SlowLog
from lineal.telemetry import Telemetry
from resolvers.bytes import Bytes
from resolvers.lifecycle.expiring import expiring
from resolvers.live import Live
from resolvers.operation import Operation
from resolvers.remembering import Memo
from schema.budget import Budget
from schema.context import Context
from schema.documents import Documents
from schema.documents import load as load_documents
from schema.sdl import build_schema
from schema.sockets import SocketRules, Sockets
from schema.streaming import Streams
from schema.view import create_graphql_app
from storage.local import LocalStorage

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


class Composition:
    """What settings describe, joined on an open store; `lifespan` opens and closes it."""

    def __init__(self, settings: Settings, graph: Graph, telemetry: Telemetry, authenticator: Authenticator) -> None:
        self.settings = settings
        self.graph = graph
        self.telemetry = telemetry
        self.authenticator = authenticator
        self.load = Load(settings.max_requests)
        self.live = Live(graph, most=settings.max_subscriptions, most_each=settings.max_subscriptions_per_client)
        self._recorder = Recorder(graph)
        self._storage = storage_of(settings)
        self._bytes = Bytes(self._storage, trusted=settings.signers.trusted(), connectors=connectors_of(settings))
        self._targets = targets_of(settings)
        self._trackers = trackers_of(settings)
        self._webhooks = webhooks_of(settings)
        self._sender = openlineage_sender(settings)
        self._poller = poller(settings, graph)
        self._memo = Memo()
        self._resource = Resource(
            settings.identifier,
            servers=[issuer.url for issuer in settings.issuers],
            proofs=ALGORITHMS if settings.issuers else (),
            documentation=settings.documentation or "",
        )

    # Operations ───────────────────────────────────────────────────────────────────────────────────

    def operation_for(self, caller: Caller, request: str, address: str) -> Operation:
        """What somebody asks in one request."""
        op = Operation(
            self.graph,
            caller=caller,
            request=request,
            address=address,
            walk_limit=self.settings.max_walk,
            recorder=self._recorder,
            bytes=self._bytes,
            targets=self._targets,
            trackers=self._trackers,
            base=self.settings.base,
            namespace=self.settings.openlineage_namespace,
            webhooks=self._webhooks,
            memo=self._memo,
        )
        op.on_refresh(self.live.wake)
        return op

    def operation(self, request: Request, caller: Caller | None = None) -> Operation:
        """The same, of a request over HTTP; whoever it comes from unless a `caller` is given."""
        caller = caller or request.state.caller
        op = self.operation_for(caller, request.state.request_id, address(request.scope))
        op.after = getattr(request.state, "bookmark", "")
        return op

    # While it runs ────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Open, with what runs in the background."""
        METER.set(self.telemetry)
        async with (
            self.authenticator,
            self._recorder,
            self._storage,
            self._bytes,
            self._targets,
            self._trackers,
            self._webhooks.sender,
            self._sender,
        ):
            async with _meanwhile(self._background(), self.load):
                yield
            if self.telemetry.slow is not None:
                await self.telemetry.slow.close()

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        settings, graph = self.settings, self.graph
        emitting = emitter(settings, graph, self._sender)
        return [
            checkpointer(settings, graph, logging.accept_request_id(None)).run(),
            keeper(settings, graph, self._bytes).run(),
            reconciler(settings, graph, self._storage, self._targets).run(),
            expiring(graph, by=named("approvals").name),
            deliverer(settings, graph, self._webhooks).run(),
            enricher(settings, graph, self._trackers).run(),
            self._poller.run(),
            *([] if emitting is None else [emitting.run()]),
            *([] if is_embedded(settings.graph) else [self._sequencer().run()]),
        ]

    def _sequencer(self) -> Sequencer:
        return Sequencer(self.graph, self.telemetry, logging.accept_request_id(None))

    def measure(self) -> None:
        """Have the telemetry ask for what it does not see by itself."""
        ask, load = self.telemetry.ask, self.graph.load
        seconds = self.settings.slow_seconds
        self.telemetry.slow = SlowLog(self.graph, seconds) if seconds else None
        ask("lineal_http_requests_under_way", lambda: self.load.requests)
        ask("lineal_subscriptions", lambda: self.live.followers)
        ask("lineal_tasks", lambda: len(asyncio.all_tasks()))
        ask("lineal_store_connections", lambda: load.connections)
        ask("lineal_store_waiting", lambda: load.waiting)
        for keys in self.authenticator.keys:
            ask("lineal_issuer_keys_timestamp_seconds", partial(getattr, keys, "fetched"), keys.issuer.name)
            ask("lineal_issuer_failing_seconds", partial(getattr, keys, "failing"), keys.issuer.name)

    # Over HTTP ────────────────────────────────────────────────────────────────────────────────────

    def _graphql(self) -> tuple[list[BaseRoute], BaseRoute]:
        """The routes of GraphQL, and that of REST, which asks the same schema within the same budget."""
        settings, resource, told = self.settings, self._resource, self.telemetry.on_operation
        limits, open_schema = settings.limits, settings.introspection == "open"
        key = Keyring(settings.keys).secret(HANDLE)
        schema = build_schema(limits, open_schema=open_schema)
        budget = Budget(settings.budget_per_minute) if settings.budget_per_minute else None
        documents = Documents(
            load_documents(settings.documents), only=settings.documents_only, taught=settings.documents_taught
        )
        streams = Streams(
            schema,
            self.live,
            self.operation_for,
            lambda op: Context(op, limits, key=key, budget=budget),
            on_operation=told,
            document=lambda asked: documents.text(asked)[0],
            taking=self.load.taking,
        )
        rules = SocketRules(
            (*settings.cors_origins, settings.base),
            per_connection=settings.max_operations_per_connection,
            per_client=settings.max_subscriptions_per_client,
        )
        view = create_graphql_app(
            self.graph,
            limits=limits,
            on_operation=told,
            new_operation=self.operation,
            key=key,
            open_schema=open_schema,
            resource=resource,
            streams=streams,
            sockets=Sockets(streams, rules),
            origins=settings.cors_origins,
            budget=budget,
            documents=documents,
        )
        rest = create_rest(schema, self.operation, resource=resource, on_operation=told, key=key, budget=budget)
        return [Route("/graphql", view), WebSocketRoute("/graphql", view)], rest

    def routes(self) -> list[BaseRoute]:
        """All that is served."""
        settings, operation, resource = self.settings, self.operation, self._resource
        graphql, rest = self._graphql()
        seconds, storage = settings.limits.seconds, self._storage
        return [
            # Clients of MLflow ask the most, and each path before theirs is one more to compare.
            MlflowWebhooksRoute(operation, resource=resource, seconds=seconds),
            MlflowArtifactsRoute(operation, resource=resource),
            MlflowRoute(operation, resource=resource, max_body=settings.limits.body, seconds=seconds),
            *graphql,
            *probes(self.graph, self.authenticator, self.telemetry, self.load),
            *HEALTH,
            *metadata_routes(resource),
            *([create_bytes_route(storage, self._recorder)] if isinstance(storage, LocalStorage) else []),
            *create_openlineage_routes(operation, resource=resource),
            *create_schema_routes(settings.base),
            *create_inbound_routes(lambda request, hub: operation(request, named(hub.name)), **hubs_of(settings)),
            create_events_route(operation, resource=resource, base=settings.base),
            create_scim_app(operation, resource=resource, issuer=settings.provisioned_issuer),
            *(create_ui_routes(pages_of(settings)) if settings.graphiql else []),
            rest,
        ]

    def middleware(self) -> list[Middleware]:
        """What each request passes, the outermost first."""
        settings, resource, recorder = self.settings, self._resource, self._recorder
        always = (*PROBES, HEALTH[0].path)
        return [
            Middleware(
                Observed,
                telemetry=self.telemetry,
                paths=(*PATHS, *metadata_paths(resource)),
                clients=settings.log_clients,
            ),
            # Before it asks, a browser asks whether it may, without a token; without these headers it shows its page no
            # answer, and no refusal.
            *([cors(settings.cors_origins)] if settings.cors_origins else []),
            Middleware(Balanced, load=self.load, bookmark=self.graph.bookmark, always=always),
            # With issuers it is tokens that keep strangers out, and clients use whatever name a proxy has.
            *([] if settings.issuers else [Middleware(LoopbackHost, recorder=recorder)]),
            Middleware(
                Access,
                authenticator=self.authenticator,
                resource=resource,
                loopback=is_loopback(settings.host),
                anonymous=frozenset(settings.anonymous_scopes) if settings.anonymous else None,
                recorder=recorder,
                directory=Directory(self.graph),
                pages=(START,) if settings.graphiql and not settings.issuers else (),
            ),
        ]


def create_app(
    settings: Settings, graph: Graph, telemetry: Telemetry, authenticator: Authenticator | None = None
) -> Starlette:
    """The ASGI application on an open store.

    The `authenticator` is that of the settings unless one is given, and is closed with the application.
    """
    whole = Composition(settings, graph, telemetry, authenticator or authenticator_of(settings))
    whole.measure()
    app = Starlette(
        routes=whole.routes(),
        middleware=whole.middleware(),
        exception_handlers={HTTPException: refused},
        lifespan=whole.lifespan,
    )
    app.state.live = whole.live
    app.state.load = whole.load
    return app


@asynccontextmanager
async def _meanwhile(background: Iterable[Coroutine[Any, Any, None]], load: Load) -> AsyncIterator[None]:
    """These run meanwhile, and are ended afterwards. One that fails by itself breaks the process."""

    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            load.broken = getattr(task.get_coro(), "__qualname__", task.get_name())
            _log.critical("what runs in the background ended", work=load.broken, exc_info=error)

    tasks = [asyncio.create_task(each) for each in background]
    for task in tasks:
        task.add_done_callback(done)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
