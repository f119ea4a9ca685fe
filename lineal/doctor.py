"""What is wrong with a set-up, and what to do about it: `lineal doctor`. It changes nothing but a probe of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx
from cryptography.x509 import load_pem_x509_certificates

from auth.jwks import Keys
from auth.keyring import AUDIT, BYTES, HANDLE, WEBHOOK, Keyring
from graph.port import Graph
from lineal import logging, tracing
from lineal.errors import LinealError, PreconditionFailed, Unavailable
from lineal.hubs import pipelines_of
from lineal.parts import connectors_of, storage_of, store, store_file, targets_of, trackers_of
from lineal.settings import Settings
from resolvers.webhooks.sending import Sender
from schema.documents import load as load_documents

SECONDS: Final = 20.0
"""What one check may take."""
SKEW_SECONDS: Final = 5.0
"""How far clocks may be apart: tokens are checked to 30 seconds, and two clocks may each be off."""
NAMED: Final = 5
"""What is missing is named up to so many."""
LEAST_FREE: Final = 2**30
"""Bytes that must be free where Lineal writes."""
NETWORKED: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "lustre"}
)
"""File systems that more than one host may write to."""
MOUNTS: Final = Path("/proc/self/mounts")

_log = logging.get("lineal.doctor")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `mend` says what to do, and is empty where nothing is wrong."""

    check: str
    found: str
    mend: str = ""

    @property
    def wrong(self) -> bool:
        """Whether something has to be done."""
        return bool(self.mend)


@dataclass(slots=True)
class Patient:
    """A set-up that is looked at, and what was found of it; `least_free` bytes are enough to write on."""

    settings: Settings
    findings: list[Finding]
    least_free: int = LEAST_FREE

    def fine(self, check: str, found: str) -> None:
        """Nothing is wrong with it."""
        self.findings.append(Finding(check, found))

    def wrong(self, check: str, found: str, mend: str) -> None:
        """Something is."""
        self.findings.append(Finding(check, found, mend))

    @contextmanager
    def trying(self, check: str, mend: str) -> Iterator[None]:
        """What goes wrong meanwhile is found, and mended so."""
        try:
            yield
        except LinealError as error:
            self.wrong(check, error.message, mend)
        except TimeoutError:
            self.wrong(check, f"no answer within {SECONDS:g} seconds", mend)
        except OSError as error:
            self.wrong(check, f"{error.filename or check}: {error.strerror or error}", mend)


async def examine(settings: Settings, *, least_free: int = LEAST_FREE) -> list[Finding]:
    """Everything that is found, in the order of the checks; one that fails keeps none of the others from being made."""
    patient = Patient(settings, [], least_free)
    for check in CHECKS:
        name = check.__name__.removeprefix("_")
        try:
            await check(patient)
        except Exception as error:  # noqa: BLE001 - a defect met in one check must not end the others
            # What it says may have a secret inside; the log is for who runs Lineal.
            _log.exception("a check failed: a defect", check=name)
            mend = "see the log for what it failed at, and report it: the settings that it is about may be right"
            patient.wrong(name, f"this check itself failed: {type(error).__name__}", mend)
    return patient.findings


# ── On this machine ───────────────────────────────────────────────────────────────────────────────


async def _files(patient: Patient) -> None:
    """The files that settings name can be used."""
    settings = patient.settings
    readers: dict[str, Callable[[], object]] = {
        "signers": settings.signers.trusted,
        "connectors": lambda: connectors_of(settings),
        "targets": lambda: targets_of(settings),
        "trackers": lambda: trackers_of(settings),
        "kubeflow": lambda: pipelines_of(settings),
        "documents": lambda: load_documents(settings.documents),
        "webhook_ca": lambda: Sender(ca=settings.webhook_ca),
        "openlineage_ca": lambda: Sender(ca=settings.openlineage_ca, setting="openlineage_ca"),
    }
    for name, read in readers.items():
        if getattr(settings, name):
            with patient.trying(name, f"name in {name} a file that is there and right, or none"):
                read()
                patient.fine(name, "can be read")
    for name in ("graph_ca", "webhook_ca", "openlineage_ca"):
        if path := getattr(settings, name):
            _certificates(patient, name, path)
    if path := settings.audit_checkpoint_file:
        place = path if path.exists() else path.parent
        if os.access(place, os.W_OK) and place.is_dir() is not path.exists():
            patient.fine("audit_checkpoint_file", f"{path} can be written")
        else:
            mend = f"make the folder {path.parent}, and let this user write there"
            patient.wrong("audit_checkpoint_file", f"{path} cannot be written", mend)


