"""W3C PROV, read from PROV-JSON (w3.org/submissions/prov-json) by the library `prov`.

What Lineal wrote comes back as it was: kinds, addresses, properties, times. Of what others wrote entities become data
sets, activities runs and agents principals, and those relations edges that the graph has.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import orjson

from graph.address import Address, parse
from graph.ontology import EDGE_KINDS, NODE_KINDS, NodeKind, Type
from lineal.errors import InvalidArgument
from resolvers.exporting.prov import LINEAL, NODE, library
from resolvers.importing.telling import Told, wrong
from resolvers.openlineage.events import time_of

PROPERTY: Final = "property-"
_KINDS: Final = {"entity": "Dataset", "activity": "Run", "agent": "Principal"}
"""What elements become that Lineal did not write."""
_RELATIONS: Final = {
    "ProvUsage": "READ",
    "ProvGeneration": "PRODUCED_BY",
    "ProvDerivation": "DERIVED_FROM",
    "ProvAttribution": "OWNED_BY",
    "ProvAssociation": "OWNED_BY",
}
"""The edges that relations become which Lineal did not write, by what the library calls them."""
_IMPLIED: Final = frozenset({"ProvSpecialization"})
"""Relations that the addresses of versions say already."""


def read(text: str, workspace: str) -> Told:
    """What a document tells. Raises InvalidArgument, LimitExceeded, Unavailable: the library is not there."""
    reader = _Reader(workspace)
    records = _records(text)
    for record in records:
        if record.is_element():
            reader.element(record)
    for record in records:
        if record.is_relation():
            reader.relation(record)
    reader.finish()
    return reader.told


def _records(text: str) -> list[Any]:
    """The records of a document, those in bundles too."""
    model = library()
    from prov import Error

    try:
        with warnings.catch_warnings():
            # What the library would drop is refused.
            warnings.simplefilter("error")
            document = model.ProvDocument.deserialize(content=text, format="json")
            return list(document.flattened().get_records())
    except (Error, Warning, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"file: is no PROV-JSON that can be read: {str(error) or type(error).__name__:.300}"
        raise InvalidArgument(msg, field="file") from None
    except RecursionError:
        raise InvalidArgument("file: is nested too deeply", field="file") from None


class _Reader:
    """Reads records into what is told."""

    def __init__(self, workspace: str) -> None:
        self.told = Told()
        self._workspace = workspace
        self._addresses: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._restricted = 0
        self._internal: set[str] = set()
        self._others: Counter[str] = Counter()

    # Elements ─────────────────────────────────────────────────────────────────────────────────────

    def element(self, record: Any) -> None:
        """An entity, activity or agent."""
        name, uri = str(record.identifier), record.identifier.uri
        what = type(record).__name__.removeprefix("Prov").lower()
        place = f"{what} {name}"
        own, types = _own(record), _types(record)
        if "Lineage" in types:
            for note in own.get("note", []):
                self.told.note(f"The file says: {note}")
            return
        if own.get("restricted"):
            self._restricted += 1
            self._hidden.add(uri)
            return
        kind = next((NODE_KINDS[each] for each in types if each in NODE_KINDS), None)
        if kind is None:
            self._other(record, place, what)
            return
        address = self._address(own, kind, record, place)
        if address is None:
            # A container of an export that says no more of it: its parts name it.
            self._hidden.add(uri)
            return
        self._addresses[uri] = address
        self.told.node(
            address,
            place,
            id=uri.removeprefix(NODE) if uri.startswith(NODE) else None,
            properties=self._properties(own, kind, place),
            tags=_rows(own, "tags", place),
            params=_rows(own, "params", place),
            metrics=_metrics(own, place),
        )
        for alias in _json(own, "aliases", list, place) or ():
            model = address.rpartition("/")[0]
            self.told.edge(model, "ALIAS", address, f"{place}.aliases", discriminator=alias)

    def _address(self, own: Mapping[str, list[Any]], kind: NodeKind, record: Any, place: str) -> str | None:
        if given := own.get("address"):
            return str(given[0])
        if kind.is_global:
            return str(Address(kind.name, "", str(record.label)))
        if not kind.parts:
            raise wrong(f"{place}.lineal:address", f"must be given of a {kind.name}")
        return None

    def _properties(self, own: Mapping[str, list[Any]], kind: NodeKind, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, values in own.items():
            if not name.startswith(PROPERTY):
                continue
            short = name.removeprefix(PROPERTY)
            known = kind.by_name.get(short)
            if known is not None and known.internal:
                if short != "number":
                    self._internal.add(f"{kind.name}.{short}")
                continue
            at, value = f"{place}.lineal:{name}", values[0]
            if known is not None and known.type is Type.TIME:
                value = time_of(value, at)
            elif known is not None and known.type in {Type.JSON, Type.STRINGS}:
                value = _loads(value, at)
            found[short] = value
        return found

    def _other(self, record: Any, place: str, what: str) -> None:
        """What Lineal did not write: it is named as it is there."""
        kind = NODE_KINDS[_KINDS[what]]
        name = str(record.identifier)
        address = str(Address(kind.name, "" if kind.is_global else self._workspace, name))
        properties: dict[str, Any] = {}
        if record.label and str(record.label) != name:
            properties["description"] = str(record.label)
        if what == "activity":
            times = {"startedAt": record.get_startTime(), "endedAt": record.get_endTime()}
            properties |= {n: time_of(t.isoformat(), f"{place}.{n}") for n, t in times.items() if t is not None}
        if kind.is_global:
            properties = {}
        self._addresses[record.identifier.uri] = address
        self.told.node(address, place, properties=properties)

    # Relations ────────────────────────────────────────────────────────────────────────────────────

    def relation(self, record: Any) -> None:
        """An edge; what is none is counted."""
        what = type(record).__name__
        if what in _IMPLIED:
            return
        own, place = _own(record), what.removeprefix("Prov").lower()
        given = [each for each in _types(record) if each in EDGE_KINDS]
        kind = given[0] if given else _RELATIONS.get(what)
        ends = [value for _, value in record.formal_attributes[:2]]
        if kind is None or None in ends:
            self._others[place] += 1
            return
        uris = [end.uri for end in ends]
        if self._hidden.intersection(uris):
            return
        place = f"{place} of {ends[0]} and {ends[1]}"
        for end in ends:
            if end.uri not in self._addresses:
                raise wrong(place, f"{end} is not in the file")
        source, target = (self._addresses[uri] for uri in uris)
        if not given and _refused(kind, source, target):
            self._others[what.removeprefix("Prov").lower()] += 1
            return
        more: dict[str, Any] = {n: time_of(own[n][0], f"{place}.lineal:{n}") for n in ("since", "until") if n in own}
        if "discriminator" in own:
            more["discriminator"] = str(own["discriminator"][0])
        properties = {n.removeprefix(PROPERTY): v[0] for n, v in own.items() if n.startswith(PROPERTY)}
        if properties:
            more["properties"] = properties
        self.told.edge(source, kind, target, place, **more)

    def finish(self) -> None:
        """Say what was left out."""
        told = self.told
        if self._restricted:
            told.note(f"Restricted nodes are left out, with the edges at them: {self._restricted:,}.")
        if self._internal:
            names = ", ".join(sorted(self._internal))
            told.note(f"Properties that only Lineal itself writes are left out: {names}.")
        for name, count in sorted(self._others.items()):
            told.note(f"Relations that the graph has no edge for are left out: {count:,} of {name}.")


def _refused(kind: str, source: str, target: str) -> bool:
    """Whether an edge cannot join what others called by these addresses: a derivation of a run, for one."""
    names = [parse(each).kind for each in (source, target)]
    pair = tuple("DatasetVersion" if each == "Dataset" and kind != "OWNED_BY" else each for each in names)
    return pair not in EDGE_KINDS[kind].ends


def _own(record: Any) -> dict[str, list[Any]]:
    """The attributes of Lineal's own namespace, by their names."""
    found: dict[str, list[Any]] = {}
    for name, value in record.attributes:
        if name.uri.startswith(LINEAL):
            found.setdefault(name.uri.removeprefix(LINEAL), []).append(value)
    return found


