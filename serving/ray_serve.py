"""Ray Serve: an application for each version of a deployment, told by the REST API of a cluster's dashboard.

`url` is the dashboard's (port 8265); the secret `token` is presented where it wants one. An application is what the
setting `import_path` names, in the code of the cluster's image or of the setting `working_dir` (a URI). It learns what
to load from its environment: LINEAL_MODEL_URI (where the files are), LINEAL_MODEL_NUMBER, LINEAL_MODEL_VERSION and
LINEAL_MODEL_TAG.

Settings: import_path (needed), working_dir, args (a table, for builders), deployment (the one that resources are of,
and that user_config goes to), user_config (a table). Resources: num_replicas, num_cpus, num_gpus (they need the
setting `deployment`).

The version with weight 1 answers at the route /NAME, each other one at /NAME/versions/NUMBER; the option
`inference_url` is what comes before. An application is called NAME.NUMBER.DIGEST, where the digest is of all that makes
it: so another one never takes the place of one that answers, which keeps its route until the new one runs.

A call has the applications of everybody, and those that are not in it are deleted. What is of others (applications by
other names) is sent again as the cluster has it, unless the option `exclusive` says that all of it is Lineal's. The
cluster knows no revisions of that list: of two who change it in the same moment, the later one wins, and what was lost
is seen and told again. Applications that were not deployed by this API are never touched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from lineal.errors import InvalidArgument, PreconditionFailed, Unavailable
from serving.checking import check_count, check_unsplit, check_words, default_of
from serving.http import Http
from serving.placing import Content, keep_only, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, tag_of
from serving.targets import TargetConfig, check_url
from storage.configuration import Kind

PATH: Final = "/api/serve/applications/"
RUNNING: Final = "RUNNING"
MAX_REPLICAS: Final = 10_000

_STATES: Final = {RUNNING: State.READY, "DEPLOY_FAILED": State.FAILED}
_ILL: Final = ("DEPLOY_FAILED", "UNHEALTHY")
"""What a deployment in an application is, that knows better than the application why it fails."""
_SHARED: Final = ("proxy_location", "http_options", "grpc_options", "target_capacity")
"""What a call says of the whole cluster: it is sent again as it is."""
_NAME: Final = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,62})\.(?P<number>[1-9][0-9]*)\.[0-9a-f]{12}")
_SETTINGS: Final[Mapping[str, Kind]] = {
    "import_path": str,
    "working_dir": str,
    "args": dict,
    "deployment": str,
    "user_config": dict,
}
_RESOURCES: Final[Mapping[str, Kind]] = {"num_replicas": int, "num_cpus": float, "num_gpus": float}


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the cluster has it."""

    name: str
    status: str
    config: Mapping[str, Any]
    """What was told of it; empty where that was not by this API."""
    route: str
    replicas: int
    message: str

    @property
    def deployment(self) -> str:
        """The name of Lineal's deployment that it is by its name of, or empty."""
        found = _NAME.fullmatch(self.name)
        return found["name"] if found else ""

    @property
    def number(self) -> int:
        """The number of the version that it is of."""
        return int(self.name.split(".")[1])

    @property
    def tag(self) -> str:
        """The tag of the files that it is of."""
        tag = self.config.get("runtime_env", {}).get("env_vars", {}).get("LINEAL_MODEL_TAG", "")
        return str(tag)


