"""Settings: where they come from, which wins, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.errors import InvalidArgument
from lineal.settings import Settings, is_loopback


def test_without_any_setting_it_is_a_file_in_the_data_folder_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/var/data")
    settings = Settings.load()
    assert (settings.graph, settings.host, settings.port) == ("sqlite:////var/data/lineal/lineal.db", "127.0.0.1", 8321)


def test_a_relative_data_folder_is_ignored_as_its_specification_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", "/srv/ada")
    assert Settings.load().graph == "sqlite:////srv/ada/.local/share/lineal/lineal.db"


def test_windows_has_a_data_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert Settings.load().graph == f"sqlite:///{tmp_path}/lineal/lineal.db"


def test_options_win_over_the_environment_and_that_over_the_file(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "lineal.toml").write_text('port = 1\nhost = "::1"\nlog_level = "debug"\nmax_depth = 3\n')
    monkeypatch.setenv("LINEAL_PORT", "2")
    monkeypatch.setenv("LINEAL_HOST", "localhost")
    settings = Settings.load(port=3, host=None)
    assert (settings.port, settings.host, settings.log_level) == (3, "localhost", "debug")
    assert settings.limits.depth == 3


def test_the_file_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.toml"
    file.write_text("port = 5")
    monkeypatch.setenv("LINEAL_CONFIG", str(file))
    assert Settings.load().port == 5


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAL_CONFIG", "missing.toml")
    with pytest.raises(InvalidArgument, match=r"LINEAL_CONFIG: there is no file missing\.toml"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", r"prot: there is no such setting \(in lineal.toml\); there are graph, "),
        ("port = 70000", "port: input should be less than or equal to 65535, not 70000"),
        ('log_level = "loud"', "log_level: input should be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("[graph]\nurl = 1", "graph: input should be a valid string"),
        ("port = ", "lineal.toml: is not TOML: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named(nowhere: Path, text: str, message: str) -> None:
    (nowhere / "lineal.toml").write_text(text)
    with pytest.raises(InvalidArgument, match=message):
        Settings.load()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "", "127.0.0.1.example.org"])
def test_a_host_that_others_can_reach_is_refused_and_the_message_says_why(host: str) -> None:
    with pytest.raises(InvalidArgument, match=r"host: .* no access control yet"):
        Settings.load(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_is_accepted(host: str) -> None:
    assert is_loopback(host)
    assert Settings.load(host=host).host == host


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    monkeypatch.setenv("LINEAL_GRAPH_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings.load())
    monkeypatch.delenv("LINEAL_GRAPH_PASSWORD")
    (nowhere / "lineal.toml").write_text("graph_password = 12345678")
    with pytest.raises(InvalidArgument) as caught:
        Settings.load()
    assert "12345678" not in caught.value.message


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
