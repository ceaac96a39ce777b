"""What one database promises to its callers, with nothing broken under it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from transom.errors import Conflict, InternalError, StorageUnavailable, Unavailable
from transom.runtime.db.transaction import Transaction

from support.db import migrations, names, opened, put


async def test_what_one_verb_raises_undoes_it_alone(tmp_path: Path) -> None:
    async def failing(transaction: Transaction) -> None:
        await put("lost")(transaction)
        raise Conflict("no")

    async with opened(tmp_path) as database:
        outcomes = await asyncio.gather(
            database.write(put("a")),
            database.write(failing),
            database.write(put("b")),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), Conflict, type(None)]
        assert await database.read(names) == ["a", "b"]


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


async def test_too_many_waiting_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, waiting_max=10) as database:
        outcomes = await asyncio.gather(
            *(database.write(put(f"{at:02d}")) for at in range(15)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes[10:]] == [Unavailable] * 5
        assert len(await database.read(names)) == 10
        await database.write(put("later"))


async def test_reads_see_one_snapshot_and_change_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(put("a"))
        with pytest.raises(InternalError):
            await database.read(put("b"))
        assert await database.read(names) == ["a"]


async def test_a_second_row_of_one_key_is_a_conflict(tmp_path: Path) -> None:
    async def insert(transaction: Transaction) -> None:
        await transaction.execute("insert into thing (name, size) values ('a', 1)")

    async def wrong(transaction: Transaction) -> None:
        await transaction.execute("insert into nothing values (1)")

    async with opened(tmp_path) as database:
        await database.write(insert)
        with pytest.raises(Conflict):
            await database.write(insert)
        with pytest.raises(InternalError, match="Something went wrong"):
            await database.write(wrong)


async def test_rows_touched_are_counted_also_behind_with(tmp_path: Path) -> None:
    async def counted(transaction: Transaction) -> list[int]:
        await transaction.execute_many(
            "insert into thing (name, size) values (?, ?)", [(f"{at}", at) for at in range(5)]
        )
        return [
            await transaction.execute("update thing set size = 9 where size >= ?", (3,)),
            await transaction.execute("update thing set size = 9 where size = 77"),
            await transaction.execute(
                "with big as (select name from thing where size = 9) "
                "delete from thing where name in (select name from big)"
            ),
        ]

    async with opened(tmp_path) as database:
        assert await database.write(counted) == [2, 0, 2]


async def test_a_half_read_query_holds_no_snapshot(tmp_path: Path) -> None:
    async def first(transaction: Transaction) -> str:
        row = await transaction.fetch_one("select name from thing order by name")
        return "" if row is None else row[0]

    async with opened(tmp_path) as database:
        for name in ("c", "b", "a"):
            await database.write(put(name))
            assert await database.read(first) == name


async def test_a_closed_store_says_so_and_can_be_opened_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        last = asyncio.create_task(database.write(put("last")))
        await asyncio.sleep(0)
        await database.stop()
        await last  # what was taken is finished
        await database.stop()
        for refused in (database.write(put("b")), database.read(names)):
            with pytest.raises(StorageUnavailable):
                await refused
        await database.start()
        assert await database.read(names) == ["last"]


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
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 2
        answer.set()
        await database.write(put("b"))
        assert await database.read(names) == ["a", "b"]
