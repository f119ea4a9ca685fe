"""URIs have one form, and a prefix cannot be escaped by writing one in another way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.errors import InvalidArgument, NotFound
from storage.connectors.connector import Connectors
from storage.connectors.places import parse
from tests.storage.connectors.conftest import connector


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("s3://lake", "s3://lake"),
        ("s3://lake/", "s3://lake"),
        ("S3://lake/a/b.parquet", "s3://lake/a/b.parquet"),
        ("s3a://lake/a/", "s3://lake/a/"),
        ("gcs://lake/a", "gs://lake/a"),
        ("gs://lake/100%/x", "gs://lake/100%/x"),
        ("abfss://lake@acc.dfs.core.windows.net/a", "abfs://lake@acc.dfs.core.windows.net/a"),
        ("hdfs://NameNode:8020/a", "hdfs://namenode:8020/a"),
        ("https://Example.org:443/a%7eb", "https://example.org/a~b"),
        ("https://example.org:8443/a?v=1&b=2", "https://example.org:8443/a?v=1&b=2"),
        ("https://example.org/ü b", "https://example.org/%C3%BC%20b"),
        ("https://[2001:DB8::0:1]/a", "https://[2001:db8::1]/a"),
        ("file:///data/a", "file:///data/a"),
        ("s3://lake/year=2026/a b+c@d:e", "s3://lake/year=2026/a b+c@d:e"),
    ],
)  # fmt: skip
def test_a_uri_has_a_normal_form(given: str, normal: str) -> None:
    place = parse(given)
    assert place.uri == normal
    assert parse(normal) == place


REFUSED = [
    *("", "lake/a", "//lake/a", "s3:/lake", "s3:lake", "http://example.org/a", "ftp://example.org/a", "javascript:1"),
    *("s3:///a", "s3://la ke/a", "s3://key:secret@lake/a", "s3://lake:80/a", "s3://lake/a?versionId=1", "s3://lake/a#b"),
    *("https://user:pw@example.org/a", "https://user@example.org/", "https://example.org@evil.test/", "https:///a"),
    *("https://example.org:0/", "https://example.org:99999/", "https://example.org:/", "https://exämple.org/"),
    *("https://[fe80::1%25eth0]/", "https://[::1", "https://[1]/", "https://example.org\\@evil.test/", "https://a%2eb/"),
    *("https://example.org./a", "https://example.org/a#b", "https://example.org/a?b#c", "https://example.org/a?", "https://example.org/a?ü"),
    *("file://host/a", "file://localhost/a", "hdfs:///a", "abfs://user:pw@account/a", "abfs://a@b@c/d"),
    *(f"{start}{path}" for start in ("s3://lake/raw/", "https://example.org/raw/", "file:///raw/") for path in (
        "../other", "a/../../other", "./a", "a/.", "a/..", "a//b", "/a", "%2e%2e/other", ".%2E/other", "%2e/a",
        "a%2f..%2f..%2fother", "a%2Fb", "..%5cother", "..\\other", "%252e%252e/other", "a%00b", "a\x00b", "a\nb",
        "a%0d%0ab", "a\u2028b", "a\ud800b", "..;/other", "..;a=1/other", "a%25b",
    )),
    *(f"https://example.org/{path}" for path in (
        "a%", "a%zz", "a%c3%28", "a%ff", "raw/..%3B/other", "raw/..%3ba=1/other", "raw/.%3B/other",
    )),
]  # fmt: skip


@pytest.mark.parametrize("uri", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(uri)
    assert caught.value.field == "uri"


def test_a_uri_has_a_length() -> None:
    with pytest.raises(InvalidArgument):
        parse("s3://lake/" + "a" * 5_000)


@pytest.mark.parametrize(
    ("scheme", "prefix", "allowed", "refused"),
    [
        (
            "s3",
            "s3://lake/data",
            ["s3://lake/data", "s3://lake/data/", "s3://lake/data/a"],
            ["s3://lake/database", "s3://lake/data.old/a", "s3://lake", "s3://lake/Data/a", "s3://lake2/data/a",
             "s3://Lake/data/a", "gs://lake/data/a", "s3://lake/a/data"],
        ),
        ("s3", "s3://lake/data/", ["s3://lake/data", "s3://lake/data/a"], ["s3://lake/database"]),
        ("s3", "s3://lake", ["s3://lake", "s3://lake/a"], ["s3://lakes/a", "s3://lake.evil/a"]),
        (
            "https",
            "https://example.org/data",
            ["https://EXAMPLE.org:443/data/a", "https://example.org/%64ata/a"],
            ["https://example.org:8443/data/a", "https://example.org.evil.test/data/a", "https://sub.example.org/data/a",
             "https://example.org/data/a?q=1", "https://127.0.0.1/data/a",
             "https://example.org/data%20/a"],
        ),
        ("file", "file:///data", ["file:///data/a"], ["file:///etc/passwd", "file:///database", "file:///"]),
        ("hdfs", "hdfs://lake/data", ["hdfs://lake/data/a"], ["hdfs://lake:8020/data/a", "webhdfs://lake/data/a"]),
        (
            "abfs",
            "abfs://data@one.example/a",
            ["abfs://data@one.example/a/b"],
            ["abfs://data@two.example/a/b", "abfs://data/a/b", "abfs://other@one.example/a/b"],
        ),
    ],
)  # fmt: skip
async def test_a_prefix_allows_whole_segments_only(
    scheme: str, prefix: str, allowed: list[str], refused: list[str]
) -> None:
    async with Connectors([connector(scheme, prefix)]) as connectors:
        for uri in allowed:
            connectors.reference(uri, "vision")
        for uri in refused:
            with pytest.raises(NotFound):
                connectors.reference(uri, "vision")


async def test_a_query_needs_the_connectors_leave() -> None:
    config = connector("https", "https://example.org/data", options={"allow_query": True})
    async with Connectors([config]) as connectors:
        assert connectors.reference("https://example.org/data/a?sig=1", "vision").uri.endswith("?sig=1")


@given(st.text(max_size=60))
def test_whatever_is_allowed_is_beneath_its_prefix_as_it_is_written(text: str) -> None:
    prefix = parse("https://example.org/raw")
    try:
        place = parse(f"https://example.org/raw/{text}")
    except InvalidArgument:
        return
    assert place.is_within(prefix)
    assert place.uri.startswith("https://example.org/raw")
    assert not {".", "..", ""} & set(place.segments)
    assert parse(place.uri) == place
