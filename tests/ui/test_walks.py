"""The pages in a real browser that can reach Lineal and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from graph import ontology
from graph.port import NewEdge, NewNode, Transaction
from graph.sqlite.store import SqliteGraph
from lineal import demo
from tests.chromium import chromium, node_modules, walk
from tests.oidc import OidcProvider
from tests.running import LinealServer, resource_at
from tests.services import free_port

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

SERVED = "made-up-similarity"
VERSION = "models:/alphabrothers%2Falpha-sts-v0/1"
BIG = "datasets:/big/0"
MANY = 5_000
ALIKE = 1_000
FROZEN_MILLISECONDS = 1_000
"""What people take for frozen, on a machine that does nothing else; it took 250."""
READS = ("model:read", "dataset:read", "deployment:read", "workspace:read", "lineage:read", "schema:read")


async def furnish(path: Path) -> None:
    """The demo's store, and MANY versions of a data set, each made from others of them."""
    path.parent.mkdir(parents=True)
    chance = random.Random(8)
    async with SqliteGraph(path) as graph:
        await graph.migrate()
        await demo.load(graph, demo.real_models(), lambda *_: None)
        workspace = ontology.DEFAULT_WORKSPACE

        async def work(tx: Transaction) -> None:
            (big,) = await tx.create([NewNode("Dataset", "big", workspace)])
            versions = [NewNode("DatasetVersion", str(number), workspace, container=big.id) for number in range(MANY)]
            made = await tx.create(versions)
            await tx.link(
                [
                    NewEdge("DERIVED_FROM", made[number].id, made[source].id)
                    for number in range(MANY)
                    for source in sorted(sources(number, chance))
                ]
            )

        await graph.write(work, by="test", action="create")


