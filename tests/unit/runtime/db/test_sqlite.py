"""What a SQLite file promises beyond what every database does (tests/conformance)."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from transom.errors import InternalError, OutcomeUnknown
from transom.runtime.db.transaction import Transaction

from support.db import migrations, names, opened, put


async def test_what_is_written_in_one_turn_is_one_group_in_its_order(tmp_path: Path) -> None:
    order: list[int] = []

    def noting(number: int):
        async def verb(transaction: Transaction) -> int:
            order.append(number)
            row = await transaction.fetch_one("select count(*) from thing")
            await put(f"{number:03d}")(transaction)
            return row[0] if row else -1

        return verb

    async with opened(tmp_path) as database:
        seen = await asyncio.gather(*(database.write(noting(number)) for number in range(100)))
        assert database._groups == 1
    assert order == list(range(100))
    assert seen == list(range(100))  # each verb sees the ones before it


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, group_max=10) as database:
        await asyncio.gather(*(database.write(put(str(number))) for number in range(95)))
        assert database._groups == 10


@pytest.mark.parametrize("inline", [True, False])
async def test_a_cancelled_caller_harms_nobody(tmp_path: Path, inline: bool) -> None:
    async with opened(tmp_path, inline_writer=inline) as database:
        tasks = [asyncio.create_task(database.write(put(f"{at}"))) for at in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[1::2] == [None] * 10
        await database.write(put("next"))
        assert {f"{at}" for at in range(1, 20, 2)} <= set(await database.read(names))
        assert database.waiting == 0


async def test_a_caller_cancelled_before_its_group_leaves_its_verb_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        task = asyncio.create_task(database.write(put("gone")))
        await asyncio.sleep(0)  # it has been put, and not yet handed over
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.write(put("here"))
        assert await database.read(names) == ["here"]


@pytest.mark.parametrize("inline", [True, False])
async def test_a_verb_that_waits_is_told_so_and_undone(tmp_path: Path, inline: bool) -> None:
    async def waiting(transaction: Transaction) -> None:
        await put("half")(transaction)
        await asyncio.sleep(0)

    async with opened(tmp_path, inline_writer=inline) as database:
        with pytest.raises(InternalError) as caught:
            await database.write(waiting)
        assert "waited for something else" in caught.value.detail
        assert "waiting" in caught.value.detail
        assert await database.read(names) == []


async def test_a_half_read_query_holds_no_snapshot(tmp_path: Path) -> None:
    async def first(transaction: Transaction) -> str:
        row = await transaction.fetch_one("select name from thing order by name")
        return "" if row is None else row[0]

    async with opened(tmp_path) as database:
        for name in ("c", "b", "a"):
            await database.write(put(name))
            assert await database.read(first) == name


async def test_the_log_is_copied_back_when_the_last_one_closes(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("a"))
    assert not (tmp_path / "test.db-wal").exists()
    with sqlite3.connect(f"file:{tmp_path / 'test.db'}?immutable=1", uri=True) as connection:
        assert connection.execute("select name from thing").fetchall() == [("a",)]
    connection.close()


async def test_several_databases_share_a_cold_file(tmp_path: Path) -> None:
    room = migrations(tmp_path / "m", "create table thing (name text primary key, size integer);")
    async with (
        opened(tmp_path, room, exclusive=False) as one,
        opened(tmp_path, room, exclusive=False) as two,
    ):
        await asyncio.gather(
            *(database.write(put(f"{at}-{id(database)}")) for at in range(200)
              for database in (one, two))
        )  # fmt: skip
        assert len(await one.read(names)) == len(await two.read(names)) == 400


async def test_callers_do_not_hang_on_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr("transom.runtime.db.sqlite.STALL_S", 0.05)
    answer = threading.Event()

    async def stuck(transaction: Transaction) -> None:
        answer.wait(20)

    async with opened(tmp_path) as database:
        waiting = [asyncio.create_task(database.write(verb)) for verb in (stuck, put("a"))]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 2
        answer.set()
        await database.write(put("b"))
        assert await database.read(names) == ["a", "b"]


async def test_a_file_opened_twice_here_keeps_its_log_when_another_process_closes(
    tmp_path: Path,
) -> None:
    options = {"exclusive": False}
    async with opened(tmp_path, **options) as one, opened(tmp_path, **options) as two:
        await one.write(put("a"))
        log = (tmp_path / "test.db-wal").stat().st_ino
        script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        script += "c.execute('update thing set size = 7'); c.commit(); c.close()"
        command = [sys.executable, "-c", script, str(tmp_path / "test.db")]
        await asyncio.to_thread(subprocess.run, command, check=True)
        assert (tmp_path / "test.db-wal").stat().st_ino == log
        assert await two.read(sizes) == await one.read(sizes) == [7]


async def sizes(transaction: Transaction) -> list[int]:
    return [int(row[0]) for row in await transaction.fetch("select size from thing")]
