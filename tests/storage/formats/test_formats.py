"""What is found in files that the libraries themselves wrote, in malicious ones, and in broken ones."""

from __future__ import annotations

import base64
import io
import os
import pickle
import random
import struct
import sys
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph import ontology, validation
from resolvers.artifacts.looking import artifact_props, version_props
from storage.formats import Import, Value, Verdict, detect
from storage.formats.finding import Detected, Found
from storage.source import MAX_READS, Source

SAMPLES = Path(__file__).parent / "samples"
REAL = {
    str(path.relative_to(SAMPLES)): path.read_bytes()
    for path in sorted(SAMPLES.rglob("*"))
    if path.is_file() and path.suffix not in {".py", ".pyc"}
}
FEATURES = [Value("age", ""), Value("height", ""), Value("weight", "")]


class Memory(Source):
    """Files in memory."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        super().__init__({path: len(data) for path, data in contents.items()})
        self.contents = contents

    def fetch(self, path: str, start: int, size: int) -> bytes:
        return self.contents[path][start : start + size]


def look(**contents: bytes) -> Detected:
    return detect(Memory(contents))


def look_at(name: str) -> Detected:
    return detect(Memory({name: REAL[name]}))


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_scikit_learn_pickle_of_every_protocol_tells_estimator_version_and_features(protocol: int) -> None:
    found = look_at(f"pipeline.{protocol}.pkl")
    assert found.frameworks == ["scikit-learn"]
    assert found.versions["scikit-learn"] == "1.9.1"
    assert found.facts["sklearn.estimator"] == "sklearn.pipeline.Pipeline"
    assert list(found.inputs) == FEATURES
    assert found.pickles is Verdict.SAFE


@pytest.mark.parametrize("name", [name for name in REAL if name.endswith(".joblib")])
def test_joblib_is_read_through_its_compression_and_past_its_arrays(name: str) -> None:
    found = look_at(name)
    assert found.formats == ["joblib"]
    assert found.versions["scikit-learn"] == "1.9.1"
    assert (found.pickles, list(found.notes)) == (Verdict.SAFE, [])


def test_skops_has_no_pickles() -> None:
    found = look_at("pipeline.skops")
    assert found.frameworks == ["scikit-learn"]
    assert found.versions == {"skops": "0.16.0", "scikit-learn": "1.9.1"}
    assert found.pickles is Verdict.NONE


class Estimator:
    """What scikit-learn's estimators have when they are pickled."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state, _sklearn_version="1.9.1")


def as_skops(value: Any) -> dict[str, Any]:
    """A value as skops' schema has it."""
    if isinstance(value, Estimator):
        state = {"__class__": "dict", "content": {name: as_skops(each) for name, each in vars(value).items()}}
        return {"__class__": "Estimator", "__module__": "sklearn.base", "content": state}
    if isinstance(value, list | tuple):
        return {"__class__": type(value).__name__, "content": [as_skops(each) for each in value]}
    return {"__class__": type(value).__name__, "content": orjson.dumps(value).decode()}


TAKES_THREE = Estimator(transformers_=[("scale", Estimator(n_features_in_=2), [0, 2])], n_features_in_=3)
TAKES_TEXTS = Estimator(_tfidf=Estimator(n_features_in_=6))


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (TAKES_THREE, "3"),
        (Estimator(steps=[("columns", TAKES_THREE), ("forest", Estimator(n_features_in_=4))]), "3"),
        (Estimator(steps=[("texts", TAKES_TEXTS), ("regression", Estimator(n_features_in_=6))]), None),
        (Estimator(steps=[("nothing", "passthrough"), ("regression", Estimator(n_features_in_=6))]), None),
        (Estimator(transformer_list=[("columns", TAKES_THREE), ("texts", TAKES_TEXTS)]), "3"),
        (Estimator(final_estimator_=Estimator(n_features_in_=1), estimators_=[TAKES_THREE, TAKES_THREE]), "3"),
        (Estimator(transformer_=Estimator(n_features_in_=1), regressor_=TAKES_THREE), "3"),
        (Estimator(estimator=TAKES_TEXTS, best_estimator_=Estimator(steps=[("columns", TAKES_THREE)])), "3"),
    ],
    ids=["its own", "pipeline", "of texts", "passed through", "union", "stacking", "of a target", "search"],
)
def test_the_features_of_an_estimator_are_its_own_or_of_the_one_that_gets_its_input(
    model: Estimator, count: str | None
) -> None:
    schema = io.BytesIO()
    with zipfile.ZipFile(schema, "w") as archive:
        archive.writestr("schema.json", orjson.dumps({"_skops_version": "0.16.0"} | as_skops(model)))
    for name, data in (("model.pkl", pickle.dumps(model)), ("model.skops", schema.getvalue())):
        found = look(**{name: data})
        assert found.versions["scikit-learn"] == "1.9.1"
        assert found.facts.get("sklearn.n_features_in") == count
        assert list(found.inputs) == ([Value("X", "", (None, int(count)))] if count else [])


