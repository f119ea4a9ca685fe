"""Changes of models and versions by exact name and number: the same writes as elsewhere, under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from auth.roles import Role
from graph import validation
from graph.port import EdgeMatch, Node, Snapshot, Transaction, Update
from lineal.errors import InvalidArgument, NotFound
from resolvers.lifecycle.deprecating import tell_deprecations
from resolvers.lifecycle.moving import Mover, Wish, archive_others
from resolvers.lifecycle.schemes import NONE
from resolvers.registry.looking import (
    LATEST,
    Version,
    model_named,
    newest,
    registered,
    version_called,
    version_numbered,
)
from resolvers.writing.command import command
from resolvers.writing.common import NamedValue, label, new_alias
from resolvers.writing.tagging import put_tags
from resolvers.writing.versions import create_model_version


@dataclass(frozen=True, slots=True)
class At:
    """A model of a workspace, or one of its versions."""

    workspace: str
    name: str
    number: int | None = None


async def named(snapshot: Snapshot, at: At) -> Node:
    """What is named. Raises NotFound."""
    if at.number is None:
        return await model_named(snapshot, at.workspace, at.name)
    version, _ = await version_numbered(snapshot, at.workspace, at.name, at.number)
    return version


async def _describe(tx: Transaction, at: At, description: str | None) -> str:
    node = await named(tx, at)
    await tx.update([Update(node.id, {"description": description or None}, touch=True)])
    return node.id


@command("updateModel")
async def describe_model(tx: Transaction, *, at: At, description: str | None) -> str:
    """Say what a model is. Raises NotFound, InvalidArgument."""
    return await _describe(tx, at, description)


@command("updateModelVersion")
async def describe_version(tx: Transaction, *, at: At, description: str | None) -> str:
    """Say what a version is. Raises NotFound, InvalidArgument."""
    return await _describe(tx, at, description)


@command("renameModel")
async def rename(tx: Transaction, *, at: At, name: str) -> str:
    """Give a model another name. Raises NotFound, AlreadyExists, InvalidArgument."""
    node = await named(tx, at)
    await tx.update([Update(node.id, name=validation.name(name, field="new_name"), touch=True)])
    return node.id


@command("setTags")
async def set_tag(tx: Transaction, *, at: At, tag: str, value: str) -> str:
    """Set a tag. Raises NotFound, InvalidArgument."""
    node = await named(tx, at)
    await put_tags(tx, {node.id: {tag: value}})
    return node.id


@command("deleteTags")
async def delete_tag(tx: Transaction, *, at: At, tag: str) -> str:
    """Take a tag away, if it is there. Raises NotFound, InvalidArgument."""
    node = await named(tx, at)
    await put_tags(tx, {node.id: {tag: None}})
    return node.id


@command("setAlias")
async def set_alias(tx: Transaction, *, at: At, alias: str) -> str:
    """Let an alias point to a version from now on. Raises as resolvers.writing.lifecycle.set_alias."""
    version = await named(tx, at)
    await Mover(tx)([Wish(version, alias=new_alias(alias, "alias"), field="alias")])
    return version.id


@command("deleteAlias")
async def delete_alias(tx: Transaction, *, at: At, alias: str) -> str:
    """Take an alias away, if it is there. Raises NotFound."""
    model = await named(tx, at)
    await tx.unlink([EdgeMatch("ALIAS", model.id, discriminator=label(alias, "alias"))])
    return model.id


@command("setStage", needs=Role.APPROVER)
async def set_stage(tx: Transaction, *, at: At, stage: str, archive_existing: bool) -> str:
    """Put a version into the stage of its scheme that has this name, or else the first that counts as it in MLflow.

    Raises as resolvers.writing.lifecycle.set_stage.
    """
    version = await named(tx, at)
    mover = Mover(tx)
    wanted = None
    if stage.casefold() != NONE:
        (model,) = (await tx.nodes([version.container])).values()
        scheme = await mover.schemes.of(model)
        found = scheme.find(stage) or next((s for s in scheme.stages if s.mlflow == stage), None)
        wanted = scheme.stage(stage) if found is None else found
    await mover([Wish(version, None if wanted is None else wanted.name)])
    if archive_existing and wanted is not None:
        await archive_others(mover, version, wanted.name)
    # To MLflow's clients it was updated, also where it was there already.
    await tx.update([Update(id, touch=True) for id in (version.container, version.id)])
    await tell_deprecations(tx, mover.deprecations)
    return version.id


# ── A new version ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a new version comes from: the address of its files, a run of a tracker, and its page, a logged model.

    Without the names (None) those of the version count that it is a copy of.
    """

    source: str
    run: str | None = None
    run_link: str = ""
    logged_model: str | None = None


