"""MLflow's endpoints of webhooks, as its unchanged clients speak them.

What they make is a webhook of the format MLFLOW, in the workspace of the address or of the header that MLflow's clients
send, else in the default one. Webhooks of another format are not MLflow's, and not shown here. Names are unique here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

from auth.scopes import MLFLOW as NEEDS
from gateway.mlflow.errors import answer
from gateway.mlflow.face import KEY, Face, check_keyless, check_scopes, no_endpoint, workspace_of
from gateway.mlflow.searching import page_token, read_page_token
from graph.ontology import WEBHOOK
from graph.port import All, Node, Order, Paging, Prop
from lineal.errors import InvalidArgument, NotFound
from resolvers.auditing import note_read
from resolvers.operation import Operation
from resolvers.reading import resolve
from resolvers.webhooks import managing, mlflow
from resolvers.webhooks.hooks import ACTIVE
from resolvers.webhooks.signing import MLFLOW

ASKS: Final = "webhooks"
MAX_BODY: Final = 65_536
MAX_RESULTS: Final = 1_000
DEFAULT_RESULTS: Final = 100
_MISSING: Final = (
    "Missing value for required parameter '{}'. See the API docs for more information about request parameters."
)
_NAME: Final = re.compile(r"(?=.{1,63}$)[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
_NEWEST: Final = Order("createdAt", descending=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its operation, the workspace that it is about, its parameters, the id in its path.

    `key` is what it is done once under.
    """

    op: Operation
    workspace: str
    given: Mapping[str, Any]
    id: str = ""
    key: str | None = None

    def text(self, name: str, default: str | None = None) -> str | None:
        """A text, or the default where it was left out. Raises InvalidArgument."""
        value = self.given.get(name)
        if value is not None and not isinstance(value, str):
            shown = orjson.dumps(value).decode()
            msg = f"Invalid value {shown:.200} for parameter '{name}' supplied: it must be text"
            raise InvalidArgument(msg, field=name)
        return default if value is None else value

    def required(self, name: str) -> str:
        """A text that must be there. Raises InvalidArgument."""
        if not (value := self.text(name)):
            raise InvalidArgument(_MISSING.format(name), field=name)
        return value


Handler = Callable[[Asked], Awaitable[dict[str, Any]]]


class MlflowWebhooksRoute(Face):
    """All webhooks, one of them, and the test of one."""

    paths = re.compile(
        r"(?:/w/(?P<workspace>[^/]+))?/(?:ajax-)?api/2\.0/mlflow/webhooks(?:/(?P<id>[^/]+)(?P<test>/test)?)?"
    )

    def named(self, request: Request, match: re.Match[str]) -> str:
        """What is done, to one of them or to all."""
        return " ".join([ASKS, request.method, *([match["id"]] if match["id"] else [])])[:80]

    async def answer(self, op: Operation, request: Request, match: re.Match[str]) -> Response:
        """Answer a request. Raises NoEndpoint, and what the use case raises."""
        await op.snapshot()
        handler = HANDLERS["/{id}/test" if match["test"] else "/{id}" if match["id"] else ""].get(request.method)
        if handler is None:
            raise no_endpoint(request)
        check_scopes(op, NEEDS[ASKS])
        if handler is not _create:
            check_keyless(request)
        workspace = workspace_of(request, match)
        given = await _given(request)
        body = await handler(Asked(op, workspace, given, match["id"] or "", request.headers.get(KEY)))
        if request.method == "GET":
            told = [{"workspace": workspace, **({"id": match["id"]} if match["id"] else {})}]
            await note_read(op, face="mlflow", asked=ASKS, arguments=told)
        return answer(body)


async def _given(request: Request) -> Mapping[str, Any]:
    """The parameters: of a GET in its query, of others as JSON in a body. Raises InvalidArgument."""
    if request.method == "GET":
        return dict(request.query_params)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise InvalidArgument(f"the body is larger than the {MAX_BODY} bytes allowed")
    try:
        body = orjson.loads(bytes(content) or b"{}")
    except orjson.JSONDecodeError:
        raise InvalidArgument("the body must be JSON") from None
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be one JSON object")
    return body


# What is done ─────────────────────────────────────────────────────────────────────────────────────


async def _create(asked: Asked) -> dict[str, Any]:
    name, url = _name(asked.required("name")), _url(asked, asked.required("url"))
    made = await managing.create_webhook(
        asked.op,
        asked.key,
        name=name,
        url=url,
        workspace=asked.workspace,
        format=MLFLOW,
        types=_types(asked, "events"),
        description=asked.text("description"),
        secret=asked.text("secret") or None,
        signed=False,
        paused=_paused(asked) or False,
    )
    return {"webhook": _shown(_there(made.webhook, ""))}


async def _list(asked: Asked) -> dict[str, Any]:
    first = _results(asked.text("max_results", str(DEFAULT_RESULTS)) or "")
    where = All((Prop("workspace", "eq", asked.workspace), Prop("format", "eq", MLFLOW)))
    paging = Paging(min(first, 500), read_page_token(asked.text("page_token") or "", _NEWEST))
    page = await (await asked.op.snapshot()).find(WEBHOOK.name, where, order=_NEWEST, paging=paging)
    token = {"next_page_token": page_token(page.cursors[-1])} if page.has_next else {}
    return {"webhooks": [_shown(node) for node in page.items], **token}


async def _get(asked: Asked) -> dict[str, Any]:
    return {"webhook": _shown(await _node(asked))}


