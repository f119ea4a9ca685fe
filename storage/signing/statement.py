"""What is signed: an in-toto statement that lists files, made of a manifest or compared with one.

See spec/v1.0.md §5, §6 and §8.4, and schemas/v1.0/statement.schema.json and predicate.schema.json of
ossf/model-signing-spec.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.manifest import MAX_FILES, File, Manifest
from storage.signing.bundle import Broken, load, record, sequence, text

GIT: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""What every signature leaves out at the top of an artifact (§6.2)."""
SIGNATURE: Final = "model.sig"
"""What a signature is called beside the files that it signs."""

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SHARD: Final = re.compile(r"(.+):([0-9]{1,19}):([0-9]{1,19})", re.DOTALL)
_MAX_NAME: Final = 4_096
_MAX_RESOURCES: Final = 10 * MAX_FILES

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Differences:
    """Paths by what is wrong with them: of files that are not as signed, and of those that the signature leaves out.

    `unknown` are those that were signed in pieces that a manifest knows no digests of.
    """

    altered: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """Files with their digests, in byte ranges when `shard_size` is given, and the paths that it leaves out."""

    name: str
    shard_size: int | None
    ignored: frozenset[str]
    digests: Mapping[str, Mapping[Range | None, str]]

    def compare(self, manifest: Manifest) -> Differences:
        """How a manifest differs from what was signed."""
        altered, unknown = [], []
        for path, digests in self.digests.items():
            file = manifest.by_path.get(path)
            if file and not self._can_check(file):
                unknown.append(path)
            elif file and digests != {self._range(file): file.sha256}:
                altered.append(path)
        others = [file for file in manifest.files if file.path not in self.digests]
        unsigned = {file.path for file in others if ignores(self.ignored, file.path) or self._omits(file)}
        return Differences(
            altered=tuple(sorted(altered)),
            missing=tuple(sorted(self.digests.keys() - manifest.by_path.keys())),
            extra=tuple(file.path for file in others if file.path not in unsigned),
            unknown=tuple(sorted(unknown)),
            unsigned=tuple(sorted(unsigned)),
        )

    def _range(self, file: File) -> Range | None:
        return None if self.shard_size is None else (0, file.size)

    def _can_check(self, file: File) -> bool:
        """Whether the digest of the whole file tells: a manifest has no other."""
        return self.shard_size is None or file.size <= self.shard_size

    def _omits(self, file: File) -> bool:
        """Signatures in shards do not list empty files (§6.3.2)."""
        return self.shard_size is not None and file.size == 0


def ignores(ignored: frozenset[str], path: str) -> bool:
    """Whether a path is one of these, or in one of these folders (§6.2.1).

    SIGNATURE is a file, and no such folder: nearly every signature names it, and anything could be put into it.
    """
    parts = path.split("/")
    folders = {"/".join(parts[:end]) for end in range(1, len(parts))} - {SIGNATURE}
    return path in ignored or not folders.isdisjoint(ignored)


def parse(payload: bytes) -> Statement:
    """The statement of an envelope's payload. Raises Broken."""
    statement = record(load(payload, "statement"), "statement", {"_type", "subject", "predicateType", "predicate"})
    if statement["_type"] != STATEMENT_TYPE:
        raise Broken(f"statement._type: is not {STATEMENT_TYPE}")
    if statement["predicateType"] != PREDICATE_TYPE:
        raise Broken(f"statement.predicateType: is not {PREDICATE_TYPE}, the only one that is supported")
    predicate = record(statement["predicate"], "predicate", {"resources", "serialization"})
    shard_size, ignored = _serialization(predicate["serialization"])
    digests, root = _resources(predicate["resources"], shard_size)
    [subject] = sequence(statement["subject"], "statement.subject", 1)
    subject = record(subject, "statement.subject[0]", {"name", "digest"}, None)
    if record(subject["digest"], "statement.subject[0].digest", {"sha256"}, None)["sha256"] != root:
        raise Broken("statement.subject[0].digest: is not that of its resources")
    return Statement(text(subject["name"], "statement.subject[0].name"), shard_size, ignored, digests)


def _serialization(value: Any) -> tuple[int | None, frozenset[str]]:
    at = "predicate.serialization"
    how = record(value, at, {"method", "hash_type", "allow_symlinks"}, {"shard_size", "ignore_paths"})
    if how["hash_type"] != "sha256":
        raise Broken(f"{at}.hash_type: is not sha256, the only one that is supported")
    if not isinstance(how["allow_symlinks"], bool):
        raise Broken(f"{at}.allow_symlinks: is neither true nor false")
    given = sequence(how.get("ignore_paths", []), f"{at}.ignore_paths", MAX_FILES, least=0)
    # The default exclusions hold without being named (§6.2.1).
    ignored = frozenset(GIT).union(text(path, f"{at}.ignore_paths", most=_MAX_NAME) for path in given)
    match how["method"], how.get("shard_size"):
        case "files", None:
            return None, ignored
        # A protobuf's numbers may come as 1000000000.0.
        case "shards", int() | float() as size if 1 <= size < 2**63 and size is not True and size == int(size):
            return int(size), ignored
    raise Broken(f"{at}.method: is neither files nor shards with their shard_size")


def _resources(value: Any, shard_size: int | None) -> tuple[dict[str, dict[Range | None, str]], str]:
    """The digests by path and range, and the SHA-256 of all of them in the order given (§6.5.1)."""
    digests: dict[str, dict[Range | None, str]] = {}
    root = hashlib.sha256()
    # The second is what model-signing writes for shards; §6.3.2 wants the first.
    algorithms = {"sha256", f"sha256-sharded-{shard_size}"}
    for i, item in enumerate(sequence(value, "predicate.resources", _MAX_RESOURCES)):
        at = f"predicate.resources[{i}]"
        resource = record(item, at, {"name", "digest", "algorithm"}, None)
        path, piece = _split(text(resource["name"], f"{at}.name", most=_MAX_NAME), at, shard_size)
        digest = resource["digest"]
        if text(resource["algorithm"], f"{at}.algorithm") not in algorithms:
            raise Broken(f"{at}.algorithm: is not sha256, the only one that is supported")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Broken(f"{at}.digest: is not in hexadecimal")
        root.update(bytes.fromhex(digest))
        pieces = digests.setdefault(path, {})
        if piece in pieces:
            raise Broken(f"{at}.name: {resource['name']!r} is there twice")
        pieces[piece] = digest
    return digests, root.hexdigest()


def _split(name: str, at: str, shard_size: int | None) -> tuple[str, Range | None]:
    if shard_size is None:
        return name, None
    # A name may have colons of its own: the last two parts are the range.
    if not (found := _SHARD.fullmatch(name)):
        raise Broken(f"{at}.name: is no path with a byte range")
    return found[1], (int(found[2]), int(found[3]))
