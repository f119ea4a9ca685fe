"""A server that is asked for JSON by GET, as far as all such servers are alike.

It goes where it is told and nowhere else: to addresses that were judged, and along no redirects. An answer is bounded
in size and time, whatever its headers say. It is called from threads that may wait, by several at a time.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import httpx
import orjson

from lineal.errors import Unavailable
from lineal.observing import propagate
from storage.connectors.addresses import Resolve, checked_transport, system
from storage.tracking.answers import Answer

MAX_ANSWER: Final = 32 * 2**20
"""Bytes of one answer."""


class Away(Unavailable):
    """The server cannot be asked anything at the moment: it is away, too slow, fails, or does not let Lineal in."""


class ServerConfig(Protocol):
    """What is configured of a server."""

    @property
    def name(self) -> str:
        """What it is called in the configuration."""

    @property
    def timeout(self) -> float:
        """Seconds of one answer."""

    @property
    def options(self) -> Mapping[str, Any]:
        """`allow_private`, `ca_file`, `user`."""

    def secret(self, name: str) -> str | None:
        """A secret, or None where none is configured. Raises Unavailable: it is not there."""


class Server:
    """One server; `what` is what messages call its kind. Every method raises Away."""

    def __init__(self, config: ServerConfig, what: str, resolve: Resolve = system) -> None:
        self._config = config
        self._what = what
        options = config.options
        self._client = httpx.Client(
            transport=checked_transport(
                private=options.get("allow_private", False), ca_file=options.get("ca_file"), resolve=resolve
            ),
            # No proxy, which would connect to what nobody judged; no credentials but the server's own.
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": "lineal", "Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=config.timeout,
            event_hooks={"request": [propagate]},
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def asked(self, url: str, params: Mapping[str, Any], path: str) -> tuple[int, Any]:
        """The status of an answer and its JSON, None where it is none. `path` is what messages call the question.

        Raises Unavailable: the answer is too large, or said to be right and not JSON.
        """
        status, body = self._called(url, params)
        if len(body) > MAX_ANSWER:
            raise Unavailable(f"{self.place(path)}: the answer has more than {MAX_ANSWER:,} bytes")
        try:
            value = orjson.loads(body)
        except ValueError:
            value = None
        if status == 200 and value is None:
            raise Unavailable(f"{self.place(path)}: the answer is not JSON")
        return status, value

    def paged(self, path: str, ask: Callable[[Mapping[str, Any]], Answer | None], most: int) -> Iterator[Answer]:
        """The pages of a list; `ask` gets one by what names it. Raises Unavailable: there are more than `most`."""
        token = ""
        for _ in range(most):
            answer = ask({"page_token": token} if token else {})
            if answer is None:
                return
            yield answer
            before, token = token, answer.text("next_page_token")
            if not token:
                return
            if token == before:
                break
        raise Unavailable(f"{self.place(path)}: the list has no end")

    def place(self, path: str) -> str:
        """What messages say of where something was asked."""
        return f"{self._what} {self._config.name}: {path}"

    def refused(self, status: int, path: str, code: Any) -> Away:
        """What to raise of an answer with another status than 200."""
        if 300 <= status < 400:
            return self.away("it redirects, which is not followed")
        said = f" ({code:.60})" if isinstance(code, str) else ""
        return self.away(f"it answered {path} with the status {status}{said}")

    def away(self, why: str) -> Away:
        """What to raise when nothing can be asked."""
        return Away(f"{self._what} {self._config.name}: {why}")

    def _called(self, url: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """The status and the body, of which not much more is taken than may be."""
        end = time.monotonic() + self._config.timeout
        body = bytearray()
        try:
            with self._client.stream("GET", url, params=params, headers=self._credentials()) as response:
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        break
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout("in all")
        except httpx.TimeoutException:
            raise self.away(f"it did not answer within {self._config.timeout:g} s") from None
        except httpx.TransportError as error:
            raise self.away(f"it is away ({type(error).__name__})") from None
        except Unavailable as error:
            # Its name has no address that may be connected to, or a secret is missing.
            raise self.away(error.message) from None
        return response.status_code, bytes(body)

    def _credentials(self) -> dict[str, str]:
        """Read for each request, so that a token whose file is written anew is the new one."""
        if token := self._config.secret("token"):
            return {"Authorization": f"Bearer {token}"}
        if password := self._config.secret("password"):
            pair = f"{self._config.options.get('user', '')}:{password}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}
