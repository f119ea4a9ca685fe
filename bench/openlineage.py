"""OpenLineage events a second, beside what raw batched writes of the same nodes and edges to the store reach.

The events are a day of a warehouse: each job reads two data sets and writes one, with a schema and column lineage, in
a START and a COMPLETE. The raw writes put what came of them into another store, a thousand items in a transaction.
"""

from __future__ import annotations

import statistics
import time
import uuid
from typing import Any

from rich.console import Console

from gateway.openlineage.parsing import parse
from graph.port import Graph, Transaction
from resolvers.openlineage.events import Event
from resolvers.openlineage.recording import record, record_batch
from resolvers.operation import Operation

JOBS = 100
FIELDS = 5
RAW_BATCH = 1_000
PRODUCER = "https://example.org/bench"


def events(day: int) -> list[Event]:
    """Two events for each job."""
    found = []
    for job in range(JOBS):
        run = {"runId": str(uuid.UUID(int=day * JOBS + job + 1))}
        name = {"namespace": f"bench-{day}", "name": f"job-{job}"}
        sources = [{"namespace": f"bench-{day}", "name": f"table-{(job * 7 + i) // 2}"} for i in (1, 2) if job]
        sources = [source for source in sources if source["name"] != f"table-{job}"]
        for minute, type_ in ((0, "START"), (1, "COMPLETE")):
            time_ = f"2026-01-01T{job // 60 % 24:02d}:{job % 60:02d}:{minute * 30:02d}Z"
            outputs = [_output(day, job, sources)] if type_ == "COMPLETE" else []
            said = {"eventTime": time_, "eventType": type_, "producer": PRODUCER, "run": run, "job": name}
            found.append(parse({**said, "inputs": sources, "outputs": outputs}))
    return found


def _output(day: int, job: int, sources: list[dict[str, str]]) -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": "int"} for i in range(FIELDS)]
    higher = [source for source in sources if int(source["name"].rpartition("-")[2]) > job]
    columns = {f["name"]: {"inputFields": [{**source, "field": f["name"]} for source in higher]} for f in fields}
    facets = {"schema": {"fields": fields}, "columnLineage": {"fields": columns}}
    return {"namespace": f"bench-{day}", "name": f"table-{job}", "facets": facets}


async def measure(console: Console, graph: Graph, raw: Graph, rounds: int) -> None:
    """Print what is measured of a store, against raw writes to another of its kind."""
    alone: list[float] = []
    batched: list[float] = []
    items: list[float] = []
    for turn in range(rounds + 1):
        one, many = events(2 * turn), events(2 * turn + 1)
        before = await _size(graph)
        async with Operation(graph) as op:
            started = time.perf_counter()
            for event in one:
                await record(op, "default", [event])
            singly = len(one) / (time.perf_counter() - started)
            started = time.perf_counter()
            assert not any(await record_batch(op, "default", many))
            at_once = len(many) / (time.perf_counter() - started)
        size = await _size(graph) - before
        rate = await _copied(graph, raw)
        if turn:
            alone.append(singly)
            batched.append(at_once)
            items.append(rate / (size / (len(one) + len(many))))
    possible = statistics.median(items)
    for what, rates in (("one by one", alone), ("in batches", batched)):
        rate = statistics.median(rates)
        console.print(
            f"OpenLineage, {what}: {rate:,.0f} events a second, {rate / possible:.2f} of what raw batched writes of "
            f"the same come to ({possible:,.0f})"
        )


async def _size(graph: Graph) -> int:
    """How many nodes and edges there are."""
    count, after = 0, ""
    async with graph.snapshot() as snapshot:
        while page := await snapshot.records(after, RAW_BATCH):
            ids = [record.node.id for record in page]
            count += len(ids) + len(await snapshot.edges_from(ids))
            after = ids[-1]
    return count


async def _copied(graph: Graph, raw: Graph) -> float:
    """Items a second that raw writes put into another store, of all that is not there yet."""
    records, edges, after = [], [], ""
    async with graph.snapshot() as snapshot:
        while page := await snapshot.records(after, RAW_BATCH):
            records += page
            edges += await snapshot.edges_from([record.node.id for record in page])
            after = page[-1].node.id
    async with raw.snapshot() as snapshot:
        there = {id for part in _parts([r.node.id for r in records]) for id in await snapshot.nodes(part)}
    new = [record for record in records if record.node.id not in there]
    born = {record.node.id for record in new}
    fresh = [edge for edge in edges if edge.source in born]
    started = time.perf_counter()
    for part in _parts(new):
        await raw.write(_loading(records=part), by="bench", action="import")
    for links in _parts(fresh):
        await raw.write(_loading(edges=links), by="bench", action="import")
    return (len(new) + len(fresh)) / (time.perf_counter() - started)


def _parts(items: list[Any]) -> list[list[Any]]:
    return [items[i : i + RAW_BATCH] for i in range(0, len(items), RAW_BATCH)]


def _loading(**parts: Any) -> Any:
    async def work(tx: Transaction) -> int:
        return await tx.load(**parts)

    return work
