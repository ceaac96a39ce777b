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
from transom.cli.settings import DatabaseConfig, KeystoneConfig, Settings
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
from transom.queue import service as queue_service
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES as QUEUE_RULES
from transom.queue.store.verbs import Writer
from transom.runtime.auth.declared import AccessRule
from transom.runtime.auth.keystone import ServiceCredentials
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.auth.tokens import CACHE_S
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.migrate import upgrade as upgrade_file
from transom.runtime.db.reader import SqliteReader
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret


@dataclass(frozen=True, slots=True)
class Store:
    """Where a part keeps its data."""

    part: str
    migrations: tuple[Migrations, ...]
    restored: Callable[[Transaction, int], Awaitable[None]]
    hot: bool = False

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
STORES: Mapping[str, Store] = {store.part: store for store in (IDENTITY, QUEUE)}


DECLARED: Mapping[str, Sequence[AccessRule]] = {
    IDENTITY.part: IDENTITY_RULES,
    QUEUE.part: QUEUE_RULES,
}
"""The access rules of each part."""


def policy(settings: Settings, part: str) -> PolicyFile:
    """What changes the part's access rules."""
    named = {
        IDENTITY.part: settings.config.section(IdentityConfig).policy_file,
        QUEUE.part: settings.config.section(QueueConfig).policy_file,
    }[part]
    path = settings.data.path / (named or Path("policy", f"{part}.yaml"))
    return PolicyFile(part, path, DECLARED[part], needed=bool(named))


def is_embedded(settings: Settings) -> bool:
    """Whether identity is ours, and not a real Keystone."""
    return not settings.config.section(KeystoneConfig).auth_url


def queue(
    settings: Settings, clock: Clock, on_change: Callable[[], None], writer: Writer | None = None
) -> queue_service.QueueService:
    """Not started. `writer`: carries the writes to the store's owner, where we are not it."""
    return queue_service.build(
        settings.config.section(QueueConfig),
        QUEUE.database(settings, clock) if writer is None else QUEUE.reader(settings),
        clock=clock,
        random=os.urandom,
        on_change=on_change,
        writer=writer,
        policy=policy(settings, QUEUE.part),
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


def catalogue(url: str) -> tuple[CatalogueService, ...]:
    """What is served below `url` and looked up in Keystone's catalogue."""
    return (CatalogueService("messaging", "queue", f"{url}/queue"),)


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
        sealer = sealer_of(settings.data.keys, settings.master_keys, os.urandom)
        password = sealer.read(settings.data.keys / SERVICE_PASSWORD_FILE).decode().strip()
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
