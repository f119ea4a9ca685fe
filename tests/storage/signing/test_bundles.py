"""Bundles from anybody: what is not of the form that is demanded is INVALID, and nothing ends in another error."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from storage import signing
from storage.signing import State, Trusted, verify
from storage.signing.library import encoded
from tests.storage.signing.making import issue, key, manifest, private, public

KEY, ROOT = key(), issue("Root", ca=True)
ADA = issue("Ada", ROOT)
MODEL = manifest(config="{}", weights="1 2 3")
TRUSTED = Trusted(keys=[public(KEY)], authorities=[ROOT.pem])
SAMPLES = {
    "key": signing.sign(MODEL, signing.key_signer(private(KEY))),
    "certificate": signing.sign(MODEL, signing.certificate_signer(private(ADA.key), ADA.pem, [ROOT.pem])),
    "sigstore": (Path(__file__).parent / "vectors/valid/sigstore.bundle.json").read_bytes(),
}


@pytest.fixture
def signature() -> bytes:
    return SAMPLES["key"]


def payload_of(bundle: bytes) -> Any:
    return json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))


def resigned(change: Any) -> bytes:
    """A right signature of a statement that was changed before."""
    bundle = json.loads(signing.sign(MODEL, signing.key_signer(private(KEY))))
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(payload)
    raw = json.dumps(payload).encode()
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
    sig = KEY.sign(encoded(raw), ec.ECDSA(hashes.SHA256()))
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(sig).decode()
    return json.dumps(bundle).encode()


def test_resigning_alone_breaks_nothing() -> None:
    assert verify(resigned(lambda payload: None), MODEL, TRUSTED).state is State.VALID


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.update(_type="https://in-toto.io/Statement/v0.1"), "_type"),
        (lambda p: p.update(predicateType="https://model_signing/Digests/v0.1"), "predicateType"),
        (lambda p: p.pop("predicate"), "lacks predicate"),
        (lambda p: p.update(more=1), "'more'"),
        (lambda p: p["subject"].append(p["subject"][0]), "subject"),
        (lambda p: p["subject"][0]["digest"].update(sha256="0" * 64), "not that of its resources"),
        (lambda p: p["predicate"]["resources"].clear(), "resources"),
        (lambda p: p["predicate"]["resources"].append(p["predicate"]["resources"][0]), "twice"),
        (lambda p: p["predicate"]["resources"][0].update(algorithm="blake3"), "sha256"),
        (lambda p: p["predicate"]["resources"][0].update(digest="ab"), "hexadecimal"),
        (lambda p: p["predicate"]["resources"][0].update(name=7), "text"),
        (lambda p: p["predicate"]["serialization"].update(hash_type="blake2b"), "sha256"),
        (lambda p: p["predicate"]["serialization"].update(method="tensors"), "method"),
        (lambda p: p["predicate"]["serialization"].update(method="shards"), "shard_size"),
        (lambda p: p["predicate"]["serialization"].update(method="shards", shard_size=0), "shard_size"),
        (lambda p: p["predicate"]["serialization"].update(method="shards", shard_size=True), "shard_size"),
        (lambda p: p["predicate"]["serialization"].update(method="shards", shard_size=1), "byte range"),
        (lambda p: p["predicate"]["serialization"].update(shard_size=1), "method"),
        (lambda p: p["predicate"]["serialization"].update(allow_symlinks="no"), "allow_symlinks"),
        (lambda p: p["predicate"]["serialization"].update(ignore_paths="all"), "ignore_paths"),
        (lambda p: p.update(predicate=[]), "not an object"),
    ],
)
def test_a_right_signature_of_a_statement_that_is_none_is_invalid(change: Any, reason: str) -> None:
    verified = verify(resigned(change), MODEL, TRUSTED)
    assert verified.state is State.INVALID
    assert reason in verified.reason


@pytest.mark.parametrize("ignored", [".", "./", "/", "*", "../.."])
def test_no_path_to_ignore_lets_every_file_in(ignored: str) -> None:
    bundle = resigned(lambda p: p["predicate"]["serialization"].update(ignore_paths=[ignored]))
    assert verify(bundle, manifest(config="{}", weights="1 2 3", evil="!"), TRUSTED).extra == ("evil",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b.update(mediaType="application/json"), "mediaType"),
        (lambda b: b.update(messageSignature={}), "messageSignature"),
        (lambda b: b["dsseEnvelope"].update(payloadType="text/plain"), "payloadType"),
        (lambda b: b["dsseEnvelope"].update(payload="!!"), "Base64"),
        (lambda b: b["dsseEnvelope"].update(payload=7), "Base64"),
        (lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]), "list of one"),
        (lambda b: b["dsseEnvelope"].update(signatures=[]), "list of one"),
        (lambda b: b["dsseEnvelope"]["signatures"][0].update(sig=""), "Base64"),
        (lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid=7), "keyid"),
        (lambda b: b.update(verificationMaterial={}), "either"),
        (lambda b: b["verificationMaterial"].update(certificate={}), "either"),
        (lambda b: b["verificationMaterial"].update(publicKey={}), "hint"),
        (lambda b: b["verificationMaterial"].update(publicKey={"rawBytes": "AAAA"}), "no key"),
        (lambda b: b.update(verificationMaterial={"certificate": {"rawBytes": "AAAA"}}), "tlogEntries"),
        (
            lambda b: b.update(verificationMaterial={"certificate": {"rawBytes": "AAAA"}, "tlogEntries": [{}]}),
            "cannot be read",
        ),
        (
            lambda b: b.update(verificationMaterial={"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}]}}),
            "cannot be read",
        ),
        (
            lambda b: b.update(
                verificationMaterial={"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}] * 11}}
            ),
            "certificates",
        ),
    ],
)
def test_a_bundle_of_another_form_is_invalid(signature: bytes, change: Any, reason: str) -> None:
    bundle = json.loads(signature)
    change(bundle)
    verified = verify(json.dumps(bundle).encode(), MODEL, Trusted())
    assert verified.state is State.INVALID
    assert reason in verified.reason


def test_the_key_id_may_be_absent_empty_or_null(signature: bytes) -> None:
    for ids in ({}, {"keyid": ""}, {"keyid": None}):
        bundle = json.loads(signature)
        [entry] = bundle["dsseEnvelope"]["signatures"]
        bundle["dsseEnvelope"]["signatures"] = [{"sig": entry["sig"], **ids}]
        assert verify(json.dumps(bundle).encode(), MODEL, TRUSTED).state is State.VALID


def test_a_bundle_that_is_too_large_is_not_even_read() -> None:
    assert "bytes" in verify(b" " * (signing.MAX_BUNDLE + 1), MODEL, Trusted()).reason


def test_what_others_wrote_cannot_command_a_terminal(signature: bytes) -> None:
    bundle = json.loads(signature)
    bundle["verificationMaterial"]["publicKey"]["hint"] = "\x1b[2Jtrusted\u202e"
    verified = verify(json.dumps(bundle).encode(), MODEL, Trusted())
    assert verified.signer.isprintable()
    assert verified.reason.isprintable()


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_bundle_that_ends_early_is_invalid(kind: str, data: st.DataObject) -> None:
    whole = SAMPLES[kind].rstrip()
    end = data.draw(st.integers(0, len(whole) - 1))
    assert verify(whole[:end], MODEL, TRUSTED).state is State.INVALID


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_whatever_is_changed_only_what_was_signed_is_valid(kind: str, data: st.DataObject) -> None:
    bundle = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        bundle[data.draw(st.integers(0, len(bundle) - 1))] = data.draw(st.integers(0, 255))
    if verify(bytes(bundle), MODEL, TRUSTED).state is State.VALID:
        assert payload_of(bytes(bundle)) == payload_of(SAMPLES[kind])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.sampled_from(sorted(SAMPLES)), st.data(), JSON)
def test_no_value_in_place_of_another_is_an_error(kind: str, data: st.DataObject, value: Any) -> None:
    bundle = json.loads(SAMPLES[kind])
    place = bundle
    while True:
        at = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[at], (dict, list)) or not place[at] or data.draw(st.booleans()):
            break
        place = place[at]
    place[at] = value
    assert verify(json.dumps(bundle).encode(), MODEL, TRUSTED).state in State


@given(JSON, st.lists(st.sampled_from(["_type", "subject", "predicate", "resources", "serialization"]), max_size=3))
def test_no_statement_is_an_error(value: Any, places: list[str]) -> None:
    def change(payload: dict[str, Any]) -> Any:
        place: Any = payload
        for name in places:
            if isinstance(place, dict) and isinstance(place.get(name), dict):
                place = place[name]
        place[places[-1] if places else "predicate"] = value

    assert verify(resigned(change), MODEL, TRUSTED).state in State
