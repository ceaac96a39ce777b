"""Messages of a claim held anew, freed and rejected by themselves; what details show of them."""

from typing import Any

import pytest

from transom.queue.model import Place

from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")

QUEUE = "/v2/queues/q"
MESSAGES, CLAIMS = QUEUE + "/messages", QUEUE + "/claims"
BEGAN = "2023-11-14T22:13:20.000Z"
NEVER = "00000000-0000-0000-0000-000000000000"


class Worker:
    """A claim and its messages' ids."""

    def __init__(self, door: Door, href: str, ids: list[str]) -> None:
        self.door = door
        self.href = href
        self.ids = ids

    async def does(self, verb: str, **body: Any) -> Any:
        reply = await self.door.ask("POST", f"{self.href}/{verb}", body)
        assert reply.status == 200, reply.body
        return reply.json()

    async def holds(self) -> list[int]:
        reply = await self.door.ask("GET", self.href)
        return [] if reply.status == 404 else [one["body"] for one in reply.json()["messages"]]

    async def late(self, number: int) -> bool:
        claim = self.href.rpartition("/")[2]
        reply = await self.door.ask("DELETE", f"{MESSAGES}/{self.ids[number]}?claim_id={claim}")
        return reply.status != 204


async def post(door: Door, number: int = 4, **message: Any) -> None:
    new = [{"body": index, **message} for index in range(number)]
    assert (await door.ask("POST", MESSAGES, {"messages": new})).status == 201


async def claim(door: Door, limit: int = 10, ttl: int = 60) -> Worker:
    reply = await door.ask("POST", f"{CLAIMS}?limit={limit}", {"ttl": ttl, "grace": 60})
    assert reply.status == 201
    ids = [one["id"] for one in reply.json()["messages"]]
    return Worker(door, reply.headers["location"], ids)


async def strands(door: Door) -> int:
    """How many ends of claims have a row of their own, where the queue is."""
    store = await door.service.stores.of(Place("a", "q"))
    ((number,),) = await store.database.read(lambda tx: tx.fetch("select count(*) from strand"))
    return int(number)


async def waiting(door: Door) -> list[int]:
    reply = await door.ask("GET", MESSAGES + "?echo=true&limit=20")
    return [one["body"] for one in reply.json()["messages"]]


async def test_touched_messages_are_held_on_and_the_others_go(door: Door) -> None:
    await post(door)
    worker = await claim(door)
    door.clock.move_s(30)
    touched = await worker.does("touch", ids=[worker.ids[2], worker.ids[0]], ttl=60, grace=60)
    assert touched == {
        "messages": [
            {"id": worker.ids[at], "expires_at": "2023-11-14T22:14:50.000Z", "fence": 1}
            for at in (2, 0)
        ],
        "lost": [],
    }
    assert await worker.holds() == [0, 1, 2, 3]
    door.clock.move_s(30)
    assert await worker.holds() == [0, 2]
    assert await waiting(door) == [1, 3]
    other = await claim(door)
    assert [await worker.late(1), await worker.late(0)] == [True, False]
    assert await other.holds() == [1, 3]
    door.clock.move_s(30)
    assert await worker.holds() == []
    assert await waiting(door) == [2]


async def test_a_shorter_hold_ends_first_and_the_claim_lives_on(door: Door) -> None:
    await post(door, 3)
    worker = await claim(door, ttl=300)
    await worker.does("touch", ids=[worker.ids[0]], ttl=60)
    door.clock.move_s(60)
    assert await worker.holds() == [1, 2]
    assert (await worker.does("touch", ids=worker.ids[:2], ttl=60))["lost"] == worker.ids[:1]
    assert await waiting(door) == [0]
    await door.service.sweep_once()
    assert await worker.holds() == [1, 2]
    door.clock.move_s(240)
    assert await waiting(door) == [0, 1, 2]


