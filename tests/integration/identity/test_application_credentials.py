from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from transom.identity.store import application_credentials

from support.identity import (
    CONFIG,
    Cloud,
    by_credential,
    by_password,
    by_token,
    cloud,
    on_project,
)

pytestmark = pytest.mark.usefixtures("engine")

TOKENS = "/v3/auth/tokens"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


class Alice:
    """A member and reader of the project `place`, and her application credentials."""

    def __init__(self, here: Cloud, user_id: str, project_id: str, token: str) -> None:
        self.here = here
        self.user_id = user_id
        self.project_id = project_id
        self.token = token
        self.path = f"/v3/users/{user_id}/application_credentials"

    async def ask(self, **fields: Any) -> Any:
        body = {"application_credential": {"name": "deploy", **fields}}
        return await self.here.ask("POST", self.path, body, token=self.token)

    async def made(self, **fields: Any) -> dict[str, Any]:
        reply = await self.ask(**fields)
        assert reply.status == 201, reply.body
        return dict(reply.json()["application_credential"])


@pytest.fixture
async def alice(here: Cloud) -> Alice:
    user_id, project_id, _ = await here.member("alice", "secret", "place")
    await here.grant(user_id, project_id, "reader")
    token = await here.token(by_password("alice", "secret", on_project("place")))
    return Alice(here, user_id, project_id, token)


def roles(entry: dict[str, Any]) -> list[str]:
    return sorted(role["name"] for role in entry["roles"])


async def test_a_credentials_life(here: Cloud, alice: Alice) -> None:
    made = await alice.made(description="d")
    one = f"{alice.path}/{made['id']}"
    assert (made["project_id"], roles(made)) == (alice.project_id, ["member", "reader"])
    assert (made["unrestricted"], made["expires_at"]) == (False, None)
    reply = await here.ask("POST", TOKENS, by_credential(made["id"], made["secret"]))
    token = reply.json()["token"]
    assert reply.status == 201
    assert token["methods"] == ["application_credential"]
    assert token["project"]["id"] == alice.project_id
    assert token["application_credential"] == {
        "id": made["id"], "name": "deploy", "restricted": True,
    }  # fmt: skip
    shown = (await here.ask("GET", one, token=alice.token)).json()["application_credential"]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    listed = (await here.ask("GET", alice.path, token=alice.token)).json()
    assert listed["application_credentials"] == [shown]
    other = (await here.ask("GET", alice.path + "?name=x", token=alice.token)).json()
    assert other["application_credentials"] == []
    assert (await alice.ask()).status == 409
    got = reply.headers["x-subject-token"]
    assert (await here.ask("DELETE", one, token=alice.token)).status == 204
    for method in ("GET", "DELETE"):
        assert (await here.ask(method, one, token=alice.token)).status == 404
    assert await here.worth(got) == 404
    again = await here.ask("POST", TOKENS, by_credential(made["id"], made["secret"]))
    assert again.status == 401


async def test_by_name_and_with_a_secret_of_ones_own(here: Cloud, alice: Alice) -> None:
    await alice.made(secret="sesame")
    named = {"name": "deploy", "user": {"name": "alice", "domain": {"name": "Default"}}}
    for secret, status in (("sesame", 201), ("Sesame", 401)):
        given = {**named, "secret": secret}
        body = {"methods": ["application_credential"], "application_credential": given}
        reply = await here.ask("POST", TOKENS, {"auth": {"identity": body}})
        assert reply.status == status

    async def stored(tx: Any) -> list[Any]:
        return await tx.fetch("select secret_hash from application_credentials")

    ((record,),) = await here.service.database.read(stored)
    assert record.startswith("scrypt$")
    assert "sesame" not in record


async def test_it_has_no_more_roles_than_the_token_that_makes_it(here: Cloud, alice: Alice) -> None:
    admin, member = await here.role_id("admin"), await here.role_id("member")
    assert (await alice.ask(roles=[{"name": "admin"}])).status == 400
    assert (await alice.ask(roles=[{"id": admin}])).status == 400
    assert (await alice.ask(roles=[{"id": admin, "name": "member"}])).status == 400
    assert (await alice.ask(roles=[{}])).status == 400
    made = await alice.made(roles=[{"name": "reader"}], name="looks")
    assert roles(made) == ["reader"]
    assert roles(await alice.made(roles=[{"id": member}])) == ["member"]
    got = await here.ask("POST", TOKENS, by_credential(made["id"], made["secret"]))
    assert roles(got.json()["token"]) == ["reader"]


