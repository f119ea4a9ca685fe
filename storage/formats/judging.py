"""How bad it is that a pickle imports something.

What is known to only build data is SAFE, by its full name: scikit-learn's estimators, NumPy's arrays, PyTorch's tensors
and the like. A module as a whole never is, as it has whatever it imports.
What runs code or reaches files and the network is DANGEROUS: picklescan keeps the list of it, to which a few rows are
added. All else is SUSPICIOUS, as nobody has looked at it.

Only picklescan's judgement is used, not its reading. It takes whole arguments into memory; it does not know the
arrays that joblib puts between the opcodes, after which it stops; it calls a file that breaks before its first import
clean, does not see what follows it, and takes the memo of one pickle over to the next. `machine` reads instead.
"""

from __future__ import annotations

import _compat_pickle
import io
import logging
import struct
from functools import lru_cache
from typing import Any, Final

from picklescan.scanner import (
    SafetyLevel,
    scan_pickle_bytes,
)

from storage.formats.estimators import ESTIMATORS
from storage.formats.finding import Verdict
from storage.formats.symbols import COMPUTED, WRAPPER, Array, Global, Made

_BUILTINS: Final = [
    "object",
    "set",
    "frozenset",
    "list",
    "dict",
    "tuple",
    "int",
    "float",
    "complex",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "slice",
    "range",
    "Ellipsis",
    "NotImplemented",
]
_DTYPES: Final = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "complex64",
    "complex128",
    "qint8",
    "quint8",
    "qint32",
    "strided",
    "sparse_coo",
    "Size",
    "device",
]
_STORAGES: Final = [
    "Float",
    "Half",
    "Double",
    "BFloat16",
    "Long",
    "Int",
    "Short",
    "Char",
    "Byte",
    "Bool",
    "ComplexFloat",
    "ComplexDouble",
    "QInt8",
    "QUInt8",
    "QInt32",
    "QUInt4x2",
    "QUInt2x4",
]
_NUMPY_MODULES: Final = [
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
]

_SPARSE: Final = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]

SAFE: Final[frozenset[str]] = frozenset(
    {f"builtins.{name}" for name in _BUILTINS}
    | {f"torch.{name}" for name in _DTYPES}
    | {f"torch.{name}{kind}" for name in _STORAGES for kind in ("Storage", "Tensor")}
    | {f"{module}.{name}" for module in _NUMPY_MODULES for name in ("_reconstruct", "scalar", "_frombuffer")}
    | {f"numpy.{name}" for name in ("ndarray", "dtype", "bool_", "int32", "int64", "float32", "float64", "str_", "nan")}
    | {f"torch._utils._rebuild_{name}" for name in (
        "tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "qtensor", "sparse_tensor",
        "device_tensor_from_numpy", "meta_tensor_no_storage", "wrapper_subclass",
    )}
    | {f"torch.jit._pickle.{name}" for name in (
        "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag",
        "build_tensor_from_id",
    )}
    | {f"numpy.random._pickle.{name}" for name in ("__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor")}
    | {f"numpy.random.{module}.{name}" for module, name in (
        ("_mt19937", "MT19937"), ("_pcg64", "PCG64"), ("_philox", "Philox"), ("_sfc64", "SFC64"),
        ("mtrand", "RandomState"), ("bit_generator", "SeedSequence"), ("bit_generator", "__pyx_unpickle_SeedSequence"),
    )}
    | {
        "_codecs.encode", "copyreg._reconstructor", "collections.OrderedDict", "collections.defaultdict",
        "collections.Counter", "collections.deque", "datetime.datetime", "datetime.date", "datetime.timedelta",
        "datetime.timezone", "decimal.Decimal", "fractions.Fraction",
        "numpy.random.__RandomState_ctor", "numpy.ma.core.MaskedArray", "numpy.ma.core._mareconstruct",
        "numpy.ma.MaskedArray", "numpy.mean",
        "joblib.numpy_pickle.NumpyArrayWrapper", "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
        "torch.storage.UntypedStorage", "torch.storage.TypedStorage", "scipy.interpolate._interpolate.interp1d",
        "scipy.interpolate._bsplines.BSpline", "scipy._lib.array_api_compat.numpy._aliases.asarray",
    }
    | {f"scipy.sparse.{module}.{kind}_{what}" for kind in _SPARSE for module, what in (
        (kind, "matrix"), (f"_{kind}", "matrix"), (f"_{kind}", "array"),
    )}
    | ESTIMATORS
)  # fmt: skip
"""What only builds data, where it is used as `calling` has it."""

