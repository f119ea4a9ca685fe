"""A machine that goes through a pickle's opcodes and only ever writes down what they would do.

It keeps the stack and the memo of a real unpickler, but of symbols: what a pickle imports is a Global, what it calls
is a Made. Nothing is imported, called or built. Bytes that do not matter are skipped, and how much is remembered is
bounded; what was forgotten is UNKNOWN. The opcodes and their arguments come from the standard library's pickletools.

Unpicklers differ, in C and in Python. Only what stops every one of them is Unreadable, and ends the walk; wherever one
of them goes on, so does the machine. What is done with something UNKNOWN, or in a way that no pickler writes, is noted
as a doubt: then there may be more to it than was seen.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, Final

from lineal.errors import LimitExceeded
from storage.formats import calling
from storage.formats.judging import is_no_text
from storage.formats.literals import decoded, key_of, little, number, parsed, unquoted
from storage.formats.reading import Budget, Stream, Unclear, Unreadable
from storage.formats.symbols import (
    BIT_GENERATOR,
    COMPUTED,
    DTYPE,
    FORGOTTEN,
    MARK,
    UNKNOWN,
    WRAPPER,
    Array,
    Global,
    Made,
    Persistent,
    item_size,
    wrapped_item_size,
)

MAX_REMEMBERED: Final = 200_000
"""Values on the stack, in the memo and in containers that are remembered, each."""
MAX_THINGS: Final = 500_000
"""Tuples and calls that are remembered."""
_MAX_TEXT: Final = 256


class Machine:
    """Goes through one pickle. With `joblib` it knows the arrays that joblib puts between the opcodes.

    `globals` are the imports in order, `calls` how often something is called, `persistent` what stands for things
    outside. `broken` says that a real unpickler would have stopped with an error, `lost` that something was not
    understood: then there may be more imports. `follows` says that another pickle came before.
    """

    def __init__(self, stream: Stream, budget: Budget, *, joblib: bool = False, follows: bool = False) -> None:
        self.stream, self.budget = stream, budget
        self.joblib, self.follows = joblib, follows
        self.globals: dict[Global, None] = {}
        self.calls = 0
        self.broken = ""
        self.lost = ""
        self.models: list[Made] = []
        self.persistent: list[Persistent] = []
        self.result: Any = UNKNOWN
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._memoized = 0
        self._forgot_keys = False
        self._room = MAX_REMEMBERED
        self._things = MAX_THINGS
        self.fields: dict[int, Any] = {}
        self._frame = 0

    def run(self) -> Machine:
        """Go through the opcodes up to STOP, or to where a real unpickler would break."""
        try:
            while self._step():
                pass
        except (Unclear, LimitExceeded) as error:
            self.doubt(str(error))
        except Unreadable as error:
            self.broken = str(error)
        return self

    def doubt(self, words: str) -> None:
        """Note that something was not understood."""
        self.lost = self.lost or words

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
            if self.stream.position < self._frame:
                self.doubt("it ends before its frame does, after which a reader goes on")
            return False
        _ACTIONS[opcode.name](self, self._argument(opcode))
        return True

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        """The bytes of an opcode's argument; of those that do not matter UNKNOWN."""
        if opcode.arg is None:
            return b""
        size = opcode.arg.n
        if size == pickletools.UP_TO_NEWLINE:
            return self.line()
        if size < 0:
            size = int.from_bytes(self._bytes(_LENGTHS[size]), "little")
        return self._bytes(size)

    def _bytes(self, size: int) -> Any:
        """So many bytes; of many UNKNOWN."""
        before = self.stream.position
        data: Any = UNKNOWN
        if size > _MAX_TEXT:
            self.stream.skip(size)
        else:
            data = self.stream.exactly(size)
        self._check_frame(before)
        return data

    def _check_frame(self, before: int) -> None:
        # Of what a frame has only a part of, the unpickler in C forgets that part, and takes the rest for all.
        if before < self._frame < self.stream.position:
            self.doubt("something in it reaches over the end of its frame")

    def line(self) -> Any:
        """The bytes of a line; of a long one UNKNOWN."""
        before = self.stream.position
        line, whole = self.stream.line(_MAX_LINE)
        self._check_frame(before)
        # Without an end the unpickler in Python takes a line for one, and cuts off its last character all the same.
        return line[:-1] if whole else UNKNOWN

    # ── The stack ─────────────────────────────────────────────────────────────────────────────────

    def push(self, value: Any) -> None:
        """Put a new value on the stack."""
        if isinstance(value, str | bytes | int):
            self.budget.remember(value)
        self._put(value)

    def _put(self, value: Any) -> None:
        if len(self._stack) >= MAX_REMEMBERED:
            raise Unclear("the pickle piles up more values than are remembered")
        self._stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack; where there is none, a real unpickler would break."""
        value = self.top()
        del self._stack[-1]
        self._taken(value)
        return value

    def top(self) -> Any:
        """The value that is on the stack."""
        if not self._stack or self._stack[-1] is MARK:
            raise Unreadable("the pickle takes from an empty stack")
        return self._stack[-1]

    def marked(self) -> list[Any]:
        """All values down to the last mark."""
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is MARK:
                values = self._stack[i + 1 :]
                del self._stack[i:]
                for value in values if self.joblib else ():
                    self._taken(value)
                return values
        raise Unreadable("the pickle looks for a mark that is not there")

    def discard(self) -> None:
        """Take all values down to the last mark, for nothing."""
        self.marked()

    def _taken(self, value: Any) -> None:
        # joblib puts the array in the place of its wrapper at once. One that goes elsewhere may come back later,
        # by way of a function that gives what it was given, and nobody would know it.
        if self.joblib and isinstance(value, Made) and value.maker == WRAPPER:
            self.doubt("it has an array that is not where joblib puts it")

    def pop_any(self) -> None:
        """Take a value or a mark, whatever is on the stack."""
        if self._stack and self._stack[-1] is MARK:
            del self._stack[-1]
        else:
            self.pop()

    def keep(self, count: int) -> bool:
        """Whether containers may still remember so many values."""
        self._room -= count
        return self._room >= 0

    def memoize(self, key: int | None = None) -> None:
        """Remember what is on the stack."""
        value = self.top()
        # Without a key it goes by how many keys there are, which cannot be told once some were forgotten.
        if key is None and self._forgot_keys:
            raise Unclear("it remembers more than is kept of it")
        full = len(self._memo) >= MAX_REMEMBERED
        self._forgot_keys = self._forgot_keys or (full and key is not None)
        key = self._memoized if key is None else key
        self._memoized += key not in self._memo
        if not full or key in self._memo:
            self._memo[key] = value

    def recall(self, key: int) -> None:
        """Put on the stack what was remembered."""
        if key not in self._memo and len(self._memo) < MAX_REMEMBERED:
            if self.follows:
                # Whoever loads it may use one memo for all.
                raise Unclear("the pickle recalls what one before it remembered")
            raise Unreadable("the pickle recalls what it did not remember")
        value = self._memo.get(key, FORGOTTEN)
        self._taken(value)
        self._put(value)

    def push_thing(self, thing: Any) -> None:
        """Put a tuple or a call on the stack, unless there were too many already."""
        self._things -= 1
        if self._things < 0:
            self.doubt("it has more parts than are remembered")
            thing = FORGOTTEN
        self.push(thing)

    # ── What a pickle does ────────────────────────────────────────────────────────────────────────

    def frame(self, size: Any) -> None:
        """How many bytes an unpickler takes out of the file at once."""
        here, end = self.stream.position, self.stream.position + size
        if here < self._frame < end:
            self.doubt("it has a frame that reaches over the end of another one")
        self._frame = max(self._frame, end)

    def find(self, module: Any, name: Any) -> Any:
        """An import. A name that is not known is told as `?`, one that a call or an import gave as COMPUTED."""
        if is_no_text(module) or is_no_text(name):
            raise Unreadable("the pickle imports by a name that is no text")
        if isinstance(module, Made | Persistent | Global) or isinstance(name, Made | Persistent | Global):
            module = name = COMPUTED
        found = Global(module if isinstance(module, str) else "?", name if isinstance(name, str) else "?")
        self.globals.setdefault(found)
        self.budget.remember(found.module)
        self.budget.remember(found.name)
        self.budget.imports(found)
        self.push(found)
        return found

    def call(self, maker: Any, args: Any, *, new: bool = False) -> None:
        """A call of whatever was imported or made; with `new` of its `__new__`."""
        self.calls += 1
        if not isinstance(maker, Global):
            self.doubt("it calls what is no import")
        if maker == WRAPPER:
            if not new or args != ():
                self.doubt("it makes an array as joblib does not")
        elif isinstance(args, tuple) and WRAPPER in args:
            self.doubt("it hands over joblib's arrays")
        if isinstance(maker, Global) and not calling.may_call(maker, args, self.budget.step, new=new):
            self.doubt("it calls something as no pickler does")
        self.push_thing(Made(maker, args))

    def called(self) -> None:
        """What is on the stack is given something, which is a call if it was made. Nothing else has a say in it."""
        self.calls += 1
        if isinstance(self.top(), Global | Persistent) or self.top() in (UNKNOWN, FORGOTTEN):
            self.doubt("it changes what it did not make")

    def build(self, state: Any) -> None:
        """Give a state to what is on the stack, which is a call as well where its class says how."""
        made = self.top()
        self.called()
        if not isinstance(made, Made):
            return
        if made.maker == WRAPPER:
            if self.joblib:
                self._array(made, state)
            return
        if not calling.may_build(made, state, self.budget.step):
            self.doubt("it gives something a state as no pickler does")
        if isinstance(state, tuple) and len(state) == 2:
            if made.maker != BIT_GENERATOR and not _only_attributes(state[1]):
                self.doubt("it sets more than attributes")
            state = state[0] if isinstance(state[0], dict) else state
        made.state = state
        if isinstance(state, dict) and "_sklearn_version" in state and len(self.models) < 1_000:
            self.models.append(made)
        if made.maker == DTYPE:
            if item_size(made) is None:
                self.doubt("it has a type of NumPy's that is not known")
            elif isinstance(state, tuple) and isinstance(fields := state[4], dict):
                # NumPy keeps the very dictionary.
                self.fields[id(fields)] = fields

    def _array(self, wrapper: Made, state: Any) -> None:
        """Go past an array as joblib's `NumpyArrayWrapper.read_array` does, or through it where it is a pickle."""
        size = wrapped_item_size(state)
        # The array is read from the file, in which the unpickler in Python is at the end of its frame.
        if size is None or wrapper.state is not None or self.stream.position < self._frame:
            raise Unclear("it has an array that is not written as joblib does")
        wrapper.state = state
        if size == 0:
            self._stack[-1] = self._nested()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self.stream.skip(self.stream.exactly(1)[0])
        for each in state["shape"]:
            size *= each
        if size > _MAX_ARRAY:
            raise Unclear("it has an array that is larger than can be")
        self.stream.skip(size)
        self._stack[-1] = Array(state["shape"])

    def _nested(self) -> Any:
        """What joblib has the standard library load: there, arrays are not known."""
        inner = Machine(self.stream, self.budget).run()
        self.globals |= inner.globals
        self.calls += inner.calls
        if inner.lost:
            raise Unclear(inner.lost)
        if inner.broken:
            raise Unreadable(inner.broken)
        return inner.result


