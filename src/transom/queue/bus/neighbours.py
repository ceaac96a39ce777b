# SPDX-License-Identifier: Apache-2.0
"""Databases beside the home, as one process opens them: shards, and pools by their addresses.

A file has one owner among the workers of the doors, who writes it for the others too. On a server
every process writes for itself.
"""

import hashlib
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from transom.errors import BadRequest, ConfigError
from transom.messaging.server import Server
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue.bus.frames import is_private, topic_of
from transom.queue.bus.owner import Owner
from transom.queue.bus.writer import RemoteWriter
from transom.queue.store.fair_writer import FairWriter
from transom.queue.store.pools import FILE_SCHEME, store_name
from transom.queue.store.schema import MIGRATIONS
from transom.queue.store.stores import Neighbour, Store
from transom.queue.store.verbs.placing import shard_name
from transom.queue.store.verbs.verb import LocalWriter, Tools
from transom.runtime.clock import Clock
from transom.runtime.db.address import SCHEMES, check_address, without_password
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database
from transom.runtime.secrets import Secret, private_folder

POOLS_FOLDER = "pools"
LONGEST_URI = 2048
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SHARD_FILE = re.compile(r"queue-([1-9][0-9]?)\.db")
GIVABLE = (
    "Give postgresql://user@host:port/database, or sqlite:NAME for a file NAME.db of this server."
)

ToolsMaker = Callable[[], Tools]


def shard_file(index: int) -> str:
    return f"queue-{index}.db" if index else "queue.db"


def shard_files(folder: Path) -> list[int]:
    """Numbers of the shards whose files are there, but for the home's."""
    found = (_SHARD_FILE.fullmatch(path.name) for path in folder.glob("queue-*.db"))
    return sorted(int(name[1]) for name in found if name is not None)


def pool_file(uri: str) -> str | None:
    """The file's name, below the data folder, if the address is that of one."""
    scheme, colon, name = uri.partition(":")
    return f"{POOLS_FOLDER}/{name}.db" if colon and scheme == FILE_SCHEME else None


