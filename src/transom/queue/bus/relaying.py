# SPDX-License-Identifier: Apache-2.0
"""What brings changes of another store to the home: rows for the feed, and places that are free.

It runs where the store is written, under a lease in the store, and is crash-safe at every step: see
`store.relay` and `store.placing`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import msgspec

from transom.errors import TransomError
from transom.node.lease import Lease, Leased, LeaseLost
from transom.queue.bus.rows import read_own_row
from transom.queue.model import NO_PLACE
from transom.queue.store import placing, relay
from transom.queue.store.placing import Vacated
from transom.queue.store.relay import Relayed
from transom.queue.store.stores import Store
from transom.queue.store.verbs.placing import ForgetPlaces
from transom.queue.store.verbs.relay import TakeRows
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction

log = logging.getLogger(__name__)

LEASE = "relay"
TTL_MS = 10_000
LOOK_S = 0.25
AT_ONCE = 200


class Relay:
    """A service, of one store. `on_change` is called when home has something new to publish."""

    def __init__(
        self, store: Store, home: Store, holder: str, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._store = store
        self._home = home
        self._on_change = on_change
        self._leased = Leased(
            store.database,
            Lease(LEASE, holder, TTL_MS),
            clock=clock,
            on_gain=self._begin,
            on_loss=self._end,
        )
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._rounds = 0

    async def start(self) -> None:
        await self._leased.start()

    async def stop(self) -> None:
        await self._leased.stop()

    def poke(self) -> None:
        """Something changed: look now."""
        self._poked.set()

    async def quiet(self) -> None:
        """Returns when all that was written before is brought over."""
        seen = self._rounds
        self.poke()
        while self._rounds < seen + 2:
            self._poked.set()
            await asyncio.sleep(0)

    async def step(self, generation: int) -> bool:
        """Brings some over; False if there was nothing. `generation`: of the lease.

        Raises: LeaseLost; Unavailable and the like: then some may be brought again.
        """
        numbers, rows, vacated = await self._store.database.read(self._seen)
        name = self._store.name
        if rows:
            await self._home.writer.write(TakeRows(NO_PLACE, name, generation, tuple(rows)))
            self._on_change()
        if numbers:
            await self._store.database.write(lambda tx: relay.drop(tx, numbers))
        elif vacated:
            # After the rows: who makes the queue elsewhere finds none of ours.
            later = await self._home.writer.write(ForgetPlaces(NO_PLACE, name, tuple(vacated)))
            await self._store.database.write(lambda tx: _told(tx, vacated, later))
        return bool(numbers or vacated)

    async def _seen(
        self, tx: Transaction
    ) -> tuple[Sequence[int], Sequence[Relayed], Sequence[Vacated]]:
        found = await relay.pointers(tx, AT_ONCE)
        rows = []
        for table, key in dict.fromkeys((table, key) for _, table, key in found):
            row = await read_own_row(tx, table, key)
            rows.append(Relayed(table, key, None if row is None else msgspec.json.encode(row)))
        return [number for number, _, _ in found], rows, await placing.vacated(tx, AT_ONCE)

    async def _begin(self, generation: int) -> None:
        self._task = asyncio.get_running_loop().create_task(
            self._run(generation), name=f"relay:{self._store.name}"
        )

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, generation: int) -> None:
        failing = False
        while True:
            self._poked.clear()
            try:
                while await self.step(generation):
                    pass
                self._rounds += 1
                failing = False
            except LeaseLost:
                self._leased.lost()
                return
            except TransomError as error:
                if not failing:
                    log.warning(
                        "changes not relayed",
                        extra={"store": self._store.name, "detail": error.detail or error.text},
                    )
                failing = True
            except Exception:  # Safety: a fault in a row's reader must not end the relay for ever
                if not failing:
                    log.exception("relay failed", extra={"store": self._store.name})
                failing = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._poked.wait()


async def _told(tx: Transaction, vacated: Sequence[Vacated], later: Sequence[int]) -> None:
    """Home has answered: later tickets for queues that are not here are refused, too."""
    await placing.told(tx, vacated)
    for one, generation in zip(vacated, later, strict=True):
        if generation:
            await placing.void(tx, one.place, generation)
