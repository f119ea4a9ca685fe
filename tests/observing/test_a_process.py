"""A real process that was really used: its metrics, traces and log, and what dashboards and alerts make of them."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as plain

from lineal.metrics import METRICS
from tests.lineal.conftest import bearer
from tests.observing.receiver import Received, Receiver
from tests.running import LinealServer
from tests.services import free_port

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
TRACE = "0af7651916cd43dd8448eb211c80319c"
UPLOAD = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "b7ad6b7169203331"
LINEAGE = "query Where($of: ID!) {lineage(of: [$of], direction: UPSTREAM) {complete nodes {id}}}"
WEBHOOK_SECRET = b64encode(b"hunter2-hunter2-hunter2-hunter2-").decode()
SECRETS = (
    "hunter2-bearer",
    "hunter2-webhook-secret",
    WEBHOOK_SECRET,
    "ann.person@example.org",
    "Ann Person",
    "hunter2-variable",
)


class Process(LinealServer):
    """Lineal, traced."""

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        command, environment = super().prepare()
        return command, environment | {"LINEAL_LOG_FORMAT": "json", "LINEAL_LOG_LEVEL": "info"}


@dataclass
class Used:
    """What was seen of the process once it had stopped."""

    text: str
    openmetrics: str
    log: list[dict[str, Any]]
    log_text: str
    receiver: Receiver
    token: str

    def span(self, name: str) -> Received:
        return next(span for span in self.receiver.spans if span.name == name and span.trace == TRACE)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    home = tmp_path_factory.mktemp("used")
    with Receiver() as receiver:
        port = free_port()
        more = {"otlp_endpoint": receiver.url, "slow_seconds": "0.000001", "webhook_private": "true"}
        more["audit_checkpoint_seconds"] = "1"
        process = Process(home, port, [], **more)
        with process:
            headers = bearer(keys=home / "keys")
            text, exemplars = _use(httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60))
            process.stop()
        log_text = (home / "console.log").read_text()
        log = [json.loads(line) for line in log_text.splitlines() if line.startswith("{")]
        yield Used(text, exemplars, log, log_text, receiver, headers["authorization"].partition(" ")[2])


def _use(client: httpx.Client) -> tuple[str, str]:
    """Use every face, rightly and wrongly, and give the metrics in both formats."""

    def ask(query: str, **variables: Any) -> Any:
        return client.post("/graphql", json={"query": query, "variables": variables}).json()

    with client:
        made = ask(
            "mutation Make($i: CreateModelVersionInput!) {createModelVersion(input: $i) {version {address}}}",
            i={"model": "models:/m", "createModel": True, "params": [{"name": "p", "value": "hunter2-variable"}]},
        )
        assert "errors" not in made, made
        traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"query": LINEAGE, "variables": {"of": "models:/m/1"}, "operationName": "Where"}
        assert client.post("/graphql", json=body, headers=traced).json()["data"]["lineage"]["complete"] is True
        hook = {
            "name": "h",
            "url": "http://127.0.0.1:9/hunter2-webhook-secret",
            "secret": f"whsec_{WEBHOOK_SECRET}",
        }
        hooked = ask("mutation Hook($i: CreateWebhookInput!) {createWebhook(input: $i) {webhook {id}}}", i=hook)
        assert "errors" not in hooked, hooked
        blob = b"bytes of a file"
        files = [{"path": "f.txt", "size": len(blob), "sha256": sha256(blob).hexdigest()}]
        uploading = {"traceparent": f"00-{UPLOAD}-{PARENT}-01"}
        begun = client.post("/api/v1/uploads", json={"to": "models:/m/1", "files": files}, headers=uploading)
        assert begun.status_code == 201, begun.text
        client.put("/bytes/hunter2-bearer", content=blob)
        client.get("/api/v1/models/m")
        client.get("/api/2.0/mlflow/registered-models/get", params={"name": "m"})
        person = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "ann.person@example.org",
            "displayName": "Ann Person",
            "emails": [{"value": "ann.person@example.org"}],
            "externalId": "ann",
        }
        client.post("/scim/v2/Users", json=person)
        client.get("/api/v1/principals/ann.person%40example.org")
        client.get("/api/2.0/mlflow/nothing/ann.person%40example.org")
        client.get("/scim/v2/Users/ann.person%40example.org")
        client.get("/ann.person%40example.org")
        client.get("/scim/v2/Users", params={"filter": 'userName eq "ann.person@example.org"'})
        client.post("/api/v1/lineage", json={"eventType": "wrong"})
        client.get("/api/v1/events")
        client.get("/api/v1/models", headers={"authorization": "Bearer hunter2-bearer"})
        client.get("/metrics", headers={"accept": "application/openmetrics-text"})
        for i in range(600):
            client.request(("PROPFIND", "LOCK", "MKCOL")[i % 3], f"/flood/{i}")
        for i in range(30):
            ask(f"query Flood{i} {{__typename}}")
        deadline = time.monotonic() + 60
        while "\nlineal_checkpoint_timestamp_seconds 0.0" in client.get("/metrics").text:
            assert time.monotonic() < deadline, "no checkpoint was made"
            time.sleep(0.2)
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        return client.get("/metrics").text, client.get("/metrics", headers=accept).text


# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────


def test_every_face_that_was_used_has_its_rate_errors_and_duration(used: Used) -> None:
    families = {family.name: family for family in plain(used.text)}
    asked = {sample.labels["face"] for sample in families["lineal_http_requests"].samples}
    assert {"graphql", "rest", "mlflow", "scim", "openlineage", "bytes", "events", "health", "other"} <= asked
    timed = {sample.labels["face"] for sample in families["lineal_http_request_seconds"].samples}
    assert asked - timed <= {"events"}
    faults = {s.labels["face"]: s.value for s in families["lineal_faults"].samples if s.name.endswith("_total")}
    assert set(faults) >= asked
    assert not any(faults.values()), faults


def test_what_goes_on_inside_is_counted_too(used: Used) -> None:
    found = {(s.name, *s.labels.values()): s.value for family in plain(used.text) for s in family.samples}
    assert found["lineal_uploads_total", "begun"] == 1
    assert found["lineal_worker_rounds_total", "ok", "checkpointer"] >= 1
    assert found["lineal_token_lookups_total", "hit"] > found["lineal_token_lookups_total", "miss"] == 1
    assert found["lineal_token_lookups_total", "refused"] == 1
    assert found["lineal_checkpoint_timestamp_seconds",] > 1_700_000_000
    assert any(name == "lineal_storage_calls_total" and labels[0] == "ok" for name, *labels in found)


def test_a_flood_of_names_adds_no_labels(used: Used) -> None:
    families = {family.name: family for family in plain(used.text)}
    requests = families["lineal_http_requests"].samples
    assert {s.labels["method"] for s in requests} <= {"GET", "POST", "PUT", "other"}
    assert sum(s.value for s in requests if s.labels["method"] == "other") == 600
    assert not [s for s in requests if "flood" in s.labels["path"]]


def test_exemplars_lead_to_traces_for_those_who_accept_openmetrics(used: Used) -> None:
    exemplars = {
        sample.exemplar.labels["trace_id"]
        for family in parser.text_string_to_metric_families(used.openmetrics)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    }
    assert TRACE in exemplars
    assert "# EOF" not in used.text


# ── Dashboards and alerts ─────────────────────────────────────────────────────────────────────────


def _expressions(path: Path) -> Iterator[str]:
    if path.suffix == ".json":
        for panel in json.loads(path.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])
    else:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule["expr"] for rule in group["rules"])


def _recorded() -> set[str]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


FILES = sorted([*DEPLOY.glob("grafana/*.json"), *DEPLOY.glob("prometheus/*.yaml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_dashboards_and_rules_ask_for_what_a_process_exposes(used: Used, path: Path) -> None:
    families = {family.name: family for family in plain(used.text)}
    series = {sample.name for family in families.values() for sample in family.samples}
    labels = {m.name: {*m.labels, "le"} for m in METRICS}
    expressions = list(_expressions(path))
    assert expressions
    for text in expressions:
        assert text.count("(") == text.count(")")
        assert text.count("{") == text.count("}")
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", text)
        known = set[str]()
        for name in set(re.findall(r"\b(?:lineal|process)[:_][\w:]+", bare)):
            if ":" in name:
                assert name in _recorded(), name
                continue
            base = re.sub(r"_(total|bucket|count|sum)$", "", name)
            assert name in series or base in families, f"{name} in {text}"
            known |= labels.get(name, set()) | labels.get(base, set())
        asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", bare))
        for listed in re.findall(r"\bby\s*\(([^)]*)\)", bare):
            asked |= {word.strip() for word in listed.split(",")}
        if not any(":" in name for name in re.findall(r"\blineal[:\w]+", bare)):
            assert asked <= known, f"{asked - known} in {text}"


def test_the_table_of_metrics_is_that_of_the_registry() -> None:
    page = (TOP / "docs" / "observability.md").read_text(encoding="utf-8")
    rows = [f"| `{m.exposed}` | {m.kind.value} | {', '.join(m.labels)} | {m.doc} |" for m in METRICS]
    assert re.findall(r"^\| `lineal_.*$", page, re.MULTILINE) == rows


def test_each_alert_has_its_runbook() -> None:
    page = (TOP / "docs" / "observability.md").read_text(encoding="utf-8")
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    for alert in alerts:
        assert alert["annotations"]["runbook"] == f"docs/observability.md#{alert['alert'].lower()}"
        assert re.search(rf"^### {alert['alert']}\n\n\S", page, re.MULTILINE), alert["alert"]
    assert re.findall(r"^### (Lineal\w+)$", page, re.MULTILINE) == [alert["alert"] for alert in alerts]


# ── Traces ────────────────────────────────────────────────────────────────────────────────────────


def test_one_trace_joins_the_client_the_request_the_operation_and_its_statements(used: Used) -> None:
    request = used.span("POST /graphql")
    assert request.parent == PARENT
    assert request.resource["service.name"] == "lineal"
    assert request.attributes["http.request.method"] == "POST"
    assert request.attributes["http.response.status_code"] == 200
    operation = used.span("query")
    assert operation.parent == request.id
    assert operation.attributes == {"graphql.operation.name": "Where", "graphql.operation.type": "query"}
    root = used.span("Query.lineage")
    assert root.parent == operation.id
    statements = [span for span in used.receiver.below(root) if "db.operation.name" in span.attributes]
    assert "closure" in {span.attributes["db.operation.name"] for span in statements}
    assert {span.attributes["db.system.name"] for span in statements} == {"sqlite"}


def test_what_an_upload_asks_of_storage_lies_below_its_request(used: Used) -> None:
    (request,) = [span for span in used.receiver.spans if span.trace == UPLOAD and span.parent == PARENT]
    assert request.name == "POST rest"
    assert [span.name for span in used.receiver.below(request) if span.name.startswith("storage ")]


def test_each_trace_begins_with_a_request(used: Used) -> None:
    ids = {span.id for span in used.receiver.spans}
    tops = [span for span in used.receiver.spans if span.parent not in ids]
    assert [span.name for span in tops if "http.route" not in span.attributes] == []


def test_spans_hold_no_values(used: Used) -> None:
    for secret in (*SECRETS, used.token, "models:/m"):
        assert secret.encode() not in used.receiver.raw, secret


# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_a_traced_request_say_which_trace_and_span(used: Used) -> None:
    (line,) = [line for line in used.log if line["event"] == "request" and line.get("trace_id") == TRACE]
    assert line["span_id"] == used.span("POST /graphql").id


def test_a_slow_operation_says_what_it_asked_of_the_store_and_how_that_was_done(used: Used) -> None:
    slow = [line for line in used.log if line["event"] == "slow operation"]
    line = next(line for line in slow if line["operation"] == "Where")
    assert line["document"] == sha256(LINEAGE.encode()).hexdigest()
    assert line["statements"] > 1
    assert line["verb"]
    assert any(word in " ".join(line["plan"]) for word in ("SEARCH", "SCAN"))
    assert len(slow) <= 20


def test_the_log_holds_neither_secrets_nor_people(used: Used) -> None:
    assert len(used.log) > 20
    for secret in (*SECRETS, used.token, used.token.split(".")[2]):
        assert secret not in used.log_text, secret


def test_the_log_says_which_route_was_asked_and_nothing_that_was_sent_in_it_nor_from_where(used: Used) -> None:
    requests = [line for line in used.log if line["event"] == "request"]
    told = {(line["face"], line["path"]) for line in requests}
    assert told >= {
        ("graphql", "/graphql"),
        ("rest", "/api/v1/principals/{principal}"),
        ("rest", "/api/v1/models/{model}"),
        ("mlflow", "/api/2.0/mlflow/registered-models/get"),
        ("mlflow", "other"),
        ("scim", "/scim/v2/Users/{id}"),
        ("bytes", "other"),
        ("other", "other"),
    }
    assert all(line["request"] for line in requests)
    assert not [line for line in requests if "client" in line or "127.0.0.1" in json.dumps(line)]
