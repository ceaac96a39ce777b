# SPDX-License-Identifier: Apache-2.0
"""The parts, put together from settings: where each one's data are, what it is told of the others.

A part's data are in one database: a SQLite file of its name in the data folder, or a schema of a
PostgreSQL database. A file that is `hot` has one writing process; others, and schemas, take short
transactions from several.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transom.cli import tls
from transom.cli.database_url import refuse_files
from transom.cli.settings import ApiConfig, DatabaseConfig, KeystoneConfig, Settings
from transom.errors import ConfigError
from transom.identity import service as identity_service
from transom.identity.config import IdentityConfig
from transom.identity.contract import DEFAULT_RULES as IDENTITY_RULES
from transom.identity.contract import (
    SERVICE_PASSWORD_FILE,
    SERVICE_PROJECT,
    SERVICE_USER,
    CatalogueService,
)
from transom.keys import service as keys_service
from transom.keys.config import KeysConfig
from transom.keys.contract import DEFAULT_RULES as KEYS_RULES
from transom.messaging.transport import Transport
from transom.queue import service as queue_service
from transom.queue.bus.neighbours import Neighbours
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES as QUEUE_RULES
from transom.queue.deliveries.trusts import Keystone as TrustKeystone
from transom.queue.store.many import SETTLE_S
from transom.queue.store.verbs.verb import Writer
from transom.runtime.auth.declared import AccessRule
from transom.runtime.auth.keystone import ServiceCredentials
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.auth.tokens import CACHE_S
from transom.runtime.clock import Clock
from transom.runtime.db.backup import check_version
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.migrate import upgrade as upgrade_file
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.sealing import Sealer, sealer_of
from transom.runtime.secrets import Secret


@dataclass(frozen=True, slots=True)
class Store:
    """Where a part keeps its data. `sealed_again`: seals some of what is sealed in them under
    the first master key; how many values that were, 0 if none is left."""

    part: str
    migrations: tuple[Migrations, ...]
    restored: Callable[[Transaction, int], Awaitable[None]]
    hot: bool = False
    sealed_again: Callable[[Transaction, Sealer], Awaitable[int]] | None = None

    @property
    def file_name(self) -> str:
        return f"{self.part}.db"

    @property
    def schema(self) -> str:
        return f"transom_{self.part}"

    def database(self, settings: Settings, clock: Clock) -> Database:
        """Not opened. Raises: ConfigError."""
        url = settings.database_url
        if not url:
            return self.file_database(settings.data.path, clock)
        refuse_files(settings.data.path, url)
        from transom.runtime.db.postgres import PostgresDatabase

        chosen = settings.config.section(DatabaseConfig)
        return PostgresDatabase(
            url,
            self.schema,
            self.migrations,
            clock=clock,
            pool_max=chosen.pool_max,
            statement_s=chosen.statement_timeout_s,
        )

    def upgrade(self, settings: Settings, clock: Clock) -> list[str]:
        """Applies what is missing; answers its names. Raises: ConfigError, and of storage."""
        url = settings.database_url
        if not url:
            return upgrade_file(settings.data.path / self.file_name, self.migrations, clock=clock)
        from transom.runtime.db.postgres.schema import upgrade as upgrade_schema

        return asyncio.run(upgrade_schema(url, self.schema, self.migrations, clock=clock))

    def may_be_there(self, settings: Settings) -> bool:
        """False if there surely are no data yet. Raises: ConfigError."""
        return bool(settings.database_url) or (settings.data.path / self.file_name).exists()

    def has_owner(self, settings: Settings) -> bool:
        """Whether one process writes for all others, which only read."""
        return self.hot and not settings.database_url

    def reader(self, settings: Settings) -> Database:
        """What its owner writes, to be read by another process. Not opened."""
        return SqliteReader(settings.data.path / self.file_name, self.migrations)

    def file_database(self, folder: Path, clock: Clock) -> SqliteDatabase:
        """Its file in the folder, not opened."""
        return SqliteDatabase(
            folder / self.file_name, self.migrations, clock=clock, exclusive=self.hot
        )


IDENTITY = Store("identity", identity_service.MIGRATIONS, identity_service.restored)
QUEUE = Store("queue", queue_service.MIGRATIONS, queue_service.restored, hot=True)
KEYS = Store(
    "keys", keys_service.MIGRATIONS, keys_service.restored, sealed_again=keys_service.sealed_again
)
NOBODY = -1
"""The number, among the workers of the doors, of a process that is none."""
STORES: Mapping[str, Store] = {store.part: store for store in (IDENTITY, QUEUE, KEYS)}


def check_owned_files(settings: Settings) -> None:
    """Raises: ConfigError if one that has an owner is of another version; told before any other
    file is changed. What keeps it from being read now is told by its opener.

    Schemas need no such look: each is checked before its own part writes, opening one changes
    nothing, and a part whose schema is of this version writes what the other version reads, too.
    """
    for store in STORES.values():
        path = settings.data.path / store.file_name
        if not (store.has_owner(settings) and store.part in settings.parts and path.exists()):
            continue
        try:
            check_version(path, store.migrations)
        except ConfigError as error:
            if error.__cause__ is None:  # it was read
                raise


DECLARED: Mapping[str, Sequence[AccessRule]] = {
    IDENTITY.part: IDENTITY_RULES,
    QUEUE.part: QUEUE_RULES,
    KEYS.part: KEYS_RULES,
}
"""The access rules of each part."""


def policy(settings: Settings, part: str) -> PolicyFile:
    """What changes the part's access rules."""
    named = {
        IDENTITY.part: settings.config.section(IdentityConfig).policy_file,
        QUEUE.part: settings.config.section(QueueConfig).policy_file,
        KEYS.part: settings.config.section(KeysConfig).policy_file,
    }[part]
    path = settings.data.path / (named or Path("policy", f"{part}.yaml"))
    return PolicyFile(part, path, DECLARED[part], needed=bool(named))


