"""Files by path, as MLflow's clients send and fetch them through a server: `mlflow-artifacts:/…`.

What is sent is written to disk as it comes, and what is fetched is read as it goes: no file is held in memory.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from auth.challenges import Resource
from auth.scopes import MLFLOW
from gateway.bytes import IDLE_SECONDS, SAVED, chunks
from gateway.mlflow.checking import safe_path, version_number
from gateway.mlflow.errors import NotImplementedHere, answer
from gateway.mlflow.face import Face, NewOperation, check_scopes, no_endpoint, workspace_of
from lineal.errors import NotFound
from resolvers.artifacts.downloads import Filed, links, manifest_of
from resolvers.operation import Operation
from resolvers.registry import files
from resolvers.registry.looking import version_numbered
from storage.naming import attachment


class MlflowArtifactsRoute(Face):
    """Files by path, and those of a version for people who look at it with a browser.

    `idle_seconds` is how long a client may send nothing before its PUT ends.
    """

    paths = re.compile(
        r"(?:/w/(?P<workspace>[^/]+))?"
        r"(?:/(?:ajax-)?api/2\.0/mlflow-artifacts/"
        r"(?:artifacts(?:/(?P<path>.*))?|(?P<unknown>(?:mpu/(?:create|complete|abort)|presigned)(?:/.*)?))"
        r"|/(?:ajax-api/2\.0/mlflow/)?(?P<version>model-versions/get-artifact))",
        re.DOTALL,
    )

    def __init__(self, new_operation: NewOperation, *, resource: Resource, idle_seconds: float = IDLE_SECONDS) -> None:
        super().__init__(new_operation, resource=resource, seconds=None)
        self._idle = idle_seconds

    def named(self, request: Request, match: re.Match[str]) -> str:
        """What is done to files."""
        return "model-versions/get-artifact" if match["version"] else f"artifacts {request.method}"[:40]

    async def answer(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        """Answer a request. Raises NoEndpoint, and what the use case raises."""
        await op.snapshot()
        if match["version"]:
            return await self._of_version(op, request, match)
        if match["unknown"]:
            raise NotImplementedHere("Multipart uploads and signed addresses are not for this server: send files whole")
        reads = request.method in {"GET", "HEAD"}
        check_scopes(op, MLFLOW["artifacts" if reads else "artifacts (write)"])
        path, workspace = safe_path(match["path"] or ""), workspace_of(request, match)
        if request.method == "GET":
            return await (_get(op, workspace, path) if path else _listed(op, workspace, request))
        if request.method == "PUT" and path:
            await files.put_file(op, workspace, path, chunks(request, self._idle))
            return answer({})
        if request.method == "DELETE" and path:
            await files.delete_files(op, workspace, path)
            return answer({})
        raise no_endpoint(request)

    async def _of_version(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        check_scopes(op, MLFLOW["model-versions/get-artifact"])
        if request.method != "GET":
            raise no_endpoint(request)
        name, number = (request.query_params.get(each, "") for each in ("name", "version"))
        path, workspace = safe_path(request.query_params.get("path", "")), workspace_of(request, match)
        snapshot = await op.snapshot()
        version, _ = await version_numbered(snapshot, workspace, name, version_number(number))
        artifact = await files.kept_artifact(op, version)
        manifest = None if artifact is None else await manifest_of(op, artifact)
        file = None if manifest is None else manifest.by_path.get(path)
        if artifact is None or file is None:
            raise NotFound(f"Lineal keeps no file {path!r:.500} of this version", field="path")
        (link,) = await links(op, [Filed(artifact, file)])
        return RedirectResponse(link, 302)


async def _get(op: Operation, workspace: str, path: str) -> Response:
    blob, content = await files.open_file(op, workspace, path)
    headers = {**SAVED, "content-length": str(blob.size), "content-disposition": attachment(path)}
    return StreamingResponse(content, headers=headers)


async def _listed(op: Operation, workspace: str, request: Request) -> Response:
    found = await files.list_folder(op, workspace, safe_path(request.query_params.get("path", "")))
    return answer({"files": [_info(each) for each in found]})


def _info(found: files.Found) -> dict[str, Any]:
    if found.blob is None:
        return {"path": found.path, "is_dir": True}
    return {"path": found.path, "is_dir": False, "file_size": found.blob.size}
