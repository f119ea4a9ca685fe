"""Whatever is sent, as far as the OpenAPI document lets it or further, the answer is one that the document has.

A server of its own, on either store, is asked by Schemathesis: operation after operation, following the links of the
document, with valid and with wrong values.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import GenerationMode

from auth.keyring import Keyring
from auth.local import LocalIssuer
from gateway.rest.examples import BODIES, PARTS
from gateway.rest.routes import NOUNS, PATH
from graph.open import open_graph
from lineal.rest import served_openapi
from lineal.settings import Settings
from tests.conftest import SOAK, count
from tests.gateway.rest.fuzzing import KINDS, Names, bounded
from tests.gateway.rest.test_routes import PLANS
from tests.schema.conftest import tell

ROOT = Path(__file__).parents[3]
STEPS = 20
CASES = count(100, 10_000)
_SETTINGS = settings(
    deadline=None,
    database=None,
    derandomize=not SOAK,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
CHECKS = [
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
]
GENERATION = {"mode": "all", "with-security-parameters": False}
MODES = (GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
MAX_URL = 65_535
DEFECTS = ("request failed", "internal error")


class Fuzzer:
    """Asks a server whatever its document lets it, and holds every answer against the document.

    `seen` counts the answers by status, `asked` are the operations that were, and `wrong` is what answers had wrong.
    """

    def __init__(self, base: str, token: str, *, seed: int) -> None:
        self.headers = {"authorization": f"Bearer {token}"}
        # Whoever waits for events is asked for none: that takes seconds, and gives the same.
        given = {"base-url": base, "generation": GENERATION, "parameters": {"query.wait": 0}}
        config = schemathesis.Config.from_dict(given)
        self.api = schemathesis.openapi.from_dict(bounded(json.loads(served_openapi())), config=config)
        found: Any = self.api.get_all_operations()
        self.operations = [each.ok() for each in found]
        self._http = httpx.Client(base_url=f"{base}{PATH}", headers=self.headers, timeout=60)
        viewer = self._http.get("/viewer?fields=principal").json()
        self.names = Names(seed, never=frozenset({viewer["principal"]["id"]}))
        self.checks = schemathesis.checks.CHECKS.get_by_names(CHECKS)
        self.seen: Counter[int] = Counter()
        self.asked: set[str] = set()
        self.wrong: list[Exception] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def begin(self) -> None:
        """Do what the document has as examples, and learn of what is there."""
        for name, body in BODIES.items():
            (plan,) = [plan for plan in PLANS if plan.name == name]
            path = plan.route.path
            for part, kind in KINDS.items():
                path = path.replace(f"{{{part}}}", quote(PARTS.get(kind, ""), safe=""))
            answer = self._http.request(plan.route.method, path.replace("{name}", "trial"), json=body)
            assert answer.status_code < 500, answer.text
            self.names.learn(answer.text)
        for collection in NOUNS:
            self.names.learn(self._http.get(f"/{collection}").text)

    def each(self, count: int) -> None:
        """Every operation by itself, so many times."""
        for operation in self.operations:

            @settings(_SETTINGS, max_examples=count)
            @given(st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in MODES)))
            def ask(case: Any) -> None:
                self.names.put(case)
                self.hold(case, case.call(headers=self.headers, timeout=60))

            ask()

    def steps(self, count: int) -> None:
        """One operation after another, as the links of the document lead, so many in all."""
        fuzzer = self

        class Machine(self.api.as_state_machine()):  # type: ignore[misc]
            """Asks one operation after another."""

            def before_call(self, case: Any) -> None:
                fuzzer.names.put(case)

            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return {"headers": fuzzer.headers, "timeout": 60}

            def validate_response(self, response: Any, case: Any, **_: Any) -> None:
                fuzzer.hold(case, response)

        goal = self.seen.total() + count
        while (left := goal - self.seen.total()) > 0:
            # What is there at the server is different each time, and Hypothesis minds that where it comes back to the
            # beginning of an earlier run: then it begins anew. What an answer had wrong is kept in `wrong`.
            with suppress(FlakyStrategyDefinition):
                Machine.run(settings=settings(_SETTINGS, max_examples=-(-left // STEPS), stateful_step_count=STEPS))

    def hold(self, case: Any, response: Any) -> None:
        """Note an answer, and compare it with the document. Raises what Schemathesis does."""
        self.seen[response.status_code] += 1
        self.asked.add(case.operation.label)
        if len(response.request.url) > MAX_URL:
            # This far no HTTP server reads.
            return
        self.names.learn(response.text)
        try:
            case.validate_response(response, checks=self.checks)
        except Exception as error:
            self.wrong.append(error)
            raise


async def _furnish(url: str) -> None:
    """Put a story into a store."""
    async with open_graph(url) as graph:
        await graph.migrate()
        await tell(graph)


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
    asyncio.run(_furnish(url))
    defects: list[str] = []
    lineal = [sys.executable, "-m", "lineal", "serve", "--port", "0"]
    with subprocess.Popen(lineal, env=env, text=True, stderr=subprocess.PIPE) as process:
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
            # Where a request failed this says why; the test that asked says only which.
            sys.stderr.write("\n".join(defects[:10]))


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600 if SOAK else 1200)
def test_no_request_has_an_answer_that_the_document_does_not_have(store_url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    token = LocalIssuer(Keyring(Settings.load(keys=home / "keys").keys)).token(scopes=["all"])
    with serving(store_url, home) as (base, defects), Fuzzer(base, token, seed=0) as fuzzer:
        fuzzer.begin()
        fuzzer.each(max(1, CASES // 2 // len(fuzzer.operations)))
        fuzzer.steps(CASES - fuzzer.seen.total())
    seen, asked = fuzzer.seen, fuzzer.asked
    assert not defects
    assert not fuzzer.wrong
    assert seen.total() >= 0.9 * CASES
    assert asked == {operation.label for operation in fuzzer.operations}
    assert seen[401] == seen[403] == 0, seen
    assert seen[200] + seen[201] > seen.total() / 5, seen
