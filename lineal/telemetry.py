"""Metrics for Prometheus, of lineal.metrics. Every label has a bounded number of values, whatever clients send."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from graph.port import WATCHED, Statement, Watched
from lineal.errors import Internal, Unavailable
from lineal.faces import FACES
from lineal.metrics import METRICS, Kind, Metric
from lineal.observing import Meter, sampled, spent
from lineal.slow import Slow, SlowLog
from schema.executing import Operated

MAX_OPERATIONS: Final = 500
"""Names of operations that get a label of their own: those of REST routes, and others that clients choose."""
OTHER: Final = "other"
ANONYMOUS: Final = "anonymous"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FAULTS: Final = frozenset({Internal.code, Unavailable.code})
"""Codes of errors that are Lineal's own fault."""


class Telemetry(Meter):
    """The metrics of one process. `system` is the store's name in OpenTelemetry's conventions (db.system.name)."""

    def __init__(self, system: str = "sqlite") -> None:
        self.registry = CollectorRegistry()
        self._metrics = {metric.name: _made(metric, self.registry) for metric in METRICS}
        # Finding a metric by its labels costs more than counting.
        self._labelled: Callable[..., Any] = lru_cache(maxsize=4_096)(self._of)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._names: set[str] = set()
        self._system = system
        self.slow: SlowLog | None = None
        for face in FACES:
            # What never failed shall be there too: a rate over nothing is no rate.
            self.add("lineal_faults", 0, face)

    def add(self, name: str, by: float = 1.0, *labels: str) -> None:
        self._labelled(name, *labels).inc(by)

    def observe(self, name: str, value: float, *labels: str) -> None:
        trace = sampled()
        self._labelled(name, *labels).observe(value, None if trace is None else {"trace_id": trace})

    def set(self, name: str, value: float, *labels: str) -> None:
        self._labelled(name, *labels).set(value)

    def ask(self, name: str, answer: Callable[[], float], *labels: str) -> None:
        self._labelled(name, *labels).set_function(answer)

    def on_statement(self, statement: Statement) -> None:
        """Count a statement: the store's observer. Verbs are the port's own names."""
        verb, seconds = statement.verb, statement.seconds
        self.add("lineal_statements", 1, verb, "failed" if statement.failed else "ok")
        self.observe("lineal_statement_seconds", seconds, verb)
        spent(
            verb,
            seconds,
            {"db.system.name": self._system, "db.operation.name": verb},
            failed=statement.failed,
        )
        if (watched := WATCHED.get()) is not None:
            watched.saw(statement)

    def on_operation(self, operated: Operated) -> None:
        """Count a GraphQL operation that ended."""
        name, type = self._bounded(operated.name), operated.type or "none"
        self.add("lineal_operations", 1, name, type, "error" if operated.codes else "ok")
        self.observe("lineal_operation_seconds", operated.seconds, name, type)
        self.observe("lineal_operation_statements", operated.statements, type)
        for code in operated.codes:
            self.add("lineal_errors", 1, code)
        if self.slow is not None and operated.seconds >= self.slow.seconds and type != "subscription":
            self._tell_slow(Slow(name, operated.seconds, operated.statements, operated.slowest, operated.document))
        if FAULTS.intersection(operated.codes) and (watched := WATCHED.get()) is not None:
            watched.fault = True

    def on_request(
        self, method: str, path: str, status: int, seconds: float | None, *, face: str = OTHER, fault: bool = False
    ) -> None:
        """Count an HTTP request; `path` is one of the application's own, or "other". A stream has no `seconds`."""
        self.add("lineal_http_requests", 1, face, method if method in METHODS else OTHER, path, str(status))
        if fault or status >= 500:
            self.add("lineal_faults", 1, face)
        if seconds is not None:
            self.observe("lineal_http_request_seconds", seconds, face, path)

    def on_answered(self, face: str, method: str, seconds: float, watched: Watched) -> None:
        """Tell of a request that took long; GraphQL's and REST's are told of as operations."""
        if self.slow is not None and seconds >= self.slow.seconds and face not in {"graphql", "rest"}:
            self._tell_slow(Slow(f"{face} {method}", seconds, watched.statements, watched.slowest))

    def _tell_slow(self, slow: Slow) -> None:
        self.add("lineal_slow_operations")
        if self.slow is not None:
            self.slow.tell(slow)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return self.negotiated("")[0]

    def negotiated(self, accept: str) -> tuple[bytes, str]:
        """All metrics and their media type: OpenMetrics, with exemplars, for those who accept it; else plain text."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    def _of(self, name: str, *labels: str) -> Any:
        metric = self._metrics[name]
        return metric.labels(*labels) if labels else metric

    def _bounded(self, name: str | None) -> str:
        if name is None:
            return ANONYMOUS
        if name not in self._names:
            if len(self._names) >= MAX_OPERATIONS:
                return OTHER
            self._names.add(name)
        return name


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(metric.name, metric.doc, metric.labels, registry=registry, buckets=metric.buckets)
    class_ = Counter if metric.kind is Kind.COUNTER else Gauge
    return class_(metric.name, metric.doc, metric.labels, registry=registry)
