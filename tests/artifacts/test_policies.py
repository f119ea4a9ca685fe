"""What a workspace asks of its artifacts: harmless pickles, signatures; and what is said of them."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.recorder import Recorder
from graph.address import Address
from graph.port import EntryFilter, Node
from lineal.errors import AlreadyExists, InvalidArgument, PreconditionFailed, Unavailable
from resolvers.artifacts import looking, losing, signatures, sweeping, uploads, verifying
from resolvers.artifacts.common import manifest_name, verified_name
from resolvers.artifacts.downloads import files, links
from resolvers.artifacts.signatures import attach_signature, judge_again, signature_of
from resolvers.artifacts.uploads import begin_upload, missing
from resolvers.artifacts.verifying import request_verification, verify_managed
from resolvers.bytes import Bytes
from resolvers.operation import Operation
from resolvers.writing.importing import ImportedEdge, record_lineage
from resolvers.writing.lifecycle import set_alias, set_stage
from resolvers.writing.versions import create_model_version, update_model_version
from resolvers.writing.workspaces import create_workspace
from storage import copying
from storage.local import LocalStorage
from storage.manifest import File, Manifest
from storage.port import Blob, Storage
from storage.s3 import S3Storage
from storage.s3_options import HOT
from storage.signing import Trusted, Verified, certificate_signer, key_signer, sign, verify
from tests.artifacts.conftest import Registry, described
from tests.storage.signing import making
from tests.storage.signing.making import DAY, NOW, Issued, issue
from tests.storage.storing import BASE, blob_of, flipped, parts_of, some

FILES = {"a.bin": b"first", "b.bin": b"second"}


class Harm:
    """What runs a command when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._marker}",)


def manifest_of(files: dict[str, bytes]) -> Manifest:
    """The manifest of some files."""
    return Manifest.of(File(path, len(data), blob_of(data).sha256) for path, data in files.items())


