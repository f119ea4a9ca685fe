"""Writes Lineal's own software bill of materials, CycloneDX 1.6: `python -m deploy.sbom` (or `make sbom`).

It is of requirements.txt, which is what `make demo` and the image install, with what these packages say of themselves
where they are installed, and of what ui/package-lock.json builds into the pages. It says the same wherever it is
written, so that wheels with it inside are the same, and has no serial number and no time for that reason. A test
compares the committed file with what this prints.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lineal import __version__

TOP: Final = Path(__file__).parents[1]
COMMITTED: Final = TOP / "deploy" / "sbom.cdx.json"
SELF: Final = f"pkg:pypi/lineal@{__version__}"
LICENCE: Final = "Apache-2.0"

_LINE: Final = re.compile(r"(?P<name>[a-z0-9._-]+)(\[(?P<extras>[^]]*)\])?==(?P<version>[^ ;]+)")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_EXTRA: Final = re.compile(r"""extra == ["']([^"']+)["']""")
_MODULES: Final = "node_modules/"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that Lineal is made of: CycloneDX's component, and the package URLs of what it needs itself."""

    component: Json
    needs: Collection[str]

    @property
    def ref(self) -> str:
        """Its package URL, by which others name it."""
        return str(self.component["purl"])


def bill() -> Json:
    """The bill of materials, as CycloneDX's JSON."""
    python = list(_python((TOP / "requirements.txt").read_text(encoding="utf-8")))
    pages = json.loads((TOP / "ui" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    built_in = list(_npm(pages))
    known = {part.ref for part in python}
    own = {*_asked("lineal", frozenset({"tracing"}), known), *_resolved("", pages[""], pages)}
    parts = [*python, *built_in]
    edges = {SELF: own} | {part.ref: part.needs for part in parts}
    needed = _reached(SELF, edges)
    for part in parts:
        # What is there to build Lineal with, and not to run it, is excluded in CycloneDX's word.
        part.component["scope"] = "required" if part.ref in needed else "excluded"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {
                "type": "application",
                "bom-ref": SELF,
                "name": "lineal",
                "version": __version__,
                "licenses": [{"license": {"id": LICENCE}}],
                "purl": SELF,
            },
        },
        "components": [part.component for part in parts],
        "dependencies": [
            {"ref": ref, **({"dependsOn": sorted(needs)} if needs else {})} for ref, needs in sorted(edges.items())
        ],
    }


# ── Packages of Python ────────────────────────────────────────────────────────────────────────────


def _python(lock: str) -> Iterator[Part]:
    """The packages of a lock file that has the SHA-256 of each of their files."""
    lines = [(match, line) for line in lock.replace("\\\n", " ").splitlines() if (match := _LINE.match(line))]
    known = {_purl(match["name"], match["version"]) for match, _ in lines}
    for match, line in lines:
        name, purl = match["name"], _purl(match["name"], match["version"])
        files = [{"alg": "SHA-256", "content": each} for each in _HASH.findall(line)]
        component = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": match["version"],
            **_licences(name),
            "purl": purl,
            # A release has a file for each platform: these are theirs, any of which is the package.
            "externalReferences": [{"type": "distribution", "url": purl, "hashes": files}],
        }
        yield Part(component, _asked(name, frozenset((match["extras"] or "").split(",")), known))


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _licences(name: str) -> Json:
    """What a package says of its licence: an SPDX expression, or else the names that its classifiers give."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return {}
    if expressions := told.get_all("License-Expression"):
        return {"licenses": [{"expression": expressions[0]}]}
    classifiers = [
        each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or () if each.startswith("License")
    ]
    names = classifiers or [each for each in told.get_all("License") or () if "\n" not in each]
    return {"licenses": [{"license": {"name": each}} for each in names]} if names else {}


def _asked(name: str, extras: frozenset[str], known: Collection[str]) -> set[str]:
    """What of the `known` a package asks for, with these extras, on any platform.

    Nothing where the package is not installed, which is so for those of other platforms.
    """
    try:
        requirements = [Requirement(each) for each in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        return set()
    names = set()
    for requirement in requirements:
        wanted = set(_EXTRA.findall(str(requirement.marker or "")))
        if not wanted or wanted & extras:
            names.add(canonicalize_name(requirement.name))
    return {purl for purl in known if purl.removeprefix("pkg:pypi/").partition("@")[0] in names}


# ── Packages of the pages ─────────────────────────────────────────────────────────────────────────


def _npm(packages: Mapping[str, Json]) -> Iterator[Part]:
    """What npm's lock file brings into the pages; what only builds or tests them is not in there."""
    seen = set()
    for path, package in packages.items():
        if not path or package.get("dev") or (purl := _npm_purl(path, package)) in seen:
            continue
        seen.add(purl)
        algorithm, _, digest = package["integrity"].partition("-")
        component = {
            "type": "library",
            "bom-ref": purl,
            "name": _npm_name(path),
            "version": package["version"],
            "hashes": [{"alg": f"SHA-{algorithm[3:]}", "content": base64.b64decode(digest).hex()}],
            "licenses": [{"expression": package["license"]}],
            "purl": purl,
        }
        yield Part(component, _resolved(path, package, packages))


def _resolved(path: str, package: Json, packages: Mapping[str, Json]) -> set[str]:
    """What a package needs, as Node finds it: beside itself, or beside one of those that it is in."""
    found = set()
    for name in package.get("dependencies", ()):
        folder = path
        while (place := f"{folder}/{_MODULES}{name}".lstrip("/")) not in packages:
            folder = folder.rpartition(_MODULES)[0].rstrip("/")
        found.add(_npm_purl(place, packages[place]))
    return found


def _npm_name(path: str) -> str:
    return path.rpartition(_MODULES)[2]


def _npm_purl(path: str, package: Json) -> str:
    return f"pkg:npm/{quote(_npm_name(path))}@{package['version']}"


def _reached(root: str, edges: Mapping[str, Collection[str]]) -> set[str]:
    """All that one thing needs, and what that needs."""
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        new = set(edges[waiting.pop()]) - seen
        seen |= new
        waiting += new
    return seen


def render() -> str:
    """The committed file's text."""
    return json.dumps(bill(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
