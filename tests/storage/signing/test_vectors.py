"""The specification's schemas and test vectors: ours have that form, and theirs are judged as they are meant to be."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from lineal.errors import InvalidArgument, Unavailable
from storage import signing
from storage.manifest import File, Manifest
from storage.signing import Identity, Method, State, Trusted, verify
from tests.storage.signing.making import issue, key, manifest, private

VECTORS = Path(__file__).parent / "vectors"
SCHEMAS = {path.name.split(".")[0]: json.loads(path.read_bytes()) for path in (VECTORS / "schemas").iterdir()}
REGISTRY = Registry().with_resources((each["$id"], Resource.from_contents(each)) for each in SCHEMAS.values())

CENTRE = issue("Centre", ca=True)
ADA = issue("Ada", CENTRE)
SIGNERS = {
    "key": signing.key_signer(private(key())),
    "certificate": signing.certificate_signer(private(ADA.key), ADA.pem, [CENTRE.pem]),
}
AUTHOR = Identity("stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2")


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.bundle.json").read_bytes()


def signed_by(bundle: bytes) -> Manifest:
    """A manifest of what a vector signs; its sizes are not in the signature."""
    statement = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return Manifest.of(File(each["name"], 1, each["digest"]) for each in statement["predicate"]["resources"])


def certificates(bundle: bytes) -> list[x509.Certificate]:
    chain = json.loads(bundle)["verificationMaterial"]["x509CertificateChain"]["certificates"]
    return [x509.load_der_x509_certificate(base64.b64decode(each["rawBytes"])) for each in chain]


@pytest.mark.parametrize("method", SIGNERS)
def test_our_bundles_are_of_the_form_that_the_schemas_demand(method: str) -> None:
    model = manifest(config="{}", data__weights="1")
    bundle: Any = json.loads(signing.sign(model, SIGNERS[method], name="bert"))
    Draft202012Validator(SCHEMAS["bundle"], registry=REGISTRY).validate(bundle)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    Draft202012Validator(SCHEMAS["statement"], registry=REGISTRY).validate(statement)


def test_a_valid_vector_by_a_certificate_is_valid_for_its_root() -> None:
    bundle = vector("valid/certificate")
    root = certificates(bundle)[-1].public_bytes(serialization.Encoding.PEM)
    verified = verify(bundle, signed_by(bundle), Trusted(authorities=[root]))
    assert (verified.state, verified.reason, verified.method) == (State.VALID, "", Method.CERTIFICATE)
    assert verify(bundle, signed_by(bundle), Trusted(authorities=[CENTRE.pem])).state is State.UNTRUSTED


def test_a_valid_vector_by_a_key_is_valid_for_its_key() -> None:
    bundle = vector("valid/key")
    # The vectors' key is nowhere but in the certificate that was made for it.
    public = certificates(vector("valid/certificate"))[0].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    verified = verify(bundle, signed_by(bundle), Trusted(keys=[pem]))
    assert (verified.state, verified.reason, verified.method) == (State.VALID, "", Method.KEY)
    assert verify(bundle, signed_by(bundle), Trusted()).state is State.UNTRUSTED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Sigstore's package keeps what it knows, and a network that nothing answers in."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


def test_a_valid_vector_by_sigstore_is_valid_for_its_author(home: Path) -> None:
    bundle = vector("valid/sigstore")
    verified = verify(bundle, signed_by(bundle), Trusted(identities=[AUTHOR]))
    assert (verified.state, verified.reason, verified.method) == (State.VALID, "", Method.SIGSTORE)
    assert (verified.signer, verified.issuer) == (AUTHOR.identity, AUTHOR.issuer)


@pytest.mark.parametrize(
    "trusted",
    [
        Trusted(),
        Trusted(identities=[Identity("ada@example.org", AUTHOR.issuer)]),
        Trusted(identities=[Identity(AUTHOR.identity, "https://issuer.example.org")]),
    ],
    ids=["nobody", "somebody else", "the same name at another issuer"],
)
def test_a_valid_vector_by_sigstore_is_untrusted_for_others(trusted: Trusted, home: Path) -> None:
    bundle = vector("valid/sigstore")
    verified = verify(bundle, signed_by(bundle), trusted)
    assert verified.state is State.UNTRUSTED
    assert AUTHOR.identity in verified.reason


def test_a_keyless_signature_that_the_log_does_not_have_is_untrusted(home: Path) -> None:
    bundle = json.loads(vector("valid/sigstore"))
    [entry] = bundle["verificationMaterial"]["tlogEntries"]
    entry["inclusionProof"]["rootHash"] = base64.b64encode(bytes(32)).decode()
    data = json.dumps(bundle).encode()
    verified = verify(data, signed_by(data), Trusted(identities=[AUTHOR]))
    assert verified.state is State.UNTRUSTED
    assert "Sigstore does not vouch for it" in verified.reason


@given(st.data())
def test_whatever_is_changed_only_what_was_signed_is_valid(home: Path, data: st.DataObject) -> None:
    whole = vector("valid/sigstore")
    bundle = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        bundle[data.draw(st.integers(0, len(bundle) - 1))] = data.draw(st.integers(32, 126))
    if verify(bytes(bundle), signed_by(whole), Trusted(identities=[AUTHOR])).state is State.VALID:
        assert json.loads(bundle)["dsseEnvelope"] == json.loads(whole)["dsseEnvelope"]


def test_sigstores_roots_that_cannot_be_read_say_nothing_of_a_signature(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    bundle = vector("valid/sigstore")
    with pytest.raises(Unavailable, match="roots of trust"):
        verify(bundle, signed_by(bundle), Trusted(identities=[AUTHOR]))


def test_a_configuration_that_is_none_is_refused(home: Path) -> None:
    bundle = vector("valid/sigstore")
    with pytest.raises(InvalidArgument, match="client trust configuration"):
        verify(bundle, signed_by(bundle), Trusted(identities=[AUTHOR], sigstore="{}"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("invalid/empty", "bundle: is not JSON"),
        ("invalid/missing-envelope", "bundle: lacks dsseEnvelope"),
        ("invalid/missing-tlog-entries", "tlogEntries"),
        ("invalid/missing-verification-material", "bundle: lacks verificationMaterial"),
        ("invalid-payload/wrong-predicate", "statement.predicateType"),
    ],
)
def test_an_invalid_vector_is_invalid_and_says_why(name: str, reason: str) -> None:
    verified = verify(vector(name), manifest(a="a"), Trusted(identities=[AUTHOR]))
    assert verified.state is State.INVALID
    assert reason in verified.reason


def test_every_vector_is_judged_here() -> None:
    names = {path.relative_to(VECTORS).as_posix() for path in VECTORS.rglob("*.bundle.json")}
    assert names == {
        "valid/certificate.bundle.json",
        "valid/key.bundle.json",
        "valid/sigstore.bundle.json",
        "invalid/empty.bundle.json",
        "invalid/missing-envelope.bundle.json",
        "invalid/missing-tlog-entries.bundle.json",
        "invalid/missing-verification-material.bundle.json",
        "invalid-payload/wrong-predicate.bundle.json",
    }
