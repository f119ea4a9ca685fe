"""What gates say of a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from resolvers.lifecycle.findings import Told
from resolvers.lifecycle.gates import Checked, check_gate
from schema.context import Info
from schema.scalars import JSON, MetricValue

if TYPE_CHECKING:
    from schema.lifecycle import Gate
    from schema.model import ModelVersion
    from schema.node import Node


@strawberry.type(description="A figure that a condition of a gate was judged by.")
class GateFigure:
    """A figure."""

    name: str = strawberry.field(description="The metric, or the limit that it was compared with.")
    value: MetricValue = strawberry.field(description="Its value.")


def _figures(root: Told) -> list[GateFigure]:
    return [GateFigure(name=name, value=MetricValue(value)) for name, value in root.figures.items()]


@strawberry.type(description="What was found about one condition of a gate. What you may not see is left out.")
class GateCondition:
    """A condition."""

    type: str = strawberry.field(description="The type of the condition.")
    met: bool = strawberry.field(description="Whether it is met.")
    detail: str = strawberry.field(description="Why, in words.")
    gate: Annotated[Gate, strawberry.lazy("schema.lifecycle")] | None = strawberry.field(
        description="The gate that asks for it."
    )
    condition: JSON | None = strawberry.field(description="The condition as it was declared.")
    figures: list[GateFigure] | None = strawberry.field(
        resolver=_figures, description="The figures that it was judged by."
    )
    nodes: list[Annotated[Node, strawberry.lazy("schema.node")]] = strawberry.field(description="What it is about.")
    hidden: bool = strawberry.field(description="Whether it is about something else, too, that you may not see.")


@strawberry.type(description="What the gates of a stage, an alias or an environment say of a version.")
class GateVerdict:
    """A verdict."""

    version: Annotated[ModelVersion, strawberry.lazy("schema.model")] | None = strawberry.field(
        description="The version."
    )
    target: str = strawberry.field(
        resolver=lambda root: root.target.sort,
        description="What it would come to: a stage, an alias or an environment.",
    )
    name: str = strawberry.field(resolver=lambda root: root.target.name, description="The name of that.")
    met: bool = strawberry.field(description="Whether every condition is met; where there is no gate it is.")
    conditions: list[GateCondition] = strawberry.field(description="The conditions, gate by gate.")


def _argument(text: str) -> Any:
    return strawberry.argument(description=text)


async def _check_gate(
    info: Info,
    version: Annotated[
        strawberry.ID, _argument("The version: an id, or an address such as models:/name/3 or models:/name@champion.")
    ],
    stage: Annotated[str | None, _argument("The stage that it would come to.")] = None,
    alias: Annotated[str | None, _argument("The alias that it would get.")] = None,
    environment: Annotated[str | None, _argument("The environment that it would be deployed to, by name.")] = None,
    workspace: Annotated[
        str | None, _argument("The workspace of the environment, where it is another than the version's.")
    ] = None,
) -> GateVerdict | None:
    checked: Checked = await check_gate(
        info.context.op, version, stage=stage, alias=alias, environment=environment, workspace=workspace
    )
    info.context.hold(sum(len(told.nodes) for told in checked.conditions))
    answer: Any = checked
    return answer  # type: ignore[no-any-return]


def verdict() -> Any:
    """The field `checkGate`."""
    return strawberry.field(
        resolver=_check_gate,
        description="What gates say of a version, condition by condition, without moving it: met or not, with the "
        "figures and the names that you may see.",
    )
