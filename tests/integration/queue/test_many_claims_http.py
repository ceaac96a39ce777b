"""Claims over several queues: in list order, one id for all, known to each queue as its own."""

import asyncio
from typing import Any

import pytest

from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")
CLAIMS = "/v2/claims"


async def post(door: Door, queue: str, *bodies: Any, token: str = "token-a") -> None:
    new = {"messages": [{"body": body} for body in bodies]}
    reply = await door.ask("POST", f"/v2/queues/{queue}/messages", new, token=token)
    assert reply.status == 201, reply.body


async def take(door: Door, *queues: str, query: str = "", **terms: Any) -> Any:
    return await door.ask("POST", CLAIMS + query, {"queues": list(queues), **terms})


def found(reply: Any) -> list[tuple[str, Any]]:
    return [(message["queue"], message["body"]) for message in reply.json()["messages"]]


async def test_messages_are_taken_in_list_order_until_the_limit(door: Door) -> None:
    await post(door, "low", 1, 2)
    await post(door, "high", 3, 4)
    reply = await take(door, "high", "none", "low", query="?limit=3", ttl=120)
    assert reply.status == 201
    assert found(reply) == [("high", 3), ("high", 4), ("low", 1)]
    claim = reply.json()["claim_id"]
    assert reply.headers["location"] == f"{CLAIMS}/{claim}"
    assert reply.json()["expires_at"].endswith("Z")
    shown = (await door.ask("GET", f"{CLAIMS}/{claim}")).json()
    assert (shown["ttl"], shown["href"]) == (120, f"{CLAIMS}/{claim}")
    assert sorted(message["body"] for message in shown["messages"]) == [1, 3, 4]
    for queue, bodies in (("high", [3, 4]), ("low", [1])):
        part = await door.ask("GET", f"/v2/queues/{queue}/claims/{claim}")
        assert [message["body"] for message in part.json()["messages"]] == bodies
    rest = await take(door, "high", "low")
    assert found(rest) == [("low", 2)]
    assert (await take(door, "high", "low")).status == 204


async def test_the_address_of_a_message_deletes_it_with_the_claim(door: Door) -> None:
    await post(door, "a", 1)
    await post(door, "b", 2)
    reply = await take(door, "a", "b")
    for message in reply.json()["messages"]:
        assert (await door.ask("DELETE", message["href"])).status == 204
    claim = await door.ask("GET", reply.headers["location"])
    assert claim.json()["messages"] == []


async def test_renewal_and_release_reach_every_queue(door: Door) -> None:
    await post(door, "a", 1)
    await post(door, "b", 2)
    reply = await take(door, "a", "b", ttl=60)
    path = reply.headers["location"]
    door.clock.move_s(50)
    assert (await door.ask("PATCH", path, {"ttl": 100})).status == 204
    door.clock.move_s(50)
    assert (await take(door, "a", "b")).status == 204
    assert (await door.ask("GET", path)).json()["age"] == 50
    assert (await door.ask("DELETE", path)).status == 204
    assert (await door.ask("DELETE", path)).status == 204
    assert (await door.ask("GET", path)).status == 404
    assert (await door.ask("PATCH", path, {"ttl": 60})).status == 404
    assert found(await take(door, "b", "a")) == [("b", 2), ("a", 1)]


async def test_a_claim_of_one_queue_is_known_here_too_and_an_expired_one_is_not(door: Door) -> None:
    await post(door, "a", 1)
    single = await door.ask("POST", "/v2/queues/a/claims", {"ttl": 60})
    path = f"{CLAIMS}/{single.headers['location'].rpartition('/')[2]}"
    assert found(await door.ask("GET", path)) == [("a", 1)]
    door.clock.move_s(60)
    for method, body in (("GET", None), ("PATCH", {"ttl": 60})):
        assert (await door.ask(method, path, body)).status == 404


async def test_a_claim_is_its_projects_alone(door: Door) -> None:
    await post(door, "a", 1)
    await post(door, "a", "theirs", token="token-b")
    path = (await take(door, "a")).headers["location"]
    for method, body in (("GET", None), ("PATCH", {"ttl": 60})):
        assert (await door.ask(method, path, body, token="token-b")).status == 404
    assert (await door.ask("DELETE", path, token="token-b")).status == 204
    assert found(await door.ask("GET", path)) == [("a", 1)]
    reader = await door.ask("POST", CLAIMS, {"queues": ["a"]}, token="token-reader")
    assert reader.status == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queues": []},
        {"queues": ["a", "a"]},
        {"queues": ["a b"]},
        {"queues": [f"q{number}" for number in range(21)]},
        {"queues": "a"},
        {"queues": ["a"], "ttl": 1},
        {"queues": ["a"], "grace": 100_000},
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(door: Door, body: Any) -> None:
    reply = await door.ask("POST", CLAIMS, body)
    assert (reply.status, set(reply.json())) == (400, {"title", "description"})


async def test_it_waits_for_any_of_them(door: Door) -> None:
    waiting = asyncio.create_task(take(door, "a", "b", query="?wait=30"))
    async with asyncio.timeout(10):
        while not door.service.app.bell.waiting:
            await asyncio.sleep(0)
    await post(door, "b", 7)
    assert found(await waiting) == [("b", 7)]


async def test_a_repeated_request_takes_nothing_twice(door: Door) -> None:
    await post(door, "a", 1, 2)
    await post(door, "b", 3)
    asked = {"queues": ["a", "b"]}, {"idempotency-key": "once"}
    first = await door.ask("POST", f"{CLAIMS}?limit=2", asked[0], headers=asked[1])
    again = await door.ask("POST", f"{CLAIMS}?limit=2", asked[0], headers=asked[1])
    assert found(again) == found(first) == [("a", 1), ("a", 2)]
    assert again.headers["idempotency-replayed"] == "true"
    assert found(await take(door, "a", "b")) == [("b", 3)]


async def test_a_claim_is_given_up_with_a_delay_in_all_of_its_queues(door: Door) -> None:
    await post(door, "one", 1)
    await post(door, "two", 2)
    path = f"/v2/claims/{(await take(door, 'one', 'two')).json()['claim_id']}"
    assert (await door.ask("DELETE", f"{path}?delay=nonsense")).status == 400
    assert (await door.ask("DELETE", f"{path}?delay=-1")).status == 400
    assert (await door.ask("DELETE", f"{path}?delay=30")).status == 204
    assert (await take(door, "one", "two")).status == 204
    door.clock.move_s(30)
    assert found(await take(door, "one", "two")) == [("one", 1), ("two", 2)]
