"""The docs page, from files of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from starlette.responses import Response

from gateway.rest.routes import PATH

HERE: Final = Path(__file__).parent / "page"

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def _file(name: str, media_type: str) -> Response:
    return Response((HERE / name).read_bytes(), media_type=media_type, headers=dict(HEADERS))


PAGES: Final[Mapping[str, Callable[[], Response]]] = {
    "/docs": partial(_file, "docs.html", "text/html"),
    "/docs/docs.js": partial(_file, "docs.js", "text/javascript"),
    "/docs/docs.css": partial(_file, "docs.css", "text/css"),
}
"""What is under the docs' path, by path."""

PATHS: Final = frozenset(PATH + path for path in PAGES)
"""Where they are: for anybody, since a browser that opens a page has no token yet."""
