"""Options that several commands have, and how what is given becomes what use cases take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from graph import ontology, validation
from graph.ids import kind_of
from graph.naming import addresses
from graph.port import Node, Paging, Prop
from lineal.errors import InvalidArgument, NotFound
from lineal.settings import Settings
from resolvers.operation import Operation

GraphUrl = Annotated[
    str | None,
    typer.Option(
        "--graph",
        metavar="URL",
        help="The store: sqlite:///file.db, or neo4j://host:7687 with LINEAL_GRAPH_USER and LINEAL_GRAPH_PASSWORD. "
        "Default: LINEAL_GRAPH, lineal.toml, or a file in your data folder.",
        show_default=False,
    ),
]

_BARE = tuple(kind.name for kind in ontology.NODE_KINDS.values() if kind.name == "Field" or not kind.within)
"""Kinds that a bare name may mean; those of versions and revisions say nothing by themselves."""


def pair(text: str, option: str, form: str = "KEY=VALUE") -> tuple[str, str]:
    """What is given to an option in this form. Raises InvalidArgument: it has no name, or no equals sign."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidArgument(f"--{option}: {text!r} must be {form}", field=option)
    return name, value


def settings(graph: str | None = None, **given: object) -> Settings:
    """The settings, with what the command line says first. Nothing but warnings is logged by a command."""
    from lineal import logging

    loaded = Settings.load(graph=graph, **given)
    logging.configure("warning" if loaded.log_level == "info" else loaded.log_level, loaded.log_format)
    return loaded


def moment(text: str | None, option: str = "--as-of") -> int | None:
    """ISO 8601 as microseconds since the epoch; without an offset it is UTC. Raises InvalidArgument."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{option}: {text!r} is no time; it looks like 2026-03-01 or 2026-03-01T12:30:00Z"
        raise InvalidArgument(msg, field=option.removeprefix("--")) from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def kinds(given: Sequence[str] | None) -> list[str] | None:
    """Node kinds as the ontology writes them, from ModelVersion, MODEL_VERSION or model_version."""
    return _known(given, {k.constant: k.name for k in ontology.NODE_KINDS.values()}, "--kinds")


def edges(given: Sequence[str] | None) -> list[str] | None:
    """Edge kinds as the ontology writes them."""
    return _known(given, {name: name for name in ontology.WALKABLE_EDGES}, "--edges")


def _known(given: Iterable[str] | None, known: Mapping[str, str], option: str) -> list[str] | None:
    if not given:
        return None
    names = []
    for text in (part.strip() for item in given for part in item.split(",")):
        name = known.get(ontology.constant(text))
        if name is None:
            msg = f"{option}: there is no {text!r}; there are {', '.join(known.values())}"
            raise InvalidArgument(msg, field=option)
        names.append(name)
    return names


async def reference(op: Operation, text: str) -> str:
    """An id or address as it is, or the id of the only thing with this very name.

    Raises NotFound (nothing has the name), InvalidArgument (several things do, and the message lists them).
    """
    if _is_address(text):
        return text
    snapshot = await op.snapshot()
    where = Prop("name", "eq", validation.name(text, field="address"))
    found: list[Node] = []
    for kind in _BARE:
        found += (await snapshot.find(kind, where, paging=Paging(first=10))).items
    if not found:
        msg = f"{text!r}: nothing has this name; try lineal search, or an address such as models:/name, datasets:/name"
        raise NotFound(msg)
    if len(found) > 1:
        shown = await addresses(snapshot, found)
        msg = f"{text!r}: several things have this name; say which: {', '.join(sorted(shown.values()))}"
        raise InvalidArgument(msg, field="address", candidates=sorted(shown.values()))
    return found[0].id


def _is_address(text: str) -> bool:
    scheme, separator, _ = text.partition(":/")
    return kind_of(text) is not None or (bool(separator) and scheme in {k.scheme for k in ontology.NODE_KINDS.values()})
