"""What a look into an artifact finds, and the notebook in which the formats write it down."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import orjson

MAX_TEXT: Final = 500
"""Characters of any text that is taken over from a file."""
MAX_VALUES: Final = 10_000
"""Inputs, outputs and imports that are told of one artifact."""
MAX_SIGNATURE: Final = 2**20
"""Bytes of the inputs that are told of one artifact, and as many of the outputs, as JSON."""
MAX_NOTES: Final = 100
MAX_SIZE: Final = 2**63 - 1
"""The largest number that is believed."""
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}(?=\.)")


class Verdict(StrEnum):
    """What the pickles of an artifact can do to whoever loads them, from the best to the worst.

    UNSCANNED is worse than SUSPICIOUS: what was not read may do anything.
    """

    NONE = "NONE"
    SAFE = "SAFE"
    SUSPICIOUS = "SUSPICIOUS"
    UNSCANNED = "UNSCANNED"
    DANGEROUS = "DANGEROUS"

    @property
    def rank(self) -> int:
        """0 for the best."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """Something that a pickle imports, as `module.name`, how bad that is, and the file that does it."""

    name: str
    severity: Verdict
    file: str


@dataclass(frozen=True, slots=True)
class Value:
    """An input or an output: its type as the format names it, its shape with None for what is not fixed.

    The shape itself is None where the format has none or leaves the number of dimensions open.
    """

    name: str
    type: str
    shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Detected:
    """What an artifact is. `versions` goes by library or format, `facts` by dotted names such as `mlflow.run_id`."""

    frameworks: Sequence[str] = ()
    formats: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    parameter_count: int | None = None
    inputs: Sequence[Value] = ()
    outputs: Sequence[Value] = ()
    base_models: Sequence[str] = ()
    datasets: Sequence[str] = ()
    licence: str | None = None
    pickles: Verdict = Verdict.NONE
    imports: Sequence[Import] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Found:
    """The notebook of one look. What is written first stays: the formats come in order of how much they know."""

    def __init__(self) -> None:
        self._frameworks: dict[str, None] = {}
        self._formats: dict[str, None] = {}
        self._versions: dict[str, str] = {}
        self._facts: dict[str, str] = {}
        self._named: dict[str, dict[str, None]] = {"base_models": {}, "datasets": {}}
        self._licence: str | None = None
        self._signature: tuple[Sequence[Value], Sequence[Value]] = ((), ())
        self._parameters: dict[str, dict[tuple[str, str], int]] = {}
        self._verdict = Verdict.NONE
        self._imports: dict[Import, None] = {}
        self._notes: dict[str, None] = {}

    def framework(self, name: str, version: object = None) -> None:
        """A library that the artifact is for, and the version of it that wrote the artifact."""
        self._frameworks.setdefault(text(name))
        self.version(name, version)

    def format(self, name: str, version: object = None) -> None:
        """A format that is there, and which version of the format."""
        self._formats.setdefault(text(name))
        self.version(name, version)

    def version(self, name: str, version: object) -> None:
        """The version of a library or format, where it is known."""
        if (said := text(version)) and len(self._versions) < MAX_NOTES:
            self._versions.setdefault(text(name), said)

    def fact(self, name: str, value: object) -> None:
        """Whatever else is worth knowing, where it is known."""
        if (said := text(value)) and len(self._facts) < MAX_NOTES:
            self._facts.setdefault(text(name), said)

    def base_model(self, names: object) -> None:
        """A model that this one came from, or a list of such."""
        self._name("base_models", names)

    def dataset(self, names: object) -> None:
        """A data set that this model came from, or a list of such."""
        self._name("datasets", names)

    def _name(self, what: str, names: object) -> None:
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str) and (said := text(name)) and len(self._named[what]) < MAX_NOTES:
                self._named[what].setdefault(said)

    def licence(self, name: object) -> None:
        """The licence that the artifact names; of several the first."""
        name = name[0] if isinstance(name, list) and name else name
        self._licence = self._licence or (text(name) if isinstance(name, str) else None) or None

    def signature(self, inputs: Iterable[Value], outputs: Iterable[Value]) -> None:
        """What goes in and what comes out."""
        if not any(self._signature):
            self._signature = (_told(inputs), _told(outputs))

    def parameters(self, format: str, path: str, count: int) -> None:
        """How many parameters a file has. Shards add up; of the variants in one folder the largest counts.

        Folders that lie within another one with parameters are checkpoints or variants of what it has. Others of one
        format add up as the parts of a model; where two have as many, they may be copies, and nothing is told. A
        format that comes later only counts where no other did.
        """
        folder, _, name = path.rpartition("/")
        group = (folder, _SHARD.sub("", name))
        counts = self._parameters.setdefault(format, {})
        counts[group] = counts.get(group, 0) + count

    def pickle(self, verdict: Verdict, imports: Iterable[Import] = ()) -> None:
        """What a pickle can do, and what it imports."""
        for found in imports:
            each = Import(text(found.name), found.severity, text(found.file))
            if len(self._imports) < MAX_VALUES or each.severity is Verdict.DANGEROUS:
                self._imports.setdefault(each)
        self._verdict = max(self._verdict, verdict, key=lambda one: one.rank)

    def note(self, path: str, words: str) -> None:
        """What could not be read of a file, and why."""
        if len(self._notes) < MAX_NOTES:
            self._notes.setdefault(text(f"{path}: {words}"))

    def done(self) -> Detected:
        """All of it."""
        return Detected(
            frameworks=list(self._frameworks),
            formats=list(self._formats),
            versions=self._versions,
            parameter_count=self._count(),
            inputs=self._signature[0],
            outputs=self._signature[1],
            base_models=list(self._named["base_models"]),
            datasets=list(self._named["datasets"]),
            licence=self._licence,
            pickles=self._verdict,
            imports=sorted(self._imports, key=lambda one: (-one.severity.rank, one.name, one.file))[:MAX_VALUES],
            facts=self._facts,
            notes=list(self._notes),
        )

    def _count(self) -> int | None:
        for counts in self._parameters.values():
            folders: dict[str, int] = defaultdict(int)
            for (folder, _), count in counts.items():
                folders[folder] = max(folders[folder], count)
            outer = [count for folder, count in folders.items() if count and not any(map(folders.get, _above(folder)))]
            if outer:
                return total if len(set(outer)) == len(outer) and (total := sum(outer)) <= MAX_SIZE else None
        return None


def _above(folder: str) -> list[str]:
    """The folders that a folder lies in, from the nearest to the top, which is empty."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:i]) for i in range(len(parts) - 1, -1, -1)]