def test_what_only_holds_an_estimator_has_no_features_of_its_own() -> None:
    found = look(**{"model.pkl": pickle.dumps({"encoder": TAKES_THREE, "model": Estimator(n_features_in_=4)})})
    assert found.versions["scikit-learn"] == "1.9.1"
    assert ("sklearn.n_features_in" in found.facts, list(found.inputs)) == (False, [])


@pytest.mark.parametrize("name", ["linear.pt", "legacy.pth", "script.pt"])
def test_tensors_of_pytorch_are_counted_without_reading_them(name: str) -> None:
    found = look_at(name)
    assert (found.frameworks, found.parameter_count, found.pickles) == (["PyTorch"], 8, Verdict.SAFE)
    assert ("TorchScript" in found.formats) == (name == "script.pt")


def test_safetensors_tell_parameters_and_library() -> None:
    found = look_at("model.safetensors")
    assert (found.frameworks, found.formats, found.parameter_count) == (["PyTorch"], ["safetensors"], 16)


def tensors(**each: tuple[str, list[int], int]) -> bytes:
    """A safetensors file: of each tensor its type, its shape and how many bytes it has."""
    header, end = {}, 0
    for name, (dtype, shape, size) in each.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    said = orjson.dumps(header)
    return struct.pack("<Q", len(said)) + said + bytes(end)


def test_tensors_are_counted_that_have_the_bytes_they_say() -> None:
    types = {"F64": 8, "F32": 4, "BF16": 2, "BOOL": 1, "F8_E4M3": 1, "C64": 8}
    good = {name: (name, [2, 3], 6 * size) for name, size in types.items()}
    found = look(**{"a.safetensors": tensors(**good, packed=("F4", [4], 2), one=("F32", [], 4))})
    assert (found.parameter_count, found.notes) == (41, [])
    for lie in (("F32", [2**40], 0), ("F32", [3], 16), ("F4", [2**40], 2)):
        found = look(**{"a.safetensors": tensors(good=("F32", [4], 16), lie=lie)})
        assert found.parameter_count is None
        assert found.notes == ["a.safetensors: a tensor has other bytes than its type and shape come to"]
    assert look(**{"a.safetensors": tensors(new=("F3", [2**40], 2))}).parameter_count is None


SIXTEEN = tensors(a=("F32", [16], 64))
TWELVE = tensors(a=("F32", [12], 48))


@pytest.mark.parametrize(
    ("files", "count"),
    [
        (
            {"model.safetensors": SIXTEEN, "checkpoint-5/model.safetensors": SIXTEEN, "fp16/model.safetensors": TWELVE},
            16,
        ),
        ({"a/model.safetensors": SIXTEEN, "a/b/c/model.safetensors": SIXTEEN, "d/model.safetensors": TWELVE}, 28),
        ({"unet/model.safetensors": SIXTEEN, "vae/model.safetensors": TWELVE}, 28),
        ({"checkpoint-5/model.safetensors": SIXTEEN, "checkpoint-6/model.safetensors": SIXTEEN}, None),
        ({"model-00001-of-00002.safetensors": SIXTEEN, "model-00002-of-00002.safetensors": SIXTEEN}, 32),
        ({"model.safetensors": SIXTEEN, "model.fp16.safetensors": SIXTEEN}, 16),
    ],
    ids=["below the model", "below a part", "parts", "checkpoints alone", "shards", "variants"],
)
def test_what_a_model_has_several_times_is_counted_once_and_copies_are_not(
    files: dict[str, bytes], count: int | None
) -> None:
    assert look(**files).parameter_count == count


def saved(monkeypatch: pytest.MonkeyPatch, value: Callable[[Callable[[int], Any]], Any]) -> bytes:
    """What torch.save writes of a value, which gets a function for tensors of so many elements."""

    class Rebuilt:
        def __init__(self, size: int) -> None:
            self.size = size

    class Storage:
        pass

    def rebuild(*args: Any) -> None:
        raise AssertionError(args)

    class Pickler(pickle.Pickler):
        def reducer_override(self, thing: Any) -> Any:
            if isinstance(thing, Rebuilt):
                return rebuild, (Storage(), 0, (thing.size,), (1,), False, None)
            return NotImplemented

        def persistent_id(self, thing: Any) -> Any:
            return ("storage", "FloatStorage", str(id(thing)), "cpu", 1) if isinstance(thing, Storage) else None

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils = ModuleType("torch._utils")
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    data, buffer = io.BytesIO(), io.BytesIO()
    Pickler(data, 2).dump(value(Rebuilt))
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", data.getvalue())
    return buffer.getvalue()


