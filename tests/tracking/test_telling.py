"""What a tracking server says becomes nodes and edges that Lineal has room for, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resolvers.tracking import telling as module
from resolvers.tracking.stories import Story
from resolvers.tracking.telling import Telling, without_password, without_secrets
from storage.tracking.records import DataRead, LoggedModel, RegisteredModel, RegisteredVersion, RunRecord, Value

VERSION = "models:/prices/1"


def told(run: RunRecord, logged: LoggedModel | None = None, **more: Any) -> Telling:
    """What is told of a version that a run made."""
    telling = Telling("default", **more)
    telling.story(VERSION, Story("https://mlflow.example.org", run, logged=logged))
    return telling


def node(telling: Telling, address: str) -> dict[str, Any]:
    """A node that is told of."""
    (found,) = [each for each in telling.nodes if each["address"] == address]
    return dict(found)


@pytest.mark.parametrize(
    ("place", "bare"),
    [
        ("https://ann:pw@example.org/a?sig=1#x", "https://example.org/a"),
        ("s3://key:secret@bucket/a/b", "s3://bucket/a/b"),
        ("https://example.org", "https://example.org"),
        ("git@example.org:prices.git", "git@example.org:prices.git"),
        ("/data/flats.csv", "/data/flats.csv"),
        ("catalog.flats", "catalog.flats"),
    ],
)
def test_addresses_lose_what_could_open_them(place: str, bare: str) -> None:
    assert without_secrets(place) == bare


def test_a_password_alone_can_be_taken_off() -> None:
    assert without_password("https://a:b@x/y?z=1") == "https://x/y?z=1"


def test_rows_that_are_too_large_are_left_out_and_counted() -> None:
    tags = {"a": "1", "b": "x" * 1_000_000, "nul": "\0", "": "no name"}
    telling = told(RunRecord("r", "", "FINISHED", tags=tags, metrics=[Value("m", 1.0), Value(" ", 2.0)]))
    assert node(telling, "runs:/r")["tags"] == [{"name": "a", "value": "1"}]
    assert [point["name"] for point in node(telling, "runs:/r")["metrics"]] == ["m"]
    assert telling.left_out == 4


def test_there_is_an_end_to_rows_data_sets_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_ROWS", "MAX_DATASETS", "MAX_COLUMNS"):
        monkeypatch.setattr(module, name, 2)
    columns = json.dumps({"mlflow_colspec": [{"name": f"c{i}", "type": "long"} for i in range(3)]})
    datasets = [DataRead(f"d{i}", "1", schema=columns) for i in range(3)]
    params = {f"p{i}": "x" for i in range(3)}
    measured = [Value("rmse", 1.0, dataset=f"e{i}", digest="1") for i in range(3)]
    telling = told(
        RunRecord("r", "", "FINISHED", params=params, datasets=datasets), LoggedModel("m-1", metrics=measured)
    )
    kinds = [each["address"].partition(":")[0] for each in telling.nodes]
    assert (kinds.count("fields"), kinds.count("evaluations")) == (2, 2)
    assert len(node(telling, "runs:/r")["params"]) == 2
    # A parameter, a data set, four columns, and what was measured on a third one.
    assert telling.left_out == 1 + 1 + 4 + 1


@pytest.mark.parametrize(
    "source", ["", "not json", "[]", '{"uri": 5}', '{"tags": {}}', '{"uri": " "}', "[" * 100_000, '{"uri": "\\ud800"}']
)
def test_a_source_that_says_no_place_gives_none(source: str) -> None:
    telling = told(RunRecord("r", "", "FINISHED", datasets=[DataRead("d", "1", source=source)]))
    assert "uri" not in node(telling, "datasets:/d/1")["properties"]


@pytest.mark.parametrize("word", ["uri", "url", "path", "table_name", "delta_table_name"])
def test_a_source_says_its_place_in_several_words(word: str) -> None:
    telling = told(RunRecord("r", "", "FINISHED", datasets=[DataRead("d", "1", source=json.dumps({word: "x/y"}))]))
    assert node(telling, "datasets:/d/1")["properties"]["uri"] == "x/y"


@pytest.mark.parametrize("profile", ['{"num_rows": NaN}', '{"num_rows": -1}', '{"num_rows": "many"}', "x", "5"])
def test_a_profile_that_makes_no_sense_harms_nothing(profile: str) -> None:
    telling = told(RunRecord("r", "", "FINISHED", datasets=[DataRead("d", "1", profile=profile)]))
    assert "rowCount" not in node(telling, "datasets:/d/1")["properties"]


@pytest.mark.parametrize(
    "schema", ['{"mlflow_colspec": 5}', '{"mlflow_colspec": [1, {"name": 2}, {"name": " "}]}', "{}"]
)
def test_a_schema_without_columns_gives_none(schema: str) -> None:
    telling = told(RunRecord("r", "", "FINISHED", datasets=[DataRead("d", "1", schema=schema)]))
    assert [each["address"] for each in telling.nodes] == ["runs:/r", "datasets:/d", "datasets:/d/1"]


def test_names_become_printable_and_not_too_long() -> None:
    telling = told(RunRecord("r", "", "FINISHED", datasets=[DataRead("a\nb" + "x" * 600, "\0")]))
    (data,) = [each["address"] for each in telling.nodes if each["address"].endswith("/unknown")]
    assert data.startswith("datasets:/a b")


def test_code_without_a_repository_or_with_an_endless_one() -> None:
    commit = {"mlflow.source.git.commit": "c1"}
    assert "code:/unknown%40c1" in [each["address"] for each in told(RunRecord("r", "", "FINISHED", tags=commit)).nodes]
    project = {**commit, "mlflow.source.name": "https://u:p@git.example.org/x.git#sub"}
    found = [each["address"] for each in told(RunRecord("r", "", "FINISHED", tags=project)).nodes]
    assert "code:/https%3A%2F%2Fgit.example.org%2Fx.git%40c1" in found
    endless = told(
        RunRecord("r", "", "FINISHED", tags={**commit, "mlflow.source.git.repoURL": "https://x/" + "y" * 600})
    )
    assert [each["address"] for each in endless.nodes] == ["runs:/r"]
    assert endless.left_out == 1


def test_a_run_that_ends_before_it_begins_ends_as_it_begins() -> None:
    props = node(told(RunRecord("r", "", "FAILED", started=9, ended=5)), "runs:/r")["properties"]
    assert (props["startedAt"], props["endedAt"]) == (9, 9)


def test_a_run_that_goes_on_has_no_end() -> None:
    assert "endedAt" not in node(told(RunRecord("r", "", "RUNNING", started=1, ended=5)), "runs:/r")["properties"]


def test_a_clock_that_is_ahead_tells_of_no_future() -> None:
    telling = Telling("default", now=100)
    telling.version(RegisteredVersion("prices", "1", created=200, updated=50, user="ann"))
    birth = telling.nodes[0]["birth"]
    assert birth is not None
    assert (birth.at, birth.by, birth.updated) == (100, "mlflow:ann", 100)


def test_without_importers_rights_nothing_is_told_of_times() -> None:
    telling = Telling("default")
    telling.model(RegisteredModel("prices", created=1, updated=2))
    assert telling.nodes[0]["birth"] is None


def test_the_logged_model_comes_of_the_source() -> None:
    assert RegisteredVersion("m", "1", source="models:/m-0123456789abcdef").logged_model == "m-0123456789abcdef"
    assert RegisteredVersion("m", "1", source="models:/m-2/1").logged_model == ""
    assert RegisteredVersion("m", "1", source="s3://x").logged_model == ""
