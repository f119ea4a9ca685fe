"""Stage schemes: the stages that the versions of a model move through, and which moves there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auth.roles import Role
from graph import ontology, validation
from graph.address import Address
from graph.ontology import STAGE_SCHEME
from graph.port import EVERYTHING, Node, Prop, Snapshot, Transaction, Update
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.artifacts.common import workspace_property
from resolvers.operation import Operation
from resolvers.reading import all_found
from resolvers.writing.command import command
from resolvers.writing.common import label, present
from resolvers.writing.deleting import Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find

ARCHIVED: Final = "Archived"
MLFLOW: Final = ("None", "Staging", "Production", ARCHIVED)
"""The stages that MLflow has."""

NONE: Final = "none"
"""How messages and clients write that a version is in no stage."""

RETIRED: Final = "Retired"
"""The stage of what is retired, which has rules of its own: no move leads there."""

DEPRECATED: Final = "Deprecated"
"""The stage of what is deprecated, in whichever scheme: what comes to it is, and what leaves it is not any more."""

MAX_STAGES: Final = 50


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage. `mlflow` is the one of MLflow's four that it counts as.

    What is in a `live` one counts as in production: nothing that is retired comes to one, by no override either. Out
    of a `final` one there is no way but with an override.
    """

    name: str
    mlflow: str = "None"
    live: bool = False
    final: bool = False

    def kept(self) -> dict[str, Any]:
        """As the graph keeps it."""
        return {"name": self.name, "mlflow": self.mlflow, "live": self.live, "final": self.final}


def is_for_deprecated(stage: str | None) -> bool:
    """Whether a stage is the one for what is deprecated, by its name, whatever the case."""
    return stage is not None and stage.casefold() == DEPRECATED.casefold()


Move = tuple[str | None, str | None]
"""From a stage to another, each by name; None is no stage."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Stages, and the moves between them that are allowed; all of them where `moves` is None."""

    name: str
    stages: tuple[Stage, ...]
    moves: frozenset[Move] | None = None

    def stage(self, word: str, field: str = "stage") -> Stage:
        """The stage of this name, whatever the case. Raises InvalidArgument, with the stages that there are."""
        for stage in self.stages:
            if stage.name.casefold() == word.strip().casefold():
                return stage
        names = ", ".join(stage.name for stage in self.stages)
        msg = f"{field}: there is no stage {word!r:.100} in the scheme {self.name!r}; its stages are {names}"
        raise InvalidArgument(msg, field=field, stages=[stage.name for stage in self.stages])

    def find(self, word: str | None) -> Stage | None:
        """The stage of this name, whatever the case, if there is one."""
        return next((s for s in self.stages if word is not None and s.name.casefold() == word.casefold()), None)

    def allows(self, before: str | None, after: str | None) -> bool:
        """Whether a version may move so. Out of a stage that is none of the scheme there is every way."""
        stage = self.find(before)
        if before is not None and stage is None:
            return True
        if stage is not None and stage.final:
            return False
        return self.moves is None or (before, after) in self.moves

    def ways(self, before: str | None) -> list[str]:
        """Where a version may move to from a stage, by name."""
        names = [*(stage.name for stage in self.stages), None]
        return [name or NONE for name in names if name != before and self.allows(before, name)]

    @property
    def archive(self) -> Stage | None:
        """Where versions go that another one takes the place of: the first stage that counts as Archived."""
        return next((stage for stage in self.stages if stage.mlflow == ARCHIVED), None)


def _among(names: Iterable[str | None], others: Iterable[str | None]) -> set[Move]:
    others = list(others)
    return {(a, b) for a in names for b in others if a != b}


_FOUR: Final = (None, "Staging", "Production", "Archived")
STANDARD: Final = Scheme(
    "standard",
    (
        Stage("Staging", "Staging"),
        Stage("Production", "Production", live=True),
        Stage("Archived", "Archived"),
        Stage(DEPRECATED, "Archived"),
        Stage(RETIRED, "Archived", final=True),
    ),
    frozenset(_among(_FOUR, _FOUR) | _among((*_FOUR, DEPRECATED), (DEPRECATED, RETIRED)) | _among([DEPRECATED], _FOUR)),
)
"""The scheme where no other holds. Its first four moves are those that MLflow's clients make."""


# ── Which one holds ───────────────────────────────────────────────────────────────────────────────


