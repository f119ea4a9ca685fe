"""Any other platform, by a small service of one's own that speaks what is said here.

Lineal tells it what shall be served by

    POST <url>
    Content-Type: application/json

    {
      "name": "ranker",                the deployment
      "revision": 7,                   counts what was wanted of it
      "wanted": "3fb0…",               stands for all of this, whatever the revision; given back by GET
      "served": [                      nothing shall be served where this is empty
        {
          "number": 3,                 of the version in its model
          "version": "mv_01J…",        its id
          "weight": 0.9,               its share of the requests that name no version
          "tag": "1f0c…",              stands for its files; given back by GET
          "digest": "sha256:…",        of its manifest, empty where Lineal does not keep the files
          "uri": "/models/…",          where its files are: where Lineal placed them, or where they stay; or empty
          "files": [                   addresses to fetch them from, where files come by links; else empty
            {"path": "model.onnx", "size": 1024, "sha256": "…", "url": "https://…"}
          ]
        }
      ],
      "resources": {},                 of the deployment, as they are
      "settings": {}
    }

and it answers 2xx once it has taken note, before anything has come up: it brings up what is new beside what answers,
and lets go of what is old when the new is ready. It refuses with 4xx and {"message": "why"}. The same again changes
nothing. Lineal asks what is served by

    GET <url>?name=ranker&name=…

    {
      "deployments": {                 a name that is not here is not known to it
        "ranker": {
          "wanted": "3fb0…",           of the last POST
          "settled": true,             false while it moves towards that
          "url": "https://…",          where it answers, or empty
          "message": "",
          "served": [
            {"number": 3, "state": "READY", "weight": 0.9, "replicas": 2, "tag": "1f0c…", "message": ""}
          ]
        }
      }
    }

A state is LOADING, READY or FAILED; number is null for what is not of Lineal's making; weight and replicas may be null
and tag and message empty. Files that are no longer needed are removed once it is settled without them.

Every request is signed as Standard Webhooks say (standardwebhooks.com), with the target's secret `key`: the headers
webhook-id, webhook-timestamp (seconds since the epoch) and webhook-signature: `v1,` and the base64 of the HMAC-SHA256,
by the UTF-8 bytes of the key, of `<id>.<timestamp>.<body>`; where there is no body, of
`<id>.<timestamp>.<path and query>`. A receiver must compare signatures in constant time (`hmac.compare_digest`) and
refuse timestamps that are off by more than five minutes, and ids that it has seen within these.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import orjson

from lineal.errors import Unavailable
from serving.http import Http
from serving.placing import Content, place_of
from serving.port import NOTHING, Adapter, Desired, Observed, Seen, Served, State, fulfils, tag_of
from serving.targets import MODES, TargetConfig
from storage.configuration import wrong

MAX_NUMBER: Final = 2**31 - 1
NAMES_AT_ONCE: Final = 40
"""Deployments that are asked about in one request: addresses must not grow without end."""
MAX_SERVED: Final = 100
"""Versions that one deployment may be seen to have."""


class Webhook(Adapter):
    """A service of one's own. Resources and settings are handed on as they are."""

    platform: ClassVar[str] = "webhook"
    splits: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = MODES
    secrets: ClassVar[tuple[str, ...]] = ("key",)

    def __init__(self, config: TargetConfig) -> None:
        if "key" not in config.secrets:
            raise wrong(config.at("secrets"), "must have the key that requests are signed with: key_env or key_file")
        self._config = config
        self._http = Http(config)
        self._place = place_of(config)

    def check(self, desired: Desired) -> None:
        """Nothing can be refused without asking."""

    async def observe(self, names: Collection[str]) -> Mapping[str, Observed]:
        there = await self._there(names)
        return {name: self._observed(there[name]) if name in there else NOTHING for name in names}

    async def place(self, desired: Desired) -> None:
        if self._place is not None:
            for served in desired.served:
                await self._place.put(_path(desired.name, served), Content(served.source))

    async def apply(self, desired: Desired, others: Sequence[Desired] = ()) -> None:  # noqa: ARG002 - one at a time
        there = (await self._there([desired.name])).get(desired.name, {})
        observed = self._observed(there) if there else NOTHING
        wanted = _fingerprint(desired)
        told = there.get("wanted", _fingerprint(Desired(desired.name, 0))) == wanted
        if told and fulfils(observed, desired):
            await self._clear(desired)
            return
        if told and not observed.settled:
            return
        body = {
            "name": desired.name,
            "revision": desired.revision,
            "wanted": wanted,
            "served": [await self._served(desired.name, each) for each in desired.served],
            "resources": dict(desired.resources),
            "settings": dict(desired.settings),
        }
        content = orjson.dumps(body)
        await self._http.call("POST", "", content=content, headers=self._signed(content))

    async def _there(self, names: Collection[str]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        ordered = sorted(names)
        for start in range(0, len(ordered), NAMES_AT_ONCE):
            found |= await self._some(ordered[start : start + NAMES_AT_ONCE])
        return found

    async def _some(self, names: Collection[str]) -> Mapping[str, Any]:
        query = urlencode([("name", name) for name in sorted(names)])
        target = f"{urlsplit(self._config.url).path or '/'}?{query}"
        answer = await self._http.call("GET", f"?{query}", headers=self._signed(target.encode()))
        found = answer.json()
        deployments = found.get("deployments") if isinstance(found, dict) else None
        if not isinstance(deployments, dict) or not all(isinstance(each, dict) for each in deployments.values()):
            raise Unavailable(f"target {self._config.name} does not answer with deployments by name")
        return deployments

    async def _served(self, name: str, served: Served) -> dict[str, Any]:
        source, files = served.source, list[dict[str, Any]]()
        uri = source.uri
        if self._place is not None:
            path = _path(name, served)
            await self._place.put(path, Content(source))
            uri = self._place.address(path)
        elif self._config.files.mode == "link":
            seconds = self._config.files.seconds
            for file in await source.files():
                url = await source.link(file, seconds)
                files.append({"path": file.path, "size": file.size, "sha256": file.sha256, "url": url})
        return {
            "number": served.number,
            "version": served.version,
            "weight": served.weight,
            "tag": tag_of(source),
            "digest": source.digest,
            "uri": uri,
            "files": files,
        }

    async def _clear(self, desired: Desired) -> None:
        """Remove the files of versions that are served no longer."""
        if self._place is None:
            return
        wanted = {_path(desired.name, each).partition("/")[2] for each in desired.served}
        for each in await self._place.names(desired.name):
            if each not in wanted:
                await self._place.remove(f"{desired.name}/{each}")

    def _signed(self, content: bytes) -> dict[str, str]:
        key = (self._config.secret("key") or "").encode()
        id, timestamp = f"msg_{uuid4().hex}", str(int(time.time()))
        signature = hmac.digest(key, f"{id}.{timestamp}.".encode() + content, hashlib.sha256)
        return {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }

    def _observed(self, there: Mapping[str, Any]) -> Observed:
        """What the service says of one deployment, without secrets. Raises Unavailable: that was not agreed on."""
        try:
            return Observed(
                tuple(self._seen(each) for each in there.get("served", [])[:MAX_SERVED]),
                self._address(str(there.get("url") or "")),
                self._said(there.get("message")),
                bool(there.get("settled", True)),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            msg = f"what the service says of its deployments is not understood ({type(error).__name__})"
            raise Unavailable(msg) from None

    def _seen(self, each: Mapping[str, Any]) -> Seen:
        weight = each.get("weight")
        return Seen(
            _number(each.get("number")),
            State(each["state"]),
            None if weight is None else float(weight),
            _number(each.get("replicas")),
            self._said(each.get("message")),
            str(each.get("tag") or "")[:64],
        )

    def _said(self, text: Any) -> str:
        return self._http.clean(str(text or "")[:2_000])

    @staticmethod
    def _address(url: str) -> str:
        """Where it answers, as it may be shown: without a user, a password or a query; nothing that is no address."""
        parts = urlsplit(url[:2_000])
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return ""
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    async def close(self) -> None:
        await self._http.close()
        if self._place is not None:
            await self._place.close()


def _path(name: str, served: Served) -> str:
    return f"{name}/{served.number}-{tag_of(served.source)}"


def _fingerprint(desired: Desired) -> str:
    """What stands for all that is wanted, but for addresses, which differ each time."""
    served = sorted((each.number, each.weight, tag_of(each.source)) for each in desired.served)
    told = [desired.name, served, dict(desired.resources), dict(desired.settings)]
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _number(value: Any) -> int | None:
    """A number of a version, or of replicas. Raises ValueError: it is out of bounds."""
    if value is None:
        return None
    number = int(value)
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError
    return number
