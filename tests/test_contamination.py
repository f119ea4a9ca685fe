"""The demo's data set goes bad: marking it names and tells everyone whom it concerns, on both stores."""

from __future__ import annotations

import pytest

from auth.caller import named
from graph.port import MAX_DEPTH, MAX_LINEAGE, Direction, Graph, Hop, NewEdge, NewNode, Node, Paging, Snapshot
from lineal import demo
from lineal.errors import PreconditionFailed
from resolvers import reading
from resolvers.lifecycle.declaring import declare_gate
from resolvers.lifecycle.marked import affected, last_marked, marked
from resolvers.lifecycle.marking import mark_dataset, unmark
from resolvers.operation import Operation
from resolvers.writing.lifecycle import set_stage
from tests import building
from tests.conftest import count
from tests.test_demo import expected


async def everything(snapshot: Snapshot, kind: str) -> list[Node]:
    """All nodes of a kind."""
    found: list[Node] = []
    after, more = None, True
    while more:
        page = await snapshot.find(kind, paging=Paging(500, after))
        found += page.items
        after, more = page.cursors[-1] if page.cursors else None, page.has_next
    return found


async def test_marking_nq_names_and_tells_all_that_came_of_it_and_unmarking_tells_them_again(graph: Graph) -> None:
    await demo.load(graph, demo.real_models(), lambda *_: None)
    async with graph.snapshot() as snapshot:
        owned = [*await everything(snapshot, "Model"), *await everything(snapshot, "Deployment")]
    (team,) = await building.create(graph, NewNode("Team", "embedders", ""))
    await building.link(graph, *(NewEdge("OWNED_BY", node.id, team.id) for node in owned))
    names = {node.id: node.name for node in owned}

    async with Operation(graph, caller=named("ann")) as op:
        mark = await mark_dataset(op, address=demo.DATASET_ADDRESS, reason="its questions are in the test sets")
        came = await affected(op, (await last_marked(op, [mark]))[mark.id])
        lineage = await reading.lineage(
            op, [demo.DATASET_ADDRESS], direction=Direction.DOWNSTREAM, depth=MAX_DEPTH, limit=MAX_LINEAGE
        )
        assert came.complete
        assert (came.version_count, came.model_count, came.deployment_count) == (314, 314, 7)
        assert {node.id for node in came.versions} == {
            n.id for n, _ in lineage.closure.nodes if n.kind == "ModelVersion"
        }
        assert {names[id] for id in came.models} == expected("NQ")["model"]
        assert {node.name for node in came.deployments} == expected("NQ")["deployment"]

        snapshot = await op.snapshot()
        notices = await everything(snapshot, "Notice")
        about = await reading.all_links(snapshot, [notice.id for notice in notices], Hop("CONCERNS", "OUT"))
        told = [link.node.id for links in about.values() for link in links]
        assert len(notices) == len(told) == 314 + 7
        assert set(told) == {*came.models, *(node.id for node in came.deployments)}
        assert all(notice.props["text"].startswith("datasets:/NQ was marked CONTAMINATED") for notice in notices)

        await declare_gate(op, name="clean", stage="Production", conditions=[{"type": "cleanData"}])
        chosen = [node.id for node in came.versions][:: count(20, 1)]
        for id in chosen:
            with pytest.raises(PreconditionFailed):
                await set_stage(op, version=id, stage="Production")

        lifted = await unmark(op, address=mark.id, reason="they are not")
        was = (await last_marked(op, [lifted]))[mark.id]
        assert (await marked(op))[0] == []
        assert was.until is not None
        (before,) = (await marked(op, as_of=was.until - 1))[0]
        assert before[0].of.name == demo.DATASET
        assert len(await everything(await op.snapshot(), "Notice")) == 2 * (314 + 7)
        for id in chosen:
            await set_stage(op, version=id, stage="Production")
