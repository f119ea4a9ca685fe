"""KServe on Kubernetes: an InferenceService for each deployment, applied by the server for the manager `lineal`.

`url` is the API server's; the secret `token` is of a service account that may get, list, patch and delete
inferenceservices.serving.kserve.io in the option `namespace`. Versions are read from where they are: the object store
that Lineal places them in, or the URI that they have (files of mode `none`).

Settings: model_format (needed), model_format_version, runtime, protocol_version, service_account, env (a table),
deployment_mode. Resources: requests and limits (tables, as of a container), min_replicas, max_replicas.

Two versions at most share requests, by whole percents. In other deployment modes than Serverless, which is taken for
the default, KServe has one version alone.

What is told is kept in annotations of the service, beside the labels by which it is found:

    lineal/number, lineal/version, lineal/tag    the version that is specified
    lineal/applied                               what was specified of it, so that somebody else's change is seen
    lineal/revisions                             of which versions the revisions before it are

They change only with the specification: KServe hands annotations on to its revisions, so that a change of one makes a
new revision. Where a service is Lineal's, fields that somebody else changed are taken back; one that is not is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import orjson

from lineal.errors import InvalidArgument, PreconditionFailed, Unavailable
from serving.checking import check_count, check_words, too_many, wrong_weight
from serving.http import Http
from serving.kserve_status import MANAGED, MANAGER, MODE, Parts, written
from serving.kserve_steps import Shape, Step, Wanted, first, following, percent_of
from serving.placing import Content, keep_only, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, fulfils, tag_of
from serving.targets import TargetConfig
from storage.configuration import Kind, wrong

API: Final = "serving.kserve.io/v1beta1"
KIND: Final = "InferenceService"
SERVERLESS: Final = "Serverless"
MAX_REPLICAS: Final = 1000
PAGE: Final = 500
"""Services that one answer lists."""

_SETTINGS: Final[Mapping[str, Kind]] = {
    "model_format": str,
    "model_format_version": str,
    "runtime": str,
    "protocol_version": str,
    "service_account": str,
    "env": dict,
    "deployment_mode": (SERVERLESS, "RawDeployment", "Standard"),
}
_RESOURCES: Final[Mapping[str, Kind]] = {"requests": dict, "limits": dict, "min_replicas": int, "max_replicas": int}


class KServe(Adapter):
    """A namespace of a Kubernetes cluster with KServe."""

    platform: ClassVar[str] = "kserve"
    splits: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = ("object", "none")
    options: ClassVar[Mapping[str, Kind]] = {"namespace": str}
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        namespace = config.options.get("namespace", "")
        if not namespace:
            raise wrong(config.at("options.namespace"), "must be the namespace of the services")
        self._http = Http(config)
        self._path = f"/apis/{API}/namespaces/{namespace}/inferenceservices"
        self._place = place_of(config)

    def check(self, desired: Desired) -> None:
        if desired.name.endswith("-"):
            raise InvalidArgument("name: must not end with a hyphen on KServe", field="name")
        check_words(desired.settings, _SETTINGS, "settings")
        check_words(desired.resources, _RESOURCES, "resources")
        for name in ("min_replicas", "max_replicas"):
            check_count(desired.resources, name, "resources", MAX_REPLICAS)
        if desired.served and not desired.settings.get("model_format"):
            msg = "settings.model_format: must name the format of the model, such as sklearn or onnx"
            raise InvalidArgument(msg, field="settings.model_format")
        alone = desired.settings.get("deployment_mode", SERVERLESS) != SERVERLESS
        too_many(desired, 1 if alone else 2, "KServe in this deployment mode" if alone else "KServe")
        for i, each in enumerate(desired.served):
            if percent_of(each.weight) is None:
                raise wrong_weight(i, each.weight, "KServe divides requests by whole percents, such as 0.05")
        total = sum(percent_of(each.weight) or 0 for each in desired.served)
        if desired.served and total != 100:
            raise wrong_weight(0, desired.served[0].weight, f"the weights come to {total} % of the requests, not all")

    # ── Looking ───────────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        there = await self._services(names)
        return {name: _observed(there[name]) if name in there else NOTHING for name in names}

    async def _services(self, names: Collection[str]) -> Mapping[str, Parts]:
        if len(names) == 1:
            (name,) = names
            found = await self._get(name)
            return {name: found} if found is not None else {}
        listed: dict[str, Parts] = {}
        more = ""
        while True:
            query = {"labelSelector": f"{MANAGED}={MANAGER}", "limit": PAGE} | ({"continue": more} if more else {})
            page = _table((await self._http.call("GET", self._path, params=query)).json())
            for item in page.get("items", []):
                parts = Parts(_table(item))
                if parts.name in names:
                    listed[parts.name] = parts
            more = _table(page.get("metadata") or {}).get("continue", "")
            if not more:
                return listed

    async def _get(self, name: str) -> Parts | None:
        answer = await self._http.call("GET", f"{self._path}/{name}", accept={404})
        return None if answer.status == 404 else Parts(_table(answer.json()))

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        if self._place is not None:
            for served in desired.served:
                await self._place.put(f"{desired.name}/{_folder(served)}", Content(served.source))

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        parts = await self._get(desired.name)
        if parts is not None and not parts.managed:
            msg = f"the InferenceService {desired.name} is not Lineal's: remove it, or deploy by another name"
            raise PreconditionFailed(msg)
        if parts is not None and parts.going:
            return
        if not desired.served:
            if parts is not None:
                await self._delete(parts)
            else:
                await keep_only(self._place, desired.name, ())
            return
        told = {}
        for served in desired.served:
            shape, predictor = await self._told(desired, served)
            told[shape] = served, predictor
        wanted = [Wanted(shape, percent_of(served.weight) or 0) for shape, (served, _) in told.items()]
        if parts is None:
            step: Step | None = first(wanted)
        elif not parts.known:
            # Its revision is not there yet, and could not be told from that of the next.
            return
        else:
            step = following(parts.service(), wanted)
        if step is None:
            if parts is not None and fulfils(_observed(parts), desired):
                await keep_only(self._place, desired.name, {_folder(served) for served in desired.served})
            return
        if parts is not None and step.shape == parts.shape:
            # The share alone: what makes revisions stays as it is.
            await self._patch(desired.name, parts.own_annotations, parts.applied, step.percent, parts)
            return
        served, predictor = told[step.shape]
        annotations = {
            "lineal/number": str(served.number),
            "lineal/version": served.version,
            "lineal/tag": step.shape.tag,
            "lineal/digest": step.shape.digest,
            "lineal/applied": orjson.dumps(predictor, option=orjson.OPT_SORT_KEYS).decode(),
            "lineal/revisions": written(parts.revisions() if parts else {}),
        }
        if mode := desired.settings.get("deployment_mode"):
            annotations[MODE] = mode
        await self._patch(desired.name, annotations, predictor, step.percent, parts)

    async def _told(self, desired: Desired, served: Served) -> tuple[Shape, dict[str, Any]]:
        """What is specified of a version, once its files are where that says."""
        source = served.source
        uri = source.uri
        if self._place is not None:
            path = f"{desired.name}/{_folder(served)}"
            await self._place.put(path, Content(source))
            uri = self._place.address(path)
        if not uri:
            msg = f"version {served.number} is nowhere that KServe could read it: configure files of mode object"
            raise PreconditionFailed(msg)
        predictor = _predictor(desired, uri)
        digest = hashlib.sha256(orjson.dumps(predictor, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
        return Shape(served.number, tag_of(source), digest), predictor

    async def _patch(
        self,
        name: str,
        annotations: Mapping[str, str],
        predictor: Mapping[str, Any],
        percent: int,
        parts: Parts | None,
    ) -> None:
        body = {
            "apiVersion": API,
            "kind": KIND,
            "metadata": {
                "name": name,
                "labels": {MANAGED: MANAGER},
                "annotations": dict(annotations),
                # Somebody who came in between is seen, and not written over.
                **({"resourceVersion": parts.version} if parts is not None else {}),
            },
            "spec": {"predictor": {**predictor, "canaryTrafficPercent": percent}},
        }
        answer = await self._http.call(
            "PATCH",
            f"{self._path}/{name}",
            params={"fieldManager": MANAGER, "force": "true" if parts is not None else "false"},
            content=orjson.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
            accept={409},
        )
        if answer.status == 409:
            raise Unavailable(f"the InferenceService {name} was changed at the same time")

    async def _delete(self, parts: Parts) -> None:
        body = {"preconditions": {"uid": parts.uid, "resourceVersion": parts.version}}
        answer = await self._http.call("DELETE", f"{self._path}/{parts.name}", json=body, accept={404, 409})
        if answer.status == 409:
            raise Unavailable(f"the InferenceService {parts.name} was changed at the same time")

    async def close(self) -> None:
        await self._http.close()
        if self._place is not None:
            await self._place.close()


def _folder(served: Served) -> str:
    return f"{served.number}-{tag_of(served.source)}"


def _predictor(desired: Desired, uri: str) -> dict[str, Any]:
    settings, resources = desired.settings, desired.resources
    formatted = {"name": settings.get("model_format"), "version": settings.get("model_format_version")}
    model = {
        "modelFormat": {key: value for key, value in formatted.items() if value},
        "storageUri": uri,
        "runtime": settings.get("runtime"),
        "protocolVersion": settings.get("protocol_version"),
        "env": [{"name": name, "value": value} for name, value in sorted(settings.get("env", {}).items())],
        "resources": {key: dict(resources[key]) for key in ("requests", "limits") if resources.get(key)},
    }
    predictor = {
        "model": {key: value for key, value in model.items() if value},
        "serviceAccountName": settings.get("service_account"),
        "minReplicas": resources.get("min_replicas"),
        "maxReplicas": resources.get("max_replicas"),
    }
    return {key: value for key, value in predictor.items() if value}


def _observed(parts: Parts) -> Observed:
    if not parts.managed:
        return Observed((Seen(None, State.READY),), parts.url, "the InferenceService is not Lineal's")
    seen: dict[tuple[int | None, str], Seen] = {}
    for shape, weight in parts.weights().items():
        state, message = parts.state(shape)
        each = Seen(shape.number, state, weight, message=message, tag=shape.tag)
        key = shape.number, shape.tag
        # One version with two specifications is as far as the one that is less far.
        if before := seen.get(key):
            each = replace(before if each.state is State.READY else each, weight=(before.weight or 0.0) + weight)
        seen[key] = each
    return Observed(tuple(seen.values()), parts.url, settled=parts.settled)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unavailable("the API server's answer is not understood")
    return value