class Schemes:
    """The schemes that hold for models, each looked up once, with everything in view."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._whole = snapshot.seeing(EVERYTHING)
        self._of_workspace: dict[str, str | None] = {}
        self._named: dict[tuple[str, str], Scheme] = {}

    async def of(self, model: Node) -> Scheme:
        """The scheme of a model. Raises PreconditionFailed: it, or its workspace, names one that is not there."""
        workspace = model.workspace
        name = model.props.get("stageScheme")
        if name is None:
            if workspace not in self._of_workspace:
                self._of_workspace[workspace] = await workspace_property(self._whole, workspace, "stageScheme")
            name = self._of_workspace[workspace]
        if name is None or name == STANDARD.name:
            return STANDARD
        if (workspace, name) not in self._named:
            (node,) = await self._whole.resolve([Address(STAGE_SCHEME.name, workspace, name)])
            if node is None:
                msg = f"the workspace {workspace!r} has no stage scheme {name!r} any more; see declareStageScheme"
                raise PreconditionFailed(msg)
            self._named[workspace, name] = read(node)
        return self._named[workspace, name]


def read(node: Node) -> Scheme:
    """A scheme that was declared."""
    stages = tuple(Stage(**stage) for stage in node.props["stages"]["stages"])
    moves = node.props.get("moves")
    allowed = None if moves is None else frozenset((move["from"], move["to"]) for move in moves["moves"])
    return Scheme(node.name, stages, allowed)


def role_for(properties: Mapping[str, Any]) -> Role:
    """The role that setting these properties of a model needs: which scheme holds is for the workspace's owners."""
    return Role.OWNER if "stageScheme" in properties else Role.CONTRIBUTOR


# ── Declared as data ──────────────────────────────────────────────────────────────────────────────


@command("declareStageScheme", needs=Role.OWNER)
async def declare_stage_scheme(
    tx: Transaction,
    *,
    name: str,
    stages: Sequence[Mapping[str, Any]],
    moves: Sequence[Mapping[str, Any]] | None = None,
    workspace: str = ontology.DEFAULT_WORKSPACE,
    description: str | None = None,
) -> str:
    """Declare a scheme, or declare it anew. Versions in a stage that it has no more may move out of it anywhere.

    Raises InvalidArgument, naming the place as in `stages[2].mlflow`, NotFound (the workspace).
    """
    name = validation.name(name)
    if name.casefold() == STANDARD.name:
        raise InvalidArgument(f"name: {STANDARD.name!r} is built in; choose another name", field="name")
    declared = _stages(stages)
    props = {"stages": {"stages": [stage.kept() for stage in declared]}, "description": description}
    if moves is not None:
        scheme = Scheme(name, declared)
        props["moves"] = {"moves": [_move(scheme, move, f"moves[{i}]") for i, move in enumerate(moves)]}
    (there,) = await tx.resolve([Address(STAGE_SCHEME.name, workspace, name)])
    if there is not None:
        await tx.update([Update(there.id, {"moves": None, **props})])
        return there.id
    draft = Draft(tx)
    id = draft.create(STAGE_SCHEME, name, workspace, props=present(props))
    await draft.save()
    return id


def _stages(given: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    if not 1 <= len(given) <= MAX_STAGES:
        msg = f"stages: has {len(given)} entries; 1 to {MAX_STAGES} are allowed"
        raise InvalidArgument(msg, field="stages")
    stages: list[Stage] = []
    for i, item in enumerate(given):
        at = f"stages[{i}]"
        name = label(item["name"], f"{at}.name").strip()
        if name.casefold() in {NONE, *(stage.name.casefold() for stage in stages)}:
            msg = f"{at}.name: {name!r} is there already, or stands for no stage; names differ in more than their case"
            raise InvalidArgument(msg, field=f"{at}.name")
        mlflow = item.get("mlflow") or MLFLOW[0]
        if mlflow not in MLFLOW:
            msg = f"{at}.mlflow: must be one of {', '.join(MLFLOW)}, not {mlflow!r:.80}"
            raise InvalidArgument(msg, field=f"{at}.mlflow")
        stages.append(Stage(name, mlflow, bool(item.get("live")), bool(item.get("final"))))
    return tuple(stages)


def _move(scheme: Scheme, given: Mapping[str, Any], at: str) -> dict[str, str | None]:
    """A move between stages of the scheme. Raises InvalidArgument."""
    ends: dict[str, str | None] = {}
    for end in ("from", "to"):
        word = given.get(end)
        ends[end] = None if word is None else scheme.stage(word, f"{at}.{end}").name
    if ends["from"] == ends["to"]:
        raise InvalidArgument(f"{at}: leads from {ends['from'] or NONE} to itself", field=at)
    return ends


async def delete_stage_scheme(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
    """Delete a scheme that no model and no workspace names.

    Raises NotFound, Conflict, PreconditionFailed (it is named, and by whom).
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, address, "scheme", STAGE_SCHEME.name)
        node = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        if holders := await _holders(tx.seeing(EVERYTHING), node):
            msg = f"scheme: {node.name!r} still holds for {', '.join(holders)}; give them another one first"
            raise PreconditionFailed(msg, field="scheme")
        await remove(tx, [node], "scheme")
        return Deleted(node, 0)

    return await op.write(work, "deleteStageScheme", needs=Role.OWNER)


async def _holders(whole: Snapshot, scheme: Node, most: int = 10) -> Collection[str]:
    """The first of those that name a scheme. They are in its workspace, whose owner asks."""
    found: list[str] = []
    if await workspace_property(whole, scheme.workspace, "stageScheme") == scheme.name:
        found.append(f"the workspace {scheme.workspace!r}")
    async for model in all_found(whole, "Model", Prop("workspace", "eq", scheme.workspace)):
        if len(found) == most:
            break
        if model.props.get("stageScheme") == scheme.name:
            found.append(f"the model {model.name!r}")
    return found
