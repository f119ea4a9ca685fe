"""Where an S3 store is, who Lineal is there, and which places in it belong to whom."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import (
    AssumeRoleProvider,
    AWSConfigProvider,
    ChainedProvider,
    EnvAWSProvider,
    EnvMinioProvider,
    IamAwsProvider,
    Provider,
    StaticProvider,
    WebIdentityProvider,
)
from minio.error import MinioException
from minio.helpers import BaseURL
from urllib3.exceptions import HTTPError

from lineal.errors import InvalidArgument, Unavailable
from storage.naming import check_digest, check_document, folder_of

HOT: Final = "blobs"
COLD: Final = "cold"
CONNECT_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 900
"""Credentials of STS are asked for again when they are good for less: an address is good no longer than they are."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 — the package keeps UTC without a time zone


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and what all keys in it begin with: nothing, or a path that ends with `/`."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, bucket: str, prefix: str) -> Place:
        """A place; slashes around the prefix make no difference. Raises InvalidArgument."""
        path = prefix.strip("/")
        if not bucket or any(part in {"", ".", ".."} for part in path.split("/") if path):
            raise InvalidArgument(f"{bucket}/{path} must be a bucket, and a prefix without empty parts, `.` and `..`")
        return cls(bucket, f"{path}/" if path else "")

    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    def blob(self, where: str, sha256: str) -> str:
        """The key of a blob that is kept HOT or COLD. Raises InvalidArgument."""
        return f"{self.prefix}{where}/{check_digest(sha256)[:2]}/{sha256}"

    @property
    def marks(self) -> str:
        """What the keys begin with that tell of blobs on their way in parts."""
        return f"{self.prefix}sending/"

    def mark(self, sha256: str) -> str:
        """The key that tells of this one."""
        return self.marks + check_digest(sha256)

    @property
    def unnamed(self) -> str:
        """What the keys begin with of what is sent in parts before its digest is known."""
        return f"{self.prefix}unnamed/"

    @property
    def documents(self) -> str:
        """What the keys of documents begin with."""
        return f"{self.prefix}documents/"

    def document(self, name: str) -> str:
        """The key of a document. Raises InvalidArgument."""
        return self.documents + check_document(name)


