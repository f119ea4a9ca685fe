"""A day of somebody who trains models: nothing here knows of Lineal but the address of the registry.

python day.py TRACKING REGISTRY
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import mlflow  # type: ignore[import-not-found]
import numpy as np  # type: ignore[import-not-found]
from mlflow import MlflowClient
from mlflow.store.artifact.mlflow_artifacts_repo import (  # type: ignore[import-not-found]
    MlflowArtifactsRepository,
)
from sklearn.linear_model import LinearRegression  # type: ignore[import-not-found]

TRACKING, REGISTRY = sys.argv[1:]
INPUT = np.array([[1.0], [2.0], [3.0]])
TARGETS = np.array([2.0, 4.1, 5.9])
MODEL = LinearRegression().fit(INPUT, TARGETS)
EXPECTED = MODEL.predict(INPUT).tolist()

mlflow.set_tracking_uri(TRACKING)
mlflow.set_registry_uri(REGISTRY)
client = MlflowClient()

with mlflow.start_run() as run:
    mlflow.log_param("fit_intercept", True)
    mlflow.log_input(mlflow.data.from_numpy(INPUT, targets=TARGETS, name="flats"), context="training")
    mlflow.sklearn.log_model(MODEL, name="model", registered_model_name="prices")
client.set_registered_model_alias("prices", "champion", "1")
loaded = mlflow.pyfunc.load_model("models:/prices@champion").predict(INPUT).tolist()
version = client.get_model_version("prices", "1")

# Without any tracking server: the files go to the registry itself.
mlflow.set_tracking_uri(REGISTRY)
with tempfile.TemporaryDirectory() as folder:
    mlflow.sklearn.save_model(MODEL, str(Path(folder) / "model"))
    MlflowArtifactsRepository("mlflow-artifacts:/models/rents", REGISTRY).log_artifacts(str(Path(folder) / "model"))
MlflowClient().create_registered_model("rents")
kept = MlflowClient().create_model_version("rents", "mlflow-artifacts:/models/rents")
proxied = mlflow.pyfunc.load_model("models:/rents/1").predict(INPUT).tolist()

sys.stdout.write(
    json.dumps(
        {
            "expected": EXPECTED,
            "loaded": loaded,
            "proxied": proxied,
            "model": version.source,
            "run": run.info.run_id,
            "status": kept.status,
        }
    )
)
