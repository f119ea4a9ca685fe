"""The seam that everything is watched through: metrics and spans. A leaf, as lineal.errors is.

Rooms say here what happened, and know neither Prometheus nor exporters. Nobody listens unless lineal.telemetry and
lineal.tracing do: then saying it costs next to nothing.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

P = ParamSpec("P")
T = TypeVar("T")

Attributes = dict[str, str | int | float]


class Meter:
    """Takes what is measured, by the names of lineal.metrics; this one lets it go. Labels are in the metric's order."""

    def add(self, name: str, by: float = 1.0, *labels: str) -> None:
        """Count so many more (or fewer, of a gauge)."""

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """Say how much it is now."""

    def ask(self, name: str, answer: Callable[[], float], *labels: str) -> None:
        """Have a gauge ask for its value whenever it is read."""


METER: ContextVar[Meter] = ContextVar("meter", default=Meter())  # noqa: B039 - it holds nothing
"""What takes the measurements of the request that is answered, or of the work that goes on in the background."""

_CONTEXT: Final = TraceContextTextMapPropagator()
_OFF: Final[AbstractContextManager[Span]] = nullcontext(INVALID_SPAN)


class _Tracing:
    tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """From now on make spans with this tracer, for the whole process; None makes none."""
    _Tracing.tracer = tracer


def tracing() -> Tracer | None:
    """What makes spans, where any are made."""
    return _Tracing.tracer


def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: MutableMapping[str, str] | None = None,
    begins: bool = False,
) -> AbstractContextManager[Span]:
    """A span around a block, below the current one or that of a request's `headers` (W3C Trace Context).

    Without `headers` it is made only below another one, for what is polled would drown the rest, unless it `begins` a
    trace where there is none: what clients ask over a socket.

    Attributes are of OpenTelemetry's semantic conventions, and never hold values, names of people or secrets: of an
    error only its code or class is told.
    """
    tracer = _Tracing.tracer
    if tracer is None or not (begins or headers is not None or get_current_span().is_recording()):
        return _OFF
    return _span(tracer, name, attributes or {}, kind, headers)


@contextmanager
def _span(
    tracer: Tracer, name: str, attributes: Attributes, kind: SpanKind, headers: MutableMapping[str, str] | None
) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name,
        context=None if headers is None else _CONTEXT.extract(headers),
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as found:
        try:
            yield found
        except Exception as error:
            found.set_attribute("error.type", str(getattr(error, "code", type(error).__name__)))
            found.set_status(StatusCode.ERROR)
            raise


def spent(name: str, seconds: float, attributes: Attributes, *, failed: bool = False) -> None:
    """A span that ends now and took so long: only below another one, as `span`."""
    tracer = _Tracing.tracer
    if tracer is None or not get_current_span().is_recording():
        return
    end = time.time_ns()
    found = tracer.start_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, start_time=end - int(seconds * 1_000_000_000)
    )
    if failed:
        found.set_status(StatusCode.ERROR)
    found.end(end)


def trace_ids() -> tuple[str, str] | None:
    """The ids of the trace and the span that go on, in hexadecimal digits; None where there are none."""
    if _Tracing.tracer is None:
        return None
    found = get_current_span().get_span_context()
    return (format_trace_id(found.trace_id), format_span_id(found.span_id)) if found.is_valid else None


def sampled() -> str | None:
    """The id of the trace that goes on, where it is kept: what an exemplar points to."""
    if _Tracing.tracer is None:
        return None
    found = get_current_span().get_span_context()
    return format_trace_id(found.trace_id) if found.is_valid and found.trace_flags.sampled else None


class _Request(Protocol):
    @property
    def headers(self) -> Any: ...


def propagate(request: _Request) -> None:
    """Say in the headers of a request whose trace it belongs to. Baggage of clients goes to nobody."""
    if _Tracing.tracer is not None:
        _CONTEXT.inject(request.headers)


async def propagate_async(request: _Request) -> None:
    """As `propagate`, for httpx.AsyncClient."""
    propagate(request)


@contextmanager
def measured(what: str, *labels: str, attributes: Attributes | None = None) -> Iterator[None]:
    """Count a call of this kind and how long it took, and make a span of it: `storage`, `serving`."""
    meter, began, outcome = METER.get(), time.perf_counter(), "failed"
    try:
        with span(" ".join((what, *labels)), attributes, kind=SpanKind.CLIENT):
            yield
        outcome = "ok"
    finally:
        meter.observe(f"lineal_{what}_seconds", time.perf_counter() - began, *labels)
        meter.add(f"lineal_{what}_calls", 1, *labels, outcome)


def measured_calls(class_: type, what: str, *labels: str) -> None:
    """Have those coroutine methods of a class measured that its base declares."""
    declared = {name for base in class_.__mro__[1:] for name in getattr(base, "__abstractmethods__", ())}
    for name, call in list(vars(class_).items()):
        if name in declared and inspect.iscoroutinefunction(call):
            setattr(class_, name, _measured(call, what, *labels, name))


def _measured(
    call: Callable[P, Coroutine[Any, Any, T]], what: str, *labels: str
) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(call)
    async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        with measured(what, *labels):
            return await call(*args, **kwargs)

    return timed


class Round:
    """A round of work in the background. It is `idle` where the work was left to another process."""

    idle = False


@contextmanager
def working(worker: str) -> Iterator[Round]:
    """One round of work in the background: how it ended, how long it took, and when one last went well."""
    meter, began, outcome, round = METER.get(), time.perf_counter(), "failed", Round()
    try:
        yield round
        outcome = "idle" if round.idle else "ok"
        if not round.idle:
            meter.set("lineal_worker_success_timestamp_seconds", time.time(), worker)
    except BaseException as error:
        if not isinstance(error, Exception):
            outcome = "stopped"
        raise
    finally:
        meter.add("lineal_worker_rounds", 1, worker, outcome)
        meter.observe("lineal_worker_round_seconds", time.perf_counter() - began, worker)
