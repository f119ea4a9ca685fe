"""How those who write pickles use what is known to only build data, and so how alone it is safe.

Much of it calls or changes what it is given: `copyreg._reconstructor` calls its second argument's `__new__`, an
attribute by the name of a method comes before the method, and `dict` asks what it gets for `keys`. So classes and
callables have to be imports, what is handed over has to be data whose attributes nobody chose, and an instance of a
class gets a plain dictionary of attributes that stand for none of its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from storage.formats.estimators import ESTIMATORS
from storage.formats.finding import Verdict
from storage.formats.judging import SAFE, in_python_3, severity
from storage.formats.symbols import UNKNOWN, WRAPPER, Array, Global, Made, Persistent, item_size

_MAX_DEPTH: Final = 10
_RECONSTRUCTOR: Final = "copyreg._reconstructor"
_BASES: Final[dict[str, type]] = {
    "builtins.object": type(None), "builtins.dict": dict, "builtins.list": list, "builtins.tuple": tuple,
}  # fmt: skip
_COMPILED: Final = frozenset({
    "_loss", "sklearn._loss._loss", "sklearn.linear_model._sgd_fast", "sklearn.tree._tree",
    "sklearn.metrics._dist_metrics", "sklearn.neighbors._ball_tree", "sklearn.neighbors._kd_tree",
})  # fmt: skip
"""Modules whose classes are compiled: their instances have no attributes that a pickle could choose."""
_MADE_BY_NEW_OBJ: Final = frozenset(
    {"sklearn.metrics._dist_metrics", "sklearn.neighbors._ball_tree", "sklearn.neighbors._kd_tree"}
)
_NOT_CALLED: Final = frozenset({
    "builtins.Ellipsis", "builtins.NotImplemented", "numpy.mean", "scipy._lib.array_api_compat.numpy._aliases.asarray",
})  # fmt: skip
_GIVE_BACK: Final = frozenset(name for name in SAFE if name.startswith("torch.jit._pickle."))
"""TorchScript's functions that give back what they are given."""
_ARRAYS: Final = frozenset(name for name in SAFE if name.endswith(("._reconstruct", "._mareconstruct")))
_RANDOM: Final = frozenset(name for name in SAFE if name.startswith("numpy.random.") and name.endswith("_ctor"))
_BIT_GENERATOR: Final = Global("numpy.random._pickle", "__bit_generator_ctor")
_TAKE_CLASSES: Final = ("__pyx_unpickle_", "_rebuild_wrapper_subclass")
_WITH_STATE: Final = frozenset({"torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter"})
_INSTANCES: Final = frozenset(
    name
    for name in SAFE
    if (name in ESTIMATORS or name.startswith("scipy."))
    and name.rpartition(".")[0] not in _COMPILED
    and (name.startswith("scipy.sparse.") or name.rpartition(".")[2].lstrip("_")[0].isupper())
) | {"scipy.interpolate._interpolate.interp1d"}
"""Classes written in Python, whose instances have whatever attributes a pickle gives them."""
_FUNCTIONS: Final = _NOT_CALLED | {name for name in ESTIMATORS - _INSTANCES if name.rpartition(".")[0] not in _COMPILED}
_DATA: Final = SAFE - _INSTANCES - _FUNCTIONS - _GIVE_BACK - _WITH_STATE - {_RECONSTRUCTOR, str(WRAPPER)}
_MAPPINGS: Final = frozenset(
    {"builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
)
_BUNCHES: Final = frozenset({"sklearn.utils.Bunch", "sklearn.utils._bunch.Bunch"})
_LISTS: Final = frozenset({"builtins.list", "builtins.set", "collections.deque"})
_READS_ITS_STATE: Final = frozenset(
    {"sklearn.isotonic.IsotonicRegression", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)
"""Classes that call methods of what is in their state as soon as they get it."""
_METHODS: Final = frozenset({
    "add", "append", "astype", "clear", "copy", "decision_function", "extend", "fit", "fit_predict", "fit_transform",
    "get", "get_metadata_routing", "get_params", "insert", "inverse_transform", "items", "keys", "partial_fit", "pop",
    "predict", "predict_log_proba", "predict_proba", "score", "score_samples", "set_params", "setdefault", "split",
    "tolist", "transform", "update", "values", "_build_f",
})  # fmt: skip
_SLOTS: Final = frozenset({"_y_axis", "_y_extra_shape", "dtype"})
_VERSION: Final = "_sklearn_version"

_OF_ITS_METHODS: Final = frozenset({"sklearn.utils._metadata_requests.MetadataRequest"})
"""A class that has attributes by the names of its estimator's methods."""

Step = Callable[[], None]


def is_telling(key: Any, value: Any) -> bool:
    """Whether an attribute may change what a thing does; one whose name is no text may have any name."""
    if not isinstance(key, str) or key.startswith("__"):
        return True
    return key in _METHODS and not is_plain(value)


def is_plain(value: Any) -> bool:
    """Whether it is a number, a text, bytes or nothing."""
    return value is None or value is UNKNOWN or isinstance(value, str | int | float | bytes)


def may_call(maker: Global, args: Any, step: Step, *, new: bool) -> bool:
    """Whether picklers call it so; true as well of what is not safe anyhow. `step` is called for each value seen."""
    if severity(maker) is not Verdict.SAFE or maker == WRAPPER:
        return True
    name = str(in_python_3(maker))
    if not isinstance(args, tuple) or name in _FUNCTIONS or (name in _INSTANCES and not new):
        return False
    if name in _GIVE_BACK:
        return True
    if name == _RECONSTRUCTOR:
        return _may_reconstruct(args, step)
    if name == "torch._utils._rebuild_parameter_with_state":
        return _is_data(args[:3], step) and all(_are_attributes(each) for each in args[3:])
    return _are_imports(name, args) and _is_data(args, step)


def _are_imports(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the arguments that are called, or whose instances are made, are such as can be."""
    module, _, short = name.rpartition(".")
    if module in _MADE_BY_NEW_OBJ and not short.startswith("__pyx_unpickle_"):
        return short == "newObj" and len(args) == 1 and isinstance(args[0], Global) and args[0].module == module
    if name in _RANDOM:
        return _are_of_random(args)
    if name == "collections.defaultdict":
        return not args or args[0] is None or isinstance(args[0], Global)
    classes = 2 if short == "_mareconstruct" else int(name in _ARRAYS or short.startswith(_TAKE_CLASSES))
    return all(isinstance(each, Global) for each in args[:classes])


def _are_of_random(args: tuple[Any, ...]) -> bool:
    """Whether NumPy's generators get a generator of bits, and what makes it."""
    if any(each != _BIT_GENERATOR for each in args[1:]):
        return False
    return not isinstance(args[0], Global) or args[0].module.startswith("numpy.random.") if args else True


def _may_reconstruct(args: tuple[Any, ...], step: Step) -> bool:
    if len(args) != 3 or not all(isinstance(each, Global) for each in args[:2]):
        return False
    base = str(in_python_3(args[1]))
    if base in _BASES:
        return type(args[2]) is _BASES[base]
    return base.startswith("builtins.") and base in SAFE and _is_data(args[2], step)


def may_build(made: Made, state: Any, step: Step) -> bool:
    """Whether picklers give it such a state; true as well of what is not safe anyhow."""
    maker = made.maker
    if isinstance(maker, Global) and str(in_python_3(maker)) == _RECONSTRUCTOR:
        maker = made.args[0] if isinstance(made.args, tuple) and made.args else None
    if not isinstance(maker, Global) or severity(maker) is not Verdict.SAFE:
        return True
    name = str(in_python_3(maker))
    if name in _INSTANCES:
        return _may_have(name, state, step)
    if name in _MAPPINGS:
        # PyTorch's `state_dict` has versions of its modules so.
        return isinstance(state, dict) and state.keys() <= {"_metadata"}
    if name.endswith("._reconstruct") and isinstance(state, tuple) and len(state) == 5 and type(state[4]) is list:
        made.holds = True
        # Of what is in the list, an array of anything but objects makes numbers and texts.
        return item_size(state[2]) == 0 and _is_data(state[:4], step)
    return name in _DATA and isinstance(state, tuple | dict) and _is_data(state, step)


def _may_have(name: str, state: Any, step: Step) -> bool:
    if name.endswith(".interp1d") and isinstance(state, tuple) and len(state) == 2:
        state, slots = state
        if not isinstance(slots, dict) or not slots.keys() <= _SLOTS:
            return False
        state = {} if state is None else state
    if not _are_attributes(state, _METHODS if name in _OF_ITS_METHODS else frozenset()):
        return False
    # The version is put into a warning, by whatever a thing says of itself as text.
    if not isinstance(state.get(_VERSION, ""), str):
        return False
    return name not in _READS_ITS_STATE or (UNKNOWN not in state and _is_data(state, step))


def _are_attributes(state: Any, methods: frozenset[str] = frozenset()) -> bool:
    """Whether they change nothing of what a thing is and does; those by the names of `methods` may be anything."""
    if not isinstance(state, dict):
        return False
    changes = (key for key, value in state.items() if key is not UNKNOWN and is_telling(key, value))
    return all(key in methods or (key in _METHODS and _is_made_as_data(state[key])) for key in changes)


def may_add(made: Made) -> bool:
    """Whether `append`, `extend` and `add` are its own; true as well of what is not safe anyhow."""
    return _is_or_not_safe(made, _LISTS)


def may_set(made: Made) -> bool:
    """Whether it takes items as a dictionary does; true as well of what is not safe anyhow."""
    return _is_or_not_safe(made, _MAPPINGS | _BUNCHES)


def _is_or_not_safe(made: Made, names: Iterable[str]) -> bool:
    maker = made.maker
    return not isinstance(maker, Global) or severity(maker) is not Verdict.SAFE or str(in_python_3(maker)) in names


def _is_data(value: Any, step: Step, depth: int = 0) -> bool:
    """Whether it is made of nothing that has attributes of a pickle's choice."""
    step()
    if isinstance(value, list | tuple | dict):
        if depth == _MAX_DEPTH:
            return False
        inner = value.values() if isinstance(value, dict) else value
        return all(_is_data(each, step, depth + 1) for each in inner)
    if isinstance(value, Made):
        # Lists that it was made of may have got more since.
        return _is_made_as_data(value) and _is_data(value.args, step, depth + 1)
    return _is_inert(value)


def _is_inert(value: Any) -> bool:
    """Whether it is data that stays so."""
    return is_plain(value) or isinstance(value, Global | Array | Persistent)


def _is_made_as_data(value: Any) -> bool:
    if not isinstance(value, Made) or value.holds or not isinstance(value.maker, Global):
        return False
    return str(in_python_3(value.maker)) in _DATA


def put(made: Made, values: Iterable[Any]) -> None:
    """Note what is put into something that was made."""
    made.holds = made.holds or not all(map(_is_inert, values))
