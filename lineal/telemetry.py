"""Metrics for Prometheus. Every label has a bounded number of values, whatever clients send."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from graph.port import Statement
from schema.executing import Operated

MAX_OPERATIONS: Final = 500
"""Names of operations that get a label of their own: those of REST routes, and others that clients choose."""
OTHER: Final = "other"
ANONYMOUS: Final = "anonymous"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_STORE_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OPERATION_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Finding a metric by its labels costs more than counting.
        self._of_statement = lru_cache(maxsize=512)(
            lambda verb, outcome: (self.statements.labels(verb, outcome), self.statement_seconds.labels(verb))
        )
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._names: set[str] = set()
        self.requests = Counter(
            "lineal_http_requests", "HTTP requests answered.", ("method", "path", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "lineal_http_request_seconds",
            "Time to answer an HTTP request.",
            ("path",),
            registry=self.registry,
            buckets=_OPERATION_SECONDS,
        )
        self.operations = Counter(
            "lineal_operations",
            "GraphQL operations that ended.",
            ("operation", "type", "outcome"),
            registry=self.registry,
        )
        self.operation_seconds = Histogram(
            "lineal_operation_seconds",
            "Time that GraphQL operations took.",
            ("operation", "type"),
            registry=self.registry,
            buckets=_OPERATION_SECONDS,
        )
        self.operation_statements = Histogram(
            "lineal_operation_statements",
            "Statements to the store in one GraphQL operation.",
            ("type",),
            registry=self.registry,
            buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200),
        )
        self.statements = Counter(
            "lineal_statements", "Statements sent to the store.", ("verb", "outcome"), registry=self.registry
        )
        self.statement_seconds = Histogram(
            "lineal_statement_seconds",
            "Time that statements took.",
            ("verb",),
            registry=self.registry,
            buckets=_STORE_SECONDS,
        )
        self.errors = Counter("lineal_errors", "Errors that clients were given.", ("code",), registry=self.registry)
        self.followers = Gauge(
            "lineal_subscriptions", "Subscriptions that are open at the moment.", registry=self.registry
        )
        self.sequenced = Counter(
            "lineal_changes_sequenced", "Changes given their place in the order.", registry=self.registry
        )

    def on_statement(self, statement: Statement) -> None:
        """Count a statement: the store's observer. Verbs are the port's own names."""
        count, seconds = self._of_statement(statement.verb, "failed" if statement.failed else "ok")
        count.inc()
        seconds.observe(statement.seconds)

    def on_operation(self, operated: Operated) -> None:
        """Count a GraphQL operation that ended."""
        name, type = self._bounded(operated.name), operated.type or "none"
        self.operations.labels(name, type, "error" if operated.codes else "ok").inc()
        self.operation_seconds.labels(name, type).observe(operated.seconds)
        self.operation_statements.labels(type).observe(operated.statements)
        for code in operated.codes:
            self.errors.labels(code).inc()

    def on_request(self, method: str, path: str, status: int, seconds: float | None) -> None:
        """Count an HTTP request; `path` is one of the application's own, or "other". A stream has no `seconds`."""
        self.requests.labels(method if method in METHODS else OTHER, path, str(status)).inc()
        if seconds is not None:
            self.request_seconds.labels(path).observe(seconds)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _bounded(self, name: str | None) -> str:
        if name is None:
            return ANONYMOUS
        if name not in self._names:
            if len(self._names) >= MAX_OPERATIONS:
                return OTHER
            self._names.add(name)
        return name
