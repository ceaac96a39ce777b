"""A bad bus, and lives of processes on it, each killed between any two of its steps.

A killed one does nothing any more: its database never answers, what it sends is lost. What it left
(its lease, its rows, an unsent message) stays.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar

from transom.messaging.drivers.base import Address, Sent
from transom.messaging.drivers.memory import Faults, MemoryBus
from transom.messaging.transport import Transport, connect
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Verb

from virtual import VirtualClock, seeded_randomness

T = TypeVar("T")


class Living(Protocol):
    """What is started, ends by itself or is stopped."""

    dead: asyncio.Event
    transport: Transport

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """What a drain does; of a dead one it only tidies this process."""


class MortalWorld:
    """One run. `deadly`: the chance of death at each step.

    Messages get lost, come late, come twice, and two are cut off from each other.
    """

    deadly: float

    def __init__(self, seed: int, database: SqliteDatabase) -> None:
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.database = database
        self.killing = True
        self.deaths = 0
        self._seed = seed
        self._lives = 0

    def transport(self, peer: str) -> Transport:
        random = seeded_randomness(f"{self._seed}{peer}")  # type: ignore[arg-type]
        return connect(f"memory://world/{peer}", clock=self.clock, random=random)

    async def write(self, verb: Verb[T]) -> T:
        return await self.database.write(verb)

    async def read(self, verb: Verb[T]) -> T:
        return await self.database.read(verb)

    def reader_number(self) -> int:
        """Of one that is to be cut off."""
        raise NotImplementedError

    def holder(self, place: int) -> str:
        """Who lives there next: the same as before, or another."""
        return f"place{place}" if self.random.random() < 0.5 else f"life{self._lives}"

    async def live(self, make: Callable[[int], Living], over: asyncio.Event, rest_s: float) -> None:
        """One place in which one life follows another."""
        tidying: list[asyncio.Task[None]] = []
        while not over.is_set():
            self._lives += 1
            life = make(self._lives)
            await life.start()
            ends = [asyncio.ensure_future(event.wait()) for event in (life.dead, over)]
            drain_s = self.random.uniform(5, 60)
            await asyncio.wait(ends, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if life.dead.is_set():
                self.deaths += 1
                await life.transport.driver.stop()
                tidying.append(asyncio.ensure_future(life.stop()))
            else:
                await life.stop()
            if not over.is_set():
                await asyncio.sleep(self.random.uniform(0, rest_s))
        await asyncio.gather(*tidying)

    @asynccontextmanager
    async def disturbed(self) -> AsyncIterator[None]:
        """The bus has another mood each few seconds; from then on it is well, and nobody dies."""
        disturbing = asyncio.ensure_future(self._disturb())
        yield
        disturbing.cancel()
        self.killing = False
        MemoryBus.named("world").heal()
        MemoryBus.named("world").faults = None

    async def _disturb(self) -> None:
        draw, bus = self.random.random, MemoryBus.named("world")
        while True:
            bus.heal()
            bus.faults = Faults(
                self.random,
                drop=draw() * 0.3,
                duplicate=draw() * 0.3,
                delay_s=draw(),
                reorder=draw(),
            )
            if draw() < 0.3:
                bus.cut(f"owner{self._lives}", f"reader{self.reader_number()}")
            await asyncio.sleep(self.random.uniform(1, 8))


class Mortal:
    """Stands where a `Database` is expected; the transport's messages go through here."""

    def __init__(self, world: MortalWorld, transport: Transport) -> None:
        self.dead = asyncio.Event()
        self.transport = transport
        self._world = world
        self._send = transport.driver.send
        transport.driver.send = self.send  # type: ignore[method-assign]

    async def write(self, verb: Verb[Any]) -> Any:
        return await self._step(partial(self._world.write, verb))

    async def read(self, verb: Verb[Any]) -> Any:
        return await self._step(partial(self._world.read, verb))

    def send(
        self,
        address: Address,
        body: bytes,
        sent: Sent,
        *,
        deadline_s: float,
        mandatory: bool = False,
    ) -> None:
        self._maybe_die()
        if not self.dead.is_set():
            self._send(address, body, sent, deadline_s=deadline_s, mandatory=mandatory)

    async def _step(self, step: Callable[[], Awaitable[Any]]) -> Any:
        for before in (True, False):
            self._maybe_die()
            if self.dead.is_set():
                await asyncio.Event().wait()
            if before:
                found = await step()
        return found

    def _maybe_die(self) -> None:
        if self._world.killing and self._world.random.random() < self._world.deadly:
            self.dead.set()
