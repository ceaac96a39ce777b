# SPDX-License-Identifier: Apache-2.0
"""A schema written into a SQLite file of the same migrations, and a file's rows put into a schema.

So a backup has one form, whatever database it is of, and can be restored into either.

Invariants:
1. A file is one moment of the schema (`repeatable read`), taken while others write.
2. Schemas are filled in one transaction, all or none, and only if there is nothing in them.
3. What numbers itself goes on above the highest number that was put in.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom.errors import ConfigError
from transom.runtime.clock import Clock
from transom.runtime.db.backup import new_file
from transom.runtime.db.connection import cannot_open, connect_reader
from transom.runtime.db.migrate import CREATE_VERSIONS, Migrations, apply, missing
from transom.runtime.db.postgres.connecting import lock_key, session
from transom.runtime.db.postgres.schema import (
    LOCK,
    TABLES,
    UPGRADE_WAIT_S,
    VERSIONS,
    applied,
    check_server,
    connected,
    make_tables,
    transaction,
    where_of,
)
from transom.runtime.secrets import Secret

ROWS = 200
"""Read and written at once. A row may have a quarter of a MiB."""
STEP_S = 60.0
_SNAPSHOT = "begin isolation level repeatable read read only"
_TABLES_OF_FILE = """
select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by name
"""
_COLUMNS = "select name from pragma_table_info(?) order by cid"
_NUMBERED = """
select column_name from information_schema.columns
where table_schema = $1 and table_name = $2 and is_identity = 'YES'
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of all these migrations, and the schema that is to have its rows."""

    path: Path
    schema: str
    rooms: Sequence[Migrations]


async def copy_schema(
    url: Secret, schema: str, rooms: Sequence[Migrations], to: Path, *, clock: Clock
) -> bool:
    """Writes the schema into a new file; False if there is no such schema.

    Raises: ConfigError (newer, refused, `to` exists), StorageFull, StorageUnavailable, Unavailable.
    """
    try:
        with new_file(to) as file:
            found = await _copy(url, schema, rooms, file, clock)
    except (sqlite3.Error, OSError) as error:
        raise cannot_open(to, error) from error
    if not found:
        to.unlink()
    return found


async def fill_schemas(url: Secret, sources: Sequence[Source], *, clock: Clock) -> None:
    """Makes the schemas and puts the files' rows into them.

    Raises: ConfigError (not empty, refused, a text that the server cannot hold), StorageFull,
    StorageUnavailable, Unavailable.
    """
    async with connected(url, _settings("transom_restore")) as connection:
        await check_server(connection, url)
        async with transaction(connection):
            for source in sources:
                await connection.execute(LOCK, lock_key(source.schema, "upgrade"))
                if await connection.fetchval(TABLES, source.schema):
                    raise ConfigError(
                        f"{where_of(url, source.schema)}: is not empty, and a restore changes "
                        "nothing that is there; name an empty database with --database"
                    )
                await connection.execute(f"set local search_path to {source.schema}")
                await make_tables(connection, source.schema, source.rooms, clock)
                await _fill(connection, source)


def _settings(schema: str) -> dict[str, str]:
    return {**session(schema, UPGRADE_WAIT_S), "statement_timeout": "0"}


async def _copy(
    url: Secret, schema: str, rooms: Sequence[Migrations], file: sqlite3.Connection, clock: Clock
) -> bool:
    async with connected(url, _settings(schema)) as connection:
        await connection.execute(_SNAPSHOT)
        if not await connection.fetchval(VERSIONS, schema):
            return False
        there = await applied(connection)
        missing(where_of(url, schema), there, rooms)  # raises if it is newer
        file.execute(CREATE_VERSIONS)
        for room in rooms:
            for migration in room.files():
                if (migration.room, migration.number) in there:
                    apply(file, migration, clock)
        await _copy_rows(connection, file)
    return True


async def _copy_rows(connection: Any, file: sqlite3.Connection) -> None:
    file.execute("begin immediate")
    for table, columns in _tables(file).items():
        file.execute(f"delete from {table}")  # what the migrations put in
        names, places = ", ".join(columns), ", ".join("?" * len(columns))
        rows = await connection.cursor(f"select {names} from {table}", timeout=STEP_S)
        while batch := await rows.fetch(ROWS, timeout=STEP_S):
            file.executemany(
                f"insert into {table} ({names}) values ({places})", [tuple(row) for row in batch]
            )
    file.execute("commit")


async def _fill(connection: Any, source: Source) -> None:
    with closing(connect_reader(source.path)) as reader:
        for table, columns in _tables(reader).items():
            await connection.execute(f"delete from {table}")  # what the migrations put in
            rows = reader.execute(f"select {', '.join(columns)} from {table}")
            while batch := rows.fetchmany(ROWS):
                _refuse_what_a_server_cannot_hold(source.path, table, batch)
                await connection.copy_records_to_table(
                    table,
                    schema_name=source.schema,
                    columns=columns,
                    records=batch,
                    timeout=STEP_S,
                )
            await _number_on(connection, source.schema, table)


async def _number_on(connection: Any, schema: str, table: str) -> None:
    for (column,) in await connection.fetch(_NUMBERED, schema, table):
        await connection.fetchval(
            f"select setval(pg_get_serial_sequence($1, $2), "
            f"(select coalesce(max({column}), 0) + 1 from {table}), false)",
            f"{schema}.{table}",
            column,
        )


def _tables(file: sqlite3.Connection) -> Mapping[str, tuple[str, ...]]:
    """Name -> names of its columns."""
    tables = [name for (name,) in file.execute(_TABLES_OF_FILE).fetchall()]
    return {
        table: tuple(column for (column,) in file.execute(_COLUMNS, (table,))) for table in tables
    }


def _refuse_what_a_server_cannot_hold(path: Path, table: str, rows: Sequence[Any]) -> None:
    for row in rows:
        if any(isinstance(value, str) and "\0" in value for value in row):
            raise ConfigError(
                f"{path.name}: a row of {table} holds a text with a NUL, which PostgreSQL cannot "
                "hold; restore into files, and change it there"
            )
