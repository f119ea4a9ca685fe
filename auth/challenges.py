"""Refused credentials, and what is said about them: challenges and metadata as data, for any HTTP face.

RFC 6750 (Bearer), RFC 9449 (DPoP), RFC 9728 (protected-resource metadata).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from auth.scopes import SCOPES

Scheme = Literal["Bearer", "DPoP"]

INVALID_REQUEST: Final = "invalid_request"
INVALID_TOKEN: Final = "invalid_token"  # noqa: S105 - an error code of RFC 6750, section 3.1
INVALID_PROOF: Final = "invalid_dpop_proof"
INSUFFICIENT_SCOPE: Final = "insufficient_scope"

METADATA_PATH: Final = "/.well-known/oauth-protected-resource"


@dataclass
class Refusal(Exception):
    """Credentials that nobody is let in with.

    `reason` is one of a small set of words, for the audit. `description` may go out: it repeats nothing of
    what was sent, and has no quotes and no backslashes (RFC 6750, section 3). `code` is the error of RFC 6750,
    section 3.1, or RFC 9449, section 7.1; empty where there were no credentials that could be wrong, and where
    it is not the client's fault (`status` 503).
    """

    reason: str
    description: str
    code: str = INVALID_TOKEN
    status: int = 401
    scheme: Scheme = "Bearer"

    def __str__(self) -> str:
        return self.description


def no_credentials() -> Refusal:
    """Nobody said who they are, or not in a way that is understood: there is no error code (RFC 6750, section 3.1)."""
    return Refusal("missing", "a bearer token is needed", "")


def used(authorization: str | None) -> Scheme:
    """The scheme that a request used, by its Authorization header; Bearer where it used none that is known here."""
    return "DPoP" if (authorization or "").lower().startswith("dpop ") else "Bearer"


def malformed(reason: str, description: str) -> Refusal:
    """The request itself is wrong, whatever its token may be."""
    return Refusal(reason, description, INVALID_REQUEST, 400)


def unavailable(description: str) -> Refusal:
    """Nobody can tell now whether a token is good, because its issuer is away."""
    return Refusal("unavailable", description, "", 503)


@dataclass(frozen=True, slots=True)
class Resource:
    """Lineal as OAuth sees it: its identifier (RFC 8707), who issues tokens for it, and algorithms of DPoP proofs.

    `documentation` is the URL of a page that tells people how to get access; empty where there is none.
    """

    identifier: str
    servers: Sequence[str] = ()
    proofs: Sequence[str] = ()
    documentation: str = ""

    @property
    def path(self) -> str:
        """The path of the identifier, empty where it is a bare host."""
        return urlsplit(self.identifier).path.rstrip("/")

    @property
    def origin(self) -> str:
        """Scheme, host and port as clients see them."""
        parts = urlsplit(self.identifier)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def metadata_path(self) -> str:
        """The well-known path with the resource's own path inserted (RFC 9728, section 3.1)."""
        return METADATA_PATH + self.path

    def url(self, path: str) -> str:
        """The URL that clients use for a path of the application.

        It is made from the identifier and not from the Host header, which anybody can write.
        """
        return self.origin + self.path.removesuffix("/graphql") + path

    def metadata(self) -> dict[str, Any]:
        """The protected-resource metadata (RFC 9728, section 2)."""
        return {
            "resource": self.identifier,
            **({"authorization_servers": list(self.servers)} if self.servers else {}),
            "scopes_supported": list(SCOPES),
            "bearer_methods_supported": ["header"],
            **({"dpop_signing_alg_values_supported": list(self.proofs)} if self.proofs else {}),
            "resource_name": "Lineal",
            **({"resource_documentation": self.documentation} if self.documentation else {}),
        }

    def challenges(self, refusal: Refusal, scope: str = "") -> list[str]:
        """The values of WWW-Authenticate for a refusal with status 400, 401 or 403.

        The error stands in the challenge of the scheme that was used. `scope` names what would be enough.
        """
        where = [("resource_metadata", self.origin + self.metadata_path)]
        error = [("error", refusal.code), ("error_description", refusal.description)] if refusal.code else []
        needed = [("scope", scope)] if scope else []
        said: dict[Scheme, list[tuple[str, str]]] = {"Bearer": []}
        if self.proofs:
            said["DPoP"] = [("algs", " ".join(self.proofs))]
        said.setdefault(refusal.scheme, []).extend(error + needed)
        return [f"{scheme} " + ", ".join(f'{k}="{v}"' for k, v in [*params, *where]) for scheme, params in said.items()]
