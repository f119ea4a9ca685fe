"""Mutations of artifacts: uploads, and what is done about bytes."""

from __future__ import annotations

from typing import Final

import strawberry

from graph import ontology
from resolvers.artifacts import references, signatures, uploads, verifying
from schema.artifact import Artifact
from schema.mutations.declare import Answer, Noun, does, may, need, takes
from schema.scalars import BigInt
from schema.upload import Upload
from storage.manifest import MAX_FILES, MAX_PATH
from storage.port import PART, WHOLE

ARTIFACT: Final = Noun(ontology.ARTIFACT, Artifact, "artifact", "artifact", "artifacts:/sha256%3A…")
UPLOAD: Final = Noun(ontology.UPLOAD, Upload, "upload", "upload", "uploads:/…")
_MADE: Final = Answer("artifact", Artifact, "The artifact.")


@takes("A file to send.")
class UploadFileInput:
    path: str = need(f"Its path in the artifact, with `/` and without `..`, at most {MAX_PATH} bytes.")
    size: BigInt = need("Its size in bytes.")
    sha256: str = need("Its SHA-256, in hexadecimal.")
    parts: list[str] | None = may(
        f"Of a file of more than {WHOLE >> 20} MiB, the SHA-256 of each part of {PART >> 20} MiB, or of twice that and "
        "so on, where there would be more than 10,000 parts: by them storage refuses wrong ones."
    )


@takes("Files to send to storage. The same files for the same thing under the same name go on with the same upload.")
class BeginUploadInput:
    to: strawberry.ID = need(
        "What they will belong to, a model version, a data-set version, a run or an evaluation: an id, or an address "
        "such as models:/name/3."
    )
    files: list[UploadFileInput] = need(f"The files, at most {MAX_FILES:,}.")
    name: str = may("The artifact's name among those of its owner.", uploads.DEFAULT_NAME)
    media_type: str | None = may(ontology.ARTIFACT.by_name["mediaType"].doc)


@takes("Files that stay where they are. The same place for the same thing is the same artifact.")
class RegisterArtifactInput:
    to: strawberry.ID = need(
        "What they belong to, a model version, a data-set version, a run or an evaluation: an id, or an address such "
        "as datasets:/name/v2."
    )
    uri: str = need("Where they are, a file or a folder, at a place that a connector of the workspace allows.")
    name: str = may("The artifact's name among those of its owner.", references.DEFAULT_NAME)
    media_type: str | None = may(ontology.ARTIFACT.by_name["mediaType"].doc)


@takes("An upload whose bytes are all there.")
class CompleteUploadInput:
    address: strawberry.ID = UPLOAD.address


@takes("An upload to give up.")
class AbortUploadInput:
    address: strawberry.ID = UPLOAD.address


@takes("An artifact to read again.")
class VerifyArtifactInput:
    address: strawberry.ID = ARTIFACT.address


@takes("A signature to keep with an artifact.")
class AttachSignatureInput:
    address: strawberry.ID = ARTIFACT.address
    bundle: str = need("The Sigstore bundle (model.sig) of OpenSSF Model Signing, as JSON text.")


@strawberry.type(description="Mutations of artifacts.")
class ArtifactMutations:
    register_artifact = does(
        references.register_artifact,
        RegisterArtifactInput,
        "Registers files that stay where they are. They are listed and looked into in the background, `verification` "
        "is PENDING until then, and columns become fields of the data set.",
        _MADE,
    )
    begin_upload = does(
        uploads.begin_upload,
        BeginUploadInput,
        "Begins to send files, or goes on: `missing` of the upload says which bytes to send, and how.",
        UPLOAD.answer,
    )
    complete_upload = does(
        uploads.complete_upload,
        CompleteUploadInput,
        "Makes an artifact of an upload once every byte is there, says what its files are, and takes a version that is "
        "PENDING to READY. The same again gives the same artifact.",
        _MADE,
    )
    abort_upload = does(
        uploads.abort_upload,
        AbortUploadInput,
        "Gives an upload up. What was sent is cleared away later.",
        UPLOAD.answer,
    )
    attach_signature = does(
        signatures.attach_signature,
        AttachSignatureInput,
        "Keeps a signature with an artifact, where it is right for its files; `signature` then says what it is worth.",
        ARTIFACT.answer,
    )
    verify_artifact = does(
        verifying.request_verification,
        VerifyArtifactInput,
        "Has every byte of an artifact read again, in the background; `verification` then says what was found.",
        ARTIFACT.answer,
    )
