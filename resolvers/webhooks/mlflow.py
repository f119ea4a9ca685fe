"""Events as MLflow's own registry tells them (3.17): models and prompts, their versions, tags and aliases.

What MLflow has no event for is not told in this format: stages, deletions, deployments, data sets. Of what is gone
when an event is about to be sent nothing is told either, since MLflow names things by what they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph.ids import kind_of
from graph.ontology import MODEL, MODEL_VERSION
from graph.port import Change, Node
from graph.recording import subjects
from resolvers.cloudevents import iso
from resolvers.events import Event, parts_of
from resolvers.operation import Operation
from resolvers.registry.looking import source_of

EVENTS: Final = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
)
"""What MLflow calls the events that Lineal has, as entity.action."""

IS_PROMPT: Final = "mlflow.prompt.is_prompt"
TEMPLATE: Final = "mlflow.prompt.text"


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that MLflow has an event for: `what` happened to a subject, about the tag or alias `key`."""

    index: int
    subject: str
    what: str
    key: str = ""


def units(change: Change) -> list[Unit]:
    """What a change did that MLflow may have events for, in an order that depends on nothing but the change."""
    return [Unit(index, *found) for index, found in enumerate(_units(change.data))]


def _units(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    parts = parts_of(data)
    for subject in subjects(data):
        if kind_of(subject) not in {MODEL, MODEL_VERSION}:
            continue
        part = parts[subject]
        if "created" in part:
            yield subject, "created", ""
        else:
            for name, value in part.get("updated", {}).get("after", {}).items():
                if name.startswith("tags."):
                    yield subject, "tag deleted" if value is None else "tag set", name.removeprefix("tags.")
        opened, ended = _aliases(part, "linked"), _aliases(part, "unlinked")
        for name in opened:
            yield subject, "alias created", name
        for name in sorted(ended.keys() - opened.keys()):
            yield subject, "alias deleted", name


def _aliases(part: Mapping[str, Any], side: str) -> dict[str, str]:
    """The aliases of a model that were opened or ended, with the version that each leads to."""
    return {edge[3]: edge[2] for edge in part.get(side, ()) if edge[1] == "ALIAS"}


@dataclass(frozen=True, slots=True)
class Said:
    """An event in MLflow's words: its type, and the body."""

    type: str
    body: Mapping[str, Any]


class Teller:
    """Says units in MLflow's words, with what an operation sees of the graph."""

    def __init__(self, nodes: Mapping[str, Node], tags: Mapping[str, Mapping[str, str]]) -> None:
        self._nodes, self._tags = nodes, tags

    @classmethod
    async def of(cls, op: Operation, events: Sequence[Event]) -> Teller:
        """What is needed to tell these events."""
        snapshot = await op.snapshot()
        nodes = {event.subject: event.node for event in events if event.node is not None}
        wanted = {node.container for node in nodes.values()}
        wanted |= {edge[2] for event in events for edge in event.change.get("linked", ())}
        if missing := sorted(wanted - nodes.keys()):
            nodes |= await snapshot.nodes(missing)
        return cls(nodes, await snapshot.rows(sorted(nodes), "tags") if nodes else {})

    def tell(self, unit: Unit, event: Event) -> Said | None:
        """The event; None where there is nothing left to be told."""
        node = self._nodes.get(unit.subject)
        model = self._nodes.get(node.container) if node else None
        if node is None or model is None:
            return None
        prompt = self._tags.get(model.id, {}).get(IS_PROMPT) == "true"
        what, _, verb = unit.what.rpartition(" ")
        version = str(node.props["number"]) if node.kind == MODEL_VERSION.name else None
        entity = f"{_ENTITY[prompt, version is not None, what]}"
        data = {"name": model.name} | ({} if version is None else {"version": version})
        if what == "":
            data |= self._made(node, event, prompt)
        elif what == "tag":
            value = event.change.get("updated", {}).get("after", {}).get(f"tags.{unit.key}")
            data |= {"key": unit.key} | ({"value": value} if verb == "set" else {})
        else:
            target = self._nodes.get(_aliases(event.change, "linked").get(unit.key, ""))
            if verb == "created" and target is None:
                return None
            data |= {"alias": unit.key} | ({"version": str(target.props["number"])} if target else {})
        type_ = f"{entity}.{verb}"
        if type_ not in EVENTS:
            return None
        return Said(type_, {"entity": entity, "action": verb, "timestamp": iso(event.at), "data": data})

    def _made(self, node: Node, event: Event, prompt: bool) -> dict[str, Any]:
        tags = dict(self._tags.get(node.id, {}))
        told: dict[str, Any] = {"tags": tags, "description": node.props.get("description")}
        if node.kind == MODEL.name:
            return told
        if prompt:
            return {"template": tags.get(TEMPLATE), **told}
        made_by = (edge[2] for edge in event.change.get("linked", ()) if edge[1] == "PRODUCED_BY")
        run = self._nodes.get(next(made_by, ""))
        run_id = node.props.get("runId") or (run.name if run else None)
        return {"source": source_of(node), "run_id": run_id, **told}


_ENTITY: Final = {
    (False, False, ""): "registered_model",
    (False, True, ""): "model_version",
    (False, False, "tag"): "registered_model_tag",
    (False, True, "tag"): "model_version_tag",
    (False, False, "alias"): "model_version_alias",
    (True, False, ""): "prompt",
    (True, True, ""): "prompt_version",
    (True, False, "tag"): "prompt_tag",
    (True, True, "tag"): "prompt_version_tag",
    (True, False, "alias"): "prompt_alias",
}
"""What MLflow calls it, by whether it is of a prompt, of a version, and what it is about. Of a model's own tags it has
no event."""

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "created": {"name": "example_model", "tags": {"example_key": "example_value"}, "description": "An example"},
    "set": {"name": "example_model", "version": "1", "key": "example_key", "value": "example_value"},
    "deleted": {"name": "example_model", "version": "1", "key": "example_key"},
}


def example(type: str, at: int) -> dict[str, Any]:
    """An event of this type that never happened, to try a receiver with."""
    entity, _, action = type.partition(".")
    data = dict(EXAMPLES[action])
    if entity.endswith("_alias"):
        data = {"name": "example_model", "alias": "example_alias"} | ({"version": "1"} if action == "created" else {})
    elif entity == "prompt_tag":
        del data["version"]
    elif entity.endswith("_version"):
        own = {"template": "Hello, {{name}}"} if entity.startswith("prompt") else {"source": "s3://example/model"}
        data |= {"version": "1", **own} | ({} if entity.startswith("prompt") else {"run_id": None})
    return {"entity": entity, "action": action, "timestamp": iso(at), "data": data}
