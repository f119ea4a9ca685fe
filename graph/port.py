"""The store port: the verbs that every store has, and what goes in and comes out.

Reads happen in a Snapshot: one moment, one connection, one statement at a time. Writes happen in a
Transaction, which is a Snapshot that can change things. Every verb takes many ids at once; there is
none for a single node. Times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeVar

from graph.address import Address
from lineal.errors import Conflict, PreconditionFailed, Unavailable

T = TypeVar("T")

MAX_PAGE: Final = 500
MAX_DEPTH: Final = 200
MAX_ROOTS: Final = 100
MAX_LINEAGE: Final = 20_000
MAX_WALK: Final = 200_000
CHUNK: Final = 1_000
"""Points of a metric in one stored chunk."""
WRITES: Final = "writes"
"""While somebody holds this lease nobody writes to a store that `holds_writes`."""
MOVED: Final = "moved"
"""As WRITES, but for good: the holder is where the store is now."""
RETRY_SECONDS: Final = 10
"""After how many seconds a write may be tried again that was held."""
MAX_ENUMERATED: Final = 1_000
"""Paths in one answer."""
NO_DROPS: Final[Mapping[str, Sequence[int] | None]] = MappingProxyType({})


# ── What is in the graph ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it was read.

    `visible` is false for one that the view hides: then only `id` and `kind` may be believed, and
    the rest is empty. `props` holds the kind's own properties by their ontology names; absent ones
    are missing, never None.
    """

    id: str
    kind: str
    workspace: str = ""
    container: str = ""
    name: str = ""
    created_at: int = 0
    created_by: str = ""
    updated_at: int = 0
    revision: int = 0
    deleted_at: int | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    visible: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge as it was read. `until` is None while it is open."""

    kind: str
    source: str
    target: str
    discriminator: str
    since: int
    until: int | None = None
    props: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is kept of a metric besides its series. Values may be NaN or infinite.

    `value` is the last one: that with the highest (step, time), the latest recorded among equals.
    `minimum` and `maximum` leave NaN out, and are NaN when every value was.
    """

    name: str
    value: float
    minimum: float
    maximum: float
    step: int
    time: int
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """One recorded value of a metric."""

    name: str
    value: float
    step: int
    time: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a write came from, beside who did it: the OAuth client, the token's id, the network address."""

    client: str = ""
    token: str = ""
    address: str = ""


NOWHERE: Final = Origin()
"""The origin of what Lineal does by itself, or what is done with its own commands."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one write did, or what was refused or read: the material of audit, events and history.

    `data` has `updated` ({id: {"before": {…}, "after": {…}}}), `created` and `deleted` ([[id, kind, name], …]),
    `linked` and `unlinked` ([[source, kind, target, discriminator], …]), `noted` (what was refused or read, see
    Note); empty parts are left out. `workspaces` are those whose chains it is an entry of, by name, "" for what
    belongs to none. `seq` is None until the change is sequenced.
    """

    id: str
    at: int
    by: str
    action: str
    request: str
    data: Mapping[str, Any]
    origin: Origin = NOWHERE
    workspaces: tuple[str, ...] = ()
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A change in the audit chain of one workspace.

    `number` counts from 1 in each chain. `hash` covers the hash before it in the chain and all of the entry: see
    graph.recording.entry_hash.
    """

    workspace: str
    number: int
    hash: str
    change: Change


@dataclass(frozen=True, slots=True)
class Note:
    """Something that changed nothing and is audited all the same: a refusal, a token that failed, an admin's read.

    `data` says what it was about; `count` how many times it happened up to now, one entry for all.
    """

    by: str
    action: str
    data: Mapping[str, Any]
    workspaces: tuple[str, ...] = ("",)
    request: str = ""
    origin: Origin = NOWHERE
    count: int = 1


@dataclass(frozen=True, slots=True)
class Head:
    """How far the chain of a workspace goes: its last entry. `number` 0 is that of a chain without any."""

    workspace: str
    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of how far every chain went at a time.

    `body` is canonical JSON with `at`, `heads` and the SHA-256 of the checkpoint before; `signature` is Ed25519
    (RFC 8032) over it, `key` the JWK thumbprint (RFC 7638) of the key that made it.
    """

    number: int
    body: str
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries of the audit: all that is set must hold.

    `workspaces` are chains by name (None: all). `subject` is a node's id; changes that only address the node (a
    mention, a grant) are about it, too. `since` is inclusive, `until` is not.
    """

    workspaces: frozenset[str] | None = None
    by: str | None = None
    action: str | None = None
    subject: str | None = None
    request: str | None = None
    since: int | None = None
    until: int | None = None
    noted: bool | None = None
    """Only those that changed nothing (true), or only those that did (false)."""


# ── What is asked ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class View:
    """Who looks: which nodes a snapshot shows.

    A node is visible when its kind is in the view and its workspace or its container is, or when it belongs
    to no workspace (principals, teams). `workspaces` and `kinds` of None mean all. Walks go on through what is
    hidden, but stop before hidden nodes of `opaque` workspaces, and are then not complete.
    """

    workspaces: frozenset[str] | None = None
    shared: frozenset[str] = frozenset()
    kinds: frozenset[str] | None = None
    opaque: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether nothing is hidden."""
        return self.workspaces is None and self.kinds is None

    def shows(self, node: Node) -> bool:
        """Whether the node is visible."""
        if self.kinds is not None and node.kind not in self.kinds:
            return False
        return (
            self.workspaces is None
            or not node.workspace
            or node.workspace in self.workspaces
            or node.container in self.shared
        )


