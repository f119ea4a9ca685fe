"""KServe, as an API server that behaves like it stands in for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving.port import Adapter, Desired, Served
from tests.serving.faults import Proxy
from tests.serving.kserve_server import KServeServer
from tests.serving.rigs import Rig, Source, adapter

FORMAT = {"model_format": "sklearn"}


class KServeRig(Rig):
    """A stand-in whose models are where their addresses say which answer they give."""

    settings = FORMAT

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = KServeServer()
        self._proxy = Proxy(self.server.port, self.faults, lambda method, _: method != "GET")

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.stop()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "kserve",
            url=self._proxy.url,
            timeout=timeout,
            options={"namespace": "models"},
            secrets={"token_env": "RIG_SECRET"},
            files={"mode": "none"},
        )

    def source(self, answer: int) -> Source:
        return _at(f"s3://models/{answer}")

    def broken(self) -> Source:
        return _at("s3://models/broken")

    async def predict(self, name: str, number: int | None = None) -> int | None:
        return self.server.predict(name, number)

    def kill(self) -> None:
        self.server.stop()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.services.clear()

    async def meddle(self, name: str) -> None:
        self.server.update(name, ("spec", "predictor", "canaryTrafficPercent"), 40)

    def refused(self) -> Sequence[tuple[Desired, str]]:
        served = Served(1, 1.0, self.source(1))
        thirds = tuple(Served(number, 1 / 3, self.source(number)) for number in (1, 2, 3))
        return [
            (Desired("m", 1, thirds, settings=FORMAT), "serves"),
            (Desired("m", 1, thirds[:2], settings=FORMAT), "serves[0].weight"),
            (Desired("m", 1, (Served(1, 0.5, self.source(1)),), settings=FORMAT), "serves[0].weight"),
            (Desired("m-", 1, (served,), settings=FORMAT), "name"),
            (Desired("m", 1, (served,)), "settings.model_format"),
            (Desired("m", 1, (served,), settings={**FORMAT, "zone": "a"}), "settings.zone"),
            (Desired("m", 1, (served,), settings=FORMAT, resources={"min_replicas": 0}), "resources.min_replicas"),
        ]


def _at(uri: str) -> Source:
    source = Source({"model": uri.encode()})
    source.uri = uri
    return source
