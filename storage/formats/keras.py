"""Keras: version 3's `.keras` archives, and HDF5 files, of which only the kind is told.

A Lambda layer carries compiled Python in its configuration. Keras only runs it where the caller turns its safe mode
off, so it counts as an import of `marshal.loads` that is suspicious.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from storage.formats.finding import Found, Import, Value, Verdict, shape
from storage.formats.reading import File


def claims(file: File) -> bool:
    """A zip archive with configuration and metadata, or HDF5 by name and magic number."""
    if file.head[:8] == b"\x89HDF\r\n\x1a\n":
        return file.suffix in {".h5", ".hdf5", ".keras"} and not file.name.endswith(".weights.h5")
    return file.head[:2] == b"PK" and file.suffix == ".keras"


def read(file: File, found: Found) -> None:
    """Version, class, inputs, and whether there is code in it."""
    found.framework("Keras")
    if file.head[:2] != b"PK":
        found.format("HDF5")
        return
    found.format("Keras archive")
    metadata, config = file.member("metadata.json"), file.member("config.json")
    if metadata is not None:
        found.version("Keras", metadata.json().get("keras_version"))
    if config is not None:
        model = config.json()
        found.fact("keras.class", model.get("class_name"))
        layers = list(_layers(model))
        found.signature([value for layer in layers if (value := _input(layer)) is not None], [])
        if any(layer.get("class_name") == "Lambda" for layer in layers):
            found.note(config.label, "it has a Lambda layer, which carries compiled Python")
            found.pickle(Verdict.SUSPICIOUS, [Import("marshal.loads", Verdict.SUSPICIOUS, config.label)])


def _layers(model: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All objects of the configuration that say their class."""
    left: list[Any] = [model]
    for node in left:
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node
            left += node.values()
        elif isinstance(node, list):
            left += node


def _input(layer: dict[str, Any]) -> Value | None:
    config = layer.get("config")
    if layer["class_name"] != "InputLayer" or not isinstance(config, dict):
        return None
    sizes = config.get("batch_shape") or config.get("batch_input_shape")
    return Value(str(config.get("name", "")), str(config.get("dtype", "")), shape(sizes))
