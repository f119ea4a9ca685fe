"""How each condition of a gate is judged."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from graph.address import Address, parse
from graph.port import Metric, Node
from resolvers.lifecycle import conditions, standing
from resolvers.lifecycle.case import Case, Champion
from resolvers.lifecycle.conditions import Approved, CleanData, Evaluated, Licensed, Measured, Signed
from resolvers.lifecycle.findings import Finding, Named
from resolvers.lifecycle.targets import Target
from resolvers.lifecycle.thresholds import EVERY, Threshold, sliced, unsliced

DAY: Final = 86_400_000_000
"""Microseconds in a day."""

INCOMPLETE: Final = "what it came from could not be looked through whole"
NO_FIGURES: Final = "there are no figures to compare"
OTHERS: Final = frozenset({"DRIFTED", "FAILED"})
"""Verifications of artifacts whose bytes are others than they were."""


class Judge:
    """Judges conditions of one gate.

    `gates` are all of the target, `datasets` the ids of data sets by the addresses that the gate gives. The approvals
    that met conditions rest on are added to `approvals`, by id.
    """

    def __init__(
        self, case: Case, gates: Sequence[Node], datasets: Mapping[str, str], approvals: dict[str, Node]
    ) -> None:
        self.case = case
        self.gates = gates
        self.datasets = datasets
        self.approvals = approvals

    async def __call__(self, condition: conditions.Condition) -> Finding:
        """Whether a condition is met, and why."""
        return await _JUDGES[type(condition)](self, condition)

    async def _resolved(self, named: Sequence[Address]) -> list[Node | None]:
        """The data sets that were meant when the gate was declared; those that were not there then, by their names."""
        return await self.case.resolved([parse(self.datasets.get(str(address), str(address))) for address in named])

    # Evaluations and metrics ──────────────────────────────────────────────────────────────────────

    async def evaluated(self, condition: Evaluated) -> Finding:
        """See conditions.Evaluated."""
        missing, failed, old = [], [], []
        for address, dataset in zip(condition.datasets, await self._resolved(condition.datasets), strict=True):
            found = await self.case.evaluations(self.case.version, dataset) if dataset is not None else []
            if not found:
                missing.append(str(address))
            elif await self.case.of_failed_validation(found[0].evaluation):
                # An older one says nothing of what was looked at last.
                failed.append(str(address))
            elif condition.days and found[0].evaluation.created_at < self.case.now - condition.days * DAY:
                old.append(str(address))
        if missing:
            return Finding(False, "there is no evaluation on every data set", missing)
        if failed:
            return Finding(False, "the latest evaluation is of a validation that failed", failed)
        if old:
            return Finding(False, f"an evaluation is older than {condition.days} days", old)
        return Finding(True, "there are the evaluations", [str(address) for address in condition.datasets])

    async def measured(self, condition: Measured) -> Finding:
        """See conditions.Measured."""
        rule, dataset = condition.threshold, None
        if condition.dataset is not None:
            (dataset,) = await self._resolved([condition.dataset])
            if dataset is None:
                return Finding(False, "there is no evaluation on the data set", [str(condition.dataset)])
        compared = None if rule.reference is None else await self.case.champion(rule.reference)
        champion = None if compared is None else compared.version
        if compared is not None and champion is None and (compared.ever or not condition.first):
            said = f"there is no version to compare with {'any more' if compared.ever else 'yet'}"
            return Finding(False, said, [compared.target.name])
        itself = compared is not None and champion is not None and champion.id == self.case.version.id
        if compared is not None and itself and not await self._guarded(compared.target):
            said = "the version would be compared with itself, by a name that no gate guards"
            return Finding(False, said, [compared.target.name])
        pairs = await self._figures(condition, dataset, champion)
        if not pairs:
            return Finding(False, NO_FIGURES, [sliced(rule.metric, dict(condition.slice))])
        if compared is not None and champion is None:
            return _first(condition, pairs[0], compared)
        return _compared(condition, pairs, champion)

    async def _guarded(self, target: Target) -> bool:
        """Whether a version came to this through a gate."""
        return bool(await standing.gates_of(self.case.whole, target, self.case.version.workspace))

    async def _figures(
        self, condition: Measured, dataset: Node | None, champion: Node | None
    ) -> tuple[Mapping[str, Metric], Mapping[str, Metric]] | None:
        """The figures of the version and of the champion: the latest that were measured on the same data."""
        version = self.case.version
        if condition.dataset is None:
            theirs = await self.case.own_figures(champion) if champion is not None else {}
            return await self.case.own_figures(version), theirs
        for mine in await self.case.evaluations(version, dataset):
            figures = await self.case.figures(mine.evaluation.id)
            if not _names(condition, figures):
                continue
            if champion is None:
                return figures, {}
            data = {node.id for node in mine.data}
            for other in await self.case.evaluations(champion, dataset):
                if data & {node.id for node in other.data}:
                    return figures, await self.case.figures(other.evaluation.id)
            # An older one says nothing of what was measured last.
            break
        return None

    # Files ────────────────────────────────────────────────────────────────────────────────────────

    async def verified(self, _: conditions.Verified) -> Finding:
        """See conditions.Verified."""
        return await self._files("verified", lambda props: props.get("verification") == "VERIFIED", "verification")

    async def signed(self, condition: Signed) -> Finding:
        """See conditions.Signed."""

        def right(props: Mapping[str, Any]) -> bool:
            trusted = not condition.signers or props.get("signedBy") in condition.signers
            return bool(props.get("signature") == "VALID" and trusted)

        return await self._files("signed as asked", right, "signature")

    async def pickles(self, _: conditions.SafePickles) -> Finding:
        """See conditions.SafePickles."""
        wanted = "free of unsafe pickles"
        # Of bytes that came in the place of those that were looked through nothing is known.
        found = await self._files(wanted, lambda p: p.get("verification") not in OTHERS, "verification")
        if not found.met:
            return found
        return await self._files(wanted, lambda p: p.get("pickles") in {"NONE", "SAFE"}, "pickles")

    async def _files(self, wanted: str, right: Callable[[Mapping[str, Any]], bool], prop: str) -> Finding:
        files = await self.case.files()
        if not files:
            return Finding(False, "the version has no files")
        wrong = [link.node for link in files if not right(link.node.props)]
        if wrong:
            named = [Named(node, str(node.props.get(prop, f"no {prop}"))) for node in wrong]
            return Finding(False, f"not {wanted}", nodes=named)
        return Finding(True, f"all files are {wanted}")

    # Lineage ──────────────────────────────────────────────────────────────────────────────────────

    async def licensed(self, condition: Licensed) -> Finding:
        """See conditions.Licensed."""
        came_from = await self.case.ancestors()
        nodes = {self.case.version.id: self.case.version}
        nodes |= {node.id: node for node in came_from.nodes if node.kind == "ModelVersion"}
        if condition.datasets:
            homes = {node.container for node in came_from.nodes if node.kind != "ModelVersion"}
            nodes |= await self.case.nodes(homes)
        wrong = [node for node in nodes.values() if not _is_allowed(condition, node.props.get("license"))]
        if wrong:
            named = [Named(node, str(node.props.get("license", "unknown"))) for node in wrong]
            return Finding(False, "not under an allowed licence", nodes=named)
        if not came_from.complete:
            return Finding(False, INCOMPLETE)
        return Finding(True, "all licences are allowed")

    async def clean(self, condition: CleanData) -> Finding:
        """See conditions.CleanData."""
        came_from = await self.case.ancestors()
        data = {node.id: node for node in came_from.nodes if node.kind != "ModelVersion"}
        ids = {node.id for node in data.values() if node.kind == "DatasetVersion"}
        marks = await self.case.marks(ids | {node.container for node in data.values()})
        bad = {
            id: sorted(kinds)
            for id, on in marks.items()
            if (kinds := {mark.props["type"] for mark in on} & condition.marks)
        }
        if bad:
            found = {**data, **await self.case.nodes(bad.keys() - data.keys())}
            named = [Named(found[id], " and ".join(bad[id])) for id in sorted(bad) if id in found]
            return Finding(False, "it came from data with a mark on it", nodes=named)
        if not came_from.complete:
            return Finding(False, INCOMPLETE)
        return Finding(True, "nothing that it came from has a mark on it")

    # Approvals ────────────────────────────────────────────────────────────────────────────────────

    async def approved(self, condition: Approved) -> Finding:
        """See conditions.Approved."""
        case = self.case
        requests = await standing.requests_of(case.whole, case.version, case.target, case.now)
        basis = await standing.basis_of(case, self.gates) if requests else ""
        best: list[Node] = []
        stale = False
        for request in requests:
            if request.props.get("basis") != basis:
                stale = True
                continue
            people = await standing.approvers(case.whole, request, case.version, condition.role)
            if request.props["state"] == standing.APPROVED and len(people) >= condition.count:
                self.approvals[request.id] = request
                return Finding(True, "approved by", nodes=[Named(person) for person in people])
            best = max(best, people, key=len)
        role = condition.role.name
        said = f"{len(best)} of {condition.count} approvals by others with the role {role}"
        if stale:
            said += "; the gate or the files changed after approval was asked for, so it must be asked for anew"
        elif not requests:
            said += "; nobody has asked for approval: see requestApproval"
        return Finding(False, said, nodes=[Named(person) for person in best])


_JUDGES: Final[Mapping[type, Callable[[Judge, Any], Awaitable[Finding]]]] = {
    Evaluated: Judge.evaluated,
    Measured: Judge.measured,
    conditions.Verified: Judge.verified,
    Signed: Judge.signed,
    conditions.SafePickles: Judge.pickles,
    Licensed: Judge.licensed,
    CleanData: Judge.clean,
    Approved: Judge.approved,
}


def _is_allowed(condition: Licensed, license: str | None) -> bool:
    if license is None:
        return condition.unknown
    return license.strip().casefold() in condition.allowed


def _names(condition: Measured, figures: Mapping[str, Metric]) -> list[tuple[str, str]]:
    """The metrics to compare, by their names on the one side and the other; none where figures are missing."""
    rule, slice = condition.threshold, dict(condition.slice)
    if not slice:
        return [(rule.metric, rule.other)] if rule.metric in figures else []
    pairs = []
    for name in sorted(figures):
        found = unsliced(name)
        if found is None or found[0] != rule.metric or found[1].keys() != slice.keys():
            continue
        if all(value in {EVERY, found[1][key]} for key, value in slice.items()):
            # As it is written here: whoever records a slice puts its parts in any order, but in one.
            pairs.append((name, rule.other + name.removeprefix(rule.metric)))
    return pairs


def _lacking(condition: Measured, mine: Mapping[str, Metric], theirs: Mapping[str, Metric]) -> list[str]:
    """The slices that the champion has and the version has not, by the version's metric."""
    rule = condition.threshold
    if not condition.slice:
        return []
    turned = replace(condition, threshold=replace(rule, metric=rule.other, other=rule.metric))
    return [name for _, name in _names(turned, theirs) if name not in mine]


