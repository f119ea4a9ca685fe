"""BentoCloud's API, as far as deployments go.

A deployment has one bento. An update is rolled out in two looks, and what was there goes on answering until the new
one runs; one that does not come up leaves it so. What is terminated is still there, and can be updated again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.serving.standing import Answer, StandIn

LOOKS = 2


@dataclass
class Deployment:
    """A deployment: what was told of it, its status, and the answer that it gives."""

    told: dict[str, Any] = field(default_factory=dict)
    status: str = "deploying"
    answer: int | None = None
    number: str = ""
    looks: int = LOOKS


class BentoServer(StandIn):
    """BentoCloud with one cluster. `bentos` are those that were pushed: the answer by tag, None for a broken one."""

    def __init__(self) -> None:
        super().__init__()
        self.bentos: dict[str, int | None] = {}
        self.deployments: dict[str, Deployment] = {}

    def handle(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Answer:
        match method, path:
            case "GET", ["api", "v1", "bento_repositories", name, "bentos", version]:
                return (200, {"version": version}) if f"{name}:{version}" in self.bentos else _missing("bento")
            case "POST", ["api", "v2", "deployments"]:
                if body["name"] in self.deployments:
                    return 400, {"error": f"deployment {body['name']} already exists"}
                self.deployments[body["name"]] = Deployment()
                return self._tell(body.pop("name"), body)
            case "PUT", ["api", "v2", "deployments", name]:
                return self._tell(name, body) if name in self.deployments else _missing("deployment")
            case "POST", ["api", "v2", "deployments", name, "terminate"]:
                deployment = self.deployments[name]
                deployment.status, deployment.answer, deployment.looks = "terminating", None, 1
                return 200, self._details(name)
            case "GET", ["api", "v2", "deployments", name]:
                if name not in self.deployments:
                    return _missing("deployment")
                self._follow(self.deployments[name])
                return 200, self._details(name)
        raise AssertionError((method, path))

    def _tell(self, name: str, body: Any) -> Answer:
        if body["bento"] not in self.bentos:
            return _missing("bento")
        deployment = self.deployments[name]
        deployment.told, deployment.status, deployment.looks = body, "deploying", LOOKS
        return 200, self._details(name)

    def _follow(self, deployment: Deployment) -> None:
        deployment.looks -= 1
        if deployment.looks > 0:
            return
        if deployment.status == "terminating":
            deployment.status = "terminated"
        elif deployment.status == "deploying":
            answer = self.bentos[deployment.told["bento"]]
            deployment.status = "failed" if answer is None else "running"
            if answer is not None:
                deployment.answer = answer
                deployment.number = {each["name"]: each["value"] for each in deployment.told["envs"]}[
                    "LINEAL_MODEL_NUMBER"
                ]

    def _details(self, name: str) -> dict[str, Any]:
        deployment = self.deployments[name]
        bento = deployment.told.get("bento", ":")
        target = {
            "bento": {"version": bento.partition(":")[2], "repository": {"name": bento.partition(":")[0]}},
            "config": {"envs": deployment.told.get("envs", []), "services": deployment.told.get("services", {})},
        }
        return {
            "name": name,
            "status": deployment.status,
            "urls": [f"https://{name}.bento.example.org"],
            "latest_revision": {"status": "active", "targets": [target]},
        }

    def predict(self, name: str, number: int | None = None) -> int | None:
        """The answer of a deployment; of a version, when it is the one that answers."""
        with self.lock:
            deployment = self.deployments.get(name)
            if not self.running or deployment is None or number not in {None, int(deployment.number or 0)}:
                return None
            return deployment.answer


def _missing(what: str) -> Answer:
    return 400, {"error": f"{what}: record not found"}
