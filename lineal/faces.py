"""Which face of Lineal a path belongs to: one of a few words, for metrics and spans."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gateway.events import PATH as EVENTS
from gateway.inbound import PATHS as INBOUND
from gateway.mlflow.face import is_mlflow
from gateway.openlineage.view import BATCH, PATH
from gateway.rest.routes import PATH as REST
from gateway.scim import PATH as SCIM
from gateway.ui.pages import PATHS as UI

OTHER: Final = "other"
HEALTH: Final = "health"

_EXACT: Final = {
    "/graphql": "graphql",
    **dict.fromkeys(("/healthz", "/readyz", "/metrics"), HEALTH),
    **dict.fromkeys((PATH, BATCH), "openlineage"),
    **dict.fromkeys(INBOUND, "inbound"),
    **dict.fromkeys(UI, "pages"),
    EVENTS: "events",
}
_BEGIN: Final = ((f"{REST}/", "rest"), (f"{SCIM}/", "scim"), ("/bytes/", "bytes"))
FACES: Final = tuple(dict.fromkeys([*_EXACT.values(), *(face for _, face in _BEGIN), "mlflow", OTHER]))
"""All of them. `health` is what those ask who watch the process."""


@lru_cache(1_024)
def face_of(path: str) -> str:
    """The face of a path: graphql, rest, mlflow, openlineage, scim, bytes, events, inbound, pages, health or other."""
    if face := _EXACT.get(path):
        return face
    # Before REST's: they have one beginning.
    if is_mlflow(path):
        return "mlflow"
    return next((face for begin, face in _BEGIN if path.startswith(begin)), OTHER)
