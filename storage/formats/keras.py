"""Keras: version 3's `.keras` archives, folders of what they have, and HDF5 files, of which only the kind is told.

Of a folder Keras wants no more than a `config.json`, which Hugging Face has as well: each is judged, and called Keras'
where it says so.

A Lambda layer carries compiled Python in its configuration, and so does any function that was written as one. Keras
only runs it where the caller turns its safe mode off, so it counts as an import of `marshal.loads` that is suspicious.
Classes and functions of other modules than its own are imported by their names, as they are by a pickle.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from typing import Any, Final

from storage.formats.finding import Found, Import, Value, Verdict, shape
from storage.formats.judging import severity
from storage.formats.reading import File
from storage.formats.symbols import Global

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
CONFIG: Final = "config.json"


def claims(file: File) -> bool:
    """A zip archive by the name of Keras, HDF5 by name and magic number, or what may be a folder's configuration."""
    if file.name == CONFIG:
        return True
    if file.head.startswith(_HDF5) and file.suffix in {".h5", ".hdf5"}:
        return not file.name.endswith(".weights.h5")
    return file.suffix == ".keras" and (file.head.startswith(_HDF5) or bool(file.members))


def read(file: File, found: Found) -> None:
    """Version, class, inputs, and what it imports.

    Raises Unreadable: what it imports cannot be told.
    """
    if file.name == CONFIG:
        _folder(file, found)
        return
    found.framework("Keras")
    if file.suffix != ".keras" or not file.members:
        found.format("HDF5")
        return
    found.format("Keras archive")
    # What it imports comes first: Keras does without the metadata.
    if (config := file.only(CONFIG)) is not None:
        _model(config, config.json(), found)
    if (metadata := file.only("metadata.json")) is not None:
        found.version("Keras", metadata.json().get("keras_version"))


def _folder(config: File, found: Found) -> None:
    """The configuration of a folder's model, read as Keras does: with `NaN`, which is no JSON."""
    try:
        model = json.loads(config.whole())
    except json.JSONDecodeError:
        return
    if isinstance(model, dict) and isinstance(model.get("class_name"), str) and "registered_name" in model:
        found.framework("Keras")
        found.format("Keras folder")
    _model(config, model, found)


def _model(config: File, model: Any, found: Found) -> None:
    layers = list(_layers(model))
    _judge(config, layers, found)
    if layers and layers[0] is model:
        found.fact("keras.class", model["class_name"])
    found.signature([value for layer in layers if (value := _input(layer)) is not None], [])


def _layers(model: Any) -> Iterator[dict[str, Any]]:
    """All objects of the configuration that say their class."""
    left: list[Any] = [model]
    for node in left:
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node
            left += node.values()
        elif isinstance(node, list):
            left += node


def _judge(config: File, layers: list[dict[str, Any]], found: Found) -> None:
    imports = [Import(str(each), severity(each), config.label) for layer in layers for each in _imported(config, layer)]
    if any(layer["class_name"] in {"Lambda", "__lambda__"} for layer in layers):
        found.note(config.label, "it has a Lambda layer or function, which carries compiled Python")
        imports.append(Import("marshal.loads", Verdict.SUSPICIOUS, config.label))
    for each in imports:
        found.pickle(each.severity, [each])


def _imported(config: File, layer: dict[str, Any]) -> Iterator[Global]:
    """What Keras imports for an object of the configuration: a class, or the function or type that it names."""
    module = layer.get("module")
    for name in (layer["class_name"], layer.get("config"), layer.get("spec_name")):
        if isinstance(module, str) and isinstance(name, str) and not _own(module, name):
            config.budget.imports(one := Global(module, name))
            yield one


def _own(module: str, name: str) -> bool:
    """Whether it is Keras' own, and harmless; of functions it calls its own `builtins`, too."""
    if module.partition(".")[0] == "keras":
        return severity(Global(module, name)) is not Verdict.DANGEROUS
    return module == "builtins" and not hasattr(builtins, name)


def _input(layer: dict[str, Any]) -> Value | None:
    config = layer.get("config")
    if layer["class_name"] != "InputLayer" or not isinstance(config, dict):
        return None
    sizes = config.get("batch_shape") or config.get("batch_input_shape")
    return Value(str(config.get("name", "")), str(config.get("dtype", "")), shape(sizes))
