"""Files by path, as MLflow's clients send and fetch them through a server: `mlflow-artifacts:/…`.

What is sent is written to disk as it comes, and what is fetched is read as it goes: no file is held in memory.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from auth.challenges import Resource
from auth.scopes import MLFLOW
from gateway.bytes import IDLE_SECONDS, SAVED, chunks
from gateway.mlflow.asking import Field, parameters
from gateway.mlflow.checking import safe_path, version_number
from gateway.mlflow.errors import NotImplementedHere, answer
from gateway.mlflow.face import Face, NewOperation, check_scopes, no_endpoint, workspace_of
from lineal.errors import NotFound
from resolvers.artifacts.downloads import Filed, links, manifest_of
from resolvers.auditing import note_read
from resolvers.operation import Operation
from resolvers.registry import files
from resolvers.registry.looking import version_numbered
from storage.naming import attachment

MAX_PARTS_BODY: Final = 16 * 2**20
"""Bytes of a request that names parts: clients bring back the whole address of each."""

UNSUPPORTED: Final = "is not supported for the current artifact repository"
"""What clients look for in a refusal: then they send and fetch the file whole."""

PARTS: Final[Mapping[str, Sequence[Field]]] = {
    "create": [Field("path", required=True), Field("num_parts", "integer")],
    "complete": [Field("path", required=True), Field("upload_id", required=True), Field("parts", "parts")],
    "abort": [Field("path", required=True), Field("upload_id", required=True)],
}


class MlflowArtifactsRoute(Face):
    """Files by path, and those of a version for people who look at it with a browser.

    `idle_seconds` is how long a client may send nothing before its PUT ends.
    """

    paths = re.compile(
        r"(?:/w/(?P<workspace>[^/]+))?"
        r"(?:/(?:ajax-)?api/2\.0/mlflow-artifacts/"
        r"(?:artifacts(?:/(?P<path>.*))?|mpu/(?P<part>create|complete|abort)(?:/(?P<folder>.*))?"
        r"|(?P<presigned>presigned)(?:/.*)?)"
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
        if match["part"]:
            return await self._in_parts(op, request, match)
        if match["presigned"]:
            raise NotImplementedHere(f"Multipart download {UNSUPPORTED}")
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

    async def _in_parts(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        """A file that comes in parts, which clients send to the store by themselves."""
        check_scopes(op, MLFLOW["artifacts (write)"])
        if request.method != "POST":
            raise no_endpoint(request)
        step = match["part"]
        given = await parameters(request, PARTS[step], MAX_PARTS_BODY)
        # The file is named by its path on the machine of the client; the last part of that counts.
        folder, name = safe_path(match["folder"] or ""), safe_path(posixpath.basename(given.text("path")))
        workspace, path = workspace_of(request, match), posixpath.join(folder, name)
        to = op.storage.unnamed
        if to is None:
            raise NotImplementedHere(f"Multipart upload {UNSUPPORTED}")
        if step == "create":
            count = int(given.values["num_parts"] or 0)
            return answer(_upload(*await files.begin_parts(op, to, workspace, path, count)))
        upload = given.text("upload_id")
        if step == "complete":
            await files.complete_parts(op, to, workspace, path, upload=upload, tags=given.values["parts"])
        else:
            await files.abort_parts(op, to, workspace, path, upload)
        return answer({})

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
    await note_read(op, face="mlflow", asked="artifacts", arguments=[{"workspace": workspace}])
    return answer({"files": [_info(each) for each in found]})


def _upload(id: str, urls: Sequence[str]) -> dict[str, Any]:
    credentials = [{"url": url, "part_number": number, "headers": {}} for number, url in enumerate(urls, 1)]
    return {"upload_id": id, "credentials": credentials}


def _info(found: files.Found) -> dict[str, Any]:
    if found.blob is None:
        return {"path": found.path, "is_dir": True}
    return {"path": found.path, "is_dir": False, "file_size": found.blob.size}
