"""Subscriptions over HTTP: each status of the reference."""

from pathlib import Path
from typing import Any

import pytest

from transom.queue.model import Place

from support.queues import Door, open_door

pytestmark = pytest.mark.usefixtures("engine")

EVERY = "/v2/queues/q/subscriptions"
NEVER = "00000000-0000-0000-0000-000000000000"
HOOK = "https://hook.example/x"


async def subscribed(door: Door, subscriber: str = HOOK, **more: Any) -> str:
    reply = await door.ask("POST", EVERY, {"subscriber": subscriber, **more})
    assert reply.status == 201, reply.body
    return str(reply.json()["subscription_id"])


async def test_a_subscription_is_made_shown_changed_and_ended(door: Door) -> None:
    made = await door.ask("POST", EVERY, {"subscriber": HOOK, "ttl": 600, "options": {"a": 1}})
    assert (made.status, made.headers["location"]) == (201, EVERY)
    one = f"{EVERY}/{made.json()['subscription_id']}"
    door.clock.move_s(7)
    shown = await door.ask("GET", one)
    assert shown.json() == {
        "id": made.json()["subscription_id"],
        "source": "q",
        "subscriber": HOOK,
        "ttl": 600,
        "age": 7,
        "options": {"a": 1},
        "confirmed": False,
    }
    change = {"options": {"b": 2}, "ttl": 700, "subscriber": None}
    assert (await door.ask("PATCH", one, change)).status == 204
    after = (await door.ask("GET", one)).json()
    assert (after["options"], after["ttl"], after["age"]) == ({"b": 2}, 700, 0)
    assert (await door.ask("DELETE", one)).status == 204
    assert (await door.ask("GET", one)).status == 404
    assert (await door.ask("DELETE", one)).status == 204
    assert (await door.ask("PATCH", one, {"ttl": 100})).status == 404


async def test_a_subscription_makes_the_queue(door: Door) -> None:
    await subscribed(door)
    assert (await door.ask("HEAD", "/v2/queues/q")).status == 204


async def test_one_not_confirmed_is_given_again_and_one_confirmed_is_not(door: Door) -> None:
    first = await subscribed(door)
    assert await subscribed(door, ttl=61, options={"x": 1}) == first
    assert (await door.ask("GET", f"{EVERY}/{first}")).json()["options"] == {}
    confirm = f"{EVERY}/{first}/confirm"
    assert (await door.ask("PUT", confirm, {"confirmed": True})).status == 204
    assert (await door.ask("GET", f"{EVERY}/{first}")).json()["confirmed"] is True
    known = await door.ask("POST", EVERY, {"subscriber": HOOK})
    assert (known.status, known.json()["title"]) == (409, "Resource conflict")
    other = await subscribed(door, "https://other.example/")
    clash = await door.ask("PATCH", f"{EVERY}/{other}", {"subscriber": HOOK})
    assert clash.status == 409


@pytest.mark.parametrize("body", [{}, {"confirmed": "yes"}, {"confirmed": None}, []])
async def test_a_confirmation_is_a_truth_value(door: Door, body: Any) -> None:
    made = await subscribed(door)
    assert (await door.ask("PUT", f"{EVERY}/{made}/confirm", body)).status == 400


async def test_what_was_never_there_is_not_found(door: Door) -> None:
    for name in (NEVER, "123"):
        assert (await door.ask("GET", f"{EVERY}/{name}")).status == 404
        assert (await door.ask("PATCH", f"{EVERY}/{name}", {"ttl": 100})).status == 404
        confirm = await door.ask("PUT", f"{EVERY}/{name}/confirm", {"confirmed": True})
        assert (confirm.status, confirm.json()["title"]) == (404, "Not found")
        assert (await door.ask("DELETE", f"{EVERY}/{name}")).status == 204


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"options": {}, "ttl": 100},
        {"subscriber": "fake"},
        {"subscriber": "email://fake"},
        {"subscriber": "http://"},
        {"subscriber": "http://a:b/"},
        {"subscriber": "mailto:nobody"},
        {"subscriber": "mailto:a@b?subject=x%0d%0aBcc:c@d"},
        {"subscriber": "http://a\nb/"},
        {"subscriber": HOOK, "ttl": 59},
        {"subscriber": HOOK, "ttl": "123"},
        {"subscriber": HOOK, "ttl": 10**11},
        {"subscriber": HOOK, "options": "123"},
        {"subscriber": HOOK, "options": {"post_data": 1}},
        {"subscriber": HOOK, "options": {"post_headers": {"a b": "c"}}},
        {"subscriber": HOOK, "options": {"post_headers": {"a": "c\r\nd: e"}}},
        {"subscriber": HOOK, "options": {"post_headers": {"Host": "c"}}},
        {"subscriber": HOOK, "options": {"_retry_policy": {"maximum_delay": 14}}},
        {"subscriber": HOOK, "options": {"_retry_policy": {"retry_backoff_function": "x"}}},
        {"subscriber": HOOK, "options": {"_retry_policy": 1}},
        {"subscriber": HOOK, "options": {"_signature": {"secret": "short"}}},
        {"subscriber": "trust+https://hook.example/"},
    ],
)
async def test_what_cannot_be_subscribed_is_refused(door: Door, body: Any) -> None:
    reply = await door.ask("POST", EVERY, body)
    assert reply.status == 400, reply.body
    assert set(reply.json()) == {"title", "description"}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "2130706433",
     "0x7f.1", "[fd00::1]", "0.0.0.0", "100.64.0.1", "224.0.0.1", "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_addresses_of_our_own_are_refused(door: Door, host: str) -> None:
    reply = await door.ask("POST", EVERY, {"subscriber": f"http://{host}:8080/x"})
    assert reply.status == 400
    assert "webhook_allow" in reply.json()["description"]


