# SPDX-License-Identifier: Apache-2.0
"""The queue's wiring: its stores, one application, one mount, the sweep and the relays of rows.

Invariant: a file has one writing process, which sweeps it too. Elsewhere a store has a writer that
hands its writes to that process, and the file is read.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from transom.node.restore import restored as node_restored
from transom.queue.api.mount import mount
from transom.queue.app import QueueApp
from transom.queue.app.access import Access
from transom.queue.app.bell import Bell
from transom.queue.app.quota_file import QuotaFile
from transom.queue.app.signing import Signing
from transom.queue.app.subscriptions import Trusts
from transom.queue.app.sweeping import Sweeper
from transom.queue.app.waiting import Waiting, looked
from transom.queue.bus.relaying import Relay
from transom.queue.bus.rows import read_row
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES, SOURCE
from transom.queue.logic.quota import Quotas, usual
from transom.queue.model import Place
from transom.queue.store import restore
from transom.queue.store.fair_writer import FairWriter
from transom.queue.store.many import ManyStores
from transom.queue.store.placing import HOME
from transom.queue.store.project_keys import Keyring
from transom.queue.store.schema import MIGRATIONS
from transom.queue.store.stores import Neighbour, PoolOpener, Store, Stores
from transom.queue.store.verbs.verb import LocalWriter, Tools, Writer
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness
from transom.runtime.sealing import Sealer

__all__ = ["MIGRATIONS", "QueueService", "build", "restored"]


class Neighbourhood(PoolOpener, Protocol):
    """What opens other databases than the home: see `queue.bus.neighbours`."""

    def equip(self, tools: Callable[[], Tools]) -> None: ...

    def shards(self, number: int) -> list[Neighbour]: ...


class QueueService:
    """The queue, ready to be mounted. `read_row` reads rows of its tables for its feed."""

    read_row = staticmethod(read_row)

    def __init__(
        self,
        config: QueueConfig,
        stores: ManyStores,
        clock: Clock,
        app: QueueApp,
        policy: PolicyFile,
        relays: "Relays",
        quota_file: QuotaFile,
    ) -> None:
        self.database = stores.home.database
        self.writer = stores.home.writer
        self.stores = stores
        self.relays = relays
        self.app = app
        self.mount: Mount = mount(app, config)
        self.policy = policy
        self.quota_file = quota_file
        self._sweeper = Sweeper(stores, config, clock, app.letters.deliver)

    async def start(self) -> None:
        await self.policy.start()
        await self.quota_file.start()
        await self.database.start()
        await self.stores.start()
        await self.app.bell.start()
        await self._sweeper.start()

    async def stop(self) -> None:
        await self._sweeper.stop()
        await self.app.bell.stop()
        await self.stores.stop()
        await self.database.stop()
        await self.quota_file.stop()
        await self.policy.stop()

    async def sweep_once(self) -> None:
        """Frees all that has expired or was given up, in transactions of one batch each."""
        await self._sweeper.once()


class Relays:
    """One for each other store that this process writes."""

    def __init__(
        self, home: Store, holder: str, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._home = home
        self._holder = holder
        self._clock = clock
        self._on_change = on_change
        self._of: dict[str, Relay] = {}

    async def opened(self, store: Store) -> None:
        if store.owned:
            relay = Relay(store, self._home, self._holder, self._clock, self._on_change)
            self._of[store.name] = relay
            await relay.start()

    def all(self) -> Sequence[Relay]:
        """Those that run here."""
        return list(self._of.values())

    async def closed(self, name: str) -> None:
        relay = self._of.pop(name, None)
        if relay is not None:
            await relay.stop()

    def changed(self) -> None:
        """A store was written: its rows are to be relayed and published."""
        for relay in self._of.values():
            relay.poke()
        self._on_change()


async def restored(tx: Transaction, now_ms: int) -> None:
    """The verb that tells the database that it was put back to an earlier moment."""
    await restore.restored(tx)
    await node_restored(tx, now_ms)


def build(
    config: QueueConfig,
    database: Database,
    *,
    clock: Clock,
    random: Randomness,
    on_change: Callable[[], None] = lambda: None,
    writer: Writer | None = None,
    policy: PolicyFile | None = None,
    sealer: Sealer | None = None,
    trusts: Trusts | None = None,
    neighbours: Neighbourhood | None = None,
    holder: str = "queue",
    alone: bool | None = None,
    limits_path: Path | None = None,
) -> QueueService:
    """The service, not started. `database`: of `MIGRATIONS`; the service starts and stops it.

    `writer`: who writes, where that is another process; then `database` is only read. `policy`:
    what changes the access rules; without it the defaults hold. `sealer`: of the master key;
    without it nothing can be encrypted. `trusts`: where callers trust us to act for them.
    `neighbours`: opens other databases, by `[queue] shards` and for pools. `holder`: this process
    among those that share databases. `alone`: no other process writes any of them; None: unless
    there is a `writer`. `limits_path`: the file of projects whose limits are not the usual ones.

    `on_change` is called after each commit that left a pointer to the feed.
    """

    def ring(place: Place) -> None:
        bell.ring(place)

    def bury(number: int) -> None:
        access.figures.buried(number)

    def tools() -> Tools:
        keyring = Keyring(sealer)
        return Tools(config, clock, random, ring, bury, keyring=keyring, quotas=quotas)

    quotas = Quotas(usual(config))
    own = tools()
    fair = FairWriter(writer or LocalWriter(database, own), config)
    home = Store(HOME, database, fair, own.keyring, owned=writer is None)
    relays = Relays(home, holder, clock, on_change)
    shards: list[Neighbour] = []
    if neighbours is not None:
        neighbours.equip(tools)
        shards = neighbours.shards(config.shards)
    stores = ManyStores(home, shards, neighbours, sealer, relays.opened, relays.closed)
    policy = policy or PolicyFile(SOURCE, None, DEFAULT_RULES)
    bell = _bell(stores, config, clock, alone=writer is None if alone is None else alone)
    waiting = Waiting(bell, config)
    access = Access(stores, config, policy.rules, clock, random, relays.changed, waiting, quotas)
    access.figures.waiting_writes = lambda: fair.waiting
    signing = Signing(sealer, config.signed_url_key, clock)
    app = QueueApp(access, signing, clock, sealer, trusts, neighbours)
    return QueueService(config, stores, clock, app, policy, relays, QuotaFile(limits_path, quotas))


def _bell(stores: Stores, config: QueueConfig, clock: Clock, *, alone: bool) -> Bell:
    return Bell(
        partial(looked, stores, clock),
        clock,
        waiters_max=config.max_waiters,
        project_waiters_max=config.project_max_waiters,
        alone=alone,
    )
