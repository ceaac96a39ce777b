# SPDX-License-Identifier: Apache-2.0
"""The sweep of every store that this process writes.

Invariant: a sweep that fails is tried again after its interval, and requests and other stores go on
without it; the first failure in a row is logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from transom.errors import TransomError
from transom.queue.config import QueueConfig
from transom.queue.store import sweep
from transom.queue.store.stores import Store, Stores
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)


class Sweeper:
    """A service. `afterwards`: what is to be done each time, too."""

    def __init__(
        self,
        stores: Stores,
        config: QueueConfig,
        clock: Clock,
        afterwards: Callable[[], Awaitable[None]],
    ) -> None:
        self._stores = stores
        self._config = config
        self._clock = clock
        self._afterwards = afterwards
        self._failing: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="queue-sweep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def once(self) -> None:
        """Frees all that has expired or was given up, in transactions of one batch each."""
        for store in self._stores.every():
            if store.owned:
                await self._sweep(store)
        await self._afterwards()

    async def _sweep(self, store: Store) -> None:
        batch = self._config.sweep_batch
        while await store.database.write(lambda tx: sweep.step(tx, self._clock.now_ms(), batch)):
            pass

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_interval_s)
            for store in self._stores.every():
                if store.owned:
                    await self._tried(store.name, self._sweep(store))
            await self._tried("between stores", self._afterwards())

    async def _tried(self, name: str, step: Awaitable[None]) -> None:
        try:
            await step
            self._failing.discard(name)
        except TransomError as error:
            if name not in self._failing:
                detail = error.detail or error.text
                log.warning("sweep fails", extra={"of": name, "detail": detail})
            self._failing.add(name)
        except Exception:  # Safety: only space depends on it, and the next one may succeed
            if name not in self._failing:
                log.exception("sweep fails", extra={"of": name})
            self._failing.add(name)
