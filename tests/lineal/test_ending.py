"""lineal mark, unmark and retire, against a Lineal that runs as a process of its own."""

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

STORY = """mutation Story {
  one: createModelVersion(input: {
    model: "models:/base", createModel: true, inputs: [{dataset: "datasets:/web/v1", create: true}]
  }) { version { id } }
  two: createModelVersion(input: {
    model: "models:/small", createModel: true, parents: [{version: "models:/base/1"}]
  }) { version { id } }
  three: recordDeployment(input: {name: "chat", serves: [{version: "models:/small/1"}]}) { deployment { id } }
}"""


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory, nowhere: Path) -> Iterator[Desk]:
    """web/v1 → base/1 → small/1, which "chat" serves."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    server.home.mkdir(exist_ok=True)
    with server:
        token = LocalIssuer(Keyring(server.home / "keys")).token(scopes=["all"])
        with Remote(server.url, lambda: token) as remote:
            remote.ask(STORY)
        yield Desk(server, nowhere)


def test_what_a_mark_affects_is_shown_and_it_can_be_taken_off(desk: Desk) -> None:
    told = desk.told("mark", "datasets:/web", "--reason", "it has the test set")
    mark = told.pop("mark")
    affected = {
        "versions": 2,
        "models": ["models:/base", "models:/small"],
        "deployments": ["deployments:/chat"],
        "restricted": 0,
        "complete": True,
    }
    assert told == {"dataset": "datasets:/web", "type": "CONTAMINATED", **affected}
    assert "already" in desk.refused("mark", "datasets:/web", "--reason", "again")[1]
    desk.told("mark", "datasets:/web", "--reason", "the licence", "--type", "FORBIDDEN")
    lifted = desk.told("unmark", "datasets:/web", "--reason", "it has not", "--type", "CONTAMINATED")
    assert lifted == {"mark": mark, "type": "CONTAMINATED", "lifted": True, **affected}
    done = desk.run("unmark", "datasets:/web", "--reason", "we have one")
    assert done.stdout.splitlines()[1:] == [
        "2 versions of 2 models and 1 deployments are affected",
        "  deployments:/chat",
        "  models:/base",
        "  models:/small",
    ]
    assert desk.refused("unmark", "datasets:/web", "--reason", "x") == (1, "mark: 'datasets:/web' has no mark")
    assert desk.refused("unmark", "models:/base", "--reason", "x")[0] == 2
    assert "taken off already" in desk.refused("unmark", mark, "--reason", "x")[1]


def test_what_depends_on_a_version_is_named_before_it_is_retired(desk: Desk) -> None:
    code, message = desk.refused("retire", "models:/small/1", "--reason", "old")
    assert (code, message) == (
        1,
        "version: 'models:/small/1' is still served by deployments:/chat; end that first, or force it",
    )
    told = desk.told("retire", "models:/base/1", "--reason", "it leaks", "--force")
    assert told == {
        "version": "models:/base/1",
        "versions": 1,
        "derived": ["models:/small/1"],
        "deployments": ["deployments:/chat"],
        "restricted": 0,
        "complete": True,
    }
    done = desk.run("retire", "models:/small/1", "--reason", "old", "--force")
    assert done.stdout.splitlines() == [
        "models:/small/1 is retired",
        "0 versions and 1 deployments are affected",
        "  deployments:/chat",
    ]
