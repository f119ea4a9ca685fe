"""What runs a document: whole or in parts, counting what the answer has, and with what of it is denied left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from graphql import Undefined
from graphql.execution import Executor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext as CoreExecutor

if TYPE_CHECKING:
    from schema.context import Context


AROUND: Final = 8
"""Bytes around a name and its value, about: quotes, a colon, a comma, and what some of them share, braces and null."""


class _Weighed:
    """What it puts into the answer is counted, and of what was refused meanwhile nothing more is run."""

    context_value: Any
    collected_errors: Any

    def build_per_event_executor(self, payload: Any) -> Any:
        """One for an event of a subscription, which remembers what fields it collected for itself alone.

        The library's share that memory, by lists that each event makes anew: it would grow with each of them.
        """
        single = super().build_per_event_executor(payload)  # type: ignore[misc]
        single._relevant_sub_fields = {}
        return single

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any:
        """The field's value, or nothing where the operation was refused."""
        context = self.context_value
        if context.refusal is not None:
            return Undefined
        # What is too much is seen with the value, or with the next one.
        context.bytes += len(path.key) + AROUND
        return super().execute_field(parent_type, source, field_details_list, path, position_context)  # type: ignore[misc]

    def complete_leaf_value(self, return_type: Any, result: Any) -> Any:
        """The value as it stands in the answer."""
        value = super().complete_leaf_value(return_type, result)  # type: ignore[misc]
        self.context_value.weigh(len(orjson.dumps(value)))
        return value

    def handle_field_error(self, raw_error: Exception, return_type: Any, field_details_list: Any, path: Any) -> None:
        """Keep what went wrong, or raise it where the value may not be null."""
        super().handle_field_error(raw_error, return_type, field_details_list, path)  # type: ignore[misc]
        self.context_value.weigh(len(orjson.dumps(self.collected_errors.errors[-1].formatted)))


class Whole(_Weighed, Executor[None]):
    """Runs a document whole: what it defers or streams is there with the rest."""

    build_resolve_info = CoreExecutor.build_resolve_info

    def __init__(self, *args: Any, operation_extensions: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.operation_extensions = operation_extensions


class InParts(_Weighed, CoreExecutor):
    """Runs a document in parts, where it defers or streams something."""


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
