"""BentoML, by the API of BentoCloud: one bento for each deployment.

`url` is BentoCloud's; the secret `token` is an API token; the option `cluster` names one that is not the default.
Lineal builds no bentos: the setting `bento` says which one serves a version, as a tag with {number}, {version} or {tag}
in it (the tag of the version's files), such as "sentiment:v{number}". It must have been built with the version's files
and pushed. There is no place for two versions at once: going back is deploying the earlier bento again.

Settings: bento (needed), env (a table), service (the one that resources are of). Resources: instance_type,
min_replicas, max_replicas (they need the setting `service`).

What is deployed is known by its environment, in which the bento also finds LINEAL_MODEL_NUMBER, LINEAL_MODEL_VERSION
and LINEAL_MODEL_TAG. A deployment without these is not Lineal's, and is left alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from lineal.errors import InvalidArgument, PreconditionFailed, Unavailable
from serving.checking import check_count, check_unsplit, check_words, too_many
from serving.http import Answer, Http
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, tag_of
from serving.targets import TargetConfig
from storage.configuration import Kind, wrong

PATH: Final = "/api/v2/deployments"
AT_ONCE: Final = 8
"""Deployments that are looked at at once."""
MAX_REPLICAS: Final = 1000

_UP: Final = ("running", "scaled-to-zero")
_FAILED: Final = ("failed", "image-build-failed")
_GONE: Final = ("terminated", "non-deployed")
_TAG: Final = re.compile(r"[A-Za-z0-9._-]+:[A-Za-z0-9._-]+")
_SETTINGS: Final[Mapping[str, Kind]] = {"bento": str, "env": dict, "service": str}
_RESOURCES: Final[Mapping[str, Kind]] = {"instance_type": str, "min_replicas": int, "max_replicas": int}


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment as BentoCloud has it: its status, the tag of its bento, its environment, its services' settings."""

    status: str
    bento: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""

    @property
    def number(self) -> int | None:
        """The number of the version that it serves, None where that is somebody else's doing."""
        number = self.env.get("LINEAL_MODEL_NUMBER", "")
        return int(number) if number.isdigit() and self.env.get("LINEAL_BENTO") == self.bento else None