def sources(number: int, chance: random.Random) -> set[int]:
    """What the version of this number came from: the first from nothing, the last thousand from the second alone."""
    if number <= 40:
        return {0} - {number}
    if number >= MANY - ALIKE:
        return {1}
    return {chance.randrange(number // 40, number // 8 + 1) for _ in range(2)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A Lineal that signs its own tokens, whose picture another origin may show."""
    node_modules(), chromium()
    home = tmp_path_factory.mktemp("place") / "lineal"
    asyncio.run(furnish(home / "lineal.db"))
    port, embedder = free_port(), free_port()
    embed = json.dumps([f"http://127.0.0.1:{embedder}"])
    with LinealServer(home, port, [], embed_origins=embed, max_items="400000") as lineal:
        issuer = LocalIssuer(Keyring(home / "keys"))
        yield {
            "base": lineal.url.removesuffix("/graphql"),
            "allowed": [f"http://127.0.0.1:{embedder}"],
            "embedder": embedder,
            "token": issuer.token(scopes=READS),
            "narrow": issuer.token(scopes=["model:read", "lineage:read"]),
        }


def test_graphiql_draws_the_flagship_answer_and_goes_on_from_it(tmp_path: Path, place: dict[str, Any]) -> None:
    seen = walk(tmp_path, "graphiql", served=SERVED, version=VERSION, dataset="NQ", **place)
    assert seen["console"] == []
    assert seen["light"] == []
    assert seen["dark"] == []
    assert "token" not in seen["address"]
    assert "dataset:read" in seen["scopes"]
    assert "323 nodes" in seen["flagship"]

    assert "deployments:/made-up-similarity" in seen["chosen"]
    assert seen["let_go"]
    assert "deployments:/made-up-similarity" in seen["clicked"]
    assert "326 nodes" in seen["expanded"]
    assert "moreUpstream" in seen["expandedQuery"]
    assert "ways" in seen["wayQuery"]
    assert "There is no way" not in seen["way"]

    assert "nothing is there for 'datasets:/NQ'" in seen["before"]
    assert seen["time"].endswith("UTC")
    assert "326 nodes" in seen["now"]

    assert all(seen["steps"])
    assert len(set(seen["steps"])) > 2
    assert seen["zoomed"]
    assert seen["closed"]
    assert "groups" not in seen["groups"].split("edges")[-1]
    assert "Contaminated" in seen["history"]
    assert set(seen["answers"].values()) == {True}, seen["answers"]
    assert seen["background"] == "rgb(38, 45, 57)"

    assert seen["names"] == ["lineage.svg", "lineage.png", "lineage.mmd"]
    assert seen["svg"].startswith("<svg xmlns=")
    assert seen["png"] == list(b"\x89PNG\r\n\x1a\n")
    assert seen["mermaid"].startswith("flowchart LR\n")
    assert '"NQ (data set)"' in seen["mermaid"]


def test_the_picture_asks_what_was_drawn_and_says_of_when_it_is(tmp_path: Path, place: dict[str, Any]) -> None:
    seen = walk(tmp_path, "operations", version=VERSION, **place)
    for one in ("looked", "slid", "expanded"):
        assert [asked["operationName"] for asked in seen[one]] == ["Look"], one
        assert "mutation Promote" in seen[one][0]["query"]
    assert seen["now"] == "now"
    assert seen["slidTo"].endswith("UTC")
    assert seen["expanded"][0]["query"].count("asOf: ") == 2
    assert seen["expandedAt"] == seen["back"] == seen["slidTo"]
    assert seen["beside"] == "now"

    assert seen["typed"] == "2027-01-02 03:04:05 UTC"
    assert seen["variable"] == "2028-01-02 03:04:05 UTC"
    assert seen["several"] == "several times"

    assert "no query" in seen["refused"]
    assert seen["unasked"]
    assert [asked["operationName"] for asked in seen["alone"]] == ["Lineage"]
    assert "mutation" not in seen["alone"][0]["query"]
    assert seen["opened"] == 1
    assert seen["kept"]


def test_the_picture_is_a_page_to_link_to_and_to_embed(tmp_path: Path, place: dict[str, Any]) -> None:
    seen = walk(tmp_path, "lineage", version=VERSION, big=BIG, **place)
    assert seen["console"] == []
    assert seen["light"] == []
    assert seen["dark"] == []
    assert "asOf=2001-01-01" in seen["dated"]
    assert "0 nodes" not in seen["linkedTo"]
    assert seen["linkedTime"] == "2027-01-02 03:04:05 UTC"
    assert seen["linkedNow"] == "now"
    assert "graphiql#query=" in seen["opens"]
    assert "restricted: there, but not for you to read" in seen["restricted"]
    assert "is not complete" in seen["cut"]
    assert "0 nodes" in seen["nothing"]
    assert "Say what to draw" in seen["unasked"]
    assert f"{MANY} nodes" in seen["many"]
    assert "1 group" in seen["many"]
    # A group stands for those that it holds, and of what is open every thing is drawn.
    assert seen["grouped"] == MANY - ALIKE + 1
    assert seen["boxes"] == MANY
    assert seen["whole"] == {"boxes": MANY, "words": 0}
    # Where all of it stands is worked out beside the page; the page only draws, at most once for each move.
    assert seen["laidOut"] == [MANY - ALIKE + 1, MANY]
    assert seen["panned"]
    assert 0 < len(seen["panning"]) <= seen["moves"] + 1
    assert 0 < seen["near"]["words"] / 2 < MANY / 20, "what is out of sight is not drawn"
    # As often as the same work on an empty page takes longer at one time than at another, the machine was busy.
    assert seen["blocked"] < FROZEN_MILLISECONDS * max(seen["empty"]) / min(seen["empty"])
    assert "nodes" in seen["embedded"]


def test_people_sign_in_by_pkce_and_out_again(tmp_path: Path) -> None:
    node_modules(), chromium()
    port = free_port()
    base = resource_at(port).removesuffix("/graphql")
    provider = OidcProvider(
        tmp_path / "provider",
        resource_at(port),
        groups={"alice": ["scientists"]},
        redirects=[f"{base}/graphiql"],
    )
    issuer = {
        "name": "corp",
        "url": provider.url,
        "browser_client_id": "browser",
        "teams": {"scientists": "research"},
    }
    lineal = LinealServer(tmp_path / "lineal", port, [issuer])
    with provider:
        asyncio.run(lineal.furnish())
        with lineal:
            seen = walk(tmp_path, "sign_in", base=base, allowed=[provider.url])
    assert seen["console"] == []
    assert "Sign out" not in seen["nobody"]
    assert "corp:alice" in seen["somebody"]
    assert "lineage:read" in seen["scopes"]
    assert "model:write" not in seen["scopes"]
    assert seen["address"] == f"{base}/graphiql"
    assert seen["drawn"].startswith("1 node")
    assert "corp:alice" not in seen["out"]
    assert seen["forged"] == f"{base}/graphiql"
