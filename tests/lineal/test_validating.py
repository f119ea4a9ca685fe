"""lineal validate: real workers, real commands, against a Lineal that runs as a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.errors import Forbidden, LimitExceeded, LinealError
from lineal.remote import Remote
from lineal.validating import Orders, Worker
from tests.environments import environment, run
from tests.lineal.test_transferring import Desk
from tests.running import ROOT, LinealServer
from tests.services import free_port

PATIENCE = 90
REQUEST = "mutation R($input: RequestValidationInput!) { requestValidation(input: $input) { validation { id } } }"
CANCEL = "mutation C($id: ID!) { cancelValidation(input: {validation: $id}) { validation { id } } }"
STATE = """query S($id: ID!) { validation(address: $id) { state message attempts worker evaluation {
  id metrics { name value } slices { name metrics { name value } } params { name value }
  evaluates { nodes { address } } evaluatedOn { nodes { address } } artifacts { edges { discriminator } }
} } }"""
LIBRARIES = ("scikit-learn==1.7.2", "skops==0.13.0", "joblib", "numpy<2.4")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinealServer]:
    """A Lineal on SQLite and a folder, without issuers."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    server.home.mkdir(exist_ok=True)
    with server:
        yield server


class Bench(Desk):
    """A desk with a model that was pushed, and workers that end with the test."""

    def __init__(self, server: LinealServer, home: Path, suite: str) -> None:
        super().__init__(server, home)
        self.suite = suite
        self.workers: list[subprocess.Popen[str]] = []
        issuer = LocalIssuer(Keyring(server.home / "keys"))
        token = issuer.token(scopes=["all"])
        self.remote = Remote(server.url, lambda: token)
        self.version = ""

    def script(self, text: str) -> str:
        """A command that runs this Python."""
        path = self.home / "suite.py"
        path.write_text(f"import json, os, pathlib, subprocess, sys, time\n{text}")
        return shlex.join([sys.executable, str(path)])

    def ask(self, **more: Any) -> str:
        """A validation of the model."""
        input_ = {"version": self.version, "suite": self.suite, **more}
        return str(self.remote.ask(REQUEST, input=input_)["requestValidation"]["validation"]["id"])

    def state(self, id: str) -> dict[str, Any]:
        """How a validation stands."""
        found: dict[str, Any] = self.remote.ask(STATE, id=id)["validation"]
        return found

    def once(self, command: str, *options: str) -> int:
        """One worker, for one validation; its exit code."""
        done = self.run("validate", "--suite", self.suite, "--command", command, "--once", *options)
        return done.returncode

    def start(self, command: str, *options: str) -> subprocess.Popen[str]:
        """A worker as a process of its own."""
        words = ["validate", "--suite", self.suite, "--command", command, "--poll", "0.2", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "lineal", *words],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.workers.append(process)
        return process


