"""The wheel has in it all that Lineal reads, and is the same wherever and whenever it is built."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.openlineage.published import PATHS
from gateway.ui.pages import BUNDLE, FILES, NAMES
from tests.services import free_port
from tests.shipping.conftest import TOP, build_wheel

PACKAGES = ("lineal", "schema", "gateway", "resolvers", "auth", "serving", "storage", "graph")


def clean() -> dict[str, str]:
    """The environment without what leads to this checkout or to somebody's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LINEAL_", "PYTHON", "COVERAGE"))}


@pytest.fixture(scope="module")
def served(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a `lineal serve` that was installed from the wheel."""
    home = tmp_path_factory.mktemp("served")
    port = free_port()
    environment = {**clean(), "XDG_DATA_HOME": str(home), "LINEAL_PORT": str(port)}
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen([installed / "lineal", "serve"], cwd=home, env=environment, stderr=log, stdout=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end and process.poll() is None:
                try:
                    if client.get("/readyz").is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            else:
                pytest.fail((home / "log").read_text())
            yield client
        finally:
            process.terminate()


def test_what_is_installed_is_the_wheel_and_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    script = f"import {', '.join(PACKAGES)}; print(*[m.__file__ for m in ({', '.join(PACKAGES)})])"
    done = subprocess.run(
        [installed / "python", "-c", script], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=True
    )
    files = [Path(each) for each in done.stdout.split()]
    assert len(files) == len(PACKAGES)
    assert all(installed.parent in each.parents for each in files)


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(TOP).as_posix()
        for package in PACKAGES
        for path in (TOP / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there


def test_the_wheel_has_the_bill_of_materials_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (bill,) = [name for name in archive.namelist() if re.search(r"\.dist-info/sboms/[^/]+\.cdx\.json$", name)]
        assert archive.read(bill) == (TOP / "deploy" / "sbom.cdx.json").read_bytes()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


@pytest.mark.parametrize("page", ["/graphiql", "/lineage", "/api/v1/docs"])
def test_a_page_and_all_that_it_names_are_served(served: httpx.Client, page: str) -> None:
    answer = served.get(page)
    assert answer.status_code == 200, answer.text
    assert "text/html" in answer.headers["content-type"]
    named = re.findall(r'(?:src|href)="([^"#:]+)"', answer.text)
    assert named
    for each in named:
        got = served.get(str(answer.url.join(each)))
        assert got.status_code == 200, each
        assert got.content, each


def test_every_file_that_the_pages_load_later_is_served(served: httpx.Client) -> None:
    for name in NAMES:
        assert served.get(FILES + name).content == (BUNDLE / name).read_bytes(), name


def test_the_schemas_of_the_facets_are_served(served: httpx.Client) -> None:
    for path in PATHS:
        assert served.get(path).json()["$schema"], path


def test_the_demo_finds_the_same_as_in_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {**clean(), "XDG_DATA_HOME": str(tmp_path)}
    command = [str(installed / "lineal"), "demo", "--no-serve", "--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["downstream"] == 314


def test_the_schemas_are_written_as_they_are_committed(installed: Path, tmp_path: Path) -> None:
    for command, committed in (("schema", "lineal.graphql"), ("openapi", "openapi.json")):
        done = subprocess.run(
            [installed / "lineal", command], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False
        )
        assert done.stdout == (TOP / "schema" / committed).read_text(encoding="utf-8"), done.stderr


def test_the_wheel_is_the_same_from_another_folder_at_another_time_by_another_user(wheel: Path, tmp_path: Path) -> None:
    tree = tmp_path / "else" / "where"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for package in PACKAGES:
        shutil.copytree(TOP / package, tree / package, ignore=ignored, copy_function=shutil.copyfile)
    (tree / "deploy").mkdir()
    for file in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "deploy/sbom.cdx.json"):
        shutil.copyfile(TOP / file, tree / file)
    for path in tree.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        if path.is_file():
            path.chmod(0o600)
    assert build_wheel(tree, tmp_path / "dist").read_bytes() == wheel.read_bytes()
