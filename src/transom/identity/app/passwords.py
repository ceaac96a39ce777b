# SPDX-License-Identifier: Apache-2.0
"""Hashing off the loop, by few threads, for few at a time.

Invariant: at most `WAITING_MAX` hashes wait or run; who comes then is told to come again.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from transom.errors import InternalError, Unavailable
from transom.identity.logic.password import (
    DRAWN_COST_LOG2,
    SALT_BYTES,
    Cost,
    fits,
    hashed,
    nobody,
)
from transom.runtime.ids import Randomness

T = TypeVar("T")
THREADS = 2
WAITING_MAX = 32


class Passwords:
    """A `lifecycle.Service`."""

    def __init__(self, cost: Cost, random: Randomness) -> None:
        self._cost = cost
        self._random = random
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0
        self.nobody = nobody(cost)
        """A record that no password fits, for users without one and for no user at all."""

    async def start(self) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password")

    async def stop(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, *, drawn: bool = False) -> str:
        """A new record. `drawn`: the password is a random one. Raises: Unavailable."""
        cost = Cost(DRAWN_COST_LOG2) if drawn else self._cost
        return await self._run(partial(hashed, password, self._random(SALT_BYTES), cost))

    async def fits(self, password: str, record: str) -> bool:
        """Raises: Unavailable."""
        return await self._run(partial(fits, password, record))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            raise InternalError(detail="passwords are checked before the start or after the stop")
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many passwords are being checked; try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
