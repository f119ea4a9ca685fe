"""The contract on a real MLServer, and on what behaves as Triton's documentation says."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from serving.port import Adapter, Desired, Served
from tests.mlserver import MLServerServer
from tests.serving.faults import Proxy
from tests.serving.rigs import Rig, Source, adapter
from tests.serving.triton import TritonServer

RUNTIME = """
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Answer(MLModel):
    async def load(self):
        self.answer = {answer}
        return True

    async def predict(self, payload):
        output = ResponseOutput(name="answer", shape=[1], datatype="INT64", data=[self.answer])
        return InferenceResponse(model_name=self.name, outputs=[output])
"""
REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [0]}]}


class OpenInferenceRig(Rig):
    """A server that keeps nothing, and a folder that it shares."""

    kind: ClassVar[str]
    server: MLServerServer | TritonServer

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = self.make(home / "server")
        self._proxy = Proxy(self.server.port, self.faults, lambda _, path: path.endswith(("/load", "/unload")))

    @abstractmethod
    def make(self, home: Path) -> MLServerServer | TritonServer:
        """The server, not yet started."""

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.kill()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "open-inference",
            url=self._proxy.url,
            timeout=timeout,
            options={"server": self.kind, "load_seconds": timeout},
            secrets={"token_env": "RIG_SECRET"},
            files={"mode": "folder", "path": str(self.server.models)},
        )

    async def _post(self, path: str, body: Any) -> httpx.Response:
        async with httpx.AsyncClient(verify=False, base_url=self.server.url) as client:
            return await client.post(path, json=body, timeout=60)

    async def predict(self, name: str, number: int | None = None) -> int | None:
        for model in [name] if number is None else [f"{name}.{number}"]:
            answer = await self._post(f"/v2/models/{model}/infer", REQUEST)
            if answer.is_success:
                found: int = answer.json()["outputs"][0]["data"][0]
                return found
        return None

    def kill(self) -> None:
        self.server.kill()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.kill()
        self.server.start()

    async def meddle(self, name: str) -> None:
        (await self._post(f"/v2/repository/models/{name}/unload", {})).raise_for_status()

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one, two = Served(1, 0.5, self.source(1)), Served(2, 0.5, self.source(2))
        return [
            (Desired("a", 1, (one, two)), "serves[0].weight"),
            (Desired("a", 1, resources={"workers": 1}), "resources.workers"),
            (Desired("a", 1, settings={"batch_size": 1}), "settings.batch_size"),
        ]


class MLServerRig(OpenInferenceRig):
    """A real MLServer."""

    kind: ClassVar[str] = "mlserver"

    def make(self, home: Path) -> MLServerServer:
        return MLServerServer(home)

    def source(self, answer: int) -> Source:
        return self._source(RUNTIME.format(answer=answer))

    def broken(self) -> Source:
        return self._source("raise RuntimeError('it cannot be imported')")

    @staticmethod
    def _source(runtime: str) -> Source:
        # Name and version are those that its author gave it, not Lineal's.
        settings = {"name": "model", "implementation": "runtime.Answer", "parameters": {"version": "v0.1.0"}}
        return Source({"runtime.py": runtime.encode(), "model-settings.json": json.dumps(settings).encode()})


class TritonRig(OpenInferenceRig):
    """A stand-in for Triton in explicit mode."""

    kind: ClassVar[str] = "triton"

    def make(self, home: Path) -> TritonServer:
        return TritonServer(home)

    def source(self, answer: int) -> Source:
        config = b'name: "model"\nbackend: "python"\nversion_policy: { latest { num_versions: 1 } }\n'
        return Source({"1/model.py": str(answer).encode(), "config.pbtxt": config, "labels.txt": b"yes\nno\n"})

    def broken(self) -> Source:
        return Source({"model.py": b"nonsense"})
