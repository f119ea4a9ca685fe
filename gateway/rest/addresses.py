"""How a part of a path names a thing.

Decoded once, it is an id, an address (`models:/vision:resnet`), or what stands in an address after its scheme:
`vision:resnet` under /models. A `/` or `@` there belongs to the name, unless the collection is of parts: under
/model-versions `vision:resnet/3` and `vision:resnet@champion` are versions. Names with `%`, and with `:` where a
workspace could stand, are encoded in it as addresses have them.
"""

from __future__ import annotations

import re

from gateway.rest.routes import NODES, NOUNS
from graph.address import encode
from graph.ids import kind_of
from graph.ontology import NODE_KINDS, NodeKind
from lineal.errors import InvalidArgument

_SCHEME = re.compile(r"[a-z]+:/")


def kind_at(collection: str) -> NodeKind | None:
    """The kind of what is in a collection; None where it is of any."""
    return NODE_KINDS[NOUNS[collection][0]] if collection in NOUNS else None


def names_things(collection: str) -> bool:
    """Whether what follows this part of a path names something, and is no plain text."""
    return collection in NOUNS or collection in {NODES, "comments", "members", "shared-with"}


def address_at(collection: str, text: str) -> str:
    """The id or address that a part of a path stands for."""
    kind = NODE_KINDS["Workspace"] if collection == "shared-with" else kind_at(collection)
    if kind is None or kind_of(text) or _SCHEME.match(text):
        return text
    return f"{kind.scheme}:/{text if kind.within else _named(text, kind)}"


def _named(text: str, kind: NodeKind) -> str:
    """A name with its workspace, as an address has them."""
    if kind.is_global:
        return _encoded(text)
    workspace, colon, name = text.partition(":")
    return f"{workspace}:{_encoded(name)}" if colon else _encoded(text)


def _encoded(name: str) -> str:
    """A name of which `%` is encoded already, with the rest."""
    return re.sub("[/:@]", lambda match: encode(match[0]), name)


def composed(template: str, parts: dict[str, tuple[str, str]]) -> str:
    """An address of parts of a path, each with its collection. Raises InvalidArgument: the container is an id."""
    said = {}
    for name, (collection, text) in parts.items():
        kind = kind_at(collection)
        container = kind is not None and not kind.within and f":/{{{name}}}" in template
        if not container:
            said[name] = _encoded(text)
            continue
        assert kind is not None
        if kind_of(text) or _SCHEME.match(text):
            msg = f"{name}: must be a name here, such as vision:resnet; by its id a part is found in its own collection"
            raise InvalidArgument(msg, field=name)
        said[name] = _named(text, kind)
    return template.format_map(said)
