"""A machine that goes through a pickle's opcodes and only ever writes down what they would do.

It keeps the stack and the memo of a real unpickler, but of symbols: what a pickle imports is a Global, what it calls
is a Made. Nothing is imported, called or built. Bytes that do not matter are skipped, and how much is remembered is
bounded; what was forgotten is UNKNOWN. The opcodes and their arguments come from the standard library's pickletools.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, Final

from storage.formats.literals import decoded, key_of, little, number, parsed, unquoted
from storage.formats.reading import Budget, Stream, Unreadable
from storage.formats.symbols import (
    COMPUTED,
    MARK,
    UNKNOWN,
    Array,
    Global,
    Made,
    Persistent,
    is_no_text,
    is_wrapper,
    item_size,
)

MAX_REMEMBERED: Final = 200_000
"""Values on the stack, in the memo and in containers that are remembered, each."""
MAX_THINGS: Final = 500_000
"""Tuples and calls that are remembered."""
MAX_GLOBALS: Final = 10_000
_MAX_TEXT: Final = 256
_MAX_NESTED: Final = 8


class Machine:
    """Goes through one pickle. With `joblib` it knows the arrays that joblib puts between the opcodes.

    `globals` are the imports in order, `calls` how often something is called. `broken` says that a real unpickler
    would have stopped with an error, `lost` that what follows could not be told: then there may be more imports.
    """

    def __init__(self, stream: Stream, budget: Budget, *, joblib: bool = False, depth: int = 0) -> None:
        self.stream, self.budget = stream, budget
        self.joblib, self.depth = joblib, depth
        self.globals: dict[Global, None] = {}
        self.calls = 0
        self.broken = ""
        self.lost = ""
        self.arrays = False
        self.models: list[Made] = []
        self.result: Any = UNKNOWN
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._memoized = 0
        self._forgot_keys = False
        self._room = MAX_REMEMBERED
        self._things = MAX_THINGS
        self._protocol = 0

    def run(self) -> Machine:
        """Go through the opcodes up to STOP, or to where a real unpickler would break."""
        try:
            while self._step():
                pass
        except Unreadable as error:
            self.broken = self.broken or str(error)
            self.lost = self.lost or ("" if self.budget.steps >= 0 and self.budget.unpacked >= 0 else str(error))
        return self

    def _step(self) -> bool:
        self.budget.step()
        code = self.stream.read(1)
        if not code:
            raise Unreadable("the pickle ends before its end")
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise Unreadable("the pickle has an opcode that does not exist")
        if opcode.name == "STOP":
            self.result = self.pop()
            return False
        _ACTIONS[opcode.name](self, self._argument(opcode))
        return not self.lost

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        """The bytes of an opcode's argument; of those that do not matter UNKNOWN."""
        if opcode.arg is None:
            return b""
        size = opcode.arg.n
        if size == pickletools.UP_TO_NEWLINE:
            line, whole = self.stream.line(_MAX_LINE)
            return line if whole or opcode.name in {"GLOBAL", "INST"} else UNKNOWN
        if size < 0:
            size = int.from_bytes(self.stream.exactly(_LENGTHS[size]), "little")
        if size > _MAX_TEXT:
            self.stream.skip(size)
            return UNKNOWN
        return self.stream.exactly(size)

    # ── The stack ─────────────────────────────────────────────────────────────────────────────────

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        if len(self._stack) >= MAX_REMEMBERED:
            raise Unreadable("the pickle piles up more values than are remembered")
        self._stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack; where there is none, a real unpickler would break."""
        if not self._stack or self._stack[-1] is MARK:
            self.broken = self.broken or "the pickle takes from an empty stack"
            return UNKNOWN
        return self._stack.pop()

    def top(self) -> Any:
        """The value that is on the stack."""
        value = self.pop()
        self.push(value)
        return value

    def marked(self) -> list[Any]:
        """All values down to the last mark."""
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is MARK:
                values = self._stack[i + 1 :]
                del self._stack[i:]
                return values
        self.broken = self.broken or "the pickle looks for a mark that is not there"
        values, self._stack = self._stack, []
        return values

    def discard(self) -> None:
        """Take all values down to the last mark, for nothing."""
        self.marked()

    def keep(self, count: int) -> bool:
        """Whether containers may still remember so many values."""
        self._room -= count
        return self._room >= 0

    def memoize(self, key: int | None = None) -> None:
        """Remember what is on the stack."""
        # Without a key it goes by how many keys there are, which cannot be told once some were forgotten.
        if key is None and self._forgot_keys:
            self.lost = "it remembers more than is kept of it"
        full = len(self._memo) >= MAX_REMEMBERED
        self._forgot_keys = self._forgot_keys or (full and key is not None)
        key = self._memoized if key is None else key
        self._memoized += key not in self._memo
        if not full or key in self._memo:
            self._memo[key] = self.top()

    def recall(self, key: int) -> None:
        """Put on the stack what was remembered."""
        if key not in self._memo and len(self._memo) < MAX_REMEMBERED:
            self.broken = self.broken or "the pickle recalls what it did not remember"
        self.push(self._memo.get(key, UNKNOWN))

    def push_thing(self, thing: Any) -> None:
        """Put a tuple or a call on the stack, unless there were too many already."""
        self._things -= 1
        self.push(thing if self._things >= 0 else UNKNOWN)

    # ── What a pickle does ────────────────────────────────────────────────────────────────────────

    def protocol(self, version: int) -> None:
        """The protocol, which says whether names of Python 2 are meant."""
        self._protocol = version

    def find(self, module: Any, name: Any) -> Any:
        """An import. A name that is not known is told as `?`, one that a call gave as COMPUTED."""
        if is_no_text(module) or is_no_text(name):
            raise Unreadable("the pickle imports by a name that is no text")
        if isinstance(module, Made) or isinstance(name, Made):
            module = name = COMPUTED
        found = Global(module if isinstance(module, str) else "?", name if isinstance(name, str) else "?")
        self.globals.setdefault(found)
        if len(self.globals) > MAX_GLOBALS:
            self.lost = "it imports more than is told of one pickle"
        self.push(found)
        return found

    def call(self, maker: Any, args: Any) -> None:
        """A call of whatever was imported or made."""
        self.calls += 1
        self.push_thing(Made(maker, args))

    def build(self, state: Any) -> None:
        """Give a state to what is on the stack, which is a call as well where its class says how."""
        self.calls += 1
        made = self.top()
        if not isinstance(made, Made):
            return
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
            state = state[0]
        made.state = state
        if isinstance(state, dict) and "_sklearn_version" in state and len(self.models) < 1_000:
            self.models.append(made)
        if is_wrapper(made):
            self.arrays = True
            if self.joblib:
                self.pop()
                self.push(self._array(state))

    def _array(self, state: Any) -> Any:
        """Go past an array as joblib's `NumpyArrayWrapper.read_array` does, or through it where it is a pickle."""
        state = state if isinstance(state, dict) else {}
        size = item_size(state.get("dtype"))
        shape = state.get("shape")
        if size is None or not isinstance(shape, tuple) or len(shape) > 64:
            self.lost = "it has an array of a type that is not known"
            return UNKNOWN
        if size == 0:
            return self._nested()
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.skip(self.stream.exactly(1)[0])
        for each in shape:
            if not isinstance(each, int) or each < 0:
                raise Unreadable("it has an array of a shape that cannot be")
            size *= each
        self.stream.skip(size)
        return Array(shape)

    def _nested(self) -> Any:
        if self.depth >= _MAX_NESTED:
            self.lost = "its pickles are nested too deeply"
            return UNKNOWN
        inner = Machine(self.stream, self.budget, joblib=True, depth=self.depth + 1).run()
        self.globals |= inner.globals
        self.calls += inner.calls
        self.lost = inner.lost
        if inner.broken:
            raise Unreadable(inner.broken)
        return inner.result


