"""The same asked of both faces: what GraphQL answers, and what REST does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from graphql import GraphQLInterfaceType, get_named_type, is_leaf_type

from gateway.rest.routes import NOUNS, Route, kebab, lists_of, routes
from graph.port import Graph
from schema.executing import execute
from schema.limits import Limits
from schema.sdl import build_schema
from tests.gateway.rest.conftest import ADMIN, Client

PATIENT: Final = Limits(seconds=600.0)
"""How long an answer may take says nothing of what it says."""
BUILT: Final = build_schema(PATIENT)
SCHEMA: Final = BUILT._schema
WRITES: Final = {route.fields[0]: route for route in reversed(routes(SCHEMA)) if route.writes}

IDS: Final = re.compile(r"\b[a-z]{2}_[0-9A-HJKMNP-TV-Z]{26}\b")
TIMES: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
LATER: Final = {("Artifact", "signatureBundle")}


def leaves(type_: Any) -> str:
    """A selection of all plain values of a type, and of the ids of things that it names."""
    parts = []
    for name, each in type_.fields.items():
        given: Any = get_named_type(each.type)
        if each.args or (type_.name, name) in LATER:
            continue
        if is_leaf_type(given):
            parts.append(name)
        elif isinstance(given, GraphQLInterfaceType) or "Node" in map(str, given.interfaces):
            parts.append(f"{name} {{ id address }}")
    return " ".join(parts) or "__typename"


def selection(type_: Any, depth: int = 0) -> str:
    """A selection of a list, of a value with values in it, or of a thing."""
    if type_.name.endswith(("Connection", "Page")):
        return f"nodes {{ {leaves(get_named_type(type_.fields['nodes'].type))} }} pageInfo {{ endCursor hasNextPage }}"
    return leaves(type_)


async def graphql(graph: Graph, document: str, **variables: Any) -> Any:
    """What GraphQL answers: data, or the code and the message of its first error."""
    result = await execute(BUILT, graph, document, variables, caller=ADMIN)
    if result.errors:
        error = result.errors[0]
        return {"code": (error.extensions or {})["code"], "message": error.message}
    return result.data


def included(part: Any, whole: Any, at: str = "") -> list[str]:
    """Where what GraphQL says is not what REST says: REST may say more."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return [
            wrong
            for key, value in part.items()
            for wrong in (
                [f"{at}.{key} is missing"] if key not in whole else included(value, whole[key], f"{at}.{key}")
            )
        ]
    if isinstance(part, list) and isinstance(whole, list) and len(part) == len(whole):
        return [
            wrong for n, (a, b) in enumerate(zip(part, whole, strict=True)) for wrong in included(a, b, f"{at}[{n}]")
        ]
    return [] if part == whole else [f"{at}: {part!r:.200} in GraphQL, {whole!r:.200} in REST"]


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


async def reads_alike(rest: Client, most: int = 3) -> int:
    """Ask both faces for every noun: lists, things by their addresses, and the lists that those have."""
    asked = 0
    assert SCHEMA.query_type
    for collection, (kind, one, many) in NOUNS.items():
        type_ = get_named_type(SCHEMA.query_type.fields[many].type)
        said = await graphql(rest.graph, f"{{ {many}(first: 20) {{ {selection(type_)} totalCount }} }}")
        page = await rest.get(f"/{collection}?limit=20&total=true")
        whole = said[many]
        assert (page["total"], page["nextCursor"]) == (whole["totalCount"], _next(whole))
        assert not (wrong := included(whole["nodes"], page["items"])), wrong
        asked += 1
        for item in whole["nodes"][:most] if one else ():
            asked += await _reads_one(rest, collection, kind, one, item["address"])
    return asked


