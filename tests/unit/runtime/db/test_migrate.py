"""Migrations: what is applied when, and what is refused."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from transom.errors import ConfigError, InternalError
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import statements, upgrade

from support.db import migrations, names, opened, put

FIRST = "create table if not exists thing (name text primary key, size integer);"
SECOND = "alter table thing add column colour text;"
CLOCK = SystemClock()


def applied(folder: Path) -> list[tuple[str, int]]:
    connection = sqlite3.connect(folder / "test.db")
    try:
        return connection.execute(
            "select room, number from schema_version order by room, number"
        ).fetchall()
    finally:
        connection.close()


async def test_a_new_file_gets_everything(tmp_path: Path) -> None:
    rooms = [
        migrations(
            tmp_path / "a", FIRST, SECOND,
            **{"0003_after_index": "create index i on thing (size);"},
        ),
        migrations(tmp_path / "b", "create table other (x text);", room="other"),
    ]  # fmt: skip
    async with opened(tmp_path, *rooms):
        assert applied(tmp_path) == [("other", 1), ("test", 1), ("test", 2), ("test", 3)]


async def test_an_older_file_is_upgraded_only_when_asked(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)) as database:
        await database.write(put("a"))
    newer = migrations(tmp_path / "new", FIRST, SECOND)
    with pytest.raises(ConfigError, match="run: transom db upgrade"):
        async with opened(tmp_path, newer):
            pass
    assert applied(tmp_path) == [("test", 1)]
    path = tmp_path / "test.db"
    assert upgrade(path, [newer], clock=CLOCK) == ["test/0002_before_step"]
    assert upgrade(path, [newer], clock=CLOCK) == []
    async with opened(tmp_path, newer) as database:
        assert await database.read(names) == ["a"]


async def test_what_old_processes_need_goes_only_when_they_are_gone(tmp_path: Path) -> None:
    old = migrations(tmp_path / "old", FIRST, "create table legacy (x text);")
    new = migrations(
        tmp_path / "new", FIRST, "create table legacy (x text);",
        **{"0003_after_legacy": "drop table legacy;", "0004_before_next": SECOND},
    )  # fmt: skip
    path = tmp_path / "test.db"
    async with opened(tmp_path, old) as database:
        assert upgrade(path, [new], clock=CLOCK) == ["test/0004_before_next"]
        await database.write(put("the old one works on"))
    async with opened(tmp_path, new) as database:  # what is to come after does not stop a start
        assert await database.read(names) == ["the old one works on"]
    assert upgrade(path, [new], clock=CLOCK) == ["test/0003_after_legacy"]


async def test_a_newer_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations(tmp_path / "new", FIRST, SECOND)):
        pass
    old = migrations(tmp_path / "old", FIRST)
    path = tmp_path / "test.db"
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(ConfigError, match=r"made by a newer Transom \(test/0002"):
        async with opened(tmp_path, old):
            pass
    with pytest.raises(ConfigError, match="made by a newer Transom"):
        upgrade(path, [old], clock=CLOCK)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert not (tmp_path / "test.db-wal").exists()


async def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations(tmp_path / "old", FIRST)):
        pass
    wrong = migrations(tmp_path / "new", FIRST, "create table half (x text);\nselect * from none;")
    with pytest.raises(InternalError):
        upgrade(tmp_path / "test.db", [wrong], clock=CLOCK)
    assert applied(tmp_path) == [("test", 1)]
    right = migrations(tmp_path / "new", FIRST, "create table half (x text);")
    assert upgrade(tmp_path / "test.db", [right], clock=CLOCK) == ["test/0002_before_step"]


async def test_a_new_file_that_fails_is_not_left(tmp_path: Path) -> None:
    wrong = migrations(tmp_path / "m", FIRST, "nonsense;")
    with pytest.raises(InternalError):
        async with opened(tmp_path, wrong):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "test.db.lock"]


def test_nothing_to_upgrade_where_nothing_is(tmp_path: Path) -> None:
    assert upgrade(tmp_path / "test.db", [migrations(tmp_path / "m", FIRST)], clock=CLOCK) == []
    assert not (tmp_path / "test.db").exists()


def test_statements_are_split_at_their_ends_only() -> None:
    script = (
        "-- a comment; with a semicolon\n"
        "create table a (x text default ';');\n\n"
        "create trigger t after insert on a begin\n"
        "  delete from a where x = 'y';\n"
        "  delete from a where x = 'z';\n"
        "end;\n"
        "-- the end\n"
    )
    found = list(statements(script))
    assert [statement.split()[1] for statement in found] == ["table", "trigger"]
    with pytest.raises(InternalError):
        list(statements("create table a (x text)"))


@pytest.mark.parametrize("name", ["1_before_x", "0001_during_x", "0001_before_X"])
def test_a_file_name_without_meaning_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InternalError):
        migrations(tmp_path / "m", **{name: FIRST}).files()
