# SPDX-License-Identifier: Apache-2.0
"""Long polling: a use case that finds nothing is tried again as soon as it may find something.

Invariants:
1. A queue is looked at before anything is taken from it, so waiting writes nothing.
2. Who comes while others wait to take from a queue waits behind them.
3. For a caller that is gone nothing is taken. What was taken in the moment in which it went is
   given back by `undo`, but where its request may be repeated; what its connection does
   not tell of ends as any claim does, by itself.
4. A failure ends the waiting: the caller is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from transom.queue.app.bell import Bell, Waiter
from transom.queue.config import QueueConfig
from transom.queue.logic import limits
from transom.queue.model import Place
from transom.queue.store.availability import Look, look
from transom.queue.store.stores import Stores
from transom.runtime.clock import Clock

T = TypeVar("T")
Gone = Callable[[], Awaitable[None]]
"""Returns when the caller has hung up."""

BEATEN_S = 0.05
"""Before the next try of one who saw messages that others then took."""


class Waiting:
    """For all use cases."""

    def __init__(self, bell: Bell, config: QueueConfig) -> None:
        self.bell = bell
        self._config = config

    def checked_s(self, wait_s: int | None) -> int:
        """How long to wait. Raises: OutOfRange."""
        if not wait_s:
            return 0
        return limits.within("The wait", wait_s, 0, self._config.max_wait_s)

    async def observe(
        self,
        place: Place,
        wait_s: int | None,
        attempt: Callable[[], Awaitable[T]],
        gone: Gone | None = None,
    ) -> T:
        """What `attempt` finds, which takes nothing; after `wait_s` what it found last.

        Raises: OutOfRange, TooManyRequests, Unavailable, and what the attempt raises.
        """
        seconds = self.checked_s(wait_s)
        found = await attempt()
        if found or not seconds:
            return found
        waiter = self.bell.enter([place], takes=False)
        served, heard = False, 0
        with _bounded(waiter, seconds, gone):
            try:
                while not waiter.over:
                    waiter.tries()
                    if heard != waiter.lines[0].rings or not heard:
                        heard = waiter.lines[0].rings
                        await self.bell.look(waiter)
                    found = await attempt()
                    served = bool(found)
                    if served or not await waiter.rung():
                        break
            finally:
                self.bell.leave(waiter, served=served)
        return found

    async def take(
        self,
        places: Sequence[Place],
        wait_s: int | None,
        attempt: Callable[[], Awaitable[T | None]],
        gone: Gone | None = None,
        undo: Callable[[T], Awaitable[None]] | None = None,
        *,
        repeatable: bool = False,
    ) -> T | None:
        """As `observe`, of what takes from the first of the queues that has something.

        `undo`: gives back what was found for a caller that is gone. `repeatable`: by its key. Then
        the first try waits behind nobody, since the answer may be known; and nothing is given back.
        """
        seconds = self.checked_s(wait_s)
        others = bool(seconds) and not repeatable and all(map(self.bell.has_takers, places))
        if not others:
            found = await attempt()
            if found or not seconds:
                return found
        waiter = self.bell.enter(places, takes=True)
        found = None
        with _bounded(waiter, seconds, gone) as hung_up:
            try:
                waiter.tries()
                if not others or await waiter.rung():
                    found = await self._taken(waiter, attempt)
                if found and hung_up() and undo is not None and not repeatable:
                    await undo(found)
                    found = None
            finally:
                self.bell.leave(waiter, served=bool(found))
        return found

    async def _taken(self, waiter: Waiter, attempt: Callable[[], Awaitable[T | None]]) -> T | None:
        while not waiter.over:
            waiter.tries()
            beaten = await self.bell.look(waiter)
            if beaten and not waiter.over:
                found = await attempt()
                if found:
                    return found
            if not await waiter.rung(BEATEN_S if beaten else None):
                return None
        return None


async def looked(stores: Stores, clock: Clock, place: Place) -> Look:
    """What the queue has now."""
    return await stores.read(place, lambda tx: look(tx, clock.now_ms(), place))


@contextmanager
def _bounded(waiter: Waiter, seconds: int, gone: Gone | None) -> Iterator[Callable[[], bool]]:
    """Ends the waiting in time, and when the caller hangs up; gives whether that has happened."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, waiter.end)
    watch = None if gone is None else loop.create_task(_until_gone(gone, waiter))
    try:
        yield lambda: watch is not None and watch.done()
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()


async def _until_gone(gone: Gone, waiter: Waiter) -> None:
    await gone()
    waiter.end()
