# SPDX-License-Identifier: Apache-2.0
"""Backups of files restored into PostgreSQL, and back, with all that was there."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from transom.cli.parts import IDENTITY, QUEUE, STORES, Store
from transom.errors import ConfigError
from transom.node.migrations import NODE
from transom.runtime.clock import SystemClock
from transom.runtime.db.backup import copy_file
from transom.runtime.db.migrate import Migrations, create_schema
from transom.runtime.db.postgres.transfer import Source, copy_schema, fill_schemas
from transom.runtime.secrets import Secret

from support.load import Producer, Session, check_kept, login, read_all
from support.postgres import Server, fresh_database
from support.stack import Stack, wait_for

NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"
SCHEMAS = "select nspname from pg_namespace where nspname like 'transom%' order by 1"
CLOCK = SystemClock()


@pytest.fixture
def empty() -> Iterator[Server]:
    with fresh_database() as made:
        yield made


@dataclass(frozen=True)
class Before:
    """A folder of files with something in it, stopped; its backup; the path of a claim in it."""

    data: Path
    archive: Path
    claim: str


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    folder = tmp_path_factory.mktemp("before")
    stack = Stack(folder / "data")
    try:
        stack.start()
        with closing(Session(stack.url, login(stack))) as session:
            claim = put_some(session)
        stack.transom("backup", str(folder / "b.tar"))
    finally:
        stack.stop()
    return Before(stack.data, folder / "b.tar", claim)


def rows_of(path: Path) -> dict[str, list[Any]]:
    """Table -> its rows."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("select name from sqlite_schema where type = 'table'")
        return {
            table: sorted(connection.execute(f"select * from {table}"), key=repr)
            for (table,) in tables.fetchall()
        }


def fill(server: Server, *sources: Source) -> None:
    asyncio.run(fill_schemas(Secret(server.url), sources, clock=CLOCK))


def copied(server: Server, store: Store, to: Path) -> bool:
    done = copy_schema(Secret(server.url), store.schema, store.migrations, to, clock=CLOCK)
    return asyncio.run(done)


def asked(server: Server, sql: str) -> list[Any]:
    return [row[0] for row in asyncio.run(server.ask(sql))]


def make_file(path: Path, rooms: tuple[Migrations, ...], *statements: str) -> None:
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        create_schema(connection, rooms, CLOCK)
        for statement in statements:
            connection.execute(statement)


def put_some(session: Session) -> str:
    """A user who may do something, messages, a claim. Answers the claim's path."""
    user = {"user": {"name": "ada", "password": "of-before-1", "domain_id": "default"}}
    ada = session.ask("POST", "/identity/v3/users", user)[1]["user"]["id"]
    roles = session.ask("GET", "/identity/v3/roles?name=member")[1]["roles"]
    project = session.ask("GET", "/identity/v3/projects?name=admin")[1]["projects"][0]["id"]
    grant = f"/identity/v3/projects/{project}/users/{ada}/roles/{roles[0]['id']}"
    assert session.ask("PUT", grant)[0] == 204
    bodies = [{"body": {"ü": n}, "ttl": 3600} for n in range(5)]
    path = "/queue/v2/queues/kept"
    assert session.ask("PUT", path, {"colour": "grün"})[0] == 201
    assert session.ask("POST", f"{path}/messages", {"messages": bodies})[0] == 201
    claim = session.ask("POST", f"{path}/claims?limit=2", {"ttl": 3600, "grace": 60})[1]
    return f"{path}/claims/{claim['messages'][0]['href'].rpartition('claim_id=')[2]}"


def check_some(stack: Stack, claim: str) -> None:
    assert login(stack, "ada", "of-before-1")
    with closing(Session(stack.url, login(stack))) as session:
        assert read_all(session, "kept") == [{"ü": n} for n in range(5)]
        status, found = session.ask("GET", claim)
        assert (status, [it["body"] for it in found["messages"]]) == (200, [{"ü": 0}, {"ü": 1}])
        assert session.ask("GET", "/queue/v2/queues/kept")[1]["colour"] == "grün"


