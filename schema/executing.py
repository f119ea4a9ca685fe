"""Running documents: within a time, with suggestions off, and with errors as clients may see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, Final

import orjson
import strawberry
from graphql import ExperimentalIncrementalExecutionResults as Incremental
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    get_argument_values,
    get_operation_ast,
    get_variable_values,
)
from opentelemetry.trace import Span, SpanKind
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError

from auth.caller import LOCAL, Caller
from graph.port import WATCHED, Graph, Statement, Watched
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, LinealError, Unauthenticated
from lineal.observing import span, tracing
from resolvers.auditing import concerned
from resolvers.nesting import nests_deeper
from resolvers.operation import Operation
from schema.check import check
from schema.checking import checks
from schema.context import Context
from schema.costs import Costs
from schema.directives import apply
from schema.executors import executor
from schema.failures import present
from schema.gates import Gates
from schema.gating import root_fields
from schema.limits import Limits


@dataclass(slots=True)
class Operated:
    """What is worth knowing of an operation that ended: for metrics and logs.

    `name` and `type` (query, mutation) are None where no operation could be made out, `seconds` is how
    long it took, `statements` how many were sent to the store, `codes` those of its errors. `document` is its text,
    for a hash of it, and `slowest` the statement that took longest.
    """

    name: str | None
    type: str | None
    seconds: float
    statements: int
    codes: list[str] = field(default_factory=list)
    document: str | None = None
    slowest: Statement | None = None


OnOperation = Callable[[Operated], None]

MAX_LEVELS: Final = 64
"""How many objects and lists a variable may have in each other."""
MAX_NAME: Final = 200
"""Characters of an operation's name that spans have."""
MAX_MESSAGE: Final = 1_000
"""Characters of the reasons that one entry of the audit has."""


class LinealSchema(strawberry.Schema):
    """strawberry's Schema, with the limits of Lineal, its scopes and its errors.

    With `open_schema` anybody may read it by introspection. Raises Internal: types, ontology and the table of
    scopes disagree.
    """

    def __init__(self, *, limits: Limits, open_schema: bool = False, **kwargs: Any) -> None:
        extensions: list[type[SchemaExtension]] = [checks(limits, open_schema=open_schema)]
        super().__init__(extensions=extensions, **kwargs)
        self.limits = limits
        _drop_null_defaults(self._schema)
        self.gates = Gates(self._schema)
        check(self._schema, problems=self.gates.problems)
        self.costs = Costs(self._schema)
        apply(self._schema, self.gates, self.costs)
        _trace_roots(self._schema)

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
        context: Context = kwargs["context_value"]
        admitted = False
        try:
            async with asyncio.timeout(self.limits.seconds) as time_limit:
                await _admit(context)
                admitted = True
                # strawberry gives graphql-core's own where parts are to follow, which its types do not say.
                executed: ExecutionResult | Incremental = await super().execute(*args, **kwargs)
                if isinstance(executed, Incremental):
                    return await _deliver(self, context, kwargs.get("variable_values") or {}, executed)
                result = executed
        except TimeoutError:
            if not time_limit.expired():
                raise
            msg = f"the operation took longer than the {self.limits.seconds:g} seconds allowed, and was stopped"
            context.refusal = LimitExceeded(msg, limit="seconds", maximum=self.limits.seconds)
        except LinealError as error:
            context.refusal = error
        if context.refusal is not None:
            result = _refused(context.refusal, ExecutionResult if admitted else PreExecutionError)
        ran = not isinstance(result, PreExecutionError)
        errors = [present(error, executed=ran) for error in result.errors or ()]
        if ran and result.data is not None:
            errors += (present(error, executed=True) for error in context.verdict.errors)
        result.errors = errors or None
        if context.parts is not None:
            await context.parts.break_off(errors)
        return result

    async def _execute_operation(self, *args: Any) -> Any:
        # strawberry has one class of executors for a schema; what is denied is different for each request.
        execution, runner, middleware, run, custom = args
        class_ = executor(execution.context)

        def running(*args: Any, **kwargs: Any) -> Any:
            return run(*args, **{**kwargs, "executor_class": class_})

        return await super()._execute_operation(execution, runner, middleware, running, custom)