async def register(
    tx: Transaction,
    *,
    at: At,
    origin: Origin,
    description: str,
    tags: Sequence[NamedValue],
    copies: bool,
    state: str,
) -> str:
    """Register a version. With `copies`, what models:/name/3 or models:/name@alias names is what it is a copy of.

    Raises NotFound, InvalidArgument, PreconditionFailed (what it is a copy of is retired).
    """
    model = await named(tx, at)
    source, run, logged = origin.source, origin.run, origin.logged_model
    uri, parents = source, list[Any]()
    original = await _original(tx, at.workspace, source) if copies else None
    if original is not None:
        node, props = original.node, original.node.props
        for given, known in ((run, props.get("runId")), (logged, props.get("loggedModel"))):
            if given is not None and given != (known or ""):
                msg = (
                    f"Invalid model version source: '{source}'. The run_id and model_id request parameters must match "
                    "the referenced model version."
                )
                raise InvalidArgument(msg, field="source")
        source = f"models:/{original.model.name}/{node.name}"
        uri = props.get("uri") or source
        run, logged = props.get("runId"), props.get("loggedModel")
        parents.append({"version": node.id, "relation": "copy"})
    properties = {
        "state": state,
        "uri": uri,
        "source": source,
        "runId": run or None,
        "runLink": origin.run_link or None,
        "loggedModel": logged or None,
        "description": description or None,
    }
    made = await create_model_version.within(tx, model=model.id, properties=properties, parents=parents, tags=tags)
    assert made is not None
    return made


async def _original(tx: Transaction, workspace: str, source: str) -> Version | None:
    """The version that a source names; None where it names none, but files or a logged model."""
    if urlsplit(source).scheme != "models":
        return None
    invalid = f"Invalid model version source: '{source}'."
    if urlsplit(source).netloc:
        raise InvalidArgument(f"{invalid} Registered model sources must use the active model registry.", field="source")
    path = urlsplit(source).path.strip("/")
    name, at, alias = path.rpartition("@")
    if at and "/" not in alias:
        found, model = await version_called(tx, workspace, name, alias)
        if found is None:
            raise InvalidArgument(f"Registered model alias {alias} not found.", field="source")
        return Version(found, model)
    name, _, part = path.rpartition("/")
    if not name:
        return None
    if part.isdecimal():
        await model_named(tx, workspace, name)
        return Version(*await version_numbered(tx, workspace, name, int(part)))
    (of,) = await registered(tx, [await model_named(tx, workspace, name)])
    wanted = [v for v in of.latest if part.casefold() in {LATEST, v.stage.casefold()}]
    if (last := newest(wanted)) is None:
        raise NotFound(f"No versions of model with name '{name}' and stage '{part}' found", field="source")
    return last


def logged_model_of(source: str) -> str | None:
    """The logged model that a source is, as in models:/m-…; None where it is none."""
    path = urlsplit(source).path.strip("/") if urlsplit(source).scheme == "models" else ""
    return path if path and "/" not in path and "@" not in path else None


def plain_tags(tags: Mapping[str, str]) -> list[NamedValue]:
    """Tags as use cases take them."""
    return [{"name": name, "value": value} for name, value in tags.items()]
