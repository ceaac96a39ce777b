import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.identity.logic.validity import EXPIRED_WINDOW_S

from support.http import exchange, request_bytes
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


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


async def test_version_documents_need_no_token_and_say_where_v3_is(here: Cloud) -> None:
    for path in ("", "/"):
        reply = await here.ask("GET", path)
        assert reply.status == 300
        (version,) = reply.json()["versions"]["values"]
        assert (version["id"], version["status"]) == ("v3.14", "stable")
        assert version["links"] == [{"rel": "self", "href": here.base_url + "/identity/v3/"}]
    for path in ("/v3", "/v3/"):
        reply = await here.ask("GET", path)
        assert (reply.status, reply.json()["version"]) == (200, version)


async def test_a_host_header_gets_into_no_answer(here: Cloud) -> None:
    for path in ("", "/v3"):
        sent = request_bytes("GET", "/identity" + path, {"connection": "close"})
        forged = sent.replace(
            b"host: test", b"host: evil.example\r\nx-forwarded-host: evil.example"
        )
        answer = await exchange(here.base_url, forged, end=False)
        assert b"127.0.0.1" in answer
        assert b"evil" not in answer


async def test_a_token_by_password_has_the_documented_form(here: Cloud) -> None:
    body = by_password("admin", password_of(here.data), on_project("admin"))
    reply = await here.ask("POST", TOKENS, body)
    assert reply.status == 201
    assert len(reply.headers["x-subject-token"]) < 255
    token = reply.json()["token"]
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == token["project"]["name"] == "admin"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert [role["name"] for role in token["roles"]] == ["admin", "member", "reader"]
    assert len(token["audit_ids"]) == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", token["expires_at"])
    assert {service["type"] for service in token["catalog"]} == {"identity", "messaging"}
    urls = {endpoint["url"] for service in token["catalog"] for endpoint in service["endpoints"]}
    assert urls == {here.base_url + "/identity", here.base_url + "/queue"}


async def test_nocatalog_leaves_the_catalogue_out(here: Cloud) -> None:
    body = by_password("admin", password_of(here.data), on_project("admin"))
    reply = await here.ask("POST", TOKENS + "?nocatalog", body)
    assert "catalog" not in reply.json()["token"]
    text = reply.headers["x-subject-token"]
    shown = await here.ask("GET", TOKENS + "?nocatalog", token=text, subject=text)
    assert shown.json() == reply.json()


async def test_user_and_project_can_be_named_by_id_or_by_domain_name(here: Cloud) -> None:
    user_id, project_id, _ = await here.member("alice", "secret", "place")
    named = {"name": "alice", "domain": {"name": "Default"}, "password": "secret"}
    for user in ({"id": user_id, "password": "secret"}, named):
        for project in ({"id": project_id}, {"name": "place", "domain": {"name": "Default"}}):
            identity = {"methods": ["password"], "password": {"user": user}}
            body = {"auth": {"identity": identity, "scope": {"project": project}}}
            reply = await here.ask("POST", TOKENS, body)
            assert reply.json()["token"]["project"]["id"] == project_id


async def test_without_a_scope_a_token_is_for_the_default_project_or_for_none(here: Cloud) -> None:
    user_id, project_id, _ = await here.member("alice", "secret", "place")

    async def got(scope: Any) -> dict[str, Any]:
        reply = await here.ask("POST", TOKENS, by_password("alice", "secret", scope))
        assert reply.status == 201
        return dict(reply.json()["token"])

    assert {"project", "catalog", "roles"}.isdisjoint(await got(None))
    change = {"user": {"default_project_id": project_id}}
    await here.as_admin("PATCH", f"/v3/users/{user_id}", change)
    assert (await got(None))["project"]["id"] == project_id
    assert "project" not in await got("unscoped")
    await here.as_admin("PATCH", f"/v3/projects/{project_id}", {"project": {"enabled": False}})
    assert "project" not in await got(None)