async def _deliver(
    schema: LinealSchema,
    context: Context,
    variables: Mapping[str, Any],
    results: Incremental,
) -> ExecutionResult:
    """Send the answer in parts; all errors of it.

    Raises LinealError: it cannot be put into the audit first, or was refused while it was sent.
    """
    assert context.parts is not None
    shown = partial(present, executed=True)
    async with aclosing(results.subsequent_results):
        context.check()
        first = results.initial_result
        first.errors = [shown(error) for error in (*(first.errors or ()), *context.verdict.errors)] or None
        await audit(schema, context, variables, ExecutionResult(first.data, first.errors))
        await context.parts.deliver(results, shown, context.check)
        return ExecutionResult(None, [*(first.errors or ()), *context.parts.later])


async def _admit(context: Context) -> None:
    """Look the caller up, also where the document reads nothing. Raises Unauthenticated, Unavailable."""
    if not context.caller.trusted:
        await context.op.snapshot()


def _refused(error: LinealError, as_: type[ExecutionResult] = ExecutionResult) -> ExecutionResult:
    return as_(None, [GraphQLError(error.message, original_error=error)])


def _presented(result: ExecutionResult) -> ExecutionResult:
    result.errors = [present(each, executed=True) for each in result.errors or ()]
    return result


def _trace_roots(schema: GraphQLSchema) -> None:
    """Have a span around each root field of queries and mutations, where spans are made at all."""
    for root in (schema.query_type, schema.mutation_type):
        if root is None:
            continue
        for name, root_field in root.fields.items():
            if root_field.resolve is not None:
                root_field.resolve = _traced(f"{root.name}.{name}", root_field.resolve)


def _traced(name: str, resolve: Callable[..., Any]) -> Callable[..., Any]:
    async def within(*args: Any, **kwargs: Any) -> Any:
        with span(name, {"graphql.selection.name": name}):
            found = resolve(*args, **kwargs)
            return await found if isawaitable(found) else found

    def traced(*args: Any, **kwargs: Any) -> Any:
        return resolve(*args, **kwargs) if tracing() is None else within(*args, **kwargs)

    return traced


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
    """Run a document in a context; its snapshot is released before this returns.

    What was refused, and what an admin read, is in the audit before the answer is given: where that cannot be,
    the answer is the reason.
    """
    started, watched = time.perf_counter(), Watched()
    if nests_deeper(dict(variables or {}), MAX_LEVELS + 1):
        msg = f"variables: nest deeper than the {MAX_LEVELS} levels allowed"
        context.refusal = LimitExceeded(msg, limit="levels", maximum=MAX_LEVELS)
        result = _presented(_refused(context.refusal, PreExecutionError))
    else:
        watching = WATCHED.set(watched)
        try:
            with span("graphql", kind=SpanKind.INTERNAL, begins=True) as operating:
                async with context.op:
                    result = await schema.execute(
                        query,
                        variable_values=None if variables is None else dict(variables),
                        context_value=context,
                        operation_name=operation_name,
                        **kwargs,
                    )
                _name(operating, context)
        finally:
            WATCHED.reset(watching)
            # Also where whoever asked has gone meanwhile.
            context.settle()
    parts = context.parts
    try:
        # Of what is sent in parts the first is in the audit already.
        await audit(
            schema,
            context,
            variables or {},
            ExecutionResult(None, parts.later) if parts is not None and parts.begun else result,
        )
    except LinealError as error:
        result = _presented(_refused(error))
    if on_operation is not None:
        seconds = time.perf_counter() - started
        codes = [str((error.extensions or {}).get("code")) for error in result.errors or ()]
        on_operation(Operated(*context.operation, seconds, context.op.statements, codes, query, watched.slowest))
    return result


def bookmark_of(extensions: Mapping[str, Any] | None) -> str:
    """What a request's extensions ask to be there. Raises InvalidArgument: it is no text."""
    bookmark = (extensions or {}).get("bookmark") or ""
    if not isinstance(bookmark, str):
        msg = "extensions.bookmark: must be the text that extensions of an answer had"
        raise InvalidArgument(msg, field="extensions.bookmark")
    return bookmark