def _certificates(patient: Patient, name: str, path: Path) -> None:
    try:
        last = min(each.not_valid_after_utc for each in load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError):
        patient.wrong(name, f"{path} holds no certificates", f"name in {name} a file with certificates in PEM")
        return
    if last < datetime.now(UTC):
        patient.wrong(name, f"a certificate in {path} ended on {last:%Y-%m-%d}", "put the current certificate there")


async def _keys(patient: Patient) -> None:
    """Keys are there, are keys, and are nobody else's to read."""
    folder = patient.settings.keys
    if not folder.exists():
        patient.fine("keys", f"{folder} is made when Lineal first serves")
        return
    with patient.trying("keys", f"put the key back from a backup; without one, move the file away from {folder}"):
        ring = Keyring(folder)
        if (folder / f"{AUDIT}.pem").exists():
            ring.ed25519(AUDIT)
        for name in (BYTES, HANDLE, WEBHOOK):
            if (folder / f"{name}.key").exists():
                ring.secret(name)
        patient.fine("keys", f"those in {folder} are keys")
    for path in [folder, *folder.glob("*.pem"), *folder.glob("*.key")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _exposed(path):
            mend = f"chmod {'600' if path != folder else '700'} {path}; make new keys if others may have read them"
            patient.wrong("keys", f"{path} has the mode {mode:o}: others than Lineal's user can use it", mend)


def _exposed(path: Path) -> int:
    """The bits of a mode that let others use a key or a folder of keys.

    A group of this process's own may read: so Kubernetes gives secrets to who is not root. Where nothing can be
    written, as in what it mounts, none can be added to a folder.
    """
    if path.is_dir():
        return 0 if os.statvfs(path).f_flag & os.ST_RDONLY else 0o022
    own = path.stat().st_gid in {os.getegid(), *os.getgroups()}
    return 0o037 if own else 0o077


async def _disk(patient: Patient) -> None:
    """There is room where Lineal writes."""
    settings = patient.settings
    places = {"keys": settings.keys}
    with suppress(LinealError):
        if (file := store_file(settings)) is not None:
            places["graph"] = file
    for name, path in places.items():
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < patient.least_free:
            mend = "free some, or move it to a larger disk"
            patient.wrong("disk", f"{name}: only {free // 2**20:,} MiB are free at {there}", mend)
        else:
            patient.fine("disk", f"{name}: {free // 2**20:,} MiB are free at {there}")


# ── The store and storage ─────────────────────────────────────────────────────────────────────────


async def _store(patient: Patient) -> None:
    """The store answers, is of this version, and has the same time."""
    settings = patient.settings
    with patient.trying("graph", "write the setting graph as sqlite:///file.db or neo4j://host:7687"):
        if (path := store_file(settings)) is not None:
            if system := networked(path.absolute(), MOUNTS.read_text() if MOUNTS.exists() else ""):
                mend = "keep the file on a disk of this host, and use Neo4j where several hosts serve"
                patient.wrong("graph", f"{path} is on a network file system ({system}), where locks may not hold", mend)
            if not path.exists():
                _new_store(patient, path)
                return
        graph = store(settings)
        mend = (
            "see that the file is one of Lineal's, and that this user may write it and its folder"
            if path is not None
            else "see that the server runs, and that graph, graph_user, graph_password and graph_ca are right"
        )
        with patient.trying("graph", mend):
            async with asyncio.timeout(SECONDS), graph:
                await _opened(patient, graph)


def _new_store(patient: Patient, path: Path) -> None:
    there = next(each for each in path.absolute().parents if each.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        patient.fine("graph", f"{path} is made when Lineal first serves")
    else:
        mend = "name another file in graph, or make its folder one that this user may write to"
        patient.wrong("graph", f"{path} cannot be made: {there} is no folder that can be written to", mend)


async def _opened(patient: Patient, graph: Graph) -> None:
    url, embedded = patient.settings.graph, store_file(patient.settings) is not None
    try:
        await graph.check_version()
    except PreconditionFailed as error:
        newer = error.details.get("store", 0) > error.details.get("code", 0)
        if embedded and not newer:
            patient.fine("graph", f"{url} is brought to this version when Lineal serves")
        else:
            mend = "install the Lineal that wrote it, or a newer one" if newer else "run lineal migrate"
            patient.wrong("graph", error.message, mend)
        return
    patient.fine("graph", f"{url} answers, and is of this version")
    if lacking := await graph.unindexed():
        named = ", ".join(lacking[:NAMED]) + (f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else "")
        patient.wrong("graph", f"constraints or indexes are missing: {named}", "run lineal migrate, which makes them")
    before = time.time()
    lease = await graph.claim(f"doctor {secrets.token_hex(8)}", "doctor", 1.0)
    if lease is not None:
        await graph.release(lease)
        _clock(patient, "the store", lease.until / 1_000_000 - 1.0, before)


def networked(path: Path, mounts: str) -> str:
    """The kind of network file system that a path is on, by the lines of /proc/self/mounts; empty for none."""
    found = [line.split()[1:3] for line in mounts.splitlines() if len(line.split()) > 2]
    on = [(len(place), kind) for place, kind in found if path.is_relative_to(place.replace("\\040", " "))]
    kind = max(on, default=(0, ""))[1]
    return kind if kind in NETWORKED else ""


def _clock(patient: Patient, whose: str, told: float, before: float) -> None:
    """Hold a time that was told between `before` and now against this machine's."""
    now = time.time()
    apart = before - told if told < before else max(0.0, told - now)
    if apart > SKEW_SECONDS:
        mend = "let both machines take their time from the same servers (NTP)"
        patient.wrong("clock", f"the clocks of {whose} and of this machine are {apart:.0f} seconds apart", mend)
    else:
        patient.fine("clock", f"{whose} and this machine have the same time")


async def _storage(patient: Patient) -> None:
    """What is put into storage comes back, and goes away."""
    remote = (patient.settings.storage or "").startswith("s3://")
    mend = (
        "see that s3.endpoint answers, that the bucket is there, and that its keys may put, get and delete in it"
        if remote
        else "name in storage a folder that this user may write to"
    )
    name, data = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(64)
    with patient.trying("storage", mend):
        storage = storage_of(patient.settings)
        async with asyncio.timeout(SECONDS), storage:
            await storage.put("default", name, data)
            try:
                same = await storage.get("default", name) == data
            finally:
                await storage.discard("default", name)
        if not same:
            raise Unavailable(f"{storage.name} gave other bytes than were put there")
        patient.fine("storage", f"{storage.name} keeps, gives and removes")


# ── Others ────────────────────────────────────────────────────────────────────────────────────────


async def _issuers(patient: Patient) -> None:
    """Each issuer is what the settings say, has keys, and has the same time."""
    for issuer in patient.settings.trusted:
        dates: list[tuple[float, float]] = []

        async def note(answer: httpx.Response, dates: list[tuple[float, float]] = dates) -> None:
            if date := answer.headers.get("date"):
                # A Date has whole seconds.
                dates.append((parsedate_to_datetime(date).timestamp(), time.time() - 1.0))

        async with httpx.AsyncClient(event_hooks={"response": [note]}) as client:
            keys = Keys(issuer, client)
            await keys.start()
            await keys.aclose()
        if keys.usable:
            patient.fine("issuers", f"{issuer.name} has keys")
        else:
            mend = f"see that {issuer.url} is exactly what the issuer calls itself, and can be reached from here"
            patient.wrong("issuers", f"the keys of {issuer.name} cannot be had: {keys.problem}", mend)
        for told, before in dates[:1]:
            _clock(patient, f"the issuer {issuer.name}", told, before)


async def _targets(patient: Patient) -> None:
    """Each serving target answers."""
    try:
        targets = targets_of(patient.settings)
    except LinealError:
        return  # its file was told of already
    async with targets:
        for name in targets.names:
            with patient.trying(f"target {name}", "see that its url and credentials are right, and that it runs"):
                async with asyncio.timeout(SECONDS):
                    await targets.adapter(name).observe(["lineal-doctor"])
                patient.fine(f"target {name}", "answers")


async def _traces(patient: Patient) -> None:
    """The receiver of traces takes some: none, in this case."""
    where = tracing.endpoint(patient.settings)
    if where is None:
        return
    mend = "name in otlp_endpoint a receiver of OTLP over HTTP (port 4318, as a rule), and see that it runs"
    try:
        with tracing.traced(patient.settings):
            async with httpx.AsyncClient(timeout=SECONDS) as client:
                answer = await client.post(where, headers={"content-type": "application/x-protobuf"})
    except PreconditionFailed as error:
        patient.wrong("traces", error.message, "install lineal[tracing]")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        patient.wrong("traces", f"{where} cannot be reached: {type(error).__name__}", mend)
    else:
        if answer.is_success:
            patient.fine("traces", f"{where} takes them")
        else:
            patient.wrong("traces", f"{where} answered with status {answer.status_code}", mend)


CHECKS: Final[tuple[Callable[[Patient], Awaitable[None]], ...]] = (
    _files,
    _keys,
    _disk,
    _store,
    _storage,
    _issuers,
    _targets,
    _traces,
)
