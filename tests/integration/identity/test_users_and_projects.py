from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.identity.contract import PROJECTS, TABLES, USERS
from transom.node.feed import decoded_key

from support.identity import Cloud, by_password, cloud, on_project

pytestmark = pytest.mark.usefixtures("engine")

TOKENS = "/v3/auth/tokens"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


async def names(here: Cloud, path: str) -> list[str]:
    reply = await here.as_admin("GET", path)
    assert reply.status == 200, reply.body
    noun = path.partition("?")[0].rsplit("/", 1)[1]
    return [entry["name"] for entry in reply.json()[noun]]


async def test_a_users_life(here: Cloud) -> None:
    made = await here.made("user", name="alice", password="p", email="a@b.c", description="d")
    path = f"/v3/users/{made['id']}"
    assert made["links"]["self"] == f"{here.base_url}/identity{path}"
    assert "password" not in made
    assert (await here.as_admin("GET", path)).json()["user"] == made
    change = {"user": {"name": "eve", "email": None, "default_project_id": "p" * 32}}
    changed = (await here.as_admin("PATCH", path, change)).json()["user"]
    assert changed["name"] == "eve"
    assert (changed["email"], changed["description"]) == ("", "d")
    assert changed["default_project_id"] == "p" * 32
    assert await names(here, "/v3/users?name=alice") == []
    assert await names(here, "/v3/users?name=eve") == ["eve"]
    assert (await here.as_admin("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.as_admin(method, path)).status == 404
    assert (await here.as_admin("PATCH", path, change)).status == 404


async def test_a_projects_life(here: Cloud) -> None:
    made = await here.made("project", name="place", description="d")
    path = f"/v3/projects/{made['id']}"
    assert (made["domain_id"], made["parent_id"], made["is_domain"]) == (
        "default",
        "default",
        False,
    )
    assert (await here.as_admin("GET", path)).json()["project"] == made
    change = {"project": {"name": "spot", "enabled": False}}
    changed = (await here.as_admin("PATCH", path, change)).json()["project"]
    assert changed == {**made, "name": "spot", "enabled": False}
    assert await names(here, "/v3/projects?enabled=false") == ["spot"]
    assert await names(here, "/v3/projects?enabled=True") == ["admin", "service"]
    assert await names(here, "/v3/projects?is_domain=true") == []
    assert await names(here, "/v3/projects?domain_id=other") == []
    assert (await here.as_admin("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.as_admin(method, path)).status == 404
    assert (await here.as_admin("PATCH", path, change)).status == 404


@pytest.mark.parametrize("noun", ["user", "project"])
async def test_a_name_is_taken_once(here: Cloud, noun: str) -> None:
    first = await here.made(noun, name="one")
    second = await here.made(noun, name="two")
    reply = await here.as_admin("POST", f"/v3/{noun}s", {noun: {"name": "one"}})
    assert (reply.status, reply.json()["error"]["title"]) == (409, "Conflict")
    path = f"/v3/{noun}s/{second['id']}"
    assert (await here.as_admin("PATCH", path, {noun: {"name": "one"}})).status == 409
    own = f"/v3/{noun}s/{first['id']}"
    assert (await here.as_admin("PATCH", own, {noun: {"name": "one"}})).status == 200


@pytest.mark.parametrize("noun", ["user", "project"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"name": " \t "},
        {"name": "x" * 256},
        {"name": "a\u0000b"},
        {"name": "a\u001b[31m"},
        {"name": "line\n"},
        {"name": 3},
        {"name": "x", "enabled": "yes"},
        {"name": "x", "description": "a\u0000b"},
    ],
)
async def test_bad_fields_are_refused(here: Cloud, noun: str, fields: dict[str, Any]) -> None:
    assert (await here.as_admin("POST", f"/v3/{noun}s", {noun: fields})).status == 400


async def test_users_and_projects_lie_directly_in_a_domain_that_is_there(here: Cloud) -> None:
    for noun, fields, status in [
        ("user", {"domain_id": "other"}, 404),
        ("project", {"domain_id": "other"}, 404),
        ("project", {"is_domain": True}, 400),
        ("project", {"parent_id": "p" * 32}, 404),
        ("project", {"parent_id": "p" * 32, "domain_id": "default"}, 400),
        ("project", {"parent_id": "default", "domain_id": "default"}, 201),
    ]:
        reply = await here.as_admin("POST", f"/v3/{noun}s", {noun: {"name": "n", **fields}})
        assert reply.status == status
    assert await names(here, "/v3/domains") == ["Default"]
    assert await names(here, "/v3/domains?name=other") == []
    assert (await here.as_admin("GET", "/v3/domains/default")).status == 200
    assert (await here.as_admin("GET", "/v3/domains/other")).status == 404


async def test_a_member_sees_themselves_and_nothing_else(here: Cloud) -> None:
    user_id, project_id, token = await here.member("alice", "secret", "place")
    other_id, other_project, _ = await here.member("bob", "secret", "elsewhere")
    role_id = await here.role_id("admin")
    own = f"/v3/projects/{project_id}/users/{user_id}/roles"
    absent = "f" * 32
    for method, path, body, status in [
        ("GET", f"/v3/users/{user_id}", None, 200),
        ("GET", f"/v3/users/{user_id}/projects", None, 200),
        ("GET", f"/v3/projects/{project_id}", None, 200),
        ("GET", "/v3/regions", None, 200),
        ("GET", f"/v3/users/{other_id}", None, 403),
        ("GET", f"/v3/users/{absent}", None, 403),
        ("GET", f"/v3/users/{other_id}/projects", None, 403),
        ("GET", f"/v3/projects/{other_project}", None, 403),
        ("GET", f"/v3/projects/{absent}", None, 403),
        ("GET", "/v3/users", None, 403),
        ("GET", "/v3/projects", None, 403),
        ("GET", "/v3/roles", None, 403),
        ("GET", f"/v3/roles/{role_id}", None, 403),
        ("GET", "/v3/role_assignments", None, 403),
        ("GET", "/v3/domains", None, 403),
        ("GET", "/v3/services", None, 403),
        ("GET", "/v3/endpoints", None, 403),
        ("POST", "/v3/users", {"user": {"name": "x"}}, 403),
        ("POST", "/v3/projects", {"project": {"name": "x"}}, 403),
        ("PATCH", f"/v3/users/{user_id}", {"user": {"name": "x"}}, 403),
        ("PATCH", f"/v3/projects/{project_id}", {"project": {"name": "x"}}, 403),
        ("DELETE", f"/v3/users/{user_id}", None, 403),
        ("DELETE", f"/v3/projects/{project_id}", None, 403),
        ("GET", own, None, 403),
        ("GET", f"{own}/{role_id}", None, 403),
        ("PUT", f"{own}/{role_id}", None, 403),
        ("DELETE", f"{own}/{role_id}", None, 403),
    ]:
        reply = await here.ask(method, path, body, token=token)
        assert (method, path, reply.status) == (method, path, status)


async def test_every_route_but_five_needs_a_token(here: Cloud) -> None:
    public = set()
    bodies: dict[str, Any] = {
        "users": {"user": {"name": "n"}},
        "projects": {"project": {"name": "n"}},
        "domains": {"domain": {"name": "n"}},
        "roles": {"role": {"name": "n"}},
    }
    for route in here.service.mount.routes:
        path = route.path.replace("{", "").replace("}", "")
        noun = path.split("/")[2] if path.count("/") > 1 else ""
        body = bodies.get(noun) if route.body is not None else None
        if path.endswith("/password"):
            body = {"user": {"original_password": "x", "password": "y"}}
        if path.endswith("/tags") and route.body is not None:
            body = {"tags": []}
        if path.endswith("/application_credentials") and route.body is not None:
            body = {"application_credential": {"name": "n"}}
        reply = await here.ask(route.method, path, body, subject="x")
        if reply.status != 401:
            public.add((route.method, route.path, reply.status))
    assert public == {("GET", "", 300), ("GET", "/v3", 200), ("POST", TOKENS, 400)}


async def test_a_second_user_gets_a_second_project(here: Cloud) -> None:
    user = await here.made("user", name="bob", password="secret")
    project = await here.made("project", name="lab")
    body = by_password("bob", "secret", on_project("lab"))
    assert (await here.ask("POST", TOKENS, body)).status == 401
    path = await here.grant(user["id"], project["id"], "member")
    assert (await here.as_admin("PUT", path)).status == 204
    for method in ("GET", "HEAD"):
        assert (await here.as_admin(method, path)).status == 204
    listing = path.rsplit("/", 1)[0]
    assert await names(here, listing) == ["member"]
    assert (await here.ask("POST", TOKENS, body)).status == 201
    assert (await here.as_admin("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.as_admin(method, path)).status == 404
    assert (await here.ask("POST", TOKENS, body)).status == 401


async def test_a_grant_needs_all_three(here: Cloud) -> None:
    user = await here.made("user", name="bob")
    project = await here.made("project", name="lab")
    role_id, absent = await here.role_id("member"), "f" * 32
    for place in [
        (absent, user["id"], role_id),
        (project["id"], absent, role_id),
        (project["id"], user["id"], absent),
    ]:
        path = "/v3/projects/{}/users/{}/roles/{}".format(*place)
        assert (await here.as_admin("PUT", path)).status == 404


async def test_grants_go_with_their_user_and_their_project(here: Cloud) -> None:
    async def count() -> int:
        reply = await here.as_admin("GET", "/v3/role_assignments")
        return len(reply.json()["role_assignments"])

    before = await count()
    one, _, _ = await here.member("alice", "secret", "place")
    _, other, _ = await here.member("bob", "secret", "elsewhere")
    assert await count() == before + 2
    await here.as_admin("DELETE", f"/v3/users/{one}")
    assert await count() == before + 1
    await here.as_admin("DELETE", f"/v3/projects/{other}")
    assert await count() == before


async def test_role_assignments_by_filter_and_with_names(here: Cloud) -> None:
    user_id, project_id, _ = await here.member("alice", "secret", "place")
    role_id = await here.role_id("member")
    for query in (f"user.id={user_id}", f"scope.project.id={project_id}&role.id={role_id}"):
        reply = await here.as_admin("GET", f"/v3/role_assignments?{query}&include_names")
        (entry,) = reply.json()["role_assignments"]
        assert entry["user"]["name"] == "alice"
        assert entry["scope"]["project"]["name"] == "place"
        assert entry["role"] == {"id": role_id, "name": "member"}
    reply = await here.as_admin("GET", "/v3/role_assignments?group.id=x")
    assert reply.json()["role_assignments"] == []


async def test_roles_services_endpoints_and_regions_are_listed(here: Cloud) -> None:
    assert await names(here, "/v3/roles") == ["admin", "member", "reader", "service"]
    assert await names(here, "/v3/roles?name=reader") == ["reader"]
    assert await names(here, "/v3/services?type=messaging") == ["queue"]
    service = (await here.as_admin("GET", "/v3/services?name=queue")).json()["services"][0]
    path = f"/v3/endpoints?service_id={service['id']}&interface=public"
    (endpoint,) = (await here.as_admin("GET", path)).json()["endpoints"]
    assert endpoint["url"] == here.base_url + "/queue"
    (region,) = (await here.as_admin("GET", "/v3/regions")).json()["regions"]
    for noun, found in (("service", service), ("endpoint", endpoint), ("region", region)):
        one = await here.as_admin("GET", f"/v3/{noun}s/{found['id']}")
        assert one.json()[noun] == found
        assert (await here.as_admin("GET", f"/v3/{noun}s/absent")).status == 404
        assert (await here.as_admin("DELETE", f"/v3/{noun}s/{found['id']}")).status == 405


async def test_a_user_changes_their_password_by_the_present_one(here: Cloud) -> None:
    user_id, _, token = await here.member("alice", "old", "place")
    path = f"/v3/users/{user_id}/password"

    async def change(original: str, password: str) -> int:
        body = {"user": {"original_password": original, "password": password}}
        return (await here.ask("POST", path, body, token=token)).status

    assert await change("wrong", "new") == 401
    assert await here.worth(token) == 200
    assert await change("old", "new") == 204
    assert await here.worth(token) == 404
    assert (await here.ask("POST", TOKENS, by_password("alice", "old"))).status == 401
    assert (await here.ask("POST", TOKENS, by_password("alice", "new"))).status == 201
    assert [await change("wrong", "new") for _ in range(6)] == [401] * 5 + [429]


async def test_every_change_leaves_a_pointer_and_the_rows_fit_their_tables(here: Cloud) -> None:
    user = await here.made("user", name="alice", password="secret", email="a@b.c")
    project = await here.made("project", name="place")
    await here.as_admin("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})

    async def pointed(tx: Any) -> list[Any]:
        return await tx.fetch("select source, table_name, key from pointer order by id")

    pointers = await here.service.database.read(pointed)
    assert {source for source, _, _ in pointers} == {"identity"}
    told = [(table, decoded_key(key)) for _, table, key in pointers]
    assert told[-3:] == [
        (USERS.name, (user["id"],)),
        (PROJECTS.name, (project["id"],)),
        (USERS.name, (user["id"],)),
    ]
    schemas = {table.name: table for table in TABLES}
    for table, key in told:
        row = await here.service.database.read(
            lambda tx, table=table, key=key: here.service.read_row(tx, table, key)  # type: ignore[misc]
        )
        assert row is not None
        schemas[table].check(row)
        assert schemas[table].key_of(row) == key
        assert {"password", "password_hash", "email"}.isdisjoint(row)
    await here.as_admin("DELETE", f"/v3/users/{user['id']}")
    gone = await here.service.database.read(
        lambda tx: here.service.read_row(tx, USERS.name, (user["id"],))
    )
    assert gone is None
    assert (await here.service.database.read(pointed))[-1][1] == USERS.name
