"""lineal sign, lineal verify: on a folder, with what is wrong in one line and in the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lineal.cli import app
from lineal.errors import InvalidArgument, LinealError, NotFound, Unavailable
from tests.storage.signing.making import issue, key, private, public

KEY, ROOT = key(), issue("Root", ca=True)
ADA = issue("Ada", ROOT)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, in another one with keys, which is the working folder."""
    for name in ("LINEAL_SIGNING_PASSWORD", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("model/data").mkdir(parents=True)
    Path("model/weights").write_text("1 2 3")
    Path("model/data/a").write_text("a")
    for name, data in {
        "key": private(KEY),
        "locked": private(KEY, b"secret"),
        "key.pub": public(KEY),
        "other.pub": public(key()),
        "ada": private(ADA.key),
        "ada.pem": ADA.pem,
        "root.pem": ROOT.pem,
    }.items():
        Path(name).write_bytes(data)
    return Path("model")


def lineal(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(*arguments: str) -> LinealError:
    """The error that a command ends with; the command line prints it, and ends with 2 or 1."""
    error = lineal(*arguments).exception
    assert isinstance(error, LinealError), error
    return error


def test_what_was_signed_is_valid_for_whoever_trusts_the_key(model: Path) -> None:
    assert lineal("sign", "model", "--key", "key").output == "signed 2 files: model/model.sig\n"
    verified = lineal("verify", "model", "--key", "other.pub", "--key", "key.pub")
    assert (verified.exit_code, verified.stdout[:17]) == (0, "VALID: signed by ")


def test_a_certificate_is_valid_for_whoever_trusts_its_authority(model: Path) -> None:
    signed = lineal("sign", "model", "--key", "ada", "--certificate", "ada.pem", "--chain", "root.pem")
    assert signed.exit_code == 0
    assert lineal("verify", "model", "--ca", "root.pem").stdout == "VALID: signed by CN=Ada (CN=Root)\n"


def test_a_signature_may_be_anywhere(model: Path) -> None:
    for place in ("elsewhere.sig", "model/data/other.sig"):
        assert lineal("sign", "model", "--key", "key", "-o", place).exit_code == 0
        assert lineal("verify", "model", "--key", "key.pub", "--signature", place).exit_code == 0
        Path(place).unlink()


def test_a_single_file_is_signed_beside_itself(model: Path) -> None:
    assert lineal("sign", "model/weights", "--key", "key").output == "signed 1 files: model/weights.sig\n"
    assert lineal("verify", "model/weights", "--key", "key.pub").exit_code == 0


def test_untrusted_and_invalid_end_with_one_and_say_why(model: Path) -> None:
    lineal("sign", "model", "--key", "key")
    untrusted = lineal("verify", "model", "--key", "other.pub")
    assert (untrusted.exit_code, untrusted.stderr[:18]) == (1, "UNTRUSTED: the key")
    Path("model/weights").write_text("1 2 4")
    invalid = lineal("verify", "model", "--key", "key.pub")
    assert (invalid.exit_code, invalid.stderr) == (1, "INVALID: 'weights' differs\n")


def test_a_program_gets_one_object(model: Path) -> None:
    Path("model/.gitignore").write_text("")
    signed = json.loads(lineal("sign", "model", "--key", "key", "--format", "json").stdout)
    assert (signed["signature"], signed["files"], signed["bytes"]) == ("model/model.sig", 2, 6)
    verified = json.loads(lineal("verify", "model", "--key", "key.pub", "--format", "json").stdout)
    assert (verified["state"], verified["method"], verified["unsigned"]) == ("VALID", "KEY", [".gitignore"])
    Path("model/extra").write_text("")
    ended = lineal("verify", "model", "--key", "key.pub", "--format", "json")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["extra"] == ["extra"]


def test_what_nobody_vouches_for_is_warned_of(model: Path) -> None:
    Path("model/.gitignore").write_text("")
    lineal("sign", "model", "--key", "key")
    assert "leaves out '.gitignore'" in lineal("verify", "model", "--key", "key.pub").stderr


def test_the_password_comes_from_the_environment(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LINEAL_SIGNING_PASSWORD" in refused("sign", "model", "--key", "locked").message
    monkeypatch.setenv("LINEAL_SIGNING_PASSWORD", "wrong")
    wrong = refused("sign", "model", "--key", "locked").message
    assert "password is wrong" in wrong
    monkeypatch.setenv("LINEAL_SIGNING_PASSWORD", "secret")
    assert lineal("sign", "model", "--key", "locked").exit_code == 0
    assert lineal("verify", "model", "--key", "key.pub").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["sign", "model"],
        ["sign", "model", "--key", "key", "--keyless"],
        ["sign", "model", "--certificate", "ada.pem", "--chain", "root.pem"],
        ["sign", "model", "--key", "ada", "--certificate", "ada.pem"],
        ["sign", "model", "--key", "ada", "--chain", "root.pem"],
        ["sign", "model", "--key", "ada.pem"],
        ["sign", "model", "--key", "model"],
        ["sign", "model", "--key", "key", "-o", "no/such/folder"],
        ["verify", "model"],
        ["verify", "model", "--identity", "ada@example.org"],
        ["verify", "model", "--issuer", "https://issuer.example.org"],
    ],
    ids=" ".join,
)
def test_what_was_asked_for_wrongly_says_how(model: Path, arguments: list[str]) -> None:
    assert isinstance(refused(*arguments), InvalidArgument)


def test_what_is_not_there_is_named(model: Path) -> None:
    for arguments in (["sign", "model", "--key", "gone"], ["sign", "gone", "--key", "key"]):
        error = refused(*arguments)
        assert isinstance(error, NotFound)
        assert error.message.startswith("gone: ")
    assert refused("verify", "model", "--key", "key.pub").message.startswith("model/model.sig: ")


def test_keyless_without_a_network_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", "token")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(Path.cwd()))
    error = refused("sign", "model", "--keyless")
    assert isinstance(error, Unavailable)
    assert "Sigstore" in error.message
