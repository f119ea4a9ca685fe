"""TorchServe, by its management API: versions of one model side by side, one of them the default.

A version has exactly one `.mar` among its files (torch-model-archiver makes them, with the archive format "default").
TorchServe takes name and version from the manifest in it, so these are written anew as the archive is placed: the
deployment's name, and the version's number in the registry. Clients ask `/predictions/<name>` for the version of
weight 1, and `/predictions/<name>/<number>` for any.

The files go to the server's model store: `files` is of the mode folder, `path` the model store as Lineal sees it.
An archive is called `<name>.<number>.<tag>.mar` there, which also tells what the server has loaded.

Resources: `workers`, the worker processes of each version (1). Settings: `batch_size`, `max_batch_delay` (ms),
`response_timeout` and `startup_timeout` (s), as TorchServe's own, for versions that are registered from then on.

Where a number comes to stand for other files (a deployment that goes over to another model), TorchServe cannot have
both at once: unless another version answers meanwhile, there is a moment without an answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from lineal.errors import PreconditionFailed, Unavailable
from serving.checking import check_count, check_unsplit, check_words, default_of
from serving.http import Answer, Http
from serving.placing import Content, Place, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, tag_of
from serving.slow import PATIENCE, Slow
from serving.targets import TargetConfig, check_url
from storage.configuration import Kind, number
from storage.port import CHUNK

MANIFEST: Final = "MAR-INF/MANIFEST.json"
MAX_MANIFEST: Final = 2**20
"""Bytes of an archive's manifest."""
MAX_ENTRIES: Final = 100_000
"""Files in an archive."""
MAX_GROWTH: Final = 50
"""How many times larger than the archive what is in it may be, beyond the first GiB."""
LOAD_SECONDS: Final = 600.0
"""Seconds that a version may take to come up, unless the target says otherwise."""
DRAIN_SECONDS: Final = 10.0
"""Seconds from when requests go elsewhere until a version is let go, unless the target says otherwise."""
MAX_WORKERS: Final = 1_000
_PAGE: Final = 1_000
_MAX_MODELS: Final = 100_000
_STEPS: Final = 8
_ARCHIVE: Final = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,62})\.(?P<number>[0-9]{1,18})\.(?P<tag>[0-9a-f]{16})\.mar")
_UNSTARTED: Final = "Failed to start workers"
_SETTINGS: Final[Mapping[str, Kind]] = {
    "batch_size": int,
    "max_batch_delay": int,
    "response_timeout": int,
    "startup_timeout": int,
}


@dataclass(frozen=True, slots=True)
class _Model:
    """A version as TorchServe has it: its own word for the version, and the archive that it came from."""

    version: str
    archive: str
    workers: int
    wanted: int

    @property
    def ready(self) -> bool:
        return self.workers >= self.wanted > 0

    @property
    def ours(self) -> re.Match[str] | None:
        found = _ARCHIVE.fullmatch(self.archive)
        return found if found and found["number"] == self.version else None


@dataclass(frozen=True, slots=True)
class _There:
    """All versions of a model by their words, and which of them is the default."""

    models: Mapping[str, _Model]
    default: str