def key() -> tuple[bytes, bytes]:
    """A private key and its public half, as PEM."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    return (
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


# ── Pickles ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_harmful_pickle_is_flagged_and_never_run(registry: Registry, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    _, artifact = await registry.push({"model.pkl": pickle.dumps(Harm(marker))})
    assert artifact.props["pickles"] == "DANGEROUS"
    assert any("system" in name for name in artifact.props["imports"])
    assert not marker.exists()


async def test_a_harmful_pickle_is_flagged_among_however_many_files(registry: Registry, tmp_path: Path) -> None:
    data = {f"{i:05}.csv": b"a,b\n%d" % (i % 7) for i in range(1_100)}
    _, artifact = await registry.push(data)
    assert artifact.props["pickles"] == "NONE"
    _, artifact = await registry.push({**data, "z/evil.csv": pickle.dumps(Harm(tmp_path / "ran"))})
    assert artifact.props["pickles"] == "DANGEROUS"


async def test_files_whose_beginnings_take_too_long_to_read_are_unscanned(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "AHEAD_SECONDS", 0.0)
    _, artifact = await registry.push({f"{i:05}.csv": b"a,b\n%d" % (i % 7) for i in range(1_001)})
    assert artifact.props["pickles"] == "UNSCANNED"


async def test_what_was_found_is_told_though_the_rest_takes_too_long(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: looking.StoredSource, path: str, start: int, size: int) -> bytes:
        if path == "z.pkl":
            while not self.stopped:
                time.sleep(0.01)
        return fetch(self, path, start, size)

    fetch = looking.StoredSource.fetch
    monkeypatch.setattr(looking.StoredSource, "fetch", slow)
    monkeypatch.setattr(looking, "SECONDS", 1.0)
    _, artifact = await registry.push({"a.txt": b"tree\nversion=v4\n", "z.pkl": b"N0" * 1_000 + b"."})
    assert artifact.props["frameworks"] == ["LightGBM"]
    assert artifact.props["pickles"] == "UNSCANNED"


async def test_a_policy_refuses_it_and_names_what_it_imports(registry: Registry, tmp_path: Path) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_DANGEROUS")
    version = await registry.version()
    files = {"model.pkl": pickle.dumps(Harm(tmp_path / "ran"))}
    upload = await registry.begin(version.id, files)
    await registry.send(upload, files)
    with pytest.raises(PreconditionFailed, match=r"DANGEROUS.*system in 'model\.pkl'"):
        await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "PENDING"


@pytest.mark.parametrize("begin", [b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x880", b"C\x01a0", b"\x8f0"])
async def test_a_policy_refuses_it_wherever_it_hides(registry: Registry, begin: bytes) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_UNSAFE")
    version = await registry.version()
    files = {"pytorch_model.bin": begin + b"cos\nsystem\n(S'true'\ntR."}
    upload = await registry.begin(version.id, files)
    await registry.send(upload, files)
    with pytest.raises(PreconditionFailed, match=r"os\.system in 'pytorch_model\.bin'"):
        await registry.complete(upload)


async def test_a_policy_lets_harmless_pickles_in(registry: Registry) -> None:
    await registry.set_workspace(picklePolicy="REFUSE_UNSAFE")
    _, artifact = await registry.push({"model.pkl": pickle.dumps({"weights": [1.0, 2.0]})})
    assert artifact.props["pickles"] == "SAFE"


# ── Signatures ────────────────────────────────────────────────────────────────────────────────────


async def test_a_signature_by_a_trusted_key_is_valid_and_by_another_untrusted(registry: Registry) -> None:
    (mine, public), (other, _) = key(), key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    _, artifact = await registry.push(FILES)
    assert artifact.props.get("signature") is None
    for private, state in ((other, "UNTRUSTED"), (mine, "VALID")):
        bundle = sign(manifest_of(FILES), key_signer(private)).decode()
        async with registry.operation() as op:
            signed = await attach_signature(op, address=artifact.id, bundle=bundle)
        assert signed.props["signature"] == state
        assert signed.props["signedBy"]


async def test_an_untrusted_signature_never_takes_the_place_of_a_valid_one(registry: Registry) -> None:
    (mine, public), (other, _) = key(), key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    _, artifact = await registry.push(FILES)
    bundles = [sign(manifest_of(FILES), key_signer(private)) for private in (mine, other)]
    async with registry.operation() as op:
        await attach_signature(op, address=artifact.id, bundle=bundles[0].decode())
        with pytest.raises(PreconditionFailed, match="has a VALID signature"):
            await attach_signature(op, address=artifact.id, bundle=bundles[1].decode())
    signed = await registry.node(artifact.id)
    assert signed.props["signature"] == "VALID"
    assert await signature_of(registry.storage, signed) == bundles[0]


async def test_a_signature_of_other_files_is_refused_and_names_them(registry: Registry) -> None:
    private, _ = key()
    _, artifact = await registry.push(FILES)
    bundle = sign(manifest_of({**FILES, "a.bin": b"other"}), key_signer(private)).decode()
    with pytest.raises(PreconditionFailed, match=r"a\.bin"):
        async with registry.operation() as op:
            await attach_signature(op, address=artifact.id, bundle=bundle)
    assert (await registry.node(artifact.id)).props.get("signature") is None


@pytest.mark.parametrize("bundle", ["", "{}", "null", "x" * 100])
async def test_what_is_no_signature_is_refused(registry: Registry, bundle: str) -> None:
    _, artifact = await registry.push(FILES)
    with pytest.raises(PreconditionFailed):
        async with registry.operation() as op:
            await attach_signature(op, address=artifact.id, bundle=bundle)


async def test_a_signature_is_judged_again_by_whom_the_server_trusts_now(registry: Registry) -> None:
    private, public = key()
    _, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        bundle = sign(manifest_of(FILES), key_signer(private)).decode()
        signed = await attach_signature(op, address=artifact.id, bundle=bundle)
    assert signed.props["signature"] == "UNTRUSTED"
    await judge_again(registry.graph, registry.storage, signed, Trusted(keys=(public,)), by="keeper")
    assert (await registry.node(artifact.id)).props["signature"] == "VALID"


async def test_a_certificate_must_have_been_valid_when_its_signature_was_attached_and_may_expire_then(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = issue("Root", ca=True, ends=NOW + 3 * DAY)
    trusted = Trusted(authorities=(root.pem,))
    registry.reach = Bytes(registry.storage, trusted=trusted)

    async def attach(signer: Issued, model: str) -> Node:
        _, artifact = await registry.push({"name": model.encode()}, model=model)
        how = certificate_signer(making.private(signer.key), signer.pem, [root.pem])
        bundle = sign(manifest_of({"name": model.encode()}), how).decode()
        async with registry.operation() as op:
            return await attach_signature(op, address=artifact.id, bundle=bundle)

    valid = await attach(issue("Ada", root), "models:/ada")
    expired = await attach(issue("Bob", root, ends=NOW - DAY / 2), "models:/bob")
    assert [each.props["signature"] for each in (valid, expired)] == ["VALID", "UNTRUSTED"]

    def later(*asked: Any, at: datetime | None = None) -> Verified:
        return verify(*asked, at=at or NOW + 2 * DAY)

    monkeypatch.setattr(signatures, "verify", later)
    for artifact, state in ((valid, "VALID"), (expired, "UNTRUSTED")):
        await judge_again(registry.graph, registry.storage, artifact, trusted, by="keeper")
        assert (await registry.node(artifact.id)).props["signature"] == state


async def test_what_is_said_of_a_signature_is_of_the_one_that_is_kept_even_if_it_came_while_another_was_judged(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, public), (second, _) = key(), key()
    _, artifact = await registry.push(FILES)

    async def attach(private: bytes) -> Node:
        async with registry.operation() as op:
            bundle = sign(manifest_of(FILES), key_signer(private)).decode()
            return await attach_signature(op, address=artifact.id, bundle=bundle)

    signed = await attach(first)
    judged, came = signatures._judged, list[Node]()

    async def judge_meanwhile(*asked: Any) -> Verified:
        verified = await judged(*asked)
        if not came:
            came.append(artifact)
            await attach(second)
        return verified

    monkeypatch.setattr(signatures, "_judged", judge_meanwhile)
    await judge_again(registry.graph, registry.storage, signed, Trusted(keys=(public,)), by="keeper")
    assert (await registry.node(artifact.id)).props["signature"] == "UNTRUSTED"


async def test_a_workspace_may_ask_for_signatures_before_names_lead_to_a_version(registry: Registry) -> None:
    private, public = key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    await registry.set_workspace(signaturePolicy="REQUIRED")
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        with pytest.raises(PreconditionFailed, match="asks for a VALID signature"):
            await set_alias(op, model="models:/bert", name="champion", version=version.id)
        with pytest.raises(PreconditionFailed, match="asks for a VALID signature"):
            await set_stage(op, version=version.id, stage="production")
        with pytest.raises(PreconditionFailed) as refusal:
            await create_model_version(op, model="models:/bert", aliases=["champion"])
        assert refusal.value.field == "aliases"
        await attach_signature(op, address=artifact.id, bundle=sign(manifest_of(FILES), key_signer(private)).decode())
        await set_alias(op, model="models:/bert", name="champion", version=version.id)
        await set_stage(op, version=version.id, stage="production")


async def test_a_signature_that_leaves_files_out_does_not_vouch_for_the_artifact(registry: Registry) -> None:
    private, public = key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    files = {**FILES, "notes/a": b"anything", ".gitattributes": b"* lfs"}
    _, artifact = await registry.push(files)
    _, plain = await registry.push({**FILES, ".gitattributes": b"* lfs"}, model="models:/plain")
    async with registry.operation() as op:
        left_out = sign(manifest_of(files), key_signer(private), ignore=["notes"]).decode()
        signed = await attach_signature(op, address=artifact.id, bundle=left_out)
        assert (signed.props["signature"], signed.props["unsigned"]) == ("UNTRUSTED", [".gitattributes", "notes/a"])
        whole = sign(manifest_of({**FILES, ".gitattributes": b"* lfs"}), key_signer(private)).decode()
        signed = await attach_signature(op, address=plain.id, bundle=whole)
        assert (signed.props["signature"], signed.props["unsigned"]) == ("VALID", [".gitattributes"])


async def test_every_file_that_nobody_signed_is_listed_or_refused(registry: Registry) -> None:
    private, public = key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    bundle = sign(manifest_of(FILES), key_signer(private)).decode()
    beside = {".git/hooks/post-checkout": b"#!/bin/sh", ".github/a.pkl": b"anything", "model.sig": b"{}"}
    _, artifact = await registry.push({**FILES, **beside})
    _, other = await registry.push({**FILES, "model.sig/a.pkl": b"anything"}, model="models:/other")
    async with registry.operation() as op:
        signed = await attach_signature(op, address=artifact.id, bundle=bundle)
        assert (signed.props["signature"], signed.props["unsigned"]) == ("VALID", sorted(beside))
        with pytest.raises(PreconditionFailed, match=r"'model\.sig/a\.pkl' is not signed"):
            await attach_signature(op, address=other.id, bundle=bundle)


async def signed_and_named(registry: Registry) -> tuple[Node, Node, bytes]:
    """A version where signatures are REQUIRED, which an alias leads to, its signed files, and the key that signs."""
    private, public = key()
    registry.reach = Bytes(registry.storage, trusted=Trusted(keys=(public,)))
    await registry.set_workspace(signaturePolicy="REQUIRED")
    version, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        await attach_signature(op, address=artifact.id, bundle=sign(manifest_of(FILES), key_signer(private)).decode())
        await set_alias(op, model="models:/bert", name="champion", version=version.id)
    return version, artifact, private


async def test_unsigned_files_are_not_added_to_a_version_that_names_lead_to(registry: Registry) -> None:
    version, _, private = await signed_and_named(registry)
    more = {"more.bin": b"unsigned"}
    upload = await registry.begin(version.id, more, name="weights")
    await registry.send(upload, more)
    with pytest.raises(PreconditionFailed, match="signaturePolicy REQUIRED"):
        await registry.complete(upload)
    _, signed = await registry.push(more, model="models:/other")
    async with registry.operation() as op:
        await attach_signature(op, address=signed.id, bundle=sign(manifest_of(more), key_signer(private)).decode())
    assert (await registry.complete(upload)).id == signed.id


async def test_unsigned_files_are_not_told_of_a_version_that_names_lead_to_either(registry: Registry) -> None:
    version, artifact, private = await signed_and_named(registry)
    more = {"more.bin": b"unsigned"}
    _, other = await registry.push(more, model="models:/other")
    told = edge(version, other, "weights")
    async with registry.operation() as op:
        with pytest.raises(PreconditionFailed, match=r"edges\[0\].to: .*signaturePolicy REQUIRED"):
            await record_lineage(op, edges=[told])
        await record_lineage(op, edges=[edge(version, artifact, "model")])
        await attach_signature(op, address=other.id, bundle=sign(manifest_of(more), key_signer(private)).decode())
        await record_lineage(op, edges=[told])


async def test_what_is_told_of_files_gives_no_name_to_two_of_them(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    _, other = await registry.push({"more.bin": b"others"}, model="models:/other")
    async with registry.operation() as op:
        with pytest.raises(AlreadyExists, match=r"edges\[0\].discriminator: .* has other files called 'model'"):
            await record_lineage(op, edges=[edge(version, other, "model")])
        with pytest.raises(AlreadyExists, match=r"edges\[1\].discriminator: .* has other files called 'copy'"):
            await record_lineage(op, edges=[edge(version, artifact, "copy"), edge(version, other, "copy")])
        await record_lineage(op, edges=[edge(version, artifact, "model"), edge(version, other, "copy")])


def edge(version: Node, artifact: Node, name: str) -> ImportedEdge:
    """That these files belong to a version by this name, as somebody tells it."""
    address = str(Address(artifact.kind, artifact.workspace, artifact.name))
    return {"from": version.id, "kind": "HAS_ARTIFACT", "to": address, "discriminator": name}


# ── Bytes that are not what was told ──────────────────────────────────────────────────────────────


async def test_lost_bytes_are_found_named_and_the_version_has_failed(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"second").sha256])
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
    found = await registry.node(artifact.id)
    assert found.props["problem"] == "'b.bin' is not there"
    assert (await registry.node(version.id)).props["state"] == "FAILED"


async def test_right_bytes_are_verified(registry: Registry, small_parts: int) -> None:
    _, artifact = await registry.push({"big.bin": bytes(2 * small_parts + 1), "small": b"x"})
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"
    assert (await registry.node(artifact.id)).props["verification"] == "VERIFIED"


async def test_what_has_failed_is_not_given_out(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"second").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    async with registry.operation() as op:
        failed = await registry.node(artifact.id)
        with pytest.raises(PreconditionFailed, match="not what was told"):
            await links(op, (await files(op, failed, first=9)).items)


# ── Bytes that several have ───────────────────────────────────────────────────────────────────────


async def test_all_that_shares_wrong_bytes_is_told_before_they_are_removed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, artifact = await registry.push(FILES)
    second, other = await registry.push({"a.bin": b"first", "c": b"third"}, model="models:/other")
    third, well = await registry.push({"c": b"third"}, model="models:/well")
    await spoil(registry, b"first")

    async def die(*_: object, **__: object) -> set[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry.storage, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    for version, of in ((first, artifact), (second, other)):
        assert (await registry.node(version.id)).props["state"] == "FAILED"
        found = (await registry.node(of.id)).props
        assert (found["verification"], found["problem"].startswith("'a.bin' has the digest")) == ("FAILED", True)
    assert (await registry.node(third.id)).props["state"] == "READY"
    assert (await registry.node(well.id)).props["verification"] == "VERIFIED"


async def test_what_was_spoken_of_before_and_is_pushed_while_its_bytes_are_found_wrong_is_told_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.speak_of({"c": b"first"})
    _, artifact = await registry.push(FILES)
    await spoil(registry, b"first")
    monkeypatch.setattr(verifying, "SLACK", 0)
    made = list[Node]()

    async def having(*given: Any) -> losing.Having:
        found = await losing.having(*given)
        if not made:
            made.append((await registry.push({"c": b"first"}, model="models:/new"))[0])
        return found

    monkeypatch.setattr(verifying, "having", having)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
    assert [version.props["state"] for version in made] == ["READY"]
    assert (await registry.node(made[0].id)).props["state"] == "FAILED"


async def test_right_bytes_that_are_sent_again_make_all_that_lost_them_ready_again(registry: Registry) -> None:
    first, artifact = await registry.push(FILES)
    second, other = await registry.push({"a.bin": b"first", "c": b"third"}, model="models:/other")
    await spoil(registry, b"first")
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
    assert not await registry.holds(b"first")
    upload = await registry.begin(first.id, FILES)
    assert (upload.props["state"], await registry.send(upload, FILES)) == ("OPEN", 1)
    await registry.complete(upload)
    for version, of in ((first, artifact), (second, other)):
        assert (await registry.node(version.id)).props["state"] == "READY"
        now = await registry.node(of.id)
        assert now.props["verification"] == "PENDING"  # whose bytes were doubted is read again
        assert await verify_managed(registry.graph, registry.storage, now, by="keeper") == "VERIFIED"


async def test_a_version_that_lost_bytes_is_called_ready_by_nobody_until_they_are_there_again(
    registry: Registry,
) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    lost = f"bytes of {artifact.id} were found wrong or gone"
    told: Any = {"model": "models:/other", "create_model": True}
    told["artifacts"] = [{"name": "model", "digest": artifact.props["digest"]}]
    async with registry.operation() as op:
        # That somebody wants it read again says nothing of what is there.
        for _ in range(2):
            with pytest.raises(PreconditionFailed, match=lost):
                await update_model_version(op, address=version.id, properties={"state": "READY"})
            with pytest.raises(PreconditionFailed, match=lost):
                await create_model_version(op, **told)
            await request_verification(op, address=artifact.id)
        await create_model_version(op, **told, properties={"state": "PENDING"})
        await update_model_version(op, address=version.id, properties={"state": "PENDING"})
    await registry.push(FILES, model="models:/third")
    async with registry.operation() as op:
        found = await update_model_version(op, address=version.id, properties={"state": "READY"})
    assert (found.props["state"], "lostAt" in found.props) == ("READY", False)


async def test_a_ready_version_comes_to_have_no_files_that_are_lost_by_a_record_of_lineage(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    there, _ = await registry.push({"c": b"third"}, model="models:/other")
    waiting = await registry.version("models:/waiting")
    file = str(Address(artifact.kind, artifact.workspace, artifact.name))

    async def join(version: str) -> None:
        edge: ImportedEdge = {"from": version, "kind": "HAS_ARTIFACT", "to": file, "discriminator": "weights"}
        async with registry.operation() as op:
            await record_lineage(op, nodes=[{"address": "models:/new"}, {"address": "models:/new/1"}], edges=[edge])

    for version in there.id, "models:/new/1":
        with pytest.raises(PreconditionFailed, match="were found wrong or gone") as error:
            await join(version)
        assert error.value.field == "edges[0].to"
    await join(waiting.id)
    await registry.push(FILES, model="models:/third")
    await join(there.id)
    assert (await registry.node(there.id)).props["state"] == "READY"


async def test_a_version_is_not_ready_again_while_other_files_that_it_lost_wait_to_be_read(registry: Registry) -> None:
    version, one = await registry.push(FILES)
    more = {"c": b"third"}
    upload = await registry.begin(version.id, more, name="more")
    await registry.send(upload, more)
    other = await registry.complete(upload)
    for data, artifact in ((b"first", one), (b"third", other)):
        await registry.storage.remove("default", [blob_of(data).sha256])
        await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    async with registry.operation() as op:
        await request_verification(op, address=other.id)
    await registry.push(FILES, model="models:/other")
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    await registry.push(more, model="models:/other")
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_another_version_with_the_same_files_brings_them_back_to_the_first(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    await registry.push(FILES)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_a_version_with_other_files_that_are_lost_stays_failed(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    more = {"c": b"third"}
    upload = await registry.begin(version.id, more, name="more")
    await registry.send(upload, more)
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    upload = await registry.begin(version.id, FILES)
    await registry.send(upload, FILES)
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_bytes_that_are_gone_unnoticed_are_sent_again(registry: Registry) -> None:
    version, _ = await registry.push(FILES)
    assert (await registry.begin(version.id, FILES)).props["state"] == "COMPLETE"
    await registry.storage.remove("default", [blob_of(b"first").sha256])
    upload = await registry.begin(version.id, FILES)
    assert await registry.send(upload, FILES) == 1
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_an_upload_whose_bytes_were_found_wrong_while_it_was_completed_looks_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, artifact = await registry.push(FILES)
    version = await registry.version("models:/other")
    upload = await registry.begin(version.id, {"a": b"first"})
    await spoil(registry, b"first")

    async def look(*given: Any) -> Any:
        monkeypatch.undo()
        assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
        return await looking.look(*given)

    monkeypatch.setattr(uploads, "look", look)
    with pytest.raises(Unavailable, match="found wrong"):
        await registry.complete(upload)
    with pytest.raises(PreconditionFailed, match="1 of 1 files"):
        await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "PENDING"


async def test_a_large_blob_that_was_read_need_not_be_read_again_for_others(
    registry: Registry, small_parts: int
) -> None:
    files = {"large": some(2 * small_parts + 7)}
    _, artifact = await registry.push(files)
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    _, again = await registry.push(files, "models:/other")
    assert again.props["verification"] == "VERIFIED"


async def test_what_came_in_the_place_of_a_large_blob_that_was_read_counts_as_not_read(
    registry: Registry, small_parts: int
) -> None:
    files = {"large": some(2 * small_parts + 7)}
    _, artifact = await registry.push(files)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"
    await spoil(registry, files["large"])
    _, again = await registry.push(files, "models:/other")
    assert again.props["verification"] == "PENDING"
    assert await verify_managed(registry.graph, registry.storage, again, by="keeper") == "FAILED"


async def test_what_came_in_the_place_of_a_large_blob_while_it_was_read_counts_as_not_read(
    registry: Registry, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"large": some(2 * small_parts + 7)}
    _, artifact = await registry.push(files)
    read = registry.storage.read

    async def read_and_spoil(*asked: Any) -> AsyncIterator[bytes]:
        chunks = [chunk async for chunk in read(*asked)]
        await spoil(registry, files["large"])
        for chunk in chunks:
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(registry.storage, "read", read_and_spoil)
        await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    _, again = await registry.push(files, "models:/other")
    assert again.props["verification"] == "PENDING"


async def test_other_bytes_under_the_digest_of_a_large_blob_that_was_right_once_are_not_taken_for_it(
    registry: Registry, small_parts: int
) -> None:
    data, wrong = some(2 * small_parts + 7), some(2 * small_parts + 7, "wrong")
    _, artifact = await registry.push({"large": data})
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    await registry.storage.remove("default", [blob_of(data).sha256])  # by hand, so that the mark stays
    told: list[Any] = [{**described({"large": data})[0], "parts": parts_of(wrong)}]
    version = await registry.version("models:/other")
    async with registry.operation() as op:
        upload = await begin_upload(op, to=version.id, files=told)
    async with registry.operation() as op:
        (item,) = (await missing(op, upload, first=5, after=None)).items
    for send in item.sends:
        assert (await registry.store.put(send, wrong)).is_success
    if registry.storage.name.startswith("file:"):
        with pytest.raises(PreconditionFailed):
            await registry.complete(upload)
    else:
        assert (await registry.complete(upload)).props["verification"] == "PENDING"


async def test_files_of_one_digest_have_one_size(registry: Registry) -> None:
    version = await registry.version()
    told = [*described({"a": b"first"}), {**described({"b": b"first"})[0], "size": 999}]
    async with registry.operation() as op:
        with pytest.raises(
            InvalidArgument, match=r"has the SHA-256 of files\[0\], and so its 5 bytes, not 999"
        ) as error:
            await begin_upload(op, to=version.id, files=told)
    assert error.value.field == "files[1].size"


async def test_a_size_that_was_told_wrong_is_no_problem_of_others_that_have_the_bytes(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    false = Manifest([File("x", 999, blob_of(b"first").sha256)])
    await registry.storage.put("default", manifest_name(false.digest), false.canonical)
    await registry.version("models:/other", artifacts=[{"name": "model", "digest": false.digest}])
    other = await registry.node(str(Address("Artifact", "default", false.digest)))
    await registry.set(other.id, storage="MANAGED")
    assert (
        await verify_managed(registry.graph, registry.storage, await registry.node(other.id), by="keeper") == "FAILED"
    )
    assert "'x' has 5 bytes instead of 999" in (await registry.node(other.id)).props["problem"]
    assert await registry.holds(b"first")
    assert (await registry.node(version.id)).props["state"] == "READY"
    assert (await registry.node(artifact.id)).props["verification"] == "VERIFIED"


@pytest.mark.parametrize("lost", [True, False])
async def test_what_has_lost_its_manifest_has_failed_until_it_is_pushed_again(registry: Registry, lost: bool) -> None:
    version, artifact = await registry.push(FILES)
    name = manifest_name(artifact.props["digest"])
    if lost:
        await registry.storage.discard("default", name)
    else:
        await registry.storage.put("default", name, Manifest([File("x", 1, "0" * 64)]).canonical)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
    assert "manifest" in (await registry.node(artifact.id)).props["problem"]
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    await registry.complete(await registry.begin(version.id, FILES))
    assert (await registry.node(version.id)).props["state"] == "READY"


@pytest.mark.parametrize("quota", [None, 1_000])
async def test_a_manifest_that_was_changed_stops_nothing_of_what_is_not_of_it(
    registry: Registry, quota: int | None
) -> None:
    await registry.set_workspace(quotaBytes=quota)
    _, artifact = await registry.push(FILES)
    open_upload = await registry.begin((await registry.version()).id, {"x": b"third"})
    for digest in (artifact.props["digest"], open_upload.props["digest"]):
        await registry.storage.put("default", manifest_name(digest), b"{}")
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "FAILED"
    version, other = await registry.push({"x": b"other bytes"}, "models:/other")
    assert version.props["state"] == "READY"
    await spoil(registry, b"other bytes")
    assert await verify_managed(registry.graph, registry.storage, other, by="keeper") == "FAILED"
    assert (await registry.node(version.id)).props["state"] == "FAILED"


async def test_a_push_mends_a_manifest_that_is_gone_unnoticed(registry: Registry) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.discard("default", manifest_name(artifact.props["digest"]))
    upload = await registry.begin(version.id, FILES)
    assert upload.props["state"] == "OPEN"
    await registry.complete(upload)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"


async def test_wrong_bytes_that_a_verifier_did_not_come_to_remove_are_sent_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, artifact = await registry.push(FILES)
    await spoil(registry, b"first")
    await never_removed(registry, artifact, monkeypatch)
    upload = await registry.begin(version.id, FILES)
    assert await registry.send(upload, FILES) == 0
    with pytest.raises(PreconditionFailed, match=r"1 of 2 files are not there, or have other bytes: 'a\.bin'"):
        await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "PENDING"
    assert await registry.send(upload, FILES) == 1
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "READY"
    assert await registry.store.read("default", blob_of(b"first").sha256) == b"first"


async def test_a_push_of_some_of_the_bytes_that_were_wrong_makes_nothing_well_that_has_the_others(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, artifact = await registry.push(FILES)
    await spoil(registry, b"first")
    await spoil(registry, b"second")

    async def ended(*_: object, **__: object) -> set[str]:
        raise Unavailable("the process ended here")

    with monkeypatch.context() as patch:
        patch.setattr(registry.storage, "remove", ended)
        with pytest.raises(Unavailable):
            await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    one = {"a.bin": b"first"}
    upload = await registry.begin((await registry.version("models:/other")).id, one)
    with pytest.raises(PreconditionFailed):
        await registry.complete(upload)
    await registry.send(upload, one)
    await registry.complete(upload)
    assert (await registry.node(version.id)).props["state"] == "FAILED"
    assert (await registry.node(artifact.id)).props["verification"] == "FAILED"


async def test_a_first_verification_goes_on_where_it_was_interrupted_and_a_later_one_reads_all(
    registry: Registry, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: some(2 * small_parts + size) for size, name in enumerate(("one", "another"), 1)}
    _, artifact = await registry.push(files)
    digests = sorted(blob_of(data).sha256 for data in files.values())
    # A folder reads what it puts together; in object storage nobody has read it yet.
    await registry.set(artifact.id, verification="PENDING", verifiedAt=None)
    for digest in digests:
        await registry.storage.discard("default", verified_name(digest))
    came = list[str]()

    async def read(storage: Storage, workspace: str, sha256: str) -> Blob | None:
        came.append(sha256)
        if len(came) == 2:
            raise Unavailable("the process ended here")
        return await copying.read(storage, workspace, sha256)

    monkeypatch.setattr(verifying, "read", read)
    with pytest.raises(Unavailable):
        await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"
    assert came == [*digests, digests[1]]
    async with registry.operation() as op:
        await request_verification(op, address=artifact.id)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"
    assert came[3:] == digests


async def test_right_bytes_that_come_while_others_are_read_are_left_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, artifact = await registry.push(FILES)
    await registry.storage.remove("default", [blob_of(b"second").sha256])

    async def read(storage: Storage, workspace: str, sha256: str) -> Blob | None:
        came = await copying.read(storage, workspace, sha256)
        if sha256 == blob_of(b"first").sha256:  # read after that of "second"
            upload = await registry.begin(version.id, FILES)
            assert await registry.send(upload, FILES) == 1
            await registry.complete(upload)
        return came

    with monkeypatch.context() as patch:
        patch.setattr(verifying, "read", read)
        with pytest.raises(Unavailable, match="came in the place of what was found wrong"):
            await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    assert await registry.holds(b"second")
    assert (await registry.node(version.id)).props["state"] == "READY"
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"


async def test_what_was_wrong_and_is_right_by_the_time_it_would_be_removed_is_left_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, artifact = await registry.push(FILES)
    await spoil(registry, b"first")
    await never_removed(registry, artifact, monkeypatch)
    other = await registry.version("models:/other")
    first, second = await registry.begin(version.id, FILES), await registry.begin(other.id, FILES)

    @asynccontextmanager
    async def late(storage: Storage, workspace: str) -> AsyncIterator[float]:
        monkeypatch.undo()
        with pytest.raises(PreconditionFailed):
            await registry.complete(second)
        assert await registry.send(second, FILES) == 1
        await registry.complete(second)
        async with sweeping.sweeping(storage, workspace) as until:
            yield until

    monkeypatch.setattr(verifying, "sweeping", late)
    with pytest.raises(Unavailable, match="came in the place of what was found wrong"):
        await registry.complete(first)
    assert await registry.holds(b"first")
    assert (await registry.node(other.id)).props["state"] == "READY"
    await registry.complete(first)
    assert (await registry.node(version.id)).props["state"] == "READY"


async def test_all_that_shares_wrong_bytes_is_told_when_an_upload_has_them_removed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, one = {"x": b"shared", "y": b"lost"}, {"x": b"shared"}
    version, artifact = await registry.push(both)
    sharing, other = await registry.push(one, model="models:/other")
    await registry.storage.remove("default", [blob_of(b"lost").sha256])
    await verify_managed(registry.graph, registry.storage, artifact, by="keeper")
    await spoil(registry, b"shared")

    def busy(*_: object) -> NoReturn:
        raise Unavailable("another sweep goes on")

    with monkeypatch.context() as patch:
        patch.setattr(verifying, "sweeping", busy)
        with pytest.raises(Unavailable):
            await verify_managed(registry.graph, registry.storage, other, by="keeper")
    upload = await registry.begin(version.id, both)
    await registry.send(upload, both)
    with pytest.raises(PreconditionFailed, match="1 of 2 files are not there, or have other bytes: 'x'"):
        await registry.complete(upload)
    assert not await registry.holds(b"shared")
    assert (await registry.node(other.id)).props["verification"] == "FAILED"
    assert (await registry.node(sharing.id)).props["state"] == "FAILED"
    await registry.send(upload, both)
    await registry.complete(upload)
    assert [(await registry.node(v.id)).props["state"] for v in (version, sharing)] == ["READY", "READY"]


async def test_how_long_bytes_are_retained_never_gets_shorter(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    until = 4_102_444_800_000_000
    await registry.set(artifact.id, retainUntil=until)
    await registry.push(FILES)
    assert (await registry.node(artifact.id)).props["retainUntil"] == until


async def test_what_was_retained_elsewhere_is_verified_where_nothing_can_be(
    registry: Registry, small_parts: int
) -> None:
    _, artifact = await registry.push({"large": some(2 * small_parts + 1)})
    await registry.set(artifact.id, retainUntil=4_102_444_800_000_000)
    assert await verify_managed(registry.graph, registry.storage, artifact, by="keeper") == "VERIFIED"


async def never_removed(registry: Registry, artifact: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that ends when it has said what is wrong with an artifact, and before it removes it."""

    async def ended(*_: object, **__: object) -> set[str]:
        raise Unavailable("the process ended here")

    with monkeypatch.context() as patch:
        patch.setattr(registry.storage, "remove", ended)
        with pytest.raises(Unavailable):
            await verify_managed(registry.graph, registry.storage, artifact, by="keeper")


