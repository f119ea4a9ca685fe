"""Pickles, wherever they are: what they import, and what is known of the models in them.

A file is gone through as everything that a loader may take it for: as pickles, one after another, as joblib reads them
with arrays in between, as a zip or tar archive, as NumPy's arrays, and as what it unpacks to. Nothing is unpickled.

A file has no pickles (NONE) if every unpickler stops before it did anything. It is SAFE if all of it was understood,
to the last byte, and imports only what is known to be safe. All else is UNSCANNED, or worse.
"""

from __future__ import annotations

import ast
import pickletools
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Final

from storage.formats import judging
from storage.formats.features import COUNT, counted
from storage.formats.finding import Found, Import, Value, Verdict
from storage.formats.machine import Machine
from storage.formats.reading import HEAD, File, Stream, Unclear, Unreadable
from storage.formats.symbols import WRAPPER, Global, Made, Persistent, dtype_size

NAMED: Final = frozenset(
    {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle", ".npy", ".npz"}
)
HARMLESS: Final = frozenset(
    [
        ".txt",
        ".md",
        ".rst",
        ".json",
        ".jsonl",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".csv",
        ".tsv",
        ".parquet",
        ".arrow",
        ".avro",
        ".feather",
        ".orc",
        ".xml",
        ".html",
        ".css",
        ".js",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".svg",
        ".bmp",
        ".tif",
        ".tiff",
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".mp4",
        ".py",
        ".ipynb",
        ".log",
        ".lock",
        ".safetensors",
        ".gguf",
        ".onnx",
    ]
)
_PROTOCOL: Final = re.compile(rb"\x80[\x00-\x05]")
_OPCODES: Final = frozenset(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)
_NOT_UNPACKED: Final = {
    b"\x04\x22\x4d\x18": "LZ4",
    b"ZF": "an old joblib",
    # Any of its versions; or a frame that readers pass over, which LZ4 has as well.
    **{bytes([first]) + b"\xb5\x2f\xfd": "Zstandard" for first in (0x1E, *range(0x22, 0x29))},
    **{bytes([first]) + b"\x2a\x4d\x18": "Zstandard or LZ4" for first in range(0x50, 0x60)},
}
"""What loaders of pickles unpack by themselves, and nothing here does, by first bytes."""
_LEGACY: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES: Final = 5
_ITEM_SIZES: Final = {
    "Float": 4, "Half": 2, "Double": 8, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
    "Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4,
    "storage.Untyped": 1,
}  # fmt: skip
_MAX_PICKLES: Final = 1_000
_MAX_DEPTH: Final = 3
_MAX_HEADER: Final = 10_000
_MAX_PADDING: Final = 2**20
_FRAMEWORKS: Final = {
    "sklearn": "scikit-learn", "torch": "PyTorch", "xgboost": "XGBoost", "lightgbm": "LightGBM",
    "catboost": "CatBoost", "transformers": "Transformers", "tensorflow": "TensorFlow", "keras": "Keras",
    "statsmodels": "statsmodels", "spacy": "spaCy", "prophet": "Prophet", "mxnet": "MXNet", "paddle": "PaddlePaddle",
}  # fmt: skip


def named(file: File) -> bool:
    """Whether its name says that it is a pickle."""
    return file.suffix in NAMED


def claims(file: File) -> bool:
    """By its name, or by first bytes that a pickle or what may hold one can have."""
    head = file.head
    return bool(head) and (named(file) or head[:1] in _OPCODES or _holds(file) or head.startswith(tuple(_NOT_UNPACKED)))


def _holds(file: File) -> bool:
    """Whether it may have pickles within, by its first bytes, or by its last ones as an archive."""
    head = file.head
    return (
        head[:2] == b"PK"
        or head[:6] == b"\x93NUMPY"
        or _is_tar(head)
        or file.unpacked is not None
        or (file.is_whole and file.suffix not in HARMLESS and file.ends_as_zip)
    )


def read(file: File, found: Found) -> None:
    """Scan it, and everything in it."""
    _scan(file, found, 0, sure=_surely(file))


def _surely(file: File) -> bool:
    return named(file) or bool(_PROTOCOL.match(file.head))


def _scan(file: File, found: Found, depth: int, *, sure: bool) -> None:
    if depth > _MAX_DEPTH:
        raise Unclear("its archives are nested too deeply")
    head = file.head
    for magic, name in _NOT_UNPACKED.items():
        if head.startswith(magic):
            raise Unclear(f"it is compressed by {name}, which is not looked into")
    holds = _holds(file)
    # A file can be an archive and a pickle all the same. Only a zip begins with what stops every unpickler.
    if head[:2] != b"PK":
        _pickles(file, found, sure=sure and not holds)
    if holds or sure:
        _within(file, found, depth, sure=sure)


def _within(file: File, found: Found, depth: int, *, sure: bool) -> None:
    """Scan what is in an archive, in arrays, or in what is compressed."""
    head = file.head
    inner = file.unpacked
    members = file.members
    if head[:2] == b"PK" and not members and sure:
        raise Unclear("it begins as an archive, and is none that is read")
    script = _is_script(file)
    for member in members:
        _member(member, found, depth, script=script)
    if _is_tar(head):
        for member in _tar(file):
            _member(member, found, depth)
    elif head[:6] == b"\x93NUMPY":
        _arrays(file, found)
    elif inner is not None:
        if _is_tar(inner.head):
            raise Unclear("it is a compressed tar archive, which is not looked into")
        _scan(inner, found, depth + 1, sure=sure or _surely(inner))


def _member(member: File, found: Found, depth: int, *, script: bool = False) -> None:
    """A member that cannot be read does not keep others from being scanned."""
    try:
        member.budget.step()
        if claims(member):
            if script and _PROTOCOL.match(member.head):
                _pickles(member, found, sure=True, script=True)
            else:
                _scan(member, found, depth + 1, sure=_surely(member))
    except Unreadable as error:
        found.note(member.label, str(error))
        found.pickle(Verdict.UNSCANNED)


def _is_script(file: File) -> bool:
    """Whether PyTorch takes an archive for TorchScript, which goes by the folder of its first member."""
    names = [member.label.removeprefix(f"{file.label}!") for member in file.members]
    return bool(names) and f"{names[0].partition('/')[0]}/constants.pkl" in names


# ── Archives and arrays ───────────────────────────────────────────────────────────────────────────


def _is_tar(head: bytes) -> bool:
    """Whether Python's tarfile takes it for one, which goes by a checksum alone."""
    try:
        tarfile.TarInfo.frombuf(head[:HEAD], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _tar(file: File) -> Iterator[File]:
    """The members of a tar archive. Raises Unclear: readers may differ over where they are."""
    raw = file.seekable()
    end = 0
    try:
        with tarfile.open(fileobj=raw, mode="r:") as archive:
            while (info := archive.next()) is not None:
                file.budget.step(100)
                if info.issparse() or (info.size and not info.isreg()):
                    raise Unclear("it is a tar archive with a member that readers take differently")
                start = file.start + info.offset_data
                label = f"{file.label}!{info.name}"
                yield File(file.budget, file.path, label, info.size, locate=lambda start=start: start)  # type: ignore[misc]
                end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except (tarfile.TarError, ValueError, OverflowError, OSError, EOFError) as error:
        raise Unclear("it is a tar archive that is broken") from error
    rest = file.size - end
    if not 0 <= rest <= _MAX_PADDING or file.at(end, rest).strip(b"\0"):
        raise Unclear("it is a tar archive with more after its end")


def _arrays(file: File, found: Found) -> None:
    """NumPy's arrays, one after another: where its items are objects, an array is a pickle."""
    stream = file.stream()
    while stream.peek(1):
        file.budget.step(100)
        header = _header(stream)
        if (size := dtype_size(header["descr"])) is None:
            raise Unclear("it is an array of a type that is not known")
        if size == 0:
            start = stream.position
            rest = File(file.budget, file.path, file.label, file.size - start, unpack=partial(_from, file, start))
            _pickles(rest, found, sure=True)
            return
        try:
            stream.skip(size * prod(header["shape"]))
        except Unreadable as error:
            raise Unclear("it is an array that ends early") from error


def _from(file: File, start: int) -> Stream:
    stream = file.stream()
    stream.skip(start)
    return stream


def _header(stream: Stream) -> dict[str, Any]:
    """What an array says of itself, before its items begin."""
    start = stream.exactly(8)
    size = int.from_bytes(stream.exactly(2 if start[6] == 1 else 4), "little")
    if start[:6] != b"\x93NUMPY" or size > _MAX_HEADER:
        raise Unclear("it has something after an array that is none")
    try:
        header = ast.literal_eval(stream.exactly(size).decode("latin-1"))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise Unclear("its header is not read") from error
    if not (isinstance(header, dict) and header.keys() == {"descr", "fortran_order", "shape"}):
        raise Unclear("its header is not read")
    if not (isinstance(header["shape"], tuple) and all(type(each) is int and each >= 0 for each in header["shape"])):
        raise Unclear("its header is not read")
    return header


# ── Pickles ───────────────────────────────────────────────────────────────────────────────────────


def _pickles(file: File, found: Found, *, sure: bool, script: bool = False) -> None:
    """One pickle after another. Where it is not sure that it is one, it only counts if it does something."""
    done = _run(file, joblib=False)
    seen, lost = done.globals, ""
    if WRAPPER in seen:
        # joblib reads arrays where the standard library takes them for opcodes. Both are what may happen.
        plain, done = done, _run(file, joblib=True)
        seen, lost = plain.globals | done.globals, plain.lost
    trouble = done.lost or done.broken or lost
    if not sure and not done.calls and not done.lost and not any(map(_exists, seen)):
        return
    imports = [Import(str(each), _severity(each, script=script), file.label) for each in seen]
    found.pickle(max([Verdict.SAFE, *(each.severity for each in imports)], key=lambda one: one.rank), imports)
    if trouble:
        found.note(file.label, trouble)
        found.pickle(Verdict.UNSCANNED)
    _tell(file, done, list(seen), found)


def _exists(found: Global) -> bool:
    """Whether importing it alone may do something. A list of words, `cat` and `dog`, is no import of `at.dog`."""
    parts = found.module.split(".")
    return all(part.isidentifier() for part in parts) and (
        parts[0] in sys.stdlib_module_names or judging.severity(found) is Verdict.DANGEROUS
    )


def _severity(found: Global, *, script: bool) -> Verdict:
    # A TorchScript archive brings its own types, which no Python imports.
    return Verdict.SAFE if script and found.module.split(".")[0] == "__torch__" else judging.severity(found)


@dataclass
class _Done:
    """What the pickles of a file do, and the models of the last one that has any, with what that one is as a whole."""

    globals: dict[Global, None] = field(default_factory=dict)
    calls: int = 0
    lost: str = ""
    broken: str = ""
    models: Sequence[Made] = ()
    whole: Any = None


def _run(file: File, *, joblib: bool) -> _Done:
    stream = file.stream()
    done = _Done()
    count, older, tensors = 0, False, list[Persistent]()
    while not count or stream.peek(1):
        if count == _MAX_PICKLES:
            done.lost = "it has more pickles than are scanned"
            break
        # Where joblib has arrays, nothing follows that is meant for those who do not know them.
        follows = bool(count) and WRAPPER not in done.globals
        machine = Machine(stream, file.budget, joblib=joblib, follows=follows).run()
        count += 1
        done.globals |= machine.globals
        done.calls += machine.calls
        done.lost, done.broken = machine.lost, machine.broken
        if machine.models:
            done.models, done.whole = machine.models, machine.result
        if done.lost or done.broken:
            break
        if count == 1:
            older = machine.result == _LEGACY
        elif count == _LEGACY_PICKLES - 1 and older:
            tensors = machine.persistent
        elif count == _LEGACY_PICKLES and older:
            if not _past_storages(tensors, machine.result, stream):
                done.lost = "its tensors are not where the older layout of PyTorch puts them"
            break
    return done


def _past_storages(tensors: Sequence[Persistent], keys: Any, stream: Stream) -> bool:
    """Go past the tensors after PyTorch's older pickles: of each a number of 8 bytes, and its elements."""
    sizes: dict[Any, int] = {}
    for thing in tensors:
        if isinstance(thing.id, tuple) and len(thing.id) >= 5 and isinstance(thing.id[2], str):
            _, kind, key, _, count, *_ = thing.id
            item = _ITEM_SIZES.get(str(kind).removeprefix("torch.").removesuffix("Storage"))
            if item is None or not isinstance(count, int) or not 0 <= count < 2**60:
                return False
            sizes[key] = 8 + count * item
    if not isinstance(keys, list) or any(key not in sizes for key in keys):
        return False
    try:
        stream.skip(sum(sizes[key] for key in keys))
    except Unreadable:
        return False
    return not stream.peek(1)


# ── What is known of models ───────────────────────────────────────────────────────────────────────


def _tell(file: File, done: _Done, globals: list[Global], found: Found) -> None:
    for each in globals:
        if framework := _FRAMEWORKS.get(each.module.partition(".")[0]):
            found.framework(framework)
    found.format("joblib" if WRAPPER in globals or file.suffix == ".joblib" else "pickle")
    if done.models:
        _scikit_learn(done, found)


def _scikit_learn(done: _Done, found: Found) -> None:
    """The estimator that the pickle is; of what holds some the last one, whose features are not those of the whole."""
    outermost = done.whole if _attributes(done.whole) else done.models[-1]
    found.version("scikit-learn", outermost.state.get("_sklearn_version"))
    found.fact("sklearn.estimator", _class(outermost))
    known = counted(done.whole, _attributes, _first)
    count = known.get(COUNT)
    if isinstance(count, int) and 0 <= count < 1_000_000:
        names = _names(known.get("feature_names_in_"))
        found.fact("sklearn.n_features_in", count)
        if len(names) == count:
            found.signature([Value(name, "") for name in names], [])
        else:
            found.signature([Value("X", "", (None, count))], [])


def _attributes(value: Any) -> dict[str, Any]:
    state = value.state if isinstance(value, Made) else None
    return state if isinstance(state, dict) and "_sklearn_version" in state else {}


def _first(value: Any) -> Any:
    one = value[0] if isinstance(value, list) and value else value
    return one[1] if isinstance(one, tuple) and len(one) > 1 else one


def _class(model: Made) -> str:
    makers = [model.maker, *(model.args[:1] if isinstance(model.args, tuple) else ())]
    classes = [each for each in makers if isinstance(each, Global) and each.module not in {"copyreg", "copy_reg"}]
    return str(classes[-1]) if classes else ""


def _names(array: Any) -> list[str]:
    """The texts in a pickled array of objects."""
    state = array.state if isinstance(array, Made) else None
    items = state[4] if isinstance(state, tuple) and len(state) == 5 else None
    return [each for each in items if isinstance(each, str)] if isinstance(items, list) else []
