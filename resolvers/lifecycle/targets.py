"""What a version may come to, and a gate may guard: a stage, an alias, an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from graph.text import fold
from lineal.errors import InvalidArgument

Sort = Literal["stage", "alias", "environment"]
SORTS: Final[tuple[Sort, ...]] = ("stage", "alias", "environment")


@dataclass(frozen=True, slots=True)
class Target:
    """A stage or an alias of the version's model, or an environment that it is deployed to, by name."""

    sort: Sort
    name: str

    def __str__(self) -> str:
        return f"{self.sort} {self.name!r}"

    @property
    def props(self) -> dict[str, str]:
        """As gates and approvals keep it."""
        return {self.sort: self.name}

    def matches(self, props: Mapping[str, Any]) -> bool:
        """Whether a gate or approval with these properties is of it. Stages and environments match folded.

        Else an environment of another spelling would be one without gates.
        """
        name = props.get(self.sort)
        if name is None or self.sort == "alias":
            return bool(name == self.name)
        return fold(str(name)).strip() == fold(self.name).strip()


def target_of(*, stage: str | None, alias: str | None, environment: str | None) -> Target:
    """The one target that is given. Raises InvalidArgument: none, or several."""
    given = [Target(sort, name) for sort, name in zip(SORTS, (stage, alias, environment), strict=True) if name]
    if len(given) != 1:
        msg = f"stage: name one of {', '.join(SORTS)}, not {' and '.join(t.sort for t in given) or 'none of them'}"
        raise InvalidArgument(msg, field="stage")
    return given[0]


def target_in(props: Mapping[str, Any]) -> Target:
    """What a gate or an approval with these properties is of."""
    return next(Target(sort, str(props[sort])) for sort in SORTS if props.get(sort))
