"""The servers of a federation for tests: those of examples/federation, with their packages pinned here."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from tests import npm
from tests.services import Server

HERE: Final = Path(__file__).parent
EXAMPLE: Final = HERE.parents[1] / "examples" / "federation"
APOLLO: Final = "federation"
HIVE: Final = "hive-gateway"


def apollo_modules() -> Path:
    """Apollo's packages; npm brings them the first time."""
    return npm.packages(APOLLO, HERE / "apollo")


def hive_modules() -> Path:
    """Hive Gateway; npm brings it the first time."""
    return npm.packages(HIVE, HERE / "hive")


def composed(home: Path, subgraphs: Mapping[str, tuple[str, Path]]) -> tuple[Path, list[str]]:
    """The file with the schema of a gateway over these subgraphs (address and schema), and what is hinted at."""
    given = [f"{name}={url}={file}" for name, (url, file) in subgraphs.items()]
    script = npm.placed(apollo_modules(), EXAMPLE / "compose.mjs")
    command = [npm.node(APOLLO), str(script), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "supergraph.graphql").write_text(done.stdout)
    return home / "supergraph.graphql", done.stderr.splitlines()


class _Example(Server):
    """A program of the example, which listens on `port` and takes a file."""

    script: ClassVar[str]

    def __init__(self, home: Path, file: Path) -> None:
        super().__init__(home)
        self.file = file
        self.url = f"http://127.0.0.1:{self.port}/"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        modules = apollo_modules()
        npm.placed(modules, EXAMPLE / "features.graphql")
        script = npm.placed(modules, EXAMPLE / self.script)
        return [npm.node(APOLLO), str(script), str(self.port), str(self.file)], {"NODE_ENV": "production"}

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False


class FeatureStore(_Example):
    """The second subgraph, with these feature views."""

    name: ClassVar[str] = "feature store"
    script = "features.mjs"

    def __init__(self, home: Path, views: Sequence[Mapping[str, Any]]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "views.json").write_text(json.dumps(views))
        super().__init__(home, home / "views.json")


class ApolloGateway(_Example):
    """Apollo's gateway over a composed schema."""

    name: ClassVar[str] = "apollo gateway"
    script = "gateway.mjs"


class HiveGateway(Server):
    """Hive Gateway over a composed schema, which takes the tokens of one issuer."""

    name: ClassVar[str] = "hive gateway"
    start_seconds: ClassVar[int] = 120

    def __init__(self, home: Path, supergraph: Path, key: str, audience: str) -> None:
        super().__init__(home)
        self.supergraph = supergraph
        self.url = f"http://127.0.0.1:{self.port}/graphql"
        self._environment = {"SIGNING_KEY": key, "AUDIENCE": audience, "NODE_ENV": "production"}

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        modules = hive_modules()
        config = npm.placed(modules, EXAMPLE / "hive.config.mjs")
        program = modules / "@graphql-hive" / "gateway" / "dist" / "bin.js"
        command = [npm.node(HIVE), str(program), "supergraph", str(self.supergraph), "-c", str(config)]
        return [*command, "-h", "127.0.0.1", "-p", str(self.port)], self._environment

    def answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readiness", timeout=5).status_code == 200
        return False
