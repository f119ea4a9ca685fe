"""Ids: a kind's prefix, an underscore, and a ULID (https://github.com/ulid/spec).

Opaque to clients, sortable by time of birth, never used again.
"""

from __future__ import annotations

import re

from ulid import ULID

from graph.ontology import KIND_OF_PREFIX, NodeKind

DEFAULT_WORKSPACE_ID = "ws_00000000000000000000000000"
"""The same in every store, so that whole graphs can move between stores."""

_ID = re.compile(r"([a-z]{2})_[0-9A-HJKMNP-TV-Z]{26}")


def new_id(prefix: str) -> str:
    """A fresh id with this prefix."""
    return f"{prefix}_{ULID()}"


def kind_of(id: str) -> NodeKind | None:
    """The kind that an id belongs to, or None when the text is no node's id."""
    match = _ID.fullmatch(id)
    return KIND_OF_PREFIX.get(match[1]) if match else None
