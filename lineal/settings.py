"""Settings: from options of the command line, LINEAL_* environment variables, and a TOML file.

The first that names a setting wins, in that order. The file is the one that LINEAL_CONFIG names, or
lineal.toml in the working directory where there is one; its keys are the settings' names in small letters.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from graph.port import MAX_WALK
from lineal.errors import InvalidArgument
from schema.limits import Limits

CONFIG_VARIABLE = "LINEAL_CONFIG"
CONFIG_FILE = Path("lineal.toml")
_LIMITS = Limits()


def data_home() -> Path:
    """Where Lineal keeps its data unless told otherwise (XDG Base Directory Specification)."""
    if local := os.environ.get("LOCALAPPDATA"):
        return Path(local) / "lineal"
    given = os.environ.get("XDG_DATA_HOME", "")
    home = Path(given) if Path(given).is_absolute() else Path("~/.local/share").expanduser()
    return home / "lineal"


def config_file() -> Path | None:
    """The settings file in use. Raises InvalidArgument: LINEAL_CONFIG names none."""
    if named := os.environ.get(CONFIG_VARIABLE):
        path = Path(named)
        if not path.is_file():
            raise InvalidArgument(f"{CONFIG_VARIABLE}: there is no file {named}", field=CONFIG_VARIABLE)
        return path
    return CONFIG_FILE if CONFIG_FILE.is_file() else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _only_loopback(host: str) -> str:
    if not is_loopback(host):
        msg = (
            f"{host!r} can be reached from other machines, and Lineal has no access control yet: it listens on "
            "127.0.0.1, ::1 or localhost only; put a proxy that checks who asks in front of it"
        )
        raise ValueError(msg)
    return host


class Settings(BaseSettings):
    """Everything that can be set. `Settings.load` reads it from where it is set."""

    model_config = SettingsConfigDict(env_prefix="LINEAL_", extra="forbid", frozen=True, env_ignore_empty=True)

    graph: str = Field(
        default_factory=lambda: f"sqlite:///{data_home() / 'lineal.db'}",
        description="The store: sqlite:///file.db, neo4j://host:7687, neo4j+s://host:7687 or bolt://host:7687.",
    )
    graph_user: str | None = Field(None, description="User at the Neo4j server.")
    graph_password: SecretStr | None = Field(None, description="Password at the Neo4j server.")
    graph_database: str = Field("neo4j", description="Database of the Neo4j server.")
    graph_ca: Path | None = Field(None, description="File with the certificates to trust for neo4j+s and bolt+s.")
    host: Annotated[str, AfterValidator(_only_loopback)] = Field(
        "127.0.0.1", description="Address to listen on; loopback only."
    )
    port: int = Field(8321, ge=0, le=65_535, description="Port to listen on; 0 takes any free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON lines, or text for people; auto is text on a terminal and JSON elsewhere."
    )
    max_body_bytes: int = Field(_LIMITS.body, ge=1_024, description="Bytes in the body of a request.")
    max_tokens: int = Field(_LIMITS.tokens, ge=10, description="Tokens in a GraphQL document.")
    max_depth: int = Field(_LIMITS.depth, ge=1, description="Levels of nesting in a GraphQL document.")
    max_fields: int = Field(_LIMITS.fields, ge=1, description="Fields of a GraphQL document, fragments spread.")
    max_aliases: int = Field(_LIMITS.aliases, ge=0, description="Aliases in a GraphQL document.")
    max_directives: int = Field(_LIMITS.directives, ge=0, description="Directives in a GraphQL document.")
    max_items: int = Field(_LIMITS.items, ge=1, description="Items that all lists of one answer hold together.")
    max_walk: int = Field(MAX_WALK, ge=1, description="Nodes that one walk through lineage may visit.")
    query_seconds: float = Field(_LIMITS.seconds, gt=0, description="Seconds that one operation may take.")
    stop_seconds: int = Field(10, ge=0, description="Seconds that open requests get to end when Lineal is stopped.")

    @property
    def limits(self) -> Limits:
        """What one GraphQL operation may ask for."""
        return Limits(
            tokens=self.max_tokens,
            depth=self.max_depth,
            fields=self.max_fields,
            aliases=self.max_aliases,
            directives=self.max_directives,
            items=self.max_items,
            seconds=self.query_seconds,
            body=self.max_body_bytes,
        )

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """The settings, `given` ones first; those of None count as not given.

        Raises InvalidArgument that names the setting, what was wrong with it and what would be right.
        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except tomllib.TOMLDecodeError as error:
            raise InvalidArgument(f"{config_file()}: is not TOML: {error}") from None
        except ValidationError as error:
            raise _refusal(error) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options, environment, file; nothing else."""
        file = config_file()
        return init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, file)] if file else [])


def _refusal(error: ValidationError) -> InvalidArgument:
    """The first problem in Lineal's words; a secret's value is never repeated."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = ", ".join(Settings.model_fields)
        return InvalidArgument(f"{name}: there is no such setting (in {config_file()}); there are {known}", field=name)
    message = first["msg"].removeprefix("Value error, ")
    told = name == "graph_password" or first["type"] == "value_error"
    shown = "" if told else f", not {first['input']!r:.80}"
    return InvalidArgument(f"{name}: {message[0].lower() + message[1:]}{shown}", field=name)
