"""How MLServer and Triton have models on disk, and how they tell which one they have loaded.

Both have a folder for each model, `<model>/` beneath the root of the repository, in which one version at a time is
the one that a load takes. Which one that was is written into its configuration, `<number>-<tag>`, and comes back in
what the server tells of a model.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson

from lineal.errors import InvalidArgument, PreconditionFailed
from serving import pbtxt
from serving.placing import Content, Place, check_path, small
from serving.port import Served, tag_of
from storage.configuration import Kind

MAX_SMALL: Final = 2**20
"""Bytes of a file that lies beside the versions of a model in Triton."""

_LABEL: Final = re.compile(r"(?P<number>[0-9]{1,18})-(?P<tag>[0-9a-f]{16})")


def label(served: Served) -> str:
    """What a version is called on disk and in configurations."""
    return f"{served.number}-{tag_of(served.source)}"


def labelled(text: object) -> tuple[int, str] | None:
    """The number and the tag in a label; None for what is none."""
    found = _LABEL.fullmatch(text) if isinstance(text, str) else None
    return (int(found["number"]), found["tag"]) if found else None


class Repository(ABC):
    """The layout of one kind of server."""

    settings: ClassVar[Mapping[str, Kind]] = {}
    """The settings that deployments may have."""
    details: ClassVar[str]
    """Where the server tells of a model that is loaded: what follows its address."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    async def bring(self, model: str, served: Served) -> None:
        """Have the files of a version there, which no load of a model takes yet. Raises as `put`."""

    @abstractmethod
    async def put(self, model: str, served: Served, settings: Mapping[str, Any]) -> None:
        """Have a load of a model take this version. What others it has on disk stays until `clear`.

        Raises as `Place.put`, and PreconditionFailed: the version is not made for this server.
        """

    @abstractmethod
    async def clear(self, model: str, keep: Served | None) -> None:
        """Remove what is on disk for a model, but for one version."""

    @abstractmethod
    def identify(self, told: Any) -> tuple[int, str] | None:
        """The number and the tag of the version in what the server tells of a model; None where it is not ours."""

    async def models(self) -> list[str]:
        """The models on disk."""
        return await self.place.names()


class MLServerRepository(Repository):
    """`<model>/<label>/` has the files; the one with a model-settings.json in it is what a load takes.

    A version brings its model-settings.json along, or the deployment has the settings `implementation` and, where it
    is not the folder as a whole, `uri`. The name and the version in it are Lineal's. It gives no `parameters.version`:
    only then MLServer goes over from one version to the next without a moment in between.
    """

    settings: ClassVar[Mapping[str, Kind]] = {"implementation": str, "uri": str}
    details: ClassVar[str] = ""
    _FILE: Final = "model-settings.json"

    async def bring(self, model: str, served: Served) -> None:
        leave = Content(served.source, choose=lambda path: None if path.rpartition("/")[2] == self._FILE else path)
        await self.place.put(f"{model}/{label(served)}", leave)

    async def put(self, model: str, served: Served, settings: Mapping[str, Any]) -> None:
        text = await self._settings(model, served, settings)
        await self.bring(model, served)
        await self.place.write(f"{model}/{label(served)}/{self._FILE}", text)
        for other in await self.place.names(model):
            if other != label(served):
                await self.place.remove(f"{model}/{other}/{self._FILE}")

    async def _settings(self, model: str, served: Served, settings: Mapping[str, Any]) -> bytes:
        own = await small(served.source, self._FILE)
        try:
            found = orjson.loads(own) if own is not None else {}
            parameters = dict(found.get("parameters") or {})
            given = str(settings.get("uri") or parameters.get("uri") or "")
        except (ValueError, TypeError, AttributeError):
            raise PreconditionFailed(f"{self._FILE} of version {served.number} is not understood") from None
        found["implementation"] = settings.get("implementation") or found.get("implementation")
        if not found["implementation"]:
            msg = f"version {served.number} has no {self._FILE}: add it, or give the setting implementation"
            raise PreconditionFailed(msg)
        if given and given not in {".", "./"}:
            try:
                parameters["uri"] = f"./{check_path(given.removeprefix('./').rstrip('/'))}"
            except InvalidArgument as error:
                raise PreconditionFailed(f"{self._FILE}: uri: {error.message}") from None
        parameters.pop("version", None)
        found |= {"name": model, "versions": [str(served.number), label(served)], "parameters": parameters}
        return orjson.dumps(found, option=orjson.OPT_INDENT_2)

    async def clear(self, model: str, keep: Served | None) -> None:
        if keep is None:
            await self.place.remove(model)
            return
        for other in await self.place.names(model):
            if other != label(keep):
                await self.place.remove(f"{model}/{other}")

    def identify(self, told: Any) -> tuple[int, str] | None:
        versions = told.get("versions") if isinstance(told, dict) else None
        found = [labelled(each) for each in versions or ()]
        return next((each for each in found if each is not None), None)


