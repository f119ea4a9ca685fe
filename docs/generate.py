"""Writes the reference pages that are derived from the code: `python -m docs.generate` (or `make docs`).

A test compares the committed pages with what this prints, so they cannot drift.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from graph import ontology
from graph.ontology import EDGE_KINDS, NODE_KINDS, EdgeKind, NodeKind, Property
from lineal import errors

HERE = Path(__file__).parent


def logical_model() -> str:
    """Every kind of node and edge, as the ontology declares them."""
    return _page(
        "Logical model",
        "An edge points from what exists because of something to that something: *upstream* is along the arrows, "
        "*downstream* against them. Every node also has id, kind, workspace, container, createdAt, createdBy, updatedAt and "
        "revision; every edge has since and until, which is empty while the edge is live. PROV terms are those of "
        "[PROV-O](https://www.w3.org/TR/prov-o/).",
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
    lines += ["    DatasetVersion -.->|VERSION_OF| Dataset", "    ModelVersion -.->|VERSION_OF| Model", "    Model -.->|ALIAS, STAGE| ModelVersion", "```", ""]
    return "\n".join(lines)


def _node(kind: NodeKind) -> str:
    key = f"in its {kind.within}" if kind.within else "everywhere" if kind.is_global else "in its workspace"
    owned = [name for name, has in (("tags", True), ("parameters", kind.has_params), ("metrics", kind.has_metrics)) if has]
    facts = [
        f"- ids begin with `{kind.prefix}_`; addresses with `{kind.scheme}:/`; the name is unique {key}",
        f"- read scope: `{kind.scope}`",
        f"- has {', '.join(owned)}",
        f"- lists order by {', '.join(kind.orders)}",
    ]
    if kind.parts:
        facts.append(f"- as a root of lineage it stands for its parts: {', '.join(kind.parts)}")
    return f"### {kind.name}\n\n{kind.doc}\n\n" + "\n".join(facts) + "\n\n" + _properties(kind.properties)


def _edge(kind: EdgeKind) -> str:
    facts = [f"- {' · '.join(f'{a} → {b}' for a, b in kind.ends)}", f"- lineage: {kind.lineage.value}"]
    if kind.prov:
        facts.append(f"- PROV: `prov:{kind.prov}`")
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
    rows = (
        f"| {p.name} | {p.type.value} | {'filter' if p.filterable else ''} | {p.doc} |" for p in properties
    )
    return "| property | type | | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def error_codes() -> str:
    """Every error code, and what it becomes on each face."""
    return _page(
        "Error codes",
        "GraphQL answers carry the code in `extensions.code`, with the field at fault in `extensions.field`; REST answers "
        "carry the status; MLflow clients see the code of their own.",
        *(
            f"## {error.code}\n\n{(error.__doc__ or '').strip()}\n\nHTTP status {error.status}; MLflow `{error.mlflow_code}`.\n"
            for error in _tree(errors.LinealError)
        ),
    )


def _tree(root: type[errors.LinealError]) -> Iterator[type[errors.LinealError]]:
    for error in root.__subclasses__():
        yield error
        yield from _tree(error)


def _page(title: str, *parts: str) -> str:
    return f"# {title}\n\n<!-- written by docs/generate.py -->\n\n" + "\n".join(f"{part.rstrip()}\n" for part in parts)


PAGES: dict[str, Callable[[], str]] = {"logical-model.md": logical_model, "errors.md": error_codes}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (HERE / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
