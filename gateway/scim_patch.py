"""Changes to a resource by PATCH (RFC 7644, section 3.5.2), with the dialects that identity providers speak.

Entra ID capitalises operations, sends booleans as text, names what to remove in `value`, and puts dotted
paths into objects without a path; Okta sends objects without a path, with the resource's own id in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal, cast

import orjson

from gateway.scim_errors import ScimError
from gateway.scim_filter import Path, lookup, parse_path
from resolvers.provisioning import Members

PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MAX_OPERATIONS: Final = 1_000
MAX_VALUES: Final = 131_072
"""Bytes of JSON that all operations of a PATCH may put in together, but for members of groups."""
MAX_STEPS: Final = 200_000
"""Values that all operations of a PATCH may look at together: each looks at the whole attribute that it names."""
READ_ONLY: Final = frozenset({"id", "meta", "groups", "schemas"})

Op = Literal["add", "replace", "remove"]
Document = dict[str, Any]
Operation = tuple[Op, Path, Any]


def operations(body: Mapping[str, Any]) -> list[Operation]:
    """What a PATCH asks for, one attribute at a time. Raises ScimError invalidSyntax, invalidPath, noTarget."""
    given = lookup(body, "Operations")
    if not isinstance(given, list) or not 0 < len(given) <= MAX_OPERATIONS:
        raise ScimError(400, f"Operations: must be a list of 1 to {MAX_OPERATIONS} operations", "invalidSyntax")
    found = list(islice((each for item in given for each in _operation(item)), MAX_OPERATIONS + 1))
    if len(found) > MAX_OPERATIONS:
        raise ScimError(413, f"Operations: they name more than {MAX_OPERATIONS} attributes")
    return found


def _operation(item: Any) -> Iterator[Operation]:
    if not isinstance(item, Mapping) or not isinstance(op := lookup(item, "op"), str):
        raise ScimError(400, "Operations: each is an object with `op`", "invalidSyntax")
    op, path, value = op.lower(), lookup(item, "path"), lookup(item, "value")
    if op not in {"add", "replace", "remove"}:
        raise ScimError(400, f"op: must be add, replace or remove, not {op!r:.40}", "invalidSyntax")
    if path is not None and not isinstance(path, str):
        raise ScimError(400, "path: must be text", "invalidPath")
    if path:
        yield cast("Op", op), _writable(parse_path(path)), value
    elif op == "remove":
        raise ScimError(400, "path: what is to be removed must be named", "noTarget")
    elif not isinstance(value, Mapping):
        raise ScimError(400, "value: must be an object where there is no path", "invalidValue")
    else:
        for name, part in value.items():
            if name.lower() not in READ_ONLY:
                yield cast("Op", op), parse_path(name), part


def _writable(path: Path) -> Path:
    if not path.schema and path.name.lower() in READ_ONLY:
        raise ScimError(400, f"path: {path.name} is read only", "mutability")
    return path


def carry_out(document: Document, operations: Sequence[Operation]) -> None:
    """Carry operations out on a resource; their values stay as they are.

    Raises ScimError noTarget, invalidValue, invalidPath, and 413: it would take too long.
    """
    values = [orjson.dumps(value) for _, _, value in operations]
    if sum(map(len, values)) > MAX_VALUES:
        raise ScimError(413, f"Operations: their values have more than the {MAX_VALUES} bytes allowed")
    steps = 0
    for (op, path, _), value in zip(operations, values, strict=True):
        steps += len(document) + _weight(lookup(document, path.schema or path.name)) * (1 + len(path.where))
        if steps > MAX_STEPS:
            raise ScimError(413, "Operations: there are too many for a resource of this size; send fewer at once")
        change(document, op, path, orjson.loads(value))


def _weight(value: Any) -> int:
    """How many values there are in a value, itself among them."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + sum(map(_weight, parts))


def change(document: Document, op: Op, path: Path, value: Any) -> None:
    """Carry one operation out on a resource. Raises ScimError noTarget, invalidValue, invalidPath."""
    if path.schema and not path.name:
        _put(document, path.schema, None if op == "remove" else value, op)
        return
    holder = document
    if path.schema:
        holder = document.setdefault(_key(document, path.schema), {})
        if not isinstance(holder, dict):
            raise ScimError(400, f"path: {path.schema} is no object", "invalidPath")
    if path.where:
        _change_elements(holder, op, path, value)
    elif path.sub:
        _change_part(holder, op, path, value)
    elif op == "remove" and value not in (None, []):
        _remove_elements(holder, path.name, value)
    else:
        _put(holder, path.name, None if op == "remove" else value, op)


def _put(holder: Document, name: str, value: Any, op: Op) -> None:
    """Set an attribute; objects are merged, `add` adds to lists, and null or nothing takes it away."""
    _set(holder, _key(holder, name), value, op)


