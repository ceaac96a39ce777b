"""Encrypted queues: sealed where they lie, plain to whoever may read, and never lost."""

import os
import random
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from transom.queue.bus.frames import decode_verbs, encode, value_of
from transom.queue.model import ClientId, NewMessage
from transom.queue.service import MIGRATIONS, QueueService, build
from transom.queue.store import project_keys
from transom.queue.store.project_keys import Keyring
from transom.queue.store.verbs.verb import Writer
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.transaction import Database
from transom.runtime.idempotency import Repeat
from transom.runtime.sealing import Sealer

from support.db import queue_database
from support.http import Reply
from support.postgres import on_postgres
from support.queues import (
    CONFIG,
    MASTER_KEYS,
    PROJECTS,
    Door,
    MovedClock,
    open_door,
    open_service,
)

pytestmark = pytest.mark.usefixtures("engine")

WORD = "a-word-that-nobody-may-read"
BODY = {"text": WORD}
Q, MESSAGES, CLAIMS = "/v2/queues/q", "/v2/queues/q/messages", "/v2/queues/q/claims"
SWITCH = {"content-type": "application/openstack-messaging-v2.0-json-patch"}
WEEK_S = 7 * 86_400
CONTEXT = PROJECTS["token-a"]
FIRST, SECOND = (b"1" * 32,), (b"2" * 32,)


async def encrypted(door: Door, path: str = Q, token: str = "token-a", **metadata: Any) -> None:
    metadata["_enable_encrypt_messages"] = True
    assert (await door.ask("PUT", path, metadata, token=token)).status == 201


async def post(door: Door, *bodies: Any, path: str = MESSAGES, token: str = "token-a") -> list[str]:
    new = [{"body": body, "ttl": 3600} for body in bodies]
    reply = await door.ask("POST", path, {"messages": new}, token=token)
    assert reply.status == 201, reply.body
    return [href.rpartition("/")[2] for href in reply.json()["resources"]]


def bodies(reply: Reply) -> list[Any]:
    assert reply.status < 300, reply.body
    return [message["body"] for message in reply.json()["messages"]]


async def stored(service: QueueService) -> list[tuple[bytes, int | None]]:
    """(body, generation of its key), as they lie."""
    sql = "select body, key_generation from message order by content_id, sequence"
    return [(bytes(body), generation) for body, generation in await everywhere(service, sql)]


async def everywhere(service: QueueService, sql: str) -> list[Any]:
    """What all databases answer."""
    found: list[Any] = []
    for store in service.stores.every():
        found += await store.database.read(lambda tx: tx.fetch(sql))
    return found


async def change(service: QueueService, sql: str, *parameters: Any) -> None:
    changed = 0
    for store in service.stores.every():
        changed += await store.database.write(lambda tx: tx.execute(sql, parameters))
    assert changed == 1


async def test_every_reader_sees_what_lies_sealed(door: Door) -> None:
    await encrypted(door)
    ids = await post(door, BODY, BODY, BODY)
    for body, generation in await stored(door.service):
        assert (generation, WORD.encode() in body) == (1, False)
    assert bodies(await door.ask("GET", f"{MESSAGES}?echo=true")) == [BODY] * 3
    assert bodies(await door.ask("GET", f"{MESSAGES}?ids={ids[0]},{ids[2]}")) == [BODY] * 2
    assert (await door.ask("GET", f"{MESSAGES}/{ids[1]}")).json()["body"] == BODY
    claimed = await door.ask("POST", f"{CLAIMS}?limit=1", {})
    assert bodies(claimed) == [BODY]
    claim = claimed.headers["location"]
    assert bodies(await door.ask("GET", claim)) == [BODY]
    assert bodies(await door.ask("DELETE", f"{MESSAGES}?pop=2")) == [BODY] * 2


async def test_a_claim_that_is_asked_for_again_is_kept_sealed_and_answered_plain(
    door: Door,
) -> None:
    await encrypted(door)
    await post(door, BODY)
    again = {"idempotency-key": "one"}
    first = await door.ask("POST", CLAIMS, {}, headers=again)
    second = await door.ask("POST", CLAIMS, {}, headers=again)
    assert first.json() == second.json()
    assert bodies(second) == [BODY]
    kept = await everywhere(door.service, "select * from once")
    assert kept
    assert WORD not in repr(kept)


async def test_dead_letters_stay_sealed_and_open_where_they_are(door: Door) -> None:
    await encrypted(door, _dead_letter_queue="dead", _max_claim_count=1)
    await post(door, BODY)
    await door.ask("POST", CLAIMS, {"ttl": 60, "grace": 60})
    door.clock.move_s(61)
    assert (await door.ask("POST", CLAIMS, {})).status == 204
    await door.service.sweep_once()  # takes it to another database, if the queue is there
    ((body, generation),) = await stored(door.service)
    assert (WORD.encode() in body, generation) == (False, 1)
    assert bodies(await door.ask("GET", "/v2/queues/dead/messages?echo=true")) == [BODY]


