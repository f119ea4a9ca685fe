"""What documents cost that are written to cost much: the CPU until each of them is answered, never seen before.

Of those that ask for a huge answer it is the memory. Raises SystemExit in the end where one of them takes more than its
bar.
"""

from __future__ import annotations

import tracemalloc
from itertools import count
from pathlib import Path
from typing import Final

from rich.console import Console

from auth.caller import Caller
from bench.tokens import cpu
from graph.ontology import MAX_TEXT
from graph.sqlite.store import SqliteGraph
from schema.executing import execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests import building
from tests.schema.test_attacks import (
    AGAIN,
    ALIASES,
    DEEP,
    LARGE,
    NESTED,
    OVERLAPPING,
    SPREAD,
    UNLIKE,
    UNSPREAD,
    WIDE,
    described,
)
from tests.schema.test_limits import bomb

BAR_SECONDS = 0.050
BAR_BYTES = 2 * Limits().answer
STRANGER: Final = Caller("corp:ann", frozenset({"model:read"}), workspaces=None)
QUERY = '{ model(address: "models:/m") { name } }'
ATTACKS: Final = {
    "fragment bomb": bomb(20),
    "fragment bomb in fields": "{ models { nodes { ...f0 } } } "
    + "".join(
        f"fragment f{n} on Model {{ a: supersedes {{ nodes {{ ...f{n + 1} }} }} b: supersedes {{ nodes {{ id }} }} }} "
        for n in range(20)
    )
    + "fragment f20 on Model { id }",
    "aliases": ALIASES,
    "depth": DEEP,
    "root fields": WIDE,
    "directives": "{ __typename " + "@aa" * 600 + " }",
    "duplicate fields": "{ " + "__typename " * 5_000 + "}",
    "overlapping fields": OVERLAPPING,
    "overlapping fields with lists in them": NESTED,
    "overlapping fragments": SPREAD,
    "fragments with nothing alike in them": UNLIKE,
    "a fragment that is spread nowhere": UNSPREAD,
    "as many overlaps as are allowed": "{ models { " + "nodes { id name } " * 58 + "} }",
    "a page of 200,000": "{ models(first: 200000) { nodes { id } } }",
    "circular introspection": "{ __schema { types " + "{ fields { type " * 4 + "{ name }" + " } }" * 4 + " } }",
    "unknown fields": "{ " + " ".join(f"nope{n}" for n in range(45)) + " }",
    "deep literal": "{ node(id: " + "[" * 5_000,
}
HUGE: Final = {"long texts many times": LARGE, "many lists of long texts": AGAIN}


async def measure(console: Console, home: Path, rounds: int) -> None:
    """Print what each of them takes, and an honest query beside them."""
    console.rule("Documents")
    schema, unlike = build_schema(), count()
    async with SqliteGraph(home / "attacks.db") as graph:
        await graph.migrate()
        await building.model(graph, "m")

        async def ask(text: str) -> None:
            # A document is known again by what it means, so this is another one each time.
            await execute(schema, graph, text.replace("{", f"{{ u{next(unlike)}: __typename ", 1), caller=STRANGER)

        await ask(QUERY)
        slow = []
        honest = sorted([await cpu(lambda: ask(QUERY)) for _ in range(rounds)])[rounds // 2]
        for name, text in ATTACKS.items():
            # The worst try has a collection of garbage in it now and then, which is not its own.
            tries = sorted([await cpu(lambda text=text: ask(text)) for _ in range(rounds)])  # type: ignore[misc]
            taken = tries[rounds // 2]
            slow += [name] if taken > BAR_SECONDS else []
            console.print(
                f"{name}, {len(text):,} bytes: {taken * 1e3:.2f} ms of CPU ({taken / honest:.1f} times a query; "
                f"bar: {BAR_SECONDS * 1e3:.0f} ms), the worst of {rounds} tries {tries[-1] * 1e3:.2f} ms"
            )
        await described(graph, 40, "\1" * MAX_TEXT)
        large = []
        for name, text in HUGE.items():
            tracemalloc.start()
            taken = await cpu(lambda text=text: execute(schema, graph, text, caller=STRANGER))  # type: ignore[misc]
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            large += [name] if peak > BAR_BYTES else []
            console.print(
                f"{name}, {len(text):,} bytes: {peak / 2**20:.0f} MiB of memory at most "
                f"(bar: {BAR_BYTES / 2**20:.0f} MiB), {taken * 1e3:.0f} ms of CPU while that is watched"
            )
        if slow or large:
            raise SystemExit(
                f"above the bar of {BAR_SECONDS * 1e3:.0f} ms: {', '.join(slow) or 'none'}; "
                f"of {BAR_BYTES / 2**20:.0f} MiB: {', '.join(large) or 'none'}"
            )
