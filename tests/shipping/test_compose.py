"""compose.yaml: what it names is there, and Lineal with its settings works with a real Keycloak, MinIO and Neo4j.

No container runs here: the servers are those of the tests, at other ports, with the files of deploy/compose and the
variables of compose.yaml. With the full counts only, since Keycloak takes half a minute to start.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from auth.scopes import SCOPES
from lineal.settings import CONFIG_VARIABLE, Settings
from tests.conftest import SOAK, Pristine
from tests.keycloak import Keycloak
from tests.minio import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.services import Neo4jServer, Server
from tests.shipping.conftest import TOP

TEXT = (TOP / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
SETTINGS = TOP / "deploy" / "compose" / "settings.toml"
REALM = TOP / "deploy" / "compose" / "realm.json"
SECRETS = {
    "NEO4J_PASSWORD": "a password of Neo4j",
    "MINIO_PASSWORD": SECRET_KEY,
    "KEYCLOAK_PASSWORD": "a password of Ada's",
    "LINEAL_CLIENT_SECRET": "a secret of the commands'",
}


def variables(service: str) -> dict[str, str]:
    """The environment of a service, with the secrets filled in."""
    return {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: SECRETS[match[1]], value)
        for name, value in SERVICES[service].get("environment", {}).items()
    }


def realm() -> Any:
    return json.loads(REALM.read_text(encoding="utf-8"))


@pytest.mark.parametrize("service", ["lineal", "migrate"])
def test_lineal_takes_the_settings_that_it_is_given(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = variables(service)
    known = {f"LINEAL_{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    assert {name for name in told if name.startswith("LINEAL_")} <= known
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    if service == "lineal":
        assert f"./{SETTINGS.relative_to(TOP)}:{told[CONFIG_VARIABLE]}:ro" in SERVICES[service]["volumes"]
        monkeypatch.setenv(CONFIG_VARIABLE, str(SETTINGS))
    settings = Settings.load()
    assert settings.graph == "neo4j://neo4j:7687"
    assert settings.graph_password is not None
    assert settings.graph_password.get_secret_value() == SECRETS["NEO4J_PASSWORD"]
    if service == "lineal":
        assert (settings.host, settings.storage) == ("0.0.0.0", "s3://models")
        assert [each.name for each in settings.issuers] == ["keycloak"]


def test_every_secret_comes_from_outside_and_its_absence_is_told() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if any(word in key for word in ("PASSWORD", "SECRET", "AUTH")):
                assert re.fullmatch(r"(neo4j/)?\$\{\w+:\?[^}]+\}", value), f"{name}: {key}"


def test_who_is_waited_for_has_a_health_check_and_who_is_named_is_there() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            assert wanted["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], other
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (TOP / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    assert SERVICES["lineal"]["build"]["dockerfile"] == "deploy/Containerfile"


def test_images_are_named_without_a_registry_and_ports_are_open_to_this_machine_only() -> None:
    for name, service in SERVICES.items():
        first = service["image"].partition("/")[0]
        assert "." not in first.partition(":")[0], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_lineal_cannot_write_to_its_image_nor_become_more() -> None:
    for name in ("lineal", "migrate"):
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_realm_has_every_scope_and_lets_people_on_pages_only_read() -> None:
    scopes = [each["name"] for each in realm()["clientScopes"]]
    assert scopes == ["lineal", *SCOPES]
    clients = {each["clientId"]: each for each in realm()["clients"]}
    assert clients["lineal-commands"]["optionalClientScopes"] == list(SCOPES)
    assert clients["lineal-pages"]["optionalClientScopes"] == [each for each in SCOPES if each.endswith(":read")]


def test_compose_itself_takes_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not here")
    done = subprocess.run(
        [docker, "compose", "config", "--quiet"],
        cwd=TOP,
        env={**os.environ, **SECRETS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


class Moved:
    """The addresses of compose.yaml, and where the tests have what is there."""

    def __init__(self, **ports: int) -> None:
        self._ports = {
            "minio:9000": ports["minio"],
            "127.0.0.1:9000": ports["minio"],
            "127.0.0.1:8080": ports["issuer"],
            "127.0.0.1:8321": ports["lineal"],
        }

    def __call__(self, text: str) -> str:
        for address, port in self._ports.items():
            text = text.replace(address, f"127.0.0.1:{port}")
        return text


class Issuer(Keycloak):
    """Keycloak with the realm of deploy/compose."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, "", [])
        self.issuer = f"http://127.0.0.1:{self.port}/realms/lineal"
        self.moved: Moved

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        self._realm = json.loads(self.moved(REALM.read_text(encoding="utf-8")))
        command, environment = super().prepare()
        told = {name: value for name, value in variables("issuer").items() if name.startswith("LINEAL_")}
        return command, {**environment, **told}


