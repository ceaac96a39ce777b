"""Events in a file, publishers and listeners that are killed between any two steps, a bad bus.

Claims, each checked in every run:
1. A number is given once, to one event, in the order in which events were appended here.
2. No pool is given an event for the first time twice: what comes again says so.
3. In the end each pool was given every event, or was told how many it lost; nothing is out.
"""

import asyncio
from pathlib import Path
from typing import Any

from transom.errors import TransomError
from transom.messaging.events import (
    Event,
    EventListener,
    EventPublisher,
    Lost,
    poke_events,
)
from transom.node.events import EventLog, append
from transom.node.events.migrations import EVENTS
from transom.node.migrations import NODE
from transom.node.publisher import DurablePublisher
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Transaction

from support.db import opened
from support.mortal import Mortal, MortalWorld
from virtual import VirtualClock

TTL_S = 5.0
CLAIM_S = 8.0
APPENDED = 120
CALM_S = 60.0
POOLS = ("audit", "search")
LISTENERS = 3


class Life(Mortal):
    """One life of the process that keeps the events."""

    def __init__(self, world: "World", number: int, holder: str) -> None:
        super().__init__(world, world.transport(f"owner{number}"))
        log = world.log_on(self)
        shell = EventPublisher(self.transport, "test", log, on_poke=lambda: publisher.poke())
        self.publisher = publisher = DurablePublisher(
            log, shell, holder=holder, clock=world.clock, ttl_s=TTL_S, jitter=world.random.random
        )

    async def start(self) -> None:
        await self.transport.start()
        await self.publisher.start()

    async def stop(self) -> None:
        await self.publisher.stop()
        await self.transport.stop()


class Reader(Mortal):
    """One life of a listener: takes an event, works a while, acknowledges it, or does not."""

    def __init__(self, world: "World", number: int, pool: str) -> None:
        super().__init__(world, world.transport(f"reader{number}"))
        self.world = world
        self.pool = pool
        prefetch = world.random.choice([1, 4, 32])
        self.listener = EventListener(
            self.transport, "test", pool, begin="oldest", prefetch=prefetch
        )

    async def run(self) -> None:
        draw = self.world.random
        async for item in self.listener:
            if self.dead.is_set():
                await asyncio.Event().wait()
            self.world.given(self.pool, item)
            if self.world.killing and draw.random() < 0.3:
                await asyncio.sleep(draw.uniform(0, 3))
            if draw.random() < 0.02 and self.world.killing:
                self.dead.set()
                await asyncio.Event().wait()
            try:
                await self.listener.acknowledge(item)
            except TransomError:
                continue


class World(MortalWorld):
    """One run. `keep_events`: so many that none is lost, or few."""

    deadly = 0.01

    def __init__(self, seed: int, database: SqliteDatabase) -> None:
        super().__init__(seed, database)
        self.keep_events = self.random.choice([10_000, 10_000, 15])
        self.appended: list[int] = []
        self.seen: dict[str, dict[int, int]] = {pool: {} for pool in POOLS}
        self.first: dict[str, set[int]] = {pool: set() for pool in POOLS}
        self.lost: dict[str, dict[int, int]] = {pool: {} for pool in POOLS}

    def log_on(self, database: Any) -> EventLog:
        return EventLog(
            database, "test", clock=self.clock, keep_events=self.keep_events, claim_s=CLAIM_S
        )

    def given(self, pool: str, item: Event | Lost) -> None:
        if isinstance(item, Lost):
            self.lost[pool][item.n] = item.count
            return
        assert item.payload == item.n, "numbers are given in the order of appending"
        self.seen[pool][item.n] = self.seen[pool].get(item.n, 0) + 1
        if not item.redelivered:
            assert item.n not in self.first[pool], "given twice as if for the first time"
            self.first[pool].add(item.n)

    def owner(self, place: int) -> Any:
        return lambda number: Life(self, number, self.holder(place))

    def reader(self, pool: str) -> Any:
        return lambda number: Reading(Reader(self, number, pool))

    def reader_number(self) -> int:
        return max(1, self._lives - 1)

    async def append(self, count: int) -> None:
        """Those who have something to tell, some of them with a poke, some undone."""
        async with self.transport("writer") as ours:
            for _ in range(count):
                number = len(self.appended) + 1

                async def verb(transaction: Transaction, number: int = number) -> None:
                    await append(transaction, "test", self.clock.now_ms(), "made", number)

                await self.database.write(verb)
                self.appended.append(number)
                if self.random.random() < 0.5:
                    poke_events(ours, "test")
                if self.random.random() < 0.7:
                    await asyncio.sleep(self.random.expovariate(2))

    async def check(self) -> None:
        for pool in POOLS:
            unseen = set(self.appended) - self.seen[pool].keys()
            told = sum(self.lost[pool].values())
            assert len(unseen) <= told, f"{pool} was neither given nor told of {sorted(unseen)}"
            if self.keep_events > APPENDED:
                assert told == 0, f"{pool} was told of {told} lost, none was"
        for state in await self.log_on(self.database).pools():
            assert (state["waiting"], state["out"]) == (0, 0), f"something is left: {state}"


class Reading:
    """A reader and the task in which it lives."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.dead = reader.dead
        self.transport = reader.transport

    async def start(self) -> None:
        await self.transport.start()
        self._task = asyncio.ensure_future(self.reader.run())

    async def stop(self) -> None:
        await self.reader.listener.stop()
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        await self.transport.stop()
        if isinstance(ended, AssertionError):
            raise ended


async def episode(folder: Path, seed: int) -> World:
    """One run. Raises: AssertionError, perhaps in a group."""
    async with opened(folder, NODE, EVENTS, clock=VirtualClock(), inline_writer=True) as database:
        world = World(seed, database)
        over = asyncio.Event()
        for pool in POOLS:  # what is dropped before a pool is registered is none of its own
            assert await world.log_on(database).take(pool, "first", 1) == []
        async with asyncio.TaskGroup() as group:
            for place in range(2):
                group.create_task(world.live(world.owner(place), over, 1))
            for number in range(LISTENERS):
                pool = POOLS[number % len(POOLS)]
                group.create_task(world.live(world.reader(pool), over, 3))
            async with world.disturbed():
                await world.append(APPENDED)
            await asyncio.sleep(CALM_S)
            await world.check()
            over.set()
    return world
