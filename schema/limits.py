"""What a document may ask for: size, depth and repetition, measured before the standard rules run.

Every fragment is measured once, whatever the number of its spreads, and figures saturate: measuring is
linear in the document. strawberry's QueryDepthLimiter and MaxAliasesLimiter walk a fragment again at
each spread, so that 778 bytes keep them busy for seconds; they are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import comb
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

from lineal.errors import LimitExceeded

_MANY: Final = 1_000_000
INTROSPECTION: Final = ("__schema", "__type")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may ask for.

    `tokens`, `depth`, `fields`, `aliases`, `directives`, `root_fields`, `introspections` are of a
    document with all fragments spread; what is under __schema and __type is not counted. `overlaps` bound what the
    standard rule must compare that fields of one name in one selection can be merged: of each such field the fields
    below it, as often as there are others, and all fragments in pairs, whatever they have in them. `walks` are
    `upstream` and `downstream` fields run, beyond which each such field fails by itself, `items` what all lists of an
    answer hold together, `answer` its bytes as JSON, about, `cost` what it may cost at most by schema.costs, before it
    runs, `seconds` the time to answer, `body` bytes of a request.
    """

    tokens: int = 2_000
    depth: int = 25
    fields: int = 10_000
    aliases: int = 100
    directives: int = 50
    root_fields: int = 50
    introspections: int = 3
    overlaps: int = 10_000
    walks: int = 100
    items: int = 200_000
    answer: int = 32 * 2**20
    cost: int = 10_000_000
    seconds: float = 30.0
    body: int = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Measure:
    """The figures of a selection, with its fragments spread. Each stops growing at a million."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0
    introspections: int = 0
    overlaps: int = 0


Definition = OperationDefinitionNode | FragmentDefinitionNode


def measure(document: DocumentNode) -> tuple[list[tuple[Definition, Measure]], int]:
    """The figures of each operation, then of each fragment, and how many selections were visited to know them.

    The standard rules look at what is spread nowhere, too.
    """
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    known: dict[str, Measure] = {}
    merged: dict[str, _Merged] = {}
    reached: dict[str, set[str]] = {}
    visits = 0
    result: list[tuple[Definition, Measure]] = []
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    definitions: list[Definition] = [*(fragments[name] for name in spread_first(fragments)), *operations]
    for definition in definitions:
        one = _merged(definition.selection_set, merged)
        spread = {name for name in _spreads(definition.selection_set) if name in reached}
        below = spread.union(*(reached[name] for name in spread))
        measured, count = _measure(definition, known, _compared(one) + comb(len(below), 2))
        visits += count
        result.append((definition, measured))
        if isinstance(definition, FragmentDefinitionNode):
            name = definition.name.value
            known[name], merged[name], reached[name] = measured, one, below
    return result[len(fragments) :] + result[: len(fragments)], visits


@dataclass(slots=True)
class _Merged:
    """A selection: how many fields it has by name, with how many below them, and what there is to compare in it."""

    names: dict[str, tuple[int, int]]
    size: int = 0
    overlaps: int = 0


def _merged(selections: SelectionSetNode, known: Mapping[str, _Merged]) -> _Merged:
    """A selection with its fragments spread, each of them once: so the standard rule compares them."""
    all_ = _Merged({})
    spread: set[str] = set()

    def take(each: _Merged) -> None:
        for name, (count, size) in each.names.items():
            before = all_.names.get(name, (0, 0))
            all_.names[name] = (before[0] + count, min(before[1] + size, _MANY))
        all_.size, all_.overlaps = all_.size + each.size, all_.overlaps + each.overlaps

    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            if node.name.value in known and node.name.value not in spread:
                spread.add(node.name.value)
                take(known[node.name.value])
        elif isinstance(node, FieldNode):
            below = _merged(node.selection_set, known) if node.selection_set else _Merged({})
            name = (node.alias or node.name).value
            take(_Merged({name: (1, below.size + 1)}, below.size + 1, _compared(below)))
        elif isinstance(node, InlineFragmentNode):
            take(_merged(node.selection_set, known))
    return _Merged(all_.names, min(all_.size, _MANY), min(all_.overlaps, _MANY))


def _compared(selection: _Merged) -> int:
    """What there is to compare in a selection and below it."""
    here = sum((count - 1) * size for count, size in selection.names.values())
    return min(selection.overlaps + here, _MANY)


def spread_first(fragments: dict[str, FragmentDefinitionNode]) -> Iterator[str]:
    """Fragment names, those that a fragment spreads before it. Cycles end where they began: other rules refuse them."""
    spreads = {name: [s for s in _spreads(f.selection_set) if s in fragments] for name, f in fragments.items()}
    seen: set[str] = set()
    for root in fragments:
        stack = [(root, iter(spreads[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            name, rest = stack[-1]
            following = next((s for s in rest if s not in seen), None)
            if following is None:
                stack.pop()
                yield name
            else:
                seen.add(following)
                stack.append((following, iter(spreads[following])))


def _spreads(selections: SelectionSetNode) -> Iterator[str]:
    stack: list[SelectionNode] = list(selections.selections)
    while stack:
        node = stack.pop()
        if isinstance(node, FragmentSpreadNode):
            yield node.name.value
        elif nested := getattr(node, "selection_set", None):
            stack.extend(nested.selections)


def _measure(definition: Definition, known: dict[str, Measure], overlaps: int) -> tuple[Measure, int]:
    """The figures of one definition, given those of the fragments it spreads, and the selections visited."""
    depth = fields = aliases = introspections = root_fields = visits = 0
    variables = getattr(definition, "variable_definitions", None) or ()
    directives = sum(len(each.directives or ()) for each in (definition, *variables))
    stack: list[tuple[SelectionNode, int]] = [(node, 1) for node in definition.selection_set.selections]
    while stack:
        node, level = stack.pop()
        visits += 1
        directives += len(node.directives or ())
        if isinstance(node, FragmentSpreadNode):
            spread = known.get(node.name.value, Measure())
            depth = max(depth, level - 1 + spread.depth)
            fields, aliases = fields + spread.fields, aliases + spread.aliases
            directives, introspections = directives + spread.directives, introspections + spread.introspections
            root_fields += spread.root_fields if level == 1 else 0
            continue
        below = level
        if isinstance(node, FieldNode):
            depth, fields, below = max(depth, level), fields + 1, level + 1
            aliases += node.alias is not None
            root_fields += level == 1
            if node.name.value in INTROSPECTION:
                introspections += 1
                continue
        if nested := getattr(node, "selection_set", None):
            stack.extend((child, below) for child in nested.selections)
    figures = (depth, fields, aliases, directives, root_fields, introspections, overlaps)
    return Measure(*(min(figure, _MANY) for figure in figures)), visits


def exceeded(document: DocumentNode, limits: Limits) -> list[GraphQLError]:
    """One error for each figure of each operation, and of each fragment, that is above its limit."""
    errors = []
    for definition, measured in measure(document)[0]:
        sort = "operation" if isinstance(definition, OperationDefinitionNode) else "fragment"
        for figure in fields(measured):
            value, most = getattr(measured, figure.name), getattr(limits, figure.name)
            if value > most and (sort == "operation" or figure.name != "root_fields"):
                what = figure.name.replace("_", " ")
                shown = f"{value}" if value < _MANY else f"{_MANY} or more"
                msg = f"the {sort}'s {what}: {shown}, at most {most} allowed (with all fragments spread)"
                error = LimitExceeded(msg, limit=figure.name, maximum=most)
                errors.append(GraphQLError(msg, nodes=[definition], original_error=error))
    return errors
