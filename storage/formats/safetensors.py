"""safetensors: a length, a JSON header that names every tensor with its type, shape and place, and the tensors.

The header is read as safetensors' own README has it. Shards are named by a `*.safetensors.index.json`.
"""

from __future__ import annotations

from collections import Counter
from posixpath import dirname, join
from typing import Final

from storage.formats.finding import Found, elements
from storage.formats.reading import MAX_JSON, File, Unreadable, json_object

_FRAMEWORKS: Final = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Flax", "jax": "JAX", "mlx": "MLX", "np": "NumPy"}

_BITS: Final = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6,
    "F4": 4,
}  # fmt: skip
"""Bits of an element. Elements of other types are not counted, as nothing shows whether their shape is true."""


def claims(file: File) -> bool:
    """By its name."""
    return file.name.endswith((".safetensors", ".safetensors.index.json"))


def read(file: File, found: Found) -> None:
    """Types, parameters, the library that wrote it; of an index, whether all shards are there."""
    if file.name.endswith(".json"):
        _index(file, found)
        return
    found.format("safetensors")
    length = int.from_bytes(file.at(0, 8), "little")
    if length > MAX_JSON:
        raise Unreadable(f"its header says that it has {length:,} bytes; at most {MAX_JSON:,} are read")
    tensors = json_object(file.at(8, length))
    metadata = tensors.pop("__metadata__", None) or {}
    if framework := _FRAMEWORKS.get(metadata.get("format", "")):
        found.framework(framework)
    types: Counter[str] = Counter()
    data = file.size - 8 - length
    for tensor in tensors.values():
        begin, end = tensor["data_offsets"]
        if not 0 <= begin <= end <= data:
            raise Unreadable("a tensor lies outside of the file")
        dtype = str(tensor["dtype"])
        count = elements(tensor["shape"]) if dtype in _BITS else 0
        if dtype in _BITS and count * _BITS[dtype] != 8 * (end - begin):
            raise Unreadable("a tensor has other bytes than its type and shape come to")
        types[dtype] += count
    found.parameters("safetensors", file.path, types.total())
    if types:
        found.fact("safetensors.dtype", types.most_common(1)[0][0])


def _index(file: File, found: Found) -> None:
    shards = {shard for shard in file.json()["weight_map"].values() if isinstance(shard, str)}
    folder = dirname(file.path)
    missing = sorted(shard for shard in shards if join(folder, shard) not in file.budget.source.files)
    if missing:
        found.note(file.label, f"{len(missing):,} of {len(shards):,} shards are missing, {missing[0]} for one")
