"""Processes that keep events and that listen to them, to be killed and paused; spoken to by lines.

    python -m support.event_process keep BUS SOURCE SEED FOLDER POSTGRES KEEP_EVENTS
    python -m support.event_process listen BUS SOURCE SEED POOL

One that keeps events appends them from a line `go` to a line `freeze`, in transactions of which
some are undone, and says `committed PAYLOAD` once it knows; on `tell N` it appends N in one
transaction. It answers a line by the same, among the others. One that listens says `given N PAYLOAD
again|first` or `lost N COUNT`, then works a while, says `doing N`, acknowledges and says `done N`;
but from a line `hold` on, which it answers, it acknowledges nothing.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from transom import messaging
from transom.errors import TransomError
from transom.messaging.events import EventListener, EventPublisher, Lost, poke_events
from transom.node.events import EventLog, append
from transom.node.events.migrations import EVENTS
from transom.node.migrations import NODE
from transom.node.publisher import DurablePublisher
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction

from support.postgres import Server

CLAIM_S = 1.5
TTL_S = 1.5
CLOCK = SystemClock()


def say(*words: object) -> None:
    """In one write: whoever is killed has said a whole line, or nothing."""
    os.write(sys.stdout.fileno(), f"{' '.join(map(str, words))}\n".encode())


def database_at(folder: Path, postgres: str) -> Database:
    path = folder / "events.db"
    if postgres:
        return Server(postgres).database(path, (NODE, EVENTS), clock=CLOCK)
    return SqliteDatabase(path, (NODE, EVENTS), clock=CLOCK)


class Teller:
    """Appends events whose payloads are unlike any other's."""

    def __init__(self, database: Database, source: str, draws: random.Random) -> None:
        self._database = database
        self._source = source
        self._draws = draws
        self._count = 0

    async def tell(self, count: int, *, undo: bool = False) -> None:
        payloads = []
        for _ in range(count):
            self._count += 1
            payloads.append(f"{'undone' if undo else 'made'}-{os.getpid()}-{self._count}")

        async def verb(transaction: Transaction) -> None:
            for payload in payloads:
                await append(transaction, self._source, CLOCK.now_ms(), "made", payload)
            if undo:
                raise ZeroDivisionError

        try:
            await self._database.write(verb)
        except ZeroDivisionError:
            return
        for payload in payloads:
            say("committed", payload)

    async def keep_telling(self, transport: messaging.Transport) -> None:
        while True:
            await self.tell(self._draws.randint(1, 12), undo=self._draws.random() < 0.2)
            if self._draws.random() < 0.7:
                poke_events(transport, self._source)
            await asyncio.sleep(self._draws.uniform(0.02, 0.2))


async def keep(
    transport: messaging.Transport, source: str, seed: str, folder: str, postgres: str, most: str
) -> None:
    draws = random.Random(seed)
    database = database_at(Path(folder), postgres)
    await database.start()
    log = EventLog(database, source, clock=CLOCK, keep_events=int(most), claim_s=CLAIM_S)
    shell = EventPublisher(transport, source, log, on_poke=lambda: publisher.poke())
    holder = "place" if draws.random() < 0.5 else f"life{os.getpid()}"
    publisher = DurablePublisher(log, shell, holder=holder, clock=CLOCK, ttl_s=TTL_S)
    await publisher.start()
    teller = Teller(database, source, draws)
    telling: asyncio.Task[None] | None = None
    say("ready")
    async for line in lines():
        verb, *count = line.split()
        if verb == "go":
            telling = asyncio.ensure_future(teller.keep_telling(transport))
        elif verb == "tell":
            await teller.tell(int(count[0]))
        elif telling is not None:
            telling.cancel()
            await asyncio.wait([telling])
        say(line)


async def listen(transport: messaging.Transport, source: str, seed: str, pool: str) -> None:
    draws = random.Random(seed)
    holding = asyncio.Event()
    listener = EventListener(
        transport, source, pool, begin="oldest", prefetch=draws.choice([1, 8, 32])
    )
    await listener.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(work(listener, draws, holding))
        say("ready")
        async for line in lines():
            holding.set()
            say(line)


async def work(listener: EventListener, draws: random.Random, holding: asyncio.Event) -> None:
    async for item in listener:
        if isinstance(item, Lost):
            say("lost", item.n, item.count)
        else:
            say("given", item.n, item.payload, "again" if item.redelivered else "first")
        await asyncio.sleep(draws.choice([0, 0.01, 0.03]))
        if holding.is_set():
            continue
        say("doing", item.n)
        try:
            await listener.acknowledge(item)
        except TransomError:
            continue
        say("done", item.n)


async def lines() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), sys.stdin)
    async for line in reader:
        yield line.decode().strip()


async def main(verb: str, bus: str, *words: str) -> None:
    async with messaging.connect(bus) as transport:
        await {"keep": keep, "listen": listen}[verb](transport, *words)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