def _set(holder: Document, key: str, value: Any, op: Op) -> None:
    before = holder.get(key)
    if isinstance(before, list) and op == "add" and value is not None:
        there = {_mark(item) for item in before}
        new = [item for item in _listed(value) if _mark(item) not in there]
        holder[key] = _one_primary([*before, *new], new)
    elif isinstance(before, dict) and isinstance(value, dict):
        keys: dict[str, str] = {name.lower(): name for name in reversed(before)}
        for part, given in value.items():
            _set(before, keys.setdefault(part.lower(), part), given, "replace")
    elif value in (None, [], {}):
        holder.pop(key, None)
    else:
        holder[key] = value


def _change_part(holder: Document, op: Op, path: Path, value: Any) -> None:
    """Set or remove a part of an object, or of each object in a list."""
    key = _key(holder, path.name)
    if op != "remove":
        holder.setdefault(key, {})
    for item in _listed(holder.get(key, [])):
        if not isinstance(item, dict):
            raise ScimError(400, f"path: {path.name} has no parts", "invalidPath")
        _put(item, path.sub, None if op == "remove" else value, "replace")


def _change_elements(holder: Document, op: Op, path: Path, value: Any) -> None:
    """Change or remove the elements of a list that match."""
    key = _key(holder, path.name)
    items = holder.get(key, [])
    if not isinstance(items, list):
        raise ScimError(400, f"path: {path.name} is no list", "invalidPath")
    matching = [item for item in items if all(c.holds(item) for c in path.where)]
    if op == "remove" and not path.sub:
        gone = set(map(id, matching))
        _put(holder, path.name, [item for item in items if id(item) not in gone], "replace")
        return
    if not matching and op == "replace":
        raise ScimError(400, f"path: nothing in {path.name} matches", "noTarget")
    if not matching and op == "add":
        # Entra ID adds an e-mail address as emails[type eq "work"].value before there is any.
        matching = [{c.path.name: c.value for c in path.where if c.op == "eq"}]
        items = holder[key] = [*items, *matching]
    for item in matching:
        if not isinstance(item, dict):
            raise ScimError(400, f"path: {path.name} has no parts", "invalidPath")
        if path.sub:
            _put(item, path.sub, None if op == "remove" else value, "replace")
        elif isinstance(value, Mapping):
            item.update(value)
        else:
            raise ScimError(400, f"value: must be an object for an element of {path.name}", "invalidValue")
    holder[key] = _one_primary(items, matching)


def _remove_elements(holder: Document, name: str, value: Any) -> None:
    """Remove the elements that `value` lists: by their `value` where they are objects."""
    items = holder.get(key := _key(holder, name))
    if isinstance(items, list):
        gone = {_mark(_identity(item)) for item in _listed(value)}
        _put(holder, key, [item for item in items if _mark(_identity(item)) not in gone], "replace")
    else:
        holder.pop(key, None)


def _one_primary(items: list[Any], new: Sequence[Any]) -> list[Any]:
    """At most one element of a list is the primary one: that which was set last (RFC 7644, section 3.5.2)."""
    if any(isinstance(item, dict) and item.get("primary") is True for item in new):
        kept = set(map(id, new))
        for item in items:
            if isinstance(item, dict) and item.get("primary") is True and id(item) not in kept:
                item["primary"] = False
    return items


def change_members(members: Members, op: Op, path: Path, value: Any) -> None:
    """Carry out an operation on a group's members. Raises ScimError invalidPath, invalidValue."""
    if path.where:
        if op != "remove" or path.sub or any(c.path.key != "value" or c.op != "eq" for c in path.where):
            raise ScimError(400, 'path: members are removed by members[value eq "…"]', "invalidPath")
        members.remove({str(c.value) for c in path.where})
    elif op == "remove" and value in (None, []):
        members.replace(set())
    elif path.sub:
        raise ScimError(400, "path: a member's parts cannot be changed", "mutability")
    else:
        {"add": members.add, "remove": members.remove, "replace": members.replace}[op](member_ids(value))


def member_ids(value: Any) -> set[str]:
    """The ids of members. Raises ScimError invalidValue: not a list of objects with `value`."""
    ids = set()
    for item in _listed(value):
        id = lookup(item, "value") if isinstance(item, Mapping) else item
        if not isinstance(id, str):
            raise ScimError(400, "members: each is an object with the id of a User as `value`", "invalidValue")
        ids.add(id)
    return ids


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _mark(item: Any) -> bytes:
    """What equal values have in common, and no others."""
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


def _identity(item: Any) -> Any:
    return lookup(item, "value") if isinstance(item, Mapping) else item


def _key(holder: Mapping[str, Any], name: str) -> str:
    """The name as the resource has it already, for names of attributes know no case."""
    return next((key for key in holder if key.lower() == name.lower()), name)