class BentoML(Adapter):
    """BentoCloud, or what speaks its API."""

    platform: ClassVar[str] = "bentoml"
    splits: ClassVar[bool] = False
    modes: ClassVar[tuple[str, ...]] = ("none",)
    options: ClassVar[Mapping[str, Kind]] = {"cluster": str}
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        if "token" not in config.secrets:
            raise wrong(config.at("secrets"), "must have the API token: token_env or token_file")
        self._config = config
        cluster = config.options.get("cluster")
        self._query = {"cluster": cluster} if cluster else {}
        # The token has a header of its own.
        self._http = Http(config, bearer="")
        self._looks = asyncio.Semaphore(AT_ONCE)

    def check(self, desired: Desired) -> None:
        check_words(desired.settings, _SETTINGS, "settings")
        check_words(desired.resources, _RESOURCES, "resources")
        for name in ("min_replicas", "max_replicas"):
            check_count(desired.resources, name, "resources", MAX_REPLICAS)
        check_unsplit(desired, "BentoML")
        too_many(desired, 1, "BentoML")
        if desired.resources and not desired.settings.get("service"):
            raise InvalidArgument(
                "settings.service: must name the service that resources are of", field="settings.service"
            )
        for served in desired.served:
            _bento(desired, served)

    # ── Looking ───────────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        async def look(name: str) -> Observed:
            async with self._looks:
                return _observed(await self._deployed(name))

        return dict(zip(names, await asyncio.gather(*map(look, names)), strict=True))

    async def _deployed(self, name: str) -> Deployed | None:
        answer = await self._call("GET", f"{PATH}/{name}", accept={400, 404})
        if answer.status == 404 or (answer.status == 400 and b"record not found" in answer.body):
            return None
        if answer.status == 400:
            raise self._http.refusal(answer, f"GET {PATH}")
        try:
            return _parsed(answer.json())
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise Unavailable(f"BentoCloud's answer is not understood ({error!r:.100})") from None

    async def _call(
        self, method: str, path: str, *, json: Mapping[str, Any] | None = None, accept: Collection[int] = ()
    ) -> Answer:
        headers = {"X-YATAI-API-TOKEN": self._config.secret("token") or ""}
        return await self._http.call(method, path, params=self._query, json=json, headers=headers, accept=accept)

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        """The files are in the bento."""

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        there = await self._deployed(desired.name)
        gone = there is None or there.status in _GONE
        if there is not None and not gone and "LINEAL_MODEL_NUMBER" not in there.env:
            msg = f"the deployment {desired.name} is not Lineal's: remove it, or deploy by another name"
            raise PreconditionFailed(msg)
        if there is not None and there.status == "terminating":
            return
        if not desired.served:
            if not gone:
                await self._call("POST", f"{PATH}/{desired.name}/terminate")
            return
        (served,) = desired.served
        bento = _bento(desired, served)
        env = {
            **desired.settings.get("env", {}),
            "LINEAL_BENTO": bento,
            "LINEAL_MODEL_NUMBER": str(served.number),
            "LINEAL_MODEL_VERSION": served.version,
            "LINEAL_MODEL_TAG": tag_of(served.source),
        }
        services = _services(desired)
        if there is not None and not gone and (there.bento, dict(there.env), there.services) == (bento, env, services):
            return
        await self._check_there(bento)
        told = {
            "bento": bento,
            "envs": [{"name": name, "value": value} for name, value in sorted(env.items())],
            "services": services,
        }
        if there is None:
            await self._call("POST", PATH, json={"name": desired.name, **told})
        else:
            await self._call("PUT", f"{PATH}/{desired.name}", json=told)

    async def _check_there(self, bento: str) -> None:
        name, _, version = bento.partition(":")
        answer = await self._call("GET", f"/api/v1/bento_repositories/{name}/bentos/{version}", accept={400, 404})
        if answer.status in {400, 404}:
            raise PreconditionFailed(f"there is no bento {bento}: build it with the version's files, and push it")

    async def close(self) -> None:
        await self._http.close()


def _bento(desired: Desired, served: Served) -> str:
    """The tag of the bento that serves a version. Raises InvalidArgument."""
    template = bento = str(desired.settings.get("bento", ""))
    for word, value in (("number", str(served.number)), ("version", served.version), ("tag", tag_of(served.source))):
        bento = bento.replace(f"{{{word}}}", value)
    if not _TAG.fullmatch(bento) or bento == template:
        msg = "settings.bento: must be a tag with {number}, {version} or {tag} in it, such as sentiment:v{number}"
        raise InvalidArgument(msg, field="settings.bento")
    return bento


def _services(desired: Desired) -> dict[str, Any]:
    resources = desired.resources
    if not resources:
        return {}
    scaling = {key: resources[key] for key in ("min_replicas", "max_replicas") if key in resources}
    told = {"instance_type": resources.get("instance_type"), "scaling": scaling}
    return {desired.settings["service"]: {key: value for key, value in told.items() if value}}


def _parsed(told: Mapping[str, Any]) -> Deployed:
    revision = told.get("latest_revision") or {}
    targets = revision.get("targets") or ()
    if not targets:
        return Deployed(str(told["status"]))
    bento, config = targets[0].get("bento") or {}, targets[0].get("config") or {}
    return Deployed(
        str(told["status"]),
        f"{(bento.get('repository') or {}).get('name', '')}:{bento.get('version', '')}",
        {str(each["name"]): str(each["value"]) for each in config.get("envs") or ()},
        config.get("services") or {},
        str(next(iter(told.get("urls") or ()), "")),
    )


def _observed(there: Deployed | None) -> Observed:
    if there is None or there.status in _GONE:
        return NOTHING
    if there.status == "terminating":
        return Observed(settled=False)
    state = State.READY if there.status in _UP else State.FAILED if there.status in _FAILED else State.LOADING
    message = "" if state is State.READY else f"BentoCloud says that it is {there.status}"
    seen = Seen(there.number, state, 1.0, message=message, tag=there.env.get("LINEAL_MODEL_TAG", ""))
    return Observed((seen,), there.url)
