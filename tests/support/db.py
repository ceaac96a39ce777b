"""Databases for tests: a file of the test's own, its schema given as SQL text.

In a test that runs on PostgreSQL (see `support.postgres`) a schema of that server stands for the
file, and options that only a file has are left out.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from transom.runtime.clock import Clock, SystemClock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction

from support.postgres import on_postgres

OF_FILES = {"exclusive", "group_max", "inline_writer"}
THINGS = "create table if not exists thing (name text primary key, size integer not null);"


def migrations(folder: Path, *scripts: str, room: str = "test", **named: str) -> Migrations:
    """`scripts` become 0001_before_step.sql and so on; `named`: name of a file -> its text."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{at:04d}_before_step": text for at, text in enumerate(scripts, 1)} | named
    for name, text in files.items():
        path = folder / f"{name}.sql"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return Migrations(room, folder)


def things(folder: Path) -> Migrations:
    return migrations(folder / "things", THINGS)


@asynccontextmanager
async def opened(
    folder: Path, *rooms: Migrations, clock: Clock | None = None, **options: Any
) -> AsyncIterator[SqliteDatabase]:
    """A started database at `folder/test.db`; its schema is `THINGS` if no rooms are given."""
    rooms = rooms or (things(folder),)
    database = _made(folder / "test.db", rooms, clock or SystemClock(), **options)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


def queue_database(folder: Path, clock: Clock | None = None) -> Database:
    from transom.queue import service as queue_service

    return _made(folder / "queue.db", queue_service.MIGRATIONS, clock or SystemClock())


def identity_database(folder: Path, clock: Clock | None = None) -> Database:
    from transom.identity import service as identity_service

    clock = clock or SystemClock()
    return _made(folder / "identity.db", identity_service.MIGRATIONS, clock, exclusive=False)


def keys_database(folder: Path, clock: Clock | None = None) -> Database:
    from transom.keys import service as keys_service

    clock = clock or SystemClock()
    return _made(folder / "keys.db", keys_service.MIGRATIONS, clock, exclusive=False)


def _made(path: Path, rooms: Sequence[Migrations], clock: Clock, **options: Any) -> Any:
    server = on_postgres()
    if server is None:
        return SqliteDatabase(path, rooms, clock=clock, **options)
    options = {name: value for name, value in options.items() if name not in OF_FILES}
    return server.database(path, rooms, clock=clock, **options)


def put(name: str, size: int = 0) -> Any:
    """A verb that inserts or replaces one thing."""

    async def verb(transaction: Transaction) -> None:
        await transaction.execute(
            "insert into thing (name, size) values (?, ?) "
            "on conflict (name) do update set size = excluded.size",
            (name, size),
        )

    return verb


async def names(transaction: Transaction) -> list[str]:
    """A verb: the names of all things, in order."""
    return [row[0] for row in await transaction.fetch("select name from thing order by name")]


def child(*arguments: str, before: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[str]:
    """Runs `support.dbchild` in a process of its own, `before` in front of its command line."""
    tests = Path(__file__).parent.parent
    environment = dict(os.environ) | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent / 'src'}"}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "support.dbchild", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def answer(process: subprocess.Popen[str], timeout_s: float = 60) -> Mapping[str, Any]:
    """What the child said last, as JSON. It must have ended well."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    assert process.returncode == 0, f"{process.returncode}: {out}\n{err}"
    said: Mapping[str, Any] = json.loads(out.splitlines()[-1])
    return said
