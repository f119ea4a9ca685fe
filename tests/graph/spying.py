"""What was sent to a store of either kind, as texts: values are parameters, and not among them."""

from __future__ import annotations

from typing import Any

import pytest

from graph.neo4j.running import Runner
from graph.sqlite.reading import Reader


class Spy:
    """The texts of all statements since `forget`."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def forget(self) -> list[str]:
        """What was sent up to now; begin anew."""
        texts, self.texts = self.texts, []
        return texts


def spy_on_statements(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """A spy that hears of what either store sends until the test ends."""
    spy = Spy()
    once, read, many = Runner._once, Reader.all, Reader.many

    async def _once(self: Runner, verb: str, text: str, params: Any) -> list[Any]:
        spy.texts.append(text)
        return await once(self, verb, text, params)

    def _read(self: Reader, verb: str, sql: str, params: Any = ()) -> list[Any]:
        spy.texts.append(sql)
        return read(self, verb, sql, params)

    def _many(self: Reader, verb: str, sql: str, rows: Any) -> None:
        spy.texts.append(sql)
        many(self, verb, sql, rows)

    monkeypatch.setattr(Runner, "_once", _once)
    monkeypatch.setattr(Reader, "all", _read)
    monkeypatch.setattr(Reader, "many", _many)
    return spy
