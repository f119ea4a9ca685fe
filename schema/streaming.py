"""Operations over what stays open, a WebSocket or a stream of server-sent events: answers as they come.

A query and a mutation run as they do over HTTP. The document of a subscription is checked once, as any other, and then
run for each event by itself, with limits of its own, in the moment that its event was read in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from graphql import ExecutionResult as CoreResult
from graphql import GraphQLError, create_source_event_stream
from graphql.execution import Executor, execute_subscription_event
from strawberry.exceptions import MissingQueryError
from strawberry.execution import optimized_is_awaitable
from strawberry.http import process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType
from strawberry.utils.await_maybe import await_maybe

from auth.caller import Caller
from lineal.errors import InvalidArgument, LimitExceeded, LinealError, Unavailable
from resolvers.events import Event
from resolvers.live import BACK_OFF_SECONDS, Ended, Live
from resolvers.operation import Operation
from resolvers.streaming import Round, Stream
from schema.context import Context
from schema.executing import LinealSchema, OnOperation, Operated, audit, bookmark_of, extend, run
from schema.executors import executor
from schema.failures import present

SUBSCRIPTION: Final = (OperationType.SUBSCRIPTION,)
ANSWERED: Final = (OperationType.QUERY, OperationType.MUTATION)

OperationFor = Callable[[Caller, str, str], Operation]
"""An operation of this caller, of the request of this id, from this address."""
Document = Callable[[Mapping[str, Any]], str | None]
"""The document that a request asks for, whose `query`, where it has one, is text. Raises HTTPException."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the caller, the id of the request that opened the stream, and the address that it came from.

    `after` is the store's bookmark of what is to be there whenever it reads.
    """

    caller: Caller
    request: str = ""
    address: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: a document, the values of its variables, which of its operations, and what else."""

    query: str | None
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, Any] | None = None


def _query(asked: Mapping[str, Any]) -> str | None:
    query: str | None = asked.get("query")
    return query