async def _update(asked: Asked) -> dict[str, Any]:
    node = await _node(asked)
    given: dict[str, Any] = {}
    if name := asked.text("name"):
        given["name"] = _name(name)
    if url := asked.text("url"):
        given["url"] = _url(asked, url)
    if asked.given.get("events"):
        given["types"] = _types(asked, "events")
    # These may be cleared: empty is more than left out.
    if (description := asked.text("description")) is not None:
        given["description"] = description
    secret, paused = asked.text("secret"), _paused(asked)
    node = await managing.change_webhook(asked.op, address=node.id, secret=secret, paused=paused, **given)
    return {"webhook": _shown(node)}


async def _delete(asked: Asked) -> dict[str, Any]:
    await managing.delete_webhook(asked.op, address=(await _node(asked)).id)
    return {}


async def _test(asked: Asked) -> dict[str, Any]:
    node = await _node(asked)
    event = asked.given.get("event")
    type_ = None if event is None else _type(event, "event")
    answer = (await managing.try_webhook(asked.op, address=node.id, type=type_)).answer
    result = {
        "success": answer.status is not None and answer.status < 400,
        "response_status": answer.status,
        "response_body": answer.body or None,
        "error_message": answer.error or None,
    }
    return {"result": {name: value for name, value in result.items() if value is not None}}


# Between MLflow's words and Lineal's ──────────────────────────────────────────────────────────────


async def _node(asked: Asked) -> Node:
    """The webhook of the id in the path. Raises NotFound, in MLflow's words."""
    try:
        node = await resolve(asked.op, asked.id, kinds={WEBHOOK.name}, field="webhook_id")
    except InvalidArgument:
        node = None
    if node is not None and (node.workspace != asked.workspace or node.props.get("format") != MLFLOW):
        node = None
    return _there(node, asked.id)


def _there(node: Node | None, id: str) -> Node:
    if node is None:
        raise NotFound(f"Webhook with ID {id} not found.")
    return node


def _shown(node: Node) -> dict[str, Any]:
    shown = {
        "webhook_id": node.id,
        "name": node.name,
        "description": node.props.get("description"),
        "url": node.props["url"],
        "events": [_event(type_) for type_ in sorted(node.props.get("types", mlflow.EVENTS))],
        "status": "ACTIVE" if node.props.get("state") == ACTIVE else "DISABLED",
        "creation_timestamp": node.created_at // 1_000,
        "last_updated_timestamp": node.updated_at // 1_000,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _event(type: str) -> dict[str, str]:
    """An event as protocol buffers in JSON have it: by the names of its enums."""
    entity, _, action = type.partition(".")
    return {"entity": entity.upper(), "action": action.upper()}


def _types(asked: Asked, name: str) -> list[str]:
    given = asked.given.get(name)
    if not given:
        raise InvalidArgument(_MISSING.format(name), field=name)
    if not isinstance(given, list):
        raise InvalidArgument(f"{name}: must be a list of objects with entity and action", field=name)
    return [_type(each, f"{name}[{i}]") for i, each in enumerate(given)]


def _type(given: Any, field: str) -> str:
    parts = [given.get(name) for name in ("entity", "action")] if isinstance(given, Mapping) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise InvalidArgument(f"{field}: must be an object with entity and action", field=field)
    entity, action = (str(part).lower() for part in parts)
    if f"{entity}.{action}" not in mlflow.EVENTS:
        known = sorted(each.partition(".")[2] for each in mlflow.EVENTS if each.startswith(f"{entity}."))
        msg = f"Invalid action '{action:.80}' for entity '{entity:.80}'. Valid actions are: {known}"
        raise InvalidArgument(msg, field=field)
    return f"{entity}.{action}"


def _paused(asked: Asked) -> bool | None:
    status = asked.text("status")
    if status is None:
        return None
    if status not in {"ACTIVE", "DISABLED"}:
        raise InvalidArgument(f"status: must be ACTIVE or DISABLED, not {status[:80]!r}", field="status")
    return status == "DISABLED"


def _name(name: str) -> str:
    """The name of a webhook. Raises InvalidArgument."""
    if _NAME.fullmatch(name) is None:
        msg = (
            f"Webhook name {name!r:.200} is invalid. It must start and end with a letter or digit, be less than 63 "
            "characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
        )
        raise InvalidArgument(msg, field="name")
    return name


def _url(asked: Asked, url: str) -> str:
    """A URL, in which nothing is wrong that MLflow has words for. Raises InvalidArgument."""
    hooks = asked.op.webhooks
    schemes = ["http", "https"] if hooks is not None and hooks.sender.private else ["https"]
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidArgument(f"Invalid webhook URL {url!r:.200}: {error!r}", field="url") from None
    if parts.scheme not in schemes:
        msg = f"Invalid webhook URL scheme: {parts.scheme!r:.80}. Allowed schemes are: {', '.join(schemes)}."
        raise InvalidArgument(msg, field="url")
    if not parts.hostname:
        raise InvalidArgument(f"Webhook URL must include a hostname: {url!r:.200}", field="url")
    return url


def _results(text: str) -> int:
    """How many a page has; 0 is as many as where nothing is said. Raises InvalidArgument."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MAX_RESULTS):
        raise InvalidArgument(f"max_results must be between 1 and {MAX_RESULTS}.", field="max_results")
    return int(text) or DEFAULT_RESULTS


HANDLERS: Final[Mapping[str, Mapping[str, Handler]]] = {
    "": {"GET": _list, "POST": _create},
    "/{id}": {"GET": _get, "PATCH": _update, "DELETE": _delete},
    "/{id}/test": {"POST": _test},
}
"""What answers, by the rest of the path and the method."""
