"""Claims over HTTP: each status of the reference, and what lies behind it."""

from typing import Any

import pytest

from support.http import Reply
from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")

MESSAGES, CLAIMS = "/v2/queues/q/messages", "/v2/queues/q/claims"
NEVER = "00000000-0000-0000-0000-000000000000"


async def post(door: Door, number: int, **message: Any) -> list[str]:
    body = {"messages": [{"body": index, **message} for index in range(number)]}
    reply = await door.ask("POST", MESSAGES, body)
    return list(reply.json()["resources"])


async def claim(door: Door, limit: int = 10, ttl: int = 60, grace: int = 60) -> Reply:
    return await door.ask("POST", f"{CLAIMS}?limit={limit}", {"ttl": ttl, "grace": grace})


def bodies(reply: Reply) -> list[Any]:
    return [message["body"] for message in reply.json()["messages"]]


async def status(door: Door, method: str, path: str, body: Any = None) -> int:
    return (await door.ask(method, path, body)).status


async def test_a_claim_takes_the_first_in_order_and_hides_them(door: Door) -> None:
    hrefs = await post(door, 5)
    taken = await claim(door, 2)
    assert (taken.status, bodies(taken)) == (201, [0, 1])
    claim_id = taken.headers["location"].rpartition("/")[2]
    assert taken.headers["location"] == f"{CLAIMS}/{claim_id}"
    assert taken.json()["messages"][0] == {
        "id": hrefs[0].rpartition("/")[2],
        "href": f"{hrefs[0]}?claim_id={claim_id}",
        "ttl": 3600,
        "age": 0,
        "body": 0,
    }
    assert bodies(await door.ask("GET", MESSAGES + "?echo=true")) == [2, 3, 4]
    assert bodies(await claim(door)) == [2, 3, 4]
    nothing = await claim(door)
    assert (nothing.status, nothing.body, nothing.headers.get("location")) == (204, b"", None)


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"ttl": null, "grace": null}', b'{"limit": 1}'])
async def test_a_claim_without_terms_has_the_defaults(door: Door, raw: bytes) -> None:
    await post(door, 12)
    taken = await door.ask("POST", CLAIMS, raw=raw)
    assert len(bodies(taken)) == 10
    shown = (await door.ask("GET", taken.headers["location"])).json()
    assert (shown["ttl"], shown["age"], shown["href"]) == (300, 0, taken.headers["location"])


@pytest.mark.parametrize(
    "body",
    [{"ttl": 59}, {"ttl": 43_201}, {"grace": 59}, {"grace": 43_201}, {"ttl": "60"}, [], "x"],
)
async def test_terms_out_of_range_are_refused(door: Door, body: Any) -> None:
    await post(door, 1)
    assert await status(door, "POST", CLAIMS, body) == 400
    location = (await claim(door)).headers["location"]
    assert await status(door, "PATCH", location, body) == 400


async def test_limits_of_a_claim(door: Door) -> None:
    await post(door, 30)
    for limit in ("0", "21", "x"):
        assert await status(door, "POST", f"{CLAIMS}?limit={limit}", {}) == 400
    assert len(bodies(await claim(door, 20))) == 20


async def test_a_queue_that_is_not_there_has_nothing_to_claim(door: Door) -> None:
    assert (await claim(door)).status == 204
    assert await status(door, "HEAD", "/v2/queues/q") == 404


async def test_an_expired_claim_is_gone_and_its_messages_are_free(door: Door) -> None:
    await post(door, 3)
    first = await claim(door, 2)
    door.clock.move_s(59.999)
    assert await status(door, "GET", first.headers["location"]) == 200
    assert bodies(await claim(door)) == [2]
    door.clock.move_s(0.001)
    assert await status(door, "GET", first.headers["location"]) == 404
    assert await status(door, "PATCH", first.headers["location"], {}) == 404
    assert await status(door, "DELETE", first.headers["location"]) == 204
    assert bodies(await claim(door)) == [0, 1]


