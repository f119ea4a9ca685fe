"""A model version as a model card in Hugging Face's form: metadata in YAML, then text.

See https://huggingface.co/docs/hub/model-cards. Base models and data sets go by the names that they have here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from graph.port import Direction, Metric
from lineal.errors import InvalidArgument
from resolvers.exporting.licences import identifier
from resolvers.exporting.provenance import Provenance, Thing

RELATIONS: Final = frozenset({"adapter", "merge", "quantized", "finetune"})
"""What `base_model_relation` may be."""
LIBRARIES: Final = ("sentence-transformers", "peft", "diffusers", "transformers")
"""Libraries that stand on others, which a model's frameworks name too."""
MAX_LISTED: Final = 100
"""Rows of one list of the text."""


def card(of: Provenance) -> str:
    """The card. Raises InvalidArgument: it is not of the upstream lineage of one model version."""
    if of.direction is not Direction.UPSTREAM:
        raise InvalidArgument("direction: a model card tells what a version came from: UPSTREAM", field="direction")
    version = of.only("ModelVersion", "a model card")
    metadata = {name: value for name, value in _metadata(of, version).items() if value}
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1_000)
    return f"---\n{front}---\n\n" + "\n".join(_text(of, version)) + "\n"


def _metadata(of: Provenance, version: Thing) -> dict[str, Any]:
    parents = [(edge, other) for edge, other in of.because_of(version, "DERIVED_FROM") if not other.restricted]
    relations = {edge.discriminator for edge, _ in parents}
    frameworks = version.get("frameworks") or ()
    bases = list(dict.fromkeys(other.title for _, other in parents))
    known = identifier(version.license)
    task = version.container.props.get("task") if version.container else None
    return {
        "license": known.lower() if known else ("other" if version.license else None),
        "license_name": None if known else version.license,
        "library_name": _library(frameworks),
        "pipeline_tag": task,
        "base_model": bases[0] if len(bases) == 1 else bases,
        "base_model_relation": relations.pop() if len(relations) == 1 and relations <= RELATIONS else None,
        "datasets": [data.title for data in _data(of, version)],
        "metrics": list(dict.fromkeys(m.name for each in version.evaluations for m in each.metrics)),
        "model-index": _index(version, task),
    }


def _library(frameworks: Sequence[str]) -> str | None:
    """The library that a reader is to load it with, as the Hub writes it: the most special one first."""
    names = [name.lower().replace(" ", "-") for name in frameworks]
    return next((name for name in LIBRARIES if name in names), names[0] if names else None)


def _data(of: Provenance, version: Thing) -> list[Thing]:
    near = [other for _, other in of.sources(version) if other.node.kind == "DatasetVersion" and not other.restricted]
    return list({data.title: data for data in near}.values())


def _index(version: Thing, task: str | None) -> list[dict[str, Any]]:
    """Results by data set. A metric that is no number is none of a card."""
    results = [
        {
            "task": {"type": task or "other"},
            "dataset": {"type": each.dataset, "name": each.dataset},
            "metrics": metrics,
        }
        for each in version.evaluations
        if each.dataset and (metrics := [_measured(m) for m in each.metrics if math.isfinite(m.value)])
    ]
    return [{"name": version.title, "results": results}] if results else []


def _measured(metric: Metric) -> dict[str, Any]:
    return {"type": metric.name, "value": metric.value, "name": metric.name}


def _text(of: Provenance, version: Thing) -> Iterator[str]:
    yield f"# {_plain(version.title)}, version {version.part}"
    yield ""
    if version.description:
        yield version.description
        yield ""
    if of.notes:
        yield "> " + " ".join(of.notes)
        yield ""
    yield from _section("Training data", [_row(data) for data in _data(of, version)])
    bases = of.because_of(version, "DERIVED_FROM")
    yield from _section("Base models", [f"{_row(other)}{_relation(edge.discriminator)}" for edge, other in bases])
    makers = [other for _, other in of.because_of(version, "PRODUCED_BY")]
    makers += [other for _, other in of.sources(version) if other.node.kind == "CodeRevision"]
    yield from _section("Made by", [_row(other) for other in makers])
    far = [thing for thing in of.things if thing.distance > 1 and thing.node.kind in {"ModelVersion", "DatasetVersion"}]
    yield from _section("Further back in its lineage", [f"{_row(thing)}, {thing.distance} hops away" for thing in far])
    yield from _section("Parameters", [f"{_code(name)}: {_code(value)}" for name, value in version.params.items()])
    measured = [f"{_code(m.name)}: {m.value!r}" for m in version.metrics]
    for each in version.evaluations:
        on = f" on {_plain(each.dataset)}" if each.dataset else ""
        measured += [f"{_code(m.name)}{on}: {m.value!r}" for m in each.metrics]
    yield from _section("Evaluation", measured)
    yield from _section(
        "Files", [f"{_code(f.file.path)} ({f.file.size:,} bytes, SHA-256 {f.file.sha256})" for f in version.files]
    )
    yield f"Made from the registry on {of.created}: {_code(version.address)}."


def _section(title: str, rows: list[str]) -> Iterator[str]:
    if rows:
        yield f"## {title}"
        yield ""
        yield from (f"- {row}" for row in rows[:MAX_LISTED])
        if len(rows) > MAX_LISTED:
            yield f"- and {len(rows) - MAX_LISTED:,} more"
        yield ""


def _row(thing: Thing) -> str:
    return thing.title if thing.restricted else f"{_plain(thing.title)} ({_code(thing.address)})"


def _relation(discriminator: str) -> str:
    return f": {_plain(discriminator)}" if discriminator else ""


def _plain(text: str) -> str:
    """Text on one line that Markdown takes for nothing else."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|!" else char for char in line)


def _code(text: str) -> str:
    """Text on one line as code; a backtick in it asks for more of them around (CommonMark, section 6.1)."""
    line = " ".join(text.split())
    if "`" not in line:
        return f"`{line}`"
    ticks = "`" * (line.count("`") + 1)
    return f"{ticks} {line} {ticks}"
