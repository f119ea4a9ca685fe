"""Lineal's own bill of materials is current, valid, and has all that Lineal runs on."""

from __future__ import annotations

import json
import re
from importlib import metadata

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.sbom import COMMITTED, SELF, TOP, render

PIN = re.compile(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", re.MULTILINE)
TEXT = COMMITTED.read_text(encoding="utf-8")
BILL = json.loads(TEXT)
COMPONENTS = {each["purl"]: each for each in BILL["components"]}
DEPENDENCIES = {each["ref"]: each.get("dependsOn", []) for each in BILL["dependencies"]}


def test_it_is_current() -> None:
    assert render() == TEXT, "run `make sbom`"


def test_the_strict_schema_has_nothing_against_it() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(TEXT) is None


def test_it_has_every_pinned_package_with_every_hash() -> None:
    lock = (TOP / "requirements.txt").read_text(encoding="utf-8")
    pins = {
        f"pkg:pypi/{name}@{version}"
        for name, version in re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", lock, re.MULTILINE)
    }
    assert pins == {purl for purl in COMPONENTS if purl.startswith("pkg:pypi/")}
    told = [
        digest["content"]
        for each in BILL["components"]
        for reference in each.get("externalReferences", ())
        for digest in reference["hashes"]
    ]
    assert sorted(told) == sorted(re.findall(r"sha256:([0-9a-f]{64})", lock))


def test_it_has_the_packages_that_are_built_into_the_pages() -> None:
    lock = json.loads((TOP / "ui" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name in lock[""]["dependencies"]:
        purl = f"pkg:npm/{name.replace('@', '%40')}@{lock[f'node_modules/{name}']['version']}"
        assert COMPONENTS[purl]["scope"] == "required"
        assert purl in DEPENDENCIES[SELF]


def test_what_is_asked_for_is_what_it_depends_on() -> None:
    asked = {
        canonicalize_name(each.name)
        for each in map(Requirement, metadata.requires("lineal") or ())
        if "extra" not in str(each.marker) or "tracing" in str(each.marker)
    }
    told = {
        each.removeprefix("pkg:pypi/").partition("@")[0] for each in DEPENDENCIES[SELF] if each.startswith("pkg:pypi/")
    }
    assert told == asked


def test_what_only_builds_lineal_is_told_apart() -> None:
    scopes = {each["name"]: each["scope"] for each in BILL["components"]}
    assert (scopes["starlette"], scopes["graphiql"]) == ("required", "required")
    assert (scopes["hatchling"], scopes["editables"]) == ("excluded", "excluded")
    assert "esbuild" not in scopes
