"""Clients that read, write, ask for lineage and upload through one address, and keep what they were told was done."""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

CREATE: Final = """mutation Create($i: CreateModelVersionInput!) {
  createModelVersion(input: $i) {version {id number address}}
}"""
READ: Final = "query Read($a: ID!) {modelVersion(address: $a) {id}}"
LIST: Final = "query List {models(first: 20) {nodes {name}}}"
LINEAGE: Final = "query Lineage($of: ID!) {lineage(of: [$of], direction: UPSTREAM, depth: 2) {nodes {id}}}"
MISSING: Final = (
    "query Missing($u: ID!) {upload(address: $u) {missing(first: 9) {nodes {requests {url headers {name value}}}}}}"
)
FILES: Final = (
    "query Files($a: ID!) {modelVersion(address: $a) {artifacts {edges {node {files(first: 1) {nodes {url}}}}}}}"
)
BOOKMARK: Final = "lineal-bookmark"
PAUSE: Final = 0.3
SECONDS: Final = 90.0
"""What an answer may take: more than all that Lineal waits for."""


class FailedError(Exception):
    """A request was not answered: `kind` says how, in one word."""

    def __init__(self, kind: str, told: str) -> None:
        super().__init__(f"{kind}: {told[:300]}")
        self.kind = kind


@dataclass
class Version:
    """A version that was acknowledged: its id, address, the key that it was asked for with, and the bytes it got."""

    id: str
    address: str
    key: str
    data: bytes = b""


@dataclass
class Kept:
    """What clients were told, and what went wrong; times are of `time.monotonic`."""

    versions: list[Version] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[tuple[float, float, str, str]] = field(default_factory=list)
    """When it was asked and failed, how in one word, and all that was said."""
    missing: list[str] = field(default_factory=list)
    """What a client with a bookmark did not find of its own."""

    def figures(self) -> str:
        """One line for each kind of request, and one for what failed."""
        lines = [
            f"{what}: {len(took)} answered, median {statistics.median(took) * 1000:.0f} ms, "
            f"99 in 100 within {statistics.quantiles(took, n=100)[98] * 1000:.0f} ms"
            for what, took in sorted(self.seconds.items())
            if len(took) > 1
        ]
        failed = Counter(kind for _, _, kind, _ in self.failures)
        lines.append(f"failed: {dict(failed)}; acknowledged versions: {len(self.versions)}")
        return "\n".join(lines)


