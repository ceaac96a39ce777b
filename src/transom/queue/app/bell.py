# SPDX-License-Identifier: Apache-2.0
"""Who waits for messages, and what wakes them: a write, here or elsewhere, or the end of a hiding.

A `Waiter` stands in the line of each of its queues. It tries, and if there is nothing, it sleeps
until a line is rung. *Observers* take nothing: all of a line are woken. *Takers* do: a ring wakes
the first that sleeps, and who got something wakes two more, so that a thousand messages are handed
out in ten steps, and one message does not wake a thousand.

Invariants:
1. No ring is lost: a waiter that was trying while its line was rung tries again, and one that
   leaves without a message passes its turn on.
2. First come, first served: a taker keeps its place in the line until it has something.
3. A ring costs nothing where nobody waits; else O(observers of that queue), a few of whom are
   woken in each turn of the loop, each once for all that was rung until then.
4. There are never more waiters than the bounds of the process and of their project.
5. Where others write, too (`alone` is false), each line is looked at every `POLL_S`: what nobody
   told us of is late by that, and never lost.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice

from transom.errors import TooManyRequests, TransomError, Unavailable
from transom.queue.model import Place
from transom.queue.store.availability import Look
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

POLL_S = 1.0
WOKEN_AT_ONCE = 64
"""Observers that are woken in one turn of the loop."""
LONGEST_S = 3600.0
SPARE = 64
"""Entries of those who left that a line may keep."""
RETRY_AFTER_S = 2

Heard = Callable[[Place], None]


class Waiter:
    """One who waits; made by `Bell.enter`, and to be left by `Bell.leave`."""

    __slots__ = ("_seen", "_sleep", "lines", "number", "over", "takes")

    def __init__(self, number: int, lines: "Sequence[Line]", *, takes: bool) -> None:
        self.number = number
        self.lines = lines
        self.takes = takes
        self.over = False
        self._seen = -1
        self._sleep: asyncio.Future[None] | None = None

    @property
    def sleeps(self) -> bool:
        return self._sleep is not None and not self._sleep.done()

    def tries(self) -> None:
        """Notes what was rung so far: what is rung from here on, it has not seen."""
        self._seen = self._rung()

    async def rung(self, pause_s: float | None = None) -> bool:
        """Returns when it is to try again, after `pause_s` at the latest; False: it is over."""
        if self.over or self._rung() != self._seen:
            return not self.over
        loop = asyncio.get_running_loop()
        self._sleep = loop.create_future()
        timer = None if pause_s is None else loop.call_later(pause_s, self.wake)
        for line in self.lines:
            line.sleeping(self)
        try:
            await self._sleep
        finally:
            self._sleep = None
            if timer is not None:
                timer.cancel()
        return not self.over

    def wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def end(self) -> None:
        """Its time is over, its caller is gone, or the process stops."""
        self.over = True
        self.wake()

    def _rung(self) -> int:
        return sum(line.rings for line in self.lines)


class Line:
    """Those who wait for one queue."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rings = 0
        self.waiters: dict[int, Waiter] = {}
        self.takers = 0
        self.polled: Look | None = None
        self._asleep: list[tuple[int, Waiter]] = []  # takers, by number; some awake by now
        self._listed: set[int] = set()  # the numbers in it
        self._queued: dict[int, Waiter] = {}  # observers that are to be woken, by number
        self._timer: asyncio.TimerHandle | None = None
        self._at_ms: int | None = None

    def add(self, waiter: Waiter) -> None:
        self.waiters[waiter.number] = waiter
        self.takers += waiter.takes

    def remove(self, waiter: Waiter) -> None:
        if self.waiters.pop(waiter.number, None) is not None:
            self.takers -= waiter.takes
            if len(self._asleep) > 2 * self.takers + SPARE:
                self._asleep = [one for one in self._asleep if one[0] in self.waiters]
                heapify(self._asleep)
                self._listed = {number for number, _ in self._asleep}

    def sleeping(self, waiter: Waiter) -> None:
        if waiter.takes and waiter.number not in self._listed:
            self._listed.add(waiter.number)
            heappush(self._asleep, (waiter.number, waiter))

    def ring(self) -> None:
        self.rings += 1
        if not self._somebody_tries():  # who does will see that it was rung
            self.wake_takers(1)
        if len(self.waiters) > self.takers:
            idle = not self._queued
            for number, one in self.waiters.items():
                if one.sleeps and not one.takes:
                    self._queued[number] = one
            if idle:
                self._wake_observers()

    def wake_takers(self, number: int) -> None:
        asleep = self._asleep
        while number and asleep:
            waiter = self._pop()
            if waiter.sleeps and waiter.number in self.waiters:
                waiter.wake()
                number -= 1

    def _pop(self) -> Waiter:
        number, waiter = heappop(self._asleep)
        self._listed.discard(number)
        return waiter

    def _somebody_tries(self) -> bool:
        """Whether a taker is awake that came before all that sleep."""
        asleep = self._asleep
        while asleep and not (asleep[0][1].sleeps and asleep[0][0] in self.waiters):
            self._pop()
        if not asleep:
            return True
        first = asleep[0][0]
        for waiter in self.waiters.values():  # in the order of their coming
            if waiter.number >= first:
                return False
            if waiter.takes and not waiter.sleeps and not waiter.over:
                return True
        return False

    def expect(self, at_ms: int | None, now_ms: int) -> None:
        """Rings by itself at that time, if it is the next one that is known of."""
        if at_ms is None or (self._at_ms is not None and self._at_ms <= at_ms):
            return
        self.forget()
        self._at_ms = at_ms
        wait_s = min(max(0, at_ms - now_ms) / 1000, LONGEST_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._came)

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._at_ms = None

    def _came(self) -> None:
        self.forget()
        self.ring()

    def _wake_observers(self) -> None:
        for number in list(islice(self._queued, WOKEN_AT_ONCE)):
            self._queued.pop(number).wake()
        if self._queued:
            asyncio.get_running_loop().call_soon(self._wake_observers)


