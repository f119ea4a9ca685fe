"""A lineage in a form that others read. Every face exports through `export`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from graph.port import Direction
from lineal.errors import InvalidArgument, LimitExceeded
from resolvers.exporting import cards, croissant, cyclonedx, events, pictures, prov, spdx
from resolvers.exporting.gathering import Handle, gather
from resolvers.exporting.provenance import Provenance
from resolvers.operation import Operation
from resolvers.reading import Lineage

MAX_EXPORT: Final = 64 * 2**20
"""Bytes of one export."""


@dataclass(frozen=True, slots=True)
class Format:
    """A form: its media type, how its files' names end, how it is written, and what it is in words.

    `details` says that more than names is needed.
    """

    name: str
    media_type: str
    ending: str
    write: Callable[[Provenance], Any]
    doc: str
    details: bool = True


@dataclass(frozen=True)
class Exported:
    """An export, whole."""

    format: Format
    data: bytes
    of: Provenance

    @property
    def filename(self) -> str:
        """What it may be saved as."""
        return f"lineage{self.format.ending}"

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of its bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


FORMATS: Final[Mapping[str, Format]] = {
    each.name: each
    for each in (
        Format("prov-json", "application/json", ".prov.json", prov.prov_json, "W3C PROV as PROV-JSON"),
        Format("prov-n", "text/provenance-notation", ".provn", prov.prov_n, "W3C PROV as PROV-N"),
        Format(
            "cyclonedx",
            "application/vnd.cyclonedx+json",
            ".cdx.json",
            cyclonedx.bom,
            "ML-BOM, CycloneDX 1.6",
        ),
        Format("spdx", "application/spdx3+json", ".spdx3.json", spdx.document, "SPDX 3.0.1 in JSON-LD"),
        Format(
            "croissant",
            "application/ld+json",
            ".croissant.json",
            croissant.metadata,
            "Croissant 1.0, of one data-set version",
        ),
        Format(
            "model-card",
            "text/markdown",
            ".md",
            cards.card,
            "A model card as Hugging Face has it, of one version",
        ),
        Format("openlineage", "application/json", ".openlineage.json", events.events, "A list of OpenLineage events"),
        Format("graphml", "application/graphml+xml", ".graphml", pictures.graphml, "GraphML, with all properties"),
        Format("mermaid", "text/vnd.mermaid", ".mmd", pictures.mermaid, "A Mermaid flowchart", details=False),
        Format("dot", "text/vnd.graphviz", ".dot", pictures.dot, "A Graphviz digraph", details=False),
    )
}
"""Every form, by its name."""


def format_of(name: str) -> Format:
    """A form by its name. Raises InvalidArgument."""
    if name not in FORMATS:
        raise InvalidArgument(f"format: must be one of {', '.join(FORMATS)}, not {name!r:.80}", field="format")
    return FORMATS[name]


async def export(
    op: Operation,
    found: Lineage,
    format: Format,
    *,
    direction: Direction,
    handle: Handle = str,
    as_of: int | None = None,
) -> Exported:
    """A lineage that was found, in a form; `handle` stands in for ids of what may not be read.

    Raises InvalidArgument (the form is of one thing, and it is of none or several), LimitExceeded (it would be too
    large), Unavailable (the form needs a library that is not there).
    """
    of = await gather(op, found, direction=direction, handle=handle, as_of=as_of, details=format.details)
    data = await asyncio.to_thread(lambda: _bytes(format.write(of)))
    if len(data) > MAX_EXPORT:
        msg = (
            f"limit: the export would have {len(data):,} bytes; at most {MAX_EXPORT:,} are allowed; ask for fewer nodes"
        )
        raise LimitExceeded(msg, field="limit")
    return Exported(format, data, of)


def _bytes(written: Any) -> bytes:
    """What a form wrote: bytes, text, or an object for JSON."""
    if isinstance(written, bytes):
        return written
    if isinstance(written, str):
        return written.encode("utf-8", "replace")
    return orjson.dumps(written, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