def _told(values: Iterable[Value]) -> list[Value]:
    told, room = list[Value](), MAX_SIGNATURE
    for each in islice(values, MAX_VALUES):
        value = Value(text(each.name), text(each.type), shape(each.shape))
        room -= len(orjson.dumps(value)) + len(value.shape or ())
        if room < 0:
            break
        told.append(value)
    return told


def text(value: object) -> str:
    """A text of a file as it can be shown: printable and not too long. Nothing for what is no text or number."""
    if not isinstance(value, str | int | float):
        return ""
    shown = str(value)[: MAX_TEXT + 1] if isinstance(value, str) else _number(value)
    shown = "".join(char if char.isprintable() else " " for char in shown).strip()
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def _number(value: Any) -> str:
    return str(value) if abs(value) <= 2**64 else ""


def shape(sizes: Any) -> tuple[int | None, ...] | None:
    """A shape from a list of sizes, where what is not a size of at least 0 is not fixed."""
    if not isinstance(sizes, list | tuple) or len(sizes) > 64:
        return None
    return tuple(size if isinstance(size, int) and 0 <= size <= MAX_SIZE else None for size in sizes)


def elements(sizes: Any) -> int:
    """How many elements a tensor of this shape has; 0 where the shape is not known."""
    known = shape(sizes)
    if known is None:
        return 0
    count = 1
    for size in known:
        count *= size or 0
    return min(count, MAX_SIZE)
