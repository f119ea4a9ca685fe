"""Each alert, evaluated by Prometheus' own promtool on made series: when it fires, and when it does not."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.promtool import promtool_binary

PROMETHEUS: Final = Path(__file__).parents[2] / "deploy" / "prometheus"
SCRAPE: Final = "30s"

Labels = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them (`1+2x30`: 1, then 2 more at each of 30 scrapes), a time, and what fires then."""

    alert: str
    story: str
    series: dict[str, str]
    at: str
    fires: tuple[Labels, ...] = ()

    def __str__(self) -> str:
        return f"{self.alert}: {self.story}"


def rounds(process: str, outcome: str, values: str) -> dict[str, str]:
    """Rounds of the sequencer in a process."""
    return {f'lineal_worker_rounds_total{{instance="{process}", worker="sequencer", outcome="{outcome}"}}': values}


def requests(total: str, faults: str) -> dict[str, str]:
    """Requests and faults of REST."""
    return {'lineal_http_requests_total{face="rest"}': total, 'lineal_faults_total{face="rest"}': faults}


def statements(failed: str) -> dict[str, str]:
    """Statements, ten in a second of which are well."""
    name = "lineal_statements_total"
    return {f'{name}{{outcome="ok"}}': "0+300x60", f'{name}{{outcome="failed"}}': failed}


SEQUENCER: Final = ({"worker": "sequencer"},)
FARM: Final = ({"kind": "target", "name": "farm"},)
OPENINGS: Final = 'lineal_breaker_openings_total{kind="target", name="farm", instance="a"}'
MINUTELY: Final = " ".join(f"{minute} {minute}" for minute in range(12))
REFUSED: Final = 'lineal_token_lookups_total{outcome="refused"}'

