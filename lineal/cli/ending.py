"""Commands that end things: retire, mark, unmark. Each says what is affected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from graph.address import parse
from lineal.cli import options, output
from lineal.cli.output import Format
from lineal.errors import InvalidArgument, NotFound
from lineal.remote import Remote

AFFECTED: Final = """query Affected($mark: ID!, $models: String, $deployments: String) {
mark(address: $mark) { affected {
  complete modelCount versionCount deploymentCount restrictedCount
  models(first: 500, after: $models) { nodes { address } pageInfo { hasNextPage endCursor } }
  deployments(first: 500, after: $deployments) { nodes { address } pageInfo { hasNextPage endCursor } }
} } }"""
MARK: Final = "mutation Mark($input: MarkDatasetInput!) { markDataset(input: $input) { mark { id type } } }"
UNMARK: Final = "mutation Unmark($input: UnmarkInput!) { unmark(input: $input) { mark { id type } } }"
MARKS: Final = "query Marks($of: ID!) { found: %s(address: $of) { marks(first: 500) { nodes { id type } } } }"
RETIRE: Final = "mutation Retire($input: RetireInput!) { retire(input: $input) { version { id address } } }"
DOWNSTREAM: Final = """query Downstream($of: ID!) {
  lineage(of: [$of], direction: DOWNSTREAM, depth: 200, kinds: [MODEL_VERSION, DEPLOYMENT], limit: 20000) {
    complete nodes { id kind restricted node { address } }
  }
}"""

_MARKED: Final = {"Dataset": "dataset", "DatasetVersion": "datasetVersion"}

Output = Annotated[Format, typer.Option("--format", help="Text for people, or one JSON object.")]
Reason = Annotated[str, typer.Option(help="Why. Those who are told read it.", show_default=False)]


class MarkType(StrEnum):
    """What a mark says."""

    CONTAMINATED = "CONTAMINATED"
    FORBIDDEN = "FORBIDDEN"


def mark(
    dataset: Annotated[
        str,
        typer.Argument(
            help="The data set, or a version of one: datasets:/name, datasets:/name/v2.", show_default=False
        ),
    ],
    reason: Reason,
    type: Annotated[MarkType, typer.Option(help="What the mark says.")] = MarkType.CONTAMINATED,
    format: Output = Format.TEXT,
) -> None:
    """Mark a data set as contaminated or forbidden, and show every model and deployment that this affects.

    The owners and watchers of those are told. The server is LINEAL_URL, the token LINEAL_TOKEN.
    """
    with Remote.of(options.settings()) as remote:
        input_ = {"dataset": dataset, "reason": reason, "type": type.value}
        made = remote.ask(MARK, input=input_)["markDataset"]["mark"]
        _tell({"dataset": dataset, "mark": made["id"], "type": made["type"], **_affected(remote, made["id"])}, format)


def unmark(
    of: Annotated[
        str,
        typer.Argument(
            metavar="MARK|DATASET",
            help="A mark by id, or a data set, all of whose marks are taken off.",
            show_default=False,
        ),
    ],
    reason: Reason,
    type: Annotated[MarkType | None, typer.Option(help="Only the mark of this type.", show_default=False)] = None,
    format: Output = Format.TEXT,
) -> None:
    """Take marks off a data set again, and show what this affects. The marks stay in history."""
    with Remote.of(options.settings()) as remote:
        for each in _marks(remote, of, type):
            done = remote.ask(UNMARK, input={"mark": each, "reason": reason})["unmark"]["mark"]
            _tell({"mark": done["id"], "type": done["type"], "lifted": True, **_affected(remote, done["id"])}, format)


def retire(
    version: Annotated[str, typer.Argument(help="The version: models:/name/3.", show_default=False)],
    reason: Reason,
    force: Annotated[
        bool, typer.Option("--force", help="Although deployments serve it, or versions depend on it.")
    ] = False,
    format: Output = Format.TEXT,
) -> None:
    """Retire a version, and show what came of it. Refused while anything depends on it, which is then named."""
    with Remote.of(options.settings()) as remote:
        input_ = {"version": version, "reason": reason, "force": force}
        done = remote.ask(RETIRE, input=input_)["retire"]["version"]
        found = remote.ask(DOWNSTREAM, of=done["id"])["lineage"]
        came = [each for each in found["nodes"] if each["id"] != done["id"]]
        by_kind = {
            kind: [each["node"]["address"] for each in came if each["kind"] == kind and not each["restricted"]]
            for kind in ("MODEL_VERSION", "DEPLOYMENT")
        }
        facts = {
            "version": done["address"],
            "versions": sum(each["kind"] == "MODEL_VERSION" for each in came),
            "derived": sorted(by_kind["MODEL_VERSION"]),
            "deployments": sorted(by_kind["DEPLOYMENT"]),
            "restricted": sum(each["restricted"] for each in came),
            "complete": found["complete"],
        }
    _tell(facts, format)


def _marks(remote: Remote, of: str, type: MarkType | None) -> list[str]:
    """The ids of the marks that are meant. Raises NotFound, InvalidArgument."""
    kind = parse(of, field="mark").kind
    if kind == "Mark":
        return [of]
    if kind not in _MARKED:
        raise InvalidArgument(
            f"mark: {of!r} names a {kind}; what is marked is a data set or a version of one", field="mark"
        )
    found = remote.ask(MARKS % _MARKED[kind], of=of)["found"]
    marks = [
        each["id"] for each in (found or {"marks": {"nodes": []}})["marks"]["nodes"] if type in {None, each["type"]}
    ]
    if not marks:
        raise NotFound(f"mark: {of!r} has no mark{f' of type {type.value}' if type else ''}", field="mark")
    return marks


def _affected(remote: Remote, mark: str) -> dict[str, Any]:
    """What came of what a mark is on, page after page."""
    facts: dict[str, Any] = {"models": [], "deployments": []}
    after: dict[str, str | None] = {"models": None, "deployments": None}
    while True:
        found = remote.ask(AFFECTED, mark=mark, **after)["mark"]["affected"]
        pages = {name: found[name] for name in after}
        for name, page in pages.items():
            facts[name] += [each["address"] for each in page["nodes"]]
        if not any(page["pageInfo"]["hasNextPage"] for page in pages.values()):
            return {
                "versions": found["versionCount"],
                "models": sorted(facts["models"]),
                "deployments": sorted(facts["deployments"]),
                "restricted": found["restrictedCount"],
                "complete": found["complete"],
            }
        after = {name: page["pageInfo"]["endCursor"] or after[name] for name, page in pages.items()}


def _tell(facts: Mapping[str, Any], format: Format) -> None:
    if format is Format.JSON:
        output.as_json(facts)
    else:
        output.lines(_lines(facts))
    if not facts["complete"]:
        output.warn("NOT COMPLETE: not everything that came of it could be walked, so there may be more")


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    if "version" in facts:
        yield f"{facts['version']} is retired"
    elif "lifted" in facts:
        yield f"{facts['mark']} is taken off: {facts['type']} no more"
    else:
        yield f"{facts['dataset']} is {facts['type']}: {facts['mark']}"
    hidden = f", {facts['restricted']:,} of which you may not read" if facts["restricted"] else ""
    of = f" of {len(facts['models']):,} models" if "models" in facts else ""
    yield f"{facts['versions']:,} versions{of} and {len(facts['deployments']):,} deployments are affected{hidden}"
    for name in ("deployments", "models", "derived"):
        yield from (f"  {address}" for address in facts.get(name, ()))
