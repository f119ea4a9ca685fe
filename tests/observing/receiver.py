"""A receiver of traces by OTLP/HTTP, as a collector is one: it parses what comes and keeps the spans."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.listening import Handler, Listening


@dataclass(frozen=True)
class Received:
    """A span as it came."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Receiver(Listening):
    """Takes spans at /v1/traces."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.spans: list[Received] = []
        self.raw = b""

    @property
    def url(self) -> str:
        """What an exporter is told."""
        return f"http://127.0.0.1:{self.port}"

    def below(self, span: Received) -> Iterator[Received]:
        """The spans below one, at any depth."""
        for each in [each for each in self.spans if each.trace == span.trace and each.parent == span.id]:
            yield each
            yield from self.below(each)


class _Handler(Handler):
    owner: Receiver

    def do_POST(self) -> None:  # noqa: N802 - http.server calls it so
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.owner.raw += body
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    self.owner.spans.append(Received(span.name, *ids, _attributes(span.attributes), about))
        self.answer(200, b"", {"Content-Type": "application/x-protobuf"})


def _attributes(given: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in given}
