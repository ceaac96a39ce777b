# SPDX-License-Identifier: Apache-2.0
"""Who writes at once: many together, or one that failed for the others, alone.

Of verbs that write the same rows all but one fail to serialise. One that is run again runs alone in
its process, so that it cannot lose to the same neighbours for ever.

Invariant: who waits to be alone waits only for those that are inside; newcomers wait behind it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from transom.errors import Unavailable


class Gate:
    """Its contexts raise Unavailable if the turn does not come before `deadline_s` (the loop's)."""

    def __init__(self) -> None:
        self._inside = 0
        self._turn = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def together(self, deadline_s: float) -> AsyncIterator[None]:
        await _in_time(self._turn.acquire(), deadline_s)
        self._turn.release()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self, deadline_s: float) -> AsyncIterator[None]:
        await _in_time(self._turn.acquire(), deadline_s)
        try:
            await _in_time(self._empty.wait(), deadline_s)
            yield
        finally:
            self._turn.release()


async def _in_time(turn: Coroutine[None, None, object], deadline_s: float) -> None:
    try:
        async with asyncio.timeout_at(deadline_s):
            await turn
    except TimeoutError as error:
        raise Unavailable(
            "Too many write at once; try again.", detail="no turn to write in time"
        ) from error
