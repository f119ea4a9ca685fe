"""Pickles, wherever they are: what they import, and what is known of the models in them.

Looked into are files by name and by their first bytes: pickles of every protocol, joblib's with arrays in between,
compressed ones, `.npy` and `.npz` with objects, members of zip and tar archives. Nothing is ever unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from storage.formats import judging
from storage.formats.finding import Found, Import, Value, Verdict
from storage.formats.machine import Machine
from storage.formats.reading import File, Unreadable
from storage.formats.symbols import Global, Made

_NAMED: Final = frozenset(
    {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle", ".npy", ".npz"}
)
_HARMLESS: Final = frozenset(
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
_TEXT: Final = re.compile(rb"[(\]}cI-NSVUXTFGiP).]")
_MAX_PICKLES: Final = 1_000
_MAX_DEPTH: Final = 3
_FRAMEWORKS: Final = {
    "sklearn": "scikit-learn", "torch": "PyTorch", "xgboost": "XGBoost", "lightgbm": "LightGBM",
    "catboost": "CatBoost", "transformers": "Transformers", "tensorflow": "TensorFlow", "keras": "Keras",
    "statsmodels": "statsmodels", "spacy": "spaCy", "prophet": "Prophet", "mxnet": "MXNet", "paddle": "PaddlePaddle",
}  # fmt: skip


def named(file: File) -> bool:
    """Whether its name says that it is a pickle."""
    return file.suffix in _NAMED


def harmless(file: File) -> bool:
    """Whether its name says that nobody loads it as a pickle."""
    return file.suffix in _HARMLESS


def claims(file: File) -> bool:
    """By its name, or by first bytes that a pickle or what may hold one can have."""
    head = file.head
    return bool(head) and (named(file) or _holds(file) or bool(_PROTOCOL.match(head)) or bool(_TEXT.match(head)))


def _holds(file: File) -> bool:
    head = file.head
    return head[:2] == b"PK" or head[:6] == b"\x93NUMPY" or head[257:262] == b"ustar" or file.unpacked() is not None


def read(file: File, found: Found) -> None:
    """Scan it, and everything in it."""
    _scan(file, found, 0, sure=named(file) or bool(_PROTOCOL.match(file.head)))


def _scan(file: File, found: Found, depth: int, *, sure: bool) -> None:
    if depth > _MAX_DEPTH:
        raise Unreadable("its archives are nested too deeply")
    head = file.head
    if file.members:
        for member in file.members:
            _member(member, found, depth)
        if not head.startswith(b"PK"):
            _pickles(file, found, sure=sure)
    elif head[257:262] == b"ustar":
        for member in _tar(file):
            _member(member, found, depth)
    elif head[:6] == b"\x93NUMPY":
        _npy(file, found)
    elif (inner := file.unpacked()) is not None:
        if inner.head[257:262] == b"ustar":
            raise Unreadable("it is a compressed tar archive, which is not looked into")
        _scan(inner, found, depth + 1, sure=sure or bool(_PROTOCOL.match(inner.head)))
    else:
        _pickles(file, found, sure=sure)


def _member(member: File, found: Found, depth: int) -> None:
    """A member that cannot be read does not keep others from being scanned."""
    try:
        member.budget.step()
        probe = member.stream().read(1) and member.head
        if probe and claims(member):
            _scan(member, found, depth + 1, sure=named(member) or bool(_PROTOCOL.match(member.head)))
    except Unreadable as error:
        found.note(member.label, str(error))
        found.pickle(Verdict.UNSCANNED)


def _tar(file: File) -> Iterable[File]:
    """The members of a tar archive, as its headers of 512 bytes tell them."""
    at = 0
    while at + 512 <= file.size:
        file.budget.step(100)
        header = file.at(at, 512)
        digits = header[124:136].strip(b"\0 ")
        if not header.strip(b"\0"):
            return
        if not re.fullmatch(rb"[0-7]+", digits):
            raise Unreadable("it is a tar archive with a size that is not read")
        size = int(digits, 8)
        start = file.start + at + 512
        name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
        yield File(file.budget, file.path, f"{file.label}!{name}", size, locate=lambda start=start: start)  # type: ignore[misc]
        at += 512 + -(-size // 512) * 512


def _npy(file: File, found: Found) -> None:
    """An array: a pickle where its items are objects. That is so if a text of its header may say `O`."""
    stream = file.stream()
    version = stream.exactly(8)[6]
    size = int.from_bytes(stream.exactly(2 if version == 1 else 4), "little")
    if size > 2**16:
        raise Unreadable("its header is longer than NumPy reads")
    header = stream.exactly(size)
    texts = re.findall(rb"'[^']*'|\"[^\"]*\"", header)
    if b"\\" in header or any(b"O" in each or b"object" in each for each in texts):
        start = stream.position
        if file.locate is None:
            raise Unreadable("it is a packed array of objects, which is not looked into")
        rest = File(file.budget, file.path, file.label, file.size - start, locate=lambda: file.start + start)
        _pickles(rest, found, sure=bool(_PROTOCOL.match(rest.head)))


def _pickles(file: File, found: Found, *, sure: bool) -> None:
    """One pickle after another. Where it is not sure that it is one, it only counts if it does something."""
    plain = _run(file, joblib=False)
    machines = plain
    if any(machine.arrays for machine in plain):
        # joblib reads arrays where pickle itself would take them for opcodes. Both are what may happen.
        machines = _run(file, joblib=True)
    globals = {each: None for machine in [*plain, *machines] for each in machine.globals}
    broken = next((machine.broken for machine in machines if machine.broken), "")
    lost = next((machine.lost for machine in machines if machine.lost), "")
    if not sure and (not globals or not any(machine.calls for machine in machines) or machines[0].broken):
        return
    imports = [Import(str(each), judging.severity(each), file.label) for each in globals]
    verdict = max([Verdict.SAFE, *(each.severity for each in imports)], key=lambda one: one.rank)
    found.pickle(verdict, imports)
    if lost or broken:
        found.note(file.label, lost or broken)
        found.pickle(Verdict.UNSCANNED)
    _tell(file, machines, list(globals), found)


def _run(file: File, *, joblib: bool) -> list[Machine]:
    stream = file.stream()
    machines: list[Machine] = []
    while len(machines) < _MAX_PICKLES:
        machine = Machine(stream, file.budget, joblib=joblib).run()
        machines.append(machine)
        if machine.broken or machine.lost or not _PROTOCOL.match(stream.peek(2)):
            return machines
    machines[-1].lost = "it has more pickles than are scanned"
    return machines


# ── What is known of models ───────────────────────────────────────────────────────────────────────


def _tell(file: File, machines: list[Machine], globals: list[Global], found: Found) -> None:
    for each in globals:
        if framework := _FRAMEWORKS.get(each.module.partition(".")[0]):
            found.framework(framework)
    joblib = any(each.module.startswith("joblib.numpy_pickle") for each in globals)
    found.format("joblib" if joblib or file.suffix == ".joblib" else "pickle")
    models = [model for machine in machines for model in machine.models]
    if models:
        _scikit_learn(models, found)


def _scikit_learn(models: list[Made], found: Found) -> None:
    """The states of estimators: the one that was put together last holds the others."""
    outermost = models[-1]
    found.version("scikit-learn", outermost.state.get("_sklearn_version"))
    found.fact("sklearn.estimator", _class(outermost))
    for model in [outermost, *models]:
        count = model.state.get("n_features_in_")
        if isinstance(count, int) and 0 <= count < 1_000_000:
            names = _names(model.state.get("feature_names_in_"))
            found.fact("sklearn.n_features_in", count)
            if len(names) == count:
                found.signature([Value(name[:500], "", None) for name in names], [])
            else:
                found.signature([Value("X", "", (None, count))], [])
            return


def _class(model: Made) -> str:
    makers = [model.maker, *(model.args[:1] if isinstance(model.args, tuple) else ())]
    classes = [each for each in makers if isinstance(each, Global) and each.module not in {"copyreg", "copy_reg"}]
    return str(classes[-1]) if classes else ""


def _names(array: Any) -> list[str]:
    """The texts in a pickled array of objects."""
    state = array.state if isinstance(array, Made) else None
    items = state[4] if isinstance(state, tuple) and len(state) == 5 else None
    return [each for each in items if isinstance(each, str)] if isinstance(items, list) else []