CASES: Final = [
    Case("LinealIsDown", "no process is there", {"up": "0x20"}, "5m", ({},)),
    Case("LinealIsDown", "one of two is there", {'lineal_tasks{instance="b"}': "20x20"}, "5m"),
    Case("LinealErrorBudgetBurnsFast", "one request in ten fails", requests("0+100x130", "0+10x130"), "1h", ({},)),
    Case("LinealErrorBudgetBurnsFast", "one in a thousand fails", requests("0+1000x130", "0+1x130"), "1h"),
    Case("LinealErrorBudgetBurnsSlowly", "one in 200 fails", requests("0+200x3000", "0+1x3000"), "24h", ({},)),
    Case("LinealErrorBudgetBurnsSlowly", "one in 2,000 fails", requests("0+2000x3000", "0+1x3000"), "24h"),
    Case("LinealStoreFails", "every tenth statement fails", statements("0+33x60"), "20m", ({},)),
    Case("LinealStoreFails", "one in a thousand fails", statements("0+0.3x60"), "20m"),
    Case("LinealStoreIsBusy", "fifty writes wait", {"lineal_store_waiting": "50x60"}, "20m", ({},)),
    Case("LinealStoreIsBusy", "five writes wait", {"lineal_store_waiting": "5x60"}, "20m"),
    Case("LinealSequencerLags", "for a minute", {"lineal_sequencer_lag_seconds": "60x60"}, "20m", ({},)),
    Case("LinealSequencerLags", "for a second", {"lineal_sequencer_lag_seconds": "1x60"}, "20m"),
    Case(
        "LinealWorkerFails",
        "the process with the lease only fails, and two others have nothing to do",
        rounds("a", "failed", "0+30x120") | rounds("b", "idle", "0+30x120") | rounds("c", "idle", "0+30x120"),
        "40m",
        SEQUENCER,
    ),
    Case(
        "LinealWorkerFails",
        "another took the lease, and does it",
        rounds("a", "failed", "0+30x120") | rounds("b", "ok", "0+30x120"),
        "40m",
    ),
    Case(
        "LinealWorkerStandsStill",
        "what was done last is two hours old in one process, and older in another",
        {f'lineal_worker_success_timestamp_seconds{{worker="sequencer", instance="{i}"}}': "0x300" for i in "ab"},
        "2h",
        SEQUENCER,
    ),
    Case(
        "LinealWorkerStandsStill",
        "the lease went from one process to another",
        {
            'lineal_worker_success_timestamp_seconds{worker="sequencer", instance="a"}': "0x300",
            'lineal_worker_success_timestamp_seconds{worker="sequencer", instance="b"}': "0+30x300",
        },
        "2h",
    ),
    Case(
        "LinealReconcilerLags",
        "for an hour",
        {'lineal_reconciler_lag_seconds{target="farm"}': "3600x60"},
        "20m",
        ({"target": "farm"},),
    ),
    Case("LinealReconcilerLags", "for a minute", {'lineal_reconciler_lag_seconds{target="farm"}': "60x60"}, "20m"),
    Case(
        "LinealDeadLetters",
        "one event is given up",
        {'lineal_webhook_tries_total{outcome="dead"}': "0x10 1x50"},
        "20m",
        ({"outcome": "dead"},),
    ),
    Case("LinealDeadLetters", "none is", {'lineal_webhook_tries_total{outcome="dead"}': "7x60"}, "20m"),
    Case("LinealWebhooksLag", "5,000 behind", {"lineal_webhook_lag_changes": "5000x60"}, "25m", ({},)),
    Case("LinealWebhooksLag", "500 behind", {"lineal_webhook_lag_changes": "500x60"}, "25m"),
    Case(
        "LinealCheckpointIsOld",
        "half an hour, and a look each minute",
        {"lineal_checkpoint_current_timestamp_seconds": "0x120", "lineal_checkpoint_every_seconds": "60x120"},
        "30m",
        ({},),
    ),
    Case(
        "LinealCheckpointIsOld",
        "half an hour, and a look each half hour",
        {"lineal_checkpoint_current_timestamp_seconds": "0x120", "lineal_checkpoint_every_seconds": "1800x120"},
        "30m",
    ),
    Case("LinealIsLeftWithout", "each try for ten minutes has no answer", {OPENINGS: "1+1x60"}, "10m", FARM),
    Case("LinealIsLeftWithout", "a try has no answer each minute", {OPENINGS: MINUTELY}, "10m", FARM),
    Case("LinealIsLeftWithout", "it was away for a minute", {OPENINGS: "0x4 9 20x60"}, "8m"),
    Case("LinealIsLeftWithout", "nobody has called since", {OPENINGS: "1+1x20 21x1000"}, "8h"),
    Case(
        "LinealStorageFails",
        "every tenth call",
        {
            'lineal_storage_calls_total{outcome="ok"}': "0+90x120",
            'lineal_storage_calls_total{outcome="failed"}': "0+10x120",
        },
        "30m",
        ({},),
    ),
    Case(
        "LinealStorageFails",
        "one call in a hundred",
        {
            'lineal_storage_calls_total{outcome="ok"}': "0+99x120",
            'lineal_storage_calls_total{outcome="failed"}': "0+1x120",
        },
        "30m",
    ),
    Case(
        "LinealIssuerKeysAreOld",
        "for two hours",
        {'lineal_issuer_failing_seconds{issuer="corp"}': "7200x120"},
        "20m",
        ({"issuer": "corp"},),
    ),
    Case("LinealIssuerKeysAreOld", "for a minute", {'lineal_issuer_failing_seconds{issuer="corp"}': "60x120"}, "20m"),
    Case(
        "LinealTokensAreRefused",
        "ten in a second",
        {REFUSED: "0+300x60"},
        "25m",
        ({},),
    ),
    Case(
        "LinealTokensAreRefused", "two in a minute", {'lineal_token_lookups_total{outcome="refused"}': "0+1x60"}, "25m"
    ),
]


def rules() -> dict[str, dict[str, Any]]:
    """The alerts by their names."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def firing(rule: dict[str, Any], labels: Labels) -> dict[str, Any]:
    """An alert that fires, as promtool expects it."""
    said = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for name, text in rule["annotations"].items()
    }
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": said}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return promtool_binary()


@pytest.mark.parametrize("name", ["rules", "alerts"])
def test_prometheus_takes_them(promtool: Path, name: str) -> None:
    command: list[str | Path] = [promtool, "check", "rules", PROMETHEUS / f"{name}.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_when_it_shall_and_not_else(promtool: Path, tmp_path: Path, case: Case) -> None:
    expected = [firing(rules()[case.alert], labels) for labels in case.fires]
    test = {
        "interval": SCRAPE,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }
    files = [str(PROMETHEUS / f"{name}.yaml") for name in ("rules", "alerts")]
    path = tmp_path / "case.yaml"
    path.write_text(yaml.safe_dump({"rule_files": files, "evaluation_interval": SCRAPE, "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if bool(case.fires) == fires} == set(rules())
