"""The contract on serving.webhook, with a small platform that speaks its words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx

from serving.port import Adapter, Desired
from tests.serving.faults import Proxy
from tests.serving.platform import PlatformServer
from tests.serving.rigs import SECRET, Rig, Source, adapter


class WebhookRig(Rig):
    """A platform of one's own, which reads files from a folder."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._models = home / "models"
        self._server = PlatformServer(home / "server", SECRET)
        self._proxy = Proxy(self._server.port, self.faults, lambda method, _: method == "POST")

    def start(self) -> None:
        self._models.mkdir()
        self._server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self._server.kill()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "webhook",
            url=f"{self._proxy.url}/deployments",
            timeout=timeout,
            secrets={"key_env": "RIG_SECRET"},
            files={"mode": "folder", "path": str(self._models)},
        )

    def source(self, answer: int) -> Source:
        return Source({"answer": str(answer).encode(), "deep/er/weights": bytes(3000)})

    def broken(self) -> Source:
        return Source({"answer": b"nonsense"})

    async def predict(self, name: str, number: int | None = None) -> int | None:
        async with httpx.AsyncClient(verify=False) as client:
            which = "" if number is None else f"/{number}"
            answer = await client.get(f"{self._server.url}/predict/{name}{which}", timeout=30)
        found: int | None = answer.json()["answer"]
        return found

    def kill(self) -> None:
        self._server.kill()

    def revive(self) -> None:
        self._server.start()

    def empty(self) -> None:
        self._server.kill()
        self._server.kept.unlink()
        self._server.start()

    async def meddle(self, name: str) -> None:
        async with httpx.AsyncClient(verify=False) as client:
            await client.post(f"{self._server.url}/meddle/{name}", content=b"", timeout=30)

    def refused(self) -> Sequence[tuple[Desired, str]]:
        return []
