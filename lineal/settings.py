"""Settings: from options of the command line, LINEAL_* environment variables, and a TOML file.

The first that names a setting wins, in that order. The file is the one that LINEAL_CONFIG names, or
lineal.toml in the working directory where there is one; its keys are the settings' names in small letters.
Lists and tables are written as JSON in environment variables.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from auth.issuer import Issuer
from graph.ontology import DEFAULT_WORKSPACE
from graph.port import MAX_WALK
from lineal.errors import InvalidArgument
from lineal.issuers import IssuerSettings, readable_scope, unique
from lineal.storages import S3Settings, SignerSettings
from schema.limits import Limits

CONFIG_VARIABLE = "LINEAL_CONFIG"
CONFIG_FILE = Path("lineal.toml")
_LIMITS = Limits()
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d+)?")
_SECRET = ("password", "secret", "token")
"""What is in the names of settings whose values are never repeated."""


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


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _resource(url: str) -> str:
    """An identifier as RFC 8707 and RFC 9728 want it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        msg = f"{url!r:.200} is no URL of a server; it looks like https://lineal.example.org/graphql"
        raise ValueError(msg)
    return url


def _origin(url: str) -> str:
    """A site, as browsers name it in Origin."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or url != f"{parts.scheme}://{parts.netloc}".lower():
        msg = f"{url!r:.200} is no origin of a page; it looks like https://app.example.org, without a path"
        raise ValueError(msg)
    return url


def _receiver(url: str) -> str:
    """An address that events are sent to."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment or parts.username:
        msg = f"{url!r:.200} is no URL to send to; it looks like https://marquez.example.org/api/v1/lineage"
        raise ValueError(msg)
    return url


