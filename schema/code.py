"""CodeRevision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graph import ontology
from schema.connection import Connection
from schema.declare import edge, noun, prop
from schema.node import Node

if TYPE_CHECKING:
    from schema.model import ModelVersion
    from schema.run import Run


@noun(ontology.CODE_REVISION)
class CodeRevision(Node):
    """A commit."""

    repository: str = prop()
    commit: str = prop()
    branch: str | None = prop()
    path: str | None = prop()
    model_versions: Connection[ModelVersion] = edge(ontology.BUILT_FROM, "IN", "The model versions that it made.")
    runs: Connection[Run] = edge(ontology.BUILT_FROM, "IN", "The runs that ran it.")
