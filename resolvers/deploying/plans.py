"""What deployments were told last, read for many of them at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graph.ontology import DEPLOYMENT, DEPLOYMENT_REVISION, MODEL_VERSION, SERVING_TARGET
from graph.port import Hop, Node, Order, Paging, Snapshot
from resolvers.deploying.sources import Share
from resolvers.reading import all_links
from serving.port import Desired, Served
from storage.port import Storage

PROGRESS_SECONDS: Final = 600
"""How long a rollout may take, unless the deployment says otherwise."""

ON_TARGET: Final = Hop("DEPLOYED_TO", "IN", DEPLOYMENT.name)
TARGET: Final = Hop("DEPLOYED_TO", "OUT", SERVING_TARGET.name)
REVISIONS: Final = Hop("REVISION_OF", "IN", DEPLOYMENT_REVISION.name)
SPECIFIED: Final = Hop("SPECIFIES", "OUT", MODEL_VERSION.name)
SERVED: Final = Hop("SERVES", "OUT", MODEL_VERSION.name)
LATEST: Final = Order("number", descending=True)

_UNUSABLE: Final = re.compile(r"[^a-z0-9-]+")
_LONGEST: Final = 63
_DIGITS: Final = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment, the revision that it was told last, and the versions that this names.

    `serving` are the versions that the graph says are served now.
    """

    deployment: Node
    revision: Node
    versions: Sequence[Share]
    serving: Sequence[Share]

    @property
    def name(self) -> str:
        """What its platform knows it by."""
        return str(self.deployment.props["platformName"])

    @property
    def number(self) -> int:
        """The number of the revision."""
        return int(self.revision.props["number"])

    @property
    def progress(self) -> int:
        """Microseconds that a rollout may take."""
        return int(self.deployment.props.get("progressSeconds", PROGRESS_SECONDS)) * 1_000_000

    @property
    def reports(self) -> bool:
        """Whether what a platform serves otherwise is only reported, and not repaired."""
        return self.deployment.props.get("driftPolicy") == "REPORT"

    @property
    def condemned(self) -> str:
        """Why a mark forbids that it is served after all; empty where none does, or where it was served before."""
        return str(self.revision.props.get("condemned", ""))

    @property
    def withheld(self) -> str:
        """Why it shall not be served after all; empty where it may, or where it was before that came up."""
        retired = [each.version.name for each in self.versions if each.version.props.get("retiredAt") is not None]
        if retired and not self.condemned and self.revision.props.get("state") != "VERIFIED":
            return f"version {', '.join(retired)} was retired meanwhile"
        return self.condemned

    def desired(self, storage: Storage, base: str) -> Desired:
        """As its platform is told; `base` is this server's address."""
        served = (
            Served(each.number, each.weight or 0.0, each.source(storage, base), each.version.id)
            for each in self.versions
        )
        props = self.revision.props
        return Desired(self.name, self.number, tuple(served), props.get("resources", {}), props.get("settings", {}))


async def plans_of(snapshot: Snapshot, deployments: Sequence[Node]) -> list[Plan]:
    """The plans of these, in three statements; those without a revision are left out."""
    if not deployments:
        return []
    ids = [node.id for node in deployments]
    latest = await snapshot.neighbours(ids, REVISIONS, order=LATEST, paging=Paging(first=1))
    revisions = {id: page.items[0].node for id, page in latest.items() if page.items}
    specified = await all_links(snapshot, [node.id for node in revisions.values()], SPECIFIED)
    serving = await all_links(snapshot, ids, SERVED)
    return [
        Plan(
            node,
            revisions[node.id],
            [Share.of(link) for link in specified.get(revisions[node.id].id, ())],
            [Share.of(link) for link in serving.get(node.id, ())],
        )
        for node in deployments
        if node.id in revisions
    ]


def platform_name(workspace: str, name: str) -> str:
    """What a platform knows a deployment by: 1 to 63 small letters, digits and hyphens, a letter first.

    It is readable, and told from others by a part of a digest.
    """
    readable = _UNUSABLE.sub("-", f"{workspace}-{name}".lower()).strip("-")
    # Long enough that nobody finds another name with the same one.
    digest = hashlib.sha256(f"{workspace}/{name}".encode()).hexdigest()[:_DIGITS]
    readable = readable if readable[:1].isalpha() else f"d-{readable}"
    return f"{readable[: _LONGEST - _DIGITS - 1].rstrip('-')}-{digest}"
