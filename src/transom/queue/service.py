# SPDX-License-Identifier: Apache-2.0
"""The queue's wiring: one database, one application, one mount, one sweep.

Invariants:
1. The file `queue.db` has one writing process, which sweeps it too. Elsewhere the service has
   a `writer` that hands its writes to that process, and reads the file itself.
2. A sweep that fails is tried again after its interval, and requests go on without it; the first
   failure in a row is logged.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from transom.errors import TransomError
from transom.node.migrations import NODE
from transom.node.restore import restored as node_restored
from transom.queue.api.mount import mount
from transom.queue.app import QueueApp
from transom.queue.bus import read_row
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES, SOURCE
from transom.queue.store import restore, sweep
from transom.queue.store.verbs import LocalWriter, Tools, Writer
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)
MIGRATIONS = (Migrations("queue", Path(__file__).parent / "store" / "migrations"), NODE)


class QueueService:
    """The queue, ready to be mounted. `read_row` reads rows of `queue:queues` for its feed."""

    read_row = staticmethod(read_row)

    def __init__(
        self,
        config: QueueConfig,
        database: Database,
        writer: Writer,
        clock: Clock,
        app: QueueApp,
        policy: PolicyFile,
        *,
        sweeps: bool,
    ) -> None:
        self.database = database
        self.writer = writer
        self.app = app
        self.mount: Mount = mount(app, config)
        self.policy = policy
        self._config = config
        self._clock = clock
        self._sweeps = sweeps
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.policy.start()
        await self.database.start()
        if self._sweeper is None and self._sweeps:
            self._sweeper = asyncio.get_running_loop().create_task(
                self._sweep(), name="queue-sweep"
            )

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        await self.database.stop()
        await self.policy.stop()

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
            except TransomError as error:
                if not failing:
                    log.warning("sweep fails", extra={"detail": error.detail or error.text})
                failing = True
            except Exception:  # Safety: only space depends on it, and the next one may succeed
                if not failing:
                    log.exception("sweep fails")
                failing = True


async def restored(tx: Transaction, now_ms: int) -> None:
    """The verb that tells the database that it was put back to an earlier moment."""
    await restore.restored(tx)
    await node_restored(tx, now_ms)


def build(
    config: QueueConfig,
    database: Database,
    *,
    clock: Clock,
    random: Randomness,
    on_change: Callable[[], None] = lambda: None,
    writer: Writer | None = None,
    policy: PolicyFile | None = None,
) -> QueueService:
    """The service, not started. `database`: of `MIGRATIONS`; the service starts and stops it.

    `writer`: who writes, where that is another process; then `database` is only read. `policy`:
    what changes the access rules; without it the defaults hold.

    `on_change` is called after each commit that left a pointer of `queue:queues` to the feed.
    """
    own = LocalWriter(database, Tools(config, clock, random))
    policy = policy or PolicyFile(SOURCE, None, DEFAULT_RULES)
    app = QueueApp(database, writer or own, config, policy.rules, clock, random, on_change)
    return QueueService(config, database, writer or own, clock, app, policy, sweeps=writer is None)
