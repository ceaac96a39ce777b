# SPDX-License-Identifier: Apache-2.0
"""The parts, put together from settings: where each one's data are, what it is told of the others.

A part's data are in one database: here a SQLite file of its name in the data folder. A file that
is `hot` has one writing process; others take short transactions from several.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transom.cli.settings import KeystoneConfig, Settings
from transom.identity.config import IdentityConfig
from transom.identity.contract import (
    SERVICE_PASSWORD_FILE,
    SERVICE_PROJECT,
    SERVICE_USER,
    CatalogueService,
)
from transom.identity.service import MIGRATIONS as IDENTITY_MIGRATIONS
from transom.identity.service import IdentityService
from transom.identity.service import build as build_identity
from transom.queue.config import QueueConfig
from transom.queue.service import MIGRATIONS as QUEUE_MIGRATIONS
from transom.queue.service import QueueService
from transom.queue.service import build as build_queue
from transom.runtime.auth.keystone import ServiceCredentials
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.db.transaction import Database
from transom.runtime.secrets import Secret, read_private


@dataclass(frozen=True, slots=True)
class Store:
    """Where a part keeps its data."""

    part: str
    migrations: tuple[Migrations, ...]
    hot: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.part}.db"

    def database(self, settings: Settings, clock: Clock) -> Database:
        """Not opened."""
        return SqliteDatabase(
            settings.data.path / self.file_name, self.migrations, clock=clock, exclusive=self.hot
        )


IDENTITY = Store("identity", IDENTITY_MIGRATIONS)
QUEUE = Store("queue", QUEUE_MIGRATIONS, hot=True)
STORES: Mapping[str, Store] = {store.part: store for store in (IDENTITY, QUEUE)}


def is_embedded(settings: Settings) -> bool:
    """Whether identity is ours, and not a real Keystone."""
    return not settings.config.section(KeystoneConfig).auth_url


def queue(settings: Settings, clock: Clock, on_change: Callable[[], None]) -> QueueService:
    """Not started."""
    return build_queue(
        settings.config.section(QueueConfig),
        QUEUE.database(settings, clock),
        clock=clock,
        random=os.urandom,
        on_change=on_change,
    )


def identity(
    settings: Settings, clock: Clock, bind_host: str, on_change: Callable[[], None]
) -> IdentityService:
    """Not started. `bind_host`: the address that the doors listen on."""
    url = settings.public_url
    return build_identity(
        settings.config.section(IdentityConfig),
        IDENTITY.database(settings, clock),
        data=settings.data.path,
        public_url=url,
        catalogue=[
            CatalogueService("identity", "identity", f"{url}/identity"),
            CatalogueService("messaging", "queue", f"{url}/queue"),
        ],
        clock=clock,
        random=os.urandom,
        bind_host=bind_host,
        on_change=on_change,
    )


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
        )
    password = read_private(settings.data.keys / SERVICE_PASSWORD_FILE).decode().strip()
    return ServiceCredentials(
        f"{settings.public_url}/identity",
        SERVICE_USER,
        Secret(password),
        project_name=SERVICE_PROJECT,
    )
