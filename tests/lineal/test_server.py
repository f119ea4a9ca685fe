"""Serving for real: another process, its port, and how it stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lineal.errors import Unavailable
from lineal.server import address, listening
from lineal.settings import Settings
from tests.lineal.conftest import bearer

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `lineal …` as a process of its own, which ends with the test at the latest."""
    started: list[Process] = []

    def run(*args: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, "-m", "lineal", *args],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LINEAL_LOG_FORMAT": "json"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def log_line(process: Process, event: str) -> dict[str, Any]:
    """The next line of the log with this event."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith("{") and (entry := json.loads(line))["event"] == event:
            return entry  # type: ignore[no-any-return]
    pytest.fail(f"the process ended without {event!r}")


def connect(url: str) -> socket.socket:
    target = httpx.URL(url)
    return socket.create_connection((target.host, target.port or 80), timeout=60)


def test_sigterm_lets_an_open_request_end_and_takes_no_new_ones(start: Start, tmp_path: Path) -> None:
    process = start("serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}")
    url = log_line(process, "listening")["url"]
    body = b'{"query":"{models{nodes{name}}}"}'
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: {httpx.URL(url).netloc.decode()}\r\nconnection: close\r\n"
        f"authorization: {bearer()['authorization']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with connect(url) as wire, wire.makefile("rb") as answer:
        wire.sendall(head.encode())
        assert answer.readline().startswith(b"HTTP/1.1 100")
        process.send_signal(signal.SIGTERM)
        while True:
            try:
                connect(url).close()
            except (ConnectionRefusedError, ConnectionResetError):  # reset: taken into the backlog, then closed with it
                break
        wire.sendall(body)
        assert answer.read().endswith(b'{"data":{"models":{"nodes":[]}}}')
    log_line(process, "stopped")
    assert process.wait(60) == 0
    assert not list(tmp_path.glob("lineal.db-*"))


def test_an_open_request_gets_no_more_time_than_the_setting_says(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_STOP_SECONDS", "0")
    process = start("serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}")
    url = log_line(process, "listening")["url"]
    with connect(url) as wire, wire.makefile("rb") as answer:
        wire.sendall(
            b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"authorization: " + bearer()["authorization"].encode() + b"\r\n"
            b"content-length: 9\r\nexpect: 100-continue\r\n\r\n"
        )
        assert answer.readline().startswith(b"HTTP/1.1 100")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_process_that_is_told_to_stop_says_so_to_its_balancer_and_goes_on_answering_for_a_while(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_DRAIN_SECONDS", "600")
    process = start("serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}")
    url = log_line(process, "listening")["url"]
    assert httpx.get(f"{url}/readyz").status_code == 200
    process.send_signal(signal.SIGTERM)
    while (ready := httpx.get(f"{url}/readyz")).status_code == 200:
        pass
    assert (ready.status_code, ready.json()["detail"]) == (503, "this process is about to end")
    assert ready.headers["retry-after"] == "1"
    answer = httpx.post(f"{url}/graphql", json={"query": "{models{nodes{name}}}"}, headers=bearer())
    assert answer.json() == {"data": {"models": {"nodes": []}}}
    process.send_signal(signal.SIGINT)
    log_line(process, "stopped")
    assert process.wait(60) == 0


def test_a_process_whose_work_in_the_background_ended_by_itself_ends_as_one_that_failed(tmp_path: Path) -> None:
    broken = """
import runpy
from resolvers.artifacts.keeping import Keeper

async def run(self):
    raise KeyError("keeper")

Keeper.run = run
runpy.run_module("lineal", run_name="__main__", alter_sys=True)
"""
    command = [sys.executable, "-c", broken, "serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LINEAL_LOG_FORMAT": "json"}
    ended = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "KeyError: 'keeper'" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: what runs in the background ended")


@pytest.mark.parametrize(("trusted", "address"), [("[]", "127.0.0.1"), ('["127.0.0.0/8"]', "203.0.113.7")])
def test_who_asks_says_where_from_only_through_a_proxy_that_is_trusted(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str, address: str
) -> None:
    monkeypatch.setenv("LINEAL_TRUSTED_PROXIES", trusted)
    monkeypatch.setenv("LINEAL_LOG_CLIENTS", "true")
    # What uvicorn would believe by itself.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    process = start("serve", "--port", "0", "--graph", f"sqlite:///{tmp_path / 'lineal.db'}")
    url = log_line(process, "listening")["url"]
    httpx.get(f"{url}/healthz", headers={"x-forwarded-for": "203.0.113.7"})
    assert log_line(process, "request")["client"] == address


def test_a_port_that_is_taken_is_named_and_what_to_do(start: Start, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("serve", "--port", str(port), "--graph", f"sqlite:///{tmp_path / 'lineal.db'}")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip().startswith(f"error: port: {port} cannot be used on 127.0.0.1: ")
    assert err.strip().endswith("choose another with --port")


def test_a_url_is_told_for_either_family() -> None:
    with listening(Settings.load(port=0)) as four:
        assert address(four) == f"http://127.0.0.1:{four.getsockname()[1]}"
    try:
        six = listening(Settings.load(host="::1", port=0))
    except Unavailable as error:
        pytest.skip(f"this machine has no IPv6: {error.message}")
    with six:
        assert address(six) == f"http://[::1]:{six.getsockname()[1]}"


def test_the_demo_serves_its_answer_and_leaves_nothing_behind(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = start("demo", "--port", "0")
    assert process.stdout
    told: list[str] = []
    for line in process.stdout:
        told.append(line.rstrip("\n"))
        if line.startswith("Serving until"):
            break
    (curl,) = (line for line in told if line.startswith("curl "))
    url, body = curl.split()[2], curl.split("-d '")[1].removesuffix("'")
    answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=60).json()["data"]
    versions = {
        part: {c["kind"]: c["count"] for c in answer[part]["countsByKind"]}["MODEL_VERSION"]
        for part in ("direct", "all")
    }
    text = "\n".join(told)
    assert f"{versions['all']} model versions learned from NQ" in text
    assert f"{versions['direct']} of them directly" in text
    for link in (line.strip() for line in told if line.startswith("  http")):
        followed = httpx.get(link, timeout=60)
        assert followed.status_code == 200
        assert "errors" not in followed.text[:20]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert list(tmp_path.glob("lineal-demo-*")) == []
