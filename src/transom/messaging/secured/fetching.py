# SPDX-License-Identifier: Apache-2.0
"""Fetches what is needed, once at a time each, while whoever waits for it waits in order.

Invariants:
1. One fetch a need goes on at a time, however many wait. It is tried again, with jitter, while
   somebody waits or what is to be renewed still holds.
2. Who waits is told exactly once: None when it is there, or why it is not, by his own time at the
   latest. All who wait for one need are told in the order in which they came.
3. What many wait for is bounded; over the bound the newest is told at once.
4. Nothing is asked for that nobody waits for any more, and no more often than the pace says: those
   who have asked for what others make up (see `apart`) take nothing from those who send.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

from transom.errors import KeyUnavailable
from transom.messaging.secured.obtaining import Need
from transom.runtime.ids import Randomness

log = logging.getLogger(__name__)

TRY_S = 10.0
AT_ONCE_MAX = 16
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 5.0
WAITING_MAX = 10_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
ALWAYS_S = 0.0
Told = Callable[[KeyUnavailable | None], None]


class Waiter:
    """One that waits for a need."""

    __slots__ = ("done", "size", "timer", "told")

    def __init__(self, told: Told, size: int) -> None:
        self.told = told
        self.size = size
        self.done = False
        self.timer: asyncio.TimerHandle | None = None


class _Line:
    """Those who wait for one need, and the task that fetches it."""

    def __init__(self) -> None:
        self.waiting: deque[Waiter] = deque()
        self.left = 0
        self.until_s = 0.0
        self.task: asyncio.Task[None] | None = None
        self.reason: KeyUnavailable | None = None


class _Pace:
    """`burst` turns at once, and then one each `every_s`."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._ahead_s = (burst - 1) * every_s
        self._every_s = every_s
        self._next_s = 0.0

    async def turn(self) -> None:
        now_s = asyncio.get_running_loop().time()
        at_s = max(self._next_s, now_s - self._ahead_s)
        self._next_s = at_s + self._every_s
        if at_s > now_s:
            await asyncio.sleep(at_s - now_s)


class Fetching:
    """`fetch(need)` gets it and stores it. Raises: KeyUnavailable."""

    def __init__(
        self,
        fetch: Callable[[Need], Awaitable[None]],
        random: Randomness,
        *,
        at_once: int = AT_ONCE_MAX,
        burst: int = 1,
        every_s: float = ALWAYS_S,
    ) -> None:
        self._fetch = fetch
        self._random = random
        self._places = asyncio.Semaphore(at_once)
        self._pace = _Pace(burst, every_s)
        self._lines: dict[Need, _Line] = {}
        self._count = 0
        self._bytes = 0

    def apart(self, *, at_once: int, burst: int, every_s: float) -> "Fetching":
        """Another one, with places and bounds of its own. It is stopped by itself."""
        return Fetching(self._fetch, self._random, at_once=at_once, burst=burst, every_s=every_s)

    def is_fetched(self, need: Need) -> bool:
        """Whether that goes on now."""
        return need in self._lines

    def is_waited_for(self, need: Need) -> bool:
        """Whether somebody waits: who comes now comes after him."""
        line = self._lines.get(need)
        return line is not None and line.left > 0

    def wait(self, need: Need, told: Told, *, until_s: float, size: int) -> None:
        """Tells `told` when the need is met, or why it is not by `until_s` (the loop's clock)."""
        if self._count >= WAITING_MAX or self._bytes + size > WAITING_BYTES_MAX:
            told(KeyUnavailable("too many messages wait for keys"))
            return
        line = self._line(need)
        waiter = Waiter(told, size)
        line.waiting.append(waiter)
        line.left += 1
        self._count += 1
        self._bytes += size
        if until_s != inf:
            loop = asyncio.get_running_loop()
            waiter.timer = loop.call_at(until_s, self._give_up, line, waiter)

    def renew(self, need: Need, *, until_s: float) -> None:
        """In the background, tried until then."""
        line = self._line(need)
        line.until_s = max(line.until_s, until_s)

    async def stop(self) -> None:
        """Who waits is told that nothing comes."""
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            if line.task is not None:
                line.task.cancel()
                await asyncio.wait([line.task], timeout=TRY_S)
            self._tell_all(line, KeyUnavailable("the transport was stopped"))

    def _line(self, need: Need) -> _Line:
        line = self._lines.get(need)
        if line is None:
            line = self._lines[need] = _Line()
            work = self._work(need, line)
            line.task = asyncio.get_running_loop().create_task(work, name=f"keys {need.name}")
        return line

    async def _work(self, need: Need, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_MIN_S
        outcome: KeyUnavailable | None = KeyUnavailable("the transport was stopped")
        try:
            while True:
                outcome = line.reason = await self._try(need, line)
                if outcome is None or outcome.lasting:
                    break
                await asyncio.sleep(pause_s * (0.5 + self._random(1)[0] / 255))
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                if not line.left and loop.time() >= line.until_s:
                    break
        finally:
            # Those who come while others are told are told after them, and then a new line begins.
            self._tell_all(line, outcome)
            if self._lines.get(need) is line:
                del self._lines[need]

    async def _try(self, need: Need, line: _Line) -> KeyUnavailable | None:
        try:
            async with asyncio.timeout(TRY_S), self._places:
                await self._pace.turn()
                if not line.left and asyncio.get_running_loop().time() >= line.until_s:
                    return KeyUnavailable("nobody waits for the key any more")
                await self._fetch(need)
        except KeyUnavailable as error:
            about = {"purpose": need.purpose, "destination": need.destination}
            log.warning("key not had", extra={**about, "reason": error.text})
            return error
        except TimeoutError:
            return KeyUnavailable("the source of keys did not answer in time")
        except Exception:  # Safety: a source from elsewhere may raise what it likes; tried again
            log.exception("the source of keys failed", extra={"purpose": need.purpose})
            return KeyUnavailable("the source of keys failed")
        return None

    def _give_up(self, line: _Line, waiter: Waiter) -> None:
        if waiter.done:
            return
        reason = line.reason or KeyUnavailable("the source of keys did not answer in time")
        line.waiting.remove(waiter)
        self._tell(line, waiter, reason)

    def _tell_all(self, line: _Line, outcome: KeyUnavailable | None) -> None:
        while line.waiting:
            self._tell(line, line.waiting.popleft(), outcome)

    def _tell(self, line: _Line, waiter: Waiter, outcome: KeyUnavailable | None) -> None:
        waiter.done = True
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._count -= 1
        self._bytes -= waiter.size
        try:
            waiter.told(outcome)
        finally:
            line.left -= 1
