"""TensorFlow Serving, as a server made of its messages stands in for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving.port import Adapter, Desired, Served
from tests.serving.rigs import Rig, Source, adapter
from tests.serving.tensorflow_server import TensorFlowServer


class TensorFlowRig(Rig):
    """A stand-in and a folder of models."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.models = home / "models"
        self.server = TensorFlowServer(self.faults)

    def start(self) -> None:
        self.models.mkdir()
        self.server.start()

    def close(self) -> None:
        self.faults.clear()
        self.server.stop()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "tensorflow-serving",
            url=f"http://127.0.0.1:{self.server.port}",
            timeout=timeout,
            secrets={"token_env": "RIG_SECRET"},
            files={"mode": "folder", "path": str(self.models)},
        )

    def source(self, answer: int) -> Source:
        return Source({"saved_model.pb": str(answer).encode(), "variables/variables.index": b"0" * 5000})

    def broken(self) -> Source:
        return Source({"saved_model.pb": b"not a model"})

    async def predict(self, name: str, number: int | None = None) -> int | None:
        return self.server.predict(name, number)

    def kill(self) -> None:
        self.server.stop()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.stop()
        self.server.start()

    async def meddle(self, name: str) -> None:
        self.server.relabel(name, 2)

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one, two = self.source(1), self.source(2)
        return [
            (Desired("m", 1, (Served(1, 0.5, one), Served(2, 0.5, two))), "serves[0].weight"),
            (Desired("m", 1, (Served(1, 1.0, one),), settings={"batching": True}), "settings.batching"),
            (Desired("m", 1, (Served(1, 1.0, one),), resources={"replicas": 2}), "resources.replicas"),
        ]