class TorchServe(Adapter):
    """A TorchServe whose management API is at `url` and has model control enabled (`--enable-model-api`).

    Options: `inference_url`, where it answers; `load_seconds`; `drain_seconds`, no less than a request may take.
    Secrets: `token`, its management key, where it asks for one.
    """

    platform: ClassVar[str] = "torchserve"
    splits: ClassVar[bool] = False
    modes: ClassVar[tuple[str, ...]] = ("folder",)
    options: ClassVar[Mapping[str, Kind]] = {
        "inference_url": str,
        "load_seconds": float,
        "drain_seconds": float,
    }
    secrets: ClassVar[tuple[str, ...]] = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        url = config.options.get("inference_url", "")
        self._inference = check_url(url, config.at("options.inference_url")) if url else ""
        self._load_seconds = _seconds(config, "load_seconds", LOAD_SECONDS)
        self._drain_seconds = _seconds(config, "drain_seconds", DRAIN_SECONDS)
        place = place_of(config)
        assert place is not None, "modes has folder alone"
        self._config = config
        self._place: Place = place
        self._http = Http(config)
        self._slow = Slow()
        self._idle: dict[tuple[str, str], float] = {}

    def check(self, desired: Desired) -> None:
        check_words(desired.resources, {"workers": int}, "resources")
        check_count(desired.resources, "workers", "resources", MAX_WORKERS)
        check_words(desired.settings, _SETTINGS, "settings")
        for name in _SETTINGS:
            check_count(desired.settings, name, "settings", 2**31 - 1)
        check_unsplit(desired, "TorchServe")

    # ── What is there ─────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        known = await self._defaults()
        there = [name for name in names if name in known]
        found = await asyncio.gather(*[self._versions(name) for name in there])
        seen = {name: self._observed(name, models, known[name]) for name, models in zip(there, found, strict=True)}
        return {name: seen.get(name, NOTHING) for name in names}

    async def _defaults(self) -> dict[str, str]:
        """The archive of every model's default version."""
        found: dict[str, str] = {}
        token: str | None = ""
        while token is not None and len(found) < _MAX_MODELS:
            params = {"limit": _PAGE, **({"next_page_token": token} if token else {})}
            page = (await self._http.call("GET", "/models", params=params)).json()
            with _understood():
                found |= {each["modelName"]: str(each.get("modelUrl") or "") for each in page["models"]}
                token = page.get("nextPageToken")
        return found

    async def _versions(self, name: str) -> dict[str, _Model]:
        answer = await self._http.call("GET", f"/models/{name}/all", accept=[404])
        return {} if answer.status == 404 else {each.version: each for each in _models(answer)}

    async def _there(self, name: str) -> _There:
        models = await self._versions(name)
        if len(models) < 2:
            return _There(models, next(iter(models), ""))
        answer = await self._http.call("GET", f"/models/{name}", accept=[404])
        return _There(models, "" if answer.status == 404 else _models(answer)[0].version)

    def _observed(self, name: str, models: Mapping[str, _Model], default: str) -> Observed:
        if not models:
            return NOTHING
        seen = tuple(_seen(each, default=each.archive == default) for each in models.values())
        return Observed(seen, f"{self._inference}/predictions/{name}" if self._inference else "")

    # ── What shall be there ───────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        for served in desired.served:
            await self._put(desired.name, served, _archive(desired.name, served))

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        for _ in range(_STEPS):
            if not await self._step(desired, await self._there(desired.name)):
                return

    async def _step(self, desired: Desired, there: _There) -> bool:
        """Do what can be done as things are; whether there may be more to do now."""
        wanted = {str(each.number): each for each in desired.served}
        for version in {*wanted, there.default}:
            self._idle.pop((desired.name, version), None)
        if await self._bring_up(desired, wanted, there):
            return True
        default = str(default_of(desired)) if wanted else ""
        if wanted and there.default != default:
            if default not in there.models or not there.models[default].workers:
                return False
            await self._http.call("PUT", f"/models/{desired.name}/{default}/set-default")
            return True
        if all(version in there.models and there.models[version].ready for version in wanted):
            await self._let_go(desired, set(there.models) - set(wanted), there.default)
        return False

    async def _bring_up(self, desired: Desired, wanted: Mapping[str, Served], there: _There) -> bool:
        """Have all that is wanted loaded, with its workers; whether something was done."""
        workers = desired.resources.get("workers", 1)
        done = waiting = False
        # The default last: what it must make room for waits until the others can answer.
        for version, served in sorted(wanted.items(), key=lambda each: each[0] == there.default):
            model = there.models.get(version)
            if model is None:
                done |= await self._register(desired, served)
            elif model.archive != _archive(desired.name, served):
                if not done and not waiting:
                    return await self._make_room(desired.name, version, there)
            elif model.wanted != workers:
                done |= await self._scale(desired.name, version, workers)
            waiting |= model is None or not model.ready
        return done

    async def _let_go(self, desired: Desired, leaving: Collection[str], default: str) -> None:
        """Unregister versions, and remove the files of what is served no longer."""
        # The default goes last: it cannot go before.
        for version in sorted(leaving, key=lambda each: each == default):
            if not desired.served or self._drained(desired.name, version):
                await self._unregister(desired.name, version)
                self._idle.pop((desired.name, version), None)
        await self._clear(desired)

    def _drained(self, name: str, version: str) -> bool:
        """Whether requests have gone elsewhere for so long that none can be under way here: they would be broken off.

        That is told by no call. Who has just started to look waits as long again, which is harmless.
        """
        now = time.monotonic()
        return now - self._idle.setdefault((name, version), now) >= self._drain_seconds

    async def _register(self, desired: Desired, served: Served) -> bool:
        archive = _archive(desired.name, served)
        params = {
            "url": archive,
            "model_name": desired.name,
            "initial_workers": desired.resources.get("workers", 1),
            "synchronous": "true",
            **desired.settings,
        }

        async def register() -> None:
            await self._put(desired.name, served, archive)
            # Registered already means that an earlier call got through: the next look tells what it brought.
            await self._load("POST", "/models", params, served.number, accept=[404, 409])

        return await self._slow.call(archive, register, min(PATIENCE, self._config.timeout))

    async def _scale(self, name: str, version: str, workers: int) -> bool:
        params = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}

        async def scale() -> None:
            await self._load("PUT", f"/models/{name}/{version}", params, version, accept=[404])

        return await self._slow.call((name, version, workers), scale, min(PATIENCE, self._config.timeout))

    async def _load(
        self, method: str, path: str, params: Mapping[str, Any], version: object, accept: Collection[int]
    ) -> None:
        """A call that is answered when workers are up. Raises PreconditionFailed: they do not come up."""
        answer = await self._http.call(method, path, params=params, accept=[*accept, 500], within=self._load_seconds)
        if answer.status == 404:
            msg = "TorchServe does not find what it was told of: the folder of the files must be its model store"
            raise Unavailable(msg)
        if answer.status == 500:
            if _UNSTARTED in answer.reason():
                msg = f"no worker of version {version} comes up: TorchServe's own log (model_log.log) says why"
                raise PreconditionFailed(msg)
            raise self._http.refusal(answer, f"{method} {path}")

    async def _make_room(self, name: str, version: str, there: _There) -> bool:
        """Let go of what has a number that stands for other files now."""
        if version == there.default and len(there.models) > 1:
            others = [each for each in there.models.values() if each.version != version]
            other = max(others, key=lambda each: each.workers)
            await self._http.call("PUT", f"/models/{name}/{other.version}/set-default")
        await self._unregister(name, version)
        return True

    async def _unregister(self, name: str, version: str) -> None:
        await self._http.call("DELETE", f"/models/{name}/{version}", accept=[404])

    # ── Files ─────────────────────────────────────────────────────────────────────────────────────

    async def _put(self, name: str, served: Served, archive: str) -> None:
        count = sum(_is_archive(file.path) for file in await served.source.files())
        if count != 1:
            msg = (
                f"version {served.number} has {count} .mar files, and TorchServe needs exactly one: "
                "pack its model and handler with torch-model-archiver, and register that"
            )
            raise PreconditionFailed(msg)

        def rewrite(_: str, path: Path) -> None:
            rename(path, name, str(served.number))

        content = Content(served.source, choose=lambda path: path if _is_archive(path) else None, rewrite=rewrite)
        await self._place.put_file(archive, content)

    async def _clear(self, desired: Desired) -> None:
        """Remove the archives of versions that are served no longer."""
        wanted = {_archive(desired.name, each) for each in desired.served}
        for each in await self._place.names():
            found = _ARCHIVE.fullmatch(each)
            if found and found["name"] == desired.name and each not in wanted:
                await self._place.remove(each)

    async def close(self) -> None:
        await self._slow.close()
        await self._http.close()
        await self._place.close()


