"""SCIM 2.0: what directories send, what they get, and what becomes of it in the graph."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from auth.caller import Caller
from auth.challenges import Resource
from auth.directory import Directory
from gateway.scim import create_scim_app
from gateway.scim_filter import Path
from gateway.scim_patch import Op, carry_out
from graph.port import Graph, NewEdge, NewNode, Node
from lineal.errors import Unauthenticated
from resolvers.operation import Operation
from resolvers.provisioning import MEMBERS
from resolvers.reading import resolve
from resolvers.writing.models import register_model
from tests import building as b

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"

RESOURCE = Resource("https://lineal.test/graphql")
METADATA = 'resource_metadata="https://lineal.test/.well-known/oauth-protected-resource/graphql"'

DIRECTORY = Caller("corp:provisioner", frozenset({"directory:write"}), type="SERVICE")
CALLERS = {
    "directory": DIRECTORY,
    "reader": Caller("corp:reader", frozenset({"model:read", "workspace:read"})),
    "nobody": Caller("anonymous"),
}

OKTA_USER: dict[str, Any] = {
    "schemas": [USER],
    "userName": "test.user@okta.local",
    "name": {"givenName": "Test", "familyName": "User"},
    "emails": [{"primary": True, "value": "test.user@okta.local", "type": "work"}],
    "displayName": "Test User",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}
ENTRA_USER: dict[str, Any] = {
    "schemas": [USER, ENTERPRISE],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1",
    "active": True,
    "addresses": [],
    "emails": [{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@testuser.com"}],
    "meta": {"resourceType": "User"},
    "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
    "roles": [],
    ENTERPRISE: {"department": "bob"},
}


@dataclass
class Scim:
    """A client of the face, and the store behind it."""

    http: httpx.AsyncClient
    graph: Graph

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, match: str | None = None) -> Any:
        """The JSON of an answer that has this status."""
        headers = {} if match is None else {"if-match": match}
        answer = await self.http.request(method, f"/scim/v2{path}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        if not answer.content:
            return None
        assert answer.headers["content-type"] == "application/scim+json"
        return answer.json()

    async def user(self, body: dict[str, Any] = OKTA_USER, **changed: Any) -> Any:
        """A provisioned user."""
        return await self.ask("POST", "/Users", {**body, **changed}, 201)

    async def person(self, name: str) -> Any:
        """A user known by their name alone."""
        return await self.user({"schemas": [USER], "userName": name})

    async def patch(self, resource: Any, *operations: Any, status: int = 200) -> Any:
        """The answer to a PATCH of a user or a group."""
        body = {"schemas": [PATCH_OP], "Operations": list(operations)}
        return await self.ask("PATCH", path_of(resource), body, status)

    async def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str | None]:
        """The status and the scimType of an error."""
        answer = await self.http.request(method, f"/scim/v2{path}", json=body, headers=headers)
        error = answer.json()
        assert error["schemas"] == [ERROR]
        assert error["status"] == str(answer.status_code)
        assert error["detail"]
        return answer.status_code, error.get("scimType")

    async def found(self, kind: str, filter: str) -> list[str]:
        """The ids of what a filter finds."""
        answer = await self.http.get(f"/scim/v2/{kind}", params={"filter": filter})
        assert answer.status_code == 200, answer.text
        return [r["id"] for r in answer.json()["Resources"]]

    async def node(self, resource: Any) -> Node:
        """What is behind a resource."""
        node = await b.node(self.graph, resource["id"])
        assert node is not None
        return node

    async def members(self, group: Any) -> set[str]:
        """The user names of a group's members."""
        shown = await self.ask("GET", f"/Groups/{group['id']}")
        return {(await self.node({"id": m["value"]})).props["userName"] for m in shown.get("members", [])}


def path_of(resource: Any) -> str:
    """The path of a resource under the face's root."""
    return f"/{resource['meta']['resourceType']}s/{resource['id']}"


def app_on(graph: Graph, **options: Any) -> Starlette:
    """The face alone; who asks is named by a header."""

    def operation(request: Request) -> Operation:
        return Operation(graph, caller=CALLERS[request.headers.get("who", "directory")], request="req-1")

    return Starlette(routes=[create_scim_app(operation, resource=RESOURCE, issuer="corp", **options)])


