"""Models: registered, changed, renamed, deleted."""

from __future__ import annotations

from graph.ontology import MODEL
from resolvers.writing.deleting import deleting
from resolvers.writing.nodes import registering, renaming, updating

register_model = registering("registerModel", MODEL)
update_model = updating("updateModel", MODEL, "model")
rename_model = renaming("renameModel", MODEL, "model")
delete_model = deleting("deleteModel", MODEL, "model")
