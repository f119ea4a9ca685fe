"""Where MLflow's clients find what: under `/`, and for a workspace of its own under `/w/WORKSPACE`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from auth.challenges import Resource
from auth.scopes import MLFLOW, Requirement
from gateway.mlflow import models, versions
from gateway.mlflow.asked import Asked, Handler
from gateway.mlflow.asking import Field, Parameters, parameters
from gateway.mlflow.checking import check_name
from gateway.mlflow.errors import answer
from gateway.mlflow.face import KEY, Face, NewOperation, check_keyless, check_scopes, no_endpoint, workspace_of
from graph.address import Address
from lineal.errors import NotFound
from resolvers.auditing import note_read
from resolvers.operation import Operation

VERSION: Final = "3.17.2"
"""The version of MLflow whose registry this is like."""
MAX_BODY: Final = 1_048_576
SECONDS: Final = 30.0

SERVER_INFO: Final = {
    "store_type": "SqlStore",
    "workspaces_enabled": True,
    "trace_archival_enabled": False,
    "multipart_downloads_enabled": False,
}

_PATH: Final = re.compile(
    r"(?:/w/(?P<workspace>[^/]+))?"
    r"(?:/(?:ajax-)?api/2\.0/mlflow/(?P<endpoint>.*)"
    r"|/(?:ajax-)?api/3\.0/mlflow/(?:(?P<info>server-info)|.*)"
    r"|/(?P<version>version))",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers one method of one path.

    `asks` names its line in the table of scopes. One that `keeps` does the same request once under an idempotency key;
    one that `reads` changes nothing, by whatever method.
    """

    asks: str
    handler: Handler
    fields: Sequence[Field]
    keeps: bool = True
    reads: bool = False

    @property
    def needs(self) -> Requirement:
        """The scopes that open it."""
        return MLFLOW[self.asks]


def _fields(*required: str, **others: Any) -> list[Field]:
    """Required texts, then others by type."""
    return [*(Field(name, required=True) for name in required), *(Field(n, t) for n, t in others.items())]


def _search(most: int) -> list[Field]:
    return [
        Field("filter"),
        Field("max_results", "integer", most=most),
        Field("order_by", "strings"),
        Field("page_token"),
    ]


_M, _V = "registered-models", "model-versions"
_NAME: Final = _fields("name")
_NUMBER: Final = _fields("name", "version")
_LATEST: Final = Endpoint(
    f"{_M}/get-latest-versions", models.latest_versions, _fields("name", stages="strings"), reads=True
)

