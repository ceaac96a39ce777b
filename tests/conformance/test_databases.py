"""What every database promises to its callers, with nothing broken under it: SQLite, PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from transom.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    InternalError,
    StorageUnavailable,
    Unavailable,
)
from transom.runtime.db.dialect import sql
from transom.runtime.db.transaction import Transaction

from support.db import migrations, names, opened, put

pytestmark = pytest.mark.usefixtures("engine")
ROWS = """
create table if not exists thing (
  name text not null primary key,
  size integer,
  content blob
) without rowid;
"""


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


async def test_a_fault_of_a_verb_that_is_no_error_of_ours_is_raised_as_it_is(
    tmp_path: Path,
) -> None:
    async def failing(transaction: Transaction) -> None:
        await put("lost")(transaction)
        raise KeyError("x")

    async with opened(tmp_path) as database:
        for run in (database.write, database.read):
            with pytest.raises((KeyError, InternalError)):
                await run(failing)
        await database.write(put("next"))
        assert await database.read(names) == ["next"]


async def test_verbs_at_once_each_count(tmp_path: Path) -> None:
    """Read, then write what was read and one: 64 times at once, none is lost."""

    async def more(transaction: Transaction) -> int:
        row = await transaction.fetch_one("select size from thing where name = 'n'")
        size = 1 if row is None else row[0] + 1
        await put("n", size)(transaction)
        return size

    async with opened(tmp_path) as database:
        seen = await asyncio.gather(*(database.write(more) for _ in range(64)))
        assert sorted(seen) == list(range(1, 65))


async def test_what_two_verbs_decide_on_each_others_rows_is_decided_by_one(tmp_path: Path) -> None:
    """Write skew: each takes its place while the other's is free. At most one may."""

    def take(own: str, other: str) -> Any:
        async def verb(transaction: Transaction) -> bool:
            rows = await transaction.fetch("select name from thing where size = 1")
            if any(row[0] == other for row in rows):
                return False
            await put(own, 1)(transaction)
            return True

        return verb

    async with opened(tmp_path) as database, opened_beside(database, tmp_path) as beside:
        for at in range(20):
            left, right = f"l{at}", f"r{at}"
            taken = await asyncio.gather(
                database.write(take(left, right)), beside.write(take(right, left))
            )
            assert sorted(taken) == [False, True]


def opened_beside(database: Any, folder: Path) -> Any:
    """Another process's, as far as the engine has such."""
    from contextlib import nullcontext

    from support.postgres import on_postgres

    return opened(folder) if on_postgres() else nullcontext(database)