async def test_encryption_is_switched_on_and_off_in_the_life_of_a_queue(door: Door) -> None:
    await door.ask("PUT", Q, {})
    for value in (None, True, False):
        if value is not None:
            step = [{"op": "add", "path": "/metadata/_enable_encrypt_messages", "value": value}]
            reply = await door.ask("PATCH", Q, step, headers=SWITCH)
            assert reply.status == 200, reply.body
        await post(door, {"when": str(value)})
    assert [generation for _, generation in await stored(door.service)] == [None, 1, None]
    found = bodies(await door.ask("GET", f"{MESSAGES}?echo=true"))
    assert [body["when"] for body in found] == ["None", "True", "False"]


async def test_what_is_no_truth_value_is_refused(door: Door) -> None:
    for value in ("true", 1, [], {}):
        reply = await door.ask("PUT", Q, {"_enable_encrypt_messages": value})
        assert (reply.status, "true or false" in reply.json()["description"]) == (400, True)


async def test_a_flipped_bit_is_refused_and_named_and_nothing_is_taken(door: Door) -> None:
    await encrypted(door)
    (broken,) = await post(door, BODY)
    ((body, _),) = await stored(door.service)
    flipped = body[:-1] + bytes([body[-1] ^ 1])
    await change(door.service, "update message set body = ?", flipped)
    for method, path in (
        ("GET", f"{MESSAGES}?echo=true"),
        ("GET", f"{MESSAGES}/{broken}"),
        ("POST", CLAIMS),
        ("DELETE", f"{MESSAGES}?pop=1"),
    ):
        reply = await door.ask(method, path)
        assert (reply.status, broken in reply.json()["description"]) == (503, True)
        assert "retry-after" in reply.headers
    stats = (await door.ask("GET", f"{Q}/stats")).json()["messages"]
    assert (stats["total"], stats["claimed"]) == (1, 0)
    await change(door.service, "update message set body = ?", body)
    assert bodies(await door.ask("POST", CLAIMS, {})) == [BODY]


async def test_a_body_that_is_cut_off_is_refused(door: Door) -> None:
    await encrypted(door)
    await post(door, BODY)
    await change(door.service, "update message set body = ?", b"short")
    assert (await door.ask("GET", f"{MESSAGES}?echo=true")).status == 503


async def test_a_body_moved_by_hand_to_another_project_is_refused(door: Door) -> None:
    await encrypted(door)
    await encrypted(door, token="token-b")
    await post(door, BODY)
    ((body, _),) = await stored(door.service)
    await post(door, {"of": "b"}, token="token-b")
    (own,) = (each for each, _ in await stored(door.service) if each != body)
    await change(door.service, "update message set body = ? where body = ?", body, own)
    assert (await door.ask("GET", f"{MESSAGES}?echo=true", token="token-b")).status == 503
    assert bodies(await door.ask("GET", f"{MESSAGES}?echo=true")) == [BODY]


async def test_a_key_moved_by_hand_to_another_project_does_not_open_there(door: Door) -> None:
    await encrypted(door)
    await post(door, BODY)
    await change(door.service, "update project_key set project_id = 'b'")
    assert (await door.ask("PUT", Q, {}, token="token-b")).status == 201
    await encrypted(door, "/v2/queues/mine", token="token-b")
    reply = await door.ask(
        "POST", "/v2/queues/mine/messages", {"messages": [{"body": 1}]}, token="token-b"
    )
    assert reply.status == 503