class Streams:
    """Runs operations that are asked for over what stays open.

    Each is given a context by `context`, and its document is what `document` finds in what was asked. `taking` counts
    those that nobody else counts, and raises Unavailable where there are too many.
    """

    def __init__(
        self,
        schema: LinealSchema,
        live: Live,
        operation_for: OperationFor,
        context: Callable[[Operation], Context],
        *,
        on_operation: OnOperation | None = None,
        document: Document = _query,
        taking: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.schema = schema
        self.live = live
        self.document = document
        self._operation_for = operation_for
        self._context = context
        self._on_operation = on_operation
        self._taking = taking

    async def results(
        self,
        asked: Asked,
        who: Who,
        allowed: Sequence[OperationType] = ANSWERED,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[ExecutionResult, None]:
        """One result of a query or a mutation, or those of a subscription until it ends.

        `allowed` are the types that may be run beside subscriptions. Whoever counts what is asked gives `opened`, which
        is called once it is known to be a subscription. A PreExecutionError is the last one, and says why there is no
        other. Raises Ended: the process is about to end.
        """
        try:
            who = replace(who, after=bookmark_of(asked.extensions) or who.after)
            context = self._context(self._new(who))
            with self._taking() if opened is None else nullcontext():
                result = await run(
                    self.schema,
                    context,
                    asked.query,
                    asked.variables,
                    operation_name=asked.operation_name,
                    on_operation=self._on_operation,
                    allowed_operation_types=allowed,
                )
        except (InvalidArgument, Unavailable) as error:
            yield _refused(error)
        except MissingQueryError:
            yield _refused(InvalidArgument("query: must be a GraphQL document, and is missing", field="query"))
        except CannotGetOperationTypeError as error:
            yield _refused(InvalidArgument(error.as_http_error_reason(), field="operationName"))
        except InvalidOperationTypeError as error:
            if error.operation_type is not OperationType.SUBSCRIPTION:
                yield _refused(InvalidArgument(error.as_http_error_reason("GET")))
                return
            if opened is not None:
                opened()
            async with aclosing(self._subscribed(asked, who)) as results:
                async for each in results:
                    yield each
        else:
            await extend(result, context, asked.extensions)
            yield result if ran(result) else PreExecutionError(None, result.errors, result.extensions)

    async def _subscribed(self, asked: Asked, who: Who) -> AsyncGenerator[ExecutionResult, None]:
        started = time.perf_counter()
        context = self._context(self._new(who))
        context.follow = (self.live, lambda: self._new(who))
        statements, codes = 0, list[str]()
        try:
            async with self.live.following(context.client):
                opened = await self._opened(context, asked)
                statements += context.op.statements
                if isinstance(opened, PreExecutionError):
                    codes += (str((error.extensions or {}).get("code")) for error in opened.errors or ())
                    yield opened
                    return
                executor, stream = opened
                async for round in stream:
                    try:
                        results, asked_of_store = await self._results(executor, context, asked, round)
                    except Unavailable:
                        # What was not told yet is told once the store is back.
                        await asyncio.sleep(BACK_OFF_SECONDS)
                        continue
                    statements += asked_of_store
                    for result in results:
                        yield result
                    # Who has spent more than they have is told the rest when that is paid.
                    await asyncio.sleep(context.owed)
        except Ended:
            raise
        except Exception as error:  # noqa: BLE001 - what is not of the tree is masked, and logged, as it is presented
            refused = _refused(error)
            codes += (str((each.extensions or {}).get("code")) for each in refused.errors or ())
            yield await self._audited(context, asked, refused)
        finally:
            if self._on_operation is not None:
                name, _ = context.operation
                seconds = time.perf_counter() - started
                self._on_operation(Operated(name, "subscription", seconds, statements, codes))

    async def _opened(self, context: Context, asked: Asked) -> tuple[Executor[Any], Stream] | PreExecutionError:
        """What runs the document, and the events that it is to be run for; or why there are none. It is audited."""
        async with context.op:
            try:
                async with asyncio.timeout(self.schema.limits.seconds):
                    opened = await self._checked(context, asked)
            except TimeoutError:
                seconds = self.schema.limits.seconds
                msg = f"the subscription was not open within the {seconds:g} seconds allowed"
                opened = _refused(LimitExceeded(msg, limit="seconds", maximum=seconds))
            except LinealError as error:
                opened = _refused(error)
        context.settle()
        result = opened if isinstance(opened, PreExecutionError) else _begun(context)
        audited = await self._audited(context, asked, result)
        return audited if isinstance(audited, PreExecutionError) else opened

    async def _checked(self, context: Context, asked: Asked) -> tuple[Executor[Any], Stream] | PreExecutionError:
        schema = self.schema
        # A caller who was deactivated is refused before anything is read for them.
        await context.op.snapshot()
        variables = None if asked.variables is None else dict(asked.variables)
        execution = schema._create_execution_context(
            asked.query, SUBSCRIPTION, variables, context, None, asked.operation_name
        )
        extensions = schema.get_extensions()
        for extension in extensions:
            extension.execution_context = execution
        runner = schema.create_extensions_runner(execution, extensions)
        async with runner.operation():
            refused = await schema._prepare_operation_async(execution, runner)
        if refused is not None:
            return PreExecutionError(None, [present(error, executed=False) for error in refused.errors or ()])
        assert execution.graphql_document is not None
        built = executor(context).build(
            schema._schema,
            execution.graphql_document,
            context_value=context,
            raw_variable_values=variables,
            operation_name=execution.operation_name,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
            hide_suggestions=True,
        )
        if isinstance(built, list):
            return PreExecutionError(None, [present(error, executed=True) for error in built])
        source: Any = await await_maybe(create_source_event_stream(built))
        if isinstance(source, CoreResult):
            return PreExecutionError(None, [present(error, executed=True) for error in source.errors or ()])
        return built, source

    async def _results(
        self, executor: Executor[Any], opened: Context, asked: Asked, round: Round
    ) -> tuple[list[ExecutionResult], int]:
        """The answers of a round, and how many statements they took.

        Nothing else of it is held while they are sent, which takes a slow reader as long as it likes.
        """
        async with round as (op, events):
            told = await self._told_all(executor, opened, op, events)
        for n, (each, result) in enumerate(told):
            each.pays_statements = n == 0
            each.settle()
            await extend(result, each, asked.extensions)
        return [result for _, result in told], op.statements

    async def _told_all(
        self, executor: Executor[Any], opened: Context, op: Operation, events: list[Event]
    ) -> list[tuple[Context, ExecutionResult]]:
        """The answers for these events; those that would be too much to hold at a time are left for the next round."""
        told: list[tuple[Context, ExecutionResult]] = []
        for event in events:
            told.append(await self._told(executor, opened, op, event))
            if sum(context.bytes for context, _ in told) > self.schema.limits.answer:
                break
        del events[len(told) :]
        return told

    async def _told(
        self, executor: Executor[Any], opened: Context, op: Operation, event: Event
    ) -> tuple[Context, ExecutionResult]:
        """The document's answer for one event, and the context that it took to come to it."""
        context = self._context(op)
        context.operation, context.document, context.verdict = opened.operation, opened.document, opened.verdict
        context.requested = opened.requested
        single = executor.build_per_event_executor(event)
        single.context_value = context
        seconds = self.schema.limits.seconds
        try:
            async with asyncio.timeout(seconds):
                result = await await_maybe(execute_subscription_event(single))
        except TimeoutError:
            msg = f"an event took longer than the {seconds:g} seconds allowed"
            context.refusal = LimitExceeded(msg, limit="seconds", maximum=seconds)
        if context.refusal is not None:
            return context, ExecutionResult(None, list(_refused(context.refusal).errors or ()))
        errors = [present(error, executed=True) for error in (*(result.errors or ()), *opened.verdict.errors)]
        return context, ExecutionResult(result.data, errors or None)

    async def _audited(self, context: Context, asked: Asked, result: ExecutionResult) -> ExecutionResult:
        """The result, once it is in the audit where it has to be; else why it could not be put there."""
        try:
            await audit(self.schema, context, asked.variables or {}, result)
        except LinealError as error:
            return _refused(error)
        return result

    def _new(self, who: Who) -> Operation:
        op = self._operation_for(who.caller, who.request, who.address)
        op.after = who.after
        return op


def payload(result: ExecutionResult) -> dict[str, Any]:
    """A result as it is sent."""
    sent: dict[str, Any] = dict(process_result(result))
    if isinstance(result, PreExecutionError):
        sent.pop("data", None)
    return sent


def ran(result: ExecutionResult) -> bool:
    """Whether a document was run at all: what is wrong with its variables is found before."""
    return result.data is not None or any(error.path for error in result.errors or ())


def _begun(context: Context) -> ExecutionResult:
    """What a subscription that could be opened is in the audit: what of it is denied, and that there is something."""
    return ExecutionResult({}, [present(error, executed=True) for error in context.verdict.errors])


def _refused(error: Exception) -> PreExecutionError:
    """Why there is nothing (more)."""
    return PreExecutionError(None, [present(GraphQLError(str(error), original_error=error), executed=True)])
