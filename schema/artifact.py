"""Artifact, and the files that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph import ontology, port
from resolvers.artifacts import downloads
from resolvers.artifacts.downloads import LINK_SECONDS, Filed
from resolvers.artifacts.signatures import signature_of
from resolvers.reading import bounded, page_size
from schema.connection import After, Connection, First, Page, Rows, decode_cursor, page_info
from schema.context import Info
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import JSON, BigInt, DateTime

if TYPE_CHECKING:
    from schema.dataset import DatasetVersion
    from schema.evaluation import Evaluation
    from schema.model import ModelVersion
    from schema.run import Run


def _file(name: str) -> Any:
    return lambda root: getattr(root.file, name)


def _sha256(root: Filed) -> str | None:
    return root.file.sha256 or None


async def _url(
    root: Filed,
    info: Info,
    seconds: Annotated[
        int, strawberry.argument(description=f"How long it opens the file: 1 to {LINK_SECONDS}.")
    ] = LINK_SECONDS,
) -> str | None:
    bounded(seconds, 1, LINK_SECONDS, field="seconds")
    if not root.file.sha256:
        return None
    return await info.context.loaders.links_to(seconds).load(root)


@strawberry.type(description="A file of an artifact.")
class ArtifactFile:
    """Sources are resolvers.artifacts.downloads.Filed."""

    path: str = strawberry.field(resolver=_file("path"), description="Its path in the artifact, with `/`.")
    size: BigInt = strawberry.field(resolver=_file("size"), description="Its size in bytes.")
    sha256: str | None = strawberry.field(
        resolver=_sha256, description="Its SHA-256, in hexadecimal; null where Lineal does not keep it."
    )
    url: str | None = strawberry.field(
        resolver=_url,
        description="An address that gives its bytes to a GET, with ranges, without a token. That it was asked for is "
        "in the audit. Null where Lineal does not keep it.",
    )


async def _files(
    root: port.Node,
    info: Info,
    first: First = 50,
    after: After = None,
    prefix: Annotated[str, strawberry.argument(description="Only files whose paths begin so.")] = "",
) -> Any:
    page_size(first)
    cursor = decode_cursor(after, length=1)
    found = await downloads.files(
        info.context.op, root, first=first, after=str(cursor[0]) if cursor else "", prefix=prefix
    )
    info.context.hold(len(found.items))
    return Rows(found.items, page_info([(each.file.path,) for each in found.items], found.has_next, after is not None))


async def _bundle(root: port.Node, info: Info) -> str | None:
    bundle = await signature_of(info.context.op.storage, root) if root.props.get("signature") else None
    return None if bundle is None else bundle.decode()


@noun(ontology.ARTIFACT)
class Artifact(Node):
    """Files."""

    uri: str | None = prop()
    digest: str | None = prop()
    size_bytes: BigInt | None = prop()
    media_type: str | None = prop()
    storage: str | None = prop()
    connector: str | None = prop()
    file_count: BigInt | None = prop()
    verification: str | None = prop()
    verified_at: DateTime | None = prop()
    problem: str | None = prop()
    inventory: str | None = prop()
    partitions: JSON | None = prop()
    frameworks: list[str] | None = prop()
    formats: list[str] | None = prop()
    contents: JSON | None = prop()
    pickles: str | None = prop()
    imports: list[str] | None = prop()
    signature: str | None = prop()
    signed_by: str | None = prop()
    unsigned: list[str] = prop(absent=())
    cold: bool | None = prop()
    retain_until: DateTime | None = prop()
    orphaned_at: DateTime | None = prop()
    signature_bundle: str | None = strawberry.field(
        resolver=_bundle, description="The Sigstore bundle (model.sig) that it was signed with, as JSON text."
    )
    files: Page[ArtifactFile] | None = strawberry.field(
        resolver=_files,
        description="The files that it is made of, by path: of what is REFERENCED those that were there first.",
    )
    model_versions: Connection[ModelVersion] = edge(ontology.HAS_ARTIFACT, "IN", "The model versions that have it.")
    dataset_versions: Connection[DatasetVersion] = edge(ontology.HAS_ARTIFACT, "IN", "The data that has it.")
    runs: Connection[Run] = edge(ontology.HAS_ARTIFACT, "IN", "The runs that have it.")
    evaluations: Connection[Evaluation] = edge(ontology.HAS_ARTIFACT, "IN", "The evaluations that have it.")
