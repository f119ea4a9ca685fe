"""Counting and listing paths in an acyclic graph, without walking them all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from lineal.errors import PreconditionFailed


def enumerate_paths(
    successors: Mapping[str, Collection[str]], sources: Collection[str], targets: Collection[str], limit: int
) -> tuple[list[list[str]], int]:
    """The first `limit` paths of at least one hop from a source to a target, by (length, ids), and how many there are.

    The count takes one addition for each edge. Listing is guided by the set of lengths at which each
    node reaches a target, kept as the bits of an int, so no dead end is ever entered. Raises
    PreconditionFailed: the edges have a cycle.
    """
    ends = set(targets)
    count = dict.fromkeys(ends, 1)
    lengths = dict.fromkeys(ends, 1)
    for node in _targets_first(successors):
        count[node] = int(node in ends)
        lengths[node] = int(node in ends)
        for after in successors.get(node, ()):
            count[node] += count[after]
            lengths[node] |= lengths[after] << 1
    starts = sorted({s for s in sources if s in count})
    total = sum(count[s] - (s in ends) for s in starts)
    return list(islice(_by_length(successors, starts, lengths), limit)), total


def _targets_first(successors: Mapping[str, Collection[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(successors).static_order())
    except CycleError as error:
        msg = f"the lineage of that time has a cycle, so its paths cannot be counted: {' → '.join(error.args[1])}"
        raise PreconditionFailed(msg, path=error.args[1]) from None


def _by_length(
    successors: Mapping[str, Collection[str]], starts: Sequence[str], lengths: Mapping[str, int]
) -> Iterator[list[str]]:
    longest = max((lengths[s].bit_length() for s in starts), default=0)
    for length in range(1, longest):
        for start in starts:
            yield from _of_length(successors, start, length, lengths)


def _of_length(
    successors: Mapping[str, Collection[str]], start: str, length: int, lengths: Mapping[str, int]
) -> Iterator[list[str]]:
    """Paths of exactly this length, in order of their ids; a stack, since paths outgrow Python's own."""
    path: list[str] = []
    stack: list[Iterator[str]] = [iter([start])]
    while stack:
        left = length - len(path)
        node = next((n for n in stack[-1] if lengths[n] >> left & 1), None)
        if node is None:
            stack.pop()
            if path:
                path.pop()
        elif left == 0:
            yield [*path, node]
        else:
            path.append(node)
            stack.append(iter(sorted(successors.get(node, ()))))