class RayServe(Adapter):
    """A Ray cluster."""

    platform: ClassVar[str] = "ray-serve"
    splits: ClassVar[bool] = False
    modes: ClassVar[tuple[str, ...]] = ("folder", "object", "none")
    options: ClassVar[Mapping[str, Kind]] = {"inference_url": str, "exclusive": bool}
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        url = config.options.get("inference_url", "")
        self._inference = check_url(url, config.at("options.inference_url")) if url else ""
        self._exclusive = config.options.get("exclusive", False)
        self._http = Http(config)
        self._place = place_of(config)

    def check(self, desired: Desired) -> None:
        check_words(desired.settings, _SETTINGS, "settings")
        check_words(desired.resources, _RESOURCES, "resources")
        check_count(desired.resources, "num_replicas", "resources", MAX_REPLICAS)
        check_unsplit(desired, "Ray Serve")
        if desired.served and ":" not in desired.settings.get("import_path", ""):
            msg = "settings.import_path: must name an application, such as package.module:app"
            raise InvalidArgument(msg, field="settings.import_path")
        if (desired.resources or "user_config" in desired.settings) and not desired.settings.get("deployment"):
            msg = "settings.deployment: must name the deployment that resources and user_config are of"
            raise InvalidArgument(msg, field="settings.deployment")

    # ── Looking ───────────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        _, there = await self._look()
        return {name: self._observed(name, [each for each in there if each.deployment == name]) for name in names}

    def _observed(self, name: str, there: Sequence[Application]) -> Observed:
        if not there:
            return NOTHING
        seen = tuple(
            Seen(
                each.number,
                _STATES.get(each.status, State.LOADING),
                1.0 if each.route == _route(name) else 0.0,
                each.replicas,
                self._http.clean(each.message) if each.status != RUNNING else "",
                each.tag,
            )
            for each in there
            if each.status != "DELETING"
        )
        url = f"{self._inference}{_route(name)}" if self._inference else ""
        return Observed(seen, url, settled=len(seen) == len(there))

    async def _look(self) -> tuple[dict[str, Any], list[Application]]:
        """What is said of the whole cluster, and its applications."""
        answer = (await self._http.call("GET", PATH)).json()
        try:
            shared = {key: answer[key] for key in _SHARED if answer.get(key) is not None}
            return shared, [_application(name, told) for name, told in answer["applications"].items()]
        except (AttributeError, KeyError, TypeError) as error:
            raise Unavailable(f"the dashboard's answer is not understood ({error!r:.100})") from None

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        if self._place is not None:
            for served in desired.served:
                await self._place.put(f"{desired.name}/{_folder(served)}", Content(served.source))

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:
        shared, there = await self._look()
        wanted = [await self._told(desired, served, bring=True) for served in desired.served]
        before = {each.name: each for each in there if each.deployment == desired.name and each.status != "DELETING"}
        after = self._step(desired, [each for each in wanted if each], before)
        if after == [dict(each.config) for each in before.values()]:
            await keep_only(self._place, desired.name, {_folder(each) for each in desired.served} | _folders(before))
            return
        rest = [
            dict(each.config)
            for each in there
            if each.deployment != desired.name and each.config and each.status != "DELETING"
            if not self._exclusive or each.deployment in {other.name for other in others}
        ]
        taken = {config["name"] for config in rest}
        routes = {config.get("route_prefix") for config in rest}
        rest += [_without(routes, config) async for config in self._missing(others, taken)]
        await self._http.call("PUT", PATH, json={**shared, "applications": [*rest, *after]})

    def _step(
        self, desired: Desired, wanted: Sequence[dict[str, Any]], before: Mapping[str, Application]
    ) -> list[dict[str, Any]]:
        """The applications of a deployment that are to be there next, the new ones last."""
        names = {config["name"] for config in wanted}
        if all(name in before and before[name].status == RUNNING for name in names):
            configs = {config["name"]: config for config in wanted}
            return [configs[name] for name in before if name in configs]
        # What answers keeps its route until all that shall answer run.
        kept = [
            dict(each.config)
            for each in before.values()
            if each.name in names or each.status == RUNNING or each.route == _route(desired.name)
        ]
        routes = {config.get("route_prefix") for config in kept}
        new = [config for config in wanted if config["name"] not in before]
        return kept + [_without(routes, config) for config in new]

    async def _missing(self, others: Sequence[Desired], taken: Collection[str]) -> AsyncIterator[dict[str, Any]]:
        """The applications of the others that the cluster does not have, as far as their files are there."""
        for other in others:
            for served in other.served:
                config = await self._told(other, served, bring=False)
                if config is not None and config["name"] not in taken:
                    yield config

    async def _told(self, desired: Desired, served: Served, *, bring: bool) -> dict[str, Any] | None:
        """What is told of a version, with the route that it shall have; None where its files are not there."""
        uri = served.source.uri
        if self._place is not None:
            path = f"{desired.name}/{_folder(served)}"
            if bring:
                await self._place.put(path, Content(served.source))
            elif await self._place.tag(path) != tag_of(served.source):
                return None
            uri = self._place.address(path)
        if not uri:
            if not bring:
                return None
            msg = f"version {served.number} is nowhere that Ray could read it: configure files of mode folder or object"
            raise PreconditionFailed(msg)
        return _config(desired, served, uri)

    async def close(self) -> None:
        await self._http.close()
        if self._place is not None:
            await self._place.close()


def _application(name: str, told: Mapping[str, Any]) -> Application:
    config = told.get("deployed_app_config") or {}
    if told.get("source", "declarative") != "declarative":
        config = {}
    deployments = (told.get("deployments") or {}).values()
    replicas = [each for deployment in deployments for each in deployment.get("replicas") or ()]
    messages = [each.get("message") for each in deployments if each.get("status") in _ILL]
    lines = str(next(filter(None, messages), None) or told.get("message") or "").strip().splitlines()
    return Application(
        name,
        str(told["status"]),
        config,
        str(config.get("route_prefix") or ""),
        sum(each.get("state") == RUNNING for each in replicas),
        # Of a traceback, the last line says what went wrong.
        lines[-1] if lines else "",
    )


def _config(desired: Desired, served: Served, uri: str) -> dict[str, Any]:
    settings, resources = desired.settings, desired.resources
    environment = {
        "LINEAL_MODEL_URI": uri,
        "LINEAL_MODEL_NUMBER": str(served.number),
        "LINEAL_MODEL_VERSION": served.version,
        "LINEAL_MODEL_TAG": tag_of(served.source),
    }
    config: dict[str, Any] = {"import_path": settings.get("import_path"), "runtime_env": {"env_vars": environment}}
    if working_dir := settings.get("working_dir"):
        config["runtime_env"]["working_dir"] = working_dir
    if args := settings.get("args"):
        config["args"] = dict(args)
    if deployment := settings.get("deployment"):
        actor = {key: resources[key] for key in ("num_cpus", "num_gpus") if key in resources}
        told = {
            "num_replicas": resources.get("num_replicas"),
            "ray_actor_options": actor,
            "user_config": dict(settings.get("user_config", {})),
        }
        config["deployments"] = [{"name": deployment, **{key: value for key, value in told.items() if value}}]
    digest = hashlib.sha256(orjson.dumps(config, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]
    answers = served.number == default_of(desired)
    return {
        "name": f"{desired.name}.{served.number}.{digest}",
        "route_prefix": _route(desired.name) if answers else f"{_route(desired.name)}/versions/{served.number}",
        **config,
    }


def _without(routes: Collection[Any], config: dict[str, Any]) -> dict[str, Any]:
    """What is told of an application, without its route where that is taken."""
    return {**config, "route_prefix": None} if config["route_prefix"] in routes else config


def _route(name: str) -> str:
    return f"/{name}"


def _folder(served: Served) -> str:
    return f"{served.number}-{tag_of(served.source)}"


def _folders(applications: Mapping[str, Application]) -> set[str]:
    return {f"{each.number}-{each.tag}" for each in applications.values()}
