# SPDX-License-Identifier: Apache-2.0
"""The queue's wiring: one database, one application, one mount, one sweep.

Invariants:
1. The file `queue.db` has one writing process, which is this one.
2. A sweep that fails is tried again after its interval, and requests go on without it; the first
   failure in a row is logged.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from transom.node.migrations import NODE
from transom.queue.api.mount import mount
from transom.queue.app import DEFAULT_RULES, QueueApp
from transom.queue.bus import read_row
from transom.queue.config import QueueConfig
from transom.queue.store import sweep
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)
MIGRATIONS = (Migrations("queue", Path(__file__).parent / "store" / "migrations"), NODE)


class QueueService:
    """The queue, ready to be mounted. `read_row` reads rows of `queue:queues` for its feed."""

    read_row = staticmethod(read_row)

    def __init__(
        self, config: QueueConfig, database: Database, clock: Clock, app: QueueApp
    ) -> None:
        self.database = database
        self.app = app
        self.mount: Mount = mount(app, config)
        self._config = config
        self._clock = clock
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.database.start()
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(
                self._sweep(), name="queue-sweep"
            )

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        await self.database.stop()

    async def sweep_once(self) -> None:
        """Frees all that has expired or was given up, in transactions of one batch each."""
        batch = self._config.sweep_batch
        while await self.database.write(lambda tx: sweep.step(tx, self._clock.now_ms(), batch)):
            pass

    async def _sweep(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(self._config.sweep_interval_s)
            try:
                await self.sweep_once()
                failing = False
            except Exception:  # Safety: only space depends on it, and the next one may succeed
                if not failing:
                    log.exception("sweep fails")
                failing = True


def build(
    config: QueueConfig,
    database: Database,
    *,
    clock: Clock,
    random: Randomness,
    on_change: Callable[[], None] = lambda: None,
) -> QueueService:
    """The service, not started. `database`: of `MIGRATIONS`; the service starts and stops it.

    `on_change` is called after each commit that left a pointer of `queue:queues` to the feed.
    """
    app = QueueApp(database, config, Rules(DEFAULT_RULES), clock, random, on_change)
    return QueueService(config, database, clock, app)
