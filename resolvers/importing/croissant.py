"""Croissant 1.0 or 1.1, as one version of a data set, with its columns and checksums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from graph.address import Address
from graph.ontology import UNVERSIONED
from lineal.errors import InvalidArgument
from resolvers.importing.telling import Told, wrong
from resolvers.openlineage.events import time_of

CONFORMS: Final = "http://mlcommons.org/croissant/"
_SPDX: Final = re.compile(r"https?://spdx\.org/licenses/([\w.+-]+?)(?:\.html)?/?", re.IGNORECASE)
_SIZE: Final = re.compile(r"\s*([0-9]{1,18})\s*(B|bytes)?\s*", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_TAKEN: Final = frozenset(
    {
        *("@context", "@type", "@id", "name", "conformsTo", "description", "identifier", "version", "url", "license"),
        *("datePublished", "isBasedOn", "distribution", "recordSet"),
    }
)


def read(text: str, workspace: str) -> Told:
    """What the metadata tells. Raises InvalidArgument: it is no Croissant, or a part of it is wrong."""
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"file: must be JSON: {error}", field="file") from None
    if not isinstance(given, dict):
        raise InvalidArgument("file: must be a JSON object", field="file")
    conforms = [str(each) for each in _listed(given.get("conformsTo") or given.get("dct:conformsTo"))]
    if not any(each.startswith(CONFORMS) for each in conforms):
        raise wrong("conformsTo", f"must be {CONFORMS}1.0 or 1.1, not {', '.join(conforms) or 'absent'}")
    return _Reader(given, workspace).told()


class _Reader:
    """Reads one data set."""

    def __init__(self, given: Mapping[str, Any], workspace: str) -> None:
        self._given = given
        self._workspace = workspace
        self._told = Told()
        self._name = _text(given, "name", "name", required=True)
        self._part = _text(given, "version", "version") or UNVERSIONED

    def told(self) -> Told:
        """All of it."""
        given, told = self._given, self._told
        licence = next((str(_name_of(each)) for each in _listed(given.get("license"))), "")
        spdx = _SPDX.fullmatch(licence)
        whole, version = self._address("Dataset"), self._address("DatasetVersion", self._part)
        about = {"description": _text(given, "description", "description"), "license": spdx[1] if spdx else licence}
        told.node(whole, "name", properties={name: value for name, value in about.items() if value})
        properties: dict[str, Any] = {}
        if url := _text(given, "url", "url"):
            properties["uri"] = url
        if date := _text(given, "datePublished", "datePublished"):
            properties["madeAt"] = time_of(date if "T" in date else f"{date}T00:00:00Z", "datePublished")
        told.node(version, "version", properties=properties | self._files(version))
        for i, other in enumerate(_listed(given.get("isBasedOn"))):
            self._based_on(version, other, f"isBasedOn[{i}]")
        self._fields()
        if more := sorted(name for name in given.keys() - _TAKEN if given[name]):
            told.note(f"Left out: {', '.join(more)}.")
        return told

    def _address(self, kind: str, part: str | None = None) -> str:
        return str(Address(kind, self._workspace, self._name, part))

    def _files(self, version: str) -> dict[str, Any]:
        """The one file as the version itself; several as files that belong to it, each by its digest."""
        files = []
        for i, each in enumerate(_objects(self._given, "distribution", "distribution")):
            place = f"distribution[{i}]"
            sha256 = _text(each, "sha256", f"{place}.sha256")
            if not sha256:
                self._told.note("Files without a sha256, and sets of files, are left out.")
                continue
            if not _HEX.fullmatch(sha256.lower()):
                raise wrong(f"{place}.sha256", f"must be 64 hexadecimal digits, not {sha256!r:.80}")
            files.append((place, each, sha256.lower()))
        if len(files) == 1:
            place, each, sha256 = files[0]
            return {"uri": _text(each, "contentUrl", f"{place}.contentUrl"), **_facts(each, sha256, place)}
        for place, each, sha256 in files:
            address = str(Address("Artifact", self._workspace, f"sha256:{sha256}"))
            uri = _text(each, "contentUrl", f"{place}.contentUrl")
            media = _text(each, "encodingFormat", f"{place}.encodingFormat")
            more = {name: value for name, value in (("uri", uri), ("mediaType", media)) if value}
            self._told.node(address, place, properties=_facts(each, sha256, place) | more)
            name = _text(each, "name", f"{place}.name") or uri or sha256
            self._told.edge(version, "HAS_ARTIFACT", address, place, discriminator=name[:200])
        return {}

    def _based_on(self, version: str, other: Any, place: str) -> None:
        name = _name_of(other)
        if not isinstance(name, str) or not name.strip():
            raise wrong(place, "must be a data set with a name, or its address")
        address = str(Address("Dataset", self._workspace, name))
        self._told.node(address, place, external=True)
        self._told.edge(version, "DERIVED_FROM", address, place)

    def _fields(self) -> None:
        """The columns of all record sets: those of several have the names of their record sets before them."""
        sets = _objects(self._given, "recordSet", "recordSet")
        ordinal = 0
        for i, records in enumerate(sets):
            before = f"{_text(records, 'name', f'recordSet[{i}].name') or i}/" if len(sets) > 1 else ""
            for j, each in enumerate(_objects(records, "field", f"recordSet[{i}].field")):
                place = f"recordSet[{i}].field[{j}]"
                name = _text(each, "name", f"{place}.name") or _text(each, "@id", f"{place}.@id", required=True)
                said = {"description": _text(each, "description", f"{place}.description")}
                types = " ".join(str(each_type) for each_type in _listed(each.get("dataType")))
                properties: dict[str, Any] = {"type": types, **said}
                address = str(Address("Field", self._workspace, self._name, before + name))
                kept = {key: value for key, value in properties.items() if value}
                self._told.node(address, place, properties={**kept, "ordinal": ordinal})
                ordinal += 1


def _facts(each: Mapping[str, Any], sha256: str, place: str) -> dict[str, Any]:
    size = _SIZE.fullmatch(_text(each, "contentSize", f"{place}.contentSize"))
    return {"digest": f"sha256:{sha256}"} | ({"sizeBytes": int(size[1])} if size else {})


def _text(given: Mapping[str, Any], name: str, place: str, *, required: bool = False) -> str:
    """A text, or "". Of several languages or values the first."""
    found = given.get(name, given.get(f"sc:{name}"))
    found = next(iter(_listed(found)), None)
    if isinstance(found, dict):
        found = found.get("@value", found.get("@id"))
    if found is None or found == "":
        if required:
            raise wrong(place, "must be given")
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise wrong(place, f"must be text, not {found!r:.80}")
    return str(found).strip()


def _name_of(given: Any) -> Any:
    """What a thing is called that is a text, or an object with a name or an id."""
    return given.get("name") or given.get("@id") or given.get("url") if isinstance(given, dict) else given


def _listed(given: Any) -> list[Any]:
    """JSON-LD has one value as it is, and several as a list."""
    return given if isinstance(given, list) else [] if given is None else [given]


def _objects(given: Mapping[str, Any], name: str, place: str) -> list[dict[str, Any]]:
    found = _listed(given.get(name))
    for i, each in enumerate(found):
        if not isinstance(each, dict):
            raise wrong(f"{place}[{i}]", f"must be an object, not {each!r:.80}")
    return found
