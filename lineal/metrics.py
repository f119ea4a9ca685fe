"""Every metric that Lineal has, in one table. Names, labels and the page docs/observability.md come from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

_CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STORE_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LONG_SECONDS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 21_600, 86_400)


class Kind(Enum):
    """What Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name (that of a counter without `_total`), what it tells, its labels, and a histogram's buckets."""

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = ()

    @property
    def exposed(self) -> str:
        """The name that queries use."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def _counter(name: str, doc: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, doc, labels)


def _gauge(name: str, doc: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, doc, labels)


def _histogram(name: str, doc: str, *labels: str, buckets: Sequence[float] = _CALL_SECONDS) -> Metric:
    return Metric(name, Kind.HISTOGRAM, doc, labels, buckets)


METRICS: Final = (
    _counter("lineal_http_requests", "HTTP requests answered.", "face", "method", "path", "status"),
    _histogram("lineal_http_request_seconds", "Time to answer an HTTP request.", "face", "path"),
    _gauge("lineal_http_requests_under_way", "Requests that count against max_requests at the moment."),
    _counter("lineal_http_refusals", "Requests that were refused because max_requests were under way."),
    _counter(
        "lineal_faults",
        "Requests that failed by Lineal's own fault: status 5xx, or a GraphQL answer with INTERNAL or UNAVAILABLE.",
        "face",
    ),
    _counter(
        "lineal_operations",
        "GraphQL operations that ended, those of REST routes among them.",
        "operation",
        "type",
        "outcome",
    ),
    _histogram("lineal_operation_seconds", "Time that GraphQL operations took.", "operation", "type"),
    _histogram(
        "lineal_operation_statements",
        "Statements to the store in one GraphQL operation.",
        "type",
        buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200),
    ),
    _counter("lineal_errors", "Errors that clients were given.", "code"),
    _counter("lineal_budget_refusals", "Operations that had to wait for their client's budget."),
    _gauge("lineal_subscriptions", "Subscriptions that are open at the moment."),
    _counter("lineal_slow_operations", "Operations that took longer than slow_seconds."),
    _counter("lineal_statements", "Statements sent to the store.", "verb", "outcome"),
    _histogram("lineal_statement_seconds", "Time that statements took.", "verb", buckets=_STORE_SECONDS),
    _gauge("lineal_store_connections", "Connections to the store that are in use: reads and writes under way."),
    _gauge("lineal_store_waiting", "Writes that wait for their turn in this process."),
    _counter("lineal_changes_sequenced", "Changes given their place in the order."),
    _gauge("lineal_changes_unsequenced", "Changes that waited for their order at the last look, up to 2,000."),
    _gauge("lineal_sequencer_lag_seconds", "Age of the oldest of these."),
    _counter("lineal_storage_calls", "Calls to the storage of artifacts.", "verb", "outcome"),
    _histogram("lineal_storage_seconds", "Time that calls to storage took.", "verb"),
    _counter("lineal_uploads", "Uploads by what became of them: begun, completed, aborted.", "outcome"),
    _counter("lineal_collected_blobs", "Blobs that clearing storage removed."),
    _counter("lineal_collected_bytes", "Bytes that clearing storage removed."),
    _gauge("lineal_collection_timestamp_seconds", "When storage was last cleared, in Unix time."),
    _counter("lineal_serving_calls", "Calls to serving platforms.", "platform", "verb", "outcome"),
    _histogram("lineal_serving_seconds", "Time that calls to serving platforms took.", "platform", "verb"),
    _gauge("lineal_reconciler_waiting", "Deployments on a target that are not yet as they were told.", "target"),
    _gauge("lineal_reconciler_lag_seconds", "For how long the oldest of these has waited.", "target"),
    _counter(
        "lineal_reconciler_outcomes",
        "What came of telling a target: told, refused, away, or files on their way.",
        "target",
        "outcome",
    ),
    _counter("lineal_webhook_tries", "Tries to deliver: delivered, again, dead.", "outcome"),
    _histogram("lineal_webhook_delivery_seconds", "Time from an event to its delivery.", buckets=_LONG_SECONDS),
    _gauge("lineal_webhooks_waiting", "Webhooks that have deliveries waiting."),
    _gauge("lineal_webhook_lag_changes", "Changes that the webhook furthest behind has not looked at yet."),
    _gauge(
        "lineal_breaker_open",
        "1 while the store, storage, an issuer or a target is left alone, until a call may try.",
        "kind",
        "name",
    ),
    _counter(
        "lineal_breaker_openings",
        "Times that one of these was left alone: after calls without an answer, and after each trial without one.",
        "kind",
        "name",
    ),
    _counter("lineal_breaker_refusals", "Calls that were not made meanwhile.", "kind", "name"),
    _counter(
        "lineal_worker_rounds",
        "Rounds of work in the background: ok, failed, stopped, or idle, where another process does it.",
        "worker",
        "outcome",
    ),
    _histogram("lineal_worker_round_seconds", "Time that such a round took.", "worker"),
    _gauge("lineal_worker_success_timestamp_seconds", "When such a round last went well, in Unix time.", "worker"),
    _gauge("lineal_tasks", "Tasks of asyncio in this process: background work, and what requests and sockets need."),
    _gauge("lineal_leases_held", "Leases that this process holds, by what they are for.", "lease"),
    _gauge("lineal_checkpoint_timestamp_seconds", "When the audit's last checkpoint was made, in Unix time."),
    _gauge(
        "lineal_checkpoint_current_timestamp_seconds",
        "When all of the audit was last known to be sealed, in Unix time.",
    ),
    _gauge(
        "lineal_checkpoint_every_seconds", "Seconds between two looks at that: the setting audit_checkpoint_seconds."
    ),
    _counter("lineal_token_lookups", "Tokens by how they were checked: hit (known already), miss, refused.", "outcome"),
    _gauge("lineal_issuer_keys_timestamp_seconds", "When an issuer's keys were last fetched, in Unix time.", "issuer"),
    _gauge(
        "lineal_issuer_failing_seconds",
        "For how long an issuer's keys could not be fetched; 0 where they could.",
        "issuer",
    ),
)
