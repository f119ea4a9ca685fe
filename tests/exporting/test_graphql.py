"""exportLineage: an export in the answer, or at an address that opens it for a while."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from auth.caller import Caller
from auth.recorder import Recorder
from gateway.bytes import create_bytes_route
from graph.address import parse
from graph.port import EntryFilter, Graph
from resolvers.artifacts.downloads import LINK_SECONDS
from resolvers.artifacts.keeping import Keeper
from resolvers.bytes import Bytes
from resolvers.exporting.linking import AREA, KEPT_SECONDS, clear_exports
from resolvers.operation import Operation
from schema.context import MAX_EXPORTS, Context
from schema.executing import run
from schema.sdl import build_schema
from storage.local import LocalStorage
from tests.exporting.conftest import ANN, LOCAL
from tests.storage.storing import BASE, SECRET, Clock, Store, sha256

EXPORT = """query($of: [ID!]!, $format: ExportFormat!, $asOf: DateTime) {
  exportLineage(of: $of, direction: UPSTREAM, format: $format, asOf: $asOf) {
    format mediaType filename size sha256 complete notes content url } }"""
TUNED = "models:/tuned/1"


class Asking:
    """Asks about the family, with a folder for what is kept, and a recorder of what is audited."""

    def __init__(self, graph: Graph, store: Store, recorder: Recorder) -> None:
        self.graph, self.store, self.recorder = graph, store, recorder
        self.caller = LOCAL

    async def answer(self, document: str, **variables: Any) -> Any:
        """The whole answer, errors and all."""
        schema, reach = build_schema(), Bytes(self.store.storage)
        op = Operation(self.graph, caller=self.caller, recorder=self.recorder, bytes=reach, base=BASE)
        return await run(schema, Context(op, schema.limits), document, variables)

    async def __call__(self, **variables: Any) -> dict[str, Any]:
        """An export."""
        result = await self.answer(EXPORT, **variables)
        assert not result.errors, result.errors
        made: dict[str, Any] = result.data["exportLineage"]
        return made

    def kept(self) -> list[Path]:
        """The files of the exports that are kept."""
        return sorted((self.root / AREA).glob("blobs/*/*"))

    @property
    def root(self) -> Path:
        """The folder."""
        assert isinstance(self.store.storage, LocalStorage)
        return self.store.storage.root

    def age(self, seconds: float) -> None:
        """Let all that is kept have been put there so long ago."""
        for path in self.kept():
            os.utime(path, times=(time.time() - seconds,) * 2)


@pytest.fixture
async def asking(family: Graph, tmp_path: Path) -> AsyncIterator[Asking]:
    """What asks."""
    clock = Clock()
    async with LocalStorage(tmp_path, SECRET, clock=clock) as storage, Recorder(family) as recorder:
        app = Starlette(routes=[create_bytes_route(storage, recorder)])
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
            yield Asking(family, Store(storage, http, clock), recorder)


async def test_the_answer_has_the_export_and_the_address_gives_the_same_bytes(asking: Asking) -> None:
    made = await asking(of=[TUNED], format="CYCLONEDX")
    assert (made["format"], made["mediaType"]) == ("CYCLONEDX", "application/vnd.cyclonedx+json")
    assert (made["filename"], made["complete"], made["notes"]) == ("lineage.cdx.json", True, [])
    assert '"machine-learning-model"' in made["content"]
    fetched = await asking.store.http.get(made["url"])
    assert fetched.content == made["content"].encode()
    assert (sha256(fetched.content), str(len(fetched.content))) == (made["sha256"], made["size"])
    assert 'filename="lineage.cdx.json"' in fetched.headers["content-disposition"]
    part = await asking.store.http.get(made["url"], headers={"range": "bytes=0-0"})
    assert (part.status_code, part.content) == (206, b"{")


async def test_what_has_more_bytes_than_are_asked_for_is_at_its_address_alone(asking: Asking) -> None:
    document = EXPORT.replace("content", "content(atMost: 10)")
    made = (await asking.answer(document, of=[TUNED], format="DOT")).data["exportLineage"]
    assert made["content"] is None
    assert (await asking.store.http.get(made["url"])).text.startswith("digraph lineage {")


async def test_nothing_is_kept_unless_an_address_is_asked_for(asking: Asking) -> None:
    await asking.answer(EXPORT.replace(" url ", " "), of=[TUNED], format="DOT")
    assert asking.kept() == []


async def test_an_address_opens_its_export_for_as_long_as_it_says(asking: Asking) -> None:
    document = EXPORT.replace("url", "url(seconds: 60)")
    url = (await asking.answer(document, of=[TUNED], format="DOT")).data["exportLineage"]["url"]
    assert (await asking.store.http.get(url)).status_code == 200
    asking.store.clock.offset = 61
    assert (await asking.store.http.get(url)).status_code == 403
    refused = await asking.answer(EXPORT.replace("url", "url(seconds: 3601)"), of=[TUNED], format="DOT")
    assert [error.extensions["field"] for error in refused.errors] == ["seconds"]
    assert refused.data["exportLineage"]["content"]


async def test_exports_that_no_address_opens_any_more_are_cleared(asking: Asking) -> None:
    url = (await asking(of=[TUNED], format="DOT"))["url"]
    assert (await clear_exports(asking.store.storage)).too_young == 1
    asking.age(KEPT_SECONDS + 1)
    would = await clear_exports(asking.store.storage, dry_run=True)
    assert (would.removed, len(asking.kept())) == (1, 1)
    done = await clear_exports(asking.store.storage)
    assert (done.removed, done.bytes_removed > 0, asking.kept()) == (1, True, [])
    assert (await asking.store.http.get(url)).status_code == 404


async def test_the_keeper_clears_them_with_the_rest(asking: Asking) -> None:
    await asking(of=[TUNED], format="DOT")
    asking.age(KEPT_SECONDS + 1)
    async with _keeping(asking):
        async with asyncio.timeout(30):
            while asking.kept():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)


@asynccontextmanager
async def _keeping(asking: Asking) -> AsyncIterator[None]:
    async def check(_: Any) -> str:
        return "VERIFIED"

    keeper = Keeper(
        asking.graph,
        asking.store.storage,
        check,
        by="gc",
        holder="h",
        collect_hours=1e-9,
        grace_hours=1,
        check_hours=0,
    )
    running = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_the_same_export_again_is_kept_for_as_long_as_its_new_address(asking: Asking) -> None:
    moment = "2999-01-01T00:00:00Z"
    first = await asking(of=[TUNED], format="DOT", asOf=moment)
    asking.age(KEPT_SECONDS - LINK_SECONDS + 60)
    again = await asking(of=[TUNED], format="DOT", asOf=moment)
    assert again["sha256"] == first["sha256"]
    (kept,) = asking.kept()
    assert kept.stat().st_mtime + KEPT_SECONDS > time.time() + LINK_SECONDS
    assert (await asking.store.http.get(again["url"])).status_code == 200


async def test_who_asks_for_an_address_and_what_is_fetched_are_in_the_audit(asking: Asking) -> None:
    asking.caller = ANN
    made = await asking(of=[TUNED], format="DOT")
    await asking.store.http.get(made["url"])
    async with asking.graph.snapshot() as snapshot:
        entries = (await snapshot.entries(EntryFilter(noted=True)))[::-1]
    asked, fetched = [(e.workspace, e.change.by, e.change.data["noted"]) for e in entries]
    async with asking.graph.snapshot() as snapshot:
        (tuned,) = await snapshot.resolve([parse(TUNED)])
    assert tuned is not None
    told = {"on": {"default": [tuned.id]}, "format": "dot", "sha256": made["sha256"]}
    assert asked == ("default", "corp:ann", {"action": "export", "data": told, "count": 1})
    assert fetched[0] == ""
    assert fetched[2]["data"] == {"blobs": [made["sha256"]], "files": ["lineage.dot"]}


async def test_the_audit_names_what_was_exported_to_those_who_see_it(asking: Asking) -> None:
    hidden = "models:/secret:basalt"
    made = await asking(of=[TUNED, hidden], format="DOT")
    async with asking.graph.snapshot() as snapshot:
        ids = [node.id for node in await snapshot.resolve([parse(TUNED), parse(hidden)]) if node]
    told = {}
    for name, scopes in (("root", {"admin"}), ("ann", ANN.scopes), ("blind", {"audit:read"})):
        asking.caller = Caller(name, frozenset(scopes), workspaces=ANN.workspaces)
        entries = (await asking.answer('{ audit(workspace: "default", noted: true) { nodes { data } } }')).data
        told[name] = entries["audit"]["nodes"][-1]["data"]["noted"]["data"]
    assert told == {
        "root": {"on": {"default": ids[:1], "secret": ids[1:]}, "format": "dot", "sha256": made["sha256"]},
        "ann": {"on": {"default": ids[:1]}, "format": "dot"},
        "blind": {"on": {"default": []}, "format": "dot"},
    }


async def test_what_an_export_tells_is_what_its_reader_may_read(asking: Asking) -> None:
    asking.caller = ANN
    made = await asking(of=[TUNED], format="PROV_JSON")
    assert "basalt" not in made["content"]
    assert made["notes"] == ["1 node is restricted: not to be read by whoever asked."]
    asking.caller = Caller(ANN.name, ANN.scopes - {"metrics:read"}, workspaces=ANN.workspaces)
    blind = await asking(of=[TUNED], format="MODEL_CARD")
    assert "0.91" in (await _as_ann(asking))["content"]
    assert "0.91" not in blind["content"]
    assert "Metrics are not here: to read them needs the scope metrics:read." in blind["notes"]
    asking.caller = Caller(ANN.name, ANN.scopes - {"lineage:read"}, workspaces=ANN.workspaces)
    refused = await asking.answer(EXPORT, of=[TUNED], format="DOT")
    assert refused.data == {"exportLineage": None}
    assert [error.extensions["code"] for error in refused.errors] == ["FORBIDDEN"]


async def _as_ann(asking: Asking) -> dict[str, Any]:
    asking.caller = ANN
    return await asking(of=[TUNED], format="MODEL_CARD")


async def test_an_operation_makes_few_exports(asking: Asking) -> None:
    def many(count: int) -> str:
        one = f'exportLineage(of: ["{TUNED}"], direction: UPSTREAM, format: DOT) {{ size }}'
        return "{ " + " ".join(f"e{i}: {one}" for i in range(count)) + " }"

    assert len((await asking.answer(many(MAX_EXPORTS))).data) == MAX_EXPORTS
    refused = await asking.answer(many(MAX_EXPORTS + 1))
    (error,) = refused.errors
    assert (error.extensions["code"], error.extensions["limit"]) == ("LIMIT_EXCEEDED", "exports")