def test_the_state_of_an_optimizer_is_no_parameter_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def checkpoint(tensor: Callable[[int], Any]) -> Any:
        adam = {"state": {0: {"exp_avg": tensor(8), "exp_avg_sq": tensor(8)}}, "param_groups": [{"params": [0]}]}
        return {"epoch": 3, "generator": {"weight": tensor(8)}, "optim": adam}

    assert look(**{"model.pt": saved(monkeypatch, checkpoint)}).parameter_count == 8


def test_parts_of_llama_are_not_counted_as_they_have_tensors_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    part = saved(monkeypatch, lambda tensor: {"norm": tensor(3), "wq": tensor(16)})
    assert look(**{"consolidated.00.pth": part}).parameter_count == 19
    assert look(**{"consolidated.00.pth": part, "consolidated.01.pth": part}).parameter_count is None


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A message of protobuf, of numbers and lengths below 128."""
    return b"".join(
        bytes([number << 3, value]) if isinstance(value, int) else bytes([number << 3 | 2, len(value)]) + value
        for number, value in fields
    )


def test_onnx_counts_weights_and_tells_nothing_where_nodes_have_some() -> None:
    floats, more, one = (message((1, size), (2, 1)) for size in (6, 4, 1))
    shape = message((1, 2), (2, 7))

    def count(*nodes: bytes) -> int | None:
        graph = message((5, floats), (5, shape), *((1, message((5, node))) for node in nodes))
        return look(**{"a.onnx": message((7, graph))}).parameter_count

    assert count() == 6
    assert count(message((5, one)), message((5, shape))) == 6
    assert count(message((5, more))) is None
    assert count(message((6, message((5, more))))) is None
    assert count(message((6, message((1, message((5, message((5, more))))))))) is None


def test_onnx_tells_versions_inputs_outputs_and_parameters() -> None:
    found = look_at("linear.onnx")
    assert found.versions["ONNX opset"] == "17"
    assert list(found.inputs) == [Value("x", "float32", (None, 3))]
    assert list(found.outputs) == [Value("y", "float32", (None, 2))]
    assert found.parameter_count == 6


def test_gguf_tells_architecture_context_licence_and_parameters() -> None:
    found = look_at("tiny.gguf")
    assert found.facts["gguf.architecture"] == "llama"
    assert found.facts["gguf.context_length"] == "4096"
    assert (found.licence, found.parameter_count) == ("mit", 32)


def test_gguf_keeps_no_more_than_is_told() -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    many = b"".join(
        text(b"%d.%s" % (i, b"k" * 4_000)) + struct.pack("<I", 8) + text(b"v" * 4_000) for i in range(2_000)
    )
    many += b"".join(text(b"%d.context_length" % i) + struct.pack("<I", 8) + text(b"v" * 4_000) for i in range(2_000))
    last = text(b"general.name") + struct.pack("<I", 8) + text(b"tiny")
    data = Memory({"a.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 4_001) + last + many})
    tracemalloc.start()
    try:
        found = detect(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.facts["gguf.name"] == "tiny"
    assert peak < 8 * 2**20


def test_gguf_may_say_its_architecture_after_its_context() -> None:
    def pair(key: bytes, value: bytes) -> bytes:
        return struct.pack("<Q", len(key)) + key + value

    context = pair(b"llama.context_length", struct.pack("<II", 4, 8_192))
    architecture = pair(b"general.architecture", struct.pack("<IQ", 8, 5) + b"llama")
    found = look(**{"a.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + context + architecture})
    assert found.facts["gguf.context_length"] == "8192"


def test_a_saved_model_tells_its_signature_and_counts_its_variables() -> None:
    found = detect(Memory({path: data for path, data in REAL.items() if path.startswith("saved/")}))
    assert found.versions["TensorFlow"] == "2.21.0"
    assert list(found.inputs) == [Value("x", "float32", (None, 3))]
    assert list(found.outputs) == [Value("y", "float32", (None, 2))]
    assert found.parameter_count == 6


def index(**variables: int) -> bytes:
    """An index of TensorFlow's variables, of few floats each, whose names have `__` in the place of `/`."""

    def table(entries: Mapping[bytes, bytes]) -> bytes:
        rows = (bytes([0, len(key), len(value)]) + key + value for key, value in entries.items())
        return b"".join(rows) + struct.pack("<II", 0, 1)

    def number(value: int) -> bytes:
        return bytes([value & 127 | 128, value >> 7])

    shapes = {name: message((2, message((1, size)))) for name, size in variables.items()}
    names = {name.replace("__", "/").encode(): message((1, 1), (2, shape)) for name, shape in shapes.items()}
    block = table(names)
    blocks = table({b"z": number(0) + number(len(block))})
    place = number(0) * 2 + number(len(block) + 5) + number(len(blocks))
    return block + bytes(5) + blocks + bytes(5) + place.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def test_the_variables_of_a_model_that_keras_exported_are_counted_once() -> None:
    variables = index(_all_variables__0=6, _all_variables__1=2, variables__0=2, variables__1=6)
    found = look(**{"saved_model.pb": b"", "variables/variables.index": variables})
    assert (found.parameter_count, found.notes) == (8, [])


