"""Amazon SageMaker: a real-time endpoint for each deployment, with a variant for each version.

`url` is the API's address (https://api.sagemaker.REGION.amazonaws.com). Options: region and role, the ARN of the role
that the endpoint runs as. Secrets: key and secret, and token for a session's. Files are where SageMaker reads them, as
they are: in an object store on S3, or at the URI that the version has (s3://).

Settings: image (needed), environment (a table). Resources: instance_type (needed, such as ml.m5.large), instance_count.

The configuration of an endpoint never changes, so its name has a digest of it: what shall be is another one, and the
endpoint goes over to it by a blue/green update. Where that fails, SageMaker goes back by itself, and the configuration
that failed stays to tell of it until another one is wanted. Models and configurations that are no longer used are
removed. Endpoints have the tag `lineal`; one without it is left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from lineal.errors import InvalidArgument, PreconditionFailed
from serving.checking import check_count, check_words, too_many
from serving.placing import Content, keep_only, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, tag_of
from serving.sagemaker_calls import Calls
from serving.targets import TargetConfig
from storage.configuration import Kind, wrong

TAG: Final = "lineal"
AT_ONCE: Final = 8
"""Endpoints that are looked at at once."""
MAX_INSTANCES: Final = 1000
MAX_VARIANTS: Final = 10

_MOVING: Final = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_DOWN: Final = ("Failed", "OutOfService")
_VARIANT: Final = re.compile(r"v([1-9][0-9]*)-([0-9a-f]{16})")
_SETTINGS: Final[Mapping[str, Kind]] = {"image": str, "environment": dict}
_RESOURCES: Final[Mapping[str, Kind]] = {"instance_type": str, "instance_count": int}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is told: the configuration of an endpoint and its models, all by name."""

    config: str
    variants: Sequence[Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]


