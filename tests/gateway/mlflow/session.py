"""A session of an MLflow client: every endpoint, good and bad input. Run it with a Python that has MLflow.

    python session.py ADDRESS [TOKEN]

It prints what was asked and what came of it as JSON: a list of [call, answer].
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

warnings.filterwarnings("ignore")
os.environ.update(
    {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "TQDM_DISABLE": "1",
    }
)
ADDRESS = sys.argv[1]
if len(sys.argv) > 2:
    os.environ["MLFLOW_TRACKING_TOKEN"] = sys.argv[2]

import hooking  # type: ignore[import-not-found]  # noqa: E402 - beside this script, which is run by its path
import mlflow  # type: ignore[import-not-found]  # noqa: E402
import requests  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # type: ignore[import-not-found]  # noqa: E402

mlflow.set_tracking_uri(ADDRESS)
mlflow.set_registry_uri(ADDRESS)
CLIENT = MlflowClient()
ORIGINAL = sys.stdout
HEADERS = {"authorization": f"Bearer {sys.argv[2]}"} if len(sys.argv) > 2 else {}
TRANSCRIPT: list[list[Any]] = []
LEFT_OUT = {"creation_timestamp", "creation_time", "last_updated_timestamp", "user_id", "webhook_id"}
"""What is never the same twice, or differs everywhere: who made it, which `elsewhere` looks at."""


def plain(value: Any) -> Any:
    """What an answer says, without what differs from one moment to the next; nothing and absent are the same."""
    if isinstance(value, dict):
        kept = {str(k): plain(v) for k, v in value.items() if str(k) not in LEFT_OUT}
        return {k: v for k, v in kept.items() if v not in (None, "", [], {})}
    if isinstance(value, (list, tuple)):
        found = [plain(item) for item in value]
        # The order of tags says nothing.
        return sorted(found, key=str) if found and isinstance(found[0], dict) and "key" in found[0] else found
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if not hasattr(value, "__dict__") or isinstance(value, type):
        return str(value)
    return plain({name.lstrip("_"): item for name, item in vars(value).items()})


def ask(name: str, *arguments: Any, **named: Any) -> Any:
    """One call of the client."""
    return record(f"{name}{arguments}{named or ''}", lambda: getattr(CLIENT, name)(*arguments, **named))


def record(call: str, do: Callable[[], Any], hide: Mapping[str, str] = MappingProxyType({})) -> Any:
    """What a call comes to, which is put into the transcript with other words for what is to be hidden."""
    # Two changes in one millisecond have no order.
    time.sleep(0.002)
    found = None
    try:
        found = do()
    except MlflowException as error:
        answer: Any = {"error": error.error_code, "message": error.message}
    else:
        answer = plain(found)
        if isinstance(found, list) and hasattr(found, "token"):
            answer = {"items": answer, "more": bool(found.token)}
    text = json.dumps(answer)
    for differs, same in hide.items():
        text = text.replace(differs, same)
    TRANSCRIPT.append([call, json.loads(text)])
    return found


def send(method: str, path: str, body: Any = None, query: Any = None, data: Any = None) -> Any:
    """One request as it stands."""
    time.sleep(0.002)
    url = f"{ADDRESS}/api/2.0/mlflow/{path}"
    answer = requests.request(method, url, json=body, params=query, data=data, headers=HEADERS, timeout=60)
    try:
        content = answer.json()
    except ValueError:
        content = {"text": "no JSON"}
    told = {name: content[name] for name in ("error_code", "message") if name in content} or plain(content)
    if "next_page_token" in told:
        told["next_page_token"] = "…"
    TRANSCRIPT.append(
        [
            f"{method} {path} {json.dumps(body if data is None else data)} {query or ''}",
            {"status": answer.status_code, **told},
        ]
    )
    return content


# ── Models ────────────────────────────────────────────────────────────────────────────────────────


def models() -> None:
    ask("create_registered_model", "alpha", {"team": "nlp", "level": "1"}, "The first.")
    ask("create_registered_model", "Beta")
    ask("create_registered_model", "gamma ray", None, "With a blank")
    ask("create_registered_model", "delta.v-1_x", {"team": "cv"})
    ask("create_registered_model", "größe", {"team": "nlp"})
    ask("create_registered_model", "50%")
    ask("create_registered_model", "a@b")
    ask("create_registered_model", "alpha")
    for name in ("a/b", "a:b", " ", ".", "..", "x" * 250):
        ask("create_registered_model", name)
    ask("get_registered_model", "alpha")
    ask("get_registered_model", "größe")
    for name in ("nothing", "ALPHA", "a/b", "", ".."):
        ask("get_registered_model", name)
    ask("update_registered_model", "alpha", "Another one.")
    ask("update_registered_model", "alpha", "")
    ask("update_registered_model", "nothing", "x")
    ask("rename_registered_model", "Beta", "beta")
    ask("get_registered_model", "Beta")
    ask("get_registered_model", "beta")
    for old, new in (("beta", "alpha"), ("nothing", "x"), ("beta", "a/b"), ("beta", ""), ("beta", " ")):
        ask("rename_registered_model", old, new)
    ask("create_registered_model", "Beta")
    ask("delete_registered_model", "Beta")
    ask("delete_registered_model", "Beta")
    ask("delete_registered_model", "nothing")


def model_tags() -> None:
    ask("set_registered_model_tag", "alpha", "team", "vision")
    ask("set_registered_model_tag", "alpha", "mlflow.note.content", "text")
    ask("set_registered_model_tag", "alpha", "with/slash and: blank", "x")
    ask("set_registered_model_tag", "alpha", "number", 7)
    ask("set_registered_model_tag", "alpha", "empty", "")
    ask("set_registered_model_tag", "alpha", "long", "ä" * 5_000)
    ask("set_registered_model_tag", "alpha", "long", "short")
    ask("set_registered_model_tag", "alpha", "too long", "x" * 100_001)
    for key in ("", "a" * 251, "bad#key", "../up", "a//b", "/root", "."):
        ask("set_registered_model_tag", "alpha", key, "x")
    ask("set_registered_model_tag", "nothing", "k", "v")
    ask("get_registered_model", "alpha")
    ask("delete_registered_model_tag", "alpha", "empty")
    ask("delete_registered_model_tag", "alpha", "empty")
    ask("delete_registered_model_tag", "alpha", "bad#key")
    ask("delete_registered_model_tag", "nothing", "k")


# ── Versions ──────────────────────────────────────────────────────────────────────────────────────


def versions() -> None:
    ask(
        "create_model_version",
        "alpha",
        "s3://bucket/one",
        "0123456789abcdef0123456789abcdef",
        {"k": "1"},
        None,
        "First",
    )
    ask("create_model_version", "alpha", "s3://bucket/two")
    ask("create_model_version", "alpha", "runs:/run1/model", "run1")
    ask("create_model_version", "alpha", "s3://bucket/three", None, None, "https://host.example/run")
    ask("create_model_version", "delta.v-1_x", "gs://bucket/one", "run2", {"k": "2", "framework": "torch"})
    ask("create_model_version", "nothing", "s3://bucket/one")
    for source in (
        "s3://bucket/../other",
        "s3://bucket/%2e%2e/other",
        "s3://bucket/a//b",
        "s3://bucket/a/",
        "runs:/other/model",
        "models:/nothing/1",
        "models:/alpha/99",
        "models:/alpha@none",
        "models://host/alpha/1",
        "models:/m-0123",
        "s3://bucket",
    ):
        ask("create_model_version", "alpha", source)
    ask("create_model_version", "alpha", "runs:/run1/model", "run2")
    for name in ("a/b", " "):
        ask("create_model_version", name, "s3://bucket/one")
    for key, value in (("bad#key", "x"), ("k", "x" * 100_001)):
        ask("create_model_version", "alpha", "s3://bucket/x", None, {key: value})
    ask("get_model_version", "alpha", "1")
    ask("get_model_version", "alpha", 2)
    for number in ("99", "0", "-1", "abc", "1.0", "01", " 1 ", "", "9" * 30):
        ask("get_model_version", "alpha", number)
    ask("get_model_version", "nothing", "1")
    ask("get_model_version", "a/b", "1")
    ask("update_model_version", "alpha", "1", "Other words")
    ask("update_model_version", "alpha", "1", "")
    ask("update_model_version", "alpha", "99", "x")
    ask("update_model_version", "alpha", "abc", "x")
    ask("get_registered_model", "alpha")
    ask("get_model_version_download_uri", "alpha", "1")
    ask("get_model_version_download_uri", "alpha", "3")
    ask("get_model_version_download_uri", "alpha", "99")
    ask("get_model_version_download_uri", "nothing", "1")
    ask("copy_model_version", "models:/alpha/1", "copied")
    ask("copy_model_version", "models:/alpha/2", "copied")
    ask("copy_model_version", "models:/copied/1", "copied again")
    ask("copy_model_version", "models:/nothing/1", "copied")
    ask("copy_model_version", "models:/alpha/99", "copied")
    ask("get_model_version", "copied", "1")
    ask("get_model_version_download_uri", "copied", "1")
    ask("get_model_version_download_uri", "copied again", "1")
    ask("delete_model_version", "alpha", "4")
    ask("delete_model_version", "alpha", "4")
    ask("get_model_version", "alpha", "4")
    ask("create_model_version", "alpha", "s3://bucket/five")
    ask("delete_model_version", "alpha", "abc")
    ask("delete_model_version", "nothing", "1")
    ask("get_registered_model", "alpha")


def version_tags() -> None:
    ask("set_model_version_tag", "alpha", "1", "k", "2")
    ask("set_model_version_tag", "alpha", "1", "k2", "a b c")
    ask("set_model_version_tag", "alpha", "99", "k", "2")
    ask("set_model_version_tag", "nothing", "1", "k", "2")
    ask("set_model_version_tag", "alpha", "1", "bad#key", "2")
    ask("set_model_version_tag", "alpha", "abc", "k", "2")
    ask("get_model_version", "alpha", "1")
    ask("delete_model_version_tag", "alpha", "1", "k2")
    ask("delete_model_version_tag", "alpha", "1", "k2")
    ask("delete_model_version_tag", "alpha", "99", "k2")
    ask("delete_model_version_tag", "nothing", "1", "k2")


def aliases() -> None:
    ask("set_registered_model_alias", "alpha", "champion", "1")
    ask("set_registered_model_alias", "alpha", "champion", "2")
    ask("set_registered_model_alias", "alpha", "Challenger-2_x", 3)
    ask("set_registered_model_alias", "alpha", "zweite", "2")
    for alias in ("latest", "LATEST", "v1", "V22", "v1x", "a b", "a/b", "", "x" * 255, "x" * 256, "größe"):
        ask("set_registered_model_alias", "alpha", alias, "1")
    ask("set_registered_model_alias", "alpha", "champion", "99")
    ask("set_registered_model_alias", "alpha", "champion", "abc")
    ask("set_registered_model_alias", "nothing", "champion", "1")
    ask("get_registered_model", "alpha")
    ask("get_model_version", "alpha", "2")
    for alias in ("champion", "CHAMPION", "nope", "latest", "Latest", "a b"):
        ask("get_model_version_by_alias", "alpha", alias)
    ask("get_model_version_by_alias", "nothing", "champion")
    ask("get_model_version_by_alias", "gamma ray", "latest")
    ask("delete_registered_model_alias", "alpha", "zweite")
    ask("delete_registered_model_alias", "alpha", "zweite")
    ask("delete_registered_model_alias", "alpha", "a b")
    ask("delete_registered_model_alias", "nothing", "champion")
    ask("delete_model_version", "alpha", "3")
    ask("get_registered_model", "alpha")
    ask("get_model_version_by_alias", "alpha", "Challenger-2_x")


def stages() -> None:
    ask("transition_model_version_stage", "alpha", "1", "Staging")
    ask("transition_model_version_stage", "alpha", "2", "staging")
    ask("get_latest_versions", "alpha")
    ask("transition_model_version_stage", "alpha", "1", "PRODUCTION")
    ask("transition_model_version_stage", "alpha", "2", "Production", True)
    ask("get_latest_versions", "alpha")
    ask("get_latest_versions", "alpha", ["Production"])
    ask("get_latest_versions", "alpha", ["production", "None"])
    ask("get_latest_versions", "alpha", [])
    ask("get_latest_versions", "alpha", ["Foo"])
    ask("get_latest_versions", "nothing")
    ask("get_latest_versions", "gamma ray")
    ask("transition_model_version_stage", "alpha", "2", "None")
    ask("transition_model_version_stage", "alpha", "1", "Archived")
    ask("transition_model_version_stage", "alpha", "1", "Foo")
    ask("transition_model_version_stage", "alpha", "99", "Staging")
    ask("transition_model_version_stage", "nothing", "1", "Staging")
    ask("transition_model_version_stage", "alpha", "abc", "Staging")
    ask("transition_model_version_stage", "alpha", "1", "None", True)
    ask("transition_model_version_stage", "alpha", "5", "Production")
    ask("get_registered_model", "alpha")


# ── Searches ──────────────────────────────────────────────────────────────────────────────────────

MODEL_FILTERS = (
    "",
    "name = 'alpha'",
    "name='alpha'",
    'name = "alpha"',
    "name != 'alpha'",
    "name LIKE 'a%'",
    "name LIKE 'A%'",
    "name ILIKE 'A%'",
    "name like '%a%'",
    "name LIKE '_lpha'",
    "name LIKE '50%'",
    "name IN ('alpha', 'copied')",
    "name NOT IN ('alpha')",
    "name IN ('alpha')",
    "attribute.name = 'alpha'",
    "tags.team = 'vision'",
    "tag.team = 'cv'",
    "tags.`team` = 'cv'",
    "tags.\"team\" = 'cv'",
    "tags.`mlflow.note.content` = 'text'",
    "tags.team != 'cv'",
    "tags.team LIKE '%l%'",
    "tags.team ILIKE 'NL%'",
    "tags.none = 'x'",
    "tags.none != 'x'",
    "name = 'alpha' AND tags.team = 'vision'",
    "name = 'alpha' and tags.team = 'cv'",
    "name LIKE '%' AND name != 'alpha'",
    "tags.`mlflow.prompt.is_prompt` = 'true'",
    "tags.`mlflow.prompt.is_prompt` != 'true'",
    "name = 'a' OR name = 'b'",
    "foo = 'x'",
    "name < 'x'",
    "name = alpha",
    "name = 1",
    "name =",
    "name",
    "tags.team = 1",
    "param.x = '1'",
    "name IN ()",
    "name IN (1)",
    "tags.team IN ('a')",
    "(name = 'alpha')",
    "name = 'alpha",
    "name LIKE 1",
    "name > 'a'",
    "name = ''",
    "name LIKE ''",
    "name LIKE '%'",
    "tags.level = '1'",
    "order by name",
)
VERSION_FILTERS = (
    "",
    "name = 'alpha'",
    "name = 'nothing'",
    "name != 'alpha'",
    "name LIKE 'cop%'",
    "name ILIKE 'ALPHA'",
    "name IN ('alpha', 'copied')",
    "name NOT IN ('alpha', 'copied')",
    "run_id = 'run2'",
    "run_id != 'run2'",
    "run_id IN ('run2', 'run1')",
    "run_id NOT IN ('run2')",
    "run_id LIKE 'run%'",
    "run_id = ''",
    "run_id ILIKE '%RUN%'",
    "source_path = 's3://bucket/one'",
    "source_path LIKE '%bucket%'",
    "source_path ILIKE 'S3://%'",
    "source_path != 'x'",
    "version_number = 1",
    "version_number != 1",
    "version_number > 1",
    "version_number >= 2",
    "version_number < 2",
    "version_number <= 1",
    "version_number = '1'",
    "tags.k = '2'",
    "tags.k != '2'",
    "tag.framework ILIKE 'TORCH'",
    "name = 'alpha' AND version_number > 1",
    "name = 'alpha' AND tags.k = '2'",
    "attribute.run_id = 'run2'",
    "name = 'alpha' AND name = 'copied'",
    "version_number = 1.5",
    "version_number = 'x'",
    "version_number LIKE '1'",
    "source_path IN ('a')",
    "foo = 1",
    "name = 1",
    "name = 'a' OR name = 'b'",
    "tags.`mlflow.prompt.is_prompt` = 'true'",
    "stage = 'Staging'",
    "current_stage = 'None'",
    "version_number IN ('1')",
    "run_id > 'a'",
)


def searches() -> None:
    for text in MODEL_FILTERS:
        ask("search_registered_models", text)
    for text in VERSION_FILTERS:
        ask("search_model_versions", text)
    for orders in (
        ["name ASC"],
        ["name DESC"],
        ["last_updated_timestamp ASC"],
        ["last_updated_timestamp DESC"],
        ["timestamp DESC"],
        ["name", "timestamp"],
        ["`name` DESC"],
        ["foo"],
        ["name foo"],
        ["name ASC foo"],
        [""],
    ):
        ask("search_registered_models", "name IN ('alpha', 'copied', 'beta')", 10, orders)
    for orders in (
        ["name ASC"],
        ["name DESC"],
        ["version_number DESC"],
        ["version_number"],
        ["creation_timestamp DESC"],
        ["last_updated_timestamp"],
        ["name DESC", "version_number ASC"],
        ["foo"],
        ["source_path"],
        ["version_number foo"],
    ):
        ask("search_model_versions", "", 100, orders)
    paged("search_registered_models", 3, ["name ASC"])
    paged("search_registered_models", 2, ["last_updated_timestamp DESC"])
    paged("search_model_versions", 2, ["creation_timestamp ASC"])
    paged("search_model_versions", 3, None)
    for most in (0, 1, 1_000, 1_001):
        ask("search_registered_models", None, most)
    for most in (0, -1, 1, 200_000, 200_001):
        ask("search_model_versions", "name = 'alpha'", most)
    ask("search_registered_models", None, 10, None, "nonsense!")
    ask("search_model_versions", None, 10, None, "nonsense!")


def paged(name: str, first: int, orders: list[str] | None) -> None:
    """All pages of a search."""
    token = None
    for _ in range(20):
        time.sleep(0.002)
        page = getattr(CLIENT, name)("", first, orders, token)
        TRANSCRIPT.append(
            [f"{name} page of {first} by {orders}", {"items": plain(list(page)), "more": bool(page.token)}]
        )
        token = page.token
        if not token:
            return


# ── Prompts ───────────────────────────────────────────────────────────────────────────────────────


def prompts() -> None:
    ask("register_prompt", "greeting", "Hello {{name}}!", "First words", {"tone": "warm"})
    ask("register_prompt", "greeting", "Good day {{name}}!")
    ask("get_prompt_version", "greeting", 1)
    ask("get_prompt_version", "greeting", "2")
    ask("set_prompt_alias", "greeting", "production", 1)
    ask("get_prompt_version_by_alias", "greeting", "production")
    ask("load_prompt", "prompts:/greeting/2")
    ask("load_prompt", "prompts:/greeting@production")
    ask("load_prompt", "greeting")
    ask("load_prompt", "prompts:/greeting/9")
    ask("load_prompt", "prompts:/nothing/1")
    ask("search_prompts")
    ask("search_prompts", "name = 'greeting'")
    ask("search_registered_models", "name = 'greeting'")
    ask("search_model_versions", "name = 'greeting'")
    ask("get_prompt", "greeting")
    ask("create_registered_model", "greeting")
    ask("register_prompt", "alpha", "x")
    ask("set_prompt_version_tag", "greeting", "1", "k", "v")
    ask("delete_prompt_version_tag", "greeting", "1", "k")
    ask("set_prompt_tag", "greeting", "k", "v")
    ask("delete_prompt_tag", "greeting", "k")
    ask("delete_prompt_alias", "greeting", "production")
    ask("register_prompt", "chat", [{"role": "user", "content": "Hi {{x}}"}])
    ask("load_prompt", "prompts:/chat/1")
    ask("register_prompt", "long", "x" * 90_000)
    ask("get_prompt_version", "long", 1)
    ask("delete_prompt_version", "greeting", "2")
    ask("get_prompt_version", "greeting", "2")


# ── As it goes over the wire ──────────────────────────────────────────────────────────────────────

ENDPOINTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("POST", "registered-models/create", ("name",)),
    ("GET", "registered-models/get", ("name",)),
    ("POST", "registered-models/rename", ("name", "new_name")),
    ("PATCH", "registered-models/update", ("name",)),
    ("DELETE", "registered-models/delete", ("name",)),
    ("POST", "registered-models/get-latest-versions", ("name",)),
    ("GET", "registered-models/get-latest-versions", ("name",)),
    ("POST", "registered-models/set-tag", ("name", "key")),
    ("DELETE", "registered-models/delete-tag", ("name", "key")),
    ("POST", "registered-models/alias", ("name", "alias", "version")),
    ("GET", "registered-models/alias", ("name", "alias")),
    ("DELETE", "registered-models/alias", ("name", "alias")),
    ("POST", "model-versions/create", ("name", "source")),
    ("GET", "model-versions/get", ("name", "version")),
    ("PATCH", "model-versions/update", ("name", "version")),
    ("POST", "model-versions/transition-stage", ("name", "version", "stage")),
    ("DELETE", "model-versions/delete", ("name", "version")),
    ("POST", "model-versions/set-tag", ("name", "version", "key")),
    ("DELETE", "model-versions/delete-tag", ("name", "version", "key")),
)


def given(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Where parameters go: those of a GET into the query."""
    return {"query": values} if method == "GET" else {"body": values}


