"""The signed statement that older entries of a chain were taken off: without it they are missing.

What is signed, with the key of checkpoints, is canonical JSON (RFC 8785):

    {"pruned": {"workspace": the chain, "number": that of the last entry taken, "hash": its hash}}

Whoever can write to the store, and has no key, can so neither move the beginning of a chain nor tell of a pruning
that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joserfc.jwk import OKPKey

from auth.checkpoints import is_signature, signature
from graph.port import Head
from graph.recording import canonical


def vouch(key: OKPKey, end: Head) -> dict[str, str]:
    """What the entry that tells of a pruning up to `end` has, beside that: the key's thumbprint, and the signature."""
    return {"key": key.thumbprint(), "signature": signature(key, _statement(end))}


def is_pruning(noted: Any, end: Head, keys: Mapping[str, OKPKey]) -> bool:
    """Whether what an entry noted tells of a pruning up to `end`, signed by one of these keys (by thumbprint)."""
    if not isinstance(noted, dict) or (noted.get("number"), noted.get("hash")) != (end.number, end.hash):
        return False
    key = keys.get(str(noted.get("key")))
    return key is not None and is_signature(str(noted.get("signature")), key, _statement(end))


def _statement(end: Head) -> bytes:
    return canonical({"pruned": {"workspace": end.workspace, "number": end.number, "hash": end.hash}})
