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
from transom.identity.api.auth import AuthHandlers
from transom.identity.api.catalogue import CatalogueHandlers
from transom.identity.api.mount import PREFIX, mount
from transom.identity.api.projects import GrantHandlers, ProjectHandlers
from transom.identity.api.users import UserHandlers
from transom.identity.app.bootstrap import ADMIN, Bootstrap
from transom.identity.app.credentials import Credentials
from transom.identity.app.passwords import Passwords
from transom.identity.app.projects import Grants, Projects
from transom.identity.app.sign_in import SignIn
from transom.identity.app.tokens import Tokens
from transom.identity.app.users import Users
from transom.identity.app.writes import Writes
from transom.identity.bus import read_row
from transom.identity.config import IdentityConfig
from transom.identity.contract import DEFAULT_RULES, CatalogueService
from transom.identity.logic.catalogue import Catalogue
from transom.identity.logic.clouds import Access
from transom.identity.logic.password import Cost
from transom.identity.model import DEFAULT_DOMAIN
from transom.identity.store.keys import KeyRing
from transom.node.migrations import NODE
from transom.runtime.auth.generation import FILE_NAME as GENERATION_FILE
from transom.runtime.auth.generation import Generation
from transom.runtime.auth.rules import Rules
from transom.runtime.clock import Clock
from transom.runtime.db.migrate import Migrations
from transom.runtime.db.transaction import Database
from transom.runtime.http.route import Mount
from transom.runtime.ids import Randomness

KEYS_FOLDER = "keys"
MIGRATIONS = (Migrations("identity", Path(__file__).parent / "store" / "migrations"), NODE)


class IdentityService:
    """Identity, ready to be mounted. `read_row` reads rows of its tables for its feed.

    `generation()` is another number after each change; what is known of tokens holds as long.
    """

    read_row = staticmethod(read_row)

    def __init__(
        self,
        database: Database,
        writes: Writes,
        passwords: Passwords,
        keys: KeyRing,
        bootstrap: Bootstrap,
        mounted: Mount,
    ) -> None:
        self.database = database
        self.generation = writes.generation.read
        self.mount = mounted
        self._generation = writes.generation
        self._passwords = passwords
        self._keys = keys
        self._bootstrap = bootstrap

    async def start(self) -> None:
        """Raises: ConfigError, Unavailable, and what storage raises."""
        self._keys.load()
        await self._generation.start()
        await self.database.start()
        await self._passwords.start()
        self._generation.change()
        await self._bootstrap.ensure()

    async def stop(self) -> None:
        await self._passwords.stop()
        await self.database.stop()
        await self._generation.stop()

    async def reset_admin_password(self) -> None:
        """A new password for `admin`, in the files; the old tokens are void."""
        await self._bootstrap.reset_admin_password()


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
) -> IdentityService:
    """The service, not started. `database`: of `MIGRATIONS`; several processes may write it.

    `data`: the data folder. `public_url`: of the port, without path.

    `on_change` is called after each commit that may have left pointers to the feed.

    Raises: ConfigError unless both addresses are loopback.
    """
    public_url = public_url.rstrip("/")
    _refuse_other_than_loopback(public_url, bind_host)
    base, root = public_url + PREFIX, public_url + PREFIX + "/v3"
    writes = Writes(database, Generation(data / GENERATION_FILE, random), on_change)
    passwords = Passwords(Cost(log2_n=config.password_cost_log2), random)
    keys = KeyRing(data / KEYS_FOLDER, random)
    rules = Rules(DEFAULT_RULES)
    tokens = Tokens(database, writes, keys, rules, clock, random)
    credentials = Credentials(database, passwords, clock)
    users = Users(writes, rules, passwords, credentials, random)
    known = Catalogue(catalogue, config.region)
    mounted = mount(
        AuthHandlers(SignIn(tokens, credentials, config.token_ttl_s), tokens, users, known, root),
        CatalogueHandlers(tokens, rules, known, root),
        UserHandlers(users, tokens, root),
        ProjectHandlers(Projects(writes, rules, random), tokens, root),
        GrantHandlers(Grants(writes, rules), tokens, root),
    )
    access = Access(base, ADMIN, ADMIN, DEFAULT_DOMAIN.id, config.region)
    bootstrap = Bootstrap(writes, passwords, clock, random, data, data / KEYS_FOLDER, access)
    return IdentityService(database, writes, passwords, keys, bootstrap, mounted)


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
