"""The write: events become what is said, and what is said becomes nodes and edges.

All events of a call are one transaction. What was said of each subject is joined to what stands; what that means is
compared with what it meant before, and the difference is written. A run's reads come last, when every version is
there: see `reading_versions`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from graph.address import Address
from graph.ontology import CODE_REVISION, DATASET, DATASET_VERSION, FIELD, PIPELINE, RUN, UNVERSIONED
from graph.port import Hop, Transaction
from resolvers.openlineage import feast, meaning, owning
from resolvers.openlineage.events import Event
from resolvers.openlineage.meaning import Made
from resolvers.openlineage.merging import Said, Told, tell, together
from resolvers.openlineage.producing import Producers
from resolvers.openlineage.reading_versions import Reads
from resolvers.openlineage.registering import Registering
from resolvers.openlineage.ways import targets
from resolvers.writing.common import present
from resolvers.writing.draft import Draft, Reference
from resolvers.writing.importing import new_points

MAX_DISCRIMINATOR: Final = 200

Part = Literal["run", "job", "dataset"]

KINDS: Final[Mapping[Part, tuple[str, str]]] = {
    "run": ("RunFacets", RUN.name),
    "job": ("RunFacets", PIPELINE.name),
    "dataset": ("DatasetFacets", DATASET.name),
}
"""What keeps what was said of a subject, and what the subject is in the graph."""


class Subject:
    """A run, a job or a data set: what stood before, what stands now, and its node."""

    def __init__(self, key: str, kept: Reference, node: Reference, told: Said) -> None:
        self.key = key
        self.kept = kept
        self.node = node
        self.told = told
        self.before = Said()
        self.now = Said()

    @property
    def id(self) -> str:
        """The id of its node."""
        return self.node.id

    def join(self) -> None:
        """Join what is told to what stands. Of a node that is new nothing stood, even if it was there once."""
        kept = Said.of(self.kept.node)
        self.now = kept.copy()
        self.now.join(self.told)
        self.before = Said() if self.node.node is None else kept

    @property
    def changed(self) -> bool:
        """Whether anything that is new was told."""
        return self.now != self.before


async def ingest(tx: Transaction, workspace: str, events: Iterable[Event]) -> None:
    """Take these events in. Raises what the verbs of a Transaction raise, InvalidArgument, LimitExceeded.

    Taking the same in again changes nothing, and the order does not matter.
    """
    await Ingest(tx, workspace, together(tell(event) for event in events)).run()


class Ingest:
    """One write of what some events said together."""

    def __init__(self, tx: Transaction, workspace: str, told: Told) -> None:
        self.tx = tx
        self.workspace = workspace
        self.told = told
        self.draft = Draft(tx)
        self.named: dict[tuple[str, str, str | None], Reference] = {}
        """What is named, by its kind, its name and the part of it."""
        self.fields: dict[str, dict[str, Reference]] = {}
        self.subjects: dict[tuple[Part, str], Subject] = {}
        self.producers = Producers(self.draft)
        self.renamed: set[str] = set()

    async def run(self) -> None:
        """Do it."""
        for part, all_ in (("run", self.told.runs), ("job", self.told.jobs), ("dataset", self.told.data)):
            for key, said in all_.items():
                self._subject(part, key, said)  # type: ignore[arg-type]
        for key, name in self.told.fields:
            self.field(key, name)
        for key, version in self.told.versions:
            self.version(key, version)
        await self.draft.find()
        await self._lock()
        runs, jobs, data = (self._of(part) for part in ("run", "job", "dataset"))
        for subject in self.subjects.values():
            subject.join()
            self._keep(subject)
        self._name_more(runs, data)
        await self.draft.find()
        await self._lock_more()
        for run in runs:
            self._run(run)
        for job in jobs:
            self._job(job)
        for each in data:
            self._data(each)
        owned = [s for s in (*jobs, *data) if s.changed]
        await owning.settle(self.draft, [(s.id, meaning.owners(s.before), meaning.owners(s.now)) for s in owned])
        await self._points(runs)
        for (key, version), time in self.told.versions.items():
            self.producers.seen(self.version(key, version), time)
        await self.draft.find()
        await self.producers.settle()
        new_ways = await self._new_ways(runs, jobs)
        await self.draft.save()
        await self._serve(data)
        await self._read(runs, new_ways)

    # What is named ────────────────────────────────────────────────────────────────────────────────

    def ref(self, kind: str, name: str, part: str | None = None) -> Reference:
        """Something of the workspace by its name: found, or else made."""
        known = self.named.get((kind, name, part))
        if known is None:
            address = Address(kind, self.workspace, name, part)
            known = self.draft.expect(Reference(kind, address, (kind,), create=True, create_container=True))
            self.named[kind, name, part] = known
        return known

    def version(self, key: str, name: str) -> Reference:
        """A version of a data set."""
        return self.ref(DATASET_VERSION.name, key, name)

    def field(self, key: str, name: str) -> Reference:
        """A field of a data set."""
        return self.fields.setdefault(key, {}).setdefault(name, self.ref(FIELD.name, key, name))

    def _subject(self, part: Part, key: str, said: Said) -> None:
        kept, kind = KINDS[part]
        self.subjects[part, key] = Subject(key, self.ref(kept, f"{part}/{key}"), self.ref(kind, key), said)

    def _of(self, part: str) -> list[Subject]:
        return [subject for (kind, _), subject in self.subjects.items() if kind == part]

    async def _lock(self) -> None:
        """Keep others from saying something of the same subjects until the commit, and read again what stands."""
        kept = {s.kept.id: s.kept for s in self.subjects.values() if s.kept.node is not None}
        versions = {
            r.id: r for (kind, *_), r in self.named.items() if kind == DATASET_VERSION.name and r.node is not None
        }
        there = kept | versions
        for id, node in (await self.tx.lock(sorted(there)) if there else {}).items():
            there[id].node = node

    async def _lock_more(self) -> None:
        """Keep others from reading or making versions of the same data meanwhile."""
        held = {s.kept.id for s in self.subjects.values()}
        kept = [r for (kind, *_), r in self.named.items() if kind == "DatasetFacets" and r.node is not None]
        if more := sorted({reference.id for reference in kept} - held):
            await self.tx.lock(more)

    def _keep(self, subject: Subject) -> None:
        if not subject.changed and subject.kept.node is not None:
            return
        now = subject.now
        self.draft.set(subject.kept.id, {"facets": now.facets, "stamps": now.stamps, "times": now.times})
        if subject.kept.node is None or subject.node.node is None:
            self.draft.link("FACETS_OF", subject.kept.id, subject.id)

    def _name_more(self, runs: Sequence[Subject], data: Sequence[Subject]) -> None:
        """Name what what stands now, or stood before, speaks of."""
        for run in runs:
            for said in (run.before, run.now):
                self._known(PIPELINE.name, meaning.job_of(said))
                self._known(RUN.name, meaning.parent_of(said))
                for key, made in meaning.makes(said).items():
                    if made.version is not None or said is run.now:
                        self.version(key, made.version or run.key)
            for job in run.now.parts("/jobs"):
                self.ref(PIPELINE.name, job)
        for user in (*runs, *self._of("job")):
            for key in (*user.now.parts("/inputs"), *user.now.parts("/outputs")):
                self.ref(DATASET.name, key)
                self.ref("DatasetFacets", f"dataset/{key}")
        self._name_more_data(data)

    def _name_more_data(self, data: Sequence[Subject]) -> None:
        for each in data:
            for said in (each.before, each.now):
                for source in meaning.field_sources(said, each.key):
                    self.field(each.key, source.target)
                    self.field(source.data, source.field)
                for name in meaning.schema(said):
                    self.field(each.key, name)
                for key in meaning.symlinks(said, each.key):
                    self.ref(DATASET.name, key)

    # What it comes to ─────────────────────────────────────────────────────────────────────────────

    def _set(self, id: str, before: Mapping[str, Any], now: Mapping[str, Any], *, new: bool) -> None:
        """Set what is other than before."""
        self.draft.set(id, present(now) if new else {n: v for n, v in now.items() if before.get(n) != v})

    def _rows(self, subject: Subject, *, params: bool = False) -> None:
        """Set the tags and parameters that are other than before."""
        self.draft.own(
            subject.id,
            tags=_other(meaning.tags(subject.before), meaning.tags(subject.now)),
            params=_other(meaning.params(subject.before), meaning.params(subject.now)) if params else {},
        )

    def _lead(self, edge: str, source: str, before: Reference | None, now: Reference | None) -> None:
        """Let the one edge of a kind lead where it does now."""
        if before is not None and (now is None or before.id != now.id):
            self.draft.end(edge, source, target=before.id)
        if now is not None and now.id != source and (before is None or before.id != now.id):
            self.draft.link(edge, source, now.id)

    def _known(self, kind: str, name: str | None) -> Reference | None:
        return None if name is None else self.ref(kind, name)

    def _run(self, run: Subject) -> None:
        before, now = run.before, run.now
        if not run.changed:
            return
        self._set(run.id, meaning.run_props(before), meaning.run_props(now), new=run.node.node is None)
        self._rows(run, params=True)
        jobs = [self._known(PIPELINE.name, meaning.job_of(said)) for said in (before, now)]
        self._lead("RUN_OF", run.id, *jobs)
        parents = [self._known(RUN.name, meaning.parent_of(said)) for said in (before, now)]
        self._lead("PART_OF", run.id, *parents)
        code, older_code = meaning.code(now), meaning.code(before)
        if older_code is not None and code != older_code:
            self.draft.end("BUILT_FROM", run.id)
        if code is not None and code != older_code:
            props = {"repository": code.repository, "commit": code.commit, "branch": code.branch, "path": code.path}
            name = f"{code.repository}@{code.commit}"
            known = self.draft.known(
                CODE_REVISION, name, self.workspace, "job.facets.sourceCodeLocation", present(props)
            )
            self.draft.link("BUILT_FROM", run.id, known)
        made_before = meaning.makes(before)
        for key, made in meaning.makes(now).items():
            older = made_before.get(key)
            if older is not None and older.version != made.version:
                self._withdraw(run, key, older, made)
            self.producers.claim(self.version(key, made.version or run.key), run.key, run.id, now, made)

    async def _points(self, runs: Sequence[Subject]) -> None:
        """Append values of metrics of runs, those that are not there yet."""
        given = {run.id: points for run in runs if (points := self.told.points.get((run.key, "")))}
        for id, new in (await new_points(self.tx, given, self.draft.created)).items():
            self.draft.own(id, points=new)

    def _withdraw(self, run: Subject, key: str, older: Made, made: Made) -> None:
        """A run says now that it made another version than it said before."""
        if older.version is not None:
            self.producers.withdraw(self.version(key, older.version), run.key)
        elif made.version is not None:
            self.producers.drop(Address(DATASET_VERSION.name, self.workspace, key, run.key))

    def _job(self, job: Subject) -> None:
        if not job.changed:
            return
        self._set(job.id, meaning.job_props(job.before), meaning.job_props(job.now), new=job.node.node is None)
        self._rows(job)
        self._derive(meaning.static_derivations(job.before), meaning.static_derivations(job.now), job.key)

    def _data(self, each: Subject) -> None:
        self._fields(each)
        if not each.changed:
            return
        before, now = each.before, each.now
        self._set(each.id, meaning.data_props(before), meaning.data_props(now), new=each.node.node is None)
        self._rows(each)
        self._sources(each)
        self._symlinks(each)
        self._derive(meaning.data_derivations(before, each.key), meaning.data_derivations(now, each.key))

    def _fields(self, each: Subject) -> None:
        """The fields of a data set."""
        before, now = meaning.schema(each.before), meaning.schema(each.now)
        for name, reference in self.fields.get(each.key, {}).items():
            props = [meaning.field_props(schema.get(name)) for schema in (before, now)]
            self._set(reference.id, *props, new=reference.node is None)

    def _sources(self, each: Subject) -> None:
        """The fields that those of a data set came from."""
        older, sources = meaning.field_sources(each.before, each.key), meaning.field_sources(each.now, each.key)
        for source in sorted(older - sources):
            target = self.field(source.data, source.field)
            self.draft.end(
                "DERIVED_FROM", self.field(each.key, source.target), target=target, discriminator=source.relation
            )
        for source in sorted(sources - older):
            target = self.field(source.data, source.field)
            self.draft.link("DERIVED_FROM", self.field(each.key, source.target), target, source.relation)

    def _symlinks(self, each: Subject) -> None:
        """The other names of a data set."""
        before, now = meaning.symlinks(each.before, each.key), meaning.symlinks(each.now, each.key)
        for key in sorted(before - now):
            self.draft.end("SAME_AS", each.id, target=self.ref(DATASET.name, key))
        for key in sorted(now - before):
            self.draft.link("SAME_AS", each.id, self.ref(DATASET.name, key))
        for key in before ^ now:
            self.renamed |= {each.id, self.ref(DATASET.name, key).id}

    async def _serve(self, data: Sequence[Subject]) -> None:
        """Let model versions that name a feature service take what is new of it."""
        for each in data:
            is_new = any(field.node is None for field in self.fields.get(each.key, {}).values())
            if feast.SERVICE in each.now.facets and (is_new or feast.SERVICE not in each.before.facets):
                versions = await feast.users(self.tx, self.workspace, each.key)
                await self.tx.link(await feast.uses(self.tx, [(version, each.id) for version in versions]))

    def _derive(
        self, before: Collection[tuple[str, str, str]], now: Collection[tuple[str, str, str]], by: str = ""
    ) -> None:
        """Let unversioned data lead to the unversioned data that it comes from, as nobody's run says."""
        for key, source, how in sorted(set(before) - set(now)):
            ends = self.version(key, UNVERSIONED), self.version(source, UNVERSIONED)
            self.draft.end("DERIVED_FROM", ends[0], target=ends[1], discriminator=(by or how)[:MAX_DISCRIMINATOR])
        for key, source, how in sorted(set(now) - set(before)):
            ends = self.version(key, UNVERSIONED), self.version(source, UNVERSIONED)
            self.draft.link("DERIVED_FROM", *ends, (by or how)[:MAX_DISCRIMINATOR])

    # What jobs and runs read ──────────────────────────────────────────────────────────────────────

    async def _new_ways(self, runs: Sequence[Subject], jobs: Sequence[Subject]) -> set[str]:
        """Let jobs lead to the data sets that they take from and put into; the ids of those with new ones."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for edge, path in (("CONSUMES", "/inputs"), ("PRODUCES", "/outputs")):
            by_runs = [(job, meaning.used(run.now, job, path)) for run in runs for job in run.now.parts("/jobs")]
            for name, keys in (*by_runs, *((job.key, job.now.parts(path)) for job in jobs)):
                if keys:
                    data = {self.ref(DATASET.name, key).id for key in keys}
                    wanted.setdefault((edge, self.ref(PIPELINE.name, name).id), set()).update(data)
        fresh = set()
        for edge in ("CONSUMES", "PRODUCES"):
            ids = [id for kind, id in wanted if kind == edge]
            there = await targets(self.tx, [id for id in ids if id not in self.draft.created], Hop(edge, "OUT"))
            for id in ids:
                for target in sorted(wanted[edge, id] - there.get(id, set())):
                    self.draft.link(edge, id, target)
                    fresh.add(id)
        return fresh

    async def _read(self, runs: Sequence[Subject], new_ways: set[str]) -> None:
        """Settle which versions were read: by these runs, and by those that something new concerns."""
        near = {reference.id for (kind, *_), reference in self.named.items() if kind == DATASET.name}
        reads = Reads(self.tx, self.workspace, near)
        for run in runs:
            if run.changed:
                gone = _all_derivations(run.before) - _all_derivations(run.now)
                reads.know(run.key, run.now, gone)
        moved = [run for run in runs if run.changed and meaning.job_of(run.before) != meaning.job_of(run.now)]
        versions = {self.version(k, m.version or r.key).id for r in moved for k, m in meaning.makes(r.now).items()}
        await reads.concern(self.producers.changed | versions)
        await reads.concern_runs(self.producers.orphans, None)
        await reads.concern_names(self.renamed)
        await reads.concern_loops(new_ways)
        await reads.settle(self.producers.makers)
        await self._register(runs, reads)

    async def _register(self, runs: Sequence[Subject], reads: Reads) -> None:
        """Let data sets that are models be versions of models."""
        kinds = {key: subject.now for (part, key), subject in self.subjects.items() if part == "dataset"}
        for (kind, name, _), reference in self.named.items():
            if kind == "DatasetFacets" and (key := name.removeprefix("dataset/")) not in kinds:
                kinds[key] = Said.of(reference.node)
        models = {key for key, said in kinds.items() if meaning.is_model(said)}
        fresh = {s.key for s in self._of("dataset") if s.key in models and not meaning.is_model(s.before)}
        registering = Registering(self.tx, self.workspace, models)
        registering.know({run.key: run.now for run in runs} | reads.known)
        await registering.know_all({self.ref(DATASET.name, key).id for key in fresh})
        await registering.run({owner: points for owner, points in self.told.points.items() if owner[1]})


def _all_derivations(said: Said) -> set[tuple[str, str, str]]:
    return meaning.derivations(said) | meaning.inner_derivations(said)


def _other(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str | None]:
    """What to set, so that what was said before becomes what is said now."""
    return {**{n: None for n in before if n not in now}, **{n: v for n, v in now.items() if before.get(n) != v}}
