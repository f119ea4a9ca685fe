"""What runs a document: whole or in parts, and with what of it is denied left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from graphql.execution import Executor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as InParts

if TYPE_CHECKING:
    from schema.context import Context


class Whole(Executor[None]):
    """Runs a document whole: what it defers or streams is there with the rest."""

    build_resolve_info = InParts.build_resolve_info

    def __init__(self, *args: Any, operation_extensions: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.operation_extensions = operation_extensions


class _Gated:
    """Of what is denied the value is null, and its resolvers are never called."""

    context_value: Any

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any:
        """The field's value, or None where it is denied."""
        denied = self.context_value.verdict.denied
        if any(id(details.node) in denied for details in field_details_list):
            return None
        return super().execute_field(parent_type, source, field_details_list, path, position_context)  # type: ignore[misc]


class _GatedWhole(_Gated, Whole):
    pass


class _GatedInParts(_Gated, InParts):
    pass


_EXECUTORS: Final[dict[tuple[bool, bool], type[Executor[Any]]]] = {
    (False, False): Whole,
    (False, True): _GatedWhole,
    (True, False): InParts,
    (True, True): _GatedInParts,
}


def executor(context: Context) -> type[Executor[Any]]:
    """What runs the document of this operation."""
    return _EXECUTORS[context.parts is not None, bool(context.verdict.denied)]
