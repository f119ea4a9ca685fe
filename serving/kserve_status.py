"""What an InferenceService says of itself: what was specified, which revisions there are, and how they fare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from serving.kserve_steps import ALL, Service, Shape
from serving.port import State

MANAGED: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "lineal"
"""The value of that label on services that are Lineal's, and the manager of their fields."""
MODE: Final = "serving.kserve.io/deploymentMode"
MAX_REASON: Final = 300
"""Characters of KServe's own words that are repeated."""

_OWN: Final = "lineal/"
_FAILED: Final = ("BlockedByFailedLoad", "InvalidSpec")
_NOBODYS: Final = Shape(None)


class Parts:
    """One InferenceService, as the API server has it. What is missing or of another kind counts as absent."""

    def __init__(self, service: Mapping[str, Any]) -> None:
        metadata, status = _table(service, "metadata"), _table(service, "status")
        component = _table(_table(status, "components"), "predictor")
        self.name = str(metadata.get("name", ""))
        self.uid = str(metadata.get("uid", ""))
        self.version = str(metadata.get("resourceVersion", ""))
        self.going = "deletionTimestamp" in metadata
        self.managed = _table(metadata, "labels").get(MANAGED) == MANAGER
        self.url = str(status.get("url", ""))
        self._annotations = _table(metadata, "annotations")
        self._predictor = _table(_table(service, "spec"), "predictor")
        self._seen = status.get("observedGeneration", metadata.get("generation")) == metadata.get("generation")
        self._model = _table(status, "modelStatus")
        self._conditions = {each.get("type"): each for each in _tables(status, "conditions")}
        self._created = str(component.get("latestCreatedRevision", ""))
        self._ready = str(component.get("latestReadyRevision", ""))
        self._rolled_out = str(component.get("latestRolledoutRevision", ""))
        self._traffic = _tables(component, "traffic")
        self._recorded = _revisions(self._annotations.get(f"{_OWN}revisions", ""))
        self.applied = _json(self._annotations.get(f"{_OWN}applied", ""))
        self.shape = self._shape()

    def _shape(self) -> Shape:
        number = str(self._annotations.get(f"{_OWN}number", ""))
        if not number.isdigit() or not _covers(self._predictor, self.applied):
            return _NOBODYS
        tag, digest = (str(self._annotations.get(f"{_OWN}{name}", "")) for name in ("tag", "digest"))
        return Shape(int(number), tag, digest)

    @property
    def own_annotations(self) -> dict[str, Any]:
        """The annotations that Lineal gave it."""
        return {key: value for key, value in self._annotations.items() if key.startswith(_OWN) or key == MODE}

    @property
    def known(self) -> bool:
        """Whether KServe has taken note of the specification, so that its newest revision is of it."""
        return self._seen and (self._alone or self._new or self._is("InvalidSpec"))

    @property
    def settled(self) -> bool:
        """Whether requests are divided as was specified, as far as KServe can."""
        if not self.known or self.going:
            return False
        latest = next((each.get("percent") for each in self._traffic if each.get("latestRevision")), None)
        return self._alone or latest in {None, self._percent} or not self._rolled_out

    @property
    def _percent(self) -> int:
        percent = self._predictor.get("canaryTrafficPercent")
        return percent if isinstance(percent, int) else ALL

    @property
    def _alone(self) -> bool:
        """Whether it is in a mode that knows no revisions."""
        return bool(self._annotations.get(MODE, "Serverless") != "Serverless")

    @property
    def _new(self) -> bool:
        """Whether the newest revision is none of those before the specification."""
        return bool(self._created) and self._created not in self._recorded

    def _is(self, *transitions: str) -> bool:
        return self._model.get("transitionStatus") in transitions

    def revisions(self) -> dict[str, Shape]:
        """The shapes of the revisions that are in use."""
        shapes = {**self._recorded, **({self._created: self.shape} if self._new else {})}
        used = {
            self._created,
            self._ready,
            self._rolled_out,
            *(str(each.get("revisionName")) for each in self._traffic),
        }
        return {name: shape for name, shape in shapes.items() if name in used}

    def service(self) -> Service:
        """What decides on the next step."""
        if self._alone:
            return Service(self.shape, self._is_up, ALL, self.shape if self._is_up else None)
        base = self.revisions().get(self._rolled_out)
        return Service(self.shape, self._is_up, self._percent, base)

    @property
    def _is_up(self) -> bool:
        if self._alone:
            return self._seen and self._conditions.get("Ready", {}).get("status") == "True"
        return self._new and self._created == self._ready

    def weights(self) -> dict[Shape, float]:
        """The share of each shape of the requests, and of what is specified in any case."""
        if self._alone:
            return {self.shape: 1.0}
        shapes = self.revisions()
        found: dict[Shape, float] = {}
        for each in self._traffic:
            percent = each.get("percent")
            if isinstance(percent, int) and percent > 0:
                shape = shapes.get(str(each.get("revisionName")), _NOBODYS)
                found[shape] = found.get(shape, 0.0) + percent / ALL
        return {**found, self.shape: found.get(self.shape, 0.0)}

    def state(self, shape: Shape) -> tuple[State, str]:
        """What a shape does, and why it failed. One that requests go to is ready."""
        if shape != self.shape or self._is_up or (not self._alone and self.weights()[shape] > 0):
            return State.READY, ""
        failed = self._is(*_FAILED) or _table(self._model, "states").get("targetModelState") == "FailedToLoad"
        if not failed or not self.known:
            return State.LOADING, ""
        told = _table(self._model, "lastFailureInfo")
        message = " ".join(str(told.get("message") or told.get("reason") or "the model failed to load").split())
        return State.FAILED, message[:MAX_REASON]


def written(revisions: Mapping[str, Shape]) -> str:
    """Shapes of revisions as they are kept in an annotation."""
    found = {name: [shape.number, shape.tag, shape.digest] for name, shape in revisions.items()}
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def _revisions(text: Any) -> dict[str, Shape]:
    found = {}
    for name, shape in _json(text).items():
        match shape:
            case [int() | None as number, str() as tag, str() as digest]:
                found[name] = Shape(number, tag, digest)
            case _:
                found[name] = _NOBODYS
    return found


def _json(text: Any) -> dict[str, Any]:
    try:
        found = orjson.loads(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _covers(there: Any, told: Any) -> bool:
    """Whether all that was told is there; what KServe adds of its own does not matter."""
    if isinstance(told, dict):
        return isinstance(there, dict) and all(_covers(there.get(key), value) for key, value in told.items())
    if isinstance(told, list):
        return (
            isinstance(there, list)
            and len(there) == len(told)
            and all(_covers(one, other) for one, other in zip(there, told, strict=True))
        )
    return bool(there == told)


def _table(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _tables(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