class TritonRepository(Repository):
    """`<model>/<number>/` has the files, `<model>/config.pbtxt` says which number a load takes.

    A version is what Triton wants in a version's folder, or a whole model's folder: config.pbtxt, small files beside
    it, and one folder named by a number, whatever that is. The name and the version policy in config.pbtxt are
    Lineal's, and it has one parameter more; what a version does not say there, Triton makes out by itself.
    """

    details: ClassVar[str] = "/config"
    _FILE: Final = "config.pbtxt"
    _KEY: Final = "lineal_version"

    async def bring(self, model: str, served: Served) -> None:
        folder, beside = await self._parts(served)

        def choose(path: str) -> str | None:
            if path == self._FILE or path in beside:
                return None
            return path.removeprefix(f"{folder}/") if folder else path

        await self.place.put(f"{model}/{served.number}", Content(served.source, choose=choose))

    async def put(self, model: str, served: Served, settings: Mapping[str, Any]) -> None:  # noqa: ARG002 - has none
        _, beside = await self._parts(served)
        config = await small(served.source, self._FILE) or b""
        await self.bring(model, served)
        for path in beside:
            await self.place.write(f"{model}/{path}", await small(served.source, path, MAX_SMALL) or b"")
        await self.place.write(f"{model}/{self._FILE}", self._config(config, model, served))

    async def _parts(self, served: Served) -> tuple[str, list[str]]:
        """The folder of a version's files, empty where it is all of them, and the files that lie beside it."""
        paths = [file.path for file in await served.source.files()]
        folders = {path.partition("/")[0] for path in paths if "/" in path and path.partition("/")[0].isdigit()}
        if len(folders) > 1:
            msg = f"version {served.number} has the folders {', '.join(sorted(folders))}, and may have one"
            raise PreconditionFailed(msg)
        folder = next(iter(folders), "")
        beside = [path for path in paths if folder and not path.startswith(f"{folder}/") and path != self._FILE]
        return folder, beside

    def _config(self, own: bytes, model: str, served: Served) -> bytes:
        try:
            rest = pbtxt.without(own.decode(), {"name", "version_policy"})
        except UnicodeDecodeError:
            raise PreconditionFailed(f"{self._FILE} of version {served.number} is not text") from None
        ours = (
            f"name: {pbtxt.quoted(model)}\n"
            f"version_policy {{ specific {{ versions: [ {served.number} ] }} }}\n"
            f"parameters {{ key: {pbtxt.quoted(self._KEY)} value {{ string_value: {pbtxt.quoted(label(served))} }} }}\n"
        )
        return f"{ours}{rest}".encode()

    async def clear(self, model: str, keep: Served | None) -> None:
        if keep is None:
            await self.place.remove(model)
            return
        for other in await self.place.names(model):
            if other.isdigit() and other != str(keep.number):
                await self.place.remove(f"{model}/{other}")

    def identify(self, told: Any) -> tuple[int, str] | None:
        try:
            return labelled(told["parameters"][self._KEY]["string_value"])
        except (KeyError, TypeError):
            return None
