"""Serving targets as an administrator configures them, in a TOML file:

    [targets.gpu-farm]
    platform = "torchserve"
    url = "https://serving.example.org:8081"
    workspaces = ["vision", "search"]
    environments = ["production"]
    timeout = 20
    ca_file = "/etc/ssl/serving.pem"
    options = { inference_url = "https://serving.example.org:8080" }
    secrets = { token_file = "/run/secrets/torchserve" }
    files = { mode = "folder", path = "/mnt/models", seen_as = "/models" }

`files` says how the files of a version come to where the target's servers read them:

    { mode = "folder", path = …, seen_as = … }     a folder of this machine, and its path as the servers see it
    { mode = "object", uri = "s3://bucket/prefix", options = …, secrets = … }
                                                   an object store (s3, gs, abfs); options and secrets as connectors'
    { mode = "link", seconds = 3600 }              an address that opens for so long, which the servers fetch from
    { mode = "none" }                              not at all: the platform has them from elsewhere

Secrets are never in it: it names the environment variables and files that have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lineal.errors import InvalidArgument
from serving.port import Adapter
from storage import configuration
from storage.configuration import Secret, check_url, known, number, texts, typed, wrong
from storage.connectors import config as connectors
from storage.connectors.places import parse

ADAPTERS: Final[Mapping[str, str]] = {
    "bentoml": "serving.bentoml:BentoML",
    "kserve": "serving.kserve:KServe",
    "open-inference": "serving.open_inference:OpenInference",
    "ray-serve": "serving.ray_serve:RayServe",
    "sagemaker": "serving.sagemaker:SageMaker",
    "tensorflow-serving": "serving.tensorflow_serving:TensorFlowServing",
    "torchserve": "serving.torchserve:TorchServe",
    "webhook": "serving.webhook:Webhook",
}
"""The platforms: a module, and the adapter in it."""

MODES: Final = ("folder", "object", "link", "none")
"""How files come to servers."""
OBJECT_SCHEMES: Final = ("s3", "gs", "abfs")
"""The object stores that files can be put into."""
TIMEOUT: Final = 30.0
"""Seconds that one call to a platform may take, unless the target says otherwise."""
LINK_SECONDS: Final = 3600
"""Seconds that an address for servers opens, unless the target says otherwise."""

_KEYS: Final = (
    "platform", "url", "workspaces", "environments", "timeout", "ca_file", "options", "secrets", "files",
)  # fmt: skip
_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "folder": ("mode", "path", "seen_as"),
    "object": ("mode", "uri", "options", "secrets"),
    "link": ("mode", "seconds"),
    "none": ("mode",),
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """How the files of versions come to a target's servers.

    `path` and `seen_as` are of a folder; `uri`, `options` and `secrets` of an object store; `seconds` of addresses.
    """

    mode: str
    path: str = ""
    seen_as: str = ""
    uri: str = ""
    seconds: int = LINK_SECONDS
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """A serving target.

    `workspaces` are those that may deploy to it and `environments` those that it belongs to, None for all; `timeout`
    the seconds of one call; `ca_file` a file with the certificates to trust, or empty.
    """

    name: str
    platform: str
    url: str
    workspaces: frozenset[str] | None
    environments: frozenset[str] | None
    files: FilesConfig
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = TIMEOUT
    ca_file: str = ""

    def serves(self, workspace: str, environment: str) -> bool:
        """Whether a workspace may deploy to it for an environment."""
        return (self.workspaces is None or workspace in self.workspaces) and (
            self.environments is None or environment in self.environments
        )

    def secret(self, name: str) -> str | None:
        """The value of a secret, or None where none is configured. Raises Unavailable: it is not there."""
        return self.secrets[name].value() if name in self.secrets else None

    def at(self, key: str) -> str:
        """The path of a key of this target, for errors."""
        return f"targets.{self.name}.{key}"


def load(path: Path) -> tuple[TargetConfig, ...]:
    """The targets of a file. Raises InvalidArgument, whose `field` is the key's path."""
    return read(configuration.load(path))


def read(data: Mapping[str, Any]) -> tuple[TargetConfig, ...]:
    """The targets in what a TOML file has. Raises InvalidArgument, whose `field` is the key's path."""
    known(data, ("targets",), "")
    tables = typed(data.get("targets", {}), dict, "targets", "a table")
    return tuple(_target(name, table) for name, table in tables.items())