EVERYTHING: Final = View()
NOTHING: Final = View(workspaces=frozenset(), kinds=frozenset())


@dataclass(frozen=True, slots=True)
class Access:
    """What the graph says of a principal.

    `principal` is its node, or None where there is none. `roles` are (workspace, role) of its own grants and of
    those of its teams; `visibility` is of every workspace that says one; `opaque` are the workspaces that walks
    of strangers stop before; `shared` are (container, workspace) of everything that is shared.
    """

    principal: Node | None = None
    roles: Sequence[tuple[str, str]] = ()
    visibility: Mapping[str, str] = field(default_factory=dict)
    opaque: frozenset[str] = frozenset()
    shared: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Rights:
    """What a transaction may change: nodes of these workspaces and kinds (None: all).

    `role` is the one that is needed there, for refusals to name.
    """

    workspaces: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    role: str = ""
    scopes: frozenset[str] | None = None
    """What whoever writes holds, for rules that a store does not know (None: every scope)."""

    @property
    def whole(self) -> bool:
        """Whether everything may be changed."""
        return self.workspaces is None and self.kinds is None

    def holds(self, scope: str) -> bool:
        """Whether whoever writes holds a scope."""
        return self.scopes is None or scope in self.scopes


EVERY_RIGHT: Final = Rights()


class Direction(Enum):
    """Along the arrows is upstream, against them downstream."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


Op = Literal["eq", "in", "contains", "prefix", "gt", "gte", "lt", "lte", "has", "like", "ilike"]


@dataclass(frozen=True, slots=True)
class Prop:
    """A property compared with a value.

    `name` is one of the kind's properties, or name, createdAt, updatedAt, createdBy, workspace, container, id.
    `contains` and `prefix` compare a name folded, other text as it is. `has` asks whether a list has
    the value. `like` takes a pattern of SQL, with `%` for any text and `_` for any character; `ilike` does not tell
    apart A to Z and a to z. `eq` None means absent. What is absent matches nothing else.
    """

    name: str
    op: Op
    value: Any


@dataclass(frozen=True, slots=True)
class Row:
    """A tag, parameter or metric of that name exists, and its value compares so (op None: any value).

    Tags and parameters are text; `eq`, `in`, `contains`, `prefix`, `like`, `ilike` apply. For metrics `field` says
    which figure; NaN matches nothing, infinities compare as numbers.
    """

    table: Literal["tags", "params", "metrics"]
    name: str
    op: Op | None = None
    value: Any = None
    field: Literal["value", "minimum", "maximum"] = "value"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step over live edges of a kind: OUT along the arrows, IN against them."""

    edge: str
    direction: Literal["OUT", "IN"]
    kind: str | None = None
    """Only neighbours of this kind."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A visible neighbour over this hop exists, that matches `where`."""

    hop: Hop
    discriminator: str | None = None
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these holds; true when there are none."""

    of: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - Any is taken by typing
    """At least one of these holds; false when there are none."""

    of: tuple[Where, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition; what is absent counts as not holding."""

    of: Where