class SageMaker(Adapter):
    """SageMaker in one region of one account."""

    platform: ClassVar[str] = "sagemaker"
    splits: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = ("object", "none")
    options: ClassVar[Mapping[str, Kind]] = {"region": str, "role": str}
    secrets: ClassVar[tuple[str, ...]] = ("key", "secret", "token")

    def __init__(self, config: TargetConfig) -> None:
        for name in ("region", "role"):
            if not config.options.get(name):
                raise wrong(config.at(f"options.{name}"), "must be given")
        for name in ("key", "secret"):
            if name not in config.secrets:
                raise wrong(config.at("secrets"), f"must have {name}_env or {name}_file")
        if config.files.mode == "object" and not config.files.uri.startswith("s3://"):
            raise wrong(config.at("files.uri"), "must begin with s3:// for SageMaker")
        self._region = config.options["region"]
        self._role = config.options["role"]
        self._calls = Calls(config, self._region)
        self._place = place_of(config)
        self._looks = asyncio.Semaphore(AT_ONCE)

    def check(self, desired: Desired) -> None:
        if desired.name.endswith("-"):
            raise InvalidArgument("name: must not end with a hyphen on SageMaker", field="name")
        check_words(desired.settings, _SETTINGS, "settings")
        check_words(desired.resources, _RESOURCES, "resources")
        check_count(desired.resources, "instance_count", "resources", MAX_INSTANCES)
        if not desired.served:
            return
        if not desired.settings.get("image"):
            msg = "settings.image: must name the image that serves the model"
            raise InvalidArgument(msg, field="settings.image")
        if not desired.resources.get("instance_type"):
            msg = "resources.instance_type: must name the kind of instances, such as ml.m5.large"
            raise InvalidArgument(msg, field="resources.instance_type")
        too_many(desired, MAX_VARIANTS, "SageMaker")

    # ── Looking ───────────────────────────────────────────────────────────────────────────────────

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        async def look(name: str) -> Observed:
            async with self._looks:
                endpoint = await self._endpoint(name)
                return NOTHING if endpoint is None else await self._observed(name, endpoint)

        return dict(zip(names, await asyncio.gather(*map(look, names)), strict=True))

    async def _endpoint(self, name: str) -> Mapping[str, Any] | None:
        return await self._calls.ask("DescribeEndpoint", EndpointName=name)

    async def _observed(self, name: str, endpoint: Mapping[str, Any]) -> Observed:
        status, reason = endpoint.get("EndpointStatus"), self._calls.clean(endpoint.get("FailureReason") or "")
        if status == "Deleting":
            return Observed(settled=False)
        variants = endpoint.get("ProductionVariants") or await self._variants(endpoint["EndpointConfigName"])
        state = State.LOADING if status == "Creating" else State.FAILED if status in _DOWN else State.READY
        total = sum(_weight(each) for each in variants)
        seen = [_seen(each, state, _weight(each) / total if total else None, reason) for each in variants]
        there = {(each.number, each.tag) for each in seen}
        pending = (endpoint.get("PendingDeploymentSummary") or {}).get("ProductionVariants") or ()
        if status in _MOVING:
            coming = [_seen(each, State.LOADING, 0.0, "") for each in pending]
        elif state is State.READY and reason and (failed := await self._failed(name, endpoint)):
            coming = [_seen(each, State.FAILED, 0.0, reason) for each in await self._variants(failed)]
        else:
            coming = []
        seen += [each for each in coming if (each.number, each.tag) not in there]
        url = f"https://runtime.sagemaker.{self._region}.amazonaws.com/endpoints/{name}/invocations"
        return Observed(tuple(seen), url, reason, settled=status not in _MOVING)

    async def _variants(self, config: str) -> Sequence[Mapping[str, Any]]:
        """The variants of a configuration; none where it is gone."""
        found = await self._calls.ask("DescribeEndpointConfig", EndpointConfigName=config)
        return (found or {}).get("ProductionVariants") or ()

    async def _failed(self, name: str, endpoint: Mapping[str, Any]) -> str | None:
        """The configuration that an endpoint was to go over to and could not, where its last change failed."""
        newest: tuple[float, str] | None = None
        async for each in self._calls.listed("ListEndpointConfigs", "EndpointConfigs", NameContains=_base(name)):
            config, made = each["EndpointConfigName"], float(each["CreationTime"])
            if _is_of(name, config) and config != endpoint["EndpointConfigName"]:
                newest = max(newest or (made, config), (made, config))
        if newest is None or not endpoint.get("FailureReason"):
            return None
        # One that was made after the last change has not been tried.
        return newest[1] if newest[0] <= float(endpoint["LastModifiedTime"]) else None

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    async def place(self, desired: Desired) -> None:
        if self._place is not None:
            for served in desired.served:
                await self._place.put(f"{desired.name}/{_folder(served)}", Content(served.source))

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        endpoint = await self._endpoint(desired.name)
        if endpoint is not None and not await self._is_ours(desired.name, endpoint):
            msg = f"the endpoint {desired.name} is not Lineal's: remove it, or deploy by another name"
            raise PreconditionFailed(msg)
        status = endpoint.get("EndpointStatus") if endpoint else None
        if status in _MOVING:
            return
        if not desired.served:
            if endpoint is not None:
                await self._calls.ask("DeleteEndpoint", EndpointName=desired.name)
            await self._tidy(desired, None)
            return
        wanted = await self._wanted(desired)
        if endpoint is None:
            await self._prepare(wanted)
            tags = [{"Key": TAG, "Value": desired.name}]
            await self._tell("CreateEndpoint", desired.name, wanted.config, Tags=tags)
        elif endpoint["EndpointConfigName"] == wanted.config:
            # One that failed does not come up by being told again.
            if status == "InService":
                await self._tidy(desired, wanted)
        elif status == "Failed":
            await self._calls.ask("DeleteEndpoint", EndpointName=desired.name)
        elif await self._failed(desired.name, endpoint) != wanted.config:
            await self._prepare(wanted)
            await self._tell("UpdateEndpoint", desired.name, wanted.config)

    async def _is_ours(self, name: str, endpoint: Mapping[str, Any]) -> bool:
        if _is_of(name, endpoint.get("EndpointConfigName", "")):
            return True
        tags = self._calls.listed("ListTags", "Tags", ResourceArn=endpoint["EndpointArn"])
        return any([each.get("Key") == TAG async for each in tags])

    async def _wanted(self, desired: Desired) -> Wanted:
        variants, models = [], {}
        for served in desired.served:
            model = {
                "ExecutionRoleArn": self._role,
                "PrimaryContainer": {
                    "Image": desired.settings["image"],
                    "Environment": dict(desired.settings.get("environment", {})),
                    "ModelDataSource": {
                        "S3DataSource": {
                            "S3Uri": f"{await self._uri(desired, served)}/",
                            "S3DataType": "S3Prefix",
                            "CompressionType": "None",
                        }
                    },
                },
            }
            name = _named(desired.name, model)
            models[name] = model
            variants.append(
                {
                    "VariantName": f"v{served.number}-{tag_of(served.source)}",
                    "ModelName": name,
                    "InstanceType": desired.resources["instance_type"],
                    "InitialInstanceCount": desired.resources.get("instance_count", 1),
                    "InitialVariantWeight": served.weight,
                }
            )
        return Wanted(_named(desired.name, variants), variants, models)

    async def _uri(self, desired: Desired, served: Served) -> str:
        uri = served.source.uri
        if self._place is not None:
            path = f"{desired.name}/{_folder(served)}"
            await self._place.put(path, Content(served.source))
            uri = self._place.address(path)
        if not uri.startswith("s3://"):
            msg = f"version {served.number} is nowhere that SageMaker could read it: configure files of mode object"
            raise PreconditionFailed(msg)
        return uri.rstrip("/")

    async def _prepare(self, wanted: Wanted) -> None:
        for name, model in wanted.models.items():
            await self._calls.create("CreateModel", ModelName=name, **model)
        await self._calls.create(
            "CreateEndpointConfig", EndpointConfigName=wanted.config, ProductionVariants=wanted.variants
        )

    async def _tell(self, action: str, name: str, config: str, **more: Any) -> None:
        if await self._calls.ask(action, EndpointName=name, EndpointConfigName=config, **more) is None:
            raise PreconditionFailed(f"SageMaker does not know what {action} needs: apply again")

    async def _tidy(self, desired: Desired, wanted: Wanted | None) -> None:
        """Remove the configurations, models and files that are used no longer."""
        configs = {wanted.config} if wanted else set()
        models = set(wanted.models) if wanted else set()
        base = _base(desired.name)
        for kind, key, kept in (("EndpointConfig", "EndpointConfigName", configs), ("Model", "ModelName", models)):
            there = self._calls.listed(f"List{kind}s", f"{kind}s", NameContains=base)
            names = [each[key] async for each in there]
            for name in names:
                if _is_of(desired.name, name) and name not in kept:
                    await self._calls.ask(f"Delete{kind}", **{key: name})
        await keep_only(self._place, desired.name, {_folder(each) for each in desired.served})

    async def close(self) -> None:
        await self._calls.close()
        if self._place is not None:
            await self._place.close()


def _base(name: str) -> str:
    """What the names of all that is made for a deployment begin with: 45 characters at most, of 63 in all."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"lineal-{name if len(name) <= 38 else f'{name[:29]}-{digest}'}"


def _named(name: str, told: Any) -> str:
    digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    return f"{_base(name)}-{digest}"


def _is_of(name: str, there: str) -> bool:
    return re.fullmatch(rf"{re.escape(_base(name))}-[0-9a-f]{{16}}", there) is not None


def _folder(served: Served) -> str:
    return f"{served.number}-{tag_of(served.source)}"


def _weight(variant: Mapping[str, Any]) -> float:
    return float(variant.get("CurrentWeight", variant.get("InitialVariantWeight", 0.0)))


def _seen(variant: Mapping[str, Any], state: State, weight: float | None, reason: str) -> Seen:
    found = _VARIANT.fullmatch(str(variant.get("VariantName")))
    message = reason if state is State.FAILED else ""
    return Seen(
        int(found[1]) if found else None,
        state,
        weight,
        variant.get("CurrentInstanceCount"),
        message,
        found[2] if found else "",
    )
