"""Connectors are configured in TOML; what is wrong is refused, and the error names where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineal.errors import InvalidArgument, NotFound, Unavailable
from storage.connectors.config import load, read
from storage.connectors.connector import Connectors

LAKE: dict[str, Any] = {"scheme": "s3", "prefixes": ["s3://lake/raw"], "workspaces": ["vision"]}
HDFS: dict[str, Any] = {"scheme": "hdfs", "prefixes": ["hdfs://lake/raw"]}

EXAMPLE = """
[connectors.lake]
scheme = "s3"
prefixes = ["s3://lake/raw", "s3://lake/features/"]
workspaces = ["vision", "search"]
timeout = 5
options = { endpoint_url = "https://minio.example.org", region = "eu-central-1" }
secrets = { key_env = "LAKE_KEY", secret_file = "/run/secrets/lake" }

[connectors.public]
scheme = "https"
prefixes = ["https://Data.example.org:443/sets"]
workspaces = "*"
"""


def one(**changes: Any) -> dict[str, Any]:
    table = {key: value for key, value in {**LAKE, **changes}.items() if value is not None}
    return {"connectors": {"lake": table}}


def test_a_file_gives_its_connectors(tmp_path: Path) -> None:
    (tmp_path / "connectors.toml").write_text(EXAMPLE)
    lake, public = load(tmp_path / "connectors.toml")
    assert [prefix.uri for prefix in lake.prefixes] == ["s3://lake/raw", "s3://lake/features/"]
    assert (lake.timeout, lake.options["region"]) == (5.0, "eu-central-1")
    assert lake.serves("vision")
    assert not lake.serves("other")
    assert public.prefixes[0].uri == "https://data.example.org/sets"
    assert public.serves("anything")


def test_secrets_are_read_from_where_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    (config,) = read(one(secrets={"key_env": "LAKE_KEY", "secret_file": str(tmp_path / "secret")}))
    with pytest.raises(Unavailable, match="LAKE_KEY"):
        config.secret("key")
    monkeypatch.setenv("LAKE_KEY", "k3y")
    assert (config.secret("key"), config.secret("secret"), config.secret("token")) == ("k3y", "s3cret", None)
    assert "k3y" not in repr(config)
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "red"}, "connectors.lake.colour"),
        ({"scheme": "ftp"}, "connectors.lake.scheme"),
        ({"scheme": None}, "connectors.lake.scheme"),
        ({"prefixes": []}, "connectors.lake.prefixes"),
        ({"prefixes": None}, "connectors.lake.prefixes"),
        ({"prefixes": "s3://lake"}, "connectors.lake.prefixes"),
        ({"prefixes": ["s3://lake", "lake"]}, "connectors.lake.prefixes[1]"),
        ({"prefixes": ["gs://lake"]}, "connectors.lake.prefixes[0]"),
        ({"prefixes": ["s3://lake/../other"]}, "connectors.lake.prefixes[0]"),
        ({"workspaces": None}, "connectors.lake.workspaces"),
        ({"workspaces": []}, "connectors.lake.workspaces"),
        ({"workspaces": "vision"}, "connectors.lake.workspaces"),
        ({"workspaces": ["vision", 1]}, "connectors.lake.workspaces[1]"),
        ({"options": {"colour": "red"}}, "connectors.lake.options.colour"),
        ({"options": {"anon": "yes"}}, "connectors.lake.options.anon"),
        ({"options": {"secret": "s3cret"}}, "connectors.lake.options.secret"),
        ({"options": {"allow_private": True}}, "connectors.lake.options.allow_private"),
        ({"secrets": {"secret": "s3cret"}}, "connectors.lake.secrets.secret"),
        ({"secrets": {"key_env": ""}}, "connectors.lake.secrets.key_env"),
        ({"secrets": {"key_env": "A", "key_file": "/b"}}, "connectors.lake.secrets.key_file"),
        ({"options": {"endpoint_url": "minio.example.org"}}, "connectors.lake.options.endpoint_url"),
        ({"options": {"endpoint_url": "https://k:s3cret@minio.example.org"}}, "connectors.lake.options.endpoint_url"),
        ({"options": {"addressing": "paths"}}, "connectors.lake.options.addressing"),
        ({"options": {"ca_file": "/nowhere/ca.pem"}}, "connectors.lake.options.ca_file"),
        ({"options": {"ca_file": __file__}}, "connectors.lake.options.ca_file"),
        ({"secrets": {"key_env": "A"}}, "connectors.lake.secrets.secret"),
        ({"secrets": {"secret_env": "A"}}, "connectors.lake.secrets.key"),
        ({**HDFS, "secrets": {"password_env": "A"}}, "connectors.lake.options.user"),
        ({**HDFS, "options": {"user": "u"}, "secrets": {"token_env": "A"}}, "connectors.lake.options.user"),
        ({**HDFS, "options": {"user": "u", "kerberos": True}}, "connectors.lake.options.user"),
        ({"timeout": 0}, "connectors.lake.timeout"),
        ({"timeout": True}, "connectors.lake.timeout"),
        ({"timeout": float("nan")}, "connectors.lake.timeout"),
        ({"max_files": -1}, "connectors.lake.max_files"),
        ({"listing_timeout": 0}, "connectors.lake.listing_timeout"),
        (
            {"scheme": "hdfs", "prefixes": ["hdfs://one/a", "hdfs://two/a"]},
            "connectors.lake.prefixes[1]",
        ),
        (
            {"scheme": "abfs", "prefixes": ["abfs://lake@one.example/a", "abfs://lake@two.example/a"]},
            "connectors.lake.prefixes[1]",
        ),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(one(**changes))
    assert caught.value.field == field
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("text", ["connectors = 1", "[connector.lake]", "[connectors]\nlake = 1", "[connectors.Lake]"])
def test_a_file_has_a_table_of_connectors_and_nothing_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "connectors.toml").write_text(text)
    with pytest.raises(InvalidArgument):
        load(tmp_path / "connectors.toml")


def test_a_file_that_is_not_there_or_not_toml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load(tmp_path / "nothing.toml")
    (tmp_path / "connectors.toml").write_text("[[")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load(tmp_path / "connectors.toml")


async def test_a_connector_of_another_workspace_is_as_good_as_none() -> None:
    async with Connectors(read(one())) as connectors:
        assert connectors.reference("s3://lake/raw/a", "vision").uri == "s3://lake/raw/a"
        with pytest.raises(NotFound) as hidden:
            connectors.reference("s3://lake/raw/a", "search")
        with pytest.raises(NotFound) as absent:
            connectors.reference("s3://pond/raw/a", "search")
    assert hidden.value.message.replace("lake", "pond") == absent.value.message


async def test_the_longest_prefix_decides() -> None:
    table = {"wide": {**LAKE, "prefixes": ["s3://lake"]}, "narrow": LAKE, "other": {**LAKE, "workspaces": ["search"]}}
    async with Connectors(read({"connectors": table})) as connectors:
        assert connectors.reference("s3://lake/raw/a", "vision").config.name == "narrow"
        assert connectors.reference("s3://lake/rawer", "vision").config.name == "wide"