def _network(text: str) -> str:
    """An address, or a network with a prefix."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        msg = f"{text!r:.100} is no address and no network; they look like 10.0.0.7 and 10.0.0.0/8: {error}"
        raise ValueError(msg) from None
    return text


def _framing(origin: str) -> str:
    """A site that may stand in a policy, where other characters would say something else."""
    if not _HOST.fullmatch(urlsplit(_origin(origin)).netloc):
        msg = f"{origin!r:.200} is no origin of a page; it looks like https://wiki.example.org"
        raise ValueError(msg)
    return origin


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
    storage: str | None = Field(
        None,
        description="Where artifacts are kept: a folder, or s3://bucket/prefix. Default: a folder beside the SQLite "
        "file, or in your data folder.",
    )
    s3: S3Settings = Field(
        default_factory=lambda: S3Settings.model_validate({}),
        description="How to use the S3 store that `storage` names.",
    )
    signers: SignerSettings = Field(
        default_factory=lambda: SignerSettings.model_validate({}),
        description="Whose signatures on artifacts are trusted.",
    )
    connectors: Path | None = Field(
        None, description="TOML file of the connectors to data that stays where it is; see docs/connectors.md."
    )
    targets: Path | None = Field(
        None, description="TOML file of the serving platforms that Lineal deploys to; see docs/deployments.md."
    )
    trackers: Path | None = Field(
        None,
        description="TOML file of the tracking servers that say where versions came from; see docs/mlflow-import.md.",
    )
    tracking_hours: float = Field(
        72.0, gt=0, description="Hours for which a version is looked up again while its tracking server is away."
    )
    kubeflow: Path | None = Field(
        None,
        description="TOML file of the Kubeflow Pipelines servers whose runs are recorded; see docs/integrations.md.",
    )
    observe_seconds: float = Field(
        10.0, ge=1, description="Seconds between two looks at all that a serving platform serves."
    )
    artifact_check_hours: float = Field(
        24.0,
        ge=0,
        description="Hours between two looks for drift at data that stays where it is; 0 looks by hand only.",
    )
    artifact_collect_hours: float = Field(
        24.0, ge=0, description="Hours between two clearings of what nothing needs from storage; 0 clears by hand only."
    )
    artifact_grace_hours: float = Field(
        168.0, gt=0, description="Hours for which bytes that nothing needs are kept all the same."
    )
    webhook_private: bool = Field(
        default=False,
        description="Whether webhooks may go to loopback and private addresses, and by http:// too.",
    )
    webhook_ca: Path | None = Field(
        None, description="File with certificates that the receivers of webhooks are trusted by, beside the system's."
    )
    webhook_seconds: float = Field(10.0, gt=0, le=60, description="Seconds that a receiver of webhooks has to answer.")
    webhook_delivery_hours: float = Field(
        24.0, gt=0, description="Hours for which an event is tried to be delivered before it is a dead letter."
    )
    webhook_pause_hours: float = Field(
        72.0, gt=0, description="Hours for which a webhook may fail before it is paused and its owners are told."
    )
    openlineage_url: Annotated[str, AfterValidator(_receiver)] | None = Field(
        None, description="URL that what happens here is sent to as OpenLineage events; nowhere unless set."
    )
    openlineage_token: SecretStr | None = Field(None, description="Bearer token that these events are sent with.")
    openlineage_namespace: str = Field(
        "lineal",
        min_length=1,
        max_length=200,
        description="Namespace of what is registered here, in these events.",
    )
    openlineage_private: bool = Field(
        default=False, description="Whether they may go to loopback and private addresses, and by http:// too."
    )
    openlineage_ca: Path | None = Field(
        None, description="File with certificates that their receiver is trusted by, beside the system's."
    )
    wandb_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret that webhooks of Weights & Biases are signed with; none are taken unless it is set.",
    )
    wandb_workspace: str = Field(DEFAULT_WORKSPACE, description="Workspace that they write into.")
    huggingface_secret: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret that webhooks of the Hugging Face Hub have; none are taken unless it is set.",
    )
    huggingface_workspace: str = Field(DEFAULT_WORKSPACE, description="Workspace that they write into.")
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on: loopback only, unless there are issuers. TLS is left to a proxy in front.",
    )
    port: int = Field(8321, ge=0, le=65_535, description="Port to listen on; 0 takes any free one.")
    resource: Annotated[str, AfterValidator(_resource)] | None = Field(
        None,
        description="URL of /graphql as clients see it: what tokens must be for. Default: http://host:port/graphql.",
    )
    issuers: Annotated[tuple[IssuerSettings, ...], AfterValidator(unique)] = Field(
        (), description="Authorization servers whose tokens are accepted. Without any, Lineal signs its own."
    )
    start_without_issuers: bool = Field(
        default=False,
        description="Start although the keys of an issuer cannot be had; its tokens wait until they can.",
    )
    keys: Path = Field(
        default_factory=lambda: data_home() / "keys", description="Folder of the keys that Lineal signs with."
    )
    audit_checkpoint_seconds: float = Field(
        60.0, ge=1, description="Seconds between two signed checkpoints of the audit, while it grows."
    )
    audit_checkpoint_file: Path | None = Field(
        None, description="File elsewhere that checkpoints are appended to, out of reach of who could edit the store."
    )
    anonymous: bool = Field(default=False, description="Whether those without a token may read public workspaces.")
    anonymous_scopes: tuple[Annotated[str, AfterValidator(readable_scope)], ...] = Field(
        (
            "model:read",
            "dataset:read",
            "deployment:read",
            "workspace:read",
            "artifact:read",
            "lineage:read",
            "metrics:read",
        ),
        description="Scopes of those without a token.",
    )
    introspection: Literal["scope", "open"] = Field(
        "scope", description="Who may read the schema by introspection: holders of schema:read, or all."
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        (),
        description="Origins of pages of other sites that may ask here from a browser, by WebSocket too: "
        "https://app.example.org.",
    )
    documentation: str | None = Field(
        None, description="URL of a page that tells people how to get access, for OAuth's metadata."
    )
    graphiql: bool = Field(default=True, description="Whether the pages /graphiql and /lineage are served.")
    embed_origins: tuple[Annotated[str, AfterValidator(_framing)], ...] = Field(
        (), description="Origins whose pages may show /lineage in a frame."
    )
    scim_issuer: str | None = Field(
        None,
        description="Short name of the issuer whose people SCIM provisions. Default: the first issuer's, or local.",
    )
    max_subscriptions: int = Field(2_000, ge=1, description="Subscriptions that one process serves at a time.")
    max_subscriptions_per_client: int = Field(
        500,
        ge=1,
        description="Those of them that one person has with one program, or one address without a token; as many "
        "WebSockets, too.",
    )
    max_operations_per_connection: int = Field(
        100, ge=1, description="Operations that one WebSocket has under way at a time, subscriptions among them."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON lines, or text for people; auto is text on a terminal and JSON elsewhere."
    )
    log_clients: bool = Field(
        default=False,
        description="Whether the log has the network address that each request came from; it may lead to a person.",
    )
    otlp_endpoint: Annotated[str, AfterValidator(_receiver)] | None = Field(
        None,
        description="URL of an OTLP/HTTP receiver that traces are sent to, such as http://127.0.0.1:4318; without it "
        "OpenTelemetry's own OTEL_* variables count, and nothing is traced unless one of these names an endpoint.",
    )
    slow_seconds: float = Field(
        1.0, ge=0, description="Seconds from which on an operation is told in the log as slow; 0 tells none."
    )
    documents: tuple[Path, ...] = Field(
        (),
        description="Manifests of trusted documents, which clients ask for by documentId: what graphql-codegen or the "
        "Relay compiler wrote.",
    )
    documents_only: bool = Field(default=False, description="Whether GraphQL runs trusted documents and nothing else.")
    documents_taught: int = Field(
        0,
        ge=0,
        description="Documents that clients may teach by their hash (APQ) and each process remembers; 0 takes none.",
    )
    max_body_bytes: int = Field(_LIMITS.body, ge=1_024, description="Bytes in the body of a request.")
    max_tokens: int = Field(_LIMITS.tokens, ge=10, description="Tokens in a GraphQL document.")
    max_depth: int = Field(_LIMITS.depth, ge=1, description="Levels of nesting in a GraphQL document.")
    max_fields: int = Field(_LIMITS.fields, ge=1, description="Fields of a GraphQL document, fragments spread.")
    max_aliases: int = Field(_LIMITS.aliases, ge=0, description="Aliases in a GraphQL document.")
    max_directives: int = Field(_LIMITS.directives, ge=0, description="Directives in a GraphQL document.")
    max_items: int = Field(_LIMITS.items, ge=1, description="Items that all lists of one answer hold together.")
    max_answer_bytes: int = Field(
        _LIMITS.answer,
        ge=10_000,
        description="Bytes of one GraphQL answer as JSON, before it is compressed; an event of a subscription is one.",
    )
    max_cost: int = Field(
        _LIMITS.cost,
        ge=1,
        description="Cost of one operation at most, by @cost and @listSize; see docs/graphql-http.md.",
    )
    budget_per_minute: int = Field(
        0,
        ge=0,
        description="Cost that one client may take in a minute from one process, by what was read; 0 counts nothing.",
    )
    max_walk: int = Field(MAX_WALK, ge=1, description="Nodes that one walk through lineage may visit.")
    query_seconds: float = Field(_LIMITS.seconds, gt=0, description="Seconds that one operation may take.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (),
        description="Addresses or networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. "
        "Without any, the address in the audit is that of the connection.",
    )
    max_requests: int = Field(
        1_000,
        ge=1,
        description="Requests that one process answers at a time, queries and mutations over WebSockets among them; "
        "more get 503 with Retry-After, or UNAVAILABLE.",
    )
    drain_seconds: float = Field(
        0,
        ge=0,
        description="Seconds for which /readyz says 503 while all is still answered, once Lineal is told to stop: as "
        "long as a balancer takes to notice.",
    )
    stop_seconds: int = Field(10, ge=0, description="Seconds that open requests get to end when Lineal is stopped.")

    @model_validator(mode="after")
    def _only_as_wide_as_it_is_safe(self) -> Self:
        if not self.issuers and not is_loopback(self.host):
            msg = (
                f"host: {self.host!r} can be reached from other machines, and no issuer is configured that could tell "
                "who asks: Lineal listens on 127.0.0.1, ::1 or localhost only, until the setting issuers names one"
            )
            raise ValueError(msg)
        if self.openlineage_url and self.openlineage_url.startswith("http:") and not self.openlineage_private:
            msg = "openlineage_url: must begin with https://, unless openlineage_private is true"
            raise ValueError(msg)
        if self.resource is None and self.host.strip("[]") in {"0.0.0.0", "::", ""}:  # noqa: S104 - it is refused
            msg = f"resource: must be set where host is {self.host!r}, which is no address that clients use"
            raise ValueError(msg)
        return self

    @property
    def identifier(self) -> str:
        """What tokens must be for: the URL of /graphql as clients see it."""
        host = self.host.strip("[]")
        return self.resource or f"http://{f'[{host}]' if ':' in host else host}:{self.port}/graphql"

    @property
    def base(self) -> str:
        """The URL of this server as clients see it, without /graphql."""
        return self.identifier.removesuffix("/").removesuffix("/graphql")

    @property
    def trusted(self) -> list[Issuer]:
        """The issuers, as auth knows them."""
        return [issuer.issuer(self.identifier) for issuer in self.issuers]

    @property
    def provisioned_issuer(self) -> str:
        """The short name of the issuer whose people SCIM provisions."""
        return self.scim_issuer or (self.issuers[0].name if self.issuers else "local")

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
            answer=self.max_answer_bytes,
            cost=self.max_cost,
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
        except SettingsError as error:
            name = str(error).partition('"')[2].partition('"')[0]
            raise InvalidArgument(f"{name}: must be JSON in LINEAL_{name.upper()}", field=name) from None
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
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        known = ", ".join(Settings.model_fields)
        return InvalidArgument(f"{name}: there is no such setting (in {config_file()}); there are {known}", field=name)
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        return InvalidArgument(message, field=message.partition(":")[0])
    # What is said of an issuer may have a secret inside, and its messages say what would be right.
    told = first["type"] == "value_error" or name.startswith("issuers") or any(word in name for word in _SECRET)
    shown = "" if told else f", not {first['input']!r:.80}"
    return InvalidArgument(f"{name}: {message[0].lower() + message[1:]}{shown}", field=name)
