"""A worker for validations: it leases one, fetches the files, runs a command, and reports what came of it.

While the command runs the worker says that it is still there. When that is refused, because the validation was
cancelled or is another worker's, the command is ended and nothing is reported. A worker that is killed says nothing
more, and its validation goes to the next one when the lease is over.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lineal.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    LimitExceeded,
    LinealError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from lineal.kept import kept
from lineal.pulling import Pull
from lineal.pushing import Push
from lineal.remote import Remote
from lineal.suites import Ended, SuiteReport, read_report, run
from storage.folder import scan

LEASE: Final = """mutation Lease($input: LeaseValidationInput!) { leaseValidation(input: $input) { validation {
  id suite epoch attempts settings timeoutSeconds
  validates(first: 101) { nodes { id kind address
    ... on ModelVersion { uri }
    ... on DatasetVersion { uri digest }
  } }
} } }"""
BEAT: Final = """mutation Beat($input: HeartbeatValidationInput!) {
  heartbeatValidation(input: $input) { validation { id } }
}"""
REPORT: Final = """mutation Report($input: ReportValidationInput!) { reportValidation(input: $input) { validation {
  state message evaluation { id }
} } }"""

MAX_MESSAGE: Final = 8_000
"""Characters of a message that is reported."""

STOPPED: Final = "the worker was stopped"

Say = Callable[[str], None]


class _Over(Exception):
    """The attempt is over before it came to its end."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker takes and how it runs it. `lease` and `poll` are in seconds."""

    suites: Sequence[str]
    command: Sequence[str]
    name: str
    lease: int = 60
    poll: float = 5.0
    data: bool = True


class Worker:
    """Takes validations until it is stopped."""

    def __init__(self, remote: Remote, orders: Orders, say: Say = lambda _: None) -> None:
        self._remote, self._orders, self._say = remote, orders, say
        self._stop = threading.Event()

    def stop(self) -> None:
        """Stop: what is being run is ended, and given back."""
        self._stop.set()

    def work(self, *, once: bool = False) -> str | None:
        """Take validations as they come; with `once` one, and give its state (None: nothing waits, or it was lost).

        While the server does not answer, or has too much to do, it is asked again. What it refuses of one validation
        ends that one alone. Raises what it refuses to give any for.
        """
        while not self._stop.is_set():
            taken = state = None
            try:
                taken = self._lease()
                state = self._attempt(taken) if taken else None
            except LinealError as error:
                if once or not (taken or isinstance(error, Unavailable | LimitExceeded)):
                    raise
                self._say(f"{error.message}; asking again")
                taken = None
            if once:
                return state
            if taken is None:
                self._stop.wait(self._orders.poll)
        return None

    def _attempt(self, taken: Mapping[str, Any]) -> str | None:
        return Attempt(self._remote, self._orders, taken, self._stop, self._say).run()

    def _lease(self) -> dict[str, Any] | None:
        orders = self._orders
        asked = {"suites": list(orders.suites), "worker": orders.name, "seconds": orders.lease}
        taken: dict[str, Any] | None = self._remote.ask(LEASE, input=asked)["leaseValidation"]["validation"]
        return taken


