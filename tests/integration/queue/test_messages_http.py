"""Messages over HTTP: each status of the reference, and what lies behind it."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from transom.queue.model import ClientId, MessageFilter

from support.queues import CLIENT, OTHER_CLIENT, PROJECTS, Door, open_door

pytestmark = pytest.mark.usefixtures("engine")

MESSAGES = "/v2/queues/q/messages"


async def post(door: Door, number: int, **message: Any) -> list[str]:
    """Posts messages whose bodies are numbers; their ids."""
    body = {"messages": [{"body": index, **message} for index in range(number)]}
    reply = await door.ask("POST", MESSAGES, body)
    assert reply.status == 201, reply.body
    return [href.rpartition("/")[2] for href in reply.json()["resources"]]


async def bodies(door: Door, query: str = "?echo=true", client: str | None = None) -> list[Any]:
    asked = {} if client is None else {"client": client}
    reply = await door.ask("GET", MESSAGES + query, **asked)
    assert reply.status == 200, reply.body
    return [message["body"] for message in reply.json()["messages"]]


async def test_a_post_answers_every_address_in_order(door: Door) -> None:
    reply = await door.ask("POST", MESSAGES, {"messages": [{"body": n} for n in range(3)]})
    assert reply.status == 201
    ids = [href.rpartition("/")[2] for href in reply.json()["resources"]]
    assert reply.json()["resources"] == [f"{MESSAGES}/{message_id}" for message_id in ids]
    assert reply.headers["location"] == f"{MESSAGES}?ids={','.join(ids)}"
    found = await door.ask("GET", reply.headers["location"])
    assert [message["body"] for message in found.json()["messages"]] == [0, 1, 2]
    assert ids == sorted(ids)


async def test_a_long_post_keeps_its_location_short(door: Door) -> None:
    reply = await door.ask("POST", MESSAGES, {"messages": [{"body": n} for n in range(101)]})
    assert (reply.headers["location"], len(reply.json()["resources"])) == (MESSAGES, 101)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": [{}]}',
        b'{"messages": [{"ttl": 60}]}',
        b'{"messages": [{"body": 1, "ttl": 59}]}',
        b'{"messages": [{"body": 1, "ttl": 1209601}]}',
        b'{"messages": [{"body": 1, "ttl": true}]}',
        b'{"messages": [{"body": 1, "ttl": "60"}]}',
        b'{"messages": [{"body": 1, "ttl": null}]}',
        b'{"messages": [{"body": 1, "delay": -1}]}',
        b'{"messages": [{"body": 1, "delay": 901}]}',
        b'{"messages": [{"body": 1}, {"body": 2, "ttl": 1}]}',
        b'{"messages": {"body": 1}}',
        b'{"messages": [{"body": 1}]',
        b'{"messages": [{"body": "\xff"}]}',
        b'{"messages": [{"body": nul}]}',
        json.dumps({"messages": [{"body": 1}] * 1001}).encode(),
        json.dumps({"messages": [{"body": "x" * 262_144}]}).encode(),
    ],
    ids=lambda raw: raw[:50].decode("latin-1"),
)
async def test_a_post_that_does_not_fit_stores_nothing(door: Door, raw: bytes) -> None:
    refused = await door.ask("POST", MESSAGES, raw=raw)
    assert refused.status == 400
    assert set(refused.json()) == {"title", "description"}
    assert (await door.ask("HEAD", "/v2/queues/q")).status == 404


async def test_a_queues_own_size_limit_is_held_and_undoes_the_post(door: Door) -> None:
    await door.ask("PUT", "/v2/queues/q", {"_max_messages_post_size": 100})
    assert len(await post(door, 1)) == 1
    too_much = {"messages": [{"body": "x" * 100}]}
    assert (await door.ask("POST", MESSAGES, too_much)).status == 400
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"] == 1


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b"1.10",
        b"1E400",
        b"123456789012345678901234567890",
        b'{"b" : 1,\n "a":[ ] , "a":2}',
        '"\\u00e9 é \\ud83d\\ude00"'.encode(),
        b"-0.0",
    ],
)
async def test_a_body_comes_back_byte_for_byte(door: Door, text: bytes) -> None:
    raw = b'{"messages": [{"ttl": 100, "unknown": 1, "body": ' + text + b"}]}"
    href = (await door.ask("POST", MESSAGES, raw=raw)).json()["resources"][0]
    claim = await door.ask("POST", "/v2/queues/q/claims", {})
    for reply in (
        await door.ask("GET", href),
        await door.ask("GET", MESSAGES + "?echo=true&include_claimed=true"),
        claim,
    ):
        assert b'"body":' + text + b"}" in reply.body


async def test_defaults_of_the_queue_hold_where_the_message_says_nothing(door: Door) -> None:
    attributes = {"_default_message_ttl": 120, "_default_message_delay": 30}
    await door.ask("PUT", "/v2/queues/q", attributes)
    await post(door, 1)
    await door.ask("POST", MESSAGES, {"messages": [{"body": "own", "ttl": 90, "delay": 0}]})
    assert await bodies(door) == ["own"]
    assert await bodies(door, "?echo=true&include_delayed=true") == [0, "own"]
    door.clock.move_s(30)
    listed = (await door.ask("GET", MESSAGES + "?echo=true")).json()["messages"]
    assert [(m["body"], m["ttl"], m["age"]) for m in listed] == [(0, 120, 30), ("own", 90, 30)]
    door.clock.move_s(60)
    assert await bodies(door) == [0]
    door.clock.move_s(30)
    assert await bodies(door) == []


async def test_a_delayed_message_is_neither_claimed_nor_popped_early(door: Door) -> None:
    await post(door, 1, delay=60)
    assert (await door.ask("POST", "/v2/queues/q/claims", {})).status == 204
    assert (await door.ask("DELETE", MESSAGES + "?pop=1")).json() == {"messages": []}
    door.clock.move_s(60)
    assert (await door.ask("POST", "/v2/queues/q/claims", {})).status == 201


async def test_a_client_does_not_hear_itself_unless_it_asks(door: Door) -> None:
    await post(door, 2)
    assert await bodies(door, "") == []
    assert await bodies(door, "?echo=true") == [0, 1]
    assert await bodies(door, "", OTHER_CLIENT) == [0, 1]
    same = "3381AF922B9E11E3B19171861300734C"
    assert await bodies(door, "?echo=false", same) == []


async def test_pages_are_full_and_linked_whatever_is_passed_over(door: Door) -> None:
    for number in range(30):
        client = OTHER_CLIENT if number % 3 else None
        asked = {} if client is None else {"client": client}
        body = {"messages": [{"body": number}]}
        await door.ask("POST", MESSAGES, body, **asked)
    await door.ask("POST", "/v2/queues/q/claims?limit=10", {})
    expected = [number for number in range(10, 30) if number % 3]
    seen, path, sizes = [], MESSAGES + "?limit=4", []
    while True:
        page = (await door.ask("GET", path)).json()
        if not page["messages"]:
            assert page["links"] == []
            break
        sizes.append(len(page["messages"]))
        seen += [message["body"] for message in page["messages"]]
        path = page["links"][0]["href"]
    assert seen == expected
    assert set(sizes[:-1]) == {4}
    every = await bodies(door, "?echo=true&include_claimed=true&limit=20")
    assert every == list(range(20))


async def test_a_marker_means_after_it_also_when_its_message_is_gone(door: Door) -> None:
    ids = await post(door, 5)
    await door.ask("DELETE", f"{MESSAGES}/{ids[1]}")
    assert await bodies(door, f"?echo=true&marker={ids[0]}") == [2, 3, 4]
    assert await bodies(door, f"?echo=true&marker={ids[1]}") == [2, 3, 4]
    assert await bodies(door, f"?echo=true&marker={ids[1].replace('-', '').upper()}") == [2, 3, 4]
    assert await bodies(door, f"?echo=true&marker={ids[4]}") == []
    assert await bodies(door, "?echo=true&marker=") == [0, 2, 3, 4]
    assert (await door.ask("GET", MESSAGES + "?marker=garbage")).status == 400


@pytest.mark.parametrize("query", ["limit=0", "limit=21", "limit=x", "echo=x", "include_claimed=2"])
async def test_a_query_that_does_not_fit_is_refused(door: Door, query: str) -> None:
    assert (await door.ask("GET", f"{MESSAGES}?{query}")).status == 400


async def test_an_empty_or_missing_queue_lists_nothing(door: Door) -> None:
    reply = await door.ask("GET", MESSAGES)
    assert (reply.status, reply.json()) == (200, {"messages": [], "links": []})


async def test_messages_are_got_by_id_and_by_ids(door: Door) -> None:
    ids = await post(door, 3)
    one = await door.ask("GET", f"{MESSAGES}/{ids[1]}")
    assert one.json() == {
        "id": ids[1],
        "href": f"{MESSAGES}/{ids[1]}",
        "ttl": 3600,
        "age": 0,
        "body": 1,
    }
    guessed = ids[1][:-1] + ("0" if ids[1][-1] != "0" else "1")
    assert (await door.ask("GET", f"{MESSAGES}/{guessed}")).status == 404
    assert (await door.ask("GET", f"{MESSAGES}/nonsense")).status == 404
    some = await door.ask("GET", f"{MESSAGES}?ids={ids[2]},{guessed},x,{ids[0]}")
    assert [message["body"] for message in some.json()["messages"]] == [2, 0]
    assert (await door.ask("GET", f"{MESSAGES}?ids={guessed}")).status == 404
    too_many = ",".join(ids * 7)
    assert (await door.ask("GET", f"{MESSAGES}?ids={too_many}")).status == 400
    door.clock.move_s(3600)
    assert (await door.ask("GET", f"{MESSAGES}/{ids[1]}")).status == 404


async def test_deleting_by_ids_asks_for_no_claim_but_honours_one(door: Door) -> None:
    ids = await post(door, 6)
    claim = await door.ask("POST", "/v2/queues/q/claims?limit=4", {})
    claim_id = claim.headers["location"].rpartition("/")[2]
    by_ids = f"{MESSAGES}?ids="
    assert (await door.ask("DELETE", by_ids + ids[0])).status == 204
    named = f"&claim_ids={claim_id}"
    free = await door.ask("DELETE", f"{by_ids}{ids[1]},{ids[5]}{named}")
    assert free.status == 400  # one of them is under no claim, so neither goes
    assert (await door.ask("GET", f"{MESSAGES}/{ids[1]}")).status == 200
    assert (await door.ask("DELETE", f"{by_ids}{ids[1]},{ids[2]}{named}")).status == 204
    assert (await door.ask("DELETE", f"{by_ids}{ids[1]},x{named}")).status == 204
    other = "&claim_ids=00000000-0000-0000-0000-000000000000"
    assert (await door.ask("DELETE", f"{by_ids}{ids[3]}{other}")).status == 400
    total = (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"]
    assert total == 3


async def test_deleting_by_ids_can_be_made_to_need_claims(tmp_path: Path) -> None:
    async with open_door(tmp_path, delete_needs_claim_ids=True) as door:
        ids = await post(door, 1)
        assert (await door.ask("DELETE", f"{MESSAGES}?ids={ids[0]}")).status == 400
        claim = await door.ask("POST", "/v2/queues/q/claims", {})
        claim_id = claim.headers["location"].rpartition("/")[2]
        named = f"{MESSAGES}?ids={ids[0]}&claim_ids={claim_id}"
        assert (await door.ask("DELETE", named)).status == 204


async def test_pop_takes_the_first_free_in_order(door: Door) -> None:
    ids = await post(door, 5)
    await door.ask("POST", "/v2/queues/q/claims?limit=1", {})
    door.clock.move_s(9)
    popped = await door.ask("DELETE", MESSAGES + "?pop=2")
    assert popped.status == 200
    assert popped.json()["messages"][0] == {
        "id": ids[1],
        "age": 9,
        "ttl": 3600,
        "claim_id": None,
        "claim_count": 0,
        "body": 1,
    }
    assert await bodies(door, "?echo=true&include_claimed=true") == [0, 3, 4]
    for query in ("pop=0", "pop=21", "pop=x", f"pop=1&ids={ids[0]}", "", "ids="):
        assert (await door.ask("DELETE", f"{MESSAGES}?{query}")).status == 400


async def test_a_long_listing_lets_others_go_on(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom.queue.app.messages.SCANNED_AT_ONCE", 3)
    await post(door, 10)
    others: list[int] = []
    asyncio.get_running_loop().call_soon(others.append, 1)
    wanted = MessageFilter(not_from=ClientId(uuid.UUID(CLIENT).bytes))
    app = door.service.app
    assert await app.messages.page(PROJECTS["token-a"], "q", wanted, None, None) == ()
    assert others == [1]


async def test_a_raised_limit_of_a_post_is_not_undone_by_the_doors(tmp_path: Path) -> None:
    async with open_door(tmp_path, max_messages_post_bytes=3_000_000) as door:
        sent = b'{"messages": [{"body": "%s"}]}' % (b"x" * 2_000_000)
        assert (await door.ask("POST", MESSAGES, raw=sent)).status == 201
        sent = b'{"messages": [{"body": "%s"}]}' % (b"x" * 3_000_000)
        assert (await door.ask("POST", MESSAGES, raw=sent)).status == 400
