"""skops: a zip archive whose `schema.json` names every object by module and class, without pickles."""

from __future__ import annotations

from typing import Any

from storage.formats.features import COUNT, counted
from storage.formats.finding import Found, Value
from storage.formats.reading import File


def claims(file: File) -> bool:
    """A zip archive with a schema."""
    return file.head[:2] == b"PK" and file.member("schema.json") is not None


def read(file: File, found: Found) -> None:
    """Version, estimator, features."""
    schema = file.member("schema.json")
    assert schema is not None
    tree = schema.json()
    if "_skops_version" not in tree:
        return
    found.format("skops")
    found.version("skops", tree["_skops_version"])
    kind = f"{tree['__module__']}.{tree['__class__']}"
    if kind.startswith("sklearn."):
        found.framework("scikit-learn")
        found.fact("sklearn.estimator", kind)
    states = list(_states(tree))
    for state in states:
        found.version("scikit-learn", _plain(state.get("_sklearn_version")))
    count = _plain(counted(tree, _attributes, _first).get(COUNT))
    if count.isdigit():
        found.fact("sklearn.n_features_in", count)
        found.signature([Value("X", "", (None, int(count)))], [])


def _states(tree: Any) -> list[dict[str, Any]]:
    """The attributes of all objects in the tree, the outermost first."""
    found = []
    left = [tree]
    for node in left:
        if isinstance(node, dict):
            if attributes := _attributes(node):
                found.append(attributes)
            left += node.values()
        elif isinstance(node, list):
            left += node
    return found


def _attributes(node: Any) -> dict[str, Any]:
    content = node.get("content") if isinstance(node, dict) else None
    attributes = content.get("content") if isinstance(content, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _first(node: Any) -> Any:
    for kind, place in (("list", 0), ("tuple", 1)):
        if isinstance(node, dict) and node.get("__class__") == kind and isinstance(node.get("content"), list):
            node = next(iter(node["content"][place:]), None)
    return node


def _plain(node: Any) -> str:
    """What a leaf says: a number or text, as JSON within JSON."""
    content = node.get("content") if isinstance(node, dict) else None
    return content.strip('"') if isinstance(content, str) else ""
