"""Rollouts of what came of data that is marked meanwhile: where a gate wants clean data, they shall not go live.

Here it is only said so, with the revision; the reconciler then lets the rollout fail, and goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graph.port import Hop, Node, Transaction, Update, batched
from resolvers.lifecycle import conditions
from resolvers.lifecycle.conditions import CleanData
from resolvers.lifecycle.standing import gates_of
from resolvers.lifecycle.targets import Target
from resolvers.lifecycle.told import Told, verified
from resolvers.reading import all_links

_LIVE: Final = "VERIFIED"
_ENVIRONMENT: Final = Hop("IN_ENVIRONMENT", "OUT", "Environment")
_SPECIFIED: Final = Hop("SPECIFIES", "OUT", "ModelVersion")
_BATCH: Final = 500


async def condemn(tx: Transaction, type: str, told: Sequence[Told]) -> None:
    """Say of what was told to go live, and is not yet, that it shall not, where a gate wants data without such marks.

    What was live before with as large a share is let be: a mark ends nothing that is served. The transaction must see
    everything, and may write everything.
    """
    guarded = dict[tuple[str, ...], bool]()
    for some in batched([each for each in told if each.revision.props.get("state") != _LIVE], _BATCH):
        # What comes to be served at this very moment is seen by whoever is second.
        now = await tx.lock(sorted({each.revision.id for each in some}))
        places = await all_links(tx, sorted({each.deployment.id for each in some}), _ENVIRONMENT)
        versions = await tx.nodes(sorted({each.version for each in some}))
        live = await _live(tx, [each.deployment for each in some])
        condemned = dict[str, list[str]]()
        for each in some:
            version, before = versions[each.version], live.get((each.deployment.id, each.version), -1.0)
            if now[each.revision.id].props.get("state") == _LIVE or (each.weight or 0.0) <= before:
                continue
            for place in places.get(each.deployment.id, ()):
                key = (place.node.name, version.workspace, each.deployment.workspace)
                if key not in guarded:
                    guarded[key] = await _wants_clean(tx, type, *key)
                if guarded[key]:
                    condemned.setdefault(each.revision.id, []).append(version.name)
        await tx.update([Update(id, {"condemned": _why(names, type)}) for id, names in condemned.items()])


def _why(versions: Sequence[str], type: str) -> str:
    return f"version {', '.join(versions)} came from data that was marked {type} meanwhile"


async def _live(tx: Transaction, deployments: Sequence[Node]) -> dict[tuple[str, str], float]:
    """The share of each version in what was last seen to be served as told, by the ids of deployment and version."""
    places = {node.id: place for node in deployments if (place := verified(node)) is not None}
    found = await tx.resolve(list(places.values()))
    revisions = {revision.id: revision.container for revision in found if revision is not None}
    links = await all_links(tx, sorted(revisions), _SPECIFIED) if revisions else {}
    return {
        (revisions[id], link.node.id): float(link.edge.props.get("weight", 1.0))
        for id, each in links.items()
        for link in each
    }


async def _wants_clean(tx: Transaction, type: str, environment: str, *workspaces: str) -> bool:
    """Whether a gate before an environment, of one of these workspaces, wants data without marks of this type."""
    gates = await gates_of(tx, Target("environment", environment), *workspaces)
    asked = [each for gate in gates for each in conditions.read(gate.props["conditions"]["conditions"])]
    return any(isinstance(each, CleanData) and type in each.marks for each in asked)
