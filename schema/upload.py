"""Upload: files on their way, and how to send what is missing."""

from __future__ import annotations

from typing import Any

import strawberry

from graph import ontology, port
from resolvers.artifacts import uploads
from resolvers.reading import page_size
from schema.connection import After, First, Page, Rows, decode_cursor, page_info
from schema.context import Info
from schema.declare import edge, noun, prop
from schema.node import Node
from schema.scalars import BigInt, DateTime


@strawberry.type(description="A header of a request.")
class Header:
    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="One request that sends a part of a file, or all of it: a PUT with exactly these headers.")
class SendRequest:
    url: str = strawberry.field(description="Where to: it opens this one thing, for an hour.")
    start: BigInt = strawberry.field(description="The first byte to send.")
    size: BigInt = strawberry.field(description="How many bytes to send.")
    headers: list[Header] = strawberry.field(description="The headers to send.")


@strawberry.type(description="A file whose bytes are not in storage.")
class MissingFile:
    path: str = strawberry.field(description="The first path of the artifact that has these bytes.")
    size: BigInt = strawberry.field(description="Bytes of the whole file.")
    sha256: str = strawberry.field(description="Its SHA-256, in hexadecimal.")
    requests: list[SendRequest] = strawberry.field(
        description="The requests that are still needed; parts that were sent before are left out."
    )


async def _missing(root: port.Node, info: Info, first: First = 50, after: After = None) -> Any:
    page_size(first)
    cursor = decode_cursor(after, length=1)
    found = await uploads.missing(info.context.op, root, first=first, after=cursor and str(cursor[0]))  # type: ignore[arg-type]
    info.context.hold(sum(len(item.sends) for item in found.items))
    nodes = [
        MissingFile(
            path=item.file.path,
            size=BigInt(item.file.size),
            sha256=item.file.sha256,
            requests=[
                SendRequest(
                    url=send.url,
                    start=BigInt(send.start),
                    size=BigInt(send.size),
                    headers=[Header(name=name, value=value) for name, value in send.headers.items()],
                )
                for send in item.sends
            ],
        )
        for item in found.items
    ]
    info_ = page_info([(found.last,)] if found.last else [], found.has_next, after is not None)
    return Rows(nodes, info_)


@noun(ontology.UPLOAD)
class Upload(Node):
    """Files on their way."""

    state: str = prop(absent="OPEN")
    digest: str | None = prop()
    artifact_name: str | None = prop()
    file_count: BigInt | None = prop()
    size_bytes: BigInt | None = prop()
    expires_at: DateTime | None = prop()
    to: Node | None = edge(ontology.UPLOAD_TO, "OUT", "What the files will belong to.")
    missing: Page[MissingFile] | None = strawberry.field(
        resolver=_missing,
        description="What storage lacks, with requests that send it, by digest. A page may be shorter than asked for "
        "although there is more. Ask again to resume: what has been sent is left out.",
    )