@pytest.fixture
async def scim(graph: Graph) -> AsyncIterator[Scim]:
    """The face on an empty store of either kind."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_on(graph)), base_url="https://lineal.test") as http:
        yield Scim(http, graph)


@pytest.fixture
async def embedded(sqlite_graph: Graph) -> AsyncIterator[Scim]:
    """The face on SQLite, for what does not depend on the store."""
    transport = httpx.ASGITransport(app_on(sqlite_graph, max_body=10_000))
    async with httpx.AsyncClient(transport=transport, base_url="https://lineal.test") as http:
        yield Scim(http, sqlite_graph)


# ── Users ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_user_becomes_a_principal_named_by_issuer_and_external_id(scim: Scim) -> None:
    made = await scim.user()
    node = await scim.node(made)
    assert (node.kind, node.name) == ("Principal", "corp:00ujl29u0le5T6Aj10h7")
    assert node.created_by == "corp:provisioner"
    assert node.props["displayName"] == "Test User"
    assert node.props["active"] is True
    assert node.props["externalId"] == "00ujl29u0le5T6Aj10h7"


async def test_what_lineal_has_no_property_for_is_given_back_but_a_password_is_not_kept(scim: Scim) -> None:
    made = await scim.user(ENTRA_USER, password="hunter2")
    shown = await scim.ask("GET", path_of(made))
    assert shown == made
    assert shown["schemas"] == [USER, ENTERPRISE]
    assert shown[ENTERPRISE] == {"department": "bob"}
    assert shown["emails"] == ENTRA_USER["emails"]
    assert shown["name"] == ENTRA_USER["name"]
    assert "hunter2" not in str((await scim.node(made)).props)


async def test_a_user_has_a_location_a_version_and_times(embedded: Scim) -> None:
    answer = await embedded.http.post("/scim/v2/Users", json=OKTA_USER)
    meta = answer.json()["meta"]
    assert answer.headers["location"] == meta["location"]
    assert meta["location"] == f"https://lineal.test/scim/v2/Users/{answer.json()['id']}"
    assert answer.headers["etag"] == meta["version"]
    assert meta["created"] == meta["lastModified"]
    assert meta["created"].endswith("Z")


async def test_without_an_external_id_the_user_name_names_the_principal(embedded: Scim) -> None:
    assert (await embedded.node(await embedded.person("Ann"))).name == "corp:Ann"


async def test_without_a_display_name_people_are_called_by_their_name(embedded: Scim) -> None:
    made = await embedded.user(ENTRA_USER)
    assert (await embedded.node(made)).props["displayName"] == "givenName familyName"


async def test_names_of_attributes_know_no_case(embedded: Scim) -> None:
    made = await embedded.user({"schemas": [USER], "USERNAME": "ann", "ACTIVE": "False", "nickName": "A"})
    assert (made["userName"], made["active"], made["nickName"]) == ("ann", False, "A")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"userName": ""},
        {"userName": 7},
        {"userName": "a" * 401},
        {"userName": "a", "active": "maybe"},
        {"userName": "a", "externalId": ["x"]},
        {"userName": "a", "displayName": {"a": 1}},
        {"userName": "a\u0000"},
    ],
)
async def test_a_user_that_is_none_is_refused(embedded: Scim, body: Any) -> None:
    assert await embedded.refused("POST", "/Users", body) == (400, "invalidValue")


async def test_a_user_name_is_taken_whatever_its_case(scim: Scim) -> None:
    await scim.user()
    again = {**OKTA_USER, "externalId": "other", "userName": OKTA_USER["userName"].upper()}
    assert await scim.refused("POST", "/Users", again) == (409, "uniqueness")
    assert await scim.refused("POST", "/Users", {**OKTA_USER, "userName": "other"}) == (409, "uniqueness")


async def test_who_appeared_with_a_token_is_taken_over_and_keeps_what_they_had(scim: Scim) -> None:
    subject = OKTA_USER["externalId"]
    caller = Caller(f"corp:{subject}", issuer="https://issuer.example", subject=subject, display_name="Tess")
    await Directory(scim.graph).admit(caller, "req-0", "")
    assert await scim.found("Users", f'externalId eq "{subject}"') == []
    made = await scim.user()
    node = await scim.node(made)
    assert node.created_by == caller.name
    assert node.props["directory"]["issuer"] == "https://issuer.example"
    assert node.props["displayName"] == "Test User"


@pytest.mark.parametrize(
    ("filter", "finds"),
    [
        ('userName eq "ann"', ["ann"]),
        ('USERNAME EQ "ANN"', ["ann"]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann"', ["ann"]),
        ('externalId eq "e-1"', ["bob"]),
        ('externalId eq "E-1"', []),
        ("active eq true", ["ann", "bob"]),
        ("active eq false", ["cid"]),
        ('active eq "False"', ["cid"]),
        ('userName sw "b" and active eq true', ["bob"]),
        ('userName sw "b" and active eq false', []),
        ('userName co "\\"" ', []),
        ('displayName eq "Bob"', ["bob"]),
        ('id eq "pr_00000000000000000000000000"', []),
    ],
)
async def test_users_are_found_by_filters(scim: Scim, filter: str, finds: list[str]) -> None:
    ids = {(await scim.person("ann"))["id"]: "ann"}
    ids[(await scim.user({"userName": "bob", "externalId": "e-1", "displayName": "Bob"}))["id"]] = "bob"
    ids[(await scim.user({"userName": "cid", "active": False}))["id"]] = "cid"
    assert sorted(ids[id] for id in await scim.found("Users", filter)) == finds
    for id, name in ids.items():
        assert [ids[found] for found in await scim.found("Users", f'id eq "{id}"')] == [name]


@pytest.mark.parametrize(
    "filter",
    [
        "",
        "userName",
        "userName eq",
        'userName eq "a',
        "userName eq null",
        "userName eq {}",
        'userName gt "a"',
        'userName eq "a" or userName eq "b"',
        'not (userName eq "a")',
        'password eq "a"',
        'emails[type eq "work"] eq "a"',
        'displayName eq "a" userName eq "b"',
        'active co "a"',
        'id sw "pr"',
        'userName eq "a" and ' * 30 + 'userName eq "a"',
        'userName eq "' + "a" * 3_000 + '"',
        "userName eq " + '"\\' * 900,
        "((((((((((" * 100,
        'urn:x:y:userName eq "a"',
        'user-.name eq "a"',
        "userName pr",
        "userName eq 7",
    ],
)
async def test_filters_that_cannot_be_asked_are_refused(embedded: Scim, filter: str) -> None:
    answer = await embedded.http.get("/scim/v2/Users", params={"filter": filter})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")


async def test_users_come_in_pages(scim: Scim) -> None:
    for name in "abcde":
        await scim.person(name)
    seen = []
    for start in (1, 3, 5):
        page = await scim.ask("GET", f"/Users?startIndex={start}&count=2")
        assert (page["totalResults"], page["startIndex"]) == (5, start)
        assert page["itemsPerPage"] == len(page["Resources"])
        seen += [r["userName"] for r in page["Resources"]]
    assert seen == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("query", "shown"), [("count=0", 0), ("count=-3", 0), ("startIndex=9", 0), ("startIndex=-1", 2)]
)
async def test_pages_may_be_empty_and_begin_at_one(embedded: Scim, query: str, shown: int) -> None:
    await embedded.person("a")
    await embedded.person("b")
    page = await embedded.ask("GET", f"/Users?{query}")
    assert (page["totalResults"], len(page["Resources"])) == (2, shown)


async def test_a_page_is_named_by_numbers(embedded: Scim) -> None:
    assert await embedded.refused("GET", "/Users?startIndex=x") == (400, "invalidValue")
    assert await embedded.refused("GET", f"/Users?count={'9' * 5_000}") == (400, "invalidValue")


async def test_attributes_may_be_chosen(embedded: Scim) -> None:
    made = await embedded.user()
    assert set(await embedded.ask("GET", f"{path_of(made)}?attributes=userName,name.givenName")) == {
        "schemas",
        "id",
        "userName",
        "name",
    }
    without = await embedded.ask("GET", f"{path_of(made)}?excludedAttributes=emails,meta")
    assert "emails" not in without
    assert "meta" not in without
    assert without["userName"] == made["userName"]


async def test_put_replaces_what_was_said(scim: Scim) -> None:
    made = await scim.user(ENTRA_USER)
    put = {**ENTRA_USER, "userName": "renamed", "name": {"formatted": "New Name"}}
    del put[ENTERPRISE]
    shown = await scim.ask("PUT", path_of(made), put)
    assert (shown["userName"], shown["name"]) == ("renamed", {"formatted": "New Name"})
    assert ENTERPRISE not in shown
    assert shown["id"] == made["id"]
    assert shown["meta"]["version"] != made["meta"]["version"]
    assert (await scim.node(made)).props["displayName"] == "New Name"
    assert await scim.found("Users", 'userName eq "renamed"') == [made["id"]]


async def test_the_id_that_names_a_principal_cannot_change(scim: Scim) -> None:
    by_id, by_name = await scim.user(), await scim.person("ann")
    changed = {"op": "replace", "path": "externalId", "value": "other"}
    assert (await scim.patch(by_id, changed, status=400))["scimType"] == "mutability"
    renamed = {"op": "replace", "path": "userName", "value": "bob"}
    assert (await scim.patch(by_name, renamed, status=400))["scimType"] == "mutability"
    named = {"op": "add", "value": {"externalId": "e-9"}}
    assert (await scim.patch(by_name, named, status=400))["scimType"] == "mutability"
    assert (await scim.patch(by_id, {"op": "remove", "path": "externalId"}, status=400))["scimType"] == "mutability"
    cased = {"op": "replace", "path": "externalId", "value": OKTA_USER["externalId"].upper()}
    assert (await scim.patch(by_id, cased, status=400))["scimType"] == "mutability"
    assert (await scim.patch(by_id, renamed))["userName"] == "bob"
    assert (await scim.patch(by_name, {"op": "replace", "path": "userName", "value": "ANN"}))["userName"] == "ANN"


async def test_the_name_that_names_a_principal_is_the_tokens_whatever_the_case(scim: Scim) -> None:
    directory, token = Directory(scim.graph), Caller("corp:bob@example.org")
    await directory.admit(token)
    bob = await scim.person("Bob@Example.org")
    assert (await scim.node(bob)).name == token.name
    await scim.patch(bob, {"op": "replace", "path": "active", "value": False})
    with pytest.raises(Unauthenticated, match="deactivated"):
        await directory.check(token)
    await scim.person("Ann@Example.org")
    with pytest.raises(Unauthenticated, match=r"'corp:Ann@Example\.org', but in another case"):
        await directory.admit(Caller("corp:ann@example.org"))


async def test_who_has_left_is_not_let_in_by_their_name_in_another_case(embedded: Scim) -> None:
    made = await embedded.person("Ann")
    await embedded.ask("DELETE", path_of(made), status=204)
    with pytest.raises(Unauthenticated, match="'corp:Ann', but in another case"):
        await Directory(embedded.graph).admit(Caller("corp:ann"))


async def test_ids_that_differ_by_case_alone_are_of_two_people(embedded: Scim) -> None:
    await embedded.user(externalId="AbC")
    await Directory(embedded.graph).admit(Caller("corp:aBc"))
    await embedded.user(externalId="abc", userName="other")
    page = await embedded.ask("GET", "/Users")
    assert [user["externalId"] for user in page["Resources"]] == ["AbC", "abc"]


async def test_a_name_that_several_have_but_for_its_case_names_nobody(embedded: Scim) -> None:
    for name in ("corp:bob", "corp:BOB"):
        await Directory(embedded.graph).admit(Caller(name))
    body = {"schemas": [USER], "userName": "Bob"}
    assert await embedded.refused("POST", "/Users", body) == (409, "uniqueness")
    assert (await embedded.node(await embedded.user(body, externalId="bob"))).name == "corp:bob"


async def test_a_user_name_that_is_taken_cannot_be_taken_by_a_change(scim: Scim) -> None:
    made, _ = await scim.user(), await scim.person("ann")
    taken = {"op": "replace", "path": "userName", "value": "ANN"}
    assert (await scim.patch(made, taken, status=409))["scimType"] == "uniqueness"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "value": {"active": False}},
        {"op": "Replace", "value": {"active": "False"}},
        {"op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False},
        {"OP": "REPLACE", "PATH": "Active", "VALUE": False},
    ],
)
async def test_directories_deactivate_in_all_their_dialects(embedded: Scim, operation: Any) -> None:
    made = await embedded.user()
    assert (await embedded.patch(made, operation))["active"] is False
    assert (await embedded.node(made)).props["active"] is False


@pytest.mark.parametrize(
    ("operation", "attribute", "after"),
    [
        (
            {"op": "Add", "path": 'emails[type eq "home"].value', "value": "h@x.org"},
            "emails",
            [*ENTRA_USER["emails"], {"type": "home", "value": "h@x.org"}],
        ),
        (
            {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "w@x.org"},
            "emails",
            [{"primary": True, "type": "work", "value": "w@x.org"}],
        ),
        (
            {"op": "Replace", "path": 'emails[type eq "work" and primary eq "True"].value', "value": "w@x.org"},
            "emails",
            [{"primary": True, "type": "work", "value": "w@x.org"}],
        ),
        (
            {"op": "replace", "path": 'emails[type eq "work"]', "value": {"value": "w@x.org", "display": "W"}},
            "emails",
            [{"primary": True, "type": "work", "value": "w@x.org", "display": "W"}],
        ),
        (
            {"op": "add", "path": "emails", "value": [{"value": "p@x.org", "primary": True}]},
            "emails",
            [{**ENTRA_USER["emails"][0], "primary": False}, {"value": "p@x.org", "primary": True}],
        ),
        ({"op": "add", "path": "emails", "value": ENTRA_USER["emails"]}, "emails", ENTRA_USER["emails"]),
        ({"op": "replace", "path": "emails", "value": [{"value": "o@x.org"}]}, "emails", [{"value": "o@x.org"}]),
        ({"op": "remove", "path": 'emails[type eq "work"]'}, "emails", None),
        ({"op": "remove", "path": 'emails[type sw "no"]'}, "emails", ENTRA_USER["emails"]),
        (
            {"op": "remove", "path": "emails[type pr].type"},
            "emails",
            [{"primary": True, "value": ENTRA_USER["emails"][0]["value"]}],
        ),
        (
            {"op": "remove", "path": "emails.type"},
            "emails",
            [{"primary": True, "value": ENTRA_USER["emails"][0]["value"]}],
        ),
        ({"op": "remove", "path": "emails", "value": [{"value": ENTRA_USER["emails"][0]["value"]}]}, "emails", None),
        ({"op": "remove", "path": "emails"}, "emails", None),
        (
            {"op": "Replace", "path": "name.familyName", "value": "New"},
            "name",
            {"formatted": "givenName familyName", "familyName": "New", "givenName": "givenName"},
        ),
        (
            {"op": "replace", "path": "name", "value": {"familyName": "New"}},
            "name",
            {"formatted": "givenName familyName", "familyName": "New", "givenName": "givenName"},
        ),
        ({"op": "remove", "path": "name"}, "name", None),
        ({"op": "Add", "path": "title", "value": "Dr."}, "title", "Dr."),
        ({"op": "Add", "path": "title", "value": None}, "title", None),
        ({"op": "Add", "path": f"{ENTERPRISE}:department", "value": "ai"}, ENTERPRISE, {"department": "ai"}),
        (
            {"op": "Add", "path": f"{ENTERPRISE}:manager.displayName", "value": "Mo"},
            ENTERPRISE,
            {"department": "bob", "manager": {"displayName": "Mo"}},
        ),
        (
            {"op": "add", "path": ENTERPRISE, "value": {"division": "d"}},
            ENTERPRISE,
            {"department": "bob", "division": "d"},
        ),
        ({"op": "remove", "path": ENTERPRISE}, ENTERPRISE, None),
        (
            {"op": "Add", "value": {"name.givenName": "Ada", f"{ENTERPRISE}:department": "ai"}},
            ENTERPRISE,
            {"department": "ai"},
        ),
        ({"op": "replace", "value": {"id": "of its own", "nickName": "T"}}, "nickName", "T"),
    ],
)
async def test_a_patch_changes_what_it_names(embedded: Scim, operation: Any, attribute: str, after: Any) -> None:
    made = await embedded.user(ENTRA_USER)
    shown = await embedded.patch(made, operation)
    assert shown.get(attribute) == after
    assert await embedded.ask("GET", path_of(made)) == shown


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "replace", "path": 'emails[type eq "none"].value', "value": "x"}, "noTarget"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "move", "path": "active"}, "invalidSyntax"),
        ({"path": "active", "value": True}, "invalidSyntax"),
        ("replace", "invalidSyntax"),
        ({"op": "replace", "path": 7, "value": True}, "invalidPath"),
        ({"op": "replace", "path": "emails[", "value": True}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"', "value": True}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"]x', "value": True}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"].a.b', "value": True}, "invalidPath"),
        ({"op": "replace", "path": "a b", "value": True}, "invalidPath"),
        ({"op": "replace", "path": "a.b.c", "value": True}, "invalidPath"),
        ({"op": "replace", "path": "userName.x", "value": True}, "invalidPath"),
        ({"op": "replace", "path": 'userName[x eq "y"].z', "value": True}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"]', "value": 1}, "invalidValue"),
        ({"op": "replace", "value": True}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "remove", "path": "userName"}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "groups", "value": []}, "mutability"),
    ],
)
async def test_a_patch_that_cannot_be_done_changes_nothing(embedded: Scim, operation: Any, kind: str) -> None:
    made = await embedded.user()
    body = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "Dr."}, operation]}
    answer = await embedded.http.patch(f"/scim/v2{path_of(made)}", json=body)
    assert (answer.status_code, answer.json()["scimType"]) == (400, kind)
    assert await embedded.ask("GET", path_of(made)) == made


async def test_a_patch_says_that_it_is_one(embedded: Scim) -> None:
    made = await embedded.user()
    operation = {"op": "replace", "path": "active", "value": False}
    bodies: list[Any] = [{"schemas": [USER], "Operations": [operation]}, {"schemas": [PATCH_OP]}, {"Operations": []}]
    for body in bodies:
        assert await embedded.refused("PATCH", path_of(made), body) == (400, "invalidSyntax")


async def test_a_deleted_user_is_gone_from_the_directory_and_stays_in_the_graph(scim: Scim) -> None:
    made = await scim.user()
    group = await scim.ask("POST", "/Groups", {"displayName": "team", "members": [{"value": made["id"]}]}, 201)
    await scim.ask("DELETE", path_of(made), status=204)
    asked: list[tuple[str, Any]] = [("GET", None), ("PUT", OKTA_USER), ("DELETE", None)]
    for method, body in asked:
        assert await scim.refused(method, path_of(made), body) == (404, None)
    assert (await scim.ask("GET", "/Users"))["totalResults"] == 0
    assert await scim.members(group) == set()
    node = await scim.node(made)
    assert node.props["active"] is False
    assert "emails" not in str(node.props)


async def test_who_comes_back_is_the_same_principal(scim: Scim) -> None:
    made = await scim.user()
    await scim.ask("DELETE", path_of(made), status=204)
    again = await scim.user()
    assert again["id"] == made["id"]
    assert again["active"] is True


# ── Versions ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_of_another_version_is_refused(scim: Scim) -> None:
    made = await scim.user()
    old = made["meta"]["version"]
    fresh = (await scim.patch(made, {"op": "add", "path": "title", "value": "Dr."}))["meta"]["version"]
    assert fresh != old
    for method in ("PUT", "PATCH", "DELETE"):
        body: Any = {**OKTA_USER, "schemas": [PATCH_OP], "Operations": [{"op": "remove", "path": "title"}]}
        assert await scim.refused(method, path_of(made), body, **{"if-match": old}) == (412, None)
    await scim.ask("PUT", path_of(made), OKTA_USER, match=f'"x", {fresh}')
    await scim.ask("DELETE", path_of(made), status=204, match="*")


async def test_what_has_not_changed_is_not_sent_again(embedded: Scim) -> None:
    made = await embedded.user()
    headers = {"if-none-match": made["meta"]["version"]}
    assert (await embedded.http.get(f"/scim/v2{path_of(made)}", headers=headers)).status_code == 304
    await embedded.patch(made, {"op": "add", "path": "title", "value": "Dr."})
    assert (await embedded.http.get(f"/scim/v2{path_of(made)}", headers=headers)).status_code == 200


# ── Groups ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_group_becomes_a_team_with_its_members(scim: Scim) -> None:
    ann, bob = await scim.person("ann"), await scim.person("bob")
    body = {"schemas": [GROUP], "displayName": "Research", "externalId": "g-1", "members": [{"value": ann["id"]}]}
    made = await scim.ask("POST", "/Groups", body, 201)
    node = await scim.node(made)
    assert (node.kind, node.name, node.props["externalId"]) == ("Team", "Research", "g-1")
    assert [m["value"] for m in made["members"]] == [ann["id"]]
    assert made["members"][0]["$ref"].endswith(f"/scim/v2/Users/{ann['id']}")
    (shown,) = (await scim.ask("GET", f"/Users/{ann['id']}"))["groups"]
    assert (shown["value"], shown["display"]) == (made["id"], "Research")
    assert "groups" not in await scim.ask("GET", f"/Users/{bob['id']}")


@pytest.mark.parametrize(
    ("operations", "after"),
    [
        ([{"op": "add", "path": "members", "value": [{"value": "bob"}]}], {"ann", "bob"}),
        ([{"op": "Add", "path": "members", "value": [{"$ref": None, "value": "bob"}]}], {"ann", "bob"}),
        ([{"op": "add", "value": {"members": [{"value": "bob"}]}}], {"ann", "bob"}),
        ([{"op": "remove", "path": 'members[value eq "ann"]'}], set()),
        ([{"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "ann"}]}], set()),
        ([{"op": "remove", "path": 'members[value eq "bob"]'}], {"ann"}),
        ([{"op": "remove", "path": "members"}], set()),
        ([{"op": "replace", "path": "members", "value": [{"value": "bob"}, {"value": "cid"}]}], {"bob", "cid"}),
        ([{"op": "replace", "path": "members", "value": []}], set()),
        (
            [
                {"op": "remove", "path": 'members[value eq "ann"]'},
                {"op": "add", "path": "members", "value": [{"value": "cid", "display": "Cid"}]},
            ],
            {"cid"},
        ),
        (
            [
                {"op": "add", "path": "members", "value": [{"value": "cid"}]},
                {"op": "remove", "path": "members"},
                {"op": "add", "path": "members", "value": {"value": "bob"}},
            ],
            {"bob"},
        ),
    ],
)
async def test_members_come_and_go(scim: Scim, operations: list[Any], after: set[str]) -> None:
    ids = {name: (await scim.person(name))["id"] for name in ("ann", "bob", "cid")}
    group = await scim.ask("POST", "/Groups", {"displayName": "team", "members": [{"value": ids["ann"]}]}, 201)
    text = httpx.Response(200, json=operations).text
    for name, id in ids.items():
        text = text.replace(f'"value":"{name}"', f'"value":"{id}"').replace(f'eq \\"{name}', f'eq \\"{id}')
    before = group["meta"]["version"]
    await scim.patch(group, *httpx.Response(200, text=text).json(), status=204)
    assert await scim.members(group) == after
    assert (await scim.ask("GET", path_of(group)))["meta"]["version"] != before


async def test_okta_renames_a_group_with_its_id_in_the_value(scim: Scim) -> None:
    group = await scim.ask("POST", "/Groups", {"displayName": "team"}, 201)
    await scim.patch(group, {"op": "replace", "value": {"id": group["id"], "displayName": "squad"}}, status=204)
    assert (await scim.node(group)).name == "squad"
    assert await scim.found("Groups", 'displayName eq "squad"') == [group["id"]]
    assert await scim.found("Groups", 'displayName eq "team"') == []


async def test_members_that_no_directory_provisioned_are_shown_and_replaced_like_all_others(scim: Scim) -> None:
    group = await scim.ask("POST", "/Groups", {"displayName": "red"}, 201)
    (bob,) = await b.create(scim.graph, NewNode("Principal", "corp:bob", ""))
    await b.link(scim.graph, NewEdge("MEMBER_OF", bob.id, group["id"]))
    shown = await scim.ask("GET", path_of(group))
    assert shown["members"] == [{"value": bob.id, "display": "corp:bob", "type": "User"}]
    kept = await scim.ask("PUT", path_of(group), {"displayName": "red", "members": shown["members"]})
    assert kept["members"] == shown["members"]
    emptied = await scim.ask("PUT", path_of(group), {"displayName": "red", "members": []})
    assert "members" not in emptied
    async with scim.graph.snapshot() as snapshot:
        assert (await snapshot.neighbours([group["id"]], MEMBERS))[group["id"]].items == []


async def test_put_replaces_a_group_and_its_members(scim: Scim) -> None:
    ann, bob = await scim.person("ann"), await scim.person("bob")
    group = await scim.ask("POST", "/Groups", {"displayName": "a", "members": [{"value": ann["id"]}], "x": 1}, 201)
    shown = await scim.ask("PUT", path_of(group), {"displayName": "b", "members": [{"value": bob["id"]}]})
    assert shown["displayName"] == "b"
    assert "x" not in shown
    assert await scim.members(group) == {"bob"}


async def test_groups_are_found_by_name_and_by_member(scim: Scim) -> None:
    ann = await scim.person("ann")
    one = await scim.ask("POST", "/Groups", {"displayName": "one", "members": [{"value": ann["id"]}]}, 201)
    two = await scim.ask("POST", "/Groups", {"displayName": "two", "externalId": "g-2"}, 201)
    assert await scim.found("Groups", 'displayName eq "two"') == [two["id"]]
    assert await scim.found("Groups", f'members.value eq "{ann["id"]}"') == [one["id"]]
    assert await scim.found("Groups", f'members eq "{ann["id"]}" and displayName eq "two"') == []
    assert await scim.found("Groups", 'externalId eq "g-2"') == [two["id"]]
    shown = await scim.ask("GET", "/Groups?excludedAttributes=members")
    assert [g["displayName"] for g in shown["Resources"]] == ["one", "two"]
    assert all("members" not in g for g in shown["Resources"])


async def test_members_are_users_that_are_there(scim: Scim) -> None:
    team = await scim.ask("POST", "/Groups", {"displayName": "team"}, 201)
    for value in (team["id"], "pr_00000000000000000000000000", "no id"):
        body = {"displayName": "other", "members": [{"value": value}]}
        assert await scim.refused("POST", "/Groups", body) == (400, "invalidValue")
    assert await scim.found("Groups", 'displayName eq "other"') == []


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "add", "path": 'members[value eq "x"]', "value": "y"}, "invalidPath"),
        ({"op": "remove", "path": 'members[display eq "x"]'}, "invalidPath"),
        ({"op": "replace", "path": "members.display", "value": "y"}, "mutability"),
        ({"op": "add", "path": "members", "value": [7]}, "invalidValue"),
        ({"op": "add", "path": "members", "value": [{"display": "x"}]}, "invalidValue"),
        ({"op": "remove", "path": "displayName"}, "invalidValue"),
    ],
)
async def test_a_patch_of_a_group_that_cannot_be_done_is_refused(embedded: Scim, operation: Any, kind: str) -> None:
    group = await embedded.ask("POST", "/Groups", {"displayName": "team"}, 201)
    assert (await embedded.patch(group, operation, status=400))["scimType"] == kind


async def test_a_groups_name_is_taken_once(scim: Scim) -> None:
    await scim.ask("POST", "/Groups", {"displayName": "one"}, 201)
    two = await scim.ask("POST", "/Groups", {"displayName": "two"}, 201)
    assert await scim.refused("POST", "/Groups", {"displayName": "one"}) == (409, "uniqueness")
    renamed = {"op": "replace", "path": "displayName", "value": "one"}
    assert (await scim.patch(two, renamed, status=409))["scimType"] == "uniqueness"


async def test_a_deleted_group_is_gone_and_its_name_is_free(scim: Scim) -> None:
    ann = await scim.person("ann")
    group = await scim.ask("POST", "/Groups", {"displayName": "team", "members": [{"value": ann["id"]}]}, 201)
    await scim.ask("DELETE", path_of(group), status=204)
    assert await scim.refused("GET", path_of(group)) == (404, None)
    assert "groups" not in await scim.ask("GET", path_of(ann))
    assert (await scim.ask("POST", "/Groups", {"displayName": "team"}, 201))["id"] != group["id"]


async def test_users_are_no_groups(embedded: Scim) -> None:
    made = await embedded.user()
    assert await embedded.refused("GET", f"/Groups/{made['id']}") == (404, None)


# ── What it means for access ──────────────────────────────────────────────────────────────────────


async def test_who_is_deactivated_loses_everything_at_the_next_request(scim: Scim) -> None:
    made = await scim.user()
    await b.model(scim.graph, "bert")
    tess = Caller((await scim.node(made)).name, frozenset({"admin"}))
    assert await _model_of(scim.graph, tess) == "bert"
    await scim.patch(made, {"op": "Replace", "path": "active", "value": "False"})
    with pytest.raises(Unauthenticated, match="deactivated"):
        await _model_of(scim.graph, tess)
    await scim.patch(made, {"op": "Replace", "path": "active", "value": "True"})
    assert await _model_of(scim.graph, tess) == "bert"
    await scim.ask("DELETE", path_of(made), status=204)
    with pytest.raises(Unauthenticated, match="deactivated"):
        await _model_of(scim.graph, tess)


async def test_who_is_deactivated_within_a_request_writes_no_more(scim: Scim) -> None:
    made = await scim.user()
    tess = Caller((await scim.node(made)).name, frozenset({"admin"}))
    async with Operation(scim.graph, caller=tess) as op:
        await op.snapshot()
        await scim.patch(made, {"op": "replace", "value": {"active": False}})
        with pytest.raises(Unauthenticated, match="deactivated"):
            await register_model(op, name="late")
    assert await _model_of(scim.graph, Caller("corp:other", frozenset({"admin"})), "late") is None


async def _model_of(graph: Graph, caller: Caller, name: str = "bert") -> str | None:
    async with Operation(graph, caller=caller) as op:
        node = await resolve(op, f"models:/{name}")
        return node.name if node else None


async def test_members_have_the_roles_of_their_team(scim: Scim) -> None:
    made = await scim.person("ann")
    vision = await b.workspace(scim.graph, "vision")
    await b.model(scim.graph, "resnet", workspace="vision")
    group = await scim.ask("POST", "/Groups", {"displayName": "eyes"}, 201)
    await b.link(scim.graph, NewEdge("GRANTS", vision.id, group["id"], "VIEWER"))
    ann = Caller("corp:ann", frozenset({"model:read"}))
    assert await _model_of(scim.graph, ann, "vision:resnet") is None
    await scim.patch(group, {"op": "add", "path": "members", "value": [{"value": made["id"]}]}, status=204)
    assert await _model_of(scim.graph, ann, "vision:resnet") == "resnet"
    await scim.patch(group, {"op": "remove", "path": f'members[value eq "{made["id"]}"]'}, status=204)
    assert await _model_of(scim.graph, ann, "vision:resnet") is None


async def test_every_write_is_a_change_by_who_provisioned(scim: Scim) -> None:
    made = await scim.user()
    await scim.patch(made, {"op": "replace", "value": {"active": False}})
    await scim.ask("DELETE", path_of(made), status=204)
    changes = await b.sequenced(scim.graph, made["id"])
    assert [c.action for c in changes] == ["provisionPrincipal", "updatePrincipal", "retirePrincipal"]
    assert {(c.by, c.request) for c in changes} == {("corp:provisioner", "req-1")}


# ── Who may, and what else is refused ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/Users"), ("POST", "/Users"), ("DELETE", "/Groups/x"), ("GET", "/Schemas"), ("GET", "/nowhere")],
)
async def test_without_the_scope_nothing_is_open(embedded: Scim, method: str, path: str) -> None:
    body = OKTA_USER if method == "POST" else None
    answer = await embedded.http.request(method, f"/scim/v2{path}", json=body, headers={"who": "reader"})
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="insufficient_scope", error_description="the scope directory:write is')
    assert challenge.endswith(f'scope="directory:write", {METADATA}')
    answer = await embedded.http.request(method, f"/scim/v2{path}", json=body, headers={"who": "nobody"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'Bearer scope="directory:write", {METADATA}'
    assert answer.json()["schemas"] == [ERROR]


async def test_a_directory_that_was_deactivated_itself_is_refused(embedded: Scim) -> None:
    await b.create(embedded.graph, NewNode("Principal", DIRECTORY.name, "", props={"active": False}))
    answer = await embedded.http.get("/scim/v2/Users")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert answer.headers["www-authenticate"].endswith(METADATA)


@pytest.mark.parametrize("levels", [40, 300, 900])
async def test_json_that_is_nested_deeply_is_refused(embedded: Scim, levels: int) -> None:
    made = await embedded.person("ann")
    deep = '{"a":' * levels + "1" + "}" * levels
    patch = f'{{"schemas": ["{PATCH_OP}"], "Operations": [{{"op": "add", "path": "deep", "value": {deep}}}]}}'
    post = f'{{"userName": "bob", "deep": {deep}}}'
    for method, path, body in (("PATCH", path_of(made), patch), ("POST", "/Users", post), ("PUT", path_of(made), post)):
        headers = {"content-type": "application/scim+json"}
        answer = await embedded.http.request(method, f"/scim/v2{path}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax"), answer.text


class Compared(str):
    """Text that counts how often it is compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("add", [Compared(f"b{i}") for i in range(2_000)]),
        ("remove", [Compared(f"a{i}") for i in range(1, 2_000)]),
    ],
)
def test_large_lists_are_changed_without_comparing_each_with_each(op: Op, value: list[str]) -> None:
    document = {"x": [Compared(f"a{i}") for i in range(2_000)]}
    Compared.times = 0
    carry_out(document, [(op, Path("x"), value)])
    assert document["x"] == ([f"a{i}" for i in range(2_000)] + [str(b) for b in value] if op == "add" else ["a0"])
    assert Compared.times <= 2 * len(document["x"])


