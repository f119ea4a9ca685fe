"""A Lineal of one's own for tests, as a process, and what it said of who may come in."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from graph import ontology
from graph.ids import DEFAULT_WORKSPACE_ID
from graph.port import NewEdge, NewNode, Transaction
from graph.sqlite.store import SqliteGraph
from tests import building
from tests.services import Server

ROOT = Path(__file__).parents[1]
TEAM = "research"
MODELS = "{ models { nodes { name } } }"

_PARAMETER = re.compile(r'(\w+)="([^"\\]*)"')


class LinealServer(Server):
    """`lineal serve` on a SQLite store that has the model `bert`, which the team `research` may read and write.

    `issuers` are as in the settings; `more` are other settings.
    """

    name: ClassVar[str] = "lineal"

    def __init__(self, home: Path, port: int, issuers: Sequence[Mapping[str, Any]], **more: str) -> None:
        super().__init__(home)
        self.port = port
        self.url = resource_at(port)
        self._settings = {"LINEAL_ISSUERS": json.dumps(issuers), **{f"LINEAL_{k.upper()}": v for k, v in more.items()}}

    async def furnish(self) -> None:
        """Make the store."""
        async with SqliteGraph(self.home / "lineal.db") as graph:
            await graph.migrate()
            await building.create(graph, NewNode("Model", "bert", ontology.DEFAULT_WORKSPACE))
            await _grant(graph)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command = [sys.executable, "-m", "lineal", "serve", "--port", str(self.port)]
        return command, {
            "PYTHONPATH": str(ROOT),
            "LINEAL_GRAPH": f"sqlite:///{self.home / 'lineal.db'}",
            "LINEAL_KEYS": str(self.home / "keys"),
            **self._settings,
        }

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").is_success
        except httpx.TransportError:
            return False

    def ask(
        self,
        token: str | None = None,
        *,
        query: str = MODELS,
        scheme: str = "Bearer",
        proof: str | None = None,
        **variables: Any,
    ) -> httpx.Response:
        """One GraphQL request."""
        headers = request_headers(token, scheme=scheme) | ({"dpop": proof} if proof else {})
        return httpx.post(self.url, json={"query": query, "variables": variables}, headers=headers, timeout=60)


async def _grant(graph: SqliteGraph) -> None:
    async def work(tx: Transaction) -> None:
        (team,) = await tx.create([NewNode("Team", TEAM, ontology.GLOBAL)])
        await tx.link([NewEdge("GRANTS", DEFAULT_WORKSPACE_ID, team.id, "CONTRIBUTOR")])

    await graph.write(work, by=building.BY, action="grant")


def resource_at(port: int) -> str:
    """The identifier of a Lineal on this port of this machine."""
    return f"http://127.0.0.1:{port}/graphql"


def request_headers(token: str | None, *, scheme: str = "Bearer") -> dict[str, str]:
    """What presents a token."""
    return {"authorization": f"{scheme} {token}"} if token else {}


def challenges(answer: httpx.Response) -> dict[str, dict[str, str]]:
    """The parameters of each challenge of an answer, by its scheme."""
    found = {}
    for header in answer.headers.get_list("www-authenticate"):
        scheme, _, rest = header.partition(" ")
        found[scheme] = dict(_PARAMETER.findall(rest))
    return found


@dataclass(frozen=True)
class Said:
    """What an answer said of a request that was not let in."""

    status: int
    code: str
    errors: dict[str, str]


def said(answer: httpx.Response) -> Said:
    """The status, the code in the GraphQL body, and the error in the challenge of each scheme that has one."""
    (error,) = answer.json()["errors"]
    assert "data" not in answer.json()
    assert error["message"]
    assert answer.headers["cache-control"] == "no-store"
    errors = {scheme: params["error"] for scheme, params in challenges(answer).items() if "error" in params}
    return Said(answer.status_code, error["extensions"]["code"], errors)
