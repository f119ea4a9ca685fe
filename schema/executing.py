"""Running documents: within a time, with suggestions off, and with errors as clients may see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLInputObjectType, GraphQLSchema, Undefined
from strawberry.extensions import ParserCache
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError

from graph.port import EVERYTHING, Graph, View
from lineal.errors import LimitExceeded
from resolvers.operation import Operation
from schema.context import Context
from schema.failures import present
from schema.limits import Limits, checked


@dataclass(slots=True)
class Operated:
    """What is worth knowing of an operation that ended: for metrics and logs.

    `name` and `type` (query, mutation) are None where no operation could be made out, `seconds` is how
    long it took, `statements` how many were sent to the store, `codes` those of its errors.
    """

    name: str | None
    type: str | None
    seconds: float
    statements: int
    codes: list[str] = field(default_factory=list)


OnOperation = Callable[[Operated], None]


class LinealSchema(strawberry.Schema):
    """strawberry's Schema, with the limits of Lineal and its errors."""

    def __init__(self, *, limits: Limits, **kwargs: Any) -> None:
        super().__init__(extensions=[ParserCache, checked(limits)], **kwargs)
        self.limits = limits
        _drop_null_defaults(self._schema)

    def _get_custom_context_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # Suggestions ("did you mean …") name what a caller may not know to exist.
        return {**super()._get_custom_context_kwargs(*args, **kwargs), "hide_suggestions": True}

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: what must be logged is logged when it is masked."""

    async def execute(self, *args: Any, **kwargs: Any) -> ExecutionResult:
        """Run a document; its errors carry codes, and what is not of Lineal's tree is masked.

        Raises what strawberry does where no operation can be made out: MissingQueryError,
        CannotGetOperationTypeError, InvalidOperationTypeError.
        """
        try:
            async with asyncio.timeout(self.limits.seconds) as time_limit:
                result = await super().execute(*args, **kwargs)
        except TimeoutError:
            if not time_limit.expired():
                raise
            msg = f"the operation took longer than the {self.limits.seconds:g} seconds allowed, and was stopped"
            error = LimitExceeded(msg, limit="seconds", maximum=self.limits.seconds)
            result = _refused(error)
        context = kwargs.get("context_value")
        if isinstance(context, Context) and context.refusal is not None:
            result = _refused(context.refusal)
        executed = not isinstance(result, PreExecutionError)
        if result.errors:
            result.errors = [present(error, executed=executed) for error in result.errors]
        return result


def _refused(error: LimitExceeded) -> ExecutionResult:
    return ExecutionResult(None, [GraphQLError(error.message, original_error=error)])


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Leave out null as the default of what may be left out: it says nothing, and clutters every signature."""
    for type_ in schema.type_map.values():
        fields = getattr(type_, "fields", {})
        inputs = fields if isinstance(type_, GraphQLInputObjectType) else {}
        for given in (*inputs.values(), *(a for f in fields.values() for a in getattr(f, "args", {}).values())):
            if given.default_value is None:
                given.default_value = Undefined


async def run(
    schema: LinealSchema,
    context: Context,
    query: str | None,
    variables: Mapping[str, Any] | None = None,
    *,
    operation_name: str | None = None,
    on_operation: OnOperation | None = None,
    **kwargs: Any,
) -> ExecutionResult:
    """Run a document in a context; its snapshot is released before this returns."""
    started = time.perf_counter()
    async with context.op:
        result = await schema.execute(
            query,
            variable_values=None if variables is None else dict(variables),
            context_value=context,
            operation_name=operation_name,
            **kwargs,
        )
    if on_operation is not None:
        seconds = time.perf_counter() - started
        codes = [str((error.extensions or {}).get("code")) for error in result.errors or ()]
        on_operation(Operated(*context.operation, seconds, context.op.statements, codes))
    return result


async def execute(
    schema: LinealSchema,
    graph: Graph,
    query: str,
    variables: Mapping[str, Any] | None = None,
    *,
    by: str = "local",
    view: View = EVERYTHING,
    request: str = "",
    operation_name: str | None = None,
    on_operation: OnOperation | None = None,
) -> ExecutionResult:
    """Run a document in this process, as the principal `by`."""
    context = Context(Operation(graph, by=by, view=view, request=request), schema.limits)
    return await run(schema, context, query, variables, operation_name=operation_name, on_operation=on_operation)