@pytest.fixture
def bench(server: LinealServer, nowhere: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(server, nowhere, request.node.name[:150])
    bench.write(weights=b"0.5")
    bench.version = bench.told("push", "model", f"m{time.monotonic_ns()}")["version"]
    yield bench
    for worker in bench.workers:
        with suppress(ProcessLookupError):
            worker.kill()
        worker.communicate()
    bench.remote.close()


def until(holds: Callable[[], Any]) -> Any:
    """What this gives once it gives anything."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_gives_the_command_the_files_and_reports_what_it_found(bench: Bench) -> None:
    id = bench.ask(settings={"least": 0.4}, datasets=[])
    command = bench.script(
        """
told = json.loads(pathlib.Path(os.environ["LINEAL_INPUT"]).read_text())
weight = float(pathlib.Path(os.environ["LINEAL_MODEL"], "weights").read_text())
pathlib.Path("for-people.txt").write_text("fine")
pathlib.Path(os.environ["LINEAL_REPORT"]).write_text(json.dumps({
    "success": weight > told["settings"]["least"], "message": told["version"]["address"],
    "metrics": {"auc": weight, "odd": float("nan")}, "slices": {"country=DE": {"auc": 1}},
    "params": {"attempt": told["attempt"]}, "report": "for-people.txt",
}))
"""
    )
    assert bench.once(command, "--worker", "w") == 0
    found = bench.state(id)
    evaluation = found.pop("evaluation")
    assert found == {"state": "SUCCEEDED", "message": bench.version, "attempts": "1", "worker": "w"}
    assert evaluation["metrics"] == [
        {"name": "auc", "value": 0.5},
        {"name": "auc{country=DE}", "value": 1.0},
        {"name": "odd", "value": "NaN"},
    ]
    assert evaluation["slices"] == [{"name": "country=DE", "metrics": [{"name": "auc", "value": 1.0}]}]
    assert evaluation["params"] == [{"name": "attempt", "value": "1"}]
    assert evaluation["evaluates"]["nodes"] == [{"address": bench.version}]
    assert evaluation["artifacts"]["edges"] == [{"discriminator": "report"}]


def test_the_command_sees_nothing_of_the_workers_own_settings(bench: Bench) -> None:
    id = bench.ask()
    command = bench.script(
        'report = {"message": " ".join(sorted(n for n in os.environ if n.startswith("LINEAL_")))}\n'
        'pathlib.Path(os.environ["LINEAL_REPORT"]).write_text(json.dumps(report))'
    )
    assert bench.once(command) == 0
    given = ("ATTEMPT", "DATA", "INPUT", "MODEL", "REPORT", "SUITE", "VALIDATION", "VERSION")
    assert bench.state(id)["message"].split() == [f"LINEAL_{name}" for name in given]


def test_where_nothing_waits_a_worker_ends(bench: Bench) -> None:
    assert bench.once("true") == 0


def test_a_command_that_only_ends_well_is_a_success(bench: Bench) -> None:
    id = bench.ask()
    assert bench.once("true") == 0
    assert bench.state(id)["state"] == "SUCCEEDED"


def test_a_command_that_breaks_off_is_tried_again_by_another_worker(bench: Bench) -> None:
    id = bench.ask(maxAttempts=2)
    for attempt, state in ((1, "QUEUED"), (2, "FAILED")):
        assert bench.once(bench.script('print("no", "disk"); sys.exit(3)')) == 1
        found = bench.state(id)
        assert (found["state"], found["attempts"]) == (state, str(attempt))
        assert found["message"] == "the command ended with 3: no disk"


@pytest.mark.parametrize(
    ("report", "problem"),
    [
        ("[]", "must be a JSON object"),
        ("{", "is no JSON"),
        ('{"metrics": {"auc": "high"}}', "metrics.auc must be a number, not 'high'"),
        (f'{{"metrics": {{"auc": 1{"0" * 400}}}}}', "metrics.auc is too large a number"),
        ('{"metrics": [1]}', "metrics must be an object"),
        ('{"slices": {"a": 1}}', "slices.a must be an object"),
        ('{"success": "yes"}', "success must be true or false"),
        ('{"metric": {}}', "metric is not known"),
        ('{"report": "../../x"}', "report must name a file or a folder in the working folder"),
        ('{"metrics": {"a{b}": 1}}', "metrics[0].name"),
    ],
)
def test_a_wrong_report_fails_for_good_and_says_what_is_wrong(bench: Bench, report: str, problem: str) -> None:
    id = bench.ask()
    assert bench.once(bench.script(f'pathlib.Path(os.environ["LINEAL_REPORT"]).write_text({report!r})')) == 1
    found = bench.state(id)
    assert found["state"] == "FAILED"
    assert problem in found["message"]
    assert found["evaluation"] is None


def test_a_failure_keeps_its_metrics(bench: Bench) -> None:
    id = bench.ask()
    text = 'pathlib.Path(os.environ["LINEAL_REPORT"]).write_text(\'{"metrics": {"auc": 0.1}, "success": false}\')'
    assert bench.once(bench.script(text)) == 1
    found = bench.state(id)
    assert (found["state"], found["evaluation"]["metrics"]) == ("FAILED", [{"name": "auc", "value": 0.1}])


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(bench: Bench) -> None:
    id = bench.ask(timeoutSeconds=2, maxAttempts=1)
    pids = bench.home / "pids"
    command = bench.script(
        f"""
child = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""
    )
    assert bench.once(command) == 1
    found = bench.state(id)
    assert (found["state"], found["message"]) == ("FAILED", "it took longer than 2 seconds")
    assert not any(alive(int(pid)) for pid in pids.read_text().split())


