"""Models as libraries make them today: pushed, told what they are, pulled, and loaded with the same predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SOAK
from tests.environments import environment, run
from tests.lineal.conftest import bearer
from tests.lineal.test_transferring import Desk
from tests.running import LinealServer
from tests.services import free_port

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not SOAK, reason="the libraries are large: `make soak` runs this"),
]

SCRIPTS = Path(__file__).parents[1] / "storage" / "formats" / "samples"
TRAIN = """
import sys, joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
rows, labels = load_iris(return_X_y=True)
model = RandomForestClassifier(n_estimators=5, random_state=0).fit(rows, labels)
joblib.dump(model, sys.argv[1])
print(model.predict_proba(rows).tolist())
"""
PREDICT = """
import sys, joblib
from sklearn.datasets import load_iris
print(joblib.load(sys.argv[1]).predict_proba(load_iris(return_X_y=True)[0]).tolist())
"""
ASKED = """query ($id: ID!) { artifact(address: $id) {
  frameworks formats pickles imports contents modelVersions { nodes { state frameworks parameterCount signature } }
} }"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinealServer]:
    """A Lineal on SQLite and a folder, without issuers."""
    server = LinealServer(tmp_path_factory.mktemp("lineal"), free_port(), ())
    server.home.mkdir(exist_ok=True)
    with server:
        yield server


@pytest.fixture
def desk(server: LinealServer, nowhere: Path) -> Desk:
    """Somebody on the machine of the server."""
    return Desk(server, nowhere)


def told(desk: Desk, path: str, name: str) -> dict[str, Any]:
    """Push something; what Lineal then says of it."""
    artifact = desk.told("push", path, name)["artifact"]
    answer = httpx.post(
        desk.server.url,
        json={"query": ASKED, "variables": {"id": artifact}},
        headers=bearer(keys=desk.server.home / "keys"),
    ).json()
    found: dict[str, Any] = answer["data"]["artifact"]
    return found


def test_a_forest_of_scikit_learn_predicts_the_same_after_a_push_and_a_pull(desk: Desk) -> None:
    python = environment("scikit-learn", "scikit-learn==1.7.2", "joblib==1.5.2", "numpy<2.4")
    (desk.home / "model").mkdir()
    before = run(python, TRAIN, desk.home / "model" / "model.joblib", cwd=desk.home)
    found = told(desk, "model", "forest")
    assert found["frameworks"] == ["scikit-learn"]
    assert found["contents"]["versions"]["scikit-learn"] == "1.7.2"
    assert found["pickles"] == "SAFE"
    assert any(name.endswith("RandomForestClassifier") for name in found["imports"])
    assert found["modelVersions"]["nodes"][0]["state"] == "READY"
    desk.told("pull", "models:/forest/1", "copy")
    assert run(python, PREDICT, desk.home / "copy" / "model.joblib", cwd=desk.home) == before


def test_a_saved_model_of_tensorflow_is_read_without_it(desk: Desk) -> None:
    python = environment("tensorflow", "tensorflow-cpu==2.21.0")
    (desk.home / "model").mkdir()
    run(python, (SCRIPTS / "make_tensorflow.py").read_text(), desk.home / "model", cwd=desk.home)
    found = told(desk, "model/saved", "linear")
    (version,) = found["modelVersions"]["nodes"]
    assert found["frameworks"] == ["TensorFlow"]
    assert found["contents"]["versions"]["TensorFlow"] == "2.21.0"
    assert [(each["name"], each["shape"]) for each in version["signature"]["inputs"]] == [("x", [None, 3])]
    assert version["parameterCount"] == "6"


def test_files_of_onnx_and_safetensors_are_read_without_them(desk: Desk) -> None:
    libraries = ("onnx==1.19.1", "safetensors==0.6.2", "numpy<2.4")
    python = environment("onnx", *libraries)
    (desk.home / "onnx").mkdir()
    (desk.home / "safe").mkdir()
    script = """
import sys
import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save_file
value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
    [value("x", TensorProto.FLOAT, ["batch", 3])], [value("y", TensorProto.FLOAT, ["batch", 2])],
    [helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)],
)
onnx.save(helper.make_model(graph), sys.argv[1] + "/model.onnx")
save_file({"w": np.zeros((3, 4), np.float32)}, sys.argv[2] + "/model.safetensors")
"""
    run(python, script, desk.home / "onnx", desk.home / "safe", cwd=desk.home)
    graph = told(desk, "onnx", "graph")["modelVersions"]["nodes"][0]
    assert (graph["parameterCount"], graph["signature"]["inputs"][0]["shape"]) == ("6", [None, 3])
    assert told(desk, "safe", "tensors")["modelVersions"]["nodes"][0]["parameterCount"] == "12"


def test_files_of_pytorch_are_read_without_it(desk: Desk) -> None:
    python = environment("torch", "torch==2.8.0", "numpy<2.4")
    (desk.home / "model").mkdir()
    run(python, (SCRIPTS / "make_torch.py").read_text(), desk.home / "model", cwd=desk.home)
    found = told(desk, "model/script.pt", "script")
    assert found["frameworks"] == ["PyTorch"]
    assert "TorchScript" in " ".join(found["formats"])
