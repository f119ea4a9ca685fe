"""Random questions over all roots, each with the scopes that it needs and what its answer must be."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from graph import ontology
from graph.ids import new_id
from graph.port import Node
from resolvers.events import position
from tests.tenancy.generating import ALIASES, CONDITIONS, ROLES, TEXT
from tests.tenancy.happening import PAGE, Happenings
from tests.tenancy.listing import Lists
from tests.tenancy.model import SCOPE_OF, marks
from tests.tenancy.questions import Question, enums, moment, quoted
from tests.tenancy.relations import NESTED
from tests.tenancy.walking import Walks

ADDRESSES: Final = {
    "Workspace": "workspaces:/",
    "Model": "models:/",
    "Dataset": "datasets:/",
    "Experiment": "experiments:/",
    "Run": "runs:/",
    "Pipeline": "pipelines:/",
    "Evaluation": "evaluations:/",
    "Deployment": "deployments:/",
    "StageScheme": "schemes:/",
    "Gate": "gates:/",
    "Approval": "approvals:/",
    "Webhook": "webhooks:/",
    "Artifact": "artifacts:/",
    "Upload": "uploads:/",
    "Validation": "validations:/",
    "Mark": "marks:/",
    "Principal": "principals:/",
    "Team": "teams:/",
}


COMMON: Final = TEXT.split()[0]
PARTS: Final = {"ModelVersion": "modelVersion", "DatasetVersion": "datasetVersion", "Field": "field"}
"""Roots for what is asked for by id."""


class Asker(Lists, Walks, Happenings):
    """Makes up questions for one caller."""

    def question(self) -> Question:
        """One question, of any sort."""
        sorts = (
            (self.listing, 5),
            (self.paged, 2),
            (self.node, 2),
            (self.nodes, 1),
            (self.entities, 2),
            (self.entity, 2),
            (self.served, 1),
            (self.addressed, 2),
            (self.searched, 2),
            (self.searched_on, 1),
            (self.nested, 5),
            (self.lineage, 6),
            (self.walked_from_node, 2),
            (self.exported, 2),
            (self.paths, 3),
            (self.compared, 2),
            (self.gated, 3),
            (self.changed, 3),
            (self.activity, 4),
            (self.notified, 3),
            (self.audited, 4),
            (self.viewer, 1),
            (self.latest, 1),
            (self.moved, 1),
            (self.marked, 1),
        )
        make = self.rng.choices([make for make, _ in sorts], [weight for _, weight in sorts])[0]
        return make()

    # Single things ────────────────────────────────────────────────────────────────────────────────

    def node(self) -> Question:
        """Anything by its id."""
        return self._single("node(id: %s)", self._id(), ())

    def _single(self, call: str, node: Node, needs: tuple[str, ...], ref: str = "", absent: str = "") -> Question:
        ref = ref or node.id
        text = f"{{ it: {call % quoted(ref)} {{ id kind name address createdBy description attributes }} }}"
        if not self.eyes.sees(node.id):
            return Question(text, needs, asked=ref, absent=absent or self._absent(node.id))

        def check(it: Any) -> None:
            assert (it["id"], it["kind"], it["name"]) == (node.id, ontology.constant(node.kind), node.name)

        return Question(text, needs, check=check)

    def nodes(self) -> Question:
        """Several things by their ids, hidden ones among them."""
        asked = [self._id().id for _ in range(5)] + [new_id("mo")]

        def check(it: Any) -> None:
            assert [n and n["id"] for n in it] == [id if self.eyes.sees(id) else None for id in asked]

        return Question(f"{{ it: nodes(ids: [{', '.join(map(quoted, asked))}]) {{ id name }} }}", check=check)

    def entities(self) -> Question:
        """Several things as a gateway names them: by id, by name, and by the id of something of another kind."""
        nodes = [self._id() for _ in range(6)]
        asked = [f"{{__typename: {quoted(n.kind)}, {self._key(n)}}}" for n in nodes]
        asked.append(f'{{__typename: "Run", id: {quoted(self.rng.choice(self.world.of_kind("Model")).id)}}}')

        def check(it: Any) -> None:
            assert [n and n["id"] for n in it] == [n.id if self.eyes.sees(n.id) else None for n in nodes] + [None]

        listed = ", ".join(asked)
        return Question(
            f"{{ it: _entities(representations: [{listed}]) {{ __typename ... on Node {{ id name }} }} }}", check=check
        )

    def _key(self, node: Node) -> str:
        if (
            ontology.NODE_KINDS[node.kind].within
            or self.world.records[node.id].node.deleted_at
            or self.rng.random() < 0.5
        ):
            return f"id: {quoted(node.id)}"
        return f"workspace: {{name: {quoted(node.workspace)}}}, name: {quoted(node.name)}"

    def entity(self) -> Question:
        """One thing as a gateway names it, which may be hidden."""
        node = self._id()
        text = f"{{ it: _entities(representations: [{{__typename: {quoted(node.kind)}, id: {quoted(node.id)}}}]) "
        text += "{ ... on Node { id name description } } }"

        def check(it: Any) -> None:
            assert [n and n["id"] for n in it] == [node.id if self.eyes.sees(node.id) else None]

        if self.eyes.sees(node.id):
            return Question(text, check=check)
        return Question(text, check=check, asked=node.id, absent=self._absent(node.id))

    def served(self) -> Question:
        """The schema as gateways are given it."""

        def check(it: Any) -> None:
            assert it["sdl"].startswith("extend schema @link")

        return Question("{ it: _service { sdl } }", ("schema:read",), check=check)

    def addressed(self) -> Question:
        """Something by its name, or the name it had."""
        kind = self.rng.choice([*ADDRESSES, *PARTS])
        node = self.rng.choice(self.world.of_kind(kind))
        if kind in PARTS:
            return self._single(f"{PARTS[kind]}(address: %s)", node, (SCOPE_OF[kind],))
        former = self.world.records[node.id].former
        name = former[0].rpartition("/")[2] if former and self.rng.random() < 0.5 else quote(node.name)
        place = "" if not node.workspace or node.workspace == ontology.DEFAULT_WORKSPACE else f"{node.workspace}:"
        ref = f"{ADDRESSES[kind]}{place}{name}"
        absent = f"{ADDRESSES[kind]}{place}{self._mark()}"
        field = kind[0].lower() + kind[1:]
        return self._single(f"{field}(address: %s)", node, (SCOPE_OF[kind],), ref, absent)

    def nested(self) -> Question:
        """What one hop leads to."""
        kind, field, edge, direction, target, needs = self.rng.choice(NESTED)
        node = self._id() if kind == "Node" else self.rng.choice(self.world.of_kind(kind))
        needs = (*needs, SCOPE_OF[target]) if target else needs
        where = (
            f"... on {kind} {{ {field}(first: 500) {{ totalCount nodes {{ id name }} edges {{ discriminator }} }} }}"
        )
        text = f"{{ it: node(id: {quoted(node.id)}) {{ id workspace {{ id name }} {where} }} }}"
        if not self.eyes.sees(node.id):
            return Question(text, inner=("workspace:read", *needs), asked=node.id, absent=self._absent(node.id))
        near = self.eyes.near(node.id, edge, direction, target)

        def check(it: Any) -> None:
            if not self.eyes.holds(*needs):
                assert it[field] is None
                return
            assert sorted(n["id"] for n in it[field]["nodes"]) == near
            assert it[field]["totalCount"] == len(near)
            place = self.world.by_name.get(("Workspace", node.workspace))
            seen = place is not None and self.eyes.sees(place.id)
            assert (it["workspace"] is not None) is seen

        return Question(text, inner=("workspace:read", *needs), check=check)

    def marked(self) -> Question:
        """What is marked, or was at a time."""
        at = self.rng.choice([None, *self.times])
        on = {e.source: e for e in self.world.open if e.kind == "MARKS" and self.eyes.sees(e.target)}
        there = [n for n in self.eyes.of_kind("Mark") if n.id in on and (at is None or on[n.id].since <= at)]
        there.sort(key=lambda n: (n.created_at, n.id))
        when = "" if at is None else f", asOf: {quoted(moment(at))}"

        def check(it: Any) -> None:
            assert [(n["mark"]["id"], n["of"]["id"]) for n in it["nodes"]] == [(n.id, on[n.id].target) for n in there]

        return Question(
            f"{{ it: marked(first: 500{when}) {{ nodes {{ mark {{ id }} of {{ id name }} }} }} }}",
            ("dataset:read",),
            check=check,
        )

    def latest(self) -> Question:
        """Where everybody's events end: a place, and nothing of what is there."""

        def check(it: Any) -> None:
            assert str(position(it)) == it

        return Question("{ it: sequence }", ("activity:read",), check=check)

    def viewer(self) -> Question:
        """Who the caller is."""
        caller, eyes = self.eyes.caller, self.eyes
        text = "{ it: viewer { name anonymous teams scopes roles { workspace role } principal { id name } } }"
        own = {(place, "OWNER") for place in caller.workspaces or ()}
        roles = {
            place: max((role for at, role in eyes.roles | own if at == place), key=ROLES.index)
            for place, _ in eyes.roles | own
        }

        def check(it: Any) -> None:
            assert (it["name"], it["anonymous"]) == (caller.name, caller.name == "anonymous")
            assert it["teams"] == sorted(caller.teams)
            assert it["roles"] == [{"workspace": place, "role": roles[place]} for place in sorted(roles)]
            seen = eyes.me is not None and eyes.sees(eyes.me.id)
            assert it["principal"] == ({"id": eyes.me.id, "name": eyes.me.name} if seen and eyes.me else None)

        return Question(text, inner=("workspace:read",), check=check)

    def searched(self) -> Question:
        """What has a word in it."""
        words = marks([self._id().name, self._id().props.get("description", "")])
        word = self.rng.choice((TEXT, "common", *sorted(words)))
        kinds = self.rng.choice((None, ["MODEL", "DATASET"], ["RUN"]))
        args = f"text: {quoted(word)}, first: 500{enums('kinds', kinds)}"
        text = f"{{ it: search({args}) {{ totalCount nodes {{ id name }} }} }}"
        there = {
            n.id
            for n in self.eyes.of_kind(*SCOPE_OF)
            if (kinds is None or ontology.constant(n.kind) in kinds)
            and (word in n.name or word in n.props.get("description", ""))
        }

        def check(it: Any) -> None:
            assert {n["id"] for n in it["nodes"]} == there
            assert it["totalCount"] == len(there)

        return Question(text, check=check)

    def gated(self) -> Question:
        """What the gates of an alias say of a version, whose ancestors may be hidden."""
        version = self.rng.choice(self.world.of_kind("ModelVersion"))
        alias = self.rng.choice(ALIASES)
        inside = "met conditions { met detail hidden gate { id } nodes { id } }"
        text = f"{{ it: checkGate(version: {quoted(version.id)}, alias: {quoted(alias)}) {{ {inside} }} }}"
        if not self.eyes.sees(version.id):
            return Question(text, ("model:read",), asked=version.id, absent=self._absent(version.id))
        gates = [
            gate
            for gate in self.world.of_kind("Gate")
            if (gate.workspace, gate.props["alias"]) == (version.workspace, alias)
        ]

        def check(it: Any) -> None:
            assert len(it["conditions"]) == len(gates) * len(CONDITIONS)
            assert it["met"] is all(each["met"] for each in it["conditions"])
            named = {each["gate"]["id"] for each in it["conditions"] if each["gate"]}
            assert named == {gate.id for gate in gates if self.eyes.sees(gate.id)}
            assert all(self.eyes.sees(node["id"]) for each in it["conditions"] for node in each["nodes"])

        return Question(text, ("model:read",), check=check)

    def moved(self) -> Question:
        """Which versions a model's aliases and stages pointed to."""
        node = self.rng.choice(self.world.of_kind("Model"))
        history = "... on Model { history { nodes { kind name version { id } } } }"
        text = f"{{ it: node(id: {quoted(node.id)}) {{ id {history} }} }}"
        if not self.eyes.sees(node.id):
            return Question(text, inner=("model:read",), asked=node.id, absent=self._absent(node.id))
        edges = [e for e in self.world.edges if e.kind in {"ALIAS", "STAGE"} and e.source == node.id]

        def check(it: Any) -> None:
            assert sorted(m["name"] for m in it["history"]["nodes"]) == sorted(e.discriminator for e in edges)

        return Question(text, check=check)

    def searched_on(self) -> Question:
        """A page of what has a word in it that all descriptions have, after a cursor that somebody else was given."""
        found = [n for n in self.world.of_kind(*SCOPE_OF) if COMMON in n.props.get("description", "")]
        found.sort(key=lambda n: (n.name.casefold(), n.id))
        place, first = self.rng.randrange(len(found)), self.rng.randint(1, 4)
        cursor = self.cursors["search", COMMON][found[place].id]
        there = [n.id for n in found[place + 1 :] if n.id in self.eyes.visible]
        text = f"search(text: {quoted(COMMON)}, first: {first}, after: {quoted(cursor)})"

        def check(it: Any) -> None:
            assert [n["id"] for n in it["nodes"]] == there[:first]
            assert it["totalCount"] == len([n for n in found if n.id in self.eyes.visible])
            assert it["pageInfo"]["hasNextPage"] is (len(there) > first)

        return Question(f"{{ it: {text} {{ totalCount nodes {{ id name }} {PAGE} }} }}", check=check)

    def compared(self) -> Question:
        """Versions side by side."""
        versions = self.rng.sample(self.world.of_kind("ModelVersion"), 2)
        ids = [v.id for v in versions]
        inputs = "inputs { container { id name } discriminator values { nodes { id name } } same }"
        listed = ", ".join(map(quoted, ids))
        text = f"{{ it: compareVersions(versions: [{listed}]) {{ versions {{ id }} parameters {{ name }} {inputs} }} }}"
        hidden = [id for id in ids if not self.eyes.sees(id)]
        if hidden:
            return Question(text, ("model:read",), asked=hidden[0], absent=self._absent(hidden[0]))
        records = self.world.records
        # A version has the parameters of the run that made it, where the caller sees that run.
        owners = [*ids, *(run for id in ids for run in self.eyes.near(id, "PRODUCED_BY", "OUT", "Run"))]

        def check(it: Any) -> None:
            assert [v["id"] for v in it["versions"]] == ids
            assert {p["name"] for p in it["parameters"]} == {p for id in owners for p in records[id].params}
            shown = {n["id"] for i in it["inputs"] for value in i["values"] for n in value["nodes"]}
            assert all(map(self.eyes.sees, shown))

        return Question(text, ("model:read",), check=check)
