"""A Lineal that is asked over HTTP: where it is, and the token that opens it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import orjson

from lineal import errors
from lineal.errors import InvalidArgument, LinealError, Unauthenticated, Unavailable
from lineal.patience import SHORT_SECONDS, Patience
from lineal.settings import Settings, is_loopback

URL_VARIABLE: Final = "LINEAL_URL"
TOKEN_VARIABLE: Final = "LINEAL_TOKEN"  # noqa: S105 - the name of a variable
SECONDS: Final = 120.0
LIFE: Final = 3_600
"""Seconds that a token of our own is good for."""

_ERRORS: Final = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, LinealError) and each is not LinealError
}


class Remote:
    """The GraphQL API at `url`. `token` is asked for a token before each request. Use it with `with`.

    It is asked again for `patience` seconds while it is away; `on_wait` hears why when that begins. `ca` is a file
    with certificates that its storage is trusted by, beside the system's.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        patience: float = SHORT_SECONDS,
        on_wait: Callable[[str], None] = lambda _: None,
        ca: Path | None = None,
    ) -> None:
        self.url, self.ca = url, ca
        self._token, self._patience, self._on_wait = token, patience, on_wait
        self._client = httpx.Client(timeout=SECONDS, follow_redirects=False)

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str] = os.environ, **more: Any) -> Remote:
        """What LINEAL_URL and LINEAL_TOKEN say: by default the server of these settings on this machine.

        `more` is as for the class itself.
        For a server on this machine without issuers a token is signed with its own key. Raises InvalidArgument (the
        URL), Unauthenticated (there is no token, and none can be made).
        """
        url = _endpoint(environment.get(URL_VARIABLE) or settings.base)
        if given := environment.get(TOKEN_VARIABLE):
            return cls(url, lambda: given, ca=settings.s3.ca, **more)
        if not is_loopback(urlsplit(url).hostname or "") or settings.issuers or not settings.keys.is_dir():
            msg = f"{TOKEN_VARIABLE} must hold a token for {url}"
            raise Unauthenticated(msg)
        return cls(url, _Signed(settings.keys), ca=settings.s3.ca, **more)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer. Raises the error of the tree that the answer has, Unavailable (nobody answers).

        What did not reach the server, and what it could not do for the moment, is tried again; what goes on there
        (`moving`) is waited for as long as it takes.
        """
        patience = Patience(self._patience)
        while True:
            try:
                return self._ask(query, variables)
            except Unavailable as error:
                if not patience.waiting:
                    self._on_wait(error.message)
                if error.details.get("moving"):
                    patience.moved()
                if not patience.pause():
                    raise

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._token()}", "content-type": "application/json"}
        body = orjson.dumps({"query": query, "variables": variables})
        try:
            response = self._client.post(self.url, content=body, headers=headers)
        except httpx.TransportError as error:
            msg = f"no answer from {self.url} ({type(error).__name__}); is it right, and is Lineal running there?"
            raise Unavailable(msg) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if problems := answer.get("errors"):
            raise _error(problems[0], response.status_code)
        data = answer.get("data")
        if response.is_success and isinstance(data, dict):
            return data
        detail = answer.get("detail") or f"{self.url} answered with status {response.status_code}"
        raise _ERRORS.get(answer.get("code", ""), _of_status(response.status_code))(detail)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Signed:
    """Tokens of this machine's own Lineal, a new one before the last one ends."""

    def __init__(self, keys: Path) -> None:
        from auth.keyring import Keyring
        from auth.local import LocalIssuer

        self._issuer = LocalIssuer(Keyring(keys))
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        if time.monotonic() > self._until:
            self._token = self._issuer.token(seconds=LIFE)
            self._until = time.monotonic() + LIFE / 2
        return self._token


def _endpoint(url: str) -> str:
    """The address of /graphql. Raises InvalidArgument: it is no URL of a server."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{URL_VARIABLE}: {url!r:.200} is no URL of a server; it looks like https://lineal.example.org"
        raise InvalidArgument(msg, field=URL_VARIABLE)
    return url if parts.path.rstrip("/").endswith("/graphql") else f"{url.rstrip('/')}/graphql"


def _error(problem: Mapping[str, Any], status: int) -> LinealError:
    details = dict(problem.get("extensions") or {})
    kind = _ERRORS.get(details.pop("code", ""), _of_status(status))
    return kind(str(problem.get("message", "")), field=details.pop("field", None), **details)


def _of_status(status: int) -> type[LinealError]:
    return next((each for each in _ERRORS.values() if each.status == status), Unavailable)
