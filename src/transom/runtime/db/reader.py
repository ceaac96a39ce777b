# SPDX-License-Identifier: Apache-2.0
"""A SQLite file that another process writes: it is read here, inline, and never written.

Readers take no lock of ours: what opens a file alone (`lock`) shuts out other writers, and SQLite
gives each read one snapshot of the log. Whoever replaces a whole file sees to it that nobody reads:
only processes of a family do, and they hold the lock of the data folder.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from transom.errors import InternalError
from transom.runtime.db.connection import cannot_open, check_header, connect_reader
from transom.runtime.db.migrate import Migrations, check
from transom.runtime.db.transaction import Verb
from transom.runtime.db.verb import SqliteTransaction, in_snapshot

T = TypeVar("T")


class SqliteReader:
    """One file; a `transaction.Database` that refuses to write."""

    problem = ""

    in_order = False

    def __init__(self, path: Path, migrations: Sequence[Migrations]) -> None:
        self.path = path
        self._migrations = migrations
        self._connection: sqlite3.Connection | None = None
        self._reads: SqliteTransaction | None = None

    @property
    def name(self) -> str:
        return self.path.stem

    def is_short(self, bytes_least: int) -> bool:
        return False

    async def start(self) -> None:
        if self._connection is not None:
            return
        try:
            check_header(self.path)
            connection = connect_reader(self.path)
            try:
                check(self.path, connection, self._migrations)
            except BaseException:  # Safety: let go, and raised again
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise cannot_open(self.path, error) from error
        self._connection = connection
        self._reads = SqliteTransaction(connection)

    async def stop(self) -> None:
        self._reads = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def write(self, verb: Verb[T]) -> T:
        raise InternalError(detail=f"{self.path} is written by another process")

    async def read(self, verb: Verb[T]) -> T:
        return in_snapshot(verb, self._reads)
