"""The messages of TensorFlow Serving's API, and how its methods are called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

DESCRIPTORS: Final = Path(__file__).with_name("serving.binpb")
MODEL_SERVICE: Final = "tensorflow.serving.ModelService"
PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"


class VersionState(IntEnum):
    """What the server does with a version."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service: its path, and the classes of its request and response."""

    service: str
    name: str
    request: Any
    response: Any

    @property
    def path(self) -> str:
        """The path of a call."""
        return f"/{self.service}/{self.name}"


def _pool() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    for file in files.file:
        pool.Add(file)
    return pool


_POOL: Final = _pool()


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tensorflow.serving.{name}"))


RELOAD: Final = Method(
    MODEL_SERVICE, "HandleReloadConfigRequest", _class("ReloadConfigRequest"), _class("ReloadConfigResponse")
)
STATUS: Final = Method(
    MODEL_SERVICE, "GetModelStatus", _class("GetModelStatusRequest"), _class("GetModelStatusResponse")
)
METADATA: Final = Method(
    PREDICTION_SERVICE, "GetModelMetadata", _class("GetModelMetadataRequest"), _class("GetModelMetadataResponse")
)