async def test_renewing_makes_all_ends_one_again(door: Door) -> None:
    await post(door, 3)
    worker = await claim(door, ttl=60)
    await worker.does("touch", ids=[worker.ids[0]], ttl=300)
    await worker.does("touch", ids=[worker.ids[1]], ttl=200)
    reply = await door.ask("PATCH", worker.href, {"ttl": 100, "grace": 60})
    assert reply.status == 204
    door.clock.move_s(99.999)
    assert await worker.holds() == [0, 1, 2]
    everything = await worker.does("touch", ttl=70)
    assert [one["id"] for one in everything["messages"]] == worker.ids
    door.clock.move_s(70)
    assert await worker.holds() == []
    assert await waiting(door) == [0, 1, 2]
    assert await strands(door) == 0


async def test_many_touches_leave_no_rows_behind(door: Door) -> None:
    await post(door, 2)
    worker = await claim(door)
    for _ in range(20):
        door.clock.move_s(1)
        await worker.does("touch", ids=worker.ids[:1], ttl=60)
    assert await strands(door) == 1
    assert (await worker.does("release"))["released"] == 2
    assert await strands(door) == 0


async def test_released_messages_wait_at_their_own_places_at_once_or_later(door: Door) -> None:
    await post(door)
    worker = await claim(door)
    assert await worker.does("release", ids=[worker.ids[1]]) == {"released": 1, "lost": []}
    assert await worker.does("release", ids=[worker.ids[0]], delay=20) == {
        "released": 1, "lost": [],
    }  # fmt: skip
    assert await worker.holds() == [2, 3]
    assert await waiting(door) == [1]
    hidden = (await door.ask("GET", f"{MESSAGES}/{worker.ids[0]}?details=true")).json()
    assert hidden["available_at"] == "2023-11-14T22:13:40.000Z"
    assert "claim" not in hidden
    assert await worker.does("release", ids=[worker.ids[0], "nonsense", worker.ids[2], NEVER]) == {
        "released": 1, "lost": [worker.ids[0], "nonsense", NEVER],
    }  # fmt: skip
    door.clock.move_s(20)
    assert await waiting(door) == [0, 1, 2]
    assert [await worker.late(0), await worker.late(3)] == [True, False]
    assert (await claim(door)).ids == worker.ids[:3]


@pytest.mark.parametrize("whole", ["post", "delete"])
async def test_a_whole_claim_may_be_released_with_a_delay(door: Door, whole: str) -> None:
    await post(door, 3)
    worker = await claim(door)
    await worker.does("touch", ids=[worker.ids[0]], ttl=200)
    if whole == "post":
        assert await worker.does("release", delay=50) == {"released": 3, "lost": []}
    else:
        assert (await door.ask("DELETE", worker.href + "?delay=50")).status == 204
    assert (await door.ask("GET", worker.href)).status == 404
    door.clock.move_s(49.999)
    assert (await door.ask("POST", CLAIMS)).status == 204
    door.clock.move_s(0.001)
    assert (await claim(door)).ids == worker.ids


async def test_an_ended_claim_delays_nothing(door: Door) -> None:
    await post(door, 2)
    worker = await claim(door)
    door.clock.move_s(60)
    assert (await door.ask("DELETE", worker.href + "?delay=50")).status == 204
    assert await waiting(door) == [0, 1]
    for verb in ("touch", "release", "reject"):
        assert (await door.ask("POST", f"{worker.href}/{verb}", {})).status == 404
        assert (await door.ask("POST", f"{CLAIMS}/nonsense/{verb}", {})).status == 404


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("touch", {"ids": []}),
        ("touch", {"ids": ["x"] * 21}),
        ("touch", {"ids": "x"}),
        ("touch", {"ttl": 59}),
        ("touch", {"ttl": 43_201}),
        ("touch", {"grace": 59}),
        ("release", {"delay": 901}),
        ("release", {"delay": -1}),
        ("release", {"delay": "1"}),
        ("release", {"ids": [1]}),
        ("reject", {"reason": "x" * 1025}),
        ("reject", {"reason": 1}),
        ("reject", {"reason": "a\u0000"}),
        ("reject", []),
    ],
)
async def test_what_is_out_of_bounds_is_refused_and_changes_nothing(
    door: Door, verb: str, body: Any
) -> None:
    await door.ask("PUT", QUEUE, {"_dead_letter_queue": "dead"})
    await post(door, 1)
    worker = await claim(door)
    assert (await door.ask("POST", f"{worker.href}/{verb}", body)).status == 400
    assert (await door.ask("DELETE", worker.href + "?delay=901")).status == 400
    assert await worker.holds() == [0]


