"""What MLflow lets names, versions, aliases, stages, tags and sources be, in its words."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, unquote_plus, urlsplit

import orjson

from lineal.errors import InvalidArgument
from resolvers.lifecycle.schemes import MLFLOW
from resolvers.registry.changing import logged_model_of

MAX_ALIAS: Final = 255
MAX_TAG_KEY: Final = 250
MAX_TAG_VALUE: Final = 100_000
MAX_SOURCE: Final = 8_000
MAX_PATH: Final = 2_000

IS_PROMPT: Final = "mlflow.prompt.is_prompt"
PROMPT_TEXT: Final = "mlflow.prompt.text"
PROMPT_SOURCES: Final = ("dummy-source", "prompt-template")
"""What stands for the files of a prompt, which has none."""

ACTIVE_STAGES: Final = ("Staging", "Production")

_ALIAS: Final = re.compile(r"[\w\-]*")
_LIKE_A_VERSION: Final = re.compile(r"[vV]\d+")
_KEY: Final = re.compile(r"[/\w.\- :]*")


def _invalid(path: str, value: str, message: str) -> InvalidArgument:
    shown = orjson.dumps(value[:1_000]).decode()
    return InvalidArgument(f"Invalid value {shown} for parameter '{path}' supplied: {message}", field=path)


def _refuse_path(path: str, name: str) -> None:
    norm = posixpath.normpath(name)
    if norm != name or norm == "." or norm.startswith(("..", "/")):
        raise _invalid(
            path,
            name,
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. "
            f"This name would resolve to {norm!r}",
        )


def check_name(name: str, field: str = "name") -> None:
    """Raises InvalidArgument: this is no name of a model that MLflow would let be made."""
    if not name.strip():
        raise InvalidArgument(f"Missing value for required parameter '{field}'.", field=field)
    if "/" in name or ":" in name:
        raise InvalidArgument(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.", field=field)
    _refuse_path("name", name)


def version_number(text: str) -> int:
    """The number of a version. Raises InvalidArgument."""
    try:
        return int(text[:20])
    except ValueError:
        raise InvalidArgument(f"Parameter 'version' must be an integer, got '{text}'.", field="version") from None


def check_alias(alias: str) -> None:
    """Raises InvalidArgument: this can be no alias."""
    if _ALIAS.fullmatch(alias) is None:
        msg = "Names may only contain alphanumerics, underscores (_), and dashes (-)."
        raise InvalidArgument(f"Invalid alias name: '{alias}'. {msg}", field="alias")
    _check_length("Registered model alias name", alias, MAX_ALIAS, "alias")


def check_new_alias(alias: str) -> None:
    """Raises InvalidArgument: this cannot be given to a version."""
    check_alias(alias)
    if alias.lower() == "latest":
        raise InvalidArgument("'latest' alias name (case insensitive) is reserved.", field="alias")
    if _LIKE_A_VERSION.fullmatch(alias):
        raise InvalidArgument(f"Version alias name '{alias}' is reserved.", field="alias")


def stage_of(text: str) -> str:
    """The stage, as MLflow writes it. Raises InvalidArgument."""
    for stage in MLFLOW:
        if stage.lower() == text.lower():
            return stage
    msg = f"Invalid Model Version stage: {text}. Value must be one of {', '.join(MLFLOW)}."
    raise InvalidArgument(msg, field="stage")


def check_archiving(text: str) -> None:
    """Raises InvalidArgument: no other version has to make room in this stage."""
    if stage_of(text) not in ACTIVE_STAGES:
        msg = (
            "Model version transition cannot archive existing model versions because "
            f"'{text}' is not an Active stage. Valid stages are {list(ACTIVE_STAGES)}"
        )
        raise InvalidArgument(msg, field="archive_existing_versions")


def check_tag(key: str, value: str = "") -> None:
    """Raises InvalidArgument: this can be no tag."""
    if _KEY.fullmatch(key) is None:
        msg = (
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) "
            "and slashes (/)."
        )
        raise _invalid("key", key, msg)
    _refuse_path("key", key)
    _check_length("key", key, MAX_TAG_KEY, "key")
    if key == PROMPT_TEXT and len(value) > MAX_TAG_VALUE:
        raise InvalidArgument(f"Prompt text exceeds max length of {MAX_TAG_VALUE} characters.", field="value")
    _check_length("value", value, MAX_TAG_VALUE, "value")


def _check_length(what: str, text: str, most: int, field: str) -> None:
    if len(text) > most:
        raise InvalidArgument(f"'{what}' exceeds the maximum length of {most} characters", field=field)


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Whether what has these tags is a prompt."""
    return tags.get(IS_PROMPT, "").lower() == "true"


def check_source(source: str, run: str, model: str, *, prompt: bool) -> None:
    """Raises InvalidArgument: nothing can be registered from there.

    Files of the client's own machine are let be: nothing here ever reads them.
    """
    _check_length("source", source, MAX_SOURCE, "source")
    if prompt:
        if source not in PROMPT_SOURCES:
            msg = f"Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder."
            raise InvalidArgument(msg, field="source")
        return
    parts = urlsplit(source)
    if parts.scheme in {"", "file"}:
        return
    _refuse_relative(source)
    logged = logged_model_of(source)
    if parts.scheme == "runs" and (model or parts.netloc or not run or parts.path.strip("/").partition("/")[0] != run):
        raise _not_within(source, "model_id" if model else "run_id")
    if logged is not None and logged != model:
        raise _not_within(source, "model_id")


def _refuse_relative(source: str) -> None:
    plain = source
    while (unquoted := unquote_plus(plain)) != plain:
        plain = unquoted
    path = re.sub(r"/+", "/", urlsplit(plain).path.rstrip("/"))
    if "\0" in path or ".." in plain.split("/") or not path or posixpath.normpath(path) != path:
        msg = (
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, "
            "objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references "
            "present. Please provide an absolute path."
        )
        raise InvalidArgument(msg, field="source")


def _not_within(source: str, parameter: str) -> InvalidArgument:
    msg = (
        f"Invalid model version source: '{source}'. The {parameter} request parameter must identify the resource that "
        "contains the source."
    )
    return InvalidArgument(msg, field="source")


def safe_path(path: str) -> str:
    """A path among artifacts, relative and without `..`. Raises InvalidArgument."""
    _check_length("path", path, MAX_PATH, "path")
    plain = path
    while (unquoted := unquote(plain)) != plain:
        plain = unquoted
    windows = re.match(r"[A-Za-z]:[\\/]|\\\\", plain)
    if plain.startswith("/") or "\\" in plain or "#" in plain or windows or {"..", "."} & set(plain.split("/")):
        raise InvalidArgument("Invalid path", field="path")
    return plain.strip("/")