@pytest.mark.parametrize("unrestricted", [False, True])
async def test_a_credentials_token_makes_others_only_if_it_is_unrestricted(
    here: Cloud, alice: Alice, unrestricted: bool
) -> None:
    made = await alice.made(roles=[{"name": "reader"}], unrestricted=unrestricted)
    alice.token = await here.token(by_credential(made["id"], made["secret"]))
    assert (await alice.ask(name="second")).status == (201 if unrestricted else 403)
    assert (await alice.ask(name="third", roles=[{"name": "member"}])).status in (400, 403)
    assert (await here.ask("GET", alice.path, token=alice.token)).status == 200
    gone = await here.ask("DELETE", f"{alice.path}/{made['id']}", token=alice.token)
    assert gone.status == (204 if unrestricted else 403)


async def test_a_credentials_token_gets_no_other_token(here: Cloud, alice: Alice) -> None:
    made = await alice.made(unrestricted=True)
    token = await here.token(by_credential(made["id"], made["secret"]))
    for scope in (None, "unscoped", on_project("place")):
        assert (await here.ask("POST", TOKENS, by_token(token, scope))).status == 403
    both = by_password("alice", "secret")
    both["auth"]["identity"] |= by_token(token)["auth"]["identity"]
    both["auth"]["identity"]["methods"] = ["password", "token"]
    assert (await here.ask("POST", TOKENS, both)).status == 403


async def test_it_is_for_its_project_whatever_is_asked_for(here: Cloud, alice: Alice) -> None:
    made = await alice.made()
    for scope in ("unscoped", on_project("place"), {"system": {"all": True}}):
        body = by_credential(made["id"], made["secret"])
        body["auth"]["scope"] = scope
        assert (await here.ask("POST", TOKENS, body)).status == 401
    body = by_credential(made["id"], made["secret"])
    body["auth"]["identity"]["methods"].append("password")
    body["auth"]["identity"] |= {"password": {"user": {"id": alice.user_id, "password": "secret"}}}
    assert (await here.ask("POST", TOKENS, body)).status == 401


async def test_nobody_makes_one_for_another_or_without_a_project(here: Cloud, alice: Alice) -> None:
    body = {"application_credential": {"name": "deploy"}}
    assert (await here.as_admin("POST", alice.path, body)).status == 403
    _, _, bob = await here.member("bob", "secret", "elsewhere")
    made = await alice.made()
    for method, path in [
        ("GET", alice.path),
        ("GET", f"{alice.path}/{made['id']}"),
        ("DELETE", f"{alice.path}/{made['id']}"),
    ]:
        assert (await here.ask(method, path, token=bob)).status == 403
    unscoped = await here.token(by_password("alice", "secret", "unscoped"))
    assert (await here.ask("POST", alice.path, body, token=unscoped)).status == 400


async def test_another_users_credential_is_none_of_ones_own(here: Cloud, alice: Alice) -> None:
    made = await alice.made()
    bob_id, _, bob = await here.member("bob", "secret", "elsewhere")
    path = f"/v3/users/{bob_id}/application_credentials/{made['id']}"
    for method in ("GET", "DELETE"):
        assert (await here.ask(method, path, token=bob)).status == 404


@pytest.mark.parametrize(
    "how", ["grant", "project", "user", "disabled", "off and on", "project disabled", "domain"]
)
async def test_it_goes_with_what_it_depends_on(here: Cloud, alice: Alice, how: str) -> None:
    made = await alice.made()
    proof = by_credential(made["id"], made["secret"])
    token = await here.token(proof)
    project, user = f"/v3/projects/{alice.project_id}", f"/v3/users/{alice.user_id}"
    off, on = {"enabled": False}, {"enabled": True}
    reader = await here.role_id("reader")
    if how == "domain":
        home = await here.made("domain", name="lab")
        inside = await here.made("user", name="eve", password="secret", domain_id=home["id"])
        spot = await here.made("project", name="spot", domain_id=home["id"])
        await here.grant(inside["id"], spot["id"], "member")
        scope = {"project": {"id": spot["id"]}}
        text = await here.token(by_password("eve", "secret", scope, domain=home["id"]))
        eve = Alice(here, inside["id"], spot["id"], text)
        made = await eve.made()
        proof = by_credential(made["id"], made["secret"])
        token = await here.token(proof)
    steps: dict[str, list[tuple[str, str, Any]]] = {
        "grant": [("DELETE", f"{project}/users/{alice.user_id}/roles/{reader}", None)],
        "project": [("DELETE", project, None)],
        "user": [("DELETE", user, None)],
        "disabled": [("PATCH", user, {"user": off})],
        "off and on": [("PATCH", user, {"user": off}), ("PATCH", user, {"user": on})],
        "project disabled": [("PATCH", project, {"project": off})],
        "domain": [("PATCH", "/v3/domains/" + (home["id"] if how == "domain" else ""),
                    {"domain": off})],
    }  # fmt: skip
    for method, path, body in steps[how]:
        assert (await here.as_admin(method, path, body)).status in (200, 204)
    assert await here.worth(token) == 404
    assert (await here.ask("POST", TOKENS, proof)).status == 401


