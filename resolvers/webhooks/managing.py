"""What owners of a workspace do about its webhooks. A secret is answered with once, when it is made."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from auth.roles import Role, roles_of
from graph import ontology, validation
from graph.ontology import NODE_KINDS, WEBHOOK
from graph.port import Hop, Kept, NewEdge, Node, Paging, Prop, Transaction, Update
from lineal.errors import Forbidden, InvalidArgument, LimitExceeded, NotFound
from resolvers.events import ACTIONS
from resolvers.operation import Operation
from resolvers.reading import all_links, principal_named, resolve
from resolvers.webhooks.formats import TYPES_OF, Message, trial_message
from resolvers.webhooks.hooks import (
    ACTIVE,
    CLOUDEVENTS,
    HEALTH,
    PAUSED,
    TELLING,
    Hook,
    Webhooks,
    format_of,
    read,
    secret_of,
    webhooks_of,
)
from resolvers.webhooks.sending import Answer
from resolvers.webhooks.signing import MLFLOW, checked_secret, headers, new_secret
from resolvers.writing.command import Command, command, procedure
from resolvers.writing.common import UNSET, present
from resolvers.writing.deleting import Deleted, remove
from resolvers.writing.draft import Draft
from resolvers.writing.nodes import find
from storage.connectors.addresses import is_allowed

MAX_WEBHOOKS: Final = 100
"""Webhooks in one workspace."""
MAX_URL: Final = 2_000
MAX_FILTER: Final = 100
"""Entries of one filter."""
MAX_REASON: Final = 2_000
OVERLAP_SECONDS: Final = 86_400
MAX_OVERLAP_SECONDS: Final = 7 * 86_400
READING: Final = "activity:read"
"""The scope that whoever sets a webhook needs: its events tell what the activity feed does."""

_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Made:
    """A webhook with its secret: None where the caller may not read it, it has none, or has another one by now."""

    webhook: Node | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of a test: what was sent, and the receiver's answer."""

    webhook: Node
    message: Message
    answer: Answer


async def create_webhook(
    op: Operation,
    key: str | None = None,
    *,
    name: str,
    url: str,
    workspace: str = ontology.DEFAULT_WORKSPACE,
    format: str = CLOUDEVENTS,
    kinds: Sequence[str] = (),
    actions: Sequence[str] = (),
    types: Sequence[str] = (),
    with_tags: Sequence[Mapping[str, Any]] = (),
    description: str | None = None,
    secret: str | None = None,
    paused: bool = False,
    signed: bool = True,
) -> Made:
    """Have a workspace's events sent somewhere. Without a secret it gets one; unless it is not to be `signed`, in
    MLflow's format. It tells what its maker may read, and of what happens from now on. Under a key again the answer has
    the secret only while it is the one that was made then.

    Raises InvalidArgument, naming the field, AlreadyExists, NotFound (the workspace), LimitExceeded, Forbidden.
    """
    webhooks = webhooks_of(op)

    async def body(tx: Transaction, /, **given: Any) -> str:
        _check_reading(tx)
        own = new_secret() if signed or format != MLFLOW else None
        chosen = own if secret is None else checked_secret(secret, format)
        props = _checked(webhooks, {**WEBHOOK_DEFAULTS, **given}, format) | {
            "format": format,
            "state": PAUSED if paused else ACTIVE,
            "scopes": _told(tx),
            "rotatedAt": tx.now,
        }
        draft = Draft(tx)
        id = draft.create(WEBHOOK, validation.name(name), workspace, props=present(props))
        await draft.save()
        await tx.keep([webhooks.sealed(id, chosen)])
        page = await tx.find(WEBHOOK.name, Prop("workspace", "eq", workspace), paging=Paging(1, count=True))
        if (page.total or 0) > MAX_WEBHOOKS:
            raise LimitExceeded(f"name: the workspace has {MAX_WEBHOOKS} webhooks, which is the most", field="name")
        return id

    given = {"url": url, "kinds": kinds, "actions": actions, "types": types, "with_tags": with_tags}
    rest = {"description": description, "name": name, "workspace": workspace, "format": format, "secret": secret}
    node = await Command("createWebhook", body, Role.OWNER).once(op, key, **given, **rest, paused=paused)
    rotated = node is not None and node.props["rotatedAt"] != node.created_at
    return Made(node, None if rotated else await _revealed(op, webhooks, node))