async def test_renewing_begins_the_life_anew(door: Door) -> None:
    await post(door, 1)
    location = (await claim(door)).headers["location"]
    door.clock.move_s(50)
    assert (await door.ask("GET", location)).json()["age"] == 50
    assert await status(door, "PATCH", location, {"ttl": 100, "grace": 60}) == 204
    shown = (await door.ask("GET", location)).json()
    assert (shown["ttl"], shown["age"], len(shown["messages"])) == (100, 0, 1)
    door.clock.move_s(99)
    assert (await claim(door)).status == 204
    assert await status(door, "PATCH", location, {"grace": 60}) == 204
    assert (await door.ask("GET", location)).json()["ttl"] == 300
    assert await status(door, "PATCH", location) == 400
    assert await status(door, "PATCH", f"{CLAIMS}/{NEVER}", {}) == 404
    assert await status(door, "PATCH", f"{CLAIMS}/nonsense", {}) == 404


async def test_a_late_renewal_takes_nothing_from_the_next_worker(door: Door) -> None:
    await post(door, 2)
    late = (await claim(door)).headers["location"]
    door.clock.move_s(60)
    now = (await claim(door)).headers["location"]
    assert await status(door, "PATCH", late, {"ttl": 500}) == 404
    assert bodies(await door.ask("GET", now)) == [0, 1]


async def test_released_messages_are_back_at_their_places(door: Door) -> None:
    await post(door, 4)
    first, second = await claim(door, 2), await claim(door, 1)
    assert await status(door, "DELETE", first.headers["location"]) == 204
    assert await status(door, "GET", first.headers["location"]) == 404
    # The later claim keeps what it holds: what follows the first free message may not be free.
    assert bodies(await claim(door)) == [0, 1, 3]
    assert bodies(await door.ask("GET", second.headers["location"])) == [2]
    assert await status(door, "DELETE", f"{CLAIMS}/{NEVER}") == 204
    assert await status(door, "DELETE", f"{CLAIMS}/nonsense") == 204
    assert await status(door, "GET", f"{CLAIMS}/nonsense") == 404


async def test_who_may_delete_a_message(door: Door) -> None:
    hrefs = await post(door, 6)
    mine, other = await claim(door, 2), await claim(door, 2)
    my_id, other_id = (reply.headers["location"].rpartition("/")[2] for reply in (mine, other))
    assert await status(door, "DELETE", hrefs[0]) == 403
    assert await status(door, "DELETE", f"{hrefs[0]}?claim_id={other_id}") == 403
    assert await status(door, "DELETE", f"{hrefs[0]}?claim_id={NEVER}") == 400
    assert await status(door, "DELETE", f"{hrefs[0]}?claim_id=nonsense") == 400
    assert await status(door, "DELETE", f"{hrefs[0]}?claim_id={my_id}") == 204
    assert await status(door, "DELETE", f"{hrefs[0]}?claim_id={my_id}") == 204
    assert await status(door, "DELETE", f"{hrefs[4]}?claim_id={my_id}") == 400
    assert await status(door, "DELETE", f"{hrefs[4]}?claim_id=nonsense") == 400
    assert await status(door, "DELETE", hrefs[4]) == 204
    assert await status(door, "DELETE", hrefs[4]) == 204
    assert await status(door, "DELETE", f"{MESSAGES}/nonsense") == 204
    assert await status(door, "DELETE", f"/v2/queues/none/messages/{my_id}") == 204
    remaining = await door.ask("GET", MESSAGES + "?echo=true&include_claimed=true")
    assert bodies(remaining) == [1, 2, 3, 5]


async def test_a_late_worker_is_told_and_the_message_survives(door: Door) -> None:
    await post(door, 1)
    late = (await claim(door)).json()["messages"][0]["href"]
    door.clock.move_s(60)
    told = await door.ask("DELETE", late)
    assert (told.status, told.json()["title"]) == (400, "Unable to delete")
    again = await claim(door)
    assert bodies(again) == [0]
    assert await status(door, "DELETE", late) == 400
    assert await status(door, "DELETE", again.json()["messages"][0]["href"]) == 204