async def test_an_unknown_user_a_wrong_password_and_a_disabled_user_look_alike(here: Cloud) -> None:
    await here.member("alice", "secret", "place")
    await here.made("user", name="off", password="secret", enabled=False)
    await here.made("user", name="none")
    bodies = [
        by_password("alice", "wrong"),
        by_password("nobody", "wrong"),
        by_password("off", "secret"),
        by_password("none", ""),
        by_password("alice", "secret", domain="other"),
        by_password("alice", "secret", on_project("absent")),
        by_password("alice", "secret", on_project("admin")),
        {"auth": {"identity": {"methods": ["password"],
                               "password": {"user": {"id": "x" * 32, "password": "secret"}}}}},
    ]  # fmt: skip
    replies = [await here.ask("POST", TOKENS, body) for body in bodies]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body for reply in replies}) == 1
    error = replies[0].json()["error"]
    assert (error["code"], error["title"]) == (401, "Unauthorized")
    assert replies[0].headers["www-authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        ({}, 400),
        ({"identity": {}}, 400),
        ({"identity": {"methods": []}}, 401),
        ({"identity": {"methods": ["password"]}}, 400),
        ({"identity": {"methods": ["token"]}}, 400),
        ({"identity": {"methods": ["token"], "token": {"id": "x"}}}, 404),
        ({"identity": {"methods": ["totp"], "totp": {}}}, 401),
        ({"identity": {"methods": ["application_credential"]}}, 400),
        ({"identity": {"methods": "password"}}, 400),
        ({"identity": {"methods": ["password"] * 9}}, 400),
        ({"identity": {"methods": ["password"], "password": {"user": {"name": "a", "password": "b"}}}}, 400),  # noqa: E501
        ({"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": 1}}}}, 400),  # noqa: E501
        ({"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": "\ud800"}}}}, 400),  # noqa: E501
        ({"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": "x" * 5000}}}}, 400),  # noqa: E501
    ],
)  # fmt: skip
async def test_what_is_no_proof_is_refused_cleanly(
    here: Cloud, auth: dict[str, Any], status: int
) -> None:
    reply = await here.ask("POST", TOKENS, {"auth": auth})
    assert reply.status == status
    assert reply.json()["error"]["code"] == status


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"system": {"all": False}}, 400),
        ({"domain": {"id": "default"}}, 401),
        ({"domain": {}}, 400),
        ({"domain": {"id": "default"}, "system": {"all": True}}, 400),
        ({"OS-TRUST:trust": {"id": "t"}}, 401),
        ({}, 401),
        ({"project": {}}, 400),
        ({"project": {"name": "admin"}}, 400),
        ("scoped", 400),
    ],
)
async def test_scopes_that_are_not_offered_are_refused_cleanly(
    here: Cloud, scope: Any, status: int
) -> None:
    reply = await here.ask("POST", TOKENS, by_password("admin", password_of(here.data), scope))
    assert reply.status == status


async def test_rescoping_keeps_the_end_and_the_chain(here: Cloud) -> None:
    await here.member("alice", "secret", "place")
    first = await here.ask("POST", TOKENS, by_password("alice", "secret"))
    here.clock.move_s(60)
    token = first.headers["x-subject-token"]
    again = await here.ask("POST", TOKENS, by_token(token, on_project("place")))
    third = await here.ask("POST", TOKENS, by_token(again.headers["x-subject-token"], "unscoped"))
    before, after, last = (reply.json()["token"] for reply in (first, again, third))
    assert after["expires_at"] == last["expires_at"] == before["expires_at"]
    assert after["issued_at"] > before["issued_at"]
    assert after["methods"] == last["methods"] == ["password", "token"]
    assert after["audit_ids"][1] == last["audit_ids"][1] == before["audit_ids"][0]
    assert len({after["audit_ids"][0], last["audit_ids"][0], before["audit_ids"][0]}) == 3
    scoped = again.headers["x-subject-token"]
    here.clock.move_s(CONFIG.token_ttl_s - 60 - 2)
    for status in (200, 401):
        assert (await here.ask("GET", "/v3/auth/projects", token=scoped)).status == status
        here.clock.move_s(2)


async def test_two_methods_must_prove_the_same_user(here: Cloud) -> None:
    _, _, token = await here.member("alice", "secret", "place")
    await here.made("user", name="bob", password="secret")
    for name, status in (("alice", 201), ("bob", 401)):
        body = by_password(name, "secret")
        body["auth"]["identity"]["methods"] = ["password", "token"]
        body["auth"]["identity"]["token"] = {"id": token}
        assert (await here.ask("POST", TOKENS, body)).status == status


async def test_a_token_ends(here: Cloud) -> None:
    _, _, token = await here.member("alice", "secret", "place")
    here.clock.move_s(CONFIG.token_ttl_s - 1)
    assert (await here.ask("GET", "/v3/auth/projects", token=token)).status == 200
    here.clock.move_s(1)
    assert (await here.ask("GET", "/v3/auth/projects", token=token)).status == 401


