"""Users and Groups of SCIM 2.0 (RFC 7643, section 4) as principals and teams, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from gateway.scim_errors import ScimError
from gateway.scim_filter import Comparison, lookup, parse_filter
from graph.ontology import PRINCIPAL
from graph.port import All, Any_, Linked, Node, Prop, Where
from graph.text import fold
from resolvers.provisioning import MEMBERS, Group, Person, provisioned, version

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"

MAX_VALUE: Final = 400
"""Characters of what names a principal or a team."""

_NAMED: Final = (
    "active",
    "displayName",
    "emails",
    "externalId",
    "groups",
    "id",
    "members",
    "meta",
    "name",
    "password",
    "schemas",
    "userName",
)
_CANONICAL: Final = {name.lower(): name for name in _NAMED}
_NOT_KEPT: Final = frozenset({"groups", "id", "members", "meta", "password", "schemas"})
"""What is not the client's to say, is kept elsewhere, or must not be kept at all."""


def document(body: Mapping[str, Any]) -> dict[str, Any]:
    """A resource as a client sent it, with the names that Lineal looks at in their own letters."""
    return {_CANONICAL.get(name.lower(), name): value for name, value in body.items() if value is not None}


def said(node: Node) -> dict[str, Any]:
    """What the directory last said of a person or a team, as it is now."""
    kept = dict(node.props.get("directory", {}).get("said", {}))
    if node.kind == PRINCIPAL.name:
        kept["active"] = node.props.get("active", True)
    else:
        kept["displayName"] = node.name
    return kept


def person(given: Mapping[str, Any]) -> Person:
    """A User resource. Raises ScimError invalidValue."""
    return Person(
        user_name=_text(given, "userName", required=True) or "",
        active=_boolean(given.get("active", True)),
        display_name=_text(given, "displayName") or _full_name(given.get("name")),
        external_id=_text(given, "externalId"),
        said=_kept(given),
    )


def group(given: Mapping[str, Any]) -> Group:
    """A Group resource, but for its members. Raises ScimError invalidValue."""
    name = _text(given, "displayName", required=True) or ""
    return Group(name, _text(given, "externalId"), _kept(given))


def user_json(node: Node, teams: Sequence[Node], base: str) -> dict[str, Any]:
    """A User as clients get it."""
    groups = [{"value": t.id, "$ref": f"{base}/Groups/{t.id}", "display": t.name, "type": "direct"} for t in teams]
    return {**_common(node, USER, "User", f"{base}/Users/{node.id}"), **({"groups": groups} if groups else {})}


def group_json(node: Node, members: Sequence[Node], base: str) -> dict[str, Any]:
    """A Group as clients get it."""
    listed = []
    for m in members:
        # Those that no directory provisioned are members all the same, and are no resource that could be read.
        ref = {"$ref": f"{base}/Users/{m.id}"} if provisioned(m, PRINCIPAL.name) else {}
        listed.append({"value": m.id, **ref, "display": m.props.get("displayName") or m.name, "type": "User"})
    return {**_common(node, GROUP, "Group", f"{base}/Groups/{node.id}"), **({"members": listed} if listed else {})}


def etag(node: Node) -> str:
    """The version of a resource as an entity tag (RFC 7644, section 3.14)."""
    return f'W/"{version(node)}"'


def where_of(text: str | None, kind: str) -> Where | None:
    """A filter as a condition on principals or teams. Raises ScimError invalidFilter."""
    if text is None:
        return None
    conditions = _USER_FILTERS if kind == PRINCIPAL.name else _GROUP_FILTERS
    return All(tuple(_condition(c, conditions) for c in parse_filter(text)))


def _condition(comparison: Comparison, conditions: Mapping[str, Callable[[str, Any], Where]]) -> Where:
    make = conditions.get(comparison.path.key)
    if make is None or comparison.path.where:
        names = ", ".join(conditions)
        raise ScimError(
            400, f"filter: {comparison.path.key:.80} cannot be filtered by; it may be {names}", "invalidFilter"
        )
    return make(comparison.op, comparison.value)


_OPS: Final[Mapping[str, Any]] = {"eq": "eq", "co": "contains", "sw": "prefix"}


def _by_text(prop: str, *, folded: bool = False) -> Callable[[str, Any], Where]:
    def make(op: str, value: Any) -> Where:
        if op not in _OPS or not isinstance(value, str):
            raise ScimError(400, f"filter: {prop} is compared with text by eq, co or sw", "invalidFilter")
        return Prop(prop, _OPS[op], fold(value) if folded else value)

    return make


def _by_equality(condition: Callable[[Any], Where]) -> Callable[[str, Any], Where]:
    def make(op: str, value: Any) -> Where:
        if op != "eq":
            raise ScimError(400, f"filter: only eq is possible there, not {op}", "invalidFilter")
        return condition(value)

    return make


def _by_active(value: Any) -> Where:
    off = Prop("active", "eq", False)
    return off if not _boolean(value) else Any_((Prop("active", "eq", True), Prop("active", "eq", None)))


def _by_member(value: Any) -> Where:
    return Linked(MEMBERS, where=Prop("id", "eq", str(value)))


_USER_FILTERS: Final[Mapping[str, Callable[[str, Any], Where]]] = {
    "username": _by_text("userName", folded=True),
    "externalid": _by_text("externalId"),
    "id": _by_equality(lambda value: Prop("id", "eq", str(value))),
    "active": _by_equality(_by_active),
    "displayname": _by_text("displayName"),
}
_GROUP_FILTERS: Final[Mapping[str, Callable[[str, Any], Where]]] = {
    "displayname": _by_text("name"),
    "externalid": _by_text("externalId"),
    "id": _by_equality(lambda value: Prop("id", "eq", str(value))),
    "members": _by_equality(_by_member),
    "members.value": _by_equality(_by_member),
}


def _common(node: Node, schema: str, type: str, location: str) -> dict[str, Any]:
    kept = said(node)
    modified = max(node.updated_at, node.props.get("directory", {}).get("at", 0))
    extensions = [name for name in kept if name.lower().startswith("urn:")]
    meta = {
        "resourceType": type,
        "created": _time(node.created_at),
        "lastModified": _time(modified),
        "location": location,
        "version": etag(node),
    }
    return {"schemas": [schema, *extensions], "id": node.id, **kept, "meta": meta}


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _NOT_KEPT}


def _text(given: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = given.get(name)
    if value is None and not required:
        return None
    if isinstance(value, str) and not value and not required:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_VALUE:
        raise ScimError(400, f"{name}: must be text of 1 to {MAX_VALUE} characters", "invalidValue")
    return value


def _boolean(value: Any) -> bool:
    """True or false, also as text: Entra ID sends it so."""
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise ScimError(400, "active: must be true or false", "invalidValue")
    return text == "true"


def _full_name(name: Any) -> str | None:
    """A person's name where no display name is given."""
    if not isinstance(name, Mapping):
        return None
    parts = (
        [lookup(name, "formatted")]
        if lookup(name, "formatted")
        else [lookup(name, p) for p in ("givenName", "familyName")]
    )
    return " ".join(part for part in parts if isinstance(part, str) and part)[:MAX_VALUE] or None


def _time(microseconds: int) -> str:
    at = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
