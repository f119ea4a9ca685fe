"""An API server of Kubernetes with KServe behind it, as far as InferenceServices go.

It applies for managers: a field belongs to those who applied it, and one that another manager has is a conflict unless
forced; a field that its only manager applies no more is gone. Each change gives a resourceVersion, each change of the
specification a generation. KServe follows one step at each look: it hands the specification to Knative (status is of
the revision before), a revision comes to be, its model is loaded or fails, and requests are divided. Which revision is
rolled out is decided as in KServe's PropagateStatus.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.serving.standing import Answer, StandIn

GONE = object()
"""The value of a field that is not there."""
Path = tuple[str, ...]


@dataclass
class Revision:
    """A revision of Knative: where its model is, and which version its annotations say that it is of."""

    name: str
    uri: str
    number: str
    ready: bool = False


@dataclass
class Service:
    """An InferenceService, who has which fields, and Knative's service behind it."""

    object: dict[str, Any]
    managers: dict[str, set[Path]] = field(default_factory=dict)
    template: str = ""
    revisions: list[Revision] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    """How far KServe is behind the specification: 2 steps at a change, then 1, then none."""

    def revision(self, name: str) -> Revision | None:
        return next((each for each in self.revisions if each.name == name), None)


class KServeServer(StandIn):
    """A cluster with one namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[str, Service] = {}
        self._clock = 0

    # ── The API ───────────────────────────────────────────────────────────────────────────────────

    def handle(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Answer:
        assert path[:5] == ["apis", "serving.kserve.io", "v1beta1", "namespaces", "models"], path
        assert path[5] == "inferenceservices", path
        name = path[6] if len(path) > 6 else ""
        if method == "PATCH":
            return self.apply(name, body, query["fieldManager"], force=query.get("force") == "true")
        if not name:
            return self._list(query)
        service = self.services.get(name)
        if service is None:
            return _status(404, "NotFound", f'inferenceservices.serving.kserve.io "{name}" not found')
        if method == "DELETE":
            return self._delete(name, service, body)
        self._follow(service)
        return 200, service.object

    def _list(self, query: dict[str, str]) -> Answer:
        key, _, value = query.get("labelSelector", "").partition("=")
        names = sorted(n for n, s in self.services.items() if s.object["metadata"].get("labels", {}).get(key) == value)
        start = int(query.get("continue") or 0)
        end = start + int(query.get("limit") or len(names))
        for name in names[start:end]:
            self._follow(self.services[name])
        metadata = {"continue": str(end)} if end < len(names) else {}
        return 200, {"items": [self.services[name].object for name in names[start:end]], "metadata": metadata}

    def _delete(self, name: str, service: Service, body: Any) -> Answer:
        wanted = (body or {}).get("preconditions", {})
        metadata = service.object["metadata"]
        if any(metadata[key] != value for key, value in wanted.items()):
            return _status(409, "Conflict", "the object has been modified")
        del self.services[name]
        return 200, {"kind": "Status", "status": "Success"}

    def apply(self, name: str, body: Any, manager: str, *, force: bool) -> Answer:
        """Apply for a manager."""
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or body["metadata"]["name"] != name:
            return _status(422, "Invalid", "metadata.name: Invalid value")
        version = body["metadata"].pop("resourceVersion", None)
        service = self.services.get(name)
        if service is not None and version not in {None, service.object["metadata"]["resourceVersion"]}:
            return _status(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        if service is None and version is not None:
            return _status(409, "Conflict", "uid mismatch: the object was removed")
        told = dict(_leaves(body))
        if service is None:
            self._clock += 1
            service = Service({"metadata": {"name": name, "uid": f"uid-{self._clock}", "generation": 0}, "status": {}})
        before = copy.deepcopy(service.object)
        for path, value in told.items():
            others = [who for who, fields in service.managers.items() if who != manager and path in fields]
            if others and _get(service.object, path) != value:
                if not force:
                    message = f'Apply failed with 1 conflict: conflict with "{others[0]}": .{".".join(path)}'
                    return _status(409, "Conflict", message)
                for who in others:
                    service.managers[who].discard(path)
        for path in service.managers.get(manager, set()) - set(told):
            if not any(path in fields for who, fields in service.managers.items() if who != manager):
                _drop(service.object, path)
        for path, value in told.items():
            _set(service.object, path, value)
        service.managers[manager] = set(told)
        self.services[name] = service
        return self._changed(service, before)

    def update(self, name: str, path: Path, value: Any, manager: str = "kubectl-edit") -> None:
        """Change a field as somebody else."""
        with self.lock:
            service = self.services[name]
            before = copy.deepcopy(service.object)
            for fields in service.managers.values():
                fields.discard(path)
            service.managers.setdefault(manager, set()).add(path)
            _set(service.object, path, value)
            self._changed(service, before)

    def _changed(self, service: Service, before: dict[str, Any]) -> Answer:
        metadata = service.object["metadata"]
        if service.object != before:
            self._clock += 1
            metadata["resourceVersion"] = str(self._clock)
        if service.object.get("spec") != before.get("spec"):
            metadata["generation"] += 1
        if service.object != before:
            service.steps = 2
        metadata["managedFields"] = [{"manager": who, "operation": "Apply"} for who in sorted(service.managers)]
        return 200, service.object

    # ── KServe and Knative ────────────────────────────────────────────────────────────────────────

    def _follow(self, service: Service) -> None:
        status = service.object["status"]
        before = copy.deepcopy(status)
        if service.steps == 2:
            # Knative is told, and what it says is of the revision before.
            status["observedGeneration"] = service.object["metadata"]["generation"]
            service.steps = 1
        elif service.steps == 1:
            self._reconcile(service)
            service.steps = 0
        else:
            self._load(service)
        self._divide(service)
        if status != before:
            self._clock += 1
            service.object["metadata"]["resourceVersion"] = str(self._clock)

    @staticmethod
    def _reconcile(service: Service) -> None:
        metadata, predictor = service.object["metadata"], service.object["spec"]["predictor"]
        component = _component(service)
        if predictor["model"].get("runtime") == "unknown":
            service.object["status"]["modelStatus"] = {
                "transitionStatus": "InvalidSpec",
                "lastFailureInfo": {"reason": "RuntimeNotRecognized", "message": "there is no runtime unknown"},
            }
            return
        template = {key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}
        made = json.dumps([template, metadata.get("annotations", {}), metadata.get("labels", {})], sort_keys=True)
        if made != service.template:
            service.template = made
            name = f"{metadata['name']}-predictor-{len(service.revisions) + 1:05}"
            number = metadata.get("annotations", {}).get("lineal/number", "")
            service.revisions.append(Revision(name, predictor["model"]["storageUri"], number))
            service.object["status"]["modelStatus"] = {
                "transitionStatus": "InProgress",
                "states": {"activeModelState": "", "targetModelState": "Loading"},
            }
        percent, rolled_out = predictor.get("canaryTrafficPercent"), component.get("latestRolledoutRevision", "")
        if percent is None or not rolled_out:
            service.traffic = [{"latestRevision": True, "percent": 100}]
        else:
            service.traffic = [{"latestRevision": True, "percent": percent}]
            if percent < 100:
                service.traffic.append({"revisionName": rolled_out, "percent": 100 - percent, "tag": "prev"})

    @staticmethod
    def _load(service: Service) -> None:
        model = service.object["status"]["modelStatus"]
        if model["transitionStatus"] in {"BlockedByFailedLoad", "InvalidSpec", "UpToDate"}:
            return
        newest = service.revisions[-1]
        if newest.uri.rpartition("/")[2].isdigit():
            newest.ready = True
            loaded = {"activeModelState": "Loaded", "targetModelState": "Loaded"}
            service.object["status"]["modelStatus"] = {"transitionStatus": "UpToDate", "states": loaded}
        else:
            service.object["status"]["modelStatus"] = {
                "transitionStatus": "BlockedByFailedLoad",
                "states": {"activeModelState": "Loaded", "targetModelState": "FailedToLoad"},
                "lastFailureInfo": {"reason": "ModelLoadFailed", "message": f"no model at {newest.uri}"},
            }

    @staticmethod
    def _divide(service: Service) -> None:
        if not service.revisions:
            return
        component = _component(service)
        ready = next((each.name for each in reversed(service.revisions) if each.ready), "")
        component["latestCreatedRevision"] = service.revisions[-1].name
        traffic = [{**each, "revisionName": each.get("revisionName", ready)} for each in service.traffic]
        component["traffic"] = [each for each in traffic if each["revisionName"]]
        shares: dict[str, int] = {}
        for each in component["traffic"]:
            shares[each["revisionName"]] = shares.get(each["revisionName"], 0) + each["percent"]
        for each in component["traffic"]:
            if each["revisionName"] == ready and each.get("latestRevision"):
                if component.get("latestRolledoutRevision", "") != ready:
                    if each["percent"] == 100:
                        component["previousRolledoutRevision"] = component.get("latestRolledoutRevision", "")
                        component["latestRolledoutRevision"] = ready
                elif (
                    ready == component["latestCreatedRevision"]
                    and each["percent"] < shares[ready] == 100
                    and component.get("previousRolledoutRevision")
                ):
                    component["latestRolledoutRevision"] = component["previousRolledoutRevision"]
        component["latestReadyRevision"] = ready
        up = {"type": "Ready", "status": "True" if ready == component["latestCreatedRevision"] else "Unknown"}
        service.object["status"]["conditions"] = [up]

    # ── What a test asks ──────────────────────────────────────────────────────────────────────────

    def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer of a revision that requests can reach: by its share, or one of a version."""
        with self.lock:
            service = self.services.get(name)
            if not self.running or service is None:
                return None
            targets = [
                (service.revision(each["revisionName"]), each["percent"])
                for each in _component(service).get("traffic", [])
            ]
            reached = [(revision, share) for revision, share in targets if revision is not None and revision.ready]
            if number is not None:
                reached = [(revision, 1) for revision, _ in reached if revision.number == str(number)]
            shares = [share for _, share in reached]
            if not any(shares):
                return None
            revision = random.choices([revision for revision, _ in reached], shares)[0]
            return int(revision.uri.rpartition("/")[2])


def _component(service: Service) -> dict[str, Any]:
    component: dict[str, Any] = service.object["status"].setdefault("components", {}).setdefault("predictor", {})
    return component


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    else:
        yield path, value


def _get(value: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return GONE
        value = value[key]
    return value


def _set(value: Any, path: Path, new: Any) -> None:
    for key in path[:-1]:
        value = value.setdefault(key, {})
    value[path[-1]] = new


def _drop(value: Any, path: Path) -> None:
    for key in path[:-1]:
        value = value.get(key, {})
    value.pop(path[-1], None)


def _status(code: int, reason: str, message: str) -> Answer:
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
