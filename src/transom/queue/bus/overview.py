# SPDX-License-Identifier: Apache-2.0
"""The live table `queue:stats`, and the figures of all queues: one process looks, at its pace.

The table is derived from what the databases hold, and is old after a few seconds, so it is kept in
memory and not in the durable feed: a commit for each change of a counter would cost more than it
tells. Whoever gains the lease begins a new epoch, and replicas load it anew.

Invariants:
1. One process publishes, under a lease of the home database.
2. Only rows that changed are sent. Looking takes at most a fifth of the time: who has very many
   queues is told of them less often.
3. Queues of a database that is away keep the rows that they had.
"""

import asyncio
import logging

from transom.errors import TransomError
from transom.messaging.proto.feed import Key, Row
from transom.messaging.tables import MemoryFeed, TablePublisher
from transom.messaging.transport import Transport
from transom.node.lease import Lease, Leased
from transom.queue.app.figures import QueueFigures
from transom.queue.contract import STATS
from transom.queue.model import Place
from transom.queue.store.overview import Seen, page
from transom.queue.store.stores import Stores
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database

log = logging.getLogger(__name__)

SOURCE = "queue.stats"
LEASE_MS = 10_000
QUEUES_AT_ONCE = 50
SHARE = 4
"""Resting takes at least so many times as long as looking."""


class Overview:
    """A `Service`. `holder`: see `Lease`."""

    def __init__(
        self,
        transport: Transport,
        stores: Stores,
        figures: QueueFigures,
        clock: Clock,
        *,
        holder: str,
        name: str,
        interval_s: float,
    ) -> None:
        self._transport = transport
        self._stores = stores
        self._figures = figures
        self._clock = clock
        self._name = name
        self._interval_s = interval_s
        self._seen: dict[str, list[Seen]] = {}
        self._task: asyncio.Task[None] | None = None
        self._leased = Leased(
            stores.home.database,
            Lease(f"feed:{SOURCE}", holder, LEASE_MS),
            clock=clock,
            on_gain=self._begin,
            on_loss=self._end,
        )

    async def start(self) -> None:
        await self._leased.start()

    async def stop(self) -> None:
        await self._leased.stop()

    async def look(self) -> dict[Key, Row]:
        """All rows as they are now; what the figures say, too."""
        now_ms = self._clock.now_ms()
        for store in self._stores.every():
            try:
                found = await self._all_of(store.database)
            except TransomError as error:
                log.info("queues not seen", extra={"store": store.name, "detail": error.text})
                continue
            before = {one.place: one.expired for one in self._seen.get(store.name, ())}
            if store.name in self._seen:
                gone = sum(
                    max(0, one.expired - before.get(one.place, one.expired)) for one in found
                )
                self._figures.expired(gone)
            self._seen[store.name] = found
        known = {store.name for store in self._stores.every()} | set(self._stores.away())
        self._seen = {name: seen for name, seen in self._seen.items() if name in known}
        every = [one for seen in self._seen.values() for one in seen]
        self._figures.saw(every, now_ms)
        return {(one.place.project_id, one.place.name): row_of(one) for one in every}

    async def _all_of(self, database: Database) -> list[Seen]:
        found: list[Seen] = []
        while True:
            after = found[-1].place if found else Place("", "")
            some = await database.read(
                lambda tx, after=after: page(  # type: ignore[misc]
                    tx, self._clock.now_ms(), after, QUEUES_AT_ONCE
                )
            )
            found += some
            if len(some) < QUEUES_AT_ONCE:
                return found
            await asyncio.sleep(0)

    async def _begin(self, generation: int) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._publish(generation), name="queue-stats"
        )

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._seen.clear()
        self._figures.saw(None, 0)

    async def _publish(self, generation: int) -> None:
        feed = MemoryFeed(generation, [STATS.name])
        publisher = TablePublisher(self._transport, SOURCE, feed, schemas=[STATS], name=self._name)
        loop, started = asyncio.get_running_loop(), False
        try:
            while True:
                began_s = loop.time()
                try:
                    made = feed.replace({STATS.name: await self.look()})
                    if not started:
                        await publisher.start()
                        started = True
                    elif made is not None:
                        await publisher.send(made)
                except TransomError as error:
                    log.warning("statistics not published", extra={"detail": error.text})
                except Exception:  # Safety: what is shown is old then; the next look may succeed
                    log.exception("statistics not published")
                await asyncio.sleep(max(self._interval_s, SHARE * (loop.time() - began_s)))
        finally:
            await publisher.stop()


def row_of(one: Seen) -> Row:
    return {
        "project_id": one.place.project_id,
        "name": one.place.name,
        "free": one.free,
        "claimed": one.claimed,
        "delayed": one.delayed,
        "oldest": one.oldest_ms,
        "body_bytes": one.body_bytes,
        "posted": one.posted,
        "expired": one.expired,
    }
