"""Suites: commands that a validation runs, what they are given, and the report that they write."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lineal.errors import InvalidArgument

MAX_REPORT: Final = 16 * 2**20
"""Bytes of a report."""

GRACE: Final = 5.0
"""Seconds that a command has to end after it was asked to."""

TAIL: Final = 2_000
"""Characters of a command's output that are told where it failed."""

_TICK: Final = 0.1
_NAMED: Final = {"metrics", "slices", "params"}
_KNOWN: Final = {"success", "message", "report", *_NAMED}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, None where it was ended by us, and the end of what it said."""

    code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class SuiteReport:
    """What a command found, as the API takes it. `file` is its report for people, in the command's folder."""

    success: bool | None = None
    message: str | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    slices: Sequence[Mapping[str, Any]] = ()
    params: Sequence[Mapping[str, Any]] = field(default=())
    file: Path | None = None


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], over: Callable[[], bool]) -> Ended:
    """Run a command in a folder, with all that it starts, until it ends or is over. Raises InvalidArgument.

    It and its children are one process group, which is ended as a whole: asked first, then killed; what leaves the
    group is not. Nothing of this process's own LINEAL_ settings, a token among them, is handed on; that is no wall,
    for what runs as the same user may read of this process what it wants.
    """
    handed = {name: value for name, value in os.environ.items() if not name.startswith("LINEAL_")}
    log = folder / "output.log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - to run the command that it was given is what a worker does
                command,
                cwd=folder,
                env={**handed, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"--command: {command[0]!r} cannot be started: {error.strerror or error}"
            raise InvalidArgument(msg, field="command") from error
        code: int | None = None
        try:
            while (code := process.poll()) is None and not over():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_TICK)
        finally:
            _end(process)
    return Ended(code, _tail(log))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group of a process, whatever is left of it."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while process.poll() is None and time.monotonic() < until:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TICK)
    _signal(process.pid, signal.SIGKILL)
    process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    # Of a group that is gone, or of which only the dead are left, there is nothing to end.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4 * TAIL))
        return file.read().decode(errors="replace").replace("\0", "")[-TAIL:].strip()


# ── The report ────────────────────────────────────────────────────────────────────────────────────


def read_report(path: Path, folder: Path) -> SuiteReport | None:
    """The report that a command wrote, None where it wrote none. Raises InvalidArgument, saying what is wrong."""
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_REPORT:
        raise _wrong("report", f"has more than {MAX_REPORT // 2**20} MiB")
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _wrong("report", f"is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise _wrong("report", "must be a JSON object")
    if unknown := sorted(told.keys() - _KNOWN):
        raise _wrong(unknown[0], f"is not known; a report has {', '.join(sorted(_KNOWN))}")
    return SuiteReport(
        success=_of(told, "success", bool, None),
        message=_of(told, "message", str, None),
        metrics=_metrics(_of(told, "metrics", dict, {}), "metrics"),
        slices=[
            {"name": name, "metrics": _metrics(_of({at: metrics}, at, dict, {}), at)}
            for name, metrics in _of(told, "slices", dict, {}).items()
            for at in [f"slices.{name}"]
        ],
        params=[
            {"name": name, "value": value if isinstance(value, str) else json.dumps(value)}
            for name, value in _of(told, "params", dict, {}).items()
        ],
        file=_inside(folder, _of(told, "report", str, None)),
    )


def _of(told: Mapping[str, Any], name: str, type_: type, absent: Any) -> Any:
    value = told.get(name)
    if value is None:
        return absent
    if not isinstance(value, type_):
        words = {bool: "true or false", str: "text", dict: "an object"}
        raise _wrong(name, f"must be {words[type_]}, not {value!r:.80}")
    return value


def _metrics(told: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": _figure(value, f"{at}.{name}")} for name, value in told.items()]


def _figure(value: Any, at: str) -> float | str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(at, f"must be a number, not {value!r:.80}")
    try:
        figure = float(value)
    except OverflowError:
        raise _wrong(at, "is too large a number") from None
    if math.isfinite(figure):
        return figure
    return "NaN" if math.isnan(figure) else "Infinity" if figure > 0 else "-Infinity"


def _inside(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.exists():
        raise _wrong("report", f"must name a file or a folder in the working folder, not {name!r:.200}")
    return path


def _wrong(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"the report of the command is wrong: {name} {problem}", field=name)
