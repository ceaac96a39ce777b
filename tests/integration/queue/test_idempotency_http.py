"""Requests with an Idempotency-Key: sent as often as one likes, carried out once."""

import asyncio
from typing import Any

import pytest

from transom.node.once import forget
from transom.queue.model import Place

from support.http import Reply, connect, hang_up, read_reply
from support.queues import CLIENT, Door

pytestmark = pytest.mark.usefixtures("engine")

MESSAGES = "/v2/queues/q/messages"
CLAIMS = "/v2/queues/q/claims"
TWO = {"messages": [{"body": 1}, {"body": {"deep": [None, 1.5, "é"]}}]}


async def ask(door: Door, key: str, path: str, body: Any, **options: Any) -> Reply:
    method = options.pop("method", "POST")
    return await door.ask(method, path, body, headers={"idempotency-key": key}, **options)


async def total(door: Door, token: str = "token-a") -> int:
    reply = await door.ask("GET", "/v2/queues/q/stats", token=token)
    return int(reply.json()["messages"]["total"])


def bodies(reply: Reply) -> list[Any]:
    return [message["body"] for message in reply.json()["messages"]]


def seen(reply: Reply) -> tuple[int, bytes, str | None, str | None]:
    headers = reply.headers
    return reply.status, reply.body, headers.get("location"), headers.get("idempotency-replayed")


async def test_a_repeated_post_gets_the_first_answer_and_has_one_effect(door: Door) -> None:
    first = await ask(door, "k", MESSAGES, TWO)
    again = [await ask(door, key, MESSAGES, TWO) for key in ("k", '"k"')]
    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    assert {seen(reply) for reply in again} == {(*seen(first)[:3], "true")}
    assert await total(door) == 2


async def test_a_repeated_claim_gives_the_same_messages(door: Door) -> None:
    await door.ask("POST", MESSAGES, {"messages": [{"body": n} for n in range(4)]})
    first = await ask(door, "k", CLAIMS + "?limit=2", {"ttl": 60})
    door.clock.move_s(30)
    again = await ask(door, "k", CLAIMS + "?limit=2", {"ttl": 60})
    assert (first.status, len(first.json()["messages"])) == (201, 2)
    assert seen(again) == (*seen(first)[:3], "true")
    rest = await door.ask("POST", CLAIMS, {"ttl": 60})
    assert [message["body"] for message in rest.json()["messages"]] == [2, 3]


async def test_a_claim_is_not_given_again_once_it_has_ended(door: Door) -> None:
    await door.ask("POST", MESSAGES, {"messages": [{"body": n} for n in range(4)]})
    every = "/v2/claims?limit=2"
    first = await ask(door, "k", CLAIMS + "?limit=2", {"ttl": 60})
    both = await ask(door, "many", every, {"queues": ["q"], "ttl": 60})
    door.clock.move_s(60)
    again = await ask(door, "k", CLAIMS + "?limit=2", {"ttl": 60})
    many = await ask(door, "many", every, {"queues": ["q"], "ttl": 60})
    for ended, fresh in ((first, again), (both, many)):
        assert fresh.status == 201
        assert "idempotency-replayed" not in fresh.headers
        assert fresh.headers["location"] != ended.headers["location"]
        assert bodies(fresh) == bodies(ended)


async def test_a_repeated_creation_says_created_again(door: Door) -> None:
    first = await ask(door, "k", "/v2/queues/q", {"x": 1}, method="PUT")
    again = await ask(door, "k", "/v2/queues/q", {"x": 1}, method="PUT")
    without = await door.ask("PUT", "/v2/queues/q", {"x": 1})
    assert (first.status, again.status, without.status) == (201, 201, 204)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {"messages": [{"body": 1}]}),
        (MESSAGES + "?x=1", TWO),
        (CLAIMS, {"ttl": 60}),
    ],
)
async def test_a_key_of_another_request_is_refused(door: Door, path: str, body: Any) -> None:
    await ask(door, "k", MESSAGES, TWO)
    reply = await ask(door, "k", path, body)
    assert (reply.status, await total(door)) == (409, 2)
    assert "another request" in reply.json()["description"]


