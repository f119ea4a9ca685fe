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
    with pytest.raises(InvalidArgument, match=r"host: .* no issuer is configured"):
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


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.org", "https://App.example.org", "https://a.org/", "ftp://a"]
)
def test_what_is_no_origin_of_a_page_is_refused(origin: str) -> None:
    with pytest.raises(InvalidArgument, match=r"cors_origins.* is no origin of a page"):
        Settings.load(cors_origins=[origin])


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


# ── issuers ───────────────────────────────────────────────────────────────────────────────────────

ISSUER = """
resource = "https://lineal.example/graphql"
[[issuers]]
name = "corp"
url = "https://issuer.example/realms/corp"
"""


def test_an_issuer_is_a_table_of_the_file(nowhere: Path) -> None:
    (nowhere / "lineal.toml").write_text(
        ISSUER
        + """
algorithms = ["ES256"]
token_types = ["at+jwt", "JWT"]
scope_claim = "scp"
scopes_map = {reader = ["model:read", "dataset:read"], boss = "admin"}
groups_claims = ["realm_access.roles"]
teams = {ml = "machine-learning"}
introspection = {client_id = "lineal", client_secret = "hunter2"}
max_token_age = 3600
"""
    )
    settings = Settings.load(host="0.0.0.0")
    assert "hunter2" not in repr(settings)
    (issuer,) = settings.trusted
    assert "hunter2" not in repr(issuer)
    assert (issuer.name, issuer.url) == ("corp", "https://issuer.example/realms/corp")
    assert issuer.audience == "https://lineal.example/graphql"
    assert issuer.algorithms == ("ES256",)
    assert issuer.plain
    assert issuer.scope_claims == ("scp",)
    assert issuer.scopes_map == {"reader": ("model:read", "dataset:read"), "boss": ("admin",)}
    assert issuer.groups_claims == ("realm_access.roles",)
    assert issuer.teams == {"ml": "machine-learning"}
    assert issuer.introspection
    assert (issuer.introspection.client_id, issuer.introspection.client_secret) == ("lineal", "hunter2")
    assert (issuer.max_token_age, issuer.leeway, issuer.stale) == (3_600, 30, 86_400)


def test_issuers_may_be_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAL_ISSUERS", '[{"name": "ci", "url": "http://127.0.0.1:9100", "audience": "x"}]')
    (issuer,) = Settings.load().trusted
    assert (issuer.name, issuer.audience) == ("ci", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ISSUER.replace("corp", "local"), "issuers.0.name: must be 1 to 40 of a-z"),
        (ISSUER.replace('"corp"', '"Corp"'), "issuers.0.name: must be 1 to 40 of a-z"),
        (ISSUER.replace("https://issuer", "http://issuer"), "issuers.0.url: must be an https URL"),
        (ISSUER + 'algorithms = ["HS256"]', "issuers.0.algorithms.0: "),
        (ISSUER + 'algorithms = ["none"]', "issuers.0.algorithms.0: "),
        (ISSUER + "algorithms = []", "issuers.0.algorithms: "),
        (ISSUER + 'token_types = ["ID"]', "issuers.0.token_types.0: "),
        (ISSUER + "leeway = 31", "issuers.0.leeway: "),
        (ISSUER + 'scopes_map = {a = ["root"]}', "issuers.0.scopes_map.a.0: there is no scope 'root'"),
        (ISSUER + 'jwks_url = "http://issuer.example/keys"', "issuers.0.jwks_url: must be an https URL"),
        (ISSUER + 'audiance = "x"', "issuers.0.audiance: extra inputs are not permitted"),
        (ISSUER + ISSUER.partition('graphql"')[2], "issuers: two issuers have the same name"),
        ('resource = "api://lineal"', "resource: .* is no URL of a server"),
        ('resource = "https://lineal.example/graphql?x"', "resource: .* is no URL of a server"),
        ('anonymous_scopes = ["model:write"]', "anonymous_scopes.0: model:write is not for those without a token"),
        ('anonymous_scopes = ["admin"]', "anonymous_scopes.0: admin is not for those without a token"),
        ('anonymous_scopes = ["audit:read"]', "anonymous_scopes.0: audit:read is not for those"),
        ('introspection = "closed"', "introspection: "),
    ],
)
def test_what_is_wrong_with_an_issuer_is_named(nowhere: Path, text: str, message: str) -> None:
    (nowhere / "lineal.toml").write_text(text)
    with pytest.raises(InvalidArgument, match=message):
        Settings.load()


def test_with_an_issuer_others_may_reach_it_if_it_knows_what_they_call_it(nowhere: Path) -> None:
    (nowhere / "lineal.toml").write_text(ISSUER)
    assert Settings.load(host="192.168.0.1").host == "192.168.0.1"
    (nowhere / "lineal.toml").write_text(ISSUER.replace("resource", "documentation"))
    assert Settings.load(host="192.168.0.1").identifier == "http://192.168.0.1:8321/graphql"
    with pytest.raises(InvalidArgument, match=r"resource: must be set where host is '0\.0\.0\.0'"):
        Settings.load(host="0.0.0.0")


@pytest.mark.parametrize(
    ("host", "identifier"),
    [
        ("127.0.0.1", "http://127.0.0.1:8321/graphql"),
        ("::1", "http://[::1]:8321/graphql"),
        ("[::1]", "http://[::1]:8321/graphql"),
    ],
)
def test_unless_it_is_set_the_resource_is_where_it_listens(host: str, identifier: str) -> None:
    assert Settings.load(host=host).identifier == identifier


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        '["hunter2"]',
        '{"secret": "hunter2"}',
        '[{"name": "a", "url": "https://x", "introspection": {"client_id": "a", "client_secret": ["hunter2"]}}]',
        '[{"name": "a", "url": "https://x", "introspection": {"client_secret": "hunter2"}}]',
        '[{"name": "a", "url": "https://x", "introspection": {"client_id": 1, "client_secret": "hunter2"}}]',
        '[{"name": "a", "url": "https://x", "introspection": "hunter2"}]',
    ],
)
def test_the_secrets_of_issuers_are_never_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LINEAL_ISSUERS", value)
    with pytest.raises(InvalidArgument) as caught:
        Settings.load()
    assert "hunter2" not in str(caught.value)
    assert caught.value.message.startswith("issuers")
