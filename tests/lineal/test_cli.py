"""The command line, on a real store: what it prints, in which form, and how it fails."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from graph.port import NewEdge, NewNode
from graph.sqlite.store import SqliteGraph
from lineal import __version__, cli
from schema.sdl import print_sdl
from schema.subgraph import Flavour, print_subgraph
from tests import building


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Lineal = Callable[..., Ran]


async def _family(path: Path) -> None:
    """A base that learned from a corpus, three derivatives in a diamond, and a deployment of the last."""
    async with SqliteGraph(path) as graph:
        await graph.migrate()
        _, (base,) = await building.model(graph, "base", versions=1, description="where it begins")
        _, (left, right) = await building.model(graph, "middle", versions=2)
        _, (last,) = await building.model(graph, "org/last", versions=1)
        _, (data,) = await building.dataset(graph, "corpus", "unversioned")
        (serving,) = await building.create(graph, NewNode("Deployment", "serving", "default"))
        await building.dataset(graph, "twice")
        await building.model(graph, "twice")
        await building.link(
            graph,
            NewEdge("TRAINED_ON", base.id, data.id, since=1_000_000),
            *(NewEdge("DERIVED_FROM", a.id, b.id, "merge") for a, b in ((left, base), (right, base))),
            *(NewEdge("DERIVED_FROM", last.id, b.id, "merge") for b in (left, right)),
            NewEdge("SERVES", serving.id, last.id),
        )


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("store") / "lineal.db"
    asyncio.run(_family(path))
    return f"sqlite:///{path}"


@pytest.fixture
def lineal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lineal:
    def run(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lineal", *args])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        return Ran(int(code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def ask(lineal: Lineal, family: str) -> Lineal:
    """The command line on the family's store."""
    return lambda *args: lineal(*args, "--graph", family)


# ── lineage ───────────────────────────────────────────────────────────────────────────────────────


def test_a_tree_shows_each_node_once_and_says_where_it_comes_again(ask: Lineal) -> None:
    assert ask("lineage", "datasets:/corpus", "--downstream") == Ran(
        0,
        """\
datasets:/corpus  Dataset
└─ datasets:/corpus/unversioned  DatasetVersion
   └─ models:/base/1  ModelVersion
      ├─ models:/middle/1  ModelVersion
      │  └─ models:/org%2Flast/1  ModelVersion
      │     └─ deployments:/serving  Deployment
      └─ models:/middle/2  ModelVersion
         └─ models:/org%2Flast/1  ModelVersion  (see above)
6 shown; walked 1 DatasetVersion, 1 Deployment, 4 ModelVersion; complete
""",
        "",
    )


def test_upstream_is_the_default_and_a_bare_name_will_do(ask: Lineal) -> None:
    ran = ask("lineage", "org/last")
    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "models:/org%2Flast  Model",
        "└─ models:/org%2Flast/1  ModelVersion",
        "   ├─ models:/middle/1  ModelVersion",
    ]


def test_what_was_cut_off_is_said_loudly(ask: Lineal) -> None:
    ran = ask("lineage", "corpus", "--downstream", "--depth", "1")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "2 shown; walked 1 DatasetVersion, 1 ModelVersion; not complete"
    assert ran.err.startswith("NOT COMPLETE: 1 of the walked nodes has more behind them; raise --depth or --limit")


@pytest.mark.parametrize("kinds", ["Deployment", "DEPLOYMENT", "deployment,Dataset"])
def test_kinds_filter_what_is_shown_and_the_walk_goes_through_the_others(ask: Lineal, kinds: str) -> None:
    ran = ask("lineage", "corpus", "--downstream", "--kinds", kinds)
    assert ran.out.splitlines()[:2] == [
        "datasets:/corpus  Dataset",
        "· deployments:/serving  Deployment  at distance 4",
    ]


def test_as_json_lineage_is_one_object(ask: Lineal) -> None:
    found = json.loads(ask("lineage", "models:/base/1", "--downstream", "--depth", "1", "--format", "json").out)
    assert (found["direction"], found["complete"], len(found["frontier"])) == ("DOWNSTREAM", False, 2)
    assert [(n["address"], n["distance"]) for n in found["nodes"]] == [
        ("models:/base/1", 0),
        ("models:/middle/1", 1),
        ("models:/middle/2", 1),
    ]
    assert {e["discriminator"] for e in found["edges"]} == {"merge"}
    assert found["countsByKind"] == {"ModelVersion": 3}
    assert found["roots"][0]["kind"] == "ModelVersion"


def test_as_mermaid_it_is_a_flowchart_along_the_arrows(ask: Lineal) -> None:
    assert ask("lineage", "corpus", "--downstream", "--depth", "1", "--format", "mermaid").out == (
        "flowchart LR\n    %% Not complete: 1 of the walked nodes has more behind them.\n"
        '    n0["datasets:/corpus/unversioned"]\n    n1["models:/base/1"]\n    n1 -->|TRAINED_ON| n0\n'
    )


