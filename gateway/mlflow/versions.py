"""model-versions/…: versions, their stages and tags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gateway.mlflow.asked import Asked
from gateway.mlflow.checking import check_archiving, check_name, check_source, check_tag, is_prompt, stage_of
from gateway.mlflow.grammar import VERSIONS, read_filter, read_orders
from gateway.mlflow.messages import download_uri, version_message
from gateway.mlflow.searching import (
    DEFAULT_VERSION_ORDERS,
    VERSION_ORDERS,
    exact_names,
    order_of,
    page_token,
    read_page_token,
    versions_where,
)
from graph.port import Paging, Snapshot
from lineal.errors import InvalidArgument
from resolvers.registry import changing
from resolvers.registry.files import own_address, register_version
from resolvers.registry.looking import Version, find_models, measured, version_by_id, version_numbered, versions
from resolvers.writing.versions import delete_model_version

MAX_VERSIONS: Final = 200_000
PAGE: Final = 10_000
"""Versions in one answer; a search that asks for more gets a token to read on with."""

SMALL: Final = 100
"""Versions that a page may have to be remembered."""

_TIES: Final = DEFAULT_VERSION_ORDERS[1:]


async def create(asked: Asked) -> dict[str, Any]:
    """Register a version."""
    given = asked.parameters
    tags = given.tags()
    source, run, model = (given.text(name) for name in ("source", "run_id", "model_id"))
    check_name(asked.name)
    check_source(source, run, model, prompt=is_prompt(tags))
    for key, value in tags.items():
        check_tag(key, value)
    origin = changing.Origin(
        source,
        run if "run_id" in given.given else None,
        given.text("run_link"),
        model if "model_id" in given.given else None,
    )
    version = await register_version(
        asked.op,
        asked.key,
        at=asked.model,
        origin=origin,
        description=given.text("description"),
        tags=changing.plain_tags(tags),
        copies=not is_prompt(tags),
    )
    return {"model_version": version_message(version)}


async def _written(asked: Asked, id: str | None) -> dict[str, Any]:
    """The version that was written. Raises NotFound: it has been deleted since."""
    version = await asked.op.read(lambda snapshot: version_by_id(snapshot, str(id)), quick=True)
    return {"model_version": version_message(version)}


async def get(asked: Asked) -> dict[str, Any]:
    """One version, with parameters and metrics."""
    at = asked.version
    metrics = asked.op.caller.holds("metrics:read")

    async def reads(snapshot: Snapshot) -> Version:
        node, model = await version_numbered(snapshot, at.workspace, at.name, at.number or 0)
        (version,) = await versions(snapshot, [node], {model.id: model}, aliases=True)
        params = await snapshot.rows([node.id], "params")
        found = await measured(snapshot, node) if metrics else []
        return replace(version, params=params.get(node.id, {}), metrics=found)

    return {"model_version": version_message(await asked.op.read(reads, quick=True))}


async def update(asked: Asked) -> dict[str, Any]:
    """Say what it is."""
    description = asked.parameters.text("description")
    id = await changing.describe_version.id_of(asked.op, asked.key, at=asked.version, description=description)
    return await _written(asked, id)


async def transition(asked: Asked) -> dict[str, Any]:
    """Put it into a stage, through the gates of that stage."""
    stage, archive = asked.parameters.text("stage"), asked.parameters.values["archive_existing_versions"]
    wanted = stage_of(stage)
    if archive:
        check_archiving(stage)
    id = await changing.set_stage.id_of(
        asked.op, asked.key, at=asked.version, stage=wanted, archive_existing=bool(archive)
    )
    return await _written(asked, id)


async def delete(asked: Asked) -> dict[str, Any]:
    """Delete it; its number is never given again."""
    at = asked.version
    node, _ = await asked.op.read(lambda s: version_numbered(s, at.workspace, at.name, at.number or 0))
    await delete_model_version(asked.op, address=node.id)
    return {}


async def search(asked: Asked) -> dict[str, Any]:
    """A page of versions that match a filter."""
    given = asked.parameters
    first = PAGE if given.values["max_results"] is None else int(given.values["max_results"])
    if first < 1:
        msg = f"Invalid value for max_results. It must be a positive integer, but got {first}"
        raise InvalidArgument(msg, field="max_results")
    conditions = read_filter(given.text("filter"), VERSIONS)
    order = order_of(
        read_orders(given.values["order_by"], VERSIONS) or DEFAULT_VERSION_ORDERS, VERSION_ORDERS, ties=_TIES
    )
    after = read_page_token(given.text("page_token"), order)

    async def reads(snapshot: Snapshot) -> dict[str, Any]:
        models = await find_models(snapshot, asked.workspace, exact_names(conditions) or ())
        where = versions_where(conditions, asked.workspace, {name: model.id for name, model in models.items()})
        page = await snapshot.find("ModelVersion", where, order=order, paging=Paging(min(first, PAGE), after))
        found = await versions(snapshot, page.items, {model.id: model for model in models.values()})
        token = {"next_page_token": page_token(page.cursors[-1])} if page.has_next else {}
        return {"model_versions": [version_message(version) for version in found], **token}

    key = ("model versions", asked.workspace, given.text("filter"), order, first, after)
    return await asked.op.read(reads, quick=True, key=key, small=lambda page: len(page["model_versions"]) <= SMALL)


async def get_download_uri(asked: Asked) -> dict[str, Any]:
    """Where its files are; of a version that was registered without an address, where this server gives them."""
    at = asked.version
    node, _ = await asked.op.read(lambda s: version_numbered(s, at.workspace, at.name, at.number or 0), quick=True)
    return {"artifact_uri": download_uri(node) or await own_address(asked.op, node)}


async def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    key, value = asked.parameters.text("key"), asked.parameters.text("value")
    check_tag(key, value)
    await changing.set_tag.id_of(asked.op, asked.key, at=asked.version, tag=key, value=value)
    return {}


async def delete_tag(asked: Asked) -> dict[str, Any]:
    """Take a tag away; one that is not there is no error."""
    key = asked.parameters.text("key")
    check_tag(key)
    await changing.delete_tag.id_of(asked.op, asked.key, at=asked.version, tag=key)
    return {}
