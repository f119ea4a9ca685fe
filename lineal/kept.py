"""What a Lineal that is asked over HTTP keeps: the artifact of a version, and what it is made of."""

from __future__ import annotations

from typing import Any, Final

from graph.address import parse
from lineal.errors import InvalidArgument, NotFound, PreconditionFailed
from lineal.remote import Remote
from storage.manifest import File, Manifest

FIND: Final = """query Find($address: ID!) {
  found: %s(address: $address) {
    address artifacts { edges { discriminator node { id digest storage fileCount sizeBytes verification } } }
  }
}"""
FIELDS: Final = {
    "ModelVersion": "modelVersion",
    "DatasetVersion": "datasetVersion",
    "Run": "run",
    "Evaluation": "evaluation",
}
"""The root field of each kind that has files."""

FILES: Final = """query Files($artifact: ID!, $after: String) {
  artifact(address: $artifact) {
    files(first: 500, after: $after) { nodes { path size sha256 } pageInfo { hasNextPage endCursor } }
  }
}"""


def kept(remote: Remote, address: str, name: str | None) -> tuple[str, dict[str, Any]]:
    """The address of what is meant, and its files. Raises NotFound, InvalidArgument, PreconditionFailed."""
    kind = parse(address, field="address").kind
    if kind not in FIELDS:
        msg = f"address: {address!r} names a {kind}; what has files is a {', '.join(FIELDS)}"
        raise InvalidArgument(msg, field="address")
    found = remote.ask(FIND % FIELDS[kind], address=address)["found"]
    if found is None:
        raise NotFound(f"address: there is no {address!r}", field="address")
    edges = [edge for edge in found["artifacts"]["edges"] if name is None or edge["discriminator"] == name]
    kept = [edge["node"] for edge in edges if edge["node"]["storage"] == "MANAGED"]
    if not edges:
        called = f" called {name!r}" if name else ""
        msg = f"address: {found['address']} has no files{called}, or none that you may read"
        raise NotFound(msg, field="address")
    if not kept:
        raise PreconditionFailed(f"the files of {found['address']} are not kept by Lineal, which only knows of them")
    if len(kept) > 1:
        names = ", ".join(sorted(edge["discriminator"] for edge in edges))
        raise InvalidArgument(f"--name: {found['address']} has several: {names}; say which", field="name")
    return found["address"], kept[0]


def manifest_of(remote: Remote, artifact: str, digest: str) -> Manifest:
    """What an artifact is made of. Raises NotFound, PreconditionFailed: it is not what its digest says."""
    files: list[File] = []
    after, more = None, True
    while more:
        found = remote.ask(FILES, artifact=artifact, after=after)["artifact"]
        if found is None:
            raise NotFound(f"there is no artifact {artifact!r}")
        page = found["files"]
        files += [File(each["path"], int(each["size"]), each["sha256"]) for each in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    manifest = Manifest.of(files)
    if manifest.digest != digest:
        raise PreconditionFailed(f"the files of {artifact} are not those of its manifest {digest}")
    return manifest
