"""A database of 0.3.0 with all that it can hold is brought to this version as it was."""

import random
import shutil
from pathlib import Path

import pytest

from transom.node.migrations import NODE
from transom.queue import service as queue_service
from transom.queue.model import ClaimId, MessageFilter, MessageId, NewMessage, Reason, claim_text
from transom.queue.service import build
from transom.runtime.db.migrate import Migrations, upgrade
from transom.runtime.db.postgres.schema import upgrade as upgrade_postgres
from transom.runtime.db.transaction import Transaction
from transom.runtime.secrets import Secret

from support.db import _made as database_of
from support.db import queue_database
from support.postgres import on_postgres, schema_of
from support.queues import CONFIG, PROJECTS, MovedClock

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT = PROJECTS["token-a"]
CLIENT = b"c" * 16
LIVE, ENDED = ClaimId(b"l" * 16), ClaimId(b"e" * 16)
EVERYTHING = MessageFilter(include_claimed=True, include_delayed=True)
# Statements of 0.3.0.
NEW_QUEUE = """
insert into queue (project_id, name, content_id, metadata, created_ms, next_sequence, total)
values ('a', ?, ?, ?, ?, 100, ?)
on conflict (project_id, name) do nothing
"""
NEW_MESSAGE = """
insert into message (content_id, sequence, token, created_ms, expires_ms, ttl_s,
  available_ms, claim_id, deliveries, client_id, source_id, body)
values (?, ?, 7, ?, ?, 3600, ?, ?, ?, ?, ?, ?)
"""
NEW_CLAIM = """
insert into claim (content_id, claim_id, renewed_ms, expires_ms, ttl_s) values (?, ?, ?, ?, 60)
"""
NEXT_CONTENT = "update counter set value = ? where name = 'content'"


def old_rooms(folder: Path) -> tuple[Migrations, ...]:
    (room, *_) = queue_service.MIGRATIONS
    (folder / "old").mkdir()
    shutil.copy(room.folder / "0001_before_queue.sql", folder / "old")
    return (Migrations("queue", folder / "old"), NODE)


async def fill(tx: Transaction, now_ms: int, queue: str, first_content: int) -> None:
    """A queue with a message in each state, and one with its dead letters."""
    work, dead = first_content, first_content + 1
    letters = '{"_dead_letter_queue":"dead","_max_claim_count":3,"colour":"red"}'
    await tx.execute(NEXT_CONTENT, (dead,))
    await tx.execute(NEW_QUEUE, (queue, work, letters, now_ms, 5))
    await tx.execute(NEW_QUEUE, (f"{queue}-dead", dead, "{}", now_ms, 1))
    states: list[tuple[int | None, bytes | None, int]] = [
        (None, None, 0),
        (now_ms + 20_000, None, 0),
        (now_ms + 60_000, LIVE, 2),
        (now_ms - 1000, ENDED, 1),
        (now_ms + 60_000, LIVE, 1),
    ]
    end_ms = now_ms + 3_600_000
    for at, (available_ms, claim_id, deliveries) in enumerate(states, 1):
        state = (available_ms, claim_id, deliveries, CLIENT, None, b"%d" % at)
        await tx.execute(NEW_MESSAGE, (work, at, now_ms, end_ms, *state))
    source = str(MessageId(50, 9))
    letter = (None, None, 0, CLIENT, source, b'"dead"')
    await tx.execute(NEW_MESSAGE, (dead, 1, now_ms, end_ms, *letter))
    await tx.execute(NEW_CLAIM, (work, LIVE, now_ms, now_ms + 60_000))
    await tx.execute(NEW_CLAIM, (work, ENDED, now_ms - 61_000, now_ms - 1000))


async def brought_up(folder: Path, clock: MovedClock) -> list[str]:
    server = on_postgres()
    place, rooms = folder / "queue.db", queue_service.MIGRATIONS
    if server is None:
        return upgrade(place, rooms, clock=clock)
    return await upgrade_postgres(Secret(server.url), schema_of(place), rooms, clock=clock)


async def test_old_data_are_kept_and_old_programs_go_on(tmp_path: Path) -> None:
    clock = MovedClock()
    old = database_of(tmp_path / "queue.db", old_rooms(tmp_path), clock)
    await old.start()
    await old.write(lambda tx: fill(tx, clock.now_ms(), "before", 10))
    await old.stop()
    assert "queue/0002_before_messages" in await brought_up(tmp_path, clock)
    assert await brought_up(tmp_path, clock) == []
    database = queue_database(tmp_path, clock)
    service = build(CONFIG, database, clock=clock, random=random.Random(1).randbytes)
    await service.start()
    try:
        await database.write(lambda tx: fill(tx, clock.now_ms(), "after", 20))
        for name in ("before", "after"):
            await look(service, name)
        clock.move_s(20)
        for name in ("before", "after"):
            await work(service, name)
    finally:
        await service.stop()


async def look(service: queue_service.QueueService, name: str) -> None:
    app = service.app
    assert (await app.queues.show(CONTEXT, name))["colour"] == "red"
    listed = await app.messages.page(CONTEXT, name, EVERYTHING, None, 10)
    assert [(m.body, m.deliveries, m.claim_id) for m in listed] == [
        (b"1", 0, None), (b"2", 0, None), (b"3", 2, LIVE), (b"4", 1, None), (b"5", 1, LIVE),
    ]  # fmt: skip
    assert all(m.key is None and m.deaths == () for m in listed)
    stats = await app.queues.stats(CONTEXT, name)
    assert (stats.total, stats.claimed) == (5, 2)
    claim = await app.claims.get(CONTEXT, name, claim_text(LIVE))
    assert [m.body for m in claim.messages] == [b"3", b"5"]
    (letter,) = await app.messages.page(CONTEXT, f"{name}-dead", EVERYTHING, None, 10)
    (death,) = letter.deaths
    assert (death.queue, death.id, death.claim_count) == ("", str(MessageId(50, 9)), None)
    assert death.reason is Reason.CLAIMED_TOO_OFTEN


async def work(service: queue_service.QueueService, name: str) -> None:
    app, live = service.app, claim_text(LIVE)
    listed = await app.messages.page(CONTEXT, name, EVERYTHING, None, 10)
    await app.messages.delete(CONTEXT, name, str(listed[4].id), [LIVE])
    touched, lost = await app.claims.touch(
        CONTEXT, name, live, [str(listed[2].id), str(listed[3].id)], 100, 60
    )
    assert ([one.fence for one in touched.messages], lost) == ([2], [str(listed[3].id)])
    taken = await app.claims.take(CONTEXT, name, 60, 60, 10)
    assert taken is not None
    assert [m.body for m in taken.messages] == [b"1", b"2", b"4"]
    new = [NewMessage(b"new", key="k")]
    first = await app.messages.post(CONTEXT, name, CLIENT, new, 9)
    await app.queues.purge(CONTEXT, name, messages_too=True)
    again = await app.messages.post(CONTEXT, name, CLIENT, new, 9)
    assert (again.ids, again.duplicates) == (first.ids, (0,))
    dead = f"{name}-dead"
    done = await app.letters.redrive(CONTEXT, dead, None, None, None)
    assert (done.moved, done.left) == (0, 1)  # nobody knows where it came from
    done = await app.letters.redrive(CONTEXT, dead, None, None, name)
    assert (done.moved, done.left) == (1, 0)
