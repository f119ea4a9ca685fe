"""Hugging Face: config.json and its like, PEFT's adapters, and what the model card says at its top."""

from __future__ import annotations

from typing import Any, Final

from storage.formats.finding import Found
from storage.formats.mlflow import load
from storage.formats.reading import File

_NAMES: Final = frozenset({
    "config.json", "adapter_config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json",
    "README.md", "model_index.json", "modules.json", "config_sentence_transformers.json",
})  # fmt: skip
_MAX_CARD: Final = 512 * 2**10


def claims(file: File) -> bool:
    """By its name."""
    return file.name in _NAMES and file.head != b""


def read(file: File, found: Found) -> None:
    """What the file of this name says."""
    if file.name == "tokenizer.json":
        found.format("Hugging Face tokenizer")
    elif file.name == "README.md":
        _card(file, found)
    elif file.name == "modules.json":
        if b"sentence_transformers" in file.head:
            found.framework("Sentence Transformers")
    else:
        _READERS[file.name](file.json(), found)


def _config(config: dict[str, Any], found: Found) -> None:
    if not ({"model_type", "architectures", "transformers_version", "_diffusers_version"} & config.keys()):
        return
    if "_diffusers_version" in config:
        found.framework("Diffusers", config["_diffusers_version"])
        return
    found.framework("Transformers", config.get("transformers_version"))
    found.format("Hugging Face")
    architectures = config.get("architectures")
    if isinstance(architectures, list):
        found.fact("transformers.architectures", ", ".join(each for each in architectures if isinstance(each, str)))
    found.fact("transformers.model_type", config.get("model_type"))
    found.fact("transformers.dtype", config.get("dtype") or config.get("torch_dtype"))
    found.fact("transformers.context_length", config.get("max_position_embeddings"))
    found.fact("transformers.remote_code", "yes" if config.get("auto_map") else None)
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        found.fact("transformers.quantization", quantization.get("quant_method"))


def _adapter(config: dict[str, Any], found: Found) -> None:
    found.framework("PEFT", config.get("peft_version"))
    found.fact("peft.type", config.get("peft_type"))
    found.fact("peft.task", config.get("task_type"))
    found.base_model(config.get("base_model_name_or_path"))


def _generation(config: dict[str, Any], found: Found) -> None:
    found.version("Transformers", config.get("transformers_version"))


def _tokenizer(config: dict[str, Any], found: Found) -> None:
    found.format("Hugging Face tokenizer")
    found.fact("transformers.tokenizer", config.get("tokenizer_class"))
    found.fact("transformers.chat_template", "yes" if config.get("chat_template") else None)


def _pipeline(config: dict[str, Any], found: Found) -> None:
    found.framework("Diffusers", config.get("_diffusers_version"))
    found.fact("diffusers.pipeline", config.get("_class_name"))


def _sentences(config: dict[str, Any], found: Found) -> None:
    versions = config.get("__version__")
    versions = versions if isinstance(versions, dict) else {}
    found.framework("Sentence Transformers", versions.get("sentence_transformers"))
    found.version("Transformers", versions.get("transformers"))
    found.version("PyTorch", versions.get("pytorch"))


_READERS: Final = {
    "config.json": _config,
    "adapter_config.json": _adapter,
    "generation_config.json": _generation,
    "tokenizer_config.json": _tokenizer,
    "model_index.json": _pipeline,
    "config_sentence_transformers.json": _sentences,
}


def _card(file: File, found: Found) -> None:
    """The YAML between two lines of `---`, without the long table of results that some have there."""
    if not file.head.startswith((b"---\n", b"---\r\n")):
        return
    lines = file.stream().read(min(file.size, _MAX_CARD)).splitlines(keepends=True)[1:]
    kept, results = [], False
    for line in lines:
        if line.rstrip() == b"---":
            break
        if line[:1] not in {b" ", b"-", b"\n", b"\r"}:
            results = line.startswith(b"model-index:")
        if not results:
            kept.append(line)
    card = load(b"".join(kept), file.budget)
    found.licence(card.get("license"))
    found.base_model(card.get("base_model"))
    found.dataset(card.get("datasets"))
    found.fact("huggingface.task", card.get("pipeline_tag"))
    library = card.get("library_name")
    if library == "transformers":
        found.framework("Transformers")
