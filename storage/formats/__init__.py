"""What an artifact is, read from its files without executing any of them.

Each format is a module with two functions: `claims` says by name and first bytes whether a file is its own, `read`
writes what the file says into the notebook. FORMATS is all that knows them. Nothing that a file says makes a look
raise, run for long or take much memory: reads, steps and unpacked bytes are counted, and what goes wrong becomes a
note that names the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from lineal.errors import LinealError, NotFound, Unavailable
from storage.formats import (
    boosting,
    gguf,
    huggingface,
    keras,
    mlflow,
    onnx,
    pickles,
    pytorch,
    safetensors,
    skops,
    tensorflow,
)
from storage.formats.finding import Detected, Found, Import, Value, Verdict
from storage.formats.reading import Budget, File, Unreadable, suffix
from storage.source import Source

__all__ = ["Detected", "Import", "Value", "Verdict", "detect", "harmless", "order"]

MAX_LOOKED_AT: Final = 1_000
"""Files that are looked at whole. Of an artifact with more, those come first that a format knows by name."""


class Format(Protocol):
    """One format, or a family of them."""

    def claims(self, file: File) -> bool:
        """Whether this file is of the format, by its name and first bytes."""

    def read(self, file: File, found: Found) -> None:
        """Write down what it says. May raise whatever a broken file makes it raise."""


FORMATS: Final[Sequence[Format]] = [
    mlflow,
    huggingface,
    tensorflow,
    keras,
    safetensors,
    skops,
    gguf,
    boosting,
    onnx,
    pytorch,
    pickles,
]
"""The formats, those first that know more of a model as a whole: of two that say different things, the first counts.

Pickles come last, so that an artifact that uses up what a look may read has its pickles called unscanned.
"""

_JUDGES: Final[Sequence[Format]] = [keras, pickles]
"""Formats that say what loading a file runs: what they cannot read is called unscanned."""


def detect(source: Source) -> Detected:
    """What an artifact is, from its files. Raises Unavailable, NotFound (of the source), and nothing else.

    Beyond MAX_LOOKED_AT only files are scanned for pickles whose names are harmless, and whose first bytes the source
    has read `ahead`: they mostly suffice. All others make it UNSCANNED.
    """
    found = Found()
    budget = Budget(source)
    files = [_file(budget, path) for path in source.files]
    files.sort(key=lambda file: order(file.path))
    looked_at, left = files[:MAX_LOOKED_AT], files[MAX_LOOKED_AT:]
    for each in FORMATS:
        for file in looked_at:
            _look(each, file, found)
    if left:
        _scan_more(left, found)
    return found.done()


def _scan_more(left: list[File], found: Found) -> None:
    """Scan files for pickles that are too many to be looked at whole."""
    words = f"of this file and {len(left) - 1:,} others no more than the first bytes were looked at"
    found.note(left[0].path, f"{words}, as there are too many")
    for file in left:
        if harmless(file.path) and (file.path, 0) in file.budget.source.ahead:
            _look(pickles, file, found)
        else:
            found.pickle(Verdict.UNSCANNED)


def harmless(path: str) -> bool:
    """Whether a file's name says that nobody loads it as a pickle, nor as a model of Keras."""
    return suffix(path) in pickles.HARMLESS and path.rpartition("/")[2] != keras.CONFIG


def order(path: str) -> tuple[bool, bool, int, str]:
    """In which order files are looked at: those first that are loaded as pickles by their names."""
    return harmless(path), suffix(path) not in pickles.NAMED, path.count("/"), path


def _file(budget: Budget, path: str) -> File:
    return File(budget, path, path, budget.source.files[path], locate=lambda: 0)


def _look(each: Format, file: File, found: Found) -> None:
    try:
        if each.claims(file):
            each.read(file, found)
    except (Unavailable, NotFound):
        raise
    except (Unreadable, LinealError) as error:
        _missed(each, file, found, str(error).removeprefix(f"{file.path}: "))
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes a reader stumble over
        _missed(each, file, found, f"it is broken ({type(error).__name__})")


def _missed(each: Format, file: File, found: Found, words: str) -> None:
    found.note(file.label, words)
    if each in _JUDGES:
        found.pickle(Verdict.UNSCANNED)