@procedure
async def update_webhook(
    op: Operation,
    /,
    *,
    address: str,
    name: str | None = None,
    revision: int | None = None,
    **given: Any,
) -> Node:
    """Change where a webhook sends, or what: url, kinds, actions, types, with_tags, description. An empty filter takes
    everything. From now on it tells what whoever changes it may read.

    Raises InvalidArgument, NotFound, Conflict, AlreadyExists (the name), Forbidden.
    """
    webhooks = webhooks_of(op)

    async def body(tx: Transaction, /, **_: Any) -> str:
        return await _update(tx, webhooks, address, name=name, revision=revision, **given)

    return await Command("updateWebhook", body, Role.OWNER)(op)


async def change_webhook(
    op: Operation, *, address: str, secret: str | None = None, paused: bool | None = None, **given: Any
) -> Node:
    """Update a webhook, give it another secret (an empty one: none any more), pause or resume it: all of it or nothing.

    Raises as `update_webhook`, `rotate_secret`, `pause_webhook` and `resume_webhook`.
    """
    webhooks = webhooks_of(op)

    async def body(tx: Transaction, /, **_: Any) -> str:
        id = await find(tx, address, "webhook", WEBHOOK.name)
        node = (await tx.lock([id]))[id]
        if given:
            await _update(tx, webhooks, id, **given)
        if secret is not None:
            chosen = checked_secret(secret, format_of(node.props)) if secret else None
            await _give(tx, webhooks.sealed(id, chosen))
        if paused is not None and paused is (node.props.get("state") == ACTIVE):
            await (pause_webhook if paused else resume_webhook).within(tx, address=id)
        return id

    return await Command("updateWebhook", body, Role.OWNER)(op)


async def _update(
    tx: Transaction,
    webhooks: Webhooks,
    address: str,
    *,
    name: str | None = None,
    revision: int | None = None,
    **given: Any,
) -> str:
    _check_reading(tx)
    id = await find(tx, address, "webhook", WEBHOOK.name)
    before = (await tx.lock([id]))[id]
    props = _checked(webhooks, given, format_of(before.props)) | {"scopes": _told(tx)}
    named = None if name is None else validation.name(name)
    await tx.update([Update(id, {n: v or None for n, v in props.items()}, named, revision)])
    return id


async def _give(tx: Transaction, secret: Kept) -> None:
    await tx.keep([secret])
    await tx.update([Update(secret.owner, {"rotatedAt": tx.now})])


async def delete_webhook(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
    """Delete a webhook, with what it had still to deliver. Raises NotFound, Conflict, Forbidden."""

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, address, "webhook", WEBHOOK.name)
        node = (await tx.lock([id]))[id]
        await tx.update([Update(id, revision=revision)])
        await tx.keep([], drop={id: None})
        await remove(tx, [node], "webhook")
        return Deleted(node, 0)

    return await op.write(work, "deleteWebhook", needs=Role.OWNER)


@command("pauseWebhook", needs=Role.OWNER)
async def pause_webhook(tx: Transaction, *, address: str, reason: str | None = None) -> str:
    """Send nothing for now; events wait. Raises NotFound, InvalidArgument, Forbidden."""
    if reason is not None and len(reason) > MAX_REASON:
        raise InvalidArgument(f"reason: must have at most {MAX_REASON} characters", field="reason")
    id = await find(tx, address, "webhook", WEBHOOK.name)
    await tx.update([Update(id, {"state": PAUSED, "reason": reason})])
    return id


@command("resumeWebhook", needs=Role.OWNER)
async def resume_webhook(tx: Transaction, *, address: str) -> str:
    """Send what waited, and what happens from now on. Raises NotFound, Forbidden."""
    id = await find(tx, address, "webhook", WEBHOOK.name)
    await tx.update([Update(id, {"state": ACTIVE, "reason": None, "resumedAt": tx.now})])
    # It has not failed for long any more: it is tried anew.
    await tx.keep([], drop={id: [HEALTH]})
    return id


