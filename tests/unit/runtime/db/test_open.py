"""Files that cannot be opened: one clear line each, nothing damaged."""

import asyncio
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from transom.errors import ConfigError, StorageUnavailable, TransomError
from transom.runtime.clock import SystemClock
from transom.runtime.db.file import OpenFile, open_file
from transom.runtime.db.sqlite import SqliteDatabase

from support.db import names, opened, put, things


async def refused(folder: Path, **options: object) -> str:
    with pytest.raises(TransomError) as caught:
        async with opened(folder, **options):
            pass
    assert str(folder / "test.db") in caught.value.text
    return caught.value.text


async def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        text = await refused(tmp_path)
        assert f"in use by process {os.getpid()}" in text
        assert "transom down" in text
        await database.write(put("the first works on"))
    async with opened(tmp_path) as database:
        assert await database.read(names) == ["the first works on"]


async def test_a_start_that_is_cancelled_lets_go_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()

    def slow(*arguments: Any, **options: Any) -> OpenFile:
        assert going_on.wait(20)
        return open_file(*arguments, **options)

    monkeypatch.setattr("transom.runtime.db.sqlite.open_file", slow)
    database = SqliteDatabase(tmp_path / "test.db", [things(tmp_path)], clock=SystemClock())
    starting = asyncio.create_task(database.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    going_on.set()
    writer = next((t for t in threading.enumerate() if t.name == "writer:test.db"), None)
    if writer is not None:
        await asyncio.to_thread(writer.join, 5)
    async with opened(tmp_path) as again:
        await again.write(put("it is free"))


async def test_who_wants_it_alone_and_who_shares_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom.runtime.db.lock.SHARE_WAIT_S", 0.1)
    async with opened(tmp_path, exclusive=False):
        assert "in use" in await refused(tmp_path)
    async with opened(tmp_path):
        assert "in use" in await refused(tmp_path, exclusive=False)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"not a database" * 100])
async def test_a_file_that_is_no_database_is_refused_and_kept(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "test.db").write_bytes(content)
    assert "restore it from a backup" in await refused(tmp_path)
    assert (tmp_path / "test.db").read_bytes() == content


async def grown(folder: Path) -> Path:
    async with opened(folder) as database:
        for at in range(50):
            await database.write(put(f"{at}" + "x" * 1000))
    return folder / "test.db"


async def test_a_file_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    path = await grown(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 100])
    assert "damaged" in await refused(tmp_path)
    path.write_bytes(whole)
    async with opened(tmp_path) as database:
        assert len(await database.read(names)) == 50


async def test_a_marked_file_is_checked_whole(tmp_path: Path) -> None:
    path = await grown(tmp_path)
    mark = tmp_path / "test.db.poisoned"
    mark.touch()
    whole = path.read_bytes()
    harmed = bytearray(whole)
    harmed[-4096:] = os.urandom(4096)
    path.write_bytes(harmed)
    assert "damaged" in await refused(tmp_path)
    assert mark.exists()
    path.write_bytes(whole)
    async with opened(tmp_path) as database:
        assert not mark.exists()
        await database.write(put("it takes writes again"))


async def test_damage_that_is_met_while_reading_stops_writes(tmp_path: Path) -> None:
    path = await grown(tmp_path)
    harmed = bytearray(path.read_bytes())
    for page in range(3 * 4096, len(harmed), 4096):
        harmed[page : page + 200] = os.urandom(200)
    path.write_bytes(harmed)
    async with opened(tmp_path) as database:
        with pytest.raises(StorageUnavailable):
            await database.read(names)
        with pytest.raises(StorageUnavailable, match="restarted"):
            await database.write(put("no"))
    assert "restarted" in (await poisoned_here(tmp_path))


async def poisoned_here(folder: Path) -> str:
    with pytest.raises(StorageUnavailable) as caught:
        async with opened(folder):
            pass
    return caught.value.text


async def test_a_log_without_its_database_is_not_written_over(tmp_path: Path) -> None:
    copies = tmp_path / "copy"
    copies.mkdir()
    async with opened(tmp_path) as database:
        await database.write(put("only in the log"))
        shutil.copy(tmp_path / "test.db-wal", copies / "test.db-wal")
        shutil.copy(tmp_path / "test.db", copies / "kept.db")
    assert "its log test.db-wal is here" in await refused(copies)
    assert not (copies / "test.db").exists()
    (copies / "kept.db").rename(copies / "test.db")
    async with opened(copies) as database:
        assert await database.read(names) == ["only in the log"]


async def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "test.db")
    connection.execute("create table theirs (x text)")
    connection.commit()
    connection.close()
    assert "not a database of Transom" in await refused(tmp_path)


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    database = SqliteDatabase(
        tmp_path / "gone" / "test.db", [things(tmp_path)], clock=SystemClock()
    )
    with pytest.raises(ConfigError, match="check that the folder exists"):
        await database.start()


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("a"))
        for path in tmp_path.glob("test.db*"):
            assert path.stat().st_mode & 0o077 == 0, path
