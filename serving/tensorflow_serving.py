"""TensorFlow Serving: versions of SavedModels beside each other, told over gRPC.

A server has one list of models, which every call replaces as a whole. So Lineal owns it: each call names everything
that Lineal wants on the target, and what somebody else had put there is gone after it.

`url` is the address of gRPC (http:// for plain text, https:// for TLS). Requests find the version that answers under
the label `stable`, for those that name neither a label nor a version get the one with the largest number; a single
version beside it has the label `canary`. Labels go to versions that are available already, so a version is loaded
first, and gets the label with a second call, which lets go the one before.

The files of version 3 of the deployment `bert` are a SavedModel in `bert/3` of the target's place. With files of mode
`none` they are in `bert/3` of the option `base_path`, as the servers see it. There are no settings and no resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from lineal.errors import Unavailable
from serving.checking import check_unsplit, check_words, default_of
from serving.placing import Content, Place, keep_only, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, State, tag_of
from serving.targets import TargetConfig, check_url
from serving.tensorflow.calls import Calls, NotLabelledError
from serving.tensorflow.messages import VersionState
from storage.configuration import wrong

STABLE: Final = "stable"
CANARY: Final = "canary"
AT_ONCE: Final = 16
"""Models that are looked at at once."""
PATIENCE: Final = 5.0
"""Seconds that a new list is waited for: the server answers only when models that are new to it are loaded."""

_COMING: Final = (VersionState.START, VersionState.LOADING)


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the server has it; `message` says why it failed."""

    state: VersionState
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether it came to its end by an error."""
        return self.state is VersionState.END and bool(self.message)


@dataclass(frozen=True, slots=True)
class Held:
    """What the server has of a model: versions by number, and the version of each label."""

    versions: Mapping[int, Version] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    def numbers(self, *states: VersionState) -> set[int]:
        """The versions in one of these states."""
        return {number for number, version in self.versions.items() if version.state in states}

    @property
    def listed(self) -> set[int]:
        """Those that are loaded, or will be."""
        return self.numbers(*_COMING, VersionState.AVAILABLE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the server's list."""

    name: str
    base_path: str
    versions: frozenset[int]
    labels: Mapping[str, int]

    def message(self) -> dict[str, Any]:
        """It, as a ModelConfig."""
        return {
            "name": self.name,
            "base_path": self.base_path,
            "model_platform": "tensorflow",
            "model_version_policy": {"specific": {"versions": sorted(self.versions)}},
            "version_labels": dict(self.labels),
        }


