"""Traces by OpenTelemetry, sent by OTLP/HTTP: off unless an endpoint is named. Needs the extra `tracing`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from lineal import __version__
from lineal.errors import PreconditionFailed
from lineal.observing import trace_with
from lineal.settings import Settings

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables, of which either turns traces on."""
TRACES_PATH: Final = "/v1/traces"


def endpoint(settings: Settings, environment: Mapping[str, str] = os.environ) -> str | None:
    """Where traces are sent, by the setting or by OpenTelemetry's variables; None where nothing is traced.

    OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none turn them off, whatever else is said.
    """
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    if settings.otlp_endpoint is not None:
        base = settings.otlp_endpoint.rstrip("/")
        return base if base.endswith(TRACES_PATH) else base + TRACES_PATH
    traces, every = (environment.get(name, "") for name in ENDPOINTS)
    return traces or (every and every.rstrip("/") + TRACES_PATH) or None


@contextmanager
def traced(settings: Settings) -> Iterator[None]:
    """Trace meanwhile, where that is asked for; what was not sent yet is sent at the end.

    Which traces are kept, and what is sent with them, is for OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
    OTEL_EXPORTER_OTLP_HEADERS and their like. Raises PreconditionFailed: the extra `tracing` is not installed.
    """
    where = endpoint(settings)
    if where is None:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        msg = "otlp_endpoint: traces need the extra tracing: install lineal[tracing], or name no endpoint"
        raise PreconditionFailed(msg, field="otlp_endpoint") from None
    said = Resource({SERVICE_NAME: "lineal", SERVICE_VERSION: __version__}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=said, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=where)))
    trace_with(provider.get_tracer("lineal", __version__))
    try:
        yield
    finally:
        trace_with(None)
        provider.shutdown()
