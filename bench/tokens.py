"""What checking tokens costs: the worst of those that are refused, and a good one against the query that it opens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from auth.challenges import Refusal
from graph.sqlite.store import SqliteGraph
from schema.executing import execute
from schema.sdl import build_schema
from tests import building
from tests.auth.bad import BAD
from tests.auth.issuer import RESOURCE, MiniIssuer, encoded

BAR_SECONDS = 0.050
BAR_RATIO = 0.05
FLOOD = 10_000
QUERY = '{ model(address: "models:/m") { name } }'

Call = Callable[[], Awaitable[object]]


async def cpu(call: Call, times: int = 1) -> float:
    """Seconds of CPU, of all threads of the process, that one call takes."""
    started = time.process_time()
    for _ in range(times):
        await call()
    return (time.process_time() - started) / times


async def measure(console: Console, home: Path, rounds: int) -> None:
    """Print everything that is measured of tokens."""
    console.rule("Tokens")
    await _refused(console, rounds)
    await _flood(console)
    await _known(console, home, rounds)


async def _refused(console: Console, rounds: int) -> None:
    issuer = MiniIssuer()
    authenticator = issuer.authenticator()
    await authenticator.verified(issuer.token())
    costs = {}
    for name, make in BAD.items():
        token = make(issuer)

        async def ask(token: str = token) -> None:
            with suppress(Refusal):
                await authenticator.authenticate([f"Bearer {token}"], [], "POST", RESOURCE)

        costs[name] = max([await cpu(ask) for _ in range(rounds)])
    worst = max(costs, key=costs.__getitem__)
    console.print(
        f"{len(costs)} kinds of bad token, CPU of the worst of {rounds} tries: "
        f"{costs[worst] * 1e3:.2f} ms ({worst}; bar: {BAR_SECONDS * 1e3:.0f} ms)"
    )


async def _flood(console: Console) -> None:
    issuer = MiniIssuer()
    authenticator = issuer.authenticator()
    await authenticator.verified(issuer.token())
    claims = encoded(issuer.claims())
    flood = [f"{encoded(issuer.header(f'unknown-{number}'))}.{claims}.AAAA" for number in range(FLOOD)]
    each = await cpu(lambda: asyncio.gather(*(map(authenticator.verified, flood)), return_exceptions=True)) / FLOOD
    console.print(f"{FLOOD:,} unknown keys: {issuer.asked['jwks']} fetches (bar: 2), {each * 1e6:.0f} µs of CPU each")


async def _known(console: Console, home: Path, rounds: int) -> None:
    issuer = MiniIssuer()
    authenticator = issuer.authenticator()
    schema = build_schema()
    async with SqliteGraph(home / "tokens.db") as graph:
        await graph.migrate()
        await building.model(graph, "m")
        known: list[float] = []
        fresh: list[float] = []
        query: list[float] = []
        header = [f"Bearer {issuer.token()}"]
        new = iter([[f"Bearer {issuer.token(jti=str(number))}"] for number in range(200 * (rounds + 1))])
        for turn in range(rounds + 1):
            taken = (
                await cpu(lambda: authenticator.authenticate(header, [], "POST", RESOURCE), 2_000),
                await cpu(lambda: authenticator.authenticate(next(new), [], "POST", RESOURCE), 200),
                await cpu(lambda: execute(schema, graph, QUERY), 200),
            )
            if turn:
                for kept, seconds in zip((known, fresh, query), taken, strict=True):
                    kept.append(seconds)
    cached, verified, asked = (sorted(kept)[len(kept) // 2] for kept in (known, fresh, query))
    console.print(
        f"a known token against a query for one node: {cached / asked:.2%} of its CPU (bar: {BAR_RATIO:.0%}; "
        f"{cached * 1e6:.1f} and {asked * 1e6:.0f} µs); a new token {verified / asked:.0%} ({verified * 1e6:.0f} µs)"
    )
