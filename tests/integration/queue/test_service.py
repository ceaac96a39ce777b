"""The service: its feed's pointers, its sweep, its file, and what a restart finds."""

import asyncio
import random
from pathlib import Path

import pytest

from transom.errors import ConfigError, StorageUnavailable
from transom.node.feed import DurableFeed, decoded_key
from transom.node.lease import Lease
from transom.queue.contract import QUEUES, SOURCE
from transom.queue.model import Change, ClientId, MessageFilter, NewMessage
from transom.queue.service import QueueService, build
from transom.queue.store import sweep
from transom.runtime.db.transaction import Transaction

from support.db import queue_database
from support.queues import CONFIG, PROJECTS, MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT = PROJECTS["token-a"]
CLIENT = ClientId(b"c" * 16)


async def pointed(service: QueueService) -> list[tuple[str, ...]]:
    """The keys pointed to since the last call."""
    rows = await service.database.read(lambda tx: tx.fetch("select source, key from pointer"))
    await service.database.write(lambda tx: tx.execute("delete from pointer"))
    assert all(source == SOURCE for source, _ in rows)
    return [decoded_key(key) for _, key in rows]


async def test_each_change_of_a_queue_points_and_nothing_else_does(tmp_path: Path) -> None:
    poked = []
    service = build(
        CONFIG,
        queue_database(tmp_path),
        clock=MovedClock(),
        random=random.Random(1).randbytes,
        on_change=lambda: poked.append(1),
    )
    await service.start()
    app = service.app
    one = [("a", "q")]
    await app.queues.create(CONTEXT, "q", {})
    assert (await pointed(service), len(poked)) == (one, 1)
    await app.queues.create(CONTEXT, "q", {"x": 1})
    await app.messages.post(CONTEXT, "q", CLIENT, [NewMessage(b"1")], 1)
    await app.claims.take(CONTEXT, "q", None, None, None)
    await app.messages.pop(CONTEXT, "q", 1)
    await app.queues.purge(CONTEXT, "q", messages_too=True)
    await app.queues.show(CONTEXT, "none")
    assert (await pointed(service), len(poked)) == ([], 1)
    await app.queues.update(CONTEXT, "q", [Change("add", "/metadata/x", 1, True)])
    assert (await pointed(service), len(poked)) == (one, 2)
    await app.queues.delete(CONTEXT, "q")
    assert (await pointed(service), len(poked)) == (one, 3)
    await app.queues.delete(CONTEXT, "q")
    assert (await pointed(service), len(poked)) == ([], 3)
    await app.messages.post(CONTEXT, "lazy", CLIENT, [NewMessage(b"1")], 1)
    assert (await pointed(service), len(poked)) == ([("a", "lazy")], 4)
    await service.stop()


async def test_rows_fit_the_contract_and_are_gone_with_their_queue(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        await service.app.queues.create(CONTEXT, "q", {"x": [1, None]})

        async def read(name: str) -> object:
            return await service.database.read(
                lambda tx: service.read_row(tx, QUEUES.name, ("a", name))
            )

        row = await read("q")
        QUEUES.check(row)  # type: ignore[arg-type]
        assert row == {
            "project_id": "a",
            "name": "q",
            "metadata": {"x": [1, None]},
            "created": 1_700_000_000_000,
        }
        assert await read("none") is None
        with pytest.raises(LookupError):
            await service.database.read(lambda tx: service.read_row(tx, "other", ("a", "q")))


async def test_the_durable_feed_publishes_queues_as_they_come_and_go(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock) as service:
        feed = DurableFeed(service.database, SOURCE, [QUEUES.name], service.read_row, clock=clock)
        lease = Lease(feed.lease_name, "test", 1000)
        generation = await service.database.write(lambda tx: lease.acquire(tx, clock.now_ms()))
        assert generation is not None
        await service.app.queues.create(CONTEXT, "q", {"x": 1})
        made = await feed.publish_once(generation)
        assert made is not None
        assert [(change.key, change.row["metadata"]) for change in made.changes if change.row] == [
            (("a", "q"), {"x": 1})
        ]
        await service.app.queues.delete(CONTEXT, "q")
        gone = await feed.publish_once(generation)
        assert gone is not None
        assert [(change.key, change.row) for change in gone.changes] == [(("a", "q"), None)]


async def test_a_restart_finds_what_was_acknowledged(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock, 1) as service:
        new = [NewMessage(b"%d" % number) for number in range(5)]
        ids = (await service.app.messages.post(CONTEXT, "q", CLIENT, new, 9)).ids
        claim = await service.app.claims.take(CONTEXT, "q", 60, 60, 2)
    assert claim is not None
    async with open_service(tmp_path, clock, 2) as service:
        wanted = MessageFilter(include_claimed=True)
        listed = await service.app.messages.page(CONTEXT, "q", wanted, None, 10)
        assert tuple(message.id for message in listed) == ids
        assert [message.claim_id for message in listed[:3]] == [claim.id, claim.id, None]
        more = (await service.app.messages.post(CONTEXT, "q", CLIENT, new, 9)).ids
        assert more[0].sequence == ids[-1].sequence + 1


async def test_a_second_process_on_the_file_is_refused_and_on_a_server_welcome(
    tmp_path: Path, engine: str
) -> None:
    async with open_service(tmp_path, MovedClock()) as one:
        if engine == "sqlite":
            with pytest.raises(ConfigError):
                async with open_service(tmp_path, MovedClock()):
                    pass
            return
        async with open_service(tmp_path, MovedClock()) as two:
            new = [NewMessage(b"1")]
            await asyncio.gather(
                *(at.app.messages.post(CONTEXT, "q", CLIENT, new, 1) for at in (one, two) * 20)
            )
            everything = MessageFilter(include_claimed=True)
            seen = await two.app.messages.page(CONTEXT, "q", everything, None, 20)
            assert [message.id.sequence for message in seen] == list(range(1, 21))


async def test_the_sweep_runs_by_itself_and_frees_in_small_steps(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_service(tmp_path, clock, sweep_interval_s=0.05, sweep_batch=10) as service:
        new = [NewMessage(b"1", 60)] * 95
        await service.app.messages.post(CONTEXT, "q", CLIENT, new, 9)
        await service.app.claims.take(CONTEXT, "q", 100, 60, 20)
        clock.move_s(60)
        left = None
        async with asyncio.timeout(20):
            while left != 20:
                rows = await service.database.read(
                    lambda tx: tx.fetch("select count(*) from message")
                )
                left = rows[0][0]
                await asyncio.sleep(0.01)
        stats = await service.app.queues.stats(CONTEXT, "q")
        assert (stats.total, stats.claimed) == (20, 20)
        total = await service.database.read(lambda tx: tx.fetch_one("select total from queue"))
        assert total == (20,)


async def test_a_sweep_that_fails_and_fails_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []

    async def fail(tx: Transaction, now_ms: int, batch: int) -> bool:
        tried.append(1)
        raise StorageUnavailable

    monkeypatch.setattr(sweep, "step", fail)
    async with open_service(tmp_path, MovedClock(), sweep_interval_s=0.01):
        async with asyncio.timeout(20):
            while len(tried) < 3:
                await asyncio.sleep(0.01)
    assert [record.message for record in caplog.records] == ["sweep fails"]


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()) as service:
        await service.stop()
        await service.stop()