class Client:
    """Asks one address as `name`; each request has a connection of its own. `token` gives the token of the moment."""

    def __init__(self, url: str, name: str, token: Callable[[], str], kept: Kept) -> None:
        self.name, self.kept = name, kept
        self._token = token
        self._http = httpx.AsyncClient(base_url=url, timeout=SECONDS, limits=httpx.Limits(max_keepalive_connections=0))
        self._made = 0
        self.bookmark = ""

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def run(self, until: Callable[[], bool]) -> None:
        """All of it in turn, until it is enough."""
        turns: list[Callable[[], Awaitable[None]]] = [self._write, self._list, self._write, self._upload, self._list]
        turn = 0
        while not until():
            await turns[turn % len(turns)]()
            turn += 1

    # ── One thing after the other ─────────────────────────────────────────────────────────────────

    async def _list(self) -> None:
        await self._patiently("list", lambda: self.ask(LIST))

    async def _write(self) -> None:
        await self._version()

    async def _version(self) -> Version | None:
        """A version, made of the last one, and read again with the bookmark of its answer."""
        self._made += 1
        key = f"{self.name}-{self._made}"
        mine = [each for each in self.kept.versions[-20:] if each.key.startswith(f"{self.name}-")]
        told: dict[str, Any] = {
            "model": f"models:/{self.name}",
            "createModel": True,
            "idempotencyKey": key,
            "tags": [{"name": "key", "value": key}],
            "parents": [{"version": mine[-1].address}] if mine else [],
        }
        made = await self._patiently("write", lambda: self.ask(CREATE, i=told))
        if made is None:
            return None
        found = made["createModelVersion"]["version"]
        version = Version(found["id"], found["address"], key)
        self.kept.versions.append(version)
        read = await self._patiently("read", lambda: self.ask(READ, a=version.address))
        if read is not None and (read["modelVersion"] or {}).get("id") != version.id:
            self.kept.missing.append(f"{version.address} after it was acknowledged")
        above = await self._patiently("lineage", lambda: self.ask(LINEAGE, of=version.address))
        if above is not None and mine and mine[-1].id not in {each["id"] for each in above["lineage"]["nodes"]}:
            self.kept.missing.append(f"{mine[-1].address} above {version.address}")
        return version

    async def _upload(self) -> None:
        version = await self._version()
        if version is None:
            return
        data = random.randbytes(2_000)
        if await self._patiently("upload", lambda: self._send(version.address, data)) is not None:
            version.data = data

    async def _send(self, to: str, data: bytes) -> Mapping[str, Any]:
        file = {"path": "f.bin", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        begun = await self._answer(self._http.post, "/api/v1/uploads", json={"to": to, "files": [file]})
        missing = await self.ask(MISSING, u=begun["id"])
        for each in missing["upload"]["missing"]["nodes"]:
            for request in each["requests"]:
                headers = {header["name"]: header["value"] for header in request["headers"]}
                await self._put(request["url"], data, headers)
        return await self._answer(self._http.post, f"/api/v1/uploads/{begun['id']}/complete")

    async def _put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        try:
            sent = await self._http.put(url, content=data, headers=headers)
        except httpx.TransportError as error:
            raise FailedError("storage", type(error).__name__) from None
        if not sent.is_success:
            raise FailedError("storage", f"{sent.status_code} {sent.text}")

    async def bytes_of(self, version: Version) -> bytes:
        """What was uploaded to a version, as it is now. Raises FailedError."""
        found = await self.ask(FILES, a=version.address)
        (edge,) = found["modelVersion"]["artifacts"]["edges"]
        answer = await self._http.get(edge["node"]["files"]["nodes"][0]["url"])
        return answer.content

    # ── Requests ──────────────────────────────────────────────────────────────────────────────────

    async def ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        """What GraphQL answers, nothing older than what this client was told. Raises FailedError."""
        body: dict[str, Any] = {"query": query, "variables": variables}
        if self.bookmark:
            body["extensions"] = {"bookmark": self.bookmark}
        answer = await self._answer(self._http.post, "/graphql", json=body)
        if errors := answer.get("errors"):
            raise FailedError(errors[0].get("extensions", {}).get("code", "none"), str(errors))
        self.bookmark = (answer.get("extensions") or {}).get("bookmark") or self.bookmark
        data: Mapping[str, Any] = answer["data"]
        return data

    async def _answer(
        self, send: Callable[..., Awaitable[httpx.Response]], path: str, **more: Any
    ) -> Mapping[str, Any]:
        try:
            answer = await send(path, headers={"authorization": f"Bearer {self._token()}"}, **more)
        except httpx.TransportError as error:
            raise FailedError("broken", type(error).__name__) from None
        if answer.status_code == 503 and "retry-after" in answer.headers:
            raise FailedError("UNAVAILABLE", answer.text)
        if not answer.is_success:
            raise FailedError(_code(answer), answer.text)
        self.bookmark = answer.headers.get(BOOKMARK, self.bookmark)
        found: Mapping[str, Any] = answer.json()
        return found

    async def _patiently(
        self, what: str, send: Callable[[], Awaitable[Mapping[str, Any]]], tries: int = 200
    ) -> Mapping[str, Any] | None:
        """The answer, after as many tries as it takes; None where that is too many."""
        for _ in range(tries):
            began = time.monotonic()
            try:
                answer = await send()
            except FailedError as error:
                self.kept.failures.append((began, time.monotonic(), error.kind, f"{what}: {error}"))
                await asyncio.sleep(PAUSE)
            else:
                self.kept.seconds.setdefault(what, []).append(time.monotonic() - began)
                return answer
        return None


def _code(answer: httpx.Response) -> str:
    """The code of what was refused, or the status where it has none."""
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
