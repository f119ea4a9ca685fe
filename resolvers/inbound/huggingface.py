"""Webhooks of the Hugging Face Hub: a repository was made, or something was pushed to it.

A version is a commit of the branch `main`. What happens to discussions, settings, other branches, Spaces and buckets
is nothing that Lineal knows of.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

from lineal.errors import InvalidArgument
from resolvers.inbound.told import Kind, Told, name_of, object_of, text_of

HEADER: Final = "x-webhook-secret"
IDENTITY: Final = "huggingface.commit"
MAIN: Final = "refs/heads/main"
MAX_TAGS: Final = 1_000

_KINDS: Final[Mapping[str, Kind]] = {"model": "Model", "dataset": "Dataset"}
_SHA: Final = re.compile(r"[0-9a-f]{40,64}")


def is_secret(given: str, secret: str) -> bool:
    """Whether this is the secret, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(), secret.encode())


def told(payload: Any) -> Told | None:
    """What a payload tells; None where that is nothing to record. Raises InvalidArgument, naming the place in it."""
    if not isinstance(payload, Mapping):
        raise InvalidArgument("the body must be an object")
    event, repo = object_of(payload.get("event"), "event"), object_of(payload.get("repo"), "repo")
    action, scope = name_of(event.get("action"), "event.action"), name_of(event.get("scope"), "event.scope")
    kind = _KINDS.get(name_of(repo.get("type"), "repo.type"))
    if kind is None:
        return None
    name = name_of(repo.get("name"), "repo.name")
    if scope == "repo" and action == "create":
        return Told(kind, name)
    # A narrower scope that is not known yet counts as a change of what it is a part of.
    if f"{scope}.".startswith("repo.content.") and action == "update" and (sha := _pushed(payload, repo)):
        return _version(kind, name, sha, repo)
    return None


def _pushed(payload: Mapping[str, Any], repo: Mapping[str, Any]) -> str:
    """The commit that `main` is at now; empty where it did not move."""
    refs = payload.get("updatedRefs")
    if refs is None:
        given, at = repo.get("headSha"), "repo.headSha"
    elif isinstance(refs, list):
        moved = [(object_of(ref, f"updatedRefs[{i}]"), i) for i, ref in enumerate(refs)]
        given, at = next(
            ((ref.get("newSha"), f"updatedRefs[{i}].newSha") for ref, i in moved if ref.get("ref") == MAIN), (None, "")
        )
    else:
        raise InvalidArgument("updatedRefs: must be a list", field="updatedRefs")
    sha = text_of(given, at)
    if sha and not _SHA.fullmatch(sha):
        raise InvalidArgument(f"{at}: must be the hash of a commit, not {sha!r:.80}", field=at)
    return sha


def _version(kind: Kind, name: str, sha: str, repo: Mapping[str, Any]) -> Told:
    page = text_of(object_of(repo.get("url"), "repo.url").get("web"), "repo.url.web")
    tags = _tags(repo.get("tags"))
    uri = f"hf://{'datasets/' if kind == 'Dataset' else ''}{name}@{sha}"
    if kind == "Dataset":
        return Told(kind, name, IDENTITY, sha, sha, {"uri": uri}, first={"huggingface.page": page} if page else {})
    properties = {"uri": uri, "source": f"{page}/tree/{sha}" if page else uri}
    if licences := tags.get("license"):
        properties["license"] = licences[0]
    return Told(kind, name, IDENTITY, sha, sha, properties, repository=page, trained_on=tuple(tags.get("dataset", ())))


def _tags(given: Any) -> dict[str, list[str]]:
    """The tags of a repository that name something, as `license:mit` and `dataset:squad` do, by what they name."""
    if given is None:
        return {}
    if not isinstance(given, list) or len(given) > MAX_TAGS:
        raise InvalidArgument(f"repo.tags: must be a list of at most {MAX_TAGS} texts", field="repo.tags")
    found: dict[str, list[str]] = {}
    for i, tag in enumerate(given):
        word, _, value = text_of(tag, f"repo.tags[{i}]").partition(":")
        if value and value not in found.setdefault(word, []):
            found[word].append(value)
    return found