async def spoil(registry: Registry, data: bytes) -> None:
    """Put other bytes of the same size in the place of a blob."""
    sha256 = blob_of(data).sha256
    other = flipped(data, len(data) // 2)
    if isinstance(registry.storage, LocalStorage):
        (path,) = registry.storage.root.rglob(f"blobs/*/{sha256}")
        path.chmod(0o600)
        path.write_bytes(other)
    else:
        assert isinstance(registry.storage, S3Storage)
        place = registry.storage.options.place("default")
        registry.storage._objects.put(place.bucket, place.blob(HOT, sha256), other)


# ── Fetching ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_gives_the_bytes_and_who_asked_is_in_the_audit(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    async with Recorder(registry.graph) as recorder:
        op = Operation(registry.graph, bytes=registry.reach, base=BASE, recorder=recorder)
        async with op:
            page = await files(op, artifact, first=9)
            urls = await links(op, page.items)
    assert [(await registry.store.http.get(url)).content for url in urls] == [b"first", b"second"]
    await registry.graph.sequence()
    async with registry.graph.snapshot() as snapshot:
        (entry,) = await snapshot.entries(EntryFilter(action="read"))
    noted = entry.change.data["noted"]
    assert noted["action"] == "download"
    assert noted["data"] == {"artifact": artifact.id, "files": ["a.bin", "b.bin"], "count": 2}


async def test_an_address_expires_and_an_altered_one_opens_nothing(registry: Registry) -> None:
    _, artifact = await registry.push(FILES)
    async with registry.operation() as op:
        (url,) = await links(op, (await files(op, artifact, first=1)).items, seconds=1)
    altered = url[:-3] + ("AAA" if url[-3:] != "AAA" else "BBB")
    assert (await registry.store.http.get(altered)).status_code == 403
    assert (await registry.store.http.get(url)).is_success
    registry.store.clock.offset = 5
    await asyncio.sleep(2)
    assert (await registry.store.http.get(url)).status_code == 403


async def test_what_one_workspace_keeps_is_unknown_in_another(registry: Registry) -> None:
    await registry.push(FILES)
    async with registry.operation() as op:
        await create_workspace(op, name="other")
    version = await registry.version("models:/other:bert")
    upload = await registry.begin(version.id, FILES)
    assert await registry.send(upload, FILES) == 2  # the same bytes are sent again: nobody learns who has them
