"""Keys of messages: what is posted twice within the window is there once."""

import asyncio
from typing import Any

import pytest

from support.http import Reply
from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")

QUEUE = "/v2/queues/q"
MESSAGES = QUEUE + "/messages"


async def post(door: Door, *messages: Any) -> Reply:
    new = [
        {"ttl": 60, "body": key, "key": key} if isinstance(key, str) else key for key in messages
    ]
    return await door.ask("POST", MESSAGES, {"messages": new})


async def total(door: Door) -> int:
    return int((await door.ask("GET", QUEUE + "/stats")).json()["messages"]["total"])


async def test_a_key_keeps_the_second_message_out_and_answers_the_first(door: Door) -> None:
    first = await post(door, "a", "b")
    assert "duplicates" not in first.json()
    second = await post(door, "c", "b", {"body": 1}, "c", "a")
    assert second.status == 201
    said = second.json()
    assert said["duplicates"] == [1, 3, 4]
    assert said["resources"][1] == first.json()["resources"][1]
    assert said["resources"][4] == first.json()["resources"][0]
    assert said["resources"][3] == said["resources"][0]
    ids = [href.rpartition("/")[2] for href in said["resources"]]
    assert second.headers["location"] == f"{MESSAGES}?ids={','.join(ids)}"
    assert await total(door) == 4
    listed = (await door.ask("GET", MESSAGES + "?echo=true&details=true")).json()["messages"]
    assert [(one["body"], one.get("key")) for one in listed] == [
        ("a", "a"), ("b", "b"), ("c", "c"), (1, None),
    ]  # fmt: skip
    numbers = [int(one["id"][:8] + one["id"][9:13] + one["id"][14:18], 16) for one in listed]
    assert numbers == list(range(numbers[0], numbers[0] + 4))  # no number is wasted


async def test_nothing_is_stored_where_all_are_known(door: Door) -> None:
    first = (await post(door, "a")).json()["resources"]
    again = (await post(door, "a", "a")).json()
    assert again == {"resources": first * 2, "duplicates": [0, 1]}
    assert await total(door) == 1


@pytest.mark.parametrize("end", ["delete", "pop", "purge", "expiry"])
async def test_a_key_outlives_its_message(door: Door, end: str) -> None:
    first = (await post(door, "a")).json()["resources"]
    match end:
        case "delete":
            assert (await door.ask("DELETE", first[0])).status == 204
        case "pop":
            assert (await door.ask("DELETE", MESSAGES + "?pop=1")).status == 200
        case "purge":
            for _ in range(2):
                assert (await door.ask("POST", QUEUE + "/purge")).status == 204
        case _:
            door.clock.move_s(61)
    await door.service.sweep_once()
    assert (await post(door, "a")).json() == {"resources": first, "duplicates": [0]}
    assert await total(door) == 0


async def test_a_key_ends_with_its_window_and_the_sweep_forgets_it(door: Door) -> None:
    first = (await post(door, "a")).json()["resources"]
    door.clock.move_s(299.999)
    assert "duplicates" in (await post(door, "a")).json()
    door.clock.move_s(0.001)
    second = (await post(door, "a")).json()
    assert second["resources"] != first
    assert "duplicates" not in second
    await post(door, "b", "c")
    door.clock.move_s(300)
    await door.service.sweep_once()

    async def kept(tx: Any) -> Any:
        return await tx.fetch("select key from message_key")

    assert await door.service.database.read(kept) == []


async def test_a_key_ends_with_its_queue(door: Door) -> None:
    first = (await post(door, "a")).json()["resources"]
    assert (await door.ask("DELETE", QUEUE)).status == 204
    second = (await post(door, "a")).json()
    assert second["resources"] != first
    assert "duplicates" not in second


@pytest.mark.parametrize(("window", "seconds"), [(1000, 999.999), (10, 9.999)])
async def test_a_queue_may_have_a_window_of_its_own(
    door: Door, window: int, seconds: float
) -> None:
    assert (await door.ask("PUT", QUEUE, {"_message_key_window": window})).status == 201
    assert (await door.ask("GET", QUEUE)).json()["_message_key_window"] == window
    await post(door, "a")
    door.clock.move_s(seconds)
    assert "duplicates" in (await post(door, "a")).json()
    door.clock.move_s(0.001)
    assert "duplicates" not in (await post(door, "a")).json()


async def test_a_window_of_nothing_keeps_nothing_out(door: Door) -> None:
    await door.ask("PUT", QUEUE, {"_message_key_window": 0})
    assert "duplicates" not in (await post(door, "a", "a")).json()
    assert await total(door) == 2


@pytest.mark.parametrize("value", [-1, 86_401, True, "300", 1.5])
async def test_a_window_out_of_bounds_is_refused(door: Door, value: Any) -> None:
    refused = await door.ask("PUT", QUEUE, {"_message_key_window": value})
    assert refused.status == 400
    assert "_message_key_window" in refused.json()["description"]


@pytest.mark.parametrize("key", ["", "x" * 129, 5, True, "a\u0000b", ["a"]])
async def test_a_key_that_can_be_none_is_refused(door: Door, key: Any) -> None:
    refused = await door.ask("POST", MESSAGES, {"messages": [{"body": 1, "key": key}]})
    assert refused.status == 400
    assert await total(door) == 0


async def test_keys_are_texts_of_any_script_and_of_their_queue_alone(door: Door) -> None:
    longest = "ключ" * 32
    await post(door, longest, {"body": 1, "key": None})
    assert (await post(door, longest)).json()["duplicates"] == [0]
    other = await door.ask(
        "POST", "/v2/queues/o/messages", {"messages": [{"body": 1, "key": longest}]}
    )
    assert "duplicates" not in other.json()
    foreign = await door.ask(
        "POST", MESSAGES, {"messages": [{"body": 1, "key": longest}]}, token="token-b"
    )
    assert "duplicates" not in foreign.json()


async def test_posts_that_race_with_one_key_leave_one_message(door: Door) -> None:
    for turn in range(5):
        key = f"race-{turn}"
        replies = await asyncio.gather(*(post(door, key, {"body": at}) for at in range(8)))
        assert {reply.status for reply in replies} == {201}
        assert len({reply.json()["resources"][0] for reply in replies}) == 1
        assert sum("duplicates" in reply.json() for reply in replies) == 7
    assert await total(door) == 5 + 5 * 8