Where = Prop | Row | Linked | All | Any_ | Not


@dataclass(frozen=True, slots=True)
class Order:
    """By a property of the kind's `orders` (name means folded), or by a metric's last value.

    `containerName` is the name of what a part belongs to. Ties go by the orders of `then`, of which the
    first ones count most, then by id, upwards; what is absent or NaN comes last in both directions.
    """

    by: str = "name"
    descending: bool = False
    metric: str | None = None
    then: tuple[Order, ...] = ()
    """For `find` alone."""

    @property
    def keys(self) -> tuple[Order, ...]:
        """All that is compared, in turn."""
        return (self, *self.then)


Cursor = tuple[Any, ...]
"""Where an item stands in its order: (value or None, …, id, …); opaque to everyone but the store."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list: `first` items after a cursor, and whether to count them all."""

    first: int = 50
    after: Cursor | None = None
    count: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list. `cursors` has one for each item; `total` is None unless counting was asked for."""

    items: Sequence[T] = ()
    cursors: Sequence[Cursor] = ()
    has_next: bool = False
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An edge with the node at its other end."""

    edge: Edge
    node: Node


@dataclass(frozen=True, slots=True)
class Walk:
    """How to walk through lineage.

    `edges` are the kinds walked. `kinds` (None: all) filters what is returned, never what is walked.
    `limit` bounds returned nodes, `walk_limit` walked ones. `as_of` looks at the edges of an earlier time.
    """

    direction: Direction
    depth: int = 20
    edges: tuple[str, ...] = ()
    kinds: frozenset[str] | None = None
    limit: int = 1_000
    walk_limit: int = MAX_WALK
    as_of: int | None = None


@dataclass(frozen=True, slots=True)
class Closure:
    """What a walk found.

    Let S be all that the roots (containers replaced by their parts) reach within `depth`, in order of
    (distance, id), cut after `walk_limit` nodes. `nodes` are the first `limit` of S that have an asked
    kind. The *walked* nodes are S up to and including the last of `nodes` when the limit cut something
    off, else all of S. `edges` are all live edges of the walked kinds between two of `nodes`, by
    (source, kind, target, discriminator, since). `frontier` are the walked nodes with a live edge in
    the walk's direction to a node that was not walked, and the roots that were not walked, by id.
    `counts` are the walked nodes by kind.
    """

    nodes: Sequence[tuple[Node, int]]
    edges: Sequence[Edge]
    frontier: Sequence[str]
    counts: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether nothing was cut off: exactly when there is no frontier."""
        return not self.frontier

    @property
    def passed(self) -> int:
        """How many nodes were walked and are not returned."""
        return sum(self.counts.values()) - len(self.nodes)


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths between two ends, by (length, ids). `count` is how many there are in all, exactly.

    `nodes` has every node of `paths`; each path is a sequence of ids; `edges` has, for a pair of ids
    that follow each other in some path, all live edges between them. When the walk was cut off,
    `complete` is false and `count` None. `walked` is how many nodes it came by.
    """

    paths: Sequence[Sequence[str]]
    nodes: Mapping[str, Node]
    edges: Mapping[tuple[str, str], Sequence[Edge]]
    count: int | None
    complete: bool
    walked: int


# ── What is written ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Birth:
    """When and by whom something was made that is told by an importer, and when it was changed last."""

    at: int
    by: str
    updated: int


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node to create. Without an id it gets one; `container` of None means itself.

    `birth` is for whoever may write everything; all else is made now, by whoever writes.
    """

    kind: str
    name: str
    workspace: str
    container: str | None = None
    props: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    birth: Birth | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Properties to set (None removes one), and perhaps another name.

    With `revision`, only if the node still has it. With `touch` it counts as updated now, whatever is set.
    """

    id: str
    props: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    revision: int | None = None
    touch: bool = False


