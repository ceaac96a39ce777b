# SPDX-License-Identifier: Apache-2.0
"""Rows that go into few statements are the rows that were given, in their order."""

import sqlite3

import pytest

from transom.errors import Conflict
from transom.runtime.db.several import AT_ONCE, batches
from transom.runtime.db.verb import SqliteTransaction

INSERT = "insert into thing (name, size, note) values (?, ?, null)\n"


def opened() -> tuple[sqlite3.Connection, SqliteTransaction]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(
        "create table thing (place integer primary key, name text unique, size integer, note text)"
    )
    return connection, SqliteTransaction(connection)


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 15, 16, 20, 63, 64, 65, 84, 150])
async def test_all_rows_are_inserted_in_order_however_many_they_are(number: int) -> None:
    connection, transaction = opened()
    rows = [(f"n{at}", at) for at in range(number)]
    await transaction.execute_many(INSERT, iter(rows))
    found = connection.execute("select name, size from thing where note is null order by place")
    assert found.fetchall() == rows
    connection.close()


def test_only_as_many_statements_are_compiled_as_there_are_sizes() -> None:
    told = {sql for number in range(200) for sql, _, _ in batches(INSERT, [("a", 1)] * number)}
    assert len(told) == len(AT_ONCE) + 1


@pytest.mark.parametrize(
    "sql",
    [
        "delete from thing where name = ?",
        "update thing set size = 1 where name = ?",
        "insert into thing (name) values (?) on conflict do nothing",
        "insert into thing (name) values (lower(?))",
        "insert into thing (name) select name from thing where name <> ?",
    ],
)
def test_what_is_no_plain_insert_comes_as_it_is(sql: str) -> None:
    rows = [("a",)] * 50
    assert list(batches(sql, rows)) == [(sql, rows, False)]


@pytest.mark.parametrize("at", [0, 17, 21])
async def test_a_row_that_is_there_is_a_conflict_wherever_it_stands(at: int) -> None:
    connection, transaction = opened()
    await transaction.execute(INSERT, ("n", 0))
    rows = [("n" if place == at else f"m{place}", place) for place in range(22)]
    with pytest.raises(Conflict):
        await transaction.execute_many(INSERT, rows)
    connection.close()
