"""What a transaction may see and change, checked where every write passes: at the locks, and at what is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graph import ontology
from graph.port import EVERY_RIGHT, Edge, NewNode, Node, Rights, View
from graph.primitives import Primitives
from graph.recording import Stored
from lineal.errors import AlreadyExists, Forbidden, InvalidArgument, NotFound

HIDDEN = "something that you may not see"
"""What a message says in the place of a node that does not show."""


class Guarding(Primitives):
    """Knows the nodes that a transaction has met, and whether it may write them.

    What the view hides is refused as if it were absent, by the same statements: the stores' primitives see
    everything, and the verdict is given here.
    """

    def __init__(self) -> None:
        self.rights = EVERY_RIGHT
        self._kinds: dict[str, str] = {}
        self._homes: dict[str, str] = {}
        self._born: set[str] = set()
        self._workspaces: set[str] = {ontology.DEFAULT_WORKSPACE, ontology.GLOBAL}

    def guard(self, view: View, rights: Rights) -> None:
        self.show(view)
        self.rights = rights

    @property
    def _guarded(self) -> bool:
        return not (self.view.whole and self.rights.whole)

    async def lock(self, ids: Sequence[str]) -> dict[str, Node]:
        found = await self._locked(ids)
        for id in ids:
            if id not in found or not (id in self._born or self.view.shows(found[id])):
                raise NotFound(f"there is no node {id!r}", id=id)
        for node in found.values():
            self._learn(node)
            self._permit(node.id)
        return found

    def _learn(self, node: Node) -> None:
        """Keep what is known of a node that shows, or was made here."""
        self._kinds[node.id], self._homes[node.id] = node.kind, node.workspace

    async def _learn_kinds(self, ids: Iterable[str]) -> None:
        """Raises NotFound: one of these nodes is not there."""
        unknown = list(dict.fromkeys(id for id in ids if id not in self._kinds))
        if not unknown:
            return
        found = await self.nodes(unknown)
        for id in unknown:
            if id not in found:
                raise NotFound(f"there is no node {id!r}", id=id)
            self._learn(found[id])

    def _permit(self, id: str) -> None:
        """Raises Forbidden: the node, which is known, is not among the rights. What was made here is."""
        if id not in self._born:
            self._permit_kind(self._kinds[id])
            self._permit_workspace(self._homes[id])

    def _permit_kind(self, kind: str) -> None:
        if self.rights.kinds is not None and kind not in self.rights.kinds:
            raise Forbidden(f"a {kind} is not among what you may write", kind=kind)

    def _permit_workspace(self, name: str) -> None:
        rights = self.rights
        if rights.workspaces is None or name in rights.workspaces:
            return
        msg = f"workspace {name!r}: needs the role {rights.role} there"
        if name == ontology.GLOBAL:
            msg = "what belongs to no workspace is written by no role in one"
        raise Forbidden(msg, role=rights.role, workspace=name)

    def _permit_everything(self) -> None:
        """Raises Forbidden: not everything is among the rights."""
        if self._guarded:
            raise Forbidden("an import needs the right to write everything")

    # What is made ─────────────────────────────────────────────────────────────────────────────────

    async def _check_workspaces(self, nodes: Sequence[NewNode]) -> None:
        """Raises NotFound: there is no such workspace, or neither it nor the container that is named shows."""
        view = self.view
        for new in nodes:
            hidden = view.workspaces is not None and new.workspace not in {ontology.GLOBAL, *view.workspaces}
            if hidden and new.container not in view.shared:
                raise _no_workspace(new.workspace)
        if not (unknown := sorted({n.workspace for n in nodes} - self._workspaces)):
            return
        found = await self._holders([ontology.key_of(ontology.WORKSPACE, "", None, name) for name in unknown])
        for name in unknown:
            if ontology.key_of(ontology.WORKSPACE, "", None, name) not in found:
                raise _no_workspace(name)
        self._workspaces |= set(unknown)

    async def _refuse_former(self, nodes: Sequence[Node]) -> None:
        """Raises AlreadyExists: one of these, which are about to be made, is a workspace, and has the name of another.

        Views, chains of audit and places in storage go by the name: it would have all that is left of the other one.
        """
        names = [node.name for node in nodes if node.kind == ontology.WORKSPACE.name]
        for name in sorted(await self._former_workspaces(names)) if names else ():
            msg = f"name: there was a Workspace named {name!r}, whose history stays under that name; choose another one"
            raise AlreadyExists(msg, field="name")

    def _permit_new(self, nodes: Sequence[Node]) -> None:
        """Raises Forbidden: one of these, which are about to be made, would not be among the rights."""
        if not self._guarded:
            return
        homes = {node.id: node.workspace for node in nodes}
        for node in nodes:
            self._permit_kind(node.kind)
            if node.kind != ontology.WORKSPACE.name:
                self._permit_workspace(node.workspace)
            if (homes.get(node.container) or self._homes.get(node.container, "")) != node.workspace:
                msg = f"workspace: a part belongs to the workspace of its container, not to {node.workspace!r}"
                raise InvalidArgument(msg, field="workspace")

    def _note_born(self, nodes: Sequence[Node]) -> None:
        """These were made. Whoever makes a workspace sees it and writes in it until the transaction ends."""
        for node in nodes:
            self._born.add(node.id)
            self._learn(node)
        made = {node.workspace for node in nodes if node.kind == ontology.WORKSPACE.name}
        view, rights = self.view, self.rights
        if made and view.workspaces is not None:
            self.show(replace(view, workspaces=view.workspaces | made))
        if made and rights.workspaces is not None:
            self.rights = replace(rights, workspaces=rights.workspaces | made)

    # What messages may name ───────────────────────────────────────────────────────────────────────

    async def _shown(self, ids: Iterable[str]) -> set[str]:
        """Those of these nodes that a message may name."""
        wanted = set(ids)
        own = wanted if self.view.whole else wanted & self._born
        return own if own == wanted else own | await self.seen(sorted(wanted - own))

    async def _taken(self, item: Stored, holder: str) -> AlreadyExists:
        """Another node has the key."""
        node = item.node
        place = "" if ontology.NODE_KINDS[node.kind].is_global else f" in workspace {node.workspace!r}"
        within = f" of {node.container}" if ontology.NODE_KINDS[node.kind].within else place
        msg = f"name: there is a {node.kind} named {node.name!r}{within} already"
        if holder not in await self._shown([holder]):
            return AlreadyExists(msg, field="name")
        return AlreadyExists(f"{msg}: {holder}", field="name", id=holder)

    async def _occupied(self, edge: Edge, holder: Edge) -> AlreadyExists:
        """Another edge has the place of an exclusive one."""
        shown = await self._shown([holder.source, holder.target])
        source, target = (id if id in shown else HIDDEN for id in (holder.source, holder.target))
        what = f"{edge.kind} {edge.discriminator!r}" if edge.discriminator else edge.kind
        msg = f"{what} of {edge.source} is taken: it leads from {source} to {target}; end that first"
        return AlreadyExists(msg, **{end: id for end, id in (("source", source), ("target", target)) if id in shown})

    async def _writable(self, edges: Sequence[Edge]) -> Sequence[Edge]:
        """Those of these edges whose sources show; what they lead to need not.

        Raises Forbidden: one of them may not be written.
        """
        if not self._guarded:
            return edges
        if unknown := sorted({edge.source for edge in edges} - self._homes.keys()):
            for node in (await self.nodes(unknown)).values():
                self._learn(node)
        shown = [edge for edge in edges if edge.source in self._homes]
        for edge in shown:
            self._permit(edge.source)
        return shown


def _no_workspace(name: str) -> NotFound:
    return NotFound(f"workspace: there is no workspace {name!r}", field="workspace")