def test_a_program_that_is_not_there_is_told_before_anything_is_taken(bench: Bench) -> None:
    id = bench.ask()
    done = bench.refused("validate", "--suite", bench.suite, "--command", "no-such-program --x", "--once")
    assert done == (2, "--command: there is no program 'no-such-program' that could be run")
    assert bench.state(id)["state"] == "QUEUED"


def running(bench: Bench, id: str) -> int:
    """The process of the command, once it runs."""
    pid = bench.home / "pid"
    until(pid.exists)
    assert bench.state(id)["state"] == "RUNNING"
    return int(until(pid.read_text))


WAITS = "pathlib.Path({!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n"


def test_what_is_cancelled_is_ended_at_the_next_heartbeat(bench: Bench) -> None:
    id = bench.ask()
    worker = bench.start(bench.script(WAITS.format(str(bench.home / "pid"))), "--once", "--lease", "1")
    pid = running(bench, id)
    bench.remote.ask(CANCEL, id=id)
    output, _ = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert "not ours any more" in output
    assert not alive(pid)
    assert bench.state(id)["state"] == "CANCELLED"


def test_sigterm_ends_the_command_and_gives_the_validation_back_uncounted(bench: Bench) -> None:
    id = bench.ask(maxAttempts=1)
    worker = bench.start(bench.script(WAITS.format(str(bench.home / "pid"))))
    pid = running(bench, id)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert not alive(pid)
    found = bench.state(id)
    assert (found["state"], found["message"], found["attempts"]) == ("QUEUED", "the worker was stopped", "0")


class Refusing(Remote):
    """A server that refuses each of these once, and else does as it is told."""

    def __init__(self, remote: Remote, refusals: dict[str, list[LinealError]]) -> None:
        self._remote, self._refusals, self.ca = remote, refusals, remote.ca

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        for word, errors in self._refusals.items():
            if word in query and errors:
                raise errors.pop(0)
        return self._remote.ask(query, **variables)


def test_what_is_refused_of_one_validation_does_not_end_the_worker(bench: Bench) -> None:
    refusals: dict[str, list[LinealError]] = {
        "leaseValidation": [LimitExceeded("too many requests")],
        "reportValidation": [Forbidden("the role was taken away"), LimitExceeded("too large")],
    }
    said: list[str] = []
    ids = [bench.ask(maxAttempts=1) for _ in range(3)]
    orders = Orders([bench.suite], ["true"], "w", poll=0.1)
    worker = Worker(Refusing(bench.remote, refusals), orders, said.append)
    thread = threading.Thread(target=worker.work)
    thread.start()
    try:
        until(lambda: "SUCCEEDED" in [bench.state(id)["state"] for id in ids])
    finally:
        worker.stop()
        thread.join()
    assert [text for text in said if "asking again" in text] == [
        f"{text}; asking again" for text in ("too many requests", "the role was taken away", "too large")
    ]


def test_a_worker_that_may_take_nothing_says_so_and_ends(bench: Bench) -> None:
    remote = Refusing(bench.remote, {"leaseValidation": [Forbidden("needs model:write")]})
    with pytest.raises(Forbidden):
        Worker(remote, Orders([bench.suite], ["true"], "w")).work()


def test_sigterm_ends_a_worker_that_waits(bench: Bench) -> None:
    id = bench.ask()
    worker = bench.start("true")
    until(lambda: bench.state(id)["state"] == "SUCCEEDED")
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0