@dataclass(frozen=True)
class S3Options:
    """How to use an S3 store.

    Without `access_key` the credentials are looked for in the environment, in the files of AWS and at the machine's
    or container's own role. `role_arn` or `sts_endpoint` make STS give others for a while: for the access key by
    AssumeRole, for the token in the file `web_identity` by AssumeRoleWithWebIdentity. Addresses made with them end
    with them.

    Lineal needs to read, write, list and delete objects, their versions and multipart uploads under its prefixes, and
    to read whether its buckets keep versions and have object lock, and to retain objects in those that have; without
    leave to list, a store says that what is missing is forbidden.
    """

    endpoint: str
    """`https://s3.eu-central-1.amazonaws.com`, `http://127.0.0.1:9000`."""
    bucket: str
    prefix: str = ""
    workspaces: Mapping[str, str] = field(default_factory=dict)
    """Places of their own by workspace: `bucket` or `bucket/prefix`."""
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    sts_endpoint: str | None = None
    role_arn: str | None = None
    web_identity: Path | None = None
    virtual_host: bool | None = None
    """Whether the bucket is part of the host's name; unless told, it is at AWS and nowhere else."""
    public_endpoint: str | None = None
    """What signed addresses begin with, where clients reach the store by another name than this server."""
    ca: Path | None = None
    """A file of certificates in PEM that are trusted instead of the system's."""
    encryption: Literal["", "AES256", "aws:kms"] = ""
    """How the store encrypts what it keeps: as its bucket says, SSE-S3, SSE-KMS."""
    kms_key: str = ""
    lock: Literal["GOVERNANCE", "COMPLIANCE"] = "GOVERNANCE"
    """The mode of retention, in buckets with object lock."""
    cold_class: str = ""
    """The storage class of what is kept cold; one from which it can be read at once."""
    timeout: float = 30.0
    """Seconds of silence: what takes a store longer, as putting parts together, it answers in drips."""
    threads: int = 32
    """Requests to the store at once."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument, naming the setting."""
        for name in ("endpoint", "public_endpoint", "sts_endpoint"):
            url = urlsplit(getattr(self, name) or self.endpoint)
            if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.path.strip("/"):
                raise InvalidArgument(f"{name}: must be http:// or https:// with a host and nothing behind", field=name)
        if self.access_key is not None and self.secret_key is None:
            raise InvalidArgument("secret_key: must be there where access_key is", field="secret_key")
        if self.ca is not None and not self.ca.is_file():
            raise InvalidArgument(f"ca: there is no file {self.ca}", field="ca")
        if (self.encryption == "aws:kms") != bool(self.kms_key):
            raise InvalidArgument("kms_key: must be there where encryption is aws:kms, and only there", field="kms_key")
        for one, other in itertools.permutations([*self._own().values(), self._common()], 2):
            if one.bucket == other.bucket and one.prefix.startswith(other.prefix):
                msg = f"workspaces: {one} lies in {other}; no place may lie in another one's"
                raise InvalidArgument(msg, field="workspaces")

    def _common(self) -> Place:
        return Place.of(self.bucket, self.prefix)

    def _own(self) -> dict[str, Place]:
        return {name: Place.of(*_split(place)) for name, place in self.workspaces.items()}

    @property
    def buckets(self) -> set[str]:
        """Every bucket that is used."""
        return {place.bucket for place in self.places}

    @property
    def places(self) -> list[Place]:
        """The place of all workspaces, and those of their own."""
        return [self._common(), *self._own().values()]

    def place(self, workspace: str) -> Place:
        """Where a workspace is."""
        if workspace in self.workspaces:
            return Place.of(*_split(self.workspaces[workspace]))
        common = self._common()
        return Place(common.bucket, f"{common.prefix}{folder_of(workspace)}/")

    @property
    def encryption_headers(self) -> dict[str, str]:
        """The headers of whoever writes an object."""
        headers: dict[str, str] = {"x-amz-server-side-encryption": self.encryption} if self.encryption else {}
        if self.kms_key:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.kms_key
        return headers

    def http(self) -> urllib3.PoolManager:
        """A client for this server's own requests; none of them is ever sent to another place."""
        return urllib3.PoolManager(
            maxsize=self.threads,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, self.timeout), read=self.timeout),
            retries=urllib3.Retry(3, read=1, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504], redirect=False),
            cert_reqs="CERT_REQUIRED",
            ca_certs=None if self.ca is None else str(self.ca),
        )

    def client(self, http: urllib3.PoolManager, credentials: Provider) -> Minio:
        """A client of the store."""
        url = urlsplit(self.endpoint)
        client = Minio(
            url.netloc, secure=url.scheme == "https", region=self.region, http_client=http, credentials=credentials
        )
        if self.virtual_host is not None:
            client._base_url.virtual_style_flag = self.virtual_host
        return client

    def addresses(self) -> BaseURL:
        """What builds the addresses that clients get."""
        base = BaseURL((self.public_endpoint or self.endpoint).rstrip("/"), self.region)
        if self.virtual_host is not None:
            base.virtual_style_flag = self.virtual_host
        return base

    def credentials(self, http: urllib3.PoolManager) -> Provider:
        """Who Lineal is there, asked for again in time."""
        if self.web_identity is None and self.role_arn is None and self.sts_endpoint is None:
            return _Shared(lambda: self._lasting(http))
        return _Shared(lambda: self._passing(http), fresh=FRESH_SECONDS)

    def _lasting(self, http: urllib3.PoolManager) -> Provider:
        if self.access_key is not None:
            return StaticProvider(self.access_key, self.secret_key or "", self.session_token)
        role = IamAwsProvider(http_client=http, region=self.region)
        return ChainedProvider([EnvAWSProvider(), EnvMinioProvider(), AWSConfigProvider(), role])

    def _passing(self, http: urllib3.PoolManager) -> Provider:
        endpoint = self.sts_endpoint or self.endpoint
        if (file := self.web_identity) is not None:
            return WebIdentityProvider(
                jwt_provider_func=lambda: {"access_token": file.read_text().strip()},
                sts_endpoint=endpoint,
                role_arn=self.role_arn,
                role_session_name="lineal" if self.role_arn else None,
                http_client=http,
            )
        own = self._lasting(http).retrieve()
        return AssumeRoleProvider(
            sts_endpoint=endpoint,
            access_key=own.access_key,
            secret_key=own.secret_key,
            region=self.region,
            role_arn=self.role_arn,
            role_session_name="lineal" if self.role_arn else None,
            http_client=http,
        )


class _Shared(Provider):
    """Credentials for many threads: one asks, the others wait. Raises Unavailable: there are none."""

    def __init__(self, make: Callable[[], Provider], fresh: int = 0) -> None:
        self._make = make
        self._fresh = fresh
        self._lock = threading.Lock()
        self._provider: Provider | None = None

    def retrieve(self) -> Credentials:
        with self._lock:
            try:
                self._provider = self._provider or self._make()
                found = self._provider.retrieve()
                if self._fresh and _left(found) < self._fresh:
                    self._provider = self._make()
                    found = self._provider.retrieve()
            except (ValueError, KeyError, SyntaxError, OSError, HTTPError, MinioException) as error:
                # Some tell in their message what they were given.
                raise Unavailable(f"no credentials for the store can be had ({type(error).__name__})") from None
        return found


def _left(credentials: Credentials) -> float:
    expiration = credentials.expiration
    if expiration is None:
        return float("inf")
    return (expiration - _EPOCH).total_seconds() - time.time()


def _split(place: str) -> tuple[str, str]:
    bucket, _, prefix = place.partition("/")
    return bucket, prefix