_OPCODES: Final = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_LENGTHS: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_MAX_LINE: Final = 1_024
# ── The opcodes ───────────────────────────────────────────────────────────────────────────────────

_Action = Callable[[Machine, Any], None]


def _global(machine: Machine, line: bytes) -> None:
    module = decoded(line, "utf-8")
    machine.find(module, decoded(machine.stream.line(_MAX_LINE)[0], "utf-8"))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.find(module, name)


def _inst(machine: Machine, line: bytes) -> None:
    _global(machine, line)
    maker = machine.pop()
    machine.call(maker, tuple(machine.marked()))


def _obj(machine: Machine, _: Any) -> None:
    maker, *args = machine.marked() or [UNKNOWN]
    machine.call(maker, tuple(args))


def _reduce(machine: Machine, _: Any) -> None:
    args, maker = machine.pop(), machine.pop()
    machine.call(maker, args)


def _newobj_ex(machine: Machine, _: Any) -> None:
    _, args, maker = machine.pop(), machine.pop(), machine.pop()
    machine.call(maker, args)


def _add(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(values if machine.keep(len(values)) else ())
    elif isinstance(target, Made):
        machine.calls += 1


def _set(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, Made):
        machine.calls += 1
        target.items = {} if target.items is None else target.items
        target = target.items
    if isinstance(target, dict) and machine.keep(len(values)):
        target.update((key, value) for key, value in zip(values[::2], values[1::2], strict=False) if _hashes(key))


def _hashes(key: Any) -> bool:
    return isinstance(key, str | int)


def _set_item(machine: Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set(machine, [key, value])


def _dict(machine: Machine, _: Any) -> None:
    values = machine.marked()
    machine.push({})
    _set(machine, values)


def _tuple(machine: Machine, values: list[Any]) -> None:
    machine.push_thing(tuple(values))


def _last(machine: Machine, count: int) -> None:
    _tuple(machine, [machine.pop() for _ in range(count)][::-1])


def _pop(machine: Machine) -> None:
    """POP takes a mark too, if that is what is on the stack."""
    if machine._stack and machine._stack[-1] is MARK:
        machine._stack.pop()
    else:
        machine.pop()


_ACTIONS: Final[dict[str, _Action]] = {
    "MARK": lambda machine, _: machine.push(MARK),
    "POP": lambda machine, _: _pop(machine),
    "POP_MARK": lambda machine, _: machine.discard(),
    "DUP": lambda machine, _: machine.push(machine.top()),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "INT": lambda machine, data: machine.push(number(data)),
    "LONG": lambda machine, data: machine.push(number(data)),
    "BININT": lambda machine, data: machine.push(little(data, signed=True)),
    "BININT1": lambda machine, data: machine.push(little(data)),
    "BININT2": lambda machine, data: machine.push(little(data)),
    "LONG1": lambda machine, data: machine.push(little(data, signed=True)),
    "LONG4": lambda machine, data: machine.push(little(data, signed=True)),
    "FLOAT": lambda machine, data: machine.push(parsed(data, float)),
    "BINFLOAT": lambda machine, _: machine.push(0.0),
    "STRING": lambda machine, data: machine.push(unquoted(data)),
    "BINSTRING": lambda machine, data: machine.push(decoded(data, "latin-1")),
    "SHORT_BINSTRING": lambda machine, data: machine.push(decoded(data, "latin-1")),
    "UNICODE": lambda machine, data: machine.push(decoded(data, "raw-unicode-escape")),
    "BINUNICODE": lambda machine, data: machine.push(decoded(data, "utf-8")),
    "SHORT_BINUNICODE": lambda machine, data: machine.push(decoded(data, "utf-8")),
    "BINUNICODE8": lambda machine, data: machine.push(decoded(data, "utf-8")),
    "BINBYTES": lambda machine, data: machine.push(data),
    "SHORT_BINBYTES": lambda machine, data: machine.push(data),
    "BINBYTES8": lambda machine, data: machine.push(data),
    "BYTEARRAY8": lambda machine, data: machine.push(data),
    "NEXT_BUFFER": lambda machine, _: machine.push(UNKNOWN),
    "READONLY_BUFFER": lambda machine, _: machine.top() and None,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(values if machine.keep(len(values := machine.marked())) else []),
    "DICT": _dict,
    "FROZENSET": lambda machine, _: machine.push(values if machine.keep(len(values := machine.marked())) else []),
    "TUPLE": lambda machine, _: _tuple(machine, machine.marked()),
    "TUPLE1": lambda machine, _: _last(machine, 1),
    "TUPLE2": lambda machine, _: _last(machine, 2),
    "TUPLE3": lambda machine, _: _last(machine, 3),
    "APPEND": lambda machine, _: _add(machine, [machine.pop()]),
    "APPENDS": lambda machine, _: _add(machine, machine.marked()),
    "ADDITEMS": lambda machine, _: _add(machine, machine.marked()),
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set(machine, machine.marked()),
    "GET": lambda machine, data: machine.recall(key_of(data)),
    "BINGET": lambda machine, data: machine.recall(little(data)),
    "LONG_BINGET": lambda machine, data: machine.recall(little(data)),
    "PUT": lambda machine, data: machine.memoize(key_of(data)),
    "BINPUT": lambda machine, data: machine.memoize(little(data)),
    "LONG_BINPUT": lambda machine, data: machine.memoize(little(data)),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _newobj_ex,
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "EXT1": lambda machine, _: machine.find(None, None) and None,
    "EXT2": lambda machine, _: machine.find(None, None) and None,
    "EXT4": lambda machine, _: machine.find(None, None) and None,
    "PERSID": lambda machine, data: machine.push_thing(Persistent(decoded(data, "ascii"))),
    "BINPERSID": lambda machine, _: machine.push_thing(Persistent(machine.pop())),
    "PROTO": lambda machine, data: machine.protocol(little(data)),
    "FRAME": lambda _machine, _: None,
}
