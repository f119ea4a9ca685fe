"""What a file tells: nodes and edges to record, each with its place in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lineal.errors import InvalidArgument, LimitExceeded
from resolvers.writing.importing import MAX_ITEMS, ImportedEdge, ImportedNode

MAX_BYTES: Final = 64 * 2**20
"""Bytes of one file."""


@dataclass
class Told:
    """Nodes by their addresses and edges, each with the place in the file that it was told at.

    `notes` say what is in the file and not in these, each in one sentence.
    """

    nodes: dict[str, ImportedNode] = field(default_factory=dict)
    edges: list[ImportedEdge] = field(default_factory=list)
    node_places: list[str] = field(default_factory=list)
    edge_places: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def node(self, address: str, place: str, **more: Any) -> None:
        """Tell a node, or more of one that was told."""
        if address not in self.nodes:
            self._count()
            self.nodes[address] = ImportedNode(address=address)
            self.node_places.append(place)
        given: Any = {name: value for name, value in more.items() if value}
        self.nodes[address] |= given

    def edge(self, source: str, kind: str, target: str, place: str, **more: Any) -> None:
        """Tell an edge."""
        self._count()
        given: Any = {"from": source, "kind": kind, "to": target, **more}
        self.edges.append(given)
        self.edge_places.append(place)

    def note(self, text: str) -> None:
        """Say what is left out."""
        if text not in self.notes:
            self.notes.append(text)

    def _count(self) -> None:
        if len(self.nodes) + len(self.edges) == MAX_ITEMS:
            msg = f"file: tells of more than {MAX_ITEMS:,} nodes and edges; at most so many are taken at once"
            raise LimitExceeded(msg, field="file", maximum=MAX_ITEMS)


def bounded(data: bytes) -> str:
    """A file as text. Raises LimitExceeded, InvalidArgument: it is too large, or no UTF-8."""
    if len(data) > MAX_BYTES:
        msg = f"file: has more than the {MAX_BYTES:,} bytes that are taken"
        raise LimitExceeded(msg, field="file", maximum=MAX_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"file: must be UTF-8, and is not at byte {error.start:,}", field="file") from None


def wrong(place: str, what: str) -> InvalidArgument:
    """What is wrong at a place of a file."""
    return InvalidArgument(f"{place}: {what}", field=place)
