"""How an authorization server is described in the settings: one table of `issuers` for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from auth import issuer, local
from auth.fetching import is_safe
from auth.scopes import SCOPES

_NAME = re.compile(r"[a-z0-9-]{1,40}")


def _name(name: str) -> str:
    if not _NAME.fullmatch(name) or name == local.NAME:
        msg = f"must be 1 to 40 of a-z, 0-9 and '-', and not {local.NAME!r}: names of principals begin with it"
        raise ValueError(msg)
    return name


def _url(url: str) -> str:
    if not is_safe(url):
        raise ValueError("must be an https URL; http only on this machine")
    return url


def known_scope(scope: str) -> str:
    """A scope of Lineal's. Raises ValueError."""
    if scope not in SCOPES:
        msg = f"there is no scope {scope!r:.80}; there are {', '.join(SCOPES)}"
        raise ValueError(msg)
    return scope


def readable_scope(scope: str) -> str:
    """A scope that may be given to everybody: it reads, and not what is about the server or who did what."""
    if not known_scope(scope).endswith(":read") or scope in {"audit:read", "monitor:read", "activity:read"}:
        msg = f"{scope} is not for those without a token"
        raise ValueError(msg)
    return scope


def unique(issuers: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
    """Issuers whose names and URLs differ. Raises ValueError."""
    for attribute in ("name", "url"):
        if len({getattr(each, attribute) for each in issuers}) < len(issuers):
            msg = f"two issuers have the same {attribute}"
            raise ValueError(msg)
    return issuers


def _listed(value: Any) -> Any:
    """One text where a list of them may be given."""
    return [value] if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_url)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed)]
Scopes = Annotated[tuple[Annotated[str, AfterValidator(known_scope)], ...], BeforeValidator(_listed)]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class IntrospectionSettings(_Table):
    """How opaque tokens are asked about (RFC 7662)."""

    client_id: str = Field(min_length=1, description="Lineal's own client at the issuer.")
    client_secret: SecretStr = Field(description="Its secret.")
    url: Url | None = Field(None, description="Where to ask. Default: what the issuer's metadata says.")
    prefix: str = Field(
        "", description="What all its opaque tokens begin with: then it is asked about these only, and nobody else is."
    )


class IssuerSettings(_Table):
    """One authorization server."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        description="Short name, which the names of its principals begin with; it never changes."
    )
    url: Url = Field(description="Its identifier, exactly as tokens have it in iss.")
    audience: str | None = Field(None, min_length=1, description="What tokens must have in aud. Default: resource.")
    algorithms: tuple[Algorithm, ...] = Field(
        issuer.ALGORITHMS,
        min_length=1,
        description="Algorithms that it signs with.",
    )
    token_types: tuple[Literal["at+jwt", "JWT"], ...] = Field(
        ("at+jwt",),
        min_length=1,
        description="What typ its access tokens have. JWT is for issuers that do not follow RFC 9068: then the token "
        "must say its client.",
    )
    subject_claim: str = Field("sub", min_length=1, description="The claim that tells its users apart for good.")
    scope_claim: Names = Field(("scope",), description="Claims that list scopes or roles, as text or lists.")
    scopes_map: Mapping[str, Scopes] = Field(
        default_factory=dict,
        description="Which scopes of Lineal each of its scopes or roles stands for; with it, no other counts.",
    )
    groups_claims: Names = Field(("groups",), description="Claims that list groups or roles, with dots for inner ones.")
    teams: Mapping[str, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict, description="Which team each group stands for; other groups are nothing here."
    )
    introspection: IntrospectionSettings | None = Field(None, description="How opaque tokens are asked about.")
    jwks_url: Url | None = Field(None, description="Where its keys are. Default: what its metadata says.")
    leeway: int = Field(30, ge=0, le=30, description="Seconds that an expired token is still good for.")
    max_token_age: int | None = Field(None, ge=1, description="Seconds after iat that a token is good for, at most.")
    stale_hours: float = Field(
        24, ge=0, le=24 * 7, description="Hours that keys are used beyond their time while the issuer is away."
    )

    browser_client_id: str | None = Field(
        None,
        min_length=1,
        description="Public client with which people sign in on Lineal's pages; its redirect URI is that of /graphiql. "
        "Without it they do not sign in there.",
    )
    browser_scopes: tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")], ...] = Field(
        tuple(scope for scope in SCOPES if scope.endswith(":read")),
        description="Scopes that these pages ask it for, by its own names. Default: all that only read.",
    )
    browser_origins: tuple[Url, ...] = Field(
        (), description="Other addresses that signing in needs from the browser, such as a token endpoint elsewhere."
    )

    @model_validator(mode="after")
    def _no_duplicates(self) -> IssuerSettings:
        if len(set(self.token_types)) < len(self.token_types):
            raise ValueError("token_types names one twice")
        return self

    def issuer(self, resource: str) -> issuer.Issuer:
        """The issuer as auth knows it; `resource` is what tokens must be for unless it says otherwise."""
        asked = self.introspection
        return issuer.Issuer(
            name=self.name,
            url=self.url,
            audience=self.audience or resource,
            algorithms=self.algorithms,
            token_types=frozenset(self.token_types),
            subject_claim=self.subject_claim,
            scope_claims=self.scope_claim,
            scopes_map=self.scopes_map,
            groups_claims=self.groups_claims,
            teams=self.teams,
            introspection=issuer.Introspection(
                asked.client_id, asked.client_secret.get_secret_value(), asked.url or "", asked.prefix
            )
            if asked
            else None,
            jwks_url=self.jwks_url or "",
            leeway=self.leeway,
            max_token_age=self.max_token_age,
            stale=self.stale_hours * 3600,
        )


def described(issuers: Sequence[IssuerSettings]) -> str:
    """Their names, for people."""
    return ", ".join(each.name for each in issuers)
