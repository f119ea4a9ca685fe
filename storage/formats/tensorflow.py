"""TensorFlow's SavedModel: the message SavedModel, its fingerprint, and the index of its variables.

The numbers of the fields are those of tensorflow/core/protobuf: saved_model.proto, meta_graph.proto,
fingerprint.proto. The graphs themselves are skipped.
"""

from __future__ import annotations

from posixpath import dirname, join
from typing import Final

from storage.formats import bundle
from storage.formats.finding import Found, Value
from storage.formats.protobuf import Field, Message
from storage.formats.reading import File

TYPES: Final = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
}  # fmt: skip


def claims(file: File) -> bool:
    """By its name, which is always the same."""
    return file.name in {"saved_model.pb", "fingerprint.pb"}


def read(file: File, found: Found) -> None:
    """Version, tags, the signature that is served, parameters, checksum."""
    message = Message(file.stream(), file.budget, file.size)
    if file.name == "fingerprint.pb":
        checksum = next((field.value for field in message.fields() if field.number == 1), None)
        found.fact("tensorflow.checksum", f"{checksum:016x}" if checksum is not None else None)
        return
    found.framework("TensorFlow")
    found.format("SavedModel")
    for field in message.fields():
        if field.number == 2:
            _meta_graph(field.message(), found)
    index = join(dirname(file.path), "variables", "variables.index")
    if index in file.budget.source.files:
        found.parameters("TensorFlow", file.path, bundle.elements_of(file, index))


def _meta_graph(message: Message, found: Found) -> None:
    signatures: dict[str, tuple[list[Value], list[Value]]] = {}
    for field in message.fields():
        if field.number == 1:
            _meta_info(field.message(), found)
        elif field.number == 5:
            name, inputs, outputs = _signature_entry(field.message())
            signatures[name] = inputs, outputs
    names = sorted(signatures, key=lambda name: (name != "serving_default", name == "__saved_model_init_op", name))
    if names:
        found.signature(*signatures[names[0]])
        found.fact("tensorflow.signatures", ", ".join(names))


def _meta_info(message: Message, found: Found) -> None:
    tags = []
    for field in message.fields():
        if field.number == 4:
            tags.append(field.text())
        elif field.number == 5:
            found.version("TensorFlow", field.text())
    found.fact("tensorflow.tags", ", ".join(tags))


def _signature_entry(message: Message) -> tuple[str, list[Value], list[Value]]:
    name = ""
    inputs: list[Value] = []
    outputs: list[Value] = []
    for field in message.fields():
        if field.number == 1:
            name = field.text()
        elif field.number == 2:
            for part in field.message().fields():
                if part.number in {1, 2}:
                    (inputs if part.number == 1 else outputs).append(_tensor_entry(part.message()))
    return name, sorted(inputs, key=lambda each: each.name), sorted(outputs, key=lambda each: each.name)


def _tensor_entry(message: Message) -> Value:
    name, type, sizes = "", "", None
    for field in message.fields():
        if field.number == 1:
            name = field.text()
        elif field.number == 2:
            for part in field.message().fields():
                if part.number == 2:
                    type = TYPES.get(part.value, "")
                elif part.number == 3:
                    sizes = shape_of(part)
    return Value(name, type, sizes)


def shape_of(field: Field) -> tuple[int | None, ...] | None:
    """A TensorShapeProto: -1 and an unknown rank stand for what is not fixed."""
    sizes: list[int | None] = []
    for part in field.message().fields():
        if part.number == 3 and part.value:
            return None
        if part.number == 2:
            size = next((each.signed for each in part.message().fields() if each.number == 1), 0)
            sizes.append(size if size >= 0 else None)
    return tuple(sizes[:64])
