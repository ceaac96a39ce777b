# SPDX-License-Identifier: Apache-2.0
"""One connection: its settings on the server, and what is told when it cannot be made.

Whoever uses a schema holds a shared advisory lock on it with each connection, so that a migration
which takes something away knows whether anybody is left. (It is the session's: a pooler between us
and the server that hands sessions round would lose it, and the prepared statements.)

Invariant: no text of an error names more of the address than host, port and database.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from transom.errors import ConfigError, StorageUnavailable, TransomError, Unavailable
from transom.runtime.db.address import shown
from transom.runtime.db.postgres.faults import ERRORS, Fault, as_error, fault_of, named
from transom.runtime.secrets import Secret

CONNECT_S = 3.0
CLOSE_S = 2.0
CACHED_STATEMENTS = 256
OLDEST_SERVER = 14
UNKNOWN_SETTING = "42704"
"""What an older one says to a setting of `session`; also to a wrong parameter of the address."""
_FULL = "53300"
_SHARE = "select pg_advisory_lock_shared($1)"


class NoRoom(Unavailable):
    """The server is there, and takes no further connection."""


def session(schema: str, statement_s: float) -> dict[str, str]:
    """`statement_s` bounds a statement, a wait for a lock, and a client's silence between two."""
    limit_ms = str(int(statement_s * 1000))
    return {
        "search_path": schema,
        "application_name": schema,
        "statement_timeout": limit_ms,
        "lock_timeout": limit_ms,
        "idle_in_transaction_session_timeout": limit_ms,
        "client_connection_check_interval": "1000",  # what waits for a dead client ends
        "synchronous_commit": "on",
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }


def lock_key(schema: str, purpose: str) -> int:
    digest = hashlib.sha256(f"transom {purpose} {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def connect(url: Secret, settings: Mapping[str, str], most_s: float, *, use: str = "") -> Any:
    """`use`: the schema that this connection is a user of. In `most_s`, and in `CONNECT_S`.

    Raises: NoRoom, TransomError (what to tell a request); `connect_first` tells a person.
    """
    try:
        return await _connected(url, settings, min(most_s, CONNECT_S), use)
    except ERRORS as error:
        if getattr(error, "sqlstate", "") == _FULL:
            raise NoRoom(
                "The database has no room for another connection; try again.", detail=named(error)
            ) from error
        raise as_error(fault_of(error), named(error)) from error


async def connect_first(url: Secret, settings: Mapping[str, str]) -> Any:
    """Raises: ConfigError, StorageUnavailable, each with what to do."""
    where = f"PostgreSQL at {shown(url.reveal())}"
    try:
        return await _connected(url, settings, CONNECT_S, "")
    except (*ERRORS, ValueError) as error:
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            # Its text may hold a piece of the address, and that a piece of a password.
            raise ConfigError(
                "[database] url or a pool's uri: PostgreSQL's client cannot use it"
            ) from None
        if getattr(error, "sqlstate", "") == UNKNOWN_SETTING:
            raise ConfigError(
                f"{where}: {error}; use PostgreSQL {OLDEST_SERVER} or newer"
            ) from error
        if fault_of(error) in (Fault.REFUSED, Fault.OURS):
            raise ConfigError(
                f"{where} refuses: {error}; check user, password and database in its address "
                "([database] url, TRANSOM_DATABASE__URL; a pool's uri), and that there is one"
            ) from error
        raise StorageUnavailable(
            f"{where} does not answer ({_why(error)}); start it, or correct its address "
            "([database] url; a pool's uri)",
            detail=named(error),
        ) from error


async def close(connection: Any) -> None:
    """In a bounded time, whatever the server does."""
    try:
        await connection.close(timeout=CLOSE_S)
    except ERRORS:
        connection.terminate()


async def _connected(url: Secret, settings: Mapping[str, str], most_s: float, use: str) -> Any:
    async with asyncio.timeout(most_s):
        connection = await asyncpg.connect(
            url.reveal(),
            timeout=most_s,
            statement_cache_size=CACHED_STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings=dict(settings),
        )
        if use:
            try:
                await connection.execute(_SHARE, lock_key(use, "use"))
            except BaseException:  # Safety: let go, and raised again
                connection.terminate()
                raise
        return connection


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"not within {CONNECT_S:.0f} s"
    if isinstance(error, TransomError):
        return error.text
    return str(error) or type(error).__name__
