"""GGUF, versions 2 and 3: metadata as keys and values, then the tensors' names, shapes and types.

The layout and the keys are those of docs/gguf.md in ggml-org/ggml.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Final

from storage.formats.finding import Found, elements
from storage.formats.reading import File, Stream, Unreadable

_SCALARS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING: Final = 8
_ARRAY: Final = 9
_KEPT: Final = 4_096
_ASKED: Final = {
    "general.architecture", "general.name", "general.file_type", "general.license", "tokenizer.chat_template",
    *(f"general.base_model.{i}.{what}" for i in range(16) for what in ("repo_url", "name")),
}  # fmt: skip
_CONTEXT: Final = ".context_length"
_MAX_KEYS: Final = 100
"""Keys that are kept: those that are asked for, and the context of every architecture that there may be."""
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
_TENSOR_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


def claims(file: File) -> bool:
    """By its first four bytes."""
    return file.head[:4] == b"GGUF"


def read(file: File, found: Found) -> None:
    """Architecture, parameters, quantization, context length, licence, base models, whether it has a chat template."""
    found.framework("llama.cpp")
    stream = file.stream()
    stream.skip(4)
    raw = stream.exactly(4)
    order = "<" if int.from_bytes(raw, "little") < 2**16 else ">"
    (version,) = struct.unpack(order + "I", raw)
    found.format("GGUF", version)
    if version not in {2, 3}:
        raise Unreadable(f"it is version {version} of GGUF; 2 and 3 are read")
    reader = _Reader(file, stream, order)
    tensors, count = reader.number("Q"), reader.number("Q")
    if tensors > file.size or count > file.size:
        raise Unreadable("it says that it has more tensors or keys than bytes")
    keys: dict[str, object] = {}
    for _ in range(count):
        key, value = reader.pair()
        if (key in _ASKED or key.endswith(_CONTEXT)) and len(keys) < _MAX_KEYS:
            keys[key] = value
    _metadata(keys, found)
    types: Counter[int] = Counter()
    for _ in range(tensors):
        type, size = reader.tensor()
        types[type] += size
    found.parameters("GGUF", file.path, types.total())
    if types and "general.file_type" not in keys:
        found.fact("gguf.quantization", _TENSOR_TYPES.get(types.most_common(1)[0][0]))


def _metadata(keys: dict[str, object], found: Found) -> None:
    architecture = keys.get("general.architecture")
    found.fact("gguf.architecture", architecture)
    found.fact("gguf.name", keys.get("general.name"))
    found.fact("gguf.context_length", keys.get(f"{architecture}{_CONTEXT}"))
    found.fact("gguf.chat_template", "yes" if "tokenizer.chat_template" in keys else "no")
    file_type = keys.get("general.file_type")
    if isinstance(file_type, int):
        found.fact("gguf.quantization", _FILE_TYPES.get(file_type))
    found.licence(keys.get("general.license"))
    for i in range(16):
        base = f"general.base_model.{i}."
        address = keys.get(base + "repo_url")
        if isinstance(address, str) and "/" in address:
            found.base_model("/".join(address.rstrip("/").split("/")[-2:]))
        else:
            found.base_model(keys.get(base + "name"))


class _Reader:
    def __init__(self, file: File, stream: Stream, order: str) -> None:
        self._file, self._stream, self._order = file, stream, order

    def number(self, code: str) -> int:
        value: int = struct.unpack(self._order + code, self._stream.exactly(struct.calcsize("<" + code)))[0]
        return value

    def string(self) -> str:
        size = self.number("Q")
        kept = self._stream.exactly(min(size, _KEPT)).decode("utf-8", "replace")
        if size > _KEPT:
            self._stream.skip(size - _KEPT)
        return kept

    def pair(self) -> tuple[str, object]:
        self._file.budget.step()
        return self.string(), self._value(self.number("I"), 0)

    def _value(self, type: int, depth: int) -> object:
        if type == _STRING:
            return self.string()
        if type in _SCALARS:
            return self.number(_SCALARS[type])
        if type == _ARRAY and depth < 4:
            self._array(depth)
            return None
        raise Unreadable(f"it has a value of type {type}, which GGUF does not have")

    def _array(self, depth: int) -> None:
        type, count = self.number("I"), self.number("Q")
        if type in _SCALARS:
            self._stream.skip(count * struct.calcsize("<" + _SCALARS[type]))
            return
        for _ in range(count):
            self._file.budget.step()
            if type == _STRING:
                self._stream.skip(self.number("Q"))
            else:
                self._value(type, depth + 1)

    def tensor(self) -> tuple[int, int]:
        """Its type and how many elements it has."""
        self._file.budget.step()
        self.string()
        dims = self.number("I")
        if dims > 8:
            raise Unreadable(f"a tensor has {dims} dimensions")
        count = elements([self.number("Q") for _ in range(dims)])
        type = self.number("I")
        self._stream.skip(8)
        return type, count
