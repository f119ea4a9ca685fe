"""Clients that work through one address in every way there is, and keep what they were told was done."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

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
EVENTS: Final = "subscription Events($after: String) {events(after: $after, kinds: [MODEL_VERSION]) {sequence}}"
FOLLOWED: Final = 3
"""Events after which whoever follows them goes away and comes back later: as many as are of one's own meanwhile."""
FOLLOW_SECONDS: Final = 30.0
"""How long the first of them may take; fewer than all may be left where a stream broke off."""
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


class Failure(NamedTuple):
    """A request that was not answered: when it was asked and failed, what it was, how in one word, what was said."""

    began: float
    ended: float
    what: str
    kind: str
    told: str


@dataclass
class Kept:
    """What clients were told, and what went wrong; times are of `time.monotonic`."""

    versions: list[Version] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
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
        failed = Counter(f"{each.what} {each.kind}" for each in self.failures)
        lines.append(f"failed: {dict(failed)}; acknowledged versions: {len(self.versions)}")
        return "\n".join(lines)


class Client:
    """Asks one address as `name`; each request has a connection of its own. `token` gives the token of the moment."""

    def __init__(self, url: str, name: str, token: Callable[[], str], kept: Kept) -> None:
        self.name, self.kept = name, kept
        self._token = token
        self._http = httpx.AsyncClient(base_url=url, timeout=SECONDS, limits=httpx.Limits(max_keepalive_connections=0))
        self._made = 0
        self._sequence = "0"
        self.bookmark = ""

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def run(self, until: Callable[[], bool]) -> None:
        """All of it in turn, until it is enough."""
        turns: list[Callable[[], Awaitable[None]]] = [
            self._write, self._list, self._write, self._upload, self._mlflow, self._list, self._openlineage,
            self._follow,
        ]  # fmt: skip
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
            if await self._patiently("download", lambda: self._fetch(version)) is None:
                self.kept.missing.append(f"the bytes of {version.address} after they were acknowledged")

    async def _fetch(self, version: Version) -> Mapping[str, Any]:
        if await self.bytes_of(version) != version.data:
            self.kept.missing.append(f"the bytes of {version.address} are others")
        return {}

    async def _mlflow(self) -> None:
        """Tag a model as MLflow's client does, and read it with the bookmark of the answer."""
        mine = next((each for each in self.kept.versions if each.key.startswith(f"{self.name}-")), None)
        if mine is None:
            return
        self._made += 1
        tag = {"name": self.name, "key": "turn", "value": str(self._made)}
        path = "/api/2.0/mlflow/registered-models"
        await self._patiently("mlflow write", lambda: self._answer(self._http.post, f"{path}/set-tag", json=tag))
        asked = {"name": self.name}
        read = await self._patiently("mlflow", lambda: self._answer(self._http.get, f"{path}/get", params=asked))
        if read is not None and {"key": "turn", "value": tag["value"]} not in read["registered_model"]["tags"]:
            self.kept.missing.append(f"the tag {tag} after it was acknowledged")

    async def _openlineage(self) -> None:
        """Tell of a run of a pipeline."""
        event = {
            "eventType": "COMPLETE",
            "eventTime": datetime.now(UTC).isoformat(),
            "run": {"runId": str(uuid.uuid4())},
            "job": {"namespace": "load", "name": self.name},
            "inputs": [{"namespace": "load", "name": f"{self.name}-in"}],
            "outputs": [{"namespace": "load", "name": f"{self.name}-out"}],
            "producer": "https://lineal.example.org/load",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        }
        await self._patiently("openlineage", lambda: self._answer(self._http.post, "/api/v1/lineage", json=event))

    async def _follow(self) -> None:
        """Follow what happens from where it was left, for a few events: one's own, at least, are still to come."""
        await self._patiently("events", self._some_events)

    async def _some_events(self) -> Mapping[str, Any]:
        body = {"query": EVENTS, "variables": {"after": self._sequence}}
        headers = {"authorization": f"Bearer {self._token()}", "accept": "text/event-stream"}
        told = 0
        try:
            async with (
                asyncio.timeout(FOLLOW_SECONDS),
                self._http.stream("POST", "/graphql", json=body, headers=headers) as answer,
            ):
                if not answer.is_success:
                    await answer.aread()
                    raise FailedError(_kind(answer), answer.text)
                async for line in answer.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    said = json.loads(line.removeprefix("data: "))
                    if errors := said.get("errors"):
                        raise _refused(errors)
                    now = said["data"]["events"]["sequence"]
                    if now <= self._sequence:
                        self.kept.missing.append(f"the event {now} came after {self._sequence}")
                    self._sequence, told = now, told + 1
                    if told == FOLLOWED:
                        return {}
        except TimeoutError:
            if not told:
                raise FailedError("silent", f"no event after {self._sequence} in {FOLLOW_SECONDS:g} s") from None
        except httpx.TransportError as error:
            raise FailedError("broken", type(error).__name__) from None
        return {}

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
        await _of_storage(self._http.put(url, content=data, headers=headers))

    async def bytes_of(self, version: Version) -> bytes:
        """What was uploaded to a version, as it is now. Raises FailedError."""
        found = await self.ask(FILES, a=version.address)
        (edge,) = found["modelVersion"]["artifacts"]["edges"]
        answer = await _of_storage(self._http.get(edge["node"]["files"]["nodes"][0]["url"]))
        return answer.content

    # ── Requests ──────────────────────────────────────────────────────────────────────────────────

    async def ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        """What GraphQL answers, nothing older than what this client was told. Raises FailedError."""
        body: dict[str, Any] = {"query": query, "variables": variables}
        if self.bookmark:
            body["extensions"] = {"bookmark": self.bookmark}
        answer = await self._answer(self._http.post, "/graphql", json=body)
        if errors := answer.get("errors"):
            raise _refused(errors)
        self.bookmark = (answer.get("extensions") or {}).get("bookmark") or self.bookmark
        data: Mapping[str, Any] = answer["data"]
        return data

    async def _answer(
        self, send: Callable[..., Awaitable[httpx.Response]], path: str, **more: Any
    ) -> Mapping[str, Any]:
        headers = {"authorization": f"Bearer {self._token()}"} | ({BOOKMARK: self.bookmark} if self.bookmark else {})
        try:
            answer = await send(path, headers=headers, **more)
        except httpx.TransportError as error:
            raise FailedError("broken", type(error).__name__) from None
        if not answer.is_success:
            raise FailedError(_kind(answer), answer.text)
        self.bookmark = answer.headers.get(BOOKMARK, self.bookmark)
        found: Mapping[str, Any] = answer.json() if answer.content else {}
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
                self.kept.failures.append(Failure(began, time.monotonic(), what, error.kind, str(error)))
                await asyncio.sleep(PAUSE)
            else:
                self.kept.seconds.setdefault(what, []).append(time.monotonic() - began)
                return answer
        return None


async def _of_storage(sending: Awaitable[httpx.Response]) -> httpx.Response:
    """What a signed address answers. Raises FailedError."""
    try:
        answer = await sending
    except httpx.TransportError as error:
        raise FailedError("storage", type(error).__name__) from None
    if not answer.is_success:
        raise FailedError("storage", f"{answer.status_code} {answer.text}")
    return answer


def _refused(errors: Sequence[Mapping[str, Any]]) -> FailedError:
    """What GraphQL's errors say, by the code of the first."""
    return FailedError(errors[0].get("extensions", {}).get("code", "none"), str(errors))


def _kind(answer: httpx.Response) -> str:
    """The code of what was refused, or the status where it has none."""
    if answer.status_code == 503 and "retry-after" in answer.headers:
        return "UNAVAILABLE"
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
