"""The descriptors of TensorFlow Serving's API are those that its own package has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from serving.tensorflow import messages
from tests.environments import run
from tests.tensorflow_api import tensorflow_api_python

WHERE = "import sysconfig; print(sysconfig.get_path('purelib'))"
ROOTS = ("tensorflow_serving/apis/model_service.proto", "tensorflow_serving/apis/get_model_metadata.proto")
CODES = "tensorflow/core/protobuf/error_codes.proto"
GRAPHS = "tensorflow/core/protobuf/meta_graph.proto"
CODE_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def codes() -> descriptor_pb2.FileDescriptorProto:
    """The codes of gRPC under TensorFlow's name: the one file that is not in the package."""
    file = descriptor_pb2.FileDescriptorProto(name=CODES, package="tensorflow.error", syntax="proto3")
    enum = file.enum_type.add(name="Code")
    for number, name in enumerate(CODE_NAMES):
        enum.value.add(name=name, number=number)
    return file


def descriptors(package: Path) -> descriptor_pb2.FileDescriptorSet:
    """What is needed of the package, each file after those that it imports.

    Google's own files come with protobuf. The metadata's map of signatures is left out: it would bring all of
    TensorFlow's graphs with it.
    """
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(name: str) -> None:
        if name in found or name.startswith("google/protobuf/"):
            return
        file = codes() if name == CODES else _file(package, name)
        if GRAPHS in file.dependency:
            file.dependency.remove(GRAPHS)
            (signatures,) = (each for each in file.message_type if each.name == "SignatureDefMap")
            file.message_type.remove(signatures)
        for needed in file.dependency:
            add(needed)
        found[name] = file

    for root in ROOTS:
        add(root)
    return descriptor_pb2.FileDescriptorSet(file=found.values())


def _file(package: Path, name: str) -> descriptor_pb2.FileDescriptorProto:
    module = package / f"{name.removesuffix('.proto')}_pb2.py"
    found = re.search(r"AddSerializedFile\((b'.*?')\)\n", module.read_text(), re.DOTALL)
    assert found, name
    return descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(found[1]))


@pytest.mark.services
def test_the_descriptors_are_those_of_the_package() -> None:
    package = Path(run(tensorflow_api_python(), WHERE, cwd=Path.cwd()).strip())
    assert messages.DESCRIPTORS.read_bytes() == descriptors(package).SerializeToString(deterministic=True)
