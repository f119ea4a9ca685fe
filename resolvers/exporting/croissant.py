"""A version of a data set as Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html)."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from typing import Any, Final

from resolvers.exporting.licences import identifier
from resolvers.exporting.provenance import Provenance, Thing

Json = dict[str, Any]

CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.0"
CONTEXT: Final[Json] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification recommends (its appendix 1)."""

FORMAT: Final = "application/octet-stream"
_TABLES: Final = (".csv", ".tsv", ".parquet")
"""What Croissant reads columns from by their names."""

_DATA_TYPES: Final = (
    (re.compile(r"bool", re.IGNORECASE), "sc:Boolean"),
    (re.compile(r"^(date|timestamp|time)", re.IGNORECASE), "sc:Date"),
    (re.compile(r"^u?(small|big|tiny)?int|^long|^short|^integer", re.IGNORECASE), "sc:Integer"),
    (re.compile(r"float|double|decimal|numeric|real|half", re.IGNORECASE), "sc:Float"),
)


def metadata(of: Provenance) -> Json:
    """The data set, as an object for JSON. Raises InvalidArgument: it is not of one version of a data set."""
    version = of.only("DatasetVersion", "Croissant")
    files = list(_distribution(version))
    table = next((file for file in files if file["contentUrl"].lower().endswith(_TABLES)), None)
    described = [version.description, *of.notes]
    if version.fields and table is None:
        # A field is nothing in Croissant without a file that it is read from.
        described.append(f"Its columns: {', '.join(field.name for field in version.fields)}.")
    made: Json = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": version.title,
        "conformsTo": CONFORMS_TO,
        "description": " ".join(text for text in described if text) or f"The data set {version.title}.",
        "identifier": version.address,
        "version": version.part or None,
        "url": _web(version),
        "license": _license(version),
        "creator": [{"@type": "sc:Organization", "name": owner.name} for owner in version.owners],
        "datePublished": version.time("madeAt"),
        "isBasedOn": [_based_on(other) for _, other in of.sources(version) if other.node.kind == "DatasetVersion"],
        "distribution": files,
    }
    if version.fields and table is not None:
        made["recordSet"] = [_record_set(version, table)]
    return {name: value for name, value in made.items() if value}


def _web(version: Thing) -> str | None:
    places = [version.get("uri"), version.container.props.get("uri") if version.container else None]
    return next((text for text in places if text and text.startswith(("http://", "https://"))), None)


def _license(version: Thing) -> str | None:
    known = identifier(version.license)
    return f"https://spdx.org/licenses/{known}" if known else version.license or None


def _based_on(other: Thing) -> Json:
    return {"@type": "sc:Dataset", "name": other.title, "identifier": other.id if other.restricted else other.address}


def _distribution(version: Thing) -> Iterator[Json]:
    """Its files, each with its SHA-256; of what is kept elsewhere the whole, with its digest."""
    for number, filed in enumerate(version.files):
        if filed.file.sha256:
            yield _object(f"file-{number}", filed.file.path, filed.file.path, filed.file.sha256, filed.file.size)
    uri = version.get("uri")
    if not version.files and uri and version.sha256:
        yield _object("whole", version.title, uri, version.sha256, version.get("sizeBytes"))


def _object(id: str, name: str, url: str, sha256: str, size: int | None) -> Json:
    made = {
        "@type": "cr:FileObject",
        "@id": id,
        "name": name,
        "contentUrl": url,
        "encodingFormat": mimetypes.guess_type(name)[0] or mimetypes.guess_type(url)[0] or FORMAT,
        "sha256": sha256,
    }
    return made | ({} if size is None else {"contentSize": f"{size} B"})


def _record_set(version: Thing, table: Json) -> Json:
    fields = []
    for number, field in enumerate(version.fields):
        made: Json = {"@type": "cr:Field", "@id": f"records/{number}", "name": field.name}
        if text := field.props.get("description"):
            made["description"] = text
        made["dataType"] = data_type(field.props.get("type", ""))
        made["source"] = {"fileObject": {"@id": table["@id"]}, "extract": {"column": field.name}}
        fields.append(made)
    return {"@type": "cr:RecordSet", "@id": "records", "name": "records", "field": fields}


def data_type(text: str) -> str:
    """The data type that a type in a source's own words comes to; text where it is none of the others."""
    if text.startswith("sc:"):
        # It came from Croissant: its words stay.
        return text.split(maxsplit=1)[0]
    return next((type_ for pattern, type_ in _DATA_TYPES if pattern.search(text)), "sc:Text")