def test_files_go_to_a_server_and_back_with_all_that_was_acknowledged(
    before: Before, tmp_path: Path, empty: Server
) -> None:
    into_server, into_files = before.archive, tmp_path / "2.tar"
    second = Stack(tmp_path / "second", {"TRANSOM_DATABASE__URL": NOBODY})
    assert "can be restored" in second.transom("restore", "--check", str(into_server)).stdout
    assert not second.data.exists()
    del second.environment["TRANSOM_DATABASE__URL"]
    said = second.transom("restore", str(into_server), "--database", empty.url).stdout
    assert "its data into PostgreSQL at" in said
    assert asked(empty, SCHEMAS) == sorted(store.schema for store in STORES.values())
    assert not list(second.data.glob("*.db*"))
    try:
        second.start()
        check_some(second, before.claim)
        producers = [Producer(second, login(second), "late", name) for name in range(2)]
        for producer in producers:
            producer.start()
        wait_for(lambda: all(len(producer.acknowledged) > 20 for producer in producers), 30)
        acknowledged = [list(producer.acknowledged) for producer in producers]
        second.transom("backup", str(into_files))
        for producer in producers:
            producer.stop()
        assert "last backup was taken" in second.transom("doctor").stdout
    finally:
        second.stop()

    third = Stack(tmp_path / "third")
    assert "restored; taken" in third.transom("restore", str(into_files)).stdout
    try:
        third.start()
        check_some(third, before.claim)
        for producer, kept in zip(producers, acknowledged, strict=True):
            producer.acknowledged = kept
        with closing(Session(third.url, login(third))) as session:
            check_kept(producers, read_all(session, "late"))
    finally:
        third.stop()

    fourth = Stack(tmp_path / "fourth")
    refused = fourth.transom("restore", str(into_files), "--database", empty.url, check=False)
    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    assert not fourth.data.exists()


def test_every_row_of_every_table_is_the_same_after_both_ways(
    before: Before, tmp_path: Path, empty: Server
) -> None:
    sources = []
    for store in STORES.values():
        path = tmp_path / store.file_name
        copy_file(before.data / store.file_name, path)
        if NODE in store.migrations:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("insert into pointer values (41, 's', 't', x'00ff')")
                connection.commit()
        sources.append(Source(path, store.schema, store.migrations))
    fill(empty, *sources)
    for store, source in zip(STORES.values(), sources, strict=True):
        again = tmp_path / f"again-{store.file_name}"
        assert copied(empty, store, again)
        rows = rows_of(again)
        assert rows == rows_of(source.path)
        assert len(rows["schema_version"]) == sum(len(room.files()) for room in store.migrations)
        if NODE in store.migrations:
            point = "(source, table_name, key) values ('s', 't', '') returning id"
            assert asked(empty, f"insert into {store.schema}.pointer {point}")[0] > 41
    with pytest.raises(ConfigError, match="is not empty"):
        fill(empty, *sources)


def test_what_a_server_cannot_hold_is_told_and_no_schema_is_left(
    tmp_path: Path, empty: Server
) -> None:
    sound, odd = tmp_path / "identity.db", tmp_path / "queue.db"
    make_file(sound, IDENTITY.migrations)
    make_file(odd, (NODE,), "insert into feed values ('a' || char(0), 1, 1)")
    sources = [
        Source(sound, IDENTITY.schema, IDENTITY.migrations),
        Source(odd, QUEUE.schema, (NODE,)),
    ]
    with pytest.raises(ConfigError, match="text with a NUL"):
        fill(empty, *sources)
    assert asked(empty, SCHEMAS) == []
    assert not copied(empty, QUEUE, tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_more_rows_than_are_read_at_once_and_an_older_schema(tmp_path: Path, empty: Server) -> None:
    """A schema that lacks migrations gives a file that lacks them too."""
    many = tmp_path / "many.db"
    with_rows = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1001) "
        "insert into pointer select i, 's', 't', zeroblob(i) from n"
    )
    make_file(many, (NODE,), with_rows)
    fill(empty, Source(many, QUEUE.schema, (NODE,)))
    assert copied(empty, QUEUE, tmp_path / "again.db")
    assert rows_of(tmp_path / "again.db") == rows_of(many)


@pytest.mark.parametrize("address", [NOBODY, "mysql://h/x"])
def test_a_server_that_is_away_is_told_and_leaves_nothing(
    before: Before, tmp_path: Path, address: str
) -> None:
    other = Stack(tmp_path / "other")
    done = other.transom("restore", str(before.archive), "--database", address, check=False)
    assert done.returncode == 1
    assert "PostgreSQL" in done.stderr or "postgresql://" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_the_wrong_database_is_refused_and_leaves_nothing(
    before: Before, tmp_path: Path, empty: Server
) -> None:
    archive = tmp_path / "b.tar"
    of_files = Stack(before.data, {"TRANSOM_DATABASE__URL": empty.url})
    of_nothing = Stack(tmp_path / "data", {"TRANSOM_DATABASE__URL": empty.url})
    of_nothing.data.mkdir(mode=0o700)
    (of_nothing.data / "version").write_text("1\n")
    away = Stack(of_nothing.data, {"TRANSOM_DATABASE__URL": NOBODY})
    for stack, says in (
        (of_files, "this folder's data are in files"),
        (of_nothing, "holds no data of Transom"),
        (away, "does not answer"),
    ):
        done = stack.transom("backup", str(archive), check=False)
        assert done.returncode == 1
        assert says in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