async def test_a_lost_master_key_is_told_and_loses_nothing(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_door(tmp_path, clock, master_keys=FIRST) as door:
        await encrypted(door)
        await post(door, BODY)
    for keys in (SECOND, ()):
        async with open_door(tmp_path, clock, master_keys=keys) as door:
            for method, path, body in (
                ("GET", f"{MESSAGES}?echo=true", None),
                ("POST", MESSAGES, {"messages": [{"body": 1}]}),
                ("POST", CLAIMS, {}),
                ("DELETE", f"{MESSAGES}?pop=1", None),
            ):
                reply = await door.ask(method, path, body)
                assert reply.status == 503, (method, path)
                assert "log" in reply.json()["description"]
            plain = "/v2/queues/plain/messages"
            await post(door, 1, path=plain)  # what is not encrypted goes on
            assert bodies(await door.ask("DELETE", f"{plain}?pop=1")) == [1]
    async with open_door(tmp_path, clock, master_keys=FIRST) as door:
        assert bodies(await door.ask("GET", f"{MESSAGES}?echo=true")) == [BODY]


async def test_another_master_key_seals_the_keys_again_and_what_was_sealed_opens(
    tmp_path: Path,
) -> None:
    clock = MovedClock()
    async with open_door(tmp_path, clock, master_keys=FIRST) as door:
        await encrypted(door)
        await encrypted(door, token="token-b")
        await post(door, BODY)
        await post(door, BODY, token="token-b")
    async with open_door(tmp_path, clock, master_keys=(*SECOND, *FIRST)) as door:
        seal, sealer = project_keys.seal_again, Sealer(lambda: (*SECOND, *FIRST), os.urandom)
        for number in (2, 0):
            sealed = 0
            for store in door.service.stores.every():
                sealed += await store.database.write(lambda tx: seal(tx, sealer))
            assert sealed == number
    async with open_door(tmp_path, clock, master_keys=SECOND) as door:
        for token in ("token-a", "token-b"):
            assert bodies(await door.ask("GET", f"{MESSAGES}?echo=true", token=token)) == [BODY]


async def test_a_new_generation_seals_what_is_posted_and_the_old_one_opens_what_it_sealed(
    door: Door,
) -> None:
    await encrypted(door)
    await post(door, {"n": 1})
    assert await door.service.app.rotate_keys("a") == ([("a", 2)], {})
    assert await door.service.app.rotate_keys("nobody") == ([], {})
    await post(door, {"n": 2})
    assert await door.service.app.rotate_keys("") == ([("a", 3)], {})
    await post(door, {"n": 3})
    assert [generation for _, generation in await stored(door.service)] == [1, 2, 3]
    found = bodies(await door.ask("GET", f"{MESSAGES}?echo=true"))
    assert [body["n"] for body in found] == [1, 2, 3]


async def test_a_key_that_has_sealed_for_a_week_is_followed_by_another(door: Door) -> None:
    await encrypted(door)
    for seconds in (0, WEEK_S - 1, 1):
        door.clock.move_s(seconds)
        await post(door, BODY)
    generations = [generation for _, generation in await stored(door.service)]
    assert generations == [1, 1, 2]


async def test_a_key_whose_making_was_undone_seals_nothing(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        keyring, made = Keyring(Sealer(lambda: FIRST, os.urandom)), random.Random(3).randbytes

        async def undone(tx: Any) -> None:
            await project_keys.current(tx, 0, keyring, "a", made)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await service.database.write(undone)
        first = keyring.known("a", 1)
        key = await service.database.write(
            lambda tx: project_keys.current(tx, 0, keyring, "a", made)
        )
        assert (key.generation, key.key is first) == (1, False)


def test_the_keys_at_hand_are_bounded() -> None:
    keyring = Keyring(Sealer(lambda: FIRST, os.urandom), most=2)
    for generation in (1, 2, 3):
        keyring.open("a", generation, keyring.seal("a", generation, bytes(32)))
    assert [keyring.known("a", one) is not None for one in (1, 2, 3)] == [False, True, True]


class Away:
    """Writes as a process does that may not: what leaves it is recorded, and done by another."""

    leaves = True
    problem = ""

    def __init__(self, owner: Writer) -> None:
        self._owner = owner
        self.sent: list[bytes] = []

    async def write(self, verb: Any) -> Any:
        self.sent.append(encode([verb]))
        (arrived,) = decode_verbs(self.sent[-1])
        answer = await self._owner.write(cast(Any, arrived))
        self.sent.append(encode(answer))
        return value_of(verb, msgspec.Raw(self.sent[-1]))


async def test_what_leaves_the_process_that_has_the_door_is_sealed(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as owner:
        away = Away(owner.writer)
        follower = build(
            CONFIG,
            reader_of(tmp_path, clock),
            clock=clock,
            random=random.Random(4).randbytes,
            writer=away,
            sealer=Sealer(lambda: MASTER_KEYS, os.urandom),
        )
        await follower.start()
        try:
            app, body = follower.app, msgspec.json.encode(BODY)
            await app.queues.create(CONTEXT, "q", {"_enable_encrypt_messages": True})
            new = [NewMessage(body), NewMessage(body)]
            await app.messages.post(CONTEXT, "q", ClientId(b"c" * 16), new, 100)
            claim = await app.claims.take(CONTEXT, "q", None, None, 1)
            assert claim is not None
            popped = await app.messages.pop(CONTEXT, "q", 1)
            assert [one.body for one in (*claim.messages, *popped)] == [body] * 2
            kept = Repeat("one", b"digest", 1000)
            await app.messages.post(CONTEXT, "q", ClientId(b"c" * 16), new, 100, kept)
        finally:
            await follower.stop()
    assert len(away.sent) >= 8
    assert all(WORD.encode() not in sent for sent in away.sent)


def reader_of(folder: Path, clock: MovedClock) -> Database:
    """What another process writes."""
    if on_postgres():
        return queue_database(folder, clock)
    return SqliteReader(folder / "queue.db", MIGRATIONS)
