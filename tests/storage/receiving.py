"""A server of a local folder that is meant to be killed: takes blobs and documents until it is.

python -m tests.storage.receiving FOLDER
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from storage import port
from storage.local import LocalStorage
from storage.port import Send
from tests.storage.storing import SECRET, blob_of, parts_of, some

PART = 256 * 1024


async def main(root: Path) -> None:
    """Put blobs of several sizes, some in parts, and documents, one after the other and again."""
    port.WHOLE = port.PART = PART  # type: ignore[misc]
    async with LocalStorage(root, SECRET) as storage:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for i in itertools.count():
            data = some((i * 77_777) % (3 * PART), i)
            for send in await storage.sends("vision", blob_of(data), parts_of(data), seconds=60):
                await storage.receive(storage.grant(token_of(send)), chunks(data, send))
            await storage.seal("vision", blob_of(data))
            await storage.put("vision", f"documents/{i % 3}", some(50_000, i % 3))
            await storage.chill("vision", [blob_of(data).sha256] if i % 4 == 0 else [])


def token_of(send: Send) -> str:
    """The token in the address of a request."""
    return parse_qs(urlsplit(send.url).query)["token"][0]


async def chunks(data: bytes, send: Send) -> AsyncIterator[bytes]:
    """The bytes of a request in pieces, with time between them in which a kill finds them half done."""
    for start in range(send.start, send.start + send.size, 10_000):
        await asyncio.sleep(0.001)
        yield data[start : min(start + 10_000, send.start + send.size)]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