async def test_allowed_networks_are_admitted(tmp_path: Path) -> None:
    async with open_door(tmp_path, webhook_allow=("127.0.0.0/8", "::1/128")) as door:
        await subscribed(door, "http://127.0.0.1:1/")
        await subscribed(door, "http://[::ffff:127.0.0.1]:1/")
        refused = await door.ask("POST", EVERY, {"subscriber": "http://10.0.0.1/"})
        assert refused.status == 400


@pytest.mark.parametrize("body", [{}, {"ttl": 50}, {"ttl": True}, {"options": []}])
async def test_changes_that_say_nothing_or_too_much_are_refused(door: Door, body: Any) -> None:
    made = await subscribed(door)
    assert (await door.ask("PATCH", f"{EVERY}/{made}", body)).status == 400


async def test_pages_are_in_the_order_of_making_and_end(door: Door) -> None:
    made = [await subscribed(door, f"https://hook.example/{at}") for at in range(7)]
    path, seen = f"{EVERY}?limit=3", []
    while True:
        page = (await door.ask("GET", path)).json()
        seen += [one["id"] for one in page["subscriptions"]]
        if not page["subscriptions"]:
            break
        path = page["links"][0]["href"]
    assert (seen, page["links"]) == (made, [])
    await door.ask("DELETE", f"{EVERY}/{made[2]}")
    after = (await door.ask("GET", f"{EVERY}?marker={made[2]}")).json()
    assert [one["id"] for one in after["subscriptions"]] == made[3:]
    for limit in ("0", "21", "x"):
        assert (await door.ask("GET", f"{EVERY}?limit={limit}")).status == 400
    assert (await door.ask("GET", "/v2/queues/none/subscriptions")).json() == {
        "subscriptions": [],
        "links": [],
    }


async def test_a_life_ends_and_the_subscriber_may_come_again(door: Door) -> None:
    first = await subscribed(door, ttl=60)
    door.clock.move_s(61)
    assert (await door.ask("GET", f"{EVERY}/{first}")).status == 404
    assert (await door.ask("GET", EVERY)).json()["subscriptions"] == []
    assert await subscribed(door, ttl=60) != first
    door.clock.move_s(61)
    await door.service.sweep_once()
    counted = await (await door.service.stores.of(Place("a", "q"))).database.read(
        lambda tx: tx.fetch("select subscribers from queue where name = 'q'")
    )
    assert counted == [(0,)]


@pytest.mark.parametrize(("types", "left"), [(["messages"], 1), (["subscriptions"], 0), (None, 0)])
async def test_a_purge_ends_subscriptions_if_they_are_meant(
    door: Door, types: list[str] | None, left: int
) -> None:
    await subscribed(door)
    body = None if types is None else {"resource_types": types}
    assert (await door.ask("POST", "/v2/queues/q/purge", body)).status == 204
    assert len((await door.ask("GET", EVERY)).json()["subscriptions"]) == left


async def test_a_deleted_queue_ends_its_subscriptions(door: Door) -> None:
    made = await subscribed(door)
    await door.ask("DELETE", "/v2/queues/q")
    await door.ask("PUT", "/v2/queues/q")
    assert (await door.ask("GET", f"{EVERY}/{made}")).status == 404


async def test_others_see_nothing_of_it(door: Door) -> None:
    made = await subscribed(door)
    one = f"{EVERY}/{made}"
    assert (await door.ask("GET", one, token="token-b")).status == 404
    assert (await door.ask("PATCH", one, {"ttl": 99}, token="token-b")).status == 404
    assert (await door.ask("DELETE", one, token="token-b")).status == 204
    assert (await door.ask("GET", one)).status == 200
    refused = await door.ask("POST", EVERY, {"subscriber": HOOK}, token="token-reader")
    assert refused.status == 403


async def test_there_are_no_more_of_a_queue_than_are_allowed(tmp_path: Path) -> None:
    async with open_door(tmp_path, max_subscriptions_per_queue=2) as door:
        for at in range(2):
            await subscribed(door, f"https://hook.example/{at}")
        refused = await door.ask("POST", EVERY, {"subscriber": HOOK})
        assert (refused.status, refused.json()["title"]) == (403, "Limit reached")


async def test_details_say_how_its_deliveries_go(door: Door) -> None:
    made = await subscribed(door)
    shown = (await door.ask("GET", f"{EVERY}/{made}?details=true")).json()
    assert shown["created_at"] == "2023-11-14T22:13:20.000Z"
    assert (shown["state"], shown["delivered"], shown["next_attempt_at"]) == ("delivers", 0, None)
    page = (await door.ask("GET", f"{EVERY}?details=true")).json()
    assert page["subscriptions"] == [shown]


async def test_a_post_to_a_queue_without_subscribers_notes_nothing(door: Door) -> None:
    post = {"messages": [{"body": 1}]}
    await door.ask("POST", "/v2/queues/plain/messages", post)
    await subscribed(door)
    await door.ask("POST", "/v2/queues/q/messages", post)
    noted = await (await door.service.stores.of(Place("a", "q"))).database.read(
        lambda tx: tx.fetch("select queue_name, sequence from notice")
    )
    assert noted == [("q", 1)]
