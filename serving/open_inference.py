"""MLServer and Triton, by the Open Inference Protocol with its extension for model repositories.

Load and unload act on a model with all its versions at once, so that each version that is served is a model of its
own: `<name>` is the version of weight 1, and `<name>.<number>` each other one. Clients ask
`/v2/models/<name>/infer`, and `/v2/models/<name>.2/infer` for version 2 while it is loaded beside. A load of `<name>`
brings up the new version before it lets go of the old one, in both servers. What files a version must have is said in
serving/repositories.py.

The server must not load or unload by itself: `load_models_at_startup` of MLServer may be either, Triton needs
`--model-control-mode=explicit`. `files` is the model repository: a folder, for Triton also an object store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lineal.errors import PreconditionFailed, Unavailable
from serving.checking import check_unsplit, check_words, default_of
from serving.http import Http
from serving.placing import place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, tag_of
from serving.repositories import MLServerRepository, Repository, TritonRepository
from serving.slow import PATIENCE, Slow
from serving.targets import TargetConfig
from storage.configuration import Kind, number, wrong

LOAD_SECONDS: Final = 600.0
"""Seconds that a version may take to load, unless the target says otherwise."""

_REPOSITORIES: Final[Mapping[str, type[Repository]]] = {"mlserver": MLServerRepository, "triton": TritonRepository}
_STATES: Final = {"READY": State.READY, "LOADING": State.LOADING, "UNKNOWN": State.LOADING}
_GONE: Final = (400, 404)
"""What servers answer of a model that is not loaded, or no longer."""


@dataclass(frozen=True, slots=True)
class _Model:
    """A model that is loaded, or on its way: which version it is, where that is known."""

    state: State
    version: tuple[int, str] | None


class OpenInference(Adapter):
    """A server whose HTTP address is `url`. It takes no resources, and the settings of its kind of repository.

    Options: `server`, which is `mlserver` (unless it is given) or `triton`; `load_seconds`. Secrets: `token`, a bearer
    token, where something before the server asks for one.
    """

    platform: ClassVar[str] = "open-inference"
    splits: ClassVar[bool] = False
    modes: ClassVar[tuple[str, ...]] = ("folder", "object")
    options: ClassVar[Mapping[str, Kind]] = {"server": tuple(_REPOSITORIES), "load_seconds": float}
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        self._server = config.options.get("server", "mlserver")
        if self._server == "mlserver" and config.files.mode != "folder":
            raise wrong(config.at("files.mode"), "must be folder for MLServer, which reads no object stores")
        at = config.at("options.load_seconds")
        self._load_seconds = number(config.options.get("load_seconds", LOAD_SECONDS), 86_400, at)
        place = place_of(config)
        assert place is not None, "modes has no other"
        self._config = config
        self._repository = _REPOSITORIES[self._server](place)
        self._http = Http(config)
        self._slow = Slow()

    def check(self, desired: Desired) -> None:
        check_words(desired.resources, {}, "resources")
        check_words(desired.settings, self._repository.settings, "settings")
        check_unsplit(desired, self._config.options.get("server", "MLServer"))

    # ── What is there ─────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        there = await self._there(names)
        return {name: self._observed(name, there) for name in names}

    def _observed(self, name: str, there: Mapping[str, _Model]) -> Observed:
        seen = tuple(_seen(each, model) for each, model in sorted(there.items()) if _belongs(each, name))
        return Observed(seen, f"{self._config.url}/v2/models/{name}/infer") if seen else NOTHING

    async def _there(self, names: Collection[str]) -> dict[str, _Model]:
        """The models of these names that are loaded or on their way."""
        wanted = set(names)
        states: dict[str, State] = {}
        for model, state in _index((await self._http.call("POST", "/v2/repository/index", json={})).json()):
            if model.partition(".")[0] in wanted and states.get(model) is not State.READY:
                states[model] = state
        ready = [model for model, state in states.items() if state is State.READY]
        versions = dict(zip(ready, await asyncio.gather(*[self._version(model) for model in ready]), strict=True))
        return {model: _Model(state, versions.get(model)) for model, state in states.items()}

    async def _version(self, model: str) -> tuple[int, str] | None:
        answer = await self._http.call("GET", f"/v2/models/{model}{self._repository.details}", accept=_GONE)
        return self._repository.identify(answer.json()) if answer.status == 200 else None

    # ── What shall be there ───────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        default = default_of(desired)
        for served in desired.served:
            await self._repository.bring(_model(desired.name, served, default), served)

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        default = default_of(desired)
        wanted = {_model(desired.name, each, default): each for each in desired.served}
        there = await self._there([desired.name])
        # The default last: it may let go of a version that shall be loaded beside.
        waiting = False
        for model in sorted(wanted, key=lambda each: each == desired.name):
            now = there.get(model)
            if now is not None and now.version == (wanted[model].number, tag_of(wanted[model].source)):
                continue
            loading = now is not None and now.state is State.LOADING
            if loading or waiting or not await self._load(model, wanted[model], desired.settings):
                waiting = True
        if waiting:
            return
        for model in set(there) - set(wanted):
            await self._http.call("POST", f"/v2/repository/models/{model}/unload", json={}, accept=_GONE)
        await self._clear(desired.name, wanted)

    async def _load(self, model: str, served: Served, settings: Mapping[str, Any]) -> bool:
        async def load() -> None:
            await self._repository.put(model, served, settings)
            path = f"/v2/repository/models/{model}/load"
            answer = await self._http.call(
                "POST", path, json={}, accept=[400, 404, 422, 500], within=self._load_seconds
            )
            if answer.status == 404:
                raise Unavailable(f"the server finds no {model} in its repository: it must be where files are put")
            if answer.status >= 400:
                reason = self._http.clean(answer.reason())
                raise PreconditionFailed(f"version {served.number} does not load: {reason}; the server's log says more")

        return await self._slow.call(
            (model, served.number, tag_of(served.source)), load, min(PATIENCE, self._config.timeout)
        )

    async def _clear(self, name: str, wanted: Mapping[str, Served]) -> None:
        """Remove the files of what is served no longer."""
        for model in await self._repository.models():
            if _belongs(model, name):
                await self._repository.clear(model, wanted.get(model))

    async def close(self) -> None:
        await self._slow.close()
        await self._http.close()
        await self._repository.place.close()


def _model(name: str, served: Served, default: int | None) -> str:
    # A dot is in no deployment's name, so that this is no other one's.
    return name if served.number == default else f"{name}.{served.number}"


def _belongs(model: str, name: str) -> bool:
    return model == name or model.startswith(f"{name}.")


def _index(told: Any) -> Iterable[tuple[str, State]]:
    """The models that are loaded or on their way. Raises Unavailable: it is no index."""
    if not isinstance(told, list):
        raise Unavailable("what answers at this address has no model repository")
    for each in told:
        if isinstance(each, dict) and each.get("state") in _STATES:
            yield str(each.get("name")), _STATES[each["state"]]


def _seen(name: str, model: _Model) -> Seen:
    _, beside, suffix = name.partition(".")
    # What is on its way does not tell yet which version it is.
    loading = int(suffix) if model.state is State.LOADING and suffix.isdigit() else None
    number, tag = model.version or (loading, "")
    return Seen(number, model.state, 0.0 if beside else 1.0, tag=tag)