class TensorFlowServing(Adapter):
    """A TensorFlow Serving, or several that share one address and one folder of models."""

    platform = "tensorflow-serving"
    splits = False
    modes = ("folder", "object", "none")
    options: ClassVar[Mapping[str, type]] = {"base_path": str, "inference_url": str}
    secrets = ("token",)

    def __init__(self, config: TargetConfig) -> None:
        self._place: Place | None = place_of(config)
        self._base = config.options.get("base_path", "").rstrip("/")
        if self._place is None and not self._base:
            raise wrong(config.at("options.base_path"), "must be the folder of the models, as the servers see it")
        url = config.options.get("inference_url", "")
        self._inference = check_url(url, config.at("options.inference_url")) if url else ""
        self._calls = Calls(config)
        self._looks = asyncio.Semaphore(AT_ONCE)
        self._told: dict[str, frozenset[int]] = {}
        """What was last told here, to know the failures of now from those of versions that were let go since: the
        server remembers both alike. What is missing here, or old, costs one call that changes nothing."""

    def check(self, desired: Desired) -> None:
        check_words(desired.settings, {}, "settings")
        check_words(desired.resources, {}, "resources")
        check_unsplit(desired, "TensorFlow Serving")

    # ── Looking ───────────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        held = await self._held(names)
        tags = await asyncio.gather(*(self._tags(name, held[name].listed) for name in names))
        return {name: self._observed(name, held[name], tag) for name, tag in zip(names, tags, strict=True)}

    def _observed(self, name: str, held: Held, tags: Mapping[int, str]) -> Observed:
        seen = []
        for number, version in sorted(held.versions.items()):
            weight = 1.0 if held.labels.get(STABLE) == number else 0.0
            if version.state is VersionState.AVAILABLE:
                seen.append(Seen(number, State.READY, weight, tag=tags.get(number, "")))
            elif version.state in _COMING:
                seen.append(Seen(number, State.LOADING, weight, message=version.message, tag=tags.get(number, "")))
            elif version.failed and number in self._told.get(name, {number}):
                seen.append(Seen(number, State.FAILED, weight, message=version.message))
        going = bool(held.numbers(VersionState.UNLOADING))
        if not seen and not going:
            return NOTHING
        url = f"{self._inference}/v1/models/{name}/labels/{STABLE}:predict" if self._inference else ""
        return Observed(tuple(seen), url, settled=not going)

    async def _held(self, names: Collection[str]) -> Mapping[str, Held]:
        """What the server has of each. Raises Unavailable."""

        async def look(name: str) -> Held:
            async with self._looks:
                found = {number: Version(*told) for number, told in (await self._calls.status(name)).items()}
                if not any(version.state is VersionState.AVAILABLE for version in found.values()):
                    return Held(found)
                labels = {}
                for label in (STABLE, CANARY):
                    try:
                        labels[label] = await self._calls.labelled(name, label)
                    except NotLabelledError:
                        continue
                return Held(found, labels)

        return dict(zip(names, await asyncio.gather(*map(look, names)), strict=True))

    async def _tags(self, name: str, numbers: Iterable[int]) -> Mapping[int, str]:
        """The tags of the files that these versions are loaded from."""
        if self._place is None:
            return {}
        return {number: await self._place.tag(_path(name, number)) for number in numbers}

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        if self._place is not None and desired.served:
            await self._bring(desired, (await self._held([desired.name]))[desired.name])

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:
        held = (await self._held([desired.name]))[desired.name]
        ready = await self._bring(desired, held)
        entry = self._entry(desired, held, ready)
        if self._is_so(desired.name, entry, held):
            await self._clear(desired, held)
            return
        entries = [entry, *await self._others(others)]
        await self._reload(desired.name, [each for each in entries if each is not None], held)

    async def _bring(self, desired: Desired, held: Held) -> set[int]:
        """Bring the files there; the versions whose files are.

        A version that is loaded from other files must be let go first: the server never looks at them again.
        """
        ready = set()
        for served in desired.served:
            path = _path(desired.name, served.number)
            if self._place is not None and await self._place.tag(path) != tag_of(served.source):
                if served.number in held.listed | held.numbers(VersionState.UNLOADING):
                    continue
                await self._place.put(path, Content(served.source))
            ready.add(served.number)
        return ready

    async def _others(self, others: Sequence[Desired]) -> list[Entry | None]:
        """What to list of the others: as much as the server can load, for it waits for what it cannot find."""
        held = await self._held([other.name for other in others])
        entries = []
        for other in others:
            loaded = held[other.name].listed
            tags = await self._tags(other.name, {each.number for each in other.served} - loaded)
            ready = {
                each.number
                for each in other.served
                if self._place is None or each.number in loaded or tags[each.number] == tag_of(each.source)
            }
            entries.append(self._entry(other, held[other.name], ready))
        return entries

    def _entry(self, desired: Desired, held: Held, ready: set[int]) -> Entry | None:
        """The next step from what the server has to what it shall have; None when that is nothing."""
        wanted = {each.number for each in desired.served}
        available = held.numbers(VersionState.AVAILABLE)
        stable = default_of(desired)
        if wanted <= available & ready:
            beside = wanted - {stable}
            labels = {STABLE: stable} | ({CANARY: min(beside)} if len(beside) == 1 else {})
            versions = wanted
        else:
            # What answers now goes on until the others are there, but for what must make room for other files.
            versions = (wanted | available if wanted else set()) & (ready | (available - wanted))
            labels = {label: number for label, number in held.labels.items() if number in versions & available}
        if not versions:
            return None
        base = self._place.address(desired.name) if self._place else f"{self._base}/{desired.name}"
        return Entry(desired.name, base, frozenset(versions), {key: n for key, n in labels.items() if n is not None})

    def _is_so(self, name: str, entry: Entry | None, held: Held) -> bool:
        versions = entry.versions if entry else frozenset()
        failed = {number for number, version in held.versions.items() if version.failed}
        if failed and self._told.get(name) != versions:
            return False
        labels = entry.labels if entry else {}
        return held.listed | (failed & versions) == versions and (not labels or held.labels == labels)

    async def _reload(self, name: str, entries: Sequence[Entry], held: Held) -> None:
        """Tell the server its whole list, and see that it heard."""
        versions = next((entry.versions for entry in entries if entry.name == name), frozenset[int]())
        new = versions - held.listed
        self._told.pop(name, None)
        try:
            await self._calls.reload([entry.message() for entry in entries], PATIENCE)
        except Unavailable:
            # It may be loading what is new to it, or have failed to: then it has heard, and `observe` tells the rest.
            if not new or not new <= set(await self._calls.status(name)):
                raise
        self._told[name] = versions

    async def _clear(self, desired: Desired, held: Held) -> None:
        """Remove the files of versions that are neither served nor wanted."""
        kept = {each.number for each in desired.served} | held.listed | held.numbers(VersionState.UNLOADING)
        await keep_only(self._place, desired.name, {str(number) for number in kept})

    async def close(self) -> None:
        await self._calls.close()
        if self._place is not None:
            await self._place.close()


def _path(name: str, number: int) -> str:
    return f"{name}/{number}"
