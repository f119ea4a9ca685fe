"""Gradient boosting and others by their own files: XGBoost, LightGBM, CatBoost, PMML."""

from __future__ import annotations

import re
from typing import Any, Final

from storage.formats.finding import Found, Value
from storage.formats.reading import MAX_JSON, File

_UBJ: Final = re.compile(rb"\{(?:L.{7}|l.{3}|I.|i|U).?.?(?:learner|version)", re.DOTALL)
_PMML: Final = re.compile(r'<PMML\b[^<>]{0,1000}\bversion="([^"]{1,20})"')
_APPLICATION: Final = re.compile(
    r'<Application\b[^<>]{0,1000}\bname="([^"]{1,200})"(?:[^<>]{0,1000}\bversion="([^"]{1,50})")?'
)
_TRIPLE: Final = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]')


def claims(file: File) -> bool:
    """By first bytes that only these have."""
    head = file.head
    return (
        head.startswith((b"CBM1", b"tree\nversion=")) or b"<PMML" in head or b'"learner"' in head[:64] or _is_ubj(head)
    )


def _is_ubj(head: bytes) -> bool:
    return head[:1] == b"{" and (b"learner{" in head[:64] or b"learner\x7b" in head[:64])


def read(file: File, found: Found) -> None:
    """The library, its version, and the features."""
    head = file.head
    if head.startswith(b"CBM1"):
        found.framework("CatBoost")
        found.format("CatBoost binary")
    elif head.startswith(b"tree\n"):
        _lightgbm(file, found)
    elif b"<PMML" in head:
        _pmml(file, found)
    elif _is_ubj(head):
        _xgboost_binary(file, found)
    else:
        _xgboost(file, found)


def _lightgbm(file: File, found: Found) -> None:
    found.framework("LightGBM")
    head = file.stream().read(min(file.size, 2**18)).decode("utf-8", "replace")
    keys = dict(line.split("=", 1) for line in head.partition("\nTree=")[0].splitlines() if "=" in line)
    found.format("LightGBM text", keys.get("version"))
    found.fact("lightgbm.objective", keys.get("objective"))
    found.signature([Value(name, "") for name in keys.get("feature_names", "").split()], [])


def _pmml(file: File, found: Found) -> None:
    head = file.stream().read(min(file.size, 2**14)).decode("utf-8", "replace")
    match = _PMML.search(head)
    found.format("PMML", match[1] if match else None)
    if application := _APPLICATION.search(head):
        found.fact("pmml.application", " ".join(filter(None, application.groups())))


def _xgboost(file: File, found: Found) -> None:
    found.framework("XGBoost")
    found.format("XGBoost JSON")
    if file.size <= MAX_JSON:
        model = file.json()
        version, learner = model.get("version"), model.get("learner")
        found.version(
            "XGBoost", ".".join(map(str, version)) if isinstance(version, list) and len(version) < 9 else None
        )
        _learner(learner if isinstance(learner, dict) else {}, found)
    elif match := _TRIPLE.search(file.at(file.size - 256, 256)):
        found.version("XGBoost", b".".join(match.groups()).decode())


def _learner(learner: dict[str, Any], found: Found) -> None:
    objective, names, parameters = (learner.get(key) for key in ("objective", "feature_names", "learner_model_param"))
    if isinstance(objective, dict):
        found.fact("xgboost.objective", objective.get("name"))
    if isinstance(names, list) and names:
        types = learner.get("feature_types")
        types = types if isinstance(types, list) and len(types) == len(names) else [""] * len(names)
        found.signature([Value(str(a), str(b)) for a, b in zip(names, types, strict=True)], [])
    elif isinstance(parameters, dict) and str(parameters.get("num_feature", "")).isdigit():
        found.signature([Value("X", "", (None, int(parameters["num_feature"])))], [])


def _xgboost_binary(file: File, found: Found) -> None:
    """Universal Binary JSON; the version is at its end: an array of integers."""
    found.framework("XGBoost")
    found.format("XGBoost UBJSON")
    end = file.at(max(0, file.size - 256), min(256, file.size))
    at = end.rfind(b"version[")
    if at >= 0:
        numbers = _integers(end[at + 8 :])
        found.version("XGBoost", ".".join(map(str, numbers)))


def _integers(data: bytes) -> list[int]:
    """An array of integers of Universal Binary JSON, counted or ended by `]`."""
    sizes = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}
    numbers: list[int] = []
    if data[:1] == b"#" and (size := sizes.get(data[1:2])):
        data = data[2 + size :]
    while (size := sizes.get(data[:1])) and len(numbers) < 3:
        numbers.append(int.from_bytes(data[1 : 1 + size], "big"))
        data = data[1 + size :]
    return numbers