async def test_a_claim_prolongs_what_would_end_before_it(door: Door) -> None:
    short = (await post(door, 1, ttl=60))[0]
    door.clock.move_s(10)
    await post(door, 1, ttl=300)
    taken = await claim(door, ttl=120, grace=80)
    assert [(m["ttl"], m["age"]) for m in taken.json()["messages"]] == [(200, 10), (300, 0)]
    door.clock.move_s(120)
    assert len(bodies(await door.ask("GET", MESSAGES + "?echo=true"))) == 2
    door.clock.move_s(79.999)
    assert await status(door, "GET", short) == 200
    door.clock.move_s(0.001)
    assert await status(door, "GET", short) == 404


async def test_a_message_stays_with_its_claim_through_a_sweep(door: Door) -> None:
    await post(door, 1, ttl=60)
    taken = await claim(door, ttl=120, grace=60)
    door.clock.move_s(66)
    await door.service.sweep_once()
    assert bodies(await door.ask("GET", taken.headers["location"])) == [0]
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["claimed"] == 1


async def test_messages_claimed_too_often_move_to_the_dead_letters(door: Door) -> None:
    attributes = {
        "_max_claim_count": 2,
        "_dead_letter_queue": "dead.letters",
        "_dead_letter_queue_messages_ttl": 500,
    }
    await door.ask("PUT", "/v2/queues/q", attributes)
    await post(door, 2, ttl=900)
    for _ in range(2):
        taken = await claim(door)
        assert bodies(taken) == [0, 1]
        await door.ask("DELETE", taken.headers["location"])
    await post(door, 1)
    assert bodies(await claim(door, 2)) == [0]  # the new one
    assert (await claim(door)).status == 204
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"] == 1
    await door.service.app.letters.deliver()  # as after each sweep
    dead = await door.ask("GET", "/v2/queues/dead.letters/messages?echo=true")
    assert [(m["body"], m["ttl"], m["age"]) for m in dead.json()["messages"]] == [
        (0, 500, 0),
        (1, 500, 0),
    ]
    again = await door.ask("POST", "/v2/queues/dead.letters/claims", {})
    assert bodies(again) == [0, 1]
    assert (await door.ask("GET", "/v2/queues/dead.letters/stats")).json()["messages"]["total"] == 2


async def test_a_claim_that_finds_only_dead_letters_is_empty(door: Door) -> None:
    attributes = {"_max_claim_count": 1, "_dead_letter_queue": "dead"}
    await door.ask("PUT", "/v2/queues/q", attributes)
    await post(door, 2, ttl=900)
    await claim(door)
    door.clock.move_s(60)
    assert (await claim(door)).status == 204
    await door.service.app.letters.deliver()  # as after each sweep
    dead = await door.ask("GET", "/v2/queues/dead/messages?echo=true")
    assert [(m["body"], m["ttl"]) for m in dead.json()["messages"]] == [(0, 900), (1, 900)]


async def test_no_message_is_handed_out_oftener_than_its_queue_allows(door: Door) -> None:
    await door.ask("PUT", "/v2/queues/q", {"_max_claim_count": 2, "_dead_letter_queue": "dead"})
    await post(door, 6)
    for _ in range(2):
        taken = await claim(door, 6)
        await door.ask("DELETE", taken.headers["location"])
    await post(door, 1)
    assert bodies(await claim(door, 2)) == [0]  # the new one, behind six that are dead
    await door.service.app.letters.deliver()  # as after each sweep
    dead = await door.ask("GET", "/v2/queues/dead/messages?echo=true")
    assert bodies(dead) == [0, 1, 2, 3, 4, 5]


async def test_a_mass_of_dead_letters_is_moved_by_several_claims(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom.queue.store.claims.BURIALS", 2)
    await door.ask("PUT", "/v2/queues/q", {"_max_claim_count": 1, "_dead_letter_queue": "dead"})
    await post(door, 5)
    await door.ask("DELETE", (await claim(door, 5)).headers["location"])
    await post(door, 1)
    assert (await claim(door, 1)).status == 204
    assert (await claim(door, 1)).status == 204
    assert bodies(await claim(door, 1)) == [0]
    await door.service.app.letters.deliver()  # as after each sweep
    dead = await door.ask("GET", "/v2/queues/dead/messages?echo=true")
    assert bodies(dead) == [0, 1, 2, 3, 4]