def rename(path: Path, name: str, version: str) -> None:
    """Give a model archive another name and version. What is in it is stored as it is, without compression.

    Raises PreconditionFailed: it is no such archive.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as made:
            infos = old.infolist()
            _check_entries(infos, path.stat().st_size)
            manifest = _manifest(old)
            manifest["model"] = {**manifest["model"], "modelName": name, "modelVersion": version}
            for info in infos:
                if info.filename == MANIFEST or info.is_dir():
                    continue
                to = zipfile.ZipInfo(info.filename, info.date_time)
                to.external_attr = info.external_attr
                with old.open(info) as source, made.open(to, "w", force_zip64=info.file_size >= 2**31) as target:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
            made.writestr(MANIFEST, json.dumps(manifest, indent=2))
        new.replace(path)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError, EOFError) as error:
        raise PreconditionFailed(f"the .mar is no model archive of TorchServe ({error!r:.100})") from None
    finally:
        new.unlink(missing_ok=True)


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise ValueError("its manifest is too large")
    manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    if not isinstance(manifest["model"], dict):
        raise TypeError("its manifest has no model")
    return manifest


def _check_entries(infos: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuse what would lead outside where the server unpacks it, or fill its disk."""
    if len(infos) > MAX_ENTRIES or sum(info.file_size for info in infos) > 2**30 + MAX_GROWTH * size:
        raise PreconditionFailed("the .mar unpacks to too much")
    for info in infos:
        parts = info.filename.replace("\\", "/").rstrip("/").split("/")
        link = info.external_attr >> 16 & 0o170000 == 0o120000
        if link or any(part in {"", ".", ".."} for part in parts) or ":" in parts[0]:
            raise PreconditionFailed(f"the .mar has a path that leads outside: {info.filename!r:.100}")


def _seconds(config: TargetConfig, name: str, usual: float) -> float:
    return number(config.options.get(name, usual), 86_400, config.at(f"options.{name}"))


def _is_archive(path: str) -> bool:
    return path.endswith(".mar")


def _archive(name: str, served: Served) -> str:
    return f"{name}.{served.number}.{tag_of(served.source)}.mar"


def _models(answer: Answer) -> list[_Model]:
    """The versions in a description. Raises Unavailable: it is none."""
    with _understood():
        return [
            _Model(
                str(each["modelVersion"]),
                str(each.get("modelUrl") or ""),
                sum(worker["status"] == "READY" for worker in each["workers"]),
                int(each["minWorkers"]),
            )
            for each in answer.json()
        ]


def _seen(model: _Model, *, default: bool) -> Seen:
    # TorchServe says UNLOADING of a worker that starts, of one that ends, and of one that fails again and again.
    message = "" if model.ready else f"{model.workers} of {model.wanted} workers are ready"
    return Seen(
        int(model.version) if model.ours else None,
        State.READY if model.ready else State.LOADING,
        1.0 if default else 0.0,
        model.workers,
        message,
        model.ours["tag"] if model.ours else "",
    )


@contextmanager
def _understood() -> Iterator[None]:
    """Whatever of an answer is not as it should be, it is not TorchServe that answers."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        raise Unavailable("what answers at this address is not TorchServe's management API") from None
