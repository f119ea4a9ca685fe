"""Signatures of artifacts in the form of OpenSSF Model Signing v1.0 (ossf/model-signing-spec, spec/v1.0.md).

A signature is a detached Sigstore bundle: a DSSE envelope around an in-toto statement that lists every file with its
SHA-256, and what tells whose signature it is. It is made from a manifest and checked against one; no file is read.
The bundle's form, its cryptography and Sigstore itself are those of the `model-signing` package.
"""

from storage.signing.bundle import MAX_BUNDLE, Method
from storage.signing.signers import Signer, certificate_signer, covered, key_signer, keyless_signer, sign
from storage.signing.statement import GIT, SIGNATURE
from storage.signing.trust import Identity, Trusted
from storage.signing.verifying import State, Verified, verify

__all__ = [
    "GIT",
    "MAX_BUNDLE",
    "SIGNATURE",
    "Identity",
    "Method",
    "Signer",
    "State",
    "Trusted",
    "Verified",
    "certificate_signer",
    "covered",
    "key_signer",
    "keyless_signer",
    "sign",
    "verify",
]
