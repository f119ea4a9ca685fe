"""GET /lineage?format=…: a lineage as a file, in a form that other tools read. What is asked is exportLineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from gateway.rest.json_schemas import Json
from gateway.rest.plans import Plan
from gateway.rest.routes import GET, Route
from gateway.rest.selecting import Selection, Selector
from resolvers.exporting.exporting import FORMATS, format_of
from storage.naming import attachment

FORMAT: Final = "format"
COMPLETE: Final = "lineal-complete"
LINEAGE: Final = "lineage"
"""The route that gives exports, too."""

INLINE: Final = 8 * 2**20
"""Bytes of an export that is in the answer itself; a larger one is at the address that the answer sends to."""

PARAMETER: Final[Json] = {
    "name": FORMAT,
    "in": "query",
    "description": "As a file in this form, which has a media type of its own, and says what is not in it. As JSON "
    "unless given.",
    "schema": {"type": "string", "enum": list(FORMATS)},
}
ELSEWHERE: Final[Json] = {
    "description": "The file is large: it is at the address in Location, for an hour and without a token.",
    "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
}
HEADERS: Final[Json] = {
    "Content-Disposition": {"description": "Of a file: what it may be saved as.", "schema": {"type": "string"}},
    "Lineal-Complete": {
        "description": "Of a file: whether nothing was cut off, by depth, limit or rights, or left out by edges or "
        "kinds.",
        "schema": {"type": "boolean"},
    },
}


class ExportPlan(Plan):
    """How an export is answered: with all of its text, or with an address that gives it where it is large."""

    def __init__(self, selector: Selector) -> None:
        super().__init__(Route(GET, f"/{LINEAGE}", ("exportLineage",)), selector)
        self.selects = False

    def _selected(self, scopes: frozenset[str], asked: Selection | None, total: bool) -> str:  # noqa: ARG002
        return f"{{ mediaType filename complete content(atMost: {INLINE}) url(above: {INLINE}) }}"


def media_type(query: Mapping[str, Sequence[str]]) -> str:
    """The media type of what is asked for. Raises InvalidArgument: there is no such form."""
    return format_of(query[FORMAT][0]).media_type


def named(query: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The parameters, with forms called as GraphQL calls them."""
    return {**query, FORMAT: [name.upper().replace("-", "_") for name in query[FORMAT]]}


def file(value: Mapping[str, Any]) -> Response:
    """The file that was asked for, or the way to one that is too large for an answer: that opens it without a token."""
    if value["content"] is None:
        return Response(status_code=303, headers={"cache-control": "no-store", "location": value["url"]})
    headers = {
        "cache-control": "private, no-cache",
        "content-disposition": attachment(value["filename"]),
        "vary": "authorization",
        "x-content-type-options": "nosniff",
        COMPLETE: str(value["complete"]).lower(),
    }
    return Response(value["content"], headers=headers, media_type=value["mediaType"])


def answers() -> Json:
    """What the OpenAPI document says of the files, beside JSON: each media type once."""
    types = dict.fromkeys(form.media_type for form in FORMATS.values())
    return {each: {"schema": {"type": "string"}} for each in types if each != "application/json"}