_DANGEROUS_MODULES: Final = frozenset(
    [
        "os",
        "posix",
        "nt",
        "ntpath",
        "posixpath",
        "subprocess",
        "sys",
        "builtins",
        "importlib",
        "pkgutil",
        "runpy",
        "code",
        "codeop",
        "codecs",
        "marshal",
        "pickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "joblib",
        "shelve",
        "ctypes",
        "_ctypes",
        "cffi",
        "socket",
        "ssl",
        "http",
        "urllib",
        "requests",
        "httpx",
        "aiohttp",
        "ftplib",
        "smtplib",
        "poplib",
        "imaplib",
        "telnetlib",
        "xmlrpc",
        "webbrowser",
        "asyncio",
        "multiprocessing",
        "_thread",
        "signal",
        "shutil",
        "tempfile",
        "io",
        "_io",
        "fileinput",
        "tarfile",
        "zipfile",
        "zipimport",
        "gzip",
        "bz2",
        "lzma",
        "sqlite3",
        "dbm",
        "mmap",
        "pty",
        "tty",
        "platform",
        "site",
        "sysconfig",
        "distutils",
        "setuptools",
        "pip",
        "ensurepip",
        "venv",
        "inspect",
        "functools",
        "operator",
        "_operator",
        "atexit",
        "timeit",
        "trace",
        "pdb",
        "bdb",
        "cProfile",
        "profile",
        "doctest",
        "unittest",
        "pydoc",
        "test",
        "idlelib",
        "lib2to3",
        "commands",
        "popen2",
        "torch.hub",
        "torch.utils.cpp_extension",
        "numpy.testing",
        "numpy.f2py",
        "numpy.distutils",
        "numpy.ctypeslib",
        "pandas.io",
        "paramiko",
        "fabric",
        "git",
        "docker",
        "kubernetes",
        "boto3",
        "fsspec",
    ]
)
"""Modules that run code or reach beyond the process, by any of their names that is not SAFE."""

_DANGEROUS: Final = frozenset({
    "torch.load", "torch.serialization.load", "torch.jit.load", "torch.storage._load_from_bytes", "numpy.load",
    "numpy.memmap", "numpy.fromfile", "numpy.save", "numpy.savetxt", "numpy.loadtxt", "numpy.genfromtxt",
    "pandas.eval", "pandas.read_pickle", "torch.classes", "torch.ops", "keras.models.load_model",
    "keras.utils.get_file", "keras.src.utils.file_utils.get_file", "keras.config.enable_unsafe_deserialization",
    "keras.src.saving.serialization_lib.enable_unsafe_deserialization",
})  # fmt: skip


def is_no_text(value: Any) -> bool:
    """Whether an unpickler certainly refuses it as a name: a class, say, or a thing that is made of one."""
    if isinstance(value, Global):
        return severity(value) is Verdict.SAFE
    if isinstance(value, Made):
        maker = value.maker
        return isinstance(maker, Global) and maker.name[:1].isupper() and (maker == WRAPPER or str(maker) in ESTIMATORS)
    return value is None or isinstance(value, list | dict | tuple | int | float | bytes | Array)


@lru_cache(maxsize=4_096)
def severity(found: Global) -> Verdict:
    """What the import is: SAFE, SUSPICIOUS, DANGEROUS, or UNSCANNED where the name cannot be told."""
    if found.name == COMPUTED:
        return Verdict.DANGEROUS
    if "?" in {found.module, found.name}:
        return Verdict.UNSCANNED
    names = {found, in_python_3(found)}
    return max((_judged(each) for each in names), key=lambda one: one.rank)


def in_python_3(found: Global) -> Global:
    """What the unpickler makes of a name of Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((found.module, found.name), (found.module, found.name))
    return Global(_compat_pickle.IMPORT_MAPPING.get(module, module), name)


def _judged(found: Global) -> Verdict:
    if found.module in {"__builtin__", "copy_reg"} and in_python_3(found) != found:
        return Verdict.SAFE
    if "." in found.name:
        # A name with points goes on through attributes: `sklearn.utils`, `joblib.os.system` is os.system.
        parts = found.name.split(".")[:16]
        ends = [Global(".".join(parts[i:-1]), parts[-1]) for i in range(len(parts) - 1)]
        worst = max((_plain(each) for each in [*ends, Global(found.module, parts[0])]), key=lambda one: one.rank)
        return Verdict.DANGEROUS if worst is Verdict.DANGEROUS else Verdict.SUSPICIOUS
    return _plain(found)


def _plain(found: Global) -> Verdict:
    full = str(found)
    if full in SAFE:
        return Verdict.SAFE
    parts = found.module.split(".")[:16]
    if full in _DANGEROUS or any(".".join(parts[: i + 1]) in _DANGEROUS_MODULES for i in range(len(parts))):
        return Verdict.DANGEROUS
    return Verdict.DANGEROUS if _picklescan(found) else Verdict.SUSPICIOUS


def _picklescan(found: Global) -> bool:
    """Whether picklescan calls it dangerous: it is given a pickle that does nothing but this import."""
    logger = logging.getLogger("picklescan")
    logger.setLevel(logging.CRITICAL)
    module, name = (each.encode("utf-8", "replace") for each in (found.module, found.name))
    pickle = b"\x80\x04" + b"".join(b"X" + struct.pack("<I", len(each)) + each for each in (module, name)) + b"\x93."
    result = scan_pickle_bytes(io.BytesIO(pickle), "an import")
    return any(each.safety is SafetyLevel.Dangerous for each in result.globals)
