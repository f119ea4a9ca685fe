"""Reading what an administrator configures in TOML: each key is known and of its type, and an error names its path.

Secrets are never in such a file: it names the environment variables and files that have them.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from lineal.errors import InvalidArgument, Unavailable

Kind = type | tuple[str, ...]
"""What a value must be: of a type, or one of some words."""

_WORDS: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list of texts",
    dict: "a table of texts",
}


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: the name of an environment variable, or a file."""

    env: str = ""
    file: str = ""

    def value(self) -> str:
        """The secret. Raises Unavailable: it is not there."""
        try:
            text = Path(self.file).read_text(encoding="utf-8").strip() if self.file else os.environ.get(self.env, "")
        except (OSError, ValueError):
            text = ""
        if not text:
            raise Unavailable(f"a secret is missing: {self.file or self.env}")
        return text


def load(path: Path) -> Mapping[str, Any]:
    """What a TOML file has. Raises InvalidArgument."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgument(f"{path} is not TOML: {error}") from error


def workspaces(given: Any, at: str) -> frozenset[str] | None:
    """The workspaces that may use something, None for all. Raises InvalidArgument."""
    if given == "*":
        return None
    if not given or isinstance(given, str):
        raise wrong(at, 'must be a list of the workspaces that may use it, or "*" for all')
    return frozenset(texts(given, at))


def options(given: Any, kinds: Mapping[str, Kind], secrets: Iterable[str], at: str) -> Mapping[str, Any]:
    """A table of these options; what is a secret does not belong there. Raises InvalidArgument."""
    typed(given, dict, at, "a table")
    for name in given:
        if name in secrets:
            raise wrong(f"{at}.{name}", f"is a secret: give it in secrets, as {name}_env or {name}_file")
    known(given, kinds, at)
    for name, value in given.items():
        check(value, kinds[name], f"{at}.{name}")
    return MappingProxyType(dict(given))


def check(value: Any, kind: Kind, at: str) -> None:
    """Refuse a value that is not of its kind. Raises InvalidArgument."""
    if isinstance(kind, tuple):
        if value not in kind:
            raise wrong(at, f"must be one of {', '.join(kind)}")
    elif kind is list:
        texts(value, at)
    elif kind is dict:
        for name, text in typed(value, dict, at, _WORDS[dict]).items():
            typed(text, str, f"{at}.{name}", "text")
    elif kind is float:
        typed(value, int | float, at, _WORDS[float])
    else:
        typed(value, kind, at, _WORDS[kind])


def secrets(given: Any, names: Iterable[str], at: str) -> Mapping[str, Secret]:
    """A table of where these secrets are: NAME_env or NAME_file. Raises InvalidArgument."""
    typed(given, dict, at, "a table")
    known(given, [f"{name}_{kind}" for name in names for kind in ("env", "file")], at)
    found: dict[str, Secret] = {}
    for key, value in given.items():
        name, _, kind = key.rpartition("_")
        if name in found:
            raise wrong(f"{at}.{key}", f"{name} is given twice")
        if not typed(value, str, f"{at}.{key}", "text"):
            raise wrong(f"{at}.{key}", "must not be empty")
        found[name] = Secret(**{kind: value})
    return MappingProxyType(found)


def number(value: Any, largest: float, at: str) -> float:
    """A number above 0. Raises InvalidArgument."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(at, "must be a number")
    if not 0 < value <= largest:
        raise wrong(at, f"must be above 0 and at most {largest:,}")
    return float(value)


def check_url(url: str, at: str) -> str:
    """The address of a server, without a slash at its end. Raises InvalidArgument."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise wrong(at, "must be the address of a server, such as https://serving.example.org:8081")
    if parts.username is not None or parts.password is not None:
        raise wrong(at, "must not have a user or a password: give it in secrets")
    return url.rstrip("/")


def texts(value: Any, at: str) -> list[str]:
    """A list of texts. Raises InvalidArgument."""
    found = typed(value, list, at, "a list of texts")
    for i, text in enumerate(found):
        typed(text, str, f"{at}[{i}]", "text")
    return list(found)


def typed(value: Any, kind: Any, at: str, words: str) -> Any:
    """The value, when it is of that type. Raises InvalidArgument."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong(at, f"must be {words}")
    return value


def known(table: Mapping[str, Any], keys: Iterable[str], at: str) -> None:
    """Refuse keys other than these. Raises InvalidArgument."""
    names = tuple(keys)
    for key in table:
        if key not in names:
            there = f"there is {', '.join(names)}" if names else "there are none here"
            raise wrong(f"{at}.{key}".lstrip("."), f"is unknown; {there}")


def wrong(at: str, problem: str) -> InvalidArgument:
    """What to raise of the key at this path."""
    return InvalidArgument(f"{at}: {problem}", field=at)
