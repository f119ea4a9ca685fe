"""Lineal as MLflow's registry beside `mlflow server`, each with its embedded store: requests a second of one client."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urlsplit

from rich.console import Console

from tests.gateway.mlflow.serving import LinealProcess, Reference

CLIENTS = 8
SECONDS = 3.0
ROUNDS = 3
MODELS = 20
VERSIONS = 10
BARS = {"registered-models/get": 10, "model-versions/search": 10, "model-versions/create": 5, "set alias": 5}
API = "/api/2.0/mlflow/"

Request = tuple[str, str, bytes]


class ByDefault(Reference):
    """MLflow's own server with as many workers as it has by itself."""

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command, settings = super().prepare()
        return [part for part in command if not part.startswith("--workers")], settings


class Client:
    """HTTP over one connection, by hand: what a client costs must not hide what a server costs."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        authorization = f"authorization: Bearer {token}\r\n" if token else ""
        self._headers = f"host: {parts.netloc}\r\ncontent-type: application/json\r\n{authorization}"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, request: Request) -> bytes:
        """The body of the answer, which must be 200."""
        method, path, body = request
        head = f"{method} {API}{path} HTTP/1.1\r\n{self._headers}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        size = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        content = await self._reader.readexactly(size)
        assert b" 200 " in lines[0], content
        return content


def get(path: str, **query: object) -> Request:
    """A GET."""
    return "GET", f"{path}?{urlencode(query)}", b""


def post(path: str, **body: object) -> Request:
    """A POST."""
    return "POST", path, json.dumps(body).encode()


def kinds() -> dict[str, Callable[[int], Iterator[Request]]]:
    """What each client asks for again and again, by the number of the client."""

    def names() -> Iterator[str]:
        return itertools.cycle(f"m{i}" for i in range(MODELS))

    def aliases(client: int) -> Iterator[Request]:
        for name, i in zip(names(), itertools.count(), strict=False):
            yield post("registered-models/alias", name=name, alias=f"a{client}", version=str(1 + i % VERSIONS))

    search = "model-versions/search"
    create = "model-versions/create"
    return {
        "registered-models/get": lambda _: (get("registered-models/get", name=name) for name in names()),
        search: lambda _: (get(search, filter=f"name = '{name}'", max_results=100) for name in names()),
        create: lambda n: (post(create, name=f"w{n}", source=f"s3://b/{i}") for i in itertools.count()),
        "set alias": aliases,
    }


async def prepare(client: Client) -> None:
    """Models with versions to ask for, and models to write to."""
    for name in [*(f"m{i}" for i in range(MODELS)), *(f"w{i}" for i in range(CLIENTS))]:
        await client.send(post("registered-models/create", name=name, tags=[{"key": "team", "value": "x"}]))
    for i in range(MODELS):
        for number in range(VERSIONS):
            await client.send(post("model-versions/create", name=f"m{i}", source=f"s3://b/{number}", run_id="r"))
        await client.send(post("registered-models/alias", name=f"m{i}", alias="champion", version="1"))


async def rate(clients: Sequence[Client], requests: Callable[[int], Iterator[Request]], seconds: float) -> float:
    """Requests a second of all clients together."""
    end = time.perf_counter() + seconds

    async def run(number: int, client: Client) -> int:
        count = 0
        for request in requests(number):
            await client.send(request)
            count += 1
            if time.perf_counter() >= end:
                return count
        return count

    started = time.perf_counter()
    counts = await asyncio.gather(*(run(number, client) for number, client in enumerate(clients)))
    return sum(counts) / (time.perf_counter() - started)


async def measure(console: Console, home: Path, rounds: int) -> None:
    """Print everything that is measured of MLflow's face."""
    console.rule("MLflow's registry")
    with ExitStack() as stack:
        theirs = stack.enter_context(ByDefault(home / "mlflow"))
        ours = stack.enter_context(LinealProcess(home / "lineal", f"sqlite:///{home / 'lineal' / 'lineal.db'}"))
        token = ours.token
        groups = [[Client(ours.url, token) for _ in range(CLIENTS)], [Client(theirs.url) for _ in range(CLIENTS)]]
        for group in groups:
            async with group[0] as client:
                await prepare(client)
        for name, requests in kinds().items():
            found: list[list[float]] = [[], []]
            for turn in range(rounds + 1):
                for rates, group in zip(found, groups, strict=True):
                    for client in group:
                        await client.__aenter__()
                    measured = await rate(group, requests, SECONDS if turn else 0.5)
                    for client in group:
                        await client.__aexit__()
                    if turn:
                        rates.append(measured)
            lineal, mlflow = (statistics.median(rates) for rates in found)
            console.print(
                f"{name}: {lineal:,.0f} requests a second, MLflow {mlflow:,.0f}: {lineal / mlflow:.1f} times "
                f"(bar: {BARS[name]} times)"
            )
