# SPDX-License-Identifier: Apache-2.0
"""Verbs on SQLite: the `Transaction` that they see, and how they are driven.

Invariants:
1. A verb runs from start to end without being suspended; one that waits for anything but its
   transaction is a programming error, told as such and undone.
2. No error of SQLite leaves a verb: each becomes one of the tree. A fault that concerns the whole
   group stays known in `failed`, even if the verb swallows the error.
"""

import sqlite3
from collections.abc import Iterable
from typing import TypeVar

from transom.errors import InternalError, StorageUnavailable, TransomError
from transom.runtime.db.faults import OF_THE_GROUP, Fault, as_error, fault_of, named
from transom.runtime.db.several import batches
from transom.runtime.db.transaction import Parameters, Row, Transaction, Verb

T = TypeVar("T")


class SqliteTransaction:
    """Statements on one connection. `failed`: the first fault of the group, with its text."""

    __slots__ = ("_connection", "_cursor", "failed")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # One cursor for everything: starting a statement resets the one before, so none that was
        # left half-read can hold a snapshot open.
        self._cursor = connection.cursor()
        self.failed: tuple[Fault, str] | None = None

    def run(self, sql: str) -> None:
        """One of our own statements (begin, savepoint, commit ...). Raises: sqlite3.Error.

        Read to its end: a checkpoint's unread row would keep a closed connection open.
        """
        self._cursor.execute(sql).fetchall()

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        before = self._connection.total_changes
        try:
            touched = self._cursor.execute(sql, parameters).rowcount
        except sqlite3.Error as error:
            raise self._told(error) from error
        # `with ... update` is not recognised as a change by the module, which then says -1.
        return touched if touched >= 0 else self._connection.total_changes - before

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        try:
            for statement, parameters, at_once in batches(sql, list(rows)):
                if at_once:
                    self._cursor.execute(statement, parameters)
                else:
                    self._cursor.executemany(statement, parameters)
        except sqlite3.Error as error:
            raise self._told(error) from error

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        try:
            return self._cursor.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._told(error) from error

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        try:
            row: Row | None = self._cursor.execute(sql, parameters).fetchone()
        except sqlite3.Error as error:
            raise self._told(error) from error
        return row

    def _told(self, error: sqlite3.Error) -> TransomError:
        fault = fault_of(error)
        if fault in OF_THE_GROUP and self.failed is None:
            self.failed = (fault, named(error))
        return as_error(fault, named(error))


def in_snapshot(verb: Verb[T], reads: "SqliteTransaction | None") -> T:
    """Runs the verb in a transaction that is undone; None: the store is closed.

    Raises: what the verb raises; what storage raises, with `reads.failed` set.
    """
    if reads is None:
        raise StorageUnavailable("The store is closed.")
    reads.failed = None
    try:
        reads.run("begin")
        try:
            return drive(verb, reads)
        finally:
            reads.run("rollback")
    except sqlite3.Error as error:
        reads.failed = reads.failed or (fault_of(error), named(error))
        raise as_error(fault_of(error), named(error)) from error


def drive(verb: Verb[T], transaction: Transaction) -> T:
    """Runs the verb to its end, here and now. Raises: what the verb raises."""
    steps = verb(transaction).__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    close = getattr(steps, "close", None)
    if close is not None:
        close()
    name = getattr(verb, "__qualname__", repr(verb))
    raise InternalError(
        detail=f"the verb {name} waited for something else than its transaction; "
        "fetch what it needs before the transaction"
    )