def test_keras_and_gradient_boosting_are_known_by_their_own_files() -> None:
    assert look_at("dense.keras").inputs == [Value("features", "float32", (None, 3))]
    assert look_at("boosted.json").versions["XGBoost"] == look_at("boosted.ubj").versions["XGBoost"] == "3.2.0"
    assert list(look_at("light.txt").inputs) == FEATURES


def test_an_mlmodel_tells_flavours_run_and_signature() -> None:
    text = b"""flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.4}
  sklearn: {sklearn_version: 1.5.2}
mlflow_version: 2.17.0
run_id: 4f1c
model_uuid: 77aa
signature:
  inputs: '[{"type": "double", "name": "age"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 2]}}]'
"""
    found = look(MLmodel=text)
    assert found.frameworks == ["scikit-learn"]
    assert found.versions == {"MLflow": "2.17.0", "Python": "3.11.4", "scikit-learn": "1.5.2"}
    assert (found.facts["mlflow.run_id"], found.facts["mlflow.model_uuid"]) == ("4f1c", "77aa")
    assert list(found.inputs) == [Value("age", "double")]
    assert list(found.outputs) == [Value("", "int64", (None, 2))]


def test_an_mlmodel_tells_what_types_hold_what_may_be_missing_and_parameters() -> None:
    text = b"""model_id: null
model_uuid: ~
artifact_path:
run_id: 'null and void'
signature:
  inputs: '[{"type": "array", "items": {"type": "object", "properties": {"n": {"type": "long", "required": false},
    "role": {"type": "string", "required": true}}}, "name": "history", "required": true},
    {"type": "map", "values": {"type": "double"}, "name": "prices"},
    {"type": "double", "name": "age", "required": false}]'
  outputs: null
  params: '[{"name": "temperature", "default": 0.5, "shape": null, "type": "double"},
    {"name": "stop", "default": ["a"], "shape": [-1], "type": "string"}]'
"""
    found = look(MLmodel=text)
    assert list(found.inputs) == [
        Value("history", "array(object(n: optional(long), role: string))"),
        Value("prices", "map(double)"),
        Value("age", "optional(double)"),
    ]
    assert found.facts == {
        "mlflow.run_id": "null and void",
        "mlflow.params": 'temperature: double = 0.5, stop: array(string) = ["a"]',
    }


def test_hugging_face_files_tell_architecture_base_model_and_licence() -> None:
    found = detect(
        Memory(
            {
                "config.json": b'{"architectures":["BertModel"],"model_type":"bert","transformers_version":"4.44.0"}',
                "adapter_config.json": b'{"peft_type":"LORA","base_model_name_or_path":"google/bert"}',
                "README.md": b"---\nlicense: apache-2.0\ndatasets:\n- squad\n---\n# Card\n",
            }
        )
    )
    assert set(found.frameworks) == {"Transformers", "PEFT"}
    assert found.facts["transformers.architectures"] == "BertModel"
    assert (found.base_models, found.datasets, found.licence) == (["google/bert"], ["squad"], "apache-2.0")


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("inner/weights.dat", data)
    return buffer.getvalue()


