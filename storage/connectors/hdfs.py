"""Files of HDFS: `hdfs://` and `webhdfs://`, both by fsspec's WebHDFS.

The name node sends those who read to a data node, by a redirect that is followed to configured hosts only.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPResponse
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from lineal.errors import InvalidArgument, LimitExceeded, Unavailable
from storage.connectors.backend import Backend, Entry, needs, speaking_to
from storage.connectors.config import ConnectorConfig
from storage.connectors.places import Place

try:
    import requests
    from fsspec.implementations.webhdfs import WebHDFS
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
except ImportError:
    raise needs("requests", "hdfs") from None

MAX_ANSWER: Final = 96 * 2**20
"""Bytes of an answer."""
MAX_DEPTH: Final = 100
"""Folders within folders."""
_CHUNK: Final = 2**20
_DEFAULT_PORT: Final = 9870


class HdfsBackend(Backend):
    """A cluster by WebHDFS."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        options = config.options
        own = urlsplit(f"//{config.prefixes[0].authority}")
        # In hdfs:// the port is that of the name node's own protocol.
        port = options.get("port") or (own.port if config.scheme == "webhdfs" else None) or _DEFAULT_PORT
        host = options.get("host") or own.hostname
        secure = options.get("use_https", False)
        if options.get("kerberos") and find_spec("requests_kerberos") is None:
            msg = "options.kerberos needs requests-kerberos: pip install requests-kerberos"
            raise InvalidArgument(f"connector {config.name}: {msg}")
        nodes = {f"{host}:{port}", *options.get("datanodes", ())}
        self._fs = _Cluster(
            guard=_Guard("https" if secure else "http", nodes, config),
            host=host,
            port=port,
            user=options.get("user"),
            password=config.secret("password"),
            token=config.secret("token"),
            kerberos=options.get("kerberos", False),
            use_https=secure,
            session_verify=options.get("ca_file", True),
            skip_instance_cache=True,
        )

    def stat(self, place: Place) -> Entry | None:
        path = f"/{place.path}"
        with speaking_to(self.config, place):
            found = self._ask("GETFILESTATUS", path)["FileStatus"]
            if found["type"] != "FILE":
                return None
            sums = self._fs.ukey(path)
        return _entry("", found, f"{sums['algorithm']}:{sums['bytes']}")

    def pages(self, place: Place) -> Iterator[Sequence[Entry]]:
        with speaking_to(self.config, place):
            if self._ask("GETFILESTATUS", f"/{place.path}")["FileStatus"]["type"] != "DIRECTORY":
                return
        folders = [""]
        while folders:
            folder = folders.pop()
            if folder.count("/") > MAX_DEPTH:
                raise LimitExceeded(f"{place.uri}: folders are within each other more than {MAX_DEPTH} times")
            for children in self._children(place, place.joined(folder)):
                named = [(f"{folder}/{child['pathSuffix']}".lstrip("/"), child) for child in children]
                folders += [path for path, child in named if child["type"] == "DIRECTORY"]
                yield [_entry(path, child) for path, child in named if child["type"] == "FILE"]

    def _children(self, place: Place, folder: Place) -> Iterator[Sequence[Mapping[str, Any]]]:
        first = after = ""
        more = 1
        while more:
            with speaking_to(self.config, folder):
                # In small letters: clusters that take it as it is documented take it so, too.
                named = {"startafter": after} if after else {}
                listing = self._ask("LISTSTATUS_BATCH", f"/{folder.path}", **named)["DirectoryListing"]
                children = listing["partialListing"]["FileStatuses"]["FileStatus"]
                more = listing["remainingEntries"]
            if not children:
                return
            if after and children[0]["pathSuffix"] == first:
                raise Unavailable(f"{place.uri}: the name node lists the same files again and again")
            first, after = children[0]["pathSuffix"], children[-1]["pathSuffix"]
            yield children

    def read(self, place: Place, start: int, size: int) -> tuple[bytes, str]:
        path = f"/{place.path}"
        with speaking_to(self.config, place):
            data = bytes(self._fs._call("OPEN", path=path, offset=start, length=size).content)
            # The answer itself does not tell of which file the bytes are.
            return data, _entry("", self._ask("GETFILESTATUS", path)["FileStatus"]).etag

    def _ask(self, operation: str, path: str, **arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = self._fs._call(operation, path=path, **arguments).json()
        return found

    def close(self) -> None:
        self._fs.session.close()


class _Cluster(WebHDFS):  # type: ignore[misc]
    """WebHDFS whose requests all pass a guard."""

    def __init__(self, guard: _Guard, **options: Any) -> None:
        self._guard = guard
        super().__init__(**options)

    def _connect(self) -> None:
        super()._connect()
        # No proxies, no credentials but the connector's own.
        self.session.trust_env = False
        self.session.max_redirects = 1
        self.session.mount("http://", self._guard)
        self.session.mount("https://", self._guard)


class _Timed(io.RawIOBase):
    """The bytes of a socket within its timeout in all, which alone would be that of each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock
        self._end = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Never 0, which would be not to wait.
        self._sock.settimeout(max(self._end - time.monotonic(), 0.001))
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock))


class _Pool(HTTPConnectionPool):
    class ConnectionCls(HTTPConnection):
        response_class = _Answer


class _SecurePool(HTTPSConnectionPool):
    class ConnectionCls(HTTPSConnection):
        response_class = _Answer


class _Guard(HTTPAdapter):
    """Sends requests to known hosts only, each within its time, and takes no answer that is too large."""

    def __init__(self, scheme: str, nodes: set[str], config: ConnectorConfig) -> None:
        super().__init__()
        self._scheme = scheme
        self._nodes = nodes
        self._config = config

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def send(self, request: requests.PreparedRequest, *_: Any, verify: Any = True, cert: Any = None, **__: Any) -> Any:
        to = urlsplit(request.url or "")
        if to.scheme != self._scheme or not {to.netloc, to.hostname} & self._nodes or not _is_webhdfs(to.path):
            raise Unavailable(f"connector {self._config.name}: its name node wanted to send the request elsewhere")
        timeout = self._config.timeout
        end = time.monotonic() + timeout
        answer = super().send(request, stream=True, timeout=timeout, verify=verify, cert=cert, proxies={})
        content = b""
        for chunk in answer.iter_content(_CHUNK):
            content += chunk
            if len(content) > MAX_ANSWER or time.monotonic() > end:
                answer.close()
                raise Unavailable(f"connector {self._config.name}: an answer was too large or took too long")
        answer._content = content
        return answer


def _is_webhdfs(path: str) -> bool:
    return path.startswith("/webhdfs/v1")


def _entry(path: str, found: Mapping[str, Any], checksum: str = "") -> Entry:
    # HDFS has no ETags; its files are only ever appended to or replaced, which changes id, length or time.
    etag = f"{found['fileId']:x}-{found['length']:x}-{found['modificationTime']:x}"
    return Entry(path, found["length"], found["modificationTime"] * 1_000, etag, checksum)