@dataclass(frozen=True, slots=True)
class NewEdge:
    """An edge to open. `since` is now unless given; with `until` given it is recorded as ended."""

    kind: str
    source: str
    target: str
    discriminator: str = ""
    props: Mapping[str, Any] = field(default_factory=dict)
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeMatch:
    """Live edges to end: of this kind and source, and of this target and discriminator where given."""

    kind: str
    source: str | None = None
    target: str | None = None
    discriminator: str | None = None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node with all that it owns but its series: the unit of export and import."""

    node: Node
    former: Sequence[str]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Up to 1,000 points of a metric, in the order of recording: (value, step, time)."""

    owner: str
    name: str
    number: int
    points: Sequence[tuple[float, int, int]]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an idempotency key did: the hash of its input, and the ids that it made."""

    hash: str
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What background work keeps to go on from: how far it came, what it still has to do.

    It is no node: no Change tells of it, no export has it, no view shows it. `owner` and `number` (64 bits) name it,
    `state` is a word to look it up by, `data` is JSON.
    """

    owner: str
    number: int
    state: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key: who used it, the hash of the input, the ids that it made, and when (microseconds)."""

    by: str
    key: str
    hash: str
    ids: Sequence[str]
    at: int


@dataclass(frozen=True, slots=True)
class Aside:
    """What a store has beside its graph, which an export leaves behind and a backup has too.

    `heads` and `anchors` are where chains end and begin; `entries` come with their changes.
    """

    entries: Sequence[Entry] = ()
    heads: Sequence[Head] = ()
    anchors: Sequence[Head] = ()
    checkpoints: Sequence[Checkpoint] = ()
    kept: Sequence[Kept] = ()
    keys: Sequence[Key] = ()


@dataclass(frozen=True, slots=True)
class Strays:
    """What does not belong into a store: `counts` by what it is can be dropped, `damage` cannot be mended."""

    counts: Mapping[str, int]
    damage: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on background work. `epoch` grows with each new holder, and fences the old one off."""

    name: str
    holder: str
    epoch: int
    until: int


def held(holder: str) -> Unavailable:
    """What whoever writes gets while somebody holds all writes."""
    msg = f"the store is read-only: it is being moved, or was moved, to {holder}; reads go on"
    return Unavailable(msg, retry=True, retryAfter=RETRY_SECONDS)


def lost(lease: Lease) -> Conflict:
    """What whoever writes under a lease gets that is not theirs any more."""
    return Conflict(f"the lease {lease.name} of {lease.holder} (epoch {lease.epoch}) does not hold any more")


# ── The verbs ─────────────────────────────────────────────────────────────────────────────────────


