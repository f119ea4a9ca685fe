"""Questions for what happened: changes, activity, notifications, the audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from graph.port import Change, Entry
from schema.connection import encode_cursor
from tests.tenancy.model import Eyes
from tests.tenancy.questions import NO_CURSORS, Cursors, Question, Questions, moment, quoted
from tests.tenancy.telling import Telling

CHANGE = "id seq by action request data"
ENTRY = f"workspace number hash {CHANGE} client token address"
PAGE = "pageInfo { hasNextPage startCursor endCursor }"


class Happenings(Questions):
    """Questions for what happened."""

    def __init__(self, rng: Random, eyes: Eyes, times: Sequence[int], cursors: Cursors = NO_CURSORS) -> None:
        super().__init__(rng, eyes, times, cursors)
        self.telling = Telling(eyes)

    def activity(self) -> Question:
        """What happened to everything, or to some things."""
        among = self.rng.choice((None, None, [self._id().id], [self._id().id, self._id().id]))
        first, after, place = self._page()
        about = "" if among is None else f", about: [{', '.join(map(quoted, among))}]"
        text = f"{{ it: activity({first}{after}{about}) {{ nodes {{ {CHANGE} }} {PAGE} }} }}"
        needs = ("activity:read",)
        hidden = [id for id in among or () if not self.eyes.sees(id)]
        if hidden:
            return Question(text, needs, asked=hidden[0], absent=self._absent(hidden[0]))

        def check(it: Any) -> None:
            changes = [c for c in self.telling.activity if among is None or self.telling.about(c, among)]
            self._check(it, [(c, self.telling.data(c)) for c in changes], first, place)

        return Question(text, needs, check=check)

    def changed(self) -> Question:
        """What was done to something."""
        node = self._id()
        first, after, place = self._page()
        changes = f"changes({first}{after}) {{ nodes {{ {CHANGE} }} {PAGE} }}"
        text = f"{{ it: node(id: {quoted(node.id)}) {{ id {changes} }} }}"
        if not self.eyes.sees(node.id):
            return Question(text, inner=("activity:read",), asked=node.id, absent=self._absent(node.id))

        def check(it: Any) -> None:
            if self.eyes.holds("activity:read"):
                self._check(it["changes"], self.telling.changes_of(node.id), first, place)
            else:
                assert it["changes"] is None

        return Question(text, inner=("activity:read",), check=check)

    def notified(self) -> Question:
        """What the caller is notified of."""
        first, after, place = self._page()
        unread = self.rng.random() < 0.3
        args = f"{first}{after}{', unread: true' if unread else ''}"
        text = f"{{ it: notifications({args}) {{ nodes {{ id read change {{ {CHANGE} }} }} {PAGE} }} }}"
        needs = ("activity:read",)
        if self.eyes.me is None:
            return Question(text, needs, refusal="PRECONDITION_FAILED")

        def check(it: Any) -> None:
            found = [c for c in self.telling.notifications(unread=unread) if self._after(c[0].seq, place)]
            size = int(first.removeprefix("first: "))
            shown = found[:size]
            got = [n["id"] for n in it["nodes"]]
            want = [f"nt_{c.seq}" for c, _ in shown]
            assert got == want, (
                set(got) - set(want),
                set(want) - set(got),
                [(c.seq, c.data) for c in self.world.changes if f"nt_{c.seq}" in set(got) ^ set(want)][:2],
                self.eyes.caller,
                self.eyes.me,
            )
            assert [n["read"] for n in it["nodes"]] == [read for _, read in shown]
            for node, (change, _) in zip(it["nodes"], shown, strict=True):
                self._check_change(node["change"], change, self.telling.data(change))
            # Whether there is more after a page that is full is not looked up.
            assert it["pageInfo"]["hasNextPage"] is (len(found) >= size)
            self._check_cursors(it, [(change.seq,) for change, _ in shown[-1:]])

        return Question(text, needs, check=check)

    def audited(self) -> Question:
        """The audit, by a filter."""
        first, after, place = self._page(chains=True)
        text, asked, absent, holds = self._filter_of_audit()
        text = f"{{ it: audit({first}{after}{text}) {{ nodes {{ {ENTRY} }} {PAGE} }} }}"

        def check(it: Any) -> None:
            found = [e for e in self.telling.entries if holds(e) and self._beyond(e, place)]
            size = int(first.removeprefix("first: "))
            assert [node["id"] for node in it["nodes"]] == [entry.change.id for entry in found[:size]]
            for node, entry in zip(it["nodes"], found[:size], strict=True):
                change, origin = entry.change, entry.change.origin
                assert (node["workspace"], int(node["number"])) == (entry.workspace, entry.number)
                assert node["hash"] == entry.hash
                told = [node[name] or "" for name in ("client", "token", "address")]
                assert told == [origin.client, origin.token, origin.address]
                self._check_change(node, change, self.telling.data(change))
            assert it["pageInfo"]["hasNextPage"] is (len(found) > size)
            self._check_cursors(it, [(e.change.seq, e.workspace) for e in found[:size]])

        return Question(text, ("audit:read",), check=check, asked=asked, absent=absent)

    def _filter_of_audit(self) -> tuple[str, str, str, Callable[[Entry], bool]]:
        """Arguments; what is asked about and what never was, where that is hidden; and which entries are meant."""
        rng, some = self.rng, self.rng.choice(self.world.entries)
        at = rng.choice(self.times)
        sort = rng.choice(("all", "chain", "chain", "by", "action", "subject", "subject", "request", "time", "noted"))
        if sort == "chain":
            name = rng.choice(sorted({e.workspace for e in self.world.entries} | set(self.telling.chains)))
            hidden = bool(name) and name not in self.telling.chains
            absent = self._mark() if hidden else ""
            return f", workspace: {quoted(name)}", name if hidden else "", absent, lambda e: e.workspace == name
        if sort == "subject":
            id = self._id().id
            hidden = not self.eyes.sees(id)
            absent = self._absent(id) if hidden else ""
            ends: Callable[[Entry], bool] = lambda e: not hidden and self.telling.about_itself(e.change, id)  # noqa: E731
            return f", subject: {quoted(id)}", id if hidden else "", absent, ends
        change = some.change
        text, holds = {
            "all": ("", lambda e: True),
            "by": (f", by: {quoted(change.by)}", lambda e: e.change.by == change.by),
            "action": (f", action: {quoted(change.action)}", lambda e: e.change.action == change.action),
            "request": (f", request: {quoted(change.request)}", lambda e: e.change.request == change.request),
            "time": (
                f", since: {quoted(moment(at))}, until: {quoted(moment(change.at))}",
                lambda e: at <= e.change.at < change.at,
            ),
            "noted": (", noted: true", lambda e: "noted" in e.change.data),
        }[sort]
        return text, "", "", holds

    # Pages ────────────────────────────────────────────────────────────────────────────────────────

    def _page(self, *, chains: bool = False) -> tuple[str, str, Any]:
        """How many, and after which change or entry of the whole store: often one that the caller does not see."""
        first = f"first: {self.rng.choice((500, 500, 500, 1, 2, 5))}"
        if self.rng.random() < 0.6:
            return first, "", None
        entry = self.rng.choice(self.world.entries)
        place: tuple[Any, ...] = (entry.change.seq, entry.workspace) if chains else (entry.change.seq,)
        return first, f", after: {quoted(encode_cursor(place))}", place

    def _after(self, seq: int | None, place: Any) -> bool:
        return place is None or (seq or 0) < place[0]

    def _beyond(self, entry: Entry, place: Any) -> bool:
        return place is None or (-(entry.change.seq or 0), entry.workspace) > (-place[0], place[1])

    def _check(self, it: Any, told: Sequence[tuple[Change, dict[str, Any]]], first: str, place: Any) -> None:
        """That a page of changes is what it should be: full where there is more, and with no cursor but of these."""
        found = [(change, data) for change, data in told if self._after(change.seq, place)]
        shown = found[: int(first.removeprefix("first: "))]
        assert [node["id"] for node in it["nodes"]] == [change.id for change, _ in shown]
        for node, (change, data) in zip(it["nodes"], shown, strict=True):
            self._check_change(node, change, data)
        assert it["pageInfo"]["hasNextPage"] is (len(found) > len(shown))
        self._check_cursors(it, [(change.seq,) for change, _ in shown])

    def _check_change(self, node: Any, change: Change, data: dict[str, Any]) -> None:
        assert (node["id"], int(node["seq"]), node["by"]) == (change.id, change.seq, change.by)
        assert (node["action"], node["request"] or "") == (change.action, change.request)
        assert node["data"] == data

    def _check_cursors(self, it: Any, places: Sequence[tuple[Any, ...]]) -> None:
        assert it["pageInfo"]["endCursor"] == (encode_cursor(places[-1]) if places else None)