def test_what_a_killed_worker_had_is_done_by_another_one(bench: Bench) -> None:
    id = bench.ask()
    first = bench.start(bench.script(WAITS.format(str(bench.home / "pid"))), "--lease", "2", "--worker", "first")
    pid = running(bench, id)
    first.kill()
    first.communicate(timeout=PATIENCE)
    try:
        bench.start("true", "--worker", "second")
        until(lambda: bench.state(id)["state"] == "SUCCEEDED")
    finally:
        os.kill(pid, signal.SIGKILL)
    found = bench.state(id)
    assert (found["attempts"], found["worker"]) == ("2", "second")


def test_a_server_that_goes_away_meanwhile_hears_the_report_when_it_is_back(bench: Bench) -> None:
    id = bench.ask()
    go = bench.home / "go"
    text = WAITS.format(str(bench.home / "pid")).replace(
        "time.sleep(600)", f"\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    )
    worker = bench.start(bench.script(text), "--once", "--lease", "60")
    running(bench, id)
    bench.server.kill()
    go.touch()
    bench.server.start()
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert bench.state(id)["state"] == "SUCCEEDED"


TRAIN = """
import csv, sys, joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
rows, labels = load_iris(return_X_y=True)
joblib.dump(RandomForestClassifier(n_estimators=5, random_state=0).fit(rows, labels), sys.argv[1])
with open(sys.argv[2], "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["a", "b", "c", "d", "garden", "species"])
    for n, (row, label) in enumerate(zip(rows, labels)):
        writer.writerow([*map(float, row), "north" if n % 2 else "south", label])
"""


def test_the_example_scores_a_model_of_scikit_learn_on_a_data_set(bench: Bench) -> None:
    python = environment("sklearn", *LIBRARIES)
    model, data = bench.home / "iris", bench.home / "flowers"
    model.mkdir()
    data.mkdir()
    run(python, TRAIN, model / "model.joblib", data / "rows.csv", cwd=bench.home)
    bench.version = bench.told("push", "iris", f"iris{time.monotonic_ns()}")["version"]
    dataset = f"flowers{time.monotonic_ns()}"
    register = (
        "mutation R($input: RegisterDatasetVersionInput!) { registerDatasetVersion(input: $input) { version { id } } }"
    )
    bench.remote.ask(register, input={"dataset": f"datasets:/{dataset}", "createDataset": True, "name": "v1"})
    bench.told("push", "flowers", f"datasets:/{dataset}/v1")
    id = bench.ask(datasets=[f"datasets:/{dataset}/v1"], settings={"slices": ["garden"], "atLeast": {"accuracy": 0.9}})
    assert bench.once(shlex.join([str(python), str(ROOT / "examples" / "validate_sklearn.py")])) == 0, bench.state(id)
    evaluation = bench.state(id)["evaluation"]
    metrics = {metric["name"]: metric["value"] for metric in evaluation["metrics"]}
    assert 0.9 < metrics["accuracy"] <= 1
    assert {part["name"] for part in evaluation["slices"]} == {"garden=north", "garden=south"}
    halves = [metrics[f"accuracy{{garden={half}}}"] for half in ("north", "south")]
    assert metrics["accuracy"] == pytest.approx(sum(halves) / 2)
    assert evaluation["evaluatedOn"]["nodes"] == [{"address": f"datasets:/{dataset}/v1"}]
    assert evaluation["params"] == [{"name": "rows", "value": "150"}, {"name": "target", "value": "species"}]
    failing = bench.ask(
        datasets=[f"datasets:/{dataset}/v1"], settings={"slices": ["garden"], "atLeast": {"accuracy": 1.1}}
    )
    assert bench.once(shlex.join([str(python), str(ROOT / "examples" / "validate_sklearn.py")])) == 1
    found = bench.state(failing)
    assert found["state"] == "FAILED"
    assert found["message"].startswith("accuracy is ")
    assert json.loads(json.dumps(found["evaluation"]["metrics"])) == evaluation["metrics"]
