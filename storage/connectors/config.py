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

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from storage import configuration
from storage.configuration import Kind, Secret, check_url, known, number, texts, typed, wrong
from storage.connectors.places import SCHEMES, Place, parse

MAX_FILES: Final = 10_000_000
"""Files that are listed of one place, unless the connector says otherwise."""
LISTING_TIMEOUT: Final = 3_600.0
"""Seconds that the listing of one place may take, unless the connector says otherwise."""
TIMEOUT: Final = 30.0
"""Seconds that one request to a store may take, unless the connector says otherwise."""

_HDFS: Final = {
    "host": str, "port": int, "user": str, "use_https": bool, "kerberos": bool, "datanodes": list, "ca_file": str,
}  # fmt: skip
OPTIONS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "s3": {
        "endpoint_url": str, "region": str, "addressing": ("path", "virtual", "auto"), "anon": bool, "profile": str,
        "requester_pays": bool, "ca_file": str,
    },
    "gs": {"endpoint_url": str, "project": str, "anon": bool, "requester_pays": bool},
    "abfs": {"account_name": str, "account_host": str, "tenant_id": str, "client_id": str, "anon": bool},
    "hdfs": _HDFS,
    "webhdfs": _HDFS,
    "https": {"ca_file": str, "user": str, "allow_private": bool, "allow_query": bool},
    "file": {},
}  # fmt: skip
"""The options of each scheme, and what each must be."""
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

_KEYS: Final = ("scheme", "prefixes", "workspaces", "options", "secrets", "timeout", "max_files", "listing_timeout")
_ONE_SERVER: Final = ("hdfs", "webhdfs", "abfs")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class ConnectorConfig:
    """A way to data that stays where it is.

    `prefixes` are the places that it reaches; `workspaces` those that may use it, None for all; `timeout` the
    seconds of one request; `max_files` the files that are listed of one place, and `listing_timeout` the seconds that
    this may take.
    """

    name: str
    scheme: str
    prefixes: tuple[Place, ...]
    workspaces: frozenset[str] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    timeout: float = TIMEOUT
    max_files: int = MAX_FILES
    listing_timeout: float = LISTING_TIMEOUT

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
    return read(configuration.load(path))


def read(data: Mapping[str, Any]) -> tuple[ConnectorConfig, ...]:
    """The connectors in what a TOML file has. Raises InvalidArgument, whose `field` is the key's path."""
    known(data, ("connectors",), "")
    tables = typed(data.get("connectors", {}), dict, "connectors", "a table")
    return tuple(_connector(name, table) for name, table in tables.items())


def _connector(name: str, table: Any) -> ConnectorConfig:
    at = f"connectors.{name}"
    if not _NAME.fullmatch(name):
        raise wrong(at, "a connector's name has small letters, digits, `-` and `_`")
    typed(table, dict, at, "a table")
    known(table, _KEYS, at)
    scheme = table.get("scheme")
    if scheme not in SCHEMES:
        raise wrong(f"{at}.scheme", f"must be one of {', '.join(SCHEMES)}")
    options = configuration.options(table.get("options", {}), OPTIONS[scheme], SECRETS[scheme], f"{at}.options")
    secrets = configuration.secrets(table.get("secrets", {}), SECRETS[scheme], f"{at}.secrets")
    _check_fit(scheme, options, secrets, at)
    return ConnectorConfig(
        name,
        scheme,
        _prefixes(table, scheme, f"{at}.prefixes"),
        configuration.workspaces(table.get("workspaces"), f"{at}.workspaces"),
        options,
        secrets,
        number(table.get("timeout", TIMEOUT), 3600, f"{at}.timeout"),
        int(number(table.get("max_files", MAX_FILES), 50_000_000, f"{at}.max_files")),
        number(table.get("listing_timeout", LISTING_TIMEOUT), 86_400, f"{at}.listing_timeout"),
    )


def _check_fit(scheme: str, options: Mapping[str, Any], secrets: Mapping[str, Secret], at: str) -> None:
    """Refuse options that no store could be opened with, or not with the others and these secrets."""
    if "endpoint_url" in options:
        check_url(options["endpoint_url"], f"{at}.options.endpoint_url")
    if "ca_file" in options:
        try:
            ssl.create_default_context(cafile=options["ca_file"])
        except (OSError, ValueError):
            raise wrong(f"{at}.options.ca_file", "must be a file with certificates in PEM") from None
    if scheme == "s3":
        for given, missing in (("key", "secret"), ("secret", "key")):
            if given in secrets and missing not in secrets:
                raise wrong(f"{at}.secrets.{missing}", f"must be given where {given} is")
    if scheme in {"hdfs", "webhdfs"}:
        if "password" in secrets and "user" not in options:
            raise wrong(f"{at}.options.user", "must be given where a password is")
        if "user" in options and ("token" in secrets or options.get("kerberos")):
            raise wrong(f"{at}.options.user", "must not be given where a token or Kerberos says who asks")


def _prefixes(table: Mapping[str, Any], scheme: str, at: str) -> tuple[Place, ...]:
    given = texts(table.get("prefixes"), at)
    if not given:
        raise wrong(at, "must have at least one prefix, each a full URI")
    places = tuple(parse(uri, f"{at}[{i}]") for i, uri in enumerate(given))
    for i, place in enumerate(places):
        if place.scheme != scheme or place.query:
            raise wrong(f"{at}[{i}]", f"must be a URI with {scheme}:// and without a query")
        if scheme in _ONE_SERVER and _server(place) != _server(places[0]):
            raise wrong(f"{at}[{i}]", "must be of the same cluster or account as the first: make another connector")
    return places


def _server(place: Place) -> str:
    return place.authority.partition("@")[2] if place.scheme == "abfs" else place.authority
