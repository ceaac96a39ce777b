"""The queue's WebSocket: every action as Zaqar answers it, who may ask, order, pushes, claims.

Statuses and bodies are those of a real Zaqar's WebSocket transport.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from transom.queue.api.socket.actions import SPECS, Actions

from support.queues import Door, open_door
from support.sockets import CLIENT, SocketClient, socket

pytestmark = pytest.mark.usefixtures("engine")
OTHER = "4481af922b9e11e3b19171861300734d"


@pytest.fixture(params=["text", "binary"])
async def ws(door: Door, request: pytest.FixtureRequest) -> AsyncIterator[SocketClient]:
    async with socket(door.base_url, "token-a", binary=request.param == "binary") as client:
        yield client


def queue(name: str = "q", **more: Any) -> dict[str, Any]:
    return {"queue_name": name, **more}


def frame(action: str, body: str) -> str:
    """Text whose body is exactly this."""
    head = json.dumps({"action": action, "headers": {"Client-ID": CLIENT}})
    return f'{head[:-1]}, "body": {body}}}'


async def posted(ws: SocketClient, *bodies: Any, name: str = "q") -> list[str]:
    messages = [{"body": body, "ttl": 300} for body in bodies]
    return (await ws.must("message_post", queue(name, messages=messages)))["message_ids"]


async def test_queues(ws: SocketClient) -> None:
    assert await ws.ask("queue_create", queue(metadata={"colour": "red"})) == (
        201,
        "Queue q created.",
    )
    assert (await ws.ask("queue_create", queue()))[0] == 204
    status, shown = await ws.ask("queue_get", queue())
    assert (status, shown["colour"], shown["_default_message_ttl"]) == (200, "red", 3600)
    assert (await ws.ask("queue_get", queue("nope")))[0] == 404
    change = [{"op": "replace", "path": "/metadata/colour", "value": "blue"}]
    assert (await ws.must("queue_update", queue(changes=change)))["colour"] == "blue"
    await ws.must("queue_create", queue("r"))
    status, listed = await ws.ask("queue_list", {"limit": 1, "detailed": True})
    assert [one["name"] for one in listed["queues"]] == ["q"]
    assert listed["queues"][0]["metadata"]["colour"] == "blue"
    listed = await ws.must("queue_list", {"marker": "q"})
    assert [one["name"] for one in listed["queues"]] == ["r"]
    assert (await ws.ask("queue_list", {"limit": 1000}))[0] == 400
    assert await ws.ask("queue_delete", queue()) == (204, "Queue q removed.")
    assert (await ws.ask("queue_delete", queue()))[0] == 204


async def test_stats_and_purge(ws: SocketClient) -> None:
    nothing = {"messages": {"claimed": 0, "free": 0, "total": 0}}
    assert await ws.ask("queue_get_stats", queue()) == (404, nothing)
    await posted(ws, 1, 2, 3)
    await ws.must("claim_create", queue(limit=1))
    stats = (await ws.must("queue_get_stats", queue()))["messages"]
    assert (stats["claimed"], stats["free"], stats["total"]) == (1, 2, 3)
    assert set(stats["oldest"]) == {"age", "created", "href"}
    assert await ws.ask("queue_purge", queue(resource_types=["messages"])) == (204, {})
    assert await ws.ask("queue_get_stats", queue()) == (200, nothing)
    assert (await ws.ask("queue_purge", queue(resource_types=["nonsense"])))[0] == 400


async def test_messages(ws: SocketClient) -> None:
    status, body = await ws.ask(
        "message_post", queue(messages=[{"body": {"n": n}, "ttl": 60} for n in range(3)])
    )
    assert status == 201
    assert list(body) == ["message_ids"]
    ids = body["message_ids"]
    assert (await ws.must("message_list", queue()))["messages"] == []
    listed = await ws.must("message_list", queue(echo=True, limit=2))
    assert [one["body"] for one in listed["messages"]] == [{"n": 0}, {"n": 1}]
    assert [one["id"] for one in listed["messages"]] == ids[:2]
    rest = await ws.must("message_list", queue(echo="true", marker=ids[1]))
    assert [one["id"] for one in rest["messages"]] == ids[2:]
    found = await ws.must("message_list", queue(), client=OTHER)
    assert len(found["messages"]) == 3
    status, one = await ws.ask("message_get", queue(message_id=ids[0]))
    assert (status, one["messages"]["id"], one["messages"]["ttl"]) == (200, ids[0], 60)
    some = await ws.must("message_get_many", queue(message_ids=[ids[2], ids[0]]))
    assert {one["id"] for one in some["messages"]} == {ids[0], ids[2]}
    gone = CLIENT
    assert await ws.ask("message_get_many", queue(message_ids=[gone])) == (200, {"messages": []})
    assert (await ws.ask("message_get_many", queue(message_ids=[gone] * 21)))[0] == 400
    assert (await ws.ask("message_get", queue(message_id=gone)))[0] == 404
    assert await ws.ask("message_delete", queue(message_id=ids[0])) == (204, {})
    assert await ws.ask("message_delete_many", queue(message_ids=ids[:2])) == (204, {})
    status, popped = await ws.ask("message_delete_many", queue(pop=5))
    assert (status, [one["body"] for one in popped["messages"]]) == (200, [{"n": 2}])
    assert (await ws.ask("message_delete_many", queue()))[0] == 400


async def test_claims_and_the_fence_of_a_late_worker(ws: SocketClient) -> None:
    assert await ws.ask("claim_create", queue()) == (204, {"claim_id": None})
    ids = await posted(ws, "a", "b", "c")
    status, claim = await ws.ask("claim_create", queue(ttl=100, grace=60, limit=2))
    assert status == 201
    assert [one["id"] for one in claim["messages"]] == ids[:2]
    named = queue(claim_id=claim["claim_id"])
    status, shown = await ws.ask("claim_get", named)
    assert (status, shown["ttl"], len(shown["messages"])) == (200, 100, 2)
    assert (await ws.ask("message_delete", queue(message_id=ids[0])))[0] == 403
    held = {**named, "message_id": ids[0]}
    assert (await ws.ask("message_delete", held))[0] == 204
    said = f"Claim {claim['claim_id']} updated."
    assert await ws.ask("claim_update", {**named, "ttl": 200, "grace": 60}) == (204, said)
    assert (await ws.must("claim_get", named))["ttl"] == 200
    assert (await ws.ask("claim_delete", named))[0] == 204
    status, body = await ws.ask("message_delete", {**named, "message_id": ids[1]})
    assert status == 400
    assert "not currently claimed" in body["error"]
    assert (await ws.ask("claim_get", named))[0] == 404
    assert (await ws.ask("claim_update", {**named, "ttl": 60, "grace": 60}))[0] == 404
    assert (await ws.ask("claim_create", queue(ttl=1)))[0] == 400


async def test_every_action_of_zaqar_is_there(door: Door) -> None:
    routes = door.service.mount.routes
    assert Actions(routes).names == frozenset(SPECS), "an action has no route"


@pytest.mark.parametrize(
    "sent",
    [
        "", "no JSON", "[]", "3", "null", '{"action": 5}',
        '{"action": "queue_list", "headers": []}',
        frame("queue_get", "[1]"), frame("queue_get", "{}"),
        frame("queue_get", '{"queue_name": 3}'), frame("queue_get", '{"queue_name": "a b"}'),
        frame("message_post", '{"queue_name": "q"}'),
        frame("message_post", '{"queue_name": "q", "messages": []}'),
        '{"action": "nonsense", "headers": {}, "body": {}}',
        '{"action": "queue_list", "headers": {}, "body": {}}',
        '{"action": "queue_list", "headers": {"Client-ID": "x"}, "body": {}}',
        "[" * 100_000, '{"body": ' + "[" * 100 + "]" * 100 + "}",
        b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa4body", b"\x91" * 100_000,
    ],
)  # fmt: skip
async def test_what_cannot_be_carried_out_is_400_in_kind(door: Door, sent: str | bytes) -> None:
    async with socket(door.base_url, "token-a", binary=isinstance(sent, bytes)) as ws:
        await ws.connection.send(sent)
        answer = await ws.receive()
        assert (answer["headers"]["status"], next(iter(answer["body"]))) == (400, "error")
        assert (await ws.ask("queue_list"))[0] == 200


async def test_a_body_is_kept_as_it_was_sent_in_text(door: Door) -> None:
    body = '{"b": 1.50, "a": [1e3, 123456789012345678901234567890, "\\u00fc"]}'
    sent = frame("message_post", f'{{"queue_name": "q", "messages": [{{"body": {body}}}]}}')
    async with socket(door.base_url, "token-a") as ws:
        await ws.connection.send(sent)
        assert (await ws.receive())["headers"]["status"] == 201
        await ws.send(
            {
                "action": "message_list",
                "id": 1,
                "headers": {"Client-ID": CLIENT},
                "body": queue(echo=True),
            }
        )
        assert body.encode() in (await ws.connection.recv()).encode()
    over_http = await door.ask("GET", "/v2/queues/q/messages?echo=true")
    assert body.encode() in over_http.body
    async with socket(door.base_url, "token-a", binary=True) as ws:
        listed = await ws.must("message_list", queue(echo=True))
    assert listed["messages"][0]["body"] == {
        "b": 1.5,
        "a": [1000.0, 123456789012345678901234567890.0, "ü"],
    }


async def test_a_body_of_messagepack_is_json_once_it_is_posted(door: Door) -> None:
    body = {"text": "ü", "list": [1, -1, 2.5, True, None], "large": 2**63 - 1, "1": {"x": []}}
    async with socket(door.base_url, "token-a", binary=True) as ws:
        await posted(ws, body)
        assert (await ws.must("message_list", queue(echo=True)))["messages"][0]["body"] == body
        for bad in (
            b"bytes",
            float("nan"),
            {"x": [b"deep"]},
            msgspec.msgpack.Ext(5, b"x"),
        ):
            status, answer = await ws.ask("message_post", queue(messages=[{"body": bad}]))
            assert (status, "JSON" in answer["error"] or "text" in answer["error"]) == (400, True)
    async with socket(door.base_url, "token-a") as ws:
        assert (await ws.must("message_list", queue(echo=True)))["messages"][0]["body"] == body


async def test_the_request_is_echoed_whole_or_by_its_id_and_never_its_token(door: Door) -> None:
    async with socket(door.base_url) as ws:
        headers = {"Client-ID": CLIENT, "X-Auth-Token": "token-a"}
        await ws.send({"action": "authenticate", "headers": headers})
        answer = await ws.receive()
        assert answer["headers"]["status"] == 200
        assert "token-a" not in json.dumps(answer)
        await ws.send({"action": "queue_list", "headers": headers, "body": {"limit": 3}})
        answer = await ws.receive()
        assert answer["request"] == {
            "action": "queue_list",
            "body": {"limit": 3},
            "headers": {"Client-ID": CLIENT},
            "api": "v2",
        }
        await ws.send({"action": "queue_list", "headers": headers, "body": {}, "id": "mine-7"})
        assert (await ws.receive())["request"] == {
            "action": "queue_list",
            "id": "mine-7",
            "api": "v2",
        }


async def test_nothing_is_carried_out_before_a_token_was_shown(door: Door) -> None:
    async with socket(door.base_url) as ws:
        for action in sorted(SPECS):
            body = queue(
                message_id=CLIENT,
                claim_id=CLIENT,
                subscription_id=CLIENT,
                messages=[{"body": 1}],
                pop=1,
                changes=[],
                queues=["q"],
                subscriber="http://x",
                limit=1,
            )
            assert (await ws.ask(action, body))[0] == 403, action
        assert await ws.sign_in("token-bad") == 401
        assert (await ws.ask("queue_list"))[0] == 403
        assert await ws.sign_in("token-a") == 200
        assert (await ws.ask("queue_list"))[0] == 200
        assert await ws.sign_in("token-bad") == 401
        assert (await ws.ask("queue_list"))[0] == 200, "whoever is signed in stays so"


async def test_a_socket_that_shows_no_token_in_time_is_closed(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, http={"socket_sign_in_s": 0.1}) as door,
        socket(door.base_url) as ws,
    ):
        assert await ws.closed() == (1008, "authenticate sooner")


async def test_a_revoked_token_closes_the_socket_with_4003(door: Door) -> None:
    async with socket(door.base_url) as ws:
        assert await ws.sign_in("token-a-other") == 200
        assert (await ws.ask("queue_list"))[0] == 200
        del door.tokens.known["token-a-other"]
        await ws.send({"action": "queue_list", "headers": {"Client-ID": CLIENT}, "body": {}})
        assert await ws.closed() == (4003, "Authentication expired.")


async def test_a_token_that_ends_closes_an_idle_socket_with_4003(door: Door) -> None:
    import time

    ends_ms = int(time.time() * 1000) + 200
    door.tokens.known["short"] = msgspec.structs.replace(
        door.tokens.known["token-a"], expires_ms=ends_ms
    )
    async with socket(door.base_url) as ws:
        assert await ws.sign_in("short") == 200
        assert await ws.closed() == (4003, "Authentication expired.")


async def test_tenants_are_apart_and_roles_hold(door: Door) -> None:
    async with socket(door.base_url, "token-a") as ours, socket(door.base_url, "token-b") as theirs:
        ids = await posted(ours, "secret")
        claim = await ours.must("claim_create", queue())
        assert (await theirs.must("queue_list"))["queues"] == []
        assert (await theirs.ask("queue_get", queue()))[0] == 404
        assert (await theirs.ask("message_get", queue(message_id=ids[0])))[0] == 404
        assert (await theirs.ask("claim_get", queue(claim_id=claim["claim_id"])))[0] == 404
        assert (await theirs.ask("claim_delete", queue(claim_id=claim["claim_id"])))[0] == 204
        assert (await theirs.ask("message_delete_many", queue(message_ids=ids)))[0] == 204
        assert (await ours.must("message_get", queue(message_id=ids[0])))["messages"]
        assert (await theirs.ask("queue_list", X_Project_ID="a"))[0] == 403
        assert (await theirs.ask("queue_list", X_Project_ID="b"))[0] == 200
        async with socket(door.base_url, "token-reader") as reader:
            assert (await reader.ask("message_list", queue()))[0] == 200
            assert (await reader.ask("message_post", queue(messages=[{"body": 1}])))[0] == 403
            assert (await reader.ask("claim_create", queue()))[0] == 403
        async with socket(door.base_url, "token-unscoped") as nowhere:
            assert (await nowhere.ask("queue_list"))[0] == 400


async def test_pipelined_requests_on_one_queue_keep_their_order(door: Door) -> None:
    async with socket(door.base_url, "token-a") as ws:
        for n in range(300):
            await ws.send(
                {
                    "action": "message_post",
                    "id": n,
                    "headers": {"Client-ID": CLIENT},
                    "body": queue(messages=[{"body": n}]),
                }
            )
            if n % 50 == 49:
                await ws.send(
                    {
                        "action": "queue_get_stats",
                        "id": f"after {n}",
                        "headers": {"Client-ID": CLIENT},
                        "body": queue(),
                    }
                )
        for _ in range(306):
            answer = await ws.receive()
            asked = answer["request"]["id"]
            assert answer["headers"]["status"] in (200, 201)
            if isinstance(asked, str):
                seen = answer["body"]["messages"]["total"]
                assert seen == int(asked.split()[1]) + 1, "a read overtook a write"
        kept: list[int] = []
        marker: dict[str, str] = {}
        while True:
            page = (await ws.must("message_list", queue(echo=True, limit=20, **marker)))["messages"]
            if not page:
                break
            kept += [one["body"] for one in page]
            marker = {"marker": page[-1]["id"]}
        assert kept == list(range(300))


async def test_an_idempotency_key_is_honoured(door: Door) -> None:
    async with socket(door.base_url, "token-a") as ws:
        body = queue(messages=[{"body": "once"}])
        first = await ws.must("message_post", body, Idempotency_Key="k1")
        assert await ws.must("message_post", body, Idempotency_Key="k1") == first
        assert len((await ws.must("message_list", queue(echo=True)))["messages"]) == 1
        other = queue(messages=[{"body": "twice"}])
        assert (await ws.ask("message_post", other, Idempotency_Key="k1"))[0] in (409, 422)


async def test_a_socket_is_told_of_what_is_posted_from_then_on(door: Door) -> None:
    async with (
        socket(door.base_url, "token-a") as poster,
        socket(door.base_url, "token-a") as first,
        socket(door.base_url, "token-a", binary=True) as second,
    ):
        await posted(poster, "before")
        status, made = await first.ask("subscription_create", queue())
        assert status == 201
        await second.must("subscription_create", queue())
        ids = await posted(poster, *range(50))
        for client in (first, second):
            came = [await client.push() for _ in range(50)]
            assert [one["body"] for one in came] == list(range(50))
            assert [one["id"] for one in came] == ids
            assert {one["Message_Type"] for one in came} == {"Notification"}
            assert {one["queue_name"] for one in came} == {"q"}
        listed = await first.must("subscription_list", queue())
        assert [one["id"] for one in listed["subscriptions"]] == [made["subscription_id"]]
        named = queue(subscription_id=made["subscription_id"])
        assert (await first.must("subscription_get", named))["source"] == "q"
        assert (await second.ask("subscription_get", named))[0] == 404
        assert (await first.ask("subscription_create", queue()))[0] == 409
        assert (await first.ask("subscription_delete", named))[0] == 204
        await posted(poster, "after")
        assert (await second.push())["body"] == "after"
        assert await first.ask("subscription_get", named) != 200
        assert first.pushed == []


async def test_pushes_miss_nothing_and_double_nothing_while_several_post(door: Door) -> None:
    async with socket(door.base_url, "token-a") as watcher:
        await watcher.must("subscription_create", queue())

        async def post_some(who: int) -> None:
            async with socket(door.base_url, "token-a") as poster:
                for n in range(40):
                    await posted(poster, [who, n], [who, n, "b"])
                    if n % 10 == 0:
                        await poster.must("claim_create", queue())

        posting = [asyncio.create_task(post_some(who)) for who in range(4)]
        came = [await watcher.push() for _ in range(320)]
        await asyncio.gather(*posting)
        assert len({one["id"] for one in came}) == 320
        assert [one["id"] for one in came] == sorted(one["id"] for one in came)


async def test_pushes_to_one_who_does_not_read_wait_in_the_queue(door: Door) -> None:
    large = "x" * 60_000
    async with (
        socket(door.base_url, "token-a") as poster,
        socket(door.base_url, "token-a") as watcher,
    ):
        await watcher.must("subscription_create", queue())
        watcher.connection.transport.pause_reading()
        for n in range(60):
            await posted(poster, *[[n, m, large] for m in range(3)])
        watcher.connection.transport.resume_reading()
        came = [await watcher.push() for _ in range(180)]
        assert [one["body"][:2] for one in came] == [[n, m] for n in range(60) for m in range(3)]


async def test_a_push_ends_when_the_role_is_taken_away(door: Door) -> None:
    async with (
        socket(door.base_url, "token-a") as poster,
        socket(door.base_url, "token-a-other") as watcher,
    ):
        await watcher.must("subscription_create", queue())
        await posted(poster, 1)
        assert (await watcher.push())["body"] == 1
        del door.tokens.known["token-a-other"]
        await posted(poster, 2)
        assert (await watcher.closed())[0] == 4003
        assert watcher.pushed == []


@pytest.mark.parametrize("how", ["closed", "killed"])
async def test_a_bound_claim_ends_with_its_socket_and_no_other(door: Door, how: str) -> None:
    async with socket(door.base_url, "token-a") as other:
        ids = await posted(other, "a", "b", "c")
        async with socket(door.base_url, "token-a") as worker:
            bound = await worker.must("claim_create", queue(limit=1, ttl=600, bound=True))
            free = await worker.must("claim_create", queue(limit=1, ttl=600))
            kept = await other.must("claim_create", queue(limit=1, ttl=600, bound=True))
            assert (await other.ask("claim_create", queue()))[0] == 204
            await other.must("message_list", queue())
            if how == "killed":
                worker.connection.transport.abort()
        for _ in range(500):
            status, again = await other.ask("claim_create", queue(limit=3))
            if status == 201:
                break
            await asyncio.sleep(0.01)
        assert [one["id"] for one in again["messages"]] == [ids[0]]
        assert (await other.ask("claim_get", queue(claim_id=bound["claim_id"])))[0] == 404
        assert (await other.ask("claim_get", queue(claim_id=free["claim_id"])))[0] == 200
        assert (await other.ask("claim_get", queue(claim_id=kept["claim_id"])))[0] == 200


async def test_a_bound_claim_that_has_ended_is_not_released_from_another(door: Door) -> None:
    async with socket(door.base_url, "token-a") as other:
        await posted(other, "a")
        async with socket(door.base_url, "token-a") as worker:
            await worker.must("claim_create", queue(ttl=60, bound=True))
            door.clock.move_s(61)
            taken = await other.must("claim_create", queue(ttl=60))
        assert (await other.ask("claim_get", queue(claim_id=taken["claim_id"])))[0] == 200
        assert (await other.ask("claim_create", queue()))[0] == 204


async def shared_by(
    door: Door, paths: list[str], methods: list[str], **more: str
) -> dict[str, str]:
    """The headers of a frame that is signed for these."""
    asked = {"paths": paths, "methods": methods, **more}
    shared = (await door.ask("POST", "/v2/queues/q/share", asked)).json()
    return {
        "URL_Signature": shared["signature"],
        "URL_Expires": shared["expires"],
        "URL_Methods": ",".join(shared["methods"]),
        "URL_Paths": ",".join(shared["paths"]),
        "X_Project_ID": shared["project"],
    }


async def test_a_signed_url_lets_in_what_it_was_signed_for_and_nothing_else(door: Door) -> None:
    signed = await shared_by(door, ["messages"], ["GET", "POST"])
    async with socket(door.base_url) as ws:
        messages = queue(messages=[{"body": "by a friend"}])
        assert (await ws.ask("message_post", messages))[0] == 403
        assert (await ws.ask("message_post", messages, **signed))[0] == 201
        listed = await ws.must("message_list", queue(echo=True), **signed)
        assert [one["body"] for one in listed["messages"]] == ["by a friend"]
        assert (await ws.ask("message_post", {**messages, "queue_name": "r"}, **signed))[0] == 403
        assert (await ws.ask("message_delete_many", queue(pop=1), **signed))[0] == 403
        assert (await ws.ask("claim_create", queue(), **signed))[0] == 403
        assert (await ws.ask("subscription_create", queue(), **signed))[0] == 403
        for tricked in ("q/messages", "{message}", "..", "q%2Fmessages"):
            body = {**messages, "queue_name": tricked, "message_id": "q/messages/x"}
            for action in ("queue_delete", "message_delete_many", "queue_get_stats", "message_get"):
                assert (await ws.ask(action, body, **signed))[0] in (400, 403), (action, tricked)
        for name in signed:
            worse = {**signed, name: signed[name] + "x"}
            assert (await ws.ask("message_list", queue(), **worse))[0] == 403, name
        assert (await ws.ask("message_list", queue()))[0] == 403, "a signature is for its frame"
        door.clock.move_s(90_000)
        assert (await ws.ask("message_list", queue(), **signed))[0] == 403


async def test_a_signature_lets_a_socket_stay_only_while_it_holds(tmp_path: Path) -> None:
    async with open_door(tmp_path, http={"socket_sign_in_s": 0.5}) as door:
        ends = [datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (1, 3600)]
        soon, signed = [
            await shared_by(door, ["messages"], ["GET"], expires=f"{end:%Y-%m-%dT%H:%M:%S}")
            for end in ends
        ]
        async with socket(door.base_url) as stays, socket(door.base_url) as goes:
            assert (await goes.ask("message_list", queue(), **soon))[0] == 200
            assert (await stays.ask("message_list", queue(), **signed))[0] == 200
            assert await goes.closed() == (1008, "authenticate sooner")
            assert (await stays.ask("message_list", queue(), **signed))[0] == 200


async def test_a_signature_opens_neither_pushes_nor_bound_claims(door: Door) -> None:
    signed = await shared_by(door, ["claims", "subscriptions"], ["POST"])
    async with socket(door.base_url) as ws:
        assert (await ws.ask("claim_create", queue(), **signed))[0] == 204
        assert (await ws.ask("claim_create", queue(bound=True), **signed))[0] == 403
        assert (await ws.ask("subscription_create", queue(), **signed))[0] == 403


async def test_a_socket_that_becomes_another_projects_is_told_nothing_more(door: Door) -> None:
    async with (
        socket(door.base_url, "token-a") as ours,
        socket(door.base_url, "token-b") as theirs,
        socket(door.base_url, "token-a") as watcher,
    ):
        await watcher.must("subscription_create", queue())
        await posted(ours, "ours")
        assert (await watcher.push())["body"] == "ours"
        assert await watcher.sign_in("token-b") == 200
        await posted(ours, "ours again")
        await posted(theirs, "theirs")
        assert (await watcher.must("subscription_list", queue()))["subscriptions"] == []
        await watcher.must("subscription_create", queue())
        await posted(ours, "ours again")
        await posted(theirs, "theirs again")
        assert (await watcher.push())["body"] == "theirs again"
        assert watcher.pushed == []


async def test_waiting_for_messages_holds_up_nothing_behind_it(door: Door) -> None:
    async with socket(door.base_url, "token-a") as ws:
        headers = {"Client-ID": CLIENT}
        for action in ("claim_create", "message_list"):
            body = queue(wait=30, echo=True, limit=1)
            await ws.send({"action": action, "id": action, "headers": headers, "body": body})
        post = {"body": "at last"}
        await ws.send(
            {
                "action": "message_post",
                "id": "post",
                "headers": headers,
                "body": queue(messages=[post, post]),
            }
        )
        answers = [await ws.receive() for _ in range(3)]
        statuses = {one["request"]["id"]: one["headers"]["status"] for one in answers}
        assert statuses == {"post": 201, "claim_create": 201, "message_list": 200}


async def test_who_hangs_up_while_waiting_takes_nothing(door: Door) -> None:
    async with socket(door.base_url, "token-a") as other:
        async with socket(door.base_url, "token-a") as ws:
            body = queue(wait=30, bound=True)
            await ws.send(
                {"action": "claim_create", "headers": {"Client-ID": CLIENT}, "body": body}
            )
            assert (await ws.ask("queue_list"))[0] == 200
        await posted(other, "still here")
        claim = await other.must("claim_create", queue(wait=20))
        assert [one["body"] for one in claim["messages"]] == ["still here"]


async def test_a_socket_that_goes_while_it_subscribes_leaves_nothing(door: Door) -> None:
    headers = {"Client-ID": CLIENT}
    for _ in range(5):
        async with socket(door.base_url, "token-a") as ws:
            await ws.send({"action": "subscription_create", "headers": headers, "body": queue()})
    async with asyncio.timeout(20):
        while any(task.get_coro().__name__ == "carried_out" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "queue-push"] == []
    assert door.service.app.bell.waiting == 0


async def test_a_queue_is_subscribed_to_once_also_when_asked_twice_at_once(door: Door) -> None:
    async with (
        socket(door.base_url, "token-a") as poster,
        socket(door.base_url, "token-a") as ws,
    ):
        headers = {"Client-ID": CLIENT}
        for _ in range(2):
            await ws.send({"action": "subscription_create", "headers": headers, "body": queue()})
        answers = [await ws.receive() for _ in range(2)]
        assert sorted(one["headers"]["status"] for one in answers) == [201, 409]
        assert all("X-Openstack-Request-Id" in one["headers"] for one in answers)
        ids = await posted(poster, 1, 2)
        assert [(await ws.push())["id"] for _ in ids] == ids


async def test_a_subscription_needs_to_know_its_client(door: Door) -> None:
    async with socket(door.base_url, "token-a") as ws:
        assert (await ws.ask("subscription_create", queue(), client=None))[0] == 400
        assert (await ws.ask("queue_list"))[0] == 200