def test_as_dot_it_is_a_digraph(ask: Lineal) -> None:
    lines = ask("lineage", "corpus", "--downstream", "--depth", "1", "--format", "dot").out.splitlines()
    assert (lines[0], lines[-1]) == ("digraph lineage {", "}")
    assert any(line.endswith('[label="TRAINED_ON"];') for line in lines)


def test_as_of_looks_at_an_earlier_time(ask: Lineal) -> None:
    early = ask("lineage", "datasets:/corpus", "--downstream", "--as-of", "1970-01-01T00:00:00+00:00")
    assert (early.code, early.err) == (1, "error: of: nothing is there for 'datasets:/corpus'\n")
    assert ask("lineage", "datasets:/corpus", "--downstream", "--as-of", "2999-01-01").code == 0


def test_edges_limits_what_is_walked(ask: Lineal) -> None:
    ran = ask("lineage", "corpus", "--downstream", "--edges", "trained_on")
    assert ran.out.splitlines()[-1] == "2 shown; walked 1 DatasetVersion, 1 ModelVersion; complete"
    ran = ask("lineage", "corpus", "--downstream", "--edges", "trained_on", "--format", "mermaid")
    assert "Only edges of the kinds asked for were walked." in ran.out
    assert "Only edges of the kinds asked for were walked." in ran.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lineage", "nobody"], "error: 'nobody': nothing has this name; try lineal search"),
        (["lineage", "models:/nobody"], "error: of: nothing is there for 'models:/nobody'"),
    ],
)
def test_what_is_not_there_ends_with_1(ask: Lineal, args: list[str], message: str) -> None:
    ran = ask(*args)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(message)
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lineage", "twice"], "'twice': several things have this name; say which: datasets:/twice, models:/twice"),
        (["lineage", "models:/a/b/c"], "of: 'models:/a/b/c' is neither an id nor an address"),
        (["lineage", "base", "--depth", "0"], "depth: must be 1 to 200, not 0"),
        (["lineage", "base", "--kinds", "Modell"], "--kinds: there is no 'Modell'; there are Workspace, Model, "),
        (["lineage", "base", "--edges", "LIKES"], "--edges: there is no 'LIKES'; there are READ, "),
        (["lineage", "base", "--as-of", "then"], "--as-of: 'then' is no time; it looks like 2026-03-01"),
        (["search", "base", "--limit", "0"], "--limit: must be 1 to 500, not 0"),
    ],
)
def test_what_was_asked_wrongly_ends_with_2_and_says_what_would_be_right(
    ask: Lineal, args: list[str], message: str
) -> None:
    ran = ask(*args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {message}")
    assert len(ran.err.splitlines()) == 1


def test_a_store_that_is_not_there_is_not_made_by_asking(lineal: Lineal, tmp_path: Path) -> None:
    ran = lineal("search", "x", "--graph", f"sqlite:///{tmp_path / 'none.db'}")
    assert ran.code == 1
    assert ran.err.startswith("error: there is no store at ")
    assert not (tmp_path / "none.db").exists()


# ── paths, search, schema, version ────────────────────────────────────────────────────────────────


def test_paths_are_listed_with_their_number(ask: Lineal) -> None:
    via = "models:/base/1 ← models:/middle/{} ← models:/org%2Flast/1"
    way = f"datasets:/corpus/unversioned ← {via} ← deployments:/serving"
    assert ask("paths", "corpus", "serving").out.splitlines() == [way.format(1), way.format(2), "2 of 2 paths"]
    assert ask("paths", "serving", "corpus", "--upstream", "--limit", "1").out.splitlines()[-1] == "1 of 2 paths"


def test_paths_as_json_have_nodes_and_hops(ask: Lineal) -> None:
    found = json.loads(ask("paths", "models:/base/1", "models:/org%2Flast/1", "--format", "json").out)
    assert (found["count"], found["complete"], len(found["paths"])) == ("2", True, 2)
    names = {n["id"]: n["address"] for n in found["nodes"]}
    for path in found["paths"]:
        for (start, end), hop in zip(pairwise(path["nodes"]), path["hops"], strict=True):
            assert [(names[e["target"]], names[e["source"]]) for e in hop] == [(names[start], names[end])]


def test_paths_that_could_not_all_be_walked_say_so(ask: Lineal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAL_MAX_WALK", "2")
    ran = ask("paths", "corpus", "serving")
    assert ran.out.splitlines()[-1] == "0 of an unknown number paths"
    assert ran.err.startswith("NOT COMPLETE")


def test_search_finds_by_the_beginnings_of_words(ask: Lineal) -> None:
    assert ask("search", "where", "beg").out == "models:/base  Model\n1 of 1 found\n"
    found = json.loads(ask("search", "twi", "--kinds", "Dataset", "--format", "json").out)
    assert (found["total"], [n["address"] for n in found["nodes"]]) == (1, ["datasets:/twice"])


def test_the_schema_and_the_version_are_printed(lineal: Lineal) -> None:
    assert lineal("schema").out == print_sdl()
    for flavour in Flavour:
        assert lineal("schema", "--federation", flavour.value).out == print_subgraph(flavour)
    assert lineal("version").out == f"{__version__}\n"


def test_help_is_for_newcomers(lineal: Lineal) -> None:
    ran = lineal("--help")
    assert ran.code == 0
    for command in ("serve", "demo", "migrate", "export", "import", "lineage", "paths", "search", "schema", "version"):
        assert f"\n  {command} " in ran.out
    assert "Begin with: lineal demo" in ran.out
    assert lineal("lineage", "--nonsense").code == 2


# ── migrate, export, import ───────────────────────────────────────────────────────────────────────


def test_migrate_says_what_it_applied(lineal: Lineal, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    first = json.loads(lineal("migrate", "--format", "json", "--graph", url).out)
    assert first["applied"]
    assert lineal("migrate", "--graph", url).out == f"{url} is up to date\n"


def test_an_export_goes_through_a_file_into_another_store(ask: Lineal, lineal: Lineal, tmp_path: Path) -> None:
    file, other = tmp_path / "export.jsonl", f"sqlite:///{tmp_path / 'other.db'}"
    ran = ask("export", str(file))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"wrote {len(file.read_bytes().splitlines())} lines to {file}\n"
    assert lineal("import", str(file), "--graph", other).out.endswith("0 chunks of metrics; 23 were new\n")
    again = json.loads(lineal("import", str(file), "--format", "json", "--graph", other).out)
    assert again == {"nodes": 13, "edges": 11, "chunks": 0, "new": 0}
    assert lineal("export", "--graph", other).out == file.read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_import_reads_standard_input(
    ask: Lineal, lineal: Lineal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ask("export", "-").out.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert lineal("import", "-", "--graph", f"sqlite:///{tmp_path / 'other.db'}").code == 0


def test_a_wrong_import_names_every_line(lineal: Lineal, tmp_path: Path) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text('{"lineal":{"format":1}}\n{}\nnonsense\n' + "[]\n" * 20)
    ran = lineal("import", str(file), "--graph", f"sqlite:///{tmp_path / 'other.db'}")
    assert ran.code == 2
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: line 2: must be an object")
    assert lines[1].startswith("error: line 3: is not JSON")
    assert (len(lines), lines[-1]) == (21, "error: and 2 more")


def test_files_that_cannot_be_read_or_written_are_named(ask: Lineal, tmp_path: Path) -> None:
    missing = tmp_path / "none" / "file"
    assert ask("import", str(missing)) == Ran(2, "", f"error: there is no file {missing}\n")
    assert ask("export", str(missing)) == Ran(1, "", f"error: {missing} cannot be written: No such file or directory\n")


def test_serving_wider_than_loopback_is_refused(ask: Lineal) -> None:
    ran = ask("serve", "--host", "0.0.0.0")
    assert ran.code == 2
    assert ran.err.startswith("error: host: '0.0.0.0' can be reached from other machines, and no issuer is configured")


# ── token ─────────────────────────────────────────────────────────────────────────────────────────


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    part = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return said


def test_a_token_is_one_line_that_goes_into_a_header(lineal: Lineal) -> None:
    ran = lineal("token")
    assert (ran.code, ran.err) == (0, "")
    said = claims(ran.out.strip())
    assert (said["sub"], said["exp"] - said["iat"]) == ("me", 3_600)
    assert "model:read" in said["scope"]
    assert "admin" not in said["scope"].split()
    assert "lineal_workspaces" not in said


def test_a_token_says_what_it_was_asked_to(lineal: Lineal) -> None:
    given = ("--scope", "lineage:read model:read", "--scope", "dataset:read", "--workspace", "vision,nlp")
    said = claims(lineal("token", *given, "--as", "ann", "--expires", "30m").out.strip())
    assert said["scope"] == "model:read dataset:read lineage:read"
    assert said["lineal_workspaces"] == ["vision", "nlp"]
    assert (said["sub"], said["exp"] - said["iat"]) == ("ann", 1_800)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--scope", "modle:read"), "error: scope: there is no 'modle:read'; there are model:read, dataset:read, "),
        (("--expires", "soon"), "error: expires: 'soon' is no time span; it looks like 30m, 8h or 90d\n"),
        (("--expires", "400d"), "error: expires: must be 1 minute to 366 days\n"),
        (("--workspace", "No!"), "error: workspace: a workspace's name is 1 to 63 characters"),
    ],
)
def test_a_token_that_cannot_be_is_refused(lineal: Lineal, given: tuple[str, ...], message: str) -> None:
    ran = lineal("token", *given)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(message)


def test_where_there_are_issuers_tokens_come_from_them(lineal: Lineal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAL_ISSUERS", '[{"name": "corp", "url": "https://issuer.example"}]')
    ran = lineal("token")
    assert ran.code == 2
    assert ran.err.startswith("error: issuers: tokens come from corp; ")
