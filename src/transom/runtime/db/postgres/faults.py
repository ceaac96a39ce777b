# SPDX-License-Identifier: Apache-2.0
"""What an error of PostgreSQL or of the way to it means: the one place that knows SQLSTATEs.

| fault    | SQLSTATE                                 | what follows                               |
|----------|------------------------------------------|--------------------------------------------|
| AGAIN    | 40001, 40P01, a plan that a migration    | the verb is undone and run again, whole    |
|          | made stale                               |                                            |
| LOST     | 08*, 57P0*, 25P03, the socket broke      | the same, on another connection; at the    |
|          |                                          | commit: the outcome is unknown             |
| BUSY     | 57014, 55P03, 53000, 53200, 53300, 53400 | undone; the caller is told to try again    |
| FULL     | 53100                                    | undone; StorageFull                        |
| REFUSED  | 25006, 42501, 28*, 3D000, 58*, XX001/2   | undone; StorageUnavailable                 |
| CONFLICT | 23505, 23503                             | undone; Conflict                           |
| TEXT     | 22021, a text that is no UTF-8           | undone; BadRequest                         |
| OURS     | anything else                            | undone: the statement is wrong             |

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from enum import Enum, auto

import asyncpg  # type: ignore[import-untyped]

from transom.errors import (
    BadRequest,
    Conflict,
    InternalError,
    OutcomeUnknown,
    StorageFull,
    StorageUnavailable,
    TransomError,
    Unavailable,
)


class Fault(Enum):
    AGAIN = auto()
    LOST = auto()
    BUSY = auto()
    FULL = auto()
    REFUSED = auto()
    CONFLICT = auto()
    TEXT = auto()
    OURS = auto()


_STATES = {
    "40001": Fault.AGAIN,
    "40P01": Fault.AGAIN,
    "25P03": Fault.LOST,
    "57014": Fault.BUSY,
    "55P03": Fault.BUSY,
    "53000": Fault.BUSY,
    "53200": Fault.BUSY,
    "53300": Fault.BUSY,
    "53400": Fault.BUSY,
    "53100": Fault.FULL,
    "25006": Fault.REFUSED,
    "42501": Fault.REFUSED,
    "3D000": Fault.REFUSED,
    "XX001": Fault.REFUSED,
    "XX002": Fault.REFUSED,
    "23505": Fault.CONFLICT,
    "23503": Fault.CONFLICT,
    "22021": Fault.TEXT,
}
_CLASSES = {"08": Fault.LOST, "57P": Fault.LOST, "28": Fault.REFUSED, "58": Fault.REFUSED}
_OURS = (
    asyncpg.exceptions.DataError,
    asyncpg.exceptions._base.DataError,
    asyncpg.exceptions.UnsupportedClientFeatureError,
)
ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""All that asyncpg raises. (`TimeoutError` is an OSError.)"""
AFTER_LOSS = (Fault.AGAIN, Fault.LOST)


def fault_of(error: BaseException) -> Fault:
    if isinstance(
        error,
        asyncpg.exceptions.InvalidCachedStatementError
        | asyncpg.exceptions.OutdatedSchemaCacheError,
    ):
        return Fault.AGAIN
    state = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and state is not None:
        for length in (5, 3, 2):
            found = (_STATES if length == 5 else _CLASSES).get(state[:length])
            if found is not None:
                return found
        return Fault.OURS
    if isinstance(error.__cause__, UnicodeEncodeError):
        return Fault.TEXT
    return Fault.OURS if isinstance(error, _OURS) else Fault.LOST


def named(error: BaseException) -> str:
    """For the log."""
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' {state}' if state else ''}: {error}"


def as_error(fault: Fault, detail: str) -> TransomError:
    match fault:
        case Fault.AGAIN:
            return Unavailable("Too many write the same at once; try again.", detail=detail)
        case Fault.LOST | Fault.BUSY:
            return Unavailable("The database did not answer in time; try again.", detail=detail)
        case Fault.FULL:
            return StorageFull(detail=detail)
        case Fault.REFUSED:
            return StorageUnavailable(
                "The database refuses its work now; see the log of this server and of PostgreSQL.",
                detail=detail,
            )
        case Fault.CONFLICT:
            return Conflict(detail=detail)
        case Fault.TEXT:
            return BadRequest(
                "A text holds a character that cannot be stored (NUL, or half of a surrogate "
                "pair); leave it out.",
                detail=detail,
            )
        case Fault.OURS:
            return InternalError(detail=detail)


def unknown(detail: str) -> OutcomeUnknown:
    """The connection broke at a commit."""
    return OutcomeUnknown(
        "The database did not answer at the commit: the write may or may not have been kept; look "
        "before you repeat it.",
        detail=detail,
    )