def _only_attributes(slots: Any) -> bool:
    """Whether the second half of a state sets nothing that changes what a thing is, such as `__class__`."""
    if isinstance(slots, dict):
        return all(isinstance(key, str) and not key.startswith("__") for key in slots)
    return not isinstance(slots, Made | Persistent) and slots not in (UNKNOWN, FORGOTTEN)


_OPCODES: Final = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_LENGTHS: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_MAX_LINE: Final = 1_024
_MAX_ARRAY: Final = 2**60

# ── The opcodes ───────────────────────────────────────────────────────────────────────────────────

_Action = Callable[[Machine, Any], None]


def _global(machine: Machine, line: Any) -> None:
    machine.find(decoded(line, "utf-8"), decoded(machine.line(), "utf-8"))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.find(module, name)


def _inst(machine: Machine, line: bytes) -> None:
    _global(machine, line)
    maker = machine.pop()
    machine.call(maker, tuple(machine.marked()))


def _obj(machine: Machine, _: Any) -> None:
    if not (values := machine.marked()):
        raise Unreadable("the pickle takes from an empty stack")
    machine.call(values[0], tuple(values[1:]))


def _reduce(machine: Machine, _: Any) -> None:
    args, maker = machine.pop(), machine.pop()
    machine.call(maker, args)


