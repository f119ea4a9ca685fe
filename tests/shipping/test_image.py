"""The image: its file is gone through without a container runtime, and what comes of it is run. See containing.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.observing.receiver import Receiver
from tests.services import free_port
from tests.shipping.conftest import TOP
from tests.shipping.containing import Build, Stage, entered, instructions

FILE = TOP / "deploy" / "Containerfile"
TEXT = FILE.read_text(encoding="utf-8")
USER = "65532"


class Container:
    """The image as `docker run --read-only --tmpfs /tmp --cap-drop ALL -v …` runs it, with these variables."""

    def __init__(self, image: Stage, state: Path, **variables: str) -> None:
        self.image, self.state = image, state
        self.port = free_port()
        self.environment = {**image.environment, "LINEAL_PORT": str(self.port), **variables}
        (self.volume,) = image.volumes
        owner = image.inside(self.volume).stat()
        state.mkdir()
        os.chown(state, owner.st_uid, owner.st_gid)
        for parent in state.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)

    def line(self, *command: str) -> list[str]:
        volumes = {self.volume: self.state}
        return entered(self.image, command, self.environment, user=self.image.user, volumes=volumes)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.line(*command), capture_output=True, text=True, check=False)

    def healthy(self) -> bool:
        return self.run(*self.image.health).returncode == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Build(FILE, TOP, tmp_path_factory.mktemp("stages")).last


@pytest.fixture
def container(image: Stage, tmp_path: Path) -> Container:
    return Container(image, tmp_path / "state")


@pytest.fixture
def serving(container: Container) -> Iterator[subprocess.Popen[str]]:
    with served(container) as process:
        yield process


@contextmanager
def served(container: Container) -> Iterator[subprocess.Popen[str]]:
    """The image's own command, once its health check is content."""
    command = container.line(*container.image.entrypoint, *container.image.command)
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            end = time.monotonic() + 60
            while not container.healthy():
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < end
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(900)
def test_it_serves_as_nobody_on_a_file_system_that_cannot_be_written(
    serving: subprocess.Popen[str], container: Container
) -> None:
    status = Path(f"/proc/{serving.pid}/status").read_text()
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(told["Uid"].split()) == set(told["Gid"].split()) == {USER}
    assert (told["NoNewPrivs"], told["Groups"].strip(), int(told["CapBnd"], 16)) == ("1", "", 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{container.port}") as client:
        assert client.get("/readyz").json()["status"] == "ready"
        assert client.get("/graphiql").is_success
    for place in ("/opt/lineal/bin/x", "/x", "/usr/x", "/etc/x"):
        assert "Read-only file system" in container.run("touch", place).stderr
    assert (container.state / "lineal.db").stat().st_uid == int(USER)


@pytest.mark.timeout(900)
def test_its_health_check_fails_once_it_stops_and_it_stops_in_good_order(
    serving: subprocess.Popen[str], container: Container
) -> None:
    serving.send_signal(signal.Signals[container.image.stop])
    assert serving.wait(30) == 0
    assert '"event":"stopped"' in serving.stdout.read().replace('": "', '":"')  # type: ignore[union-attr]
    assert not container.healthy()


@pytest.mark.timeout(900)
def test_it_sends_traces_where_it_is_told_to(image: Stage, tmp_path: Path) -> None:
    with Receiver() as receiver:
        container = Container(image, tmp_path / "state", LINEAL_OTLP_ENDPOINT=receiver.url)
        with served(container) as process:
            process.send_signal(signal.Signals[container.image.stop])
            assert process.wait(30) == 0
    assert "GET /readyz" in {span.name for span in receiver.spans}


@pytest.mark.timeout(900)
def test_any_command_can_be_run_with_it(container: Container) -> None:
    done = container.run(*container.image.entrypoint, "migrate")
    assert done.returncode == 0, done.stderr
    assert (container.state / "lineal.db").exists()
    assert container.run(*container.image.entrypoint, "version").returncode == 0


@pytest.mark.timeout(900)
def test_it_has_what_was_pinned_and_neither_sources_nor_pip(image: Stage) -> None:
    (site,) = image.inside("/opt/lineal").glob("lib/python*/site-packages")
    there = {
        re.sub(r"[-_.]+", "-", path.name.removesuffix(".dist-info").rpartition("-")[0]).lower()
        for path in site.glob("*.dist-info")
    }
    pins = re.findall(
        r"^([a-z0-9._-]+)(?:\[.*\])?==.*?(; .*win32.*)?\\$", (TOP / "requirements.txt").read_text(), re.MULTILINE
    )
    assert there == {name for name, marker in pins if "== 'win32'" not in marker} | {"lineal"}
    assert not image.inside("/src").exists()
    assert (site / "gateway" / "ui" / "bundle" / "graphiql.js").is_file()


def test_its_base_is_named_without_a_registry_and_the_user_is_a_number_that_is_not_root() -> None:
    told = instructions(TEXT)
    assert [rest for name, rest in told if name == "FROM"] == ["python:${PYTHON} AS build", "python:${PYTHON}"]
    assert [rest for name, rest in told if name == "USER"] == [f"{USER}:{USER}"]
    assert not [name for name, _ in told if name == "ADD"]


def test_what_is_sent_to_the_builder_is_a_list_of_what_is_let_in() -> None:
    first, *lines = [line for line in (TOP / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    for line in lines:
        if line.startswith("!"):
            assert list(TOP.glob(line[1:])), line
