"""Calls to TensorFlow Serving over gRPC, in Lineal's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc

from lineal.breaking import Breaker
from lineal.errors import PreconditionFailed, Unavailable
from serving.port import GUARD
from serving.targets import TargetConfig
from serving.tensorflow.messages import METADATA, RELOAD, STATUS, Method, VersionState
from storage.configuration import wrong

MAX_REASON: Final = 300
"""Characters of the server's own words that are repeated."""

_REFUSED: Final = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}
_GONE: Final = "not currently available"
"""What it says of a label for a version that is not there any more, or not yet: the next look will tell."""


def _is_away(error: Exception) -> bool:
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    return isinstance(error, grpc.aio.AioRpcError) and error.code() in silent


class NotLabelledError(Exception):
    """No version has the label."""


class Calls:
    """A client of one server. It connects when it is first used."""

    def __init__(self, config: TargetConfig) -> None:
        """Raises InvalidArgument: the file with certificates cannot be read."""
        parts = urlsplit(config.url)
        self._config = config
        self._address = f"{parts.hostname}:{parts.port or 8500}"
        self._certificates = _certificates(config) if parts.scheme == "https" else None
        self._secure = parts.scheme == "https"
        self._channel: grpc.aio.Channel | None = None
        self._breaker = Breaker("target", config.name, _is_away)

    async def status(self, name: str) -> Mapping[int, tuple[VersionState, str]]:
        """The state of each version of a model, and why it failed; empty where there is no such model."""
        try:
            answer = await self._call(STATUS, {"model_spec": {"name": name}})
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return {}
            raise self._error(error, STATUS) from None
        return {
            each.version: (VersionState(each.state), self._why(each.status)) for each in answer.model_version_status
        }

    def _why(self, status: Any) -> str:
        """Why a version failed; empty where it did not."""
        return self._cut(status.error_message or f"code {status.error_code}") if status.error_code else ""

    async def labelled(self, name: str, label: str) -> int:
        """The version that has a label. Raises NotLabelledError."""
        spec = {"name": name, "version_label": label}
        try:
            answer = await self._call(METADATA, {"model_spec": spec, "metadata_field": ["signature_def"]})
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}:
                raise NotLabelledError(label) from None
            raise self._error(error, METADATA) from None
        number: int = answer.model_spec.version.value
        return number

    async def reload(self, models: Sequence[Mapping[str, Any]], seconds: float) -> None:
        """Replace the list of models. Raises Unavailable (also where models do not come up), PreconditionFailed."""
        request = RELOAD.request(config={"model_config_list": {"config": models}})
        GUARD.get()()
        # An empty list is one that is there: without it, the server takes no action.
        request.config.model_config_list.SetInParent()
        try:
            answer = await self._send(RELOAD, request, min(seconds, self._config.timeout))
        except grpc.aio.AioRpcError as error:
            raise self._error(error, RELOAD) from None
        if answer.status.error_code:
            raise Unavailable(f"{self._what} refused its list: {self._cut(answer.status.error_message)}")

    async def _call(self, method: Method, request: Mapping[str, Any]) -> Any:
        return await self._send(method, method.request(**request), self._config.timeout)

    async def _send(self, method: Method, request: Any, seconds: float) -> Any:
        if self._channel is None:
            self._channel = self._open()
        call = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        token = self._config.secret("token")
        metadata = [("authorization", f"Bearer {token}")] if token else []
        with self._breaker():
            return await call(request, timeout=seconds, metadata=metadata)

    def _open(self) -> grpc.aio.Channel:
        # A server that comes back is to be found at once, and not after minutes of longer and longer pauses.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        if not self._secure:
            return grpc.aio.insecure_channel(self._address, options)
        return grpc.aio.secure_channel(self._address, grpc.ssl_channel_credentials(self._certificates), options)

    def _error(self, error: grpc.aio.AioRpcError, method: Method) -> Unavailable | PreconditionFailed:
        code, details = error.code(), self._cut(error.details() or "")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable(f"{self._what} did not answer {method.name} in time")
        if code in _REFUSED and _GONE not in details:
            return PreconditionFailed(f"{self._what} refused {method.name} ({code.name}): {details}")
        return Unavailable(f"{self._what} failed at {method.name} ({code.name}): {details}")

    def _cut(self, text: str) -> str:
        """Its words without the target's secret, on one line and not too long."""
        token = self._config.secret("token")
        text = " ".join(text.replace(token, "…").split() if token else text.split())
        return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"

    @property
    def _what(self) -> str:
        return f"target {self._config.name} ({self._address})"

    async def close(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


def _certificates(config: TargetConfig) -> bytes | None:
    try:
        return Path(config.ca_file).read_bytes() if config.ca_file else None
    except OSError:
        raise wrong(config.at("ca_file"), "must be a file with certificates in PEM") from None
