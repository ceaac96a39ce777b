# SPDX-License-Identifier: Apache-2.0
"""The queue's databases beside its home, for commands: shards and pools, in files or on servers.

A backup holds each as a file. A pool that is on a server is restored as a file of the folder: what
is on the server, perhaps in use, is left alone.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from transom.cli.parts import QUEUE, sealer
from transom.cli.settings import Settings
from transom.queue.bus.neighbours import (
    POOLS_FOLDER,
    pool_file,
    pool_schema,
    shard_file,
    shard_files,
)
from transom.queue.store import placing, pools, relay, restore
from transom.queue.store.placing import HOME, SHARD
from transom.queue.store.pools import FILE_SCHEME
from transom.queue.store.schema import MIGRATIONS
from transom.runtime.clock import SystemClock
from transom.runtime.db.backup import check_copy, check_version, copy_file
from transom.runtime.db.connection import connect_reader
from transom.runtime.db.migrate import upgrade as upgrade_file
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Verb
from transom.runtime.sealing import Sealer
from transom.runtime.secrets import Secret

T = TypeVar("T")

LOOK_S = 10.0
_POOLS = "select name, uri from pool order by name"
_HELD = """
select (select count(*) from queue),
  (select count(*) from message join departing using (content_id))
"""
_IN_FILE = "select 1 from sqlite_schema where type = 'table' and name = 'pool'"
_ON_SERVER = "select to_regclass($1) is not null"


@dataclass(frozen=True, slots=True)
class OnServer:
    """A pool on a server. `file_name`: what it is called in a backup."""

    name: str
    uri: Secret

    @property
    def schema(self) -> str:
        return pool_schema(self.name)

    @property
    def file_name(self) -> str:
        return f"{POOLS_FOLDER}/{self.schema}.db"


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A file that no pool is in any more. `leaving`: messages that are on their way from it to
    other databases, and are brought over once a pool is in it again."""

    file_name: str
    queues: int
    leaving: int


def files(folder: Path) -> list[str]:
    """Names of the files beside the home's, below the data folder."""
    found = [shard_file(index) for index in shard_files(folder)]
    pool_files = (folder / POOLS_FOLDER).glob("*.db")
    return found + sorted(f"{POOLS_FOLDER}/{path.name}" for path in pool_files)


def on_servers(settings: Settings) -> list[OnServer]:
    """Pools on servers, as the home knows them, of whatever version it is.

    Raises: ConfigError, and of storage.
    """
    uris = _uris(settings)
    return [OnServer(name, Secret(uri)) for name, uri in uris.items() if pool_file(uri) is None]


def left_over(settings: Settings) -> list[LeftOver]:
    """Files of pools that were deleted, or are elsewhere now. Raises: ConfigError, and of storage.

    None while the home is not there, which knows of the pools.
    """
    folder = settings.data.path
    if not QUEUE.may_be_there(settings):
        return []
    used = {pool_file(uri) for uri in _uris(settings).values()}
    found = []
    for path in sorted((folder / POOLS_FOLDER).glob("*.db")):
        name = f"{POOLS_FOLDER}/{path.name}"
        if name in used:
            continue
        queues, leaving = asyncio.run(_held(path))
        found.append(LeftOver(name, queues, leaving))
    return found


def missing(settings: Settings) -> list[str]:
    """Files of shards that are gone, or new and empty, in which home knows of queues.

    Raises: ConfigError, and of storage.
    """
    folder = settings.data.path
    home = folder / QUEUE.file_name
    if settings.database_url or not home.exists():
        return []
    known = asyncio.run(_read(home, relay.stores))
    names = [shard_file(int(one.removeprefix(SHARD))) for one in known if one.startswith(SHARD)]
    return [
        name
        for name in names
        if not (folder / name).exists() or asyncio.run(_read(folder / name, placing.member)) is None
    ]


def _uris(settings: Settings) -> dict[str, str]:
    """Pool -> where it is. Raises: ConfigError, and of storage."""
    url = settings.database_url
    home = settings.data.path / QUEUE.file_name
    sealed = asyncio.run(_of_server(url)) if url else _of_file(home)
    key = sealer(settings)
    return {name: key.open(value, pools.purpose(name)).decode() for name, value in sealed}


