"""Connectors as an administrator configures them, in a TOML file:

    [connectors.lake]
    scheme = "s3"
    prefixes = ["s3://lake/raw", "s3://lake/features"]
    workspaces = ["vision", "search"]
    options = { endpoint_url = "https://minio.example.org", region = "eu-central-1" }
    secrets = { key_env = "LAKE_KEY", secret_file = "/run/secrets/lake" }

Secrets are never in it: it names the environment variables and files that have them.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lineal.errors import InvalidArgument, Unavailable
from storage.connectors.places import SCHEMES, Place, parse

MAX_FILES: Final = 10_000_000
"""Files that are listed of one place, unless the connector says otherwise."""
TIMEOUT: Final = 30.0
"""Seconds that one request to a store may take, unless the connector says otherwise."""

_HDFS: Final = {
    "host": str, "port": int, "user": str, "use_https": bool, "kerberos": bool, "datanodes": list, "ca_file": str,
}  # fmt: skip
OPTIONS: Final[Mapping[str, Mapping[str, type]]] = {
    "s3": {
        "endpoint_url": str, "region": str, "addressing": str, "anon": bool, "profile": str, "requester_pays": bool,
        "ca_file": str,
    },
    "gs": {"endpoint_url": str, "project": str, "anon": bool, "requester_pays": bool},
    "abfs": {"account_name": str, "account_host": str, "tenant_id": str, "client_id": str, "anon": bool},
    "hdfs": _HDFS,
    "webhdfs": _HDFS,
    "https": {"ca_file": str, "user": str, "allow_private": bool, "allow_query": bool},
    "file": {},
}  # fmt: skip
"""The options of each scheme and their types."""
SECRETS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("key", "secret", "token"),
    "gs": ("token",),
    "abfs": ("account_key", "connection_string", "sas_token", "client_secret"),
    "hdfs": ("password", "token"),
    "webhdfs": ("password", "token"),
    "https": ("bearer", "password"),
    "file": (),
}
"""The secrets of each scheme."""

_KEYS: Final = ("scheme", "prefixes", "workspaces", "options", "secrets", "timeout", "max_files")
_ONE_SERVER: Final = ("hdfs", "webhdfs", "abfs")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WORDS: Final = {str: "text", int: "a whole number", bool: "true or false", list: "a list of texts"}


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: the name of an environment variable, or a file."""

    env: str = ""
    file: str = ""

    def value(self) -> str:
        """The secret. Raises Unavailable: it is not there."""
        try:
            text = Path(self.file).read_text(encoding="utf-8").strip() if self.file else os.environ.get(self.env, "")
        except (OSError, ValueError):
            text = ""
        if not text:
            raise Unavailable(f"a connector's secret is missing: {self.file or self.env}")
        return text


@dataclass(frozen=True, slots=True)
class ConnectorConfig:
    """A way to data that stays where it is.

    `prefixes` are the places that it reaches; `workspaces` those that may use it, None for all; `timeout` the
    seconds of one request; `max_files` the files that are listed of one place.
    """

    name: str
    scheme: str
    prefixes: tuple[Place, ...]
    workspaces: frozenset[str] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = TIMEOUT
    max_files: int = MAX_FILES

    def serves(self, workspace: str) -> bool:
        """Whether a workspace may use it."""
        return self.workspaces is None or workspace in self.workspaces

    def covers(self, place: Place) -> int:
        """How long the prefix is that allows a place, in segments and one; 0 where none does."""
        if place.query and not self.options.get("allow_query"):
            return 0
        return max((len(prefix.segments) + 1 for prefix in self.prefixes if place.is_within(prefix)), default=0)

    def secret(self, name: str) -> str | None:
        """The value of a secret, or None where none is configured. Raises Unavailable: it is not there."""
        return self.secrets[name].value() if name in self.secrets else None


def load(path: Path) -> tuple[ConnectorConfig, ...]:
    """The connectors of a file. Raises InvalidArgument, whose `field` is the key's path."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is not TOML: {error}") from error
    return read(data)


def read(data: Mapping[str, Any]) -> tuple[ConnectorConfig, ...]:
    """The connectors in what a TOML file has. Raises InvalidArgument, whose `field` is the key's path."""
    _known(data, ("connectors",), "")
    tables = _typed(data.get("connectors", {}), dict, "connectors", "a table")
    return tuple(_connector(name, table) for name, table in tables.items())