class Snapshot(ABC):
    """The graph at one moment, as one view sees it.

    Nodes and edges born after the moment are hidden, edges ended after it still show, and a node's
    properties are read at most once. Deleted nodes do not show unless an earlier time is asked for.
    Calls queue: a snapshot owns one connection. `statements` counts what was sent to the store.
    """

    statements: int
    view: View
    """What shows."""

    @abstractmethod
    def show(self, view: View) -> None:
        """See as this view from now on. The moment stays."""

    @abstractmethod
    def seeing(self, view: View) -> Snapshot:
        """The same moment on the same connection, as another view sees it; this one sees as before."""

    async def state(self) -> Hashable | None:
        """What stands for all that the store has at this moment: it is another one as soon as anything was written.

        None: the store cannot tell.
        """
        return None

    async def together(self, reads: Callable[[Self], Awaitable[T]], *, quick: bool = False) -> T:  # noqa: ARG002
        """What these reads come to. They await nothing but this snapshot: a store that is in this process, where
        each read costs little but the way to it, carries all of them out in one go.

        `quick` says that they are a few looks by key, which are not worth the way to another thread. Where the store
        finds that they are more, it begins them again in one.
        """
        return await reads(self)

    @abstractmethod
    async def access(self, principal: str, teams: Sequence[str] = ()) -> Access:
        """What the graph says of the principal of this name, and of teams by name that it is in besides.

        One statement. The view does not apply.
        """

    async def seen(self, ids: Sequence[str]) -> set[str]:
        """Which of these nodes the view shows, deleted ones too."""
        return set(await self.workspaces(ids))

    @abstractmethod
    async def workspaces(self, ids: Sequence[str]) -> dict[str, str]:
        """The workspaces of those of these nodes that the view shows, deleted ones too."""

    @abstractmethod
    async def nodes(self, ids: Sequence[str]) -> dict[str, Node]:
        """The visible nodes of these ids; the others are missing from the answer."""

    @abstractmethod
    async def resolve(self, addresses: Sequence[Address], *, as_of: int | None = None) -> list[Node | None]:
        """For each address its visible node, or None. A key comes before a former key.

        With `as_of`, aliases are those of that time, and a node shows if it existed then.
        """

    @abstractmethod
    async def find(
        self, kind: str, where: Where | None = None, *, order: Order = Order(), paging: Paging = Paging()
    ) -> Page[Node]:
        """Visible nodes of a kind that match, in order."""

    @abstractmethod
    async def neighbours(
        self,
        ids: Sequence[str],
        hop: Hop,
        where: Where | None = None,
        *,
        order: Order = Order(),
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        """For each id, the live edges of the hop with visible, matching nodes at their other end, a page for each.

        In order, then by (node id, discriminator).
        """

    @abstractmethod
    async def history(
        self,
        ids: Sequence[str],
        hop: Hop,
        *,
        discriminator: str | None = None,
        at: int | None = None,
        paging: Paging = Paging(),
    ) -> dict[str, Page[Link]]:
        """For each id, all edges of the hop, ended ones too: the latest first, then by (discriminator, node id).

        With `at`, only those that were true at that time.
        """

    @abstractmethod
    async def rows(
        self, ids: Sequence[str], table: Literal["tags", "params"], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, str]]:
        """The tags or parameters of each owner, by name in code-point order; owners without any are missing."""

    @abstractmethod
    async def metrics(self, ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, list[Metric]]:
        """The metrics of each owner, by name in code-point order; owners without any are missing."""

    @abstractmethod
    async def points(
        self, ids: Sequence[str], names: Sequence[str] | None = None, *, after: int = -1, chunks: int = 10
    ) -> list[Chunk]:
        """Chunks by (owner, name, number): of each series the first `chunks` after number `after`."""

    async def closure(self, roots: Sequence[str], walk: Walk) -> Closure:
        """All that the roots came from, or that came of them. See Closure."""
        (found,) = await self.closures([roots], walk)
        return found

    @abstractmethod
    async def closures(self, groups: Sequence[Sequence[str]], walk: Walk) -> list[Closure]:
        """For each group of roots its closure, apart from the others.

        A root Model, Dataset, Experiment or Pipeline stands for its parts. Hidden nodes are walked
        through and returned with `visible` false. Roots that are absent are left out.
        """

    @abstractmethod
    async def paths(self, sources: Sequence[str], targets: Sequence[str], walk: Walk) -> Paths:
        """The first `walk.limit` paths that begin at a source, follow the walk's direction and end at a target.

        Containers stand for their parts. A path may pass through other sources and targets, and has at
        least one hop. `walk.kinds` has no effect; `walk.depth` bounds the distance of what is walked.
        """

    @abstractmethod
    async def search(self, text: str, kinds: Sequence[str] | None = None, *, paging: Paging = Paging()) -> Page[Node]:
        """Visible nodes whose name, description and tags have every word of the text as the beginning of a word.

        By: name is the text; name begins with it; name; id. A search without a word finds nothing.
        """

    @abstractmethod
    async def changes(
        self,
        *,
        after: int = 0,
        subject: str | None = None,
        among: Sequence[str] | None = None,
        but_by: str | None = None,
        descending: bool = False,
        limit: int = 100,
    ) -> list[Change]:
        """Sequenced changes with `seq` above `after` (below it when descending; 0 then means from the newest).

        Only those with a visible node among their subjects, and none that only noted something. `among`: of
        these nodes or of what they contain, or that address them (a mention, a grant); `but_by` leaves out those
        of one principal. What is in `data` may still name what the view hides.
        """

    @abstractmethod
    async def changes_of(self, ids: Sequence[str], *, after: int = 0, limit: int = 100) -> dict[str, list[Change]]:
        """For each id, the newest sequenced changes of it with `seq` below `after` (0: from the newest), newest first.

        Ids without any are missing. The view does not apply: ask only for what is visible.
        """

    @abstractmethod
    async def entries(
        self, where: EntryFilter = EntryFilter(), *, after: tuple[int, str] | None = None, limit: int = 100
    ) -> list[Entry]:
        """Entries of the audit, the latest first, after the one with this (seq of its change, workspace).

        The view does not apply: whoever asks says which chains may be read.
        """

    @abstractmethod
    async def chain(self, workspace: str, *, after: int = 0, limit: int = 1_000) -> list[Entry]:
        """Entries of one chain by number, from above `after`."""

    @abstractmethod
    async def subjects(self, seqs: Sequence[int]) -> dict[int, dict[str, bool]]:
        """By what the changes of these places in their order are found: ids, each with whether it is only addressed.

        Changes that are found by nothing are missing. The view does not apply.
        """

    @abstractmethod
    async def heads(self) -> list[Head]:
        """The head of every chain that has entries, by workspace."""

    @abstractmethod
    async def anchors(self) -> list[Head]:
        """Where every chain begins that older entries were taken off, by workspace: the last one taken."""

    @abstractmethod
    async def checkpoints(self, *, after: int = 0, limit: int = 1_000) -> list[Checkpoint]:
        """Checkpoints by number, from above `after`."""

    @abstractmethod
    async def kept(
        self,
        owners: Sequence[str],
        states: Sequence[str],
        *,
        after: int | None = None,
        descending: bool = False,
        limit: int = 100,
    ) -> dict[str, list[Kept]]:
        """What is kept for each of these owners in one of these states, by number, above `after` (below it when
        descending): the first `limit` for each. Owners without any are missing. The view does not apply.
        """

    @abstractmethod
    async def all_kept(self, after: tuple[str, int], limit: int) -> list[Kept]:
        """For backup: all that is kept, by (owner, number), above `after`. The view does not apply."""

    @abstractmethod
    async def keys(self, after: tuple[str, str], limit: int) -> list[Key]:
        """For backup: idempotency keys that did something, by (by, key), above `after`. The view does not apply."""

    @abstractmethod
    async def records(self, after: str, limit: int) -> list[NodeRecord]:
        """For export: nodes by id, deleted ones too, with what they own. The view does not apply."""

    @abstractmethod
    async def edges_from(self, ids: Sequence[str]) -> list[Edge]:
        """For export: every edge of these sources, ended ones too, by identity. The view does not apply."""


