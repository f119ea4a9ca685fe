"""Comments: what somebody says about something, and whom it mentions.

A comment belongs to the workspace and the container of what it is about, so that whoever may read that may
read it, and may say something too. About principals and teams nothing is said: they belong to no workspace.
"""

from __future__ import annotations

import re
from typing import Final

from auth.roles import Role, roles_of
from graph import ontology
from graph.address import Address
from graph.ontology import COMMENT
from graph.port import Transaction, Update
from graph.text import normalize
from lineal.errors import Forbidden, InvalidArgument
from resolvers.operation import Operation
from resolvers.writing.command import command
from resolvers.writing.deleting import Deleted, remove
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.nodes import find
from resolvers.writing.story import lead_to

COMMENTABLE: Final = tuple(kind for kind in ontology.NODE_KINDS if kind not in {"Principal", "Team"})
MAX_COMMENT: Final = 10_000
"""Characters in a comment."""

MAX_MENTIONS: Final = 20
"""Principals and teams that one comment mentions; further ones are only text."""

_MENTION: Final = re.compile(r"""(?<![\w@./])@(?:"([^"\n]{1,500})"|(\w(?:[\w.:+-]{0,498}\w)?))""")


@command("addComment", needs=None)
async def add_comment(tx: Transaction, *, about: str, text: str) -> str:
    """Say something about a thing that one sees; about a comment, it is a reply. Raises NotFound, InvalidArgument."""
    draft = Draft(tx)
    subject = draft.want(about, "about", *COMMENTABLE)
    await draft.find()
    assert subject.node is not None
    props = {"text": checked(text)}
    id = draft.create(COMMENT, None, subject.workspace, container=subject.node.container, props=props)
    draft.link("ABOUT", id, subject)
    for mentioned in await _mentioned(tx, text):
        draft.link("MENTIONS", id, mentioned)
    await draft.save()
    return id


@command("updateComment", needs=None)
async def update_comment(tx: Transaction, *, address: str, text: str, revision: int | None = None) -> str:
    """Say it in other words; who is mentioned follows from those.

    Raises NotFound, InvalidArgument, Conflict, Forbidden (somebody else said it).
    """
    draft = Draft(tx)
    reference = draft.want(address, "comment", COMMENT.name)
    await draft.find()
    _refuse_others(reference, tx.by)
    await tx.update([Update(reference.id, {"text": checked(text)}, revision=revision)])
    await lead_to(draft, "MENTIONS", reference, {id: {} for id in await _mentioned(tx, text)})
    await draft.save()
    return reference.id


async def delete_comment(op: Operation, *, address: str, revision: int | None = None) -> Deleted:
    """Take a comment away, with the replies to it: one's own, or any in a workspace that one owns.

    Raises NotFound, InvalidArgument, Conflict, Forbidden.
    """

    async def work(tx: Transaction) -> Deleted:
        id = await find(tx, address, "comment", COMMENT.name)
        node = (await tx.lock([id]))[id]
        if node.created_by != op.by and not op.caller.admin:
            access = await tx.access(op.by, sorted(op.caller.teams))
            if op.caller.workspaces is not None and roles_of(op.caller, access).get(node.workspace) is not Role.OWNER:
                raise Forbidden("comment: only its author and owners of the workspace may delete it", field="comment")
        await tx.update([Update(id, revision=revision)])
        await remove(tx, [node], "comment")
        return Deleted(node, 0)

    return await op.write(work, "deleteComment", needs=None)


def checked(text: str) -> str:
    """The text of a comment. Raises InvalidArgument: empty, or longer than 10,000 characters."""
    if not text.strip() or len(text) > MAX_COMMENT:
        msg = f"text: must have 1 to {MAX_COMMENT} characters, not {len(text.strip()) and len(text)}"
        raise InvalidArgument(msg, field="text")
    return text


def names_in(text: str) -> list[str]:
    """The names that a text mentions, each once: `@name`, or `@"name"` where it has other characters."""
    return list(dict.fromkeys(normalize(quoted or plain) for quoted, plain in _MENTION.findall(text)))[:MAX_MENTIONS]


async def _mentioned(tx: Transaction, text: str) -> list[str]:
    """The ids of the principals and teams that a text mentions, as far as there are such."""
    kinds = ("Principal", "Team")
    addresses = [Address(kind, ontology.GLOBAL, name) for name in names_in(text) for kind in kinds]
    found = await tx.resolve(addresses) if addresses else []
    return [node.id for node in found if node is not None][:MAX_MENTIONS]


def _refuse_others(comment: Reference, by: str) -> None:
    if comment.node is None or comment.node.created_by != by:
        raise Forbidden("comment: only its author may change it", field="comment")
