# SPDX-License-Identifier: Apache-2.0
"""Identity's wiring: one database, the keys, the first users, one mount.

Invariants:
1. Built only for loopback; anything else is a ConfigError that names the way out.
2. Every start changes the generation: a process that died between a commit and the change it owed
   has been started anew before its doors answer again.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from transom.errors import ConfigError
from transom.identity.api.application_credentials import ApplicationCredentialHandlers
from transom.identity.api.auth import AuthHandlers
from transom.identity.api.catalogue import CatalogueHandlers
from transom.identity.api.domains import DomainHandlers
from transom.identity.api.grants import GrantHandlers
from transom.identity.api.mount import PREFIX, Handlers, mount
from transom.identity.api.projects import ProjectHandlers
from transom.identity.api.roles import RoleHandlers
from transom.identity.api.users import UserHandlers
from transom.identity.app.application_credentials import ApplicationCredentials
from transom.identity.app.bootstrap import ADMIN, Bootstrap
from transom.identity.app.credentials import Credentials
from transom.identity.app.domains import Domains
from transom.identity.app.grants import Grants, Roles
from transom.identity.app.passwords import Passwords
from transom.identity.app.projects import Projects
from transom.identity.app.seeds import Seeds
from transom.identity.app.sign_in import SignIn
from transom.identity.app.tokens import Tokens
from transom.identity.app.upkeep import Upkeep
from transom.identity.app.users import Users
from transom.identity.app.writes import Writes
from transom.identity.bus import read_row
from transom.identity.config import IdentityConfig
from transom.identity.contract import DEFAULT_RULES, SOURCE, CatalogueService
from transom.identity.logic.catalogue import Catalogue
from transom.identity.logic.clouds import Access
from transom.identity.logic.password import Cost
from transom.identity.model import DEFAULT_DOMAIN
from transom.identity.store.keys import KeyRing
from transom.identity.store.restore import restored as store_restored
from transom.node.migrations import NODE
from transom.node.restore import restored as node_restored
from transom.runtime.auth.generation import FILE_NAME as GENERATION_FILE
from transom.runtime.auth.generation import Generation
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database, Transaction
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret

KEYS_FOLDER = "keys"
MIGRATIONS = (Migrations("identity", Path(__file__).parent / "store" / "migrations"), NODE)


class LocalIdentity:
    """What identity is on its data folder, without doors. A `lifecycle.Service`.

    `upkeep`: what the folder's owner may do, once started.
    """

    def __init__(
        self, writes: Writes, passwords: Passwords, keys: KeyRing, bootstrap: Bootstrap
    ) -> None:
        self.database = writes.database
        self.generation = writes.generation.read
        self.bootstrap = bootstrap
        self.upkeep = Upkeep(bootstrap, keys, bootstrap.clock)
        self._generation = writes.generation
        self._passwords = passwords
        self._keys = keys

    async def start(self) -> None:
        """Raises: ConfigError, and what storage raises."""
        self._keys.load()
        await self._generation.start()
        await self.database.start()
        await self._passwords.start()
        self._generation.change()

    async def stop(self) -> None:
        await self._passwords.stop()
        await self.database.stop()
        await self._generation.stop()


class IdentityService:
    """Identity, ready to be mounted. `read_row` reads rows of its tables for its feed.

    `generation()` is another number after each change; what is known of tokens holds as long.
    """

    read_row = staticmethod(read_row)

    def __init__(self, local: LocalIdentity, mounted: Mount, policy: PolicyFile) -> None:
        self.database = local.database
        self.generation = local.generation
        self.upkeep = local.upkeep
        self.mount = mounted
        self.policy = policy
        self._local = local

    async def start(self) -> None:
        """Raises: ConfigError, Unavailable, and what storage raises."""
        await self.policy.start()
        await self._local.start()
        await self._local.bootstrap.ensure()

    async def stop(self) -> None:
        await self._local.stop()
        await self.policy.stop()


async def restored(tx: Transaction, now_ms: int) -> None:
    """The verb that tells the database that it was put back to an earlier moment."""
    await store_restored(tx, now_ms)
    await node_restored(tx, now_ms)


def build(
    config: IdentityConfig,
    database: Database,
    *,
    data: Path,
    public_url: str,
    catalogue: Sequence[CatalogueService],
    clock: Clock,
    random: Randomness,
    bind_host: str = "127.0.0.1",
    on_change: Callable[[], None] = lambda: None,
    policy: PolicyFile | None = None,
    ca_file: str = "",
    master_keys: Secret = Secret(""),
) -> IdentityService:
    """The service, not started. `database`: of `MIGRATIONS`; several processes may write it.

    `data`: the data folder. `public_url`: of the port, without path. `policy`: what changes the
    access rules; without it the defaults hold. `ca_file`: what clients have to trust, for https.

    `on_change` is called after each commit that may have left pointers to the feed.

    Raises: ConfigError unless both addresses are loopback.
    """
    public_url = public_url.rstrip("/")
    _refuse_other_than_loopback(public_url, bind_host)
    root = public_url + PREFIX + "/v3"
    local = build_local(
        config,
        database,
        data=data,
        public_url=public_url,
        clock=clock,
        random=random,
        on_change=on_change,
        ca_file=ca_file,
        master_keys=master_keys,
    )
    seeds = local.bootstrap.seeds
    writes, passwords, keys = seeds.writes, seeds.passwords, local.upkeep.keys
    rules = (policy := policy or PolicyFile(SOURCE, None, DEFAULT_RULES)).rules
    tokens = Tokens(database, writes, keys, rules, clock, random)
    credentials = Credentials(database, passwords, clock)
    users = Users(writes, rules, passwords, credentials, random)
    domains, grants = Domains(writes, rules, random), Grants(writes, rules)
    delegated = ApplicationCredentials(writes, rules, passwords, clock, random)
    known = Catalogue(catalogue, config.region)
    sign_in = SignIn(tokens, credentials, config.token_ttl_s)
    handlers: list[Handlers] = [
        AuthHandlers(sign_in, tokens, users, domains, grants, known, root),
        CatalogueHandlers(tokens, rules, known, root),
        DomainHandlers(domains, tokens, root),
        UserHandlers(users, tokens, root),
        ApplicationCredentialHandlers(delegated, tokens, root),
        ProjectHandlers(Projects(writes, rules, random), tokens, root),
        RoleHandlers(Roles(writes, rules, random), tokens, root),
        GrantHandlers(grants, tokens, root),
    ]
    return IdentityService(local, mount(handlers, root), policy)


def build_local(
    config: IdentityConfig,
    database: Database,
    *,
    data: Path,
    public_url: str,
    clock: Clock,
    random: Randomness,
    on_change: Callable[[], None] = lambda: None,
    ca_file: str = "",
    master_keys: Secret = Secret(""),
) -> LocalIdentity:
    """Identity without doors, not started; the parameters are those of `build`."""
    writes = Writes(database, Generation(data / GENERATION_FILE, random), on_change)
    passwords = Passwords(Cost(log2_n=config.password_cost_log2), random)
    sealer = sealer_of(data / KEYS_FOLDER, master_keys, random)
    keys = KeyRing(data / KEYS_FOLDER, sealer, random)
    base = public_url.rstrip("/") + PREFIX
    access = Access(base, ADMIN, ADMIN, DEFAULT_DOMAIN.id, config.region, ca_file)
    seeds = Seeds(writes, passwords, random)
    bootstrap = Bootstrap(seeds, clock, data, data / KEYS_FOLDER, sealer, access)
    return LocalIdentity(writes, passwords, keys, bootstrap)


def _refuse_other_than_loopback(public_url: str, bind_host: str) -> None:
    for host in (urlsplit(public_url).hostname or "", bind_host):
        if not _is_loopback(host):
            raise ConfigError(
                f"embedded identity is for this machine only, and {host or public_url!r} is not "
                "loopback; set [keystone] auth_url to a real Keystone, or [api] host to 127.0.0.1"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