async def _reads_one(rest: Client, collection: str, kind: str, one: str, address: str) -> int:
    at = f"/{collection}/{quote(address, safe='')}"
    type_: Any = SCHEMA.type_map[kind]
    said = await graphql(rest.graph, f"query($a: ID!) {{ {one}(address: $a) {{ {leaves(type_)} }} }}", a=address)
    assert not (wrong := included(said[one], await rest.get(at))), wrong
    common = set(lists_of(SCHEMA, "Node"))
    for name in lists_of(SCHEMA, kind):
        given: Any = get_named_type(type_.fields[name].type)
        text = f"query($a: ID!) {{ {one}(address: $a) {{ id {name}(first: 5) {{ {selection(given)} }} }} }}"
        said = (await graphql(rest.graph, text, a=address))[one]
        where = f"/nodes/{said['id']}" if name in common else at
        page = await rest.get(f"{where}/{kebab(name)}?limit=5")
        assert page["nextCursor"] == _next(said[name]), (address, name)
        assert not (wrong := included(said[name]["nodes"], page["items"])), wrong
    return 1 + len(list(lists_of(SCHEMA, kind)))


def _next(connection: Mapping[str, Any]) -> str | None:
    page = connection["pageInfo"]
    return page["endCursor"] if page["hasNextPage"] else None


# ── Writing ───────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Twins:
    """Two stores with the same in them, one asked in GraphQL and one in REST. `kept` are ids by name, for each."""

    graph: Graph
    rest: Client
    kept: dict[str, tuple[str, str]] = field(default_factory=dict)
    done: int = 0
    refused: list[tuple[str, str, str]] = field(default_factory=list)

    async def write(self, name: str, keep: str | None, given: Mapping[str, Any]) -> None:
        """Do the same in both, and hold the answers against each other."""
        assert SCHEMA.mutation_type
        payload: Any = get_named_type(SCHEMA.mutation_type.fields[name].type)
        (answer, type_), *more = ((n, get_named_type(f.type)) for n, f in payload.fields.items())
        whole = bool(more) or is_leaf_type(type_)
        inner = leaves(payload) if whole else f"{answer} {{ {leaves(type_)} }}"
        mutation = f"mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ {inner} }} }}"
        said = await graphql(self.graph, mutation, input=self._with(given, 0))
        response = await send(self.rest, WRITES[name], self._with(given, 1))
        if "code" in said:
            problem = response.json()
            # Where a field of the input is a header or a part of the path, it is called as that.
            told = [bare(text).rpartition(": ")[2] for text in (said["message"], problem["detail"])]
            assert (said["code"], told[0]) == (problem["code"], told[1]), (name, said, problem)
            self.refused.append((name, said["code"], said["message"]))
            return
        assert response.status_code == WRITES[name].status or response.status_code == 204, response.text
        result = said[name] if whole else said[name][answer]
        body: Any = response.json() if response.content else None
        shown = body["items"] if isinstance(result, list) and body else body
        assert not (wrong := included(bare(result), bare(shown))), (name, wrong)
        if keep is not None:
            assert body is not None
            self.kept[keep] = (result["id"], body["id"])
        self.done += 1

    def _with(self, value: Any, side: int) -> Any:
        """The input, with ids of one side in place of their names."""
        if isinstance(value, str) and value.startswith("$"):
            return self.kept[value][side]
        if isinstance(value, Mapping):
            return {key: self._with(inner, side) for key, inner in value.items()}
        return [self._with(inner, side) for inner in value] if isinstance(value, list) else value


def bare(value: Any) -> Any:
    """What is said, without what is different each time: ids and times."""
    return json.loads(TIMES.sub("TIME", IDS.sub("ID", json.dumps(value))))


async def send(rest: Client, route: Route, given: Mapping[str, Any]) -> httpx.Response:
    """A mutation's input as a request."""
    left, path, headers = dict(given), route.path, {}
    for shown, name in route.inputs:
        path = path.replace(f"{{{shown}}}", quote(str(left.pop(name)), safe=""))
    if "idempotencyKey" in left:
        headers["idempotency-key"] = left.pop("idempotencyKey")
    if "revision" in left:
        headers["if-match"] = f'"{left.pop("revision")}"'
    if route.method == "DELETE":
        query = urlencode(left, doseq=True)
        return await rest.send("DELETE", f"{path}?{query}" if query else path, headers=headers)
    return await rest.send(route.method, path, headers=headers, **({"json": left} if left else {}))


REASON: Final = {"reason": "Because."}
BERT: Final = "models:/bert"
RESNET: Final = "models:/vision:resnet"
SQUAD: Final = "datasets:/squad"

