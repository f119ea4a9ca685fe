"""Signatures: whose they are, of what, and what is wrong with those that are not right."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from lineal.errors import InvalidArgument, LimitExceeded
from storage import signing
from storage.manifest import Manifest
from storage.signing import Method, State, Trusted, Verified, signers, verify
from tests.storage.signing.making import DAY, NOW, Issued, issue, key, manifest, manifest_of, private, public

KEY = key()
MODEL = manifest(config="{}", weights="1 2 3", data__a="a", data__b="b")
TRUSTED = Trusted(keys=[public(KEY)])


@pytest.fixture(scope="module")
def signature() -> bytes:
    return signing.sign(MODEL, signing.key_signer(private(KEY)), name="bert")


def payload_of(bundle: bytes) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return payload


# ── Keys ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signature_by_a_trusted_key_is_valid(curve: ec.EllipticCurve) -> None:
    own = key(curve)
    bundle = signing.sign(MODEL, signing.key_signer(private(own)))
    verified = verify(bundle, MODEL, Trusted(keys=[public(KEY), public(own)]))
    assert (verified.state, verified.method, verified.reason) == (State.VALID, Method.KEY, "")
    assert verified.signer == json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"]


def test_the_subject_is_the_root_of_the_manifest(signature: bytes) -> None:
    assert payload_of(signature)["subject"] == [{"name": "bert", "digest": {"sha256": MODEL.root}}]


@pytest.mark.parametrize("name", ["", "n" * 1_000, "caf\udce9", "größe"])
def test_any_name_may_be_that_of_what_is_signed(name: str) -> None:
    bundle = signing.sign(MODEL, signing.key_signer(private(KEY)), name=name)
    assert verify(bundle, MODEL, TRUSTED).state is State.VALID


def test_files_are_signed_in_code_point_order() -> None:
    model = manifest_of({"a/b": b"1", "a-b": b"2", "é": b"4", "😀": b"5", "\uff21": b"6"})
    payload = payload_of(signing.sign(model, signing.key_signer(private(KEY))))
    assert [each["name"] for each in payload["predicate"]["resources"]] == ["a-b", "a/b", "é", "\uff21", "😀"]
    assert payload["subject"][0]["digest"] == {"sha256": model.root}


def test_a_signature_by_another_key_is_untrusted_and_says_which(signature: bytes) -> None:
    for trusted in (Trusted(), Trusted(keys=[public(key())])):
        verified = verify(signature, MODEL, trusted)
        assert verified.state is State.UNTRUSTED
        assert verified.signer in verified.reason


def test_a_signature_that_names_a_trusted_key_and_is_not_by_it_is_invalid(signature: bytes) -> None:
    forged = json.loads(signing.sign(MODEL, signing.key_signer(private(key()))))
    forged["verificationMaterial"] = json.loads(signature)["verificationMaterial"]
    assert verify(json.dumps(forged).encode(), MODEL, TRUSTED) == Verified(
        State.INVALID, "the signature is not that of the statement: one of the two was changed"
    )


def test_a_wrong_hint_does_not_matter_where_the_key_is_trusted(signature: bytes) -> None:
    bundle = json.loads(signature)
    bundle["verificationMaterial"]["publicKey"]["hint"] = "made by another implementation"
    assert verify(json.dumps(bundle).encode(), MODEL, TRUSTED).state is State.VALID


def test_a_bundle_may_have_its_key_in_it_as_older_ones_do(signature: bytes) -> None:
    bundle = json.loads(signature)
    bundle["verificationMaterial"]["publicKey"] = {"rawBytes": base64.b64encode(public(KEY)).decode()}
    data = json.dumps(bundle).encode()
    assert verify(data, MODEL, TRUSTED).state is State.VALID
    assert verify(data, MODEL, Trusted()).state is State.UNTRUSTED
    bundle["verificationMaterial"]["publicKey"] = {"rawBytes": base64.b64encode(public(key())).decode()}
    assert verify(json.dumps(bundle).encode(), MODEL, Trusted()).state is State.INVALID


def test_a_key_with_a_password_needs_the_right_one() -> None:
    pem = private(KEY, b"secret")
    assert verify(signing.sign(MODEL, signing.key_signer(pem, b"secret")), MODEL, TRUSTED).state is State.VALID
    for password in (None, b"wrong"):
        with pytest.raises(InvalidArgument, match="password"):
            signing.key_signer(pem, password)
    with pytest.raises(InvalidArgument, match="has no password"):
        signing.key_signer(private(KEY), b"secret")


@pytest.mark.parametrize("pem", [b"", b"no key", private(key(ec.SECP256K1())), public(KEY)], ids=range(4))
def test_what_is_no_private_key_on_a_known_curve_signs_nothing(pem: bytes) -> None:
    with pytest.raises(InvalidArgument, match="key: "):
        signing.key_signer(pem)


@pytest.mark.parametrize(
    "trusted",
    [Trusted(keys=[b"no key"]), Trusted(keys=[public(key(ec.SECP256K1()))]), Trusted(keys=[private(KEY)])],
    ids=range(3),
)
def test_what_is_no_public_key_is_refused_as_trusted(signature: bytes, trusted: Trusted) -> None:
    with pytest.raises(InvalidArgument, match="keys: "):
        verify(signature, MODEL, trusted)


# ── Certificates ──────────────────────────────────────────────────────────────────────────────────────

ROOT = issue("Root", ca=True)
CENTRE = issue("Centre", ROOT, ca=True)
ADA = issue("Ada", CENTRE)


def certified(leaf: Issued, *chain: Issued) -> bytes:
    signer = signing.certificate_signer(private(leaf.key), leaf.pem, [each.pem for each in chain])
    return signing.sign(MODEL, signer)


def test_a_signature_by_a_trusted_authoritys_certificate_is_valid() -> None:
    verified = verify(certified(ADA, CENTRE, ROOT), MODEL, Trusted(authorities=[ROOT.pem]))
    assert (verified.state, verified.method) == (State.VALID, Method.CERTIFICATE)
    assert (verified.signer, verified.issuer) == ("CN=Ada", "CN=Centre")


def test_an_authority_between_may_be_the_trusted_one() -> None:
    assert verify(certified(ADA, CENTRE), MODEL, Trusted(authorities=[CENTRE.pem])).state is State.VALID


def test_a_certificate_with_a_password_on_its_key_signs() -> None:
    signer = signing.certificate_signer(private(ADA.key, b"secret"), ADA.pem, [CENTRE.pem], b"secret")
    assert verify(signing.sign(MODEL, signer), MODEL, Trusted(authorities=[ROOT.pem, CENTRE.pem])).state is State.VALID


@pytest.mark.parametrize(
    ("leaf", "chain", "why"),
    [
        (issue("Eve", issue("Root", ca=True)), [ROOT], "unable to get local issuer|signature failure"),
        (issue("Eve"), [ROOT], "self-signed"),
        (issue("Eve", ADA), [ADA, CENTRE, ROOT], "invalid CA|key usage"),
        (issue("Old", ROOT, begins=NOW - 3 * DAY, ends=NOW - DAY), [ROOT], "expired"),
        (issue("Early", ROOT, begins=NOW + DAY, ends=NOW + 3 * DAY), [ROOT], "not yet valid"),
        (issue("Door", ROOT, signs=False), [ROOT], "not one for signatures"),
        (issue("Web", ROOT, purpose=ExtendedKeyUsageOID.SERVER_AUTH), [ROOT], "not one for signatures"),
    ],
    ids=["another root's", "its own", "by no authority", "expired", "too early", "for other uses", "for servers"],
)
def test_a_certificate_that_no_trusted_authority_stands_for_is_untrusted(
    leaf: Issued, chain: list[Issued], why: str
) -> None:
    verified = verify(certified(leaf, *chain), MODEL, Trusted(authorities=[ROOT.pem]))
    assert verified.state is State.UNTRUSTED
    assert re.search(why, verified.reason), verified.reason


def test_a_certificate_for_signing_code_is_one_for_signatures() -> None:
    bundle = certified(issue("Code", ROOT, purpose=ExtendedKeyUsageOID.CODE_SIGNING), ROOT)
    assert verify(bundle, MODEL, Trusted(authorities=[ROOT.pem])).state is State.VALID


def test_an_expired_certificate_still_counts_for_the_time_when_it_was_valid() -> None:
    old = issue("Old", ROOT, begins=NOW - DAY / 2, ends=NOW - DAY / 4)
    bundle, trusted = certified(old, ROOT), Trusted(authorities=[ROOT.pem])
    assert verify(bundle, MODEL, trusted).state is State.UNTRUSTED
    assert verify(bundle, MODEL, trusted, at=NOW - DAY / 3).state is State.VALID


def test_keys_that_are_trusted_make_no_certificate_trusted() -> None:
    assert verify(certified(ADA, CENTRE, ROOT), MODEL, Trusted(keys=[public(ADA.key)])).state is State.UNTRUSTED


def test_anothers_certificate_cannot_be_put_in_place_of_ones_own() -> None:
    bundle = json.loads(certified(issue("Eve"), ROOT))
    bundle["verificationMaterial"] = json.loads(certified(ADA, CENTRE, ROOT))["verificationMaterial"]
    verified = verify(json.dumps(bundle).encode(), MODEL, Trusted(authorities=[ROOT.pem]))
    assert verified.state is State.INVALID


def test_a_certificate_of_another_key_signs_nothing() -> None:
    with pytest.raises(InvalidArgument, match="does not match"):
        signing.certificate_signer(private(KEY), ADA.pem, [CENTRE.pem])
    with pytest.raises(InvalidArgument, match="certificate"):
        signing.certificate_signer(private(ADA.key), ADA.pem, [])


def test_what_is_no_certificate_is_refused_as_trusted() -> None:
    with pytest.raises(InvalidArgument, match="authorities"):
        verify(certified(ADA, CENTRE), MODEL, Trusted(authorities=[b"none"]))


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────


def changed(**files: str | None) -> Manifest:
    kept = {"config": "{}", "weights": "1 2 3", "data__a": "a", "data__b": "b"} | files
    return manifest(**{name: content for name, content in kept.items() if content is not None})


@pytest.mark.parametrize("trusted", [TRUSTED, Trusted()], ids=["trusted", "untrusted"])
@pytest.mark.parametrize(
    ("model", "paths", "reason"),
    [
        (changed(weights="1 2 4"), (("weights",), (), ()), "'weights' differs"),
        (changed(config=None), ((), ("config",), ()), "'config' is missing"),
        (changed(evil="!"), ((), (), ("evil",)), "'evil' is not signed"),
        (changed(data__a="b", data__b="a"), (("data/a", "data/b"), (), ()), "'data/a' differs, 'data/b' differs"),
        (
            manifest(a="", b="", c=""),
            ((), ("config", "data/a", "data/b", "weights"), ("a", "b", "c")),
            "'config' is missing, 'data/a' is missing, 'data/b' is missing, and 4 more",
        ),
    ],
    ids=["altered", "missing", "extra", "swapped", "all others"],
)
def test_a_signature_of_other_files_is_invalid_and_names_them(
    signature: bytes, model: Manifest, paths: tuple[tuple[str, ...], ...], reason: str, trusted: Trusted
) -> None:
    verified = verify(signature, model, trusted)
    assert (verified.state, verified.reason) == (State.INVALID, reason)
    assert (verified.altered, verified.missing, verified.extra) == paths


def test_what_signatures_leave_out_is_told() -> None:
    model = manifest_of(dict.fromkeys([".git/config", ".gitattributes", "model.sig", "notes/a", "weights"], b"x"))
    bundle = signing.sign(model, signing.key_signer(private(KEY)), ignore=["notes"])
    payload = payload_of(bundle)["predicate"]
    assert [each["name"] for each in payload["resources"]] == ["weights"]
    assert payload["serialization"]["ignore_paths"] == sorted(
        [".git", ".gitattributes", ".github", ".gitignore", "model.sig", "notes"]
    )
    verified = verify(bundle, model, TRUSTED)
    assert verified.state is State.VALID
    assert verified.unsigned == (".git/config", ".gitattributes", "model.sig", "notes/a")


def test_only_what_is_at_the_top_is_left_out() -> None:
    model = manifest_of({"sub/.gitignore": b"", ".gitignores": b"", "weights": b"1"})
    bundle = signing.sign(model, signing.key_signer(private(KEY)))
    assert verify(bundle, model, TRUSTED).unsigned == ()
    assert verify(bundle, manifest_of({"sub/.gitignore": b"!", ".gitignores": b"", "weights": b"1"}), TRUSTED).altered


def test_a_signature_beside_the_files_is_a_file_and_nothing_below_its_name_is_left_out() -> None:
    bundle = signing.sign(manifest_of({"weights": b"1"}), signing.key_signer(private(KEY)))
    added = verify(bundle, manifest_of({"weights": b"1", "model.sig/a.pkl": b"!"}), TRUSTED)
    assert (added.state, added.extra, added.unsigned) == (State.INVALID, ("model.sig/a.pkl",), ())
    model = manifest_of({"weights": b"1", "model.sig/a.pkl": b"2"})
    signed = verify(signing.sign(model, signing.key_signer(private(KEY))), model, TRUSTED)
    assert (signed.state, signed.unsigned) == (State.VALID, ())


def test_nothing_is_no_signature_of_it() -> None:
    with pytest.raises(InvalidArgument, match="nothing to sign"):
        signing.sign(manifest_of({".gitignore": b""}), signing.key_signer(private(KEY)))


def test_a_signature_that_nobody_would_read_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signers, "MAX_BUNDLE", 100)
    with pytest.raises(LimitExceeded, match="100 bytes"):
        signing.sign(MODEL, signing.key_signer(private(KEY)))


def test_without_the_library_it_is_said_what_to_install(signature: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(InvalidArgument, match=re.escape("pip install 'lineal[signing]'")):
        verify(signature, MODEL, TRUSTED)
