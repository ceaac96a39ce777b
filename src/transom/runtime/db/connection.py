# SPDX-License-Identifier: Apache-2.0
"""Connections to one SQLite file, and what is wrong with a file that can't be opened.

Invariant: nothing here makes a file. A missing, empty or foreign file is an error that names it;
a damaged one is never written over.
"""

import errno
import sqlite3
import struct
from pathlib import Path

from transom.errors import (
    ConfigError,
    StorageDamaged,
    StorageFull,
    StorageUnavailable,
    TransomError,
)
from transom.runtime.db.faults import Fault, fault_of, named

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
CACHED_STATEMENTS = 256
CACHE_KIB = 8192
OPEN_BUSY_MS = 5000
"""While a file is opened, another process may be writing to it, or may be the one that takes over
the log of a process that was killed: then it has the file alone for a moment."""
READ_BUSY_MS = 100


def connect_writer(path: Path, *, busy_ms: int = 0) -> sqlite3.Connection:
    """Commits are on disk when they return; the log is copied back only when we say so."""
    connection = _connect(path, busy_ms)
    connection.execute("pragma synchronous = full")
    connection.execute("pragma wal_autocheckpoint = 0")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path, OPEN_BUSY_MS)
    connection.execute("pragma query_only = on")
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute(f"pragma busy_timeout = {READ_BUSY_MS}")
    return connection


def _connect(path: Path, busy_ms: int) -> sqlite3.Connection:
    """Some of the pragmas look into the file already."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma temp_store = memory")
    connection.execute(f"pragma cache_size = -{CACHE_KIB}")
    return connection


def log_path(path: Path) -> Path:
    """The write-ahead log beside the file."""
    return path.with_name(path.name + "-wal")


def has_log(path: Path) -> bool:
    """Whether a log with content lies beside the file: whoever had it open last did not close."""
    try:
        return log_path(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def check_header(path: Path) -> None:
    """Raises: StorageDamaged if the file is none of SQLite's, or shorter than it says.

    Source: https://www.sqlite.org/fileformat.html, section 1.3.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise damaged(path, "its header is not that of a database")
    (page_bytes,) = struct.unpack_from(">H", header, 16)
    (pages,) = struct.unpack_from(">I", header, 28)
    expected = pages * (65536 if page_bytes == 1 else page_bytes)
    if path.stat().st_size < expected and not has_log(path):
        raise damaged(path, f"it should have {expected} bytes")


def damaged(path: Path, detail: str) -> StorageDamaged:
    return StorageDamaged(
        f"{path}: the database is damaged; restore it from a backup, or move it "
        "and the files beside it away to begin anew",
        detail=detail,
    )


def cannot_open(path: Path, error: sqlite3.Error | OSError) -> TransomError:
    """What to tell who wanted to open the file."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFull(f"{path}: no space is left; free some", detail=str(error))
        if error.errno == errno.EIO:
            return StorageUnavailable(
                f"{path}: the disk failed; see the system's log, and move the data to another disk",
                detail=str(error),
            )
        return ConfigError(
            f"{path}: cannot be opened for writing ({error.strerror}); "
            "check that the folder exists and is writable",
            detail=str(error),
        )
    match fault_of(error):
        case Fault.FULL:
            return StorageFull(f"{path}: no space is left; free some", detail=named(error))
        case Fault.DAMAGED:
            return damaged(path, named(error))
        case Fault.BUSY:
            return StorageUnavailable(
                f"{path}: another program is writing to it; end that program", detail=named(error)
            )
        case Fault.REFUSED:
            return ConfigError(
                f"{path}: cannot be opened for writing; check its permissions and its mount",
                detail=named(error),
            )
        case _:
            return StorageUnavailable(f"{path}: cannot be opened: {error}", detail=named(error))
