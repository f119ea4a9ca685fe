"""Mutations of stage schemes and gates."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.lifecycle import declaring, schemes
from resolvers.lifecycle.conditions import TYPES
from schema.lifecycle import Gate, StageScheme
from schema.mutations.declare import REVISION_DOC, WORKSPACE_DOC, Noun, deletes, does, key, may, need, takes
from schema.scalars import JSON

SCHEME: Final = Noun(ontology.STAGE_SCHEME, StageScheme, "scheme", "stage scheme", "schemes:/name")
GATE: Final = Noun(ontology.GATE, Gate, "gate", "gate", "gates:/name")
_CONDITIONS: Final = f"What must hold, each an object with a type: {', '.join(TYPES)}. See docs/lifecycle.md."


@takes("A stage.")
class StageInput:
    name: str = need("Its name.")
    mlflow: str = may(f"The stage of MLflow's four that it counts as: {', '.join(schemes.MLFLOW)}.", schemes.MLFLOW[0])
    live: bool = may("Whether versions in it may serve in production.", False)
    final: bool = may("Whether there is no way out of it but with an override.", False)


@takes("A move between stages that is allowed.")
class StageMoveInput:
    from_: str | None = strawberry.field(
        name="from", description="The stage that it leads from; null for none.", default=None
    )
    to: str | None = may("The stage that it leads to; null for none.", None)


@takes("A stage scheme to declare, or to declare anew.")
class DeclareStageSchemeInput:
    name: str = need("Its name, unique in the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    stages: list[StageInput] = need("Its stages, in the order in which versions come to them.")
    moves: list[StageMoveInput] | None = may("The moves that are allowed; all of them unless given.", None)
    description: str | None = may("What it is for, in words.", None)
    idempotency_key: str | None = key()


@takes("A gate to declare: of one stage, one alias or one environment.")
class DeclareGateInput:
    name: str = need("Its name, unique in the workspace.")
    workspace: str = may(WORKSPACE_DOC, ontology.DEFAULT_WORKSPACE)
    stage: str | None = may("The stage that it guards.", None)
    alias: str | None = may("The alias that it guards.", None)
    environment: str | None = may("The environment that it guards, by name.", None)
    conditions: list[JSON] = need(_CONDITIONS)
    description: str | None = may("What it is for, in words.", None)
    idempotency_key: str | None = key()


@takes("What to change in a gate. What is not given stays.")
class UpdateGateInput:
    address: strawberry.ID = GATE.address
    conditions: list[JSON] | None = may(_CONDITIONS)
    description: str | None = may("What it is for, in words; null takes it away.")
    revision: int | None = may(REVISION_DOC)


@strawberry.type(description="Mutations of stage schemes and gates.")
class GateMutations:
    declare_stage_scheme = does(
        schemes.declare_stage_scheme,
        DeclareStageSchemeInput,
        "Declares the stages that versions move through, and the moves between them. Which scheme holds is said by the "
        "property stageScheme of a model or a workspace.",
        SCHEME.answer,
    )
    delete_stage_scheme = deletes(schemes.delete_stage_scheme, SCHEME)
    declare_gate = does(
        declaring.declare_gate,
        DeclareGateInput,
        "Declares what must hold before a version comes to a stage, gets an alias, or is deployed to an environment.",
        GATE.answer,
    )
    update_gate = does(
        declaring.update_gate,
        UpdateGateInput,
        "Changes what a gate asks for. Approvals that were given before no longer count.",
        GATE.answer,
    )
    delete_gate = deletes(declaring.delete_gate, GATE)