async def test_who_may_validate_a_token(here: Cloud) -> None:
    _, _, alice = await here.member("alice", "secret", "place")
    other = await here.token(by_password("alice", "secret"))
    _, _, bob = await here.member("bob", "secret", "elsewhere")
    secret = service_password(here.data)
    service = await here.token(by_password("transom", secret, on_project("service")))
    assert await here.worth(alice) == 200
    for method in ("GET", "HEAD"):
        for caller, subject, status in [
            (alice, alice, 200),
            (alice, other, 200),
            (service, alice, 200),
            (bob, alice, 403),
            (bob, "absent", 403),
            (service, "absent", 404),
            ("absent", alice, 401),
        ]:
            reply = await here.ask(method, TOKENS, token=caller, subject=subject)
            assert reply.status == status
            assert method == "GET" or reply.body == b""
    assert (await here.ask("GET", TOKENS, subject=alice)).status == 401
    assert (await here.ask("GET", TOKENS, token=alice)).status == 400
    shown = await here.ask("GET", TOKENS, token=service, subject=alice)
    assert shown.headers["x-subject-token"] == alice
    assert [role["name"] for role in shown.json()["token"]["roles"]] == ["member"]


async def test_a_revoked_token_is_worth_nothing_and_others_go_on(here: Cloud) -> None:
    _, _, alice = await here.member("alice", "secret", "place")
    other = await here.token(by_password("alice", "secret"))
    before = here.service.generation()
    assert (await here.ask("DELETE", TOKENS, token=alice, subject=alice)).status == 204
    assert here.service.generation() != before
    assert await here.worth(alice) == 404
    assert await here.worth(other) == 200
    assert (await here.ask("POST", TOKENS, by_token(alice))).status == 404
    assert (await here.ask("DELETE", TOKENS, token=alice, subject=alice)).status == 401


async def test_with_the_first_of_a_chain_all_of_it_goes(here: Cloud) -> None:
    _, _, first = await here.member("alice", "secret", "place")
    second = await here.token(by_token(first))
    third = await here.token(by_token(second, on_project("place")))
    assert (await here.ask("DELETE", TOKENS, token=second, subject=second)).status == 204
    assert [await here.worth(token) for token in (first, second, third)] == [200, 404, 200]
    assert (await here.ask("DELETE", TOKENS, token=first, subject=first)).status == 204
    assert [await here.worth(token) for token in (first, second, third)] == [404, 404, 404]


async def test_only_its_user_or_an_admin_revokes_a_token(here: Cloud) -> None:
    _, _, alice = await here.member("alice", "secret", "place")
    _, _, bob = await here.member("bob", "secret", "elsewhere")
    assert (await here.ask("DELETE", TOKENS, token=bob, subject=alice)).status == 403
    secret = service_password(here.data)
    service = await here.token(by_password("transom", secret, on_project("service")))
    assert (await here.ask("DELETE", TOKENS, token=service, subject=alice)).status == 403
    assert await here.worth(alice) == 200
    assert (await here.ask("DELETE", TOKENS, token=here.admin, subject=alice)).status == 204
    assert await here.worth(alice) == 404


async def test_revocations_are_forgotten_when_time_has_made_them_needless(here: Cloud) -> None:
    async def rows(tx: Any) -> int:
        return len(await tx.fetch("select audit_id from revocations"))

    for _ in range(2):
        token = await here.token(by_password("admin", password_of(here.data)))
        assert (await here.ask("DELETE", TOKENS, token=token, subject=token)).status == 204
        assert await here.service.database.read(rows) == 1
        here.clock.move_s(CONFIG.token_ttl_s + EXPIRED_WINDOW_S)


@pytest.mark.parametrize("how", ["disable", "password", "delete", "off and on"])
async def test_what_happens_to_the_user_voids_the_token(here: Cloud, how: str) -> None:
    user_id, _, token = await here.member("alice", "secret", "place")
    path = f"/v3/users/{user_id}"
    changes: dict[str, list[Any]] = {
        "disable": [{"enabled": False}],
        "password": [{"password": "new"}],
        "off and on": [{"enabled": False}, {"enabled": True}],
        "delete": [],
    }
    for change in changes[how]:
        assert (await here.as_admin("PATCH", path, {"user": change})).status == 200
    if how == "delete":
        assert (await here.as_admin("DELETE", path)).status == 204
    assert await here.worth(token) == 404
    assert (await here.ask("POST", TOKENS, by_token(token))).status == 404
    assert (await here.ask("GET", "/v3/auth/projects", token=token)).status == 401