def test_large_objects_are_merged_whatever_the_case_of_their_names() -> None:
    document: dict[str, Any] = {"x": {f"Name{i}": 1 for i in range(3_000)}}
    carry_out(document, [("add", Path("x"), {f"nAME{i}": 2 for i in range(3_000)})])
    assert document == {"x": {f"Name{i}": 2 for i in range(3_000)}}


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": 'x[value eq "none"]'}] * 1_000,
        [{"op": "add", "value": {f"n{i}": 1 for i in range(1_001)}}],
        [{"op": "add", "path": "y", "value": "v" * 60_000}] * 3,
    ],
    ids=["much to look at", "many attributes", "much to put in"],
)
async def test_a_patch_that_would_take_long_is_refused(sqlite_graph: Graph, operations: list[Any]) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app_on(sqlite_graph)), base_url="https://lineal.test"
    ) as http:
        scim = Scim(http, sqlite_graph)
        made = await scim.user({"userName": "ann", "x": [{"value": f"{i}"} for i in range(1_000)]})
        answer = await scim.patch(made, *operations, status=413)
    assert answer["schemas"] == [ERROR]


async def test_bodies_are_bounded_json_objects(embedded: Scim) -> None:
    async def post(content: bytes, media_type: str = "application/scim+json") -> tuple[int, str | None]:
        answer = await embedded.http.post("/scim/v2/Users", content=content, headers={"content-type": media_type})
        return answer.status_code, answer.json().get("scimType")

    assert await post(b"{") == (400, "invalidSyntax")
    assert await post(b"[]") == (400, "invalidSyntax")
    assert await post(b"[" * 9_000) == (400, "invalidSyntax")
    assert await post(b" " * 10_001) == (413, None)
    assert await post(b"{}", "text/xml") == (415, None)
    assert await post(b'{"userName": "ann"}', "application/json; charset=utf-8") == (201, None)


