# SPDX-License-Identifier: Apache-2.0
"""A part's schema: made whole when it is not there, checked, brought to this version.

Invariants:
1. A schema appears with everything in it, in one transaction; of several that start at once on an
   empty database one makes it and the others find it.
2. One migration is one transaction together with its row in `schema_version`, under a lock that
   only one upgrader of the schema holds; one that is killed leaves whole migrations.
3. What takes something away waits until nobody uses the schema.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from transom.errors import ConfigError
from transom.runtime.clock import Clock
from transom.runtime.db.address import shown
from transom.runtime.db.dialect import migration_for_postgres
from transom.runtime.db.migrate import CREATE_VERSIONS, Migration, Migrations, missing, older
from transom.runtime.db.postgres.connecting import close, connect_first, lock_key, session
from transom.runtime.db.postgres.faults import ERRORS, Fault, as_error, fault_of, named
from transom.runtime.secrets import Secret

UPGRADE_WAIT_S = 30.0
UPGRADE_TRIES = 20
PAUSE_S = 0.05
# A query of the catalogue sees what is committed; `to_regclass` what this session remembers.
VERSIONS = """
select count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1 and relname = 'schema_version'
"""
_SCHEMA = "select count(*) from pg_namespace where nspname = $1"
TABLES = """
select count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1
"""
_APPLIED = "select room, number from schema_version"
LOCK = "select pg_advisory_xact_lock($1)"
_TRY_ALONE = "select pg_try_advisory_lock($1)"
_RECORD = "insert into schema_version (room, number, name, applied_ms) values ($1, $2, $3, $4)"
_IS_APPLIED = "select count(*) from schema_version where room = $1 and number = $2"
_BEGIN = "begin isolation level read committed"


async def make_or_check(
    url: Secret,
    schema: str,
    rooms: Sequence[Migrations],
    settings: Mapping[str, str],
    clock: Clock,
) -> None:
    """Raises: ConfigError (older, newer, not ours, refused), StorageFull, StorageUnavailable."""
    async with connected(url, settings) as connection:
        await check_server(connection, url)
        if not await connection.fetchval(VERSIONS, schema):
            await _make(connection, url, schema, rooms, clock)
        where = where_of(url, schema)
        lacking = missing(where, await applied(connection), rooms)
        if any(not migration.after for migration in lacking):
            raise older(where, lacking)


async def upgrade(
    url: Secret, schema: str, rooms: Sequence[Migrations], *, clock: Clock
) -> list[str]:
    """Applies what is missing, and answers its names. A schema that is not there needs nothing.

    Who works meanwhile may wait for it crosswise; then it is undone, and tried again.

    Raises: ConfigError, StorageFull, StorageUnavailable, Unavailable.
    """
    settings = {**session(schema, UPGRADE_WAIT_S), "statement_timeout": "0"}
    async with connected(url, settings) as connection:
        if not await connection.fetchval(VERSIONS, schema):
            return []
        alone = await connection.fetchval(_TRY_ALONE, lock_key(schema, "use"))
        lacking = missing(where_of(url, schema), await applied(connection), rooms)
        return [
            migration.name
            for migration in lacking
            if (alone or not migration.after)
            and await _apply_at_last(connection, schema, migration, clock)
        ]


@asynccontextmanager
async def connected(url: Secret, settings: Mapping[str, str]) -> AsyncIterator[Any]:
    """A connection for a person's command. Raises: what `connect_first` does; TransomError."""
    connection = await connect_first(url, settings)
    try:
        yield connection
    except ERRORS as error:
        raise as_error(fault_of(error), named(error)) from error
    finally:
        await close(connection)


async def check_server(connection: Any, url: Secret) -> None:
    """Raises: ConfigError if no schema of ours can be there."""
    where = f"PostgreSQL at {shown(url.reveal())}"
    encoding = await connection.fetchval("show server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"{where}: the database's encoding is {encoding}; make one with "
            "create database ... encoding 'UTF8' template template0"
        )


async def _make(
    connection: Any, url: Secret, schema: str, rooms: Sequence[Migrations], clock: Clock
) -> None:
    async with transaction(connection):
        await connection.execute(LOCK, lock_key(schema, "upgrade"))
        if await connection.fetchval(VERSIONS, schema):
            return
        if await connection.fetchval(TABLES, schema):
            raise ConfigError(
                f"{where_of(url, schema)}: is not a schema of Transom; move it away, or use "
                "another database"
            )
        await make_tables(connection, schema, rooms, clock)


async def make_tables(
    connection: Any, schema: str, rooms: Sequence[Migrations], clock: Clock
) -> None:
    """All of an empty schema's, in the caller's transaction, under its `LOCK`."""
    if not await connection.fetchval(_SCHEMA, schema):
        await connection.execute(f"create schema {schema}")
    await connection.execute(migration_for_postgres(CREATE_VERSIONS))
    for room in rooms:
        for migration in room.files():
            await _run(connection, migration, clock)


async def _apply_at_last(connection: Any, schema: str, migration: Migration, clock: Clock) -> bool:
    """As `_apply`, as often as others get in its way, within bounds."""
    for attempt in range(1, UPGRADE_TRIES):
        try:
            return await _apply(connection, schema, migration, clock)
        except ERRORS as error:
            if fault_of(error) is not Fault.AGAIN:
                raise
            await asyncio.sleep(PAUSE_S * attempt * random.uniform(0.5, 1.0))
    return await _apply(connection, schema, migration, clock)


async def _apply(connection: Any, schema: str, migration: Migration, clock: Clock) -> bool:
    """False if another process was first."""
    async with transaction(connection):
        await connection.execute(LOCK, lock_key(schema, "upgrade"))
        if await connection.fetchval(_IS_APPLIED, migration.room, migration.number):
            return False
        await _run(connection, migration, clock)
    return True


async def _run(connection: Any, migration: Migration, clock: Clock) -> None:
    await connection.execute(_script(migration))
    record = (migration.room, migration.number, migration.path.stem, clock.now_ms())
    await connection.execute(_RECORD, *record)


def _script(migration: Migration) -> str:
    own = migration.path.with_suffix(".postgres.sql")
    if own.exists():
        return own.read_text("utf-8")
    return migration_for_postgres(migration.path.read_text("utf-8"))


@asynccontextmanager
async def transaction(connection: Any) -> AsyncIterator[None]:
    """Commits at the end; what raises is undone."""
    await connection.execute(_BEGIN)
    try:
        yield
    except BaseException:  # Safety: undone, and raised again
        if not connection.is_closed():
            await connection.execute("rollback")
        raise
    await connection.execute("commit")


async def applied(connection: Any) -> set[tuple[str, int]]:
    """Room and number of the migrations that the schema has."""
    return {(row[0], row[1]) for row in await connection.fetch(_APPLIED)}


def where_of(url: Secret, schema: str) -> str:
    """For people."""
    return f"schema {schema} of {shown(url.reveal())}"
