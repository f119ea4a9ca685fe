"""A rig: a platform, real or standing in for it, that the contract's tests can run on.

To have the contract's tests run on another platform, write a Rig and add its line to RIGS.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

from lineal.errors import NotFound
from serving.port import Adapter, Desired, File
from serving.targets import build, read
from storage.manifest import File as ManifestFile
from storage.manifest import Manifest
from tests.serving.faults import Faults

RIGS: Final[Mapping[str, str]] = {
    "bentoml": "tests.serving.bento_rig:BentoRig",
    "kserve": "tests.serving.kserve_rig:KServeRig",
    "mlserver": "tests.serving.open_inference_rigs:MLServerRig",
    "ray-serve": "tests.serving.ray_rig:RayRig",
    "sagemaker": "tests.serving.sagemaker_rig:SageMakerRig",
    "tensorflow-serving": "tests.serving.tensorflow_rig:TensorFlowRig",
    "torchserve": "tests.serving.torchserve_rig:TorchServeRig",
    "triton": "tests.serving.open_inference_rigs:TritonRig",
    "webhook": "tests.serving.webhook_rig:WebhookRig",
}
"""A module and the rig in it, by name."""

SECRET: Final = "the-secret-of-this-target-0123456789"
"""What targets have for a secret, and addresses for a signature, unless a rig's platform makes its own."""


class Rig(ABC):
    """A platform with one target on it, started once for all tests, each of which uses names of its own.

    Every call that an adapter makes asks `faults.next` first. Methods that are not async may block.
    """

    predicts: ClassVar[bool] = True
    """Whether it answers requests, so that it can be told which version does."""
    can_be_empty: ClassVar[bool] = True
    """Whether it can forget everything."""
    beside: ClassVar[bool] = True
    """Whether it can have versions beside each other."""
    settings: ClassVar[Mapping[str, Any]] = {}
    resources: ClassVar[Mapping[str, Any]] = {}
    """What every deployment on it must say."""
    patience: ClassVar[float] = 60.0
    """Seconds for what was asked for to come true; nothing but a failing test waits so long."""
    pause: ClassVar[float] = 0.05
    """Seconds between two looks."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.faults = Faults()

    @property
    def secret(self) -> str:
        """The secret of the target, in the environment as RIG_SECRET; no message may hold it."""
        return SECRET

    @abstractmethod
    def start(self) -> None:
        """Start it. A missing tool skips the test."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    @abstractmethod
    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        """An adapter of the target, which gives up a call after so many seconds."""

    @abstractmethod
    def source(self, answer: int) -> Source:
        """The files of a version that answers this number."""

    def broken(self) -> Source | None:
        """The files of a version that cannot come up, or None where there is no such thing."""
        return None

    @abstractmethod
    async def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer to a request that names no version, or this one; None where it is not answered."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""

    @abstractmethod
    def revive(self) -> None:
        """Start it again after `kill`, with whatever it kept."""

    @abstractmethod
    def empty(self) -> None:
        """Have it forget everything that it was told, as a new one in its place would."""

    @abstractmethod
    async def meddle(self, name: str) -> None:
        """Change what is served under a name, behind Lineal's back."""

    @abstractmethod
    def refused(self) -> Sequence[tuple[Desired, str]]:
        """What it can never serve, and the field that the error names."""


class Source:
    """The files of a version, in memory."""

    uri = ""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.data = dict(files)
        self._files = [File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
        self.digest = Manifest.of(ManifestFile(each.path, each.size, each.sha256) for each in self._files).digest
        self.reads = 0
        self.base = ""
        """What addresses of its files begin with."""

    async def files(self) -> Sequence[File]:
        return self._files

    async def read(self, file: File) -> AsyncIterator[bytes]:
        self.reads += 1
        data = self.data[file.path]
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    async def link(self, file: File, seconds: int) -> str:
        if not self.base:
            raise NotFound("there are no addresses here")
        return f"{self.base}/{file.path}?signature={SECRET}&seconds={seconds}"


def adapter(platform: str, **table: Any) -> Adapter:
    """The adapter of a target that is configured so."""
    (config,) = read({"targets": {"rig": {"platform": platform, "workspaces": "*", **table}}})
    return build(config)


def rig(name: str, home: Path) -> Rig:
    """A rig by its name, not yet started."""
    module, _, kind = RIGS[name].partition(":")
    made: Rig = getattr(import_module(module), kind)(home)
    return made
