"""Two processes' worth of owners that write through each other: nobody waits for ever."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from transom.errors import OutcomeUnknown
from transom.messaging import connect
from transom.messaging.drivers.zmq import RegistryServer
from transom.queue.bus.neighbours import Neighbours
from transom.queue.bus.writer import WRITE_S
from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, NewMessage, Place
from transom.queue.store.placing import Ticket
from transom.queue.store.stores import Store
from transom.queue.store.verbs.messages import Post
from transom.queue.store.verbs.placing import Join
from transom.queue.store.verbs.travelling import Here
from transom.queue.store.verbs.verb import Tools
from transom.runtime.clock import SystemClock
from transom.runtime.db.transaction import Transaction

PAIR = ("first", "second")
SHARDS = ("shard-1", "shard-2")
CALLERS = 40
ROUNDS = 12
BODIES = (20, 20, 2_000, 60_000, 250_000)


@pytest.fixture
async def crossing(tmp_path: Path) -> AsyncIterator[list[dict[str, Store]]]:
    """The stores as each of two sees them, by name; each owns one."""
    folder = tmp_path / "d"
    folder.mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        registry = RegistryServer(folder, clock=SystemClock())
        await registry.start()
        stack.push_async_callback(registry.stop)
        seen: list[dict[str, Store]] = []
        for own, name in enumerate(PAIR):
            transport = await stack.enter_async_context(connect(f"zmq://{folder}"))
            neighbours = Neighbours(
                folder, SystemClock(), worker=own, workers=2, transport=transport, server=name
            )
            neighbours.equip(lambda: Tools(QueueConfig(), SystemClock(), os.urandom))
            stores = {}
            for shard in neighbours.shards(3):
                await shard.start()
                stack.push_async_callback(shard.stop)
                stores[shard.store.name] = shard.store
                if shard.store.owned:
                    await shard.store.writer.write(Join(Place("", ""), shard.store.name, ""))
            seen.append(stores)
        yield seen


def posting(store: str, number: int, size: int) -> Here:
    place = Place("p", f"q{number % 7}-{store}")
    message = NewMessage(b'"%b"' % (b"x" * size), 600)
    return Here(Ticket(store, 1, 1), Post(place, ClientId(b"c" * 16), size, (message,)))


async def kept(store: Store) -> int:
    row = await store.database.read(lambda tx: tx.fetch_one("select count(*) from message"))
    assert row is not None
    return int(row[0])


async def test_owners_that_flood_each_other_answer_all_and_keep_all(
    crossing: list[dict[str, Store]],
) -> None:
    dice = random.Random(3)
    answered = dict.fromkeys(SHARDS, 0)

    async def call(stores: dict[str, Store], caller: int) -> None:
        for number in range(ROUNDS):
            name = SHARDS[(caller + number) % 2]
            verb = posting(name, caller + number, dice.choice(BODIES))
            await stores[name].writer.write(verb)
            answered[name] += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(call(crossing[it % 2], it) for it in range(CALLERS)))
    assert sum(answered.values()) == CALLERS * ROUNDS
    for name in SHARDS:
        assert await kept(crossing[0][name]) == answered[name]


async def test_while_one_disk_stands_still_its_writers_are_told_and_the_other_goes_on(
    crossing: list[dict[str, Store]],
) -> None:
    """Each write ends by the deadline of a write, and the owner that is well is not kept up."""
    still = crossing[1]["shard-1"]
    assert still.owned
    verb = posting("shard-1", 1, 10)
    await still.writer.write(verb)
    holding = await held(still)
    began_s = asyncio.get_running_loop().time()
    stuck = [
        asyncio.create_task(crossing[0]["shard-1"].writer.write(verb)) for _ in range(3 * CALLERS)
    ]
    for _ in range(CALLERS):
        for stores in crossing:
            await stores["shard-2"].writer.write(posting("shard-2", 1, 10))
    assert asyncio.get_running_loop().time() - began_s < WRITE_S
    told = await asyncio.gather(*stuck, return_exceptions=True)
    assert {type(one) for one in told} == {OutcomeUnknown}
    holding.set()
    await crossing[0]["shard-1"].writer.write(verb)
    assert await kept(crossing[0]["shard-1"]) >= 2


async def held(store: Store) -> threading.Event:
    """The store's disk does not answer until the event is set."""
    freed, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def stand_still(tx: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        freed.wait(30)

    task = asyncio.create_task(store.database.write(stand_still))
    await begun.wait()
    assert not task.done()
    return freed
