"""Whatever is sent, as far as the OpenAPI document lets it or further, the answer is one that the document has.

A server of its own, on either store, is asked by Schemathesis: operation after operation, following the links of the
document, with valid and with wrong values.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.rest import served_openapi
from lineal.settings import Settings
from tests.conftest import SOAK, count

schemathesis = pytest.importorskip("schemathesis")

ROOT = Path(__file__).parents[3]
STEPS = 20
CASES = count(100, 10_000)
CHECKS = [
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
]
GENERATION = {"mode": "all", "with-security-parameters": False}
DEFECTS = ("request failed", "internal error")


@contextmanager
def serving(url: str, home: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a `lineal serve` on this store, and what it logs of defects."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "LINEAL_LOG_FORMAT": "json",
        "LINEAL_GRAPH": url,
        "LINEAL_KEYS": str(home / "keys"),
        "LINEAL_STORAGE": str(home / "artifacts"),
    }
    lineal = [sys.executable, "-m", "lineal"]
    subprocess.run([*lineal, "migrate"], env=env, check=True, capture_output=True)
    defects: list[str] = []
    with subprocess.Popen([*lineal, "serve", "--port", "0"], env=env, text=True, stderr=subprocess.PIPE) as process:
        assert process.stderr
        for line in process.stderr:
            if '"listening"' in line:
                break
        base = json.loads(line)["url"].removesuffix("/graphql").rstrip("/")

        def look() -> None:
            assert process.stderr
            defects.extend(line for line in process.stderr if any(words in line for words in DEFECTS))

        watching = threading.Thread(target=look)
        watching.start()
        try:
            yield base, defects
        finally:
            process.terminate()
            watching.join()


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600 if SOAK else 1200)
def test_no_request_has_an_answer_that_the_document_does_not_have(store_url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    token = LocalIssuer(Keyring(Settings.load(keys=home / "keys").keys)).token(scopes=["all"])
    seen: Counter[int] = Counter()
    with serving(store_url, home) as (base, defects):
        config = schemathesis.Config.from_dict({"base-url": base, "generation": GENERATION})
        api = schemathesis.openapi.from_dict(json.loads(served_openapi()), config=config)

        checks = schemathesis.checks.CHECKS.get_by_names(CHECKS)

        class Machine(api.as_state_machine()):  # type: ignore[misc]
            """Asks one operation after another."""

            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return {"headers": {"authorization": f"Bearer {token}"}, "timeout": 60}

            def validate_response(self, response: Any, case: Any, **_: Any) -> None:
                seen[response.status_code] += 1
                case.validate_response(response, checks=checks)

        Machine.run(
            settings=settings(
                max_examples=max(1, CASES // STEPS),
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=not SOAK,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate,),
            )
        )
    assert not defects
    assert seen.total() >= CASES / 2
    assert seen[401] == 0, seen
    assert seen[200] + seen[201] > seen.total() / 10, seen
