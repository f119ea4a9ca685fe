# mypy: ignore-errors
"""Makes small real files by the libraries themselves: `python make_sklearn.py FOLDER`.

It needs scikit-learn, skops, onnx, safetensors, gguf, lightgbm and xgboost.
"""

import pickle
import sys
from pathlib import Path

import gguf
import joblib
import lightgbm
import numpy as np
import onnx
import pandas as pd
import skops.io
import xgboost
from onnx import TensorProto, helper
from safetensors.numpy import save_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

out = Path(sys.argv[1])
rows = np.random.default_rng(0).normal(size=(40, 3))
labels = (rows[:, 0] > 0).astype(int)
frame = pd.DataFrame(rows, columns=["age", "height", "weight"])
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels)
forest = RandomForestClassifier(n_estimators=2, max_depth=2).fit(rows, labels)
for protocol in range(6):
    (out / f"pipeline.{protocol}.pkl").write_bytes(pickle.dumps(model, protocol))
joblib.dump(model, out / "pipeline.joblib")
for name, compress in {"zlib": ("zlib", 3), "gzip": ("gzip", 3), "bz2": ("bz2", 3), "xz": ("xz", 3)}.items():
    joblib.dump(forest, out / f"forest.{name}.joblib", compress=compress)
joblib.dump(forest, out / "forest.joblib")
skops.io.dump(model, out / "pipeline.skops")
np.save(out / "floats.npy", rows[:2])
np.save(out / "objects.npy", np.array(["a", 1, None], dtype=object))
save_file(
    {"a.weight": np.zeros((3, 4), np.float32), "a.bias": np.zeros(4, np.float32)},
    out / "model.safetensors",
    {"format": "pt"},
)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "linear",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    [helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)],
)
onnx.save(
    helper.make_model(graph, producer_name="lineal", opset_imports=[helper.make_opsetid("", 17)]), out / "linear.onnx"
)
writer = gguf.GGUFWriter(out / "tiny.gguf", "llama")
writer.add_context_length(4096)
writer.add_license("mit")
writer.add_file_type(0)
writer.add_chat_template("{{ messages }}")
writer.add_token_list(["a", "b"])
writer.add_tensor("w", np.zeros((4, 8), np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
boosted = xgboost.XGBClassifier(n_estimators=1, max_depth=1).fit(frame, labels)
boosted.save_model(out / "boosted.json")
boosted.save_model(out / "boosted.ubj")
light = lightgbm.LGBMClassifier(n_estimators=1, num_leaves=2, verbose=-1).fit(frame, labels)
light.booster_.save_model(out / "light.txt")