def pool_schema(name: str) -> str:
    """That of a pool on a server: readable, and its own."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())[:30]
    return f"transom_pool_{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class Here:
    """Written by this process."""

    def __init__(self, name: str, database: Database, tools: Tools) -> None:
        writer = FairWriter(LocalWriter(database, tools), tools.config)
        self.store = Store(name, database, writer, tools.keyring)

    async def start(self) -> None:
        await self.store.database.start()

    async def stop(self) -> None:
        await self.store.database.stop()

    def give_up(self) -> None:
        """Nobody else is waited for."""


class Owned(Here):
    """A file that this process writes, for others too."""

    def __init__(
        self, name: str, database: Database, tools: Tools, transport: Transport, server: str
    ) -> None:
        super().__init__(name, database, tools)
        target = Target(topic=topic_of(name), server=server)
        self._server = Server(transport, target, [Owner(self.store.writer)])

    async def start(self) -> None:
        await super().start()
        try:
            await self._server.start()
        except BaseException:  # Safety: let go, and raised again
            await super().stop()
            raise

    async def stop(self) -> None:
        await self._server.stop()
        await super().stop()


class Followed:
    """A file that another process writes. `make`: makes it, if it is not there yet."""

    def __init__(
        self, name: str, path: Path, tools: Tools, transport: Transport, make: Neighbour
    ) -> None:
        self._writer = RemoteWriter(transport, name, path.name)
        self._path = path
        self._make = make
        database = SqliteReader(path, MIGRATIONS)
        fair = FairWriter(self._writer, tools.config)
        self.store = Store(name, database, fair, tools.keyring, owned=False)

    async def start(self) -> None:
        if not self._path.exists():
            await self._make.start()
            await self._make.stop()
        await self.store.database.start()
        try:
            await self._writer.start()
        except BaseException:  # Safety: let go, and raised again
            await self.store.database.stop()
            raise

    async def stop(self) -> None:
        await self._writer.stop()
        await self.store.database.stop()

    def give_up(self) -> None:
        self._writer.give_up()


class Neighbours:
    """Makes them for one process: the `worker`-th of `workers`, which all have the folder.

    `transport`: of the bus, where there are others; `server`: this process's name on it. `joins_s`:
    how long after a pool was added it takes queues.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        worker: int = 0,
        workers: int = 1,
        transport: Transport | None = None,
        server: str = "",
        joins_s: float = 0.0,
        pool_max: int = 8,
        statement_s: float = 5.0,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._worker = worker
        self._workers = workers
        self._transport = transport
        self._server = server
        self._pool_max = pool_max
        self._statement_s = statement_s
        self.joins_s = joins_s
        self._tools: ToolsMaker | None = None

    def equip(self, tools: ToolsMaker) -> None:
        """`tools`: makes those of one more store."""
        self._tools = tools

    def shards(self, number: int) -> list[Neighbour]:
        """All but the home: as many as are wished, and those that are there from before."""
        wished = {*range(1, number), *shard_files(self._folder)}
        return [
            self._file(shard_name(index), self._folder / shard_file(index), index)
            for index in sorted(wished)
        ]

    def check(self, uri: str) -> str:
        if len(uri) > LONGEST_URI:
            raise BadRequest(f"The pool's uri has more than {LONGEST_URI} characters. {GIVABLE}")
        name = uri.partition(":")[2]
        if pool_file(uri) is not None:
            if _FILE_NAME.fullmatch(name) is None:
                raise BadRequest(
                    "The name in sqlite:NAME has up to 64 ASCII letters, digits, hyphens and "
                    "underscores."
                )
            return uri
        if uri.partition("://")[0] not in SCHEMES:
            raise BadRequest(f"The pool's uri is none that can be a pool here. {GIVABLE}")
        try:
            check_address(uri)
            urlsplit(uri).port  # noqa: B018  raises for one out of range
        except (ConfigError, ValueError):
            raise BadRequest(f"The pool's uri is no address of PostgreSQL. {GIVABLE}") from None
        return without_password(uri)

    def pool(self, name: str, uri: Secret) -> Neighbour:
        file = pool_file(uri.reveal())
        if file is None:
            return Here(store_name(name), self._schema(name, uri, self._pool_max), self._made())
        return self._file(store_name(name), self._folder / file, zlib.crc32(name.encode()))

    def trial(self, name: str, uri: Secret) -> Neighbour:
        file = pool_file(uri.reveal())
        if file is None:
            return Here(store_name(name), self._schema(name, uri, 1), self._made())
        private_folder(self._folder / POOLS_FOLDER)
        return Here(store_name(name), self._own(self._folder / file), self._made())

    def _file(self, name: str, path: Path, number: int) -> Neighbour:
        if self._transport is None or not is_private(self._transport):
            if self._workers > 1:
                raise ConfigError(
                    f"{path.name}: several processes can share a file on the embedded bus only; "
                    "leave [bus] url out, or set [api] workers = 1"
                )
            return Here(name, self._own(path), self._made())
        if number % self._workers == self._worker:
            return Owned(name, self._own(path), self._made(), self._transport, self._server)
        make = Here(name, self._own(path), self._made())
        return Followed(name, path, self._made(), self._transport, make)

    def _own(self, path: Path) -> Database:
        return SqliteDatabase(path, MIGRATIONS, clock=self._clock, exclusive=True)

    def _schema(self, name: str, uri: Secret, connections: int) -> Database:
        from transom.runtime.db.postgres import PostgresDatabase

        return PostgresDatabase(
            uri,
            pool_schema(name),
            MIGRATIONS,
            clock=self._clock,
            pool_max=connections,
            statement_s=self._statement_s,
        )

    def _made(self) -> Tools:
        if self._tools is None:
            raise ConfigError("the neighbours of the queue's home have no tools yet")
        return self._tools()