def _types(record: Any) -> list[str]:
    """The types of Lineal's own namespace."""
    uris = (getattr(value, "uri", "") for value in record.get_asserted_types())
    return [uri.removeprefix(LINEAL) for uri in uris if uri.startswith(LINEAL)]


def _loads(text: Any, at: str) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        raise wrong(at, "must be JSON text") from None


def _json(own: Mapping[str, list[Any]], name: str, type_: type, place: str) -> Any:
    if name not in own:
        return None
    at = f"{place}.lineal:{name}"
    found = _loads(own[name][0], at)
    if not isinstance(found, type_):
        raise wrong(at, f"must be JSON text of {'a list' if type_ is list else 'an object'}")
    return found


def _rows(own: Mapping[str, list[Any]], name: str, place: str) -> list[dict[str, Any]]:
    found = _json(own, name, dict, place) or {}
    return [{"name": key, "value": str(value)} for key, value in found.items()]


def _metrics(own: Mapping[str, list[Any]], place: str) -> list[dict[str, Any]]:
    found = []
    for i, item in enumerate(_json(own, "metrics", list, place) or ()):
        try:
            found.append({**item, "value": float(item["value"])})
        except (KeyError, TypeError, ValueError):
            raise wrong(f"{place}.lineal:metrics[{i}]", "must have a name, and a number as its value") from None
    return found
