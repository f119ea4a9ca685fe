"""Real services for tests, without containers.

Each is started on a free port of this machine in a home of its own, awaited until it answers, and
ended through the handle of the very process that was started. What has to be downloaded is kept in a
cache folder outside the checkout. A missing tool skips the tests that need it and says what to
install; where LINEAL_REQUIRE_SERVICES is "all", or names the service, a missing one fails them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Literal, NoReturn, Self

import neo4j
import pytest
from neo4j.exceptions import AuthError, DriverError, Neo4jError

NEO4J_VERSION = "5.26.20"
START_SECONDS = 120
STOP_SECONDS = 30

_POM = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>lineal</groupId><artifactId>services</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{NEO4J_VERSION}</version></dependency>
    <dependency><groupId>org.neo4j.app</groupId><artifactId>neo4j-server</artifactId><version>{NEO4J_VERSION}</version></dependency>
  </dependencies>
</project>
"""

_JAVA_OPTIONS = (
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "-Dio.netty.tryReflectionSetAccessible=true",
)

STEADY = "dbms.cypher.min_replan_interval=1h\nserver.memory.query_cache.per_db_cache_num_entries=5000\n"

COMMIT = b"\x00\x02\xb0\x12\x00\x00"
"""The COMMIT message of the Bolt protocol as it crosses the wire: a chunk of two bytes, a structure
without fields and with tag 0x12, and the end of the message."""


def missing(service: str, install: str) -> NoReturn:
    """Skip the test, or fail it where the service is required."""
    required = os.environ.get("LINEAL_REQUIRE_SERVICES", "")
    reason = f"{service} cannot be started here: {install}"
    if required == "all" or service.lower() in required.lower().split(","):
        pytest.fail(f"{reason} (LINEAL_REQUIRE_SERVICES={required})", pytrace=False)
    pytest.skip(reason)


def cache_home() -> Path:
    """Where downloads are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lineal"


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def downloaded(service: str, folder: Path, files: Mapping[str, str], command: Sequence[str], install: str) -> Path:
    """A folder that a command makes the first time, under the same name, beside the files that it needs.

    It is moved into place as a whole, so that a download that broke off is never taken for one. `install`
    says what to do where the command is missing.
    """
    if folder.is_dir():
        return folder
    name, *arguments = command
    tool = shutil.which(name)
    if tool is None:
        missing(service, install)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for file, text in files.items():
            Path(scratch, file).write_text(text)
        done = subprocess.run(
            [tool, *arguments], cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            missing(service, f"{name} could not download it:\n{done.stdout[-2000:]}")
        # Another run may have been faster; what it made is the same.
        with suppress(OSError):
            Path(scratch, folder.name).rename(folder)
    return folder


def go_program(service: str, module: str, version: str, *, tags: str = "") -> Path:
    """A program; Go downloads and builds it the first time, with these build tags. It is called as its module ends."""
    if shutil.which("go") is None:
        missing(service, "install Go (go), which builds it the first time")
    name = module.rpartition("/")[2]
    folder = f"{name}-{version}"
    # Where it is to be put must be named absolutely, and is known only then.
    build = f'GOBIN="$PWD/{folder}" exec go install -tags={tags} {module}@{version}'
    return downloaded(service, cache_home() / folder, {}, ["sh", "-c", build], "install a POSIX shell (sh)") / name


def neo4j_jars() -> Path:
    """The folder with Neo4j's jars; Maven brings them the first time."""
    return downloaded(
        "neo4j",
        cache_home() / f"neo4j-{NEO4J_VERSION}" / "lib",
        {"pom.xml": _POM},
        ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
        "install Maven (mvn), which downloads its jars the first time",
    )


