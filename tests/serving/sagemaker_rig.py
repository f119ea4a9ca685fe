"""SageMaker, as moto stands in for it, with what moto lacks added."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from serving.port import Adapter, Desired, Served
from tests.moto import moto_python
from tests.services import Server
from tests.serving.faults import Proxy
from tests.serving.rigs import Rig, Source, adapter

REGION = "eu-central-1"
IMAGE = {"image": "registry/sklearn:1"}
INSTANCES = {"instance_type": "ml.m5.large"}


class MotoServer(Server):
    """moto's server as a process, which keeps nothing."""

    name: ClassVar[str] = "moto"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(verify=False, timeout=30)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        return [str(moto_python()), "-P", str(Path(__file__).with_name("moto_server.py")), str(self.port)], {}

    def answers(self) -> bool:
        try:
            return self.client.get(f"{self.url}/moto-api/").is_success
        except httpx.TransportError:
            return False

    def ask(self, action: str, **request: Any) -> Mapping[str, Any] | None:
        """What SageMaker answers, None where it refuses or is away."""
        headers = {
            "X-Amz-Target": f"SageMaker.{action}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/sagemaker/aws4_request, "
            "SignedHeaders=host, Signature=test",
        }
        try:
            answer = self.client.post(f"{self.url}/", json=request, headers=headers)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success and answer.content else None


class SageMakerRig(Rig):
    """A stand-in whose models are where their addresses say which answer they give."""

    settings = IMAGE
    resources = INSTANCES

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = MotoServer(home / "moto")
        self._proxy = Proxy(self.server.port, self.faults, _changes)

    def start(self) -> None:
        self.server.start()
        self._proxy.__enter__()

    def close(self) -> None:
        self._proxy.__exit__(None, None, None)
        self.server.kill()
        self.server.client.close()

    def adapter(self, *, timeout: float = 30.0) -> Adapter:
        return adapter(
            "sagemaker",
            url=self._proxy.url,
            timeout=timeout,
            options={"region": REGION, "role": "arn:aws:iam::123456789012:role/serving"},
            secrets={"key_env": "RIG_SECRET", "secret_env": "RIG_SECRET"},
            files={"mode": "none"},
        )

    def source(self, answer: int) -> Source:
        return _at(f"s3://models/{answer}")

    def broken(self) -> Source:
        return _at("s3://models/broken")

    async def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer of the variant that a request would go to, from what moto has of the endpoint."""
        return await asyncio.to_thread(self._predict, name, number)

    def _predict(self, name: str, number: int | None) -> int | None:
        endpoint = self.server.ask("DescribeEndpoint", EndpointName=name)
        if endpoint is None or endpoint["EndpointStatus"] not in {"InService", "Updating"}:
            return None
        config = self.server.ask("DescribeEndpointConfig", EndpointConfigName=endpoint["EndpointConfigName"])
        assert config is not None, "the configuration in use is never removed"
        variants = config["ProductionVariants"]
        if number is not None:
            variants = [each for each in variants if each["VariantName"].startswith(f"v{number}-")]
        weights = [1.0 if number is not None else each["InitialVariantWeight"] for each in variants]
        if not any(weights):
            return None
        variant = random.choices(variants, weights)[0]
        model = self.server.ask("DescribeModel", ModelName=variant["ModelName"])
        assert model is not None, "a model in use is never removed"
        uri: str = model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"]
        return int(uri.rstrip("/").rpartition("/")[2])

    def kill(self) -> None:
        self.server.kill()

    def revive(self) -> None:
        self.server.start()

    def empty(self) -> None:
        self.server.client.post(f"{self.server.url}/moto-api/reset")

    async def meddle(self, name: str) -> None:
        endpoint = self.server.ask("DescribeEndpoint", EndpointName=name)
        assert endpoint is not None
        config = self.server.ask("DescribeEndpointConfig", EndpointConfigName=endpoint["EndpointConfigName"])
        assert config is not None
        variants = [{**each, "InitialVariantWeight": 1.0} for each in config["ProductionVariants"]]
        self.server.ask("CreateEndpointConfig", EndpointConfigName="by-hand", ProductionVariants=variants)
        self.server.ask("UpdateEndpoint", EndpointName=name, EndpointConfigName="by-hand")
        while self.server.ask("DescribeEndpoint", EndpointName=name)["EndpointStatus"] == "Updating":  # type: ignore[index]
            pass

    def refused(self) -> Sequence[tuple[Desired, str]]:
        one = (Served(1, 1.0, self.source(1)),)
        many = tuple(Served(number, 1 / 16, self.source(number)) for number in range(1, 17))
        return [
            (Desired("m", 1, many, INSTANCES, IMAGE), "serves"),
            (Desired("m-", 1, one, INSTANCES, IMAGE), "name"),
            (Desired("m", 1, one, INSTANCES), "settings.image"),
            (Desired("m", 1, one, settings=IMAGE), "resources.instance_type"),
            (Desired("m", 1, one, {**INSTANCES, "instance_count": 0}, IMAGE), "resources.instance_count"),
            (Desired("m", 1, one, INSTANCES, {**IMAGE, "zone": "a"}), "settings.zone"),
        ]


def _changes(_: str, action: str) -> bool:
    return not action.removeprefix("SageMaker.").startswith(("Describe", "List"))


def _at(uri: str) -> Source:
    source = Source({"model": uri.encode()})
    source.uri = uri
    return source
