"""The index of TensorFlow's variables: a table of sorted keys as in LevelDB, whose values name type and shape.

The layout is that of tensorflow/core/lib/io/table_format.txt, the values are BundleEntryProto of
tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from storage.formats.finding import elements
from storage.formats.protobuf import Message, varint
from storage.formats.reading import Bytes, File, Unreadable

_MAGIC: Final = bytes.fromhex("57fb808b247547db")
_FOOTER: Final = 48
_TRAILER: Final = 5
_MAX_INDEX: Final = 16 * 2**20
_FLOATS: Final = frozenset({1, 2, 14, 19})
_NO_VARIABLES: Final = (
    b".OPTIMIZER_SLOT", b"optimizer/", b"_optimizer", b"save_counter", b"keras_api/metrics", b"_all_variables/",
)  # fmt: skip
"""What is not the model's, or, where Keras exports a model, has its variables once more."""


def elements_of(model: File, path: str) -> int:
    """How many elements the variables have that are floats and no optimizer's. Raises Unreadable."""
    size = model.budget.source.files[path]
    file = File(model.budget, path, path, size, locate=lambda: 0)
    data = file.whole(_MAX_INDEX)
    if data[-8:] != _MAGIC:
        raise Unreadable(f"{path} is no table")
    footer = Bytes(data[-_FOOTER:])
    varint(footer), varint(footer)
    total = 0
    for _, handle in _entries(file, data, varint(footer), varint(footer)):
        place = Bytes(handle)
        for key, value in _entries(file, data, varint(place), varint(place)):
            if key and not any(each in key for each in _NO_VARIABLES):
                total += _entry(file, value)
    return total


def _entries(file: File, data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; each key is told by what it shares with the one before."""
    if start + size + _TRAILER > len(data):
        raise Unreadable("a block lies outside of the table")
    if data[start + size] != 0:
        raise Unreadable("its blocks are compressed")
    block = data[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    stream = Bytes(block)
    key = b""
    while stream.position < end:
        file.budget.step()
        shared, own, length = varint(stream), varint(stream), varint(stream)
        key = key[: min(shared, 4_096)] + stream.exactly(own)
        yield key, stream.exactly(length)


def _entry(file: File, value: bytes) -> int:
    type, sizes = 0, [0]
    for field in Message(Bytes(value), file.budget, len(value)).fields():
        if field.number == 1:
            type = field.value
        elif field.number == 2:
            sizes = [
                next((each.signed for each in part.message().fields() if each.number == 1), 0)
                for part in field.message().fields()
                if part.number == 2
            ]
    return elements(sizes) if type in _FLOATS else 0
