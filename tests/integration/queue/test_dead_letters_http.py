"""Dead letters: why, when and from where a message was moved, and its way back."""

from typing import Any

import pytest

from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")

WORK, DEAD = "/v2/queues/work", "/v2/queues/dead"
BEGAN = "2023-11-14T22:13:20.000Z"
BIN = {"_dead_letter_queue": "dead"}


async def post(door: Door, queue: str, *bodies: Any, **message: Any) -> list[str]:
    new = [{"body": body, **message} for body in bodies]
    reply = await door.ask("POST", queue + "/messages", {"messages": new})
    return [href.rpartition("/")[2] for href in reply.json()["resources"]]


async def claim(door: Door, queue: str, limit: int = 10) -> tuple[str, list[str]]:
    reply = await door.ask("POST", f"{queue}/claims?limit={limit}", {"ttl": 60, "grace": 60})
    assert reply.status == 201
    return reply.headers["location"], [one["id"] for one in reply.json()["messages"]]


async def listed(door: Door, queue: str) -> list[Any]:
    await door.service.app.letters.deliver()
    reply = await door.ask("GET", queue + "/messages?echo=true&details=true&limit=20")
    return list(reply.json()["messages"])


async def bodies(door: Door, queue: str) -> list[Any]:
    return [one["body"] for one in await listed(door, queue)]


async def reject(door: Door, href: str, **body: Any) -> Any:
    reply = await door.ask("POST", href + "/reject", body)
    assert reply.status == 200, reply.body
    await door.service.app.letters.deliver()  # as the service does after each sweep
    return reply.json()


async def redrive(door: Door, **body: Any) -> tuple[int, int]:
    await door.service.app.letters.deliver()
    reply = await door.ask("POST", DEAD + "/redrive", body)
    assert reply.status == 200, reply.body
    return reply.json()["moved"], reply.json()["left"]


