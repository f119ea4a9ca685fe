"""The model-signing command line accepts what Lineal signed, and Lineal what it signed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from model_signing import hashing
from model_signing import signing as their_signing

from storage import signing
from storage.folder import scan
from storage.signing import State, Trusted, verify
from tests.storage.signing.making import issue, key, private, public

KEY, ROOT = key(), issue("Root", ca=True)
ADA = issue("Ada", ROOT)
TRUSTED = Trusted(keys=[public(KEY)], authorities=[ROOT.pem])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with what may be difficult: names that sort in two ways, hidden and empty files, files of git."""
    model = tmp_path / "bert"
    files = {
        "a/b": "1",
        "a-b": "2",
        "a.b": "3",
        "größe/😀 x:0:1": "4",
        ".hidden": "5",
        "empty": "",
        ".gitattributes": "6",
    }
    for name, content in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(content)
    (tmp_path / "key").write_bytes(private(KEY))
    (tmp_path / "key.pub").write_bytes(public(KEY))
    (tmp_path / "ada").write_bytes(private(ADA.key))
    (tmp_path / "ada.pem").write_bytes(ADA.pem)
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    return model


SIGN = {
    "key": ["--private_key", "key"],
    "certificate": ["--private_key", "ada", "--signing_certificate", "ada.pem", "--certificate_chain", "root.pem"],
}
VERIFY = {"key": ["--public_key", "key.pub"], "certificate": ["--certificate_chain", "root.pem"]}
SIGNERS = {
    "key": signing.key_signer(private(KEY)),
    "certificate": signing.certificate_signer(private(ADA.key), ADA.pem, [ROOT.pem]),
}


def theirs(verb: str, method: str, model: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    """Their command line, in the folder that has the model and the keys."""
    command = [sys.executable, "-m", "model_signing", verb, method, str(model)]
    command += ["--signature", str(model / "model.sig"), *options]
    return subprocess.run(command, cwd=model.parent, capture_output=True, text=True, check=False)


def ours(model: Path) -> signing.Verified:
    signature = model / "model.sig"
    return verify(signature.read_bytes(), scan(model, leave_out=signature).manifest, TRUSTED)


@pytest.mark.parametrize("method", SIGNERS)
def test_they_accept_what_we_signed_and_nothing_else(method: str, model: Path) -> None:
    bundle = signing.sign(scan(model).manifest, SIGNERS[method], name=model.name)
    (model / "model.sig").write_bytes(bundle)
    accepted = theirs("verify", method, model, VERIFY[method])
    assert (accepted.returncode, accepted.stdout) == (0, "Verification succeeded\n"), accepted.stderr

    (model / "a-b").write_text("!")
    refused = theirs("verify", method, model, VERIFY[method])
    assert refused.returncode == 1
    assert "a-b" in refused.stderr


def test_they_accept_what_we_signed_with_a_folder_that_is_called_like_a_signature(model: Path) -> None:
    (model / "model.sig").mkdir()
    (model / "model.sig" / "a").write_text("7")
    bundle, elsewhere = signing.sign(scan(model).manifest, SIGNERS["key"], name=model.name), model.parent / "bundle"
    elsewhere.write_bytes(bundle)
    options = [*VERIFY["key"], "--signature", str(elsewhere)]
    accepted = theirs("verify", "key", model, options)
    assert accepted.returncode == 0, accepted.stderr
    (model / "model.sig" / "a").write_text("!")
    refused = theirs("verify", "key", model, options)
    assert (refused.returncode, "model.sig/a" in refused.stderr) == (1, True)


@pytest.mark.parametrize("method", SIGNERS)
def test_we_accept_what_they_signed_and_nothing_else(method: str, model: Path) -> None:
    signed = theirs("sign", method, model, SIGN[method])
    assert signed.returncode == 0, signed.stderr
    assert (ours(model).state, ours(model).unsigned) == (State.VALID, (".gitattributes",)), ours(model).reason

    (model / "a-b").write_text("!")
    (model / "extra").write_text("!")
    (model / "empty").unlink()
    refused = ours(model)
    assert refused.state is State.INVALID
    assert (refused.altered, refused.missing, refused.extra) == (("a-b",), ("empty",), ("extra",))


def test_we_leave_out_what_they_were_told_to_leave_out(model: Path) -> None:
    signed = theirs("sign", "key", model, [*SIGN["key"], "--ignore-paths", str(model / "a"), "--no-ignore-git-paths"])
    assert signed.returncode == 0, signed.stderr
    assert (ours(model).state, ours(model).unsigned) == (State.VALID, ("a/b",)), ours(model).reason


Hashing: Any = hashing.Config
Signing: Any = their_signing.Config


def hashed(model: Path, how: Any) -> None:
    """Their signature with other digests than whole files' SHA-256, which only their library makes."""
    config = Signing().use_elliptic_key_signer(private_key=model.parent / "key").set_hashing_config(how)
    config.sign(model, model / "model.sig")


def test_we_accept_shards_where_every_file_is_one(model: Path) -> None:
    hashed(model, Hashing().use_shard_serialization(shard_size=1_000))
    verified = ours(model)
    # Their shards have no empty files: nobody signs that there is one.
    assert (verified.state, verified.unsigned) == (State.VALID, (".gitattributes", "empty")), verified.reason
    (model / "model.sig").rename(model.parent / "model.sig")
    (model / "a-b").write_text("!")
    bundle = (model.parent / "model.sig").read_bytes()
    assert verify(bundle, scan(model).manifest, TRUSTED).altered == ("a-b",)


def test_we_say_so_where_shards_cannot_be_checked(model: Path) -> None:
    (model / "large").write_bytes(bytes(2_500))
    hashed(model, Hashing().use_shard_serialization(shard_size=1_000))
    verified = ours(model)
    assert verified.state is State.INVALID
    assert "'large' is signed in shards" in verified.reason


def test_we_say_so_where_other_digests_were_signed(model: Path) -> None:
    hashed(model, Hashing().use_file_serialization(hashing_algorithm="blake3"))
    assert "hash_type: is not sha256" in ours(model).reason
