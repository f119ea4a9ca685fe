"""`lineal doctor` on set-ups that are truly broken: each fault is named, with what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import NoReturn

import neo4j
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from auth.keyring import AUDIT, BYTES, Keyring
from graph.neo4j.store import Neo4jGraph
from graph.port import Graph
from graph.sqlite.store import SqliteGraph
from lineal.cli import app
from lineal.doctor import examine, networked
from lineal.settings import Settings
from tests.listening import Handler, Listening
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.observing.receiver import Receiver
from tests.services import Neo4jServer, free_port
from tests.storage.conftest import minio_server

__all__ = ["minio_server"]


class Web(Listening):
    """A web server that says what an issuer or a platform would, or something else."""

    def __init__(self) -> None:
        super().__init__(_Answering)
        self.ahead = 0.0
        self.calls_itself = self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Answering(Handler):
    owner: Web

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.owner.ahead, usegmt=True)

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it so
        key = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        x, y = (urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (key.x, key.y))
        keys = [{"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "x": x, "y": y}]
        found = {"issuer": self.owner.calls_itself, "jwks_uri": f"{self.owner.url}/jwks"}
        body = {"keys": keys} if self.path == "/jwks" else found
        self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def do_POST(self) -> None:  # noqa: N802 - the same
        self.answer(404, b"", {})


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set-up in which nothing is wrong."""
    for name in [name for name in os.environ if name.startswith(("LINEAL_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LINEAL_GRAPH", f"sqlite:///{tmp_path / 'lineal.db'}")
    Keyring(tmp_path / "lineal" / "keys").ed25519(AUDIT)
    Keyring(tmp_path / "lineal" / "keys").secret(BYTES)
    return tmp_path


def doctor() -> tuple[int, list[dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(result.stdout)["findings"]
    return result.exit_code, findings


async def _migrated(path: Path) -> None:
    async with SqliteGraph(path) as graph:
        await graph.migrate()


def _issuer(url: str) -> str:
    return json.dumps([{"name": "corp", "url": url}])


def _certificate(path: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(9), now - timedelta(2))
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


Break = Callable[[Path, Web, Callable[[str, str], None]], None]


def unknown_setting(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "lineal.toml").write_text("grpah = 'sqlite:///x.db'\n")


def open_to_all(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("host", "0.0.0.0")


def no_store_url(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("graph", "postgres://db/lineal")


def store_in_no_folder(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "file").write_text("")
    put("graph", f"sqlite:///{home / 'file' / 'lineal.db'}")


def no_database(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "lineal.db").write_text("these are notes, and no database" * 40)


def newer_schema(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    with closing(sqlite3.connect(home / "lineal.db")) as db:
        db.execute("PRAGMA user_version = 9999")


def closed_neo4j(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("graph", f"bolt://127.0.0.1:{free_port()}")


def storage_is_a_file(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "artifacts").write_text("")
    put("storage", str(home / "artifacts"))


def closed_s3(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("storage", "s3://bucket/prefix")
    put("s3", json.dumps({"endpoint": f"http://127.0.0.1:{free_port()}", "access_key": "a", "secret_key": "b" * 8}))


def key_for_all_to_read(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "lineal" / "keys" / f"{AUDIT}.pem").chmod(0o644)


def no_key(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    path = home / "lineal" / "keys" / f"{AUDIT}.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\n")


def short_secret(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "lineal" / "keys" / f"{BYTES}.key").write_bytes(b"short")


def closed_issuer(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("issuers", _issuer(f"http://127.0.0.1:{free_port()}"))


def another_issuer(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    web.calls_itself = "https://other.example.org"
    put("issuers", _issuer(web.url))


def issuer_ahead(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    web.ahead = 300.0
    put("issuers", _issuer(web.url))


def no_targets_file(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("targets", str(home / "targets.toml"))


def no_kubeflow_file(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("kubeflow", str(home / "kubeflow.toml"))


def closed_target(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    text = f'[targets.farm]\nplatform = "ray-serve"\nurl = "http://127.0.0.1:{free_port()}"\nworkspaces = "*"\n'
    (home / "targets.toml").write_text(text)
    put("targets", str(home / "targets.toml"))


def ended_certificate(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    _certificate(home / "ca.pem")
    put("webhook_ca", str(home / "ca.pem"))


def no_certificates(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    (home / "ca.pem").write_text("nothing")
    put("webhook_ca", str(home / "ca.pem"))


def closed_otlp(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("otlp_endpoint", f"http://127.0.0.1:{free_port()}")


def no_otlp(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("otlp_endpoint", web.url)


def no_port_of_otlp(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("otlp_endpoint", "http://127.0.0.1:4318x")


def no_checkpoint_folder(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("audit_checkpoint_file", str(home / "missing" / "checkpoints"))


def no_signers_key(home: Path, web: Web, put: Callable[[str, str], None]) -> None:
    put("signers", json.dumps({"keys": [str(home / "signer.pem")]}))


@pytest.mark.parametrize(
    ("broken", "told_of"),
    [
        (unknown_setting, ("settings", "grpah: there is no such setting", "docs/settings.md")),
        (open_to_all, ("settings", "no issuer is configured", "docs/settings.md")),
        (no_store_url, ("graph", "is no URL of a store", "sqlite:///file.db")),
        (store_in_no_folder, ("graph", "is no folder that can be written to", "name another file")),
        (no_database, ("graph", "cannot be opened", "one of Lineal's")),
        (newer_schema, ("graph", "written by a newer Lineal", "a newer one")),
        (closed_neo4j, ("graph", "away", "graph_password")),
        (storage_is_a_file, ("storage", "must be a folder", "name in storage a folder")),
        (closed_s3, ("storage", "", "s3.endpoint")),
        (key_for_all_to_read, ("keys", "has the mode 644", "chmod 600")),
        (no_key, ("keys", "holds no Ed25519 key", "from a backup")),
        (short_secret, ("keys", "holds 5 bytes instead of 32", "from a backup")),
        (closed_issuer, ("issuers", "cannot be reached", "can be reached from here")),
        (another_issuer, ("issuers", "the metadata of another issuer", "exactly what the issuer calls itself")),
        (issuer_ahead, ("clock", "the clocks of the issuer corp", "NTP")),
        (no_targets_file, ("targets", "targets.toml", "a file that is there")),
        (no_kubeflow_file, ("kubeflow", "kubeflow.toml", "a file that is there")),
        (closed_target, ("target farm", "is away", "its url and credentials")),
        (ended_certificate, ("webhook_ca", "ended on", "the current certificate")),
        (no_certificates, ("webhook_ca", "certificates in PEM", "or none")),
        (closed_otlp, ("traces", "cannot be reached", "otlp_endpoint")),
        (no_otlp, ("traces", "answered with status 404", "otlp_endpoint")),
        (no_port_of_otlp, ("traces", "4318x/v1/traces cannot be reached", "otlp_endpoint")),
        (no_checkpoint_folder, ("audit_checkpoint_file", "cannot be written", "make the folder")),
        (no_signers_key, ("signers", "cannot be read", "signers")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_fault_is_named_and_how_it_is_mended(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch, broken: Break, told_of: tuple[str, str, str]
) -> None:
    check, found, mend = told_of
    broken(home, web, lambda name, value: monkeypatch.setenv(f"LINEAL_{name.upper()}", value))
    code, findings = doctor()
    wrong = [finding for finding in findings if finding["wrong"]]
    assert code == 1
    assert check in {finding["check"] for finding in wrong}, findings
    told = next(f for f in wrong if f["check"] == check and found in f["found"])
    assert mend in told["mend"], told


def test_a_check_that_fails_itself_is_found_and_keeps_none_of_the_others_from_being_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {finding["check"] for finding in doctor()[1]}

    def broken(path: Path) -> NoReturn:
        raise RuntimeError(f"{path} has the password hunter2")

    monkeypatch.setattr("lineal.doctor.shutil.disk_usage", broken)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    findings = json.loads(result.stdout)["findings"]
    assert {finding["check"] for finding in findings} == whole
    (wrong,) = [finding for finding in findings if finding["wrong"]]
    assert (wrong["check"], wrong["found"]) == ("disk", "this check itself failed: RuntimeError")
    assert "a check failed: a defect" in result.stderr
    assert "hunter2" not in result.stdout


def test_every_file_that_a_setting_names_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {name for name, field in Settings.model_fields.items() if field.annotation == Path | None}
    for name in named:
        monkeypatch.setenv(f"LINEAL_{name.upper()}", str(home / "missing" / "file"))
    assert named <= {finding["check"] for finding in doctor()[1] if finding["wrong"]}


def test_where_nothing_is_wrong_it_says_so_and_leaves_nothing_behind(
    home: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_ISSUERS", _issuer(web.url))
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        code, findings = doctor()
    assert not [finding for finding in findings if finding["wrong"]]
    assert code == 0
    assert {"keys", "disk", "graph", "storage", "issuers", "clock", "traces"} <= {f["check"] for f in findings}
    assert not (home / "lineal.db").exists()
    assert not [path for path in (home / "lineal.db.artifacts").rglob("*") if path.is_file()]


def test_keys_that_kubernetes_gives_to_a_pods_group_are_as_they_should_be(home: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount in a namespace of his own")
    keys = home / "lineal" / "keys"
    for path in keys.iterdir():
        path.chmod(0o440)
    # The folder of a secret's volume, which is mounted so that nothing can be written.
    keys.chmod(0o3777)
    mounted = f'mount --bind "{keys}" "{keys}" && mount -o remount,bind,ro "{keys}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mounted, "sh", sys.executable, "-m", "lineal", "doctor", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    findings = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "keys"]
    assert [each["found"] for each in findings if each["wrong"]] == []
    assert findings


@pytest.mark.parametrize("mode", [0o460, 0o444])
def test_a_group_may_read_keys_and_no_more(home: Path, mode: int) -> None:
    (home / "lineal" / "keys" / f"{AUDIT}.pem").chmod(mode)
    assert any(f"has the mode {mode:o}" in finding["found"] for finding in doctor()[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to groups that it is not in")
def test_a_group_that_is_not_the_processs_own_may_not_read_keys(home: Path) -> None:
    path = home / "lineal" / "keys" / f"{AUDIT}.pem"
    path.chmod(0o440)
    os.chown(path, -1, max({os.getegid(), *os.getgroups()}) + 1)
    assert any("has the mode 440" in finding["found"] for finding in doctor()[1])


async def test_a_store_that_is_there_is_asked_for_its_version_and_its_time(home: Path) -> None:
    await _migrated(home / "lineal.db")
    findings = await examine(Settings.load())
    assert [f.found for f in findings if f.check in {"graph", "clock"}] == [
        f"sqlite:///{home / 'lineal.db'} answers, and is of this version",
        "the store and this machine have the same time",
    ]


async def test_a_disk_that_is_full_is_named(home: Path) -> None:
    more = shutil.disk_usage(home).total + 1
    findings = [f for f in await examine(Settings.load(), least_free=more) if f.wrong]
    assert {f.check for f in findings} == {"disk"}
    assert all("MiB are free" in f.found and "larger disk" in f.mend for f in findings)


def test_a_store_that_two_hosts_could_open_is_known_by_its_file_system() -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\nfiler:/x /srv/shared nfs4 rw 0 0\n/dev/sdb1 /srv/shared/own xfs rw 0 0\n"
    assert networked(Path("/srv/shared/lineal.db"), mounts) == "nfs4"
    assert networked(Path("/srv/shared/own/lineal.db"), mounts) == ""
    assert networked(Path("/var/lib/lineal.db"), mounts) == ""


async def test_a_wrong_password_of_neo4j_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Neo4jServer(home / "neo4j", guarded=True) as server:
        for name, value in {"graph": server.url, "graph_user": "neo4j", "graph_password": "wrong-one"}.items():
            monkeypatch.setenv(f"LINEAL_{name.upper()}", value)
        (finding,) = [f for f in await examine(Settings.load()) if f.check == "graph"]
    assert "refuses Lineal's user or password" in finding.found
    assert "graph_password" in finding.mend
    assert "wrong-one" not in f"{finding}"


async def test_a_bucket_that_is_not_there_is_named(
    home: Path, minio_server: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_STORAGE", "s3://nowhere/prefix")
    given = {"endpoint": minio_server.url, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    monkeypatch.setenv("LINEAL_S3", json.dumps(given))
    (finding,) = [f for f in await examine(Settings.load()) if f.check == "storage"]
    assert "there is no bucket nowhere" in finding.found
    assert "that the bucket is there" in finding.mend


async def test_indexes_of_neo4j_that_are_missing_are_named_and_a_migration_makes_them(
    neo4j_graph: Graph, neo4j_server: Neo4jServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAL_GRAPH", neo4j_server.url)
    assert await neo4j_graph.unindexed() == []
    assert isinstance(neo4j_graph, Neo4jGraph)
    with neo4j.GraphDatabase.driver(neo4j_server.url) as driver:
        driver.execute_query("DROP INDEX change_at")
        driver.execute_query("DROP CONSTRAINT tag_owner_name")
    try:
        (finding,) = [f for f in await examine(Settings.load()) if f.wrong]
        assert finding.check == "graph"
        assert "missing: tag_owner_name, change_at" in finding.found
        assert "lineal migrate" in finding.mend
    finally:
        await neo4j_graph.migrate()
    assert not [f for f in await examine(Settings.load()) if f.wrong]
