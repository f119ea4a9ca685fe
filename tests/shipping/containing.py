"""What a container runtime does with a Containerfile, as far as Linux does it without one.

Each stage is a folder, and its commands run there as root after chroot(2), in a mount namespace of their own: Python,
the system's programs and libraries are this machine's, which stand in for the base image; nothing else of the machine
is there. The network is this machine's. The last stage runs with its own user, environment and health check, on a file
system that cannot be written but for its volumes and /tmp. Whatever is not understood of the file is an error.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.services import missing

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_SYSTEM: Final = ("usr", "etc")
_ALIASES: Final = ("bin", "sbin", "lib", "lib64")
_INTERPRETER: Final = Path(sys.base_prefix)


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, each with what follows it."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    told = [line.split(None, 1) for line in lines if line.strip() and not line.startswith("#")]
    return [(name, rest) for name, rest in told]


@dataclass
class Stage:
    """A file system, and how what is in it is run."""

    root: Path
    base: str
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stop: str = "SIGTERM"

    def inside(self, path: str) -> Path:
        """Where a path of the stage is on this machine; relative ones are in its folder."""
        return self.root / os.path.normpath(f"{self.folder}/{path}" if path[0] != "/" else path).lstrip("/")


class Build:
    """Goes through a Containerfile with a context, into a folder. Skips the test where that cannot be done here."""

    def __init__(self, file: Path, context: Path, home: Path) -> None:
        if sys.platform != "linux" or os.geteuid() != 0:
            missing("container", "run the tests as root on Linux")
        for tool in ("unshare", "setpriv", "chroot", "mount"):
            if shutil.which(tool) is None:
                missing("container", f"install util-linux ({tool})")
        probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
        if probe.returncode:
            missing("container", f"mount namespaces are needed: {probe.stderr.strip()}")
        self._context, self._home = context, home
        self._allowed = [line[1:] for line in (context / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, Stage] = {}
        self.last = Stage(home, "")
        for name, rest in instructions(file.read_text(encoding="utf-8")):
            getattr(self, f"_{name.lower()}")(rest)

    def _value(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self.last.arguments[match[1]], text)

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        known = self._arguments if not self.last.base else self.last.arguments
        known[name] = value

    def _from(self, rest: str) -> None:
        base, _, alias = _VARIABLE.sub(lambda match: self._arguments[match[1]], rest).partition(" AS ")
        name = alias or str(len(self._stages))
        self.last = self._stages[name] = Stage(self._home / name, base)
        for path in ("tmp", "proc", "dev", *_SYSTEM, str(_INTERPRETER).lstrip("/")):
            (self.last.root / path).mkdir(parents=True)
        for path in _ALIASES:
            if Path("/", path).exists():
                (self.last.root / path).symlink_to(f"usr/{path}")

    def _workdir(self, rest: str) -> None:
        self.last.folder = rest
        self.last.inside(rest).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        words = self._value(rest).split()
        options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        for source in sources:
            if stage := options.get("from"):
                found = {self.last.inside(target): self._stages[stage].inside(source)}
            elif source == ".":
                found = {self.last.inside(f"{target}/{each}"): self._context / each for each in self._named(".")}
            else:
                assert any(source in self._named(each) for each in self._allowed), f"{source} is not in the context"
                found = {self.last.inside(f"{target}/{source}"): self._context / source}
            for into, path in found.items():
                into.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(path, into, symlinks=True, ignore=ignored if "from" not in options else None)
                else:
                    shutil.copy(path, into)
                if owner := options.get("chown"):
                    os.chown(into, *map(int, owner.split(":")))

    def _named(self, pattern: str) -> list[str]:
        """Paths of the context that a line of the ignore file lets in; all that are let in for `.`."""
        patterns = self._allowed if pattern == "." else [pattern]
        return [str(path.relative_to(self._context)) for each in patterns for path in self._context.glob(each)]

    def _run(self, rest: str) -> None:
        command = ["sh", "-euc", f"cd {self.last.folder} && {self._value(rest)}"]
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_")) or "proxy" in name.lower()
        }
        path = f"{_INTERPRETER}/bin:/usr/local/bin:/usr/bin:/bin"
        done = subprocess.run(
            entered(self.last, command, {**kept, "PATH": path, "HOME": "/tmp"}),
            capture_output=True,
            text=True,
            check=False,
        )
        if "--require-hashes" in rest and "No matching distribution" in done.stderr:
            missing("container", f"pip could not download what it runs on:\n{done.stderr[-1000:]}")
        assert done.returncode == 0, f"RUN {rest}\n{done.stderr[-3000:]}"

    def _env(self, rest: str) -> None:
        self.last.environment |= dict(word.split("=", 1) for word in shlex.split(rest))

    def _volume(self, rest: str) -> None:
        self.last.volumes += rest.split()

    def _expose(self, rest: str) -> None:
        self.last.ports += rest.split()

    def _user(self, rest: str) -> None:
        self.last.user = rest

    def _stopsignal(self, rest: str) -> None:
        self.last.stop = rest

    def _healthcheck(self, rest: str) -> None:
        self.last.health = json.loads(rest.partition("CMD ")[2])

    def _entrypoint(self, rest: str) -> None:
        self.last.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.last.command = json.loads(rest)


def entered(
    stage: Stage,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    user: str = "0:0",
    volumes: Mapping[str, Path] | None = None,
) -> list[str]:
    """The command line that runs a command within a stage; with `volumes`, nothing but these and /tmp can be written.

    Every part of it ends in exec, so that the process that is started is the command's.
    """
    root = shlex.quote(str(stage.root))
    mounts = [f"mount --bind {root} {root}"]
    for path in (*_SYSTEM, str(_INTERPRETER).lstrip("/")):
        mounts += [f"mount --bind /{path} {root}/{path}", f"mount -o remount,ro,bind {root}/{path}"]
    mounts += [f"mount --rbind /{path} {root}/{path}" for path in ("dev", "proc")]
    mounts.append(f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp")
    for place, folder in (volumes or {}).items():
        mounts.append(f"mount --bind {shlex.quote(str(folder))} {root}{place}")
    if volumes is not None:
        mounts.append(f"mount -o remount,ro,bind {root}")
    uid, gid = user.split(":")
    told = shlex.join(f"{name}={value}" for name, value in environment.items())
    # As `--cap-drop ALL --security-opt no-new-privileges`.
    drop = "--bounding-set=-all --inh-caps=-all --no-new-privs" if uid != "0" else ""
    become = f"setpriv --reuid={uid} --regid={gid} --clear-groups {drop}"
    within = f"cd {stage.folder if volumes is not None else '/'} && exec {become} env -i {told} {shlex.join(command)}"
    script = f"{' && '.join(mounts)} && exec chroot {root} sh -c {shlex.quote(within)}"
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
