"""ONNX: a ModelProto (onnx/onnx.proto of onnx/onnx), of which the weights are skipped by their lengths.

Where nodes have weights of their own, as constants or in branches and loops, the parameters are not counted: branches
may share theirs, and of a constant nothing says whether it was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import dirname, join, normpath
from typing import Final

from storage.formats.finding import Found, Value, elements
from storage.formats.protobuf import Field, Message
from storage.formats.reading import File

TYPES: Final = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0",
}  # fmt: skip
_NO_PARAMETERS: Final = frozenset({7, 8, 9, 13})
"""Types of what is no weight: of shapes and indices, texts and conditions."""
_PRODUCERS: Final = {
    "pytorch": "PyTorch", "skl2onnx": "scikit-learn", "tf2onnx": "TensorFlow", "keras2onnx": "Keras",
    "OnnxMLTools": "OnnxMLTools",
}  # fmt: skip


def claims(file: File) -> bool:
    """By its name: the bytes of a message tell nothing."""
    return file.suffix in {".onnx", ".ort"} and not file.head.startswith(b"PK")


def read(file: File, found: Found) -> None:
    """Versions of format and operators, who made it, inputs, outputs, parameters."""
    found.framework("ONNX")
    found.format("ONNX")
    producer = version = ""
    graph = _Graph(file)
    for field in Message(file.stream(), file.budget, file.size).fields():
        if field.number == 1:
            found.version("ONNX IR", field.value)
        elif field.number == 2:
            producer = field.text()
        elif field.number == 3:
            version = field.text()
        elif field.number == 7:
            graph.read(field.message())
        elif field.number == 8:
            _operators(field.message(), found)
    found.fact("onnx.producer", f"{producer} {version}")
    if producer in _PRODUCERS:
        found.framework(_PRODUCERS[producer])
        found.version("PyTorch" if producer == "pytorch" else producer, version)
    graph.tell(found)


def _operators(message: Message, found: Found) -> None:
    domain, version = "", 0
    for field in message.fields():
        if field.number == 1:
            domain = field.text()
        elif field.number == 2:
            version = field.value
    found.version(f"ONNX opset {domain}" if domain not in {"", "ai.onnx"} else "ONNX opset", version)


class _Graph:
    def __init__(self, file: File) -> None:
        self._file = file
        self._inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._weights: set[str] = set()
        self._external: set[str] = set()
        self._parameters = 0
        self._in_nodes = False

    def read(self, message: Message) -> None:
        for field in message.fields():
            if field.number == 1:
                self._node(field.message())
            elif field.number == 5:
                self._weight(field.message())
            elif field.number == 11:
                self._inputs.append(_value(field.message()))
            elif field.number == 12:
                self._outputs.append(_value(field.message()))
            elif field.number == 15:
                self._sparse(field.message())

    def _sparse(self, message: Message) -> None:
        for field in message.fields():
            if field.number == 1:
                self._weight(field.message())

    def _weight(self, message: Message) -> None:
        dims: list[int] = []
        type = 0
        for field in message.fields():
            if field.number == 1:
                dims += field.numbers()
            elif field.number == 2:
                type = field.value
            elif field.number == 8:
                self._weights.add(field.text())
            elif field.number == 13:
                self._place(field.message())
        self._parameters += 0 if type in _NO_PARAMETERS else elements(dims)

    def _node(self, message: Message) -> None:
        for field in message.fields():
            if field.number == 5:
                for part in field.message().fields():
                    if part.number in {5, 6, 10, 11}:
                        self._inner(part.message(), graph=part.number in {6, 11})

    def _inner(self, message: Message, *, graph: bool) -> None:
        """A tensor or graph within a node. A tensor of one element is a setting of the node, such as a factor."""
        inner = _Graph(self._file)
        if graph:
            inner.read(message)
        else:
            inner._weight(message)
        self._in_nodes = self._in_nodes or inner._in_nodes or inner._parameters > 1
        self._external |= inner._external

    def _place(self, message: Message) -> None:
        entry = _entry(message)
        if entry.get(1) == "location":
            self._external.add(entry.get(2, ""))

    def tell(self, found: Found) -> None:
        # Before version 4 of the format weights are inputs too.
        found.signature([each for each in self._inputs if each.name not in self._weights], self._outputs)
        if not self._in_nodes:
            found.parameters("ONNX", self._file.path, self._parameters)
        folder = dirname(self._file.path)
        for name in sorted(self._external):
            if normpath(join(folder, name)) not in self._file.budget.source.files:
                found.note(self._file.label, f"its weights are in {name!r}, which is not part of the artifact")


def _entry(message: Message) -> Mapping[int, str]:
    return {field.number: field.text() for field in message.fields() if field.end >= 0}


def _value(message: Message) -> Value:
    name, type, shape = "", "", None
    for field in message.fields():
        if field.number == 1:
            name = field.text()
        elif field.number == 2:
            type, shape = _type(field.message())
    return Value(name, type, shape)


def _type(message: Message) -> tuple[str, tuple[int | None, ...] | None]:
    for field in message.fields():
        if field.number in {1, 8}:
            return _tensor(field.message())
        if field.number in {4, 9}:
            kind = "sequence" if field.number == 4 else "optional"
            inner = next((_type(each.message())[0] for each in field.message().fields() if each.number == 1), "")
            return f"{kind}({inner})", None
        if field.number == 5:
            return _map(field), None
    return "", None


def _map(field: Field) -> str:
    key, value = "", ""
    for each in field.message().fields():
        if each.number == 1:
            key = TYPES.get(each.value, "")
        elif each.number == 2:
            value = _type(each.message())[0]
    return f"map({key}, {value})"


def _tensor(message: Message) -> tuple[str, tuple[int | None, ...] | None]:
    type, shape = "", None
    for field in message.fields():
        if field.number == 1:
            type = TYPES.get(field.value, "")
        elif field.number == 2:
            shape = tuple(_dimension(each.message()) for each in field.message().fields() if each.number == 1)[:64]
    return type, shape


def _dimension(message: Message) -> int | None:
    size = None
    for field in message.fields():
        if field.number == 1 and field.signed >= 0:
            size = field.signed
    return size
