"""A Ray cluster's dashboard, as far as Serve's applications go.

A call has all applications: those that were told by this API before and are not in it are deleted. Two may not have
one route. An application is built, and then runs or fails; a change of its code or environment builds it anew, with no
answer meanwhile; one of its route alone is quick. It moves one step at each look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.serving.standing import Answer, StandIn

STEPS = 2
"""Looks until an application runs."""


@dataclass
class App:
    """An application: what was told of it, and how far it is."""

    config: dict[str, Any]
    source: str = "declarative"
    status: str = "DEPLOYING"
    answers: bool = False
    steps: int = STEPS

    @property
    def made_of(self) -> tuple[Any, ...]:
        """What it has to be built anew for."""
        return tuple(self.config.get(key) for key in ("import_path", "runtime_env", "args"))

    @property
    def environment(self) -> dict[str, str]:
        """Its environment variables."""
        found: dict[str, str] = self.config.get("runtime_env", {}).get("env_vars", {})
        return found


class RayServer(StandIn):
    """A cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, App] = {}
        self.told: list[dict[str, Any]] = []
        """The calls that were taken."""
        self.target_capacity: float | None = None

    def handle(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Answer:
        assert path == ["api", "serve", "applications"], path
        if method == "PUT":
            return self._put(body)
        self._follow()
        return 200, {
            "controller_info": {},
            "proxy_location": "EveryNode",
            "http_options": {"host": "0.0.0.0", "port": 8000},
            "proxies": {},
            "target_capacity": self.target_capacity,
            "applications": {name: _details(name, app) for name, app in self.apps.items()},
        }

    def _put(self, body: Any) -> Answer:
        configs = {config["name"]: config for config in body["applications"]}
        routes = [config["route_prefix"] for config in body["applications"] if config.get("route_prefix", "/")]
        if len(configs) != len(body["applications"]) or len(set(routes)) != len(routes):
            return 400, {"error": "ValidationError: duplicate names or route prefixes"}
        if any(not config.get("import_path") for config in body["applications"]):
            return 400, {"error": "ValidationError: import_path: Field required"}
        self.told.append(body)
        self.target_capacity = body.get("target_capacity")
        for name, config in configs.items():
            app = self.apps.get(name)
            new = App(config)
            if app is not None and app.made_of == new.made_of and app.status != "DELETING":
                app.config, app.source = config, "declarative"
            else:
                self.apps[name] = new
        for name, app in self.apps.items():
            if name not in configs and app.source == "declarative":
                app.status, app.answers, app.steps = "DELETING", False, 1
        return 200, {}

    def _follow(self) -> None:
        for name, app in list(self.apps.items()):
            if app.steps > 0:
                app.steps -= 1
            elif app.status == "DELETING":
                del self.apps[name]
            elif app.status == "DEPLOYING":
                loaded = app.source != "declarative" or _answer(app) is not None
                app.status, app.answers = ("RUNNING", True) if loaded else ("DEPLOY_FAILED", False)

    # ── What a test asks ──────────────────────────────────────────────────────────────────────────

    def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer at the route of a deployment, or of one of its versions."""
        with self.lock:
            if not self.running:
                return None
            apps = [app for app in self.apps.values() if app.answers]
            at = {app.config.get("route_prefix"): app for app in apps}
            app = at.get(f"/{name}")
            if number is not None and (app is None or app.environment["LINEAL_MODEL_NUMBER"] != str(number)):
                app = at.get(f"/{name}/versions/{number}")
            return _answer(app) if app else None


def _answer(app: App) -> int | None:
    last = app.environment.get("LINEAL_MODEL_URI", "").rpartition("/")[2]
    return int(last) if last.isdigit() else None


def _details(name: str, app: App) -> dict[str, Any]:
    failed = app.status == "DEPLOY_FAILED"
    trace = 'The deployment failed to start 3 times in a row.\n  File "app.py"\nValueError: there is no model\n'
    replicas = [{"replica_id": "r1", "state": "RUNNING"}] if app.answers else []
    return {
        "name": name,
        "route_prefix": app.config.get("route_prefix"),
        "docs_path": None,
        "status": app.status,
        "message": "Failed to update the deployments ['Model']." if failed else "",
        "last_deployed_time_s": 1.0,
        "deployed_app_config": app.config if app.source == "declarative" else None,
        "source": app.source,
        "deployments": {
            "Model": {
                "name": "Model",
                "status": "DEPLOY_FAILED" if failed else "HEALTHY",
                "message": trace if failed else "",
                "replicas": replicas,
            }
        },
    }
