"""Migrations of a schema: at once, killed halfway, before and after."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from transom.errors import ConfigError, InternalError
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.postgres.schema import upgrade
from transom.runtime.secrets import Secret

from support.db import migrations, names, opened, put
from support.postgres import Server, schema_of

pytestmark = pytest.mark.usefixtures("postgres")
TESTS = Path(__file__).parents[2]
FIRST = "create table if not exists thing (name text not null primary key, size integer);"
SECOND = "alter table thing add column colour text not null default '';"
CLOCK = SystemClock()
HELD_UP = """
select count(*) from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'
"""


async def upgraded(server: Server, folder: Path, room: Migrations) -> list[str]:
    return await upgrade(Secret(server.url), schema_of(folder / "test.db"), [room], clock=CLOCK)


async def test_an_older_schema_is_upgraded_once_by_many_at_once(
    server: Server, tmp_path: Path
) -> None:
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)) as database:
        await database.write(put("a"))
    new = migrations(tmp_path / "new", FIRST, SECOND, "create index of_size on thing (size);")
    applied = await asyncio.gather(*(upgraded(server, tmp_path, new) for _ in range(4)))
    assert sorted(name for names_ in applied for name in names_) == [
        "test/0002_before_step",
        "test/0003_before_step",
    ]
    assert await upgraded(server, tmp_path, new) == []
    async with opened(tmp_path, new) as database:
        assert await database.read(names) == ["a"]


async def test_many_that_start_at_once_on_an_empty_database_find_one_schema(
    server: Server, tmp_path: Path
) -> None:
    room = migrations(tmp_path / "new", FIRST, SECOND)

    async def start(number: int) -> None:
        async with opened(tmp_path, room) as database:
            await database.write(put(f"{number}"))

    await asyncio.gather(*(start(number) for number in range(5)))
    async with opened(tmp_path, room) as database:
        assert await database.read(names) == ["0", "1", "2", "3", "4"]


async def test_what_old_processes_need_goes_only_when_they_are_gone(
    server: Server, tmp_path: Path
) -> None:
    old = migrations(tmp_path / "old", FIRST, "create table legacy (x text);")
    new = migrations(
        tmp_path / "new", FIRST, "create table legacy (x text);",
        **{"0003_after_legacy": "drop table legacy;", "0004_before_next": SECOND},
    )  # fmt: skip
    async with opened(tmp_path, old) as database:
        assert await upgraded(server, tmp_path, new) == ["test/0004_before_next"]
        await database.write(put("the old one works on"))
    async with opened(tmp_path, new) as database:  # what is to come after does not stop a start
        assert await database.read(names) == ["the old one works on"]
    assert await upgraded(server, tmp_path, new) == ["test/0003_after_legacy"]


async def test_a_statement_of_a_running_process_outlives_a_migration_of_its_table(
    server: Server, tmp_path: Path
) -> None:
    """The server refuses a plan that is out of date; the verb is run again."""
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)) as database:
        await database.write(put("a"))
        assert await database.read(lambda tx: tx.fetch("select * from thing")) == [("a", 0)]
        new = migrations(tmp_path / "new", FIRST, SECOND)
        await upgraded(server, tmp_path, new)
        assert await database.read(lambda tx: tx.fetch("select * from thing")) == [("a", 0, "")]
        await database.write(put("b"))


async def test_an_upgrade_that_waits_crosswise_with_others_is_tried_again(
    server: Server, tmp_path: Path
) -> None:
    """The server ends a deadlock by refusing one of the two: here the upgrade."""
    schema = schema_of(tmp_path / "test.db")
    other = "create table other (x text);"
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST, other)):
        pass
    both = f"{SECOND}\nalter table other add column y text;"
    new = migrations(tmp_path / "new", FIRST, other, both)
    connection = await asyncpg.connect(server.url)
    name = await connection.fetchval("select current_database()")
    try:
        # The one that has waited so long looks, and is refused: the upgrade, and not too early.
        await connection.execute(f"alter database {name} set deadlock_timeout = '3s'")
        await connection.execute("set deadlock_timeout = '60s'")
        async with connection.transaction():
            await connection.execute(f"insert into {schema}.other values ('a')")
            upgrading = asyncio.create_task(upgraded(server, tmp_path, new))
            while not (await server.ask(HELD_UP, schema))[0][0]:
                await asyncio.sleep(0.01)
            await connection.execute(f"insert into {schema}.thing values ('a', 1)")
        assert await upgrading == ["test/0003_before_step"]
    finally:
        await connection.execute(f"alter database {name} reset deadlock_timeout")
        await connection.close()
    async with opened(tmp_path, new) as database:
        assert await database.read(names) == ["a"]


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    server: Server, tmp_path: Path
) -> None:
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)):
        pass
    half = "create table half (x text);"
    wrong = migrations(tmp_path / "new", FIRST, f"{half}\nselect * from none_such;")
    with pytest.raises(InternalError):
        await upgraded(server, tmp_path, wrong)
    right = migrations(tmp_path / "new", FIRST, half)
    assert await upgraded(server, tmp_path, right) == ["test/0002_before_step"]


UPGRADE = """
import asyncio, sys
from pathlib import Path
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.postgres.schema import upgrade
from transom.runtime.secrets import Secret
url, schema, folder = sys.argv[1:]
rooms = [Migrations("test", Path(folder))]
asyncio.run(upgrade(Secret(url), schema, rooms, clock=SystemClock()))
"""


async def test_an_upgrade_that_is_killed_halfway_is_run_again(
    server: Server, tmp_path: Path
) -> None:
    schema = schema_of(tmp_path / "test.db")
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)):
        pass
    half = "create table half (x text);"
    slow = migrations(tmp_path / "slow", FIRST, SECOND, f"{half}\nselect pg_sleep(30);")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UPGRADE, server.url, schema, str(slow.folder),
        env={**os.environ, "PYTHONPATH": str(TESTS.parent / "src")},
    )  # fmt: skip
    asleep = """
        select count(*) from pg_stat_activity
        where application_name = $1 and state = 'active' and wait_event = 'PgSleep'
    """
    deadline_s = time.monotonic() + 20
    while not (await server.ask(asleep, schema))[0][0]:
        assert time.monotonic() < deadline_s, "the upgrade does not begin"
        await asyncio.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    with pytest.raises(ConfigError, match="lacks test/0003"):
        async with opened(tmp_path, slow):
            pass
    quick = migrations(tmp_path / "quick", FIRST, SECOND, half)
    began_s = time.monotonic()
    assert await upgraded(server, tmp_path, quick) == ["test/0003_before_step"]
    assert time.monotonic() - began_s < 15  # the server did not sleep to the end for a dead client
    async with opened(tmp_path, quick) as database:
        await database.write(put("a"))


async def test_a_file_of_its_own_stands_for_what_cannot_be_translated(
    server: Server, tmp_path: Path
) -> None:
    room = migrations(
        tmp_path / "m",
        FIRST.replace("size integer", "size nonsense"),
        **{"0001_before_step.postgres": FIRST},
    )
    async with opened(tmp_path, room) as database:
        await database.write(put("a"))


async def test_a_schema_of_others_is_not_touched(server: Server, tmp_path: Path) -> None:
    schema = schema_of(tmp_path / "test.db")
    await server.ask(f"create schema {schema}")
    await server.ask(f"create table {schema}.theirs (x text)")
    with pytest.raises(ConfigError, match="not a schema of Transom"):
        async with opened(tmp_path, migrations(tmp_path / "m", FIRST)):
            pass