ENDPOINTS: Final[Mapping[str, Mapping[str, Endpoint]]] = {
    f"{_M}/create": {
        "POST": Endpoint(f"{_M}/create", models.create, _fields("name", tags="tags", description="string"))
    },
    f"{_M}/get": {"GET": Endpoint(f"{_M}/get", models.get, _NAME)},
    f"{_M}/update": {"PATCH": Endpoint(f"{_M}/update", models.update, _fields("name", description="string"))},
    f"{_M}/rename": {"POST": Endpoint(f"{_M}/rename", models.rename, _fields("name", "new_name"))},
    f"{_M}/delete": {"DELETE": Endpoint(f"{_M}/delete", models.delete, _NAME, keeps=False)},
    f"{_M}/search": {"GET": Endpoint(f"{_M}/search", models.search, _search(models.MAX_MODELS))},
    f"{_M}/get-latest-versions": {"GET": _LATEST, "POST": _LATEST},
    f"{_M}/set-tag": {"POST": Endpoint(f"{_M}/set-tag", models.set_tag, _fields("name", "key", value="string"))},
    f"{_M}/delete-tag": {"DELETE": Endpoint(f"{_M}/delete-tag", models.delete_tag, _fields("name", "key"))},
    f"{_M}/alias": {
        "GET": Endpoint(f"{_M}/alias", models.get_by_alias, _fields("name", "alias")),
        "POST": Endpoint(f"{_M}/alias (write)", models.set_alias, _fields("name", "alias", "version")),
        "DELETE": Endpoint(f"{_M}/alias (write)", models.delete_alias, _fields("name", "alias")),
    },
    f"{_V}/create": {
        "POST": Endpoint(
            f"{_V}/create",
            versions.create,
            _fields(
                "name",
                "source",
                run_id="string",
                tags="tags",
                run_link="string",
                description="string",
                model_id="string",
            ),
        )
    },
    f"{_V}/get": {"GET": Endpoint(f"{_V}/get", versions.get, _NUMBER)},
    f"{_V}/update": {
        "PATCH": Endpoint(f"{_V}/update", versions.update, _fields("name", "version", description="string"))
    },
    f"{_V}/transition-stage": {
        "POST": Endpoint(
            f"{_V}/transition-stage",
            versions.transition,
            _fields("name", "version", "stage", archive_existing_versions="boolean"),
        )
    },
    f"{_V}/delete": {"DELETE": Endpoint(f"{_V}/delete", versions.delete, _NUMBER, keeps=False)},
    f"{_V}/search": {"GET": Endpoint(f"{_V}/search", versions.search, _search(versions.MAX_VERSIONS))},
    f"{_V}/get-download-uri": {
        "GET": Endpoint(f"{_V}/get-download-uri", versions.get_download_uri, _fields(name="string", version="string"))
    },
    f"{_V}/set-tag": {
        "POST": Endpoint(f"{_V}/set-tag", versions.set_tag, _fields("name", "version", "key", value="string"))
    },
    f"{_V}/delete-tag": {
        "DELETE": Endpoint(f"{_V}/delete-tag", versions.delete_tag, _fields("name", "version", "key"))
    },
}
"""What answers, by path and method."""


class MlflowRoute(Face):
    """All of MLflow's registry but its webhooks and files, which come before it.

    `max_body` bounds a request, in bytes.
    """

    paths = _PATH

    def __init__(
        self,
        new_operation: NewOperation,
        *,
        resource: Resource,
        max_body: int = MAX_BODY,
        seconds: float = SECONDS,
    ) -> None:
        super().__init__(new_operation, resource=resource, seconds=seconds)
        self._max_body = max_body

    def named(self, request: Request, match: re.Match[str]) -> str:
        """The endpoint."""
        found = ENDPOINTS.get(match["endpoint"] or "", {}).get(request.method)
        return "other" if found is None else found.asks

    async def answer(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        """Answer a request. Raises NoEndpoint, and what the use case raises."""
        if match["version"] or match["info"]:
            await op.snapshot()
        if match["version"]:
            return PlainTextResponse(VERSION)
        if match["info"]:
            return answer({**SERVER_INFO, "multipart_uploads_enabled": op.storage.unnamed is not None})
        found = ENDPOINTS.get(match["endpoint"] or "", {}).get(request.method)
        if found is None or not found.needs.opened_by(op.caller):
            # Who may not come in any more is told that, and nothing of endpoints and scopes.
            await op.snapshot()
        if found is None:
            raise no_endpoint(request)
        request.state.route = f"/api/2.0/mlflow/{match['endpoint']}"
        check_scopes(op, found.needs)
        if not found.keeps:
            check_keyless(request)
        given = await parameters(request, found.fields, self._max_body)
        workspace = workspace_of(request, match)
        asked = Asked(op, workspace, given, request.headers.get(KEY))
        try:
            body = await found.handler(asked)
        except NotFound as error:
            if error.field in {"name", "version", "alias"}:
                # What could never be there is wrong, not absent.
                check_name(asked.name)
            raise
        if found.reads or request.method == "GET":
            await note_read(op, face="mlflow", asked=found.asks, arguments=_arguments(workspace, given))
        return answer(body)


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("OK")


HEALTH: Final = tuple(Route(path, _healthy) for path in ("/health", "/w/{workspace}/health"))
"""What probes of MLflow's server ask, without a token as there: whether the process lives."""


def _arguments(workspace: str, given: Parameters) -> list[Any]:
    """What a request is about, for the audit."""
    name = given.values.get("name")
    return [{"workspace": workspace, "model": str(Address("Model", workspace, name)) if name else ""}]
