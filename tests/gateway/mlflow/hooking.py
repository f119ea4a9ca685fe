"""The part of a session that is about webhooks, with a receiver that runs meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

Record = Callable[..., Any]
"""Puts what a call comes to into the transcript; `hide` are texts that differ between two sessions."""

NEW = "0123456789abcdef0123456789abcdef"


class Receiver(BaseHTTPRequestHandler):
    """Takes what comes to /fine, and nothing else."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200 if self.path == "/fine" else 404)
        self.end_headers()
        self.wfile.write(b"thanks" if self.path == "/fine" else b"nobody here")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def webhooks(client: Any, record: Record) -> None:
    """Every endpoint of webhooks, by a client."""
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    ids: dict[str, str] = {}

    def ask(label: str, method: str, *arguments: Any, **named: Any) -> Any:
        hide = {here: "HERE", **{id: f"ID of {name}" for name, id in ids.items()}}
        return record(f"{method} {label}", lambda: getattr(client, method)(*arguments, **named), hide)

    def make(name: str, url: str = "https://hooks.example.org/x", **more: Any) -> None:
        given = {"events": ["model_version.created"], **more}
        found = ask(f"{name!r} {url.replace(here, 'HERE')!r} {given}", "create_webhook", name, url, **given)
        if found is not None:
            ids[name] = found.webhook_id

    make("ci", description="Builds", secret="kept to itself")
    make("all", events=["registered_model.created", "model_version_tag.set", "model_version_alias.deleted"])
    make("prompts", events=["prompt.created", "prompt_version_tag.deleted", "prompt_alias.created"])
    make("fine", f"{here}/fine", secret="kept to itself")
    make("lost", f"{here}/lost")
    make("asleep", status="DISABLED")
    for url in ("", "ftp://hooks.example.org", "hooks.example.org", "https://"):
        make("bad", url)
    for name in ("", " ", "x" * 64, "a/b"):
        make(name)
    make("none", events=[])
    make("unknown", events=["model_version.deleted"])
    make("word", events=["everything"])
    ask("all", "list_webhooks")
    for most in (0, -1, 2, 1_000, 1_001):
        ask(f"at most {most}", "list_webhooks", most)
    page = ask("first page", "list_webhooks", 4)
    ask("second page", "list_webhooks", 4, page.token)
    ask("no page", "list_webhooks", 4, "nonsense!")
    for name in ("ci", "asleep"):
        ask(name, "get_webhook", ids[name])
    ask("new", "get_webhook", NEW)
    ask("name", "update_webhook", ids["ci"], name="build")
    ask("url", "update_webhook", ids["ci"], url="https://hooks.example.org/y")
    ask("no url", "update_webhook", ids["ci"], url="ftp://hooks.example.org")
    ask("events", "update_webhook", ids["ci"], events=["prompt.created", "model_version.created"])
    ask("description", "update_webhook", ids["ci"], description="Other words")
    ask("no description", "update_webhook", ids["ci"], description="")
    ask("secret", "update_webhook", ids["ci"], secret="another")
    ask("disabled", "update_webhook", ids["ci"], status="DISABLED")
    ask("disabled again", "update_webhook", ids["ci"], status="DISABLED")
    ask("active", "update_webhook", ids["ci"], status="ACTIVE")
    ask("nothing", "update_webhook", ids["ci"])
    ask("new", "update_webhook", NEW, name="x")
    ask("afterwards", "get_webhook", ids["ci"])
    ask("fine", "test_webhook", ids["fine"])
    ask("fine", "test_webhook", ids["fine"], "model_version.created")
    ask("lost", "test_webhook", ids["lost"])
    ask("new", "test_webhook", NEW)
    for _ in range(2):
        ask("ci", "delete_webhook", ids["ci"])
    ask("ci", "get_webhook", ids["ci"])
    ask("all", "list_webhooks")
    for name in ids.keys() - {"ci"}:
        client.delete_webhook(ids[name])
    make("twice")
    make("twice", description="Another")
    server.shutdown()
