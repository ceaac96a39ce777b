"""Consumers of live tables over `memory://`, in virtual time: their rows, their states."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from transom.messaging.heartbeats import _RUNNING
from transom.messaging.proto.feed import ChangeSet, Key, Live, Row
from transom.messaging.tables import TableReplica
from transom.messaging.transport import Transport, connect

from virtual import VirtualClock, seeded_randomness

Rows = dict[tuple[str, Key], Row]


@asynccontextmanager
async def bus(seed: int) -> AsyncIterator[tuple[Transport, Transport]]:
    """Two processes' transports on one bus."""
    clock = VirtualClock()
    async with (
        connect("memory://bus/owner", clock=clock, random=seeded_randomness(seed)) as owner,
        connect("memory://bus/reader", clock=clock, random=seeded_randomness(seed + 1)) as reader,
    ):
        yield owner, reader
    assert _RUNNING == {}


class Consumer:
    """Rows, as a replica's change sets make them."""

    def __init__(self, replica: TableReplica) -> None:
        self.replica = replica
        self.rows: Rows = {}
        self.states: list[type[object]] = []
        self.sets: list[ChangeSet] = []
        self.moved = asyncio.Event()

    async def run(self) -> None:
        async for item in self.replica:
            if isinstance(item, ChangeSet):
                self.sets.append(item)
                for change in item.changes:
                    if change.row is None:
                        del self.rows[(change.table, change.key)]
                    else:
                        self.rows[(change.table, change.key)] = change.row
            else:
                self.states.append(type(item))
            self.moved.set()

    async def until(self, rows: Rows, *, within_s: float = 30.0) -> None:
        async with asyncio.timeout(within_s):
            while self.rows != rows or not isinstance(self.replica.state, Live):
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def consuming(replica: TableReplica) -> AsyncIterator[Consumer]:
    async with replica, asyncio.TaskGroup() as group:
        consumer = Consumer(replica)
        group.create_task(consumer.run(), name="consumer")
        yield consumer
        await replica.stop()


def rows(**values: int) -> dict[Key, Row]:
    return {(name,): {"name": name, "value": value} for name, value in values.items()}


def of(table: str, held: dict[Key, Row]) -> Rows:
    return {(table, key): row for key, row in held.items()}
