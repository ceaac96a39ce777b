"""Long polling over HTTP: who waits is answered as soon as there is something, and not before."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from transom.queue.model import ClientId, NewMessage
from transom.queue.service import build
from transom.queue.store.verbs.catalogue import Once
from transom.runtime.clock import SystemClock
from transom.runtime.http.app import make_app
from transom.runtime.idempotency import Repeat

from support.db import queue_database
from support.http import Tokens, serve
from support.queues import CLIENT, CONFIG, OTHER_CLIENT, PROJECTS, Door, open_door

pytestmark = pytest.mark.usefixtures("engine")

MESSAGES, CLAIMS = "/v2/queues/q/messages", "/v2/queues/q/claims"
CONTEXT = PROJECTS["token-a"]
POSTER = ClientId(b"p" * 16)


async def post(door: Door, *bodies: int, queue: str = "q", **message: Any) -> None:
    new = {"messages": [{"body": body, **message} for body in bodies]}
    reply = await door.ask("POST", f"/v2/queues/{queue}/messages", new)
    assert reply.status == 201, reply.body


async def until_waiting(door: Door, number: int) -> None:
    """So many wait, and none of them is awake."""
    bell = door.service.app.bell
    async with asyncio.timeout(10):
        while bell.waiting != number or bell.awake:
            await asyncio.sleep(0)


def bodies(reply: Any) -> list[int]:
    return [message["body"] for message in reply.json()["messages"]]


async def test_a_claim_waits_for_the_first_message(door: Door) -> None:
    waiting = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30"))
    await until_waiting(door, 1)
    began_s = time.monotonic()
    await post(door, 1, 2)
    reply = await waiting
    assert (reply.status, bodies(reply)) == (201, [1, 2])
    assert time.monotonic() - began_s < 5
    assert door.service.app.bell.waiting == 0


async def test_a_list_waits_for_what_it_would_show(door: Door) -> None:
    """By another client: one's own messages are not shown to oneself."""
    own = asyncio.create_task(door.ask("GET", f"{MESSAGES}?wait=30"))
    others = asyncio.create_task(door.ask("GET", f"{MESSAGES}?wait=30", client=OTHER_CLIENT))
    await until_waiting(door, 2)
    await post(door, 1)
    assert bodies(await others) == [1]
    assert not own.done()
    await door.service.app.messages.post(CONTEXT, "q", POSTER, [NewMessage(b"2")], 1)
    assert bodies(await own) == [2]


async def test_a_marker_waits_for_what_comes_after_it(door: Door) -> None:
    await post(door, 1)
    first = await door.ask("GET", f"{MESSAGES}?echo=true")
    after = first.json()["links"][0]["href"]
    waiting = asyncio.create_task(door.ask("GET", f"{after}&wait=30"))
    await until_waiting(door, 1)
    await post(door, 2)
    assert bodies(await waiting) == [2]


async def test_nothing_comes_and_the_answer_is_the_empty_one(door: Door) -> None:
    reply = await door.ask("POST", f"{CLAIMS}?wait=1")
    assert (reply.status, reply.body) == (204, b"")
    listed = await door.ask("GET", f"{MESSAGES}?wait=1")
    assert (listed.status, listed.json()["messages"]) == (200, [])


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1.5"])
async def test_a_wait_out_of_bounds_is_refused(door: Door, wait: str) -> None:
    for method, path in (("POST", CLAIMS), ("GET", MESSAGES)):
        reply = await door.ask(method, f"{path}?wait={wait}")
        assert reply.status == 400, (method, reply.body)
        assert set(reply.json()) == {"title", "description"}


