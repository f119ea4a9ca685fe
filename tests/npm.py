"""Programs in JavaScript for tests: their packages are pinned in a package-lock.json, and brought once by `npm ci`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tests.services import cache_home, downloaded, missing

_INSTALL = "install Node.js 20 or newer, with npm"
_SECONDS = 120


def packages(name: str, sources: Path) -> Path:
    """The folder node_modules with the packages that a folder pins; npm brings them the first time."""
    files = {file: (sources / file).read_text() for file in ("package.json", "package-lock.json")}
    version = hashlib.sha256(files["package-lock.json"].encode()).hexdigest()[:16]
    return downloaded(
        name,
        cache_home() / f"{name}-{version}" / "node_modules",
        files,
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        _INSTALL,
    )


def node(name: str) -> str:
    """The program that runs JavaScript. Skips or fails the test where it is missing."""
    found = shutil.which("node")
    if found is None:
        missing(name, _INSTALL)
    return found


def placed(modules: Path, script: Path) -> Path:
    """A copy of a script beside its packages: it finds them from where it stands."""
    copy, text = modules.parent / script.name, script.read_text()
    if not copy.exists() or copy.read_text() != text:
        copy.write_text(text)
    return copy


async def told(name: str, modules: Path, script: Path, *arguments: str) -> Any:
    """What a script that uses such packages says on standard output, as JSON. Fails the test where it fails."""
    process = await asyncio.create_subprocess_exec(
        node(name),
        str(placed(modules, script)),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), _SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)
