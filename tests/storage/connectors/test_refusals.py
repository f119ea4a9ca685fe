"""No request can make the server read what no connector allows: by names, addresses, redirects or links."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lineal.errors import InvalidArgument, LimitExceeded, NotFound, Unavailable
from storage.connectors import addresses
from storage.connectors import connector as connecting
from storage.connectors import https as web_module
from storage.connectors.addresses import is_allowed, system
from storage.connectors.backend import Entry
from storage.connectors.config import ConnectorConfig
from storage.connectors.connector import Connectors, Reference
from storage.connectors.places import Place, parse
from tests.hdfs import HdfsServer
from tests.listening import Handler, Listening
from tests.storage.connectors.conftest import connector, loopback
from tests.web import WebServer, certificate

# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────

PRIVATE = ["127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1"]
NEVER = [
    *("169.254.169.254", "169.254.1.1", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "0.0.0.0", "0.1.2.3"),
    "168.63.129.16",
    *("224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "fe80::1", "fec0::1", "ff02::1", "ff0e::1"),
    # Version 4 within version 6: mapped, compatible, translated, NAT64, 6to4, Teredo.
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:7f00:1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1"),
    *("fe80::1%eth0", "2606:4700::1%eth0", "localhost", "", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_connectors_leave(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_connected_to(address: str) -> None:
    assert not is_allowed(address, private=False)
    assert not is_allowed(address, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses_are_connected_to(address: str) -> None:
    assert is_allowed(address, private=False)


# ── https ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def site(web: WebServer) -> Iterator[WebServer]:
    """The web server with one file that is allowed, and one that is not."""
    web.files = {"/raw/a.txt": b"allowed", "/secret.txt": b"secret"}
    yield web
    web.files, web.redirects, web.statuses, web.headers, web.ranges = {}, {}, {}, {}, True
    web.requests.clear()
    web.seen_headers.clear()


def of(web: WebServer, *prefixes: str, private: bool = True, **more: object) -> ConnectorConfig:
    options = {"ca_file": str(web.ca), "allow_private": private}
    config = connector("https", f"https://files.test:{web.port}/raw", options=options, **more)
    if prefixes:
        table = connector("https", prefixes[0])
        others = (connector("https", prefix).prefixes[0] for prefix in prefixes[1:])
        return replace(config, prefixes=(*config.prefixes, *table.prefixes, *others))
    return config


async def read(config: ConnectorConfig, uri: str, resolve: Callable[[str], Sequence[str]] = loopback) -> bytes:
    async with Connectors([config], resolve) as connectors:
        return await connectors.reference(uri, "vision").read("", 0, 100)


async def test_a_name_that_resolves_to_this_machine_is_not_connected_to(site: WebServer) -> None:
    with pytest.raises(Unavailable, match="may not connect to"):
        await read(of(site, private=False), f"https://files.test:{site.port}/raw/a.txt")
    assert not site.requests


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
async def test_private_leave_does_not_open_metadata_or_hidden_addresses(site: WebServer, address: str) -> None:
    with pytest.raises(Unavailable, match="may not connect to"):
        await read(of(site), f"https://files.test:{site.port}/raw/a.txt", lambda _: [address])


async def test_one_bad_address_condemns_a_name(site: WebServer) -> None:
    with pytest.raises(Unavailable, match="may not connect to"):
        await read(of(site), f"https://files.test:{site.port}/raw/a.txt", lambda _: ["127.0.0.1", "169.254.169.254"])
    assert not site.requests


async def test_what_was_judged_is_what_is_connected_to(site: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"], ["169.254.169.254"]]
    dialled: list[str] = []
    dial = socket.create_connection

    def watched(address: tuple[str, int], *arguments: object, **named: object) -> socket.socket:
        dialled.append(address[0])
        return dial(address, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", watched)
    # The name is asked for once: what it would say next is never heard.
    assert await read(of(site), f"https://files.test:{site.port}/raw/a.txt", lambda _: answers.pop(0)) == b"allowed"
    assert dialled == ["127.0.0.1"]
    assert len(answers) == 2


async def test_a_name_that_changes_its_mind_between_connections_is_refused(site: WebServer) -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    site.headers = {"Connection": "close"}
    async with Connectors([of(site)], lambda _: answers.pop(0)) as connectors:
        reference = connectors.reference(f"https://files.test:{site.port}/raw/a.txt", "vision")
        assert await reference.read("", 0, 100) == b"allowed"
        with pytest.raises(Unavailable, match="may not connect to"):
            await reference.read("", 0, 100)


async def test_the_certificate_must_be_for_the_name(site: WebServer) -> None:
    config = connector("https", f"https://evil.test:{site.port}/raw", options=dict(of(site).options))
    with pytest.raises(Unavailable):
        await read(config, f"https://evil.test:{site.port}/raw/a.txt")
    assert not site.requests


@pytest.mark.parametrize(
    "target",
    [
        *("/secret.txt", "../secret.txt", "/raw/../secret.txt", "/raw/%2e%2e/secret.txt", "/rawer/a.txt", ""),
        *("/raw/..%3B/secret.txt", "..%3b/secret.txt"),
        *("https://other.test:{port}/raw/a.txt", "http://files.test:{port}/raw/a.txt", "https://127.0.0.1:{port}/raw/a"),
        *("https://files.test/raw/a.txt", "//other.test:{port}/raw/a.txt", "file:///etc/passwd", "s3://lake/raw/a"),
        *("https://user@files.test:{port}/raw/a.txt", "http://169.254.169.254/latest/meta-data/", "gopher://x:70/1"),
        *("https://files.test:{port}/raw/a.txt?x=1", "https://files.test:{port}/raw/a.txt#x", "https://[::1]:{port}/raw/a"),
    ],
)  # fmt: skip
async def test_redirects_to_what_is_not_allowed_are_not_followed(site: WebServer, target: str) -> None:
    site.redirects = {"/raw/b.txt": target.format(port=site.port)}
    with pytest.raises(InvalidArgument, match="redirects to what its connector does not allow"):
        await read(of(site), f"https://files.test:{site.port}/raw/b.txt")
    assert site.requests == ["/raw/b.txt"]


async def test_redirects_within_the_prefixes_are_followed_a_few_times(site: WebServer) -> None:
    base = f"https://other.test:{site.port}/raw"
    site.redirects = {"/raw/b.txt": "c.txt", "/raw/c.txt": f"{base}/a.txt", "/raw/loop": "/raw/loop"}
    assert await read(of(site, base), f"https://files.test:{site.port}/raw/b.txt") == b"allowed"
    with pytest.raises(InvalidArgument, match="more than 5 times"):
        await read(of(site), f"https://files.test:{site.port}/raw/loop")


async def test_every_redirect_is_judged_by_its_address_again(site: WebServer) -> None:
    base = f"https://other.test:{site.port}/raw"
    site.redirects = {"/raw/b.txt": f"{base}/a.txt"}
    addresses = {"files.test": ["127.0.0.1"], "other.test": ["169.254.169.254"]}
    with pytest.raises(Unavailable, match="may not connect to"):
        await read(of(site, base), f"https://files.test:{site.port}/raw/b.txt", lambda host: addresses[host])


async def test_no_proxy_of_the_environment_is_used(site: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await read(of(site), f"https://files.test:{site.port}/raw/a.txt") == b"allowed"


async def test_credentials_are_sent_and_never_shown(site: WebServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    config = of(site, secrets={"bearer_file": str(tmp_path / "token")})
    assert await read(config, f"https://files.test:{site.port}/raw/a.txt") == b"allowed"
    assert site.seen_headers[0]["Authorization"] == "Bearer s3cret"
    with pytest.raises(NotFound) as caught:
        await read(config, f"https://files.test:{site.port}/raw/nothing")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("date", "modified"),
    [
        ("Thu, 01 Jan 1970 00:00:01 GMT", 1_000_000),
        ("0", None),
        ("", None),
        ("Fri, 31 Feb 2026 00:00:00 GMT", None),
        ("Thu, 01 Jan 2026 00:00:00 -0000", None),
    ],
)
async def test_a_time_that_is_none_is_not_told(site: WebServer, date: str, modified: int | None) -> None:
    site.headers = {"Last-Modified": date}
    async with Connectors([of(site)], loopback) as connectors:
        entry = await connectors.reference(f"https://files.test:{site.port}/raw/a.txt", "vision").stat()
    assert entry is not None
    assert (entry.size, entry.modified) == (7, modified)


async def listing(config: ConnectorConfig, uri: str) -> list[str]:
    async with Connectors([config], loopback) as connectors:
        return [entry.path async for page in connectors.reference(uri, "vision").walk() for entry in page]


async def test_an_index_page_lists_only_what_is_beneath_it(site: WebServer) -> None:
    links = [
        "a.txt",
        "/secret.txt",
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%3B/",
        "..%3Ba.txt",
        "https://other.test/raw/x",
        "?C=N",
        "a.txt#x",
    ]
    links += ["deep/er.txt", "javascript:alert(1)", "//evil.test/raw/a.txt", "http://files.test/raw/a.txt", "./a.txt"]
    site.files["/raw/"] = "".join(f'<A class=x HREF="{link}">' for link in links).encode()
    site.headers = {"Content-Type": "text/html"}
    assert await listing(of(site), f"https://files.test:{site.port}/raw/") == ["a.txt"]
    assert not any("secret" in path for path in site.requests)


PIECES = ["..", "./", "/", "\\", ";", "%2e", "%3B", "?", "#", "@", ":", " ", "\t", "https:", "files.test", "raw", "a"]


def test_links_to_what_is_beneath_a_folder_may_have_any_form() -> None:
    folder = parse("https://files.test/raw/caf%C3%A9/")
    for href, name in (
        ("a.txt", "a.txt"),
        ("./a.txt", "a.txt"),
        ("deep/", "deep/"),
        ("a b.txt", "a%20b.txt"),
        ("./10:30.txt", "10:30.txt"),
        ("/raw/café/a.txt", "a.txt"),
        ("/raw/x/../caf%c3%a9/deep/", "deep/"),
        ("//files.test/raw/caf%C3%A9/a.txt", "a.txt"),
        ("HTTPS://FILES.test:443/raw/caf%C3%A9/a.txt", "a.txt"),
    ):
        assert web_module.linked(folder, href) == name


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
@example("../raw/a")
@example("//evil.test/raw/a")
@example("https://files.test@evil.test/raw/a")
@example("\t../a")
def test_whatever_is_linked_to_is_one_name_beneath_the_folder(href: str) -> None:
    folder = parse("https://files.test/raw/")
    try:
        name = web_module.linked(folder, href)
    except (ValueError, InvalidArgument):
        return
    if name:
        place = parse(folder.uri + name)
        assert place.uri == folder.uri + name
        assert place.segments == ("raw", name.removesuffix("/"))
        assert parse(urljoin(folder.uri, quote(href, safe=";/?:@&=+$,%"))) == place


async def test_an_index_page_takes_no_longer_for_the_length_of_its_folders_name(site: WebServer) -> None:
    path = f"/raw/{'d/' * 1_900}"
    site.files[path] = "".join(f"<a href={number}>" for number in range(20_000)).encode()
    site.headers = {"Content-Type": "text/html"}
    backend = web_module.HttpsBackend(of(site), loopback)
    begin = time.process_time()
    names = backend._links(parse(f"https://files.test:{site.port}{path}"))
    assert time.process_time() - begin < 5
    assert names == list(map(str, range(20_000)))
    backend.close()


async def test_what_would_have_too_long_an_address_is_not_listed(site: WebServer) -> None:
    path = f"/raw/{'d' * 4_000}/"
    site.files[path] = f"<a href={'a' * 20}><a href={'b' * 80}>".encode()
    site.headers = {"Content-Type": "text/html"}
    backend = web_module.HttpsBackend(of(site), loopback)
    assert backend._links(parse(f"https://files.test:{site.port}{path}")) == ["a" * 20]
    backend.close()


def test_folders_without_files_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = connector("https", "https://files.test/", options={"allow_private": True}, max_files=10)
    backend = web_module.HttpsBackend(config, lambda _: ["127.0.0.1"])
    asked = []

    def links(folder: Place) -> list[str]:
        asked.append(folder)
        return [f"{i}/" for i in range(4)]

    monkeypatch.setattr(backend, "_links", links)
    with pytest.raises(LimitExceeded, match="10 folders"):
        list(backend.pages(parse("https://files.test/")))
    assert len(asked) <= 11


@pytest.mark.timeout(60)
async def test_folders_without_an_end_and_without_files_are_listed_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    config = connector("https", "https://files.test/", options={"allow_private": True}, listing_timeout=0.2)

    def links(*_: object) -> list[str]:
        time.sleep(0.01)
        return [f"{i}/" for i in range(1_000)]

    monkeypatch.setattr(web_module.HttpsBackend, "_links", links)
    with pytest.raises(LimitExceeded, match="listing_timeout"):
        await listing(config, "https://files.test/")


async def test_files_of_an_index_page_are_asked_for_some_at_a_time(
    site: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files = {f"/raw/{number}.txt": b"x" for number in range(web_module.AT_ONCE)}
    together, stat = threading.Barrier(web_module.AT_ONCE, timeout=10), web_module.HttpsBackend.stat

    def met(backend: web_module.HttpsBackend, place: Place) -> Entry | None:
        together.wait()
        return stat(backend, place)

    monkeypatch.setattr(web_module.HttpsBackend, "stat", met)
    found = await listing(of(site), f"https://files.test:{site.port}/raw/")
    assert found == [f"{number}.txt" for number in range(web_module.AT_ONCE)]


async def test_an_index_page_has_a_limit(site: WebServer) -> None:
    site.files["/raw/"] = b"<a " * (web_module.MAX_INDEX // 2)
    site.headers = {"Content-Type": "text/html"}
    with pytest.raises(LimitExceeded, match="index page"):
        await listing(of(site), f"https://files.test:{site.port}/raw/")


async def test_a_server_without_ranges_gives_only_the_beginning(site: WebServer) -> None:
    site.ranges = False
    site.files["/raw/large"] = b"x" * 2**24
    uri = f"https://files.test:{site.port}/raw/large"
    async with Connectors([of(site)], loopback) as connectors:
        reference = connectors.reference(uri, "vision")
        entry = await reference.stat()
        assert entry is not None
        assert entry.size == 2**24
        assert await reference.read("", 0, 10) == b"x" * 10
        with pytest.raises(InvalidArgument, match="no ranges"):
            await reference.read("", 10, 10)


@pytest.mark.parametrize("path", ["b.txt", "folder/"])
@pytest.mark.parametrize("status", [401, 403, 451])
async def test_what_a_server_refuses_is_named_and_is_no_server_that_is_away(
    site: WebServer, path: str, status: int
) -> None:
    site.files[f"/raw/{path}"] = b"x"
    site.statuses = {f"/raw/{path}": status}
    with pytest.raises(InvalidArgument, match=f"/raw/{path}: the server answered {status}"):
        await listing(of(site), f"https://files.test:{site.port}/raw/")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_server_that_is_too_busy_is_away(site: WebServer, status: int) -> None:
    site.statuses = {"/raw/a.txt": status}
    with pytest.raises(Unavailable, match=f"/raw/a.txt: the server answered {status}"):
        await listing(of(site), f"https://files.test:{site.port}/raw/")


async def test_a_file_whose_size_a_server_does_not_say_is_named(site: WebServer) -> None:
    site.headers = {"Content-Range": "bytes 0-0/*"}
    with pytest.raises(InvalidArgument, match=r"/raw/a\.txt: the server does not say how large"):
        await listing(of(site), f"https://files.test:{site.port}/raw/")


async def test_a_digest_of_the_whole_is_taken_as_its_checksum(site: WebServer) -> None:
    site.headers = {"Repr-Digest": "sha-512=:AAAA:, sha-256=:4REjxQ4yrqUVicfSKYNO/cF9zNj5ANbzgDZt3/h3Qxo=:"}
    async with Connectors([of(site)], loopback) as connectors:
        entry = await connectors.reference(f"https://files.test:{site.port}/raw/a.txt", "vision").stat()
    assert entry is not None
    assert entry.checksum.startswith("sha256:e11123c5")


def test_names_are_resolved_by_this_machine() -> None:
    assert set(system("localhost")) <= {"127.0.0.1", "::1"}


# ── file ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lake" / "data").mkdir(parents=True)
    (tmp_path / "lake" / "data" / "a.txt").write_text("allowed")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.txt").write_text("secret")
    return tmp_path / "lake"


@contextmanager
def at(folder: Path, path: str) -> Iterator[Reference]:
    connectors = Connectors([connector("file", f"file://{folder}")])
    yield connectors.reference(f"file://{folder}/{path}", "vision")


async def test_a_link_within_the_prefix_is_followed(folder: Path) -> None:
    (folder / "data" / "link.txt").symlink_to(folder / "data" / "a.txt")
    with at(folder, "data/link.txt") as reference:
        assert await reference.read("", 0, 100) == b"allowed"
    with at(folder, "data") as reference:
        assert {entry.path async for page in reference.walk() for entry in page} == {"a.txt", "link.txt"}


@pytest.mark.parametrize("link", ["data/out", "out"])
async def test_a_link_that_leads_out_is_refused(folder: Path, link: str) -> None:
    (folder / link).symlink_to(folder.parent / "secret")
    with at(folder, f"{link}/s.txt") as reference:
        with pytest.raises(InvalidArgument, match="leads out"):
            await reference.read("", 0, 100)
        with pytest.raises(InvalidArgument, match="leads out"):
            await reference.stat()
    with at(folder, "") as reference, pytest.raises(InvalidArgument, match="leads out"):
        [page async for page in reference.walk()]


async def test_a_folder_that_is_deeper_than_a_path_may_be_is_refused_in_few_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "data")
    for _ in range(25):
        os.mkdir("n" * 200)  # noqa: PTH102 - the whole path is too long for a Path
        os.chdir("n" * 200)
    with at(folder, "data") as reference, pytest.raises(InvalidArgument, match="longer than a path may be") as caught:
        [page async for page in reference.walk()]
    assert len(caught.value.message) < 500


async def test_a_link_that_is_put_in_place_after_the_check_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def swap(path: str | Path, flags: int, **named: int) -> int:
        if path == "a.txt":
            (folder / "data" / "a.txt").unlink()
            (folder / "data" / "a.txt").symlink_to(folder.parent / "secret" / "s.txt")
        return opened(path, flags, **named)

    with at(folder, "data/a.txt") as reference:
        monkeypatch.setattr(os, "open", swap)
        with pytest.raises(NotFound):
            await reference.read("", 0, 100)


async def test_links_to_folders_and_what_is_no_file_are_not_taken_for_files(folder: Path) -> None:
    os.mkfifo(folder / "data" / "pipe")
    with at(folder, "data") as reference:
        assert [entry.path async for page in reference.walk() for entry in page] == ["a.txt"]
        with pytest.raises(NotFound):
            await reference.read("pipe", 0, 10)
    (folder / "data" / "again").symlink_to(folder / "data")
    with at(folder, "data") as reference, pytest.raises(InvalidArgument, match="link to a folder"):
        [page async for page in reference.walk()]


@pytest.mark.parametrize("target", ["nowhere", "link.txt"])
async def test_a_link_that_leads_nowhere_is_named(folder: Path, target: str) -> None:
    (folder / "data" / "link.txt").symlink_to(target)
    with (
        at(folder, "data") as reference,
        pytest.raises(InvalidArgument, match=r"link\.txt is a link that leads nowhere"),
    ):
        [page async for page in reference.walk()]
    with at(folder, "data/link.txt") as reference, pytest.raises(NotFound):
        await reference.stat()


@pytest.mark.parametrize("refused", ["closed", "link.txt"])
async def test_what_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    (folder / "data" / "closed").mkdir()
    (folder / "data" / "b.txt").write_text("closed to the server")
    (folder / "data" / "link.txt").symlink_to("b.txt")
    opened, closed = os.open, {"closed": "closed", "link.txt": "b.txt"}[refused]

    def refusing(path: str | Path, flags: int, **named: int) -> int:
        # Whoever runs the tests may read everything.
        if path == closed:
            raise PermissionError
        return opened(path, flags, **named)

    monkeypatch.setattr(os, "open", refusing)
    with at(folder, "data") as reference, pytest.raises(InvalidArgument, match=f"/data/{refused}: .* may not read it"):
        [page async for page in reference.walk()]


async def test_a_file_whose_time_was_set_back_is_another(folder: Path) -> None:
    file = folder / "data" / "a.txt"
    before = file.stat()
    with at(folder, "data/a.txt") as reference:
        first = await reference.stat()
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        second = await reference.stat()
    assert first is not None
    assert second is not None
    assert (first.size, first.modified) == (second.size, second.modified)
    assert first.etag != second.etag


@pytest.mark.parametrize("name", [b"\xff.txt", b"\xff/a.txt"])
async def test_a_name_that_is_not_utf8_is_told(folder: Path, name: bytes) -> None:
    path = folder / "data" / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    with at(folder, "data") as reference, pytest.raises(InvalidArgument, match="not UTF-8"):
        [page async for page in reference.walk()]


# ── hdfs ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_name_node_can_send_the_reader_to_configured_data_nodes_only(hdfs_server: HdfsServer) -> None:
    hdfs_server.put({"/raw/a.txt": b"allowed"})
    options = {"host": "127.0.0.1", "port": hdfs_server.port, "user": "root"}
    for nodes, allowed in ((["127.0.0.1"], True), ([hdfs_server.datanode], True), ([], False), (["other:1"], False)):
        config = connector("hdfs", "hdfs://lake/raw", options={**options, "datanodes": nodes})
        async with Connectors([config]) as connectors:
            reference = connectors.reference("hdfs://lake/raw/a.txt", "vision")
            if allowed:
                assert await reference.read("", 0, 100) == b"allowed"
            else:
                with pytest.raises(Unavailable):
                    await reference.read("", 0, 100)


# ── Stores of objects ─────────────────────────────────────────────────────────────────────────────


class Sender(Listening):
    """A store that sends all who ask to `to`, or a place that answers; `requests` are what it was asked for."""

    def __init__(self, status: int = 200, to: str = "") -> None:
        self.status, self.to = status, to
        self.requests: list[str] = []
        super().__init__(_Sending)


class _Sending(Handler):
    owner: Sender

    def _handle(self) -> None:
        self.owner.requests.append(f"{self.command} {self.path}")
        told = {"ETag": '"1"', "Last-Modified": "Fri, 27 Nov 2026 00:00:00 GMT", "x-amz-bucket-region": "eu-west-1"}
        body = b"secret" if self.command == "GET" else b""
        self.answer(self.owner.status, body, told | ({"Location": self.owner.to} if self.owner.to else {}))

    do_GET = do_HEAD = _handle  # noqa: N815 - as the library wants it


def to_azure(port: int, monkeypatch: pytest.MonkeyPatch) -> ConnectorConfig:
    """A connector to an account of Azure on this machine."""
    account = {"AccountName": "lake", "AccountKey": "c2VjcmV0", "BlobEndpoint": f"http://127.0.0.1:{port}/lake"}
    pairs = {"DefaultEndpointsProtocol": "http", **account}
    monkeypatch.setenv("LAKE_CONNECTION", "".join(f"{name}={value};" for name, value in pairs.items()))
    options, secrets = {"account_name": "lake"}, {"connection_string_env": "LAKE_CONNECTION"}
    return connector("abfs", "abfs://lake", options=options, secrets=secrets, timeout=5)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["s3", "gs", "abfs"])
async def test_a_store_of_objects_cannot_send_the_reader_elsewhere(
    scheme: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sender() as inside, Sender(status, f"http://localhost:{inside.port}/latest/meta-data") as store:
        if scheme == "abfs":
            config = to_azure(store.port, monkeypatch)
        else:
            options = {"endpoint_url": f"http://127.0.0.1:{store.port}", "anon": True}
            config = connector(scheme, f"{scheme}://lake", options=options, timeout=5)
        async with Connectors([config]) as connectors:
            file = connectors.reference(f"{scheme}://lake/a", "vision")
            folder = connectors.reference(f"{scheme}://lake/a/", "vision")
            for asked in (file.stat(), file.read("", 0, 10), folder.stat()):
                with pytest.raises(Unavailable):
                    await asked
    assert len(store.requests) >= 3
    assert inside.requests == []


# ── What is missing or away ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "config",
    [
        connector("s3", "s3://lake", options={"endpoint_url": "http://127.0.0.1:1", "anon": True}, timeout=2),
        connector("gs", "gs://lake", options={"endpoint_url": "http://127.0.0.1:1", "anon": True}, timeout=2),
        connector("abfs", "abfs://lake", options={"account_host": "127.0.0.1:1", "account_name": "a"}, timeout=2),
        connector("webhdfs", "webhdfs://127.0.0.1:1/", timeout=2),
        connector("https", "https://localhost:1/", options={"allow_private": True}, timeout=2),
    ],
    ids=lambda config: config.scheme,
)
async def test_a_store_that_is_away_is_unavailable_in_time(config: ConnectorConfig) -> None:
    async with Connectors([config]) as connectors:
        reference = connectors.reference(f"{config.prefixes[0].uri.rstrip('/')}/a", "vision")
        with pytest.raises(Unavailable, match="connect"):
            await reference.stat()


@pytest.fixture
def dripping(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a server that begins its answers so, and goes on by a byte now and then; gives its port."""
    over = threading.Event()

    def started(begin: bytes, *, tls: bool) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(tmp_path))

        def serve() -> None:
            with listener, suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) if tls else connection as client:
                    client.recv(9_999)
                    client.sendall(begin)
                    while not over.wait(0.2):
                        client.sendall(b"0")

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield started
    over.set()


