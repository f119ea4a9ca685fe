"""MLflow: the file `MLmodel`, in YAML, that names flavours, signature and run."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
import yaml

from storage.formats.finding import MAX_VALUES, Found, Value, shape
from storage.formats.reading import Budget, File, Unreadable

_MAX_YAML: Final = 512 * 2**10
_MAX_DEPTH: Final = 20
_STEPS: Final = 200
"""What a part of YAML costs of a look's budget: each takes PyYAML some 40 microseconds."""
_LIBRARIES: Final = {
    "sklearn": ("scikit-learn", "sklearn_version"), "pytorch": ("PyTorch", "pytorch_version"),
    "tensorflow": ("TensorFlow", "tf_version"), "keras": ("Keras", "keras_version"),
    "transformers": ("Transformers", "transformers_version"), "xgboost": ("XGBoost", "xgb_version"),
    "lightgbm": ("LightGBM", "lgb_version"), "catboost": ("CatBoost", "catboost_version"),
    "onnx": ("ONNX", "onnx_version"), "spark": ("Spark MLlib", "pyspark_version"), "spacy": ("spaCy", "spacy_version"),
    "statsmodels": ("statsmodels", "statsmodels_version"), "prophet": ("Prophet", "prophet_version"),
    "sentence_transformers": ("Sentence Transformers", "sentence_transformers_version"),
    "langchain": ("LangChain", "langchain_version"),
    "h2o": ("H2O", "h2o_version"), "openai": ("OpenAI", "openai_version"),
    "paddle": ("PaddlePaddle", "paddle_version"), "pmdarima": ("pmdarima", "pmdarima_version"),
    "diviner": ("Diviner", "diviner_version"), "dspy": ("DSPy", "dspy_version"),
}  # fmt: skip


class _Loader(yaml.BaseLoader):
    """Every scalar is a text, but for null: nothing else is resolved, merged or built.

    Aliases are refused, as they multiply.
    """

    def __init__(self, data: bytes, budget: Budget) -> None:
        super().__init__(data)
        self._budget = budget

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._budget.step(_STEPS)
        if self.check_event(yaml.AliasEvent):
            raise Unreadable("it has YAML aliases, which are not followed")
        return super().compose_node(parent, index)


_NULL: Final = "tag:yaml.org,2002:null"
_Loader.add_implicit_resolver(_NULL, re.compile("~|null|Null|NULL|"), ["~", "n", "N", ""])
_Loader.add_constructor(_NULL, lambda loader, node: None)  # noqa: ARG005 - as PyYAML calls it


def claims(file: File) -> bool:
    """By its name."""
    return file.name == "MLmodel"


def read(file: File, found: Found) -> None:
    """Flavours with their libraries and versions, run, model, inputs and outputs."""
    model = load(file.whole(_MAX_YAML), file.budget)
    found.format("MLflow")
    found.version("MLflow", model.get("mlflow_version"))
    flavours = model.get("flavors")
    if not isinstance(flavours, dict):
        flavours = {}
    for name, flavour in flavours.items():
        _flavour(name, flavour if isinstance(flavour, dict) else {}, found)
    found.fact("mlflow.flavors", ", ".join(map(str, flavours)))
    for name in ("run_id", "model_uuid", "model_id", "utc_time_created", "artifact_path"):
        found.fact(f"mlflow.{name}", model.get(name))
    signature = model.get("signature")
    if isinstance(signature, dict):
        found.signature(_values(signature.get("inputs")), _values(signature.get("outputs")))
        found.fact("mlflow.params", ", ".join(map(_param, _columns(signature.get("params")))))


def _flavour(name: str, flavour: dict[str, Any], found: Found) -> None:
    if name == "python_function":
        found.version("Python", flavour.get("python_version"))
        found.fact("mlflow.loader_module", flavour.get("loader_module"))
    elif name in _LIBRARIES:
        library, version = _LIBRARIES[name]
        found.framework(library, flavour.get(version))
    if name == "transformers":
        found.base_model(flavour.get("source_model_name"))


def _values(columns: Any) -> list[Value]:
    return [_value(each) for each in _columns(columns)]


def _columns(columns: Any) -> list[dict[str, Any]]:
    """A part of a signature: a list, as JSON, of named columns, of tensors or of parameters."""
    if not isinstance(columns, str):
        return []
    listed = orjson.loads(columns)
    return [each for each in listed[:MAX_VALUES] if isinstance(each, dict)]


def _value(column: dict[str, Any]) -> Value:
    name, tensor = str(column.get("name", "")), column.get("tensor-spec")
    if isinstance(tensor, dict):
        return Value(name, str(tensor.get("dtype", "")), shape(tensor.get("shape")))
    type = _type(column)
    return Value(name, _optional(type, column.get("required")))


def _type(said: dict[str, Any], depth: int = 0) -> str:
    """A type in one text, such as `array(object(role: string, n: optional(long)))`."""
    kind = str(said.get("type", ""))
    inner = said.get("items") if kind == "array" else said.get("values") if kind == "map" else None
    if depth == _MAX_DEPTH:
        return kind
    if isinstance(inner, dict):
        return f"{kind}({_type(inner, depth + 1)})"
    fields = said.get("properties")
    if not isinstance(fields, dict):
        return kind
    types = {name: (_type(each, depth + 1), each.get("required")) for name, each in fields.items()}
    return f"{kind}({', '.join(f'{name}: {_optional(*each)}' for name, each in types.items())})"


def _optional(type: str, required: Any) -> str:
    return f"optional({type})" if required is False else type


def _param(said: dict[str, Any]) -> str:
    """A parameter with its type and what it is unless it is given: `temperature: double = 0.5`."""
    type = str(said.get("type", ""))
    type = f"array({type})" if said.get("shape") is not None else type
    return f"{said.get('name', '')}: {type} = {orjson.dumps(said.get('default')).decode()}"


def load(data: bytes, budget: Budget) -> dict[str, Any]:
    """A YAML mapping, all of whose scalars are texts. Raises Unreadable: it is none, or has too many parts."""
    try:
        value = _Loader(data, budget).get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise Unreadable("it is not YAML that can be read") from error
    if not isinstance(value, dict):
        raise Unreadable("it is YAML, but no mapping")
    return value
