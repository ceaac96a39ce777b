# SPDX-License-Identifier: Apache-2.0
"""A database in one schema of a PostgreSQL server: verbs as serialisable transactions.

Invariants:
1. `write` returns a value only after the server has said that the verb is committed.
2. A verb sees the database as if no other ran beside it (`serializable`), so what is right with one
   writer is right with many. One that cannot be put in order with the others is undone and run
   again, whole, at most `TRIES` times.
3. Whose connection breaks before the commit was undone, and is run again; at the commit the caller
   is told that the outcome is unknown, and nothing is run again.
4. No caller hangs: what is waited for has a time, here and on the server, which also ends the
   sessions of a process that sleeps inside a transaction, and with them the locks it holds.
5. A caller that is cancelled harms nobody; its verb is left out, or commits.

A read is one snapshot (`repeatable read, read only`); nothing is decided on it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from transom.errors import InternalError, StorageUnavailable, Unavailable
from transom.runtime.clock import Clock
from transom.runtime.db.address import shown
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.postgres.connecting import connect, session
from transom.runtime.db.postgres.faults import (
    AFTER_LOSS,
    ERRORS,
    Fault,
    as_error,
    fault_of,
    named,
    unknown,
)
from transom.runtime.db.postgres.gate import Gate
from transom.runtime.db.postgres.pool import Pool
from transom.runtime.db.postgres.schema import make_or_check
from transom.runtime.db.postgres.verb import READ, WRITE, PostgresTransaction
from transom.runtime.db.transaction import Verb
from transom.runtime.secrets import Secret

log = logging.getLogger(__name__)
T = TypeVar("T")
TRIES = 20
PAUSE_S = 0.002
PAUSE_S_MOST = 0.25
LEAVING = (Fault.LOST, Fault.REFUSED)
"""After these the connection is not used again: a server that has become a standby refuses, and a
new connection may find the one that took its place."""
COMMIT = "commit"
"""The server's time for a statement ends before it (pinned by a test). Otherwise, where commits
wait for a standby, running out of it would acknowledge what the standby does not have."""


class PostgresDatabase:
    """One schema; a `transaction.Database`.

    `statement_s`: a statement's longest time; a verb has twice that, with all its tries, and so has
    its commit. `waiting_max`: verbs that may wait or run.
    """

    in_order = False

    def __init__(
        self,
        url: Secret,
        schema: str,
        migrations: Sequence[Migrations],
        *,
        clock: Clock,
        pool_max: int = 8,
        statement_s: float = 5.0,
        waiting_max: int = 4096,
    ) -> None:
        self._url = url
        self._schema = schema
        self._migrations = migrations
        self._clock = clock
        self._pool_max = pool_max
        self._statement_s = statement_s
        self._waiting_max = waiting_max
        self._pool: Pool | None = None
        self._gate = Gate()
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def name(self) -> str:
        return self._schema.removeprefix("transom_")

    @property
    def problem(self) -> str:
        if self._pool is None or not self._pool.away:
            return ""
        where = shown(self._url.reveal())
        return f"does not reach PostgreSQL at {where}, and goes on trying; see the log"

    def is_short(self, bytes_least: int) -> bool:
        return False

    async def start(self) -> None:
        if self._pool is not None:
            return
        settings = session(self._schema, self._statement_s)
        await make_or_check(self._url, self._schema, self._migrations, settings, self._clock)
        self._gate = Gate()
        self._pool = Pool(
            lambda: connect(self._url, settings, 1.5 * self._statement_s, use=self._schema),
            self._pool_max,
            self.name,
        )
        await self._pool.warm()

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._running:
            await asyncio.wait(self._running, timeout=4 * self._statement_s)
        await pool.close()

    async def write(self, verb: Verb[T]) -> T:
        return await self._apart(lambda pool: self._write(pool, verb))

    async def read(self, verb: Verb[T]) -> T:
        return await self._apart(lambda pool: self._read(pool, verb))

    async def _apart(self, run: Callable[[Pool], Awaitable[T]]) -> T:
        """In a task of its own, which a cancelled caller leaves alone."""
        pool = self._pool
        if pool is None:
            raise StorageUnavailable("The store is closed.")
        if len(self._running) >= self._waiting_max:
            raise Unavailable("Too many wait for the database; try again.")
        task = asyncio.ensure_future(run(pool))
        self._running.add(task)
        task.add_done_callback(self._ran)
        return await asyncio.shield(task)

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller has it, or has left

    async def _write(self, pool: Pool, verb: Verb[T]) -> T:
        deadline_s = self._deadline_s()
        number = 0
        while True:
            turn = self._gate.alone if number else self._gate.together
            try:
                async with turn(deadline_s):
                    return await self._attempt(pool, verb, WRITE, deadline_s)
            except _Undone as undone:
                number += 1
                await self._pause(number, deadline_s, undone)

    async def _read(self, pool: Pool, verb: Verb[T]) -> T:
        deadline_s = self._deadline_s()
        number = 0
        while True:
            try:
                return await self._attempt(pool, verb, READ, deadline_s)
            except _Undone as undone:
                number += 1
                await self._pause(number, deadline_s, undone)

    async def _pause(self, number: int, deadline_s: float, undone: "_Undone") -> None:
        """Before try `number` + 1. Raises: TransomError if it would be one too many."""
        log.debug("verb undone", extra={"store": self.name, "detail": undone.detail})
        pause_s = min(PAUSE_S * 2**number, PAUSE_S_MOST) * random.uniform(0.5, 1.5)
        if number >= TRIES or asyncio.get_running_loop().time() + pause_s >= deadline_s:
            raise as_error(undone.fault, undone.detail) from undone
        await asyncio.sleep(pause_s)

    async def _attempt(self, pool: Pool, verb: Verb[T], begin: str, deadline_s: float) -> T:
        """Raises: _Undone; what the verb raises; TransomError."""
        connection = await self._borrowed(pool, deadline_s)
        transaction = PostgresTransaction(connection)
        broken = True
        try:
            async with asyncio.timeout_at(deadline_s):
                value = await transaction.run(begin, verb)
            if begin is WRITE:
                await self._commit(connection)
            broken = False
            return value
        except TimeoutError as error:
            pool.distrust()
            raise as_error(Fault.BUSY, "no answer in time") from error
        except Exception as error:  # Safety: only to see what became of the connection
            failed = transaction.failed
            lost = failed is not None and failed[0] in LEAVING
            broken = lost or connection.is_closed() or connection.is_in_transaction()
            if failed is not None and failed[0] in AFTER_LOSS:
                raise _Undone(*failed) from error
            raise
        finally:
            pool.give_back(connection, broken=broken)

    async def _commit(self, connection: Any) -> None:
        """Raises: _Undone, TransomError: the server says that it is undone; or `unknown`."""
        try:
            async with asyncio.timeout(2 * self._statement_s):
                said = await connection.execute(COMMIT)
        except ERRORS as error:
            fault, detail = fault_of(error), named(error)
            if fault is Fault.LOST:
                log.error("outcome of a commit unknown", extra={"store": self.name, "why": detail})
                connection.terminate()
                raise unknown(detail) from error
            if fault is Fault.AGAIN:
                raise _Undone(fault, detail) from error
            raise as_error(fault, detail) from error
        if said != "COMMIT":
            raise InternalError(detail=f"the server answered a commit with {said}")

    async def _borrowed(self, pool: Pool, deadline_s: float) -> Any:
        try:
            async with asyncio.timeout_at(deadline_s):
                return await pool.borrow()
        except TimeoutError as error:
            raise as_error(Fault.BUSY, "no connection was free in time") from error

    def _deadline_s(self) -> float:
        return asyncio.get_running_loop().time() + 2 * self._statement_s


class _Undone(Exception):
    """The attempt left nothing and may be run again."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
