"""What SCIM 2.0 tells of itself (RFC 7643, sections 5 to 7)."""

from __future__ import annotations

from typing import Any, Final

from gateway.scim_resources import GROUP, USER

ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0"
MAX_RESULTS: Final = 200


def service_provider_config(base: str) -> dict[str, Any]:
    """What this service provider can do."""
    return {
        "schemas": [f"{_CORE}:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "OAuth Bearer Token",
                "description": "An access token with the scope directory:write.",
                "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    """The kinds of resource."""
    extension = [{"schema": ENTERPRISE, "required": False}]
    return [
        _resource_type("User", USER, "A person, who is a principal of Lineal.", base, schemaExtensions=extension),
        _resource_type("Group", GROUP, "A team of Lineal.", base),
    ]


def _resource_type(name: str, schema: str, text: str, base: str, **more: Any) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": f"/{name}s",
        "description": text,
        "schema": schema,
        **more,
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
    }


def schemas(base: str) -> list[dict[str, Any]]:
    """The attributes that Lineal looks at. Others are kept and given back."""
    return [
        _schema(
            USER,
            "User",
            base,
            _attribute("userName", "What the person signs in with.", required=True, uniqueness="server"),
            _attribute("externalId", "The person's id in the directory.", exact=True),
            _attribute("displayName", "What people call the person."),
            _attribute(
                "name",
                "The parts of the person's name.",
                type="complex",
                sub=[_attribute(n, "A part of the name.") for n in ("formatted", "givenName", "familyName")],
            ),
            _attribute("active", "Whether the person's tokens open anything.", type="boolean"),
            _attribute("emails", "E-mail addresses.", type="complex", many=True, sub=_values("An address.")),
            _attribute(
                "groups", "The person's teams.", type="complex", many=True, mutability="readOnly", sub=_values("An id.")
            ),
        ),
        _schema(
            GROUP,
            "Group",
            base,
            _attribute("displayName", "The team's name.", required=True, uniqueness="server", exact=True),
            _attribute("externalId", "The team's id in the directory.", exact=True),
            _attribute("members", "The team's people.", type="complex", many=True, sub=_values("The id of a User.")),
        ),
        _schema(
            ENTERPRISE,
            "EnterpriseUser",
            base,
            *(
                _attribute(n, "Kept, and given back.")
                for n in ("employeeNumber", "organization", "division", "department")
            ),
        ),
    ]


def _schema(id: str, name: str, base: str, *attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "schemas": [f"{_CORE}:Schema"],
        "id": id,
        "name": name,
        "attributes": list(attributes),
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{id}"},
    }


def _attribute(
    name: str,
    text: str,
    *,
    type: str = "string",
    many: bool = False,
    required: bool = False,
    exact: bool = False,
    uniqueness: str = "none",
    mutability: str = "readWrite",
    sub: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "type": type,
        "multiValued": many,
        "description": text,
        "required": required,
        "caseExact": exact,
        "mutability": mutability,
        "returned": "default",
        "uniqueness": uniqueness,
        **({"subAttributes": sub} if sub else {}),
    }


def _values(text: str) -> list[dict[str, Any]]:
    return [
        _attribute("value", text),
        _attribute("display", "As people read it."),
        _attribute("type", "What it is for."),
    ]