def _first(condition: Measured, mine: Mapping[str, Metric], compared: Champion) -> Finding:
    """Of the first one that ever comes there: it must have the figures that the next one is compared with."""
    names = dict.fromkeys(name for both in _names(condition, mine) for name in both)
    shown = {name: mine[name].value for name in names if name in mine}
    missing = [name for name in names if name not in mine or not math.isfinite(shown[name])]
    if missing or not names:
        lacking = missing or [sliced(condition.threshold.metric, dict(condition.slice))]
        return Finding(False, NO_FIGURES, lacking, (), shown)
    return Finding(True, "there is no version to compare with yet", [compared.target.name], (), shown)


def _compared(
    condition: Measured, figures: tuple[Mapping[str, Metric], Mapping[str, Metric]], champion: Node | None
) -> Finding:
    mine, theirs = figures
    rule = condition.threshold
    shown: dict[str, float] = {}
    words: list[str] = []
    missing = _lacking(condition, mine, theirs) if champion is not None else []
    met = True
    names = _names(condition, mine)
    for name, other in names:
        if champion is not None and other not in theirs:
            missing.append(f"{rule.reference}.{other}")
            continue
        value, limit = mine[name].value, theirs[other].value if champion is not None else 0.0
        shown[name] = value
        if champion is not None:
            shown[f"{rule.reference}.{other}"] = limit
        shown[f"limit of {name}"] = rule.limit(limit)
        met = met and rule.met(value, limit)
        words.append(Threshold(name, rule.op, rule.number, rule.reference, other).words(value, limit))
    if missing or not names:
        lacking = missing or [sliced(rule.metric, dict(condition.slice))]
        return Finding(False, NO_FIGURES, lacking, words, shown)
    return Finding(met, "the threshold is met" if met else "the threshold is not met", (), words, shown)
