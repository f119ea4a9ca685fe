"""Signed addresses, by the published example of AWS and against what another implementation makes."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from minio.credentials.credentials import Credentials
from minio.signer import presign_v4

from storage.sigv4 import MAX_SECONDS, presigned, signed_headers

# The example of "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
WHEN = datetime(2013, 5, 24, tzinfo=UTC)
SIGNATURE = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def sign(url: str, method: str = "GET", headers: dict[str, str] | None = None, seconds: int = 86400) -> dict[str, str]:
    """The query of a signed address of the example."""
    signed = presigned(
        method,
        url,
        headers=headers or {},
        credentials=EXAMPLE,
        region="us-east-1",
        at=WHEN.timestamp(),
        seconds=seconds,
    )
    assert signed.startswith(url.partition("?")[0] + "?")
    return {name: value for name, (value,) in parse_qs(urlsplit(signed).query, keep_blank_values=True).items()}


def test_the_published_example_has_its_signature() -> None:
    assert sign("https://examplebucket.s3.amazonaws.com/test.txt") == {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Expires": "86400",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": SIGNATURE,
    }


def test_another_implementation_makes_the_same_of_a_query_and_odd_characters() -> None:
    url = "http://127.0.0.1:9000/bucket/a%20b/%2525/~%C3%BC?partNumber=7&uploadId=a%2Bb%3D%2F&response-x=%22%C3%BC%22"
    theirs = presign_v4(
        method="PUT", url=urlsplit(url), region="us-east-1", credentials=EXAMPLE, date=WHEN, expires=86400
    )
    assert sign(url, "PUT") == {name: value for name, (value,) in parse_qs(theirs.query).items()}


def test_every_header_is_signed_and_changes_the_signature() -> None:
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    one = sign(url, "PUT", {"Content-Length": "5", "x-amz-checksum-sha256": "abc="})
    assert one["X-Amz-SignedHeaders"] == "content-length;host;x-amz-checksum-sha256"
    assert one == sign(url, "PUT", {"x-amz-checksum-sha256": "  abc= ", "content-length": "5"})
    assert (
        one["X-Amz-Signature"]
        != sign(url, "PUT", {"content-length": "6", "x-amz-checksum-sha256": "abc="})["X-Amz-Signature"]
    )
    assert one["X-Amz-Signature"] != sign(url, "PUT", {"content-length": "5"})["X-Amz-Signature"]


def test_a_session_token_is_in_the_address_and_signed() -> None:
    def signature(token: str) -> dict[str, list[str]]:
        credentials = Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, token)
        url = presigned(
            "GET", "https://a/b", headers={}, credentials=credentials, region="eu-central-1", at=0, seconds=60
        )
        return parse_qs(urlsplit(url).query)

    one, other = signature("one+/="), signature("other")
    assert one["X-Amz-Security-Token"] == ["one+/="]
    assert one["X-Amz-Signature"] != other["X-Amz-Signature"]


def test_no_address_is_good_for_longer_than_s3_allows() -> None:
    assert sign("https://a/b", seconds=10**9)["X-Amz-Expires"] == str(MAX_SECONDS)


def signed(credentials: Credentials, body: bytes = b"", **headers: str) -> dict[str, str]:
    """The headers of the published example of a request to a service."""
    return signed_headers(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", **headers},
        body=body,
        credentials=credentials,
        region="us-east-1",
        service="iam",
        at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp(),
    )


def test_the_published_example_of_a_signed_request_has_its_signature() -> None:
    there = signed(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    assert there["X-Amz-Date"] == "20150830T123600Z"
    assert there["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_the_body_and_the_session_are_signed_in() -> None:
    one = signed(EXAMPLE)
    assert one["Authorization"] != signed(EXAMPLE, b"{}")["Authorization"]
    session = signed(Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, "session"))
    assert session["X-Amz-Security-Token"] == "session"
    assert "x-amz-security-token" in session["Authorization"]