class Transaction(Snapshot):
    """A write in progress. What it does becomes one Change; nothing is seen before it commits."""

    now: int
    """The store's time, which everything in this transaction is stamped with."""
    by: str
    rights: Rights
    """What may be changed."""
    action: str
    """What its Change says was done, where that is more than the write was begun for; else empty."""

    @abstractmethod
    def guard(self, view: View, rights: Rights) -> None:
        """From now on see no more than the view, and change no more than the rights allow.

        Reads then hide what the view hides. Writing what is hidden raises NotFound, writing what is shown but
        not among the rights raises Forbidden; an edge is written at its source, and its target must be shown.
        """

    @abstractmethod
    async def lock(self, ids: Sequence[str]) -> dict[str, Node]:
        """Keep others from writing these nodes until the commit, and read them anew. Raises NotFound."""

    @abstractmethod
    async def create(self, nodes: Sequence[NewNode]) -> list[Node]:
        """Create nodes. Raises AlreadyExists (a key is taken, or a workspace had the name), InvalidArgument."""

    @abstractmethod
    async def update(self, updates: Sequence[Update]) -> list[Node]:
        """Change nodes; each real change but that of an internal property adds one to the revision.

        Raises NotFound, Conflict (names both revisions), AlreadyExists (the new name is taken), InvalidArgument.
        """

    @abstractmethod
    async def remove(self, ids: Sequence[str]) -> None:
        """Leave tombstones: keys are freed and all open edges of the nodes end. Raises NotFound.

        What a workspace was named no other one will be.
        """

    @abstractmethod
    async def link(self, edges: Sequence[NewEdge]) -> list[Edge]:
        """Open edges; an open one that is there already stays as it is (its properties are updated).

        Raises NotFound (an end is missing), InvalidArgument (not between these kinds, since after until),
        PreconditionFailed (it would close a cycle, which the message names), AlreadyExists (an exclusive
        edge is open to another node).
        """

    @abstractmethod
    async def unlink(self, matches: Sequence[EdgeMatch]) -> list[Edge]:
        """End live edges now; returns those ended."""

    @abstractmethod
    async def put_rows(self, table: Literal["tags", "params"], rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """Set tags or parameters of owners; None removes one. Counts as a change of each owner that had to change."""

    @abstractmethod
    async def log_metrics(self, points: Mapping[str, Sequence[Point]]) -> None:
        """Append to the series of owners' metrics. The owner's revision stays: appending conflicts with nothing."""

    @abstractmethod
    async def unseen_dependants(self, ids: Sequence[str]) -> bool:
        """Whether nodes that the view hides, others than these, lead to them by open edges that refuse a delete."""

    @abstractmethod
    async def recall(self, key: str) -> Remembered | None:
        """What `by` did under this idempotency key in the last seven days. Locks the key until the commit."""

    @abstractmethod
    async def remember(self, key: str, hash: str, ids: Sequence[str]) -> None:
        """Note what `by` did under this key; forgets what is older than seven days."""

    @abstractmethod
    async def keep(self, put: Sequence[Kept], *, drop: Mapping[str, Sequence[int] | None] = NO_DROPS) -> None:
        """Keep these, in the place of what has their owner and number, and drop by owner these numbers (None: all).

        A transaction that does nothing else leaves no Change. Rights do not apply: use cases look after them.
        """

    @abstractmethod
    async def fence(self, lease: Lease) -> None:
        """Go on only if this lease still holds; nobody else gets it before the commit.

        Raises Conflict: it ran out, or another has it.
        """

    @abstractmethod
    async def load(
        self,
        records: Sequence[NodeRecord] = (),
        edges: Sequence[Edge] = (),
        chunks: Sequence[Chunk] = (),
        *,
        quietly: bool = False,
    ) -> int:
        """For import: put these in as they are, ids, times and all; returns how many were not there before.

        The same again changes nothing. The default workspace, which every store has, becomes what is said of it where
        nobody has changed it. `quietly` leaves no Change, for a restore, which brings the changes that there were.
        Raises Conflict (another node has the id with other content),
        AlreadyExists (another node has the key, or a workspace here had the name of one that is not deleted, but for
        a restore), NotFound (an edge's end is missing), PreconditionFailed (a cycle).
        """

    @abstractmethod
    async def put_back(self, part: Aside) -> None:
        """For restore: put these in as they are. The same again changes nothing, and no Change tells of it.

        The nodes that changes are about must be there. A store of which all was put back goes on with the order and
        the chains of its changes where they ended.
        """


Work = Callable[[Transaction], Awaitable[T]]


@dataclass(slots=True)
class Statement:
    """One statement that was sent, for those who watch: `verb` is the port's, `seconds` how long it took.

    `text` is what was sent without its parameters: all values are among these.
    """

    verb: str
    seconds: float
    failed: bool = False
    text: str = ""


Observer = Callable[[Statement], None]


@dataclass(slots=True)
class Watched:
    """What one operation or request asked of the store: how many statements, and the slowest of them.

    `fault` says that it failed, and that whoever asked is not to blame.
    """

    statements: int = 0
    slowest: Statement | None = None
    fault: bool = False

    def saw(self, statement: Statement) -> None:
        """Take a statement into account."""
        self.statements += 1
        if self.slowest is None or statement.seconds > self.slowest.seconds:
            self.slowest = statement


WATCHED: ContextVar[Watched | None] = ContextVar("watched", default=None)
"""What notes the statements of what is being answered."""


NO_NOTES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a store is, as this process uses it: connections in use, and what waits for one."""

    connections: int
    waiting: int


class NewerStore(PreconditionFailed):
    """The store was brought to a later version than the code knows. What runs on it already may go on."""


class Graph(ABC):
    """A store. Open it with `async with`, or call `open` and `close`."""

    holds_writes: bool = False
    """Whether it refuses every write, as Unavailable, while somebody holds WRITES or MOVED. Leases go on."""

    @property
    @abstractmethod
    def load(self) -> Load:
        """How busy it is at this moment."""

    @abstractmethod
    async def explain(self, text: str) -> list[str]:
        """How the store goes about a statement of its own, a step a line. It is not run. Raises Unavailable."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. Raises Unavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection; what is under way is ended."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    def snapshot(self, view: View = EVERYTHING, *, after: str = "") -> AbstractAsyncContextManager[Snapshot]:
        """One moment to read from. The moment is that of the first read.

        `after` is a `bookmark`: what that stands for is there. The first read raises InvalidArgument where it is none
        of this store, and Unavailable where what it stands for does not arrive within the time limit.
        """

    async def bookmark(self) -> str:
        """What stands for all that was written through here: "" where every process sees that anyway."""
        return ""

    @abstractmethod
    async def write(
        self,
        work: Work[T],
        *,
        by: str,
        action: str,
        request: str = "",
        origin: Origin = NOWHERE,
        in_one_go: bool = False,
    ) -> T:
        """Run `work` in one transaction, with its Change, and again on a transient fault.

        `in_one_go` says that `work` awaits nothing but its transaction: see Snapshot.together.

        A commit whose fate is unknown is looked up by the Change's id, so nothing is done twice. `work`
        must have no other effects than through its transaction. Raises what `work` raises; Unavailable
        when the store stays away or too busy.
        """

    @abstractmethod
    async def note(self, notes: Sequence[Note]) -> None:
        """Put notes into the audit, each as a change of its own, in one transaction."""

    @abstractmethod
    async def put_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint. Raises Conflict: there is one with its number."""

    @abstractmethod
    async def prune(self, ends: Sequence[Head], *, by: str, notes: Mapping[str, Mapping[str, Any]] = NO_NOTES) -> int:
        """Take entries off the beginning of chains up to and with these; returns how many.

        A change goes with its last entry. What was taken is noted in each chain, beside what `notes` has for its
        workspace, and its end kept as the chain's anchor. Raises Conflict: an entry has another hash than its
        head says.
        """

    @abstractmethod
    async def claim(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Take a lease that is free, over, or one's own already; None while another holds it."""

    @abstractmethod
    async def release(self, lease: Lease) -> None:
        """Give a lease back; without effect when it was lost already."""

    @abstractmethod
    async def sequence(self, lease: Lease | None = None) -> int:
        """Give waiting changes their `seq` and their places in the chains, with a lease only while it holds.

        Returns how many. Stores that sequence in the write itself return 0.
        """

    @abstractmethod
    async def strays(self) -> Strays:
        """What leads to nothing, which no write leaves behind: somebody else wrote, or the disk is not sound."""

    @abstractmethod
    async def drop_strays(self) -> None:
        """Drop what `strays` counts. No Change tells of it: whoever does so notes it."""

    async def unindexed(self) -> list[str]:
        """The names of constraints and indexes that a migration made and that are not there, or cannot be used."""
        return []

    @abstractmethod
    async def migrate(self) -> list[str]:
        """Bring the store to the code's version; returns the migrations applied.

        Raises PreconditionFailed (newer than the code), Unavailable.
        """

    @abstractmethod
    async def pending(self) -> list[str]:
        """The migrations that `migrate` would apply, by name; nothing is changed. Raises as `migrate`."""

    @abstractmethod
    async def check_version(self) -> int:
        """The store's version, the code's too. Raises PreconditionFailed (not migrated), NewerStore, Unavailable."""


def batched(items: Iterable[T], size: int) -> Iterable[list[T]]:
    """Lists of up to `size` items."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
