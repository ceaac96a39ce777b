"""Pre-signed URLs: exactly what was signed is let in without a token, and nothing else."""

import random
from pathlib import Path
from typing import Any

import pytest

from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.secrets import Secret

from support.http import Reply, Tokens, serve
from support.queues import PROJECTS, Door, MovedClock, open_door, open_service

Q, MESSAGES, CLAIMS = "/v2/queues/q", "/v2/queues/q/messages", "/v2/queues/q/claims"
ONE = {"messages": [{"body": 1}]}


async def share(door: Door, token: str = "token-a", **asked: Any) -> dict[str, str]:
    """The headers that use what was signed."""
    reply = await door.ask("POST", f"{Q}/share", asked, token=token)
    assert reply.status == 200, reply.body
    signed = reply.json()
    return {
        "url-signature": signed["signature"],
        "url-methods": ",".join(signed["methods"]),
        "url-paths": ",".join(signed["paths"]),
        "url-expires": signed["expires"],
        "x-project-id": signed["project"],
    }


async def use(
    door: Door, shown: dict[str, str], method: str, path: str, body: Any = None, token: str = ""
) -> Reply:
    return await door.ask(method, path, body, token=token, headers=shown)


async def test_what_is_signed_by_default_is_reading_messages_for_a_day(door: Door) -> None:
    await door.ask("POST", MESSAGES, ONE)
    reply = await door.ask("POST", f"{Q}/share")
    assert reply.json() | {"signature": ""} == {
        "paths": [MESSAGES],
        "methods": ["GET"],
        "project": "a",
        "expires": "2023-11-15T22:13:20",
        "signature": "",
    }
    shown = await share(door)
    page = await use(door, shown, "GET", f"{MESSAGES}?echo=true")
    (message,) = page.json()["messages"]
    assert (await use(door, shown, "GET", message["href"])).json()["body"] == 1
    door.clock.move_s(86_399)
    assert (await use(door, shown, "GET", MESSAGES)).status == 200
    door.clock.move_s(1)
    assert (await use(door, shown, "GET", MESSAGES)).status == 404


async def test_other_calls_are_not_there(door: Door) -> None:
    shown = await share(door, methods=["GET"], paths=["messages"])
    for method, path in (
        ("POST", MESSAGES),
        ("DELETE", f"{MESSAGES}?pop=1"),
        ("HEAD", MESSAGES),
        ("GET", Q),
        ("GET", "/v2/queues"),
        ("GET", f"{Q}/stats"),
        ("GET", "/v2/queues/q2/messages"),
        ("GET", f"{MESSAGES}/../claims"),
        ("GET", f"{MESSAGES}%2f"),
        ("POST", CLAIMS),
        ("POST", f"{Q}/share"),
        ("GET", "/v2/health"),
    ):
        reply = await use(door, shown, method, path)
        assert reply.status == 404, (method, path)


async def test_work_is_done_with_signed_claims_and_deletions(door: Door) -> None:
    shown = await share(
        door, methods=["POST", "GET", "PATCH", "DELETE"], paths=["messages", "claims"]
    )
    assert (await use(door, shown, "POST", MESSAGES, ONE)).status == 201
    claimed = await use(door, shown, "POST", CLAIMS, {})
    assert claimed.status == 201
    claim = claimed.headers["location"]
    assert (await use(door, shown, "PATCH", claim, {"ttl": 60, "grace": 60})).status == 204
    (message,) = claimed.json()["messages"]
    assert (await use(door, shown, "DELETE", message["href"])).status == 204
    assert (await use(door, shown, "DELETE", claim)).status == 204


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("url-signature", "0" * 64),
        ("url-signature", ""),
        ("url-methods", "GET,POST"),
        ("url-paths", "/v2/queues/other/messages"),
        ("url-expires", "2099-01-01T00:00:00"),
        ("url-expires", "soon"),
        ("x-project-id", "b"),
        ("x-project-id", None),
        ("url-expires", None),
        ("url-paths", None),
    ],
)
async def test_anything_changed_or_left_out_is_404(
    door: Door, header: str, value: str | None
) -> None:
    shown = await share(door)
    shown.pop(header)
    if value is not None:
        shown[header] = value
    assert (await use(door, shown, "GET", MESSAGES)).status == 404