def build(config: TargetConfig) -> Adapter:
    """The adapter of a target. Raises InvalidArgument, whose `field` is the key's path."""
    return adapter_of(config.platform)(config)


def adapter_of(platform: str) -> type[Adapter]:
    """The adapter of a platform. Raises InvalidArgument: its library is not installed."""
    module, _, name = ADAPTERS[platform].partition(":")
    try:
        found: type[Adapter] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        msg = f"targets of the platform {platform} need {error.name}: pip install 'lineal[serving]'"
        raise InvalidArgument(msg, field="platform") from None
    return found


def _target(name: str, table: Any) -> TargetConfig:
    at = f"targets.{name}"
    if not _NAME.fullmatch(name):
        raise wrong(at, "a target's name has small letters, digits, `-` and `_`")
    typed(table, dict, at, "a table")
    known(table, _KEYS, at)
    platform = table.get("platform")
    if platform not in ADAPTERS:
        raise wrong(f"{at}.platform", f"must be one of {', '.join(ADAPTERS)}")
    adapter = adapter_of(platform)
    return TargetConfig(
        name,
        platform,
        _url(table, f"{at}.url", needed=adapter.addressed),
        configuration.workspaces(table.get("workspaces"), f"{at}.workspaces"),
        frozenset(texts(table["environments"], f"{at}.environments")) if "environments" in table else None,
        _files(table.get("files", {"mode": "none"}), adapter, f"{at}.files"),
        configuration.options(table.get("options", {}), adapter.options, adapter.secrets, f"{at}.options"),
        configuration.secrets(table.get("secrets", {}), adapter.secrets, f"{at}.secrets"),
        number(table.get("timeout", TIMEOUT), 3600, f"{at}.timeout"),
        typed(table.get("ca_file", ""), str, f"{at}.ca_file", "text"),
    )


def _url(table: Mapping[str, Any], at: str, *, needed: bool) -> str:
    if not needed and "url" not in table:
        return ""
    return check_url(typed(table.get("url"), str, at, "the address of a server"), at)


def _files(table: Any, adapter: type[Adapter], at: str) -> FilesConfig:
    typed(table, dict, at, "a table")
    mode = table.get("mode")
    if mode not in MODES:
        raise wrong(f"{at}.mode", f"must be one of {', '.join(MODES)}")
    if mode not in adapter.modes:
        raise wrong(f"{at}.mode", f"must be one of {', '.join(adapter.modes)} for the platform {adapter.platform}")
    known(table, _FILES[mode], at)
    if mode == "folder":
        path = _absolute(table.get("path"), f"{at}.path")
        seen_as = _absolute(table["seen_as"], f"{at}.seen_as") if "seen_as" in table else path
        return FilesConfig(mode, path=path, seen_as=seen_as)
    if mode == "object":
        return _object(table, at)
    if mode == "link":
        seconds = number(table.get("seconds", LINK_SECONDS), 7 * 86_400, f"{at}.seconds")
        return FilesConfig(mode, seconds=max(1, int(seconds)))
    return FilesConfig(mode)


def _absolute(value: Any, at: str) -> str:
    path: str = typed(value, str, at, "the absolute path of a folder")
    if not PurePosixPath(path).is_absolute() and not Path(path).is_absolute():
        raise wrong(at, "must be the absolute path of a folder")
    return path


def _object(table: Mapping[str, Any], at: str) -> FilesConfig:
    place = parse(typed(table.get("uri"), str, f"{at}.uri", "the URI of a prefix"), f"{at}.uri")
    scheme = place.scheme
    if scheme not in OBJECT_SCHEMES:
        raise wrong(f"{at}.uri", f"must begin with {', '.join(f'{each}://' for each in OBJECT_SCHEMES)}")
    secrets = connectors.SECRETS[scheme]
    return FilesConfig(
        "object",
        uri=place.uri.rstrip("/"),
        options=configuration.options(table.get("options", {}), connectors.OPTIONS[scheme], secrets, f"{at}.options"),
        secrets=configuration.secrets(table.get("secrets", {}), secrets, f"{at}.secrets"),
    )
