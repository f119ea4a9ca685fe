"""Logs: one JSON object a line on stderr, or text for people on a terminal. Each line has its request's id."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from ulid import ULID

from lineal.observing import trace_ids

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; empty outside of one."""

_SANE: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""What is taken over from a client: it goes into logs, into a header and into every Change."""


def accept_request_id(given: str | None) -> str:
    """The id that a client gave its request, if it is 1 to 128 plain characters; else a new one."""
    return given if given and _SANE.fullmatch(given) else str(ULID())


def configure(
    level: str = "info", format: Literal["auto", "json", "console"] = "auto", stream: TextIO | None = None
) -> None:
    """Send everything that is logged, by structlog or by the standard library, to stderr in one form."""
    stream = stream or sys.stderr
    people = format == "console" or (format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _add_request_id,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                timestamp_key="time",
                # The one with frames in colour shows the values of variables, and tokens are among these.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_line)]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    # No line says which thread or process it is of, so none has to find out (Python's logging HOWTO, Optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The driver repeats at warning what Lineal reports itself, and uvicorn tells every start at info.
    logging.getLogger("neo4j").setLevel("ERROR")
    # They tell of every request with its address, which may be a secret: of a webhook, or one that was signed.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel("WARNING")
    logging.getLogger("uvicorn").setLevel("WARNING" if level == "info" else level.upper())


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of that name."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _line(event: EventDict, **options: Any) -> str:
    """An event as JSON."""
    try:
        return orjson.dumps(event, **options).decode()
    except TypeError:  # a number past 64 bits, or half a character
        return json.dumps(event, **options)


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if id := request_id.get():
        event["request"] = id
    if ids := trace_ids():
        event["trace_id"], event["span_id"] = ids
    return event
