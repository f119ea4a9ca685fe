"""What follows from what a platform is seen to serve, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graph.port import Node
from resolvers.deploying.judging import Verdict, judge
from resolvers.deploying.plans import Plan
from resolvers.deploying.sources import Elsewhere, Share
from serving.port import NOTHING, Desired, Observed, Seen, Served, State

NOW = 1_000_000_000
SECOND = 1_000_000
FILES = Elsewhere()
VERSION = Node("mv_2", "ModelVersion", container="mo_1", name="2", props={"number": 2})
BEFORE = Node("mv_1", "ModelVersion", container="mo_1", name="1", props={"number": 1})
WANTED = Share(VERSION, 1.0)
EARLIER = Share(BEFORE, 1.0)
KNOWN = {1: [EARLIER], 2: [WANTED]}
DESIRED = Desired("search", 5, (Served(2, 1.0, FILES, "mv_2"),))
STOP = Desired("search", 5)

READY = Seen(2, State.READY, 1.0)
OLD = Seen(1, State.READY, 1.0)
LOADING = Seen(2, State.LOADING, 0.0)
FAILED = Seen(2, State.FAILED, 0.0, message="no memory")


def plan(state: str = "ROLLING_OUT", phase: str = "ROLLING_OUT", **more: Any) -> Plan:
    revision = {"number": 5, "state": state, "cause": "DEPLOY", "startedAt": NOW - SECOND}
    deployment = {"platformName": "search", "phase": phase, "desiredRevision": 5, "progressSeconds": 60}
    for name, value in more.items():
        (revision if name in {"startedAt", "cause", "message"} else deployment)[name] = value
    return Plan(
        Node("de_1", "Deployment", props=deployment),
        Node("dr_5", "DeploymentRevision", props={n: v for n, v in revision.items() if v is not None}),
        [WANTED],
        [EARLIER],
    )


def of(plan: Plan, *seen: Seen, desired: Desired = DESIRED, trouble: str = "", full: bool = True) -> Verdict:
    return judge(plan, desired, Observed(seen), NOW, trouble, known=KNOWN, full=full)


def test_what_is_served_as_told_is_verified_and_ready() -> None:
    verdict = of(plan(), READY)
    assert (verdict.phase, verdict.revision["state"], verdict.revision["verifiedAt"]) == ("READY", "VERIFIED", NOW)
    assert verdict.deployment["verifiedRevision"] == 5
    assert verdict.serving == [WANTED]
    assert not verdict.act
    assert verdict.noteworthy


def test_nothing_is_written_again_of_what_is_known() -> None:
    settled = plan("VERIFIED", "READY", verifiedRevision=5)
    verdict = of(settled, READY)
    assert verdict.revision == {}
    assert not verdict.noteworthy


def test_where_nothing_shall_be_served_and_nothing_is_it_is_stopped() -> None:
    assert of(plan(cause="STOP"), desired=STOP).phase == "STOPPED"
    assert of(plan(cause="STOP"), OLD, desired=STOP).act


@pytest.mark.parametrize("state", ["PENDING", "ROLLING_OUT"])
def test_a_rollout_goes_on_while_there_is_time(state: str) -> None:
    verdict = of(plan(state), OLD, LOADING)
    assert (verdict.phase, verdict.act, verdict.rolls_back) == ("ROLLING_OUT", True, False)
    assert verdict.serving == [EARLIER], "the old one still answers"
    assert verdict.revision == {}


def test_what_was_never_told_is_not_served_as_told_whatever_is_seen() -> None:
    verdict = of(plan("PENDING", "PENDING", startedAt=None), READY)
    assert (verdict.phase, verdict.act) == ("ROLLING_OUT", True)
    assert verdict.revision == {}, "no time runs before its platform was told"


def test_a_version_that_is_retired_meanwhile_is_not_rolled_out() -> None:
    asked = plan(verifiedRevision=4)
    gone = replace(VERSION, props={**VERSION.props, "retiredAt": NOW})
    verdict = of(replace(asked, versions=[replace(WANTED, version=gone)]), OLD)
    assert (verdict.phase, verdict.rolls_back, verdict.act) == ("FAILED", True, False)
    assert "retired" in verdict.revision["message"]


@pytest.mark.parametrize("seen", [(), (READY,)])
def test_a_version_that_is_retired_is_not_tried_again_though_there_is_nothing_to_go_back_to(
    seen: tuple[Seen, ...],
) -> None:
    asked = plan("FAILED", "FAILED", message="no memory")
    gone = replace(VERSION, props={**VERSION.props, "retiredAt": NOW})
    verdict = of(replace(asked, versions=[replace(WANTED, version=gone)]), *seen)
    assert (verdict.phase, verdict.rolls_back, verdict.act) == ("FAILED", True, False)


@pytest.mark.parametrize(
    ("late", "seen", "trouble", "why"),
    [
        (False, [OLD, FAILED], "", "no memory"),
        (False, [OLD], "it refuses", "it refuses"),
        (True, [OLD, LOADING], "", "within 60 s"),
    ],
)
@pytest.mark.parametrize(
    ("cause", "verified", "backs"),
    [("DEPLOY", 4, True), ("DEPLOY", None, False), ("ROLL_BACK", 4, False), ("STOP", 4, False)],
)
def test_a_rollout_fails_and_goes_back_where_there_is_something_to_go_back_to(
    *, late: bool, seen: list[Seen], trouble: str, why: str, cause: str, verified: int | None, backs: bool
) -> None:
    began = NOW - (61 if late else 1) * SECOND
    verdict = of(plan(startedAt=began, cause=cause, verifiedRevision=verified), *seen, trouble=trouble)
    assert (verdict.phase, verdict.revision["state"], verdict.rolls_back) == ("FAILED", "FAILED", backs)
    assert why in verdict.revision["message"]
    assert not verdict.act


def test_a_version_that_failed_and_is_not_wanted_is_no_failure() -> None:
    assert of(plan(), LOADING, Seen(1, State.FAILED)).phase == "ROLLING_OUT"


def test_of_a_platform_that_does_not_answer_nothing_is_known() -> None:
    verdict = judge(plan("VERIFIED", "READY"), DESIRED, None, NOW, "it is away", known=KNOWN)
    assert (verdict.phase, verdict.serving, verdict.act, verdict.noteworthy) == ("UNREACHABLE", None, False, True)
    again = judge(plan("VERIFIED", "UNREACHABLE", message="it is away"), DESIRED, None, NOW, "it is away", known=KNOWN)
    assert not again.noteworthy or again.deployment["message"] != "it is away"


def test_the_time_of_a_rollout_stands_still_while_its_platform_is_away() -> None:
    asked = plan(startedAt=NOW - 30 * SECOND)
    away = judge(asked, DESIRED, None, NOW, "it is away", known=KNOWN)
    assert away.revision == {"pausedAt": NOW}
    paused = replace(asked, revision=replace(asked.revision, props={**asked.revision.props, "pausedAt": NOW}))
    assert judge(paused, DESIRED, None, NOW + SECOND, "it is away", known=KNOWN).revision == {}
    back = judge(paused, DESIRED, Observed((OLD,)), NOW + 3600 * SECOND, "", known=KNOWN)
    assert back.phase == "ROLLING_OUT"
    assert back.revision == {"pausedAt": None, "startedAt": NOW + 3570 * SECOND}


def test_a_platform_that_goes_away_again_and_again_does_not_give_a_rollout_more_time() -> None:
    asked, now = plan(startedAt=NOW), NOW
    for _ in range(5):
        props = {**asked.revision.props}
        for seen in (None, Observed((OLD,))):
            now += 14 * SECOND
            now_asked = replace(asked, revision=replace(asked.revision, props=props))
            trouble = "away" if seen is None else ""
            verdict = judge(now_asked, DESIRED, seen, now, trouble, known=KNOWN)
            props = {name: value for name, value in {**props, **verdict.revision}.items() if value is not None}
        asked = replace(asked, revision=replace(asked.revision, props=props))
    assert verdict.phase == "FAILED"


@pytest.mark.parametrize(
    ("policy", "phase", "full", "acts"),
    [
        ("REPAIR", "READY", False, True),
        ("REPAIR", "DRIFTED", True, True),
        ("REPAIR", "DRIFTED", False, False),
        ("REPORT", "READY", True, False),
        ("REPORT", "DRIFTED", True, False),
    ],
)
def test_drift_is_told_and_repaired_or_not(policy: str, phase: str, *, full: bool, acts: bool) -> None:
    verdict = of(plan("VERIFIED", phase, driftPolicy=policy), OLD, full=full)
    assert (verdict.phase, verdict.act) == ("DRIFTED", acts)
    assert verdict.serving == [EARLIER]
    assert verdict.deployment["message"] == "1 (ready, 100%) is served, 2 (100%) shall be"


def test_what_failed_is_tried_again_at_every_full_look_and_becomes_ready_when_it_works() -> None:
    failed = plan("FAILED", "FAILED", message="no memory")
    assert of(failed, LOADING).act
    assert not of(failed, LOADING, full=False).act
    assert of(failed, READY).revision["state"] == "VERIFIED"


@pytest.mark.parametrize(
    "seen",
    [
        Seen(None, State.READY, 1.0),
        Seen(2, State.READY, 1.0, tag="0123456789abcdef"),
        Seen(9, State.READY, 1.0),
    ],
)
def test_what_is_not_of_a_known_version_is_not_said_to_be_served(seen: Seen) -> None:
    verdict = of(plan("VERIFIED", "READY"), seen)
    assert (verdict.phase, verdict.serving) == ("DRIFTED", [])


def test_a_platform_that_still_moves_is_not_ready_yet() -> None:
    verdict = judge(plan(), DESIRED, Observed((READY,), settled=False), NOW, "", known=KNOWN)
    assert verdict.phase == "ROLLING_OUT"
    assert judge(plan(), DESIRED, NOTHING, NOW, "", known=KNOWN).serving == []
