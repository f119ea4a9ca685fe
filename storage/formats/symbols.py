"""What a pickle's values are to those who do not make them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

_MAX_NESTED: Final = 8
COMPUTED: Final = "(computed)"
"""The name of what is imported by a name that a call gave."""


class _Symbol:
    __slots__ = ()


UNKNOWN: Final = _Symbol()
MARK: Final = _Symbol()


@dataclass(frozen=True, slots=True)
class Global:
    """What `import` gives: a module and a name in it, which may have points."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """What a call gives: who was called with what, the state that it got, and the items that were put into it."""

    maker: Any
    args: Any
    state: Any = None
    items: dict[Any, Any] | None = None


@dataclass(slots=True, eq=False)
class Persistent:
    """What stands for something that is kept outside of the pickle, such as a tensor's bytes."""

    id: Any


@dataclass(slots=True, eq=False)
class Array:
    """An array that joblib wrote between the opcodes."""

    shape: Any


_SIMPLE: Final = re.compile(r"[<>|=]?(?:([biufcmM])(\d{1,2})|\?|([SUVa])(\d{0,9}))")


def is_no_text(value: Any) -> bool:
    """Whether an unpickler certainly refuses it as a name. What a call gave may be a text, but not an estimator."""
    if isinstance(value, Made):
        maker = value.maker
        return isinstance(maker, Global) and maker.module.startswith("sklearn.") and maker.name[:1].isupper()
    return isinstance(value, list | dict | tuple | int | float | bytes)


def is_wrapper(made: Made) -> bool:
    """Whether joblib puts an array behind it."""
    makers = [made.maker, *(made.args[:1] if isinstance(made.args, tuple) else ())]
    return any(isinstance(each, Global) and each.name.endswith("NumpyArrayWrapper") for each in makers)


def item_size(dtype: Any, depth: int = 0) -> int | None:
    """Bytes of an item of a pickled `numpy.dtype`; 0 where its items are objects, None where it cannot be told."""
    args = dtype.args if isinstance(dtype, Made) else None
    if not (isinstance(args, tuple) and args and isinstance(args[0], str)) or depth > _MAX_NESTED:
        return None
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    flags = state[7] if len(state) > 7 else 0
    if re.fullmatch(r"[<>|=]?O\d?", args[0]):
        return 0
    match = _SIMPLE.fullmatch(args[0])
    if match is None or not isinstance(flags, int):
        return None
    # Bit 0 of the flags says that there are objects, whatever the type's own letter.
    if flags & 1:
        return 0
    if match[1]:
        return int(match[2]) if int(match[2]) <= 32 else None
    if not match[3]:
        return 1
    if len(state) > 5 and isinstance(state[5], int) and state[5] > 0:
        return int(state[5])
    return int(match[4] or 0) * (4 if match[3] == "U" else 1) or None