def upgrade(settings: Settings) -> Iterator[str]:
    """Applies what is missing to all of them, after the home's; says what that was."""
    clock, folder = SystemClock(), settings.data.path
    for name in files(folder):
        for applied in upgrade_file(folder / name, MIGRATIONS, clock=clock):
            yield f"{applied} to {name}"
    for pool in on_servers(settings):
        from transom.runtime.db.postgres.schema import upgrade as upgrade_schema

        names = asyncio.run(upgrade_schema(pool.uri, pool.schema, MIGRATIONS, clock=clock))
        for applied in names:
            yield f"{applied} to the pool {pool.name}"


def copy_all(settings: Settings, to: Path) -> dict[str, Path]:
    """Copies of all of them in a folder, by their names below the data folder."""
    copies = {}
    (to / POOLS_FOLDER).mkdir(mode=0o700, exist_ok=True)
    for name in files(settings.data.path):
        copy_file(settings.data.path / name, to / name)
        copies[name] = to / name
    for pool in on_servers(settings):
        from transom.runtime.db.postgres.transfer import copy_schema

        clock, copy = SystemClock(), to / pool.file_name
        if asyncio.run(copy_schema(pool.uri, pool.schema, MIGRATIONS, copy, clock=clock)):
            copies[pool.file_name] = copy
    return copies


def check(path: Path) -> None:
    """Raises: ConfigError, StorageDamaged unless the file is whole and of this version."""
    check_version(path, MIGRATIONS)
    check_copy(path)


async def begin_anew(folder: Path, key: Sealer) -> None:
    """After all files of a backup, the home's too, are in place and of this version.

    Tells each that it was put back, and home what the others have now.
    """
    clock = SystemClock()
    others = files(folder)
    held = []
    for name in others:
        check_copy(folder / name)
        upgrade_file(folder / name, MIGRATIONS, clock=clock)
        async with _opened(_file(folder / name)) as database:
            await database.write(lambda tx: QUEUE.restored(tx, clock.now_ms()))
            held.append(await database.read(restore.held))
    home = folder / QUEUE.file_name
    if not home.exists() or not (others or await _has_pools(home)):
        return
    async with _opened(_file(home)) as database:
        await database.write(lambda tx: restore.take_over(tx, held))
        for pool in (await database.read(pools.every))[1]:
            uri = key.open(pool.uri, pools.purpose(pool.name)).decode()
            if pool_file(uri) is None:
                moved = f"{FILE_SCHEME}:{pool_schema(pool.name)}"
                sealed = key.seal(moved.encode(), pools.purpose(pool.name))
                await database.write(partial(pools.move, pool=pool, uri=sealed, shown=moved))


class _opened:  # noqa: N801  reads as a word in `async with`
    """A database, started and stopped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> Database:
        await self._database.start()
        return self._database

    async def __aexit__(self, *_: object) -> None:
        await self._database.stop()


def _of_file(home: Path) -> list[tuple[str, bytes]]:
    if not home.exists():
        return []
    with closing(connect_reader(home)) as connection:
        if connection.execute(_IN_FILE).fetchone() is None:
            return []
        return [(name, bytes(uri)) for name, uri in connection.execute(_POOLS)]


async def _of_server(url: Secret) -> list[tuple[str, bytes]]:
    from transom.runtime.db.postgres.connecting import session
    from transom.runtime.db.postgres.schema import connected

    async with connected(url, session(QUEUE.schema, LOOK_S)) as connection:
        if not await connection.fetchval(_ON_SERVER, f"{QUEUE.schema}.pool"):
            return []
        return [(row[0], bytes(row[1])) for row in await connection.fetch(_POOLS)]


async def _held(path: Path) -> Sequence[int]:
    """(queues in the file, messages that are on their way from it)."""
    row = await _read(path, lambda tx: tx.fetch_one(_HELD))
    assert row is not None  # two counts
    return row


async def _has_pools(home: Path) -> bool:
    found = await _read(home, placing.member)
    return found is not None and found[0] == HOME


async def _read(path: Path, verb: Verb[T]) -> T:
    async with _opened(SqliteReader(path, MIGRATIONS)) as database:
        return await database.read(verb)


def _file(path: Path) -> Database:
    return SqliteDatabase(path, MIGRATIONS, clock=SystemClock(), exclusive=True)
