"""registered-models/…: models, their tags, aliases and newest versions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from gateway.mlflow.asked import Asked
from gateway.mlflow.checking import check_alias, check_name, check_new_alias, check_tag, is_prompt, stage_of
from gateway.mlflow.grammar import MODELS, Ordering, read_filter, read_orders
from gateway.mlflow.messages import model_message, shown_name, version_message
from gateway.mlflow.searching import MODEL_ORDERS, models_where, order_of, page_token, read_page_token
from graph.port import Paging, Snapshot
from lineal.errors import AlreadyExists, InvalidArgument, NotFound
from resolvers.lifecycle.schemes import MLFLOW
from resolvers.registry import changing
from resolvers.registry.looking import (
    LATEST,
    Registered,
    Version,
    model_named,
    registered,
    registered_by_id,
    version_called,
    versions,
)
from resolvers.writing.models import delete_model, register_model

MAX_MODELS: Final = 1_000
DEFAULT_MODELS: Final = 100

_BY_NAME: Final = (Ordering("name", False),)


async def create(asked: Asked) -> dict[str, Any]:
    """Register a model, or a prompt, which is a model with a tag."""
    tags = asked.parameters.tags()
    check_name(asked.name)
    for key, value in tags.items():
        check_tag(key, value)
    try:
        id = await register_model.id_of(
            asked.op,
            asked.key,
            name=asked.name,
            workspace=asked.workspace,
            properties={"description": asked.parameters.text("description") or None},
            tags=changing.plain_tags(tags),
        )
    except AlreadyExists:
        raise await _taken(asked, prompt=is_prompt(tags)) from None
    return await _written(asked, id)


async def _taken(asked: Asked, *, prompt: bool) -> AlreadyExists:
    """Why a name cannot be given to a model or a prompt."""
    kinds = {True: "Prompt", False: "Registered Model"}
    new = kinds[prompt]
    try:
        old = kinds[is_prompt((await _registered(asked)).tags)]
    except NotFound:
        old = new
    if old == new:
        return AlreadyExists(f"{new} (name={asked.name}) already exists.", field="name")
    return AlreadyExists(
        f"Tried to create a {new.lower()} with name {asked.name!r}, but the name is already taken by a {old.lower()}. "
        "MLflow does not allow creating a model and a prompt with the same name.",
        field="name",
    )


async def _registered(asked: Asked) -> Registered:
    """The model that is named, with all around it. Raises NotFound."""

    async def reads(snapshot: Snapshot) -> Registered:
        (found,) = await registered(snapshot, [await model_named(snapshot, asked.workspace, asked.name)])
        return found

    return await asked.op.read(reads, quick=True, key=("registered model", asked.workspace, asked.name))


async def _written(asked: Asked, id: str | None) -> dict[str, Any]:
    """The model that was written, whatever it is called by now. Raises NotFound: it has been deleted since."""
    found = await asked.op.read(lambda snapshot: registered_by_id(snapshot, str(id)), quick=True)
    return {"registered_model": model_message(found)}


async def get(asked: Asked) -> dict[str, Any]:
    """One model."""
    return {"registered_model": model_message(await _registered(asked))}


async def update(asked: Asked) -> dict[str, Any]:
    """Say what it is."""
    description = asked.parameters.text("description")
    id = await changing.describe_model.id_of(asked.op, asked.key, at=asked.model, description=description)
    return await _written(asked, id)


async def rename(asked: Asked) -> dict[str, Any]:
    """Give it another name; the old one is gone here."""
    new = asked.parameters.text("new_name")
    check_name(new, "new_name")
    try:
        id = await changing.rename.id_of(asked.op, asked.key, at=asked.model, name=new)
    except AlreadyExists:
        raise AlreadyExists(f"Registered Model (name={new}) already exists.", field="new_name") from None
    return await _written(asked, id)


async def delete(asked: Asked) -> dict[str, Any]:
    """Delete it with its versions."""
    model = await asked.op.read(lambda snapshot: model_named(snapshot, asked.workspace, asked.name))
    await delete_model(asked.op, address=model.id)
    return {}


async def search(asked: Asked) -> dict[str, Any]:
    """A page of models that match a filter."""
    given = asked.parameters
    first = DEFAULT_MODELS if given.values["max_results"] is None else int(given.values["max_results"])
    if first < 0:
        msg = f"Invalid value for request parameter max_results. It must be at least 0, but got value {first}"
        raise InvalidArgument(msg, field="max_results")
    where = models_where(read_filter(given.text("filter"), MODELS), asked.workspace)
    orderings = read_orders(given.values["order_by"], MODELS)
    order = order_of(orderings, MODEL_ORDERS, ties=_BY_NAME)
    after = read_page_token(given.text("page_token"), order)
    if not first:
        # MLflow answers so: with nothing, and a way on.
        return {"registered_models": [], "next_page_token": page_token(after)}

    async def reads(snapshot: Snapshot) -> dict[str, Any]:
        page = await snapshot.find("Model", where, order=order, paging=Paging(first, after))
        found = await registered(snapshot, page.items)
        token = {"next_page_token": page_token(page.cursors[-1])} if page.has_next else {}
        return {"registered_models": [model_message(each) for each in found], **token}

    return await asked.op.read(reads)


async def latest_versions(asked: Asked) -> dict[str, Any]:
    """The newest version of each of these stages, of all of them where none is named."""
    wanted = {stage_of(stage) for stage in asked.parameters.values["stages"] or MLFLOW}

    async def reads(snapshot: Snapshot) -> list[Version]:
        model = await model_named(snapshot, asked.workspace, asked.name)
        (found,) = await registered(snapshot, [model])
        nodes = [version.node for version in found.latest if version.stage in wanted]
        return await versions(snapshot, nodes, {model.id: model}, aliases=True)

    return {"model_versions": [version_message(version) for version in await asked.op.read(reads, quick=True)]}


# ── Tags and aliases ──────────────────────────────────────────────────────────────────────────────


async def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    key, value = asked.parameters.text("key"), asked.parameters.text("value")
    check_tag(key, value)
    await changing.set_tag.id_of(asked.op, asked.key, at=asked.model, tag=key, value=value)
    return {}


async def delete_tag(asked: Asked) -> dict[str, Any]:
    """Take a tag away; one that is not there is no error."""
    key = asked.parameters.text("key")
    check_tag(key)
    await changing.delete_tag.id_of(asked.op, asked.key, at=asked.model, tag=key)
    return {}


async def set_alias(asked: Asked) -> dict[str, Any]:
    """Let an alias point to a version."""
    alias = asked.parameters.text("alias")
    check_new_alias(alias)
    await changing.set_alias.id_of(asked.op, asked.key, at=asked.version, alias=alias)
    return {}


async def _alias(asked: Asked) -> str:
    """The alias that is named. Raises InvalidArgument: it can be none, and no other face gave it either."""
    alias = asked.parameters.text("alias")
    try:
        check_alias(alias)
    except InvalidArgument:
        with suppress(NotFound):
            found, _ = await asked.op.read(lambda s: version_called(s, asked.workspace, asked.name, alias))
            if found is not None:
                return alias
        raise
    return alias


async def delete_alias(asked: Asked) -> dict[str, Any]:
    """Take an alias away; one that is not there is no error."""
    alias = await _alias(asked)
    await changing.delete_alias.id_of(asked.op, asked.key, at=asked.model, alias=alias)
    return {}


async def get_by_alias(asked: Asked) -> dict[str, Any]:
    """The version that an alias points to; `latest` is the newest one."""
    alias = await _alias(asked)

    async def reads(snapshot: Snapshot) -> Version:
        node, model = await version_called(snapshot, asked.workspace, asked.name, alias)
        if node is None and alias.lower() == LATEST:
            raise NotFound(f"Latest version not found for model {shown_name(model.name)}.", field="alias")
        if node is None:
            raise InvalidArgument(f"Registered model alias {alias} not found.", field="alias")
        (version,) = await versions(snapshot, [node], {model.id: model}, aliases=True)
        return version

    return {"model_version": version_message(await asked.op.read(reads, quick=True))}
