"""Writes the reference pages that are derived from the code: `python -m docs.generate` (or `make docs`).

A test compares the committed pages with what this prints, so they cannot drift.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import typer
from graphql import GraphQLField
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup

from auth.scopes import MLFLOW, ROUTES, SCOPES
from gateway.rest.beside import BESIDE
from gateway.rest.openapi import tag_of
from gateway.rest.plans import Plan
from gateway.rest.routes import PATH, routes
from gateway.rest.selecting import Selector
from graph import ontology
from graph.ontology import EDGE_KINDS, NODE_KINDS, EdgeKind, NodeKind, Property
from lineal import errors
from lineal.cli import app
from lineal.settings import Settings
from schema.sdl import build_schema
from serving.targets import ADAPTERS, adapter_of

HERE = Path(__file__).parent


def logical_model() -> str:
    """Every kind of node and edge, as the ontology declares them."""
    return _page(
        "Logical model",
        "An edge points from what exists because of something to that something: *upstream* is along the arrows, "
        "*downstream* against them. Every node also has id, kind, workspace, container, createdAt, createdBy, "
        "updatedAt and revision; every edge has since, and until, which is empty while the edge is live. "
        "A property that is *private* is for Lineal alone: no field and no export shows it, and changes tell it to "
        "admins alone. One that names a scope needs that beside the kind's, and no export shows it. "
        "PROV terms are those of [PROV-O](https://www.w3.org/TR/prov-o/).",
        "## The picture\n",
        picture(),
        "## Nodes\n",
        *(_node(kind) for kind in NODE_KINDS.values()),
        "## Edges\n",
        *(_edge(kind) for kind in EDGE_KINDS.values()),
    )


def picture() -> str:
    """The lineage part of the model, as Mermaid draws it."""
    lines = ["```mermaid", "flowchart LR"]
    for kind in EDGE_KINDS.values():
        if kind.lineage is ontology.Lineage.YES:
            lines += (f"    {source} -->|{kind.name}| {target}" for source, target in kind.ends)
    lines += [
        "    DatasetVersion -.->|VERSION_OF| Dataset",
        "    ModelVersion -.->|VERSION_OF| Model",
        "    Model -.->|ALIAS, STAGE| ModelVersion",
        "```",
        "",
    ]
    return "\n".join(lines)


def _node(kind: NodeKind) -> str:
    key = f"in its {kind.within}" if kind.within else "everywhere" if kind.is_global else "in its workspace"
    owned = [
        name for name, has in (("tags", True), ("parameters", kind.has_params), ("metrics", kind.has_metrics)) if has
    ]
    facts = [
        f"- ids begin with `{kind.prefix}_`; addresses with `{kind.scheme}:/`; the name is unique {key}",
        f"- read scope: `{kind.scope}`",
        f"- PROV: `prov:{kind.prov.capitalize()}`",
        f"- has {', '.join(owned)}",
        f"- lists order by {', '.join(kind.orders)}",
    ]
    if kind.parts:
        facts.append(f"- as a root of lineage it stands for its parts: {', '.join(kind.parts)}")
    return f"### {kind.name}\n\n{kind.doc}\n\n" + "\n".join(facts) + "\n\n" + _properties(kind.properties)


def _edge(kind: EdgeKind) -> str:
    facts = [f"- {' · '.join(f'{a} → {b}' for a, b in kind.ends)}", f"- lineage: {kind.lineage.value}"]
    terms = {ontology.prov_term(kind, NODE_KINDS[a], NODE_KINDS[b]): None for a, b in kind.ends}
    facts.append(f"- PROV: {', '.join(f'`prov:{term}`' for term in terms)}")
    if kind.discriminator:
        facts.append(f"- discriminator: {kind.discriminator}")
    if kind.exclusive is not ontology.Exclusive.NO:
        facts.append(f"- open at a time: {kind.exclusive.value}")
    if kind.blocks:
        facts.append("- while open it refuses the delete of what it points to")
    return f"### {kind.name}\n\n{kind.doc}\n\n" + "\n".join(facts) + "\n\n" + _properties(kind.properties)


def _properties(properties: tuple[Property, ...]) -> str:
    if not properties:
        return ""
    rows = (f"| {p.name} | {p.type.value} | {_flags(p)} | {p.doc} |" for p in properties)
    return "| property | type | | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _flags(of: Property) -> str:
    words = ("filter" if of.filterable else "", "private" if of.private else "", f"`{of.scope}`" if of.scope else "")
    return ", ".join(filter(None, words))


def error_codes() -> str:
    """Every error code, and what it becomes on each face."""
    return _page(
        "Error codes",
        "GraphQL answers carry the code in `extensions.code`, with the field at fault in `extensions.field`; REST "
        "answers carry the status; MLflow clients see the code of their own.",
        *(
            f"## {error.code}\n\n{inspect.cleandoc(error.__doc__ or '')}\n\n"
            f"HTTP status {error.status}; MLflow `{error.mlflow_code}`.\n"
            for error in _tree(errors.LinealError)
        ),
    )


def settings() -> str:
    """Every setting, with its default."""
    return _page(
        "Settings",
        "Each is an environment variable, or a key of a TOML file: `lineal.toml` in the working directory, or the file "
        "that `LINEAL_CONFIG` names. An option of the command line comes first, then the environment, then the file.",
        *(_setting(name, field) for name, field in Settings.model_fields.items()),
    )


def _setting(name: str, field: FieldInfo) -> str:
    head = f"## LINEAL_{name.upper()}\n\n{field.description}\n\nIn the file: "
    if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
        keys = field.annotation.model_fields.items()
        rows = [f"| `{key}` | {each.description} | {_default(each)} |" for key, each in keys]
        return f"{head}the table `{name}`. Keys:\n\n| | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    return f"{head}`{name}`. Default: {_default(field)}.\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is dict:
        return "none"
    return (
        "`lineal.db` in the user's data folder"
        if field.default_factory
        else "none"
        if field.default in {None, "", ()}
        else f"`{field.default}`"
    )


def commands() -> str:
    """Every command, with its arguments and options."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return _page(
        "Commands",
        "`lineal COMMAND --help` says the same.",
        *(_command(name, command) for name, command in _commands(group)),
    )


