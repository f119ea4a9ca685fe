"""Random worlds: workspaces of every sort, people, and what they made, with links across workspaces.

Whatever has a name, a text or a value carries a mark of its own, so that a leak of anything is seen in the
text of an answer.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from auth.caller import ADMIN, Caller
from auth.recorder import Recorder
from graph import ontology
from graph.port import Direction, EdgeMatch, Graph, NewEdge, NewNode, Node, Origin, Point, Transaction, Update
from lineal.errors import LinealError
from resolvers.bytes import Bytes
from resolvers.exporting.exporting import FORMATS, export
from resolvers.exporting.linking import link
from resolvers.operation import Operation
from resolvers.reading import lineage
from resolvers.registry.files import open_file, put_file
from storage.local import LocalStorage
from tests.tenancy.model import SCOPE_OF, WALKABLE, Dump

COLOURS: Final = ("red", "green", "blue")
RATES: Final = ("0.1", "0.2")
ALIASES: Final = ("champion", "next")
CONDITIONS: Final = (
    {"type": "license", "allowed": ["none of them"], "datasets": True},
    {"type": "verified"},
    {"type": "threshold", "metric": "auc >= 0.6"},
)
"""What every gate asks for: things that are named for not being so."""
ROLES: Final = ("VIEWER", "CONTRIBUTOR", "APPROVER", "OWNER")
SCOPES: Final = tuple(sorted({*SCOPE_OF.values(), "lineage:read", "metrics:read", "audit:read"}))
PARAMETERS: Final = ("ModelVersion", "Run", "Evaluation")
BASE: Final = "http://lineal.test"
TEXT: Final = "common words"
"""What every description has in it."""


class World:
    """Writes a random world, kind after kind, each time as one of its people."""

    def __init__(self, rng: Random, graph: Graph) -> None:
        self.rng = rng
        self.graph = graph
        self.made: dict[str, list[Node]] = {}

    def mark(self) -> str:
        """A text that nothing else has."""
        return f"z{self.rng.getrandbits(56):014x}"

    async def build(self) -> None:
        """Write everything."""
        await self._people()
        await self._places()
        await self._things()
        await self._links()
        await self._access()
        await self._later()
        await self._mixed()
        await self._noted()

    # Who there is ─────────────────────────────────────────────────────────────────────────────────

    async def _people(self) -> None:
        people = [
            NewNode(
                "Principal",
                f"corp:{self.mark()}",
                "",
                props={
                    "type": self.rng.choice(("USER", "SERVICE")),
                    "displayName": self.mark(),
                    "directory": {"userName": self.mark()},
                    **({"active": False} if n == 0 else {}),
                },
            )
            for n in range(7)
        ]
        teams = [NewNode("Team", self.mark(), "", props={"description": self._text()}) for _ in range(3)]
        await self._write(*people, *teams)
        members = {(self._any("Principal").id, self._any("Team").id) for _ in range(6)}
        await self._link(*(NewEdge("MEMBER_OF", *ends) for ends in sorted(members)))

    async def _places(self) -> None:
        for visibility in ("PUBLIC", "INTERNAL", "PRIVATE", "PRIVATE", None):
            props = {"visibility": visibility, "lineage": self.rng.choice(("OPAQUE", "OPAQUE", "TRANSPARENT", None))}
            await self._write(NewNode("Workspace", self.mark(), "", props={"description": self._text(), **props}))

    async def _access(self) -> None:
        grants = {
            (place.id, self._any(kind).id): self.rng.choice(ROLES)
            for place in self.made["Workspace"]
            for kind in self.rng.choices(("Principal", "Team"), k=self.rng.choice((1, 2, 2)))
        }
        await self._link(*(NewEdge("GRANTS", *ends, role) for ends, role in grants.items()))
        shares = {(self._any("Model", "Dataset").id, self._any("Workspace").id) for _ in range(5)}
        await self._link(*(NewEdge("SHARED_WITH", *ends) for ends in sorted(shares)))

    # What there is ────────────────────────────────────────────────────────────────────────────────

    async def _things(self) -> None:
        for kind, count in (("Model", 7), ("Dataset", 6), ("Experiment", 3), ("Pipeline", 2), ("Run", 8)):
            await self._write(*(self._new(kind) for _ in range(count)))
        for kind, count in (("Evaluation", 4), ("Deployment", 5), ("Environment", 2), ("ServingTarget", 2)):
            await self._write(*(self._new(kind) for _ in range(count)))
        for kind, count in (("Artifact", 4), ("Upload", 4), ("CodeRevision", 3)):
            await self._write(*(self._new(kind) for _ in range(count)))
        for kind, count in (("Validation", 4), ("Mark", 3), ("Webhook", 4)):
            await self._write(*(self._new(kind) for _ in range(count)))
        for kind, count in (("StageScheme", 3), ("Gate", 8), ("StageMove", 5), ("Approval", 5)):
            await self._write(*(self._new(kind) for _ in range(count)))
        for part, whole, edge in (
            ("ModelVersion", "Model", "VERSION_OF"),
            ("DatasetVersion", "Dataset", "VERSION_OF"),
            ("Field", "Dataset", "PART_OF"),
            ("DeploymentRevision", "Deployment", "REVISION_OF"),
        ):
            parts = [
                self._new(part, node, number)
                for node in self.made[whole]
                for number in range(1, self.rng.choice((1, 2, 3, 4)))
            ]
            made = await self._write(*parts)
            await self._link(*(NewEdge(edge, node.id, node.container) for node in made))
        await self._owned()

    def _new(self, kind: str, whole: Node | None = None, number: int = 0) -> NewNode:
        props: dict[str, Any] = {"description": self._text(), "attributes": {self.mark(): self.mark()}}
        props |= self._props(kind)
        if kind in {"ModelVersion", "DeploymentRevision"}:
            return NewNode(kind, str(number), whole.workspace, whole.id, {**props, "number": number})  # type: ignore[union-attr]
        if whole is not None:
            return NewNode(kind, self.mark(), whole.workspace, whole.id, props)
        return NewNode(kind, self.mark(), self._place(), props=props)

    def _props(self, kind: str) -> dict[str, Any]:
        """What things of a kind have that others have not."""
        match kind:
            case "Upload":
                state = self.rng.choice(("OPEN", "COMPLETE"))
                return {"state": state, "digest": self.mark(), "artifactName": self.mark()}
            case "Validation":
                return {"state": self.rng.choice(("QUEUED", "RUNNING")), "suite": self.mark(), "worker": self.mark()}
            case "Webhook":
                state = self.rng.choice(ontology.WEBHOOK_STATES)
                return {"url": f"https://{self.mark()}.example.org/", "state": state}
            case "Mark":
                return {"type": self.rng.choice(ontology.MARK_TYPES), "reason": self.mark()}
            case "StageScheme":
                stage = {"name": self.mark(), "mlflow": "None", "live": False, "final": False}
                return {"stages": {"stages": [stage]}}
            case "Gate":
                return {"alias": self.rng.choice(ALIASES), "conditions": {"conditions": list(CONDITIONS)}}
            case "StageMove":
                return {"toStage": self.mark(), "reason": self.mark(), "verdict": self._verdict()}
            case "DeploymentRevision":
                return {"verdict": self._verdict()}
            case "Approval":
                state = self.rng.choice(("OPEN", "USED"))
                return {"state": state, "alias": self.mark(), "reason": self.mark()}
            case "DatasetVersion":
                return {"producers": {self.mark(): [1, 2]}, "registered": self._any("ModelVersion").id}
            case "CodeRevision":
                return {"repository": self.mark(), "commit": self.mark()}
        return {}

    def _verdict(self) -> dict[str, Any]:
        return {"met": True, "conditions": [{"type": "threshold", "met": True, "detail": self.mark()}]}

    async def _owned(self) -> None:
        """Tags, parameters and metrics: some of names that all share, some of names of their own."""
        things = [n for kind, nodes in self.made.items() if kind not in {"Principal", "Team"} for n in nodes]
        for some in (things[::2], things[1::2]):
            tags = {n.id: {"colour": self.rng.choice(COLOURS), self.mark(): self.mark()} for n in some}
            measured = [n for n in some if n.kind in PARAMETERS]
            params = {n.id: {"lr": self.rng.choice(RATES), self.mark(): self.mark()} for n in measured}
            points = {
                n.id: [Point("auc", self._figure(), 1, 1_000), Point(self.mark(), 0.5, 1, 1_000)] for n in measured
            }

            async def work(tx: Transaction, tags: Any = tags, params: Any = params, points: Any = points) -> None:
                await tx.put_rows("tags", tags)
                await tx.put_rows("params", params)
                await tx.log_metrics(points)

            await self._do(work, "describe")

    def _figure(self) -> float:
        return self.rng.choice((0.25, 0.5, 0.75, math.nan, math.inf))

    # What leads where ─────────────────────────────────────────────────────────────────────────────

    async def _links(self) -> None:
        walked = [(kind, *ends) for kind in WALKABLE for ends in ontology.EDGE_KINDS[kind].ends]
        # Whatever is not of one kind to the same closes no cycle in this order of kinds but by way of runs.
        for kind, source, target in walked:
            for _ in range(self.rng.choice((2, 4, 6))):
                await self._try(self._edge(kind, source, target))
        files = ("HAS_ARTIFACT", "UPLOAD_TO")
        for kind in ("PART_OF", "RUN_OF", *files, "SUPERSEDED_BY", "OWNED_BY", "OWNED_BY", "OWNED_BY"):
            for source, target in ontology.EDGE_KINDS[kind].ends:
                if source in self.made and target in self.made and source not in {"Field", "Comment"}:
                    await self._try(self._edge(kind, source, target))
        decided = ("MOVED", "REQUESTS", "REVIEWER", "DECIDED_BY", "ACTS_FOR", "VALIDATES", "REPORTED", "MARKS")
        for kind in (*decided, "DEPLOYED_TO", "IN_ENVIRONMENT", "SPECIFIES"):
            for ends in ontology.EDGE_KINDS[kind].ends:
                for _ in range(4):
                    await self._try(self._edge(kind, *ends))
        versions = self.made["ModelVersion"]
        for version in self.rng.sample(versions, min(len(versions), 6)):
            await self._try(NewEdge("ALIAS", version.container, version.id, self.rng.choice(ALIASES)))
            await self._try(NewEdge("ALIAS", version.container, version.id, self.mark()))
            await self._try(NewEdge("STAGE", version.container, version.id, self.mark()))

    def _edge(self, kind: str, source: str, target: str) -> NewEdge:
        has_label = ontology.EDGE_KINDS[kind].discriminator is not None
        props = {"weight": 0.5} if kind in {"SERVES", "SPECIFIES"} else {}
        return NewEdge(kind, self._any(source).id, self._any(target).id, self.mark() if has_label else "", props)

    async def _later(self) -> None:
        """Comments and watches; then things change, go, and are not linked any more."""
        about = [n for nodes in self.made.values() for n in nodes if n.kind != "Comment"]
        sayable = [n for n in about if n.kind not in {"Principal", "Team"}]
        for node in self.rng.sample(sayable, 12):
            by = self._any("Principal")
            mentioned = self._any("Principal", "Team")
            container = node.container if node.container != node.id else None
            text = f"{self.mark()} @{mentioned.name}"
            (comment,) = await self._write(
                NewNode("Comment", self.mark(), node.workspace, container or node.id, {"text": text}), by=by.name
            )
            await self._link(
                NewEdge("ABOUT", comment.id, node.id), NewEdge("MENTIONS", comment.id, mentioned.id), by=by.name
            )
        await self._told(sayable)
        await self._watched(about, 12)
        for node in self.rng.sample([n for n in about if n.kind != "Workspace"], 6):
            await self._do(lambda tx, own=node.id: tx.update([Update(own, {"description": self._text()})]), "update")
        for kind in ("Model", "Dataset", "Run"):
            node = self._any(kind)
            await self._do(lambda tx, own=node.id: tx.update([Update(own, name=self.mark())]), "rename")
        for kind in ("READ", "DERIVED_FROM", "SERVES", "GRANTS", "SHARED_WITH", "ALIAS"):
            source = self._any(ontology.EDGE_KINDS[kind].ends[0][0]).id
            await self._do(lambda tx, match=EdgeMatch(kind, source): tx.unlink([match]), "unlink")
        for kind in ("ModelVersion", "Run", "Deployment"):
            node = self._any(kind)
            await self._do(lambda tx, own=node.id: tx.remove([own]), "remove")

    async def _told(self, things: Sequence[Node]) -> None:
        """Notices, each because of something that may be somewhere else."""
        for node in self.rng.sample(things, 8):
            props = {"type": self.rng.choice(ontology.NOTICE_TYPES), "text": self.mark()}
            (notice,) = await self._write(NewNode("Notice", self.mark(), node.workspace, node.container, props))
            await self._link(
                NewEdge("CONCERNS", notice.id, node.id),
                NewEdge("BECAUSE_OF", notice.id, self._any("Mark", "Model", "ModelVersion").id),
                NewEdge("NOTIFIES", notice.id, self._any("Principal", "Team").id),
            )

    async def _watched(self, things: Sequence[Node], count: int) -> None:
        watches = {(self._any("Principal").id, n.id) for n in self.rng.sample(things, count)}
        for ends in sorted(watches):
            await self._try(NewEdge("WATCHES", *ends))

    async def _mixed(self) -> None:
        """Writes that each change things in several workspaces; more is watched, and some of it was read."""
        async with self.graph.snapshot() as snapshot:
            alive = await snapshot.nodes([n.id for nodes in self.made.values() for n in nodes])
        things = [n for n in alive.values() if n.kind not in {"Principal", "Team", "Comment"}]
        for _ in range(16):
            await self._watched(things, 2)
            await self._several(things)
        for person in self.rng.sample(self.made["Principal"], 4):
            read = {"through": self.rng.randint(0, 200), "also": [self.rng.randint(0, 400) for _ in range(9)]}
            inbox = Update(person.id, {"inbox": read, "directory": {"userName": self.mark()}})
            await self._do(lambda tx, inbox=inbox: tx.update([inbox]), "read")

    async def _several(self, things: Sequence[Node]) -> None:
        updated = self.rng.sample(things, self.rng.choice((0, 0, 1, 2)))
        new = [self._new(self.rng.choice(("Model", "Dataset", "Run"))) for _ in range(self.rng.choice((0, 1, 2)))]
        ends = (("READ", "Run", "DatasetVersion"), ("USES", "ModelVersion", "Field"), ("OWNED_BY", "Model", "Team"))
        edges = [self._edge(*self.rng.choice(ends)) for _ in range(self.rng.choice((1, 2, 3)))]
        about = self.rng.choice(things)
        comment = NewNode("Comment", self.mark(), about.workspace, about.container, {"text": self.mark()})
        place, person = self._any("Workspace").id, self._any("Principal").id

        async def work(tx: Transaction) -> None:
            await tx.update([Update(n.id, {"description": self._text()}) for n in updated])
            made = await tx.create([*new, comment])
            await tx.link([*edges, NewEdge("ABOUT", made[-1].id, about.id)])
            if self.rng.random() < 0.6:
                await tx.link([NewEdge("MENTIONS", made[-1].id, person)])
            if self.rng.random() < 0.4:
                await tx.unlink([EdgeMatch("GRANTS", place, person)])
                await tx.link([NewEdge("GRANTS", place, person, "VIEWER")])
            await tx.log_metrics({n.id: [Point("auc", 0.5, 2, 2_000)] for n in updated if n.kind in PARAMETERS})

        try:
            await self._do(work, "mixed")
        except LinealError:
            return

    async def _noted(self) -> None:
        """Reads of the audit, refusals, exports and files that were fetched."""
        with TemporaryDirectory() as folder:
            async with Recorder(self.graph) as recorder, LocalStorage(Path(folder), bytes(32)) as storage:
                for _ in range(4):
                    told: Any = {"recorder": recorder, "bytes": Bytes(storage), "base": BASE}
                    async with Operation(self.graph, caller=Caller("corp:root", frozenset({ADMIN})), **told) as op:
                        await self._fetched(op)
        async with Recorder(self.graph) as recorder:
            for _ in range(6):
                caller = Caller(self._any("Principal").name, client=self.mark(), token=self.mark())
                place = self._any("Workspace").name
                told = {"workspace": place, "subject": self._any("Model", "Dataset", "Run").id}
                where: Any = {"address": self.mark(), "request": self.mark()}
                await recorder.read(caller, action="readAudit", data=told, workspaces=(place,), **where)
                on = {node.workspace: [node.id] for node in (self._any("Model"), self._any("Run", "Dataset"))}
                message = self.mark()
                await recorder.refused(caller, action="query", code="FORBIDDEN", message=message, on=on, **where)

    async def _fetched(self, op: Operation) -> None:
        """An export of things of two workspaces, and a file by a path that tells something."""
        roots = [self._any("Model").id, self._any("Dataset").id]
        found = await lineage(op, roots, direction=Direction.UPSTREAM)
        exported = await export(op, found, FORMATS["dot"], direction=Direction.UPSTREAM, handle=str)
        await link(op, exported)
        place, path = self._any("Workspace").name, f"{self.mark()}/{self.mark()}"
        await put_file(op, place, path, _one(self.mark().encode()))
        await open_file(op, place, path)

    # How it is written ────────────────────────────────────────────────────────────────────────────

    def _any(self, *kinds: str) -> Node:
        return self.rng.choice(self.made[self.rng.choice(kinds)])

    def _place(self) -> str:
        return self.rng.choice([*(n.name for n in self.made["Workspace"]), ontology.DEFAULT_WORKSPACE])

    def _text(self) -> str:
        return f"{TEXT} {self.mark()}"

    async def _write(self, *nodes: NewNode, by: str = "") -> Sequence[Node]:
        made = await self._do(lambda tx: tx.create(nodes), "create", by)
        for node in made:
            self.made.setdefault(node.kind, []).append(node)
        return list(made)

    async def _link(self, *edges: NewEdge, by: str = "") -> None:
        await self._do(lambda tx: tx.link(edges), "link", by)

    async def _try(self, edge: NewEdge) -> None:
        """Link two things, unless the graph refuses it: a cycle, or a second one where there may be one."""
        if edge.source != edge.target:
            try:
                await self._link(edge)
            except LinealError:
                return

    async def _do(self, work: Any, action: str, by: str = "") -> Any:
        author = by or (self._any("Principal").name if "Principal" in self.made else "corp:founder")
        origin = Origin(self.mark(), self.mark(), self.mark())
        return await self.graph.write(work, by=author, action=action, request=f"req-{self.mark()}", origin=origin)


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


def some_callers(rng: Random, world: Dump, count: int) -> list[Caller]:
    """Random people with random scopes: known and unknown, with teams and workspaces of their tokens, anonymous."""
    return [_caller(rng, world) for _ in range(count)]


def _caller(rng: Random, world: Dump) -> Caller:
    scopes = frozenset(SCOPES) if rng.random() < 0.5 else frozenset(s for s in SCOPES if rng.random() < 0.7)
    sort = rng.random()
    if sort < 0.1:
        return Caller("anonymous", scopes - {"audit:read", "activity:read"})
    if sort < 0.15:
        return Caller("corp:stranger", scopes)
    if sort < 0.2:
        return Caller("corp:root", frozenset({"admin"}))
    person = rng.choice(world.of_kind("Principal"))
    if sort < 0.3:
        return Caller(person.name, scopes, workspaces=None)
    teams = [t.name for t in world.of_kind("Team") if rng.random() < 0.2]
    places = [p.name for p in world.of_kind("Workspace") if rng.random() < 0.1]
    if sort < 0.4:
        within = frozenset(places) | {rng.choice(world.of_kind("Workspace")).name}
        return Caller(person.name, scopes - {ADMIN, "directory:write", "monitor:read"}, workspaces=within, bounded=True)
    return Caller(person.name, scopes, teams=frozenset(teams), workspaces=frozenset(places))