class Lineal(Server):
    """Lineal with the variables and the file of compose.yaml."""

    name: ClassVar[str] = "lineal"

    def __init__(self, home: Path, graph: str) -> None:
        super().__init__(home)
        self.graph = graph
        self.moved: Moved

    def environment(self, service: str) -> dict[str, str]:
        file = self.home / "lineal.toml"
        file.write_text(self.moved(SETTINGS.read_text(encoding="utf-8")))
        here = {"LINEAL_GRAPH": self.graph, "AWS_ACCESS_KEY_ID": ACCESS_KEY, CONFIG_VARIABLE: str(file)}
        told = variables(service)
        assert service != "lineal" or set(here) <= set(told)
        more = {"PYTHONPATH": str(TOP), "LINEAL_PORT": str(self.port), "XDG_DATA_HOME": str(self.home)}
        return {**told, **{name: value for name, value in here.items() if name in told}, **more}

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-m", "lineal", "serve"], self.environment("lineal")

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").is_success
        except httpx.TransportError:
            return False

    def run(self, service: str, *command: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lineal", *command],
            cwd=self.home,
            env={**os.environ, **self.environment(service), **more},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def signed_in(issuer: str, lineal: str) -> str:
    """A token of Ada's, as the pages get it: by the code flow, with PKCE."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    back = f"{lineal}/graphiql"
    asked = {
        "client_id": "lineal-pages",
        "redirect_uri": back,
        "response_type": "code",
        "scope": "openid model:read",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    with httpx.Client(timeout=60) as browser:
        page = browser.get(f"{issuer}/protocol/openid-connect/auth", params=asked)
        for cookie in browser.cookies.jar:
            # Browsers send those of a secure origin to 127.0.0.1, which is one for them.
            cookie.secure = False
        (form,) = re.findall(r'<form[^>]*action="([^"]+)"', page.text)
        person = {"username": "ada", "password": SECRETS["KEYCLOAK_PASSWORD"]}
        answer = browser.post(html.unescape(form), data=person)
        assert answer.status_code == 302, answer.text
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        traded = {
            "grant_type": "authorization_code",
            "client_id": "lineal-pages",
            "redirect_uri": back,
            "code": code,
            "code_verifier": verifier,
        }
        answer = browser.post(f"{issuer}/protocol/openid-connect/token", data=traded)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.mark.services
@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="Keycloak takes half a minute to start: `make soak` runs this")
def test_what_it_starts_works_together(tmp_path: Path, neo4j_server: Neo4jServer, pristine: Pristine) -> None:
    pristine.restore()
    minio, issuer = MinioServer(tmp_path / "minio"), Issuer(tmp_path / "issuer")
    lineal = Lineal(tmp_path / "lineal", neo4j_server.url)
    lineal.home.mkdir()
    # The folder that the entrypoint of the service makes.
    made = re.search(r"mkdir -p /data/(\w+) ", SERVICES["minio"]["entrypoint"][-1])
    assert made is not None
    (minio.home / "data" / made[1]).mkdir(parents=True)
    issuer.moved = lineal.moved = Moved(minio=minio.port, issuer=issuer.port, lineal=lineal.port)
    base = f"http://127.0.0.1:{lineal.port}"
    with minio, issuer:
        lineal.run("migrate", "migrate")
        with lineal:
            form = {
                "grant_type": "client_credentials",
                "scope": "model:read model:write artifact:read artifact:write workspace:read",
            }
            commands = ("lineal-commands", SECRETS["LINEAL_CLIENT_SECRET"])
            url = f"{issuer.issuer}/protocol/openid-connect/token"
            token = httpx.post(url, data={**form, "scope": f"{form['scope']} admin"}, auth=commands, timeout=60).json()[
                "access_token"
            ]
            model = tmp_path / "model"
            model.mkdir()
            (model / "weights.bin").write_bytes(b"weights")
            there = {"LINEAL_URL": base, "LINEAL_TOKEN": token}
            lineal.run("lineal", "push", str(model), "churn", **there)
            lineal.run("lineal", "pull", "models:/churn/1", str(tmp_path / "copy"), **there)
            assert (tmp_path / "copy" / "weights.bin").read_bytes() == b"weights"
            ada = {"authorization": f"Bearer {signed_in(issuer.issuer, base)}"}
            answer = httpx.post(f"{base}/graphql", json={"query": "{ models { nodes { name } } }"}, headers=ada).json()
            assert "errors" not in answer
            assert httpx.get(f"{base}/graphiql/config.json").json()["issuers"][0]["clientId"] == "lineal-pages"
