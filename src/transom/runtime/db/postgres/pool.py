# SPDX-License-Identifier: Apache-2.0
"""Connections to one server: a bounded number, made when they are needed, kept while they are well.

Invariants:
1. A connection that is lent is the borrower's alone, and comes back outside of any transaction, or
   broken.
2. While the server is known to be away nobody waits for it: `borrow` refuses at once, and one
   task tries until it is back. What keeps a connection from being made is `away`.
3. Every wait has an end.
4. A server that takes no further connection is not away for who has some: those are shared, and
   another one is tried for each `ASIDE_S`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from transom.errors import TransomError, Unavailable
from transom.runtime.db.postgres.connecting import NoRoom, close

log = logging.getLogger(__name__)

PROBE_S = 0.5
ASIDE_S = 5.0
Connect = Callable[[], Awaitable[Any]]


class Pool:
    """`connect` makes a connection that is ready for use. `size`: most of them at once."""

    def __init__(self, connect: Connect, size: int, name: str) -> None:
        self._connect = connect
        self._name = name
        self._places = asyncio.Semaphore(size)
        self._idle: list[Any] = []
        self._round = 0
        self._lent: dict[Any, int] = {}
        self._probe: asyncio.Task[None] | None = None
        self._closed = False
        self.away = ""

    async def borrow(self) -> Any:
        """To be given back. Raises: Unavailable; what `connect` raises."""
        while True:
            self._refuse_while_away()
            await self._places.acquire()
            try:
                self._refuse_while_away()
                connection = self._kept() or await self._made()
            except BaseException as error:  # Safety: gives the place back, and goes on
                if self._can_share(error):
                    log.info("no further connection", extra={"store": self._name})
                    asyncio.get_running_loop().call_later(ASIDE_S, self._places.release)
                    continue
                self._places.release()
                raise
            self._lent[connection] = self._round
            return connection

    async def warm(self) -> None:
        """Makes the first connection."""
        self.give_back(await self.borrow(), broken=False)

    def give_back(self, connection: Any, *, broken: bool) -> None:
        stale = self._lent.pop(connection) != self._round
        if broken or stale or self._closed or connection.is_closed():
            connection.terminate()
        else:
            self._idle.append(connection)
        self._places.release()

    def distrust(self) -> None:
        """One of them was silent: none that was made before is used again."""
        self._round += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()

    async def close(self) -> None:
        """What is lent ends when it comes back. Idempotent."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
            self._probe = None
        idle, self._idle = self._idle, []
        await asyncio.gather(*(close(connection) for connection in idle))

    def _refuse_while_away(self) -> None:
        if self.away:
            raise Unavailable("The database does not answer; try again.", detail=self.away)

    def _kept(self) -> Any | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    async def _made(self) -> Any:
        try:
            return await self._connect()
        except TransomError as error:
            if not self._can_share(error):
                self._lose(error.detail)
            raise

    def _can_share(self, error: BaseException) -> bool:
        """Whether there is only no other connection than those that we have."""
        return isinstance(error, NoRoom) and bool(self._lent or self._idle)

    def _lose(self, detail: str) -> None:
        if self._closed or self.away:
            return
        self.away = detail
        log.error("database away", extra={"store": self._name, "detail": self.away})
        self._probe = asyncio.get_running_loop().create_task(
            self._try_until_back(), name=f"probe:{self._name}"
        )

    async def _try_until_back(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S * random.uniform(0.5, 1.5))
            try:
                connection = await self._connect()
            except TransomError as error:
                self.away = error.detail
                continue
            self._idle.append(connection)
            self.away = ""
            log.info("database is back", extra={"store": self._name})
            return
