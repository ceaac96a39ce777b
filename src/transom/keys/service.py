# SPDX-License-Identifier: Apache-2.0
"""The key server's wiring: one database, one mount.

Invariant: several processes may serve the same database; what one of them gives out the others
know, since nothing that counts is kept in a process.
"""

from pathlib import Path

from transom.keys.api.mount import mount
from transom.keys.app.administration import Administration
from transom.keys.app.authorities import Authorities
from transom.keys.app.custody import Custody
from transom.keys.app.directory import Directory
from transom.keys.app.enrolment import Enrolment, Place
from transom.keys.app.grants import Granting
from transom.keys.config import KeysConfig
from transom.keys.contract import DEFAULT_RULES, SOURCE
from transom.keys.store.restore import restored as store_restored
from transom.keys.store.seals import Seals, seal_again
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness
from transom.runtime.sealing import Sealer

MIGRATIONS = (Migrations("keys", Path(__file__).parent / "store" / "migrations"),)


class LocalKeys:
    """What the key server is on its database, without doors. A `lifecycle.Service`.

    `custody`, `authorities`: what the data folder's owner may do, once started.
    """

    def __init__(
        self,
        config: KeysConfig,
        database: Database,
        *,
        sealer: Sealer,
        clock: Clock,
        random: Randomness,
    ) -> None:
        self.database = database
        seals = Seals(sealer)
        self.custody = Custody(database, seals, config, clock, random)
        self.authorities = Authorities(database, seals, config, clock, random)
        self._random = random

    def enrolment(self, place: Place) -> Enrolment:
        """What writes key files. `place`: where their parties find the server."""
        return Enrolment(self.custody, self.authorities, place, self._random)

    async def start(self) -> None:
        """Raises: ConfigError, and what storage raises."""
        await self.database.start()
        await self.authorities.ensure()

    async def stop(self) -> None:
        await self.database.stop()


class KeysService:
    """The key server, ready to be mounted. `figures`: what it counts, for a registry."""

    def __init__(
        self, local: LocalKeys, mounted: Mount, policy: PolicyFile, granting: Granting
    ) -> None:
        self.database = local.database
        self.mount = mounted
        self.policy = policy
        self.granting = granting
        self.figures = granting.figures
        self.local = local

    async def start(self) -> None:
        """Raises: ConfigError, and what storage raises."""
        await self.policy.start()
        await self.local.start()

    async def stop(self) -> None:
        await self.local.stop()
        await self.policy.stop()


async def restored(tx: Transaction, now_ms: int) -> None:
    """The verb that tells the database that it was put back to an earlier moment."""
    await store_restored(tx, now_ms)


async def sealed_again(tx: Transaction, sealer: Sealer) -> int:
    """The verb that seals all that is sealed here under the first master key; how many were not."""
    return await seal_again(tx, sealer)


def build(
    config: KeysConfig,
    database: Database,
    *,
    sealer: Sealer,
    clock: Clock,
    random: Randomness,
    policy: PolicyFile | None = None,
) -> KeysService:
    """The service, not started. `database`: of `MIGRATIONS`; the service starts and stops it.

    `policy`: what changes the access rules; without it the defaults hold.
    """
    policy = policy or PolicyFile(SOURCE, None, DEFAULT_RULES)
    local = LocalKeys(config, database, sealer=sealer, clock=clock, random=random)
    administration = Administration(local.custody, policy.rules)
    granting = Granting(database, local.custody.seals, local.authorities, config, clock, random)
    directory = Directory(database, clock)
    mounted = mount(administration, granting, directory, config.max_page)
    return KeysService(local, mounted, policy, granting)
