# SPDX-License-Identifier: Apache-2.0
"""Leases: one row a name, so that what may run once runs at most once, and is fenced if it lags.

Time is a clock that all holders share. In a file it is the host's monotonic one in milliseconds,
which every process of the host reads alike, which no step of the wall clock moves, and which begins
anew at a boot; a lease that ends later than one can from now on is therefore of an earlier boot,
and counts as ended. On a server, which many hosts share, it is the server's own.

Invariants:
1. `generation` rises with each gain; of two holders the later has the higher one.
2. A write of the holder that is fenced by its generation is undone once another has gained.
3. A holder that cannot renew has been told `on_loss` before its time is over (by its own clock,
   counted from before it asked);
   one that was paused over its end is stopped by the fence.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transom.errors import Conflict, TransomError
from transom.runtime.clock import Clock
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Database, Transaction

log = logging.getLogger(__name__)

_NOW = sql(
    "select ?",
    postgres="select floor(extract(epoch from clock_timestamp()) * 1000)::bigint, ?::bigint",
)
_GAIN = """
insert into lease (name, holder, generation, until_ms) values (?, ?, 1, ?)
on conflict (name) do update
set holder = excluded.holder, generation = lease.generation + 1, until_ms = excluded.until_ms
where lease.until_ms <= ? or lease.until_ms > ? or lease.holder = excluded.holder
"""
_GENERATION = "select generation from lease where name = ?"
_RENEW = """
update lease set until_ms = ? where name = ? and holder = ? and generation = ? and until_ms > ?
"""
_RELEASE = "update lease set until_ms = 0 where name = ? and holder = ? and generation = ?"
_FENCE = "update lease set holder = holder where name = ? and generation = ?"


STEP_MS = 1000
"""A server's clock may be set back by this much, and no lease counts as ended for it."""


class LeaseLost(Conflict):
    """Another holder has gained the lease since."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as one would-be holder sees it; its methods are verbs.

    `holder` is unique among the processes that live. One that comes back under its former name
    need not wait for its former self: that one is dead, or fenced by the new generation. All who
    want one name use the same `ttl_ms`. `now_ms`: this host's monotonic clock.
    """

    name: str
    holder: str
    ttl_ms: int

    async def acquire(self, transaction: Transaction, now_ms: int) -> int | None:
        """The new generation, or None: somebody holds it."""
        now_ms = await shared_ms(transaction, now_ms)
        until_ms = now_ms + self.ttl_ms
        parameters = (self.name, self.holder, until_ms, now_ms, until_ms + STEP_MS)
        if await transaction.execute(_GAIN, parameters) == 0:
            return None
        row = await transaction.fetch_one(_GENERATION, (self.name,))
        return None if row is None else int(row[0])

    async def renew(self, transaction: Transaction, generation: int, now_ms: int) -> bool:
        """False: it ended, or another has it."""
        now_ms = await shared_ms(transaction, now_ms)
        parameters = (now_ms + self.ttl_ms, self.name, self.holder, generation, now_ms)
        return await transaction.execute(_RENEW, parameters) == 1

    async def release(self, transaction: Transaction, generation: int) -> None:
        """Lets the next one have it at once. Idempotent."""
        await transaction.execute(_RELEASE, (self.name, self.holder, generation))


async def fence(transaction: Transaction, name: str, generation: int) -> None:
    """Undoes the verb unless the generation is the lease's. Raises: LeaseLost.

    A change, not a query: on a database with many writers it holds the row until the commit.
    """
    if await transaction.execute(_FENCE, (name, generation)) == 0:
        raise LeaseLost(f"Another process has taken over {name}.")


class Leased:
    """Gains the lease when it can, keeps it while it can, tells both; a lifecycle service.

    `on_gain` gets the generation and returns soon (it starts what holds; renewing waits for it).
    `on_loss` stops it; it is called once for each `on_gain`, also when that failed.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        *,
        clock: Clock,
        on_gain: Callable[[int], Awaitable[None]],
        on_loss: Callable[[], Awaitable[None]],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock
        self._on_gain = on_gain
        self._on_loss = on_loss
        self._jitter = jitter
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.generation: int | None = None

    async def start(self) -> None:
        """Begins to try; does not wait for the lease."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"lease:{self._lease.name}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])

    def lost(self) -> None:
        """A fence refused: what holds stops, and the lease is tried for anew."""
        self._lost.set()

    async def _run(self) -> None:
        while True:
            gained = await self._gain()
            if gained is not None:
                await self._keep(*gained)
            await asyncio.sleep(self._pause_s())

    async def _gain(self) -> tuple[int, float] | None:
        """Generation, and when the holder must have stopped, on its own clock."""
        now_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(self._hold_s):
                generation = await self._database.write(
                    lambda transaction: self._lease.acquire(transaction, _ms(now_s))
                )
        except (TransomError, TimeoutError) as error:
            self._warn("lease not tried", error)
            return None
        return None if generation is None else (generation, now_s + self._hold_s)

    async def _keep(self, generation: int, stop_s: float) -> None:
        name = self._lease.name
        self._lost.clear()
        self.generation = generation
        log.info("lease gained", extra={"lease": name, "generation": generation})
        try:
            await self._on_gain(generation)
            await self._renew_until_lost(generation, stop_s)
        except (
            Exception
        ):  # Safety: what a gain starts may fail now and work later, here or elsewhere
            log.exception("lease holder failed", extra={"lease": name, "generation": generation})
        finally:
            self.generation = None
            try:
                await self._on_loss()
            except Exception:  # Safety: what failed to stop is fenced, and must not end the trying
                log.exception("lease holder failed to stop", extra={"lease": name})
            finally:
                log.info("lease let go", extra={"lease": name, "generation": generation})
                await self._release(generation)

    async def _renew_until_lost(self, generation: int, stop_s: float) -> None:
        while True:
            pause_s = min(self._pause_s(), max(0.0, stop_s - self._clock.monotonic_s()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._lost.wait()
            now_s = self._clock.monotonic_s()
            if self._lost.is_set() or now_s >= stop_s:
                return
            try:
                async with asyncio.timeout(stop_s - now_s):
                    renewed = await self._renew(generation, now_s)
            except (TransomError, TimeoutError) as error:
                self._warn("lease not renewed", error)
                continue
            if not renewed:
                return
            stop_s = now_s + self._hold_s

    async def _renew(self, generation: int, now_s: float) -> bool:
        return await self._database.write(
            lambda transaction: self._lease.renew(transaction, generation, _ms(now_s))
        )

    async def _release(self, generation: int) -> None:
        """So that the next one need not wait; without it, it waits for the lease's end."""
        try:
            async with asyncio.timeout(self._lease.ttl_ms / 1000):
                await self._database.write(
                    lambda transaction: self._lease.release(transaction, generation)
                )
        except (TransomError, TimeoutError) as error:
            self._warn("lease not released", error)

    @property
    def _hold_s(self) -> float:
        """How long a holder goes on without renewing: what is left is for stopping."""
        return self._lease.ttl_ms * 0.8 / 1000

    def _pause_s(self) -> float:
        return self._lease.ttl_ms / 1000 * (0.2 + 0.1 * self._jitter())

    def _warn(self, what: str, error: Exception) -> None:
        detail = getattr(error, "detail", "") or repr(error)
        log.warning(what, extra={"lease": self._lease.name, "detail": detail})


async def shared_ms(transaction: Transaction, now_ms: int) -> int:
    """The clock that all holders share. Invariant: not later than when what follows is done."""
    row = await transaction.fetch_one(_NOW, (now_ms,))
    return now_ms if row is None else int(row[0])


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