def _commands(group: TyperGroup, before: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{before}{name} ")
        elif isinstance(command, TyperCommand):
            yield before + name, command


def _command(name: str, command: TyperCommand) -> str:
    rows = []
    for parameter in command.params:
        told = (
            f"`{', '.join(parameter.opts)}`"
            if parameter.param_type_name == "option"
            else f"`{(parameter.name or '').upper()}`"
        )
        rows.append(f"| {told} | {' '.join((getattr(parameter, 'help', None) or '').split())} |")
    table = "| | |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return f"## lineal {name}\n\n{inspect.cleandoc(command.help or '')}\n\n{table}"


def root_fields() -> str:
    """Every root field of the GraphQL schema."""
    schema = build_schema()._schema
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]
    return _page(
        "GraphQL fields",
        "What a query, a mutation and a subscription can begin with. "
        "[schema/lineal.graphql](../schema/lineal.graphql) is the whole schema, every type, field and argument "
        "described. What subscriptions are for is told [on a page of its own](live.md).",
        *(_field(root.name, name, field) for root in roots for name, field in root.fields.items()),
    )


def _field(root: str, name: str, field: GraphQLField) -> str:
    arguments = ", ".join(f"{argument}: {a.type}" for argument, a in field.args.items())
    call = f"{name}({arguments})" if arguments else name
    return f"## {root}.{name}\n\n{field.description}\n\n`{call}: {field.type}`\n"