async def test_a_key_is_known_where_its_queue_is(door: Door) -> None:
    """In another database it is a new one: each request is carried out, none in the place of
    another."""
    await ask(door, "k", MESSAGES, TWO)
    stores = door.service.stores
    for name in (f"other-{number}" for number in range(20)):
        await door.ask("PUT", f"/v2/queues/{name}", {})
        where = [(await stores.of(Place("a", one))).name for one in ("q", name)]
        reply = await ask(door, "k", f"/v2/queues/{name}/messages", TWO)
        assert reply.status == (409 if where[0] == where[1] else 201)
        assert "idempotency-replayed" not in reply.headers
        if where[0] != where[1]:
            return  # one more there would be refused, too
    assert stores.alone


async def test_no_tenant_and_no_other_user_sees_a_key(door: Door) -> None:
    await ask(door, "k", MESSAGES, TWO)
    for token in ("token-b", "token-a-other"):
        reply = await ask(door, "k", MESSAGES, TWO, token=token)
        assert (reply.status, reply.headers.get("idempotency-replayed")) == (201, None)
    assert (await total(door), await total(door, "token-b")) == (4, 2)


async def test_who_may_not_do_it_any_more_gets_no_answer_again(door: Door) -> None:
    await ask(door, "k", MESSAGES, TWO)
    assert (await ask(door, "k", MESSAGES, TWO, token="token-a-demoted")).status == 403


async def test_a_request_that_fails_leaves_no_key(door: Door) -> None:
    too_large = {"messages": [{"body": "x" * 300_000}]}
    assert (await ask(door, "k", MESSAGES, too_large)).status == 400
    await door.ask("PUT", "/v2/queues/q", {"_max_messages_post_size": 10})
    assert (await ask(door, "k2", MESSAGES, TWO)).status == 400  # refused inside the verb
    await door.ask("DELETE", "/v2/queues/q")
    for key in ("k", "k2"):
        reply = await ask(door, key, MESSAGES, TWO)
        assert (reply.status, reply.headers.get("idempotency-replayed")) == (201, None)


@pytest.mark.parametrize("key", ["", '""', " ", "a b", "é", "x" * 129, "a\tb"])
async def test_what_is_no_key_is_refused(door: Door, key: str) -> None:
    reply = await ask(door, key, MESSAGES, TWO)
    assert reply.status == 400
    assert "128 visible ASCII" in reply.json()["description"]


async def test_two_keys_are_refused(door: Door) -> None:
    reader, writer = await connect(door.base_url)
    writer.write(
        b"PUT /queue/v2/queues/q HTTP/1.1\r\nhost: a\r\nx-auth-token: token-a\r\n"
        b"client-id: %b\r\nidempotency-key: a\r\nidempotency-key: a\r\n\r\n" % CLIENT.encode()
    )
    reply = await read_reply(reader)
    await hang_up(writer)
    assert reply.status == 400


async def test_a_call_that_takes_no_key_says_so(door: Door) -> None:
    """Whoever believes that it may repeat it must not be let down in silence."""
    reply = await ask(door, "k", "/v2/queues/q/purge", {})
    assert (reply.status, "no Idempotency-Key" in reply.json()["description"]) == (400, True)
    assert (await ask(door, "k", MESSAGES, None, method="GET")).status == 200


async def test_duplicates_side_by_side_have_one_effect(door: Door) -> None:
    replies = await asyncio.gather(*(ask(door, "k", MESSAGES, TWO) for _ in range(12)))
    replies += [await ask(door, "k", MESSAGES, TWO)]
    answers = {seen(reply)[:3] for reply in replies if reply.status == 201}
    assert len(answers) == 1
    assert {reply.status for reply in replies} <= {201, 409, 503}
    assert await total(door) == 2


async def test_a_key_is_forgotten_after_its_time_and_not_before(door: Door) -> None:
    for number in range(5):
        await ask(door, f"k{number}", "/v2/queues/q", {}, method="PUT")
    door.clock.move_s(86_399)
    await door.service.sweep_once()
    assert (await ask(door, "k0", "/v2/queues/q", {}, method="PUT")).status == 201
    door.clock.move_s(1)
    # Not swept yet, and void all the same; used anew, it is kept anew.
    assert (await ask(door, "k0", "/v2/queues/q", {}, method="PUT")).status == 204
    now_ms = door.clock.now_ms()
    write = (await door.service.stores.of(Place("a", "q"))).database.write
    assert [await write(lambda tx: forget(tx, now_ms, 3)) for _ in range(3)] == [True, False, False]
    again = await ask(door, "k0", "/v2/queues/q", {}, method="PUT")
    assert (again.status, again.headers["idempotency-replayed"]) == (204, "true")
