"""A TensorFlow Serving made of the real messages, that behaves as the real one does where an adapter can tell.

The list that comes with a call replaces all models. A label goes to an available version only. A call that brings new
models is answered when they are loaded, or have failed to, and no other list is taken meanwhile; a new model without
files is waited for for ever. A version whose load failed keeps its last state for ever, also when it is let go.
A model is a folder with the file `saved_model.pb`, which holds its answer: a number, or what is no number and fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.tensorflow.messages import METADATA, RELOAD, STATUS, Method, VersionState
from tests.serving.faults import Fault, Faults

LOADING_SECONDS = 0.03
"""What a version takes to load."""


@dataclass
class Version:
    """A version as the server remembers it."""

    state: VersionState = VersionState.LOADING
    error: str = ""
    answer: int | None = None


@dataclass
class Model:
    """A model of the list."""

    base: Path
    wanted: set[int] = field(default_factory=set)


class RefusedError(Exception):
    """An error of a call: its code and message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TensorFlowServer:
    """A server on a port of its own, which it keeps when it is killed and started again."""

    def __init__(self, faults: Faults, *, seconds: float = LOADING_SECONDS) -> None:
        self.faults = faults
        self.seconds = seconds
        self.port = 0
        self.lists: list[Any] = []
        """The lists that were taken."""
        self._server: grpc.Server | None = None
        self.forget()

    def forget(self) -> None:
        """Be as a new one, which was told nothing."""
        self.models: dict[str, Model] = {}
        self.versions: dict[str, dict[int, Version]] = {}
        self.labels: dict[str, dict[str, int]] = {}
        self._lock = threading.RLock()
        self._config = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Answer calls."""
        self._server = grpc.server(futures.ThreadPoolExecutor(32))
        for method, handle in ((RELOAD, self._reload), (STATUS, self._status), (METADATA, self._metadata)):
            self._server.add_generic_rpc_handlers((self._handler(method, handle),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """End it at once."""
        assert self._server is not None
        self._stopping.set()
        self._server.stop(None).wait()
        self._server = None
        self.forget()

    def _handler(self, method: Method, handle: Callable[[Any], Any]) -> grpc.GenericRpcHandler:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            fault = self.faults.next(f"{method.name} {request}", changes=method is RELOAD)
            if fault is Fault.HANG:
                self.faults.hang()
            if fault in {Fault.HANG, Fault.LOST}:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            if fault is Fault.TOLD:
                metadata = dict(context.invocation_metadata())
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"bad {metadata} {request}")
            try:
                response = handle(request)
            except RefusedError as error:
                if fault is not Fault.UNHEARD:
                    context.abort(error.code, error.message)
            if fault is Fault.UNHEARD:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            return response

        kind = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(method.service, {method.name: kind})

    # ── The calls ─────────────────────────────────────────────────────────────────────────────────

    def _reload(self, request: Any) -> Any:
        if not request.config.HasField("model_config_list"):
            return RELOAD.response()
        with self._config:
            models = request.config.model_config_list.config
            with self._lock:
                self.labels = self._checked_labels(models)
                self.lists.append(request.config.model_config_list)
                new = [model.name for model in models if model.name not in self.models]
                self._take(models)
            failed = [name for name in new if not self._wait(name)]
        if failed:
            raise RefusedError(grpc.StatusCode.UNKNOWN, f"{len(failed)} model(s) did not become available: {failed}")
        return RELOAD.response()

    def _checked_labels(self, models: Any) -> dict[str, dict[str, int]]:
        for model in models:
            for version in model.version_labels.values():
                held = self.versions.get(model.name, {}).get(version)
                if held is None or held.state is not VersionState.AVAILABLE:
                    message = (
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference"
                    )
                    raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return {model.name: dict(model.version_labels) for model in models}

    def _take(self, models: Any) -> None:
        listed = {model.name: Model(Path(model.base_path), _wanted(model)) for model in models}
        for name, versions in self.versions.items():
            kept = listed[name].wanted if name in listed else set()
            for number, version in versions.items():
                if number not in kept and version.state in {VersionState.LOADING, VersionState.AVAILABLE}:
                    version.state = VersionState.END
        self.models = listed
        for name, model in listed.items():
            held = self.versions.setdefault(name, {})
            for number in model.wanted:
                path = model.base / str(number)
                ended = number in held and held[number].state is VersionState.END
                if path.is_dir() and (number not in held or ended):
                    held[number] = Version()
                    threading.Timer(self.seconds, self._loaded, (held[number], path)).start()

    def _loaded(self, version: Version, path: Path) -> None:
        with self._lock:
            if version.state is not VersionState.LOADING:
                return
            try:
                version.answer = int((path / "saved_model.pb").read_bytes())
                version.state = VersionState.AVAILABLE
            except (OSError, ValueError):
                version.state = VersionState.END
                version.error = f"Could not load the SavedModel at {path}"

    def _wait(self, name: str) -> bool:
        """Wait until the newest version of a new model is loaded, or has failed: whether it is."""
        while not self._stopping.is_set():
            with self._lock:
                wanted = self.models[name].wanted
                held = [version for number, version in self.versions[name].items() if number in wanted]
                if any(version.state is VersionState.AVAILABLE for version in held):
                    return True
                if held and all(version.state is VersionState.END for version in held):
                    return False
            time.sleep(0.005)
        return False

    def _status(self, request: Any) -> Any:
        name = request.model_spec.name
        with self._lock:
            held = self.versions.get(name)
            if not held:
                raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
            return STATUS.response(
                model_version_status=[
                    {
                        "version": number,
                        "state": int(version.state),
                        "status": {"error_code": 2 if version.error else 0, "error_message": version.error},
                    }
                    for number, version in held.items()
                ]
            )

    def _metadata(self, request: Any) -> Any:
        spec = request.model_spec
        with self._lock:
            number = self._resolve(spec.name, spec.version_label)
        return METADATA.response(model_spec={"name": spec.name, "version": {"value": number}})

    def _resolve(self, name: str, label: str) -> int:
        number = self.labels.get(name, {}).get(label)
        if number is None:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        if self.versions[name][number].state is not VersionState.AVAILABLE:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {number})")
        return number

    # ── What a test asks ──────────────────────────────────────────────────────────────────────────

    def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer of a version, of the one with the label `stable` where none is named; None where there is none."""
        if self._server is None:
            return None
        with self._lock:
            number = self.labels.get(name, {}).get("stable") if number is None else number
            version = self.versions.get(name, {}).get(number or 0)
            return version.answer if version is not None and version.state is VersionState.AVAILABLE else None

    def relabel(self, name: str, number: int) -> None:
        """Move the label `stable` of a model, as somebody else's list would."""
        with self._lock:
            self.labels[name]["stable"] = number

    def answering(self) -> Mapping[str, set[int]]:
        """The versions that are available, by model."""
        with self._lock:
            found = {
                name: {number for number, version in versions.items() if version.state is VersionState.AVAILABLE}
                for name, versions in self.versions.items()
            }
            return {name: numbers for name, numbers in found.items() if numbers}


def _wanted(model: Any) -> set[int]:
    policy = model.model_version_policy
    assert policy.HasField("specific"), "the latest version, whatever it is, is never meant"
    return set(policy.specific.versions)
