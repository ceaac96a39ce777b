# SPDX-License-Identifier: Apache-2.0
"""What a person wants to know of a part's schema on a server. Nothing is made or changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from transom.runtime.db.migrate import Migrations, missing, older
from transom.runtime.db.postgres.connecting import session
from transom.runtime.db.postgres.schema import (
    VERSIONS,
    applied,
    check_server,
    connected,
    where_of,
)
from transom.runtime.secrets import Secret

STATEMENT_S = 10.0
_NEEDED = ("fsync", "full_page_writes")
_BYTES = """
select coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1 and relkind = 'r'
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """`is_made`: whether the schema is there; `off`: settings that a power cut does not forgive."""

    where: str
    is_made: bool
    size_bytes: int
    off: tuple[str, ...]


async def look(url: Secret, schema: str, rooms: Sequence[Migrations]) -> Seen:
    """Raises: ConfigError, StorageUnavailable, each with what to do."""
    where = where_of(url, schema)
    async with connected(url, session(schema, STATEMENT_S)) as connection:
        await check_server(connection, url)
        off = [name for name in _NEEDED if await connection.fetchval(f"show {name}") != "on"]
        is_made = bool(await connection.fetchval(VERSIONS, schema))
        if is_made:
            lacking = missing(where, await applied(connection), rooms)
            if any(not migration.after for migration in lacking):
                raise older(where, lacking)
        return Seen(where, is_made, await connection.fetchval(_BYTES, schema), tuple(off))