async def test_a_cancelled_caller_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        tasks = [asyncio.create_task(database.write(put(f"{at}"))) for at in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[1::2] == [None] * 10
        await database.write(put("next"))
        assert {f"{at}" for at in range(1, 20, 2)} <= set(await database.read(names))


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
        with pytest.raises((InternalError, StorageUnavailable)):
            await database.read(put("b"))
        assert await database.read(names) == ["a"]


async def test_a_row_of_another_writer_does_not_appear_within_a_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:

        async def twice(transaction: Transaction) -> tuple[list[str], list[str]]:
            first = await names(transaction)
            for at in range(200):
                await transaction.fetch_one("select count(*) from thing where size = ?", (at,))
            return first, await names(transaction)

        async def writes() -> None:
            for at in range(50):
                await database.write(put(f"{at}"))

        writing = asyncio.create_task(writes())
        while not writing.done():
            first, second = await database.read(twice)
            assert first == second
            await asyncio.sleep(0)


async def test_own_writes_are_seen_by_later_reads(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for at in range(20):
            await database.write(put(f"{at:02d}"))
            assert len(await database.read(names)) == at + 1


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
        assert await database.read(names) == ["a"]


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
            await transaction.execute("insert into thing (name, size) values ('?', 1)"),
        ]

    async with opened(tmp_path) as database:
        assert await database.write(counted) == [2, 0, 2, 1]
        assert "?" in await database.read(names)


async def test_values_come_back_as_they_were_given(tmp_path: Path) -> None:
    rows = [
        ("whole numbers", 2**62, b""),
        ("negative", -(2**63), b"\x00\xff"),
        ("", 2**63 - 1, bytes(range(256))),
        ("ünïcödé \U0001f600 '\"?$1", None, None),
    ]

    async def insert(transaction: Transaction) -> list[Any]:
        await transaction.execute_many(
            "insert into thing (name, size, content) values (?, ?, ?)", rows
        )
        return await transaction.fetch("select name, size, content from thing")

    async with opened(tmp_path, migrations(tmp_path / "m", ROWS)) as database:
        found = await database.write(insert)
        assert sorted(found, key=repr) == sorted(rows, key=repr)
        assert all(type(row) is tuple for row in found)


async def test_names_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    given = ["a", "B", "_", "Z", "z", "ä", "é", "~", "-a", "a-", "aB", "ab", "A", "\U0001f600", "1"]
    async with opened(tmp_path) as database:
        for name in given:
            await database.write(put(name))
        assert await database.read(names) == sorted(given, key=lambda name: name.encode())
        after = await database.read(
            lambda tx: tx.fetch("select name from thing where name > ? order by name", ("Z",))
        )
        assert [row[0] for row in after] == sorted(name for name in given if name > "Z")


async def test_a_statement_may_be_another_for_another_engine(tmp_path: Path, engine: str) -> None:
    which = sql("select 'sqlite', ?", postgres="select 'postgres', ?::bigint")
    async with opened(tmp_path) as database:
        assert await database.read(lambda tx: tx.fetch_one(which, (7,))) == (engine, 7)


async def test_a_nul_in_a_text_is_stored_or_refused_as_the_callers(
    tmp_path: Path, engine: str
) -> None:
    async with opened(tmp_path) as database:
        if engine == "sqlite":
            await database.write(put("a\0b"))
            assert await database.read(names) == ["a\0b"]
        else:
            for run in (database.write, database.read):
                with pytest.raises(BadRequest, match="NUL"):
                    await run(put("a\0b"))
        await database.write(put("next"))


async def test_a_verb_that_swallows_a_conflict_of_the_server_has_failed(
    tmp_path: Path, engine: str
) -> None:
    async def swallowing(transaction: Transaction) -> None:
        await put("b")(transaction)
        try:
            await transaction.execute("insert into thing (name, size) values ('a', 1)")
        except Conflict:
            return

    async with opened(tmp_path) as database:
        await database.write(put("a"))
        if engine == "postgres":
            with pytest.raises(InternalError):
                await database.write(swallowing)
            assert await database.read(names) == ["a"]
        else:
            await database.write(swallowing)


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
        assert database.problem == ""
        assert database.name


async def test_several_share_one_that_is_not_exclusive(tmp_path: Path) -> None:
    async with (
        opened(tmp_path, exclusive=False) as one,
        opened(tmp_path, exclusive=False) as two,
    ):
        await asyncio.gather(
            *(database.write(put(f"{at}-{id(database)}")) for at in range(100)
              for database in (one, two))
        )  # fmt: skip
        assert len(await one.read(names)) == len(await two.read(names)) == 200


FIRST = "create table if not exists thing (name text primary key, size integer);"
SECOND = "alter table thing add column colour text;"


async def test_an_older_database_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)) as database:
        await database.write(put("a"))
    with pytest.raises(ConfigError, match=r"lacks test/0002.*run: transom db upgrade"):
        async with opened(tmp_path, migrations(tmp_path / "new", FIRST, SECOND)):
            pass


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations(tmp_path / "new", FIRST, SECOND)):
        pass
    with pytest.raises(ConfigError, match=r"made by a newer Transom \(test/0002"):
        async with opened(tmp_path, migrations(tmp_path / "old", FIRST)):
            pass


async def test_a_new_database_that_fails_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        async with opened(tmp_path, migrations(tmp_path / "m", FIRST, "nonsense;")):
            pass
    async with opened(tmp_path, migrations(tmp_path / "m", FIRST, SECOND)) as database:
        assert await database.read(names) == []
