"""Models: registered, changed, renamed, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auth.roles import Role
from graph.ontology import MODEL
from resolvers.lifecycle.schemes import role_for
from resolvers.writing.common import NOTHING
from resolvers.writing.deleting import deleting
from resolvers.writing.nodes import registering, renaming, updating


def _needed(*, properties: Mapping[str, Any] = NOTHING, **_: Any) -> Role:
    return role_for(properties)


register_model = registering("registerModel", MODEL, _needed)
update_model = updating("updateModel", MODEL, "model", _needed)
rename_model = renaming("renameModel", MODEL, "model")
delete_model = deleting("deleteModel", MODEL, "model")