async def test_a_signature_never_stands_in_for_a_token_that_is_shown(door: Door) -> None:
    shown = await share(door)
    for extra in ({"x-auth-token": "wrong"}, {"x-auth-token": ""}, {"x-service-token": "wrong"}):
        assert (await use(door, {**shown, **extra}, "GET", MESSAGES)).status == 401
    mixed = {**shown, "url-signature": "wrong"}
    assert (await use(door, mixed, "GET", Q, token="token-b")).status == 200


async def test_no_other_header_switches_the_token_off(door: Door) -> None:
    for extra in ("extra-spec", "url-methods", "url-paths", "x-project-id", "x_project_id"):
        assert (await use(door, {extra: ":x"}, "GET", MESSAGES)).status == 401


async def test_a_reader_cannot_sign_what_it_cannot_do(door: Door) -> None:
    for asked, status in (
        ({"methods": ["GET"]}, 200),
        ({"methods": ["GET"], "paths": ["claims", "subscriptions"]}, 200),
        ({"methods": ["POST"]}, 403),
        ({"methods": ["GET", "DELETE"]}, 403),
        ({"methods": ["POST"], "paths": ["claims"]}, 403),
        ({"methods": ["PUT"], "paths": ["subscriptions"]}, 403),
    ):
        reply = await door.ask("POST", f"{Q}/share", asked, token="token-reader")
        assert reply.status == status, asked


@pytest.mark.parametrize(
    "asked",
    [
        {"expires": "2020-01-01T00:00:00"},
        {"expires": "tomorrow"},
        {"expires": 1_900_000_000},
        {"methods": ["TRACE"]},
        {"methods": "GET"},
        {"paths": ["stats"]},
        {"paths": ["messages/../claims"]},
        {"project_id": "b"},
        [],
    ],
)
async def test_what_cannot_be_signed_is_refused(door: Door, asked: Any) -> None:
    reply = await door.ask("POST", f"{Q}/share", asked)
    assert (reply.status, set(reply.json())) == (400, {"title", "description"})


async def test_urls_outlive_a_restart_and_one_rotation_of_the_master_key(tmp_path: Path) -> None:
    clock, first, second = MovedClock(), b"1" * 32, b"2" * 32
    async with open_door(tmp_path, clock, master_keys=(first,)) as door:
        shown = await share(door)
    for keys, status in (((first,), 200), ((second, first), 200), ((second,), 404)):
        async with open_door(tmp_path, clock, master_keys=keys) as door:
            assert (await use(door, shown, "GET", MESSAGES)).status == status
            assert (await use(door, await share(door), "GET", MESSAGES)).status == 200


async def test_a_rotation_is_followed_while_the_server_runs(tmp_path: Path) -> None:
    keys = [b"1" * 32]
    clock = MovedClock()
    async with open_door(tmp_path, clock, master_keys=keys) as one:
        await share(one)
        keys.insert(0, b"2" * 32)
        shown = await share(one)
        assert (await use(one, shown, "GET", MESSAGES)).status == 200


async def test_a_key_that_is_given_signs_as_a_zaqar_with_it_does(tmp_path: Path) -> None:
    async with open_door(tmp_path, signed_url_key=Secret("shared"), master_keys=()) as door:
        shown = await share(door, expires="2023-11-15T00:00:00")
        assert shown["url-signature"] == (
            "67efe0cc24d4a0fe6b295220b9fea956df1f30f41a93988ca4e226cd8814a70c"
        )


async def test_without_any_key_nothing_is_signed_or_let_in(tmp_path: Path) -> None:
    async with open_door(tmp_path, master_keys=()) as door:
        assert (await door.ask("POST", f"{Q}/share", {})).status == 503
        shown = dict.fromkeys(("url-methods", "url-paths", "x-project-id"), "x")
        shown |= {"url-signature": "x", "url-expires": "2099-01-01T00:00:00"}
        assert (await use(door, shown, "GET", MESSAGES)).status == 503


async def test_rates_hold_for_signed_requests_too(tmp_path: Path) -> None:
    clock = MovedClock()
    limits = HttpLimits(project_requests_per_s=1, project_burst=2)
    async with open_service(tmp_path, clock) as service:
        tokens = Tokens(PROJECTS)
        app = make_app(
            [service.mount],
            authenticate=tokens,
            random=random.Random(2).randbytes,
            limits=limits,
            clock=clock,
        )
        async with serve(app) as base_url:
            door = Door(base_url, service, clock, tokens)
            shown = await share(door)
            found = [(await use(door, shown, "GET", MESSAGES)).status for _ in range(3)]
    assert found == [200, 429, 429]
