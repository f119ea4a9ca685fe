"""The serving targets that this process can act on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from lineal.errors import InvalidArgument, PreconditionFailed
from serving import targets
from serving.port import Adapter
from serving.targets import TargetConfig


class Targets:
    """Targets as they are configured, and their adapters, each made when it is first needed."""

    def __init__(self, configs: Iterable[TargetConfig] = ()) -> None:
        self._configs = {config.name: config for config in configs}
        self._adapters: dict[str, Adapter] = {}
        self._changed: dict[str, asyncio.Event] = {name: asyncio.Event() for name in self._configs}

    @property
    def names(self) -> list[str]:
        """Their names."""
        return list(self._configs)

    def config(self, name: str, workspace: str, environment: str | None) -> TargetConfig:
        """A target that a workspace may deploy to for an environment.

        Raises InvalidArgument: there is none of this name for the workspace. PreconditionFailed: it is not for that
        environment.
        """
        config = self._configs.get(name)
        if config is None or not config.serves(workspace, environment or ""):
            usable = sorted(n for n, c in self._configs.items() if c.serves(workspace, environment or ""))
            if config is not None and config.workspaces is None:
                msg = (
                    f"target: {name!r} is not for the environment {environment!r}; for that there are {_listed(usable)}"
                )
                raise PreconditionFailed(msg, field="target")
            msg = (
                f"target: no target {name!r} is configured for the workspace {workspace!r}; there are {_listed(usable)}"
            )
            raise InvalidArgument(msg, field="target")
        return config

    def adapter(self, name: str) -> Adapter:
        """The adapter of a target. Raises InvalidArgument."""
        if name not in self._adapters:
            self._adapters[name] = targets.build(self._configs[name])
        return self._adapters[name]

    def changed(self, name: str) -> asyncio.Event:
        """What is set when something may have to be done on a target at once."""
        return self._changed[name]

    def wake(self, name: str) -> None:
        """Say that something may have to be done."""
        if name in self._changed:
            self._changed[name].set()

    def acts_on(self, name: str, workspace: str) -> bool:
        """Whether there is a target of this name, and deployments of a workspace may be on it."""
        config = self._configs.get(name)
        return config is not None and (config.workspaces is None or workspace in config.workspaces)

    def about(self, name: str) -> dict[str, str]:
        """What the graph says of a target, as it is configured."""
        config = self._configs[name]
        return {"platform": config.platform, "uri": config.url}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of all connections."""
        adapters, self._adapters = self._adapters, {}
        for adapter in adapters.values():
            await adapter.close()


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
