"""Addresses: how people and scripts name a node, one grammar everywhere.

    models:/name              models:/name/3              models:/name@champion
    datasets:/name            datasets:/name/v2           fields:/dataset/column
    runs:/name                deployments:/name           deployments:/name/2
    models:/vision:resnet/3   in the workspace "vision"   models:/BAAI%2Fbge-m3/1

`/`, `:`, `@` and `%` inside a name are percent-encoded (RFC 3986, section 2.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from graph import ontology
from graph.ids import kind_of
from graph.text import normalize
from lineal.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Address:
    """Either an `id`, or a kind with a name in a workspace, and perhaps a part or an alias.

    `kind` is that of the node meant, so ModelVersion for `models:/name/3`; `part` is then the
    version's own name, and `name` that of its container. An alias always means a ModelVersion.
    """

    kind: str
    workspace: str
    name: str
    part: str | None = None
    alias: str | None = None
    id: str | None = None

    def __str__(self) -> str:
        if self.id:
            return self.id
        kind = ontology.NODE_KINDS[self.kind]
        text = f"{kind.scheme}:/"
        if not kind.is_global and self.workspace != ontology.DEFAULT_WORKSPACE:
            text += f"{self.workspace}:"
        text += encode(self.name)
        if self.alias is not None:
            return f"{text}@{encode(self.alias)}"
        return text if self.part is None else f"{text}/{encode(self.part)}"


_SCHEMES: dict[str, tuple[str | None, str | None]] = {}
for _kind in ontology.NODE_KINDS.values():
    _whole, _part = _SCHEMES.get(_kind.scheme, (None, None))
    _SCHEMES[_kind.scheme] = (_whole, _kind.name) if _kind.within else (_kind.name, _part)

_SHAPE = re.compile(
    r"(?P<scheme>[a-z]+):/(?:(?P<workspace>[^:/@]*):)?(?P<name>[^:/@]+)(?:/(?P<part>[^:/@]+)|@(?P<alias>[^:/@]+))?"
)


def encode(name: str) -> str:
    """A name as it stands in an address."""
    return re.sub(r"[%/:@]", lambda match: f"%{ord(match[0]):02X}", name)


def _is_number(part: str) -> bool:
    return bool(re.fullmatch(r"[1-9][0-9]{0,9}", part)) and int(part) <= ontology.MAX_NUMBER


def parse(text: str, *, field: str = "address") -> Address:
    """Read an id or an address.

    Raises InvalidArgument: the text is neither, and the message shows what would be.
    """
    text = text.strip()
    if kind := kind_of(text):
        return Address(kind.name, "", "", id=text)
    match = _SHAPE.fullmatch(text)
    if not match or match["scheme"] not in _SCHEMES:
        msg = (
            f"{field}: {text!r} is neither an id nor an address; an address looks like models:/name, models:/name/3, "
            f"models:/name@champion or datasets:/team:name/v2, with / : @ % inside a name percent-encoded; "
            f"the schemes are {', '.join(_SCHEMES)}"
        )
        raise InvalidArgument(msg, field=field)
    whole, part_kind = _SCHEMES[match["scheme"]]
    workspace = match["workspace"] or ontology.DEFAULT_WORKSPACE
    name, part, alias = (normalize(unquote(v)) if v else None for v in match.group("name", "part", "alias"))
    assert name is not None
    if alias is not None:
        if match["scheme"] != "models":
            msg = f"{field}: only models have aliases, not {match['scheme']}: {text!r}"
            raise InvalidArgument(msg, field=field)
        return Address("ModelVersion", workspace, name, alias=alias)
    if part is not None:
        if part_kind is None:
            msg = f"{field}: {match['scheme']} have no parts: {text!r}; a / inside a name is written %2F"
            raise InvalidArgument(msg, field=field)
        if part_kind in {"ModelVersion", "DeploymentRevision"} and not _is_number(part):
            msg = (
                f"{field}: {part!r} is no version number in {text!r}; versions are 1, 2, 3, … "
                f"up to {ontology.MAX_NUMBER}, and a / inside a name is written %2F"
            )
            raise InvalidArgument(msg, field=field)
        return Address(part_kind, workspace, name, part)
    if whole is None:
        msg = f"{field}: {text!r} names no {part_kind}; it looks like {match['scheme']}:/container/name"
        raise InvalidArgument(msg, field=field)
    if ontology.NODE_KINDS[whole].is_global:
        workspace = ontology.GLOBAL
    return Address(whole, workspace, name)
