"""The contract on a real TorchServe."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from serving.port import Adapter, Desired, Served
from serving.torchserve import MANIFEST
from tests.serving.faults import Proxy
from tests.serving.rigs import Rig, Source, adapter
from tests.torchserve import TorchServeServer

HANDLER = "def handle(data, context):\n    return None if data is None else ['{answer}'] * len(data)\n"


class TorchServeRig(Rig):
    """A TorchServe that asks for its management key, and forgets everything when it ends."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = TorchServeServer(home / "server")
        self._proxy = Proxy(self.server.port, self.faults, lambda method, _: method != "GET")

    @property
    def secret(self) -> str:
        return self.server.token.read_text()

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.kill()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "torchserve",
            url=self._proxy.url,
            timeout=timeout,
            options={"inference_url": self.server.inference, "load_seconds": max(timeout, 3.0), "drain_seconds": 1.0},
            secrets={"token_file": str(self.server.token)},
            files={"mode": "folder", "path": str(self.server.models)},
        )

    def source(self, answer: int) -> Source:
        # As packed by somebody who forgot to give the version another number.
        return Source({"README.md": b"# A model", "model.mar": archive(HANDLER.format(answer=answer))})

    def broken(self) -> Source:
        return Source({"model.mar": archive("raise RuntimeError('it cannot be imported')")})

    async def predict(self, name: str, number: int | None = None) -> int | None:
        which = "" if number is None else f"/{number}"
        async with httpx.AsyncClient(verify=False, headers=self.server.inference_headers) as client:
            answer = await client.get(f"{self.server.inference}/predictions/{name}{which}", timeout=60)
        return int(answer.text) if answer.is_success else None

    def kill(self) -> None:
        self.server.kill()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.kill()
        self.server.start()

    def _management(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return httpx.AsyncClient(verify=False, base_url=self.server.management, headers=headers)

    async def register(self, file: str, name: str) -> None:
        """Register an archive as somebody else would."""
        params = {"url": file, "model_name": name, "initial_workers": "1", "synchronous": "true"}
        async with self._management() as client:
            (await client.post("/models", params=params, timeout=60)).raise_for_status()

    async def meddle(self, name: str) -> None:
        async with self._management() as client:
            (await client.put(f"/models/{name}/2/set-default", timeout=60)).raise_for_status()
            (await client.delete(f"/models/{name}/1", timeout=60)).raise_for_status()

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one, two = Served(1, 0.5, self.source(1)), Served(2, 0.5, self.source(2))
        return [
            (Desired("a", 1, (one, two)), "serves[0].weight"),
            (Desired("a", 1, resources={"gpus": 1}), "resources.gpus"),
            (Desired("a", 1, resources={"workers": 0}), "resources.workers"),
            (Desired("a", 1, resources={"workers": "2"}), "resources.workers"),
            (Desired("a", 1, settings={"handler": "x"}), "settings.handler"),
            (Desired("a", 1, settings={"batch_size": 0}), "settings.batch_size"),
        ]


def archive(handler: str, more: Mapping[str, bytes] | None = None, version: str = "1.0") -> bytes:
    """A model archive as torch-model-archiver makes them."""
    manifest = {
        "createdOn": "26/11/2026 12:00:00",
        "runtime": "python",
        "model": {"modelName": "model", "handler": "handler.py", "modelVersion": version},
        "archiverVersion": "0.12.0",
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        own = {"handler.py": handler.encode(), MANIFEST: json.dumps(manifest).encode()}
        for path, content in {**own, **(more or {})}.items():
            # The same each time, whatever the time is.
            made.writestr(zipfile.ZipInfo(path), content)
    return data.getvalue()