async def test_it_outlives_a_change_of_the_password_and_its_tokens_do_not(
    here: Cloud, alice: Alice
) -> None:
    made = await alice.made()
    proof = by_credential(made["id"], made["secret"])
    token = await here.token(proof)
    path = f"/v3/users/{alice.user_id}"
    assert (await here.as_admin("PATCH", path, {"user": {"password": "new"}})).status == 200
    assert await here.worth(token) == 404
    assert await here.worth(await here.token(proof)) == 200


async def test_a_deleted_role_takes_its_credentials_along(here: Cloud, alice: Alice) -> None:
    role = await here.made("role", name="cook")
    await here.grant(alice.user_id, alice.project_id, "cook")
    alice.token = await here.token(by_password("alice", "secret", on_project("place")))
    made = await alice.made()
    token = await here.token(by_credential(made["id"], made["secret"]))
    assert (await here.as_admin("DELETE", f"/v3/roles/{role['id']}")).status == 204
    assert await here.worth(token) == 404
    assert (await here.ask("GET", f"{alice.path}/{made['id']}", token=alice.token)).status == 404


async def test_it_ends_at_its_time_and_its_tokens_with_it(here: Cloud, alice: Alice) -> None:
    for fields, status in [
        ({"expires_at": "2001-01-01T00:00:00"}, 400),
        ({"expires_at": "tomorrow"}, 400),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, 400),
        ({"access_rules": [{"path": "/", "method": "GET", "service": "compute"}]}, 400),
        ({"secret": ""}, 400),
        ({"name": " "}, 400),
    ]:
        assert (await alice.ask(**fields)).status == status
    made = await alice.made(expires_at="2999-01-31T12:00:00.123456Z")
    assert made["expires_at"] == "2999-01-31T12:00:00.123456"
    soon = here.clock.now_ms() // 1000 + 100
    text = (_BEGINNING + timedelta(seconds=soon)).isoformat()
    made = await alice.made(name="soon", expires_at=text)
    proof = by_credential(made["id"], made["secret"])
    reply = await here.ask("POST", TOKENS, proof)
    assert reply.json()["token"]["expires_at"].startswith(text)
    here.clock.move_s(101)
    assert await here.worth(reply.headers["x-subject-token"]) == 404
    assert (await here.ask("POST", TOKENS, proof)).status == 401


async def test_guesses_at_a_secret_are_slowed_down_and_a_drawn_one_is_let_in(
    here: Cloud, alice: Alice
) -> None:
    drawn = await alice.made()
    chosen = await alice.made(name="chosen", secret="sesame")
    absent = "f" * 32
    for credential_id in (drawn["id"], chosen["id"], absent):
        guesses = [
            await here.ask("POST", TOKENS, by_credential(credential_id, "no")) for _ in range(6)
        ]
        assert [guess.status for guess in guesses] == [401] * 5 + [429]
        assert len({guess.body for guess in guesses[:5]}) == 1
    right = by_credential(chosen["id"], "sesame")
    assert (await here.ask("POST", TOKENS, right)).status == 429
    right = by_credential(drawn["id"], drawn["secret"])
    assert (await here.ask("POST", TOKENS, right)).status == 201
    here.clock.move_s(CONFIG.token_ttl_s)
    assert (await here.ask("POST", TOKENS, right)).status == 201


async def test_a_user_has_a_bounded_number_of_them(
    here: Cloud, alice: Alice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application_credentials, "OF_USER_MOST", 2)
    statuses = [(await alice.ask(name=f"n{number}")).status for number in range(3)]
    assert statuses == [201, 201, 403]
    listed = (await here.ask("GET", alice.path, token=alice.token)).json()
    assert len(listed["application_credentials"]) == 2
