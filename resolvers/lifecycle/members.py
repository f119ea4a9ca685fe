"""What is declared as JSON, read strictly: each member taken once, errors that name the very place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lineal.errors import InvalidArgument


class Members:
    """The members of an object at a place such as `conditions[2]`."""

    def __init__(self, given: Any, at: str) -> None:
        if not isinstance(given, Mapping):
            raise wrong(at, "an object", given)
        self.given, self.at = given, at
        self._taken: set[str] = set()

    def _take(self, name: str) -> Any:
        self._taken.add(name)
        return self.given.get(name)

    def place(self, name: str) -> str:
        """Where a member stands."""
        return f"{self.at}.{name}"

    def text(self, name: str, default: str | None = None, *, among: Sequence[str] = ()) -> str:
        """Text that is not blank, one of `among` where they are given."""
        value = self._take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value.strip() or (among and value not in among):
            raise wrong(self.place(name), f"one of {', '.join(among)}" if among else "text", value)
        return value

    def texts(self, name: str, *, most: int = 100, needed: bool = True) -> tuple[str, ...]:
        """A list of texts; an absent one is empty where it is not needed."""
        value = self._take(name)
        if value is None and not needed:
            return ()
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise wrong(self.place(name), f"a list of 1 to {most} texts", value)
        for i, item in enumerate(value):
            if not isinstance(item, str) or not item.strip():
                raise wrong(f"{self.place(name)}[{i}]", "text", item)
        return tuple(value)

    def mapping(self, name: str, *, most: int = 10) -> tuple[tuple[str, str], ...]:
        """An object of texts, by name; an absent one is empty."""
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, Mapping) or not 1 <= len(value) <= most:
            raise wrong(self.place(name), f"an object of 1 to {most} texts", value)
        for key, item in value.items():
            if not isinstance(item, str) or not item.strip():
                raise wrong(f"{self.place(name)}.{key}", "text", item)
        return tuple(sorted(value.items()))

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int | None:
        """A whole number."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(self.place(name), f"a whole number from {least} to {most}", value)
        return value

    def flag(self, name: str) -> bool:
        """Whether; no where it is absent."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            raise wrong(self.place(name), "true or false", value)
        return bool(value)

    def done(self) -> None:
        """Raises InvalidArgument: there are members that nobody took."""
        for name in self.given:
            if name not in self._taken:
                names = ", ".join(sorted(self._taken))
                msg = f"{self.place(str(name))}: there is no such member here; there are {names}"
                raise InvalidArgument(msg, field=self.place(str(name)))


def wrong(at: str, right: str, value: Any) -> InvalidArgument:
    """The error of a value that is not what it should be."""
    shown = "nothing" if value is None else f"{value!r:.80}"
    return InvalidArgument(f"{at}: must be {right}, not {shown}", field=at)
