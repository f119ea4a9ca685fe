"""Targets are configured in TOML; what is wrong is refused, and the error names where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineal.errors import InvalidArgument, Unavailable
from serving.open_inference import OpenInference
from serving.port import Adapter
from serving.targets import ADAPTERS, adapter_of, build, load, read
from serving.torchserve import TorchServe

FARM: dict[str, Any] = {
    "platform": "torchserve",
    "url": "https://serving.example.org:8081",
    "workspaces": ["vision"],
    "files": {"mode": "folder", "path": "/mnt/models"},
}

EXAMPLE = """
[targets.gpu-farm]
platform = "torchserve"
url = "https://serving.example.org:8081/"
workspaces = ["vision", "search"]
environments = ["production"]
timeout = 20
options = { inference_url = "https://serving.example.org:8080" }
secrets = { token_file = "/run/secrets/torchserve" }
files = { mode = "folder", path = "/mnt/models", seen_as = "/models" }

[targets.triton]
platform = "open-inference"
url = "http://triton:8000"
workspaces = "*"
options = { server = "triton" }

[targets.triton.files]
mode = "object"
uri = "s3://models/triton/"
options = { endpoint_url = "https://minio.example.org" }
secrets = { key_env = "MINIO_KEY", secret_env = "MINIO_SECRET" }
"""


def one(**changes: Any) -> dict[str, Any]:
    table = {key: value for key, value in {**FARM, **changes}.items() if value is not None}
    return {"targets": {"farm": table}}


def test_a_file_gives_its_targets(tmp_path: Path) -> None:
    (tmp_path / "targets.toml").write_text(EXAMPLE)
    farm, triton = load(tmp_path / "targets.toml")
    assert (farm.url, farm.timeout) == ("https://serving.example.org:8081", 20.0)
    assert (farm.files.path, farm.files.seen_as) == ("/mnt/models", "/models")
    assert farm.serves("vision", "production")
    assert not farm.serves("vision", "staging")
    assert not farm.serves("other", "production")
    assert triton.serves("anything", "anywhere")
    assert triton.files.uri == "s3://models/triton"


async def test_each_target_has_the_adapter_of_its_platform() -> None:
    farm, triton = read(
        {
            "targets": {
                "farm": FARM,
                "triton": {**FARM, "platform": "open-inference", "options": {"server": "triton"}},
            }
        }
    )
    async with build(farm) as first, build(triton) as second:
        assert isinstance(first, TorchServe)
        assert isinstance(second, OpenInference)


@pytest.mark.parametrize("platform", ADAPTERS)
def test_every_platform_says_what_its_targets_have(platform: str) -> None:
    adapter = adapter_of(platform)
    assert issubclass(adapter, Adapter)
    assert adapter.platform == platform
    assert adapter.modes
    assert not set(adapter.options) & set(adapter.secrets)


def test_secrets_are_read_from_where_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (config,) = read(one(secrets={"token_file": str(tmp_path / "token")}))
    assert config.secret("token") == "s3cret"
    assert "s3cret" not in repr(config)
    assert "s3cret" not in repr(build(config))
    (config,) = read(one(secrets={"token_env": "NOT_THERE"}))
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(Unavailable, match="NOT_THERE"):
        config.secret("token")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"platform": "tensorrt"}, "platform"),
        ({"platform": None}, "platform"),
        ({"url": None}, "url"),
        ({"url": "serving.example.org"}, "url"),
        ({"url": "ftp://serving.example.org"}, "url"),
        ({"url": "https://user:w0rd@serving.example.org"}, "url"),
        ({"url": "https://serving.example.org:port"}, "url"),
        ({"url": "https://serving.example.org/?a=1"}, "url"),
        ({"workspaces": None}, "workspaces"),
        ({"workspaces": []}, "workspaces"),
        ({"workspaces": [1]}, "workspaces[0]"),
        ({"environments": "production"}, "environments"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "10"}, "timeout"),
        ({"ca_file": 1}, "ca_file"),
        ({"token": "x"}, "token"),
        ({"options": {"token": "x"}}, "options.token"),
        ({"options": {"inference_url": 1}}, "options.inference_url"),
        ({"options": {"server": "triton"}}, "options.server"),
        ({"platform": "open-inference", "options": {"server": "kserve"}}, "options.server"),
        ({"secrets": {"token": "x"}}, "secrets.token"),
        ({"secrets": {"token_env": ""}}, "secrets.token_env"),
        ({"secrets": {"token_env": "A", "token_file": "/b"}}, "secrets.token_file"),
        ({"files": None}, "files.mode"),
        ({"files": {"mode": "copy"}}, "files.mode"),
        ({"files": {"mode": "link"}}, "files.mode"),
        ({"files": {"mode": "folder"}}, "files.path"),
        ({"files": {"mode": "folder", "path": "models"}}, "files.path"),
        ({"files": {"mode": "folder", "path": "/models", "seen_as": "models"}}, "files.seen_as"),
        ({"files": {"mode": "folder", "path": "/models", "uri": "s3://b"}}, "files.uri"),
        ({"platform": "webhook", "files": {"mode": "object", "uri": "https://x.example.org/a"}}, "files.uri"),
        ({"platform": "webhook", "files": {"mode": "object", "uri": "s3://b/../c"}}, "files.uri"),
        (
            {"platform": "webhook", "files": {"mode": "object", "uri": "s3://bucket/a", "options": {"key": "x"}}},
            "files.options.key",
        ),
        ({"platform": "webhook", "files": {"mode": "link", "seconds": -1}}, "files.seconds"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as told:
        read(one(**changes))
    assert told.value.field == f"targets.farm.{field}"
    assert told.value.field in told.value.message
    assert "w0rd" not in told.value.message


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"options": {"load_seconds": 0}}, "options.load_seconds"),
        ({"options": {"inference_url": "here"}}, "options.inference_url"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"platform": "webhook"}, "secrets"),
        ({"platform": "open-inference", "files": {"mode": "object", "uri": "s3://bucket/a"}}, "files.mode"),
    ],
)
def test_what_only_the_adapter_can_tell_is_refused_with_its_path(changes: dict[str, Any], field: str) -> None:
    (config,) = read(one(**changes))
    with pytest.raises(InvalidArgument) as told:
        build(config)
    assert told.value.field == f"targets.farm.{field}"


def test_a_name_that_is_none_and_a_file_that_is_no_toml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"targets\.A b"):
        read({"targets": {"A b": FARM}})
    (tmp_path / "targets.toml").write_text("[targets")
    with pytest.raises(InvalidArgument, match="not TOML"):
        load(tmp_path / "targets.toml")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        load(tmp_path / "absent.toml")
