"""Kubeflow Pipelines servers as an administrator configures them, in a TOML file:

    [kubeflow.cluster]
    url = "https://kubeflow.example.org/pipeline"
    workspace = "vision"
    namespace = "team-vision"
    every = 30
    options = { allow_private = true, ca_file = "/etc/ssl/kubeflow.pem" }
    secrets = { token_file = "/var/run/secrets/kubeflow/token" }

Secrets are never in the file: it names the environment variables and files that have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from storage import configuration
from storage.configuration import Kind, Secret, check_url, known, number, typed, wrong
from storage.tracking.config import TIMEOUT

EVERY: Final = 30.0
"""Seconds between two looks for runs, unless the server says otherwise."""
OPTIONS: Final[Mapping[str, Kind]] = {"allow_private": bool, "ca_file": str, "user": str}
SECRETS: Final = ("token", "password")

_KEYS: Final = ("url", "workspace", "namespace", "every", "timeout", "options", "secrets")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class KubeflowConfig:
    """A Kubeflow Pipelines server, whose runs are recorded in one workspace.

    `namespace` is that of the runs there, empty for those of a server that has none; `every` the seconds between two
    looks, `timeout` those of one answer.
    """

    name: str
    url: str
    workspace: str
    namespace: str = ""
    every: float = EVERY
    timeout: float = TIMEOUT
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def secret(self, name: str) -> str | None:
        """The value of a secret, or None where none is configured. Raises Unavailable: it is not there."""
        return self.secrets[name].value() if name in self.secrets else None


def load(path: Path) -> tuple[KubeflowConfig, ...]:
    """The servers of a file. Raises InvalidArgument, whose `field` is the key's path."""
    return read(configuration.load(path))


def read(data: Mapping[str, Any]) -> tuple[KubeflowConfig, ...]:
    """The servers in what a TOML file has. Raises InvalidArgument, whose `field` is the key's path."""
    known(data, ("kubeflow",), "")
    tables = typed(data.get("kubeflow", {}), dict, "kubeflow", "a table")
    return tuple(_server(name, table) for name, table in tables.items())


def _server(name: str, table: Any) -> KubeflowConfig:
    at = f"kubeflow.{name}"
    if not _NAME.fullmatch(name):
        raise wrong(at, "a server's name has small letters, digits, `-` and `_`")
    typed(table, dict, at, "a table")
    known(table, _KEYS, at)
    url = typed(table.get("url"), str, f"{at}.url", "the address of a server")
    workspace = typed(table.get("workspace"), str, f"{at}.workspace", "the name of a workspace")
    if not workspace:
        raise wrong(f"{at}.workspace", "must be the name of a workspace")
    return KubeflowConfig(
        name,
        check_url(url, f"{at}.url"),
        workspace,
        typed(table.get("namespace", ""), str, f"{at}.namespace", "text"),
        number(table.get("every", EVERY), 86_400, f"{at}.every"),
        number(table.get("timeout", TIMEOUT), 600, f"{at}.timeout"),
        configuration.options(table.get("options", {}), OPTIONS, SECRETS, f"{at}.options"),
        configuration.secrets(table.get("secrets", {}), SECRETS, f"{at}.secrets"),
    )
