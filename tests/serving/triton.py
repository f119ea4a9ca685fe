"""What behaves as Triton in explicit mode does, as far as its documentation tells: `python -m tests.serving.triton`.

It reads a model repository, loads one model at a time, keeps the one before where a load fails, and forgets all when
it ends. A version answers the number in its file model.py.
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx

from tests.services import Server

ROOT: Final = Path(__file__).parents[2]


class Triton:
    """The models that are loaded, and why others are not."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._loaded: dict[str, dict[str, Any]] = {}
        self._unavailable: dict[tuple[str, str], str] = {}

    def index(self) -> list[dict[str, str]]:
        found = [{"name": name, "version": each["version"], "state": "READY"} for name, each in self._loaded.items()]
        for (name, version), reason in self._unavailable.items():
            found.append({"name": name, "version": version, "state": "UNAVAILABLE", "reason": reason})
        known = {each["name"] for each in found}
        folders = [each.name for each in self._repository.iterdir() if each.is_dir()]
        return [*found, *({"name": name} for name in folders if name not in known)]

    def load(self, name: str) -> str:
        """Why it does not load, or nothing."""
        folder = self._repository / name
        try:
            config = (folder / "config.pbtxt").read_text()
        except FileNotFoundError:
            return f"failed to load '{name}', failed to poll from model repository"
        names, policies = re.findall(r'^name: "(.*)"', config, re.MULTILINE), re.findall(r"version_policy", config)
        (version,) = re.findall(r"version_policy { specific { versions: \[ (\d+) \] } }", config)
        (label,) = re.findall(r'key: "lineal_version" value { string_value: "(.*?)" }', config)
        if names != [name] or len(policies) != 1:
            return f"failed to load '{name}', the configuration is not that of this model"
        text = (folder / version / "model.py").read_text()
        if not text.isdigit():
            self._unavailable[name, version] = f"Internal: {text}"
            return f"load failed for model '{name}': version {version} is at UNAVAILABLE state: Internal: {text}"
        if name in self._loaded and self._loaded[name]["version"] != version:
            self._unavailable[name, self._loaded[name]["version"]] = "unloaded"
        self._unavailable.pop((name, version), None)
        self._loaded[name] = {"version": version, "answer": int(text), "label": label}
        return ""

    def unload(self, name: str) -> None:
        if name in self._loaded:
            self._unavailable[name, self._loaded.pop(name)["version"]] = "unloaded"

    def config(self, name: str) -> dict[str, Any] | None:
        if name not in self._loaded:
            return None
        label = self._loaded[name]["label"]
        return {"name": name, "backend": "python", "parameters": {"lineal_version": {"string_value": label}}}

    def infer(self, name: str) -> dict[str, Any] | None:
        if name not in self._loaded:
            return None
        output = {"name": "answer", "datatype": "INT64", "shape": [1], "data": [self._loaded[name]["answer"]]}
        return {"model_name": name, "model_version": self._loaded[name]["version"], "outputs": [output]}


class _Handler(BaseHTTPRequestHandler):
    triton: Triton
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v2/health/ready":
            self._answer({})
        else:
            name = self.path.removeprefix("/v2/models/").removesuffix("/config")
            self._known(name, self.triton.config(name))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        *_, name, what = self.path.split("/")
        if self.path == "/v2/repository/index":
            self._answer(self.triton.index())
        elif what == "load":
            reason = self.triton.load(name)
            self._answer({"error": reason} if reason else {}, 400 if reason else 200)
        elif what == "unload":
            self.triton.unload(name)
            self._answer({})
        else:
            self._known(name, self.triton.infer(name))

    def _known(self, name: str, found: Any) -> None:
        if found is None:
            self._answer({"error": f"Request for unknown model: '{name}' is not found"}, 400)
        else:
            self._answer(found)

    def _answer(self, body: Any, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class TritonServer(Server):
    """The stand-in as a process. `models` is its repository."""

    name: ClassVar[str] = "triton"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}"
        self.models = home / "models"

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        self.models.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.serving.triton", str(self.port), str(self.models)]
        return command, {"PYTHONPATH": str(ROOT)}

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v2/health/ready", timeout=5).is_success
        except httpx.TransportError:
            return False


def main(port: str, repository: str) -> None:
    """Serve until it is ended."""
    _Handler.triton = Triton(Path(repository))
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
