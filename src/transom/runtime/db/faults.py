# SPDX-License-Identifier: Apache-2.0
"""What an error of SQLite means for a store: the one place that knows its result codes.

| fault    | result codes               | what follows                                          |
|----------|----------------------------|-------------------------------------------------------|
| FULL     | FULL, IOERR_SHMSIZE        | the group is undone; the next one is tried            |
| DAMAGED  | IOERR_*, CORRUPT, NOTADB   | the file is not written any more by this process      |
| BUSY     | BUSY, LOCKED               | another process writes; the group is undone           |
| REFUSED  | READONLY, CANTOPEN, PERM   | the group is undone; the next one is tried            |
| CONFLICT | unique, primary, foreign   | the verb alone is undone                              |
| OURS     | anything else              | the verb alone is undone: the statement is wrong      |

Source: https://www.sqlite.org/rescode.html (the low byte is the primary code).
"""

import sqlite3
from enum import Enum, auto

from transom.errors import (
    Conflict,
    InternalError,
    OutcomeUnknown,
    StorageFull,
    StorageUnavailable,
    TransomError,
    Unavailable,
)


class Fault(Enum):
    FULL = auto()
    DAMAGED = auto()
    BUSY = auto()
    REFUSED = auto()
    CONFLICT = auto()
    OURS = auto()


_PRIMARY = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_IOERR: Fault.DAMAGED,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_READONLY: Fault.REFUSED,
    sqlite3.SQLITE_CANTOPEN: Fault.REFUSED,
    sqlite3.SQLITE_PERM: Fault.REFUSED,
}
_EXTENDED = {
    sqlite3.SQLITE_IOERR_SHMSIZE: Fault.FULL,
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: Fault.CONFLICT,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: Fault.CONFLICT,
    sqlite3.SQLITE_CONSTRAINT_ROWID: Fault.CONFLICT,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: Fault.CONFLICT,
}
OF_THE_GROUP = frozenset({Fault.FULL, Fault.DAMAGED, Fault.BUSY, Fault.REFUSED})


_POISONED = (
    "The disk failed under the store: it takes no writes until its process is restarted and has "
    "checked the file; the last write may or may not have been kept."
)


def fault_of(error: sqlite3.Error) -> Fault:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return _EXTENDED.get(code) or _PRIMARY.get(code & 0xFF, Fault.OURS)


def named(error: sqlite3.Error) -> str:
    """For the log: SQLite's name of the code and its text."""
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"


def as_error(fault: Fault, detail: str) -> TransomError:
    """A new error of the tree for one caller (an exception is not shared between tasks)."""
    match fault:
        case Fault.FULL:
            return StorageFull(detail=detail)
        case Fault.DAMAGED:
            return poisoned(detail)
        case Fault.BUSY:
            return Unavailable("The store is busy; try again.", detail=detail)
        case Fault.REFUSED:
            return StorageUnavailable(
                "The store's file cannot be written now; check its permissions and its mount.",
                detail=detail,
            )
        case Fault.CONFLICT:
            return Conflict(detail=detail)
        case Fault.OURS:
            return InternalError(detail=detail)


def poisoned(detail: str) -> StorageUnavailable:
    return StorageUnavailable(_POISONED, detail=detail)


def unknown(detail: str) -> OutcomeUnknown:
    """For the write under which the disk failed."""
    return OutcomeUnknown(_POISONED, detail=detail)
