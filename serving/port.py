"""The contract of a serving platform: tell it what to serve, and see what it serves.

An adapter is level-triggered. It keeps nothing between calls: `observe` says what is, `apply` looks and does what
can be done now towards what shall be, and whoever calls both again and again gets there, whatever happened in
between: a call that failed after it had its effect, a server that came back empty, somebody else's change.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self

from lineal.observing import measured_calls
from storage.configuration import Kind

if TYPE_CHECKING:
    from serving.targets import TargetConfig

ROUNDING: Final = 1e-6

GUARD: ContextVar[Callable[[], None]] = ContextVar("GUARD", default=lambda: None)
"""What is called before each single call to a platform that may change something there, and raises to prevent it.

Whoever acts under a lease sets it: so that who lost the lease in the middle of an `apply` makes no further call.
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model version: its path among them, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


class Files(Protocol):
    """Which files a model version has."""

    @property
    def digest(self) -> str:
        """The digest of the manifest: the same files have the same. Empty where Lineal does not keep them."""

    @property
    def uri(self) -> str:
        """Where they are, when they stay elsewhere; else empty."""


class Source(Files, Protocol):
    """The files of one model version, as Lineal keeps or knows them."""

    async def files(self) -> Sequence[File]:
        """All of them by path. Raises NotFound, Unavailable, PreconditionFailed (they stay elsewhere)."""

    def read(self, file: File) -> AsyncIterator[bytes]:
        """The bytes of one, in chunks. Raises NotFound, Unavailable."""

    async def link(self, file: File, seconds: int) -> str:
        """An address that gives one of them to whoever has it, for so long. Raises NotFound, Unavailable."""


def tag_of(files: Files) -> str:
    """What stands for the files of a version in names, labels and marks: 16 hexadecimal digits.

    The same number may stand for other files tomorrow, where a deployment goes over to another model.
    """
    return hashlib.sha256((files.digest or files.uri).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Served:
    """A model version that shall be served.

    `number` is that of the version in its model: what the platform knows it by. `weight` is its share of the requests
    that name no version; on platforms that do not split traffic it is 1 for one version and 0 for the others, which
    are loaded beside it and answer to their own number.
    """

    number: int
    weight: float
    source: Source
    version: str = ""
    """Its id, for messages and labels."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What a deployment shall serve: nothing when `served` is empty.

    `name` is what the platform knows it by: 1 to 63 small letters, digits and hyphens, with a letter first.
    `revision` counts what it was told. `resources` and `settings` are the platform's own words; an adapter says in
    its docstring which it takes, and refuses others in `check`.
    """

    name: str
    revision: int
    served: tuple[Served, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class State(Enum):
    """What a version does on a platform."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    """It will not come up by itself; `message` says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A version as a platform has it.

    `weight` is None where the platform does not tell. `number` is None for one that is not of Lineal's making.
    `tag` is what `tag_of` gave of its files, empty where the platform does not tell.
    """

    number: int | None
    state: State
    weight: float | None = None
    replicas: int | None = None
    message: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a platform has under a name: nothing when `seen` is empty. `url` is where it answers, where known."""

    seen: tuple[Seen, ...] = ()
    url: str = ""
    message: str = ""
    settled: bool = True
    """False while the platform itself is still moving towards what it was told last, whatever `seen` says."""

    @property
    def replicas(self) -> int | None:
        """Replicas of all versions, or None where the platform tells of none."""
        known = [each.replicas for each in self.seen if each.replicas is not None]
        return sum(known) if known else None

    @property
    def failure(self) -> str:
        """Why a version does not come up, or empty."""
        return next((each.message or "it failed" for each in self.seen if each.state is State.FAILED), "")


NOTHING: Final = Observed()


def fulfils(observed: Observed, desired: Desired) -> bool:
    """Whether a platform serves just what it shall: these versions, all ready, with these shares, and no other."""
    if not observed.settled or len(observed.seen) != len(desired.served):
        return False
    wanted = {each.number: each for each in desired.served}
    if {each.number for each in observed.seen} != set(wanted):
        return False
    return all(each.number is not None and _is(each, wanted[each.number]) for each in observed.seen)


def _is(seen: Seen, wanted: Served) -> bool:
    return (
        seen.state is State.READY
        and (seen.weight is None or abs(seen.weight - wanted.weight) < ROUNDING)
        and (not seen.tag or seen.tag == tag_of(wanted.source))
    )


def still_there(desired: Desired, observed: Observed) -> Desired:
    """What a platform serves of what it shall: the rest left out."""
    return replace(
        desired, served=tuple(each for each in desired.served if any(_is(seen, each) for seen in observed.seen))
    )


class Adapter(ABC):
    """One serving target: a server or a cluster of one platform.

    Calls may come from several tasks, but never two `apply` at once. Every call is bounded in time. Whatever goes
    wrong is of Lineal's errors: Unavailable (the platform is away, too busy or broke off: the same again may work
    later), PreconditionFailed (it refuses, and will refuse again: the message is for the person who deploys).
    Messages never hold secrets or signed addresses.
    """

    platform: ClassVar[str]
    """The word in the configuration: torchserve, open-inference, …"""
    splits: ClassVar[bool]
    """Whether it divides requests among versions by weight."""
    modes: ClassVar[tuple[str, ...]]
    """How files can come to its servers, of serving.targets.MODES."""
    options: ClassVar[Mapping[str, Kind]] = {}
    """The options of such a target, and what each must be: a type, or one of some words."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """The secrets of such a target."""
    addressed: ClassVar[bool] = True
    """Whether such a target has a `url`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if platform := getattr(cls, "platform", None):
            measured_calls(cls, "serving", platform)

    @abstractmethod
    def __init__(self, config: TargetConfig) -> None:
        """Connects to nothing yet. Raises InvalidArgument, whose `field` is the key's path."""

    @abstractmethod
    def check(self, desired: Desired) -> None:
        """Refuse what can never be served here, without asking the platform.

        Raises InvalidArgument (unknown or wrong settings or resources: `field` is settings.name or resources.name),
        PreconditionFailed (weights that it cannot split: `field` is serves[0].weight, by the place of the version in
        `desired.served`; more versions than it can have: `serves`).
        """

    @abstractmethod
    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        """What is served under each of these names now, in as few requests as the platform allows.

        Every name is in the answer. Raises Unavailable: then nothing is known of any of them.
        """

    @abstractmethod
    async def place(self, desired: Desired) -> None:
        """Bring the files of what is desired to where the servers read them, as far as that can be done now.

        It takes as long as it takes, and may go on beside any other call: nothing that is served changes by it. `apply`
        finds them there then, and brings what is still missing. Raises as `apply`.
        """

    @abstractmethod
    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:
        """Do what can be done now to serve just what is desired, and come back without waiting for it.

        Called again and again until `fulfils(observe, desired)`. Each call looks first, and does nothing that is done
        already. A version that answers now is let go only when those that shall answer are ready, so that there is no
        moment without one. `others` are all that Lineal wants on this target besides, for platforms that must be told
        everything at once. Raises Unavailable, PreconditionFailed.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
