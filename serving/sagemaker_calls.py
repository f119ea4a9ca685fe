"""Calls to Amazon SageMaker's API by signed HTTPS, in Lineal's errors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson
from minio.credentials.credentials import Credentials

from lineal.errors import PreconditionFailed, Unavailable
from serving.http import Answer, Http
from serving.targets import TargetConfig
from storage.sigv4 import signed_headers

PAGES: Final = 100
"""Pages of a listing that are read."""

_LOOKS: Final = ("Describe", "List")
_LATER: Final = ("Throttling", "ThrottlingException", "RequestTimeout", "ServiceUnavailable", "InternalFailure")
_MISSING: Final = ("Could not find", "does not exist")
_THERE: Final = ("Cannot create already existing", "already exists")


class Calls:
    """A client of SageMaker in one region."""

    def __init__(self, config: TargetConfig, region: str) -> None:
        # The keys are in the signature alone: no header has them.
        self._http = Http(config, bearer="")
        self._config = config
        self._region = region

    async def ask(self, action: str, **request: Any) -> Mapping[str, Any] | None:
        """What it answers; None where there is no such thing. Raises Unavailable, PreconditionFailed."""
        answer = await self._call(action, request)
        if answer.status == 400:
            if any(words in _refusal(answer)[1] for words in _MISSING):
                return None
            raise self._error(action, answer)
        found = answer.json() if answer.body else {}
        if not isinstance(found, dict):
            raise Unavailable("SageMaker's answer is not understood")
        return found

    async def create(self, action: str, **request: Any) -> None:
        """Have something there; what is there already, by its name, is the same."""
        answer = await self._call(action, request)
        if answer.status == 400 and not any(words in _refusal(answer)[1] for words in _THERE):
            raise self._error(action, answer)

    async def listed(self, action: str, key: str, **request: Any) -> AsyncIterator[Mapping[str, Any]]:
        """What a listing has, page by page."""
        more: dict[str, str] = {}
        for _ in range(PAGES):
            page = await self.ask(action, **request, **more) or {}
            for each in page.get(key) or ():
                yield each
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    async def _call(self, action: str, request: Mapping[str, Any]) -> Answer:
        content = orjson.dumps(request)
        secrets = {name: self._config.secret(name) or "" for name in ("key", "secret", "token")}
        headers = signed_headers(
            "POST",
            f"{self._http.url}/",
            headers={"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"SageMaker.{action}"},
            body=content,
            credentials=Credentials(secrets["key"], secrets["secret"], secrets["token"] or None),
            region=self._region,
            service="sagemaker",
            at=time.time(),
        )
        return await self._http.call(
            "POST", "/", content=content, headers=headers, accept={400}, looks=action.startswith(_LOOKS)
        )

    def _error(self, action: str, answer: Answer) -> Unavailable | PreconditionFailed:
        kind, reason = _refusal(answer)
        told = self.clean(reason)
        if kind in _LATER:
            return Unavailable(f"SageMaker is too busy for {action}: {told}")
        return PreconditionFailed(f"SageMaker refused {action} ({kind or answer.status}): {told}")

    def clean(self, text: str) -> str:
        """Its words without the target's secrets, cut short."""
        return self._http.clean(text)

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()


def _refusal(answer: Answer) -> tuple[str, str]:
    """The kind of a refusal, and why."""
    try:
        found = orjson.loads(answer.body)
        kind, reason = found.get("__type", ""), found.get("message") or found.get("Message") or ""
    except (AttributeError, ValueError):
        kind, reason = "", answer.reason()
    return str(kind).rpartition("#")[2], " ".join(str(reason).split())
