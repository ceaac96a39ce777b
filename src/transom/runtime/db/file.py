# SPDX-License-Identifier: Apache-2.0
"""A database file: made whole, locked, checked, opened; and the mark that a failed disk leaves.

Invariants:
1. A file appears under its name only with its schema in it and on disk: it is made beside its
   place, synced, renamed, and the folder synced.
2. A file whose disk failed under it is opened again only by another process, and only after a full
   check of its integrity; the mark `<file>.poisoned` goes away after that.
3. A file whose log or content contradicts it is never made anew.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transom.errors import StorageDamaged, StorageUnavailable
from transom.runtime.clock import Clock
from transom.runtime.db.connection import (
    OPEN_BUSY_MS,
    cannot_open,
    check_header,
    connect_writer,
    damaged,
    has_log,
    log_path,
)
from transom.runtime.db.faults import poisoned
from transom.runtime.db.lock import FileLock
from transom.runtime.db.migrate import Migrations, check, create_schema
from transom.runtime.secrets import sync_folder

log = logging.getLogger(__name__)
# Measured: quick_check takes 0.2 s for this much, cache warm (bench/db/open.py). A process that
# was killed must be back within a second, and a kill alone cannot have harmed the file.
QUICK_CHECK_BYTES_MAX = 128 << 20

_poisoned_here: set[Path] = set()


@dataclass(slots=True)
class OpenFile:
    """An open file: the writer's connection and the lock that goes with it."""

    connection: sqlite3.Connection
    lock: FileLock

    def close(self) -> None:
        self.connection.close()
        self.lock.release()


def open_file(
    path: Path, rooms: Sequence[Migrations], *, clock: Clock, exclusive: bool
) -> OpenFile:
    """Opens the file for writing; makes it if there is none.

    Raises: ConfigError (in use, older, newer, not ours, folder missing or read-only),
    StorageFull, StorageUnavailable (damaged, or poisoned by this process).
    """
    if path.resolve() in _poisoned_here:
        raise poisoned(f"{path} was poisoned by this process")
    try:
        lock = FileLock.take(path, exclusive=exclusive)
    except OSError as error:
        raise cannot_open(path, error) from error
    try:
        if not path.exists():
            _make(path, rooms, clock)
        connection = _open(path, rooms, lock)
        if not exclusive:
            lock.share()
    except (sqlite3.Error, OSError) as error:
        lock.release()
        raise cannot_open(path, error) from error
    except BaseException:  # Safety: let go, and raised again
        lock.release()
        raise
    return OpenFile(connection, lock)


def mark_poisoned(path: Path) -> None:
    """Makes this process, and the next one, distrust the file."""
    _poisoned_here.add(path.resolve())
    try:
        _mark(path).touch(mode=0o600)
        sync_folder(path.parent)
    except OSError as error:
        # Safety: the disk is failing; without the mark, the log that is left asks for a check too.
        log.warning("poison mark not written", extra={"path": str(path), "detail": str(error)})


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".poisoned")


def _make(path: Path, rooms: Sequence[Migrations], clock: Clock) -> None:
    if has_log(path):
        raise StorageDamaged(
            f"{path}: the database is missing but its log {log_path(path).name} is here; restore "
            "the database beside it, or move the log away to begin anew"
        )
    beside = path.with_name(f".{path.name}.new")
    _remove(beside)
    os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        connection = connect_writer(beside)
        try:
            connection.execute("pragma journal_mode = wal")
            create_schema(connection, rooms, clock)
        finally:
            connection.close()
        handle = os.open(beside, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:  # Safety: let go, and raised again
        _remove(beside)
        raise
    beside.rename(path)
    sync_folder(path.parent)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def _open(path: Path, rooms: Sequence[Migrations], lock: FileLock) -> sqlite3.Connection:
    if lock.first_here:
        # Safety: reading it closes a handle, which drops this process's locks on the file: another
        # process that closes it would then take itself for the last, and remove the log under us.
        check_header(path)
    unclean = lock.alone and has_log(path)
    connection = connect_writer(path, busy_ms=OPEN_BUSY_MS)
    try:
        check(path, connection, rooms)
        # The log has been made now. SQLite syncs the folder too, but does not mind if that fails.
        sync_folder(path.parent)
        if _mark(path).exists():
            _recover(path, connection)
        elif unclean and path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
            _check(path, connection, "quick_check")
        mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal":
            raise StorageUnavailable(
                f"{path}: this file system cannot hold it; choose a folder on a local disk",
                detail=f"journal mode {mode}",
            )
        connection.execute("begin immediate")  # a file that is read-only is known now
        connection.execute("rollback")
        connection.execute("pragma busy_timeout = 0")  # from now on the writer waits by itself
    except BaseException:  # Safety: let go, and raised again
        connection.close()
        raise
    return connection


def _recover(path: Path, connection: sqlite3.Connection) -> None:
    _check(path, connection, "integrity_check")
    connection.execute("pragma wal_checkpoint(truncate)")
    _mark(path).unlink(missing_ok=True)
    sync_folder(path.parent)


def _check(path: Path, connection: sqlite3.Connection, how: str) -> None:
    (answer,) = connection.execute(f"pragma {how}(1)").fetchone()
    if answer != "ok":
        raise damaged(path, str(answer))
    log.info("database checked after an unclean end", extra={"path": str(path), "check": how})