@pytest.mark.parametrize("how", ["disable", "off and on", "delete", "grant"])
async def test_what_happens_to_the_project_voids_its_tokens_only(here: Cloud, how: str) -> None:
    user_id, project_id, token = await here.member("alice", "secret", "place")
    unscoped = await here.token(by_password("alice", "secret", "unscoped"))
    path = f"/v3/projects/{project_id}"
    if how == "grant":
        role_id = await here.role_id("member")
        gone = await here.as_admin("DELETE", f"{path}/users/{user_id}/roles/{role_id}")
        assert gone.status == 204
    elif how == "delete":
        assert (await here.as_admin("DELETE", path)).status == 204
    else:
        for enabled in [False] if how == "disable" else [False, True]:
            change = {"project": {"enabled": enabled}}
            assert (await here.as_admin("PATCH", path, change)).status == 200
    assert await here.worth(token) == 404
    assert await here.worth(unscoped) == 200


async def test_a_renamed_user_goes_on_with_the_new_name(here: Cloud) -> None:
    user_id, _, token = await here.member("alice", "secret", "place")
    await here.as_admin("PATCH", f"/v3/users/{user_id}", {"user": {"name": "eve"}})
    reply = await here.ask("GET", TOKENS, token=token, subject=token)
    assert reply.json()["token"]["user"]["name"] == "eve"


async def test_guesses_are_slowed_down_whether_the_user_exists_or_not(here: Cloud) -> None:
    user_id, _, _ = await here.member("alice", "secret", "place")
    for name in ("alice", "nobody"):
        guesses = [await here.ask("POST", TOKENS, by_password(name, "no")) for _ in range(6)]
        assert [guess.status for guess in guesses] == [401] * 5 + [429]
        assert guesses[-1].headers["retry-after"] == "1"
    right = by_password("alice", "secret")
    assert (await here.ask("POST", TOKENS, right)).status == 429
    by_id = {"id": user_id, "password": "secret"}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": by_id}}}}
    assert (await here.ask("POST", TOKENS, body)).status == 429
    assert await here.as_admin("GET", "/v3/users")
    here.clock.move_s(1.0)
    assert (await here.ask("POST", TOKENS, right)).status == 201
    assert (await here.ask("POST", TOKENS, right)).status == 201


async def test_many_guesses_at_once_gain_few_answers(here: Cloud) -> None:
    guesses = [here.ask("POST", TOKENS, by_password("admin", f"no{n}")) for n in range(60)]
    statuses = [reply.status for reply in await asyncio.gather(*guesses)]
    assert set(statuses) <= {401, 429, 503}
    assert statuses.count(401) <= 5 + 32
    again = [here.ask("POST", TOKENS, by_password("admin", f"no{n}")) for n in range(20)]
    assert {reply.status for reply in await asyncio.gather(*again)} == {429}
    here.clock.move_s(60.0)
    once = [here.ask("POST", TOKENS, by_password("admin", f"no{n}")) for n in range(20)]
    assert [reply.status for reply in await asyncio.gather(*once)].count(401) == 1


async def test_the_catalogue_and_the_projects_of_a_token(here: Cloud) -> None:
    _, project_id, token = await here.member("alice", "secret", "place")
    unscoped = await here.token(by_password("alice", "secret", "unscoped"))
    for text in (token, unscoped):
        reply = await here.ask("GET", "/v3/auth/projects", token=text)
        assert [project["id"] for project in reply.json()["projects"]] == [project_id]
    catalogue = await here.ask("GET", "/v3/auth/catalog", token=token)
    assert {entry["name"] for entry in catalogue.json()["catalog"]} == {"identity", "queue"}
    assert (await here.ask("GET", "/v3/auth/catalog", token=unscoped)).status == 403


async def test_identity_headers_of_a_request_count_for_nothing(here: Cloud) -> None:
    _, _, token = await here.member("alice", "secret", "place")
    claimed = {"x-roles": "admin", "x-user-id": "admin", "x-identity-status": "Confirmed"}
    assert (await here.ask("GET", "/v3/users", headers=claimed)).status == 401
    assert (await here.ask("GET", "/v3/users", headers=claimed, token=token)).status == 403


async def test_no_secret_is_logged(here: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    _, _, token = await here.member("alice", "hush-hush", "place")
    await here.ask("POST", TOKENS, by_password("alice", "hush-wrong"))
    await here.ask("DELETE", TOKENS, token=token, subject=token)
    logged = json.dumps([str(record.__dict__) for record in caplog.records])
    for secret in (token, "hush-", password_of(here.data)):
        assert secret not in logged
