"""A model card in Hugging Face's form, as what is known of one model version.

See https://huggingface.co/docs/hub/model-cards. Base models and data sets go by the names that the card has.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from graph.address import Address, parse
from graph.ontology import MAX_TEXT
from graph.port import Hop, Paging, Transaction
from lineal.errors import InvalidArgument
from resolvers.importing.telling import Told, wrong

FENCE: Final = "---"
_TAKEN: Final = frozenset(
    {
        *("license", "license_name", "library_name", "pipeline_tag", "base_model", "base_model_relation", "datasets"),
        *("model-index", "metrics"),
    }
)


@dataclass(frozen=True, slots=True)
class Card:
    """Metadata and text of a card, and the version that it is of."""

    metadata: Mapping[str, Any]
    text: str
    version: Address

    async def tell(self, tx: Transaction) -> Told:
        """What it tells, in a store: base models are looked up there. Raises InvalidArgument, LimitExceeded."""
        told, version = Told(), str(self.version)
        workspace = self.version.workspace
        model = Address("Model", workspace, self.version.name)
        task = _word(self.metadata, "pipeline_tag")
        told.node(str(model), "version", properties={"task": task} if task else {})
        told.node(version, "version", properties=self._properties(told))
        relation = _word(self.metadata, "base_model_relation")
        for i, name in enumerate(_words(self.metadata, "base_model")):
            place = f"base_model[{i}]"
            base = await _base(tx, name, workspace, place)
            if not base.id:
                told.node(str(Address("Model", base.workspace, base.name)), place, external=True)
                told.node(str(base), place, external=True)
            told.edge(version, "DERIVED_FROM", str(base), place, discriminator=relation or None)
        for i, name in enumerate(_words(self.metadata, "datasets")):
            data = str(Address("Dataset", workspace, name))
            told.node(data, f"datasets[{i}]", external=True)
            told.edge(version, "TRAINED_ON", data, f"datasets[{i}]")
        self._results(told, version)
        more = sorted(str(name) for name in self.metadata.keys() - _TAKEN if self.metadata[name])
        if more:
            told.note(f"Left out: {', '.join(more)}.")
        return told

    def _properties(self, told: Told) -> dict[str, Any]:
        licence = _word(self.metadata, "license")
        library = _word(self.metadata, "library_name")
        if licence == "other":
            licence = _word(self.metadata, "license_name") or licence
        found: dict[str, Any] = {"license": licence, "frameworks": [library] if library else None}
        if len(self.text) <= MAX_TEXT:
            found["description"] = self.text
        else:
            told.note(f"The text is left out: it has {len(self.text):,} characters, more than {MAX_TEXT:,}.")
        return {name: value for name, value in found.items() if value}

    def _results(self, told: Told, version: str) -> None:
        """Each data set of the results is an evaluation of its own, named after the version and the data."""
        for place, name, metrics in _evaluated(self.metadata):
            workspace = self.version.workspace
            title = f"{self.version.name} {self.version.part} on {name}"
            evaluation = str(Address("Evaluation", workspace, title))
            data = str(Address("Dataset", workspace, name))
            told.node(evaluation, place, metrics=metrics)
            told.node(data, place, external=True)
            told.edge(evaluation, "EVALUATES", version, place)
            told.edge(evaluation, "EVALUATED_ON", data, place)


def read(text: str, version: str) -> Card:
    """A card of this version (models:/name/3). Raises InvalidArgument: it has no metadata, or these are no YAML."""
    address = parse(version, field="version")
    if address.kind != "ModelVersion" or address.id or address.alias is not None:
        raise InvalidArgument(f"version: must be as models:/name/3, not {version!r:.200}", field="version")
    lines = text.removeprefix("\ufeff").splitlines()
    ends = [i for i, line in enumerate(lines) if line.strip() == FENCE]
    if len(ends) < 2 or any(line.strip() for line in lines[: ends[0]]):
        raise InvalidArgument("file: must begin with metadata in YAML between two lines of ---", field="file")
    front = "\n".join(lines[ends[0] + 1 : ends[1]])
    try:
        metadata = yaml.load(front, Loader=_Loader) or {}  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"file: the metadata are no YAML: {error!s:.300}", field="file") from None
    if not isinstance(metadata, dict):
        raise InvalidArgument("file: the metadata must be a mapping", field="file")
    return Card(metadata, "\n".join(lines[ends[1] + 1 :]).strip(), address)


class _Loader(yaml.SafeLoader):
    """YAML without aliases: a few of them make much of little."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken")
        return super().compose_node(parent, index)


