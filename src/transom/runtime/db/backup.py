# SPDX-License-Identifier: Apache-2.0
"""A copy of one database as one SQLite file.

The file is an ordinary database of its rooms: it can be opened, checked, and looked into.

Invariants:
1. A copy is one moment of the database, taken while others write.
2. A copy that is not whole is not left under its name, and one that is, is on disk.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transom.errors import ConfigError
from transom.runtime.db.connection import (
    cannot_open,
    check_header,
    connect_reader,
    connect_writer,
    damaged,
)
from transom.runtime.db.migrate import Migrations, check
from transom.runtime.secrets import sync_folder


def copy_file(source: Path, to: Path) -> None:
    """Copies the SQLite file at `source`, in use or not, to a new file.

    Raises: what opening does; ConfigError if `to` exists.
    """
    check_header(source)
    try:
        with new_file(to) as writer:
            reader = connect_reader(source)
            try:
                reader.backup(writer)
                writer.execute("pragma journal_mode = delete")
            finally:
                reader.close()
    except (sqlite3.Error, OSError) as error:
        raise cannot_open(source, error) from error


@contextmanager
def new_file(to: Path) -> Iterator[sqlite3.Connection]:
    """An empty database to be filled; afterwards it is on disk, or, if that failed, not there.

    Raises: ConfigError if `to` exists.
    """
    try:
        os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise ConfigError(f"{to}: is there already; choose another name") from None
    try:
        connection = connect_writer(to)
        try:
            yield connection
        finally:
            connection.close()
        _sync(to)
    except BaseException:  # Safety: leaves nothing half behind, and raised again
        to.unlink(missing_ok=True)
        raise


def check_copy(path: Path) -> None:
    """Raises: StorageDamaged unless it is whole."""
    try:
        check_header(path)
        connection = connect_reader(path)
        try:
            (answer,) = connection.execute("pragma integrity_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error
    if answer != "ok":
        raise damaged(path, str(answer))


def check_version(path: Path, rooms: Sequence[Migrations]) -> None:
    """Raises: ConfigError if it is older or newer than this program, or none of ours."""
    try:
        connection = connect_reader(path)
        try:
            check(path, connection, rooms)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise cannot_open(path, error) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(path.parent)