class Attempt:
    """One attempt at a validation."""

    def __init__(
        self, remote: Remote, orders: Orders, taken: Mapping[str, Any], stop: threading.Event, say: Say
    ) -> None:
        self._remote, self._orders, self._taken, self._stop = remote, orders, taken, stop
        self._say: Say = lambda text: say(f"{taken['id']}: {text}")
        self._until = time.monotonic() + int(taken["timeoutSeconds"])
        self._lost: LinealError | None = None
        self._done = threading.Event()

    def run(self) -> str | None:
        """Run it and report; the state that it then has, None where it is not ours any more."""
        self._say(f"attempt {self._taken['attempts']} of suite {self._taken['suite']!r}")
        heart = threading.Thread(target=self._beat, daemon=True)
        heart.start()
        try:
            with tempfile.TemporaryDirectory(prefix="lineal-validate-", ignore_cleanup_errors=True) as folder:
                return self._run(Path(folder))
        finally:
            self._done.set()
            heart.join()

    def _run(self, folder: Path) -> str | None:
        try:
            ended = self._execute(folder)
        except _Over:
            ended = None
        except LinealError as error:
            return self._report({"success": False, "retry": True, "message": error.message})
        if self._lost is not None:
            self._say(f"not ours any more: {self._lost.message}")
            return None
        if ended is None or ended.code is None:
            took = f"it took longer than {self._taken['timeoutSeconds']} seconds"
            stopped = self._stop.is_set()
            return self._report(
                {"success": False, "retry": True, "uncounted": stopped, "message": STOPPED if stopped else took}
            )
        try:
            found = read_report(folder / "report.json", folder)
        except InvalidArgument as error:
            return self._report({"success": False, "message": error.message})
        return self._conclude(ended, found)

    def _conclude(self, ended: Ended, found: SuiteReport | None) -> str | None:
        failed = f"the command ended with {ended.code}: {ended.output or 'it said nothing'}"
        if found is None:
            outcome = {"success": False, "retry": True, "message": failed} if ended.code else {"success": True}
            return self._report(outcome)
        success = found.success is not False and ended.code == 0
        told = {
            "success": success,
            "message": found.message or (failed if ended.code else None),
            "metrics": found.metrics,
            "slices": found.slices,
            "params": found.params,
        }
        return self._report(told, found.file)

    def _execute(self, folder: Path) -> Ended:
        """Fetch what the command needs, and run it."""
        things = self._taken["validates"]["nodes"]
        version = self._thing(next(each for each in things if each["kind"] == "MODEL_VERSION"), folder / "model")
        data = [each for each in things if each["kind"] == "DATASET_VERSION"]
        datasets = [self._thing(each, folder / "data" / str(i), self._orders.data) for i, each in enumerate(data)]
        given = {
            "validation": self._taken["id"],
            "suite": self._taken["suite"],
            "attempt": int(self._taken["attempts"]),
            "settings": self._taken["settings"] or {},
            "timeoutSeconds": int(self._taken["timeoutSeconds"]),
            "version": version,
            "datasets": datasets,
        }
        input_ = folder / "input.json"
        input_.write_text(json.dumps(given, indent=2), encoding="utf-8")
        environment = {
            "LINEAL_VALIDATION": given["validation"],
            "LINEAL_SUITE": given["suite"],
            "LINEAL_ATTEMPT": str(given["attempt"]),
            "LINEAL_VERSION": version["address"],
            "LINEAL_MODEL": version["files"] or "",
            "LINEAL_DATA": "" if not datasets else datasets[0]["files"] or "",
            "LINEAL_INPUT": str(input_),
            "LINEAL_REPORT": str(folder / "report.json"),
        }
        return run(self._orders.command, folder, environment, self._over)

    def _thing(self, node: Mapping[str, Any], to: Path, fetch: bool = True) -> dict[str, Any]:
        """What a command is told of a version, with the folder of its files if Lineal keeps some."""
        artifact = self._kept(node["id"]) if fetch else None
        if artifact is not None:
            Pull(self._remote, to, on_bytes=self._check).run(artifact["id"], artifact["digest"])
        told = {name: node.get(name) for name in ("id", "address", "uri", "digest") if name in node}
        return {**told, "files": None if artifact is None else str(to)}

    def _kept(self, id: str) -> dict[str, Any] | None:
        """The files that Lineal keeps of something: those called `model`, where there are several."""
        try:
            return kept(self._remote, id, None)[1]
        except InvalidArgument:
            return kept(self._remote, id, "model")[1]
        except (NotFound, PreconditionFailed):
            return None

    def _over(self) -> bool:
        """Whether there is no use in going on: it is not ours any more, took too long, or the worker is stopped."""
        return self._lost is not None or self._stop.is_set() or time.monotonic() > self._until

    def _check(self, _: int) -> None:
        if self._over():
            raise _Over

    def _beat(self) -> None:
        """Say that we are still there, three times in a lease, until the attempt is done or is not ours any more."""
        asked = {"validation": self._taken["id"], "epoch": self._taken["epoch"], "seconds": self._orders.lease}
        while not self._done.wait(self._orders.lease / 3):
            try:
                self._remote.ask(BEAT, input=asked)
            except (Conflict, NotFound, Forbidden) as error:
                self._lost = error
                return
            except LinealError as error:
                # It may be heard next time; if not, the lease ends, and the report will be refused.
                self._say(f"no heartbeat: {error.message}")

    def _report(self, told: Mapping[str, Any], file: Path | None = None) -> str | None:
        id, epoch = self._taken["id"], self._taken["epoch"]
        message = told.get("message")
        asked = {
            **{name: value for name, value in told.items() if value},
            "validation": id,
            "epoch": epoch,
            "success": told["success"],
            "message": message and message[:MAX_MESSAGE],
            "idempotencyKey": f"{id}-{epoch}-{'success' if told['success'] else 'failure'}",
        }
        try:
            answer = self._told(asked)
        except (InvalidArgument, PreconditionFailed) as error:
            if not told["success"] and not told.get("metrics"):
                raise
            return self._report({"success": False, "message": f"the report was refused: {error.message}"})
        except (Conflict, NotFound) as error:
            self._say(f"not ours any more: {error.message}")
            return None
        if file is not None and answer["evaluation"] is not None:
            self._send(file, answer["evaluation"]["id"])
        self._say(f"{answer['state']}{f': {message}' if message else ''}")
        state: str = answer["state"]
        return state

    def _told(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The validation after it was reported on. While the server is away, for as long as the attempt may last."""
        while True:
            try:
                answer: dict[str, Any] = self._remote.ask(REPORT, input=asked)["reportValidation"]["validation"]
            except Unavailable as error:
                if time.monotonic() > self._until or self._stop.is_set():
                    raise
                self._say(f"{error.message}; reporting again")
                self._stop.wait(self._orders.poll)
            else:
                return answer

    def _send(self, file: Path, evaluation: str) -> None:
        """Let the report for people be an artifact of the evaluation. It is not worth failing for."""
        try:
            Push(self._remote, scan(file)).run(evaluation, "report")
        except LinealError as error:
            self._say(f"the report could not be sent: {error.message}")