def wire() -> None:
    for method, path, needed in ENDPOINTS:
        send(method, path, **given(method, {}))
        full = dict.fromkeys(needed, "zz")
        for name in needed:
            send(method, path, **given(method, {**full, name: ""}))
            if method != "GET":
                send(method, path, body={**full, name: 7})
                send(method, path, body={**full, name: None})
    send("GET", "registered-models/search", query={"max_results": "abc"})
    send("GET", "registered-models/search", query={"max_results": 1_001})
    send("GET", "registered-models/search", query={"max_results": 2, "order_by": ["name DESC"]})
    send("GET", "registered-models/search", query={"filter": "name = 'alpha'", "unknown": "x"})
    send("GET", "model-versions/search", query={"max_results": 200_001})
    send(
        "GET", "model-versions/search", query={"filter": "name = 'alpha'", "order_by": ["name DESC", "version_number"]}
    )
    send("GET", "model-versions/get-download-uri", query={"name": "alpha", "version": "1"})
    send("GET", "registered-models/get-latest-versions", query={"name": "alpha", "stages": ["Production", "None"]})
    send(
        "POST",
        "registered-models/create",
        body={"name": "tagged", "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]},
    )
    send("POST", "registered-models/create", body={"name": "badly tagged", "tags": "x"})
    send("POST", "registered-models/create", body={"name": "badly tagged", "tags": [1]})
    send("POST", "registered-models/create", data="{not json")
    send("POST", "registered-models/create", body=json.dumps({"name": "twice encoded"}))
    send(
        "POST",
        "model-versions/transition-stage",
        body={"name": "alpha", "version": "1", "stage": "Staging", "archive_existing_versions": "yes"},
    )
    send("DELETE", "registered-models/delete", body={"name": "tagged"})


def elsewhere() -> None:
    """Where the two are said to differ, on models of its own, which are gone afterwards."""
    ask("create_registered_model", "elsewhere")
    ask("create_model_version", "elsewhere", "s3://bucket/rested on")
    said = send("GET", "registered-models/get", query={"name": "elsewhere"})
    record("user_id of 'elsewhere'", lambda: said["registered_model"].get("user_id") or "nobody")
    record("tagging moves 'elsewhere'", moved)
    for source in (
        "https://host.example/models/three",
        "http://host/a/../../b",
        "mlflow-artifacts://host/../x",
        "/tmp/x",
    ):
        ask("create_model_version", "elsewhere", source)
    ask("copy_model_version", "models:/elsewhere/1", "resting")
    ask("delete_model_version", "elsewhere", "1")
    odd = ("elsewhere \x01", "elsewhere" + "x" * 500)
    for name in odd:
        ask("create_registered_model", name)
    ask("create_registered_model", "Other case")
    ask("search_registered_models", "name IN ('elsewhere', 'Other case')", 10, ["name ASC"])
    send("GET", "experiments/search", query={"max_results": 1})
    for name in ("resting", "Other case", "elsewhere"):
        ask("delete_registered_model", name)
    for name in odd:
        with suppress(MlflowException):
            CLIENT.delete_registered_model(name)


def moved() -> bool:
    """Whether a tag is an update of what it is set on."""
    before = CLIENT.get_registered_model("elsewhere").last_updated_timestamp
    CLIENT.set_registered_model_tag("elsewhere", "k", "v")
    return bool(CLIENT.get_registered_model("elsewhere").last_updated_timestamp > before)


def probes() -> None:
    """What those ask who look whether a server is there, and which; health needs no token."""
    for path, headers in (("health", {}), ("version", HEADERS)):
        answer = requests.get(f"{ADDRESS}/{path}", headers=headers, timeout=60)
        TRANSCRIPT.append([f"GET /{path}", {"status": answer.status_code, "text": answer.text}])


def webhooks() -> None:
    hooking.webhooks(CLIENT, record)


ALL = (
    models,
    model_tags,
    versions,
    version_tags,
    aliases,
    stages,
    searches,
    prompts,
    wire,
    webhooks,
    probes,
    elsewhere,
)
PARTS: dict[str, Callable[[], None]] = {part.__name__: part for part in ALL}


def fuzzed(cases: Iterable[tuple[str, str, list[str]]]) -> None:
    """Searches that somebody else made up."""
    for name, text, orders in cases:
        ask(name, text, 100, orders)


if __name__ == "__main__":
    given_cases = sys.stdin.read()
    if given_cases:
        fuzzed(json.loads(given_cases))
    else:
        for part in PARTS.values():
            part()
    print(json.dumps(TRANSCRIPT), file=ORIGINAL)
