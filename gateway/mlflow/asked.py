"""What one request of an MLflow client asks for, and what handlers need to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.mlflow.asking import Parameters
from gateway.mlflow.checking import version_number
from resolvers.operation import Operation
from resolvers.registry.changing import At


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its operation, the workspace it is about, its parameters, and the key that it is done once under."""

    op: Operation
    workspace: str
    parameters: Parameters
    key: str | None = None

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.parameters.text("name")

    @property
    def model(self) -> At:
        """The model that is named."""
        return At(self.workspace, self.name)

    @property
    def version(self) -> At:
        """The version that is named. Raises InvalidArgument: its number is none."""
        return At(self.workspace, self.name, version_number(self.parameters.text("version")))


Handler = Callable[[Asked], Awaitable[dict[str, Any]]]
