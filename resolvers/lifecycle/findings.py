"""What was found about a condition, and what of it somebody may be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graph.naming import addresses
from graph.port import Node, Snapshot, View
from graph.recording import canonical
from resolvers.lifecycle.targets import Target

METRICS: Final = "metrics:read"
"""The scope that figures need."""

MAX_KEPT: Final = 50_000
"""Bytes of a verdict that are kept."""

SHOWN: Final = 10
"""Nodes that a sentence names."""


@dataclass(frozen=True, slots=True)
class Named:
    """A node that a finding is about, and what is said of it, such as its licence."""

    node: Node
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a condition is met, and why.

    `said` names nothing and has no figure. `declared` are names that the gate itself gives, `words` the figures in
    words, `figures` by name, `nodes` what it is about, each of which is told to those alone who may see it.
    """

    met: bool
    said: str
    declared: Sequence[str] = ()
    words: Sequence[str] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    nodes: Sequence[Named] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What was found about one condition of a gate; `condition` is as it was declared."""

    gate: Node
    condition: Mapping[str, Any]
    finding: Finding


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody is told about one condition; what they may not see is left out.

    `hidden` says that it is about something else too.
    """

    type: str
    met: bool
    detail: str
    gate: Node | None = None
    condition: Mapping[str, Any] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    nodes: Sequence[Node] = ()
    hidden: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON, with figures that JSON has none for as text."""
        return {
            "type": self.type,
            "met": self.met,
            "detail": self.detail,
            **({"gate": self.gate.name} if self.gate else {}),
            **({"condition": dict(self.condition)} if self.condition else {}),
            **({"figures": {name: _plain(value) for name, value in self.figures.items()}} if self.figures else {}),
        }


def _plain(value: float) -> float | str:
    return value if abs(value) < float("inf") else str(value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gates of a target say of a version, condition by condition.

    `approvals` are those that would be used up. `overridden` says that it passes although they say no, and `override`
    why.
    """

    target: Target
    found: Sequence[Found] = ()
    approvals: Sequence[Node] = ()
    override: str | None = None

    @property
    def met(self) -> bool:
        """Whether every condition is met."""
        return all(each.finding.met for each in self.found)

    @property
    def overridden(self) -> bool:
        """Whether it is let through although something is not met."""
        return self.override is not None and not self.met

    @property
    def gated(self) -> bool:
        """Whether any gate guards the target."""
        return bool(self.found)


def kept(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a verdict with what it let through: `overridden` and `verdict`, where there is something to say.

    It names nothing, neither gates nor data nor other models: whoever may read what it is kept with reads it, today
    or once that is shared.
    """
    if not verdict.gated:
        return {}
    told: dict[str, Any] = {"met": verdict.met, "conditions": _fitting(verdict.found)}
    if not verdict.overridden:
        return {"verdict": told}
    return {"overridden": True, "verdict": {"override": verdict.override, **told}}


def _fitting(found: Sequence[Found]) -> list[dict[str, Any]]:
    """As much of what was found as is kept, what is not met first: what was asked is in the gate."""
    told: list[dict[str, Any]] = []
    room = MAX_KEPT
    for each in sorted(found, key=lambda each: each.finding.met):
        finding = each.finding
        detail = ": ".join([finding.said, *(["; ".join(finding.words)] if finding.words else [])])
        plain = Told(each.condition["type"], finding.met, detail, figures=finding.figures).plain()
        room -= len(canonical(plain))
        if room < 0:
            break
        told.append(plain)
    return told


async def tell(whole: Snapshot, found: Sequence[Found], view: View, *, figures: bool) -> list[Told]:
    """What one who sees so much, and may see figures or not, is told. `whole` must see everything."""
    about = {named.node.id: named.node for each in found for named in each.finding.nodes}
    shown = {id: node for id, node in about.items() if view.shows(node)}
    names = await addresses(whole, shown.values()) if shown else {}
    return [_told(each, view, names, figures) for each in found]


def _told(found: Found, view: View, names: Mapping[str, str], figures: bool) -> Told:
    finding = found.finding
    open_gate = view.shows(found.gate)
    parts = [finding.said]
    if open_gate:
        parts += [", ".join(finding.declared)] if finding.declared else []
    seen = [named for named in finding.nodes if named.node.id in names]
    hidden = len(seen) < len(finding.nodes)
    listed = [names[n.node.id] + (f" ({n.note})" if n.note else "") for n in seen[:SHOWN]]
    if len(seen) > SHOWN:
        listed.append(f"{len(seen) - SHOWN} more")
    if hidden:
        listed.append("others that you may not see" if seen else "something that you may not see")
    parts += [", ".join(listed)] if listed else []
    if figures and open_gate:
        parts += ["; ".join(finding.words)] if finding.words else []
    return Told(
        found.condition["type"],
        finding.met,
        ": ".join(parts),
        found.gate if open_gate else None,
        found.condition if open_gate else None,
        finding.figures if figures and open_gate else {},
        [named.node for named in seen],
        hidden,
    )
