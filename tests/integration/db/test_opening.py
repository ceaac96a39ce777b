# SPDX-License-Identifier: Apache-2.0
"""A file is opened while another process takes over the log of one that was killed."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from transom.errors import StorageUnavailable
from transom.runtime.clock import SystemClock
from transom.runtime.db import connection
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.sqlite import SqliteDatabase

HELD_S = 0.4

Opens = Callable[[Path, list[Migrations]], SqliteReader | SqliteDatabase]


def reads(path: Path, rooms: list[Migrations]) -> SqliteReader:
    return SqliteReader(path, rooms)


def shares(path: Path, rooms: list[Migrations]) -> SqliteDatabase:
    return SqliteDatabase(path, rooms, clock=SystemClock(), exclusive=False)


@pytest.fixture
async def rooms(tmp_path: Path) -> list[Migrations]:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "0001_before_a.sql").write_text("create table a (id integer);\n")
    found = [Migrations("test", tmp_path / "room")]
    database = shares(tmp_path / "a.db", found)
    await database.start()
    await database.stop()
    return found


def alone(path: Path) -> "closing[sqlite3.Connection]":
    """As one that has the file for itself."""
    held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    held.execute("pragma locking_mode = exclusive")
    held.execute("begin immediate")
    return closing(held)


@pytest.mark.parametrize("opens", [reads, shares])
async def test_who_opens_it_waits_for_one_that_has_it_alone(
    tmp_path: Path, rooms: list[Migrations], opens: Opens
) -> None:
    path = tmp_path / "a.db"
    loop = asyncio.get_running_loop()
    with alone(path) as held:
        # Opening may block the loop, so the other lets go on a thread.
        letting_go = loop.run_in_executor(None, lambda: (time.sleep(HELD_S), held.close()))
        database = opens(path, rooms)
        await database.start()
        await letting_go
        await database.stop()


@pytest.mark.parametrize("opens", [reads, shares])
async def test_one_that_does_not_let_go_is_told_and_the_start_may_be_tried_again(
    tmp_path: Path, rooms: list[Migrations], opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OPEN_BUSY_MS", 50)
    monkeypatch.setattr("transom.runtime.db.file.OPEN_BUSY_MS", 50)
    path = tmp_path / "a.db"
    database = opens(path, rooms)
    with alone(path), pytest.raises(StorageUnavailable, match="another program is writing"):
        await database.start()
    await database.start()
    await database.stop()