STORY: Final[Sequence[tuple[str, str | None, Mapping[str, Any]]]] = (
    ("createWorkspace", None, {"name": "vision", "description": "Pictures."}),
    ("createWorkspace", None, {"name": "vision"}),
    ("updateWorkspace", None, {"workspace": "workspaces:/vision", "description": "Images.", "revision": 1}),
    ("setQuota", None, {"workspace": "workspaces:/vision", "bytes": "1000000"}),
    ("registerPrincipal", None, {"name": "bob", "type": "USER", "displayName": "Bob"}),
    ("registerPrincipal", None, {"name": "robot", "type": "SERVICE", "idempotencyKey": "robot"}),
    ("setActsFor", None, {"principal": "principals:/robot", "people": ["principals:/bob"]}),
    ("deactivatePrincipal", None, {"principal": "principals:/bob"}),
    ("reactivatePrincipal", None, {"principal": "principals:/bob"}),
    ("createTeam", None, {"name": "nlp"}),
    ("addTeamMembers", None, {"team": "teams:/nlp", "members": ["principals:/bob", "principals:/robot"]}),
    ("removeTeamMembers", None, {"team": "teams:/nlp", "members": ["principals:/bob"]}),
    ("renameTeam", None, {"team": "teams:/nlp", "name": "language", "revision": 99}),
    ("renameTeam", None, {"team": "teams:/nlp", "name": "language"}),
    ("deleteTeam", None, {"team": "teams:/language"}),
    ("grantRole", None, {"workspace": "workspaces:/vision", "to": "principals:/bob", "role": "APPROVER"}),
    ("revokeRole", None, {"workspace": "workspaces:/vision", "from": "principals:/bob"}),
    ("registerModel", None, {"name": "resnet", "workspace": "vision", "tags": [{"name": "a", "value": "b"}]}),
    ("registerModel", None, {"name": "resnet", "workspace": "vision"}),
    ("registerModel", None, {"name": "x" * 300}),
    ("updateModel", None, {"model": RESNET, "task": "classification", "description": None, "revision": 1}),
    ("updateModel", None, {"model": RESNET, "task": "other", "revision": 1}),
    (
        "createModelVersion",
        None,
        {
            "model": RESNET,
            "params": [{"name": "lr", "value": "0.1"}],
            "metrics": [{"name": "auc", "value": "NaN", "step": "3"}],
            "inputs": [{"dataset": "datasets:/nq/v1", "role": "train"}],
            "aliases": ["champion"],
            "parameterCount": 9_000_000_000,
            "idempotencyKey": "resnet-1",
        },
    ),
    ("createModelVersion", None, {"model": RESNET, "parents": [{"version": f"{RESNET}/1", "relation": "finetune"}]}),
    ("updateModelVersion", None, {"version": f"{RESNET}/1", "license": "mit", "frameworks": ["torch"]}),
    ("deleteModelVersion", None, {"version": f"{RESNET}/1"}),
    ("deleteModelVersion", None, {"version": f"{RESNET}/2"}),
    ("setAlias", None, {"model": BERT, "name": "candidate", "version": "models:/bert/1", **REASON}),
    ("deleteAlias", None, {"model": BERT, "name": "candidate"}),
    ("deleteAlias", None, {"model": BERT, "name": "candidate"}),
    ("setStage", None, {"version": "models:/bert/1", "stage": "Staging", **REASON}),
    ("setTags", None, {"node": BERT, "tags": [{"name": "x", "value": "1"}, {"name": "y", "value": "2"}]}),
    ("deleteTags", None, {"node": BERT, "names": ["x", "y"]}),
    ("setOwners", None, {"node": BERT, "owners": ["principals:/bob"]}),
    ("supersede", None, {"node": "models:/bert/1", "by": "models:/bert/2"}),
    ("deprecate", None, {"node": "models:/bert/1", **REASON}),
    ("undeprecate", None, {"node": "models:/bert/1"}),
    ("retire", None, {"version": f"{RESNET}/1", **REASON}),
    ("renameModel", None, {"model": RESNET, "name": "resnet50"}),
    ("registerDataset", None, {"name": "squad", "license": "cc-by-4.0"}),
    ("updateDataset", None, {"dataset": SQUAD, "attributes": {"odd": [1, None, {"x": "y"}]}}),
    ("registerDatasetVersion", None, {"dataset": SQUAD, "name": "v1", "rowCount": "87599"}),
    ("updateDatasetVersion", None, {"version": f"{SQUAD}/v1", "digest": "sha256:aa"}),
    ("renameDatasetVersion", None, {"version": f"{SQUAD}/v1", "name": "v1.0"}),
    ("registerFields", None, {"dataset": SQUAD, "fields": [{"name": "answer"}, {"name": "odd/name"}]}),
    ("updateField", None, {"field": "fields:/squad/answer", "type": "text", "ordinal": 2}),
    ("renameField", None, {"field": "fields:/squad/odd%2Fname", "name": "even"}),
    ("deleteField", None, {"field": "fields:/squad/even"}),
    ("renameDataset", None, {"dataset": SQUAD, "name": "squad2"}),
    ("deleteDatasetVersion", None, {"version": "datasets:/squad2/v1.0"}),
    ("markDataset", "$mark", {"dataset": "datasets:/nq/v2", "type": "CONTAMINATED", **REASON}),
    ("unmark", None, {"mark": "$mark", "reason": "It was not."}),
    ("createExperiment", None, {"name": "first"}),
    ("updateExperiment", None, {"experiment": "experiments:/first", "description": "Trying."}),
    ("renameExperiment", None, {"experiment": "experiments:/first", "name": "second"}),
    ("createPipeline", None, {"name": "nightly"}),
    ("updatePipeline", None, {"pipeline": "pipelines:/nightly", "uri": "https://example.org/x"}),
    ("renamePipeline", None, {"pipeline": "pipelines:/nightly", "name": "daily"}),
    (
        "recordRun",
        None,
        {"name": "trial", "experiment": "experiments:/second", "params": [{"name": "a", "value": "1"}]},
    ),
    ("logMetrics", None, {"run": "runs:/trial", "metrics": [{"name": "loss", "value": 0.5, "step": 7}]}),
    ("logParams", None, {"run": "runs:/trial", "params": [{"name": "b", "value": "2"}]}),
    ("updateRun", None, {"run": "runs:/trial", "state": "FINISHED"}),
    ("renameRun", None, {"run": "runs:/trial", "name": "trial-1"}),
    ("deleteRun", None, {"run": "runs:/trial-1"}),
    ("deleteExperiment", None, {"experiment": "experiments:/second"}),
    ("deletePipeline", None, {"pipeline": "pipelines:/daily"}),
    (
        "recordEvaluation",
        "$evaluation",
        {"version": "models:/bert/1", "dataset": "datasets:/nq/v2", "metrics": [{"name": "recall", "value": 0.8}]},
    ),
    ("updateEvaluation", None, {"evaluation": "$evaluation", "description": "Once more."}),
    ("recordDeployment", None, {"name": "helpdesk", "serves": [{"version": "models:/bert/1", "weight": 1}]}),
    ("updateDeployment", None, {"deployment": "deployments:/helpdesk", "state": "LIVE"}),
    ("renameDeployment", None, {"deployment": "deployments:/helpdesk", "name": "desk"}),
    ("deleteDeployment", None, {"deployment": "deployments:/desk"}),
    ("deploy", None, {"name": "new", "serves": [{"version": "models:/bert/1"}], "target": "cluster"}),
    ("canary", None, {"deployment": "deployments:/search", "version": "models:/bert/1", "weight": 0.1}),
    ("promote", None, {"deployment": "deployments:/search"}),
    ("rollBack", None, {"deployment": "deployments:/search", "to": 1}),
    ("stopDeployment", None, {"deployment": "deployments:/search", **REASON}),
    (
        "declareStageScheme",
        None,
        {
            "name": "short",
            "stages": [{"name": "dev", "mlflow": "None"}, {"name": "live", "mlflow": "Production", "live": True}],
        },
    ),
    ("deleteStageScheme", None, {"scheme": "schemes:/short"}),
    (
        "declareGate",
        None,
        {"name": "careful", "stage": "Production", "conditions": [{"type": "approved", "count": 1}]},
    ),
    ("updateGate", None, {"gate": "gates:/careful", "description": "With care."}),
    ("requestApproval", "$approval", {"version": "models:/bert/2", "stage": "Production", **REASON}),
    ("approve", None, {"approval": "$approval", "comment": "Fine."}),
    ("reject", None, {"approval": "$approval"}),
    ("withdrawApproval", None, {"approval": "$approval"}),
    ("deleteGate", None, {"gate": "gates:/careful"}),
    (
        "requestValidation",
        "$validation",
        {"version": "models:/bert/1", "suite": "quality", "datasets": ["datasets:/nq/v1"]},
    ),
    ("leaseValidation", None, {"suites": ["quality"], "worker": "w"}),
    ("heartbeatValidation", None, {"validation": "$validation", "epoch": "1"}),
    (
        "reportValidation",
        None,
        {"validation": "$validation", "epoch": 1, "success": True, "metrics": [{"name": "ok", "value": 1}]},
    ),
    ("leaseValidation", None, {"suites": ["quality"], "worker": "w"}),
    ("requestValidation", "$other", {"version": "models:/bert/1", "suite": "speed"}),
    ("cancelValidation", None, {"validation": "$other", **REASON}),
    (
        "recordLineage",
        None,
        {
            "nodes": [{"address": "models:/found/1", "external": True}],
            "edges": [{"from": "models:/found/1", "kind": "DERIVED_FROM", "to": "models:/bert/1"}],
        },
    ),
    ("shareWith", None, {"node": BERT, "workspace": "workspaces:/vision"}),
    ("unshare", None, {"node": BERT, "workspace": "workspaces:/vision"}),
    ("addComment", "$comment", {"about": BERT, "text": "Ready?"}),
    ("updateComment", None, {"comment": "$comment", "text": "Ready."}),
    ("deleteComment", None, {"comment": "$comment"}),
    ("watch", None, {"node": BERT}),
    ("unwatch", None, {"node": BERT}),
    ("markNotificationsRead", None, {"ids": []}),
    ("registerArtifact", None, {"to": "models:/bert/1", "uri": "s3://bucket/key", "name": "weights"}),
    ("beginUpload", None, {"to": "models:/bert/1", "files": [{"path": "a", "size": 1, "sha256": "0" * 64}]}),
    ("completeUpload", None, {"upload": "uploads:/none"}),
    ("abortUpload", None, {"upload": "uploads:/none"}),
    ("attachSignature", None, {"artifact": "artifacts:/weights", "bundle": "{}"}),
    ("verifyArtifact", None, {"artifact": "artifacts:/weights"}),
    ("enrichModelVersion", None, {"version": "models:/bert/1", "runId": "0123456789abcdef"}),
    (
        "createWebhook",
        None,
        {
            "name": "hook",
            "url": "https://example.org/hook",
            "kinds": ["MODEL"],
            "secret": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
    ),
    ("updateWebhook", None, {"webhook": "webhooks:/hook", "url": "https://example.org/other", "revision": 1}),
    (
        "rotateWebhookSecret",
        None,
        {"webhook": "webhooks:/hook", "secret": "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    ),
    ("pauseWebhook", None, {"webhook": "webhooks:/hook", **REASON}),
    ("resumeWebhook", None, {"webhook": "webhooks:/hook"}),
    ("testWebhook", None, {"webhook": "webhooks:/hook"}),
    ("replayDeliveries", None, {"webhook": "webhooks:/hook", "dead": True}),
    ("deleteWebhook", None, {"webhook": "webhooks:/hook"}),
    ("deleteEvaluation", None, {"evaluation": "$evaluation"}),
    ("deleteModel", None, {"model": "models:/vision:resnet50"}),
    ("deleteDataset", None, {"dataset": "datasets:/squad2"}),
    ("deleteWorkspace", None, {"workspace": "workspaces:/vision"}),
)
"""Every mutation, in an order in which most of them work, with a name for the id of what they made."""
