"""Judging a signature: whether it is right, whether it fits a manifest, and whether its maker is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from lineal.errors import LinealError
from storage.manifest import Manifest
from storage.signing.bundle import Broken, Method
from storage.signing.bundle import parse as parse_bundle
from storage.signing.library import module
from storage.signing.statement import Differences
from storage.signing.statement import parse as parse_statement
from storage.signing.trust import Trusted, vouch

_SHOWN: Final = 3
_MAX_SHOWN: Final = 1_024


class State(StrEnum):
    """What a signature is worth.

    VALID: a trusted signer vouches for these very files. UNTRUSTED: somebody else does, or nobody knows who.
    INVALID: the signature is broken, or is one of other files.
    """

    VALID = "VALID"
    UNTRUSTED = "UNTRUSTED"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Verified:
    """What became known of a signature; `reason` says why it is not VALID, in a sentence without its full stop.

    `signer` is a key's fingerprint, a certificate's subject, or an identity at Sigstore; `issuer` who issued the
    certificate, or the identity's OpenID Connect issuer. `altered`, `missing` and `extra` are paths. `unsigned` are
    those that the signature leaves out by the specification or its maker's will: nobody vouches for these.
    """

    state: State
    reason: str = ""
    method: Method | None = None
    signer: str = ""
    issuer: str = ""
    fingerprint: str = ""
    altered: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()


def verify(bundle: bytes, manifest: Manifest, trusted: Trusted, *, at: datetime | None = None) -> Verified:
    """What the signature in a bundle is worth for the files of a manifest.

    Certificates must be valid at `at`, which is now unless a signature is known to be older; keyless ones are at the
    time that Sigstore's log has. A bundle may hold anything: whatever is wrong with it makes it INVALID. Raises
    InvalidArgument: `trusted` has what is no key, certificate or configuration, or model-signing is not installed.
    """
    module("model_signing")
    try:
        parsed = parse_bundle(bundle)
        statement = parse_statement(parsed.payload)
        voucher = vouch(parsed, trusted, at or datetime.now(UTC))
    except Broken as error:
        return Verified(State.INVALID, str(error))
    except LinealError:
        raise
    except Exception as error:  # noqa: BLE001 - whoever parses certificates has errors of many kinds for what is none
        return Verified(State.INVALID, f"its certificate or log entry cannot be read ({type(error).__name__})")
    differences = statement.compare(manifest)
    problem = _problem(differences)
    state = State.INVALID if problem else State.UNTRUSTED if voucher.doubt else State.VALID
    return Verified(
        state,
        problem or _shown(voucher.doubt),
        parsed.method,
        _shown(voucher.signer),
        _shown(voucher.issuer),
        _shown(voucher.fingerprint),
        differences.altered,
        differences.missing,
        differences.extra,
        differences.unsigned,
    )


def _shown(text: str) -> str:
    """What others wrote, without what a terminal or a browser would obey, and not too long."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_MAX_SHOWN])


def _problem(differences: Differences) -> str:
    """The first differences in words."""
    found = [f"{path!r} differs" for path in differences.altered]
    found += [f"{path!r} is missing" for path in differences.missing]
    found += [f"{path!r} is not signed" for path in differences.extra]
    if not found and differences.unknown:
        return f"{differences.unknown[0]!r} is signed in shards; only files of at most one shard can be checked"
    more = f", and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}" if found else ""
