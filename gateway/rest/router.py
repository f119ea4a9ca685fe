"""Which route a path leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gateway.problems import Problem
from gateway.rest.plans import Plan
from lineal.errors import NotFound


@dataclass(frozen=True, slots=True)
class Found:
    """A plan for a request, with what its path says."""

    plan: Plan
    parts: Mapping[str, str]


class Router:
    """Finds plans by the path as it was sent: what is encoded in a part of it stays a part of it."""

    def __init__(self, plans: Sequence[Plan], beside: Iterable[tuple[str, str]] = ()) -> None:
        """`beside` are methods and paths that others answer: here they are only known."""
        # Under None is what has a name of its own there, under "" the plans of the path, by method.
        self._root: dict[str | None, Any] = {}
        for plan in plans:
            self._put(plan.route.method, plan.route.path, plan)
        for method, path in beside:
            self._put(method, path, None)

    def _put(self, method: str, path: str, plan: Plan | None) -> None:
        at = self._root
        for segment in path.strip("/").split("/"):
            at = at.setdefault(None if segment.startswith("{") else segment, {})
        at.setdefault("", {})[method] = plan

    def find(self, path: str, method: str) -> Found:
        """The plan for a path below PATH. Raises Problem: nothing is there (404), or not with this method (405)."""
        at, parts = self._root, []
        for segment in path.removeprefix("/").split("/"):
            if segment in at and segment:
                at = at[segment]
            elif None in at and segment:
                at = at[None]
                parts.append(_decoded(segment))
            else:
                raise Problem(404, "there is no such resource", NotFound.code)
        methods: dict[str, Plan | None] = at.get("", {})
        if not methods:
            raise Problem(404, "there is no such resource", NotFound.code)
        plan = methods.get("GET" if method == "HEAD" else method)
        if plan is None:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            raise Problem(405, f"{method} is not possible here, but {allowed} is", headers=[("allow", allowed)])
        return Found(plan, dict(zip((shown for shown, _ in plan.route.inputs), parts, strict=True)))


def _decoded(segment: str) -> str:
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise Problem(400, "the path must be UTF-8, percent-encoded") from None
