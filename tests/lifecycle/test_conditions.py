"""Every condition of a gate, met and not met, with the figures and names that it tells; and how they are written."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from graph.ids import new_id
from graph.port import Edge, EdgeMatch, NewNode
from lineal.errors import InvalidArgument, PreconditionFailed
from resolvers.lifecycle import conditions, thresholds
from resolvers.writing.datasets import rename_dataset
from resolvers.writing.evaluations import record_evaluation
from resolvers.writing.lifecycle import delete_alias, set_alias
from tests import building
from tests.lifecycle.conftest import ANN, EVE, PLACE, House, World

NQ, V1, V2 = f"datasets:/{PLACE}:nq", f"datasets:/{PLACE}:nq/v1", f"datasets:/{PLACE}:nq/v2"


@dataclass(frozen=True)
class Row:
    """A condition, what is so, and what is said."""

    name: str
    condition: Mapping[str, Any]
    given: Callable[[World], Awaitable[Any]]
    met: bool
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)


async def nothing(_: World) -> None:
    """Nothing is said of the version."""


async def old(world: World) -> None:
    """An evaluation of long ago."""
    record = building.record("Evaluation", "old", workspace=PLACE)
    edges = [
        Edge(kind, record.node.id, target, "", record.node.created_at)
        for kind, target in (("EVALUATES", world.version(1).id), ("EVALUATED_ON", world.data[0].id))
    ]
    await building.load(world.graph, [record], edges)


async def validated(world: World, *states: str, **metrics: float) -> None:
    """Validations on the data, one after the other, that came to these states."""
    for state in states:
        props = {"state": state, "suite": "s"}
        (validation,) = await building.create(world.graph, NewNode("Validation", new_id("va"), PLACE, props=props))
        await world.link("REPORTED", validation, await world.evaluate(1, "v1", PLACE, **metrics))


async def champion(world: World, theirs: float, on: str = "v1") -> None:
    """Version 2 is the champion, with a figure."""
    await world.link("ALIAS", world.model, world.version(2), "champion")
    await world.evaluate(2, on, auc=theirs)


async def against(world: World, mine: float, theirs: float, on: str = "v1") -> None:
    """Version 1 beside the champion."""
    await world.evaluate(1, "v1", auc=mine)
    await champion(world, theirs, on)


async def sliced(world: World) -> None:
    """Figures on two slices, on which the champion is the better and the worse."""
    await world.evaluate(1, auc=0.9, auc__DE=0.8, auc__FR=0.95)
    await world.link("ALIAS", world.model, world.version(2), "champion")
    await world.evaluate(2, auc=0.9, auc__DE=0.9, auc__FR=0.9)


async def fewer(world: World) -> None:
    """The champion was measured on a slice that the version was not."""
    await world.evaluate(1, auc__DE=0.9)
    await world.link("ALIAS", world.model, world.version(2), "champion")
    await world.evaluate(2, auc__DE=0.9, auc__FR=0.9)


async def lately(world: World) -> None:
    """What was measured last is on data that the champion was not measured on."""
    await against(world, 0.95, 0.5)
    await world.evaluate(1, "v2", auc=0.01)


async def former(world: World) -> None:
    """There was a champion, and is none now."""
    await world.link("ALIAS", world.model, world.version(2), "champion")
    await building.unlink(world.graph, EdgeMatch("ALIAS", world.model.id))
    await world.evaluate(1, auc=1.0)


async def shadowed(world: World) -> None:
    """Version 2 is in production, and version 1 has an alias of that name."""
    await world.link("STAGE", world.model, world.version(2), "Production")
    await world.link("ALIAS", world.model, world.version(1), "Production")
    await world.evaluate(1, auc=0.1)
    await world.evaluate(2, auc=0.9)


async def itself(world: World) -> None:
    """Version 1 is the champion."""
    await world.link("ALIAS", world.model, world.version(1), "champion")
    await world.evaluate(1, auc=0.1)


async def foreign(world: World) -> None:
    """Somebody measured it in a workspace of theirs."""
    await building.workspace(world.graph, "elsewhere")
    await world.evaluate(1, workspace="elsewhere", auc=0.99)


async def produced(world: World) -> None:
    """A run made the version, and both have figures."""
    run = (await building.create(world.graph, NewNode("Run", new_id("ru"), PLACE)))[0]
    await world.link("PRODUCED_BY", world.version(1), run)
    await world.log(run.id, auc=0.7, f1=0.6)
    await world.log(world.version(1).id, auc=0.8)


async def based(world: World, license: str | None, data: str | None = None) -> None:
    """Version 1 is MIT, and was made from another one; and from data."""
    _, parent = await world.chain(1)
    await world.set(world.version(1), license="MIT")
    await world.set(parent, license=license)
    await world.link("TRAINED_ON", parent, world.data[0], "train")
    await world.set(world.dataset, license=data)


async def trained(world: World, marked: str | None, type: str = "FORBIDDEN") -> None:
    """Version 1 learned from v1 and uses a field; something may have a mark on it."""
    (column,) = await building.create(world.graph, NewNode("Field", "question", PLACE, world.dataset.id))
    other, _ = await building.dataset(world.graph, "other", "v1", workspace=PLACE)
    await world.link("TRAINED_ON", world.version(1), world.data[0], "train")
    await world.link("USES", world.version(2), column)
    things = {"version": world.data[0], "dataset": world.dataset, "other": other, "v2": world.data[1]}
    if marked is not None:
        await world.mark(things[marked], type)


async def files(world: World, **props: Any) -> None:
    """Two files: one as it should be, and one that is as told."""
    await world.file(1, "a", verification="VERIFIED", signature="VALID", signedBy="SHA256:me", pickles="NONE")
    await world.file(1, "b", **{"verification": "VERIFIED", "signature": "VALID", "signedBy": "SHA256:me", **props})


def evaluated(*datasets: str, **more: Any) -> dict[str, Any]:
    return {"type": "evaluated", "datasets": list(datasets), **more}


def threshold(metric: str, **more: Any) -> dict[str, Any]:
    return {"type": "threshold", "metric": metric, **more}


def licensed(*allowed: str, **more: Any) -> dict[str, Any]:
    return {"type": "license", "allowed": list(allowed), **more}


RELATIVE = "auc >= champion.auc - 0.01"
ROWS = [
    Row("no evaluation", evaluated(NQ), nothing, False, f"no evaluation on every data set: {NQ}"),
    Row("an evaluation on any version", evaluated(NQ), lambda w: w.evaluate(1, "v2"), True, "there are"),
    Row("an evaluation on this version", evaluated(V1), lambda w: w.evaluate(1, "v1"), True, "there are"),
    Row("an evaluation on another version", evaluated(V1), lambda w: w.evaluate(1, "v2"), False, V1),
    Row("one of two evaluations", evaluated(V1, V2), lambda w: w.evaluate(1, "v1"), False, f"set: {V2}"),
    Row("another version's evaluation", evaluated(V1), lambda w: w.evaluate(2, "v1"), False, V1),
    Row("a data set that is not there", evaluated("datasets:/gone"), nothing, False, "datasets:/gone"),
    Row("an evaluation of today", evaluated(V1, newerThanDays=1), lambda w: w.evaluate(1), True, "there are"),
    Row("a validation", evaluated(V1), lambda w: validated(w, "FAILED", "SUCCEEDED"), True, "there are"),
    Row("one that failed", evaluated(V1), lambda w: validated(w, "FAILED"), False, f"that failed: {V1}"),
    Row("one that failed since", evaluated(NQ), lambda w: validated(w, "SUCCEEDED", "FAILED"), False, "that failed"),
    Row(
        "figures of one that failed",
        threshold("auc < 0.2", dataset=V1),
        lambda w: validated(w, "FAILED", auc=0.1),
        True,
        "auc 0.1 < 0.2",
        {"auc": 0.1, "limit of auc": 0.2},
    ),
    Row("an evaluation of long ago", evaluated(V1, newerThanDays=30), old, False, f"older than 30 days: {V1}"),
    Row("an old one where age is not asked for", evaluated(V1), old, True, "there are"),
    Row(
        "a figure above its threshold",
        threshold("auc >= 0.9", dataset=NQ),
        lambda w: w.evaluate(1, auc=0.93),
        True,
        "is met: auc 0.93 >= 0.9",
        {"auc": 0.93, "limit of auc": 0.9},
    ),
    Row("a figure at it", threshold("auc >= 0.9", dataset=NQ), lambda w: w.evaluate(1, auc=0.9), True, "0.9 >= 0.9"),
    Row("a figure that must be more", threshold("auc > 0.9", dataset=NQ), lambda w: w.evaluate(1, auc=0.9), False, ">"),
    Row(
        "a figure below it",
        threshold("auc >= 0.9", dataset=NQ),
        lambda w: w.evaluate(1, auc=0.5),
        False,
        "is not met: auc 0.5 >= 0.9",
        {"auc": 0.5, "limit of auc": 0.9},
    ),
    Row("what must be less", threshold("loss <= 0.1", dataset=NQ), lambda w: w.evaluate(1, loss=0.05), True, "<= 0.1"),
    Row("an endless number", threshold("auc >= 0", dataset=NQ), lambda w: w.evaluate(1, auc=math.inf), False, "inf"),
    Row("no number at all", threshold("auc >= 0", dataset=NQ), lambda w: w.evaluate(1, auc=math.nan), False, "nan"),
    Row("no such figure", threshold("f1 >= 0", dataset=NQ), lambda w: w.evaluate(1, auc=1.0), False, "compare: f1"),
    Row("no evaluation of it", threshold("auc >= 0", dataset=NQ), nothing, False, "no figures to compare"),
    Row("no data set of that name", threshold("auc >= 0", dataset="datasets:/gone"), nothing, False, "datasets:/gone"),
    Row("its own figure before its run's", threshold("auc >= 0.75"), produced, True, "auc 0.8 >= 0.75"),
    Row("its run's figure", threshold("f1 >= 0.75"), produced, False, "f1 0.6 >= 0.75", {"f1": 0.6}),
    Row(
        "a little worse than the champion",
        threshold(RELATIVE, dataset=NQ),
        lambda w: against(w, 0.895, 0.9),
        True,
        "auc 0.895 >= champion.auc 0.9 - 0.01 = 0.89",
        {"auc": 0.895, "champion.auc": 0.9, "limit of auc": 0.89},
    ),
    Row(
        "too much worse than the champion",
        threshold(RELATIVE, dataset=NQ),
        lambda w: against(w, 0.88, 0.9),
        False,
        "auc 0.88 >= champion.auc 0.9 - 0.01 = 0.89",
    ),
    Row(
        "a champion on other data", threshold(RELATIVE, dataset=NQ), lambda w: against(w, 1, 0, "v2"), False, "no figu"
    ),
    Row("no champion yet", threshold(RELATIVE, dataset=NQ), lambda w: w.evaluate(1, auc=1.0), False, "yet: champion"),
    Row(
        "none, and the first may",
        threshold(RELATIVE, dataset=NQ, first=True),
        lambda w: w.evaluate(1, auc=0.1),
        True,
        "yet: champion",
        {"auc": 0.1},
    ),
    Row(
        "a slice",
        threshold("auc >= 0.85", dataset=NQ, slice={"country": "DE"}),
        sliced,
        False,
        "auc{country=DE} 0.8 >= 0.85",
        {"auc{country=DE}": 0.8},
    ),
    Row(
        "a slice, as metrics are named", threshold("auc{country=FR} >= 0.85", dataset=NQ), sliced, True, "0.95 >= 0.85"
    ),
    Row(
        "every slice against the champion's",
        threshold("auc >= champion.auc", dataset=NQ, slice={"country": "*"}),
        sliced,
        False,
        "auc{country=FR} 0.95 >= champion.auc{country=FR} 0.9",
    ),
    Row(
        "a slice that only the champion has",
        threshold("auc >= champion.auc", dataset=NQ, slice={"country": "*"}),
        fewer,
        False,
        "no figures to compare: auc{country=FR}",
    ),
    Row("what was measured last", threshold("auc >= champion.auc", dataset=NQ), lately, False, "no figures"),
    Row("none, and the first without figures", threshold(RELATIVE, first=True), nothing, False, "no figures"),
    Row(
        "none, and the first without the figure that the next is compared with",
        threshold("auc >= champion.floor", dataset=NQ, first=True),
        lambda w: w.evaluate(1, auc=1.0),
        False,
        "no figures to compare: floor",
        {"auc": 1.0},
    ),
    Row(
        "none, and the first with no number",
        threshold(RELATIVE, dataset=NQ, first=True),
        lambda w: w.evaluate(1, auc=math.nan),
        False,
        "no figures",
    ),
    Row(
        "none, and the first with an endless one",
        threshold(RELATIVE, dataset=NQ, first=True),
        lambda w: w.evaluate(1, auc=math.inf),
        False,
        "no figures",
    ),
    Row("a champion no more", threshold(RELATIVE, dataset=NQ, first=True), former, False, "any more: champion"),
    Row(
        "a stage before an alias of its name",
        threshold("auc >= production.auc", dataset=NQ),
        shadowed,
        False,
        "auc 0.1 >= production.auc 0.9",
    ),
    Row("itself", threshold(RELATIVE, dataset=NQ), itself, False, "compared with itself"),
    Row("an evaluation in another workspace", evaluated(NQ), foreign, False, f"no evaluation on every data set: {NQ}"),
    Row("a figure in another workspace", threshold("auc >= 0.9", dataset=NQ), foreign, False, "no figures"),
    Row("every slice", threshold("auc >= 0.8", dataset=NQ, slice={"country": "*"}), sliced, True, "is met"),
    Row("a slice that is not there", threshold("auc >= 0", dataset=NQ, slice={"age": "*"}), sliced, False, "{age=*}"),
    Row("no files to verify", {"type": "verified"}, nothing, False, "has no files"),
    Row("verified files", {"type": "verified"}, files, True, "all files are verified"),
    Row("a file that drifted", {"type": "verified"}, lambda w: files(w, verification="DRIFTED"), False, "(DRIFTED)"),
    Row("no files to sign", {"type": "signed"}, nothing, False, "has no files"),
    Row("signed files", {"type": "signed"}, files, True, "all files are signed"),
    Row(
        "a file that nobody trusted signed",
        {"type": "signed"},
        lambda w: files(w, signature="UNTRUSTED"),
        False,
        "UNTR",
    ),
    Row("a file without a signature", {"type": "signed"}, lambda w: files(w, signature=None), False, "(no signature)"),
    Row("the signer that is asked for", {"type": "signed", "signers": ["SHA256:me"]}, files, True, "all files"),
    Row("another signer", {"type": "signed", "signers": ["SHA256:you"]}, files, False, "not signed as asked"),
    Row("no files to look through", {"type": "safePickles"}, nothing, False, "has no files"),
    Row("safe pickles", {"type": "safePickles"}, lambda w: files(w, pickles="SAFE"), True, "free of unsafe"),
    Row("a dangerous pickle", {"type": "safePickles"}, lambda w: files(w, pickles="DANGEROUS"), False, "(DANGEROUS)"),
    Row("a suspicious one", {"type": "safePickles"}, lambda w: files(w, pickles="SUSPICIOUS"), False, "(SUSPICIOUS)"),
    Row(
        "other files than were looked through",
        {"type": "safePickles"},
        lambda w: files(w, pickles="SAFE", verification="DRIFTED"),
        False,
        "(DRIFTED)",
    ),
    Row("files nobody looked through", {"type": "safePickles"}, files, False, "(no pickles)"),
    Row("allowed licences", licensed("mit", "Apache-2.0"), lambda w: based(w, "apache-2.0"), True, "all licences"),
    Row(
        "an ancestor's licence",
        licensed("mit", "apache-2.0"),
        lambda w: based(w, "AGPL-3.0"),
        False,
        f"not under an allowed licence: models:/{PLACE}:base-0/1 (AGPL-3.0)",
    ),
    Row("its own licence", licensed("apache-2.0"), lambda w: based(w, "apache-2.0"), False, f"{PLACE}:m/1 (MIT)"),
    Row("an unknown licence", licensed("mit"), lambda w: based(w, None), False, "base-0/1 (unknown)"),
    Row("one that may be unknown", licensed("mit", unknown="allowed"), lambda w: based(w, None), True, "all licences"),
    Row("data is not asked for", licensed("mit"), lambda w: based(w, "mit", "proprietary"), True, "all licences"),
    Row(
        "a licence of data",
        licensed("mit", datasets=True),
        lambda w: based(w, "mit", "secret"),
        False,
        f"{NQ} (secret)",
    ),
    Row("unmarked data", {"type": "cleanData"}, lambda w: trained(w, None), True, "nothing that it came from"),
    Row("a marked version", {"type": "cleanData"}, lambda w: trained(w, "version"), False, f"{V1} (FORBIDDEN)"),
    Row("a marked data set", {"type": "cleanData"}, lambda w: trained(w, "dataset"), False, f"{NQ} (FORBIDDEN)"),
    Row("other data with a mark", {"type": "cleanData"}, lambda w: trained(w, "other"), True, "nothing that"),
    Row("another version with a mark", {"type": "cleanData"}, lambda w: trained(w, "v2"), True, "nothing that"),
    Row(
        "a mark that is not asked about",
        {"type": "cleanData", "marks": ["CONTAMINATED"]},
        lambda w: trained(w, "version"),
        True,
        "nothing that",
    ),
    Row(
        "a mark that is",
        {"type": "cleanData", "marks": ["CONTAMINATED"]},
        lambda w: trained(w, "version", "CONTAMINATED"),
        False,
        f"{V1} (CONTAMINATED)",
    ),
    Row("nobody asked for approval", {"type": "approved", "count": 2}, nothing, False, "0 of 2 approvals"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_gate_says_of_each_condition_whether_it_is_met_and_why(house: House, world: World, row: Row) -> None:
    await house.gate(row.condition)
    await row.given(world)
    checked = await house.check(ANN, world.version(1))
    (told,) = checked.conditions
    assert (told.type, told.met, checked.met) == (row.condition["type"], row.met, row.met), told.detail
    assert row.detail in told.detail
    assert told.condition == row.condition
    assert told.figures.items() >= row.figures.items()


async def test_a_mark_on_the_data_of_a_field_counts_and_lifting_it_ends_that(house: House, world: World) -> None:
    await house.gate({"type": "cleanData"})
    await trained(world, None)
    mark = await world.mark(world.dataset, "CONTAMINATED")
    assert not (await house.check(ANN, world.version(2))).met
    await building.unlink(world.graph, EdgeMatch("MARKS", mark.id))
    assert (await house.check(ANN, world.version(2))).met


async def test_a_champion_that_came_through_a_gate_may_be_compared_with_itself(house: House, world: World) -> None:
    await house.gate(threshold(RELATIVE, dataset=NQ))
    await itself(world)
    assert not (await house.check(ANN, world.version(1))).met
    await house.gate({"type": "verified"}, name="to champion", alias="champion")
    assert (await house.check(ANN, world.version(1))).met


async def test_a_gate_asks_for_the_data_that_it_was_declared_for_whatever_is_called_so_later(
    house: House, world: World
) -> None:
    await house.gate(threshold("auc >= 0.9", dataset=V1), evaluated(NQ))
    await house.do(EVE, rename_dataset, address=NQ, name="nq-old")
    await building.dataset(house.graph, "nq", "v1", workspace=PLACE)
    figures = [{"name": "auc", "value": 0.99}]
    await house.do(EVE, record_evaluation, version=world.version(1).id, dataset=V1, metrics=figures)
    checked = await house.check(ANN, world.version(1))
    assert [told.met for told in checked.conditions] == [False, False]
    await world.evaluate(1, auc=0.95)
    assert (await house.check(ANN, world.version(1))).met


async def test_taking_the_champion_away_does_not_make_the_next_one_the_first(house: House, world: World) -> None:
    await house.gate(threshold("auc >= champion.auc", first=True), alias="champion")
    given: dict[str, Any] = {"model": world.model.id, "name": "champion"}
    for number, auc in ((1, 0.95), (2, 0.1)):
        await world.log(world.version(number).id, auc=auc)
    await house.do(EVE, set_alias, **given, version=world.version(1).id)
    await house.do(EVE, delete_alias, **given)
    with pytest.raises(PreconditionFailed, match="no version to compare with any more"):
        await house.do(EVE, set_alias, **given, version=world.version(2).id)


# ── How they are written ──────────────────────────────────────────────────────────────────────────

WRONG = [
    ([], "conditions", "a list of 1 to 50"),
    (["auc"], "conditions[0]", "an object"),
    ([{}], "conditions[0].type", "one of evaluated"),
    ([{"type": "verified"}, {"type": "nice"}], "conditions[1].type", "one of evaluated"),
    ([{"type": "verified", "soon": True}], "conditions[0].soon", "no such member"),
    ([evaluated()], "conditions[0].datasets", "a list of 1 to 50"),
    ([evaluated("nq")], "conditions[0].datasets[0]", "neither an id nor an address"),
    ([evaluated("models:/m")], "conditions[0].datasets[0]", "names a Model"),
    ([evaluated(NQ, newerThanDays=0)], "conditions[0].newerThanDays", "a whole number from 1"),
    ([threshold("auc")], "conditions[0].metric", "auc >= 0.9"),
    ([threshold("auc => 0.9")], "conditions[0].metric", "auc >= 0.9"),
    ([threshold("auc >= best")], "conditions[0].metric", "champion.auc"),
    ([threshold("auc >= 1e999")], "conditions[0].metric", "auc >= 0.9"),
    ([threshold("auc >= champion.auc - lots")], "conditions[0].metric", "champion.auc"),
    ([threshold("auc >= 0.9", dataset="runs:/r")], "conditions[0].dataset", "names a Run"),
    ([threshold("auc >= 0.9", slice={"country": 5})], "conditions[0].slice.country", "text"),
    ([threshold("auc{a=b} >= 0.9", slice={"a": "b"})], "conditions[0].metric", "beside it"),
    ([threshold("auc >= 0.9", first=True)], "conditions[0].first", "another version"),
    ([{"type": "signed", "signers": "me"}], "conditions[0].signers", "a list"),
    ([licensed()], "conditions[0].allowed", "a list"),
    ([licensed("mit", unknown="maybe")], "conditions[0].unknown", "refused, allowed"),
    ([licensed("mit", datasets="yes")], "conditions[0].datasets", "true or false"),
    ([{"type": "cleanData", "marks": ["BAD"]}], "conditions[0].marks[0]", "CONTAMINATED, FORBIDDEN"),
    ([{"type": "approved", "count": 0}], "conditions[0].count", "a whole number from 1"),
    ([{"type": "approved", "role": "VIEWER"}], "conditions[0].role", "APPROVER, OWNER"),
]


@pytest.mark.parametrize(("given", "field", "right"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong_is_named_by_its_place_with_what_would_be_right(given: Any, field: str, right: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        conditions.read(given)
    assert error.value.field == field
    assert error.value.message.startswith(f"{field}: ")
    assert right in error.value.message


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("auc >= 0.9", thresholds.Threshold("auc", ">=", 0.9)),
        ("ndcg@10>.5", thresholds.Threshold("ndcg@10", ">", 0.5)),
        ("val/loss < -1e-3", thresholds.Threshold("val/loss", "<", -0.001)),
        ('"f1 score" <= 1', thresholds.Threshold("f1 score", "<=", 1.0)),
        ("auc >= champion.auc - 0.01", thresholds.Threshold("auc", ">=", -0.01, "champion", "auc")),
        ("auc > Production.best-auc + 1", thresholds.Threshold("auc", ">", 1.0, "Production", "best-auc")),
        ('x < "the best"."y z"', thresholds.Threshold("x", "<", 0.0, "the best", "y z")),
        ("auc{a=b} >= old.auc{a=c}", thresholds.Threshold("auc{a=b}", ">=", 0.0, "old", "auc{a=c}")),
    ],
)
def test_thresholds_compare_with_a_number_or_with_another_version(text: str, read: thresholds.Threshold) -> None:
    assert thresholds.parse(text, "metric") == read


@pytest.mark.parametrize("name", ["auc", "auc{", "{a=b}", "auc{a}", "auc{=b}"])
def test_what_names_no_slice_is_a_metric_of_its_own(name: str) -> None:
    assert thresholds.unsliced(name) is None


def test_a_slice_is_written_as_it_is_read() -> None:
    slice = {"device": "phone", "country": "DE"}
    assert thresholds.sliced("auc", slice) == "auc{country=DE,device=phone}"
    assert thresholds.unsliced("auc{country=DE,device=phone}") == ("auc", slice)
