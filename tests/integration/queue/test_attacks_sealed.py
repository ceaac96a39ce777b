# SPDX-License-Identifier: Apache-2.0
"""Sealed bodies by every way out: over sockets, to subscribers, between databases."""

from pathlib import Path

import pytest

from transom.queue.model import Place
from transom.queue.service import QueueService

from support.deliveries import delivering
from support.queues import PROJECTS, Door, MovedClock, open_door
from support.sockets import socket

WORD = "a-word-that-nobody-may-read"
BODY = {"text": WORD}
MESSAGES = "/v2/queues/q/messages"
SWITCH = {"content-type": "application/openstack-messaging-v2.0-json-patch"}
SEALED = {"_enable_encrypt_messages": True}


async def lie(service: QueueService, table: str = "message") -> list[tuple[str, bytes, int | None]]:
    """(database, body, generation) of all that lies there."""
    found = []
    for store in service.stores.every():
        rows = await store.database.read(
            lambda tx: tx.fetch(f"select body, key_generation from {table}")
        )
        found += [(store.name, bytes(body), generation) for body, generation in rows]
    return found


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("binary", [False, True])
async def test_a_socket_is_told_plain_what_lies_sealed(tmp_path: Path, binary: bool) -> None:
    async with (
        open_door(tmp_path) as door,
        socket(door.base_url, "token-a", binary=binary) as ws,
        socket(door.base_url, "token-a", binary=binary) as watcher,
    ):
        q = {"queue_name": "q"}
        await ws.must("queue_create", {**q, "metadata": SEALED})
        await watcher.must("subscription_create", q)
        await ws.must("message_post", {**q, "messages": [{"body": BODY}] * 3})
        for _, body, generation in await lie(door.service):
            assert (generation, WORD.encode() in body) == (1, False)
        assert [(await watcher.push())["body"] for _ in range(3)] == [BODY] * 3
        listed = await ws.must("message_list", {**q, "echo": True})
        assert [one["body"] for one in listed["messages"]] == [BODY] * 3
        claim = {**q, "ttl": 60, "grace": 60, "limit": 1}
        held = await ws.must("claim_create", claim)
        assert held["messages"][0]["body"] == BODY
        got = await ws.must("claim_get", {**q, "claim_id": held["claim_id"]})
        assert got["messages"][0]["body"] == BODY
        many = await ws.must(
            "claim_create_many", {"queues": ["q"], "ttl": 60, "grace": 60, "limit": 1}
        )
        assert many["messages"][0]["body"] == BODY
        popped = await ws.must("message_delete_many", {**q, "pop": 1})
        assert popped["messages"][0]["body"] == BODY


@pytest.mark.usefixtures("engine")
async def test_a_subscriber_is_told_plain_what_lies_sealed(tmp_path: Path) -> None:
    async with delivering(tmp_path) as world:
        await world.door.ask("PUT", "/v2/queues/q", {**SEALED, "_dead_letter_queue": "dead"})
        made = await world.subscribe()
        world.receiver.answer = lambda _: 500  # so that the notice stays for a look
        await world.post(BODY)
        await world.receiver.until(1)
        assert all(body == BODY for body in world.receiver.bodies())  # it is tried again at once
        notices = await lie(world.door.service, "notice")
        assert notices
        for _, body, generation in notices:
            assert (generation, WORD.encode() in body) == (1, False)
        assert (await world.state(made))["delivered"] == 0


async def apart(door: Door, metadata: dict[str, bool]) -> str:
    """The name of a new queue that lies in another database than the queue q."""
    stores = door.service.stores
    here = (await stores.of(Place("a", "q"))).name
    for number in range(100):
        other = f"dead-{number}"
        assert (await door.ask("PUT", f"/v2/queues/{other}", metadata)).status == 201
        if (await stores.of(Place("a", other))).name != here:
            return other
    raise AssertionError("all lie in one")


@pytest.mark.parametrize("sealed_there", [False, True])
@pytest.mark.parametrize("sealed_here", [False, True])
async def test_letters_between_databases_are_sealed_again_and_open_where_they_come_to(
    tmp_path: Path, sealed_here: bool, sealed_there: bool
) -> None:
    """Each database has keys of its own. What was sealed once is never laid down plain."""
    async with open_door(tmp_path, MovedClock(), shards=3) as door:
        await door.ask("PUT", "/v2/queues/q", SEALED if sealed_here else {})
        dead = await apart(door, SEALED if sealed_there else {})
        change = [{"op": "add", "path": "/metadata/_dead_letter_queue", "value": dead}]
        changed = await door.ask("PATCH", "/v2/queues/q", change, headers=SWITCH)
        assert changed.status == 200, changed.body
        new = {"messages": [{"body": BODY, "ttl": 3600}, {"body": [WORD], "ttl": 3600}]}
        assert (await door.ask("POST", MESSAGES, new)).status == 201
        claimed = await door.ask("POST", "/v2/queues/q/claims", {"ttl": 600, "grace": 60})
        mine = claimed.headers["location"]
        assert (await door.ask("POST", f"{mine}/reject", {"reason": "no"})).status == 200
        await door.service.sweep_once()
        there = await door.ask("GET", f"/v2/queues/{dead}/messages?echo=true&details=true")
        assert [one["body"] for one in there.json()["messages"]] == [BODY, [WORD]]
        assert {one["dead_letter"]["reason"] for one in there.json()["messages"]} == {"rejected"}
        home = (await door.service.stores.of(Place("a", dead))).name
        rows = await lie(door.service)
        assert {name for name, *_ in rows} == {home}
        for _, body, generation in rows:
            plain = not sealed_here  # what was posted plain stays so
            assert (generation is None, WORD.encode() in body) == (plain, plain)
            assert generation != 0
        back = await door.ask("POST", f"/v2/queues/{dead}/redrive", {})
        assert back.json()["moved"] == 2
        await door.service.sweep_once()
        listed = await door.ask("GET", f"{MESSAGES}?echo=true")
        assert [one["body"] for one in listed.json()["messages"]] == [BODY, [WORD]]
        for _, body, generation in await lie(door.service):
            plain = not sealed_here  # what was posted plain stays so
            assert (generation is None, WORD.encode() in body) == (plain, plain)
        assert PROJECTS["token-b"].project_id not in repr(
            await door.service.stores.home.database.read(
                lambda tx: tx.fetch("select project_id from project_key")
            )
        )