def queue_limits(settings: Settings) -> Path:
    """Where the projects are named whose limits are not the usual ones, if there are any."""
    return settings.data.path / "limits" / f"{QUEUE.part}.yaml"


def is_embedded(settings: Settings) -> bool:
    """Whether identity is ours, and not a real Keystone."""
    return not settings.config.section(KeystoneConfig).auth_url


def queue(
    settings: Settings,
    clock: Clock,
    on_change: Callable[[], None],
    writer: Writer | None,
    neighbours: Neighbours,
    holder: str,
    sealed_by: Sealer | None = None,
) -> queue_service.QueueService:
    """Not started. `writer`: carries the writes to the home's owner, where we are not it."""
    real = None if is_embedded(settings) else TrustKeystone(credentials(settings), clock)
    return queue_service.build(
        settings.config.section(QueueConfig),
        QUEUE.database(settings, clock) if writer is None else QUEUE.reader(settings),
        clock=clock,
        random=os.urandom,
        on_change=on_change,
        writer=writer,
        policy=policy(settings, QUEUE.part),
        sealer=sealed_by or sealer(settings),
        trusts=real,
        neighbours=neighbours,
        holder=holder,
        alone=QUEUE.has_owner(settings) and settings.config.section(ApiConfig).workers == 1,
        limits_path=queue_limits(settings),
    )


def neighbours(
    settings: Settings,
    clock: Clock,
    name: str,
    transport: Transport,
    workers: Sequence[str],
    *,
    owns: bool = True,
) -> Neighbours:
    """What opens the queue's other databases in the process `name`. `owns`: it may be the one that
    writes a file; else it is none of the workers of the doors.

    Raises: ConfigError.
    """
    if settings.database_url and settings.config.section(QueueConfig).shards > 1:
        raise ConfigError(
            "[queue] shards are files, and the data are in PostgreSQL; leave it out, and add pools"
        )
    chosen = settings.config.section(DatabaseConfig)
    among = workers if name in workers else (name,)
    return Neighbours(
        settings.data.path,
        clock,
        worker=among.index(name) if owns else NOBODY,
        workers=len(among) if owns else max(1, len(workers)),
        transport=transport,
        server=name,
        joins_s=SETTLE_S,
        pool_max=chosen.pool_max,
        statement_s=chosen.statement_timeout_s,
    )


def identity(
    settings: Settings, clock: Clock, bind_host: str, on_change: Callable[[], None]
) -> identity_service.IdentityService:
    """Not started. `bind_host`: the address that the doors listen on."""
    url = settings.public_url
    return identity_service.build(
        settings.config.section(IdentityConfig),
        IDENTITY.database(settings, clock),
        data=settings.data.path,
        public_url=url,
        ca_file=tls.ca_file(settings),
        catalogue=[
            CatalogueService("identity", "identity", f"{url}/identity"),
            *catalogue(url),
        ],
        clock=clock,
        random=os.urandom,
        bind_host=bind_host,
        on_change=on_change,
        policy=policy(settings, IDENTITY.part),
        master_keys=settings.master_keys,
    )


def keys(settings: Settings, clock: Clock) -> keys_service.KeysService:
    """Not started."""
    return keys_service.build(
        settings.config.section(KeysConfig),
        KEYS.database(settings, clock),
        sealer=sealer(settings),
        clock=clock,
        random=os.urandom,
        policy=policy(settings, KEYS.part),
    )


def local_keys(settings: Settings, clock: Clock) -> keys_service.LocalKeys:
    """The key server without doors, not started."""
    return keys_service.LocalKeys(
        settings.config.section(KeysConfig),
        KEYS.database(settings, clock),
        sealer=sealer(settings),
        clock=clock,
        random=os.urandom,
    )


def sealer(settings: Settings) -> Sealer:
    """Of the secrets of the data folder."""
    return sealer_of(settings.data.keys, settings.master_keys, os.urandom)


def catalogue(url: str) -> tuple[CatalogueService, ...]:
    """What is served below `url` and looked up in Keystone's catalogue."""
    socket_url = url.replace("http", "ws", 1)
    return (
        CatalogueService("messaging", "queue", f"{url}/queue"),
        CatalogueService(
            "messaging-websocket", "queue-websocket", f"{socket_url}/queue/v2/websocket"
        ),
    )


def token_cache_s(settings: Settings) -> int:
    """Embedded identity's revocations are seen at once, so there the default is right."""
    if is_embedded(settings):
        return CACHE_S
    return settings.config.section(KeystoneConfig).cache_s


def credentials(settings: Settings) -> ServiceCredentials:
    """The doors' own, for validating tokens; embedded, those that identity has made."""
    real = settings.config.section(KeystoneConfig)
    if real.auth_url:
        return ServiceCredentials(
            real.auth_url,
            real.username,
            real.password,
            real.domain_id,
            real.project_name,
            real.domain_id,
            real.ca_file,
        )
    identity_url = settings.identity_url
    try:
        kept = sealer(settings).read(settings.data.keys / SERVICE_PASSWORD_FILE)
        password = kept.decode().strip()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{settings.data.path}: identity has not run on this folder yet; start it first"
        ) from error
    return ServiceCredentials(
        f"{identity_url}/identity",
        SERVICE_USER,
        Secret(password),
        project_name=SERVICE_PROJECT,
    )
