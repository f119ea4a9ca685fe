"""Ray Serve, as a dashboard that behaves like it stands in for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.port import Adapter, Desired, Served
from tests.serving.faults import Proxy
from tests.serving.ray_server import RayServer
from tests.serving.rigs import Rig, Source, adapter

APP = {"import_path": "models.serve:app"}


class RayRig(Rig):
    """A stand-in whose models are where their addresses say which answer they give."""

    settings = APP

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = RayServer()
        self._proxy = Proxy(self.server.port, self.faults, lambda method, _: method != "GET")

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.stop()

    def adapter(self, *, timeout: float = 30.0, **options: Any) -> Adapter:
        return adapter(
            "ray-serve",
            url=self._proxy.url,
            timeout=timeout,
            options=options,
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
        self.server.apps.clear()

    async def meddle(self, name: str) -> None:
        with self.server.lock:
            for app in self.server.apps.values():
                if app.config["route_prefix"] == f"/{name}":
                    app.config = {**app.config, "route_prefix": "/elsewhere"}

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one = Served(1, 1.0, self.source(1))
        halves = tuple(Served(number, 0.5, self.source(number)) for number in (1, 2))
        return [
            (Desired("m", 1, halves, settings=APP), "serves[0].weight"),
            (Desired("m", 1, (one,)), "settings.import_path"),
            (Desired("m", 1, (one,), settings={**APP, "zone": "a"}), "settings.zone"),
            (Desired("m", 1, (one,), settings=APP, resources={"num_replicas": 2}), "settings.deployment"),
            (Desired("m", 1, (one,), settings=APP, resources={"num_replicas": 0}), "resources.num_replicas"),
        ]


def _at(uri: str) -> Source:
    source = Source({"model": uri.encode()})
    source.uri = uri
    return source
