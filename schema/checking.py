"""What is checked before a document runs: its size, the standard rules, and the caller's scopes.

What can be known of a document without its caller is remembered between requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from lineal.errors import InvalidArgument, LimitExceeded
from schema.context import Context
from schema.costs import Costs, Price
from schema.gates import Gates
from schema.gating import Plan, judge
from schema.limits import Limits, exceeded

RULES: Final = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
CACHED_DOCUMENTS: Final = 256
CACHED_CHARACTERS: Final = 32_768
"""Characters of the longest document that is remembered: what programs ask again and again is shorter."""
INTROSPECTING: Final = "schema:read"
"""The scope whose holders may be told of names that they meant perhaps."""


@lru_cache(CACHED_DOCUMENTS)
def parsed(text: str, most_tokens: int) -> DocumentNode:
    """A document. Raises GraphQLSyntaxError."""
    return parse(text, max_tokens=most_tokens)


@dataclass
class Checked:
    """A document, and what is wrong with it whoever asks."""

    schema: GraphQLSchema
    gates: Gates
    costs: Costs
    document: DocumentNode
    errors: Sequence[GraphQLError]

    @cached_property
    def plan(self) -> Plan:
        """What of it needs scopes. It must have no errors."""
        return Plan(self.schema, self.gates, self.document)

    @cached_property
    def price(self) -> Price:
        """What its operations cost at most. It must have no errors."""
        return Price(self.schema, self.costs, self.document)


@lru_cache(CACHED_DOCUMENTS)
def checked(
    schema: GraphQLSchema, gates: Gates, costs: Costs, document: DocumentNode, limits: Limits, suggest: bool
) -> Checked:
    """A document, checked; the standard rules see only what is within the limits. `suggest` names what was meant."""
    errors = exceeded(document, limits) or validate(schema, document, RULES, hide_suggestions=not suggest)
    return Checked(schema, gates, costs, document, errors)


def _several(document: DocumentNode | None) -> bool:
    """Whether a document, where it could be parsed, has more than one operation."""
    definitions = document.definitions if document else ()
    return sum(isinstance(each, OperationDefinitionNode) for each in definitions) > 1


def checks(limits: Limits, *, open_schema: bool) -> type[SchemaExtension]:
    """The extension that bounds tokens, checks documents, and holds them against the caller's scopes.

    With `open_schema` anybody may read the schema by introspection.
    """

    class Checks(SchemaExtension):
        def on_operation(self) -> Iterator[None]:
            self.execution_context.parse_options["max_tokens"] = limits.tokens
            yield

        def on_parse(self) -> Iterator[None]:
            text = self.execution_context.query
            if text is not None and len(text) <= CACHED_CHARACTERS:
                self.execution_context.graphql_document = parsed(text, limits.tokens)
            yield
            # strawberry takes the first operation where none is named, whatever there is beside it.
            if self.execution_context._provided_operation_name is None and _several(
                self.execution_context.graphql_document
            ):
                msg = "operationName: must say which of the document's operations is to run"
                raise InvalidArgument(msg, field="operationName")

        def on_validate(self) -> Iterator[None]:
            execution = self.execution_context
            context: Context = execution.context
            assert execution.graphql_document is not None
            schema: Any = execution.schema._schema
            gates: Gates = execution.schema.gates  # type: ignore[attr-defined]
            costs: Costs = execution.schema.costs  # type: ignore[attr-defined]
            context.operation = (execution.operation_name, execution.operation_type.value)
            suggest = open_schema or context.caller.holds(INTROSPECTING)
            short = len(execution.query or "") <= CACHED_CHARACTERS
            find = checked if short else checked.__wrapped__
            found = find(schema, gates, costs, execution.graphql_document, limits, suggest)
            execution.pre_execution_errors = list(found.errors)
            if not found.errors:
                # An equal document may have come before: the one that is planned is the one to run.
                context.document = execution.graphql_document = found.document
                if not context.caller.admin:
                    context.verdict = judge(
                        found.plan,
                        gates,
                        execution.operation_name,
                        context.caller,
                        execution.variables or {},
                        open_schema=open_schema,
                    )
                if context.verdict.refusal:
                    execution.pre_execution_errors = [context.verdict.refusal]
                else:
                    try:
                        context.afford(found.price.of(execution.operation_name, execution.variables or {}))
                    except LimitExceeded as error:
                        execution.pre_execution_errors = [GraphQLError(error.message, original_error=error)]
            yield

    return Checks