async def test_a_message_that_would_end_is_kept_for_its_claim_and_grace(door: Door) -> None:
    await post(door, 2, ttl=60)
    worker = await claim(door, ttl=60)
    await worker.does("touch", ids=worker.ids[:1], ttl=100, grace=70)
    door.clock.move_s(99)
    assert await worker.holds() == [0]
    one = (await door.ask("GET", f"{MESSAGES}/{worker.ids[0]}")).json()
    assert (one["ttl"], one["age"]) == (170, 99)


async def test_a_fence_grows_with_each_delivery_and_with_nothing_else(door: Door) -> None:
    await post(door, 1)
    for delivery in range(1, 4):
        worker = await claim(door)
        assert (await worker.does("touch", ids=worker.ids))["messages"][0]["fence"] == delivery
        assert (await worker.does("touch"))["messages"][0]["fence"] == delivery
        shown = (await door.ask("GET", worker.href + "?details=true")).json()
        assert shown["messages"][0]["claim"]["fence"] == delivery
        await worker.does("release", ids=worker.ids)


async def test_details_are_shown_to_who_asks_alone(door: Door) -> None:
    await post(door, 1, key="k", ttl=70, delay=5)
    plain = (await door.ask("GET", MESSAGES + "?echo=true&include_delayed=true")).json()
    assert list(plain["messages"][0]) == ["id", "href", "ttl", "age", "body"]
    listed = (
        await door.ask("GET", MESSAGES + "?echo=true&include_delayed=true&details=true")
    ).json()
    expected = {
        "created_at": BEGAN,
        "expires_at": "2023-11-14T22:14:30.000Z",
        "available_at": "2023-11-14T22:13:25.000Z",
        "claim_count": 0,
        "key": "k",
    }
    assert listed["messages"] == [plain["messages"][0] | expected]
    assert "details=true" in listed["links"][0]["href"]
    door.clock.move_s(5.25)
    taken = await door.ask("POST", CLAIMS + "?details=true", {"ttl": 60, "grace": 60})
    claim_id, end = taken.headers["location"].rpartition("/")[2], "2023-11-14T22:14:25.250Z"
    said = taken.json()
    assert (said["claim_id"], said["expires_at"]) == (claim_id, end)
    held = said["messages"][0]
    assert held["claim"] == {"id": claim_id, "expires_at": end, "fence": 1}
    assert (held["available_at"], held["claim_count"]) == (end, 1)
    by_ids = await door.ask("GET", f"{MESSAGES}?ids={held['id']}&details=true")
    one = await door.ask("GET", f"{MESSAGES}/{held['id']}?details=1")
    of_claim = (await door.ask("GET", taken.headers["location"] + "?details=true")).json()
    assert by_ids.json()["messages"] == [one.json()] == of_claim["messages"] == [held]
    assert (of_claim["claim_id"], of_claim["expires_at"]) == (claim_id, end)
    assert (await door.ask("GET", MESSAGES + "?details=maybe")).status == 400


async def test_a_repeated_request_has_its_effect_once(door: Door) -> None:
    await door.ask("PUT", QUEUE, {"_dead_letter_queue": "dead"})
    await post(door, 3)
    worker = await claim(door)
    for verb, body in (
        ("touch", {"ids": worker.ids[:1]}),
        ("release", {"ids": worker.ids[:1]}),
        ("reject", {"ids": worker.ids[1:2]}),
    ):
        replies = [
            await door.ask("POST", f"{worker.href}/{verb}", body, headers={"idempotency-key": verb})
            for _ in range(2)
        ]
        assert [reply.status for reply in replies] == [200, 200]
        assert replies[0].body == replies[1].body
        assert replies[0].json()["lost"] == []