HEADER = b"HTTP/1.1 200 OK\r\nX: "
BODY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("begin", [HEADER, BODY], ids=["header", "body"])
@pytest.mark.parametrize("scheme", ["https", "webhdfs"])
async def test_an_answer_that_drips_ends_in_time(
    scheme: str, begin: bytes, dripping: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "MAX_TOTAL", 2)
    host, port = "files.test" if scheme == "https" else "127.0.0.1", dripping(begin, tls=scheme == "https")
    options = {"ca_file": str(tmp_path / "ca.pem"), "allow_private": True} if scheme == "https" else {}
    config = connector(scheme, f"{scheme}://{host}:{port}/", options=options, timeout=1)
    async with Connectors([config], loopback) as connectors:
        reference = connectors.reference(f"{scheme}://{host}:{port}/a", "vision")
        with pytest.raises(Unavailable):
            await reference.read("", 0, 10)


async def test_a_missing_secret_is_named_without_its_value() -> None:
    config = connector("s3", "s3://lake", secrets={"key_env": "LAKE_MISSING", "secret_env": "LAKE_MISSING"})
    async with Connectors([config]) as connectors:
        with pytest.raises(Unavailable, match="LAKE_MISSING"):
            await connectors.reference("s3://lake/a", "vision").stat()


@pytest.mark.parametrize(
    ("scheme", "options", "secrets", "key"),
    [
        ("gs", {}, {"token": '"ya29.s3cret"'}, "secrets.token"),
        ("gs", {}, {"token": '["s3cret"]'}, "secrets.token"),
        ("gs", {}, {"token": "ya29.s3cret"}, "secrets.token"),
        ("gs", {"project": "p"}, {"token": '{"type": "service_account", "private_key": "s3cret"}'}, "secrets.token"),
        ("abfs", {}, {}, "options.account_name"),
        ("abfs", {"account_name": "lake"}, {"account_key": "no base64: s3cret"}, "secrets.account_key"),
        ("abfs", {}, {"connection_string": "s3cret"}, "secrets.connection_string"),
        (
            "abfs",
            {},
            {"connection_string": "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey=not s3cret"},
            "secrets.connection_string",
        ),
        ("s3", {"profile": "of-nobody"}, {}, "options.profile"),
        ("hdfs", {"kerberos": True}, {}, "options.kerberos"),
    ],
)
async def test_what_a_connector_cannot_be_opened_with_is_named_without_its_value(
    scheme: str, options: dict[str, object], secrets: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "requests_kerberos", None)
    for name, value in secrets.items():
        monkeypatch.setenv(f"LAKE_{name.upper()}", value)
    named = {f"{name}_env": f"LAKE_{name.upper()}" for name in secrets}
    config = connector(scheme, f"{scheme}://lake", options=options, secrets=named, timeout=5)
    async with Connectors([config]) as connectors:
        with pytest.raises(InvalidArgument) as caught:
            await connectors.reference(f"{scheme}://lake/a", "vision").stat()
    assert "connector lake" in caught.value.message
    assert key in caught.value.message
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_what_a_library_does_not_reach_while_it_opens_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> NoReturn:
        raise ConnectionError("/tokeninfo?access_token=s3cret")

    monkeypatch.setattr(connecting, "_backend", away)
    async with Connectors([connector("gs", "gs://lake")]) as connectors:
        with pytest.raises(Unavailable, match=r"connector lake: it cannot be opened now \(ConnectionError\)") as caught:
            await connectors.reference("gs://lake/a", "vision").stat()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