async def test_what_was_taken_as_its_caller_went_is_kept_for_the_repetition(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gone = door.service.app, asyncio.Event()
    write = app.access.write

    async def goes_meanwhile(verb: Any) -> Any:
        answer = await write(verb)
        if isinstance(verb, Once):
            gone.set()
            await asyncio.sleep(0.01)
        return answer

    async def hung_up() -> None:
        await gone.wait()

    def take() -> Any:
        repeat = Repeat("k", b"r" * 32, 60_000)
        return app.claims.take(CONTEXT, "q", None, None, None, repeat, wait_s=30, gone=hung_up)

    waiting = asyncio.create_task(take())
    await until_waiting(door, 1)
    monkeypatch.setattr(app.access, "write", goes_meanwhile)
    posted = await app.messages.post(CONTEXT, "q", POSTER, [NewMessage(b"1")], 1)
    await waiting
    assert gone.is_set()
    claim = await take()
    assert [message.id for message in claim.messages] == list(posted.ids)
    await app.messages.delete(CONTEXT, "q", str(posted.ids[0]), [claim.id])


async def test_a_release_wakes_who_waits(door: Door) -> None:
    await post(door, 1)
    held = await door.ask("POST", CLAIMS)
    waiting = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30"))
    await until_waiting(door, 1)
    path = held.headers["location"]
    assert (await door.ask("DELETE", path)).status == 204
    assert bodies(await waiting) == [1]


async def test_each_of_many_who_wait_gets_one_in_the_order_in_which_they_came(door: Door) -> None:
    waiting = []
    for number in range(1, 11):
        waiting.append(asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30&limit=1")))
        await until_waiting(door, number)
    for number in range(10):
        await post(door, number)
        assert bodies(await waiting[number]) == [number]
        await until_waiting(door, 9 - number)


async def test_a_burst_is_shared_out_among_who_waits(door: Door) -> None:
    waiting = [
        asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30&limit=1")) for _ in range(20)
    ]
    await until_waiting(door, 20)
    await post(door, *range(20))
    replies = await asyncio.gather(*waiting)
    assert sorted(body for reply in replies for body in bodies(reply)) == list(range(20))


async def test_a_caller_that_hangs_up_takes_nothing(door: Door) -> None:
    parts = urlsplit(door.base_url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"POST /queue{CLAIMS}?wait=60 HTTP/1.1\r\nhost: x\r\nx-auth-token: token-a\r\n"
        f"client-id: {CLIENT}\r\ncontent-length: 0\r\n\r\n".encode()
    )
    await until_waiting(door, 1)
    writer.close()
    await until_waiting(door, 0)
    await post(door, 1)
    reply = await door.ask("POST", CLAIMS)
    assert bodies(reply) == [1]


async def test_who_waits_is_bounded_and_another_project_is_not_affected(tmp_path: Path) -> None:
    async with open_door(tmp_path, project_max_waiters=1) as door:
        waiting = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30"))
        await until_waiting(door, 1)
        refused = await door.ask("POST", f"{CLAIMS}?wait=30")
        assert (refused.status, "retry-after" in refused.headers) == (429, True)
        assert set(refused.json()) == {"title", "description"}
        other = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30", token="token-b"))
        await until_waiting(door, 2)
        door.service.app.bell.close()
        assert [(await one).status for one in (waiting, other)] == [204, 204]


async def test_no_project_hears_of_anothers_queue(door: Door) -> None:
    other = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=2", token="token-b"))
    await until_waiting(door, 1)
    await post(door, 1)
    assert (await other).status == 204


async def test_a_wait_with_an_idempotency_key_gives_the_first_answer_again(door: Door) -> None:
    key = {"idempotency-key": "k1"}
    waiting = asyncio.create_task(door.ask("POST", f"{CLAIMS}?wait=30", headers=key))
    await until_waiting(door, 1)
    await post(door, 1)
    first = await waiting
    assert bodies(first) == [1]
    again = await door.ask("POST", f"{CLAIMS}?wait=30", headers=key)
    assert (again.headers["location"], again.headers["idempotency-replayed"]) == (
        first.headers["location"],
        "true",
    )


async def test_a_delay_that_ends_wakes_by_time(tmp_path: Path) -> None:
    clock = SystemClock()
    service = build(
        replace(CONFIG), queue_database(tmp_path, clock), clock=clock, random=os.urandom
    )
    await service.start()
    app = make_app([service.mount], authenticate=Tokens(PROJECTS), random=os.urandom)
    async with serve(app) as base_url:
        door = Door(base_url, service, clock, Tokens(PROJECTS))  # type: ignore[arg-type]
        await post(door, 1, delay=1)
        began_s = time.monotonic()
        reply = await door.ask("POST", f"{CLAIMS}?wait=20")
        assert bodies(reply) == [1]
        assert 0.5 < time.monotonic() - began_s < 5
    await service.stop()


async def test_who_waits_for_dead_letters_is_woken_by_the_claim_that_moves_them(door: Door) -> None:
    metadata = {"_dead_letter_queue": "dead", "_max_claim_count": 1}
    assert (await door.ask("PUT", "/v2/queues/q", metadata)).status == 201
    await post(door, 1)
    assert (await door.ask("POST", CLAIMS, {"ttl": 60})).status == 201
    door.clock.move_s(61)
    waiting = asyncio.create_task(door.ask("POST", "/v2/queues/dead/claims?wait=30"))
    await until_waiting(door, 1)
    assert (await door.ask("POST", CLAIMS)).status == 204
    assert bodies(await waiting) == [1]