class Server(ABC):
    """A server of one's own, as a process: start it, kill it, start it again on the same data and port.

    Its console's output is in `home`. Subclasses say what to run and when it answers.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[int] = START_SECONDS

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @abstractmethod
    def prepare(self) -> tuple[list[str], dict[str, str]]:
        """The command to run, and what its environment has beside this process's; what it needs is put in place.

        A missing tool skips or fails the test.
        """

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used now."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        command, environment = self.prepare()
        self.home.mkdir(parents=True, exist_ok=True)
        self._output = (self.home / "console.log").open("ab")
        self._process = subprocess.Popen(
            command,
            cwd=self.home,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.start_seconds
        while not self.answers():
            if process.poll() is not None:
                pytest.fail(
                    f"{self.name} ended with {process.returncode} as it started:\n{self._tail()}", pytrace=False
                )
            if time.monotonic() > end:
                pytest.fail(f"{self.name} did not answer within {self.start_seconds} s:\n{self._tail()}", pytrace=False)
            time.sleep(0.25)

    def _tail(self) -> str:
        return (self.home / "console.log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """End it at once, as a power failure would (SIGKILL), and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def freeze(self) -> None:
        """Stop it as it is, as a host that swaps does (SIGSTOP): its port is open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def memory(self) -> int:
        """Bytes of memory that its process has, as Linux tells."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """End it in good order; at once where that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None
        if self._output is not None:
            self._output.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Neo4jServer(Server):
    """A Neo4j server of one's own.

    A `steady` one keeps its plans though its store fills and empties, as it does with every test; what is measured
    needs plans that fit what is there. A `guarded` one lets nobody in but `neo4j`, whose password is to be changed.
    A `brief` one is for a minute.
    """

    name = "neo4j"

    def __init__(
        self,
        home: Path,
        *,
        steady: bool = False,
        guarded: bool = False,
        brief: bool = False,
        page_cache: str = "128m",
        heap: str = "1g",
    ) -> None:
        super().__init__(home)
        # Most of a short life goes into compiling what a long one would be quicker by.
        self._java = [*_JAVA_OPTIONS, "-XX:TieredStopAtLevel=1"] if brief else list(_JAVA_OPTIONS)
        self._guarded = guarded
        self._page_cache = page_cache
        self._heap = heap
        self._settings = STEADY if steady else ""
        self.url = f"bolt://127.0.0.1:{self.port}"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        java = shutil.which("java")
        if java is None:
            missing("neo4j", "install Java 17 or newer (java)")
        lib = neo4j_jars()
        self._configure()
        places = [f"--home-dir={self.home}", f"--config-dir={self.home / 'conf'}"]
        return [
            java,
            f"-Xmx{self._heap}",
            *self._java,
            "-cp",
            f"{lib}/*",
            "org.neo4j.server.CommunityEntryPoint",
            *places,
        ], {}

    def _configure(self) -> None:
        for folder in ("conf", "data", "logs", "run", "plugins", "import", "licenses"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "conf" / "neo4j.conf").write_text(
            "server.default_listen_address=127.0.0.1\n"
            f"server.bolt.listen_address=:{self.port}\n"
            "server.http.enabled=false\n"
            f"dbms.security.auth_enabled={str(self._guarded).lower()}\n"
            "dbms.usage_report.enabled=false\n"
            # The default is half of the memory that the heap leaves over, which other tests need.
            f"server.memory.pagecache.size={self._page_cache}\n"
            f"{self._settings}"
        )

    def answers(self) -> bool:
        with neo4j.GraphDatabase.driver(self.url, connection_timeout=2) as driver, driver.session() as session:
            try:
                session.run("RETURN 1").consume()
            except AuthError:
                return self._guarded
            except (DriverError, Neo4jError, OSError):
                return False
        return True


class CuttingProxy:
    """Stands between a Bolt client and its server, and can cut the line at a COMMIT.

    `cut_commits` counts down: while it is above 0 the next COMMIT is cut, "before" the server gets it
    or "after" the server has answered it but the client has not heard; `cuts` counts those done.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.when: Literal["before", "after"] = "after"
        self.cut_commits = 0
        self.cuts = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"bolt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        doomed = asyncio.Event()
        ends = (writer, up_writer)
        self._writers.update(ends)
        try:
            back = asyncio.create_task(self._answers(up_reader, writer, doomed))
            await self._requests(reader, up_writer, doomed)
            if not doomed.is_set():
                back.cancel()
            with suppress(asyncio.CancelledError):
                await back
        finally:
            for end in ends:
                end.close()
                self._writers.discard(end)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        """Hand on what the client says until it hangs up, or until the line is to be cut."""
        tail = b""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.cut_commits and COMMIT in tail + data:
                    self.cut_commits -= 1
                    self.cuts += 1
                    doomed.set()
                    if self.when == "after":
                        writer.write(data)
                        await writer.drain()
                    else:
                        writer.close()
                    return
                tail = data[1 - len(COMMIT) :]
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        """Hand on what the server says; on a doomed line keep it back, and hang up once it came."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if doomed.is_set():
                    return
                writer.write(data)
                await writer.drain()
