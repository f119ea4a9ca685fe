"""What a pickle's values are to those who do not make them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, Final

_MAX_NESTED: Final = 32
COMPUTED: Final = "(computed)"
"""The name of what is imported by a name that a call or an import gave."""


class _Symbol:
    __slots__ = ()


UNKNOWN: Final = _Symbol()
MARK: Final = _Symbol()
FORGOTTEN: Final = _Symbol()
"""What may have been anything, where an UNKNOWN is a number or bytes."""


@dataclass(frozen=True, slots=True)
class Global:
    """What `import` gives: a module and a name in it, which may have points."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """What a call gives: who was called with what, the state that it got, and the items that were put into it.

    `holds` says that more was put into it than data, or what may become more.
    """

    maker: Any
    args: Any
    state: Any = None
    items: dict[Any, Any] | None = None
    holds: bool = False


@dataclass(slots=True, eq=False)
class Persistent:
    """What stands for something that is kept outside of the pickle, such as a tensor's bytes."""

    id: Any


@dataclass(slots=True, eq=False)
class Array:
    """An array that joblib wrote between the opcodes."""

    shape: Any


WRAPPER: Final = Global("joblib.numpy_pickle", "NumpyArrayWrapper")
"""What stands for an array in joblib's pickles; its state is followed by the array's bytes."""
DTYPE: Final = Global("numpy", "dtype")
BIT_GENERATOR: Final = Global("numpy.random._pickle", "__bit_generator_ctor")
"""What makes things whose state has two parts and only they can tell what these are."""
_ARRAYS: Final = (Global("numpy", "ndarray"), Global("numpy", "memmap"))
_WRAPPED: Final = frozenset({"subclass", "shape", "order", "dtype", "allow_mmap"})
_ALIGNED: Final = _WRAPPED | {"numpy_array_alignment_bytes"}
_TYPE: Final = re.compile(r"([biufcmMSUVO])(\d{1,9})")
_DESCRIBED: Final = re.compile(r"[<>|=]?([biufcmMSUVO])(\d{1,9}|(?<=O))(?:\[\d{0,9}\w{1,9}\])?")
_OBJECT_FLAGS: Final = 63
_OTHER_FLAGS: Final = 0x98
"""Of a type without objects: what its memory begins with, whether C knows how to read it, and that it is aligned."""
_ALIGNMENTS: Final = frozenset({1, 2, 4, 8, 16, 32, 64})


def wrapped_item_size(state: Any) -> int | None:
    """Bytes of an item of the array that comes after joblib's wrapper, as `item_size` has it."""
    if not isinstance(state, dict) or state.keys() not in (_WRAPPED, _ALIGNED):
        return None
    shape, aligned = state["shape"], state.get("numpy_array_alignment_bytes")
    if not (isinstance(shape, tuple) and len(shape) <= _MAX_NESTED and all(_is_size(each) for each in shape)):
        return None
    if state["subclass"] not in _ARRAYS or not (aligned is None or _is_size(aligned)):
        return None
    return item_size(state["dtype"])


def item_size(dtype: Any, depth: int = 0) -> int | None:
    """Bytes of an item of a pickled `numpy.dtype`; 0 where its items are objects.

    None where it is not written as NumPy writes it, which believes what it says of itself: that numbers are addresses
    of objects, or that objects have to be made texts of. Objects in fields are None too, as fields may overlap.
    """
    if not (isinstance(dtype, Made) and dtype.maker == DTYPE and isinstance(dtype.args, tuple) and dtype.args):
        return None
    match = _TYPE.fullmatch(dtype.args[0]) if isinstance(dtype.args[0], str) else None
    if match is None or not all(isinstance(each, int) for each in dtype.args[1:]) or depth > _MAX_NESTED:
        return None
    size = int(match[2]) * (4 if match[1] == "U" else 1)
    objects = match[1] == "O"
    if dtype.state is None:
        return 0 if objects else size or None
    if not (isinstance(dtype.state, tuple) and len(dtype.state) in (8, 9)):
        return None
    version, order, subarray, names, fields, said, alignment, flags, *_ = dtype.state
    if fields is not None and match[1] == "V":
        inner = [_field_size(each, size, depth) for each in fields.values()] if isinstance(fields, dict) else [None]
        if None in inner or 0 in inner or not isinstance(names, tuple) or set(names) != set(fields):
            return None
    elif fields is not None or names is not None:
        return None
    fixed = match[1] not in "SUV"
    if version not in (3, 4) or order not in ("<", ">", "|", "=") or subarray is not None:
        return None
    if said != (-1 if fixed else size) or not (alignment == -1 if fixed else alignment in _ALIGNMENTS):
        return None
    if not isinstance(flags, int) or (flags != _OBJECT_FLAGS if objects else flags & ~_OTHER_FLAGS):
        return None
    return 0 if objects else size or None


def dtype_size(description: Any, depth: int = 0) -> int | None:
    """Bytes of an item of what an `.npy` says its type is; 0 where there are objects, None where it is not known."""
    if isinstance(description, str):
        match = _DESCRIBED.fullmatch(description)
        if match is None:
            return None
        return 0 if match[1] == "O" else int(match[2]) * (4 if match[1] == "U" else 1) or None
    if not isinstance(description, list) or not description or depth > _MAX_NESTED:
        return None
    total = 0
    objects = False
    for field in description:
        if not (isinstance(field, tuple) and len(field) in (2, 3)):
            return None
        shape = field[2] if len(field) == 3 else ()
        size = dtype_size(field[1], depth + 1)
        if size is None or not (isinstance(shape, tuple) and all(type(each) is int and each >= 0 for each in shape)):
            return None
        objects = objects or size == 0
        total += size * prod(shape)
    return 0 if objects else total or None


def _field_size(field: Any, whole: int, depth: int) -> int | None:
    """The size of a field: a type and where it begins in an item of `whole` bytes."""
    if not (isinstance(field, tuple) and len(field) in (2, 3) and _is_size(field[1])):
        return None
    size = item_size(field[0], depth + 1)
    return size if size is not None and field[1] + size <= whole else None


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**63