async def rotate_secret(
    op: Operation, *, address: str, secret: str | None = None, overlap_seconds: int = OVERLAP_SECONDS
) -> Made:
    """Give a webhook another secret. For `overlap_seconds` (0 to a week) CloudEvents are signed with both.

    Raises NotFound, InvalidArgument, Forbidden.
    """
    webhooks = webhooks_of(op)
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        msg = f"overlapSeconds: must be 0 to {MAX_OVERLAP_SECONDS}, not {overlap_seconds}"
        raise InvalidArgument(msg, field="overlapSeconds")

    async def body(tx: Transaction, /, **_: Any) -> str:
        id = await find(tx, address, "webhook", WEBHOOK.name)
        node = (await tx.lock([id]))[id]
        chosen = new_secret() if secret is None else checked_secret(secret, format_of(node.props))
        before = await secret_of(tx, id) if overlap_seconds else None
        await _give(tx, webhooks.sealed(id, chosen, before, tx.now + overlap_seconds * 1_000_000))
        return id

    node = await Command("rotateWebhookSecret", body, Role.OWNER).once(op, None)
    return Made(node, await _revealed(op, webhooks, node))


async def try_webhook(op: Operation, *, address: str, type: str | None = None) -> Tested:
    """Send something to try the receiver with, now, whether the webhook is paused or not; it is not tried again.

    Raises NotFound, InvalidArgument, Forbidden.
    """
    webhooks = webhooks_of(op)
    node = await owned(op, address)
    if type is not None:
        _known(type, TYPES_OF[MLFLOW] if format_of(node.props) == MLFLOW else (), "type")
    now = time.time_ns() // 1_000
    hook = await read(await op.snapshot(), webhooks, node.id, now)
    # The receiver may take its time, and others want to read meanwhile.
    await op.close()
    if hook is None:
        raise NotFound(f"webhook: nothing is there for {address!r}", field="webhook")
    if op.recorder is not None:
        told = {"subject": node.id}
        await op.recorder.read(
            op.caller,
            action="testWebhook",
            data=told,
            workspaces=(node.workspace,),
            address=op.address,
            request=op.request,
        )
    message = trial_message(hook, now, webhooks.base, type)
    return Tested(node, message, await send(webhooks, hook, message))


async def send(webhooks: Webhooks, hook: Hook, message: Message) -> Answer:
    """Send a message, signed at this moment."""
    signed = headers(hook.format, hook.secrets, message.id, int(time.time()), message.body)
    return await webhooks.sender.post(hook.url, message.body, {"Content-Type": message.media_type, **signed})


async def owned(op: Operation, address: str) -> Node:
    """The webhook, for an owner of its workspace. Raises NotFound, InvalidArgument, Forbidden."""
    node = await resolve(op, address, kinds={WEBHOOK.name}, field="webhook")
    if node is None:
        raise NotFound(f"webhook: nothing is there for {address!r}", field="webhook")
    check_owner(op, node)
    return node


def check_owner(op: Operation, node: Node) -> None:
    """Raises Forbidden: the caller does not own the workspace of a node."""
    if op.caller.admin or op.caller.workspaces is None:
        return
    if roles_of(op.caller, op.access).get(node.workspace) is not Role.OWNER:
        msg = f"workspace {node.workspace!r}: needs the role {Role.OWNER.name} there"
        raise Forbidden(msg, role=Role.OWNER.name, workspace=node.workspace)


async def owners_of(tx: Transaction, node: Node) -> list[str]:
    """Who answers for a webhook: its owners, or else whoever made it and who owns the workspace. Ids, in order."""
    owners = (await all_links(tx, [node.id], Hop("OWNED_BY", "OUT"))).get(node.id, [])
    if owners:
        return sorted(link.node.id for link in owners)
    maker = await principal_named(tx, node.created_by)
    found = {maker.id} if maker else set()
    places = await tx.find(ontology.WORKSPACE.name, Prop("name", "eq", node.workspace), paging=Paging(1))
    for place in places.items:
        links = (await all_links(tx, [place.id], Hop("GRANTS", "OUT"))).get(place.id, [])
        found |= {link.node.id for link in links if link.edge.discriminator == Role.OWNER.name}
    return sorted(found)


