"""What the tests do where a tool for a service is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.keycloak import Keycloak
from tests.oidc import OidcProvider
from tests.services import Neo4jServer, neo4j_jars


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without java and mvn, and with an empty cache."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LINEAL_REQUIRE_SERVICES", raising=False)


def test_a_missing_tool_skips_and_says_what_to_install(bare_machine: None, tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"install Java 17 or newer \(java\)"):
        Neo4jServer(tmp_path).start()
    with pytest.raises(pytest.skip.Exception, match=r"install Maven \(mvn\)"):
        neo4j_jars()
    with pytest.raises(pytest.skip.Exception, match=r"install Node.js 20.19 or newer, with npm"):
        OidcProvider(tmp_path, "urn:lineal").start()
    with pytest.raises(pytest.skip.Exception, match=r"install Java 17 or newer \(java\)"):
        Keycloak(tmp_path, "urn:lineal", []).start()


@pytest.mark.parametrize("required", ["all", "neo4j", "minio,neo4j"])
def test_a_missing_tool_fails_where_its_service_is_required(
    bare_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    monkeypatch.setenv("LINEAL_REQUIRE_SERVICES", required)
    with pytest.raises(pytest.fail.Exception, match="install Java"):
        Neo4jServer(tmp_path).start()


def test_another_service_that_is_required_does_not_matter(
    bare_machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_REQUIRE_SERVICES", "minio")
    with pytest.raises(pytest.skip.Exception):
        Neo4jServer(tmp_path).start()


def test_a_download_that_broke_off_is_not_kept(bare_machine: None, tmp_path: Path) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\n/bin/mkdir lib; echo half > lib/a.jar; echo no route; exit 1\n")
    maven.chmod(0o755)
    with pytest.raises(pytest.skip.Exception, match="no route"):
        neo4j_jars()
    assert not list((tmp_path / "cache").rglob("*.jar"))
