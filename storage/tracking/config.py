"""Tracking servers as an administrator configures them, in a TOML file:

    [trackers.mlflow]
    url = "https://mlflow.example.org"
    workspaces = ["vision", "search"]
    timeout = 20
    options = { allow_private = true, ca_file = "/etc/ssl/mlflow.pem" }
    secrets = { token_env = "MLFLOW_TOKEN" }

Only these are ever asked, whatever a version says of where its run is. Secrets are never in the file: it names the
environment variables and files that have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from storage import configuration
from storage.configuration import Kind, Secret, check_url, known, number, typed, wrong

TIMEOUT: Final = 30.0
"""Seconds that one answer may take, unless the server says otherwise."""
OPTIONS: Final[Mapping[str, Kind]] = {"allow_private": bool, "ca_file": str, "user": str, "history": bool}
SECRETS: Final = ("token", "password")

_KEYS: Final = ("url", "workspaces", "timeout", "options", "secrets")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """A tracking server.

    `workspaces` are those whose versions are looked up there, None for all; `timeout` the seconds of one answer.
    """

    name: str
    url: str
    workspaces: frozenset[str] | None = None
    timeout: float = TIMEOUT
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def serves(self, workspace: str) -> bool:
        """Whether versions of a workspace are looked up there."""
        return self.workspaces is None or workspace in self.workspaces

    @property
    def with_history(self) -> bool:
        """Whether every value of a run's metrics is read, and not the last ones only."""
        return bool(self.options.get("history", False))

    def secret(self, name: str) -> str | None:
        """The value of a secret, or None where none is configured. Raises Unavailable: it is not there."""
        return self.secrets[name].value() if name in self.secrets else None


def load(path: Path) -> tuple[TrackerConfig, ...]:
    """The tracking servers of a file. Raises InvalidArgument, whose `field` is the key's path."""
    return read(configuration.load(path))


def read(data: Mapping[str, Any]) -> tuple[TrackerConfig, ...]:
    """The tracking servers in what a TOML file has. Raises InvalidArgument, whose `field` is the key's path."""
    known(data, ("trackers",), "")
    tables = typed(data.get("trackers", {}), dict, "trackers", "a table")
    return tuple(_tracker(name, table) for name, table in tables.items())


def from_environment(url: str, environment: Mapping[str, str]) -> TrackerConfig:
    """The tracking server at an address, with the credentials that MLflow's own clients take from the environment.

    Whoever names it does so on this machine, so it may be anywhere. Raises InvalidArgument.
    """
    names = {"token": "MLFLOW_TRACKING_TOKEN", "password": "MLFLOW_TRACKING_PASSWORD"}
    given = {name: Secret(env=variable) for name, variable in names.items() if environment.get(variable)}
    options: dict[str, Any] = {"allow_private": True, "user": environment.get("MLFLOW_TRACKING_USERNAME", "")}
    if file := environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        options["ca_file"] = file
    return TrackerConfig("mlflow", check_url(url, "uri"), None, options=options, secrets=given)


def _tracker(name: str, table: Any) -> TrackerConfig:
    at = f"trackers.{name}"
    if not _NAME.fullmatch(name):
        raise wrong(at, "a tracking server's name has small letters, digits, `-` and `_`")
    typed(table, dict, at, "a table")
    known(table, _KEYS, at)
    url = typed(table.get("url"), str, f"{at}.url", "the address of a server")
    return TrackerConfig(
        name,
        check_url(url, f"{at}.url"),
        configuration.workspaces(table.get("workspaces"), f"{at}.workspaces"),
        number(table.get("timeout", TIMEOUT), 600, f"{at}.timeout"),
        configuration.options(table.get("options", {}), OPTIONS, SECRETS, f"{at}.options"),
        configuration.secrets(table.get("secrets", {}), SECRETS, f"{at}.secrets"),
    )
