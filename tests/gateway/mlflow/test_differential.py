"""Lineal answers an unchanged MLflow client as MLflow's own server does, call by call, but for what is listed here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.gateway.mlflow.serving import LinealProcess, Reference, session

DOCS = Path(__file__).parents[3] / "docs" / "mlflow.md"

DIFFERENCES = {
    "`user_id`": r"user_id of",
    "order by name": r"search_registered_models\(\"name IN \('elsewhere', 'Other case'\)\"",
    "setting a tag": r"tagging moves",
    "`archive_existing_versions` with `None` or `Archived`, a version with 30 digits": (
        r"get_model_version\('alpha', '9{30}'\)|transition_model_version_stage\('alpha', '1', 'None', True\)"
    ),
    "a new name that is taken": r"rename_registered_model\('beta', 'alpha'\)",
    "a source with `http:`, `https:`, another host's `mlflow-artifacts:`, or a local path": (
        r"create_model_version\('elsewhere', '(http|mlflow-artifacts|/tmp)"
    ),
    "names with control characters, or more than 500 characters": (
        r"create_registered_model\('elsewhere( \\x01|x{500})'"
    ),
    "a model or version that something else rests on": r"delete_model_version\('elsewhere', '1'\)",
    "two webhooks of one name": r"create_webhook 'twice' .*'Another'",
    "a filter that is none": r"search_\w+\('order by name',\)",
    "a tag that is none": r"POST registered-models/create .*badly tagged.*\[1\]",
    "tracking, traces, experiments": r"GET experiments/search",
}
"""The calls that differ, by what docs/mlflow.md says of them. Each must differ, or it does not belong here."""

LATEST = re.compile(r"get_latest_versions|get-latest-versions")


def alike(call: str, answer: Any) -> Any:
    """An answer without what says nothing: the order of newest versions, and of the names in a set."""
    if isinstance(answer, dict):
        return {
            name: alike(call, sorted(item, key=str) if name in {"latest_version", "latest_versions"} else item)
            for name, item in answer.items()
        }
    if isinstance(answer, list):
        items = [alike(call, item) for item in answer]
        return sorted(items, key=str) if LATEST.search(call) else items
    if isinstance(answer, str):
        return re.sub(r"\{([^{}]*)\}", lambda found: ", ".join(sorted(found[1].split(", "))), answer)
    return answer


def compared(theirs: list[tuple[str, Any]], ours: list[tuple[str, Any]]) -> None:
    assert [call for call, _ in theirs] == [call for call, _ in ours]
    seen = set()
    for (call, wanted), (_, found) in zip(theirs, ours, strict=True):
        reason = next((reason for reason, pattern in DIFFERENCES.items() if re.match(pattern, call)), None)
        same = alike(call, wanted) == alike(call, found)
        assert same == (reason is None), f"{call}\nMLflow: {wanted}\nLineal: {found}"
        seen.add(reason)
    if len(theirs) > 250:
        assert seen - {None} == DIFFERENCES.keys()


def test_the_page_lists_the_differences_that_are_compared_and_no_others() -> None:
    table = DOCS.read_text(encoding="utf-8").partition("## What differs")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == "|"
    assert sorted(rows[1:]) == sorted(DIFFERENCES)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """MLflow's own server, for the whole module: it is slow to start."""
    with Reference(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def transcript(reference: Reference) -> list[tuple[str, Any]]:
    """What MLflow's server answers to the session."""
    return session(reference)


@pytest.fixture
def lineal(tmp_path: Path, store_url: str) -> Iterator[LinealProcess]:
    """Lineal on either store."""
    with LinealProcess(tmp_path, store_url, {"LINEAL_WEBHOOK_PRIVATE": "true"}) as server:
        yield server


@pytest.mark.timeout(900)
def test_a_session_of_every_endpoint_is_answered_alike(
    transcript: list[tuple[str, Any]], lineal: LinealProcess
) -> None:
    assert len(transcript) > 250
    compared(transcript, session(lineal))


# ── Searches that nobody thought of ───────────────────────────────────────────────────────────────

WORDS = ("alpha", "copied", "ALPHA", "run1", "run2", "nlp", "s3://bucket/one", "", "%a%", "_lpha", "2", "50%", "x'y")
QUOTED = st.sampled_from(WORDS).map(lambda word: f'"{word}"' if "'" in word else f"'{word}'")
LISTS = st.lists(QUOTED, min_size=1, max_size=3).map(lambda items: f"({', '.join(items)})")
TAGS = st.sampled_from(["tags.team", "tag.k", "tags.`level`", "tags.none", 'tags."framework"'])
BLANK = st.sampled_from([" ", "  "])


def conditions(texts: list[str], numbers: list[str]) -> st.SearchStrategy[str]:
    """Conditions that MLflow understands, and some that it understands well enough to refuse."""
    text, compare = st.sampled_from(texts), st.sampled_from(["=", "!=", "LIKE", "ILIKE", "like"])
    plain = st.tuples(text | TAGS, BLANK, compare, BLANK, QUOTED).map("".join)
    among = st.tuples(text, st.just(" "), st.sampled_from(["IN", "NOT IN", "in"]), st.just(" "), LISTS).map("".join)
    wrong = st.tuples(text | TAGS, st.sampled_from([" < ", " >= "]), QUOTED).map("".join)
    known = plain | among | wrong
    if numbers:
        bound = st.sampled_from(["1", "2", "0", "'2'", "1.5", "'x'"])
        order = st.sampled_from([" = ", " != ", " < ", " <= ", " > ", " >= "])
        known |= st.tuples(st.sampled_from(numbers), order, bound).map("".join)
    return known | st.tuples(st.sampled_from(["foo", "attribute.bar", "metrics.x"]), st.just(" = 'x'")).map("".join)


def filters(texts: list[str], numbers: list[str]) -> st.SearchStrategy[str]:
    joined = st.sampled_from([" AND ", " and ", "  AND  "])
    return st.lists(st.tuples(conditions(texts, numbers), joined), max_size=4).map(
        lambda parts: "".join(text + (join if i < len(parts) - 1 else "") for i, (text, join) in enumerate(parts))
    )


def orders(keys: list[str]) -> st.SearchStrategy[list[str]]:
    each = st.tuples(st.sampled_from(keys), st.sampled_from(["", " ASC", " DESC", " desc"])).map("".join)
    return st.lists(each, max_size=3, unique_by=lambda text: text.split()[0])


CASES = st.lists(
    st.tuples(
        st.just("search_registered_models"),
        filters(["name", "attribute.name"], []),
        orders(["name", "last_updated_timestamp"]),
    )
    | st.tuples(
        st.just("search_model_versions"),
        filters(["name", "run_id", "source_path", "attribute.name"], ["version_number"]),
        orders(["name", "version_number", "creation_timestamp", "last_updated_timestamp"]),
    ),
    min_size=60,
    max_size=60,
)


@pytest.mark.timeout(900)
def test_searches_made_up_at_random_find_the_same(
    transcript: list[tuple[str, Any]], reference: Reference, lineal: LinealProcess
) -> None:
    assert transcript
    session(lineal)

    @settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(CASES)
    def search(cases: list[tuple[str, str, list[str]]]) -> None:
        cases = json.loads(json.dumps(cases))
        compared(session(reference, cases), session(lineal, cases))

    search()