def _connector(name: str, table: Any) -> ConnectorConfig:
    at = f"connectors.{name}"
    if not _NAME.fullmatch(name):
        raise _wrong(at, "a connector's name has small letters, digits, `-` and `_`")
    _typed(table, dict, at, "a table")
    _known(table, _KEYS, at)
    scheme = table.get("scheme")
    if scheme not in SCHEMES:
        raise _wrong(f"{at}.scheme", f"must be one of {', '.join(SCHEMES)}")
    return ConnectorConfig(
        name,
        scheme,
        _prefixes(table, scheme, f"{at}.prefixes"),
        _workspaces(table, f"{at}.workspaces"),
        _options(table.get("options", {}), scheme, f"{at}.options"),
        _secrets(table.get("secrets", {}), scheme, f"{at}.secrets"),
        _number(table.get("timeout", TIMEOUT), 3600, f"{at}.timeout"),
        int(_number(table.get("max_files", MAX_FILES), 50_000_000, f"{at}.max_files")),
    )


def _prefixes(table: Mapping[str, Any], scheme: str, at: str) -> tuple[Place, ...]:
    given = _texts(table.get("prefixes"), at)
    if not given:
        raise _wrong(at, "must have at least one prefix, each a full URI")
    places = tuple(parse(uri, f"{at}[{i}]") for i, uri in enumerate(given))
    for i, place in enumerate(places):
        if place.scheme != scheme or place.query:
            raise _wrong(f"{at}[{i}]", f"must be a URI with {scheme}:// and without a query")
        if scheme in _ONE_SERVER and _server(place) != _server(places[0]):
            raise _wrong(f"{at}[{i}]", "must be of the same cluster or account as the first: make another connector")
    return places


def _server(place: Place) -> str:
    return place.authority.partition("@")[2] if place.scheme == "abfs" else place.authority


def _workspaces(table: Mapping[str, Any], at: str) -> frozenset[str] | None:
    given = table.get("workspaces")
    if given == "*":
        return None
    if not given or isinstance(given, str):
        raise _wrong(at, 'must be a list of the workspaces that may use it, or "*" for all')
    return frozenset(_texts(given, at))


def _options(given: Any, scheme: str, at: str) -> Mapping[str, Any]:
    _typed(given, dict, at, "a table")
    for name in given:
        if name in SECRETS[scheme]:
            raise _wrong(f"{at}.{name}", f"is a secret: give it in secrets, as {name}_env or {name}_file")
    _known(given, tuple(OPTIONS[scheme]), at)
    for name, value in given.items():
        kind = OPTIONS[scheme][name]
        if kind is list:
            _texts(value, f"{at}.{name}")
        else:
            _typed(value, kind, f"{at}.{name}", _WORDS[kind])
    return MappingProxyType(dict(given))


def _secrets(given: Any, scheme: str, at: str) -> Mapping[str, Secret]:
    _typed(given, dict, at, "a table")
    _known(given, tuple(f"{name}_{kind}" for name in SECRETS[scheme] for kind in ("env", "file")), at)
    found: dict[str, Secret] = {}
    for key, value in given.items():
        name, _, kind = key.rpartition("_")
        if name in found:
            raise _wrong(f"{at}.{key}", f"{name} is given twice")
        if not _typed(value, str, f"{at}.{key}", "text"):
            raise _wrong(f"{at}.{key}", "must not be empty")
        found[name] = Secret(**{kind: value})
    return MappingProxyType(found)


def _number(value: Any, largest: float, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(at, "must be a number")
    if not 0 < value <= largest:
        raise _wrong(at, f"must be above 0 and at most {largest:,}")
    return float(value)


def _texts(value: Any, at: str) -> list[str]:
    texts = _typed(value, list, at, "a list of texts")
    for i, text in enumerate(texts):
        _typed(text, str, f"{at}[{i}]", "text")
    return list(texts)


def _typed(value: Any, kind: type, at: str, words: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(at, f"must be {words}")
    return value


def _known(table: Mapping[str, Any], keys: tuple[str, ...], at: str) -> None:
    for key in table:
        if key not in keys:
            known = f"there is {', '.join(keys)}" if keys else "there are none here"
            raise _wrong(f"{at}.{key}".lstrip("."), f"is unknown; {known}")


def _wrong(at: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{at}: {problem}", field=at)
