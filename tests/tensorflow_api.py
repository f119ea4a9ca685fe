"""The package with TensorFlow Serving's API, without TensorFlow, which it would need to be imported."""

from __future__ import annotations

from pathlib import Path

from tests.environments import environment

PACKAGE = "tensorflow-serving-api==2.21.0"


def tensorflow_api_python() -> Path:
    """The Python beside whose packages it is."""
    return environment("tensorflow-serving-api", "--no-deps", PACKAGE)
