"""What MLServer and Triton find in their repositories, whatever a version brings along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lineal.errors import PreconditionFailed
from serving.pbtxt import quoted, without
from serving.placing import FolderPlace
from serving.port import Served
from serving.repositories import MLServerRepository, TritonRepository, label, labelled
from tests.serving.rigs import Source

SETTINGS = "model-settings.json"


async def mlserver(tmp_path: Path, version: Served, **settings: Any) -> dict[str, Any]:
    place = FolderPlace(tmp_path, "/models")
    try:
        await MLServerRepository(place).put("ranker", version, settings)
    finally:
        await place.close()
    found: dict[str, Any] = json.loads((tmp_path / "ranker" / label(version) / "model-settings.json").read_text())
    return found


async def test_mlserver_finds_a_versions_own_settings_with_lineals_name_and_number(tmp_path: Path) -> None:
    own = {
        "name": "mine",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "max_batch_size": 4,
        "parameters": {"uri": "./model.joblib", "version": "v0.1", "extra": {"a": 1}},
    }
    version = Served(3, 1.0, Source({"model-settings.json": json.dumps(own).encode(), "model.joblib": b"x"}))
    assert await mlserver(tmp_path, version) == {
        "name": "ranker",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "max_batch_size": 4,
        "versions": ["3", label(version)],
        "parameters": {"uri": "./model.joblib", "extra": {"a": 1}},
    }


async def test_mlserver_takes_settings_of_the_deployment_where_a_version_has_none(tmp_path: Path) -> None:
    version = Served(3, 1.0, Source({"model.joblib": b"x"}))
    found = await mlserver(tmp_path, version, implementation="mlserver_sklearn.SKLearnModel", uri="model.joblib")
    assert found["implementation"] == "mlserver_sklearn.SKLearnModel"
    assert found["parameters"] == {"uri": "./model.joblib"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (None, "implementation"),
        (b"[", "not understood"),
        (b"[]", "not understood"),
        (b'{"implementation": "a.B", "parameters": 1}', "not understood"),
        (b'{"implementation": "a.B", "parameters": {"uri": "/etc"}}', "uri"),
        (b'{"implementation": "a.B", "parameters": {"uri": "../other"}}', "uri"),
        (b'{"implementation": "a.B", "parameters": {"uri": "s3://bucket/x"}}', "uri"),
    ],
)
async def test_a_version_that_is_not_made_for_mlserver_is_refused(
    tmp_path: Path, settings: bytes | None, match: str
) -> None:
    files = {"model.joblib": b"x", **({} if settings is None else {"model-settings.json": settings})}
    with pytest.raises(PreconditionFailed, match=match):
        await mlserver(tmp_path, Served(3, 1.0, Source(files)))


async def test_one_version_of_a_model_is_there_for_mlserver_to_load(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path, "/models")
    repository = MLServerRepository(place)
    first, second = (Served(n, 1.0, Source({"model": bytes([n])})) for n in (1, 2))
    for version in (first, second, first):
        await repository.put("ranker", version, {"implementation": "a.B"})
        folders = await place.names("ranker")
        assert [each for each in folders if SETTINGS in await place.names(f"ranker/{each}")] == [label(version)]
    await repository.clear("ranker", first)
    assert await place.names("ranker") == [label(first)]
    await repository.clear("ranker", None)
    assert await repository.models() == []
    await place.close()


async def test_triton_finds_the_number_and_the_policy_in_the_configuration(tmp_path: Path) -> None:
    config = b'name: "mine"\nbackend: "onnxruntime"\nversion_policy: { all {} }\ninput [ { name: "x" } ]\n'
    files = {"config.pbtxt": config, "1/model.onnx": b"onnx", "1/more/data": b"d", "labels.txt": b"yes"}
    version = Served(42, 1.0, Source(files))
    place = FolderPlace(tmp_path, "/models")
    repository = TritonRepository(place)
    await repository.put("ranker", version, {})
    text = (tmp_path / "ranker" / "config.pbtxt").read_text()
    assert 'name: "ranker"' in text
    assert "version_policy { specific { versions: [ 42 ] } }" in text
    assert label(version) in text
    assert 'backend: "onnxruntime"\n' in text
    assert 'input [ { name: "x" } ]\n' in text
    assert "mine" not in text
    assert "all" not in text
    assert (tmp_path / "ranker" / "42" / "model.onnx").read_bytes() == b"onnx"
    assert (tmp_path / "ranker" / "42" / "more" / "data").read_bytes() == b"d"
    assert (tmp_path / "ranker" / "labels.txt").read_bytes() == b"yes"
    await repository.put("ranker", Served(43, 1.0, Source({"model.onnx": b"other"})), {})
    await repository.clear("ranker", Served(43, 1.0, Source({"model.onnx": b"other"})))
    assert await place.names("ranker") == ["43", "config.pbtxt", "labels.txt"]
    with pytest.raises(PreconditionFailed, match="1, 2"):
        await repository.put("ranker", Served(1, 1.0, Source({"1/a": b"", "2/a": b""})), {})
    await place.close()


async def test_what_triton_may_load_stays_until_another_of_its_number_is_to_be_loaded(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path, "/models")
    repository = TritonRepository(place)
    first, second = (Served(1, 1.0, Source({"model.onnx": data})) for data in (b"first", b"second"))
    there = tmp_path / "ranker" / "1" / "model.onnx"
    await repository.bring("ranker", first)
    await repository.put("ranker", first, {})
    await repository.bring("ranker", second)
    assert there.read_bytes() == b"first"
    await repository.put("ranker", second, {})
    assert there.read_bytes() == b"second"
    assert label(second) in (tmp_path / "ranker" / "config.pbtxt").read_text()
    await place.close()


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", ""),
        ('name: "a"', ""),
        ('name:"a" backend: "b"', 'backend: "b"'),
        ('# name: "x"\nname: "a" "b"\nbackend: "name: c"\n', '# name: "x"\nbackend: "name: c"\n'),
        ("max_batch_size: 8, version_policy: { latest { num_versions: 2 } }; a: 1", "max_batch_size: 8, a: 1"),
        ("version_policy < all < > > a: [ 1, 2 ]", "a: [ 1, 2 ]"),
        ("input [ { name: \"x\" dims: [ -1 ] } ]\nname: 'a'\n", 'input [ { name: "x" dims: [ -1 ] } ]\n'),
        ('x { key: "name" value { v: "}" } } name: "a"', 'x { key: "name" value { v: "}" } } '),
        ('dynamic_batching { }\nname: "a"', "dynamic_batching { }\n"),
    ],
)
def test_fields_are_taken_out_of_a_configuration(text: str, rest: str) -> None:
    assert without(text, {"name", "version_policy"}) == rest


@pytest.mark.parametrize("text", ["a { ", "a } ", 'name: "a', "input [ {"])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(PreconditionFailed, match=r"config\.pbtxt"):
        without(text, {"name"})


def test_strings_are_quoted() -> None:
    assert quoted('a"b\\c\nd') == '"a\\042b\\134c\\012d"'
    assert quoted("ranker.2") == '"ranker.2"'


def test_labels_are_read_back() -> None:
    version = Served(12, 1.0, Source({"a": b"1"}))
    assert labelled(label(version)) == (12, label(version)[3:])
    assert [labelled(text) for text in ("12", "12-xyz", None, 12, "")] == [None] * 5