async def _base(tx: Transaction, name: str, workspace: str, place: str) -> Address:
    """The version that a base model's name means: the only one it has; one to be made where it is not known."""
    if ":/" in name:
        address = parse(name, field=place)
        if address.kind != "ModelVersion":
            raise wrong(place, f"must be a model's name, or a version as models:/name/3, not {name!r:.200}")
        return address
    (model,) = await tx.resolve([Address("Model", workspace, name)])
    if model is None:
        return Address("ModelVersion", workspace, name, "1")
    page = (await tx.neighbours([model.id], Hop("VERSION_OF", "IN", "ModelVersion"), paging=Paging(2)))[model.id]
    if len(page.items) > 1:
        raise wrong(place, f"{name!r} has several versions here; let the card name one, as {_address(name, workspace)}")
    number = page.items[0].node.name if page.items else str(int(model.props.get("lastNumber", 0)) + 1)
    return Address("ModelVersion", model.workspace, model.name, number)


def _address(name: str, workspace: str) -> str:
    return str(Address("ModelVersion", workspace, name, "3"))


def _evaluated(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """The results of `model-index` by data set, each with its place and its metrics."""
    found: dict[str, tuple[str, list[dict[str, Any]]]] = {}
    for i, model in enumerate(_objects(metadata.get("model-index"), "model-index")):
        at = f"model-index[{i}].results"
        for j, result in enumerate(_objects(model.get("results"), at)):
            place = f"{at}[{j}]"
            data = result.get("dataset")
            if not isinstance(data, dict) or not (data.get("name") or data.get("type")):
                raise wrong(f"{place}.dataset", "must have a name")
            # A name is for people, and says which configuration was meant; the type is what the Hub calls it.
            name = str(data.get("name") or data["type"])
            metrics = found.setdefault(name, (place, []))[1]
            for k, metric in enumerate(_objects(result.get("metrics"), f"{place}.metrics")):
                metrics.append(_metric(metric, f"{place}.metrics[{k}]"))
    for name, (place, metrics) in found.items():
        yield place, name, metrics


def _metric(metric: Mapping[str, Any], place: str) -> dict[str, Any]:
    name, value = metric.get("type") or metric.get("name"), metric.get("value")
    if not isinstance(name, str):
        raise wrong(f"{place}.type", "must be text")
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise wrong(f"{place}.value", f"must be a number, not {value!r:.80}")
    return {"name": name, "value": float(value)}


def _objects(given: Any, place: str) -> Sequence[Mapping[str, Any]]:
    found = [] if given is None else given
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise wrong(place, "must be a list of mappings")
    return found


def _words(metadata: Mapping[str, Any], name: str) -> list[str]:
    """A text, or a list of texts, each once."""
    given = metadata.get(name)
    listed = given if isinstance(given, list) else [] if given is None else [given]
    for i, each in enumerate(listed):
        if not isinstance(each, str) or not each.strip():
            raise wrong(f"{name}[{i}]", f"must be text, not {each!r:.80}")
    return list(dict.fromkeys(each.strip() for each in listed))


def _word(metadata: Mapping[str, Any], name: str) -> str:
    """A text, or "". YAML takes some for something else: a version for a number, a day for a date."""
    given = metadata.get(name)
    if given is None:
        return ""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if not isinstance(given, str | int | float | dt.date):
        raise wrong(name, f"must be text, not {given!r:.80}")
    return str(given).strip()
