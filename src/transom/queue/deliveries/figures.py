# SPDX-License-Identifier: Apache-2.0
"""How deliveries go, for Prometheus: read from the store, where the deliverer writes it down.

So whoever has the doors shows it, whichever process delivers, and a restart forgets nothing. What
was not looked at yet is not shown: a total that fell to 0 would be counted again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.errors import TransomError
from transom.queue.model import Place
from transom.queue.store import deliveries, notices
from transom.queue.store.stores import Store, Stores
from transom.runtime.clock import Clock
from transom.runtime.telemetry.shared import CommonCounter

log = logging.getLogger(__name__)

PLACES_AT_ONCE = 100


class DeliveryFigures(Collector):
    """A lifecycle service that looks every `interval_s`. Register it."""

    def __init__(self, stores: Stores, clock: Clock, interval_s: float) -> None:
        self._stores = stores
        self._clock = clock
        self._interval_s = interval_s
        self._totals: Mapping[str, int] = {}
        self._waiting: deliveries.Waiting | None = None
        self._lag_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._keep_looking(), name="delivery-figures"
            )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """Raises: what keeps a store from being read."""
        totals: Counter[str] = Counter()
        number = failing = 0
        oldest_ms: int | None = None
        for store in self._stores.every():
            totals.update(await store.database.read(deliveries.totals))
            after = Place("", "")
            while places := await self._places(store, after):
                for place in places:
                    found = await self._of(store, place)
                    number, failing = number + found.notices, failing + found.failing
                    if found.oldest_ms is not None:
                        oldest_ms = min(found.oldest_ms, oldest_ms or found.oldest_ms)
                after = places[-1]
                await asyncio.sleep(0)
        self.saw(totals, deliveries.Waiting(number, oldest_ms, failing))

    def saw(self, totals: Mapping[str, int], waiting: deliveries.Waiting) -> None:
        """What there is to say of all queues now."""
        self._totals, self._waiting = totals, waiting
        oldest_ms, now_ms = waiting.oldest_ms, self._clock.now_ms()
        self._lag_s = 0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000

    def collect(self) -> Iterable[Metric]:
        if self._waiting is None:
            return
        counted = CommonCounter(
            "transom_queue_notices",
            "Messages to subscribers: delivered, tried again, buried as dead letters, dropped.",
            labels=["result"],
        )
        for name in deliveries.TOTALS:
            counted.add_metric([name], self._totals[name])
        yield counted
        yield GaugeMetricFamily(
            "transom_queue_notices_waiting",
            "Messages that wait to be sent.",
            value=self._waiting.notices,
        )
        yield GaugeMetricFamily(
            "transom_queue_notices_lag_seconds",
            "Age of the oldest message that a subscriber still waits for.",
            value=self._lag_s,
        )
        yield GaugeMetricFamily(
            "transom_queue_subscriptions_failing",
            "Subscriptions whose last try failed.",
            value=self._waiting.failing,
        )

    async def _keep_looking(self) -> None:
        failing = False
        while True:
            try:
                await self.look()
                failing = False
            except TransomError as error:
                if not failing:
                    log.warning("deliveries not counted", extra={"detail": error.detail})
                failing = True
            except Exception:  # Safety: what is shown is old then; the next look may succeed
                if not failing:
                    log.exception("deliveries not counted")
                failing = True
            await asyncio.sleep(self._interval_s)

    async def _places(self, store: Store, after: Place) -> list[Place]:
        return await store.database.read(lambda tx: notices.places(tx, after, PLACES_AT_ONCE))

    async def _of(self, store: Store, place: Place) -> deliveries.Waiting:
        return await store.database.read(
            lambda tx: deliveries.waiting(tx, self._clock.now_ms(), place)
        )
