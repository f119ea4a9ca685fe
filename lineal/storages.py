"""How the storage of artifacts, and whose signatures are trusted, are described in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lineal.errors import InvalidArgument
from storage.s3_options import S3Options
from storage.signing import Identity, Trusted

S3_SCHEME = "s3://"


class S3Settings(BaseModel):
    """The table `s3`: how to use the store that `storage` names as s3://bucket/prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field("https://s3.amazonaws.com", description="URL of the store.")
    public_endpoint: str | None = Field(None, description="URL of the store as clients reach it, where that differs.")
    region: str = Field("us-east-1", description="Region of the buckets.")
    access_key: str | None = Field(
        None, description="Access key; without one AWS's environment variables, files and roles are asked."
    )
    secret_key: SecretStr | None = Field(None, description="Secret key.")
    session_token: SecretStr | None = Field(None, description="Session token that goes with the keys.")
    sts_endpoint: str | None = Field(None, description="URL of the STS that gives credentials for a while.")
    role_arn: str | None = Field(None, description="Role to take at the STS.")
    web_identity: Path | None = Field(None, description="File with the token that is shown to the STS.")
    virtual_host: bool | None = Field(
        None, description="Whether a bucket is part of the host's name; by default at AWS and nowhere else."
    )
    ca: Path | None = Field(None, description="File with the certificates to trust in place of the system's.")
    encryption: Literal["", "AES256", "aws:kms"] = Field("", description="Encryption by the store: SSE-S3 or SSE-KMS.")
    kms_key: str = Field("", description="Key of SSE-KMS.")
    lock: Literal["GOVERNANCE", "COMPLIANCE"] = Field("GOVERNANCE", description="Mode of retention by object lock.")
    cold_class: str = Field("", description="Storage class of what is kept cold.")
    timeout: float = Field(
        30.0, gt=0, description="Seconds without a byte from the store, after which it counts as away."
    )
    workspaces: Mapping[str, str] = Field(
        default_factory=dict, description="Workspaces with a place of their own: bucket or bucket/prefix."
    )

    def options(self, storage: str) -> S3Options:
        """The options of the place s3://bucket/prefix. Raises InvalidArgument."""
        bucket, _, prefix = storage.removeprefix(S3_SCHEME).partition("/")
        if not bucket:
            raise InvalidArgument(
                f"storage: {storage!r:.200} names no bucket; it looks like s3://bucket/prefix", field="storage"
            )
        given: dict[str, Any] = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in ((name, getattr(self, name)) for name in type(self).model_fields)
        }
        return S3Options(bucket=bucket, prefix=prefix, **given)


class SignerIdentity(BaseModel):
    """Somebody at Sigstore: who, and the OpenID Connect issuer that says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    issuer: str


class SignerSettings(BaseModel):
    """The table `signers`: whose signatures on artifacts are trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Path, ...] = Field((), description="Files with public keys (PEM).")
    authorities: tuple[Path, ...] = Field((), description="Files with certificates of authorities (PEM).")
    identities: tuple[SignerIdentity, ...] = Field((), description="Identities at Sigstore.")

    def trusted(self) -> Trusted:
        """Whom these are. Raises InvalidArgument: a file cannot be read."""
        return Trusted(
            keys=tuple(map(_read, self.keys)),
            authorities=tuple(map(_read, self.authorities)),
            identities=tuple(Identity(each.identity, each.issuer) for each in self.identities),
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"signers: {path} cannot be read: {error.strerror}", field="signers") from None
