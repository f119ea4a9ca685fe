"""Webhooks of Weights & Biases: an automation sends what its author wrote as payload, with the variables filled in.

The names are those of the variables, as in W&B's own examples, at the top or within `client_payload`. What was left
empty, or is still a variable because W&B knew no value, counts as missing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

from lineal.errors import InvalidArgument
from resolvers.inbound.told import Kind, Told, name_of, object_of, row_name, text_of

SIGNATURE: Final = "x-wandb-signature"
IDENTITY: Final = "wandb.artifact"
MAX_METADATA: Final = 100
"""Entries of an artifact's metadata."""

_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
_VERSION: Final = re.compile(r"v\d{1,18}")
_KINDS: Final[Mapping[str, Kind]] = {"model": "Model", "dataset": "Dataset"}


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether a signature is HMAC-SHA256 of the body by this secret: in base64, as W&B documents it, or in hex."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    given = signature.strip().removeprefix("sha256=")
    try:
        raw = bytes.fromhex(given) if len(given) == 2 * len(mac) else base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(raw, mac)


def told(payload: Any) -> Told:
    """What a payload tells. Raises InvalidArgument, naming what is missing or of another type."""
    if not isinstance(payload, Mapping):
        raise InvalidArgument("the body must be an object")
    given = {**payload, **object_of(payload.get("client_payload"), "client_payload")}
    values = {name: _filled(given.get(name), name) for name in _NAMES}
    for name in ("artifact_version", "artifact_collection_name"):
        if not values[name]:
            msg = f'{name}: is missing; the payload of the automation must have "{name}": "${{{name}}}"'
            raise InvalidArgument(msg, field=name)
    full, project = values["artifact_version_string"], values["project_name"]
    number = full.rpartition(":")[2]
    return Told(
        _kind(values["kind"], project),
        name_of(values["artifact_collection_name"], "artifact_collection_name"),
        IDENTITY,
        name_of(values["artifact_version"], "artifact_version"),
        number if _VERSION.fullmatch(number) else values["artifact_version"],
        {"uri": values["artifact_version"], **({"source": full} if full else {})},
        _marks(values),
        {
            **{f"wandb.{tag}": value for tag, name in _FACTS.items() if (value := values[name])},
            **_metadata(given.get("metadata")),
        },
        name_of(values["run"], "run") if values["run"] else "",
    )


_FACTS: Final = {
    "version": "artifact_version_string",
    "entity": "entity_name",
    "project": "project_name",
    "author": "event_author",
}
"""Tags of a version, by the variable that has their value."""

_NAMES: Final = (*_FACTS.values(), "artifact_version", "artifact_collection_name", "alias", "tag", "kind", "run")


def _filled(given: Any, at: str) -> str:
    text = text_of(given, at)
    return "" if _VARIABLE.fullmatch(text) else text


def _kind(given: str, project: str) -> Kind:
    """What an artifact is: as the payload says, or by the registry that it is linked to."""
    if given and given.lower() not in _KINDS:
        raise InvalidArgument(f"kind: must be model or dataset, not {given!r:.80}", field="kind")
    return _KINDS[given.lower()] if given else "Dataset" if project.lower().endswith("dataset") else "Model"


def _marks(values: Mapping[str, str]) -> dict[str, str]:
    """An alias or a tag that was added. That it is there does not move anything here, so a replay is harmless."""
    return {row_name(f"wandb.{kind}.{values[kind]}"): "true" for kind in ("alias", "tag") if values[kind]}


def _metadata(given: Any) -> dict[str, str]:
    found = object_of(given, "metadata")
    if len(found) > MAX_METADATA:
        msg = f"metadata: has {len(found)} entries; at most {MAX_METADATA} are allowed"
        raise InvalidArgument(msg, field="metadata")
    texts = {name: str(value) if isinstance(value, int | float) else value for name, value in found.items()}
    return {
        row_name(f"wandb.metadata.{name}"): text
        for name, value in texts.items()
        if (text := _filled(value, f"metadata.{name}"))
    }
