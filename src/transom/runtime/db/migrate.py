# SPDX-License-Identifier: Apache-2.0
"""Numbered migrations: `NNNN_before_<name>.sql`, `NNNN_after_<name>.sql`, one room of them a part.

They are written for SQLite. PostgreSQL takes the same file with its types translated, or, where
that is not enough, the file of the same name that ends with `.postgres.sql`.

*Before* files add what the new programs need and the old ones do not mind; they are applied while
old processes run. *After* files take away what only the old ones needed; they are applied when
no process has the file open. A new file gets everything at once.

Invariants:
1. One file is one transaction together with its row in `schema_version`: a process killed anywhere
   leaves whole files applied, and running again goes on with the next.
2. A database with a migration that this program does not know is not touched.
3. A start never migrates a file that exists; `transom db upgrade` does.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transom.errors import ConfigError, InternalError
from transom.runtime.clock import Clock
from transom.runtime.db.connection import cannot_open, check_header, connect_writer
from transom.runtime.db.lock import FileLock

UPGRADE_BUSY_MS = 30_000
POSTGRES = ".postgres.sql"
_FILE_NAME = re.compile(r"(\d{4})_(before|after)_([a-z0-9_]+)\.sql")
CREATE_VERSIONS = """
create table if not exists schema_version (
  room text not null,
  number integer not null,
  name text not null,
  applied_ms integer not null,
  primary key (room, number)
)
"""
_RECORD = "insert into schema_version (room, number, name, applied_ms) values (?, ?, ?, ?)"
_EXISTS = "select 1 from sqlite_schema where type = 'table' and name = 'schema_version'"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `after`: applied only when no process uses the database."""

    room: str
    number: int
    after: bool
    path: Path

    @property
    def name(self) -> str:
        return f"{self.room}/{self.path.stem}"


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations of one room, in the order of their numbers."""

    room: str
    folder: Path

    def files(self) -> list[Migration]:
        found: dict[int, Migration] = {}
        for path in sorted(self.folder.glob("*.sql")):
            if path.name.endswith(POSTGRES) and _base_of(path).exists():
                continue
            parts = _FILE_NAME.fullmatch(path.name)
            if parts is None or int(parts[1]) in found:
                raise InternalError(
                    detail=f"{path}: not NNNN_before_x.sql with a number of its own"
                )
            number = int(parts[1])
            found[number] = Migration(self.room, number, parts[2] == "after", path)
        return [found[number] for number in sorted(found)]


def check(path: Path, connection: sqlite3.Connection, rooms: Sequence[Migrations]) -> None:
    """Raises: ConfigError if the database is newer, older, or not one of ours."""
    lacking = missing(str(path), _applied(path, connection), rooms)
    if any(not migration.after for migration in lacking):
        raise older(str(path), lacking)


def upgrade(path: Path, rooms: Sequence[Migrations], *, clock: Clock) -> list[str]:
    """Applies what is missing, and answers its names. A file that does not exist needs nothing.

    Raises: ConfigError, StorageFull, StorageUnavailable.
    """
    if not path.exists():
        return []
    try:
        lock = FileLock.take(path, exclusive=True)
    except ConfigError:
        lock = None  # in use: the before ones only
    except OSError as error:
        raise cannot_open(path, error) from error
    try:
        check_header(path)
        connection = connect_writer(path, busy_ms=UPGRADE_BUSY_MS)
        try:
            return [
                migration.name
                for migration in missing(str(path), _applied(path, connection), rooms)
                if (lock is not None or not migration.after) and apply(connection, migration, clock)
            ]
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise cannot_open(path, error) from error
    finally:
        if lock is not None:
            lock.release()


def create_schema(
    connection: sqlite3.Connection, rooms: Sequence[Migrations], clock: Clock
) -> None:
    """Applies everything to a new database."""
    connection.execute(CREATE_VERSIONS)
    for room in rooms:
        for migration in room.files():
            apply(connection, migration, clock)


def apply(connection: sqlite3.Connection, migration: Migration, clock: Clock) -> bool:
    """False if another process was first."""
    connection.execute("begin immediate")
    try:
        row = connection.execute(
            "select 1 from schema_version where room = ? and number = ?",
            (migration.room, migration.number),
        ).fetchone()
        if row is None:
            for statement in statements(migration.path.read_text("utf-8")):
                connection.execute(statement)
            connection.execute(
                _RECORD,
                (migration.room, migration.number, migration.path.stem, clock.now_ms()),
            )
        connection.execute("commit")
    except BaseException:  # Safety: let go, and raised again
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return row is None


def statements(script: str) -> Iterator[str]:
    """The script's statements. Each ends with a semicolon at the end of a line."""
    gathered = ""
    for line in script.splitlines():
        if not gathered and (not line.strip() or line.lstrip().startswith("--")):
            continue
        gathered += line + "\n"
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""
    if gathered.strip():
        raise InternalError(detail=f"a statement without its semicolon: {gathered[:80]!r}")


def missing(
    where: str, applied: set[tuple[str, int]], rooms: Sequence[Migrations]
) -> list[Migration]:
    """What the database lacks, in order. Raises: ConfigError if it is newer."""
    known = [migration for room in rooms for migration in room.files()]
    unknown = applied - {(migration.room, migration.number) for migration in known}
    if unknown:
        room, number = min(unknown)
        raise ConfigError(
            f"{where}: made by a newer Transom ({room}/{number:04d} is not known here); "
            "install that version, or choose another data folder or database"
        )
    return [migration for migration in known if (migration.room, migration.number) not in applied]


def older(where: str, lacking: Sequence[Migration]) -> ConfigError:
    first = next(migration for migration in lacking if not migration.after)
    return ConfigError(
        f"{where}: made by an older Transom (lacks {first.name}); run: transom db upgrade"
    )


def _applied(path: Path, connection: sqlite3.Connection) -> set[tuple[str, int]]:
    if connection.execute(_EXISTS).fetchone() is None:
        raise ConfigError(f"{path}: not a database of Transom; move it away")
    rows = connection.execute("select room, number from schema_version")
    return {(str(room), int(number)) for room, number in rows}


def _base_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(POSTGRES) + ".sql")
