"""What follows from what a platform is seen to serve: the next state of a deployment, a function of what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from resolvers.deploying.plans import Plan
from resolvers.deploying.sources import Share, by_version
from serving.port import Desired, Observed, Seen, State, fulfils, tag_of

MAX_MESSAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a deployment.

    `deployment` and `revision` are the properties to set, None to remove one. `serving` is what
    is truly served, or None where nothing is known of it. `act` is whether the platform is to be
    told again; `rolls_back` whether the last good revision takes over. `noteworthy` is whether it is an event, and
    `left_out` how many such looks were left out before it.
    """

    deployment: Mapping[str, Any] = field(default_factory=dict)
    revision: Mapping[str, Any] = field(default_factory=dict)
    serving: Sequence[Share] | None = None
    act: bool = False
    rolls_back: bool = False
    noteworthy: bool = False
    left_out: int = 0

    @property
    def phase(self) -> str:
        """The phase that it comes to."""
        return str(self.deployment["phase"])


Known = Mapping[int, Sequence[Share]]
"""What a platform may have, by the number of the version."""


def judge(
    plan: Plan,
    desired: Desired,
    seen: Observed | None,
    now: int,
    trouble: str,
    *,
    known: Known,
    hindered: str = "",
    full: bool = True,
) -> Verdict:
    """The next state.

    `seen` is None where the platform did not answer, and `trouble` then says how; else `trouble` is what the platform
    refused just now. `hindered` is what stood in the way when it was last to be told. `full` is whether this is one of
    the looks that come every so often, which is when what failed or drifted is tried again. `now` is in microseconds.
    """
    if seen is None:
        told = _told(plan, "UNREACHABLE", trouble, None, None, quiet=True)
        waits = plan.revision.props.get("state") in {"PENDING", "ROLLING_OUT"} and "pausedAt" not in plan.revision.props
        return replace(told, revision={"pausedAt": now}) if waits else told
    serving = truly_served(seen, known)
    state = plan.revision.props.get("state")
    # What is new is told once, whatever is served: settings may have changed, which nobody sees.
    if fulfils(seen, desired) and state != "PENDING" and not plan.withheld:
        return _fulfilled(plan, desired, seen, serving, now)
    if state in {"PENDING", "ROLLING_OUT"} or plan.withheld:
        difference = _difference(seen, desired, hindered)
        return _rolling(plan, desired, seen, serving, now=now, trouble=trouble, difference=difference)
    if state == "FAILED":
        told = _told(plan, "FAILED", str(plan.revision.props.get("message", "")), seen, serving)
        # What was told last is still what is wanted, and whatever stood in its way may have gone.
        return replace(told, act=full)
    told = _told(plan, "DRIFTED", trouble or hindered or _difference(seen, desired, ""), seen, serving, quiet=True)
    first = plan.deployment.props.get("phase") != "DRIFTED"
    return replace(told, act=not plan.reports and (full or first))


def truly_served(seen: Observed, known: Known) -> list[Share]:
    """The versions that answer, as far as they are known."""
    served: dict[str, Share] = {}
    for each in seen.seen:
        if each.state is State.READY and each.number is not None:
            found = next((share for share in known.get(each.number, ()) if each.tag in {"", tag_of(share)}), None)
            if found is not None:
                served[found.version.id] = replace(found, weight=each.weight)
    return list(served.values())


def _fulfilled(plan: Plan, desired: Desired, seen: Observed, serving: Sequence[Share], now: int) -> Verdict:
    phase = "READY" if desired.served else "STOPPED"
    weights = {each.version: each.weight for each in desired.served}
    shares = [
        replace(share, weight=weights.get(share.version.id)) if share.weight is None else share for share in serving
    ]
    told = _told(plan, phase, seen.message, seen, shares, quiet=True)
    verified = plan.revision.props.get("state") == "VERIFIED"
    more = {"verifiedRevision": plan.number, **({"uri": seen.url} if seen.url else {})}
    new = {name: value for name, value in more.items() if plan.deployment.props.get(name) != value}
    return Verdict(
        {**told.deployment, **new},
        {} if verified else {"state": "VERIFIED", "verifiedAt": now, "message": None},
        shares,
        noteworthy=told.noteworthy or not verified,
    )


def _rolling(
    plan: Plan,
    desired: Desired,
    seen: Observed,
    serving: Sequence[Share],
    *,
    now: int,
    trouble: str,
    difference: str,
) -> Verdict:
    wanted = {each.number for each in desired.served}
    failed = replace(seen, seen=tuple(each for each in seen.seen if each.number in wanted)).failure
    began, paused = (plan.revision.props.get(name) for name in ("startedAt", "pausedAt"))
    # Time in which the platform could not be reached is not the rollout's.
    resumed = {} if paused is None else {"pausedAt": None}
    if began is not None and paused is not None:
        began += now - max(began, paused)
        resumed["startedAt"] = began
    problem = plan.withheld or trouble or failed
    if not problem and began is not None and now - began > plan.progress:
        problem = f"it was not served as told within {plan.progress // 1_000_000} s: {difference}"
    if not problem:
        told = _told(plan, "ROLLING_OUT", difference, seen, serving, quiet=True)
        return Verdict(told.deployment, resumed, serving, act=True, noteworthy=told.noteworthy)
    good = bool(plan.deployment.props.get("verifiedRevision"))
    backs = bool(plan.withheld) or (good and plan.revision.props.get("cause") not in {"ROLL_BACK", "STOP"})
    told = _told(plan, "FAILED", problem, seen, serving)
    failure = {"state": "FAILED", "message": problem[:MAX_MESSAGE]}
    return Verdict(told.deployment, failure, serving, rolls_back=backs, noteworthy=True)


def other_serving(plan: Plan, verdict: Verdict) -> bool:
    """Whether something else is served than the graph says."""
    return verdict.serving is not None and by_version(verdict.serving) != by_version(plan.serving)


def _told(
    plan: Plan,
    phase: str,
    message: str,
    seen: Observed | None,
    serving: Sequence[Share] | None,
    *,
    quiet: bool = False,
) -> Verdict:
    """A phase, a message and the replicas; it is an event when the phase is another, or, unless quiet, the message."""
    now = plan.deployment.props
    text = message[:MAX_MESSAGE] or None
    props: dict[str, Any] = {"phase": phase, "message": text}
    if seen is not None:
        props["replicas"] = seen.replicas
    changed = {name for name, value in props.items() if now.get(name) != value}
    noteworthy = "phase" in changed or ("message" in changed and not quiet)
    return Verdict(props, serving=serving, noteworthy=noteworthy)


def _difference(seen: Observed, desired: Desired, hindered: str) -> str:
    """What is served, what shall be, and what stands in the way, in words."""
    wanted = ", ".join(f"{each.number} ({each.weight:.0%})" for each in desired.served) or "nothing"
    return f"{_list(seen)} is served, {wanted} shall be{hindered and f'; {hindered}'}"


def _list(seen: Observed) -> str:
    return ", ".join(map(_one, seen.seen)) or "nothing"


def _one(each: Seen) -> str:
    number = "something else" if each.number is None else str(each.number)
    share = "" if each.weight is None else f", {each.weight:.0%}"
    return f"{number} ({each.state.value.lower()}{share})"


def as_seen(seen: Observed | None) -> dict[str, Any] | None:
    """What was seen, as an event keeps it."""
    if seen is None:
        return None
    return {
        "versions": [
            {
                "number": each.number,
                "state": each.state.value,
                "weight": each.weight,
                "replicas": each.replicas,
                "message": each.message[:200] or None,
            }
            for each in seen.seen[:100]
        ]
    }
