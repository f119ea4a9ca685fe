"""What things of Lineal are called in events of OpenLineage: in those that go out, and in those that are exported."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from graph.ontology import DEFAULT_WORKSPACE, DEPLOYMENT, MODEL_VERSION, RUN
from graph.port import Edge, Node

_FOLDERS: Final = {MODEL_VERSION.name: "models/", DEPLOYMENT.name: "deployments/", RUN.name: "runs/"}
"""What stands before the name of what is no data set, by its kind."""


def place(namespace: str, workspace: str, name: str) -> dict[str, str]:
    """The namespace and the name of something; what came with OpenLineage has the ones that it came with.

    `namespace` is that of what is registered here.
    """
    given, sharp, own = name.partition("#")
    if sharp and own:
        return {"namespace": unquote(given), "name": own}
    suffix = "" if workspace == DEFAULT_WORKSPACE else f"/{workspace}"
    return {"namespace": namespace + suffix, "name": name}


def named(kind: str, name: str) -> str:
    """The name of something of a kind: a version goes by what it is a version of."""
    return _FOLDERS.get(kind, "") + name


def job_name(run: Node, homes: Iterable[Node]) -> str:
    """The name of a run's job: its pipeline, or else its experiment, or else itself. `homes` are all that it is of."""
    for kind in ("Pipeline", "Experiment"):
        if (home := next((node for node in homes if node.kind == kind), None)) is not None:
            return home.name
    return named(RUN.name, run.name)


def run_id(run: Node) -> str:
    """The id that a run goes by: its name where that is one."""
    try:
        return str(uuid.UUID(run.name))
    except ValueError:
        return derived_id(run.id)


def serving_id(deployment: str, serves: Iterable[Edge]) -> str:
    """The id of the run that stands for a deployment's serving what it serves now: other than before, another run."""
    return derived_id(" ".join([deployment, *sorted(f"{edge.target}@{edge.since}" for edge in serves)]))


def derived_id(text: str) -> str:
    """The id that a run goes by which stands for something else."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"lineal {text}"))