async def pause_for(tx: Transaction, node: Node, reason: str) -> None:
    """Pause a webhook that cannot deliver, and tell who answers for it."""
    await tx.update([Update(node.id, {"state": PAUSED, "reason": reason})])
    people = await owners_of(tx, node)
    draft = Draft(tx)
    props = {"type": "WEBHOOK", "text": f"The webhook {node.name} was paused: {reason}"}
    notice = draft.create(ontology.NOTICE, None, node.workspace, container=node.id, props=props)
    await draft.save()
    await tx.link([NewEdge("CONCERNS", notice, node.id), *(NewEdge("NOTIFIES", notice, who) for who in people)])


async def _revealed(op: Operation, webhooks: Webhooks, node: Node | None) -> str | None:
    """The secret of a webhook that was just made or given one."""
    kept: Kept | None = None if node is None else await secret_of(await op.snapshot(), node.id)
    secrets = [] if kept is None else webhooks.secrets(kept, 0)
    return secrets[0] if secrets else None


# What is given ────────────────────────────────────────────────────────────────────────────────────

WEBHOOK_DEFAULTS: Final[Mapping[str, Any]] = {"kinds": (), "actions": (), "types": (), "with_tags": ()}


def _check_reading(tx: Transaction) -> None:
    """Raises Forbidden: whoever may not read what happened may not have it sent."""
    if not tx.rights.holds(READING):
        raise Forbidden(f"webhook: to set one needs the scope {READING}", scopes=[[READING]])


def _told(tx: Transaction) -> list[str]:
    return sorted(scope for scope in TELLING if tx.rights.holds(scope))


def _checked(webhooks: Webhooks, given: Mapping[str, Any], format: str) -> dict[str, Any]:
    """What is given, as properties. Raises InvalidArgument."""
    _known(format, TYPES_OF, "format")
    among: Mapping[str, Sequence[str]] = {"kinds": tuple(NODE_KINDS), "actions": tuple(ACTIONS)}
    props: dict[str, Any] = {}
    if given.get("url") is not None:
        props["url"] = checked_url(given["url"], private=webhooks.sender.private)
    for name in ("kinds", "actions", "types"):
        if name in given:
            items = list(dict.fromkeys(given[name] or ()))
            if len(items) > MAX_FILTER:
                raise InvalidArgument(f"{name}: has {len(items)} entries; at most {MAX_FILTER} are allowed", field=name)
            for i, item in enumerate(items):
                _known(item, among.get(name, TYPES_OF[format]), f"{name}[{i}]")
            props[name] = items
    if "with_tags" in given:
        props["withTags"] = _tags(given["with_tags"] or ())
    if (description := given.get("description", UNSET)) is not UNSET:
        props["description"] = description
    return props


def _tags(given: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    if len(given) > MAX_FILTER:
        raise InvalidArgument(f"withTags: has {len(given)} entries; at most {MAX_FILTER} are allowed", field="withTags")
    return {validation.name(tag["name"], field=f"withTags[{i}].name"): tag.get("value") for i, tag in enumerate(given)}


def _known(item: str, known: Any, field: str) -> None:
    if item not in known:
        shown = ", ".join(sorted(known)[:60]) or "none"
        raise InvalidArgument(f"{field}: there is no {item[:80]!r}; there are {shown}", field=field)


def checked_url(url: str, *, private: bool) -> str:
    """The URL. Raises InvalidArgument: none that a webhook may have; `private` lets it be http:// and private."""
    problem = _wrong(url, private=private)
    if problem:
        raise InvalidArgument(f"url: {problem}", field="url")
    return url


def _wrong(url: str, *, private: bool) -> str:
    if not 0 < len(url) <= MAX_URL or not url.isascii() or not url.isprintable() or set(url) & set(" \\<>\"'`"):
        return f"must be a URL of at most {MAX_URL} printable ASCII characters, without blanks, quotes or backslashes"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "has no host, or no port, that can be read"
    if parts.scheme not in ({"https", "http"} if private else {"https"}):
        return f"must begin with https://{' or http://' if private else ''}"
    if parts.username is not None or parts.password is not None or parts.fragment or not host or port == 0:
        return "must have a host, and neither a user, a password nor a fragment"
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return "" if _HOST.fullmatch(host) else "must have a host name, or an address"
    return "" if is_allowed(address, private=private) else "is an address that a webhook may not connect to"
