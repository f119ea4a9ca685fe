"""Which addresses of the network may be connected to, by connectors and by webhooks, whatever a name resolves to.

A name is looked up once for each connection, every address that it has is judged, and the connection goes to an
address that was judged: a name that answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import httpcore
import httpx

from lineal.errors import Unavailable

MAX_TOTAL: Final = 10 * 60.0
"""Seconds that one answer may take in all, however slowly it drips, if the client's timeout is not longer."""

Resolve = Callable[[str], Sequence[str]]
"""Gives the addresses of a host as text. Raises OSError."""

_NEVER: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            # Where clouds keep the credentials of the machine that asks for them.
            *("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", "fd00:ec2::/64"),
            "fd20:ce::/64",
            # Nowhere, everybody, reserved, and what is only meant on one link or site.
            *("0.0.0.0/8", "224.0.0.0/3", "fe80::/10", "fec0::/10", "ff00::/8"),
            # Addresses with one of version 4 inside: compatible and mapped, NAT64, Teredo, 6to4 and its relays.
            *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
            *("2001::/32", "2002::/16", "192.88.99.0/24"),
        ),
    )
)


def is_allowed(address: str, *, private: bool) -> bool:
    """Whether an address may be connected to; loopback and private ones only if `private`, some never."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        return False
    if ip.compressed == "::1":
        return private
    if any(ip in network for network in _NEVER if network.version == ip.version):
        return False
    return private or ip.is_global


def system(host: str) -> Sequence[str]:
    """The addresses that this machine's resolver gives."""
    return list(dict.fromkeys(str(place[0]) for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))


class CheckedNetwork(httpcore.NetworkBackend):
    """Connections to addresses that were judged. `resolve` looks names up; `private` as in is_allowed.

    Whatever a thread does with them ends at the time that `until` was told in it.
    """

    def __init__(self, *, private: bool, resolve: Resolve = system) -> None:
        self._private = private
        self._resolve = resolve
        self._network = httpcore.SyncBackend()
        self._end = threading.local()

    def until(self, end: float) -> None:
        """What this thread asks is over at that time of the monotonic clock."""
        self._end.time = end

    def left(self, timeout: float | None) -> float:
        """Seconds that the next step may take; never 0, which would be not to wait, and an error of its own."""
        left: float = self._end.time - time.monotonic()
        return max(left if timeout is None else min(timeout, left), 0.001)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = Unavailable(f"{host} has no address")
        for address in self._judged(host):
            try:
                stream = self._network.connect_tcp(address, port, self.left(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
            else:
                return _Timed(stream, self)
        raise error

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise Unavailable("connectors connect to no sockets of this machine")

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)

    def _judged(self, host: str) -> Sequence[str]:
        return judged(host, self._resolve, private=self._private, whose="Lineal")


class _Timed(httpcore.NetworkStream):
    """A connection that waits no longer than its network has time: a timeout alone is that of each byte."""

    def __init__(self, stream: httpcore.NetworkStream, network: CheckedNetwork) -> None:
        self._stream, self._network = stream, network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._network.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._network.left(timeout)), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncCheckedNetwork(httpcore.AsyncNetworkBackend):
    """As CheckedNetwork, for clients of an event loop; `whose` says in messages who may not connect.

    Names are looked up by threads of its own: a resolver that hangs then delays nobody who needs no name looked up.
    """

    def __init__(self, *, private: bool, whose: str, resolve: Resolve = system, threads: int = 64) -> None:
        self._private, self._whose, self._resolve = private, whose, resolve
        self._network = httpcore.AnyIOBackend()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")
        self._looking: dict[str, Future[Sequence[str]]] = {}
        """The look-ups that are under way, by host: one that hangs takes one thread, however often it is asked for."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - so httpcore calls it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        error: Exception = Unavailable(f"{host} has no address")
        for address in await self._judged(host):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def _judged(self, host: str) -> Sequence[str]:
        look = self._looking.get(host)
        if look is None:
            look = self._threads.submit(judged, host, self._resolve, private=self._private, whose=self._whose)
            self._looking[host] = look
            look.add_done_callback(lambda _: self._looking.pop(host, None))
        # Shielded: whoever gives up does not end it for the others.
        return await asyncio.shield(asyncio.wrap_future(look))

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise Unavailable(f"{self._whose} connects to no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Let go of the threads; a look-up that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def judged(host: str, resolve: Resolve, *, private: bool, whose: str) -> Sequence[str]:
    """The addresses of a host. Raises Unavailable: it has none, or `whose` may not connect to one of them."""
    try:
        addresses = resolve(host)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{host} cannot be resolved") from error
    # One that is not allowed condemns all: a name that mixes them is not to be trusted.
    if not all(is_allowed(address, private=private) for address in addresses):
        raise Unavailable(f"{host} resolves to an address that {whose} may not connect to")
    return addresses


def checked_transport(*, private: bool, ca_file: str | None, resolve: Resolve = system) -> httpx.HTTPTransport:
    """HTTP by such connections alone. `ca_file` has the certificates to trust; the machine's own unless given.

    An answer begins within the client's timeout; its body ends within MAX_TOTAL, or the timeout where that is longer.
    """
    network = CheckedNetwork(private=private, resolve=resolve)
    transport = _Transport(network)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=ssl.create_default_context(cafile=ca_file),
        max_connections=16,
        keepalive_expiry=30,
        network_backend=network,
    )
    return transport


class _Transport(httpx.HTTPTransport):
    def __init__(self, network: CheckedNetwork) -> None:
        super().__init__()
        self._network = network

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began, timeout = time.monotonic(), request.extensions["timeout"]["read"]
        self._network.until(began + timeout)
        response = super().handle_request(request)
        # The body is read by the same thread.
        self._network.until(began + max(MAX_TOTAL, timeout))
        return response
