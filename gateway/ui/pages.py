"""The pages and their files, from this package alone: a browser needs nothing from elsewhere.

Their policy lets only scripts of this origin run, and no style in markup; `ui/src/csp.ts` says how the editor lives
with that. They hold no secret, and are for anybody: a browser that opens a page has no token yet.
"""

from __future__ import annotations

import gzip
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

HERE: Final = Path(__file__).parent
BUNDLE: Final = HERE / "bundle"
FILES: Final = "/graphiql/"
CONFIG: Final = f"{FILES}config.json"
GRAPHIQL: Final = "/graphiql"
LINEAGE: Final = "/lineage"
START: Final = "/"

TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".ttf": "font/ttf"}
NAMES: Final = frozenset(path.name for path in BUNDLE.iterdir() if path.suffix in TYPES)

PATHS: Final = frozenset({GRAPHIQL, LINEAGE, CONFIG, *(FILES + name for name in NAMES)})
"""Where they are: open to anybody."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """An issuer at which people can sign in from a browser, as a public client with PKCE.

    `origins` are other origins that this needs, where its endpoints are not below `url`.
    """

    name: str
    url: str
    client_id: str
    scopes: Sequence[str]
    origins: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """What the pages must know.

    `resource` is what tokens are for, `local` says that Lineal signs its own, `anonymous` that those without one may
    read. `embed` are the origins whose pages may show /lineage in a frame.
    """

    resource: str
    sign_in: Sequence[SignIn] = ()
    local: bool = False
    anonymous: bool = False
    embed: Sequence[str] = ()

    def config(self) -> dict[str, Any]:
        """What their scripts are told."""
        issuers = [
            {"name": each.name, "url": each.url, "clientId": each.client_id, "scopes": list(each.scopes)}
            for each in self.sign_in
        ]
        return {
            "issuers": issuers,
            "resource": self.resource,
            "local": self.local,
            "anonymous": self.anonymous,
        }

    def policy(self, nonce: str, *, framed: bool) -> str:
        """The content security policy of a page, `framed` where others may show it."""
        origins = {_origin(url) for each in self.sign_in for url in (each.url, *each.origins)}
        rules = {
            "default-src": "'none'",
            "script-src": "'self'",
            "worker-src": "'self'",
            "style-src": f"'self' 'nonce-{nonce}'",
            "img-src": "'self' data:",
            "font-src": "'self'",
            "connect-src": " ".join(["'self'", *sorted(origins)]),
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": " ".join(self.embed) if framed and self.embed else "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in rules.items())

    def page(self, name: str, *, framed: bool = False) -> Response:
        """One of the pages, with a nonce of its own."""
        nonce = secrets.token_urlsafe(18)
        html = (HERE / "page" / name).read_text(encoding="utf-8").replace("NONCE", nonce)
        headers = {
            "content-security-policy": self.policy(nonce, framed=framed),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }
        return Response(html, media_type="text/html", headers=headers)


def create_ui_routes(pages: Pages) -> list[Route]:
    """/graphiql, /lineage and their files; where Lineal has no issuer, / leads there too."""
    config = orjson.dumps(pages.config())

    async def graphiql(_request: Request) -> Response:
        return pages.page("graphiql.html")

    async def lineage(_request: Request) -> Response:
        return pages.page("lineage.html", framed=True)

    async def settings(_request: Request) -> Response:
        return Response(config, media_type="application/json", headers={"cache-control": "no-cache"})

    async def start(_request: Request) -> Response:
        return RedirectResponse("graphiql")

    return [
        Route(GRAPHIQL, graphiql),
        Route(LINEAGE, lineage),
        Route(CONFIG, settings),
        Route(FILES + "{name}", _file),
        *([Route(START, start)] if pages.local else []),
    ]


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404)
    plain, zipped, tag = _content(name)
    headers = {
        "etag": f'"{tag}"',
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if f'"{tag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        plain = zipped
    return Response(plain, media_type=TYPES[Path(name).suffix], headers=headers)


@cache
def _content(name: str) -> tuple[bytes, bytes, str]:
    """A file, the same compressed, and its digest."""
    plain = (BUNDLE / name).read_bytes()
    return plain, gzip.compress(plain, 6, mtime=0), hashlib.sha256(plain).hexdigest()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