async def test_rejected_messages_are_dead_letters_with_their_reason(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    ids = await post(door, WORK, 0, 1, 2, ttl=500, key=None)
    href, _ = await claim(door, WORK)
    door.clock.move_s(1.5)
    assert await reject(door, href, ids=[ids[2], ids[0]], reason="no such part") == {
        "rejected": 2, "lost": [],
    }  # fmt: skip
    dead = await listed(door, DEAD)
    assert [one["body"] for one in dead] == [0, 2]
    assert [one["dead_letter"] for one in dead] == [
        {
            "queue": "work",
            "id": ids[at],
            "reason": "rejected",
            "text": "no such part",
            "claim_count": 1,
            "at": "2023-11-14T22:13:21.500Z",
            "trail": [],
        }
        for at in (0, 2)
    ]
    assert {(one["ttl"], one["age"], one["claim_count"]) for one in dead} == {(500, 0, 0)}
    assert await reject(door, href, ids=ids) == {"rejected": 1, "lost": [ids[0], ids[2]]}
    stats = (await door.ask("GET", WORK + "/stats")).json()["messages"]
    assert stats == {"claimed": 0, "free": 0, "total": 0}


async def test_a_whole_claim_is_rejected_and_ends(door: Door) -> None:
    await door.ask("PUT", WORK, BIN | {"_dead_letter_queue_messages_ttl": 777})
    ids = await post(door, WORK, *range(4))
    href, _ = await claim(door, WORK, 3)
    await door.ask("POST", href + "/touch", {"ids": ids[:1], "ttl": 200})
    assert await reject(door, href) == {"rejected": 3, "lost": []}
    assert (await door.ask("GET", href)).status == 404
    assert [(one["body"], one["ttl"]) for one in await listed(door, DEAD)] == [
        (0, 777), (1, 777), (2, 777),
    ]  # fmt: skip
    assert await bodies(door, WORK) == [3]


async def test_rejecting_needs_a_queue_for_dead_letters(door: Door) -> None:
    await post(door, WORK, 0)
    href, ids = await claim(door, WORK)
    for body in ({}, {"ids": ids}):
        refused = await door.ask("POST", href + "/reject", body)
        assert refused.status == 409
        assert "_dead_letter_queue" in refused.json()["description"]
    assert len((await door.ask("GET", href)).json()["messages"]) == 1


async def test_what_is_claimed_too_often_says_so(door: Door) -> None:
    await door.ask("PUT", WORK, BIN | {"_max_claim_count": 2})
    ids = await post(door, WORK, "x")
    for _ in range(2):
        href, _ = await claim(door, WORK)
        await door.ask("DELETE", href)
    assert (await door.ask("POST", WORK + "/claims")).status == 204
    dead = (await listed(door, DEAD))[0]["dead_letter"]
    assert (dead["queue"], dead["id"], dead["reason"]) == ("work", ids[0], "claimed_too_often")
    assert (dead["claim_count"], dead["at"], dead["trail"]) == (2, BEGAN, [])


async def test_without_a_count_nothing_is_claimed_too_often(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, "x")
    for _ in range(5):
        href, _ = await claim(door, WORK)
        await door.ask("DELETE", href)
    assert await bodies(door, WORK) == ["x"]


async def test_a_redrive_brings_all_back_in_order_with_a_new_life(door: Door) -> None:
    for queue in (WORK, WORK + "2"):
        await door.ask("PUT", queue, BIN | {"_dead_letter_queue_messages_ttl": 90})
        await post(door, queue, *range(5), ttl=500)
    for _ in range(2):
        for queue in (WORK, WORK + "2"):
            href, _ = await claim(door, queue, 2)
            await reject(door, href, reason=queue)
    await post(door, DEAD, "not a dead letter")
    door.clock.move_s(10)
    assert await redrive(door, limit=3) == (3, 5)
    assert await bodies(door, WORK) == [4, 0, 1]
    assert await bodies(door, WORK + "2") == [4, 0]
    assert await redrive(door) == (5, 0)
    assert await redrive(door) == (0, 0)
    assert await bodies(door, WORK) == [4, 0, 1, 2, 3]
    assert await bodies(door, WORK + "2") == [4, 0, 1, 2, 3]
    assert await bodies(door, DEAD) == ["not a dead letter"]
    back = (await listed(door, WORK))[1]
    assert (back["ttl"], back["age"], back["claim_count"]) == (500, 0, 0)
    assert back["dead_letter"]["reason"] == "rejected"
    assert (await door.ask("POST", WORK + "/redrive")).json() == {"moved": 0, "left": 0}


async def test_the_trail_is_kept_over_many_deaths_and_is_bounded(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, "x")
    for turn in range(13):
        href, _ = await claim(door, WORK)
        await reject(door, href, reason=f"turn {turn}")
        if turn < 12:
            assert await redrive(door) == (1, 0)
    dead = (await listed(door, DEAD))[0]["dead_letter"]
    assert [dead["text"], *(one["text"] for one in dead["trail"])] == [
        f"turn {turn}" for turn in range(12, 2, -1)
    ]
    assert len({one["id"] for one in dead["trail"]}) == 9


async def test_a_redrive_takes_what_is_asked_for_and_goes_where_it_is_told(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, *range(5))
    href, _ = await claim(door, WORK)
    await reject(door, href)
    ids = [one["id"] for one in await listed(door, DEAD)]
    assert await redrive(door, ids=[ids[3], ids[1], "nonsense", ids[1]], to="new") == (2, 3)
    assert await bodies(door, "/v2/queues/new") == [1, 3]
    held, _ = await claim(door, DEAD, 1)
    assert await redrive(door) == (2, 1)  # one is held
    assert await redrive(door, ids=[ids[0]]) == (0, 1)
    await door.ask("DELETE", held)
    assert await redrive(door, ids=[ids[0]]) == (1, 0)
    assert await bodies(door, WORK) == [2, 4, 0]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "1"},
        {"ids": []},
        {"to": "dead"},
        {"to": "no good"},
        {"to": ""},
        {"to": 1},
        [],
    ],
)
async def test_a_redrive_that_makes_no_sense_is_refused(door: Door, body: Any) -> None:
    assert (await door.ask("POST", DEAD + "/redrive", body)).status == 400


async def test_a_redrive_of_no_queue_moves_nothing(door: Door) -> None:
    assert await redrive(door) == (0, 0)
    assert (await door.ask("HEAD", DEAD)).status == 404


async def test_a_repeated_redrive_moves_once(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, *range(4))
    href, _ = await claim(door, WORK)
    await reject(door, href)
    replies = [
        await door.ask("POST", DEAD + "/redrive", {"limit": 2}, headers={"idempotency-key": "k"})
        for _ in range(2)
    ]
    assert [reply.json() for reply in replies] == [{"moved": 2, "left": 2}] * 2
    assert await bodies(door, WORK) == [0, 1]


async def test_nobody_redrives_the_letters_of_another_project(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, 0)
    href, _ = await claim(door, WORK)
    for verb in ("touch", "release", "reject"):
        foreign = await door.ask("POST", f"{href}/{verb}", {}, token="token-b")
        assert foreign.status == 404
        assert (await door.ask("POST", f"{href}/{verb}", {}, token="token-reader")).status == 403
    await reject(door, href)
    foreign = await door.ask("POST", DEAD + "/redrive", {}, token="token-b")
    assert foreign.json() == {"moved": 0, "left": 0}
    assert (await door.ask("POST", DEAD + "/redrive", {}, token="token-reader")).status == 403


async def test_of_those_asked_for_as_many_are_moved_as_can_be(door: Door) -> None:
    await door.ask("PUT", WORK, BIN)
    await post(door, WORK, *range(4))
    href, _ = await claim(door, WORK)
    await reject(door, href)
    ids = [message["id"] for message in await listed(door, DEAD)]
    await claim(door, DEAD, 2)
    assert await redrive(door, ids=ids, limit=1) == (1, 3)
    assert await bodies(door, WORK) == [2]