async def extend(result: ExecutionResult, context: Context, asked: Mapping[str, Any] | None) -> None:
    """Put into an answer's extensions what was written until then, and the cost where it is asked for, or counts."""
    more: dict[str, Any] = {}
    if bookmark := await context.op.bookmark():
        more["bookmark"] = bookmark
    if context.budget is not None or (asked or {}).get("cost") is True:
        more["cost"] = context.cost()
    if more:
        result.extensions = {**(result.extensions or {}), **more}


def _name(operating: Span, context: Context) -> None:
    """Name an operation's span, as OpenTelemetry's conventions for GraphQL do; its text has values, and is not told."""
    if operating.is_recording():
        name, type = context.operation
        operating.update_name(type or "graphql")
        told = {"graphql.operation.name": name, "graphql.operation.type": type}
        operating.set_attributes({key: value[:MAX_NAME] for key, value in told.items() if value})


AUDITED: Final = (Forbidden.code, Unauthenticated.code)


async def audit(schema: LinealSchema, context: Context, variables: Mapping[str, Any], result: ExecutionResult) -> None:
    """Put refusals, and what an admin read, into the audit, in the chains of what was asked for. Raises Unavailable."""
    op, caller = context.op, context.caller
    refused = {code: found for code in AUDITED if (found := _of(result, code))}
    read = caller.admin and not caller.trusted and result.data is not None
    if op.recorder is None or not (refused or read):
        return
    name, type_ = context.operation
    operation = get_operation_ast(context.document, name) if context.document else None
    nodes = root_fields(context.document, operation) if context.document and operation else []
    fields = list(dict.fromkeys(node.name.value for node in nodes))
    arguments = _arguments(schema._schema, operation, nodes, variables) if operation else []
    places = {str(w) for errors in refused.values() for e in errors if (w := (e.extensions or {}).get("workspace"))}
    on = await concerned(op, [given for _, given in arguments], places)
    for code, errors in refused.items():
        await op.recorder.refused(
            caller,
            action=" ".join([type_ or "unread", *fields]),
            code=code,
            message="; ".join(dict.fromkeys(error.message for error in errors))[:MAX_MESSAGE],
            scopes=[each for error in errors for each in (error.extensions or {}).get("requiredScopes", ())],
            on=on,
            address=op.address,
            request=op.request,
        )
    if read:
        told = orjson.dumps(_without_secrets(arguments), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        data = {"operation": name, "fields": fields, "arguments": told, "on": on}
        await op.recorder.read(
            caller, action="adminRead", data=data, workspaces=list(on), address=op.address, request=op.request
        )


def _without_secrets(value: Any, name: str = "") -> Any:
    """Arguments without what is called a secret: the audit is read by others than those whose it is."""
    if name == "secret" and value is not None:
        return "[removed]"
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(inner) for inner in value]
    return value


def _of(result: ExecutionResult, code: str) -> list[GraphQLError]:
    return [error for error in result.errors or () if (error.extensions or {}).get("code") == code]


def _arguments(
    schema: GraphQLSchema, operation: OperationDefinitionNode, nodes: Sequence[FieldNode], variables: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """The names of these root fields with their arguments, as far as those can be made out."""
    given = get_variable_values(schema, operation.variable_definitions or (), dict(variables))
    root = schema.get_root_type(operation.operation)
    if root is None or isinstance(given, list):
        return []
    found = []
    for node in nodes:
        with suppress(GraphQLError, KeyError):
            found.append((node.name.value, get_argument_values(root.fields[node.name.value], node, given)))
    return found


async def execute(
    schema: LinealSchema,
    graph: Graph,
    query: str,
    variables: Mapping[str, Any] | None = None,
    *,
    caller: Caller = LOCAL,
    request: str = "",
    operation_name: str | None = None,
    on_operation: OnOperation | None = None,
) -> ExecutionResult:
    """Run a document in this process, for this caller."""
    context = Context(Operation(graph, caller=caller, request=request), schema.limits)
    return await run(schema, context, query, variables, operation_name=operation_name, on_operation=on_operation)