async def test_of_many_who_take_a_user_name_at_once_one_gets_it(scim: Scim) -> None:
    users = [{"schemas": [USER], "userName": "Ann", "externalId": str(number)} for number in range(4)]
    answers = await asyncio.gather(*(scim.http.post("/scim/v2/Users", json=user) for user in users))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json().get("scimType") for answer in answers} == {None, "uniqueness"}


async def test_what_is_not_there_and_what_is_not_possible_is_said(embedded: Scim) -> None:
    assert await embedded.refused("GET", "/Devices") == (404, None)
    assert await embedded.refused("GET", "/Users/nobody") == (404, None)
    answer = await embedded.http.delete("/scim/v2/Users")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_it_tells_what_it_can_do(embedded: Scim) -> None:
    config = await embedded.ask("GET", "/ServiceProviderConfig")
    assert config["patch"] == {"supported": True}
    assert config["filter"]["supported"] is True
    assert config["bulk"]["supported"] is False
    types = await embedded.ask("GET", "/ResourceTypes")
    assert [t["endpoint"] for t in types["Resources"]] == ["/Users", "/Groups"]
    for listed in types["Resources"]:
        assert await embedded.ask("GET", f"/ResourceTypes/{listed['id']}") == listed
    schemas = await embedded.ask("GET", "/Schemas")
    assert {s["id"] for s in schemas["Resources"]} == {USER, GROUP, ENTERPRISE}
    for listed in schemas["Resources"]:
        assert await embedded.ask("GET", f"/Schemas/{listed['id']}") == listed
    assert await embedded.refused("GET", "/Schemas/urn:x") == (404, None)