def keras(*members: tuple[str, Any]) -> bytes:
    """A `.keras` archive with members, of which those that are no text are written as JSON."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        archive.writestr("metadata.json", '{"keras_version": "3.8.0"}')
        for name, value in members:
            archive.writestr(name, value if isinstance(value, str) else orjson.dumps(value))
    return buffer.getvalue()


def layer(module: str | None, name: str, /, **config: Any) -> dict[str, Any]:
    """A model with one layer, as Keras writes it."""
    one = {"module": module, "class_name": name, "config": config}
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": [one]}}


PLAIN = layer("keras.layers", "Dense", units=1, activation="relu")
CODE = {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}


@pytest.mark.parametrize(
    ("config", "verdict", "name"),
    [
        (layer("keras.layers", "Lambda", function=CODE), Verdict.SUSPICIOUS, "marshal.loads"),
        (layer("keras.layers", "Dense", units=1, activation=CODE), Verdict.SUSPICIOUS, "marshal.loads"),
        (layer("subprocess", "Popen"), Verdict.DANGEROUS, "subprocess.Popen"),
        (layer("mine.layers", "Attention"), Verdict.SUSPICIOUS, "mine.layers.Attention"),
        (
            layer("keras.layers", "Dense", activation={"module": "os", "class_name": "function", "config": "system"}),
            Verdict.DANGEROUS,
            "os.system",
        ),
        (
            layer("keras.layers", "Dense", spec={"module": "os", "class_name": "__typespec__", "spec_name": "system"}),
            Verdict.DANGEROUS,
            "os.system",
        ),
        ({"module": "builtins", "class_name": "function", "config": "exec"}, Verdict.DANGEROUS, "builtins.exec"),
        (
            {"module": "keras.utils", "class_name": "function", "config": "get_file"},
            Verdict.DANGEROUS,
            "keras.utils.get_file",
        ),
        (
            {"module": "keras.saving", "class_name": "function", "config": "load_model"},
            Verdict.SUSPICIOUS,
            "keras.saving.load_model",
        ),
        (layer("keras.layers", "TorchModuleWrapper", module=None), Verdict.SUSPICIOUS, "torch.load"),
        (layer(None, "TFSMLayer", filepath="saved"), Verdict.SUSPICIOUS, "tensorflow.saved_model.load"),
        (
            layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
            Verdict.SUSPICIOUS,
            "tensorflow.io.gfile.GFile",
        ),
    ],
    ids=[
        "layer",
        "function",
        "class",
        "own class",
        "imported function",
        "type",
        "builtin",
        "of Keras",
        "of Keras, but of no model",
        "PyTorch",
        "SavedModel",
        "vocabulary",
    ],
)
def test_what_a_keras_archive_imports_is_judged(config: dict[str, Any], verdict: Verdict, name: str) -> None:
    for written in ({"m.keras": keras(("config.json", config))}, {"m/config.json": orjson.dumps(config)}):
        found = look(**written)
        assert found.pickles is verdict
        assert name in {each.name for each in found.imports}


@pytest.mark.parametrize(
    "config",
    [
        b'{"rate": NaN, "layers": [%s]}',
        b'[{"layer": %s}]',
    ],
    ids=["no class of its own", "a list"],
)
def test_whatever_keras_makes_objects_of_in_a_folder_is_judged(config: bytes) -> None:
    evil = config % orjson.dumps(layer("keras.layers", "Lambda", function=CODE))
    assert look(**{"config.json": evil}).pickles is Verdict.SUSPICIOUS
    assert look(**{"config.json": evil + b" " * (4 * 2**20)}).pickles is Verdict.UNSCANNED
    many = {f"{i:04}.pkl": b"" for i in range(1_001)}
    assert look(**many, **{"config.json": evil}).pickles is Verdict.UNSCANNED


def test_a_folder_of_keras_is_told_from_one_of_hugging_face() -> None:
    model = PLAIN | {"registered_name": None}
    found = look(**{"config.json": orjson.dumps(model), "metadata.json": b"{}"})
    assert (found.frameworks, found.formats, found.pickles) == (["Keras"], ["Keras folder"], Verdict.NONE)
    found = look(**{"config.json": b'{"model_type": "mamba2", "time_step_limit": [0.0, Infinity]}'})
    assert (found.formats, found.pickles) == ([], Verdict.NONE)
    assert look(**{"config.json": b"no JSON"}).pickles is Verdict.NONE


@pytest.mark.parametrize(
    ("wrap", "verdict"),
    [(bytes, Verdict.DANGEROUS), (zipped, Verdict.UNSCANNED), (lambda data: b"", Verdict.UNSCANNED)],
    ids=["as it is", "archive", "empty"],
)
def test_the_pickle_in_a_layer_of_keras_is_scanned(
    tmp_path: Path, wrap: Callable[[bytes], bytes], verdict: Verdict
) -> None:
    module = base64.b64encode(wrap(pickle.dumps(Evil(tmp_path / "ran")))).decode()
    found = look(**{"m.keras": keras(("config.json", layer("keras.layers", "TorchModuleWrapper", module=module)))})
    assert found.pickles is verdict
    assert "torch.load" in {each.name for each in found.imports}


def test_a_model_of_keras_in_hdf5_is_unscanned() -> None:
    for name in ("model.h5", "model.hdf5", "model.keras"):
        found = look(**{name: b"\x89HDF\r\n\x1a\n" + bytes(100)})
        assert (found.frameworks, found.formats, found.pickles) == (["Keras"], ["HDF5"], Verdict.UNSCANNED)
        assert found.notes[0].startswith(f"{name}: it is HDF5, which is not looked into")
    assert look(**{"model.weights.h5": b"\x89HDF\r\n\x1a\n"}).pickles is Verdict.NONE


def test_what_is_keras_own_is_no_import() -> None:
    loss = {"module": "builtins", "class_name": "function", "config": "mse", "registered_name": "function"}
    words = layer("keras.layers", "StringLookup", vocabulary=["a", "b"])
    for config in (PLAIN, layer("keras.layers", "Dense", loss=loss), layer(None, "Dense"), words):
        assert look(**{"m.keras": keras(("config.json", config))}).pickles is Verdict.NONE


def test_the_configuration_that_keras_reads_is_the_one_that_is_judged() -> None:
    evil = layer("keras.layers", "Lambda", function=CODE)
    found = look(**{"m.keras": keras(("x/config.json", PLAIN), ("config.json", evil))})
    assert found.pickles is Verdict.SUSPICIOUS
    found = look(**{"m.keras": keras(("config.json", evil), ("metadata.json", "{"))})
    assert found.imports
    appended = io.BytesIO(b"#!\n")
    with zipfile.ZipFile(appended, "a") as archive:
        archive.writestr("config.json", orjson.dumps(evil))
    assert look(**{"m.keras": appended.getvalue()}).pickles is Verdict.SUSPICIOUS


@pytest.mark.parametrize(
    "members",
    [
        [("config.json", PLAIN), ("config.json", PLAIN)],
        [("config.json", orjson.dumps(PLAIN).decode() + " " * (4 * 2**20 + 1))],
        [("config.json", "[]")],
        [("metadata.json", "{}"), ("config.json", PLAIN)],
    ],
    ids=["twice", "too large", "no object", "metadata twice"],
)
def test_a_keras_archive_whose_configuration_cannot_be_told_is_unscanned(members: list[tuple[str, Any]]) -> None:
    found = look(**{"m.keras": keras(*members)})
    assert found.pickles is Verdict.UNSCANNED
    assert found.notes[0].startswith("m.keras")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [bytes, zlib.compress, zipped, lambda data: zipped(data, zipfile.ZIP_STORED)])
@pytest.mark.parametrize("name", ["model.pkl", "model.bin", "picture.jpg"])
def test_a_malicious_pickle_is_dangerous_wherever_it_hides_and_never_runs(
    tmp_path: Path, protocol: int, wrap: Callable[[bytes], bytes], name: str
) -> None:
    marker = tmp_path / "ran"
    found = look(**{name: wrap(pickle.dumps(Evil(marker), protocol))})
    assert found.pickles is Verdict.DANGEROUS
    assert found.imports[0].name in {"posix.system", "nt.system"}
    assert not marker.exists()


def test_a_pickle_that_breaks_after_it_ran_is_dangerous_all_the_same(tmp_path: Path) -> None:
    found = look(**{"model.pkl": pickle.dumps(Evil(tmp_path / "ran"))[:-1] + b"\xff\xff"})
    assert found.pickles is Verdict.DANGEROUS
    assert found.notes[0].startswith("model.pkl: ")


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R.",
        b"\x80\x04S'o\\x73'\nS'system'\n\x93\x8c\x04true\x85R.",
        b"\x80\x04\x8c\rsklearn.utils\x8c\x10joblib.os.system\x93\x8c\x04true\x85R.",
        b"\x80\x02cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85R.",
        b"\x80\x02ccommands\ngetoutput\nX\x02\x00\x00\x00ls\x85R.",
    ],
    ids=["GLOBAL", "INST", "memo", "escaped", "attributes", "import", "python 2"],
)
def test_no_way_of_writing_an_import_hides_it(data: bytes) -> None:
    assert look(**{"model.pkl": data}).pickles is Verdict.DANGEROUS


def test_arrays_of_joblib_hide_no_opcodes_from_plain_pickle() -> None:
    sample = REAL["forest.joblib"]
    end_of_wrapper = b"K\x10ub"  # an alignment of 16, SETITEMS, BUILD
    at = sample.index(end_of_wrapper) + len(end_of_wrapper)
    found = look(**{"forest.joblib": sample[:at] + b"cos\nsystem\n(S'true'\ntR." + sample[at:]})
    assert found.pickles is Verdict.DANGEROUS


def test_what_nobody_knows_is_suspicious_and_what_cannot_be_told_is_worse() -> None:
    assert look(**{"a.pkl": b"cmine\nThing\n)R."}).pickles is Verdict.SUSPICIOUS
    assert look(**{"a.pkl": b"\x80\x04\x82\x01)R."}).pickles is Verdict.UNSCANNED


def test_a_member_that_cannot_be_read_is_called_unscanned() -> None:
    found = look(**{"a.zip": zipped(pickle.dumps([1]), zipfile.ZIP_LZMA)})
    assert found.pickles is Verdict.UNSCANNED
    assert found.notes


def test_bombs_of_every_kind_end_as_notes_within_bounded_memory() -> None:
    bombs = {
        "bomb.pkl": zlib.compress(b"\x80\x04" + b"]" * 50_000_000),
        "deep.pkl": b"\x80\x04)" + b"\x85" * 600_000 + b".",
        "MLmodel": b"[" * 400_000,
        "config.json": b"[" * 1_000_000,
        "model.safetensors": struct.pack("<Q", 2**62) + b"{}",
        "a.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
        "a.onnx": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    }
    tracemalloc.start()
    try:
        found = detect(Memory(bombs))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 * 2**20
    assert {note.split(":")[0] for note in found.notes} >= set(bombs) - {"deep.pkl"}
    assert found.pickles is Verdict.UNSCANNED


@pytest.mark.parametrize(
    "text", [b"<PMML " * 3_000, b'<PMML version="4"><Application name="a" ' + b'<Application name="a" ' * 700]
)
def test_xml_of_many_beginnings_is_searched_in_no_time(text: bytes) -> None:
    start = time.process_time()
    found = detect(Memory({f"{i}.pmml": text for i in range(20)}))
    assert time.process_time() - start < 5
    assert found.formats == ["PMML"]


WORD = b"\x8c\xfe" + "😀".encode() + b"a" * 250


@pytest.mark.parametrize(
    "pickles",
    [
        (b"\x80\x04" + (WORD + b"\x940") * 4_000 + b"N.") * 200,
        b"\x80\x04" + WORD * 190_000 + (WORD + b"\x940") * 190_000,
        (b"\x80\x04]" + b"\x8a\xff" + b"\x01" * 255 + b"a.") * 900,
        b"".join(b"c%x%s\n%s\n0" % (i, b"m" * 900, b"n" * 900) for i in range(20_000)) + b"N.",
    ],
    ids=["memos", "stack", "numbers", "imports"],
)
def test_all_the_pickles_of_a_file_are_looked_at_within_bounded_memory(pickles: bytes) -> None:
    bomb = Memory({"bomb.pkl": zlib.compress(pickles)})
    tracemalloc.start()
    try:
        detect(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 128 * 2**20


def test_no_more_imports_are_judged_than_are_told_of_one_artifact() -> None:
    files = {
        f"{i}.pkl": b"".join(b"cmine\n%x\n0" % number for number in range(9_000 * i, 9_000 * (i + 1))) + b"N."
        for i in range(3)
    }
    found = detect(Memory(files))
    assert len(found.imports) == 10_000
    assert found.pickles is Verdict.UNSCANNED
    assert detect(Memory(dict.fromkeys(map("{}.pkl".format, range(3)), files["0.pkl"]))).pickles is Verdict.SUSPICIOUS


def test_a_look_that_is_stopped_ends_though_it_reads_no_more() -> None:
    class Stopped(Memory):
        def fetch(self, path: str, start: int, size: int) -> bytes:
            data = super().fetch(path, start, size)
            self.stopped = start + size == len(self.contents[path])
            return data

    source = Stopped({"a.pkl": b"\x80\x04" + b"N0" * 1_000_000 + b"N."})
    found = detect(source)
    assert found.pickles is Verdict.UNSCANNED
    assert source.stopped


HARM = b"cposix\nsystem\n(S'true'\ntR."


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ({"z/evil.csv": HARM}, Verdict.DANGEROUS),
        ({"z/evil.csv": b"(" + b"N" * 2_000 + HARM}, Verdict.DANGEROUS),
        ({"z/more.csv": b"a,b\n"}, Verdict.NONE),
        ({"z/empty.csv": b""}, Verdict.NONE),
    ],
)
def test_of_files_that_are_too_many_the_first_bytes_decide(last: dict[str, bytes], verdict: Verdict) -> None:
    files = Memory({f"{i:05}.csv": b"a,b\n" for i in range(9_000)} | last)
    files.ahead = {(path, 0): data[:512] for path, data in files.contents.items()}
    assert detect(files).pickles is verdict
    assert files.reads_left > MAX_READS - 10


def test_what_is_too_much_to_be_looked_at_is_unscanned() -> None:
    files = Memory({f"{i:05}.csv": b"a,b\n" for i in range(1_001)})
    assert detect(files).pickles is Verdict.UNSCANNED
    assert detect(files).notes
    files.ahead = {(path, 0): data[:512] for path, data in files.contents.items()}
    assert detect(files).pickles is Verdict.NONE
    files = Memory({f"{i:05}.bin": b"data" for i in range(1_001)})
    files.ahead = {(path, 0): data for path, data in files.contents.items()}
    assert detect(files).pickles is Verdict.UNSCANNED


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(REAL)), seed=st.integers(0, 2**32), cut=st.booleans())
def test_mutated_real_files_never_raise(name: str, seed: int, cut: bool) -> None:
    chance = random.Random(seed)
    data = bytearray(REAL[name])
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    if cut:
        del data[chance.randrange(len(data)) :]
    source = Memory({name: bytes(data)})
    detect(source)
    assert source.reads_left >= 0


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["a.pkl", "a.pt", "a.npy", "a.onnx", "a.gguf", "a.safetensors", "MLmodel", "saved_model.pb"]),
    head=st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"GGUF\x03\0\0\0", b"\x93NUMPY\x01\0", b"BZh9", b"{"]),
    rest=st.binary(max_size=400),
)
def test_random_bytes_never_raise(name: str, head: bytes, rest: bytes) -> None:
    detect(Memory({name: head + rest}))


# ── What is kept of it ────────────────────────────────────────────────────────────────────────────


def check_kept(found: Detected) -> None:
    """Raises where the graph could not keep what was found."""
    artifact = {"digest": "sha256:0", **artifact_props(found)}
    orjson.dumps(validation.properties(ontology.ARTIFACT, artifact, complete=True))
    orjson.dumps(validation.properties(ontology.MODEL_VERSION, version_props(found, {})))


TEXTS = st.text(max_size=8) | st.sampled_from(["\0", "a\ud800", "9" * 20, "😀" * 600, "\n", ""])
NUMBERS = st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**64), 10**99]) | st.floats()
SAID = TEXTS | NUMBERS | st.none()
SHAPES = st.none() | st.lists(NUMBERS | st.none() | TEXTS, max_size=3)
VALUES = st.lists(st.builds(Value, TEXTS, TEXTS, SHAPES.map(lambda each: each if each is None else tuple(each))))


@settings(max_examples=300, deadline=None)
@given(said=st.lists(SAID, min_size=9, max_size=9), inputs=VALUES, outputs=VALUES, name=TEXTS, count=st.integers(0))
def test_whatever_is_found_can_be_kept(
    said: list[Any], inputs: list[Value], outputs: list[Value], name: str, count: int
) -> None:
    found = Found()
    found.framework(name, said[0])
    found.format(name, said[1])
    found.version(name, said[2])
    found.fact(name, said[3])
    found.base_model(said[:3])
    found.dataset(said[4])
    found.licence(said[5])
    found.signature(inputs, outputs)
    found.parameters(name, name, count)
    found.pickle(Verdict.DANGEROUS, [Import(name, Verdict.DANGEROUS, name)])
    found.note(name, str(said[6]))
    check_kept(found.done())


def test_as_much_as_is_found_can_be_kept() -> None:
    found = Found()
    for i in range(2_000):
        name = f"{i}" + "😀" * 500
        found.format(f"{i % 50}")
        found.version(name, name)
        found.fact(name, name)
        found.base_model(name)
        found.dataset(name)
        found.note(name, name)
        found.pickle(Verdict.DANGEROUS, [Import(name, Verdict.DANGEROUS, name)])
    found.licence("😀" * 600)
    values = [Value('"' * 500, "😀" * 500, (2**63 - 1,) * 64)] * 20_000
    found.signature(values, values)
    check_kept(found.done())


@pytest.mark.parametrize("number", ["9" * 20, "9" * 100, "9" * 5_000])
def test_a_number_of_features_that_cannot_be_is_not_told(number: str) -> None:
    skops = io.BytesIO()
    with zipfile.ZipFile(skops, "w") as archive:
        tree: dict[str, Any] = {"content": {"content": {"n_features_in_": {"content": number}}}}
        tree |= {"_skops_version": "1", "__module__": "sklearn.a", "__class__": "B"}
        archive.writestr("schema.json", orjson.dumps(tree))
    boosted = orjson.dumps({"learner": {"learner_model_param": {"num_feature": number}}, "version": [1, 2, 3]})
    for name, data in {"m.json": boosted, "m.skops": skops.getvalue()}.items():
        check_kept(detect(Memory({name: data})))


@pytest.mark.parametrize("module", ["a\0b", "a\ud800b", "a\nb"])
def test_what_is_imported_by_an_unprintable_name_is_told_without_it(module: str) -> None:
    name = module.encode("utf-8", "surrogatepass")
    found = look(**{"m.pkl": b"\x80\x04\x8c" + bytes([len(name)]) + name + b"\x8c\x01c\x93."})
    assert [each.name for each in found.imports] == ["a b.c"]
    check_kept(found)


def test_a_model_of_thousands_of_features_is_told_whole() -> None:
    names = [f"feature_{i}" for i in range(5_000)]
    found = look(**{"m.json": orjson.dumps({"learner": {"feature_names": names}, "version": [1, 2, 3]})})
    assert [each.name for each in found.inputs] == names
    check_kept(found)
