"""All that can be done: the root of all writing.

Each mutation is a use case of `resolvers.writing` with an input and a payload of its own. What may not
enter: rules of the registry, which are in `resolvers`.
"""

from __future__ import annotations

import strawberry

from schema.mutations.approvals import ApprovalMutations
from schema.mutations.artifacts import ArtifactMutations
from schema.mutations.collaboration import CollaborationMutations
from schema.mutations.datasets import DatasetMutations
from schema.mutations.deployments import DeploymentMutations
from schema.mutations.gates import GateMutations
from schema.mutations.importing import ImportMutations
from schema.mutations.lifecycle import LifecycleMutations
from schema.mutations.marking import MarkMutations
from schema.mutations.models import ModelMutations
from schema.mutations.retiring import RetirementMutations
from schema.mutations.runs import RunMutations
from schema.mutations.validations import ValidationMutations
from schema.mutations.webhooks import WebhookMutations
from schema.mutations.workspaces import WorkspaceMutations


@strawberry.type(description="Everything that can be done. Each mutation is one transaction.")
class Mutation(
    WorkspaceMutations,
    ModelMutations,
    DatasetMutations,
    RunMutations,
    DeploymentMutations,
    LifecycleMutations,
    GateMutations,
    ApprovalMutations,
    ImportMutations,
    CollaborationMutations,
    ArtifactMutations,
    ValidationMutations,
    RetirementMutations,
    MarkMutations,
    WebhookMutations,
):
    """The root of all writing."""
