"""What the tests of access share."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from auth import dpop
from auth.authenticator import Authenticator
from auth.challenges import Resource
from lineal.access import Access
from tests.auth.issuer import RESOURCE, MiniIssuer


@pytest.fixture
def issuer() -> MiniIssuer:
    return MiniIssuer()


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers who asks."""
    caller = Request(scope, receive).state.caller
    await JSONResponse({"name": caller.name, "scopes": sorted(caller.scopes)})(scope, receive, send)


def guarded(issuer: MiniIssuer, authenticator: Authenticator | None = None) -> httpx.AsyncClient:
    """An application behind Lineal's gate, reached as clients do."""
    app = Access(
        whoami,
        authenticator=authenticator or issuer.authenticator(),
        resource=Resource(RESOURCE, [issuer.url], dpop.ALGORITHMS),
        loopback=False,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://lineal.example")
