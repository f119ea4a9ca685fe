"""lineal enrich, against a Lineal that runs as a process of its own and a tracking server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.keyring import Keyring
from auth.local import LocalIssuer
from lineal.remote import Remote
from tests.lineal.test_transferring import Desk
from tests.running import LinealServer
from tests.services import free_port
from tests.tracking.liar import RUN, Liar

STORY = """mutation Story {
  one: createModelVersion(input: {model: "models:/prices", createModel: true}) { version { enrichment } }
  two: createModelVersion(input: {model: "models:/prices", runId: "%s"}) { version { enrichment } }
}"""


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory, nowhere: Path) -> Iterator[Desk]:
    """Two versions of prices, one of which names its run, and the server that has it."""
    home = tmp_path_factory.mktemp("lineal")
    file = home / "trackers.toml"
    server = LinealServer(home, free_port(), (), trackers=str(file))
    with Liar() as liar:
        options = "options = { allow_private = true }"
        file.write_text(f'[trackers.mlflow]\nurl = "{liar.url}"\nworkspaces = "*"\n{options}\n')
        with server:
            token = LocalIssuer(Keyring(server.home / "keys")).token(scopes=["all"])
            with Remote(server.url, lambda: token) as remote:
                made = remote.ask(STORY % RUN)
                assert [each["version"]["enrichment"] for each in made.values()] == [None, "QUEUED"]
            yield Desk(server, nowhere)


def test_versions_are_looked_up_and_what_came_of_it_is_told(desk: Desk) -> None:
    told = desk.told("enrich", "models:/prices/2")
    (found,) = told["versions"]
    assert (found["enrichment"], found["run"]) == ("DONE", {"address": f"runs:/{RUN}"})
    assert desk.refused("enrich", "models:/prices/1")[1].endswith("give runId")
    done = desk.run("enrich", "models:/prices/1", "--run-id", RUN)
    assert done.stdout == f"models:/prices/1 is DONE, made by runs:/{RUN}\n"
    code, message = desk.refused("enrich", "models:/prices/9")
    assert code == 1
    assert "models:/prices/9" in message