def rest_routes() -> str:
    """Every route of the REST API, by collection."""
    schema = build_schema()
    selector = Selector(schema._schema, schema.gates.fields)
    parts: dict[str, list[str]] = {}
    for route in routes(schema._schema):
        plan = Plan(route, selector)
        needed = str(plan.needed) if plan.needed else ""
        row = f"| `{route.method} {route.path}` | {route.status} | {_first_line(plan.field)} | {needed} |"
        parts.setdefault(tag_of(route), []).append(row)
    for beside in BESIDE:
        path = beside.path if beside.below is None else beside.below
        row = f"| `{beside.method} {path}` | {beside.status} | {beside.summary} | {beside.needed} |"
        parts.setdefault(beside.tag, []).append(row)
    return _page(
        "REST routes",
        f"Every route under `{PATH}` (but those that begin with `/w/`, which stand beside it), with the status of its "
        "answer and the scopes that it needs. [REST](rest.md) tells how to use them; "
        "parameters, bodies and answers are in [schema/openapi.json](../schema/openapi.json), "
        f"and on the page at `{PATH}/docs` of a server.",
        *(
            f"## {tag}\n\n| | | | needs |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
            for tag, rows in sorted(parts.items())
        ),
    )


def _first_line(field: GraphQLField) -> str:
    return (field.description or "").split("\n")[0]


def scopes() -> str:
    """Every scope, and every field that needs one."""
    schema = build_schema()
    needed: dict[str, list[str]] = {}
    for (type_, field), requirement in schema.gates.fields.items():
        needed.setdefault(str(requirement), []).append(f"`{type_}.{field}`")
    return _page(
        "Scopes",
        "A token's scopes decide which fields it opens; roles in workspaces decide of which things. `admin` stands for "
        "all of them. What a field needs is also in the schema, as `@requiresScopes`.",
        "## What each scope opens\n",
        "| scope | opens |\n|---|---|\n" + "\n".join(f"| `{name}` | {doc} |" for name, doc in SCOPES.items()) + "\n",
        "## What each field needs\n",
        "| needs | fields |\n|---|---|\n"
        + "\n".join(f"| {what} | {', '.join(sorted(fields))} |" for what, fields in sorted(needed.items()))
        + "\n",
        "## What each route needs\n",
        "| route | needs |\n|---|---|\n"
        + "\n".join(f"| `{route}` | {what} |" for route, what in ROUTES.items())
        + "\n",
        "## What each endpoint of MLflow's registry needs\n",
        "| endpoint | needs |\n|---|---|\n"
        + "\n".join(f"| `{name}` | {needs or 'nothing'} |" for name, needs in MLFLOW.items())
        + "\n",
    )


def _tree(root: type[errors.LinealError]) -> Iterator[type[errors.LinealError]]:
    # Others may refine an error for themselves; clients see the code of this one.
    for error in (each for each in root.__subclasses__() if each.__module__ == errors.__name__):
        yield error
        yield from _tree(error)


def _page(title: str, *parts: str) -> str:
    return f"# {title}\n\n<!-- written by docs/generate.py -->\n\n" + "\n".join(f"{part.rstrip()}\n" for part in parts)


def platforms() -> str:
    """Every serving platform: what its adapter says of itself, and what a target of it may have."""
    return _page(
        "Serving platforms",
        "What a target of each platform may have in the TOML file of [targets](deployments.md#targets), and how Lineal "
        "uses it.",
        *(_platform(name) for name in ADAPTERS),
    )


def _platform(name: str) -> str:
    adapter = adapter_of(name)
    module = inspect.getdoc(inspect.getmodule(adapter)) or ""
    splits = "by weight" if adapter.splits else "not: one version has all requests that name none"
    rows = [
        ("files", ", ".join(f"`{mode}`" for mode in adapter.modes)),
        ("splits traffic", splits),
        ("options", ", ".join(f"`{option}`" for option in adapter.options) or "none"),
        ("secrets", ", ".join(f"`{secret}_env` or `{secret}_file`" for secret in adapter.secrets) or "none"),
    ]
    table = "\n".join(["| | |", "|---|---|", *(f"| {title} | {value} |" for title, value in rows)])
    return f"## {name}\n\n{table}\n\n```text\n{module}\n```\n"


PAGES: dict[str, Callable[[], str]] = {
    "logical-model.md": logical_model,
    "errors.md": error_codes,
    "settings.md": settings,
    "commands.md": commands,
    "graphql.md": root_fields,
    "rest-routes.md": rest_routes,
    "scopes.md": scopes,
    "platforms.md": platforms,
}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (HERE / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