class Bell:
    """A `Service`. `look`: what a queue has now. `alone`: no other process writes."""

    def __init__(
        self,
        look: Callable[[Place], Awaitable[Look]],
        clock: Clock,
        *,
        waiters_max: int,
        project_waiters_max: int,
        alone: bool,
    ) -> None:
        self._look = look
        self._clock = clock
        self._waiters_max = waiters_max
        self._project_waiters_max = project_waiters_max
        self._alone = alone
        self._lines: dict[Place, Line] = {}
        self._of_project: Counter[str] = Counter()
        self._number = self.waiting = 0
        self._closed = False
        self._polling: asyncio.Task[None] | None = None
        self._listeners: list[Heard] = []

    async def start(self) -> None:
        self._closed = False
        if not self._alone and self._polling is None:
            self._polling = asyncio.get_running_loop().create_task(self._poll(), name="queue-bell")

    async def stop(self) -> None:
        self.close()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
            self._polling = None

    def close(self) -> None:
        """The process drains: whoever waits is answered now, and nobody waits any more."""
        self._closed = True
        for line in list(self._lines.values()):
            for waiter in list(line.waiters.values()):
                waiter.end()

    def listen(self, heard: Heard) -> None:
        """`heard` is called with each queue that is rung by a write of this process."""
        self._listeners.append(heard)

    def ring(self, place: Place) -> None:
        """This process has committed something that may make messages available there."""
        self.heard(place)
        for heard in self._listeners:
            heard(place)

    def heard(self, place: Place) -> None:
        """As `ring`, of another process's write."""
        line = self._lines.get(place)
        if line is not None:
            line.ring()

    def has_takers(self, place: Place) -> bool:
        """Whether who comes now has to wait behind others."""
        line = self._lines.get(place)
        return line is not None and line.takers > 0

    @property
    def awake(self) -> int:
        """How many of those who wait are trying."""
        return len(
            {
                waiter.number
                for line in self._lines.values()
                for waiter in line.waiters.values()
                if not waiter.sleeps
            }
        )

    def enter(self, places: Sequence[Place], *, takes: bool) -> Waiter:
        """A waiter in the lines of the queues, all of one project.

        Raises: TooManyRequests, Unavailable.
        """
        project_id = places[0].project_id
        if self._of_project[project_id] >= self._project_waiters_max:
            raise TooManyRequests(
                f"This project has {self._project_waiters_max} requests that wait for messages; "
                "end some, or ask without wait.",
                retry_after_s=RETRY_AFTER_S,
            )
        if self.waiting >= self._waiters_max:
            raise Unavailable(
                "Too many requests wait for messages here; ask without wait, or later.",
                retry_after_s=RETRY_AFTER_S,
            )
        self._number += 1
        lines = [self._lines.setdefault(place, Line(place)) for place in dict.fromkeys(places)]
        waiter = Waiter(self._number, lines, takes=takes)
        waiter.over = self._closed
        for line in lines:
            line.add(waiter)
        self._of_project[project_id] += 1
        self.waiting += 1
        return waiter

    def leave(self, waiter: Waiter, *, served: bool) -> None:
        """`served`: it has something; there may be more."""
        self.waiting -= 1
        project_id = waiter.lines[0].place.project_id
        self._of_project[project_id] -= 1
        if not self._of_project[project_id]:
            del self._of_project[project_id]
        for line in waiter.lines:
            line.remove(waiter)
            if not line.waiters:
                line.forget()
                del self._lines[line.place]
            elif waiter.takes:
                line.wake_takers(2 if served else 1)

    async def look(self, waiter: Waiter) -> bool:
        """Whether any of its queues has something now; what they will have is waited for."""
        found = False
        for line in waiter.lines:
            found |= (await self._seen(line)).now
        return found

    async def _seen(self, line: Line) -> Look:
        seen = await self._look(line.place)
        if line.waiters:
            line.expect(seen.next_ms, self._clock.now_ms())
        return seen

    async def _poll(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(POLL_S)
            failed = False
            for line in list(self._lines.values()):
                try:
                    await self._look_again(line)
                except TransomError as error:  # of this one's store; those of others go on
                    if not failing and not failed:
                        log.warning("cannot look for messages", extra={"detail": error.text})
                    failed = True
                except Exception:  # Safety: those who wait are answered in time all the same
                    if not failing and not failed:
                        log.exception("cannot look for messages")
                    failed = True
            failing = failed

    async def _look_again(self, line: Line) -> None:
        """What was released, and what was posted, changes what is seen; or it is there to take."""
        before, line.polled = line.polled, await self._seen(line)
        if line.polled != before:
            line.ring()
        elif line.polled.now:
            line.wake_takers(1)
