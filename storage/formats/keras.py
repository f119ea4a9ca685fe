"""Keras: version 3's `.keras` archives, folders of what they have, and HDF5 files, of which only the kind is told.

HDF5 may have the same configuration as an archive, or none; as it is not looked into, it is unscanned.

Of a folder Keras wants no more than a `config.json`, which Hugging Face has as well: each is judged, and called Keras'
where it says so.

A Lambda layer carries compiled Python in its configuration, and so does any function that was written as one; others
carry a pickle, or name files. Keras only takes these where the caller turns its safe mode off, so each counts as an
import of what would load it, and is suspicious. The pickle is scanned as any other is.
Classes and functions of other modules than its own are imported by their names, as they are by a pickle.
"""

from __future__ import annotations

import base64
import binascii
import builtins
import json
from collections.abc import Iterator
from typing import Any, Final

from storage.formats import pickles
from storage.formats.finding import Found, Import, Value, Verdict, shape
from storage.formats.judging import severity
from storage.formats.reading import Bytes, File, Unclear
from storage.formats.symbols import Global

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
CONFIG: Final = "config.json"
_GUARDED: Final = {
    "Lambda": ("marshal.loads", "it has a Lambda layer or function, which carries compiled Python"),
    "__lambda__": ("marshal.loads", "it has a Lambda layer or function, which carries compiled Python"),
    "TorchModuleWrapper": ("torch.load", "it has a layer of PyTorch, which carries a pickle"),
    "TFSMLayer": ("tensorflow.saved_model.load", "it has a layer that loads a SavedModel by its path"),
}
"""What Keras loads with its safe mode off alone, by class: what it calls for it, and what it is in words."""
_VOCABULARY: Final = ("tensorflow.io.gfile.GFile", "it has a layer that reads its vocabulary from a file by its path")
_NO_PART_OF_MODELS: Final = frozenset({
    "audio_dataset_from_directory", "clear_session", "deserialize_keras_object", "enable_unsafe_deserialization",
    "get_file", "image_dataset_from_directory", "load_img", "load_model", "load_weights", "model_from_json",
    "register_keras_serializable", "save_img", "save_model", "save_weights", "serialize_keras_object",
    "text_dataset_from_directory",
})  # fmt: skip
"""Keras' functions that Keras itself refuses in a configuration, since 3.12: NON_MODELING_APIS, from any module."""


def claims(file: File) -> bool:
    """A zip archive by the name of Keras, HDF5 by name and magic number, or what may be a folder's configuration."""
    if file.name == CONFIG:
        return True
    if file.head.startswith(_HDF5) and file.suffix in {".h5", ".hdf5"}:
        return not file.name.endswith(".weights.h5")
    return file.suffix == ".keras" and (file.head.startswith(_HDF5) or bool(file.members))


def read(file: File, found: Found) -> None:
    """Version, class, inputs, and what it imports.

    Raises Unreadable: what it imports cannot be told, or it is HDF5.
    """
    if file.name == CONFIG:
        _folder(file, found)
        return
    found.framework("Keras")
    if file.suffix != ".keras" or not file.members:
        found.format("HDF5")
        raise Unclear("it is HDF5, which is not looked into, and a model of Keras in it may carry compiled Python")
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
    for layer in layers:
        _pickle(config, layer, found)


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
    for name, words in dict.fromkeys(one for layer in layers if (one := _guarded(layer)) is not None):
        found.note(config.label, words)
        imports.append(Import(name, Verdict.SUSPICIOUS, config.label))
    for each in imports:
        found.pickle(each.severity, [each])


def _guarded(layer: dict[str, Any]) -> tuple[str, str] | None:
    config = layer.get("config")
    if isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return _VOCABULARY
    return _GUARDED.get(layer["class_name"])


def _pickle(config: File, layer: dict[str, Any], found: Found) -> None:
    """Scan what a layer of PyTorch carries. Raises Unreadable: it is none, or is an archive, as newer ones are."""
    said = layer.get("config")
    module = said.get("module") if isinstance(said, dict) else None
    if layer["class_name"] == "TorchModuleWrapper" and isinstance(module, str):
        try:
            data = base64.b64decode(module)
        except (binascii.Error, ValueError) as error:
            raise Unclear("the pickle in a layer of PyTorch is not written as base64") from error
        label = f"{config.label}!module.pt"
        pickles.read(File(config.budget, config.path, label, len(data), unpack=lambda: Bytes(data)), found)


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
        return name not in _NO_PART_OF_MODELS and severity(Global(module, name)) is not Verdict.DANGEROUS
    return module == "builtins" and not hasattr(builtins, name)


def _input(layer: dict[str, Any]) -> Value | None:
    config = layer.get("config")
    if layer["class_name"] != "InputLayer" or not isinstance(config, dict):
        return None
    sizes = config.get("batch_shape") or config.get("batch_input_shape")
    return Value(str(config.get("name", "")), str(config.get("dtype", "")), shape(sizes))
