from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.identity.logic.validity import EXPIRED_WINDOW_S

from support.identity import (
    CONFIG,
    Cloud,
    by_password,
    by_token,
    cloud,
    on_project,
    password_of,
    service_password,
)

pytestmark = pytest.mark.usefixtures("engine")

TOKENS = "/v3/auth/tokens"
SYSTEM = {"system": {"all": True}}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


async def names(here: Cloud, path: str) -> list[str]:
    reply = await here.as_admin("GET", path)
    assert reply.status == 200, reply.body
    noun = path.partition("?")[0].rsplit("/", 1)[1]
    return [entry["name"] for entry in reply.json()[noun]]


async def test_a_domains_life(here: Cloud) -> None:
    made = await here.made("domain", name="lab", description="d")
    path = f"/v3/domains/{made['id']}"
    assert (await here.as_admin("GET", path)).json()["domain"] == made
    assert await names(here, "/v3/domains") == ["Default", "lab"]
    assert await names(here, "/v3/domains?name=lab&enabled=true") == ["lab"]
    taken = {"domain": {"name": "lab"}}
    assert (await here.as_admin("POST", "/v3/domains", taken)).status == 409
    assert (await here.as_admin("PATCH", "/v3/domains/default", taken)).status == 409
    assert (await here.as_admin("DELETE", path)).status == 403
    change = {"domain": {"name": "spot", "enabled": False, "description": None}}
    changed = (await here.as_admin("PATCH", path, change)).json()["domain"]
    assert changed == {**made, "name": "spot", "enabled": False, "description": ""}
    assert await names(here, "/v3/domains?enabled=false") == ["spot"]
    assert (await here.as_admin("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.as_admin(method, path)).status == 404
    assert (await here.as_admin("PATCH", path, change)).status == 404


async def test_the_default_domain_can_be_neither_disabled_nor_deleted(here: Cloud) -> None:
    off = {"domain": {"enabled": False}}
    assert (await here.as_admin("PATCH", "/v3/domains/default", off)).status == 403
    assert (await here.as_admin("DELETE", "/v3/domains/default")).status == 403
    assert (await here.as_admin("GET", "/v3/users")).status == 200


async def _lab(here: Cloud) -> tuple[str, str, str]:
    """A domain, and `eve` in it with a role on its project: ids of domain, user and project."""
    home = (await here.made("domain", name="lab"))["id"]
    user = (await here.made("user", name="eve", password="secret", domain_id=home))["id"]
    project = (await here.made("project", name="spot", domain_id=home))["id"]
    await here.grant(user, project, "member")
    return home, user, project


async def test_names_are_of_their_domain(here: Cloud) -> None:
    home, user, _ = await _lab(here)
    await here.made("user", name="eve", password="other")
    for domain, password, status in [
        ({"id": home}, "secret", 201),
        ({"name": "lab"}, "secret", 201),
        ({"id": "default"}, "other", 201),
        ({"name": "Default"}, "secret", 401),
        ({"name": "none"}, "secret", 401),
    ]:
        body = by_password("eve", password)
        body["auth"]["identity"]["password"]["user"]["domain"] = domain
        reply = await here.ask("POST", TOKENS, body)
        assert reply.status == status
        if password == "secret" and status == 201:
            shown = reply.json()["token"]["user"]
            assert (shown["id"], shown["domain"]) == (user, {"id": home, "name": "lab"})
    for scope in (
        {"name": "spot", "domain": {"name": "lab"}},
        {"name": "spot", "domain": {"id": home}},
    ):
        body = by_password("eve", "secret", {"project": scope}, domain=home)
        token = (await here.ask("POST", TOKENS, body)).json()["token"]
        assert token["project"]["domain"] == {"id": home, "name": "lab"}


@pytest.mark.parametrize("how", ["disable", "off and on", "delete"])
async def test_what_happens_to_a_domain_happens_to_all_in_it(here: Cloud, how: str) -> None:
    home, user, project = await _lab(here)
    other = (await here.made("user", name="bob", password="secret"))["id"]
    await here.grant(other, project, "member")
    scope = {"project": {"id": project}}
    inside = await here.token(by_password("eve", "secret", scope, domain=home))
    unscoped = await here.token(by_password("eve", "secret", domain=home))
    outside = await here.token(by_password("bob", "secret", scope))
    elsewhere = await here.token(by_password("bob", "secret", "unscoped"))
    path = f"/v3/domains/{home}"
    for enabled in (False, True) if how == "off and on" else (False,):
        change = {"domain": {"enabled": enabled}}
        assert (await here.as_admin("PATCH", path, change)).status == 200
    if how == "delete":
        assert (await here.as_admin("DELETE", path)).status == 204
        for gone in (f"/v3/users/{user}", f"/v3/projects/{project}"):
            assert (await here.as_admin("GET", gone)).status == 404
    worth = [await here.worth(token) for token in (inside, unscoped, outside, elsewhere)]
    assert worth == [404, 404, 404, 200]
    again = await here.ask("POST", TOKENS, by_password("eve", "secret", domain=home))
    assert again.status == (201 if how == "off and on" else 401)


async def test_a_token_for_a_domain_needs_a_role_on_it(here: Cloud) -> None:
    home, user, _ = await _lab(here)
    scopes = [{"domain": {"id": home}}, {"domain": {"name": "lab"}}]
    bodies = [by_password("eve", "secret", scope, domain=home) for scope in scopes]
    for body in bodies:
        assert (await here.ask("POST", TOKENS, body)).status == 401
    role = await here.role_id("admin")
    path = f"/v3/domains/{home}/users/{user}/roles"
    assert (await here.as_admin("PUT", f"{path}/{role}")).status == 204
    assert (await here.as_admin("PUT", f"{path}/{role}")).status == 204
    assert (await here.as_admin("HEAD", f"{path}/{role}")).status == 204
    assert await names(here, path) == ["admin"]
    for body in bodies:
        reply = await here.ask("POST", TOKENS, body)
        token = reply.json()["token"]
        assert token["domain"] == {"id": home, "name": "lab"}
        assert [entry["name"] for entry in token["roles"]] == ["admin"]
        assert {"project", "system", "is_domain"}.isdisjoint(token)
        assert token["catalog"]
    text = reply.headers["x-subject-token"]
    listed = await here.ask("GET", "/v3/auth/domains", token=text)
    assert [entry["name"] for entry in listed.json()["domains"]] == ["lab"]
    made = await here.ask("POST", "/v3/users", {"user": {"name": "dan"}}, token=text)
    assert made.json()["user"]["domain_id"] == home
    assert (await here.as_admin("DELETE", f"{path}/{role}")).status == 204
    assert (await here.as_admin("DELETE", f"{path}/{role}")).status == 404
    assert await here.worth(text) == 404


async def test_a_token_for_the_system_and_what_its_reader_sees(here: Cloud) -> None:
    user_id, _, member = await here.member("alice", "secret", "place")
    body = by_password("alice", "secret", SYSTEM)
    assert (await here.ask("POST", TOKENS, body)).status == 401
    has = await here.ask("GET", "/v3/auth/system", token=member)
    assert has.json()["system"] == []
    role = await here.role_id("reader")
    path = f"/v3/system/users/{user_id}/roles"
    assert (await here.as_admin("PUT", f"{path}/{role}")).status == 204
    assert await names(here, path) == ["reader"]
    reply = await here.ask("POST", TOKENS, body)
    token = reply.json()["token"]
    assert (token["system"], [entry["name"] for entry in token["roles"]]) == (
        {"all": True},
        ["reader"],
    )
    text = reply.headers["x-subject-token"]
    assert (await here.ask("GET", "/v3/auth/system", token=text)).json()["system"] == [
        {"all": True}
    ]
    for listed in ("users", "projects", "domains", "roles", "role_assignments", "services"):
        assert (await here.ask("GET", f"/v3/{listed}", token=text)).status == 200
        assert (await here.ask("GET", f"/v3/{listed}", token=member)).status == 403
    for noun in ("user", "project", "domain", "role"):
        made = await here.ask("POST", f"/v3/{noun}s", {noun: {"name": "x"}}, token=text)
        assert made.status == 403
    assert (await here.ask("PUT", f"{path}/{role}", token=text)).status == 403
    for scope in (on_project("place"), {"domain": {"id": "default"}}):
        assert (await here.ask("POST", TOKENS, by_token(text, scope))).status == 403
    again = await here.token(by_token(text, SYSTEM))
    assert (await here.as_admin("DELETE", f"{path}/{role}")).status == 204
    assert [await here.worth(each) for each in (text, again)] == [404, 404]


async def test_the_first_admin_is_admin_of_the_system(here: Cloud) -> None:
    text = await here.token(by_password("admin", password_of(here.data), SYSTEM))
    made = await here.ask("POST", "/v3/users", {"user": {"name": "x"}}, token=text)
    assert made.status == 201


async def test_assignments_on_everything_by_every_filter(here: Cloud) -> None:
    home, user, project = await _lab(here)
    role = await here.role_id("reader")
    for place in (f"domains/{home}", "system"):
        path = f"/v3/{place}/users/{user}/roles/{role}"
        assert (await here.as_admin("PUT", path)).status == 204

    async def found(query: str) -> list[Any]:
        reply = await here.as_admin("GET", f"/v3/role_assignments?{query}")
        assert reply.status == 200
        return list(reply.json()["role_assignments"])

    assert len(await found(f"user.id={user}&effective")) == 3
    (entry,) = await found(f"scope.domain.id={home}&include_names=True")
    assert entry["scope"] == {"domain": {"id": home, "name": "lab"}}
    assert entry["user"]["domain"] == {"id": home, "name": "lab"}
    (entry,) = await found(f"scope.system=all&user.id={user}")
    assert (entry["scope"], entry["user"]) == ({"system": {"all": True}}, {"id": user})
    linked = entry["links"]["assignment"].partition("/identity")[2]
    assert (await here.as_admin("GET", linked)).status == 204
    (entry,) = await found(f"scope.project.id={project}&include_names")
    assert entry["scope"]["project"]["domain"] == {"id": home, "name": "lab"}
    assert len(await found(f"user.id={user}&role.id={role}")) == 2
    assert await found("scope.OS-INHERIT:inherited_to=projects") == []
    both = await here.as_admin("GET", f"/v3/role_assignments?scope.system&scope.project.id={home}")
    assert both.status == 400


async def test_grants_go_with_their_domain_and_their_user(here: Cloud) -> None:
    home, user, _ = await _lab(here)
    other = (await here.made("user", name="bob"))["id"]
    role = await here.role_id("reader")

    async def count() -> int:
        reply = await here.as_admin("GET", "/v3/role_assignments")
        return len(reply.json()["role_assignments"])

    before = await count()
    for who in (user, other):
        path = f"/v3/domains/{home}/users/{who}/roles/{role}"
        assert (await here.as_admin("PUT", path)).status == 204
    path = f"/v3/system/users/{other}/roles/{role}"
    assert (await here.as_admin("PUT", path)).status == 204
    await here.as_admin("DELETE", f"/v3/users/{other}")
    assert await count() == before + 1
    await here.as_admin("PATCH", f"/v3/domains/{home}", {"domain": {"enabled": False}})
    await here.as_admin("DELETE", f"/v3/domains/{home}")
    assert await count() == before - 1


async def test_a_roles_life_and_the_built_in_ones(here: Cloud) -> None:
    made = await here.made("role", name="cook", description="d")
    path = f"/v3/roles/{made['id']}"
    assert (await here.as_admin("GET", path)).json()["role"] == made
    assert (await here.as_admin("POST", "/v3/roles", {"role": {"name": "cook"}})).status == 409
    change = {"role": {"name": "chef", "description": None}}
    changed = (await here.as_admin("PATCH", path, change)).json()["role"]
    assert (changed["name"], changed["description"]) == ("chef", "")
    taken = {"role": {"name": "member"}}
    assert (await here.as_admin("PATCH", path, taken)).status == 409
    of_domain = {"role": {"name": "x", "domain_id": "default"}}
    assert (await here.as_admin("POST", "/v3/roles", of_domain)).status == 400
    assert await names(here, "/v3/roles?domain_id=default") == []
    user_id, project_id, token = await here.member("alice", "secret", "place")
    await here.grant(user_id, project_id, "chef")
    assert (await here.as_admin("DELETE", path)).status == 204
    shown = await here.ask("GET", TOKENS, token=token, subject=token)
    assert [role["name"] for role in shown.json()["token"]["roles"]] == ["member"]
    assert (await here.as_admin("DELETE", path)).status == 404
    for name in ("admin", "member", "reader", "service"):
        own = f"/v3/roles/{await here.role_id(name)}"
        assert (await here.as_admin("GET", own)).json()["role"]["options"] == {"immutable": True}
        assert (await here.as_admin("DELETE", own)).status == 403
        assert (await here.as_admin("PATCH", own, change)).status == 403


async def test_lists_come_in_pages(here: Cloud) -> None:
    for number in range(5):
        await here.made("project", name=f"p{number}")
    path, seen = "/v3/projects?limit=2", []
    while path:
        page = (await here.as_admin("GET", path)).json()
        assert len(page["projects"]) <= 2
        seen += [entry["name"] for entry in page["projects"]]
        path = (page["links"]["next"] or "").partition("/identity")[2]
    assert seen == ["admin", "p0", "p1", "p2", "p3", "p4", "service"]
    for query in ("limit=0", "limit=x", "limit=1001", "marker=none"):
        assert (await here.as_admin("GET", f"/v3/projects?{query}")).status == 400
    assert len(await names(here, "/v3/users?limit=1")) == 1
    assert len(await names(here, "/v3/roles?limit=3")) == 3
    assert len(await names(here, "/v3/domains?limit=3")) == 1


async def test_projects_have_tags_and_are_found_by_them(here: Cloud) -> None:
    made = await here.made("project", name="both", tags=["red", "blue", "red"])
    assert made["tags"] == ["blue", "red"]
    await here.made("project", name="one", tags=["red"])
    path = f"/v3/projects/{made['id']}/tags"
    for query, found in [
        ("tags=red,blue", ["both"]),
        ("tags=red", ["both", "one"]),
        ("tags-any=blue,green", ["both"]),
        ("not-tags=red,blue", ["admin", "one", "service"]),
        ("not-tags-any=red,blue", ["admin", "service"]),
    ]:
        assert await names(here, f"/v3/projects?{query}") == found
    for query, found in [
        ("tags", []),
        ("tags-any", ["both", "one"]),
        ("not-tags", ["admin", "both", "one", "service"]),
        ("not-tags-any", ["admin", "service"]),
    ]:
        many = ",".join(["red", *(f"tag{number}" for number in range(79))])
        assert await names(here, f"/v3/projects?{query}={many}") == found
        assert await names(here, f"/v3/projects?{query}=red,red") == await names(
            here, f"/v3/projects?{query}=red"
        )
        asked = await here.as_admin("GET", f"/v3/projects?{query}={','.join(['red'] * 2000)}")
        assert asked.status == 400
    assert (await here.as_admin("PUT", f"{path}/green")).status == 201
    assert (await here.as_admin("GET", f"{path}/green")).status == 204
    assert (await here.as_admin("DELETE", f"{path}/red")).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.as_admin(method, f"{path}/red")).status == 404
    assert (await here.as_admin("GET", path)).json() == {"tags": ["blue", "green"]}
    assert (await here.as_admin("PUT", path, {"tags": ["a"]})).json() == {"tags": ["a"]}
    assert (await here.as_admin("PUT", f"{path}/a%2Fb")).status == 400
    assert (await here.as_admin("PUT", path, {"tags": ["a,b"]})).status == 400
    change = {"project": {"tags": [str(number) for number in range(80)]}}
    assert (await here.as_admin("PATCH", f"/v3/projects/{made['id']}", change)).status == 200
    assert (await here.as_admin("PUT", f"{path}/more")).status == 400
    assert (await here.as_admin("DELETE", path)).status == 204
    assert (await here.as_admin("GET", path)).json() == {"tags": []}


async def test_there_are_no_groups(here: Cloud) -> None:
    user_id, _, token = await here.member("alice", "secret", "place")
    own = f"/v3/users/{user_id}/groups"
    assert (await here.ask("GET", own, token=token)).json()["groups"] == []
    assert (await here.ask("GET", "/v3/groups", token=token)).status == 403
    assert (await here.as_admin("GET", "/v3/groups")).json()["groups"] == []


async def test_services_may_ask_for_tokens_that_ended_a_while_ago(here: Cloud) -> None:
    _, _, alice = await here.member("alice", "secret", "place")
    _, _, gone = await here.member("bob", "secret", "elsewhere")
    assert (await here.ask("DELETE", TOKENS, token=gone, subject=gone)).status == 204
    secret = service_password(here.data)
    here.clock.move_s(CONFIG.token_ttl_s + 1)
    service = await here.token(by_password("transom", secret, on_project("service")))
    member = await here.token(by_password("alice", "secret", on_project("place")))
    path = TOKENS + "?allow_expired=1"
    assert (await here.ask("GET", TOKENS, token=service, subject=alice)).status == 404
    assert (await here.ask("GET", path, token=service, subject=alice)).status == 200
    assert (await here.ask("GET", path, token=service, subject=gone)).status == 404
    assert (await here.ask("GET", path, token=member, subject=alice)).status == 403
    assert (await here.ask("GET", "/v3/auth/projects", token=alice)).status == 401
    here.clock.move_s(EXPIRED_WINDOW_S)
    service = await here.token(by_password("transom", secret, on_project("service")))
    assert (await here.ask("GET", path, token=service, subject=alice)).status == 404


async def test_nobody_can_be_kept_out_who_has_a_drawn_password(here: Cloud) -> None:
    guesses = [await here.ask("POST", TOKENS, by_password("admin", "no")) for _ in range(7)]
    assert [guess.status for guess in guesses] == [401] * 5 + [429] * 2
    assert await here.token(by_password("admin", password_of(here.data)))
    secret = service_password(here.data)
    for _ in range(6):
        await here.ask("POST", TOKENS, by_password("transom", "no"))
    assert await here.token(by_password("transom", secret))


async def test_who_tries_many_users_is_slowed_down_and_who_was_here_before_is_not(
    here: Cloud,
) -> None:
    await here.member("alice", "secret", "place")
    for number in range(60):
        await here.ask("POST", TOKENS, by_password(f"user {number}", "password1"))
    assert (await here.ask("POST", TOKENS, by_password("another", "password1"))).status == 429
    assert (await here.ask("POST", TOKENS, by_password("alice", "secret"))).status == 201
