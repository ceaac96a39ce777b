# SPDX-License-Identifier: Apache-2.0
"""Verbs on PostgreSQL: the `Transaction` that they see, from its begin to before its commit.

Invariant: no error of the client leaves a verb: each becomes one of the tree, and the first stays
known in `failed`. After it the server takes nothing more of the transaction, so a verb that
swallows it has failed, too.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from transom.errors import InternalError, TransomError
from transom.runtime.db.dialect import for_postgres
from transom.runtime.db.postgres.faults import ERRORS, Fault, as_error, fault_of, named
from transom.runtime.db.transaction import Parameters, Row, Verb

T = TypeVar("T")
WRITE = "begin isolation level serializable"
READ = "begin isolation level repeatable read read only"


class PostgresTransaction:
    """Statements on one connection. `failed`: the first fault, with its text."""

    __slots__ = ("_connection", "failed")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.failed: tuple[Fault, str] | None = None

    async def run(self, begin: str, verb: Verb[T]) -> T:
        """All but the commit of what changes something. What raises is undone."""
        try:
            await self._do(begin)
            value = await verb(self)
            if self.failed is not None:
                name = getattr(verb, "__qualname__", repr(verb))
                raise InternalError(detail=f"the verb {name} went on after {self.failed[1]}")
            if begin is READ:
                await self._do("commit")
        except Exception:  # Safety: undone, and raised again
            await self._do("rollback")
            raise
        return value

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        try:
            status = await self._connection.execute(for_postgres(sql), *parameters)
        except ERRORS as error:
            raise self._told(error) from error
        count: str = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        try:
            await self._connection.executemany(for_postgres(sql), rows)
        except ERRORS as error:
            raise self._told(error) from error

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        try:
            rows = await self._connection.fetch(for_postgres(sql), *parameters)
        except ERRORS as error:
            raise self._told(error) from error
        return [tuple(row) for row in rows]

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        rows = await self.fetch(sql, parameters)
        return rows[0] if rows else None

    async def _do(self, own: str) -> None:
        try:
            await self._connection.execute(own)
        except ERRORS as error:
            raise self._told(error) from error

    def _told(self, error: BaseException) -> TransomError:
        fault = fault_of(error)
        if self.failed is None:
            self.failed = (fault, named(error))
        return as_error(fault, named(error))
