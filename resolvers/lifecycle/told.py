"""What managed deployments were told last to serve: they will, if they do not yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from graph.address import Address
from graph.ontology import DEPLOYMENT_REVISION
from graph.port import Hop, Node, Snapshot, batched
from resolvers.reading import all_links

_BATCH: Final = 500
_SPECIFIED_BY: Final = Hop("SPECIFIES", "IN", "DeploymentRevision")


class Told(NamedTuple):
    """A deployment that is not stopped, the revision that it was told last, and a version with its share in that."""

    deployment: Node
    revision: Node
    version: str
    weight: float | None


def verified(deployment: Node) -> Address | None:
    """Where the revision of a deployment is that was last seen to be served as told; None where none ever was."""
    number = deployment.props.get("verifiedRevision")
    if number is None:
        return None
    return Address(DEPLOYMENT_REVISION.name, deployment.workspace, deployment.name, str(number))


async def told_to_serve(snapshot: Snapshot, versions: Collection[str]) -> list[Told]:
    """The managed deployments that were told last to serve any of these versions, by their ids, batch by batch."""
    found: list[Told] = []
    for some in batched(sorted(versions), _BATCH):
        links = [(id, link) for id, each in (await all_links(snapshot, some, _SPECIFIED_BY)).items() for link in each]
        deployments = dict[str, Node]()
        for homes in batched(sorted({link.node.container for _, link in links}), _BATCH):
            deployments |= await snapshot.nodes(homes)
        found += [
            Told(deployment, link.node, id, link.edge.props.get("weight"))
            for id, link in links
            if (deployment := deployments.get(link.node.container)) is not None
            and deployment.props.get("managed")
            and deployment.props.get("phase") != "STOPPED"
            and deployment.props.get("desiredRevision") == link.node.props["number"]
        ]
    return found