def _newobj(machine: Machine, _: Any) -> None:
    args, maker = machine.pop(), machine.pop()
    machine.call(maker, args, new=True)


def _newobj_ex(machine: Machine, _: Any) -> None:
    named, args, maker = machine.pop(), machine.pop(), machine.pop()
    if named != {}:
        machine.doubt("it calls something with arguments by name")
    machine.call(maker, args)


def _add(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        kept = machine.keep(len(values))
        target.extend(values if kept else (FORGOTTEN,) if values else ())
    else:
        if isinstance(target, Made):
            if not calling.may_add(target):
                machine.doubt("it adds to what is no list")
            calling.put(target, values)
        machine.called()


def _set(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, dict):
        machine.called()
    if isinstance(target, Made):
        if not calling.may_set(target):
            machine.doubt("it puts items into what is no dictionary")
        calling.put(target, values)
        target.items = {} if target.items is None else target.items
        target = target.items
    if isinstance(target, dict):
        if id(target) in machine.fields:
            machine.doubt("it changes the fields of a type of NumPy's")
        kept = machine.keep(len(values))
        for key, value in zip(values[::2], values[1::2], strict=False):
            if kept and isinstance(key, str | int):
                target[key] = value
            else:
                # Whoever asks this dictionary for something has to know that there was more.
                forgotten = FORGOTTEN if calling.is_telling(key, value) else UNKNOWN
                if target.get(forgotten) is not FORGOTTEN:
                    target[forgotten] = UNKNOWN if calling.is_plain(value) else FORGOTTEN


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


def _persistent(machine: Machine, id: Any) -> None:
    thing = Persistent(id)
    machine.push_thing(thing)
    if machine.top() is thing:
        machine.persistent.append(thing)


def _persistent_text(_machine: Machine, _: Any) -> None:
    # The standard library resolves none, and PyTorch only tuples.
    raise Unreadable("the pickle wants something from outside by a name that nobody knows")


_ACTIONS: Final[dict[str, _Action]] = {
    "MARK": lambda machine, _: machine.push(MARK),
    "POP": lambda machine, _: machine.pop_any(),
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
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "BUILD": lambda machine, _: machine.build(machine.pop()),
    "EXT1": lambda machine, _: machine.find(None, None) and None,
    "EXT2": lambda machine, _: machine.find(None, None) and None,
    "EXT4": lambda machine, _: machine.find(None, None) and None,
    "PERSID": _persistent_text,
    "BINPERSID": lambda machine, _: _persistent(machine, machine.pop()),
    "PROTO": lambda _machine, _: None,
    "FRAME": lambda machine, data: machine.frame(little(data)),
}
