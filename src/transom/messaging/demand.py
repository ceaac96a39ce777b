# SPDX-License-Identifier: Apache-2.0
"""Demand for tables on the bus: replicas wish, and the publisher's owner is told what is wanted.

A wish is a fan-out cast `want` to `feed.<source>`, so that whoever publishes hears it. It holds for
`HOLD_S`, is renewed each `RENEW_S` or so, and taken back by a replica that stops.

Invariants:
1. A publisher that has just begun asks for all wishes (`renew` to the replicas), so that it knows
   them within a second where the bus loses nothing, and within `HOLD_S` in any case.
2. What is wanted is told when it differs from what was told before, on the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from transom.messaging.client import Client
from transom.messaging.proto.feed import Demand
from transom.messaging.proto.feed.wire import feed_topic
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.runtime.ids import new_hex

log = logging.getLogger(__name__)

RENEW_S = 5.0
HOLD_S = 3 * RENEW_S
HOLD_MOST_S = 600.0
SOON_S = 0.5

OnDemand = Callable[[frozenset[str]], None]
"""Told the tables that somebody wants, each time that they are others than before."""


class Wishes:
    """The publisher's side. `stop` forgets all, and tells nothing."""

    def __init__(self, source: str, tables: Collection[str], on_demand: OnDemand) -> None:
        self._source = source
        self._demand = Demand(tables)
        self._on_demand = on_demand
        self._told: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None

    def hear(self, replica: str, tables: Collection[str], hold_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        until_s = now_s + max(0.0, min(hold_s, HOLD_MOST_S))
        self._demand.want(replica, tables, until_s, now_s)
        self._look()

    def replicas(self) -> dict[str, int]:
        """How many want each of the tables that are wanted."""
        self._demand.forget(asyncio.get_running_loop().time())
        return self._demand.replicas()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._demand.forget(now_s)
        self.stop()
        wake_s = self._demand.wake_s()
        self._timer = None if wake_s is None else loop.call_at(wake_s + 0.001, self._look)
        wanted = self._demand.wanted(now_s)
        if wanted == self._told:
            return
        self._told = wanted
        try:
            self._on_demand(wanted)
        except Exception:  # Safety: its owner's fault must not stop the feed
            log.exception("demand was not heeded", extra={"source": self._source})


class Wish:
    """The replica's side: wishes for tables from `start` to `stop`."""

    def __init__(self, transport: Transport, source: str, tables: Collection[str]) -> None:
        self._transport = transport
        self._source = source
        self._tables = sorted(tables)
        self._replica = new_hex(transport.random)
        self._client = Client(
            transport, Target(topic=feed_topic(source), fanout=True), timeout_s=RENEW_S
        )
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        name = f"wish for tables of {self._source}"
        self._task = asyncio.get_running_loop().create_task(self._renew(), name=name)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        self._say(0.0)

    def again(self) -> None:
        """A publisher asks: say it soon, not all at once."""
        self._again.set()

    async def _renew(self) -> None:
        while True:
            self._say(HOLD_S)
            pause_s = RENEW_S * (0.8 + 0.4 * self._draw())
            try:
                async with asyncio.timeout(pause_s):
                    await self._again.wait()
            except TimeoutError:
                continue
            self._again.clear()
            await asyncio.sleep(SOON_S * self._draw())

    def _say(self, hold_s: float) -> None:
        self._client.post({}, "want", replica=self._replica, tables=self._tables, hold_s=hold_s)

    def _draw(self) -> float:
        return int.from_bytes(self._transport.random(4)) / 2**32
