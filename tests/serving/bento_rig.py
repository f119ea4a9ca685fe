"""BentoML, as an API like BentoCloud's stands in for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving.port import Adapter, Desired, Served, tag_of
from tests.serving.bento_server import BentoServer
from tests.serving.faults import Proxy
from tests.serving.rigs import Rig, Source, adapter

BENTO = {"bento": "model:{tag}"}


class BentoRig(Rig):
    """A stand-in; every version that a test makes has a bento."""

    beside = False
    settings = BENTO

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = BentoServer()
        self._proxy = Proxy(self.server.port, self.faults, lambda method, _: method != "GET")

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.stop()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter("bentoml", url=self._proxy.url, timeout=timeout, secrets={"token_env": "RIG_SECRET"})

    def source(self, answer: int) -> Source:
        source = Source({"model": str(answer).encode()})
        self.server.bentos[f"model:{tag_of(source)}"] = answer
        return source

    def broken(self) -> Source:
        source = Source({"model": b"broken"})
        self.server.bentos[f"model:{tag_of(source)}"] = None
        return source

    async def predict(self, name: str, number: int | None = None) -> int | None:
        return self.server.predict(name, number)

    def kill(self) -> None:
        self.server.stop()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.deployments.clear()

    async def meddle(self, name: str) -> None:
        self.server.deployments[name].told["bento"] = f"model:{tag_of(self.source(77))}"

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one = Served(1, 1.0, self.source(1))
        two = Served(2, 0.0, self.source(2))
        return [
            (Desired("m", 1, (one, two), settings=BENTO), "serves"),
            (Desired("m", 1, (Served(1, 0.5, self.source(1)),), settings=BENTO), "serves[0].weight"),
            (Desired("m", 1, (one,)), "settings.bento"),
            (Desired("m", 1, (one,), settings={"bento": "model:latest"}), "settings.bento"),
            (Desired("m", 1, (one,), settings={"bento": "model:{0.__class__}"}), "settings.bento"),
            (Desired("m", 1, (one,), settings={**BENTO, "zone": "a"}), "settings.zone"),
            (Desired("m", 1, (one,), {"min_replicas": 1}, BENTO), "settings.service"),
            (Desired("m", 1, (one,), {"max_replicas": 0}, BENTO), "resources.max_replicas"),
        ]
