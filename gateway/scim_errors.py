"""What SCIM 2.0 answers when something is wrong (RFC 7644, section 3.12)."""

from __future__ import annotations

from typing import Any, Final

from lineal.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    LinealError,
    PreconditionFailed,
)

ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"

_KINDS: Final = {
    AlreadyExists: (409, "uniqueness"),
    Conflict: (409, ""),
    InvalidArgument: (400, "invalidValue"),
    LimitExceeded: (413, ""),
    PreconditionFailed: (400, "mutability"),
}


class ScimError(Exception):
    """A refusal: its HTTP status, and the `scimType` where the RFC has one."""

    def __init__(self, status: int, detail: str, kind: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @classmethod
    def of(cls, error: LinealError) -> ScimError:
        """An error of Lineal's tree in SCIM's terms."""
        status, kind = _KINDS.get(type(error), (error.status, ""))
        return cls(status, error.message, kind)

    def body(self) -> dict[str, Any]:
        """The answer's body. The status is text there, as the RFC has it."""
        kind = {"scimType": self.kind} if self.kind else {}
        return {"schemas": [ERROR], **kind, "detail": self.detail, "status": str(self.status)}
