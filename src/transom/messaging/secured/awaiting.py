# SPDX-License-Identifier: Apache-2.0
"""Which key a message that arrived has to wait for, and where it is asked for.

Anybody who can write to the bus can name a generation that there is not, so:

| the generation | |
|---|---|
| is of another time (`freshness.check_generation`) | refused at once |
| is newer than all that were here | the newest is asked for: one request for all who wait |
| is still newer than that, asked for after the message came | made up: refused |
| is older, and not here | asked for by its number, at a pace |
| was denied by the key server a moment ago | refused, a durable one after some more tries |

Invariants:
1. However many messages come of outsiders, requests go out at `BURST`, and one each `EVERY_S`; they
   take no place from those of who sends.
2. What is remembered of denials is bounded, and for a moment.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from transom.errors import KeyUnavailable
from transom.messaging.secured.fetching import Fetching, Told
from transom.messaging.secured.obtaining import ENROLMENT, Need
from transom.messaging.security.freshness import Bounds, check_generation
from transom.messaging.security.opening import KeyNeeded, Opener
from transom.messaging.security.tickets import Purpose

AT_ONCE_MAX = 4
BURST = 16
EVERY_S = 0.25
ASKS_MAX = 2
"""Of two requests for the newest generation the second began after the message came."""
PAUSE_S = 5.0
DENIED_S = 2 * PAUSE_S
DENIALS_MAX = 3
DENIED_MAX = 1000


class _Denied(NamedTuple):
    times: int
    at_s: float


class Awaiting:
    """One a driver; `fetching` is that of who sends."""

    def __init__(self, fetching: Fetching, opener: Opener) -> None:
        self._opener = opener
        self._sending = fetching
        self._newest = fetching.apart(at_once=AT_ONCE_MAX, burst=BURST, every_s=EVERY_S)
        self._older = fetching.apart(at_once=AT_ONCE_MAX, burst=BURST, every_s=EVERY_S)
        self._denied: OrderedDict[Need, _Denied] = OrderedDict()

    async def stop(self) -> None:
        """Who waits is told that nothing comes."""
        await self._newest.stop()
        await self._older.stop()

    def need(
        self, needed: KeyNeeded, bounds: Bounds, now_ms: int, *, asks: int, durable: bool
    ) -> Need:
        """What the message waits for. `asks`: for how many keys it has waited before.

        Raises: Expired, KeyUnavailable.
        """
        need = ENROLMENT
        if needed.group:
            check_generation(needed.generation, bounds, now_ms, durable=durable)
            newest = self._opener.newest(needed.group)
            generation = needed.generation if needed.generation < newest else 0
            need = Need(Purpose.GROUP_KEY, needed.group, generation=generation)
            if not generation and asks >= ASKS_MAX:
                raise KeyUnavailable("the generation of the group's key was made up", lasting=True)
        self._check_denied(need, durable=durable)
        return need

    def wait(self, need: Need, told: Told, *, until_s: float, size: int) -> None:
        """See `Fetching.wait`. Who listens has perhaps asked already."""
        fetching = self._older if need.generation else self._newest
        if self._sending.is_fetched(need):
            fetching = self._sending
        fetching.wait(need, told, until_s=until_s, size=size)

    def denied(self, need: Need) -> bool:
        """The key server said no. Whether that was so often that it is believed."""
        now_s = asyncio.get_running_loop().time()
        times, at_s = self._denied.pop(need, _Denied(0, 0.0))
        if not times or now_s - at_s >= PAUSE_S / 2:
            times, at_s = times + 1, now_s
        self._denied[need] = _Denied(times, at_s)
        if len(self._denied) > DENIED_MAX:
            self._denied.popitem(last=False)
        return times >= DENIALS_MAX

    def _check_denied(self, need: Need, *, durable: bool) -> None:
        found = self._denied.get(need)
        if found is None:
            return
        if asyncio.get_running_loop().time() - found.at_s >= DENIED_S:
            del self._denied[need]
        elif not durable or found.times >= DENIALS_MAX:
            raise KeyUnavailable("the key server has just denied the key", lasting=True)
